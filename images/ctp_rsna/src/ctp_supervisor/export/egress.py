"""The last look at a data set on its way out, whatever CTP and its scripts made of it.

CTP copies elements behind the pixel data as they are, keeps elements of a kept group that its
dictionary does not know, and leaves the items of a sequence where the script empties a text. No
script and no filter of CTP closes that. So what leaves is read once more, by nothing of CTP's: a
data set passes when every element of it, at every level, is one that the dictionary of DICOM
(PS3.6) has, with a VR that the dictionary gives it, in order, with nothing behind the pixel data.

Values are skipped by their length; none is kept, but for the few that are compared. So an object
of any size needs a few hundred bytes here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pydicom._dicom_dict import DicomDictionary

from ..dicom.encapsulated import ENCAPSULATED
from ..dicom.encoding import (
    EXPLICIT,
    IMPLICIT,
    ITEM,
    ITEM_END,
    LONG,
    SEQUENCE_END,
    UNDEFINED,
    VRS,
    Bytes,
)

_ITEM_BYTES = struct.pack("<HH", 0xFFFE, 0xE000)
_FIRST_OF_PIXELS, _PIXEL_DATA = 0x7FE00000, 0x7FE00010
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, _PIXEL_DATA})
_SOP_INSTANCE_UID = 0x00080018
_PATIENT_NAME, _PATIENT_ID = 0x00100010, 0x00100020
_IDENTITY_REMOVED = 0x00120062
_COMPARED = frozenset({_SOP_INSTANCE_UID, _PATIENT_NAME, _PATIENT_ID, _IDENTITY_REMOVED})
STUDY, SERIES, PATIENT_ID = 0x0020000D, 0x0020000E, _PATIENT_ID
_READ = _COMPARED | {STUDY, SERIES}
_LONGEST_COMPARED = 1024

_OPEN = 1 << 62
"""The end of what has no length of its own."""
_DEEPEST = 64

_DATASET, _SEQUENCE, _FRAGMENTS = range(3)


def _may_leave(group: int) -> bool:
    """Whether elements of that group can stand in a de-identified data set."""
    return (
        group >= 0x0008
        and not group & 1
        and group >> 8 not in (0x50, 0x60)  # curves, overlays
        and group < 0xFFFA  # signatures, padding, items
    )


_KNOWN: dict[int, frozenset[bytes]] = {
    tag: frozenset(vr.encode() for vr in entry[0].split(" or "))
    for tag, entry in DicomDictionary.items()
    if _may_leave(tag >> 16) and entry[0] not in ("UN", "NONE")
}
_GROUPS = (
    {tag >> 16 for tag in DicomDictionary}
    | set(range(0x5000, 0x5100, 2))
    | set(range(0x6000, 0x6100, 2))
)


class Violation(Exception):
    """What must not leave: where it stands and why, never a value."""


class _Level:
    """A data set, the items of a sequence, or the fragments of encapsulated pixel data."""

    __slots__ = ("count", "end", "kind", "last", "limit", "tag")

    def __init__(self, kind: int, tag: int, end: int, limit: int) -> None:
        self.kind = kind
        self.tag = tag
        """Of the sequence or the pixel data; of an item's sequence."""
        self.end = end
        """Where it ends in the data set; ``_OPEN``: where its delimiter says so."""
        self.limit = limit
        """Nothing in it may go beyond this, its own end or that of what it is in."""
        self.last = -1
        """The tag of the latest element."""
        self.count = -1
        """The number of the latest item."""


class Checker:
    """Checks one data set that arrives in fragments of any size."""

    def __init__(
        self, transfer_syntax: str, prefixes: Iterable[str], sop_instance_uid: str = ""
    ) -> None:
        """``sop_instance_uid``: the one that the data set has to have; empty: any.

        Raises ``Violation`` for a transfer syntax that cannot be read here.
        """
        if transfer_syntax not in (IMPLICIT, EXPLICIT) and transfer_syntax not in ENCAPSULATED:
            raise Violation("the transfer syntax cannot be checked")
        self._implicit = transfer_syntax == IMPLICIT
        self._encapsulated = transfer_syntax in ENCAPSULATED
        self._prefixes = tuple(prefix.encode() for prefix in prefixes)
        self._uid = sop_instance_uid.encode()
        self._levels = [_Level(_DATASET, 0, _OPEN, _OPEN)]
        self._offset = 0
        """Where ``_rest`` begins in the data set."""
        self._skip = 0
        """How much of the latest value is still to come."""
        self._rest = b""
        """The beginning of an element that could not be judged yet."""
        self._pixels = False
        """Whether the pixel data began: nothing may follow it."""
        self._seen: set[int] = set()
        self.values: dict[int, str] = {}
        """The UIDs of study and series that it leaves under, and the pseudonym."""
        self.pixels_at: int | None = None
        """Where the pixel data begins in the data set, or what belongs to it."""

    def feed(self, fragment: Bytes) -> None:
        """Check what can be checked with this fragment. Raises ``Violation``."""
        skip = self._skip
        if skip:
            size = len(fragment)
            if skip >= size:
                self._skip = skip - size
                self._offset += size
                return
            self._skip = 0
            self._offset += skip
            fragment = memoryview(fragment)[skip:]
        self._walk(self._rest + bytes(fragment) if self._rest else fragment)

    def finish(self) -> None:
        """Check that the data set is complete. Raises ``Violation``."""
        if not self._skip and not self._rest:
            self._walk(b"")
        if self._skip or self._rest or len(self._levels) > 1:
            raise Violation(f"{self._path()}: the data set ends in the middle")
        missing = _COMPARED - self._seen
        if missing:
            raise Violation(f"{_name(min(missing))}: missing")

    def _walk(self, data: Bytes) -> None:
        """Read element after element. ``data`` begins where one does."""
        position, size, offset = 0, len(data), self._offset
        levels, implicit = self._levels, self._implicit
        level = levels[-1]
        while True:
            here = offset + position
            while here >= level.end:
                levels.pop()
                level = levels[-1]
            if size - position < 8:
                break
            group, element, length = struct.unpack_from("<HHI", data, position)
            tag = group << 16 | element
            after = position + 8

            if level.kind != _DATASET or group == 0xFFFE:
                if offset + after > level.limit:
                    raise self._violation(tag, "longer than what it is in")
                if tag == ITEM and level.kind == _SEQUENCE:
                    level.count += 1
                    if len(levels) >= _DEEPEST:
                        raise self._violation(level.tag, "too deep")
                    end, limit = self._ends(level, tag, offset + after, length)
                    level = _Level(_DATASET, level.tag, end, limit)
                    levels.append(level)
                elif tag == ITEM and level.kind == _FRAGMENTS and length != UNDEFINED:
                    self._ends(level, tag, offset + after, length)
                    after += length
                elif (
                    tag == (ITEM_END if level.kind == _DATASET else SEQUENCE_END)
                    and not length
                    and level.end == _OPEN
                    and len(levels) > 1
                ):
                    levels.pop()
                    level = levels[-1]
                else:
                    raise self._violation(tag, "not an item, or not in its place")
                if after > size:
                    self._skip = after - size
                    position = size
                    break
                position = after
                continue

            if self._pixels and len(levels) == 1:
                raise self._violation(tag, "behind the pixel data")
            if tag <= level.last:
                raise self._violation(tag, "not in ascending order")
            if tag >= _FIRST_OF_PIXELS and self.pixels_at is None and len(levels) == 1:
                self.pixels_at = offset + position
            known = _KNOWN.get(tag)
            if known is None:
                raise self._violation(tag, _why_unknown(group))
            if implicit:
                sequence = b"SQ" in known
            else:
                vr = bytes(data[position + 4 : position + 6])
                if vr not in VRS:
                    raise self._violation(tag, _why_vr(vr))
                if vr in LONG:
                    if size - position < 12:
                        break
                    after = position + 12
                    (length,) = struct.unpack_from("<I", data, position + 8)
                else:
                    length >>= 16
                # CTP empties a value and keeps the VR that it came with; nothing hides in it.
                if vr not in known and length:
                    raise self._violation(tag, _why_vr(vr))
                sequence = vr == b"SQ" and vr in known
            end, limit = self._ends(level, tag, offset + after, length)

            if sequence:
                level.last = tag
                level = _Level(_SEQUENCE, tag, end, limit)
                levels.append(level)
                position = after
                continue
            if length == UNDEFINED:
                if tag != _PIXEL_DATA or not self._encapsulated:
                    raise self._violation(tag, "of undefined length, but no sequence")
                level.last = tag
                self._pixels = self._pixels or len(levels) == 1
                level = _Level(_FRAGMENTS, tag, end, limit)
                levels.append(level)
                position = after
                continue

            if tag in _PIXELS:
                if len(levels) == 1:
                    if self._encapsulated:
                        raise self._violation(tag, "not encapsulated")
                    self._pixels = True
            elif tag in _READ:
                if length > _LONGEST_COMPARED:
                    raise self._violation(tag, "too long")
                if after + length > size:
                    break
                self._compare(tag, bytes(data[after : after + length]))
            elif length >= 4:
                # In implicit VR a sequence looks like any other value.
                if after + 4 > size:
                    break
                if data[after] == 0xFE and data[after : after + 4] == _ITEM_BYTES:
                    raise self._violation(tag, "items, where the dictionary has no sequence")
            level.last = tag
            after += length
            if after > size:
                self._skip = after - size
                position = size
                break
            position = after
        self._rest = bytes(data[position:])
        self._offset = offset + position

    def _ends(self, level: _Level, tag: int, start: int, length: int) -> tuple[int, int]:
        """Where what starts there ends, and what it may not go beyond."""
        if length == UNDEFINED:
            if start > level.limit:
                raise self._violation(tag, "longer than what it is in")
            return _OPEN, level.limit
        if start + length > level.limit:
            raise self._violation(tag, "longer than what it is in")
        return start + length, start + length

    def _compare(self, tag: int, raw: bytes) -> None:
        value = raw.strip(b" \0")
        top = len(self._levels) == 1
        if tag in (_PATIENT_NAME, _PATIENT_ID):
            if (value or top) and not value.startswith(self._prefixes):
                raise self._violation(tag, "no pseudonym")
        elif top and tag == _IDENTITY_REMOVED:
            if value != b"YES":
                raise self._violation(tag, "not YES")
        elif top and tag == _SOP_INSTANCE_UID and self._uid and value != self._uid:
            raise self._violation(tag, "not the one of the command")
        if top:
            self._seen.add(tag)
            self.values[tag] = value.decode("latin-1")

    def _path(self) -> str:
        parts = [
            f"{_name(level.tag)}[{self._levels[number - 1].count}]"
            for number, level in enumerate(self._levels)
            if number and level.kind == _DATASET
        ]
        if self._levels[-1].kind != _DATASET:
            parts.append(_name(self._levels[-1].tag))
        return " > ".join(parts) or "top level"

    def _violation(self, tag: int, why: str) -> Violation:
        where = self._path()
        name = _name(tag)
        return Violation(f"{name if where == 'top level' else f'{where} > {name}'}: {why}")


def _name(tag: int) -> str:
    """The tag as it may be logged: where the data set is broken, it can be a piece of a text."""
    group = tag >> 16
    text = all(byte >= 0x20 and byte != 0x7F for byte in divmod(group, 256))
    if tag in DicomDictionary or (group & ~1 in _GROUPS and not text):
        return f"({group:04X},{tag & 0xFFFF:04X})"
    return "(?)"


def _why_unknown(group: int) -> str:
    if group & 1:
        return "private"
    if _may_leave(group):
        return "not in the dictionary"
    return "of a group that must not leave"


def _why_vr(vr: bytes) -> str:
    shown = vr.decode() if vr in VRS else "no VR"
    return f"{shown}, which the dictionary does not have for it"
