"""What has happened and is not in the ledger yet, so that a kill of this program loses none of it.

One line of JSON for each event, written at once, and not synced: it is there after a kill, and not
after a power failure. Two files take turns: one grows while the other is written to the ledger.
Events are kept as the ledger takes them, so they name no patient, but for names of structures.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
from pathlib import Path
from typing import Any

from .ledger import Came, Ended, Event, Left, Removed, Removing, Renamed

LOG = logging.getLogger(__name__)

_EVENTS = (Came, Left, Removing, Removed, Ended)
_KINDS: dict[str, Any] = {each.__name__: each for each in (*_EVENTS, Renamed)}
_HIGHEST = 1 << 62


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
        self.not_understood = 0
        """Events that were kept before this start and are none that this version knows."""
        self.problem = ""
        """Why what was kept before this start could not be read."""

    def read(self, written: int) -> list[Event]:
        """All that was kept before this start, in order, but for what is in the ledger, up to the
        number ``written``. `turn` and `applied` are next."""
        found: dict[int, Event] = {}
        strange = set()
        for path in self._paths:
            try:
                with path.open("rb") as lines:
                    for line in lines:
                        number, event = _line(line)
                        if event is not None:
                            found[number] = event
                        elif number:
                            strange.add(number)
            except FileNotFoundError:
                continue
            except OSError as error:
                LOG.error("%s cannot be read (%s)", path, error.strerror)
                self.problem = "what was noted before CTP was started could not be read"
        self.number = max([written, *found, *strange])
        self.not_understood = sum(number > written for number in strange - found.keys())
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
            if os.write(file, line.encode("ascii")) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
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
            try:
                self._paths[each].unlink(missing_ok=True)
            except OSError as error:
                LOG.error("%s cannot be removed (%s)", self._paths[each], error.strerror)

    def _empty(self, number: int) -> None:
        try:
            os.truncate(self._paths[number], 0)
        except FileNotFoundError:
            pass
        except OSError as error:
            LOG.error("%s cannot be emptied (%s)", self._paths[number], error.strerror)


def _line(line: bytes) -> tuple[int, Event | None]:
    """The number and the event of a line; 0 where it is empty or cut short, and no event where it
    is none that this version knows."""
    try:
        number, plain = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return 0, None
    if type(number) is not int or not 0 < number < _HIGHEST:
        return 0, None
    try:
        event = _event(plain)
    except (ValueError, TypeError, LookupError, RecursionError):
        event = None
    return number, event if isinstance(event, _EVENTS) else None


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
