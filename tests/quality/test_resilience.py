"""The tables of docs/resilience.md, as the scenario wrote them, tell of nothing lost or doubled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "resilience.md"
TABLE = re.compile(
    r"<!-- table of (\w+): written by the test -->(.*?)<!-- end of \1 -->", re.DOTALL
)
COUNTS = ("sent", "acknowledged", "arrived", "quarantined", "doubled", "lost")


def rows(table: str) -> list[dict[str, str]]:
    """Give each row by the names of its columns."""
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line[:1] == "|"]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]


def problems(row: dict[str, str]) -> list[str]:
    """Say what must not stand in a row."""
    count = {name: int(row[name]) for name in COUNTS}
    found = [f"{name}: {count[name]}" for name in ("doubled", "lost") if count[name]]
    if not 0 < count["acknowledged"] == count["sent"]:
        found.append("not all that was sent was acknowledged")
    if count["arrived"] + count["quarantined"] != count["acknowledged"]:
        found.append("arrived and quarantined are not what was acknowledged")
    return found


@pytest.mark.parametrize("distribution", ["standin", "ctp"])
def test_nothing_is_lost_or_doubled(distribution: str) -> None:
    table = dict(TABLE.findall(DOCUMENT.read_text()))[distribution]
    found = rows(table)
    if not found and distribution == "ctp":
        pytest.skip("The scenario was not run with the real CTP; the document says so.")
    assert len(found) > 15
    assert {row["case"]: problems(row) for row in found if problems(row)} == {}


def test_a_row_that_tells_of_a_loss_is_noticed() -> None:
    sound = dict(zip(COUNTS, ("10", "10", "9", "1", "0", "0"), strict=True))
    assert problems(sound) == []
    for name in ("sent", "arrived", "doubled", "lost"):
        assert problems({**sound, name: "11"}), name
