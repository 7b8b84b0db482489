"""The table of docs/resilience.md: the part between two markers, one pair for each distribution."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Mixed
    from shared.streams import Balance

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "resilience.md"
HEAD = (
    "case",
    "sent",
    "acknowledged",
    "arrived",
    "quarantined",
    "doubled",
    "lost",
    "sent again",
    "healthy after",
)


@dataclass(frozen=True)
class Row:
    """One case: objects, and seconds from the end of the fault until all is well."""

    title: str
    sent: int
    acknowledged: int
    arrived: int
    quarantined: int
    doubled: int
    lost: int
    again: int
    healed: float

    @classmethod
    def of(cls, title: str, stream: Mixed, result: Balance, healed: float) -> Row:
        """Make it of what the senders and the site say."""
        return cls(
            title,
            len(stream.offered),
            result.acknowledged,
            result.arrived,
            result.quarantined,
            result.doubled,
            result.lost,
            stream.refusals,
            healed,
        )

    @staticmethod
    def sum(rows: Sequence[Row]) -> Row:
        """Add the rounds of a case; the longest healing counts."""
        counts = {name: sum(getattr(row, name) for row in rows) for name in COUNTS}
        return replace(rows[0], healed=max(row.healed for row in rows), **counts)

    def cells(self) -> list[str]:
        """As the document shows it."""
        counts = [str(getattr(self, name)) for name in COUNTS]
        return [self.title, *counts, f"{self.healed:.0f} s"]


COUNTS = ("sent", "acknowledged", "arrived", "quarantined", "doubled", "lost", "again")


def markers(distribution: str) -> tuple[str, str]:
    """The lines before and after a table."""
    return (
        f"<!-- table of {distribution}: written by the test -->",
        f"<!-- end of {distribution} -->",
    )


def write(document: Path, distribution: str, rows: Sequence[Row], rounds: int) -> None:
    """Replace a table. Raises ValueError where the document has no place for it."""
    first, last = markers(distribution)
    lines = [HEAD, ("---",) * len(HEAD), *(row.cells() for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    text = document.read_text()
    pattern = re.compile(f"{re.escape(first)}.*{re.escape(last)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{document} has no lines {first} and {last}")
    plural = "" if rounds == 1 else "s"
    said = f"{rounds} round{plural} of each case:"
    document.write_text(pattern.sub(lambda _: f"{first}\n{said}\n\n{table}\n{last}", text))
