"""A data set in a form that CTP reads whole.

CTP's script sees an element of value representation UN as bytes, and removes it. But UN is what a
known element has to be when it is longer than 64 KiB and its data set explicit (PS3.5 6.2.2), and
what gateways make of a sequence that they do not know (CP-246). So a data set is rewritten on its
way to CTP: each known element has the value representation of the dictionary (PS3.6), and objects
whose lists of numbers can grow beyond 64 KiB are given to CTP as implicit little endian, where no
value is too long for its own. Values stay as they are, but for NULs that pad a text, for numbers
in another representation than their own, and for decimal strings of more than the 16 characters
that the standard gives them, which are rounded. Group lengths, padding behind the data set, and
private elements and signatures behind the pixel data are left out: CTP would not pass them on. What
else stands there CTP never sees, since it reads on and on behind the end of what is cut short; the
object is then none that can be read.

What cannot be mended so gets a mark, on which the script has CTP put it in quarantine: nothing that
the script would keep is lost because it could not be read. The mark says which element it was.

What stands beside the image in pixel data is overwritten on the way (``beside``).

Fragments are rewritten as they come. Sequences and items become ones of undefined length, so that
none has to be known to its end; only texts and lists of numbers are held, each alone.
"""

from __future__ import annotations

import math
import re
import struct

from pydicom._dicom_dict import DicomDictionary

from ..dicom.encoding import ITEM, ITEM_END, LONG, SEQUENCE_END, UNDEFINED, VRS, Bytes
from ..dicom.marks import MARK, TOO_LONG, WRONG_VALUE, WRONG_VR
from . import beside, bounds, image_pixel
from .rules import NO_RULES, SOP_CLASS, Rules

DAYS = {
    0x0008002A: 0x00320032,
    0x00181078: 0x00320034,
    0x00181079: 0x00321000,
    0x00189074: 0x00321010,
    0x00189151: 0x00321040,
    0x00189701: 0x00321050,
}
"""Where the day of a DT stands for the script that has a fraction or an offset: CTP cannot move
it there. It is put at the end of the item that the DT is in, into a retired date that the script
removes, and that CTP takes for a date where there is no representation."""
PIXELS = 0x7FDEFFFE
"""The script's rule of what may carry text in its pixels."""
BLANKED = 0x7FDEFFEE
"""The script's rule of what is declared to be blanked and cannot be."""
_OURS = frozenset({MARK, *DAYS.values(), PIXELS, BLANKED})
"""A sender may not write these itself."""
_TEXT = frozenset(b"AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT".split())
# Blanks at the end mean nothing in them (PS3.5 6.2), so that a NUL may become one.
_PADDED = frozenset(b"AE AS CS DA DS DT IS TM UI".split())
_BYTES = frozenset(b"OB OD OF OL OV OW UN".split())
_NUMBERS = {
    **{b"US": "H", b"SS": "h", b"UL": "I", b"SL": "i", b"UV": "Q", b"SV": "q"},
    **{b"FL": "f", b"FD": "d"},
}
# What divides a day or a time of the old form (ACR-NEMA).
_OLD = {b"DA": b".", b"TM": b":"}
_NUMERIC = frozenset(_NUMBERS) | {b"IS", b"DS"}
_SIZES = {vr: struct.calcsize("<" + code) for vr, code in _NUMBERS.items()} | {b"AT": 4}
# Of these CTP drops a value whose length is no multiple of a number's.
_STEPS = _SIZES | {b"OW": 2, b"OF": 4}
_DAY = re.compile(rb"([0-9]{8})[0-9]*[-+.][-+.0-9]* *")
_DOTTED = re.compile(rb"([0-9]{4})\.([0-9]{2})\.([0-9]{2}) *")
_COLONS = re.compile(rb"([0-9]{2}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]{1,6})?))? *")
_DECIMAL = re.compile(rb" *[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)? *")
_LONGEST_DECIMAL = 16

_CHARACTER_SET, _PIXEL_REPRESENTATION, _PIXEL_DATA = 0x00080005, 0x00280103, 0x7FE00010
_FRAMES = 0x00280008
_FIRST_OF_PIXELS = 0x7FE00000
# Where frames begin, in representations that CTP writes as UN. Readers find that out themselves.
_OFFSETS = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003})
_OPEN_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
_CLOSE_ITEM = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
_CLOSE_SEQUENCE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
_OPEN = 1 << 62
_DEEPEST = 64
MOST_HELD = 1024 * 1024
"""Bytes: a longer value passes unseen. A contour of that length has some 40,000 points."""
_LONGEST_SHORT = 0xFFFE

_DATASET, _SEQUENCE, _FRAGMENTS = range(3)
_MORE = -1

_KNOWN: dict[int, tuple[bytes, ...]] = {
    tag: tuple(vr.encode() for vr in entry[0].split(" or "))
    for tag, entry in DicomDictionary.items()
    if entry[0] not in ("UN", "NONE") and tag >> 16 >= 8
}
_SIMPLE = {
    tag: vrs
    for tag, vrs in _KNOWN.items()
    if b"SQ" not in vrs
    and tag not in (*DAYS, *DAYS.values(), _CHARACTER_SET, _PIXEL_REPRESENTATION, *bounds.WATCHED)
}
"""What ``Rewriter._run`` looks at."""


class _BrokenError(Exception):
    """No data set, or not one that can be read from here on."""


class _Level:
    """A data set, the items of a sequence, or the fragments of encapsulated pixel data."""

    __slots__ = (
        *("bounded", "days", "end", "implicit", "kind", "limit", "mute", "undecided", "watched"),
    )

    def __init__(self, kind: int, end: int, limit: int, implicit: bool, mute: bool) -> None:
        self.kind = kind
        self.end = end
        """Where it ends in the data set as it came; ``_OPEN``: where its delimiter says so."""
        self.limit = limit
        """Nothing in it may go beyond this, its own end or that of what it is in."""
        self.implicit = implicit
        self.mute = mute
        """Nothing of it is passed on."""
        self.watched = True
        """The script keeps something of what is in it."""
        self.undecided = False
        """Came as bytes: implicit by the standard, explicit by some who do not know it."""
        self.days: dict[int, bytes] | None = None
        """Those of `DAYS` that it needs."""
        self.bounded: bounds.Values | None = None
        """Those of `bounds.WATCHED` that it has."""


class Rewriter:
    """Rewrites one data set that arrives in fragments of any size."""

    def __init__(
        self,
        implicit: bool,
        to_implicit: bool,
        rules: Rules,
        is_held: bool = False,
        syntax: str = "",
    ) -> None:
        """``implicit``: how it comes; ``to_implicit``: how it goes. Little endian, both.

        ``is_held``: what is not ``readable`` is held back, whatever CTP makes of it. ``syntax``:
        the transfer syntax, which says how pixel data of no length are compressed.
        """
        self._to_implicit = to_implicit
        self._is_held = is_held
        self._rules = rules
        self._levels = [_Level(_DATASET, _OPEN, _OPEN, implicit, False)]
        self._data = memoryview(b"")
        self._offset = 0
        """Where ``_data`` begins in the data set as it came."""
        self._position = 0
        self._copy = 0
        """How much of the latest value is still to come, to be passed on as it is."""
        self._silent = False
        """It is not to be passed on."""
        self._rest = b""
        """The beginning of an element that could not be rewritten yet."""
        self._out: list[Bytes] = []
        self._signed = False
        self._pixels = False
        self._padding = False
        """Only NULs may follow."""
        self._broken = False
        self._last = self._over = False
        """Nothing is passed on any more."""
        self._marked = False
        self._syntax = syntax
        self._image: dict[int, bytes] = {}
        """Of the elements that describe the image (``beside.WANTED``)."""
        self._overlays: dict[int, bool] = {}
        """Groups of overlays; whether one has data of its own."""
        self._native: beside.Native | None = None
        """What the value goes through that is being copied."""
        self._fragments: beside.Encapsulated | None = None
        self._has_table = False
        self._has_inner = False
        self._found: list[beside.Native | beside.Encapsulated] = []
        self.problem = ""
        """What the mark says; empty: nothing is lost."""
        self.cut: int | None = None
        """With which piece of the latest feed the pixel data begins, if it does."""

    @property
    def readable(self) -> bool:
        """Whether it is a data set so far."""
        return not self._broken

    @property
    def hidden(self) -> str:
        """Why nobody can tell what stands beside the image; empty: nothing does any more."""
        return next((each.problem for each in self._found if each.problem), "")

    @property
    def cleared(self) -> set[str]:
        """What stood beside the image."""
        found = set().union(*(each.cleared for each in self._found))
        return found | ({beside.INNER} if self._has_inner else set())

    def feed(self, fragment: Bytes, last: bool = False) -> list[Bytes]:
        """What is to be passed on now. ``last``: nothing follows."""
        self._out, self.cut = [], None
        self._last = last and self._is_held
        if self._broken:
            return [] if self._over else [fragment]
        copy, size = self._copy, len(fragment)
        if copy:
            if not self._silent:
                self._put_value(memoryview(fragment)[:copy] if copy < size else fragment)
            self._offset += min(copy, size)
            self._copy = max(copy - size, 0)
            if copy >= size:
                return self._out
            fragment = memoryview(fragment)[copy:]
        self._read(self._rest + bytes(fragment) if self._rest else fragment)
        return self._out

    def finish(self) -> list[Bytes]:
        """What is to be passed on at its end."""
        self._out, self.cut = [], None
        if self._broken:
            return []
        if not self._copy:
            self._read(self._rest)
        if self._broken:
            return self._out
        if not self._copy and len(self._levels) == 1 and not any(self._rest):
            self._put_mark()
        elif self._is_behind:
            self._broken = len(self._rest) >= 8  # no element is shorter
        elif self._last:
            self._broken = True  # as in ``_read``
        else:
            self._out.append(self._rest)  # cut short: CTP shall see it too
        return self._out

    @property
    def _is_behind(self) -> bool:
        """Whether the pixel data is over, so that nothing more is passed on."""
        levels = self._levels
        if not self._pixels or (self._copy and not self._silent):
            return False
        return len(levels) == 1 or levels[1].mute

    def _read(self, data: Bytes) -> None:
        self._data, self._position = memoryview(data), 0
        try:
            self._walk()
        except (_BrokenError, struct.error):
            self._broken = True
            # Where a piece of a text is taken for a length, CTP ends for want of memory.
            other = self._is_held and self._levels[-1].implicit != self._to_implicit
            self._over = self._last or other or self._is_behind
            if not self._over:
                # CTP is to judge it as it is; it will not read it either.
                self._out.append(self._data[self._position :])

    def _walk(self) -> None:
        data, size, offset, levels = self._data, len(self._data), self._offset, self._levels
        while True:
            position = self._position
            while offset + position >= levels[-1].end:
                self._close()
            if self._padding:
                if any(data[position:]):
                    raise _BrokenError
                self._position = size
                break
            if size - position < 8:
                break
            level = levels[-1]
            fast = level.kind == _DATASET and not level.mute and not level.undecided
            if fast and not (self._pixels and len(levels) == 1):
                position = self._run(level)
                if size - position < 8 or offset + position >= level.end:
                    if offset + position >= level.end:
                        continue
                    break
            group, element, length = struct.unpack_from("<HHI", data, position)
            tag = group << 16 | element
            count = len(self._out)
            if level.kind != _DATASET or group == 0xFFFE:
                after = self._item(level, tag, position + 8, length)
            else:
                after = self._element(level, tag, position, length)
            if after == _MORE:
                break
            if after > size:
                if self._last and len(levels) == 1 and tag not in _KNOWN:
                    self._leave_out(count)
                    break
                self._copy = after - size
                self._position = size
                break
            self._position = after
        self._rest = bytes(data[self._position :])
        self._offset = offset + self._position

    def _leave_out(self, count: int) -> None:
        """Leave out what looks like an element that is longer than what is left, as junk does."""
        if not self._silent:
            self._broken = True
            del self._out[count:]
        self._position = len(self._data)

    def _run(self, level: _Level) -> int:
        """Pass on the elements that are as they have to be; return where the first other begins.

        What is not decided here is left to ``_element``, which is slower and does all.
        """
        data, position, out = self._data, self._position, self._out
        forms, to_implicit = self._rules.forms, self._to_implicit
        implicit = level.implicit
        same = implicit == to_implicit
        start = position
        end = min(len(data), level.limit - self._offset)
        while end - position >= 12 and (same or not implicit):
            value_at = position + 8
            if implicit:
                word, length = struct.unpack_from("<II", data, position)
                vr = b""
            else:
                word, vr, length = struct.unpack_from("<I2sH", data, position)
                if vr in LONG:
                    (length,) = struct.unpack_from("<I", data, value_at)
                    value_at += 4
            tag = (word & 0xFFFF) << 16 | word >> 16
            after = value_at + length
            if after > end or tag >= _FIRST_OF_PIXELS or length == UNDEFINED or not word >> 16:
                break
            if not tag & 0x10000:
                known = _SIMPLE.get(tag)
                if known is None:
                    break
                if implicit:
                    vr = known[0]
                elif vr not in known:
                    break
                if vr in _PADDED:
                    if length > _LONGEST_DECIMAL and vr == b"DS":
                        break
                    value = data[value_at:after].tobytes()
                    if vr == b"UI":
                        if value[-1:] == b" ":
                            break
                    elif b"\0" in value or ((old := _OLD.get(vr)) and old in value):
                        break
                    form = forms.get(tag)
                    if form is not None and not form.fullmatch(value.rstrip(b" ")):
                        break
                elif length % _STEPS.get(vr, 1) or length > bounds.MOST.get(tag, length):
                    break
                if word & 0xFFFF == 0x0028 and tag in image_pixel.WANTED and len(self._levels) == 1:
                    self._image[tag] = data[value_at:after].tobytes()
            elif vr == b"SQ" or (not implicit and vr not in VRS):
                break
            if not same:
                out.append(struct.pack("<II", word, length))
                out.append(data[value_at:after])
            position = after
        if same and position > start:
            out.append(data[start:position])
        self._position = position
        return position

    def _put(self, *pieces: Bytes) -> None:
        if not self._levels[-1].mute:
            self._out += pieces

    def _put_value(self, piece: Bytes) -> None:
        """A piece of a value that is passed on without being looked at, or of pixel data."""
        if self._levels[-1].kind == _FRAGMENTS:
            if self._fragments is not None:
                piece = self._fragments.feed(piece)
        elif self._native is not None:
            piece = self._native.feed(piece)
        self._put(piece)

    def _look(self) -> image_pixel.Image | None:
        return image_pixel.image(self._image, False in self._overlays.values())

    def _close(self) -> None:
        if self._levels[-1].kind == _FRAGMENTS and self._fragments is not None:
            self._fragments.finish()
            self._fragments = None
        if self._levels[-1].days:
            self._put_days()
        self._look_at_bounds()
        self._put(_CLOSE_ITEM if self._levels[-1].kind == _DATASET else _CLOSE_SEQUENCE)
        self._levels.pop()

    def _open(self, kind: int, start: int, length: int, implicit: bool, mute: bool) -> _Level:
        """Go into what begins at that place of ``_data``."""
        level = self._levels[-1]
        end = _OPEN if length == UNDEFINED else self._offset + start + length
        if len(self._levels) >= _DEEPEST or (end != _OPEN and end > level.limit):
            raise _BrokenError
        limit = level.limit if end == _OPEN else end
        inner = _Level(kind, end, limit, implicit, mute or level.mute)
        inner.watched = level.watched
        self._levels.append(inner)
        return inner

    def _item(self, level: _Level, tag: int, start: int, length: int) -> int:
        """What stands between elements. Return where the next thing begins."""
        if tag == ITEM and level.kind == _SEQUENCE:
            self._put(_OPEN_ITEM)
            inner = self._open(_DATASET, start, length, level.implicit, False)
            inner.undecided = level.undecided
        elif tag == ITEM and level.kind == _FRAGMENTS and length != UNDEFINED:
            return self._fragment(start, length)
        elif (
            tag == (ITEM_END if level.kind == _DATASET else SEQUENCE_END)
            and len(self._levels) > 1
            and level.end in (_OPEN, self._offset + start)
        ):
            # Some have one where the length says enough.
            self._close()
        else:
            raise _BrokenError
        return start

    def _fragment(self, start: int, length: int) -> int:
        """One fragment of pixel data, the first of which is the basic offset table."""
        data, fragments = self._data, self._fragments
        self._silent = False
        if fragments is None:
            self._put(data[start - 8 : start + length])
            return start + length
        if not self._has_table:
            value = None
            if length <= MOST_HELD:
                if len(data) < start + length:
                    return _MORE
                value = bytes(data[start : start + length])
            self._has_table = self._silent = True
            table = fragments.table(value)
            self._put(struct.pack("<HHI", 0xFFFE, 0xE000, len(table)), table)
            return start + length
        least = min(length, fragments.LEAST)
        if len(data) < start + least:
            return _MORE
        self._silent = not fragments.begin(length, bytes(data[start : start + least]))
        if not self._silent:
            self._put(data[start - 8 : start])
            self._put_value(data[start : start + length])
        return start + length

    def _element(self, level: _Level, tag: int, position: int, length: int) -> int:
        """One element. Return where the next thing begins, ``_MORE`` if that cannot be said yet."""
        data, start = self._data, position + 8
        top = len(self._levels) == 1
        if top and not tag and not length:
            self._padding = True
            return position
        known = _KNOWN.get(tag, ())
        vr = bytes(data[position + 4 : position + 6])
        if level.undecided:
            level.undecided = False
            level.implicit = vr not in known
        if level.implicit:
            vr = b""
        elif vr in LONG or (vr not in VRS and vr.isalpha() and vr.isupper()):
            if len(data) < position + 12:
                return _MORE
            start = position + 12
            (length,) = struct.unpack_from("<I", data, position + 8)
        elif vr in VRS:
            length >>= 16
        else:
            raise _BrokenError
        undefined = length == UNDEFINED
        if not undefined and self._offset + start + length > level.limit:
            raise _BrokenError

        group = tag >> 16
        if top and tag >= _FIRST_OF_PIXELS:
            self._put_mark()
        if top and self._pixels and tag <= _PIXEL_DATA and tag & 0xFFFF and not group & 1:
            raise _BrokenError
        behind = top and (self._pixels or tag > _PIXEL_DATA)
        drop = behind or not tag & 0xFFFF or tag in _OURS or (top and tag in _OFFSETS)
        if not top and group == _PIXEL_DATA >> 16 and not level.mute:
            # An image within a sequence is an icon, and what the script keeps has none: it would
            # stay in another sequence, whatever it is.
            drop = True
            self._has_inner = self._has_inner or level.watched
        pixels = tag == _PIXEL_DATA
        if pixels and top:
            self._pixels = True
        if undefined and pixels:
            if self._to_implicit or level.implicit:
                raise _BrokenError
            if not drop:
                self._put(self._header(tag, vr if vr in known else b"OB", UNDEFINED))
            self._open(_FRAGMENTS, start, length, False, drop)
            if top and not self._levels[-1].mute:
                self._fragments = beside.Encapsulated(self._look(), self._syntax)
                self._found.append(self._fragments)
                self._has_table = False
            return start
        if self._is_sequence(level, tag, vr, known, undefined):
            if known and b"SQ" not in known:
                self._note(WRONG_VR, tag, vr or b"SQ")
                # Nobody reads items there in implicit VR; the script would remove them.
                drop = drop or self._to_implicit
            if not drop:
                self._put(self._header(tag, b"SQ", UNDEFINED))
            from_bytes = level.implicit or vr != b"SQ"
            inner = self._open(_SEQUENCE, start, length, from_bytes, drop)
            inner.watched = inner.watched and tag in self._rules.kept
            inner.undecided = from_bytes and not level.implicit
            return start
        if undefined:
            raise _BrokenError
        self._silent = drop
        if drop:
            return start + length
        return self._value(tag, vr, known, start, length)

    @staticmethod
    def _is_sequence(
        level: _Level, tag: int, vr: bytes, known: tuple[bytes, ...], undefined: bool
    ) -> bool:
        if level.implicit:
            return b"SQ" in known or undefined
        if vr == b"SQ" or undefined:
            return True
        return b"SQ" in known and (vr in _BYTES or vr not in VRS)

    def _value(self, tag: int, vr: bytes, known: tuple[bytes, ...], start: int, length: int) -> int:
        """An element with a value of known length."""
        after, top = start + length, len(self._levels) == 1
        self._native = None
        if top and tag & 0xFF010000 == 0x60000000:
            group = tag >> 16
            self._overlays[group] = self._overlays.get(group, False) or tag & 0xFFFF == 0x3000
        if not known:
            self._put(self._header(tag, vr or b"UN", length), self._data[start:after])
            return after
        right = not vr or vr in known
        wanted = vr if vr and right else self._wanted(known)
        held = (
            wanted in _PADDED
            or tag == _PIXEL_REPRESENTATION
            or (top and tag in image_pixel.WANTED)
            or tag in bounds.WATCHED
            or (not right and {vr, wanted} <= _NUMERIC)
        )
        value: Bytes = self._data[start:after]
        if held and length <= MOST_HELD:
            if len(value) < length:
                return _MORE
            value = bytes(value)
        if right and length % _STEPS.get(wanted, 1) and tag < _FIRST_OF_PIXELS:
            self._note(WRONG_VALUE, tag, wanted)
        if not right and length:
            if vr in _BYTES or vr not in VRS:
                if length % _STEPS.get(wanted, 1):
                    self._note(WRONG_VALUE, tag, wanted)
            elif isinstance(value, bytes) and {vr, wanted} <= _NUMERIC:
                converted = _converted(value, vr, wanted)
                if converted is None:
                    self._note(WRONG_VR, tag, vr)
                    wanted = vr
                else:
                    value = converted
            elif not {vr, wanted} <= _TEXT:
                self._note(WRONG_VR, tag, vr)
                wanted = vr
        if isinstance(value, bytes):
            if tag == _PIXEL_REPRESENTATION and len(self._levels) == 1:
                self._signed = value[:1] == b"\1"
            if wanted in _PADDED:
                value = _tidy(value, wanted)
            if tag == _CHARACTER_SET and value.strip(b" ") == b"GBK":
                # CTP takes that for Latin 1; the other has all of it, encoded so.
                value = b"GB18030 "
            form = self._rules.forms.get(tag) if top or tag != SOP_CLASS else None
            if form is not None and value.strip(b" ") and not form.fullmatch(value.rstrip(b" ")):
                self._note(WRONG_VALUE, tag, wanted)
            if tag in DAYS and (day := _DAY.fullmatch(value)):
                level = self._levels[-1]
                level.days = {**(level.days or {}), DAYS[tag]: day[1]}
            length = len(value)
        if length > bounds.MOST.get(tag, length):
            self._note(WRONG_VALUE, tag, wanted)
        if tag in bounds.WATCHED:
            level = self._levels[-1]
            level.bounded = level.bounded or bounds.Values()
            level.bounded.add(tag, value if isinstance(value, bytes) else b"", length)
        if not self._to_implicit and wanted not in LONG and length > _LONGEST_SHORT:
            self._note(TOO_LONG, tag, wanted)
            wanted = b"UN"
        if top and tag in (image_pixel.FLOAT, image_pixel.DOUBLE, image_pixel.PIXELS):
            self._native = beside.Native(tag, self._look(), length)
            self._found.append(self._native)
            length = self._native.length
        elif top and tag in image_pixel.WANTED:
            self._image[tag] = bytes(value)
        self._put(self._header(tag, wanted, length))
        self._put_value(value)
        return after

    def _wanted(self, known: tuple[bytes, ...]) -> bytes:
        """The one of several that fits any value, or the numbers of this object's pixels."""
        if b"OW" in known:
            return b"OW"
        if b"SS" in known and self._signed:
            return b"SS"
        return known[0]

    def _header(self, tag: int, vr: bytes, length: int) -> bytes:
        group, element = tag >> 16, tag & 0xFFFF
        if self._to_implicit:
            return struct.pack("<HHI", group, element, length)
        if vr in LONG or vr not in VRS:
            return struct.pack("<HH2sHI", group, element, vr, 0, length)
        return struct.pack("<HH2sH", group, element, vr, length)

    def _note(self, problem: str, tag: int, vr: bytes) -> None:
        level = self._levels[-1]
        if not self.problem and tag in self._rules.kept and level.watched and not level.mute:
            self.problem = f"{problem} ({tag >> 16:04X},{tag & 0xFFFF:04X}) {vr.decode()}"

    def _look_at_bounds(self) -> None:
        values = self._levels[-1].bounded
        if values is None:
            return
        frames = self._image.get(_FRAMES, b"").strip(b" \0")
        for tag in values.beyond(int(frames) if frames.isdigit() else 1):
            self._note(WRONG_VALUE, tag, self._wanted(_KNOWN[tag]))

    def _put_mark(self) -> None:
        if self._marked:
            return
        self._marked = True
        self._look_at_bounds()
        if self.problem:
            text = self.problem.encode() + b" " * (len(self.problem) % 2)
            self._out += [self._header(MARK, b"LO", len(text)), text]
        self._put_days()
        self.cut = len(self._out)

    def _put_days(self) -> None:
        for tag, day in sorted((self._levels[-1].days or {}).items()):
            self._put(self._header(tag, b"DA", len(day)), day)


def _tidy(value: bytes, vr: bytes) -> bytes:
    """The same value as the standard has it: padding, decimals, days and times of the old form."""
    if b"\0" in value and vr != b"UI":
        value = re.sub(rb"\0+(?=[\0 ]*(?:\\|$))", lambda found: b" " * len(found[0]), value)
    if vr == b"UI":
        stripped = value.rstrip(b" \0")
        return stripped + b"\0" * (len(stripped) % 2)
    if vr == b"DA" and b"." in value:
        dotted = _DOTTED.fullmatch(value)
        return b"".join(dotted.groups()) if dotted else value
    if vr == b"TM" and b":" in value:
        colons = _COLONS.fullmatch(value)
        value = b"".join(filter(None, colons.groups())) if colons else value
        return value + b" " * (len(value) % 2)
    if vr == b"DS" and len(value) > _LONGEST_DECIMAL:
        parts = value.split(b"\\")
        if max(map(len, parts)) > _LONGEST_DECIMAL:
            value = b"\\".join(map(_shortened, parts))
            value += b" " * (len(value) % 2)
    return value


def _shortened(decimal: bytes) -> bytes:
    decimal = decimal.strip(b" ") if len(decimal) > _LONGEST_DECIMAL else decimal
    if len(decimal) <= _LONGEST_DECIMAL or not _DECIMAL.fullmatch(decimal):
        return decimal
    number = float(decimal)
    return _decimal(number) if math.isfinite(number) else decimal


def _decimal(number: float) -> bytes:
    """The number in at most 16 characters, as exact as they allow (PS3.5 6.2, DS)."""
    for digits in range(_LONGEST_DECIMAL, 0, -1):
        text = f"{number:.{digits}g}"
        if len(text) <= _LONGEST_DECIMAL:
            break
    return text.encode()


def _converted(value: bytes, vr: bytes, wanted: bytes) -> bytes | None:
    """The same numbers in another representation, ``None`` if they do not fit into it."""
    numbers: list[float]
    try:
        if vr in _NUMBERS:
            code = _NUMBERS[vr]
            numbers = list(struct.unpack(f"<{len(value) // _SIZES[vr]}{code}", value))
        else:
            numbers = []
            for part in value.replace(b"\0", b" ").split(b"\\"):
                number = float(part)
                numbers.append(int(number) if number == int(number) else number)
        if wanted == b"DS":
            text = b"\\".join(_decimal(number) for number in numbers)
        elif any(number != int(number) for number in numbers) and wanted not in (b"FL", b"FD"):
            return None
        elif wanted == b"IS":
            text = b"\\".join(b"%d" % int(number) for number in numbers)
        else:
            if wanted not in (b"FL", b"FD"):
                numbers = [int(number) for number in numbers]
            return struct.pack(f"<{len(numbers)}{_NUMBERS[wanted]}", *numbers)
        return text + b" " * (len(text) % 2)
    except (ValueError, OverflowError, struct.error):
        return None


def hidden(data: memoryview, implicit: bool, syntax: str) -> str:
    """What stands beside the image of a data set that nobody has rewritten; empty: nothing."""
    rewriter = Rewriter(implicit, implicit, NO_RULES, syntax=syntax)
    for start in range(0, len(data), MOST_HELD):
        # A copy: what looks at frames may outlive this, and the file could not be closed.
        rewriter.feed(bytes(data[start : start + MOST_HELD]))
    rewriter.finish()
    return rewriter.hidden or ", ".join(sorted(rewriter.cleared))
