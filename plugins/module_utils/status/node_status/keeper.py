"""Take samples in turn where PID 1 is not systemd, so that no timer does.

``python3 -m node_status.keeper SETTINGS LOCK``: the path of status.json, and of the file that this
process holds locked for as long as it runs. So there is one, and the kernel tells whoever looks
which. It ends when the settings are gone, or want no samples;
nothing starts it after a reboot but the role status.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

#: struct flock of fcntl(2) where off_t has 64 bits: type, whence, start, length, process.
_FLOCK = struct.Struct("@hhqqi0q")
LOOK_SECONDS = 2.0
RUN_SECONDS = 180.0
"""As TimeoutStartSec= of auscat-status.service."""


def holder(lock: Path) -> int:
    """Return the id of the process that takes the samples; 0 where none does."""
    try:
        with lock.open("rb") as file:
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            found = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except OSError:
        return 0
    return 0 if found[0] == fcntl.F_UNLCK else int(found[4])


def wanted(settings: Path) -> tuple[float, Path] | None:
    """Return the seconds between samples and where their directory is; None for no samples."""
    try:
        found = json.loads(settings.read_text(encoding="utf-8"))
        if not found["timer"]:
            return None
        return float(found["interval_minutes"]) * 60, Path(found["history"]).parent
    except (OSError, ValueError, KeyError):
        return None


def sample(settings: Path, directory: Path) -> None:
    """Take one by a process of its own, as the timer does; what it says stands in last.log."""
    try:
        with (directory / "last.log").open("w", encoding="utf-8") as log:
            os.fchmod(log.fileno(), 0o600)
            subprocess.run(
                [sys.executable, "-m", "node_status.cli", str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=RUN_SECONDS,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired):
        pass  # the next one may; how old the last one is, the status says


def main(arguments: list[str]) -> int:
    """Run; return the exit status."""
    if len(arguments) != 2:
        print("usage: python3 -m node_status.keeper SETTINGS LOCK", file=sys.stderr)
        return 2
    settings, lock = (Path(each) for each in arguments)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return 0  # another does
        raise
    os.nice(10)
    # Not the time of day: a clock that is set must not keep a sample from being taken.
    last = float("-inf")
    while found := wanted(settings):
        seconds, directory = found
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            sample(settings, directory)
        time.sleep(LOOK_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
