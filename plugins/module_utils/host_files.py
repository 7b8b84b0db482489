"""Files that a module installs whole, and the timers among them."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from ansible_collections.auscat.imaging.plugins.module_utils.command import CommandError, run

UNITS = Path("/etc/systemd/system")


def _is_as_wished(path: Path, text: str, mode: int) -> bool:
    try:
        found = path.stat()
        same = path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False
    return same and stat.S_IMODE(found.st_mode) == mode and found.st_uid == 0


def different(wished: Mapping[Path, tuple[str, int]]) -> list[Path]:
    """Return the paths that do not have this content and mode or do not belong to root, sorted."""
    return sorted(
        path for path, (text, mode) in wished.items() if not _is_as_wished(path, text, mode)
    )


def write(path: Path, text: str, mode: int) -> None:
    """Write a file with this mode, whole or not at all; for root alone its directory, if missing.

    Raises:
        OSError: the disk is full, or the file system read-only.
    """
    # Not with backup_run's own: each module that imports that has it compiled on the host.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).chmod(mode)
    Path(name).replace(path)


def asleep(timers: Iterable[str]) -> list[str]:
    """Return those timers that systemd does not start at boot, or has not started."""
    found = []
    for timer in timers:
        try:
            run(["systemctl", "is-enabled", "--quiet", timer])
            run(["systemctl", "is-active", "--quiet", timer])
        except CommandError:
            found.append(timer)
    return found
