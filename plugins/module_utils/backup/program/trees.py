"""Files and directories: linked, copied, written whole and removed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from . import base


def write_file(path: Path, text: str) -> None:
    """Write a file for root alone, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def remove_tree(path: Path) -> None:
    """Remove a directory of this program, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def is_ours(name: str) -> bool:
    """Tell whether an entry of a service's directory was put there by this program."""
    directories = (base.STAGE, base.SCRATCH, base.RESTORING, base.BEGINNING, base.FREE_SPACE)
    return name in directories or name.startswith(base.ASIDE)


def link_tree(source: Path, target: Path, deadline: float) -> int:
    """Make a second tree of the same files without copying objects; return how many there are.

    What CTP keeps beside its directories it rewrites in place, so that is copied. Objects are only
    ever
    moved, replaced and deleted.

    Raises:
        BackupError: the deadline (seconds of time.monotonic()) has passed.
    """
    count = 0

    def walk(directory: Path, copy: Path, top: bool) -> None:
        nonlocal count
        stat = directory.stat()
        copy.mkdir(mode=0o700)
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name in base.CTP_LEFT_OUT or (top and is_ours(entry.name)):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    walk(Path(entry.path), copy / entry.name, False)
                elif entry.is_file(follow_symlinks=False):
                    if top:
                        shutil.copy2(entry.path, copy / entry.name)
                        held = entry.stat(follow_symlinks=False)
                        os.chown(copy / entry.name, held.st_uid, held.st_gid)
                    else:
                        os.link(entry.path, copy / entry.name)
                    count += 1
                    if count % 1000 == 0 and time.monotonic() > deadline:
                        raise base.BackupError(
                            f"More than {count} files lie in {source}, too many to note within "
                            f"{base.PAUSE_SECONDS:g} s while CTP is held. Is Orthanc away for "
                            "long, or a quarantine full? Empty them first."
                        )
        os.chown(copy, stat.st_uid, stat.st_gid)
        copy.chmod(stat.st_mode & 0o7777)

    walk(source, target, True)
    return count


def copy_tree(source: Path, target: Path, deadline: float) -> int:
    """Copy a tree with its owners and modes; return how many files there are.

    Raises:
        BackupError: the deadline (seconds of time.monotonic()) has passed, or the disk has no room.
    """
    entries = [path for path in source.rglob("*") if not is_ours(path.relative_to(source).parts[0])]
    files = [path for path in entries if path.is_file() and not path.is_symlink()]
    needs_space(source, sum(path.stat().st_size for path in files))
    target.mkdir(mode=0o700)
    for path in [source, *entries]:
        copy = target / path.relative_to(source)
        if path.is_symlink():
            copy.symlink_to(path.readlink())
        elif path.is_dir():
            copy.mkdir(mode=0o700, exist_ok=True)
        elif path.is_file():
            shutil.copy2(path, copy)
        else:
            continue
        held = path.lstat()
        os.chown(copy, held.st_uid, held.st_gid, follow_symlinks=False)
        if not path.is_symlink():
            copy.chmod(held.st_mode & 0o7777)
        if time.monotonic() > deadline:
            raise base.BackupError(
                f"{source} could not be copied within {base.PAUSE_SECONDS:g} s while its "
                "service is held."
            )
    return len(files)


def needs_space(directory: Path, wanted: int) -> None:
    """Raise ``BackupError`` unless so many bytes are free, and a tenth more."""
    free = os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize
    if free < wanted * 1.1:
        raise base.BackupError(
            f"{directory} has {free / 1e9:.1f} GB free, and {wanted * 1.1 / 1e9:.1f} GB are "
            "needed. Make room, or enlarge the volume (docs/volumes.md)."
        )


def empty(directory: Path) -> None:
    """Remove all that a restore put into a directory; what was put aside, and the mark, stay."""
    for path in list(directory.iterdir()):
        if path.name.startswith(base.ASIDE) or path.name in ("lost+found", base.RESTORING):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def mark_restore(directory: Path, aside: str) -> None:
    """Mark a directory as one whose data is being restored, by a mark that is whole at once.

    Args:
        aside: name of the directory into which `put_aside` is to move what it holds; empty for
            none.
    """
    beginning = directory / base.BEGINNING
    remove_tree(beginning)
    beginning.mkdir(mode=0o700)
    if aside:
        write_file(beginning / base.MOVING, aside)
    beginning.rename(directory / base.RESTORING)


def put_aside(directory: Path) -> None:
    """Move what a directory holds to where its mark says, or the rest of it; where it says so.

    A run that ends in the midst of this leaves the mark, so that the half is taken for no whole,
    and nothing of it is removed as if a restore had put it there.
    """
    moving = directory / base.RESTORING / base.MOVING
    if not moving.exists():
        return
    aside = directory / moving.read_text()
    base.say(f"putting what is there into {aside}")
    aside.mkdir(mode=0o700, exist_ok=True)
    for entry in list(directory.iterdir()):
        if not is_ours(entry.name) and entry.name != "lost+found":
            entry.rename(aside / entry.name)
    moving.unlink()
