"""The virtual machine: over SSH as an operator sees it, and its disk as a thief would."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from shared.machines import REPOSITORY, Node, Scenario

# Software emulation on a busy machine.
SECONDS = 600


class VirtualMachine(Node):
    """The machine that testvm.py runs; commands go over SSH and not through an engine."""

    @property
    def directory(self) -> Path:
        """Where its disks lie on the machine that runs the tests."""
        # vm_directory of the inventory, which ansible-inventory prints as a template.
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(cache) / "auscat-imaging" / "vm"

    def run(
        self,
        *command: str,
        check: bool = True,
        timeout: float = SECONDS,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there; raises AssertionError with its output when it fails."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=60")
        line = ["ssh", "-q", "-i", f"{self.directory}/key"]
        line += ["-p", str(self.variables["ansible_port"])]
        for option in options:
            line += ["-o", option]
        result = subprocess.run(
            [*line, f"root@{self.container}", shlex.join(command)],
            input=stdin or "",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
        assert not check or result.returncode == 0, (
            f"{' '.join(command)} gave {result.returncode}:\n{result.stdout}{result.stderr}"
        )
        return result

    def do(self, *command: str) -> None:
        """Run testvm.py: stop, start, grow."""
        program = str(REPOSITORY / "tests/hosts/testvm.py")
        port = str(self.variables["ansible_port"])
        subprocess.run(
            [sys.executable, program, *command, f"--directory={self.directory}", f"--port={port}"],
            check=True,
        )


@pytest.fixture(scope="session")
def node(scenario: Scenario) -> VirtualMachine:
    """The single VM, in both groups."""
    found: VirtualMachine = scenario._machine("node", VirtualMachine)
    return found
