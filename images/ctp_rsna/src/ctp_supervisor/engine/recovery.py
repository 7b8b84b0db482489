"""What an earlier kill left on disk, put right before CTP starts.

CTP's queues are directory trees from which it serves whatever file it finds, in order of the names
(QueueManager). It fills them by copying a file and deleting the original afterwards, and it
anonymizes in place. A kill can therefore leave

* an acknowledged object in ``temp`` of the import stage, which CTP never looks at again;
* a copy, whole or cut short, in a queue beside its original;
* in ``active`` of the import stage: an object not yet anonymized, with or without a half-written
  ``DCMtemp-*.anon``; or an anonymized one, whose PatientID the lookup table does not know;
* in ``active`` of the export stage: the object that was on its way to Orthanc;
* the index of a quarantine in a state in which CTP runs without that quarantine, which means that
  it deletes what fails.

Everything moves by rename, so that a kill during the recovery changes nothing for the next one.

What goes is one of three: an empty file; a file whose bytes another file has from its start on, so
a copy or the beginning of one; what the anonymizer had begun to write beside the one original. All
else that cannot be gone on with is put into a quarantine.

Whether an object is anonymized already is not asked of the object: a sender can write the marks.
CTP writes an anonymized file in ``active`` of the import stage, and receives none there. That
directory has a default ACL (acl(5)), so that what is made in it has a mode that nothing else has.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from ..dicom import part10
from ..machine.files import files_below, files_in
from ..settings import Pipeline

LOG = logging.getLogger(__name__)

RECOVERED = "!recovered"
"""A directory in a queue. Sorts before CTP's own, so that it is served first."""
INDEX = "..index"
_LATEST = 32
_ACL = "system.posix_acl_default"
_GROUP_READS = struct.pack("<I", 2) + b"".join(
    # user::rw-, group::r--, other::---; the header and the entries of linux/posix_acl_xattr.h.
    struct.pack("<HHI", tag, permissions, 0xFFFFFFFF)
    for tag, permissions in ((0x01, 6), (0x04, 4), (0x20, 0))
)
_CHUNK = 1024 * 1024


@dataclass
class Recovered:
    """How many files of each kind were found."""

    imported: int = 0
    """Put back into an import queue: acknowledged, not yet anonymized."""
    exported: int = 0
    """Put back into an export queue: anonymized, not yet known to be in Orthanc."""
    copies: int = 0
    """Second copies of those, removed."""
    incomplete: int = 0
    """Cut short, or not understood: put into the import stage's quarantine."""
    doubtful: int = 0
    """Anonymized while a script was changed, or nobody knows by whom: put into the filter's
    quarantine."""

    def __iadd__(self, other: Recovered) -> Recovered:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        return self

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, each.name)} {each.name}" for each in fields(self))


@dataclass(frozen=True)
class Marks:
    """What an object anonymized by our script says of itself, and anybody can write."""

    prefixes: tuple[str, ...]
    method: str

    def are_on(self, path: Path) -> bool:
        """Whether the file is what our script leaves behind."""
        header = part10.read_header(path)
        return (
            header is not None
            and header.identity_removed == "YES"
            and header.patient_id.startswith(self.prefixes)
            and set(self.method.split("\\")) <= set(header.methods)
        )


def mark_active(pipeline: Pipeline) -> bool:
    """Have CTP's anonymized files made recognisable; false where the file system cannot.

    All others are made under this program's umask, 077.
    """
    active = pipeline.stage("import").root / "active"
    active.mkdir(parents=True, exist_ok=True)
    try:
        os.setxattr(active, _ACL, _GROUP_READS)
    except OSError:
        return False
    return True


def _is_marked(active: Path) -> bool:
    try:
        return os.getxattr(active, _ACL) == _GROUP_READS
    except OSError:
        return False


def may_be_anonymized(path: Path, marks: Marks) -> bool:
    """Whether a file in ``active`` of the import stage says so, and the file system does not know
    better."""
    return marks.are_on(path) and (not _is_marked(path.parent) or _made_there(path))


def _made_there(path: Path) -> bool:
    """Whether a file was made in a marked directory, and not moved there."""
    return bool(path.stat().st_mode & stat.S_IRGRP)


def holds_objects(pipelines: Iterable[Pipeline]) -> bool:
    """Whether any queue or quarantine has a file: objects were received before."""
    for pipeline in pipelines:
        for stage in pipeline.stages:
            for part in ("temp", "active", "queue"):
                if next(files_below(stage.root / part), None) is not None:
                    return True
            if files_in(stage.quarantine):
                return True
    return False


def recover(
    pipeline: Pipeline, marks: Marks, clean: bool, doubtful_since: float | None = None
) -> Recovered:
    """Put one pipeline right.

    ``clean``: CTP ended by itself, so that its indexes are whole. ``doubtful_since``: what was
    anonymized from then on (seconds since the epoch) may have met a changed script.
    """
    found = Recovered()
    importing, exporting = pipeline.stage("import").root, pipeline.stage("export").root
    incoming, outgoing = importing / "queue", exporting / "queue"
    fresh, done, unsure = _sort_active(importing / "active", marks, found)
    for path in files_in(importing / "temp"):
        if settle(path, pipeline, found):
            fresh.append(path)
    leaving = [path for path in files_in(exporting / "active") if not _drop_empty(path)]
    here, gone = [*fresh], [*done, *leaving]
    if not clean:
        # A kill while a quarantined object was queued again leaves two of it, too.
        for kind in ("import", "anonymizer", "filter"):
            here += files_in(pipeline.stage(kind).quarantine)
        gone += files_in(pipeline.stage("export").quarantine)
    found.copies += _drop_copies(here, incoming)
    found.copies += _drop_copies(gone, outgoing)
    for path in [p for p in done if any(_same_start(p, q) for q in leaving)]:
        path.unlink()
        done.remove(path)
        found.copies += 1
    for path in unsure:
        _rename(path, pipeline.stage("filter").quarantine, "TQ-")
    found.doubtful += len(unsure)
    found.imported += _move(fresh, incoming)
    found.exported += _move(done + leaving, outgoing)
    if doubtful_since is not None:
        late = [
            Path(entry.path)
            for entry in files_below(outgoing)
            if entry.stat().st_mtime >= doubtful_since - 1
        ]
        for path in late:
            _rename(path, pipeline.stage("filter").quarantine, "TQ-")
        found.doubtful += len(late)
    if not clean:
        for stage in pipeline.stages:
            shutil.rmtree(stage.quarantine / INDEX, ignore_errors=True)
    return found


def settle(path: Path, pipeline: Pipeline, found: Recovered) -> bool:
    """Whether a file that CTP left in ``temp`` is a whole object.

    One that is cut short was not acknowledged, since CTP answers after it has closed the file; but
    that an object was sent so, with bytes behind its last element for instance, looks the same. It
    goes only where a whole one with the same beginning and SOP Instance UID is there.
    """
    if _drop_empty(path):
        return False
    if not part10.is_truncated(path):
        return True
    if any(_begins(path, other) for other in _elsewhere(path, pipeline)):
        path.unlink()
        found.copies += 1
    else:
        _rename(path, pipeline.stage("import").quarantine, "TQ-")
        found.incomplete += 1
    return False


def _elsewhere(path: Path, pipeline: Pipeline) -> Iterator[Path]:
    """Where an object may lie that was sent a second time: what CTP has not anonymized yet."""
    root = pipeline.stage("import").root
    for directory in (root / "temp", root / "active", pipeline.stage("anonymizer").quarantine):
        yield from (other for other in files_in(directory) if other != path)
    latest = sorted(files_below(root / "queue"), key=lambda entry: entry.stat().st_mtime_ns)
    yield from (Path(entry.path) for entry in latest[-_LATEST:])


def _begins(path: Path, whole: Path) -> bool:
    if not _same_start(path, whole) or part10.is_truncated(whole):
        return False
    cut, complete = part10.read_header(path), part10.read_header(whole)
    return bool(
        cut
        and complete
        and cut.sop_instance_uid
        and cut.sop_instance_uid == complete.sop_instance_uid
    )


def _sort_active(
    active: Path, marks: Marks, found: Recovered
) -> tuple[list[Path], list[Path], list[Path]]:
    """What is to be anonymized, what is, and what nobody knows of."""
    present = [path for path in files_in(active) if not _drop_empty(path)]
    halves = [path for path in present if path.match("DCMtemp-*.anon")]
    marked = _is_marked(active)
    fresh: list[Path] = []
    done: list[Path] = []
    unsure: list[Path] = []
    for path in present:
        if path in halves:
            continue
        if not may_be_anonymized(path, marks):
            fresh.append(path)
        else:
            (done if marked and not part10.is_truncated(path) else unsure).append(path)
    for path in halves:
        # CTP deletes the original only when this is complete, and has one at a time.
        if len(fresh) == 1 and not done and not unsure and len(halves) == 1:
            path.unlink()
            found.copies += 1
        elif (
            not fresh
            and marked
            and _made_there(path)
            and marks.are_on(path)
            and not part10.is_truncated(path)
        ):
            done.append(path)
        else:
            unsure.append(path)
    return fresh, done, unsure


def _drop_empty(path: Path) -> bool:
    """Remove a file without content: a name that CTP reserved and did not come to fill."""
    if path.stat().st_size:
        return False
    path.unlink()
    return True


def _drop_copies(originals: list[Path], queue: Path) -> int:
    """Remove from a queue what is the beginning, or all, of an original that lies elsewhere.

    Only the latest can be: CTP copies one after the other.
    """
    if not originals:
        return 0
    latest = sorted(files_below(queue), key=lambda entry: entry.stat().st_mtime_ns)[-_LATEST:]
    dropped = 0
    for entry in latest:
        copy = Path(entry.path)
        if any(_same_start(copy, original) for original in originals):
            copy.unlink()
            dropped += 1
    return dropped


def _same_start(copy: Path, original: Path) -> bool:
    size = copy.stat().st_size
    if size > original.stat().st_size:
        return False
    with copy.open("rb") as first, original.open("rb") as second:
        # Most differ in their first kilobyte, which holds the UID.
        count = min(1024, size)
        while size:
            data = first.read(count)
            if data != second.read(count):
                return False
            size -= len(data)
            if not data:
                return False
            count = min(_CHUNK, size)
    return True


def _move(paths: list[Path], queue: Path) -> int:
    for path in paths:
        _rename(path, queue / RECOVERED, "QR-")
    return len(paths)


def requeue(path: Path, queue: Path) -> None:
    """Put one file into a queue of the running CTP, which serves what it finds there."""
    _rename(path, queue / RECOVERED, "QR-")


def _rename(path: Path, directory: Path, prefix: str) -> None:
    target = directory / f"{prefix}{time.time_ns():020d}.dcm"
    while target.exists():
        target = directory / f"{prefix}{time.time_ns():020d}.dcm"
    for attempt in range(100):
        directory.mkdir(parents=True, exist_ok=True)
        try:
            path.rename(target)
        except FileNotFoundError:
            # CTP removes a directory of its queue as soon as it is empty.
            if attempt == 99 or not path.exists():
                raise
        else:
            return
