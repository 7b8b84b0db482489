"""What the tests of all scenarios use to look at a node from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import testinfra
from testinfra.host import Host

REPOSITORY = Path(__file__).resolve().parents[2]
# A docker that costs less to get into a test host by, for testinfra and Ansible too.
_PROGRAMS = str(Path(__file__).with_name("bin"))
if _PROGRAMS not in os.environ["PATH"].split(os.pathsep):
    os.environ["PATH"] = os.pathsep.join([_PROGRAMS, os.environ["PATH"]])

Value = TypeVar("Value")
# Where a run of the tests collects how long they deployed and waited (tools/run_tests.py).
TIMES = "TEST_TIMES"


@contextmanager
def timed(kind: str) -> Iterator[None]:
    """Write down how long the block took, as a line of JSON in the file that TEST_TIMES names.

    The line has the kind and the start and end in seconds since the epoch, not the duration: what
    lies within something else, or beside it in another thread, is then not counted twice.
    """
    start = time.time()
    try:
        yield
    finally:
        if os.environ.get(TIMES):
            line = json.dumps({"kind": kind, "start": start, "end": time.time()})
            with Path(os.environ[TIMES]).open("a", encoding="utf-8") as times:
                times.write(line + "\n")


# The status as in "Up 9 seconds (healthy)".
_CONTAINERS = "docker ps --format '{{.Label \"com.docker.swarm.service.name\"}}/{{.Status}}'"


@timed("waiting")
def wait_for(what: str, condition: Callable[[], Value], seconds: float = 60) -> Value:
    """Poll until the condition holds and return its value.

    Args:
        what: the thing that is waited for, for the message: "Orthanc answers".
        condition: called until it returns something true. An AssertionError counts as "not yet".
        seconds: deadline.

    Raises:
        AssertionError: after the deadline, with what the last attempt gave.
    """
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        last: Any
        try:
            last = condition()
        except AssertionError as error:
            last = error
        else:
            if last:
                return last
        if time.monotonic() > deadline:
            raise AssertionError(
                f"Waited {seconds:g} s until {what}; the last attempt gave: {last}"
            )
        # Who asks as often as it can keeps what it waits for from the processor: a sixth of a
        # core for asking, as long as an answer takes no more than a second.
        time.sleep(min(5, max(0.5, 5 * (time.monotonic() - asked))))


@dataclass
class Outcome:
    """What a run of ansible-playbook did."""

    returncode: int
    text: str
    document: dict[str, Any]

    @property
    def changed(self) -> int:
        """Changed tasks, summed over all machines."""
        return sum(machine["changed"] for machine in self.document.get("stats", {}).values())

    @property
    def results(self) -> list[tuple[str, dict[str, Any]]]:
        """Name and result of each task on each machine, in order."""
        return [
            (task["task"]["name"], result)
            for play in self.document.get("plays", [])
            for task in play["tasks"]
            for result in task["hosts"].values()
        ]

    @property
    def changed_tasks(self) -> list[str]:
        """Names of the tasks that changed something, or would have."""
        return [name for name, result in self.results if result.get("changed")]

    @property
    def errors(self) -> str:
        """All that Ansible says about failures, in one text without line breaks."""
        messages = [
            str(result.get("msg", result))
            for _, result in self.results
            if result.get("failed") or result.get("unreachable")
        ]
        return " ".join((" ".join(messages) or self.text).split())


@dataclass(frozen=True)
class Machine:
    """A test host or client: a container with a fixed address."""

    name: str
    container: str
    address: str
    # What the inventory says of it. Not shown where a failed test shows its arguments.
    variables: dict[str, Any] = field(repr=False)

    @property
    def host(self) -> Host:
        """The machine as testinfra sees it."""
        return testinfra.get_host(f"docker://{self.container}")

    def run(
        self, *command: str, check: bool = True, timeout: float = 120, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there; raises AssertionError with its output when it fails."""
        result = subprocess.run(
            ["docker", "exec", "--interactive", self.container, *command],
            input=stdin if stdin is not None else "",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
        assert not check or result.returncode == 0, (
            f"{' '.join(command)} on {self.name} gave {result.returncode}:\n"
            f"{result.stdout}{result.stderr}"
        )
        return result

    def output(self, *command: str, **options: Any) -> str:
        """Run a command there and return what it prints, trimmed."""
        return self.run(*command, **options).stdout.strip()

    def json(self, *command: str) -> Any:
        """Run a command there that prints JSON."""
        return json.loads(self.output(*command))

    def shell(self, script: str, **options: Any) -> str:
        """Run a shell script there and return what it prints, trimmed."""
        return self.output("bash", "-euo", "pipefail", "-c", script, **options)

    def put(self, source: Path, target: str) -> None:
        """Copy a file or directory of the controller there."""
        subprocess.run(
            ["docker", "cp", str(source), f"{self.container}:{target}"],
            check=False,
            capture_output=True,
        ).check_returncode()

    def connects(self, address: str, port: int, seconds: float = 3) -> bool:
        """Try to open a TCP connection from there. A silent firewall shows as the deadline."""
        program = (
            "import socket,sys\n"
            "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))\n"
            "except OSError as error: print(error); sys.exit(9)\n"
        )
        arguments = ("python3", "-c", program, address, str(port), str(seconds))
        result = self.run(*arguments, check=False)
        assert result.returncode in (0, 9), result.stderr
        return result.returncode == 0


class Node(Machine):
    """A machine that site.yml manages."""

    def tasks(self, service: str) -> list[dict[str, Any]]:
        """`docker inspect` of the running containers of a service."""
        label = f"label=com.docker.swarm.service.name={service}"
        ids = self.output("docker", "ps", "--quiet", f"--filter={label}").split()
        return self.json("docker", "inspect", *ids) if ids else []

    def services(self) -> dict[str, dict[str, Any]]:
        """`docker service inspect` of every service, by name."""
        ids = self.output("docker", "service", "ls", "--quiet").split()
        found = self.json("docker", "service", "inspect", *ids) if ids else []
        return {service["Spec"]["Name"]: service for service in found}

    def unhealthy(self) -> list[str]:
        """Say what is wrong with the services; empty when each has one healthy task."""
        return self._wrong(self._states())

    def _states(self) -> dict[str, list[str]]:
        """The states of each service's running containers, asked for in one go."""
        listed = self.shell("docker service ls --format '{{.Name}}'; echo /; " + _CONTAINERS)
        names, _, containers = listed.partition("/\n")
        states: dict[str, list[str]] = {name: [] for name in sorted(names.strip("/").split())}
        for line in containers.splitlines():
            name, _, state = line.partition("/")
            if name in states:
                states[name].append(state)
        return states

    @staticmethod
    def _wrong(states: dict[str, list[str]]) -> list[str]:
        return [
            f"{name}: {found or 'no container'}"
            for name, found in states.items()
            if len(found) != 1 or not found[0].endswith("(healthy)")
        ]

    def wait_until_healthy(self, services: int, seconds: float = 180) -> None:
        """Wait until at least this many services run, and each has one healthy task."""

        def healthy() -> bool:
            states = self._states()
            wrong = self._wrong(states)
            assert len(states) >= services and not wrong, (list(states), wrong)
            return True

        wait_for(f"{services} services on {self.name} are healthy", healthy, seconds)

    def fingerprint(self) -> dict[str, str]:
        """Describe all that a deployment sets, so that "nothing changed" can be asserted.

        Data that services write on their own is left out.
        """
        script = r"""
        part() { printf '\0%s\0' "$1"; }
        part services; ids=$(docker service ls --quiet)
        [ -z "$ids" ] || docker service inspect $ids
        part containers; docker ps --all --no-trunc --format '{{.ID}} {{.Image}}' | sort
        part secrets; docker secret ls --format '{{.ID}} {{.Name}}' | sort
        part networks; docker network ls --format '{{.ID}} {{.Name}}' | sort
        part images; docker images --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | sort
        part firewall; nft --stateless list table inet auscat
        # Docker's own rules name the containers' addresses.
        part rules; nft --stateless list ruleset
        part configuration
        find /etc/auscat /etc/docker /etc/systemd/system -type f -exec sha256sum {} + | sort -k2
        part directories
        # Not what a service makes inside its own directory.
        ctp=$(ls -d /srv/auscat/ctp 2>/dev/null || true)
        find /etc/auscat /srv $ctp -maxdepth 2 -type d -printf '%m %U %G %p\n' |
          sort --unique --key=4
        part packages; dpkg-query --show
        """
        fields = self.shell(script).split("\0")
        return dict(zip(fields[1::2], fields[2::2]))

    def diagnosis(self) -> str:
        """Say how each service is and what it logged last; for a failed test."""
        script = r"""
        docker service ls 2>&1 || exit 0
        for service in $(docker service ls --format '{{.Name}}'); do
          echo; echo "--- $service: tasks"
          docker service ps --no-trunc --format \
            '{{.Name}} {{.DesiredState}} {{.CurrentState}} {{.Error}}' "$service" | head -n 5
          echo "--- $service: log"
          timeout 10 docker service logs --raw --tail 20 "$service" 2>&1 | cut -c -300
        done
        echo; echo '--- engine: log'
        journalctl --unit docker --no-pager --lines 10 --output cat 2>&1 | cut -c -300
        """
        return self.shell(script, check=False, timeout=60)


class Scenario:
    """The machines of a Molecule scenario, from its inventory."""

    def __init__(self, directory: Path, tree: Path = REPOSITORY) -> None:
        self.directory = directory
        self.inventory = directory / "inventory"
        # Whose playbooks are run.
        self.tree = tree

    @cached_property
    def _listed(self) -> dict[str, Any]:
        listed = subprocess.run(
            ["ansible-inventory", "--inventory", str(self.inventory), "--list"],
            cwd=REPOSITORY,
            env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
            capture_output=True,
            check=True,
        )
        return json.loads(listed.stdout)

    def _machine(self, name: str, kind: type[Machine]) -> Any:
        variables = self._listed["_meta"]["hostvars"][name]
        container = variables.get("testhost_container", variables["ansible_host"])
        return kind(name, container, variables["testhost_address"], variables)

    def client(self, name: str) -> Machine:
        """A neighbour of the node."""
        return self._machine(name, Machine)

    def node(self, name: str) -> Node:
        """A machine that site.yml manages."""
        return self._machine(name, Node)

    def nodes(self) -> list[Node]:
        """All machines that site.yml manages."""
        members = {
            name
            for group in ("keyvm", "catvm")
            for name in self._listed.get(group, {}).get("hosts", [])
        }
        return [self.node(name) for name in sorted(members)]

    def command(
        self, playbook: str, *arguments: str, extra: dict[str, Any] | None = None
    ) -> list[str]:
        """Return the command that runs a playbook, from the directory `tree`."""
        command = ["ansible-playbook", "--inventory", str(self.inventory), playbook, *arguments]
        if extra is not None:
            command += ["--extra-vars", json.dumps(extra)]
        return command

    def environment(self) -> dict[str, str]:
        """Return the environment that it is run with."""
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.tree / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "true",
        }

    def play(self, playbook: str, *arguments: str, extra: dict[str, Any] | None = None) -> Outcome:
        """Run a playbook of the repository against the scenario, as an operator does.

        Args:
            playbook: path below the repository.
            arguments: further arguments of ansible-playbook.
            extra: extra variables, which win over the inventory.
        """
        command = self.command(playbook, *arguments, extra=extra)
        environment = {**self.environment(), "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
        with timed("deploying"):
            result = subprocess.run(
                command,
                cwd=self.tree,
                env=environment,
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
        found = re.search(r"^\{.*^\}", result.stdout, re.MULTILINE | re.DOTALL)
        document = json.loads(found[0]) if found else {}
        return Outcome(result.returncode, result.stdout + result.stderr, document)
