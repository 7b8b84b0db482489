"""What should have become of an object, compared with the object that left.

Both readings of the same script, CTP's and this package's, have to agree. Values are compared as
they are encoded, without their padding; nothing that is returned holds one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple

from pydicom.dataset import Dataset

from .anonymizer import PIXEL_DATA, Action, Outcome, Path, flat
from .elements import TEXTS


class Kind(enum.Enum):
    """How an element of the object that left differs."""

    MISSING = "missing"
    """It should have left."""
    UNEXPECTED = "unexpected"
    """It should not have: it was to be removed, or nobody knows where it comes from."""
    VALUE = "value"
    """It should have another value, or another number of items."""
    REPRESENTATION = "representation"
    """Its value is right, its value representation another."""
    DOUBLED = "doubled"
    """It came more than once, with different values, of which only one can leave."""


class Difference(NamedTuple):
    """One element that is not as it should be; ``action`` is what should have become of it."""

    path: Path
    kind: Kind
    action: Action | None


def differences(
    outcomes: Iterable[Outcome], left: Dataset, pixels: bool = True
) -> list[Difference]:
    """Return where an object that left is not what the script makes of the one that came.

    Args:
        outcomes: of `anonymizer.Anonymizer.run` for the object that came.
        left: the other one, from `reading.read`.
        pixels: whether Pixel Data and what is behind it is compared, too; not, where one of the
            two objects was read without them.
    """
    expected = {each.path: each for each in outcomes}
    found = {each.path: each for each in flat(left)}
    result = []
    for path, outcome in expected.items():
        if not pixels and path[0] >= PIXEL_DATA:
            continue
        other = found.get(path)
        if outcome.action is Action.REMOVED:
            if other is not None:
                result.append(Difference(path, Kind.UNEXPECTED, outcome.action))
        elif other is None:
            result.append(Difference(path, Kind.MISSING, outcome.action))
        elif outcome.items != other.items or (
            bare(outcome.vr, outcome.value) != bare(outcome.vr, other.value)
        ):
            result.append(Difference(path, Kind.VALUE, outcome.action))
        elif outcome.vr != other.vr:
            result.append(Difference(path, Kind.REPRESENTATION, outcome.action))
    for path in found:
        if path not in expected and (pixels or path[0] < PIXEL_DATA):
            result.append(Difference(path, Kind.UNEXPECTED, None))
    return sorted(result, key=lambda each: each.path)


def bare(vr: str, value: bytes | None) -> bytes:
    """Return an encoded value without what pads it: of numbers nothing does, and zero is one."""
    if value is None:
        return b""
    if vr in TEXTS:
        return value.rstrip(b"\0 ")
    return value + b"\0" * (len(value) % 2)
