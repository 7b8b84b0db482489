"""Regions of images that a site has declared to show a name: blanked while an object leaves.

A declaration names a device, the size of its images and rectangles in them. The object that came
says whether one is for it; what CTP made of the device's name does not matter. Its pixel data are
those that came, by the sum over them (``arrivals``), until they pass here. ``Blanker`` overwrites
the regions in what goes to Orthanc; nothing changes its length. ``Proof`` sees what CTP gave and
what Orthanc gets, and says whether inside the regions there is one value and outside every byte as
it was; it shares no arithmetic with the other. The last fragment of an object waits for it.

Of uncompressed pixel data alone, whose length is that of the image: the script holds back
everything else, and so does this. What came compressed was decompressed before (``unpacking``).

Sources: PS3.3 C.7.6.3.1.2 (colours, planes), PS3.5 8.1 and A.1, A.2 (native pixel data).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ctp_rules import encoded
from ctp_rules.anonymizer import QuarantineError
from ctp_rules.encoded import Encoded, UnreadableError

from ..dicom.encoding import UNDEFINED, Bytes
from ..settings import Declared, Region
from . import image_pixel

CODE = b"113101"
"""Clean Pixel Data Option (PS3.16 CID 7050)."""
_METHOD_CODES, _CODE_VALUE = 0x00120064, 0x00080100
_CLASS, _MAKER, _MODEL = 0x00080016, 0x00080070, 0x00081090
_ROWS, _COLUMNS, _PLANAR, _ALLOCATED = 0x00280010, 0x00280011, 0x00280006, 0x00280100
_LAST_OF_IMAGE = max(image_pixel.WANTED)
_PIXELS = 0x7FE00010
_LONGEST_HEAD = 12
_OTHER = frozenset({b"OB", b"OW"})

# Of the samples that say how blue and how red a pixel is, 128 is neither.
_BLACK = {
    b"MONOCHROME1": (0,),
    b"MONOCHROME2": (0,),
    b"PALETTE COLOR": (0,),
    b"RGB": (0, 0, 0),
    b"YBR_FULL": (0, 128, 128),
}
_ALLOCATIONS = (8, 16, 32)


@dataclass(frozen=True)
class Task:
    """What is to be blanked in one object.

    Attributes:
        frames: of pixels; of as many planes each as ``fills`` has.
        step: bytes of a pixel in a plane.
        fills: what a blanked pixel is in each plane.
    """

    regions: tuple[Region, ...]
    rows: int = 0
    columns: int = 0
    frames: int = 0
    step: int = 0
    fills: tuple[bytes, ...] = ()
    problem: str = ""
    """Why nothing can be blanked in it; never a value."""

    @property
    def size(self) -> int:
        """Bytes of the image."""
        return self.frames * len(self.fills) * self.rows * self.columns * self.step


def task(came: Encoded, declared: Sequence[Declared]) -> Task | None:
    """Return what is to be blanked in an object that came; ``None``: nothing is declared for it.

    ``came`` ends in front of the pixel data.
    """
    values = _values(came) if declared else None
    if values is None:
        return None  # nothing is declared, or it does not leave
    regions = tuple(region for each in declared if _is_for(each, values) for region in each.regions)
    return _planned(regions, values) if regions else None


def fits(wanted: Task, left: Encoded) -> bool:
    """Whether an object that leaves has an image as that in which this is to be blanked.

    ``left`` ends in front of the pixel data. Its device is not asked for.
    """
    values = _values(left)
    return values is not None and _planned(wanted.regions, values) == wanted


def _values(header: Encoded) -> dict[int, bytes] | None:
    """What an object says of its device and image; ``None``: it cannot be read."""
    try:
        level = encoded.root(header, last=_LAST_OF_IMAGE)
        values = {}
        for tag in (_CLASS, _MAKER, _MODEL, _PLANAR, *image_pixel.WANTED):
            element = level.get(tag)
            values[tag] = element.raw or b"" if element is not None else b""
    except (UnreadableError, QuarantineError):
        return None
    return values


def _is_for(declared: Declared, values: Mapping[int, bytes]) -> bool:
    return (
        values[_MAKER].strip(b" \0") == declared.manufacturer.encode()
        and values[_MODEL].strip(b" \0") == declared.model.encode()
        and declared.sop_class.encode() in (b"", values[_CLASS].strip(b" \0"))
        and values[_ROWS] == struct.pack("<H", declared.rows)
        and values[_COLUMNS] == struct.pack("<H", declared.columns)
    )


def _planned(regions: tuple[Region, ...], values: Mapping[int, bytes]) -> Task:
    image = image_pixel.image({tag: value for tag, value in values.items() if value})
    if image is None:
        return Task(regions, problem="it does not say how its image is encoded")
    black = _BLACK.get(image.photometric)
    if black is None or image.samples != len(black):
        return Task(regions, problem="its colours are encoded in a way that is not known here")
    if image.allocated not in _ALLOCATIONS or (any(black) and image.allocated != 8):
        return Task(regions, problem=f"it has {image.allocated} bits for a sample")
    bytes_of = image.allocated // 8
    samples = tuple(bytes([value]) + bytes(bytes_of - 1) for value in black)
    by_plane = len(samples) > 1 and values[_PLANAR] == b"\1\0"
    if len(samples) > 1 and not by_plane and values[_PLANAR] != b"\0\0":
        return Task(regions, problem="it does not say how its planes are arranged")
    fills = samples if by_plane else (b"".join(samples),)
    return Task(regions, image.rows, image.columns, image.frames, len(fills[0]), fills)


def claims(left: Encoded) -> bool:
    """Whether an object says of itself that its pixel data were cleaned.

    ``left`` ends in front of the pixel data; one that cannot be read says so, if it may.
    """
    data = left.data
    if not isinstance(data, memoryview) and data.find(CODE) < 0:
        return False  # most objects, without their elements being looked for
    try:
        level = encoded.root(left)
        if _METHOD_CODES not in level.places:
            return False
        for item in level.items(_METHOD_CODES):
            code = item.get(_CODE_VALUE)
            if code is not None and (code.raw or b"").strip(b" \0") == CODE:
                return True
    except (UnreadableError, QuarantineError):
        return True
    return False


class Blanker:
    """Blanks one data set that leaves in fragments of any size."""

    def __init__(self, wanted: Task, implicit: bool) -> None:
        self.task = wanted
        self._implicit = implicit
        self._offset = 0
        """Of the next fragment in the data set."""
        self._tail = b""
        """What came before it, as much as the head of an element can have."""
        self._start = -1
        """Where the value of the pixel data begins, once that is known."""
        self.problem = wanted.problem
        """Why it is not blanked."""
        self._proof = Proof(wanted, implicit)

    def feed(self, fragment: Bytes, pixels_at: int | None) -> Bytes:
        """What is to leave in the place of the next fragment; ``pixels_at`` as soon as known."""
        out = self._blank(fragment, pixels_at) if not self.problem else fragment
        self._offset += len(fragment)
        if not self.problem:
            self._proof.feed(fragment, out, pixels_at)
        return out

    def finish(self) -> str:
        """Why the object must not leave, now that all of it was here; empty: it is blanked."""
        if not self.problem and self._start < 0:
            self.problem = "it has no pixel data"
        return self.problem or self._proof.finish()

    def _blank(self, fragment: Bytes, pixels_at: int | None) -> Bytes:
        if self._start < 0:
            seen = self._tail + bytes(fragment)
            if pixels_at is None or not self._begin(seen, pixels_at):
                self._tail = seen[-2 * _LONGEST_HEAD :]
                return fragment
        first = self._start - self._offset
        last = first + self.task.size
        if last <= 0 or first >= len(fragment) or self.problem:
            return fragment
        out = bytearray(fragment)
        for at, row in self._spans(max(0, -first), min(len(out) - first, self.task.size)):
            begin, end = max(0, first + at), min(first + at + len(row), len(out))
            out[begin:end] = row[begin - first - at : end - first - at]
        return out

    def _spans(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """What is blanked between two places of the value: where it begins, and with what."""
        wanted = self.task
        stride = wanted.columns * wanted.step
        plane = wanted.rows * stride
        for number in range(start // plane, -(-end // plane)):
            fill = wanted.fills[number % len(wanted.fills)]
            top, below = start - number * plane, end - number * plane
            for region in wanted.regions:
                row = fill * region.width
                left = number * plane + region.left * wanted.step
                first = max(region.top, top // stride)
                last = min(region.top + region.height, -(-below // stride))
                for line in range(first, last):
                    at = left + line * stride
                    if at < end and at + len(row) > start:
                        yield at, row

    def _begin(self, seen: bytes, pixels_at: int) -> bool:
        """Find where the pixel data begins; whether that could be told."""
        at = pixels_at - (self._offset - len(self._tail))
        needed = 8 if self._implicit else _LONGEST_HEAD
        if at < 0:
            self.problem = "its pixel data began before that could be known"
            return True
        head = seen[at : at + needed]
        if len(head) < needed:
            return False
        group, element, length = struct.unpack_from("<HHI", head)
        if not self._implicit:
            (length,) = struct.unpack_from("<I", head, 8)
        if group << 16 | element != _PIXELS or (not self._implicit and head[4:6] not in _OTHER):
            self.problem = "something else stands in the place of its pixel data"
        elif length == UNDEFINED:
            self.problem = "its pixel data are compressed"
        elif length != self.task.size + self.task.size % 2:
            self.problem = "its pixel data are not as long as its image"
        self._start = pixels_at + needed
        return True


class Proof:
    """Compares what came out of CTP with what goes to Orthanc, row by row."""

    def __init__(self, wanted: Task, implicit: bool) -> None:
        self._task = wanted
        self._head = 8 if implicit else _LONGEST_HEAD
        self._offset = self._row = 0
        self._before, self._after = bytearray(), bytearray()
        """Of a row of which not all is here, from a row's beginning."""
        self._masks: dict[tuple[Region, ...], int] = {}
        self._why = ""

    def feed(self, before: Bytes, after: Bytes, pixels_at: int | None) -> None:
        """Take the next fragment as it came, and as it leaves."""
        start = 0
        size = len(before)
        if len(after) != size:
            self._why = "it leaves in another length"
        if pixels_at is None:
            start = size
        elif self._offset < pixels_at + self._head:
            start = min(pixels_at + self._head - self._offset, size)
        if start and bytes(before[:start]) != bytes(after[:start]):
            self._why = "it leaves with another header"
        self._offset += size
        if start < size:
            self._before += before[start:]
            self._after += after[start:]
            self._rows()

    def finish(self) -> str:
        """What is wrong; empty: nothing."""
        rows = self._task.frames * len(self._task.fills) * self._task.rows
        if not self._why and (self._row != rows or self._before != self._after):
            self._why = "not all of its rows could be compared"
        return self._why

    def _rows(self) -> None:
        wanted = self._task
        stride = wanted.columns * wanted.step
        missing = wanted.frames * len(wanted.fills) * wanted.rows - self._row
        at = 0
        for number, inside in self._numbered(min(len(self._before) // stride, missing)):
            before, after = self._before[at : at + stride], self._after[at : at + stride]
            at += stride
            if not inside:
                if before != after:
                    self._why = "outside of its regions it is not as it came"
                continue
            mask = self._mask(inside)
            fill = wanted.fills[number // wanted.rows % len(wanted.fills)] * wanted.columns
            was, leaves = int.from_bytes(before, "little"), int.from_bytes(after, "little")
            if (was ^ leaves) & ~mask:
                self._why = "outside of its regions it is not as it came"
            if (leaves ^ int.from_bytes(fill, "little")) & mask:
                self._why = "its regions are not blank"
        del self._before[:at], self._after[:at]

    def _numbered(self, count: int) -> Iterator[tuple[int, tuple[Region, ...]]]:
        """The next rows, and which regions they pass through."""
        for _ in range(count):
            number = self._row
            self._row += 1
            line = number % self._task.rows
            yield (
                number,
                tuple(
                    each
                    for each in self._task.regions
                    if each.top <= line and line - each.top < each.height
                ),
            )

    def _mask(self, inside: tuple[Region, ...]) -> int:
        found = self._masks.get(inside)
        if found is None:
            one, none = b"\xff" * self._task.step, bytes(self._task.step)
            found = self._masks[inside] = int.from_bytes(
                b"".join(
                    one if any(r.left <= x and x - r.left < r.width for r in inside) else none
                    for x in range(self._task.columns)
                ),
                "little",
            )
        return found
