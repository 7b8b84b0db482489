"""Find what was exported out of CTP's quarantine, and remove it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine_removal import (
    QuarantineError,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import counted

#: How `manifest` (care/quarantine.py) begins.
_MANIFEST = b"file,reason,"
_OBJECT = re.compile(r"\d{6,}\.dcm")
_PARTIAL = ".partial"


class Export(NamedTuple):
    """A directory that an export made, or began to make."""

    path: Path
    objects: int
    size: int  #: of all files in it, in bytes

    def __str__(self) -> str:
        whole = "" if self.path.suffix != _PARTIAL else ", of an export that broke off"
        return (
            f"{self.path} ({counted(self.objects, 'object')}, {self.size / 2**20:.1f} MiB{whole})"
        )


def note(record: Path, directory: Path) -> None:
    """Add a directory in which exports are made to a file of one line of JSON for each.

    Raises:
        QuarantineError: it cannot be written.
    """
    if directory in noted(record):
        return
    try:
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps({"directory": str(directory)}) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise QuarantineError(
            f"{record} cannot be written: {error.strerror}. It notes where exports lie. Make room, "
            "and run this again. Nothing was copied."
        ) from error


def noted(record: Path) -> list[Path]:
    """Return the directories that a file of `note` has; what cannot be read of it is left out."""
    found = []
    try:
        lines = record.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            path = Path(json.loads(line)["directory"])
        except (ValueError, TypeError, KeyError):
            continue
        if path.is_absolute():
            found.append(path)
    return found


def exports_in(directories: Iterable[Path]) -> list[Export]:
    """Return what exports have made in these directories; no symbolic link is followed.

    Raises:
        OSError: one of them cannot be read.
    """
    found = {}
    for directory in directories:
        if not directory.is_dir():
            continue
        for path in sorted(directory.iterdir()):
            if path.is_dir() and not path.is_symlink() and _is_export(path):
                files = [each for each in path.rglob("*") if each.is_file()]
                objects = sum(_OBJECT.fullmatch(each.name) is not None for each in files)
                size = sum(each.lstat().st_size for each in files)
                found[path] = Export(path, objects, size)
    return list(found.values())


def _is_export(path: Path) -> bool:
    """Tell whether a directory has a manifest, or objects alone and the name of half an export."""
    try:
        with (path / "manifest.csv").open("rb") as file:
            return file.read(len(_MANIFEST)) == _MANIFEST
    except FileNotFoundError:
        return path.suffix == _PARTIAL and all(
            _OBJECT.fullmatch(each.name) for each in path.iterdir()
        )
    except IsADirectoryError:
        return False


def remove(exports: Iterable[Export], directories: Iterable[Path]) -> None:
    """Remove exports with all that lies in them, and these directories where they are empty then.

    Raises:
        OSError: something cannot be removed.
    """
    for each in exports:
        shutil.rmtree(each.path)
    for directory in directories:
        if directory.is_dir() and not directory.is_symlink() and not any(directory.iterdir()):
            directory.rmdir()
