"""When each object came into quarantine, kept on disk.

No time of the file itself tells. Each backup makes a hard link to it for a while, which sets its
status change time (ctime) anew; its modification time is of when it was received, which may be
weeks before CTP gave it up; and a restore makes another file of it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection
from pathlib import Path

import whole_files

LOG = logging.getLogger(__name__)

_SPARE_LINES = 1000
"""What may be in the file for objects that are gone, before it is written anew."""


class Arrivals:
    """Seconds since 1970 by object, in a file of one line of JSON for each.

    An object is what CTP calls it, with the time and size of its file: another one of the same name
    is not taken for it. One that the file does not know came when its status last changed, which is
    never before it came.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._times: dict[str, float] = {}
        self._lines = 0
        self._new: list[str] = []
        self._load()

    def of(self, object_id: str, status: os.stat_result) -> float:
        """When an object came; noted with the next ``keep``, where it is new."""
        key = f"{object_id} {status.st_mtime_ns} {status.st_size}"
        found = self._times.get(key)
        if found is None:
            found = self._times[key] = status.st_ctime
            self._new.append(key)
        # A clock that ran ahead when it was noted may have been set right since.
        return min(found, status.st_ctime)

    def keep(self, object_ids: Collection[str]) -> None:
        """Write what is new; forget objects that are not among these, all that lie there now."""
        gone = [key for key in self._times if key.rsplit(" ", 2)[0] not in object_ids]
        for key in gone:
            del self._times[key]
        new = [key for key in self._new if key in self._times]
        self._new = []
        try:
            if self._lines + len(new) > 2 * len(self._times) + _SPARE_LINES:
                whole_files.replace(self._path, "".join(map(self._line, self._times)))
                self._lines = len(self._times)
            elif new:
                with self._path.open("a", encoding="utf-8") as file:
                    # The line before may have been cut short by a kill.
                    file.write("\n" + "".join(map(self._line, new)))
                self._lines += len(new)
        except OSError as error:
            # After the next start of this program they are younger: nothing is removed early.
            LOG.error("%s cannot be written (%s)", self._path, type(error).__name__)

    def _line(self, key: str) -> str:
        return json.dumps([key, self._times[key]]) + "\n"

    def _load(self) -> None:
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            LOG.error("%s cannot be read (%s)", self._path, type(error).__name__)
            return
        self._lines = len(lines)
        for line in lines:
            try:
                key, when = json.loads(line)
                self._times[str(key)] = float(when)
            except (ValueError, TypeError):
                continue  # empty, cut short, or damaged: the others still count
