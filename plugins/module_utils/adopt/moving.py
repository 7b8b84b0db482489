"""Data that get another directory without being copied, and back.

What is on the file system of its new place is renamed, entry by entry, so that the directory of the
old stack stays where it is, empty. What is on another one is copied, and the original stays until
the copy goes back. Every step may be repeated after an interruption.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import run

COPY_SECONDS = 4 * 3600.0
#: What a file system has for itself.
NOT_DATA = frozenset({"lost+found"})
#: Free space that a copy leaves.
RESERVE = 512 * 1024**2


class MoveError(RuntimeError):
    """Data cannot be brought where the inventory says; the text is for an operator."""


def planned(source: Path, destination: Path) -> dict[str, Any]:
    """Return how data get to their new place; no data are changed.

    Args:
        source: where they are.
        destination: an empty directory with the owner and mode that it shall have. One that is not
            there is made, for the owner of its parent alone.

    Returns:
        source, destination, copied (whether they lie on another file system), and owners: whose
        the entries are (uid, gid), and by path, relative to the source, those that differ.

    Raises:
        MoveError: the source is no directory, the destination holds something, or a copy does not
            fit.
    """
    if source.is_symlink() or not source.is_dir():
        raise MoveError(f"{source} is no directory. Find out where the data are.")
    if not os.path.lexists(destination) and destination.parent.is_dir():
        owner = destination.parent.stat()
        destination.mkdir(mode=0o700)
        os.chown(destination, owner.st_uid, owner.st_gid)
    kept = [each.name for each in sorted(destination.iterdir())] if destination.is_dir() else []
    if not destination.is_dir() or any(_holds_something(destination / name) for name in kept):
        raise MoveError(
            f"{destination} is not an empty directory. Accepted: one that is made for the data of "
            f"{source} and holds nothing. Move what is there away, or set auscat_data_root."
        )
    copied = source.stat().st_dev != destination.stat().st_dev
    if copied:
        size = sum(path.lstat().st_blocks * 512 for path in _all(source, destination))
        free = shutil.disk_usage(destination).free
        if size + RESERVE > free:
            raise MoveError(
                f"{source} takes {size // 1024**2} MiB and lies on another file system than "
                f"{destination}, where {free // 1024**2} MiB are free. Make space, or set "
                "auscat_data_root to a directory of the former."
            )
    counted = Counter((s.st_uid, s.st_gid) for s in map(Path.lstat, _all(source, destination)))
    most = counted.most_common(1)[0][0] if counted else (0, 0)
    differing = {
        str(path.relative_to(source)): [status.st_uid, status.st_gid]
        for path in _all(source, destination)
        if ((status := path.lstat()).st_uid, status.st_gid) != most
    }
    return {
        "source": str(source),
        "destination": str(destination),
        "copied": copied,
        # Empty directories of ours that belong there.
        "kept": kept,
        "owner": list(most),
        "differing": differing,
    }


def take(move: Mapping[str, Any]) -> None:
    """Bring data where they shall be, as `planned` has it, owned as the directory there is.

    Raises:
        OSError, CommandError: the machine refuses.
    """
    source, destination = Path(move["source"]), Path(move["destination"])
    for entry in _entries(source, destination):
        if move["copied"]:
            # Beside its place first, so that what has its name is whole.
            partial = destination / f".{entry.name}.partial"
            if os.path.lexists(destination / entry.name):
                continue
            _remove(partial)
            run(["cp", "--archive", "--reflink=auto", "--", str(entry), str(partial)],
                timeout=COPY_SECONDS)  # fmt: skip
            partial.rename(destination / entry.name)
        else:
            entry.rename(destination / entry.name)
    owner = destination.stat()
    for entry in _taken(move, destination):
        for path in (entry, *_all(entry, Path("/"))):
            _own(path, owner.st_uid, owner.st_gid)
    run(["sync", "--file-system", str(destination)], timeout=COPY_SECONDS)


def give_back(move: Mapping[str, Any]) -> None:
    """Bring data back to where they were, with what has come since, owned as they were.

    Of a copy, which has gone on since, all goes back in the place of the original.

    Raises:
        OSError, CommandError: the machine refuses. The data are whole in one of the two places.
    """
    source, destination = Path(move["source"]), Path(move["destination"])
    if move["copied"]:
        _replace(move, source, destination)
    else:
        for entry in _taken(move, destination):
            _own_as_before(move, destination, entry)
            entry.rename(source / entry.name)
    run(["sync", "--file-system", str(source)], timeout=COPY_SECONDS)


def _replace(move: Mapping[str, Any], source: Path, destination: Path) -> None:
    """Put a copy in the place of what it was copied from; may be repeated."""
    returned, replaced = source / ".adopt.returned", source / ".adopt.replaced"
    partial, leaving = source / ".adopt.returned.partial", source / ".adopt.replaced.partial"
    own = (returned, replaced, partial, leaving)
    if not returned.exists() and not replaced.exists():
        if not _taken(move, destination):
            return
        _remove(partial)
        run(["cp", "--archive", "--reflink=auto", "--", str(destination), str(partial)],
            timeout=COPY_SECONDS)  # fmt: skip
        for name in move["kept"]:
            _remove(partial / name)
        for entry in _entries(partial, Path("/")):
            _own_as_before(move, partial, entry)
        run(["sync", "--file-system", str(source)], timeout=COPY_SECONDS)
        partial.rename(returned)
    if not replaced.exists():
        leaving.mkdir(mode=0o700, exist_ok=True)
        for entry in _entries(source, Path("/")):
            if entry not in own:
                entry.rename(leaving / entry.name)
        leaving.rename(replaced)
    if returned.exists():
        for entry in _entries(returned, Path("/")):
            entry.rename(source / entry.name)
        returned.rmdir()
    # The next attempt to take the data over needs an empty place. As long as the replaced data are
    # there, what is left of a copy is not taken for one.
    for entry in _taken(move, destination):
        _remove(entry)
    _remove(replaced)


def _taken(move: Mapping[str, Any], destination: Path) -> list[Path]:
    return [each for each in _entries(destination, Path("/")) if each.name not in move["kept"]]


def _holds_something(path: Path) -> bool:
    return path.is_symlink() or not path.is_dir() or any(path.iterdir())


def _own_as_before(move: Mapping[str, Any], root: Path, entry: Path) -> None:
    for path in (entry, *_all(entry, Path("/"))):
        _own(path, *move["differing"].get(str(path.relative_to(root)), move["owner"]))


def _entries(directory: Path, other: Path) -> list[Path]:
    """Return what is moved of a directory: not what the other place lies below."""
    if not directory.is_dir():
        return []
    kept = other.relative_to(directory).parts[:1] if other.is_relative_to(directory) else ()
    return [each for each in sorted(directory.iterdir()) if each.name not in (*kept, *NOT_DATA)]


def _all(directory: Path, other: Path) -> Iterator[Path]:
    if not directory.is_dir() or directory.is_symlink():
        return
    for entry in _entries(directory, other):
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            for root, directories, names in os.walk(entry):
                for name in (*directories, *names):
                    yield Path(root, name)


def _own(path: Path, uid: int, gid: int) -> None:
    status = path.lstat()
    if (status.st_uid, status.st_gid) != (uid, gid):
        os.chown(path, uid, gid, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
