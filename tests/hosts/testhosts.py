#!/usr/bin/env python3
"""Make and remove the machines that the Molecule scenarios deploy to.

A test host is a container of one of two kinds, on a network of its scenario's own with a fixed
address, so that an inventory can name who may reach a port:

``host``
    A Debian machine with systemd as PID 1, as bare as an administrator would hand it over. What
    the roles need beyond that they have to install; Docker is deliberately not there.
``client``
    A neighbour on the hospital's network, with the tools of the people who use a node: dcmtk,
    curl, psql and netcat. It never becomes a managed machine.

Their images are made with mmdebstrap and ``docker import``, so that no registry is needed. A tag
is the hash of all that goes in, so an image is rebuilt exactly when one of its inputs changed.

Usage::

    testhosts.py image KIND [--suite SUITE]   build unless it is there, print the name
    testhosts.py up   < scenario.json         make what is missing, wait until it runs
    testhosts.py down < scenario.json         remove the containers, their volumes, the network
    testhosts.py save DIRECTORY FILE=IMAGE... save images of the engine, where they are not yet

``scenario.json`` is one object: ``network`` (name), ``subnet`` (CIDR), ``cache`` (a directory of
this machine that outlives the hosts; packages and image archives are kept there), ``hosts``, a
list of objects with ``name``, ``container``, ``address``, and optionally ``kind`` (default host),
``suite`` (default bookworm), ``options`` (further options of ``docker run``) and ``start`` (bare,
the default, or prepared: snapshots.py), and ``prepared``, which says what is on a prepared host:
``packages``, ``suite_packages`` (suite to further ones) and ``archives`` (files in CACHE/images).

``up``, ``down`` and ``save`` print one line per thing that they changed and nothing when there was
nothing to do. Exit code 1, with the reason on standard error, when something failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import snapshots

REPOSITORY = "auscat-imaging-test"
LABEL = "auscat-imaging-test"
START_SECONDS = 60
STARTS = ("bare", "prepared")
ARCHIVE_SECONDS = 14 * 24 * 3600

# Ansible needs Python; python3-apt spares every play an installation of its own.
COMMON_PACKAGES = ("ca-certificates", "iproute2", "procps", "python3", "python3-apt")

# A real systemd with a Docker engine below it. Not --privileged: that fails where this machine
# itself lacks CAP_SYS_RESOURCE. The host's cgroup namespace, because a private one fails on
# cgroup v1. The engine's own storage needs a volume: overlay2 does not stack on overlay2.
HOST_OPTIONS = (
    "--cap-add=ALL",
    "--cap-drop=SYS_RESOURCE",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=systempaths=unconfined",
    "--cgroupns=host",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--tmpfs=/run",
    "--tmpfs=/run/lock",
    "--volume=/var/lib/docker",
    "--volume=/var/lib/containerd",
    # systemd halts on this signal. On SIGTERM it would re-execute itself and be killed after the
    # grace period: a crash, where a test wants a reboot.
    "--stop-signal=SIGRTMIN+3",
)


class MachineError(Exception):
    """A test host could not be made; the message says which, why, and what to look at."""


@dataclass(frozen=True)
class Kind:
    """What an image holds, how it starts, and the options its containers need."""

    packages: tuple[str, ...]
    changes: tuple[str, ...]
    hooks: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


KINDS = {
    "host": Kind(
        packages=(*COMMON_PACKAGES, "dbus", "systemd", "systemd-sysv"),
        changes=('CMD ["/sbin/init"]', "ENV container=docker"),
        hooks=(
            # Units without a meaning on a machine that has no hardware and no console.
            'chroot "$1" systemctl --quiet mask systemd-logind.service getty.target'
            " console-getty.service systemd-modules-load.service sys-kernel-debug.mount"
            " sys-kernel-tracing.mount",
            # Packages lie in a directory of the machine that runs the tests: downloaded once.
            "echo 'APT::Keep-Downloaded-Packages \"true\";'"
            ' > "$1/etc/apt/apt.conf.d/90-keep-downloaded-packages"',
        ),
        options=HOST_OPTIONS,
    ),
    "client": Kind(
        packages=(*COMMON_PACKAGES, "curl", "dcmtk", "netcat-openbsd", "postgresql-client"),
        changes=('CMD ["/bin/sleep", "infinity"]',),
        # It may add routes: a test sends packets that the node should not let through.
        options=("--init", "--cap-add=NET_ADMIN"),
    ),
}


@dataclass(frozen=True)
class Machine:
    """One machine of a scenario."""

    name: str
    container: str
    address: str
    kind: str = "host"
    suite: str = "bookworm"
    options: list[str] = field(default_factory=list)
    start: str = "bare"


@dataclass(frozen=True)
class Scenario:
    """All machines of a scenario and the network that they share."""

    network: str
    subnet: str
    cache: Path
    hosts: list[Machine]
    prepared: dict[str, Any] = field(default_factory=dict)

    def snapshot(self, suite: str) -> snapshots.Snapshot:
        """Give what a prepared host of a suite is made of; raises MachineError."""
        try:
            packages = [
                *self.prepared["packages"],
                *self.prepared["suite_packages"].get(suite, []),
            ]
            archives = self.prepared["archives"]
        except KeyError as error:
            raise MachineError(f"A host starts prepared, but the scenario lacks {error}") from None
        return snapshots.Snapshot(
            suite=suite,
            base=image_name("host", suite),
            packages=tuple(packages),
            archives=tuple(archives),
            options=HOST_OPTIONS,
        )

    @classmethod
    def read(cls, document: dict[str, Any]) -> Scenario:
        """Read the object that the module's docstring describes; raises MachineError."""
        try:
            hosts = [Machine(**host) for host in document["hosts"]]
            scenario = cls(
                document["network"],
                document["subnet"],
                Path(document["cache"]),
                hosts,
                document.get("prepared", {}),
            )
        except (KeyError, TypeError) as error:
            raise MachineError(f"The scenario is not described as it should be: {error}") from None
        for host in hosts:
            if host.kind not in KINDS:
                raise MachineError(
                    f"testhost_kind of {host.name} is {host.kind!r}; it may be {', '.join(KINDS)}."
                )
            if host.start not in STARTS or (host.start == "prepared" and host.kind != "host"):
                raise MachineError(
                    f"testhost_start of {host.name} is {host.start!r}; it may be "
                    f"{', '.join(STARTS)}, and prepared only where its kind is host."
                )
        return scenario


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command; raises MachineError with what it said when it fails."""
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, **options)
    if result.returncode:
        said = (result.stderr or result.stdout).strip()
        raise MachineError(f"{' '.join(command)} failed with {result.returncode}: {said}")
    return result


def docker(*arguments: str) -> str:
    """Run the Docker client and return its trimmed output; raises MachineError."""
    return run("docker", *arguments).stdout.strip()


def engine_answers() -> bool:
    """Tell whether this machine has a Docker engine that runs. The client alone is not one."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "info"], capture_output=True, check=False)
    return asked.returncode == 0


def bootstrap_command(kind: str, suite: str) -> list[str]:
    """Give the command that writes the root file system of an image to standard output."""
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        '--aptopt=Acquire::Retries "3"',
        f"--include={','.join(KINDS[kind].packages)}",
        *(f"--customize-hook={hook}" for hook in KINDS[kind].hooks),
        suite,
        "-",
    ]


def import_command(kind: str) -> list[str]:
    """Give the command that makes an image of a root file system on standard input."""
    changes = [f"--change={change}" for change in KINDS[kind].changes]
    return ["docker", "import", *changes, "-"]


def image_name(kind: str, suite: str) -> str:
    """Name an image after all that decides what is in it."""
    inputs = json.dumps([bootstrap_command(kind, suite), import_command(kind)])
    return f"{REPOSITORY}/{kind}:{suite}-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"


def ensure_image(kind: str, suite: str) -> bool:
    """Build an image unless the engine has it; tell whether it was built.

    The name appears only when everything has succeeded. Raises MachineError.
    """
    name = image_name(kind, suite)
    if docker("images", "--quiet", name):
        return False
    # In a session of its own, because mmdebstrap signals its whole process group when it fails.
    bootstrap = bootstrap_command(kind, suite)
    with subprocess.Popen(
        bootstrap, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as archive:
        # Imported without a name first: a bootstrap that breaks off leaves a readable archive.
        imported = subprocess.run(
            import_command(kind),
            stdin=archive.stdout,
            capture_output=True,
            check=False,
            encoding="utf-8",
        )
        if archive.stdout:
            archive.stdout.close()  # else mmdebstrap would wait for a reader that has gone
        said = archive.stderr.read().decode(errors="replace").strip() if archive.stderr else ""
    if imported.returncode:
        raise MachineError(f"{name} could not be imported: {imported.stderr.strip()}")
    if archive.returncode:
        docker("rmi", imported.stdout.strip())
        raise MachineError(
            f"{' '.join(bootstrap)} failed with {archive.returncode}: {said}\n"
            "Is Debian's mirror reachable from this machine (apt-get update)?"
        )
    docker("tag", imported.stdout.strip(), name)
    # Images of earlier inputs would pile up. One that a container still uses stays.
    listed = docker("images", "--format={{.Repository}}:{{.Tag}}", f"{REPOSITORY}/{kind}")
    for other in listed.splitlines():
        if other.startswith(f"{REPOSITORY}/{kind}:{suite}-") and other != name:
            subprocess.run(["docker", "rmi", other], check=False, capture_output=True)
    return True


def mounts(cache: Path, suite: str, container: str) -> list[str]:
    """Give the options that mount a host's part of the cache, which is made here."""
    # One directory a container: apt locks it, and several machines install at once.
    packages = cache / "apt" / suite / container
    images = cache / "images"
    packages.mkdir(parents=True, exist_ok=True)
    images.mkdir(parents=True, exist_ok=True)
    return [
        f"--volume={packages}:/var/cache/apt/archives",
        f"--volume={images}:{snapshots.ARCHIVES}:ro",
    ]


def start(scenario: Scenario, host: Machine) -> None:
    """Start one machine. Raises MachineError."""
    options = [
        f"--name={host.container}",
        f"--hostname={host.name}",
        f"--network={scenario.network}",
        f"--ip={host.address}",
        f"--label={LABEL}={scenario.network}",
        *KINDS[host.kind].options,
        *(mounts(scenario.cache, host.suite, host.container) if host.kind == "host" else ()),
        *host.options,
    ]
    # `docker run` and `create`, not the API: only the client understands systempaths=unconfined.
    if host.start == "bare":
        docker("run", "--detach", *options, image_name(host.kind, host.suite))
        return
    snapshot = scenario.snapshot(host.suite)
    with snapshots.started_from(snapshot, scenario.cache):
        docker("create", *options, snapshot.image)
        snapshots.fill(snapshot, host.container)
    docker("start", host.container)


def start_to_prepare(cache: Path, suite: str, container: str) -> None:
    """Start the bare host that a snapshot is made of. Raises MachineError."""
    name = [f"--name={container}", "--hostname=node", *mounts(cache, suite, container)]
    docker("run", "--detach", *name, *HOST_OPTIONS, image_name("host", suite))
    wait_until_running(Machine("node", container, "", suite=suite))


def wait_until_running(host: Machine) -> None:
    """Wait until a machine's service manager has started everything.

    Raises MachineError with the failed units and the container's log after START_SECONDS.
    """
    if host.kind != "host":
        return
    deadline = time.monotonic() + START_SECONDS
    while True:
        state = subprocess.run(
            ["docker", "exec", host.container, "systemctl", "is-system-running"],
            capture_output=True,
            encoding="utf-8",
            check=False,
        ).stdout.strip()
        if state == "running":
            return
        if state == "degraded" or time.monotonic() > deadline:
            units = subprocess.run(
                ["docker", "exec", host.container, "systemctl", "--failed", "--no-legend"],
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
            log = subprocess.run(
                ["docker", "logs", "--tail=20", host.container],
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
            raise MachineError(
                f"systemd on {host.name} is {state or 'not answering'!r} and not 'running' "
                f"within {START_SECONDS} s.\nFailed units:\n{units.stdout}{units.stderr}"
                f"Log:\n{log.stdout}{log.stderr}"
            )
        time.sleep(0.2)


def ensure_snapshot(scenario: Scenario, suite: str) -> bool:
    """Make what a suite's prepared hosts start from, unless it is there; tell whether it was.

    Raises MachineError, SnapshotError.
    """

    def make(container: str) -> None:
        start_to_prepare(scenario.cache, suite, container)

    return snapshots.ensure(scenario.snapshot(suite), scenario.cache, make)


def up(scenario: Scenario) -> list[str]:
    """Make what is missing of a scenario and say what that was. Raises MachineError."""
    changes = []
    wanted = sorted({(host.kind, host.suite) for host in scenario.hosts})
    with ThreadPoolExecutor() as pool:
        built = list(pool.map(lambda image: ensure_image(*image), wanted))
    changes += [
        f"image {image_name(*image)}" for image, new in zip(wanted, built, strict=True) if new
    ]
    running = docker("ps", "--format={{.Names}}").split()
    missing = [host for host in scenario.hosts if host.container not in running]
    prepared = sorted({host.suite for host in missing if host.start == "prepared"})
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda suite: ensure_snapshot(scenario, suite), prepared))
    changes += [f"prepared host {suite}" for suite, new in zip(prepared, made, strict=True) if new]
    if scenario.network not in docker("network", "ls", "--format={{.Name}}").split():
        docker(
            "network",
            "create",
            f"--subnet={scenario.subnet}",
            f"--label={LABEL}={scenario.network}",
            scenario.network,
        )
        changes.append(f"network {scenario.network}")
    present = docker("ps", "--all", "--format={{.Names}}").split()
    for host in missing:
        if host.container in present:
            # Left over from an engine that was stopped under it.
            docker("rm", "--force", "--volumes", host.container)
        start(scenario, host)
        changes.append(f"host {host.name}")
    for host in scenario.hosts:
        wait_until_running(host)
    return changes


def down(scenario: Scenario) -> list[str]:
    """Remove what a scenario made, images and caches excepted, and say what that was.

    A machine without a running engine runs no test hosts: nothing to remove. What an engine that
    was stopped still holds is replaced by ``up``.
    """
    if not engine_answers():
        return []
    changes = []
    label = f"--filter=label={LABEL}={scenario.network}"
    containers = docker("ps", "--all", "--format={{.Names}}", label).split()
    if containers:
        docker("rm", "--force", "--volumes", *containers)
        changes += [f"container {container}" for container in containers]
    if scenario.network in docker("network", "ls", "--format={{.Name}}", label).split():
        docker("network", "rm", scenario.network)
        changes.append(f"network {scenario.network}")
    return changes


def save(directory: Path, images: dict[str, str]) -> list[str]:
    """Save images as archives and say which; archives that nobody wanted for long are removed.

    Args:
        directory: where the archives lie; made when missing.
        images: name of an archive to the name of its image. Archives are named after the content
            of their image, so one that is there is current.
    """
    directory.mkdir(parents=True, exist_ok=True)
    changes = []
    for file, image in images.items():
        if not (directory / file).exists():
            # The client writes beside the target and renames: no archive is ever half there.
            docker("save", "--output", str(directory / file), image)
            changes.append(f"archive {file}")
        (directory / file).touch()
    for archive in directory.glob("*.tar"):
        if time.time() - archive.stat().st_mtime > ARCHIVE_SECONDS:
            archive.unlink()
            changes.append(f"removed archive {archive.name}")
    return changes


def main() -> int:
    """Read the command line and do as it says; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    image = commands.add_parser("image", help="build an image unless it is there")
    image.add_argument("kind", choices=sorted(KINDS))
    image.add_argument("--suite", default="bookworm", help="default: %(default)s")
    commands.add_parser("up", help="make the machines of a scenario, read from standard input")
    commands.add_parser("down", help="remove the machines of a scenario")
    archives = commands.add_parser("save", help="save images of the engine as archives")
    archives.add_argument("directory", type=Path)
    archives.add_argument("images", nargs="+", metavar="FILE=IMAGE")
    arguments = parser.parse_args()
    try:
        # What was never made can be removed without the tools that make it.
        for tool in () if arguments.command == "down" else ("docker", "mmdebstrap"):
            if not shutil.which(tool):
                raise MachineError(
                    f"{tool} is not installed. molecule/shared/engine.yml installs it."
                )
        if arguments.command == "image":
            ensure_image(arguments.kind, arguments.suite)
            print(image_name(arguments.kind, arguments.suite))
        elif arguments.command == "save":
            wanted = dict(pair.split("=", 1) for pair in arguments.images)
            for change in save(arguments.directory, wanted):
                print(change)
        else:
            scenario = Scenario.read(json.load(sys.stdin))
            for change in up(scenario) if arguments.command == "up" else down(scenario):
                print(change)
    except (MachineError, snapshots.SnapshotError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
