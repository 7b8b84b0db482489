"""How long a value of bytes or binary numbers may be.

Any bytes are numbers, so that a text behind the last of them passes every look at its form. But
how many numbers there are is said elsewhere: by the dictionary (PS3.6, value multiplicity), or by
another element of the same data set or item. What is longer than that, and numbers that cannot be
what they stand for, must not leave.

`BOUNDED` has all elements of such a representation that the script may keep and that may have any
number of values; a test compares it with the script.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping

from pydicom._dicom_dict import DicomDictionary

SIZES = {
    **{"US": 2, "SS": 2, "UL": 4, "SL": 4, "UV": 8, "SV": 8},
    **{"FL": 4, "FD": 8, "AT": 4},
}
"""Bytes of a number, or a tag, by value representation."""


def _most() -> dict[int, int]:
    found = {}
    for tag, (representations, multiplicity, *_) in DicomDictionary.items():
        sizes = [SIZES.get(each, 0) for each in representations.split(" or ")]
        highest = multiplicity.split("-")[-1]
        if all(sizes) and highest.isdigit():
            found[tag] = max(sizes) * int(highest)
    return found


MOST: Mapping[int, int] = _most()
"""Bytes at most, of binary numbers and tags of which there may be so many."""

_PHOTOMETRIC, _POINTER = 0x00280004, 0x00280009
_PALETTES = {0x00281201: 0x00281101, 0x00281202: 0x00281102, 0x00281203: 0x00281103}
_LUT_DESCRIPTOR, _LUT = 0x00283002, 0x00283006
_NUMERIC = 0x0040A30A
_GRID_DIMENSIONS, _GRID = 0x00640007, 0x00640009
_SPOTS = 0x300A0392
_POINTERS = {_POINTER, 0x00209165, 0x00209167}

# A name has 16 letters in a row, coordinates practically never have.
_LETTERS = re.compile(rb"[A-Za-z ^.,'-]{16}")
_MOST_FRAMES = 1 << 24


class Values:
    """Those of `WATCHED` in one data set or item."""

    def __init__(self) -> None:
        self._values: dict[int, bytes] = {}
        self._sizes: dict[int, int] = {}

    def add(self, tag: int, value: bytes, size: int) -> None:
        """``value`` is empty where it is too long to be held; ``size``: its bytes."""
        self._values[tag], self._sizes[tag] = value, size

    def beyond(self, frames: int) -> list[int]:
        """Return what has more in it than there may be, or other things.

        ``frames``: (0028,0008) of the object.
        """
        # Else the script removes them. As it asks: in whatever case it is written.
        is_coloured = b"PALETTE" in self._values.get(_PHOTOMETRIC, b"").upper()
        return [
            tag
            for tag, size in self._sizes.items()
            if size
            and (is_right := BOUNDED.get(tag)) is not None
            and (is_coloured or tag not in _PALETTES)
            and not is_right(self, tag, frames)
        ]

    def _number(self, tag: int) -> int:
        try:
            return int(self._values.get(tag, b"").split(b"\\")[0].strip(b" \0"))
        except ValueError:
            return 0

    def _at_most(self, tag: int, most: int) -> bool:
        return self._sizes[tag] <= most + most % 2


def _is_table(values: Values, tag: int, _: int) -> bool:
    """PS3.3 C.7.6.3.1.5, C.11.1.1: entries, first value mapped, bits of each entry."""
    said = values._values.get(_PALETTES.get(tag, _LUT_DESCRIPTOR), b"")
    if len(said) != 6:
        # Of a LUT that has none, the script keeps nothing.
        return tag == _LUT
    entries, _first, bits = struct.unpack("<3H", said)
    entries = entries or 1 << 16
    if bits > 8:
        return values._at_most(tag, 2 * entries)
    if values._at_most(tag, entries):
        return True
    # Some give each entry of 8 bits 16: the other half is nothing, or the same.
    table = values._values[tag]
    low, high = table[::2], table[1::2]
    return len(table) == 2 * entries and (not any(low) or not any(high) or low == high)


def _is_grid(values: Values, tag: int, _: int) -> bool:
    """PS3.3 C.20.3: a vector of three numbers of 32 bits for each point."""
    said = values._values.get(_GRID_DIMENSIONS, b"")
    if len(said) != 12:
        return False
    x, y, z = struct.unpack("<3I", said)
    return values._at_most(tag, 12 * x * y * z)


def _for_each_spot(numbers: int) -> Callable[[Values, int, int], bool]:
    """PS3.3 C.8.8.25: so many numbers of 32 bits for each scan spot position."""
    return lambda values, tag, _: values._at_most(tag, 4 * numbers * values._number(_SPOTS))


def _like_decimals(size: int) -> Callable[[Values, int, int], bool]:
    """PS3.3 C.18.1: the same numbers as in (0040,A30A), in another form."""

    def is_right(values: Values, tag: int, _: int) -> bool:
        decimals = values._values.get(_NUMERIC, b"")
        return values._at_most(tag, size * (decimals.count(b"\\") + 1 if decimals else 1))

    return is_right


def _is_vector(values: Values, tag: int, frames: int) -> bool:
    """PS3.3 C.8.4.8: a number for each frame."""
    return values._at_most(tag, 2 * frames)


def _are_indices(values: Values, tag: int, _: int) -> bool:
    """No list of numbers of 32 bits has one with four letters in it."""
    value = values._values[tag]
    count = len(value) // 4
    return bool(value) and max(struct.unpack(f"<{count}I", value[: 4 * count])) < _MOST_FRAMES


def _is_no_text(values: Values, tag: int, _: int) -> bool:
    value = values._values[tag]
    return bool(value) and not _LETTERS.search(value)


def _are_tags(values: Values, tag: int, _: int) -> bool:
    """Those that the dictionary has; dimensions of some makers are private."""
    value = values._values[tag]
    for group, element in struct.iter_unpack("<HH", value[: len(value) // 4 * 4]):
        is_private = group & 1 and tag != _POINTER
        if not is_private and group << 16 | element not in DicomDictionary:
            return False
    return bool(value)


BOUNDED: Mapping[int, Callable[[Values, int, int], bool]] = {
    **dict.fromkeys((*_PALETTES, _LUT), _is_table),
    _GRID: _is_grid,
    0x300A0394: _for_each_spot(2),
    0x300A0396: _for_each_spot(1),
    0x30080047: _for_each_spot(1),
    0x0040A161: _like_decimals(8),
    0x0040A162: _like_decimals(4),
    0x0040A163: _like_decimals(4),
    **dict.fromkeys((0x00540010, 0x00540020, 0x00540030, 0x00540050, 0x00540060), _is_vector),
    **dict.fromkeys((0x00540070, 0x00540080, 0x00540090, 0x00540100), _is_vector),
    **dict.fromkeys((0x00209157, 0x0040DB73), _are_indices),
    # Inversion times, frames and segments that are meant, coordinates.
    **dict.fromkeys((0x00189079, 0x0040A136, 0x0062000B, 0x00700022), _is_no_text),
    **dict.fromkeys(_POINTERS, _are_tags),
}
"""What may have any number of values, and what tells whether it has too many."""

WATCHED = frozenset(
    {*BOUNDED, *_PALETTES.values(), _LUT_DESCRIPTOR, _NUMERIC, _GRID_DIMENSIONS, _SPOTS}
    | {_PHOTOMETRIC}
)
