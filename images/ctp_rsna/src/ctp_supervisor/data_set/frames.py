"""Compressed frames, walked through without being decompressed: what in them is not of the image.

Their headers and the limits of their segments are read (ITU-T T.81, T.87, T.800; PS3.5 annex G for
RLE). All of it streams: a frame may come in pieces of any size, of which none is held, but for
segments of tables of at most 64 KiB.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator

from ..dicom.encoding import Bytes
from .image_pixel import CODES, Image, clean_samples

Steps = Generator[None, None, None]

COMMENT, BEHIND, BITS, TABLE = "comments", "bytes behind frames", "unused bits", "offset tables"


class BeyondError(Exception):
    """A frame that cannot be told from what is beside it; says why."""


class Frame:
    """One compressed frame, in pieces of any size."""

    starts: tuple[bytes, ...] = ()
    """How it begins, where that can be told."""

    def __init__(self, values: Image, size: int) -> None:
        """``size``: bytes of its first fragment."""
        self.done = False
        """All of the image was there."""
        self.resting = False
        """A frame may begin here, although this one has no end."""
        self.cleared: set[str] = set()
        self._image = values
        self._size = size
        self._data = memoryview(b"")
        self._at = 0
        self._before = 0
        """How much came before ``_data``."""
        self._edits: list[tuple[int, bytes]] = []
        self._steps = self._all()

    def feed(self, piece: Bytes) -> Bytes:
        """The same piece without what is beside the image. Raises ``BeyondError``."""
        self._data, self._at = memoryview(piece), 0
        next(self._steps)
        self._before += len(piece)
        if not self._edits:
            return piece
        out = bytearray(piece)
        for at, new in self._edits:
            out[at : at + len(new)] = new
        self._edits.clear()
        return out

    def _all(self) -> Steps:
        yield from self._read()
        self.done = True
        yield from self._clear(1, "")  # a pad, of whatever value
        while True:
            yield from self._clear(max(len(self._data) - self._at, 1), BEHIND)

    def _read(self) -> Steps:
        raise NotImplementedError

    @property
    def _position(self) -> int:
        return self._before + self._at

    def _take(self, count: int) -> Generator[None, None, bytes]:
        """The next bytes, which are passed on."""
        out = b""
        while True:
            piece = bytes(self._data[self._at : self._at + count - len(out)])
            self._at += len(piece)
            out += piece
            if len(out) == count:
                return out
            yield

    def _skip(self, count: int) -> Steps:
        """Pass on as much."""
        while count:
            step = min(count, len(self._data) - self._at)
            self._at += step
            count -= step
            if count:
                yield

    def _clear(self, count: int, kind: str, fill: bytes = b"\0") -> Steps:
        """Overwrite as much."""
        while count:
            step = min(count, len(self._data) - self._at)
            old = self._data[self._at : self._at + step]
            new = fill * step
            if old != new:
                self._edits.append((self._at, new))
                if kind and any(old):
                    self.cleared.add(kind)
            self._at += step
            count -= step
            if count:
                yield

    def _check(self, rows: int, columns: int, components: int, precision: int) -> None:
        """Whether the compressed image is the one that the object says."""
        values = self._image
        if (rows, columns) != (values.rows, values.columns):
            raise BeyondError(
                f"compressed are {rows} x {columns}, not {values.rows} x {values.columns}"
            )
        if components > values.samples:
            raise BeyondError(f"{components} components where {values.samples} are the image")
        if values.is_overlaid and precision > values.stored:
            raise BeyondError("an overlay in unused bits of compressed samples")


_SOI, _EOI, _SOS, _DNL = 0xD8, 0xD9, 0xDA, 0xDC
_DQT, _DHT, _DAC, _DRI, _DHP, _EXP, _SOF55, _LSE = 0xDB, 0xC4, 0xCC, 0xDD, 0xDE, 0xDF, 0xF7, 0xF8
_SOF = (frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, _DAC}) | {_SOF55, _DHP}
_TABLES = frozenset({_DQT, _DHT, _DAC, _DRI, _EXP, _LSE, _DNL, _SOS}) | _SOF
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
# What decoding needs: densities and versions aside, how colours are transformed.
_NEEDED = {0xE0: (b"JFIF\0", 7), 0xEE: (b"Adobe", 7), 0xE8: (b"mrfx", 1)}


class _Jpeg(Frame):
    """JPEG (T.81) and JPEG-LS (T.87)."""

    starts = (b"\xff\xd8",)
    _marker_in_scan = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
    _begun = 0
    """How much of the constant was there that a segment may begin with."""

    def _read(self) -> Steps:
        if (yield from self._take(2)) != b"\xff\xd8":
            raise BeyondError("no JPEG")
        while True:
            code: int | None = yield from self._marker()
            while code is not None:
                if code == _EOI:
                    return
                code = yield from self._segment(code)

    def _marker(self) -> Generator[None, None, int]:
        while (yield from self._take(1)) != b"\xff":
            # Readers look for the next marker and pass over anything else.
            self._at -= 1
            yield from self._clear(1, COMMENT)
        while (code := (yield from self._take(1))[0]) == 0xFF:
            pass
        return code

    def _segment(self, code: int) -> Generator[None, None, int | None]:
        """One segment; return the marker that ended its scan."""
        if code in _ALONE:
            return None
        if code in (_SOI, 0):
            raise BeyondError("a second image in a frame")
        size = int.from_bytes((yield from self._take(2)), "big") - 2
        if size < 0:
            raise BeyondError("no JPEG")
        if code not in _TABLES:
            constant, more = _NEEDED.get(code, (b"", 0))
            self._begun = 0
            if size >= len(constant) + more and (yield from self._begins(constant)):
                yield from self._skip(more)
                size -= more + len(constant)
            else:
                size -= self._begun
            yield from self._clear(size, COMMENT)
            return None
        content = yield from self._take(size)
        try:
            right = self._is_table(code, content)
        except IndexError:
            right = False
        if not right:
            raise BeyondError("a segment with more in it than its table")
        if code in _SOF:
            rows, columns = struct.unpack_from(">HH", content, 1)
            if code != _DHP:
                self._check(rows or self._image.rows, columns, content[5], content[0])
        if code == _DNL:
            self._check(int.from_bytes(content, "big"), self._image.columns, 0, 0)
        return (yield from self._scan()) if code == _SOS else None

    def _begins(self, constant: bytes) -> Generator[None, None, bool]:
        """Whether this is next, of which as much is taken as is right."""
        for byte in constant:
            if (yield from self._take(1))[0] != byte:
                self._at -= 1
                return False
            self._begun += 1
        return bool(constant)

    @staticmethod
    def _is_table(code: int, content: bytes) -> bool:
        """Whether the content of a segment has the length that it says."""
        size, at = len(content), 0
        if code in _SOF:
            return size == 6 + 3 * content[5]
        if code == _SOS:
            return size == 4 + 2 * content[0]
        if code == _DQT:
            while at < size:
                at += 1 + 64 * (1 + (content[at] >> 4))
            return at == size
        if code == _DHT:
            while at < size:
                at += 17 + sum(content[at + 1 : at + 17])
            return at == size
        if code == _LSE:
            return (content[0], size) == (1, 11) or (content[0] == 4 and size <= 10)
        if code == _DAC:
            return size % 2 == 0 and size <= 16
        return size <= 4

    def _scan(self) -> Generator[None, None, int]:
        """Pass over coded data; return the marker that ends them."""
        was_ff = False
        self.resting = True
        while True:
            data = self._data
            if was_ff and self._at < len(data):
                pair = b"\xff" + bytes(data[self._at : self._at + 1])
                if self._marker_in_scan.match(pair):
                    self._at += 1
                    break
            found = self._marker_in_scan.search(data, self._at)
            if found:
                self._at = found.end()
                pair = found[0]
                break
            if self._at < len(data):
                was_ff = data[-1] == 0xFF
            self._at = len(data)
            yield
        self.resting = False
        return pair[1]


class _JpegLs(_Jpeg):
    _marker_in_scan = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")


_SOC, _SIZ, _SOT, _SOD, _EOC, _COM = b"\xff\x4f", 0x51, 0x90, 0x93, 0xD9, 0x64
_TLM, _PLT = 0x55, 0x58
_MOST_TILES = 0xFFFF
_CAP, _COD, _COC, _CPF, _QCD, _QCC = 0x50, 0x52, 0x53, 0x59, 0x5C, 0x5D
_RGN, _POC, _CRG = 0x5E, 0x5F, 0x63
_J2K_TABLES = frozenset({_CAP, _COD, _COC, _CPF, _QCD, _QCC, _RGN, _POC, _CRG})
_BOX = b"\0\0\0\x0cjP  "
_BRANDS = frozenset({b"jp2 ", b"jpx ", b"jph ", b"jpxb"})
_BOXES = frozenset({b"jP  ", b"ftyp", b"ihdr", b"bpcc", b"colr", b"cdef"})
_MOST_SPACES = 256
"""Enumerated colour spaces have small numbers (T.801 M.11.7.3)."""


class _Jpeg2000(Frame):
    """JPEG 2000 and HTJ2K (T.800, T.814), bare or within JP2."""

    starts = (_SOC + b"\xff\x51", _BOX)
    _end_in_tile = re.compile(rb"\xff\xd9")
    _components = 1
    _levels = 0
    """Most levels of decomposition so far; none are known yet where it is 0."""
    _channels = 0
    """Components that the boxes are for."""

    def _read(self) -> Steps:
        head = yield from self._take(2)
        if head == _SOC:
            yield from self._codestream()
        elif head == _BOX[:2]:
            yield from self._boxes(head, 1 << 62)
        else:
            raise BeyondError("no JPEG 2000")

    def _codestream(self) -> Steps:
        tile, length = 0, -1
        said: list[int] = []
        tiles, packets = 0, 0
        while True:
            marker = yield from self._take(2)
            start = self._position - 2
            self.resting = False
            if marker[0] != 0xFF:
                raise BeyondError("no JPEG 2000")
            code = marker[1]
            if code == _EOC:
                if said[tiles:]:
                    raise BeyondError("tiles of other lengths than they say")
                self.done = True
                return
            if code == _SOD:
                if length < 0:
                    raise BeyondError("no JPEG 2000")
                if length:
                    left = tile + length - self._position
                    if left < 0:
                        raise BeyondError("a tile of another length than it says")
                    yield from self._skip(left)
                    self.resting = True
                else:
                    left = -self._position
                    yield from self._to_end()
                    left += self._position - 2
                if packets not in (0, left):
                    raise BeyondError("a tile of another length than it says")
                if said and said[tiles : tiles + 1] != [length or self._position - 2 - tile]:
                    raise BeyondError("tiles of other lengths than they say")
                tiles += 1
                if not length and said[tiles:]:
                    raise BeyondError("tiles of other lengths than they say")
                if not length:
                    self.done = True
                    return
                packets, length = 0, -1
                continue
            size = int.from_bytes((yield from self._take(2)), "big") - 2
            if size < 0:
                raise BeyondError("no JPEG 2000")
            if code == _COM:
                yield from self._clear(size, COMMENT)
            elif code == _SOT and size == 8:
                content = yield from self._take(size)
                tile, length = start, int.from_bytes(content[2:6], "big")
            elif code == _SIZ:
                self._image_size((yield from self._take(size)))
            elif code == _TLM and size >= 2:
                said += _tile_lengths((yield from self._take(size)))
                if len(said) > _MOST_TILES:
                    raise BeyondError("more tiles than there may be")
            elif code == _PLT and size >= 1:
                packets += sum(_packet_lengths((yield from self._take(size))[1:]))
            elif code in _J2K_TABLES:
                content = yield from self._take(size)
                try:
                    right = self._is_right(code, content)
                except IndexError:
                    right = False
                if not right:
                    raise BeyondError("a segment with more in it than its table")
            else:
                # PPM and PPT too, headers of packets: what is behind the last, only a decoder sees.
                raise BeyondError(f"a segment FF{code:02X} of JPEG 2000, which is not known")

    def _image_size(self, content: bytes) -> None:
        if len(content) < 36 or len(content) != 36 + 3 * int.from_bytes(content[34:36], "big"):
            raise BeyondError("a segment with more in it than its table")
        width, height, left, top = struct.unpack_from(">4I", content, 2)
        components = int.from_bytes(content[34:36], "big")
        self._components = components
        precision = max(1 + (content[36 + 3 * each] & 0x7F) for each in range(components))
        self._check(height - top, width - left, components, precision)

    def _is_right(self, code: int, content: bytes) -> bool:
        """Whether a segment has the length that it says (T.800 A.5, A.6, A.9; T.814 A)."""
        size, index = len(content), 1 if self._components < 257 else 2
        if code in (_COD, _COC):
            at = 5 if code == _COD else index + 1
            style, levels = content[0 if code == _COD else index], content[at]
            self._levels = max(self._levels, levels)
            return size == at + 5 + (levels + 1 if style & 1 else 0)
        if code in (_QCD, _QCC):
            at = 0 if code == _QCD else index
            style, left = content[at] & 31, size - at - 1
            most = 3 * (self._levels or 32) + 1
            return left == 2 if style == 1 else left <= most * (1 if style == 0 else 2)
        if code == _CAP:
            return size == 4 + 2 * bin(int.from_bytes(content[:4], "big")).count("1")
        if code == _RGN:
            return size == index + 2
        if code == _CRG:
            return size == 4 * self._components
        return size % (5 + 2 * index) == 0 if code == _POC else size <= 8

    def _to_end(self) -> Steps:
        """The last tile has no length."""
        self.resting = True
        was_ff = False
        while True:
            data = self._data
            if was_ff and self._at < len(data) and data[self._at] == _EOC:
                self._at += 1
                return
            found = self._end_in_tile.search(data, self._at)
            if found:
                self._at = found.end()
                return
            if self._at < len(data):
                was_ff = data[-1] == 0xFF
            self._at = len(data)
            yield

    def _boxes(self, begun: bytes, end: int) -> Steps:
        """Boxes up to a position. ``begun``: of the first one's length."""
        while self._position < end:
            start = self._position - len(begun)
            if self.done:
                self.resting = True
            head = begun + (yield from self._take(8 - len(begun)))
            begun, self.resting = b"", False
            size, kind = int.from_bytes(head[:4], "big"), head[4:]
            if size == 1:
                size = int.from_bytes((yield from self._take(8)), "big")
            after = start + size if size else 1 << 62
            left = after - self._position
            if left < 0 or (size and after > end):
                raise BeyondError("no JPEG 2000")
            if kind == b"jp2c" and not self.done:
                if (yield from self._take(2)) != _SOC:
                    raise BeyondError("no JPEG 2000")
                yield from self._codestream()
                yield from self._clear(max(after - self._position, 0), BEHIND)
            elif kind == b"jp2h":
                yield from self._boxes(b"", after)
            elif kind in _BOXES and left <= 4096 and (kind != b"colr" or left == 7):
                content = yield from self._take(left)
                if not self._is_right_box(kind, content):
                    raise BeyondError("a box with more in it than what it is for")
            elif kind in (b"pclr", b"cmap"):
                # Colours of a palette: any text has their form, and DICOM has them elsewhere.
                raise BeyondError("a palette within JPEG 2000")
            elif kind.strip(b" ").isalnum():
                # A profile of colours too: of a method that is none, readers pass over it.
                yield from self._clear(left, COMMENT)
            else:
                raise BeyondError("no JPEG 2000")

    def _is_right_box(self, kind: bytes, content: bytes) -> bool:
        """Whether all of a box is what it may be (T.800 I.5)."""
        size = len(content)
        if kind == b"jP  ":
            return content == b"\r\n\x87\n"
        if kind == b"ftyp":
            brands = [content[:4], *(content[at : at + 4] for at in range(8, size, 4))]
            return size % 4 == 0 and set(brands) <= _BRANDS and not any(content[4:8])
        if kind == b"ihdr":
            if size != 14 or content[11] != 7 or max(content[12:]) > 1:
                return False
            rows, columns, self._channels = struct.unpack_from(">IIH", content)
            self._check(rows, columns, self._channels, 0)
            return _is_depth(content[10]) or content[10] == 0xFF
        if kind == b"bpcc":
            return size == self._channels and all(map(_is_depth, content))
        if kind == b"colr":
            return content[0] == 1 and int.from_bytes(content[3:], "big") < _MOST_SPACES
        # cdef: what each channel is, and of which colour.
        count = int.from_bytes(content[:2], "big")
        each = struct.unpack(f">{3 * count}H", content[2:]) if size == 2 + 6 * count else (0,)
        most = self._channels
        channels, types, colours = each[::3], each[1::3], each[2::3]
        return (
            0 < count <= most
            and len(each) == 3 * count
            and all(channel < most for channel in channels)
            and all(type_ < 3 or type_ == 0xFFFF for type_ in types)
            and all(colour <= most or colour == 0xFFFF for colour in colours)
        )


def _is_depth(bits: int) -> bool:
    return (bits & 0x7F) < 38


def _tile_lengths(content: bytes) -> list[int]:
    """What a TLM segment says (T.800 A.7.1)."""
    index, size = content[1] >> 4 & 3, 4 if content[1] & 0x40 else 2
    if (len(content) - 2) % (index + size):
        raise BeyondError("a segment with more in it than its table")
    return [
        int.from_bytes(content[at + index : at + index + size], "big")
        for at in range(2, len(content), index + size)
    ]


def _packet_lengths(content: bytes) -> list[int]:
    """What a PLT segment says (T.800 A.7.3): seven bits in a byte."""
    found, number = [], 0
    for byte in content:
        number = number << 7 | byte & 0x7F
        if number >> 32:
            raise BeyondError("a segment with more in it than its table")
        if not byte & 0x80:
            found.append(number)
            number = 0
    if content and content[-1] & 0x80:
        raise BeyondError("a segment with more in it than its table")
    return found


class _Rle(Frame):
    """RLE (PS3.5 annex G): planes of bytes, the most significant of each sample first."""

    def _read(self) -> Steps:
        values = self._image
        planes = values.samples * -(-values.allocated // 8)
        count = int.from_bytes((yield from self._take(4)), "little")
        if count != planes or count > 15 or self._size < 64 or values.allocated < 8:
            raise BeyondError(f"{count} segments of RLE where {planes} are the image")
        offsets = list(struct.unpack(f"<{count}I", (yield from self._take(4 * count))))
        yield from self._clear(60 - 4 * count, BEHIND)
        ends = [*offsets[1:], self._size]
        if offsets[0] < 64 or any(end < start for start, end in zip(offsets, ends)):
            raise BeyondError("segments of RLE out of order")
        yield from self._clear(offsets[0] - 64, BEHIND)
        table = self._table()
        for number, end in enumerate(ends):
            most = number % (planes // values.samples) == 0
            yield from self._segment(end, values.rows * values.columns, table if most else None)

    def _table(self) -> bytes | None:
        """What becomes of the most significant bytes; ``None``: they stay."""
        values = self._image
        if values.is_full:
            return None
        first = values.allocated - 8 < values.stored == values.high + 1
        if not first or values.allocated not in CODES:
            raise BeyondError("unused bits in compressed samples")
        shift = values.allocated - 8
        padding = None if values.padding is None else values.padding >> shift
        return bytes(
            clean_samples(8, values.stored - shift, values.high - shift, values.signed, padding)
        )

    def _segment(self, end: int, needed: int, table: bytes | None) -> Steps:
        while needed > 0 and self._position < end:
            data, at = self._data, self._at
            last = min(len(data), at + end - self._position) - 129
            while needed > 0 and at <= last:
                code = data[at]
                if code < 128:
                    count = code + 1
                    if table is not None:
                        self._translate(at + 1, count, table)
                    needed -= count
                    at += count + 1
                elif code > 128:
                    if table is not None:
                        self._translate(at + 1, 1, table)
                    needed -= 257 - code
                    at += 2
                else:
                    at += 1
            self._at = at
            if needed <= 0 or self._position >= end:
                break
            # Near the end of what is here: one by one.
            code = (yield from self._take(1))[0]
            count = code + 1 if code < 128 else 1 if code > 128 else 0
            needed -= count if code < 128 else 257 - code if code > 128 else 0
            count = min(count, end - self._position)
            while count:
                step = min(count, len(self._data) - self._at)
                if table is not None and step:
                    self._translate(self._at, step, table)
                self._at += step
                count -= step
                if count:
                    yield
        if needed < 0:
            raise BeyondError("a segment of RLE longer than its image")
        left = end - self._position
        if left > 0:
            # Code 128 is nothing; a single byte pads.
            yield from self._clear(left, BEHIND, b"\x80" if left > 1 else b"\0")

    def _translate(self, at: int, count: int, table: bytes) -> None:
        old = bytes(self._data[at : at + count])
        new = old.translate(table)
        if new != old:
            self._edits.append((at, new))
            self.cleared.add(BITS)


_JPEG = "1.2.840.10008.1.2.4."


def codec(syntax: str) -> type[Frame] | None:
    """What walks through frames of that transfer syntax; ``None``: nothing here does."""
    if syntax == "1.2.840.10008.1.2.5":
        return _Rle
    number = syntax[len(_JPEG) :] if syntax.startswith(_JPEG) else ""
    if number in ("80", "81"):
        return _JpegLs
    if number in ("90", "91", "92", "93", "201", "202", "203"):
        return _Jpeg2000
    return _Jpeg if number.isdigit() and 50 <= int(number) <= 70 else None
