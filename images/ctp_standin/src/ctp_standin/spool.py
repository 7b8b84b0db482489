"""The spool: acknowledged objects as files, the directory they lie in as their state.

::

    receiving/<id>.part            being written; never acknowledged; removed at start
    incoming/<id>.dcm              acknowledged, to be forwarded
    quarantine/<reason>/<id>.dcm   acknowledged, will not be forwarded; the object as it was sent
    counters.json                  what can not be counted from the files
    uid.key                        key of the UID hash (see ``uid_key``)

In the place of stock CTP the states are CTP's own directories (``Layout``), and the reason stands
in the name of a quarantined file, because several reasons share a directory.

Every step is one rename or one unlink, so a kill at any moment leaves each acknowledged object in
exactly one place. An object that Orthanc took just before a kill is sent again, under the same
UIDs, and Orthanc keeps the one that it has.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path

import pydicom
import whole_files

LOG = logging.getLogger(__name__)

_ID = re.compile(r"^\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}$")
_NAME = re.compile(r"(?P<id>\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8})(?:\.(?P<reason>[a-z-]+))?\.dcm")


class Reason(str, Enum):
    """Why an object is in quarantine; also the name of its directory."""

    UNREADABLE = "unreadable"
    MISSING_PATIENT_ID = "missing-patient-id"
    AMBIGUOUS_PATIENT_ID = "ambiguous-patient-id"
    INCOMPLETE = "incomplete"
    UNKNOWN_PATIENT = "unknown-patient"
    OTHER_ISSUER = "other-issuer"
    INVALID_PSEUDONYM = "invalid-pseudonym"
    BURNED_IN_ANNOTATION = "burned-in-annotation"
    SOP_CLASS_NOT_ACCEPTED = "sop-class-not-accepted"
    REFUSED_BY_PROFILE = "refused-by-profile"
    PIXELS_NOT_DECLARED = "pixels-not-declared"
    PIXELS_NOT_BLANKED = "pixels-not-blanked"
    DEIDENTIFICATION_FAILED = "deidentification-failed"
    RESIDUAL_IDENTIFIER = "residual-identifier"
    REFUSED_BY_ORTHANC = "refused-by-orthanc"


_FORMER = {"unsupported-content": Reason.SOP_CLASS_NOT_ACCEPTED}
"""What reasons were called by earlier versions."""


class RefusedError(Exception):
    """The object must not leave: it goes to quarantine for ``reason``.

    ``detail`` may say where, such as a tag; never what was found there.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value} ({detail})" if detail else reason.value)
        self.reason = reason


@dataclass(frozen=True)
class Layout:
    """Which directory is which state."""

    receiving: Path
    incoming: Path
    quarantines: Mapping[Reason, Path]
    left_over: Path | None = None
    """Objects that CTP, or who recovers for it, left to be taken up at the next start."""
    parents: tuple[Path, ...] = ()
    """Directories above these that are this program's own too."""

    @classmethod
    def below(cls, directory: Path) -> Layout:
        """The layout of this program's own: a directory for each state and each reason."""
        quarantine = directory / "quarantine"
        return cls(
            receiving=directory / "receiving",
            incoming=directory / "incoming",
            quarantines={reason: quarantine / reason.value for reason in Reason},
            parents=(quarantine,),
        )

    def directories(self) -> list[Path]:
        """All of them, parents first."""
        return [
            *self.parents,
            self.receiving,
            self.incoming,
            *([self.left_over] if self.left_over else []),
            *self.quarantine_directories(),
        ]

    def quarantine_directories(self) -> list[Path]:
        """Each quarantine once."""
        return list(dict.fromkeys(self.quarantines.values()))

    def quarantined(self, object_id: str, reason: Reason) -> Path:
        """Where the object lies while it is in quarantine for this reason."""
        directory = self.quarantines[reason]
        named = "" if directory.name == reason.value else f".{reason.value}"
        return directory / f"{object_id}{named}.dcm"


class SpoolError(Exception):
    """The spool directory cannot be used; the text says what to do."""


class DiskFullError(OSError):
    """Free space is below the floor that the operator set."""


@dataclass(order=True)
class QueuedObject:
    """An acknowledged object that waits to be forwarded, ordered by when it may be tried."""

    not_before: float
    id: str
    path: Path = field(compare=False)
    attempts: int = field(default=0, compare=False)
    broken: int = field(default=0, compare=False)
    """How often Orthanc ended while it was sent."""


@dataclass(frozen=True)
class QuarantinedObject:
    """An acknowledged object that will not be forwarded."""

    id: str
    reason: str
    sop_instance_uid: str
    path: Path

    @property
    def received_at(self) -> str:
        """When it was received, ISO 8601 in UTC."""
        return received_at(self.id)


@dataclass(frozen=True)
class Counts:
    """Objects since the spool was created: received = the sum of the others."""

    received: int
    forwarded: int
    queued: int
    quarantined: int
    deleted: int


def received_at(object_id: str) -> str:
    """The time that an object's id carries, ISO 8601 in UTC."""
    stamp = datetime.strptime(object_id.partition("-")[0], "%Y%m%dT%H%M%S.%fZ")
    return stamp.replace(tzinfo=timezone.utc).isoformat(timespec="milliseconds")


class Spool:
    """All state on disk. Thread-safe: receivers add, the worker takes, the page reads."""

    def __init__(
        self, directory: Path, min_free_bytes: int = 0, layout: Layout | None = None
    ) -> None:
        """Take over ``directory``: lock it, remove unfinished files, take up what is queued.

        Raises ``SpoolError`` when the directory is not writable or another process uses it.
        """
        self.directory = directory
        self.min_free_bytes = min_free_bytes
        self._layout = layout or Layout.below(directory)
        self._receiving = self._layout.receiving
        self._incoming = self._layout.incoming
        self._counters = directory / "counters.json"
        self._changed = threading.Condition()
        self._queue: list[QueuedObject] = []
        self._in_hand = 0
        self._quarantined: dict[str, QuarantinedObject] = {}
        self._closed = False
        try:
            for folder in self._layout.directories():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (directory / ".lock").open("a")
        except OSError as error:
            raise SpoolError(
                f"The spool directory {directory} cannot be used by user {os.geteuid()}"
                f" ({error.strerror}). Create it, owned by that user, mode 0750."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SpoolError(
                f"The spool directory {directory} is in use by another process."
                " Stop that one first: two gateways cannot share a spool."
            ) from error
        self._rename_former()
        # Only what this program began to write: CTP's own files may lie beside it.
        for leftover in (*self._receiving.glob("*.part"), *directory.glob("*.tmp")):
            leftover.unlink()
        self._forwarded, self._deleted, self._last = self._load_counters()
        self._take_up()

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever received into this spool."""
        return self.counts().received == 0

    # Receiving -----------------------------------------------------------------------------

    def add(self, content: bytes) -> str:
        """Store one DICOM file; when this returns it survives a crash of the machine.

        Returns the object's id. Raises ``OSError`` (``DiskFullError`` below the floor) when it
        could not be stored; then nothing of it remains.
        """
        status = os.statvfs(self.directory)
        if status.f_bavail * status.f_frsize - len(content) < self.min_free_bytes:
            raise DiskFullError("free space below the floor")
        object_id = _new_id()
        part = self._receiving / f"{object_id}.part"
        path = self._incoming / f"{object_id}.dcm"
        try:
            with open(part, "xb", buffering=0, opener=_private) as file:
                view = memoryview(content)
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())
            part.rename(path)
            whole_files.sync_directory(self._incoming)
        except BaseException:
            for leftover in (part, path):
                with contextlib.suppress(OSError):
                    leftover.unlink()
            raise
        with self._changed:
            heapq.heappush(self._queue, QueuedObject(time.monotonic(), object_id, path))
            self._changed.notify_all()
        return object_id

    # Working -------------------------------------------------------------------------------

    def take(self, timeout: float) -> QueuedObject | None:
        """The oldest object that may be tried now; ``None`` after ``timeout`` seconds or close.

        The caller gives it back with exactly one of ``forwarded``, ``quarantine``, ``defer``.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._queue and self._queue[0].not_before <= now:
                    entry = heapq.heappop(self._queue)
                    self._move(entry, self._layout.left_over)
                    self._in_hand += 1
                    return entry
                until = min(deadline, self._queue[0].not_before) if self._queue else deadline
                if deadline <= now:
                    return None
                self._changed.wait(max(0.0, until - now))
        return None

    def forwarded(self, entry: QueuedObject) -> None:
        """Orthanc has it: count it, then remove it."""
        with self._changed:
            self._forwarded += 1
            self._last = entry.id
            self._save_counters()
            entry.path.unlink(missing_ok=True)
            self._in_hand -= 1

    def quarantine(self, entry: QueuedObject, reason: Reason) -> None:
        """Move it, as it was sent, to the quarantine of that reason."""
        target = self._layout.quarantined(entry.id, reason)
        with self._changed:
            entry.path.rename(target)
            self._in_hand -= 1
            self._quarantined[entry.id] = _quarantined(target, entry.id, reason.value)
        # Without this a power failure could only bring it back to incoming/, to be judged again.
        with contextlib.suppress(OSError):
            whole_files.sync_directory(target.parent)
            whole_files.sync_directory(self._incoming)

    def defer(self, entry: QueuedObject, delay: float) -> None:
        """Put it back; it may be tried again after ``delay`` seconds, others before it."""
        entry.attempts += 1
        entry.not_before = time.monotonic() + delay
        with self._changed:
            if self._layout.left_over is not None:
                self._move(entry, self._incoming)
            self._in_hand -= 1
            heapq.heappush(self._queue, entry)
            self._changed.notify_all()

    def _move(self, entry: QueuedObject, directory: Path | None) -> None:
        """As CTP does: who supervises this program sees what it had in hand when it ended."""
        if directory is not None:
            target = directory / f"{entry.id}.dcm"
            try:
                entry.path.rename(target)
            except OSError as error:
                LOG.warning("Object %s could not be moved (%s)", entry.id, type(error).__name__)
            else:
                entry.path = target

    def close(self) -> None:
        """Let ``take`` return at once from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def release(self) -> None:
        """Give the directory back, so that another process may take it over."""
        self.close()
        self._lock.close()

    # Looking -------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """How many objects are where."""
        with self._changed:
            queued = len(self._queue) + self._in_hand
            quarantined = len(self._quarantined)
            return Counts(
                received=self._forwarded + queued + quarantined + self._deleted,
                forwarded=self._forwarded,
                queued=queued,
                quarantined=quarantined,
                deleted=self._deleted,
            )

    def quarantined(self) -> list[QuarantinedObject]:
        """What is in quarantine, oldest first."""
        with self._changed:
            return [self._quarantined[key] for key in sorted(self._quarantined)]

    def adopt_quarantined(self, directory: Path) -> None:
        """Count as quarantined what others have put into a quarantine, as CTP does.

        Who recovers for CTP puts there what was cut short.
        """
        with self._changed:
            own = {found.path for found in self._quarantined.values()}
            for path in sorted(directory.glob("*.dcm")):
                if path not in own and not _NAME.fullmatch(path.name):
                    object_id = _new_id()
                    self._quarantined[object_id] = _quarantined(path, object_id, directory.name)

    def delete_quarantined(self, object_id: str) -> QuarantinedObject | None:
        """Remove one object from quarantine for good; ``None`` when there is none of that id."""
        with self._changed:
            found = self._quarantined.pop(object_id, None)
            if found is None:
                return None
            self._deleted += 1
            self._last = object_id
            self._save_counters()
            found.path.unlink(missing_ok=True)
            return found

    def requeue_quarantined(self, object_id: str) -> bool:
        """Let an object in quarantine be tried again; whether there was one of that id."""
        with self._changed:
            found = self._quarantined.pop(object_id, None)
            if found is None:
                return False
            path = self._incoming / f"{object_id}.dcm"
            try:
                found.path.rename(path)
            except FileNotFoundError:
                return False  # somebody removed the file
            except OSError:
                self._quarantined[object_id] = found
                raise
            heapq.heappush(self._queue, QueuedObject(time.monotonic(), object_id, path))
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            whole_files.sync_directory(self._incoming)
            whole_files.sync_directory(found.path.parent)
        return True

    # Counters ------------------------------------------------------------------------------

    def _rename_former(self) -> None:
        for name, reason in _FORMER.items():
            current = self._layout.quarantines[reason]
            if current.name == reason.value:
                found = list((current.parent / name).glob("*.dcm"))
            else:
                found = list(current.glob(f"*.{name}.dcm"))
            for path in found:
                if match := _NAME.fullmatch(path.name):
                    path.rename(self._layout.quarantined(match["id"], reason))
            if current.name == reason.value:
                with contextlib.suppress(OSError):  # not there, or not empty
                    (current.parent / name).rmdir()

    def _take_up(self) -> None:
        for path in sorted(self._incoming.glob("*.dcm")):
            if not _ID.match(path.stem):
                if self._layout.left_over is not None:
                    continue  # taken up below
                LOG.warning("A file in incoming/ that this program did not write was left alone")
            elif path.stem == self._last:
                # Counted just before the process ended, removed only now.
                path.unlink()
            else:
                heapq.heappush(self._queue, QueuedObject(0.0, path.stem, path))
        for directory in self._layout.quarantine_directories():
            for path in directory.glob("*.dcm"):
                match = _NAME.fullmatch(path.name)
                if match and match["id"] != self._last:
                    reason = match["reason"] or directory.name
                    self._quarantined[match["id"]] = _quarantined(path, match["id"], reason)
                elif match:
                    path.unlink()
        self.take_up_left_over()

    def take_up_left_over(self) -> None:
        """Queue what CTP, or who recovers for it, has put into the directories of its own queue.

        CTP, too, serves whatever it finds there, at any time.
        """
        if self._layout.left_over is None:
            return
        found = [path for path in self._layout.left_over.rglob("*") if path.is_file()]
        found += [
            path
            for path in self._incoming.rglob("*")
            if not (path.parent == self._incoming and _ID.match(path.stem)) and path.is_file()
        ]
        for path in sorted(found):
            in_hand = path.parent == self._layout.left_over and _ID.match(path.stem)
            if in_hand and path.stem == self._last:
                path.unlink(missing_ok=True)  # counted just before the process ended
                continue
            object_id = path.stem if in_hand else _new_id()
            target = self._incoming / f"{object_id}.dcm"
            with contextlib.suppress(FileNotFoundError):
                path.rename(target)
                with self._changed:
                    heapq.heappush(self._queue, QueuedObject(0.0, object_id, target))
                    self._changed.notify_all()

    def _load_counters(self) -> tuple[int, int, str]:
        try:
            stored = json.loads(self._counters.read_text(encoding="utf-8"))
            return int(stored["forwarded"]), int(stored["deleted"]), str(stored["last"])
        except FileNotFoundError:
            return 0, 0, ""
        except (OSError, ValueError, KeyError, TypeError):
            LOG.warning("%s is not readable: forwarded counts from 0 again", self._counters)
            return 0, 0, ""

    def _save_counters(self) -> None:
        content = {"forwarded": self._forwarded, "deleted": self._deleted, "last": self._last}
        try:
            whole_files.replace(self._counters, json.dumps(content), durable=False)
        except OSError as error:
            # A full disk must not stop the queue from draining.
            LOG.warning("The counters could not be written (%s)", type(error).__name__)


def _new_id() -> str:
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%f}Z-{secrets.token_hex(4)}"


def _quarantined(path: Path, object_id: str, reason: str) -> QuarantinedObject:
    try:
        # The receiver writes the meta header from the C-STORE request, so this holds the UID that
        # the sender announced even when the data set itself cannot be read.
        uid = str(pydicom.filereader.read_file_meta_info(path).MediaStorageSOPInstanceUID)
    except Exception:
        uid = ""
    return QuarantinedObject(object_id, reason, uid, path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
