"""Objects of the kinds that trouble de-identification, made anew and synthetic, byte by byte.

They are encoded here, not by a library, since most libraries do not write what is wrong on purpose:
a text in the place of a number, a sequence in the place of a name, UN for what is known.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydicom._dicom_dict import DicomDictionary

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
PATIENT = b"PAT-1"
_LONG_NAMES = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"
_LONG = frozenset(_LONG_NAMES.split())


@dataclass(frozen=True)
class Element:
    """One element; of a sequence, ``value`` is its items."""

    tag: int
    vr: str
    value: bytes | Sequence[Sequence[Element]]
    undefined: bool = False


@dataclass
class Writer:
    """Encodes elements in one transfer syntax."""

    syntax: str = EXPLICIT
    order: str = field(init=False)

    def __post_init__(self) -> None:
        self.order = ">" if self.syntax == BIG else "<"

    def file(self, elements: Sequence[Element]) -> bytes:
        own = Writer(EXPLICIT)
        classes = [each.value for each in elements if each.tag == 0x00080016]
        names = (
            (0x00020002, classes[0]),
            (0x00020003, b"1.2.3.4"),
            (0x00020010, self.syntax.encode()),
        )
        meta = b"".join(own.element(Element(tag, "UI", value)) for tag, value in names)
        length = own.element(Element(0x00020000, "UL", struct.pack("<I", len(meta))))
        return bytes(128) + b"DICM" + length + meta + self.dataset(elements)

    def dataset(self, elements: Sequence[Element]) -> bytes:
        by_tag = {each.tag: each for each in elements}
        return b"".join(self.element(by_tag[tag]) for tag in sorted(by_tag))

    def element(self, element: Element) -> bytes:
        value = element.value
        body = value if isinstance(value, bytes) else self._items(value, element.undefined)
        if len(body) % 2:
            body += b"\0" if element.vr in ("UI", "OB", "UN") else b" "
        length = 0xFFFFFFFF if element.undefined else len(body)
        head = struct.pack(self.order + "HH", element.tag >> 16, element.tag & 0xFFFF)
        if self.syntax == IMPLICIT:
            return head + struct.pack("<I", length) + body
        vr = element.vr.encode()
        if element.vr in _LONG:
            return head + vr + struct.pack(self.order + "HI", 0, length) + body
        return head + vr + struct.pack(self.order + "H", length) + body

    def _items(self, items: Sequence[Sequence[Element]], undefined: bool) -> bytes:
        mark = self.order + "HHI"
        parts = []
        for item in items:
            body = self.dataset(item)
            length = 0xFFFFFFFF if undefined else len(body)
            parts.append(struct.pack(mark, 0xFFFE, 0xE000, length) + body)
            if undefined:
                parts.append(struct.pack(mark, 0xFFFE, 0xE00D, 0))
        if undefined:
            parts.append(struct.pack(mark, 0xFFFE, 0xE0DD, 0))
        return b"".join(parts)


def base(characters: bytes | None = b"ISO_IR 100") -> list[Element]:
    """Return what every object has."""
    found = [
        Element(0x00080008, "CS", rb"ORIGINAL\PRIMARY\AXIAL\DOE"),
        Element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2"),
        Element(0x00080018, "UI", b"1.2.3.4"),
        Element(0x00080060, "CS", b"CT"),
        Element(0x00100010, "PN", b"Doe^Jane"),
        Element(0x00100020, "LO", PATIENT),
        Element(0x0020000D, "UI", b"1.2.3"),
        Element(0x0020000E, "UI", b"1.2.3.5"),
    ]
    if characters is not None:
        found.append(Element(0x00080005, "CS", characters))
    return found


def kinds() -> Iterator[tuple[str, bytes]]:
    """Yield objects of the kinds that were met in the field, by name."""

    def made(
        *more: Element, characters: bytes | None = b"ISO_IR 100", syntax: str = EXPLICIT
    ) -> bytes:
        return Writer(syntax).file([*base(characters), *more])

    long = b"\\".join(b"%d.5" % number for number in range(15000))
    point = [Element(0x30060042, "CS", b"POINT"), Element(0x30060050, "DS", rb"1\2\3")]
    for name, vr, syntax in (("UN", "UN", EXPLICIT), ("implicit", "DS", IMPLICIT)):
        contour = Element(0x30060040, "SQ", [[*point[:1], Element(0x30060050, vr, long)]])
        yield (
            f"contour over 64 KiB, {name}",
            made(Element(0x30060039, "SQ", [[contour]]), syntax=syntax),
        )
    inside = Writer(IMPLICIT)
    roi = Element(0x30060039, "SQ", [[Element(0x30060040, "SQ", [point])]])
    for undefined in (False, True):
        items = inside._items(roi.value, False)  # type: ignore[arg-type]
        closing = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if undefined else b""
        yield (
            f"UN for a sequence, {'un' if undefined else ''}defined",
            made(Element(0x30060039, "UN", items + closing, undefined)),
        )
        yield f"sequences, {undefined}", made(Element(0x30060039, "SQ", roi.value, undefined))
    numbers = (
        *(b"1", b"-7", b"+7", b"1234567", b"123456789012", b"1.5", b" 12 ", rb"1\2", b"", b"1\0"),
        *(b"1e5", b"1,5", b"\t3", b"12345678901234567890", b"Doe", b"1.5E+3", b"NaN", b"   "),
    )
    for number in numbers:
        for tag, vr in ((0x00200013, "IS"), (0x00180050, "DS"), (0x00181150, "IS")):
            yield f"number {number!r} {vr} {tag:08X}", made(Element(tag, vr, number))
    dates = (
        *(b"20230126", b"18991231", b"20230230", b"20240229", b"2023.01.26", b"202301", b""),
        *(b" 20230126", rb"20230126\20230127", b"20230101-20230131", b"20230126\0"),
    )
    times = (
        *(b"20230126111213.123456-0330", b"20230126111213", b"20230126", b"202301", b"2023"),
        *(b"20230126235959.9+1400", b"20230126 1112", b"2023-01-26", b"20230126246060"),
    )
    for value in (*dates, *times):
        for tag, vr in ((0x00080020, "DA"), (0x0008002A, "DT"), (0x00080012, "DA")):
            yield f"date {value!r} {vr}", made(Element(tag, vr, value))
    texts = (
        "CT CHEST",
        "CT CHEST 12-34-56",
        "Müller",
        "山田",
        "Lung_L",
        "z_Rectum",
        "PTV_6000",
        "Doe",
    )
    sets = (
        *((b"ISO_IR 100", "latin-1"), (b"ISO_IR 192", "utf-8"), (b"ISO_IR 101", "iso8859_2")),
        *((b"GB18030", "gb18030"), (b"ISO_IR 13", "shift_jis"), (b"ISO_IR 166", "tis_620")),
        *((rb"\ISO 2022 IR 87", "iso2022_jp"), (rb"\ISO 2022 IR 149", "cp949")),
        *(
            (rb"ISO 2022 IR 13\ISO 2022 IR 87", "iso2022_jp"),
            (b"GBK", "gbk"),
            (b"ISO_IR 6", "ascii"),
        ),
        *(
            (b"ISO_IR 100\0", "latin-1"),
            (b"", "latin-1"),
            (b"NONSENSE", "latin-1"),
            (None, "latin-1"),
        ),
        *((rb"ISO_IR 192\ISO 2022 IR 87", "utf-8"), (b" ISO_IR 100", "latin-1")),
    )
    for characters, codec in sets:
        elements = [
            Element(0x00081030 + index * 0xE, "LO", text.encode(codec, "replace"))
            for index, text in enumerate(texts[:2])
        ]
        names = [
            [
                Element(0x30060022, "IS", b"1"),
                Element(0x30060026, "LO", text.encode(codec, "replace")),
            ]
            for text in texts
        ]
        sequence = Element(0x30060020, "SQ", names)
        yield f"character set {characters!r}", made(*elements, sequence, characters=characters)
    for value in (rb"PAT\-1", rb"PAT-1\OTHER", b" PAT-1 ", b"PAT-1\0", b"", b"  ", b"pat-1"):
        yield f"PatientID {value!r}", made(Element(0x00100020, "LO", value))
    for tag in (0x00100010, 0x00100020, 0x00080090, 0x00080020, 0x00080008, 0x00120062, 0x00120064):
        item = [Element(0x00100010, "PN", b"Doe^Jane"), Element(0x00080100, "SH", b"1")]
        yield f"{tag:08X} as a sequence", made(Element(tag, "SQ", [item]))
        yield f"{tag:08X} as bytes", made(Element(tag, "UN", b"Doe^Jane"))
        yield f"{tag:08X} as words", made(Element(tag, "OW", b"Doe^Jane"))
    pixels = Element(0x7FE00010, "OW", bytes(64))
    yield (
        "behind the pixels",
        made(pixels, Element(0x7FE10010, "LO", b"MAKER"), Element(0xFFFCFFFC, "OB", bytes(8))),
    )
    yield (
        "overlays, curves, icons",
        made(
            Element(0x60003000, "OW", b"overlay "),
            Element(0x60000010, "US", b"\2\0"),
            Element(0x50003000, "OW", b"curve   "),
            Element(0x00880200, "SQ", [[pixels]]),
            Element(0x00281201, "OW", bytes(16)),
            pixels,
        ),
    )


_VALUES = (
    *(b"", b" ", b"Doe^Jane", b"REMOVED", b"12", b"-1.5", rb"1\2", b"AXIAL", b"YES", b"NO", b"HFS"),
    *(
        b"1.2.840.10008.1.2",
        b"1.2.3.4",
        b"20230126",
        b"111213",
        b"20230126111213",
        b"045Y",
        b"091Y",
    ),
    *(
        b"M",
        b"DCM",
        b"113100",
        b"SCT",
        b"39607008",
        b"Bladder",
        b"CT CHEST",
        b"@remove()",
        b"@keep()",
    ),
    *(
        rb"ORIGINAL\DOE",
        b"ab",
        b"FACE",
        b"\xff\xfe",
        b"A" * 70,
        b"  x  ",
        b"\0\0",
        rb"\\",
        b"SIEMENS",
    ),
    *(bytes(8), struct.pack("<d", 1.5), struct.pack("<f", float("nan")) * 2, b"\n", b"UNKNOWN"),
)
# The library that reads them fails at once where a character set is no such word.
_CHARACTER_SETS = frozenset({0x00080005})
_NEEDED = frozenset({0x00080016, 0x00100020})
_KNOWN_NAMES = "AE AS AT CS DA DS DT FD FL IS LO LT OB OF OW PN SH SL SS ST TM UC UI UL UN US UT"
_VRS = _KNOWN_NAMES.split()
_STRANGE = ["OD", "OL", "OV", "SV", "UR", "UV"]
_NUMBERS = {
    "IS": [b"", b"1", b"-7", b"12", rb"1\2", b" 3"],
    "DS": [b"", b"1", b"-7", b"1.5", rb"1\2", b"1E2"],
}


def noise(tags: Sequence[int], seed: int, objects: int) -> Iterator[tuple[str, bytes]]:
    """Yield objects with elements of ``tags`` in any representation and with any value.

    In four of five objects numbers are numbers: one with a text in the place of a number is held
    back, and the rest of it compared with nothing. Always the same for the same seed; three
    syntaxes in turn.
    """
    chance = random.Random(seed)
    sequences = [tag for tag in tags if DicomDictionary.get(tag, ("",))[0] == "SQ"]

    def some(depth: int, is_implicit: bool, is_wild: bool) -> Iterator[Element]:
        for tag in chance.sample(list(tags), 25):
            known = DicomDictionary.get(tag, ("UN",))[0].split(" ")[0]
            vr = known if is_implicit or chance.random() < 0.6 else chance.choice(_VRS + _STRANGE)
            if known == "SQ" and vr in _STRANGE:
                vr = "SQ"
            if vr == "SQ" or (depth < 3 and chance.random() < 0.1):
                tag = tag if vr == "SQ" else chance.choice(sequences)
                count = chance.randrange(3) if depth < 3 else 0
                items = [list(some(depth + 1, is_implicit, is_wild)) for _ in range(count)]
                yield Element(tag, "SQ", items, chance.random() < 0.5)
            elif known in _NUMBERS and not is_wild:
                yield Element(tag, known, chance.choice(_NUMBERS[known]))
            elif tag not in _CHARACTER_SETS:
                yield Element(tag, vr, chance.choice(_VALUES))

    for number in range(objects):
        syntax = (EXPLICIT, IMPLICIT, BIG)[number % 3]
        drawn = some(0, syntax == IMPLICIT, number % 5 == 4)
        yield (
            f"noise {seed}-{number}",
            Writer(syntax).file([*base(), *(each for each in drawn if each.tag not in _NEEDED)]),
        )
