"""Files: those of a directory, and one that is replaced as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def files_in(directory: Path) -> list[Path]:
    """The files of a directory, empty ones too; none when there is no directory."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(directory) if entry.is_file())
    except FileNotFoundError:
        return []


def files_below(directory: Path) -> Iterator[os.DirEntry[str]]:
    """The files of a directory tree; directories that vanish meanwhile are skipped."""
    try:
        entries = list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield entry
