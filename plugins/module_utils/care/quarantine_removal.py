"""Copy objects out of CTP's quarantine, and have CTP remove them for good."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine import (
    Held,
    copied,
    manifest,
    summary,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import Http

PAUSE_MIB = 512
"""What an export leaves free."""


class QuarantineError(Exception):
    """An export or a purge that cannot be made; the text says why, and what to do."""


class ChangedError(Exception):
    """A file is not what it was a moment ago."""


def digest_of(path: Path, target: int | None = None) -> str:
    """Return the SHA-256 of a file, and write what was read to a descriptor.

    Raises:
        ChangedError: it is not there, is no regular file, or was written meanwhile.
        OSError: it cannot be read, or the target cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ChangedError from error
    with os.fdopen(descriptor, "rb") as source:
        before = os.fstat(source.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise ChangedError
        found = hashlib.sha256()
        while chunk := source.read(1024 * 1024):
            found.update(chunk)
            if target is not None:
                view = memoryview(chunk)
                while view:
                    view = view[os.write(target, view) :]
        after = os.fstat(source.fileno())
    if any(
        getattr(before, name) != getattr(after, name)
        for name in ("st_size", "st_mtime_ns", "st_ctime_ns")
    ):
        raise ChangedError
    return found.hexdigest()


def copy(source: Path, target: Path) -> str:
    """Copy a file to a new one, on the disk when this returns; return the SHA-256 of both.

    Raises:
        ChangedError: the source is gone or was written meanwhile; there is no new file then.
        OSError: the copy cannot be written, or does not hold what was written to it.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            digest = digest_of(source, descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except ChangedError:
        target.unlink()
        raise
    if digest_of(target) != digest:
        raise OSError(f"{target.name} does not hold what was written to it")
    return digest


def sync(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def export(destination: Path, held: list[Held], check_mode: bool = False) -> int:
    """Copy objects to a new directory of root's, with a manifest; return how many were not copied.

    The directory has its name only when all in it is whole and on the disk.

    Args:
        destination: the directory to make.
        held: what is copied.
        check_mode: find only out whether it can be.

    Raises:
        QuarantineError: there is something already, or no room; nothing of it is left.
    """
    if not destination.is_absolute() or os.path.lexists(destination):
        raise QuarantineError(
            f"The directory for the export is {str(destination)!r}. Accepted: an absolute path"
            " that does not exist yet. Nothing was copied."
        )
    parent = next(each for each in destination.parents if each.exists())
    free = shutil.disk_usage(parent).free - PAUSE_MIB * 2**20
    needed = sum(each.size for each in held)
    if needed > free:
        raise QuarantineError(
            f"{parent} has {max(free, 0) // 2**20} MiB to spare (beside {PAUSE_MIB} MiB that"
            f" stay free); the export needs {needed // 2**20} MiB. Choose another "
            "quarantine_export_directory. Nothing was copied."
        )
    if check_mode:
        return 0
    os.umask(0o077)
    partial = destination.with_name(f"{destination.name}.partial")
    named, digests = [], {}
    try:
        for missing in reversed([each for each in destination.parents if not each.exists()]):
            missing.mkdir(mode=0o700)
            sync(missing.parent)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        for number, each in enumerate(held, start=1):
            name = f"{number:06d}.dcm"
            # One that was released or removed meanwhile is not there to be copied.
            with contextlib.suppress(ChangedError):
                digests[name] = copy(Path(each.path), partial / name)
                named.append((name, each))
        with (partial / "manifest.csv").open("x", encoding="utf-8", newline="") as file:
            file.write(manifest(named, digests))
            file.flush()
            os.fsync(file.fileno())
        sync(partial)
        partial.rename(destination)
        sync(destination.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise QuarantineError(
            f"The export to {destination} broke off: {error.strerror or error}. Its files were"
            " removed again, and nothing was taken out of the quarantine. Make room, or choose"
            " another quarantine_export_directory, and run this again."
        ) from error
    return len(held) - len(named)


def copies_in(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of each object that an export holds a whole copy of, by its id.

    Raises:
        QuarantineError: it cannot be read, or is no export.
    """
    found = {}
    try:
        listed_there = copied((directory / "manifest.csv").read_text(encoding="utf-8"))
        for identifier, (name, digest) in listed_there.items():
            with contextlib.suppress(ChangedError):
                if digest_of(directory / name) == digest:
                    found[identifier] = digest
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise QuarantineError(
            f"The export {directory} cannot be read: {error}. Accepted: a directory that"
            " quarantine_export=true made. Nothing was removed."
        ) from error
    return found


def is_still(each: Held, digest: str) -> bool:
    """Tell whether an object is still, byte by byte, what has this digest."""
    try:
        return digest_of(Path(each.path)) == digest
    except (ChangedError, OSError):
        return False


@dataclass(frozen=True)
class Purged:
    """What became of objects that were to be removed.

    Attributes:
        asked: those that CTP was asked to remove.
        removed: how many it removed.
        left: how many it did not, whether it was asked or ended before.
        differing: how many were not asked for, as they had no copy any more.
    """

    asked: list[Held]
    removed: int
    left: int
    differing: int


def purge(
    flavour: str, http: Http, held: list[Held], copies: dict[str, str] | None = None
) -> Purged:
    """Have CTP remove objects; return what became of them.

    Args:
        flavour: of CTP, ctp_flavour.
        http: CTP's page.
        held: what is to be removed.
        copies: SHA-256 of what was copied, by the object's id; what differs by now is left.

    Raises:
        ClientError: CTP's page does not answer.
    """
    removed = differing = 0
    asked: list[Held] = []
    # In parts: a request must not take longer than its client waits.
    step = 50 if flavour == "rsna" else 1
    for start in range(0, len(held), step):
        part = held[start : start + step]
        # Looked at right before: what was copied a while ago may have been written since.
        same = [e for e in part if copies is None or is_still(e, copies.get(e.id, ""))]
        differing += len(part) - len(same)
        if not same:
            continue
        asked += same
        if flavour == "rsna":
            body = {"ids": [each.id for each in same]}
            status, content = http.send("POST", "/api/quarantine/delete", body)
            if status != 200:
                break
            removed += int(json.loads(content)["deleted"])
        else:
            removed += http.send("DELETE", f"/api/quarantine/{same[0].id}")[0] == 200
    return Purged(asked, removed, len(held) - differing - removed, differing)


def note(record: Path, done: Purged, older_than_days: float) -> None:
    """Add a purge, as numbers, to a file of one line of JSON for each."""
    line = {
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "removed": done.removed,
        "older_than_days": older_than_days,
        "reasons": {row["reason"]: row["objects"] for row in summary(done.asked)},
    }
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
