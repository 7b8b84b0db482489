"""Names of structures: which became which, and whether two that differed have become the same.

A script can replace a name by the number of its item (`ROI Number`, `Segment Number`), but it looks
at one item alone. Items that have no number, or the same one, would so come out under one name, and
a program that writes a file for each name would overwrite one structure by another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .anonymizer import Path

NUMBER_OF = {0x30060026: 0x30060022, 0x00620005: 0x00620004}
"""ROI Name and Segment Label, with the number that tells its item apart."""
SEQUENCES = frozenset({0x30060020, 0x00620002})
"""Structure Set ROI Sequence and Segment Sequence."""


class Named(NamedTuple):
    """One name.

    Attributes:
        path: where it is.
        number: of its item, as it came; empty where it has none.
        came: what it was. It may name a person.
        left: what it is now.
    """

    path: Path
    number: str
    came: str
    left: str

    @property
    def changed(self) -> bool:
        """Whether it is not what it was."""
        return self.came != self.left


def merged(names: Iterable[Named]) -> Path | None:
    """Return the sequence in which two names have become one that were not, if there is one."""
    before: dict[tuple[Path, int, str], str] = {}
    for each in names:
        sequence, element = each.path[:-2], each.path[-1]
        if before.setdefault((sequence, element, each.left), each.came) != each.came:
            return sequence
    return None
