"""The times of earlier runs on this machine, kept in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One step: how long it took when it last passed (0: never), and when it last ended (epoch)."""

    seconds: float = 0.0
    ended: float = 0.0


class History:
    """Reads and writes the file; one that cannot be read counts as empty."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.entries: dict[str, Entry] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            document = json.loads(file.read_text())
            self.entries = {name: Entry(**entry) for name, entry in document.items()}

    def seconds(self, name: str) -> float:
        """How long a step took when it last passed; 0 when it never did."""
        return self.entries.get(name, Entry()).seconds

    def note(self, name: str, seconds: float, passed: bool) -> None:
        """Note that a step has ended now. A failed one keeps the time of the last that passed."""
        before = self.entries.get(name, Entry())
        self.entries[name] = Entry(round(seconds, 1) if passed else before.seconds, time.time())

    def write(self) -> None:
        """Write the file beside and rename it: it is whole at any time."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.file.parent, prefix=self.file.name)
        with os.fdopen(handle, "w") as file:
            json.dump({key: asdict(entry) for key, entry in sorted(self.entries.items())}, file)
        Path(name).replace(self.file)


def next_in_turn(names: Iterable[str], ended: Mapping[str, float], tie: str) -> str:
    """Choose the one that ran longest ago.

    Args:
        names: those in turn, at least one.
        ended: when each last ended (seconds since the epoch); missing: never.
        tie: what decides between equals and changes from commit to commit, such as the commit.
    """
    listed = sorted(names)
    oldest = min(ended.get(name, 0.0) for name in listed)
    equal = [name for name in listed if ended.get(name, 0.0) == oldest]
    return equal[int(hashlib.sha256(tie.encode()).hexdigest(), 16) % len(equal)]
