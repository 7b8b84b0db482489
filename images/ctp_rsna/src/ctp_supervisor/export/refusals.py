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
from typing import NamedTuple

import whole_files

LOG = logging.getLogger(__name__)

_KEEP_SECONDS = 3600.0
"""CTP needs some time to put an object into its quarantine."""


class _Refusal(NamedTuple):
    at: float
    why: str = ""
    incomplete: bool = False


class Refusals:
    """SOP Instance UIDs, as CTP's script made them, in a file of one line of JSON for each."""

    def __init__(self, data: Path) -> None:
        self._path = data / "egress-refused.jsonl"
        self._lock = threading.Lock()
        self._refused: dict[str, _Refusal] = self._load()

    def __contains__(self, uid: object) -> bool:
        return uid in self._refused

    def why(self, uid: str) -> str:
        """What was found, where that is remembered: elements by their tags."""
        found = self._refused.get(uid)
        return found.why if found is not None else ""

    def is_incomplete(self, uid: str) -> bool:
        """Whether something is missing in it, rather than left in it."""
        found = self._refused.get(uid)
        return found is not None and found.incomplete

    def add(self, uid: str, why: str = "", incomplete: bool = False) -> None:
        """Remember. On disk when this returns, if the disk takes it."""
        with self._lock:
            found = self._refused[uid] = _Refusal(time.time(), why, incomplete)
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    # The line before may have been cut short by a kill.
                    file.write("\n" + json.dumps([uid, *found]) + "\n")
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
            gone = [u for u, r in self._refused.items() if r.at < oldest and u not in present]
            for uid in gone:
                del self._refused[uid]
            if gone:
                self._save()

    def _load(self) -> dict[str, _Refusal]:
        found: dict[str, _Refusal] = {}
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return found
        except (OSError, ValueError) as error:
            LOG.error("%s cannot be read (%s)", self._path, type(error).__name__)
            return found
        for line in lines:
            try:
                uid, at, *more = json.loads(line)
                found[str(uid)] = _Refusal(float(at), *more)
            except (ValueError, TypeError):
                continue  # empty, or cut short
        return found

    def _save(self) -> None:
        lines = [json.dumps([uid, *each]) + "\n" for uid, each in self._refused.items()]
        try:
            whole_files.replace(self._path, "".join(lines))
        except OSError as error:
            LOG.error("%s cannot be written (%s)", self._path, type(error).__name__)
