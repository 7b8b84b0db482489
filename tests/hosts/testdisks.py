"""Disks of test hosts: loop devices of this machine, with files in a directory behind them.

A disk outlives the test host that uses it, can grow, and can be taken away and brought back, as a
disk of a real machine can. Its device number is fixed, so that the host can be given the device
before there is anything behind it::

    testdisks.py up DIRECTORY 200=300M 201=300M    make what is missing
    testdisks.py erase DIRECTORY 200=300M          as new
    testdisks.py grow DIRECTORY 200=400M
    testdisks.py detach DIRECTORY 200              the device stays, without a medium
    testdisks.py attach DIRECTORY 200
    testdisks.py down DIRECTORY 200 201            remove devices and files

Each prints what it changed. Exit code 1, with the reason on standard error, when something failed.
"""

from __future__ import annotations

import argparse
import fcntl
import subprocess
import sys
from pathlib import Path

# linux/loop.h
LOOP_CTL_ADD = 0x4C80
LOOP_CTL_REMOVE = 0x4C81
UNITS = {"M": 1024**2, "G": 1024**3}


class DiskError(Exception):
    """A disk could not be made or changed; the message says which and why."""


def run(*command: str) -> str:
    """Run a command and return its output; raises DiskError with what it said when it fails."""
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise DiskError(f"{' '.join(command)} failed with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def device(number: int) -> str:
    """Return the path of a loop device."""
    return f"/dev/loop{number}"


def control(request: int, number: int) -> bool:
    """Add or remove a loop device; False when it was there, or gone, before."""
    with Path("/dev/loop-control").open("rb") as stream:
        try:
            fcntl.ioctl(stream, request, number)
        except FileExistsError:
            return False
        except OSError as error:
            if request == LOOP_CTL_REMOVE:
                return False  # in use, or never there
            raise DiskError(f"{device(number)} cannot be added: {error.strerror}") from None
    return True


def behind(number: int) -> str:
    """Return the file behind a loop device; empty when there is none."""
    file = Path(f"/sys/block/loop{number}/loop/backing_file")
    return file.read_text().strip() if file.exists() else ""


def attach(directory: Path, number: int) -> bool:
    """Put the disk's file behind its device. Raises DiskError when another file is there."""
    file = directory / f"{number}.img"
    present = behind(number)
    if present:
        if present != str(file):
            raise DiskError(f"{device(number)} is in use for {present}.")
        return False
    run("losetup", device(number), str(file))
    return True


def detach(number: int) -> bool:
    """Take the medium out of a device, with the partitions that the kernel knows on it."""
    if not behind(number):
        return False
    subprocess.run(["partx", "--delete", device(number)], capture_output=True, check=False)
    run("losetup", "--detach", device(number))
    return True


def resize(file: Path, size: int) -> None:
    """Give a file a length; what is added takes no space."""
    with file.open("ab") as stream:
        stream.truncate(size)


def act(command: str, directory: Path, number: int, size: int) -> list[str]:
    """Do a command to one disk and say what it changed."""
    file = directory / f"{number}.img"
    said = []
    if command in ("down", "erase"):
        said += [f"detached {number}"] if detach(number) else []
        if file.exists():
            file.unlink()
            said.append(f"removed {file}")
    if command == "down":
        control(LOOP_CTL_REMOVE, number)
    if command in ("up", "erase"):
        directory.mkdir(parents=True, exist_ok=True)
        if control(LOOP_CTL_ADD, number):
            said.append(f"added {device(number)}")
        if not file.exists():
            resize(file, size)
            said.append(f"made {file}")
    if command in ("up", "erase", "attach"):
        said += [f"attached {number}"] if attach(directory, number) else []
    if command == "detach":
        said += [f"detached {number}"] if detach(number) else []
    if command == "grow":
        resize(file, size)
        run("losetup", "--set-capacity", device(number))
        said.append(f"grew {number}")
    return said


def main() -> int:
    """Read the command line and do as it says; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=["up", "erase", "grow", "detach", "attach", "down"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("disks", nargs="+", metavar="NUMBER[=SIZE]", help="SIZE as 300M or 2G")
    arguments = parser.parse_args()
    try:
        for disk in arguments.disks:
            number, _, text = disk.partition("=")
            size = int(text[:-1]) * UNITS[text[-1]] if text else 0
            for line in act(arguments.command, arguments.directory.resolve(), int(number), size):
                print(line)
    except DiskError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
