"""What has happened and is not in the ledger yet, so that a kill of this program loses none of it.

One line of JSON for each event, written at once, and not synced: it is there after a kill, and not
after a power failure. Two files take turns: one grows while the other is written to the ledger.
Events are kept as the ledger takes them, so they name no patient, but for names of structures.
"""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path
from typing import Any

from .ledger import Came, Ended, Event, Left, Removed, Removing, Renamed

LOG = logging.getLogger(__name__)

_KINDS: dict[str, Any] = {
    each.__name__: each for each in (Came, Left, Removing, Removed, Ended, Renamed)
}


class Journal:
    """The two files. Its user takes care that one thread is in it at a time.

    Where the disk takes nothing, it keeps nothing, and says so once.
    """

    def __init__(self, path: Path) -> None:
        """``path``: of the ledger that it belongs to. Nothing is opened yet."""
        self._paths = [path.with_suffix(f".events-{each}") for each in (0, 1)]
        self._files: list[int | None] = [None, None]
        self._at = 0
        self.number = 0
        """Of the latest event."""
        self._waits = False
        """Whether the file that does not grow holds what is not in the ledger."""
        self._failed = False

    def read(self, written: int) -> list[Event]:
        """All that was kept before this start, in order, but for what is in the ledger, up to the
        number ``written``. `turn` and `applied` are next."""
        found: dict[int, Event] = {}
        for path in self._paths:
            try:
                lines = path.read_text(encoding="ascii", errors="replace").split("\n")
            except OSError:
                continue
            for line in lines:
                try:
                    number, event = json.loads(line)
                    found[int(number)] = _event(event)
                except (ValueError, TypeError, KeyError):
                    continue  # empty, or cut short
        self.number = max([written, *found])
        return [_of_before(found[number]) for number in sorted(found) if number > written]

    def append(self, event: Event) -> None:
        """Keep it."""
        self.number += 1
        # The line before may have been cut short by a full disk.
        line = "\n" + json.dumps([self.number, _plain(event)]) + "\n"
        try:
            file = self._files[self._at]
            if file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                file = self._files[self._at] = os.open(self._paths[self._at], flags, 0o600)
            os.write(file, line.encode("ascii"))
            self._failed = False
        except OSError as error:
            if not self._failed:
                LOG.error("%s cannot be written (%s)", self._paths[self._at], error.strerror)
            self._failed = True

    def turn(self) -> None:
        """Let the other file grow from now on, if all of it is in the ledger."""
        if not self._waits:
            self._at = 1 - self._at
            self._waits = True

    def applied(self) -> None:
        """All that was kept when it took turns is in the ledger."""
        self._waits = False
        self._empty(1 - self._at)

    def clear(self) -> None:
        """All is in the ledger, and nothing comes any more."""
        for each in (0, 1):
            self._empty(each)
            file, self._files[each] = self._files[each], None
            if file is not None:
                os.close(file)
            self._paths[each].unlink(missing_ok=True)

    def _empty(self, number: int) -> None:
        try:
            os.truncate(self._paths[number], 0)
        except FileNotFoundError:
            pass
        except OSError as error:
            LOG.error("%s cannot be emptied (%s)", self._paths[number], error.strerror)


def _of_before(event: Event) -> Event:
    """As of before this start, whose clock that only goes on says nothing now."""
    return event._replace(run=-math.inf) if isinstance(event, (Removing, Removed)) else event


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, tuple):
        kind = type(value).__name__
        return {kind if kind in _KINDS else "tuple": [_plain(each) for each in value]}
    return value


def _event(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return plain
    ((kind, value),) = plain.items()
    if kind == "bytes":
        return bytes.fromhex(value)
    values = [_event(each) for each in value]
    return tuple(values) if kind == "tuple" else _KINDS[kind](*values)
