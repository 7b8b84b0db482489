"""The directories that the services keep their data in: what they are and what they should be."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def describe(path: Path) -> str:
    """Return owner, group and mode as one line, or 'absent'."""
    if not path.exists():
        return "absent"
    status = path.stat()
    return f"{status.st_uid}:{status.st_gid} {stat.S_IMODE(status.st_mode):04o}"


def differences(wished: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], str, str]]:
    """Return each directory that is not as wished, with what it is and what it should be.

    Args:
        wished: path, owner, group (numbers) and mode (octal text) of each directory.

    Raises:
        ValueError: a path is relative, or something that is no directory is there.
    """
    found = []
    # All are looked at before the first is made, so that a refusal leaves the host as it was.
    for directory in wished:
        path = Path(directory["path"])
        if not path.is_absolute():
            raise ValueError(f"{path} is not absolute. Accepted: an absolute path.")
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise ValueError(
                f"{path} exists and is not a directory. Accepted: a directory or nothing. "
                "Move it away or set auscat_data_root to another path. Nothing was changed."
            )
        target = f"{directory['owner']}:{directory['group']} {int(directory['mode'], 8):04o}"
        present = describe(path)
        if present != target:
            found.append((directory, present, target))
    return found


def make(different: Iterable[tuple[Mapping[str, Any], str, str]]) -> None:
    """Make or change the directories that `differences` returned.

    Raises:
        ValueError: the host refuses one; the text is for the operator.
    """
    for directory, _, _ in different:
        path = Path(directory["path"])
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chown(path, directory["owner"], directory["group"])
            path.chmod(int(directory["mode"], 8))
        except OSError as error:
            raise ValueError(
                f"{path} cannot be made or changed: {error.strerror}. Accepted: a path "
                "that root can write to. Is a volume that belongs here missing (findmnt), or "
                "is the file system read-only?"
            ) from error
