"""The rows of CTP's lookup table, and those that were replaced while objects were under way."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import whole_files
from ctp_rules.anonymizer import Lookup

from .order import Order

LOG = logging.getLogger(__name__)

PARALLEL_NS = 10_000_000_000
"""CTP may use a table for so long after there is a newer one."""


class Tables:
    """What is replaced is kept in a file of one line of JSON for each row, with mode 0600 as the
    table itself has."""

    def __init__(self, data: Path, current: Mapping[str, str]) -> None:
        """``current``: kind and key, with a slash between them, to value."""
        self._path = data / "lookup-replaced.jsonl"
        self._lock = threading.Lock()
        self.order = Order()
        for path in data.glob("arrivals/*/objects/*"):
            came = path.name.split("-")
            if len(came) == 3 and came[1].isdigit():
                self.order.saw(int(came[1]))
        self._replaced = self._load()
        self.current = current

    def announce(self, new: Mapping[str, str]) -> None:
        """There is about to be a new table. On disk when this returns. Raises ``OSError``."""
        with self._lock:
            now, old = self.order.next(), self.current
            rows = [(now, key, old[key]) for key in old if new.get(key) != old[key]]
            if not rows:
                return
            with self._path.open("a", encoding="utf-8") as file:
                # The line before may have been cut short by a kill.
                file.write("\n" + "".join(json.dumps(row) + "\n" for row in rows))
                file.flush()
                os.fsync(file.fileno())
            for at, key, value in rows:
                self._replaced.setdefault(key, []).append((at, value))

    def since(self, came: int) -> Iterator[Lookup]:
        """Each table that CTP may have used for an object that came then, the newest first.

        A table is worth a try only where it says other things than the one before of what was
        looked up; so they are made one by one, of what the one before was asked.
        """
        asked: set[str] = set()

        def version(at: int | None) -> Lookup:
            def lookup(kind: str, key: str) -> str | None:
                name = f"{kind}/{key}"
                asked.add(name)
                for when, value in self._replaced.get(name, ()):
                    if at is not None and when >= at:
                        return value
                return self.current.get(name)

            return lookup

        yield version(None)
        tried: set[int] = set()
        while True:
            times = {when for name in asked for when, _ in self._replaced.get(name, ())}
            left = sorted(t for t in times - tried if t >= came - PARALLEL_NS)
            if not left:
                return
            tried.add(left[-1])
            yield version(left[-1])

    def forget(self, before: int) -> None:
        """Forget what was replaced before the oldest object came. Raises ``OSError``."""
        before -= PARALLEL_NS
        with self._lock:
            if not any(at < before for rows in self._replaced.values() for at, _ in rows):
                return
            kept = {
                key: [row for row in rows if row[0] >= before]
                for key, rows in self._replaced.items()
            }
            self._replaced = {key: rows for key, rows in kept.items() if rows}
            lines = [
                json.dumps((at, key, value)) + "\n"
                for key, rows in self._replaced.items()
                for at, value in rows
            ]
            whole_files.replace(self._path, "".join(lines))

    def _load(self) -> dict[str, list[tuple[int, str]]]:
        found: dict[str, list[tuple[int, str]]] = {}
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return found
        except OSError as error:
            LOG.error("%s cannot be read (%s)", self._path, type(error).__name__)
            return found
        for line in lines:
            try:
                at, key, value = json.loads(line)
                found.setdefault(str(key), []).append((self.order.saw(int(at)), str(value)))
            except (ValueError, TypeError):
                continue  # empty, cut short, or damaged: the others still count
        for rows in found.values():
            rows.sort(key=lambda row: row[0])
        return found
