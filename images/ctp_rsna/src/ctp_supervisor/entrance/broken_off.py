"""Objects whose transfer broke off: CTP was not given all of them, so it acknowledged none.

CTP keeps what it had of such an object in ``temp`` of the import stage and never looks at it again.
A device that tries one that is too large every minute would fill the disk so.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path

from pydicom.filereader import read_file_meta_info

QUIET_SECONDS = 5.0
"""After so long CTP has noticed that the transfer broke off."""
_KEEP_SECONDS = 3600.0
_MOST = 1024
_HEAD_BYTES = 4096
"""What CTP writes in front of a data set, at most."""


@dataclass(frozen=True)
class _Part:
    at: float
    given: int
    """Bytes of the data set that CTP was given."""


class BrokenOff:
    """By SOP Instance UID, since this program started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()
        self._parts: dict[str, _Part] = {}

    def begins(self, uid: str) -> None:
        """CTP is about to be given an object."""
        with self._lock:
            self._under_way[uid] += 1
            self._parts.pop(uid, None)

    def ends(self, uid: str, given: int = -1) -> None:
        """It was given all of it; or so many bytes, and the transfer broke off."""
        with self._lock:
            self._under_way[uid] -= 1
            if self._under_way[uid] > 0:
                return
            del self._under_way[uid]
            if given >= 0:
                self._parts[uid] = _Part(time.time(), given)
                if len(self._parts) > _MOST:
                    del self._parts[next(iter(self._parts))]

    def remove(self, directories: Iterable[Path], in_use: Set[Path]) -> int:
        """Remove what CTP keeps of them in these directories; return how many there were.

        ``in_use``: the files that CTP has open. Nothing goes that is larger than what CTP
        was given of the object, or that changed a moment ago.
        """
        now = time.time()
        with self._lock:
            self._parts = {
                uid: part for uid, part in self._parts.items() if now - part.at < _KEEP_SECONDS
            }
            parts = {u: p for u, p in self._parts.items() if now - p.at > QUIET_SECONDS}
        if not parts:
            return 0
        removed = 0
        for directory in directories:
            for path in directory.glob("*"):
                try:
                    found = path.stat()
                except FileNotFoundError:
                    continue
                uid = _sop_instance_uid(path)
                part = parts.get(uid)
                if (
                    part is not None
                    and path not in in_use
                    and now - found.st_mtime > QUIET_SECONDS
                    and found.st_size <= part.given + _HEAD_BYTES
                    and self._is_still_known(uid, part)
                ):
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _is_still_known(self, uid: str, part: _Part) -> bool:
        with self._lock:
            return self._parts.get(uid) is part


def _sop_instance_uid(path: Path) -> str:
    try:
        return str(read_file_meta_info(path).get("MediaStorageSOPInstanceUID") or "")
    except Exception:  # pydicom raises whatever a broken file leads to
        return ""
