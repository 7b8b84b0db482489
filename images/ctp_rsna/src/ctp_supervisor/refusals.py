"""Which objects the last look kept from leaving, across restarts.

To CTP they are objects that Orthanc refused. They are not sent again by themselves: nothing would
become of it.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Set
from pathlib import Path

LOG = logging.getLogger(__name__)

_KEEP_SECONDS = 3600.0
"""CTP needs some time to put an object into its quarantine."""


class Refusals:
    """SOP Instance UIDs, as CTP's script made them, in a file of one line of JSON for each."""

    def __init__(self, data: Path) -> None:
        self._path = data / "egress-refused.jsonl"
        self._lock = threading.Lock()
        self._refused: dict[str, float] = self._load()

    def __contains__(self, uid: object) -> bool:
        return uid in self._refused

    def add(self, uid: str) -> None:
        """Remember. On disk when this returns, if the disk takes it."""
        with self._lock:
            self._refused[uid] = time.time()
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    # The line before may have been cut short by a kill.
                    file.write("\n" + json.dumps([uid, self._refused[uid]]) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                LOG.error("%s cannot be written (%s)", self._path, type(error).__name__)

    def discard(self, uid: str) -> None:
        """Forget one that has passed meanwhile."""
        if uid in self._refused:
            with self._lock:
                self._refused.pop(uid, None)
                self._save()

    def keep(self, present: Set[str]) -> None:
        """Forget those that lie in no quarantine any more."""
        oldest = time.time() - _KEEP_SECONDS
        with self._lock:
            gone = [u for u, at in self._refused.items() if at < oldest and u not in present]
            for uid in gone:
                del self._refused[uid]
            if gone:
                self._save()

    def _load(self) -> dict[str, float]:
        found: dict[str, float] = {}
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return found
        except (OSError, ValueError) as error:
            LOG.error("%s cannot be read (%s)", self._path, type(error).__name__)
            return found
        for line in lines:
            try:
                uid, at = json.loads(line)
                found[str(uid)] = float(at)
            except (ValueError, TypeError):
                continue  # empty, or cut short
        return found

    def _save(self) -> None:
        temporary = self._path.with_name(self._path.name + ".new")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(each) + "\n" for each in self._refused.items())
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._path)
        except OSError as error:
            LOG.error("%s cannot be written (%s)", self._path, type(error).__name__)
