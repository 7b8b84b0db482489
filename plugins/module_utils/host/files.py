"""Files that a module installs whole, and the timers among them."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run

UNITS = Path("/etc/systemd/system")


def _is_as_wished(path: Path, text: str, mode: int) -> bool:
    try:
        found = path.lstat()
        same = stat.S_ISREG(found.st_mode) and path.read_bytes() == text.encode()
    except OSError:
        return False
    return same and stat.S_IMODE(found.st_mode) == mode and found.st_uid == os.geteuid()


def different(wished: Mapping[Path, tuple[str, int]]) -> list[Path]:
    """Return the paths, sorted, that are no file of this content, mode and user."""
    return sorted(
        path for path, (text, mode) in wished.items() if not _is_as_wished(path, text, mode)
    )


def write(files: Mapping[Path, tuple[str, int]]) -> None:
    """Write files of this content and mode: all of them, or none where one cannot be written.

    Their directories must be there. A symbolic link in the place of one is replaced.

    Raises:
        OSError: it names the path. Nothing was changed, unless renaming itself failed.
    """
    staged: dict[Path, Path] = {}
    try:
        for path, (text, mode) in files.items():
            try:
                if path.is_dir() and not path.is_symlink():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
                staged[path] = Path(name)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text.encode())
                    file.flush()
                    os.fchmod(file.fileno(), mode)
                    os.fsync(file.fileno())
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error
        for path in list(staged):
            staged[path].replace(path)
            del staged[path]
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


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


def unread(units: Iterable[str]) -> bool:
    """Tell whether systemd works on with other contents of these units than their files have.

    Raises:
        CommandError: systemd does not run here.
    """
    found = run(["systemctl", "show", "--property=NeedDaemonReload", "--value", *units])
    return "yes" in found.split()
