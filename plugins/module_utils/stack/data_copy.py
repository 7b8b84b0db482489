"""A service's data as it was before another version ran on it: taken, put back, dropped.

A copy lies in a directory of root's, ``<copies>/<service>``, beside the data so that it can share
files with them. It has that name only when it is whole. Files that the service never rewrites are
hard links: they cost no space, and outlive being removed from the data.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import run

COPY_SECONDS = 4 * 3600.0


class DataCopyError(RuntimeError):
    """A copy cannot be made; the text says why, and that nothing was changed."""


@dataclass(frozen=True)
class Size:
    """What a copy takes: bytes to be copied, files to be linked, bytes free where it will lie."""

    copied: int
    linked: int
    free: int


@dataclass(frozen=True)
class DataCopy:
    """The copy of one service's directory.

    Attributes:
        service: name of the service.
        source: its directory on the host.
        copies: directory of all copies.
        linked: patterns of entries of `source` below which no file is ever rewritten.
        carry_over: how what the new version took in meanwhile gets into the old one.
    """

    service: str
    source: Path
    copies: Path
    linked: tuple[str, ...] = ()
    carry_over: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the whole copy lies."""
        return self.copies / self.service

    @property
    def failed(self) -> Path:
        """Where that lies which the version that failed left, once the copy was put back."""
        return self.copies / f"{self.service}.failed"

    @property
    def _restored(self) -> Path:
        """Says that the copy was put back, and which files had come since."""
        return self.copies / f"{self.service}.restored"

    @property
    def _partial(self) -> Path:
        return self.copies / f"{self.service}.partial"

    @property
    def is_whole(self) -> bool:
        """Whether there is a copy."""
        return self.path.is_dir()

    def size(self) -> Size:
        """Return what a copy would take now. What vanishes meanwhile does not count."""
        copied = linked = 0
        where = _existing(self.copies)
        for entry in self._entries():
            shared = self._is_linked(entry.name) and entry.lstat().st_dev == where.stat().st_dev
            for file in _files(entry):
                try:
                    blocks = file.lstat().st_blocks * 512
                except FileNotFoundError:
                    continue
                linked, copied = (linked + 1, copied) if shared else (linked, copied + blocks)
        return Size(copied, linked, shutil.disk_usage(where).free)

    def require_space(self, reserve: int = 512 * 1024**2) -> None:
        """Raise `DataCopyError` unless the copy fits and `reserve` bytes stay free."""
        size = self.size()
        if not self.is_whole and size.copied + reserve > size.free:
            raise DataCopyError(
                f"Where {self.copies} lies, {size.free // 1024**2} MiB are free. The data of "
                f"{self.service} are copied before another version runs on them, which takes "
                f"{size.copied // 1024**2} MiB, and {reserve // 1024**2} MiB must stay free. Make "
                "space, or enlarge the volume, and run again. Nothing was changed."
            )

    def prepare(self) -> None:
        """Link what is there while the service still runs, so that it stands for a shorter time."""
        if self.is_whole:
            return
        self.drop()
        self.copies.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.copies.chmod(0o700)
        self._partial.mkdir(mode=0o700)
        self._link_all()

    def take(self) -> None:
        """Make the copy whole; the service must have stopped.

        One that is whole already is kept: it is older than what an interrupted run left behind.
        """
        if self.is_whole:
            return
        self._link_all()
        for entry in self._entries():
            if not self._is_linked(entry.name):
                _copy(entry, self._partial)
        run(["sync", "--file-system", str(self._partial)], timeout=COPY_SECONDS)
        self._partial.rename(self.path)

    def restore(self) -> list[Path]:
        """Put the copy back; the service must have stopped. May be repeated after an interruption.

        Once it is back it is not put back again: the service may have run on it since.

        Returns:
            The files below the linked entries that came since, relative to `source`. They stay.
            All else that the failed version left is moved to `failed`.
        """
        if self._restored.exists():
            return [Path(name) for name in json.loads(self._restored.read_text())]
        self.failed.mkdir(mode=0o700, exist_ok=True)
        # As the service's own directory, so that its program can read it; the one around is root's.
        found = self.source.stat()
        os.chown(self.failed, found.st_uid, found.st_gid)
        added = []
        for entry in self._entries():
            if self._is_linked(entry.name):
                kept = self.path / entry.name
                added += [
                    file.relative_to(self.source)
                    for file in _files(entry)
                    if not os.path.lexists(kept / file.relative_to(entry))
                ]
            elif os.path.lexists(self.failed / entry.name):
                _remove(entry)  # of an earlier attempt, which was interrupted
            else:
                shutil.move(str(entry), str(self.failed / entry.name))
        for entry in sorted(self.path.iterdir()):
            if self._is_linked(entry.name):
                _link(entry, self.source / entry.name)
            else:
                _copy(entry, self.source)
        run(["sync", "--file-system", str(self.source)], timeout=COPY_SECONDS)
        temporary = self._restored.with_name(f"{self._restored.name}.new")
        temporary.write_text(json.dumps([str(path) for path in added]))
        temporary.rename(self._restored)
        return added

    def set_aside(self) -> Path:
        """Keep what the failed version left under a name that no later run removes."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        return self.failed.rename(self.copies / f"{self.service}.unread-{stamp}")

    def begin_again(self) -> None:
        """Another version is about to run on the data: what was put back counts no more."""
        for path in (self._restored, self.failed):
            if os.path.lexists(path):
                _remove(path)

    def drop(self) -> None:
        """Remove the copy and what else an upgrade left of it."""
        for path in (self.path, self._partial):
            if os.path.lexists(path):
                _remove(path)
        self.begin_again()
        with suppress(OSError):
            self.copies.rmdir()  # unless something is left that nobody but an operator may remove

    def _entries(self) -> list[Path]:
        return sorted(self.source.iterdir()) if self.source.is_dir() else []

    def _is_linked(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.linked)

    def _link_all(self) -> None:
        for entry in self._entries():
            if self._is_linked(entry.name):
                _link(entry, self._partial / entry.name)
        # What was deleted since the first time must not come back.
        for entry in sorted(self._partial.iterdir()):
            for file in _files(entry):
                if not os.path.lexists(self.source / file.relative_to(self._partial)):
                    file.unlink()


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _files(entry: Path) -> Iterator[Path]:
    if not entry.is_dir() or entry.is_symlink():
        yield entry
        return
    for directory, _, names in os.walk(entry):
        for name in names:
            yield Path(directory, name)


def _link(source: Path, target: Path) -> None:
    """Link each file of a tree that is not in the other yet; copy where it cannot be linked."""
    if source.is_dir() and not source.is_symlink():
        if not target.is_dir():
            target.mkdir(mode=0o700)
            found = source.stat()
            os.chown(target, found.st_uid, found.st_gid)
            target.chmod(found.st_mode & 0o7777)
        for entry in os.scandir(source):
            _link(Path(entry.path), target / entry.name)
        return
    if os.path.lexists(target):
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError:
        return  # deleted meanwhile
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP):
            raise
        run(["cp", "--archive", str(source), str(target)], timeout=COPY_SECONDS)


def _copy(entry: Path, directory: Path) -> None:
    arguments = ["cp", "--archive", "--reflink=auto", "--", str(entry), str(directory)]
    run(arguments, timeout=COPY_SECONDS)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
