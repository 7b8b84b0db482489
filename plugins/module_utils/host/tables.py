"""Text tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def counted(number: int | None, one: str, many: str = "") -> str:
    """Return a number of things in words: "1 study", "1 204 studies"; None: not known.

    Args:
        number: how many; None where nobody knows.
        one: what one of them is called.
        many: what several are called, where that is not `one` with an s.
    """
    if number is None:
        return f"an unknown number of {many or one + 's'}"
    return f"{number:,}".replace(",", " ") + f" {one if number == 1 else many or one + 's'}"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return an aligned text table, one line a row, under its header and a rule."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [
        max(len(row[column]) for row in [list(header), *cells]) for column in range(len(header))
    ]

    def line(row: Sequence[str]) -> str:
        return "  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()

    return [line(header), "  ".join("-" * width for width in widths), *map(line, cells)]
