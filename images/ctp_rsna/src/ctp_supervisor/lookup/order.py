"""One order for what came and what was replaced since, whatever becomes of the machine's clock.

An object may fit any script and any row of the table that was in force from its reception on. With
the time alone, a clock that is set back would put what was replaced afterwards in front of it.
"""

from __future__ import annotations

import threading
import time


class Order:
    """Nanoseconds since 1970 that only grow, as far as what was noted is shown to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest = 0

    def saw(self, at: int) -> int:
        """Something was noted then, by an earlier run; return it."""
        with self._lock:
            self._latest = max(self._latest, at)
        return at

    def next(self) -> int:
        """Now; later than all that was noted."""
        with self._lock:
            self._latest = max(time.time_ns(), self._latest + 1)
            return self._latest
