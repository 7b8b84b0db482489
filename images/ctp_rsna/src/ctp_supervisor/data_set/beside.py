"""What stands beside the image in pixel data: texts that no viewer shows, and that no script sees.

Comments and application segments of JPEG, comments and boxes of JPEG 2000, bytes behind the end of
a frame or of the last one, bits beside those that are stored. None of it is of the image, so it is
overwritten where it stands: nothing changes its length, and offsets of frames stay right. Only what
is behind the last frame is left out. Compressed data are not decompressed (``frames``).

What cannot be told is passed on as it is, with a ``problem``: the object must not leave.

All of it streams: a value may come in pieces of any size, of which none is held, but for segments
of tables of at most 64 KiB.
"""

from __future__ import annotations

import logging
import struct
import threading
from array import array
from collections import Counter
from collections.abc import Iterable

from ..dicom.encoding import Bytes
from .frames import BEHIND, BITS, TABLE, BeyondError, Frame, codec
from .image_pixel import CODES, DOUBLE, FLOAT, PIXELS, Image, shown, without_unused

LOG = logging.getLogger(__name__)


_HALF = frozenset({b"YBR_FULL_422", b"YBR_PARTIAL_422"})
INNER = "pixel data within sequences"


UNKNOWN = "it does not say how large its image is"


class Native:
    """Pixel data that are not compressed, of integers or of floating point numbers."""

    def __init__(self, tag: int, values: Image | None, length: int) -> None:
        """``length``: bytes that come."""
        self.length = self._left = length
        """Bytes that are passed on."""
        self.problem = ""
        self.cleared: set[str] = set()
        self._image = values if tag == PIXELS else None
        self._tail: dict[int, int] = {}
        """What may be set in a byte behind which so many follow."""
        self._rest = b""
        self._step = 1
        if not length:
            return
        if values is None:
            self.problem = UNKNOWN
            return
        self._limit(values, {FLOAT: 32, DOUBLE: 64}.get(tag, values.allocated))
        if self._image is not None and not self.problem and not values.is_full:
            self._begin(values)
        else:
            self._image = None

    def _limit(self, values: Image, bits: int) -> None:
        samples = values.rows * values.columns * values.samples
        if values.photometric in _HALF and values.samples == 3:
            if self.length - (whole := samples * values.frames * bits // 8) in (0, 1):
                self.problem = f"{whole} bytes, which are too many for {shown(values)}"
            samples = samples * 2 // 3
        size = -(-samples * values.frames * bits // 8)
        more = self.length - size
        if more < 0:
            return  # cut short: nothing hides there
        frame = -(-samples * bits // 8)
        whole_bytes = self.length - frame * values.frames in (0, 1)
        if whole_bytes and samples * bits % 8 and more > size % 2:
            # Some writers do so with single bits, and the last frames would be cut off.
            self.problem = "frames that begin at whole bytes, or bytes behind them"
        elif more >= frame and more % frame <= 1 and more > 1:
            self.problem = "more frames than it says"
        elif not self.problem:
            self.length = self._left = size + size % 2 if more else size
            pad = self.length - size
            if pad:
                self._tail[0] = 0
            if used := samples * values.frames * bits % 8:
                self._tail[pad] = (1 << used) - 1

    def _begin(self, values: Image) -> None:
        valid = 0 < values.stored <= values.high + 1 <= values.allocated
        if not valid or values.allocated not in CODES:
            self.problem = (
                f"{values.stored} bits stored below bit {values.high} of {values.allocated}"
            )
            self._image = None
            return
        self._step = values.allocated // 8

    def feed(self, piece: Bytes) -> Bytes:
        """What is passed on of the next piece, perhaps nothing yet."""
        size = len(piece)
        if size > self._left:
            if any(memoryview(piece)[self._left :]):
                self.cleared.add(BEHIND)
            piece = memoryview(piece)[: self._left]
        if not self._left:
            return b""
        self._left -= len(piece)
        if self._image is not None:
            piece = self._without_unused(piece)
        for behind, mask in self._tail.items():
            at = len(piece) - 1 - (behind - self._left)
            if 0 <= at < len(piece) and piece[at] & mask != piece[at]:
                self.cleared.add(BEHIND)
                piece = bytes(piece[:at]) + bytes([piece[at] & mask]) + bytes(piece[at + 1 :])
        return piece

    def _without_unused(self, piece: Bytes) -> Bytes:
        assert self._image is not None
        data = self._rest + bytes(piece)
        over = len(data) % self._step
        # An odd byte at the very end is none of a sample.
        self._rest = data[len(data) - over :] if over and self._left else b""
        end = data[len(data) - over :] if over and not self._left else b""
        whole = data[: len(data) - over] if over else data
        low = self._image.high - self._image.stored + 1
        if low:
            # Readers disagree: many take no notice of HighBit, and the image would be here.
            mask = (1 << low) - 1
            if any(sample & mask for sample in array(CODES[self._image.allocated], whole)):
                self.problem = f"bits below the {self._image.stored} that are stored"
                self._image = None
                return data
        found = without_unused(self._image, whole)
        if found is not whole and found != whole:
            self.cleared.add(BITS)
        return found + end


class Encapsulated:
    """The fragments of compressed pixel data."""

    LEAST = 12
    """Bytes of a fragment by which it is known whether a frame begins."""

    def __init__(self, values: Image | None, syntax: str) -> None:
        self.problem = ""
        self.cleared: set[str] = set()
        self._image = values
        self._codec = codec(syntax)
        self._frame: Frame | None = None
        self._count = 0
        """Frames that have begun."""
        self._table: list[int] = []
        """Where the basic offset table has them begin."""
        self._is_table = True
        """So far they begin there."""
        self._offset = 0
        """Of the next fragment, from the first one on."""
        if values is None:
            self.problem = UNKNOWN
        elif self._codec is None:
            self.problem = "compressed in a way that is not looked into"

    def table(self, value: bytes | None) -> bytes:
        """The basic offset table, empty where it cannot be one. ``None``: it was too long."""
        if self._image is None:
            return value or b""
        if value and len(value) == 4 * self._image.frames:
            found = list(struct.unpack(f"<{self._image.frames}I", value))
            if not found[0] and all(one < next_ for one, next_ in zip(found, found[1:])):
                self._table = found
                return value
        if value != b"":
            self.cleared.add(TABLE)
        return b""

    def begin(self, size: int, head: bytes) -> bool:
        """A fragment begins with this; not: it belongs to no frame and is left out."""
        if self.problem or self._codec is None or self._image is None:
            return True
        frame, starts = self._frame, self._codec.starts
        begins = head.startswith(starts) if starts else self._looks_like_rle(head)
        if frame is not None:
            begins = begins and (frame.done or frame.resting)
            if not begins and frame.done and self._count == self._image.frames:
                self.cleared.add(BEHIND)
                return False
        if frame is None or begins or (not starts and self._count < self._image.frames):
            if self._count == self._image.frames:
                self.problem = "more frames than it says"
                return True
            self._forget()
            self._frame = self._codec(self._image, size)
            if self._table and self._table[self._count] != self._offset:
                self._is_table = False
            self._count += 1
        self._offset += 8 + size
        return True

    def _looks_like_rle(self, head: bytes) -> bool:
        return head[1:4] == b"\0\0\0" and head[4:8] == b"\x40\0\0\0"

    def feed(self, piece: Bytes) -> Bytes:
        """The same piece of a fragment without what is beside the image."""
        if self.problem or self._frame is None or not len(piece):
            return piece
        try:
            return self._frame.feed(piece)
        except (BeyondError, struct.error) as error:
            self.problem = str(error) if isinstance(error, BeyondError) else "cannot be read"
            return piece

    def finish(self) -> None:
        """There is no more of it."""
        if self.problem or self._image is None:
            return
        self._forget()
        if self._table and not (self._is_table and self._count == len(self._table)):
            self.problem = "an offset table that points elsewhere"
        elif BEHIND in self.cleared and self._count < self._image.frames:
            self.problem = "frames that cannot be told apart"

    def _forget(self) -> None:
        frame = self._frame
        if frame is not None:
            self.cleared |= frame.cleared
            if not frame.done and not frame.resting:
                self.problem = self.problem or "a frame that is cut short"


_told: Counter[str] = Counter()
_telling = threading.Lock()


def tell(cleared: Iterable[str]) -> None:
    """Log what was cleared: of the first object, the tenth, the hundredth …"""
    with _telling:
        for kind in sorted(cleared):
            _told[kind] += 1
            if str(_told[kind]).strip("0") == "1":
                LOG.info("Cleared %s beside the image, in %d objects so far", kind, _told[kind])
