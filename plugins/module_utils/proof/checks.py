"""The rows of a proof: what must hold, what was seen, and what to do where it does not hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

POLL_SECONDS = 0.3


@dataclass(frozen=True)
class Check:
    """One row of the proof.

    Attributes:
        check: what must hold, as a statement.
        where: the host that looked.
        passed: whether it held.
        detail: what was seen, in plain words; never a password.
        remedy: what to do where it failed, else empty.
    """

    check: str
    where: str
    passed: bool
    detail: str
    remedy: str = ""


class Report:
    """Collects the rows of one host."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.checks: list[Check] = []

    def add(self, check: str, problems: Sequence[str], seen: str, remedy: str) -> bool:
        """Add a row that passes when there is no problem, and return whether it passed."""
        passed = not problems
        detail = seen if passed else summarize(problems)
        self.checks.append(Check(check, self.where, passed, detail, "" if passed else remedy))
        return passed

    def attempt(
        self, check: str, remedy: str, look: Callable[[], tuple[Sequence[str], str]]
    ) -> bool:
        """Add a row from a function that returns problems and what it saw.

        What keeps it from looking (no answer, a strange answer) is a problem too, so that the proof
        goes on, cleans up, and shows all rows together.
        """
        try:
            problems, seen = look()
        except LookupError as error:
            problems, seen = [f"an answer lacks {error}"], ""
        except (RuntimeError, OSError, ValueError) as error:
            problems, seen = [str(error)], ""
            remedy = getattr(error, "remedy", "") or remedy
        return self.add(check, problems, seen, remedy)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as plain data."""
        return [asdict(check) for check in self.checks]


def summarize(problems: Sequence[str], limit: int = 6) -> str:
    """Join the first problems into one sentence and count the others."""
    shown = "; ".join(problems[:limit])
    more = len(problems) - limit
    return f"{shown}; and {more} more" if more > 0 else shown


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask until the condition holds or the time is over; return whether it held."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
