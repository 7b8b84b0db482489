"""What is to be seen: counters, queues, and whether they move."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import whole_files

from ..machine.files import files_below
from ..settings import Pipeline

LOG = logging.getLogger(__name__)

STUCK_SECONDS = 300.0


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


class Queues:
    """The queues of one pipeline, seen from outside."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._waiting: set[int] = set()
        self._moved = time.monotonic()
        self.imports = 0
        self.exports = 0
        self.oldest: float | None = None

    def look(self, excused: bool) -> None:
        """Count. ``excused``: CTP is kept from moving, on purpose."""
        importing = self.pipeline.stage("import").root
        exporting = self.pipeline.stage("export").root
        waiting: set[int] = set()
        self.imports = self.exports = 0
        oldest: float | None = None
        for root in (importing, exporting):
            for part in ("queue", "active"):
                for entry in files_below(root / part):
                    try:
                        found = entry.stat()
                    except FileNotFoundError:
                        continue
                    if not found.st_size:
                        continue
                    oldest = min(oldest or found.st_mtime, found.st_mtime)
                    if root is importing:
                        self.imports += 1
                        waiting.add(found.st_ino)
                    else:
                        self.exports += 1
        self.oldest = oldest
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


def total(queues: Sequence[Queues]) -> int:
    """All objects that are on their way."""
    return sum(each.imports + each.exports for each in queues)
