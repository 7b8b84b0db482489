"""An empty directory with the collection's archive, and what the documents say to do there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from shared.documented import command
from shared.machines import REPOSITORY, Machine, Node, Outcome, Scenario, timed

EXAMPLE = re.compile(r"^<!-- example: ([\w.]+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(document: str) -> dict[str, str]:
    """The examples of a document below docs/, by the names that comments give them."""
    return dict(EXAMPLE.findall((REPOSITORY / "docs" / document).read_text()))


def stranger_environment() -> dict[str, str]:
    """The environment of somebody who knows nothing of a checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return {**kept, "ANSIBLE_NOCOLOR": "true"}


@dataclass(frozen=True)
class Place:
    """The directory that was empty."""

    path: Path

    @property
    def installed(self) -> Path:
        """The collection in it."""
        return self.path / "collections" / "ansible_collections" / "auscat" / "imaging"

    def environment(self) -> dict[str, str]:
        """What the first commands of the document have set."""
        environment = stranger_environment()
        if (self.path / "ansible").exists():
            environment["PATH"] = f"{self.path / 'ansible' / 'bin'}:{environment['PATH']}"
        if self.installed.exists():
            environment["ANSIBLE_COLLECTIONS_PATH"] = str(self.path / "collections")
        return environment

    def put(self, name: str, content: Any) -> Path:
        """Write a file of YAML, or a text as it is."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return file

    def shell(self, script: str, **more: str) -> str:
        """Run commands of a document as their reader would; each must end well."""
        environment = self.environment()
        with timed("deploying"):
            done = subprocess.run(
                ["bash", "-eu", "-o", "pipefail", "-c", script],
                cwd=self.path,
                env={**environment, **more},
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
        assert done.returncode == 0, f"{script}\n{done.stdout[-6000:]}{done.stderr[-3000:]}"
        return done.stdout

    def play(self, inventory: str, playbook: str, *arguments: str, **extra: Any) -> Outcome:
        """Run a playbook of this directory; extra variables win over its own."""
        command = ["ansible-playbook", "-i", inventory, playbook, *arguments]
        command += ["--extra-vars", json.dumps(extra)] if extra else []
        environment = {**self.environment(), "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
        with timed("deploying"):
            done = subprocess.run(
                command,
                cwd=self.path,
                env=environment,
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
        found = re.search(r"^\{.*^\}", done.stdout, re.MULTILINE | re.DOTALL)
        document = json.loads(found[0]) if found else {}
        return Outcome(done.returncode, done.stdout + done.stderr, document)


@dataclass(frozen=True)
class Site:
    """A node that was brought up from the empty directory, and what that said."""

    place: Place
    node: Node

    @cached_property
    def said(self) -> str:
        """What the deployment printed; the first who asks deploys."""
        return self.place.shell(examples("collection.md")["site"])


@pytest.fixture(scope="session")
def simulation(scenario: Scenario) -> Node:
    """The machine that gets the whole node."""
    return scenario.node("simulation")


@pytest.fixture(scope="session")
def research(scenario: Scenario) -> Node:
    """The machine of somebody else's playbook."""
    return scenario.node("research01")


@pytest.fixture(scope="session")
def workstation(scenario: Scenario) -> Machine:
    """The machine that the examples let in."""
    return scenario.client("workstation")


@pytest.fixture(scope="session")
def stranger(scenario: Scenario) -> Machine:
    """A machine that no example names."""
    return scenario.client("stranger")


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection's archive, packed from the checkout."""
    target = tmp_path_factory.mktemp("archive")
    subprocess.run(
        [
            *command("docs/collection.md", "ansible-galaxy collection build"),
            *("--output-path", str(target)),
        ],
        cwd=REPOSITORY,
        env=stranger_environment(),
        check=True,
        capture_output=True,
    )
    (file,) = target.glob("auscat-imaging-*.tar.gz")
    return file


@pytest.fixture(scope="session")
def place(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An empty directory, the archive in it, and then what docs/collection.md says."""
    place = Place(tmp_path_factory.mktemp("empty"))
    (place.path / archive.name).write_bytes(archive.read_bytes())
    place.shell(examples("collection.md")["environment"])
    place.shell(examples("collection.md")["install"])
    return place


def reached(machine: Machine, document: str) -> dict[str, Any]:
    """How Ansible gets to a test host: in the place of what the example says."""
    example: dict[str, Any] = yaml.safe_load(examples("collection.md")[document])
    how = {name: machine.variables[name] for name in example if name in machine.variables}
    return {**example, **how}


@pytest.fixture(scope="session")
def site(place: Place, simulation: Node, workstation: Machine) -> Site:
    """The simulation, as docs/collection.md brings it up on another machine."""
    variables = {
        **reached(simulation, "host"),
        "simulation_sources": [workstation.address],
        # Ansible gets there through the engine, so that no variable says its address.
        "auscat_tls_names": [simulation.address],
        # What the machine that runs the tests has built once (molecule/shared/engine.yml).
        "images_archive_cache": "/var/cache/auscat-images",
    }
    place.put("inventories/simulation/host_vars/simulation.yml", variables)
    return Site(place, simulation)


@pytest.fixture(scope="session")
def own_inventory(place: Place, research: Node, workstation: Machine) -> str:
    """Somebody else's inventory, with a group that docs/roles-alone.md calls research."""
    place.put(
        "own/hosts.yml",
        {
            "all": {
                "children": {"research": {"hosts": {research.name: reached(research, "host")}}},
                "hosts": {"workstation": {"ansible_host": workstation.address}},
            }
        },
    )
    for name, text in examples("roles-alone.md").items():
        place.put(name, text)
    return "own"
