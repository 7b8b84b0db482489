"""Elements as CTP's DICOM library (dcm4che 1.4) sees them.

A rule looks at the *text* of an element and gives a text back. Both ways depend on the value
representation that dcm4che takes the element for, on how it trims, and on the character set.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from pydicom.datadict import dictionary_VR

# Java's String.trim.
JAVA_BLANK = "".join(map(chr, range(0x21)))

_TOTAL, _TRAILING, _NAME, _NONE = range(4)
_TRIMS = {
    **dict.fromkeys(("LO", "SH", "AE", "CS", "DS", "IS"), _TOTAL),
    **dict.fromkeys(("LT", "ST", "UC", "UT", "UI", "DA", "DT", "TM"), _TRAILING),
    "PN": _NAME,
    "AS": _NONE,
}
TEXTS = frozenset(_TRIMS)
"""The value representations of text, which blanks and NULs pad."""
_BY_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_INTEGERS = {"SL": "i", "SS": "h", "UL": "I", "US": "H"}
_FLOATS = {"FL": "f", "FD": "d", "OF": "f"}
_BYTES = frozenset({"OB", "UN"})
KNOWN = frozenset({*_TRIMS, *_INTEGERS, *_FLOATS, *_BYTES, "AT", "OW", "SQ"})
"""The value representations that dcm4che 1.4 has. Any other it takes for `default_vr`."""

_SIZES = {"SS": 2, "US": 2, "OW": 2, "FD": 8}
_SIZES |= dict.fromkeys(("SL", "UL", "AT", "FL", "OF"), 4)
# Acquisition Type and three others that one vendor wrote as OB.
_NEVER_BYTES = frozenset({0x00189302, 0x00188151, 0x00189306, 0x00189307})
_LIMITS = {"SL": (-(2**31), 2**31 - 1), "SS": (-(2**15), 2**15 - 1)}
_LIMITS |= {"UL": (0, 2**32 - 1), "US": (0, 2**16 - 1)}
# Of the elements that scripts of this project know or that CTP keeps untold, those that its
# dictionary (of 2021) does not have.
_UNKNOWN_TO_CTP = frozenset({0x00080017, 0x00280020, 0x00283001, 0x300A0054})
_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fFdD]?|[+-]?NaN")

_CODECS = {
    "": "ascii",
    **{
        f"ISO{kind}{number}": f"iso8859_{part}"
        for kind in ("_IR ", " 2022 IR ")
        for number, part in zip(
            (100, 101, 109, 110, 144, 127, 126, 138, 148), (1, 2, 3, 4, 5, 6, 7, 8, 9)
        )
    },
    "ISO_IR 13": "shift_jis",
    "ISO_IR 166": "tis_620",
    "ISO 2022 IR 6": "ascii",
    "ISO 2022 IR 13": "shift_jis",
    "ISO 2022 IR 166": "tis_620",
    "ISO 2022 IR 87": "jis0208",
    "ISO 2022 IR 159": "jis0212",
    "ISO 2022 IR 149": "cp949",
    "ISO_IR 192": "utf_8",
    "GB18030": "gb18030",
}
DEFAULT_CHARACTER_SET = "ISO_IR 100"
"""What CTP writes into an object that names no character set, or one that it does not know."""

_ESCAPES = {
    b"$B": ("jis0208", 2),
    b"(B": ("ascii", 1),
    b"(J": ("shift_jis", 1),
    b")I": ("shift_jis", 1),
    b"-A": ("iso8859_1", 1),
    b"-B": ("iso8859_2", 1),
    b"-C": ("iso8859_3", 1),
    b"-D": ("iso8859_4", 1),
    b"-F": ("iso8859_7", 1),
    b"-G": ("iso8859_6", 1),
    b"-H": ("iso8859_8", 1),
    b"-L": ("iso8859_5", 1),
    b"-M": ("iso8859_9", 1),
    b"-T": ("tis_620", 1),
    b"$(D": ("jis0212", 2),
    b"$)C": ("cp949", -1),
}


class CannotHoldError(ValueError):
    """An element of that value representation cannot hold the text; CTP leaves the original."""


class CharacterSet:
    """One value of Specific Character Set (0008,0005), by dcm4che's understanding of it."""

    def __init__(self, codec: str, extended: bool) -> None:
        self.codec = codec
        self.extended = extended

    @classmethod
    def named(cls, codes: Sequence[str]) -> CharacterSet | None:
        """Return the character set of these values, ``None`` where dcm4che does not know it."""
        codec = _CODECS.get(codes[0]) if codes else None
        return None if codec is None else cls(codec, len(codes) > 1)

    def decode(self, raw: bytes) -> str:
        """Return the text of a value."""
        if not self.extended or b"\x1b" not in raw:
            return _decoded(raw, self.codec)
        parts = []
        codec, step = self.codec, 1
        start = position = 0
        while position < len(raw):
            if raw[position] != 0x1B:
                position += step if step > 0 else 2 if raw[position] > 0x7F else 1
                continue
            if start < position:
                parts.append(_decoded(raw[start:position], codec))
            length = 3 if raw[position + 1 : position + 3] in (b"$(", b"$)") else 2
            escape = raw[position + 1 : position + 1 + length]
            if escape in _ESCAPES:
                codec, step = _ESCAPES[escape]
            else:
                parts.append(_decoded(raw[position : position + 1 + length], codec))
            position += 1 + length
            start = position
        if start < len(raw):
            parts.append(_decoded(raw[start:], codec))
        return "".join(parts)

    def encode(self, text: str) -> bytes:
        """Return the bytes of a text; what the character set lacks becomes a question mark."""
        codec = {"jis0208": "euc_jp", "jis0212": "euc_jp"}.get(self.codec, self.codec)
        return text.encode(codec, "replace")


def _decoded(raw: bytes, codec: str) -> str:
    if codec == "jis0208":
        return bytes(byte | 0x80 for byte in raw).decode("euc_jp", "replace")
    if codec == "jis0212":
        pairs = [
            b"\x8f" + bytes(byte | 0x80 for byte in raw[i : i + 2]) for i in range(0, len(raw), 2)
        ]
        return b"".join(pairs).decode("euc_jp", "replace")
    return raw.decode(codec, "replace")


def default_vr(tag: int) -> str:
    """Return the value representation that dcm4che's dictionary has for a tag."""
    if tag in _UNKNOWN_TO_CTP:
        return "UN"
    if tag >> 16 & 1:
        return "LO" if 0x0010 <= tag & 0xFFFF <= 0x00FF else "UN"
    try:
        vr = str(dictionary_VR(tag)).split(" ")[0]
    except KeyError:
        return "UN"
    return vr if vr in KNOWN else "UN"


def seen_vr(tag: int, vr: str | None) -> str:
    """Return what dcm4che takes an element for; ``None`` is one of an implicit transfer syntax."""
    if vr == "OB" and tag in _NEVER_BYTES:
        return default_vr(tag)
    return vr if vr in KNOWN else default_vr(tag)


def is_lost(vr: str, raw: bytes) -> bool:
    """Whether dcm4che drops a value because its length is no multiple of a number's."""
    return bool(len(raw) % _SIZES.get(vr, 1))


def trimmed(text: str, vr: str) -> str:
    """Return a text as dcm4che trims it when it reads an element."""
    how = _TRIMS[vr]
    if how == _TOTAL:
        return text.rstrip("\0 ").lstrip(" ")
    if how == _TRAILING:
        return text.rstrip("\0 ")
    return text.rstrip("\0 ^") if how == _NAME else text


def text_of(vr: str, raw: bytes, is_little_endian: bool, characters: CharacterSet) -> str:
    r"""Return the text that a rule sees: values with backslashes between them.

    Numbers appear as Java writes them, bytes as ``0A\FF``, words (OW) as ``0AFF\0001``.

    Args:
        vr: one of `KNOWN` but SQ.
        raw: the encoded value, with its padding.
        is_little_endian: the byte order of numbers.
        characters: what text is encoded in.
    """
    if not raw:
        return ""
    if vr in _TRIMS:
        return trimmed(characters.decode(raw), vr)
    if vr in _BYTES:
        return raw.hex("\\").upper()
    order = "<" if is_little_endian else ">"
    if vr == "OW":
        if len(raw) % 2:
            return ""
        if is_little_endian:
            swapped = bytearray(len(raw))
            swapped[0::2], swapped[1::2] = raw[1::2], raw[0::2]
            raw = bytes(swapped)
        return raw.hex("\\", 2).upper()
    kind = "H" if vr == "AT" else _INTEGERS.get(vr) or _FLOATS[vr]
    size = 4 if vr == "AT" else struct.calcsize(kind)
    if len(raw) % size:
        return ""
    numbers = struct.unpack(f"{order}{len(raw) // struct.calcsize(kind)}{kind}", raw)
    if vr == "AT":
        return "\\".join(f"{a:04X}{b:04X}" for a, b in zip(numbers[0::2], numbers[1::2]))
    if vr in _INTEGERS:
        return "\\".join(map(str, numbers))
    return "\\".join(_java_float(number, kind == "f") for number in numbers)


def raw_of(
    tag: int, vr: str, text: str, is_little_endian: bool, characters: CharacterSet | None
) -> tuple[str, bytes]:
    """Return how a text is written into an element: its value representation and its bytes.

    Args:
        tag: that of the element.
        vr: what the element is, one of `KNOWN`.
        text: without blanks around it; a backslash divides values.
        is_little_endian: the byte order of numbers.
        characters: what text is encoded in; ``None`` where the data set lost its character set.

    Raises:
        CannotHoldError: the element cannot hold it.
    """
    if vr == "SQ":
        vr = default_vr(tag)
        if vr == "SQ" or not text:
            raise CannotHoldError(vr)
    if not text:
        return vr, b" " if vr == "PN" else b""
    # As Java's String.split: no empty values at the end.
    values = text.split("\\")
    while values and not values[-1]:
        values.pop()
    if vr in _TRIMS:
        put = _joined(vr, values)
        if vr in _BY_CHARACTER_SET and characters is not None:
            return vr, characters.encode(put)
        return vr, put.encode("utf-8", "replace")
    order = "<" if is_little_endian else ">"
    if vr in _INTEGERS:
        low, high = _LIMITS[vr]
        numbers = [_java_int(value, low, high) for value in values]
        return vr, struct.pack(f"{order}{len(numbers)}{_INTEGERS[vr]}", *numbers)
    if vr in ("FL", "FD"):
        try:
            floats = [float(value.rstrip("fFdD")) for value in values if _FLOAT.fullmatch(value)]
            if len(floats) == len(values):
                return vr, struct.pack(f"{order}{len(floats)}{_FLOATS[vr]}", *floats)
        except (OverflowError, struct.error):
            pass
        raise CannotHoldError(vr)
    if vr == "AT":
        try:
            tags = [int(value, 16) for value in values]
            return vr, b"".join(
                struct.pack(f"{order}HH", each >> 16, each & 0xFFFF) for each in tags
            )
        except (ValueError, struct.error):
            raise CannotHoldError(vr) from None
    raise CannotHoldError(vr)


def _joined(vr: str, values: Sequence[str]) -> str:
    if vr in ("DA", "DT", "TM"):
        check = {"DA": _check_date, "DT": _check_date_time, "TM": _check_time}[vr]
        for value in values:
            try:
                check(value)
            except (ValueError, IndexError):
                raise CannotHoldError(vr) from None
        return "\\".join(values)
    if vr == "PN":
        return "\\".join(map(_person_name, values))
    if _TRIMS[vr] == _TOTAL or vr in ("LT", "ST", "UC", "UT"):
        return "\\".join(trimmed(value, vr) for value in values)
    return "\\".join(values)


def _person_name(text: str) -> str:
    groups = text.split("=")
    if len(groups) > 3 or any(len(group) > 64 for group in groups):
        raise CannotHoldError("PN")
    found = []
    for group in groups:
        components = group.split("^")
        # What stands behind the fifth component takes its place.
        components[4:] = [part for part in components[4:] if part][-1:]
        found.append("^".join(components).rstrip("^"))
    return "=".join(found).rstrip("=")


def _java_int(text: str, low: int = -(2**31), high: int = 2**31 - 1) -> int:
    if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
        raise CannotHoldError(text)
    return int(text)


def _java_seconds(text: str) -> int:
    text = text.strip(JAVA_BLANK)
    if not _FLOAT.fullmatch(text) or "N" in text:
        raise ValueError(text)
    return int(float(text.rstrip("fFdD")))


def _two(text: str, start: int) -> int:
    if len(text) < start + 2:
        raise ValueError(text)
    return _java_int(text[start : start + 2])


def _check_date(text: str) -> None:
    _java_int(text[:4] if len(text) >= 4 else "")
    position = 4 + (not text[4].isdigit())
    _two(text, position)
    text[position + 2]  # there has to be a day
    _java_int(text[6:])


def _check_date_time(text: str) -> None:
    if len(text) >= 5 and text[-5] in "+-":
        _java_int(text[-4:])
        text = text[:-5]
    if len(text) < 4:
        raise ValueError(text)
    _java_int(text[:4])
    position = 4
    for what in ("month", "day", "hour", "minute"):
        if len(text) <= position:
            return
        if what in ("month", "day"):
            position += not text[position].isdigit()
        elif what == "minute":
            position += text[position] == ":"
        _two(text, position)
        position += 2
    if len(text) > position:
        _java_seconds(text[position + (text[position] == ":") :])


def _check_time(text: str) -> None:
    _two(text, 0)
    if len(text) == 2:
        # dcm4che forgets to say how far it read.
        raise ValueError(text)
    position = 2 + (text[2] == ":")
    _two(text, position)
    position += 2
    if len(text) > position:
        _java_seconds(text[position + (text[position] == ":") :])


def incremented(text: str, days: int) -> str:
    """Return a date moved by days, as CTP's ``incrementDate`` does it, whatever it is given.

    Only the first eight characters (ten, where there is a hyphen anywhere) become the new date.

    Raises:
        ValueError: CTP would not take it for a date. It then empties the element.
    """
    is_iso = "-" in text
    length = 10 if is_iso else 8
    digits = re.sub(r"[@:T\-\s]", "", text)
    if digits.startswith("00"):
        digits = "19" + digits[2:]
    digits = digits.split("\\")[0]
    if len(digits) < 8:
        raise ValueError(text)
    year, month, day = _java_int(digits[:4]), _two(digits, 4), _two(digits, 6)
    seconds = 0
    if len(digits) > 8:
        time = digits[8:].split("&")[0]
        seconds = 3600 * _two(time, 0) + 60 * _two(time, 2)
        if len(time) > 4:
            seconds += _java_seconds(time[4:])
    # As a lenient GregorianCalendar: what is too large runs over into the next unit.
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    if not 1583 <= year <= 9998:
        raise ValueError(text)
    moved = date.fromordinal(date(year, month, 1).toordinal() + day - 1 + seconds // 86400 + days)
    between = "-" if is_iso else ""
    return f"{moved.year:04}{between}{moved.month:02}{between}{moved.day:02}{text[length:]}"


def _java_float(number: float, is_single: bool) -> str:
    """Return what ``Float.toString`` or ``Double.toString`` gives."""
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    text = repr(number)
    if is_single:
        shorter = (f"{number:.{digits}g}" for digits in range(1, 10))
        text = next(each for each in shorter if _single(float(each)) == number)
    sign, digits, exponent = Decimal(text).normalize().as_tuple()
    written = "".join(map(str, digits))
    power = len(written) + int(exponent) - 1
    before = "-" if sign else ""
    if number == 0:
        return f"{before}0.0"
    if -3 <= power < 0:
        return f"{before}0.{'0' * (-power - 1)}{written}"
    if 0 <= power < 7:
        return f"{before}{written[: power + 1].ljust(power + 1, '0')}.{written[power + 1 :] or 0}"
    return f"{before}{written[0]}.{written[1:] or 0}E{power}"


def _single(number: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", number))[0])
