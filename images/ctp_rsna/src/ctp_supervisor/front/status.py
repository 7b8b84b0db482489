"""What is to be seen: counters, queues, and whether they move."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import whole_files

from ..dicom.part10 import announced_uid
from ..machine.files import files_below
from ..settings import Pipeline

LOG = logging.getLogger(__name__)

STUCK_SECONDS = 300.0
KEEP_SECONDS = 10.0
"""For so long an object may be in no queue, as while CTP moves it, and still be the same one."""
_READ_AT_ONCE = 500
"""So many files are read in one look; the others are of the age of their files until the next."""


class Counters:
    """How many objects were acknowledged to senders, acknowledged by Orthanc, deleted by hand.

    Kept in a file, written each second: a kill loses the count of the last one.
    """

    NAMES = ("received", "forwarded", "deleted")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._counts: dict[str, int | None] = dict.fromkeys(self.NAMES, 0)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            self._counts = {name: int(found[name]) for name in self.NAMES}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError):
            # A number that is not known is not made up.
            LOG.error("%s cannot be read: the counts of objects are not known", path)
            self._counts = dict.fromkeys(self.NAMES, None)
        self._saved = dict(self._counts)

    def add(self, name: str, count: int) -> None:
        """Count."""
        with self._lock:
            before = self._counts[name]
            if before is not None:
                self._counts[name] = before + count

    def all(self) -> dict[str, int | None]:
        """The counts; ``None`` where one is not known."""
        with self._lock:
            return dict(self._counts)

    def save(self) -> None:
        """Write what changed. A full disk is no reason to stop counting."""
        counts = self.all()
        if counts == self._saved or None in counts.values():
            return
        try:
            whole_files.replace(self._path, json.dumps(counts), durable=False)
            self._saved = counts
        except OSError as error:
            LOG.error("The counts cannot be written (%s)", type(error).__name__)


class Waiting:
    """Since when objects wait for Orthanc, by the SOP Instance UID in front of their data set.

    The time of a file does not tell: what could not be sent, CTP copies to the end of its queue,
    and removes the file that it was. A start of this program forgets what was before the last copy.
    """

    def __init__(self) -> None:
        self._uids: dict[tuple[int, int], str] = {}
        self._since: dict[str, float] = {}
        self._missed: dict[str, float] = {}

    def look(self, files: Mapping[Path, os.stat_result]) -> float | None:
        """Return since when the first of the files waits, in seconds since 1970; None for none."""
        known, self._uids = self._uids, {}
        found: dict[str, float] = {}
        oldest: float | None = None
        unread = _READ_AT_ONCE
        for path, status in files.items():
            key = (status.st_ino, status.st_mtime_ns)
            uid = known.get(key)
            if uid is None and unread:
                unread -= 1
                uid = announced_uid(path)
            since = status.st_mtime
            if uid is not None:
                self._uids[key] = uid
            if uid:
                since = found[uid] = min(since, self._since.get(uid, since), found.get(uid, since))
            oldest = since if oldest is None else min(oldest, since)
        now = time.monotonic()
        self._missed = {uid: self._missed.get(uid, now) for uid in self._since if uid not in found}
        kept = (uid for uid, at in self._missed.items() if now - at <= KEEP_SECONDS)
        self._since = {**{uid: self._since[uid] for uid in kept}, **found}
        return oldest


class Queues:
    """The queues of one pipeline, seen from outside."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._lock = threading.Lock()
        self._exported = Waiting()
        self._waiting: set[int] = set()
        self._moved = time.monotonic()
        self.imports = 0
        self.exports = 0
        self.oldest: float | None = None

    def look(self, excused: bool) -> None:
        """Count. ``excused``: CTP is kept from moving, on purpose."""
        with self._lock:
            self._look(excused)

    def _look(self, excused: bool) -> None:
        imports, exports = (_files(self.pipeline.stage(kind).root) for kind in ("import", "export"))
        self.imports, self.exports = len(imports), len(exports)
        ages = [status.st_mtime for status in imports.values()]
        since = self._exported.look(exports)
        self.oldest = min(ages if since is None else [*ages, since], default=None)
        waiting = {status.st_ino for status in imports.values()}
        if excused or not waiting or self._waiting - waiting:
            self._moved = time.monotonic()
        self._waiting = waiting

    @property
    def stuck(self) -> bool:
        """Whether objects wait in the import queue and none has left it for minutes."""
        return time.monotonic() - self._moved > STUCK_SECONDS

    def shown(self, quarantined: dict[str, int]) -> dict[str, Any]:
        """As the status shows it."""
        return {
            "name": self.pipeline.name,
            "import_queue": self.imports,
            "export_queue": self.exports,
            "oldest_seconds": None
            if self.oldest is None
            else max(0, int(time.time() - self.oldest)),
            "quarantine": quarantined,
        }


def _files(stage: Path) -> dict[Path, os.stat_result]:
    """What waits in a stage, or is in its hands. What CTP writes just now is empty."""
    found = {}
    for part in ("queue", "active"):
        for entry in files_below(stage / part):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                if status.st_size:
                    found[Path(entry.path)] = status
    return found


def total(queues: Sequence[Queues]) -> int:
    """All objects that are on their way."""
    return sum(each.imports + each.exports for each in queues)
