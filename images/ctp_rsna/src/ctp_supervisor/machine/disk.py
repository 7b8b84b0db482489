"""Space and durability of the data directory's file system."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

LOG = logging.getLogger(__name__)

MIB = 1024 * 1024
POLL_SECONDS = 0.05
LEAST_INODES = 2000
"""A file system without inodes refuses new files although it has space."""

OPEN, LOW, CRITICAL = "open", "low", "critical"

_LIBC = ctypes.CDLL(None, use_errno=True)


def free_bytes(directory: Path) -> int:
    """Space that this user may still write, bytes; 0 when the inodes are used up."""
    found = os.statvfs(directory)
    # File systems that make inodes as needed say 0 of 0.
    if found.f_files and found.f_favail < LEAST_INODES:
        return 0
    return found.f_bavail * found.f_frsize


class SpaceGuard:
    """Watches the free space; ``level`` is ``OPEN``, ``LOW`` below the floor, or ``CRITICAL``.

    ``CRITICAL`` starts at half of the floor: CTP drops what it acknowledged when a write fails, so
    it must not write at all then. It ends at five eighths and not at the floor, because what CTP
    has queued may be what is missing up to there.
    """

    def __init__(
        self, directory: Path, floor_bytes: int, changed: Callable[[str, str], None]
    ) -> None:
        """``changed`` is called with the old and the new level, by whoever looks first."""
        self._directory = directory
        self._floor = floor_bytes
        self._changed = changed
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.level = OPEN
        self.free = 0

    def start(self) -> None:
        """Look, and watch from now on."""
        self.check()
        threading.Thread(target=self._run, name="disk", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()

    def check(self) -> str:
        """Look now; return the level."""
        with self._lock:
            try:
                self.free = free_bytes(self._directory)
            except OSError:
                self.free = 0  # a file system that does not answer takes no objects
            old = self.level
            if self.free >= self._floor:
                self.level = OPEN
            elif self.free < self._floor * (5 if old == CRITICAL else 4) // 8:
                self.level = CRITICAL
            else:
                self.level = LOW
            if self.level != old:
                self._changed(old, self.level)
            return self.level

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.check()


class GroupSync:
    """``syncfs`` for many at a time: one call serves all who asked before it began."""

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._condition = threading.Condition()
        self._started = 0
        self._finished = 0
        self._failed: OSError | None = None
        self._running = False
        self.calls = 0

    def wait(self) -> None:
        """Return when all that was written before this call is on disk. Raises ``OSError``."""
        with self._condition:
            # The one that runs may have begun before our bytes were written.
            ticket = self._started + 1
            while self._finished < ticket:
                if self._running:
                    self._condition.wait()
                    continue
                self._running = True
                self._started += 1
                number = self._started
                self._condition.release()
                error = None
                try:
                    self._sync()
                except OSError as problem:
                    error = problem
                finally:
                    self._condition.acquire()
                    self._running = False
                    self._finished = number
                    self.calls += 1
                    # The kernel reports a failed write once: what was lost stays unknown.
                    self._failed = self._failed or error
                    self._condition.notify_all()
            if self._failed is not None:
                raise self._failed

    def _sync(self) -> None:
        # ctypes lets other threads run meanwhile.
        if _LIBC.syncfs(self._descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
