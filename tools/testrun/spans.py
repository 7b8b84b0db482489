"""What a scenario spent its time on: deploying, waiting and asserting."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: Names the file in which tests note when they deploy and wait (molecule/shared/machines.py).
TIMES = "TEST_TIMES"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_STAGE = re.compile(r"^INFO\s+\S+ ➜ (\w+): Executing$")

Interval = tuple[float, float]


@dataclass(frozen=True)
class Shares:
    """Seconds; together the whole step."""

    deploying: float
    waiting: float
    asserting: float


def stage_of(line: str) -> str | None:
    """Return the stage that Molecule begins: ``INFO  volume ➜ verify: Executing``; else None."""
    found = _STAGE.match(_COLOUR.sub("", line).rstrip())
    return found[1] if found else None


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Join intervals that overlap, in order."""
    joined: list[Interval] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _length(intervals: Iterable[Interval]) -> float:
    return sum(end - start for start, end in merged(intervals))


def _noted(file: Path) -> dict[str, list[Interval]]:
    noted: dict[str, list[Interval]] = {"deploying": [], "waiting": []}
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for line in lines:
        # What was killed may have left half a line.
        try:
            entry = json.loads(line)
            noted[entry["kind"]].append((float(entry["start"]), float(entry["end"])))
        except (ValueError, KeyError, TypeError):
            continue
    return noted


def shares(stages: list[tuple[str, float]], start: float, end: float, times: Path) -> Shares | None:
    """Divide a scenario's time.

    Deploying is all but Molecule's stage ``verify``, and the playbooks that tests run in it.
    Waiting is what tests wait for a condition, playbooks apart. Asserting is the rest.

    Args:
        stages: each stage and when it began, in order (seconds since the epoch).
        start, end: of the whole step.
        times: the file that the tests wrote; it need not exist.

    Returns:
        None where no stage was seen: the step is no scenario.
    """
    if not stages:
        return None
    ends = [began for _, began in stages[1:]] + [end]
    verify = [(began, until) for (name, began), until in zip(stages, ends) if name == "verify"]
    noted = _noted(times)
    both = _length(noted["deploying"] + noted["waiting"])
    played = _length(noted["deploying"])
    verified = _length(verify)
    return Shares(
        deploying=(end - start) - verified + min(played, verified),
        waiting=max(min(both, verified) - min(played, verified), 0.0),
        asserting=max(verified - both, 0.0),
    )
