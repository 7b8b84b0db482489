"""The last look at a data set: what is sound passes, what hides something does not."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import pytest
from ctp_supervisor.export import egress
from ctp_supervisor.export.egress import Checker, Violation
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import JPEG2000Lossless, RLELossless

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
ENCAPSULATED = str(JPEG2000Lossless)
SYNTAXES = (IMPLICIT, EXPLICIT, ENCAPSULATED)
PREFIXES = ("ANON-", "TRIAL")
UID = "2.25.7"
LONG = ("OB", "OW", "SQ", "UN", "UT", "UC", "OF")

Hide = Callable[[Any], None]


def element(syntax: str, tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """One element as bytes; pydicom refuses to write some of what is needed here."""
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return head + struct.pack("<I", size) + value
    if vr in LONG:
        return head + vr.encode() + struct.pack("<HI", 0, size) + value
    return head + vr.encode() + struct.pack("<H", size) + value


def item(body: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body


def undefined(body: bytes) -> bytes:
    return (
        struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        + body
        + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
        + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    )


def encoded(syntax: str, dataset: Dataset) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, syntax == IMPLICIT
    write_dataset(stream, dataset)
    return stream.getvalue()


def sound(syntax: str, undefined_length: bool = False) -> Dataset:
    """An image with sequences three deep."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", UID
    dataset.AccessionNumber = ""
    dataset.PatientName, dataset.PatientID = "ANON-1", "ANON-1"
    dataset.PatientIdentityRemoved = "YES"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "DCM", "one"
    inner = Dataset()
    inner.PurposeOfReferenceCodeSequence = [code, code]
    inner.ReferencedSOPInstanceUID = "2.25.8"
    outer = Dataset()
    outer.ReferencedSOPSequence = [inner]
    outer.SeriesInstanceUID = "2.25.9"
    dataset.ReferencedSeriesSequence = [outer, outer]
    dataset.RequestAttributesSequence = []
    dataset.SmallestImagePixelValue = -5
    dataset["SmallestImagePixelValue"].VR = "SS"
    dataset.Rows = dataset.Columns = 32
    dataset.ContourData = ["1.5", "2.5"]
    icon = Dataset()
    icon.Rows = icon.Columns = 4
    icon.add_new(0x7FE00010, "OW", bytes(16))
    dataset.IconImageSequence = [icon]
    if undefined_length:
        for each in dataset.iterall():
            if each.VR == "SQ":
                each.is_undefined_length = True
                for entry in each.value:
                    entry.is_undefined_length_sequence_item = True
    if syntax == ENCAPSULATED:
        dataset.add_new(0x7FE00010, "OB", encapsulate([b"\1" * 500, b"\2" * 1003]))
        dataset["PixelData"].is_undefined_length = True
    else:
        # A pixel that looks like an item.
        dataset.add_new(0x7FE00010, "OW", struct.pack("<HH", 0xFFFE, 0xE000) + bytes(2044))
    return dataset


def check(syntax: str, data: bytes, step: int = 0) -> None:
    checker = Checker(syntax, PREFIXES, UID)
    for start in range(0, len(data), step or max(1, len(data))):
        checker.feed(memoryview(data)[start : start + step] if step else data)
    checker.finish()


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("step", [0, 1, 2, 3, 7, 11, 64, 501, 4096])
@pytest.mark.parametrize("undefined_length", [False, True])
def test_sound_passes(syntax: str, step: int, undefined_length: bool) -> None:
    check(syntax, encoded(syntax, sound(syntax, undefined_length)), step)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_it_tells_where_an_object_belongs(syntax: str) -> None:
    """For the account of studies; its own UID alone has to be that of the command."""
    dataset = sound(syntax)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.71", "2.25.72"
    checker = Checker(syntax, ["ANON-"], str(dataset.SOPInstanceUID))
    checker.feed(encoded(syntax, dataset))
    checker.finish()
    told = [checker.values[tag] for tag in (egress.STUDY, egress.SERIES, egress.PATIENT_ID)]
    assert told == ["2.25.71", "2.25.72", str(dataset.PatientID)]


def test_an_object_without_pixels_passes() -> None:
    for syntax in SYNTAXES:
        dataset = sound(syntax)
        del dataset.PixelData
        check(syntax, encoded(syntax, dataset), 5)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_of_the_prefixes_passes(prefix: str) -> None:
    dataset = sound(EXPLICIT)
    dataset.PatientName = dataset.PatientID = prefix + "9"
    check(EXPLICIT, encoded(EXPLICIT, dataset))


def change(**values: Any) -> Callable[[str], bytes]:
    def make(syntax: str) -> bytes:
        dataset = sound(syntax)
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        return encoded(syntax, dataset)

    return make


def put(at: int, tag: int, vr: str, value: bytes, length: int | None = None) -> Any:
    """An element of any kind before the first element from ``at`` on; 0: at the very end."""

    def make(syntax: str) -> bytes:
        dataset = sound(syntax)
        raw = element(syntax, tag, vr, value, length)
        if not at:
            return encoded(syntax, dataset) + raw
        before, after = Dataset(), Dataset()
        for each in dataset:
            if each.tag != tag:
                (before if each.tag < at else after).add(each)
        return encoded(syntax, before) + raw + encoded(syntax, after)

    return make


def within(depth: int, tag: int, vr: str, value: bytes) -> Any:
    """An element of any kind in items of items of Content Sequence."""

    def make(syntax: str) -> bytes:
        raw = element(syntax, tag, vr, value)
        for level in range(depth):
            raw = element(
                syntax, 0x0040A730, "SQ", item(raw) if level % 2 else item(b"") * level + item(raw)
            )
        return put(0x0040A731, 0x0040A730, "SQ", raw[8 if syntax == IMPLICIT else 12 :])(syntax)

    return make


def name_in(syntax: str) -> bytes:
    return item(element(syntax, 0x00100010, "PN", b"MARK^NESTED "))


def sequence_at(at: int, tag: int, vr: str = "SQ", undefined_length: bool = False) -> Any:
    def make(syntax: str) -> bytes:
        body = name_in(syntax)
        if undefined_length:
            return put(at, tag, vr, undefined(body[8:]), 0xFFFFFFFF)(syntax)
        return put(at, tag, vr, body)(syntax)

    return make


HOSTILE: dict[str, tuple[Callable[[str], bytes], str]] = {
    # Behind the pixel data.
    "name behind": (put(0, 0x00100010, "PN", b"MARK^LATE "), "(0010,0010): behind the pixel data"),
    "private behind": (put(0, 0x7FE10010, "LO", b"MARK"), "(7FE1,0010): behind"),
    "sequence behind": (sequence_at(0, 0x7FE11010, "SQ", True), "(7FE1,1010): behind"),
    "flattened behind": (
        lambda s: (
            put(0, 0x00080050, "SH", b"MARK")(s)
            + element(s, 0x00100010, "PN", b"MARK")
            + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
        ),
        "behind the pixel data",
    ),
    "item behind": (lambda s: put(0, 0x7FE00020, "OW", b"")(s) + name_in(s), "(7FE0,0020): behind"),
    "only an item behind": (lambda s: encoded(s, sound(s)) + name_in(s), "(FFFE,E000): not an"),
    "signature": (sequence_at(0, 0xFFFAFFFA), "(FFFA,FFFA): behind"),
    "padding": (put(0, 0xFFFCFFFC, "OB", b"MARK"), "(FFFC,FFFC): behind"),
    "pixels twice": (put(0, 0x7FE00010, "OW", b"MARK"), "(7FE0,0010): behind"),
    # Out of order.
    "name late": (put(0x00280010, 0x00100010, "PN", b"MARK"), "(0010,0010): not in ascending"),
    "name twice": (
        lambda s: put(0x00100020, 0x00100010, "PN", b"ANON-1" + b"")(s).replace(
            element(s, 0x00100010, "PN", b"ANON-1"), element(s, 0x00100010, "PN", b"ANON-1") * 2
        ),
        "(0010,0010): not in ascending",
    ),
    "nested twice": (
        lambda s: put(
            0x0040A731,
            0x0040A730,
            "SQ",
            item(element(s, 0x0040A160, "UT", b"MARK") + element(s, 0x00081155, "UI", b"1\0")),
        )(s),
        "(0040,A730)[0] > (0008,1155): not in ascending",
    ),
    # What no dictionary knows.
    "unknown of 0028": (put(0x00289FFF, 0x00289FFE, "LO", b"MARK"), "(0028,9FFE): not in the"),
    "repeating of 0028": (put(0x00280413, 0x00280412, "LO", b"MARK"), "(0028,0412): not in the"),
    "unknown nested": (within(1, 0x00289FFE, "LO", b"MARK"), "(0040,A730)[0] > (0028,9FFE): not"),
    "group length": (put(0x00080001, 0x00080000, "UL", b"\0\0\0\0"), "(0008,0000): not in the"),
    "private creator": (put(0x00090011, 0x00090010, "LO", b"MARK"), "(0009,0010): private"),
    "private deep": (within(4, 0x00091001, "PN", b"MARK"), "(0009,1001): private"),
    "group 2": (put(0x00080005, 0x00020016, "AE", b"MARK"), "(0002,0016): of a group"),
    "group 4": (put(0x00080005, 0x00041500, "CS", b"MARK"), "(0004,1500): of a group"),
    "overlay": (put(0x60000023, 0x60000022, "LO", b"MARK"), "(6000,0022): of a group"),
    "curve": (put(0x50000023, 0x50000022, "LO", b"MARK"), "(5000,0022): of a group"),
    "signature nested": (within(2, 0xFFFAFFFA, "SQ", b""), "(FFFA,FFFA): of a group"),
    # Not what the dictionary says.
    "accession as sequence": (sequence_at(0x00080051, 0x00080050), "(0008,0050): "),
    "accession as open sequence": (
        sequence_at(0x00080051, 0x00080050, "SQ", True),
        "(0008,0050): ",
    ),
    "accession as bytes": (sequence_at(0x00080051, 0x00080050, "OB"), "(0008,0050): "),
    "accession with items": (sequence_at(0x00080051, 0x00080050, "SH"), "(0008,0050): items"),
    "name as sequence": (sequence_at(0x00100011, 0x00100010), "(0010,0010): "),
    "rows as sequence": (sequence_at(0x00280011, 0x00280010), "(0028,0010): "),
    "nested as sequence": (
        lambda s: within(3, 0x00080050, "SQ", name_in(s))(s),
        "(0040,A730)[2] > (0040,A730)[0] > (0040,A730)[0] > (0008,0050): ",
    ),
    "bytes of undefined length": (
        sequence_at(0x00282001, 0x00282000, "OB", True),
        "(0028,2000): of undefined length",
    ),
    # Broken, so that others may read it otherwise.
    "longer than its item": (
        lambda s: put(
            0x0040A731, 0x0040A730, "SQ", item(element(s, 0x0040A160, "UT", b"MARK", 400))
        )(s),
        "(0040,A730)[0] > (0040,A160): longer",
    ),
    "item longer than its sequence": (
        put(0x0040A731, 0x0040A730, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, 90)),
        "(0040,A730) > (FFFE,E000): longer",
    ),
    "no item": (put(0x0040A731, 0x0040A730, "SQ", b"MARKMARK"), "(0040,A730) > (?): not an item"),
    "item at the top": (
        lambda s: encoded(s, sound(s)[:0x00100010]) + name_in(s),
        "(FFFE,E000): not an item",
    ),
    "too deep": (within(70, 0x00080050, "SH", b"MARK"), "too deep"),
    "cut": (lambda s: encoded(s, sound(s))[:-1], "in the middle"),
    "cut in a header": (lambda s: encoded(s, sound(s)[:0x00280010]) + b"\x28\0", "in the middle"),
    "cut in an item": (
        lambda s: (
            encoded(s, sound(s)[:0x00280010])
            + element(s, 0x0040A730, "SQ", item(b"")[:-4] + b"\xff\xff\xff\xff", 0xFFFFFFFF)
        ),
        "(0040,A730)[0]: the data set ends in the middle",
    ),
    "text": (lambda _: b"MARK^THE^NAME" * 9, "(?): "),
    # No pseudonym.
    "identity not removed": (change(PatientIdentityRemoved="NO"), "(0012,0062): not YES"),
    "nothing said": (change(PatientIdentityRemoved=None), "(0012,0062): missing"),
    "name": (change(PatientName="MARK^NAME"), "(0010,0010): no pseudonym"),
    "name missing": (change(PatientName=None), "(0010,0010): missing"),
    "name empty": (change(PatientName=""), "(0010,0010): no pseudonym"),
    "id": (change(PatientID="MARK"), "(0010,0020): no pseudonym"),
    "id missing": (change(PatientID=None), "(0010,0020): missing"),
    "id too long": (change(PatientID="ANON-" + "MARK" * 400), "(0010,0020): too long"),
    "nested name": (within(2, 0x00100010, "PN", b"MARK"), "(0010,0010): no pseudonym"),
    "other object": (change(SOPInstanceUID="2.25.777"), "(0008,0018): not the one"),
}


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.filterwarnings("ignore")
def test_hostile_is_refused(syntax: str, case: str) -> None:
    make, reason = HOSTILE[case]
    data = make(syntax)
    reasons = set()
    for step in (0, 1, 13, 200):
        with pytest.raises(Violation) as caught:
            check(syntax, data, step)
        reasons.add(str(caught.value))
        assert "MARK" not in str(caught.value)
    assert len(reasons) == 1, "the same reason, however it is cut"
    assert reason in reasons.pop()


@pytest.mark.parametrize("vr", ["UN", "SQ", "OB", "LT", "PN", "XX", "\0\0"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_wrong_vr_is_refused(vr: str, depth: int) -> None:
    make = (
        within(depth, 0x00081080, vr, b"MARKMARK")
        if depth
        else put(0x00081081, 0x00081080, vr, b"MARKMARK")
    )
    with pytest.raises(Violation, match=r"\(0008,1080\): .*the dictionary does not have"):
        check(EXPLICIT, make(EXPLICIT))


def test_an_unknown_vr_is_not_shown() -> None:
    with pytest.raises(Violation) as caught:
        check(EXPLICIT, put(0x00081081, 0x00081080, "Jo", b"hn")(EXPLICIT))
    assert "Jo" not in str(caught.value)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_encapsulated_pixels_need_their_syntax(syntax: str) -> None:
    dataset = sound(syntax)
    del dataset.PixelData
    fragments = encapsulate([b"\1" * 50])
    data = encoded(syntax, dataset) + element(syntax, 0x7FE00010, "OB", fragments, 0xFFFFFFFF)
    with pytest.raises(Violation, match="undefined length"):
        check(syntax, data)


def test_native_pixels_in_an_encapsulated_syntax_are_refused() -> None:
    with pytest.raises(Violation, match="not encapsulated"):
        check(str(RLELossless), encoded(EXPLICIT, sound(EXPLICIT)))


@pytest.mark.parametrize(
    "between",
    [
        element(EXPLICIT, 0x00100010, "PN", b"MARK"),
        struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF),
        struct.pack("<HHI", 0xFFFE, 0xE00D, 0),
        struct.pack("<HHI", 0xFFFE, 0xE0DD, 4) + b"MARK",
    ],
)
def test_nothing_but_fragments_is_between_fragments(between: bytes) -> None:
    data = encoded(ENCAPSULATED, sound(ENCAPSULATED))
    with pytest.raises(Violation, match=r"\(7FE0,0010\) > .* not an item"):
        check(ENCAPSULATED, data[:-8] + between + data[-8:])


@pytest.mark.parametrize(
    "syntax",
    [
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.4.95",
        "1.2.840.113619.5.2",
        "",
        "1.2.3",
    ],
)
def test_a_syntax_that_cannot_be_read_is_refused(syntax: str) -> None:
    with pytest.raises(Violation, match="transfer syntax"):
        Checker(syntax, PREFIXES)


def test_large_pixel_data_is_not_kept() -> None:
    dataset = sound(EXPLICIT)
    del dataset.PixelData
    checker = Checker(EXPLICIT, PREFIXES, UID)
    fragment = bytes(1 << 20)
    checker.feed(encoded(EXPLICIT, dataset))
    checker.feed(element(EXPLICIT, 0x7FE00010, "OW", b"", 300 << 20))
    for _ in range(300):
        checker.feed(fragment)
    checker.finish()
    kept = io.BytesIO()
    kept.write(checker._rest)
    assert len(kept.getvalue()) < 2048


@pytest.mark.parametrize("vr", ["UN", "SQ", "OB", "LT", "PN"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_an_empty_value_hides_nothing(vr: str, depth: int) -> None:
    """What CTP empties keeps the VR with which it came."""
    make = within(depth, 0x00081080, vr, b"") if depth else put(0x00081081, 0x00081080, vr, b"")
    check(EXPLICIT, make(EXPLICIT))
