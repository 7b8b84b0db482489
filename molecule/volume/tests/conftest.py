"""The test host, and its disks as they are seen from outside."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from shared.machines import REPOSITORY, Node, Outcome, Scenario, wait_for

DISKS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "auscat-imaging" / "disks"
MOUNTED = "/srv/auscat"


@dataclass(frozen=True)
class Disk:
    """A loop device of the machine that runs the tests."""

    number: int

    @property
    def path(self) -> str:
        """The device, in the test host."""
        return f"/dev/loop{self.number}"

    def checksum(self) -> str:
        """The hash of all that is on it, read from the file behind it."""
        os.sync()
        return hashlib.sha256((DISKS / f"{self.number}.img").read_bytes()).hexdigest()

    def do(self, command: str, size: str = "") -> None:
        """Run testdisks.py: grow, detach, attach, erase."""
        program = str(REPOSITORY / "tests/hosts/testdisks.py")
        disk = f"{self.number}={size}" if size else str(self.number)
        subprocess.run([sys.executable, program, command, str(DISKS), disk], check=True)


class Host(Node):
    """A test host with disks."""

    def stop(self) -> None:
        """Shut it down."""
        stop = ["docker", "stop", "--time", "60", self.container]
        subprocess.run(stop, check=True, capture_output=True)

    def start(self) -> None:
        """Start it and wait until systemd has finished, whatever failed on the way."""
        subprocess.run(["docker", "start", self.container], check=True, capture_output=True)
        wait_for(
            "systemd has finished starting",
            lambda: (
                self.run("systemctl", "is-system-running", check=False).stdout.strip()
                in ("running", "degraded")
            ),
            seconds=120,
        )

    def state(self) -> dict[str, str]:
        """Describe what a refused run must leave as it was."""
        script = r"""
        part() { printf '\0%s\0' "$1"; }
        part mounts; findmnt --raw --noheadings --output TARGET,SOURCE,FSTYPE,OPTIONS | sort
        part files; sha256sum /etc/fstab /etc/systemd/system/docker.service.d/*.conf
        part directories; find /srv -maxdepth 2 -printf '%m %U %G %p\n' | sort
        part engine; systemctl show --property=ActiveState,MainPID docker
        """
        fields = self.shell(script).split("\0")
        return dict(zip(fields[1::2], fields[2::2]))

    def mount(self, target: str = MOUNTED) -> dict[str, Any]:
        """What findmnt says of a mount point; empty when nothing is mounted there."""
        result = self.run(
            *("findmnt", "--json", "--bytes", "--output", "SOURCE,FSTYPE,OPTIONS,SIZE,UUID"),
            *("--mountpoint", target),
            check=False,
        )
        if result.returncode:
            return {}
        return dict(json.loads(result.stdout)["filesystems"][0])

    def written(self) -> int:
        """Lines that the writing container has left on the volume."""
        return int(self.shell(f"wc -l < {MOUNTED}/writer/log"))


@pytest.fixture(scope="session")
def node(scenario: Scenario) -> Host:
    """The machine whose data is on disk 210."""
    found: Host = scenario._machine("node", Host)
    return found


@pytest.fixture(scope="session")
def disk() -> Disk:
    """The disk that converge.yml has made the volume of."""
    return Disk(210)


@pytest.fixture(scope="session")
def other_disk() -> Disk:
    """A disk for everything else."""
    return Disk(211)


def apply(scenario: Scenario, *arguments: str, **variables: Any) -> Outcome:
    """Run the role host_volume with other variables."""
    return scenario.play("molecule/volume/volume.yml", *arguments, extra=variables)
