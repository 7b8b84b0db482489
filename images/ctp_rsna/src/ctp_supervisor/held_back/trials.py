"""Objects at which CTP itself ended: tried again alone, after the others, and in the end held back.

CTP takes one object at a time out of each queue. When it ends by itself, what it had in hand is
under suspicion. Such an object stays out of the queues until they are empty, and then goes in
again. The innocent one then passes; the other one is held back after its third time. It lies in a
directory of its own: CTP reads what is in its quarantines when it starts, and would end again.

Only an end by itself counts, or a stop because nothing moved any more, with this program alive to
see it: no other stop, no restart of the machine.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import whole_files

from ..engine import recovery
from ..machine import files
from ..settings import Pipeline, Stage

LOG = logging.getLogger(__name__)

TRIES = 3
PATIENCE_SECONDS = 600.0
"""After so long an object gets its turn, even where the queues are never empty."""
_QUARANTINES = {"import": "anonymizer", "export": "export"}
_COMPARED = 64 * 1024


class Trials:
    """The objects under suspicion, in a directory of their own, with their counts beside it."""

    def __init__(self, pipelines: Sequence[Pipeline], data: Path, heap_mib: int = 0) -> None:
        """``heap_mib``: CTP's memory. One with more of it may try again what is held back."""
        self._pipelines = pipelines
        self._heap_mib = heap_mib
        self._directory = data / "suspects"
        self._held = data / "held-back"
        self._counts_file = data / "import-suspects.json"
        self._marker = data / "ctp-ended"

    def ctp_ended(self) -> None:
        """Note that CTP ended by itself, for the next start."""
        try:
            self._marker.touch()
        except OSError as error:
            LOG.error("%s cannot be written (%s)", self._marker, type(error).__name__)

    def arrest(self, is_done: Callable[[Pipeline, Path], bool]) -> None:
        """Before CTP starts: take what it ended at out of its hands.

        ``is_done``: whether the import stage is through with a file, so that it is not to go round
        again. Raises ``OSError``.
        """
        if not self._marker.exists():
            return
        before = self._counts()
        counts: dict[str, int] = {
            name: count for name, count in before.items() if name in self._waiting_names()
        }
        for pipeline in self._pipelines:
            for kind in _QUARANTINES:
                active = pipeline.stage(kind).root / "active"
                for path in files.files_in(active):
                    if not path.stat().st_size or path.suffix == ".anon":
                        continue
                    if kind == "import" and is_done(pipeline, path):
                        continue
                    name = _name_of(path)
                    counts[name] = before.get(name, 0) + 1
                    self._take(pipeline, kind, path, name, counts[name])
        self._save({name: count for name, count in counts.items() if count < TRIES})
        self._marker.unlink(missing_ok=True)

    def _take(self, pipeline: Pipeline, kind: str, path: Path, name: str, count: int) -> None:
        # What CTP had begun to make of it is worth nothing without it.
        for half in path.parent.glob("*.anon"):
            half.unlink()
        if count < TRIES:
            target = self._directory / str(pipeline.index) / kind / name
        else:
            file = f"TQ-{time.time_ns():020d}-{self._heap_mib}.dcm"
            target = self._held / str(pipeline.index) / kind / file
            LOG.warning("CTP ended %d times at an object: it is held back from now on", count)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.rename(target)

    def go_on(self, is_empty: Callable[[Pipeline, str], bool]) -> None:
        """While CTP runs: give the next one its turn, when nothing else is waiting.

        ``is_empty``: whether nothing waits in that pipeline's queue of that kind.
        """
        idle = all(
            is_empty(pipeline, kind) for pipeline in self._pipelines for kind in _QUARANTINES
        )
        for path in self._waiting():
            age = time.time() - path.stat().st_ctime
            if idle or age > PATIENCE_SECONDS:
                self.release(path)
                return

    def held(self) -> list[tuple[Pipeline, Stage, Path]]:
        """What is held back: pipeline, the stage that it failed in, file."""
        return [
            (pipeline, pipeline.stage(stage), path)
            for pipeline in self._pipelines
            for kind, stage in _QUARANTINES.items()
            for path in files.files_in(self._held / str(pipeline.index) / kind)
        ]

    def is_held(self, path: Path) -> bool:
        """Whether this file is held back here."""
        return self._held in path.parents

    def may_be_released(self, path: Path) -> bool:
        """Whether CTP has more memory now than when it ended at this object."""
        return int(path.stem.rpartition("-")[2]) < self._heap_mib

    def release(self, path: Path) -> None:
        """Let CTP try an object again that is held back. Raises ``OSError``."""
        pipeline, kind = self._pipelines[int(path.parts[-3])], path.parts[-2]
        recovery.requeue(path, pipeline.stage(kind).root / "queue")

    def waiting(self) -> int:
        """How many objects have not had their turn yet."""
        return len(self._waiting())

    def _waiting(self) -> list[Path]:
        return sorted(Path(each.path) for each in files.files_below(self._directory))

    def _waiting_names(self) -> set[str]:
        return {path.name for path in self._waiting()}

    def _counts(self) -> dict[str, int]:
        try:
            found = json.loads(self._counts_file.read_text(encoding="utf-8"))
            return {str(name): int(count) for name, count in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            LOG.error("%s cannot be read (%s)", self._counts_file, type(error).__name__)
            return {}

    def _save(self, counts: dict[str, int]) -> None:
        whole_files.replace(self._counts_file, json.dumps(counts), durable=False)


def _name_of(path: Path) -> str:
    """The same for the same object, under whatever name CTP has it."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_COMPARED))
    digest.update(str(path.stat().st_size).encode())
    return digest.hexdigest()
