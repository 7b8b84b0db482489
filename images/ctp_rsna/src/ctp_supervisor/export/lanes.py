"""What may be on its way to Orthanc at the same time, over all pipelines.

Orthanc needs about four times the size of an object in memory (measured), for each that it gets at
the same time: so of the large ones one goes at a time. An object under suspicion goes alone, so
that what happens then is its own doing.
"""

from __future__ import annotations

import threading
import time

LARGE_BYTES = 16 * 1024 * 1024
"""From here on an object is a large one."""
WAIT_SECONDS = 20.0
"""Less than the 30 s after which Orthanc gives an association up (its DicomScpTimeout)."""


class Lanes:
    """Who is on its way. Each is named by an object of its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way: set[object] = set()
        self._accompanied: set[object] = set()
        self._alone: object | None = None
        self._large: object | None = None

    def enter(self, who: object, alone: bool) -> bool:
        """Set out, with all others or ``alone``; whether it may, after a while."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self._changed:
            while self._alone is not None or (alone and self._under_way):
                if not self._wait(deadline):
                    return False
            if alone:
                self._alone = who
            elif self._under_way:
                self._accompanied |= self._under_way | {who}
            self._under_way.add(who)
            return True

    def grows_large(self, who: object) -> bool:
        """Go on as a large one; whether it may, after a while."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self._changed:
            while self._large not in (None, who):
                if not self._wait(deadline):
                    return False
            self._large = who
            return True

    def was_alone(self, who: object) -> bool:
        """Whether nothing else was on its way since it set out."""
        with self._changed:
            return who in self._under_way and who not in self._accompanied

    def leave(self, who: object) -> None:
        """Arrive, or give up."""
        with self._changed:
            self._under_way.discard(who)
            self._accompanied.discard(who)
            if self._alone is who:
                self._alone = None
            if self._large is who:
                self._large = None
            self._changed.notify_all()

    def _wait(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        return left > 0 and (self._changed.wait(left) or time.monotonic() < deadline)
