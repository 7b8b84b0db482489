"""What goes to CTP of what a sender sends: the same data set, in the dictionary's terms."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import pydicom
import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script
from ctp_supervisor.data_set.rewrite import Rewriter
from ctp_supervisor.data_set.rules import NO_RULES, Rules, rules
from ctp_supervisor.dicom import pdu
from ctp_supervisor.dicom.marks import MARK, MARKED
from ctp_supervisor.dicom.part10 import begin_data_set
from ctp_supervisor.entrance.incoming import Incoming
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
RTSTRUCT, CT = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.2"
US = "1.2.840.10008.5.1.4.1.1.6.1"
LONG = ("OB", "OW", "SQ", "UN", "UT")
CONTOUR, SPACING, ROIS = 0x30060050, 0x00280030, 0x30060020
SCRIPT = rules(script.anonymizer_script(script.ScriptOptions(longitudinal="shifted")).encode())


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """One element, explicit little endian."""
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr in LONG:
        return head + struct.pack("<HI", 0, size) + value
    return head + struct.pack("<H", size) + value


def bare(tag: int, value: bytes) -> bytes:
    """One element, implicit."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def item(body: bytes, undefined: bool = False) -> bytes:
    if undefined:
        return (
            struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
            + body
            + struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
        )
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body


def rewritten(
    data: bytes,
    implicit: bool = False,
    to_implicit: bool = False,
    known: Rules = SCRIPT,
) -> tuple[bytes, Rewriter]:
    """The same whatever the fragments are."""
    found = set()
    for size in (1, 7, 64, len(data) or 1) if len(data) < 5000 else (4096, len(data)):
        rewriter = Rewriter(implicit, to_implicit, known)
        out = []
        for start in range(0, len(data), size):
            out += [bytes(each) for each in rewriter.feed(data[start : start + size])]
        out += [bytes(each) for each in rewriter.finish()]
        found.add(b"".join(out))
    assert len(found) == 1
    return found.pop(), rewriter


def read(data: bytes, implicit: bool = False) -> Dataset:
    return read_dataset(io.BytesIO(data), implicit, True)


def encoded(dataset: Dataset, implicit: bool) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, implicit
    write_dataset(stream, dataset)
    return stream.getvalue()


def values(dataset: Dataset) -> list[tuple[int, str]]:
    """All that is in it, but for how it is encoded."""
    return [(int(each.tag), str(each.value)) for each in dataset.iterall() if each.VR != "SQ"]


def structure_set(points: int) -> Dataset:
    contour, roi, named, dataset = Dataset(), Dataset(), Dataset(), Dataset()
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = points
    contour.ContourData = [f"{number / 8:.3f}" for number in range(3 * points)]
    roi.ReferencedROINumber = 1
    roi.ContourSequence = [contour]
    named.ROINumber, named.ROIName = 1, "PTV"
    dataset.SOPClassUID = RTSTRUCT
    dataset.StructureSetROISequence = [named]
    dataset.ROIContourSequence = [roi]
    return dataset


def test_a_contour_over_64_kib_comes_out_whole() -> None:
    """As implicit; in explicit it is UN already when it comes (PS3.5 6.2.2)."""
    sent = structure_set(5000)
    data = encoded(sent, True)
    contour = b"\\".join(b"%.3f" % (number / 8) for number in range(15000))
    contour += b" " * (len(contour) % 2)
    inner = element(0x30060042, "CS", b"CLOSED_PLANAR ") + element(CONTOUR, "UN", contour)
    outer = element(0x30060040, "SQ", item(inner)) + element(0x30060084, "IS", b"1 ")
    explicit = element(0x00080016, "UI", RTSTRUCT.encode() + b"\0") + element(
        0x30060039, "SQ", item(outer)
    )
    for found in (
        read(rewritten(data, True, True)[0], True),
        read(rewritten(explicit, False, True)[0], True),
    ):
        points = found.ROIContourSequence[0].ContourSequence[0].ContourData
        assert [float(point) for point in points] == [number / 8 for number in range(15000)]
        assert MARK not in found


def test_what_cannot_be_given_to_ctp_is_marked() -> None:
    """In an explicit data set, as with compressed pixels, a long list of numbers stays UN."""
    data = element(CONTOUR, "UN", b"1.5\\" * 20000 + b"2 ") + element(0x7FE00010, "OB", b"\0" * 8)
    out, rewriter = rewritten(data)
    found = read(out)
    assert rewriter.problem == "too-long (3006,0050) DS"
    assert found[MARK].value == rewriter.problem
    assert MARKED.fullmatch(rewriter.problem)
    assert list(found.keys())[-1] == Tag(0x7FE00010)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("to_implicit", [False, True])
@pytest.mark.parametrize("inside", ["implicit", "explicit"])
def test_a_sequence_that_came_as_bytes_is_one(
    undefined: bool, to_implicit: bool, inside: str
) -> None:
    """CP-246 has it implicit inside; some write it explicit. Another sequence is in it."""
    if inside == "implicit":
        codes = bare(0x00080100, b"T-1 ") + bare(0x00080102, b"SRT ")
        roi = bare(0x30060022, b"7 ") + bare(0x30060086, item(codes)) + bare(0x300600A4, b"PTV ")
    else:
        codes = element(0x00080100, "SH", b"T-1 ") + element(0x00080102, "SH", b"SRT ")
        roi = element(0x30060022, "IS", b"7 ") + element(0x30060086, "SQ", item(codes))
        roi += element(0x300600A4, "CS", b"PTV ")
    value = item(roi, undefined)
    data = element(ROIS, "UN", value, 0xFFFFFFFF if undefined else None)
    data += element(0x300A0002, "SH", b"PLAN")
    found = read(rewritten(data, False, to_implicit)[0], to_implicit)
    (inner,) = found.StructureSetROISequence
    assert (inner.ROINumber, inner.RTROIInterpretedType) == (7, "PTV")
    assert inner.RTROIIdentificationCodeSequence[0].CodeValue == "T-1"
    assert found.RTPlanLabel == "PLAN"


@pytest.mark.parametrize(
    ("tag", "vr", "value", "wanted"),
    [
        (SPACING, "UN", b"0.5\\0.5 ", [0.5, 0.5]),
        (SPACING, "LO", b"0.5\\0.5 ", [0.5, 0.5]),
        (SPACING, "FD", struct.pack("<2d", 0.5, 0.25), [0.5, 0.25]),
        (0x00200013, "US", b"\7\0", 7),
        (0x00280010, "UL", b"\0\2\0\0", 512),
        (0x00280010, "IS", b"512 ", 512),
        (0x00189087, "DS", b"1000", 1000.0),
        (0x00189087, "UN", struct.pack("<d", 1000.0), 1000.0),
        (0x00080005, "CS", b"ISO_IR 100\0\0", "ISO_IR 100"),
        (0x00080005, "CS", b"GBK ", "GB18030"),
        (0x00080005, "CS", b"\\GBK", ["", "GBK"]),
        (0x00180050, "DS", b"2.5\0", 2.5),
        (0x00080020, "DA", b"2024.03.01", "20240301"),
        (0x00080030, "TM", b"10:11:12.5", "101112.5"),
        (0x00080030, "TM", b"10:11", "1011"),
        (0x00080030, "TM", b"10:Doe", "10:Doe"),
        (0x0020000D, "UI", b"1.2.3 ", "1.2.3"),
    ],
)
def test_a_value_in_another_form_is_put_into_its_own(
    tag: int, vr: str, value: bytes, wanted: Any
) -> None:
    for to_implicit in (False, True):
        out, rewriter = rewritten(element(tag, vr, value), False, to_implicit)
        assert rewriter.problem == ""
        found = read(out, to_implicit)[tag].value
        assert found == wanted if isinstance(wanted, str) else found == pytest.approx(wanted)


def test_decimals_of_more_than_16_characters_are_rounded() -> None:
    out, rewriter = rewritten(
        element(SPACING, "DS", b"0.97656250000000001\\-1.2345678901234567e-05")
    )
    assert rewriter.problem == ""
    value = out[8:].strip()
    assert all(len(part) <= 16 for part in value.split(b"\\"))
    assert [float(part) for part in value.split(b"\\")] == pytest.approx(
        [0.9765625, -1.2345678901234567e-05], rel=1e-9
    )


@pytest.mark.parametrize(
    ("tag", "vr", "value", "problem"),
    [
        (SPACING, "DS", b"2,5 ", "wrong-value (0028,0030) DS"),
        (SPACING, "UN", b"Doe^Jane", "wrong-value (0028,0030) DS"),
        (0x00200013, "IS", b"12.0", "wrong-value (0020,0013) IS"),
        (0x00280010, "LO", b"Doe^Jane", "wrong-vr (0028,0010) LO"),
        (0x00189087, "UN", b"1000", "wrong-value (0018,9087) FD"),
        (0x00080060, "SQ", b"", "wrong-vr (0008,0060) SQ"),
        (0x00280010, "US", b"\1\0\0", "wrong-value (0028,0010) US"),
        (0x00189306, "FD", bytes(4), "wrong-value (0018,9306) FD"),
        (0x00281201, "OW", b"\1\2\3", "wrong-value (0028,1201) OW"),
        (0x00280010, "US", b"", ""),
        (0x7FE00010, "OW", b"\1\2\3", ""),
        # The script removes it: nothing of it would be lost.
        (0x00100032, "FD", bytes(8), ""),
        (SPACING, "DS", b"", ""),
        (0x00080018, "UI", b"1.2.DOE ", "wrong-value (0008,0018) UI"),
        (0x0020000D, "UI", b" 1.2.3", "wrong-value (0020,000D) UI"),
        (0x0020000D, "UI", b"1.2\\1.3 ", "wrong-value (0020,000D) UI"),
        (0x0020000E, "UI", b"1.2\0.3\0", "wrong-value (0020,000E) UI"),
    ],
)
def test_what_would_be_lost_is_marked(tag: int, vr: str, value: bytes, problem: str) -> None:
    out, rewriter = rewritten(element(tag, vr, value))
    assert rewriter.problem == problem
    assert (struct.pack("<HH", MARK >> 16, MARK & 0xFFFF) in out) == bool(problem)


@pytest.mark.parametrize("uid", [b"1.2.3\0", b"1.2.30", b"1.2.3 ", b"1.02.30\0\0\0", b"\0\0", b""])
def test_a_uid_is_read_without_its_padding(uid: bytes) -> None:
    out, rewriter = rewritten(element(0x0020000D, "UI", uid))
    assert (rewriter.problem, MARK in read(out)) == ("", False)


def test_what_pads_a_data_set_is_left_out() -> None:
    spacing = element(SPACING, "DS", b"1\\1 ")
    pixels = element(0x7FE00010, "OW", b"\1\0" * 4)
    padding = element(0xFFFCFFFC, "OB", b"\0" * 6)
    private = element(0x7FE10010, "LO", b"MEIER ") + element(
        0x7FE11001, "SQ", item(element(0x00100010, "PN", b"Doe ")[:12], True), 0xFFFFFFFF
    )
    length = element(0x00280000, "UL", b"\1\0\0\0")
    for tail in (b"", padding, private + padding, b"\0" * 3, b"\0" * 50, padding + b"\0" * 50):
        assert rewritten(length + spacing + pixels + tail)[0] == spacing + pixels
        assert rewritten(spacing + tail.replace(private, b""))[0] == spacing


SPACED = element(SPACING, "DS", b"1\\1 ")
NATIVE = element(0x7FE00010, "OW", b"\1\0" * 4)
COMPRESSED = element(0x7FE00010, "OB", b"", 0xFFFFFFFF) + (
    item(b"") + item(b"abcd") + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
)


@pytest.mark.parametrize("pixels", [NATIVE, COMPRESSED], ids=["native", "compressed"])
@pytest.mark.parametrize(
    ("behind", "readable"),
    [
        (b" ", True),
        (b"\xff" * 7, True),
        (b"junkjunkjunk", False),
        (b"\0" * 20 + b"x", False),
        (SPACED, False),
        (NATIVE, False),
        # Cut short: CTP would read on to an end that does not come.
        (element(0x7FE20010, "OB", b"ab", 0x70000000), True),
        (element(0x7FE31010, "OB", b"ab", 0x70000000), True),
        (element(0x00091010, "OB", b"ab", 0x70000000), True),
        (element(0x7FE20010, "OB", b"ab"), True),
    ],
)
def test_ctp_sees_nothing_that_stands_behind_the_pixel_data(
    pixels: bytes, behind: bytes, readable: bool
) -> None:
    out, rewriter = rewritten(SPACED + pixels + behind)
    assert out == SPACED + pixels
    assert rewriter.readable is readable


@pytest.mark.parametrize("tag", [0x00091001, 0x00400275], ids=["private", "removed"])
def test_what_is_wrong_in_a_sequence_that_goes_anyway_holds_nothing_back(tag: int) -> None:
    inner = element(SPACING, "DS", b"1,5\\1,5 ") + element(0x00081140, "LO", b"none")
    inner += element(0x00081140, "SQ", item(element(SPACING, "DS", b"2,5 ")))
    out, rewriter = rewritten(SPACED + element(tag, "SQ", item(inner)))
    assert rewriter.problem == ""
    assert MARK not in read(out)
    out, rewriter = rewritten(element(0x00081140, "SQ", item(element(SPACING, "DS", b"1,5 "))))
    assert rewriter.problem == "wrong-value (0028,0030) DS"


@pytest.mark.parametrize("tag", [0x00081140, 0x00880200], ids=["kept", "removed"])
@pytest.mark.parametrize("pixels", [NATIVE, COMPRESSED], ids=["native", "compressed"])
def test_an_image_within_a_sequence_is_left_out(tag: int, pixels: bytes) -> None:
    """The script would keep it wherever it keeps the sequence, since it keeps pixel data."""
    sent = element(tag, "SQ", item(SPACED + pixels)) + NATIVE
    out, rewriter = rewritten(sent)
    (inner,) = read(out)[tag].value
    assert list(inner.keys()) == [SPACING]
    assert rewriter.cleared == ({"pixel data within sequences"} if tag == 0x00081140 else set())
    if pixels is NATIVE:
        assert NATIVE[8:] not in out[: -len(NATIVE)]


def test_compressed_pixels_that_came_as_bytes_are_pixels() -> None:
    sent = COMPRESSED.replace(b"OB", b"UN", 1)
    assert rewritten(SPACED + sent)[0] == SPACED + COMPRESSED


def test_an_extended_offset_table_is_left_out() -> None:
    table = [(0x7FE00001, b"OV"), (0x7FE00002, b"OV"), (0x7FE00003, b"UV")]
    offsets = b"".join(
        struct.pack("<HH2sHIQ", tag >> 16, tag & 0xFFFF, vr, 0, 8, 4) for tag, vr in table
    )
    assert rewritten(SPACED + offsets + COMPRESSED)[0] == SPACED + COMPRESSED


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (element(0x00100020, "FD", bytes(8)), "wrong-vr (0010,0020) FD"),
        (element(0x00100021, "SQ", b""), "wrong-vr (0010,0021) SQ"),
        (element(0x00100024, "LO", b"HOSP-B"), "wrong-vr (0010,0024) LO"),
        (
            element(0x00100024, "SQ", item(element(0x00400032, "SQ", b""))),
            "wrong-vr (0040,0032) SQ",
        ),
        (element(0x00100021, "UN", b"HOSP-B"), ""),
    ],
)
def test_whose_an_object_is_has_to_be_readable(sent: bytes, problem: str) -> None:
    assert rewritten(sent)[1].problem == problem


def test_items_where_the_standard_has_none_are_left_out_of_an_implicit_data_set() -> None:
    """Nobody reads them there; where the script would keep the element, it is marked."""
    name = item(element(0x00100010, "PN", b"Doe^Jane"), undefined=True)
    data = element(0x00080060, "CS", b"RTSTRUCT") + element(0x00081080, "SQ", name, 0xFFFFFFFF)
    out, rewriter = rewritten(data, to_implicit=True)
    assert b"Doe" not in out and read(out, True).Modality == "RTSTRUCT"
    assert not rewriter.problem, "the script removes it anyway"
    kept = element(0x00541001, "SQ", name, 0xFFFFFFFF)
    out, rewriter = rewritten(data + kept, to_implicit=True)
    assert rewriter.problem == "wrong-vr (0054,1001) SQ" and b"Doe" not in out


@pytest.mark.parametrize("to_implicit", [False, True])
def test_a_signature_is_left_out_of_an_object_without_pixels(to_implicit: bool) -> None:
    """CTP would put what its items hold into the data set itself."""
    signed = item(element(0x00100010, "PN", b"Doe^Jane"), undefined=True)
    data = element(0x00080060, "CS", b"RTPLAN") + element(0xFFFAFFFA, "SQ", signed, 0xFFFFFFFF)
    out, _ = rewritten(data, to_implicit=to_implicit)
    assert list(read(out, to_implicit).keys()) == [0x00080060]


def test_a_sender_cannot_write_what_the_gate_writes() -> None:
    data = element(MARK, "LO", b"wrong-vr (0054,1001) SQ ") + element(0x00320032, "DA", b"19650101")
    assert rewritten(data)[0] == b""


@pytest.mark.parametrize("to_implicit", [False, True])
def test_the_day_of_a_moment_stands_beside_it_where_ctp_can_read_it(to_implicit: bool) -> None:
    out, _ = rewritten(element(0x0008002A, "DT", b"20240301101112.5 "), to_implicit=to_implicit)
    assert read(out, to_implicit)[0x00320032].value == "20240301"


def test_what_cannot_be_read_is_passed_on_for_ctp_to_judge() -> None:
    spacing = element(SPACING, "DS", b"1\\1 ")
    for broken in (b"\x10\0\x10\0??\x04\0Doe ", element(0x00200013, "IS", b"1", 400), b"\1" * 5):
        assert rewritten(spacing + broken)[0] == spacing + broken


@pytest.mark.parametrize("to_implicit", [False, True])
@pytest.mark.parametrize(
    "behind",
    [
        b" " * 8,
        b"A" * 8,
        b"junkjunkjunk",
        b"\xff" * 30,
        b"\0" * 8 + b"x",
        element(0x00091010, "OB", b"ab", 0x70000000),
        # Cut short; explicit, it would have a length of 1.4 GB as implicit.
        element(CONTOUR, "DS", b"1\\2", 0x5353),
    ],
)
def test_ctp_makes_no_room_for_what_is_cut_short(to_implicit: bool, behind: bytes) -> None:
    """It ends for want of memory: 1 GB for eight letters, if they are taken for tag and length."""
    for first in (SPACED, b""):
        rewriter = Rewriter(False, to_implicit, SCRIPT, is_held=True)
        pieces = [*rewriter.feed(first), *rewriter.feed((SPACED + behind)[len(first) :], True)]
        assert b"".join([*pieces, *rewriter.finish()]) == rewritten(SPACED, False, to_implicit)[0]
        assert not rewriter.readable


def test_a_delimiter_where_a_length_says_enough_is_none_too_many() -> None:
    inner = element(0x00081155, "UI", b"1.2.3\0")
    plain = element(0x00081140, "SQ", item(inner)) + SPACED
    for more in (0xE00D, 0xE0DD):
        delimited = item(inner) + struct.pack("<HHI", 0xFFFE, more, 0)
        if more == 0xE00D:
            delimited = item(delimited[8:])
        out, rewriter = rewritten(element(0x00081140, "SQ", delimited) + SPACED)
        assert rewriter.readable
        assert out == rewritten(plain)[0]


def test_the_day_of_a_moment_stands_beside_it() -> None:
    out, _ = rewritten(element(0x0008002A, "DT", b"20240301101112.123456-0330"))
    found = read(out)
    assert found.AcquisitionDateTime == "20240301101112.123456-0330"
    assert found[0x00320032].value == "20240301"


@pytest.mark.parametrize("implicit", [False, True])
def test_a_sound_data_set_stays_what_it_is(implicit: bool) -> None:
    sent = structure_set(10)
    sent.add_new(0x00090010, "LO", "MEIER")
    sent.add_new(0x00091001, "OB", b"\1\2")
    for to_implicit in (True,) if implicit else (False, True):
        out, rewriter = rewritten(encoded(sent, implicit), implicit, to_implicit)
        assert rewriter.problem == ""
        assert values(read(out, to_implicit)) == values(read(encoded(sent, implicit), implicit))


def test_real_files_stay_what_they_are() -> None:
    """Those of the pydicom wheel that are little endian and that pydicom reads to their end."""
    tried = 0
    for path in sorted(Path(pydicom.__file__).parent.glob("data/test_files/**/*.dcm")):
        with path.open("rb") as file:
            try:
                syntax = begin_data_set(file)
                data = file.read()
                before = values(read(data, syntax == IMPLICIT))
            except Exception:  # broken on purpose
                continue
        if syntax.endswith((".1.2.2", ".1.99")) or "truncated" in path.name:
            continue
        out, rewriter = rewritten(data, syntax == IMPLICIT, syntax == IMPLICIT, NO_RULES)
        assert rewriter.problem == ""
        there = {tag for tag, _ in values(read(out, syntax == IMPLICIT))}
        lost = {tag for tag, _ in before if tag & 0xFFFF and tag <= 0x7FE00010} - there
        assert not lost, f"{path.name}: {[hex(tag) for tag in lost]}"
        tried += 1
    assert tried > 30


def proposal(*contexts: tuple[int, str, tuple[str, ...]]) -> bytes:
    def part(kind: int, value: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(value)) + value

    body = struct.pack(">Hxx16s16s32x", 1, b"CTP", b"PACS") + part(0x10, b"1.2.840.10008.3.1.1.1")
    for number, abstract, syntaxes in contexts:
        inner = part(0x30, abstract.encode())
        inner += b"".join(part(0x40, each.encode()) for each in syntaxes)
        body += part(0x20, bytes([number, 0, 0, 0]) + inner)
    body += part(0x50, part(0x51, struct.pack(">I", 16384)))
    return struct.pack(">BxI", pdu.ASSOCIATE_RQ, len(body)) + body


def acceptance(largest: int, **accepted: str) -> bytes:
    def part(kind: int, value: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(value)) + value

    body = struct.pack(">Hxx16s16s32x", 1, b"CTP", b"PACS") + part(0x10, b"1.2.840.10008.3.1.1.1")
    for name, syntax in accepted.items():
        body += part(0x21, bytes([int(name[1:]), 0, 0, 0]) + part(0x40, syntax.encode()))
    body += part(0x50, part(0x51, struct.pack(">I", largest)))
    return struct.pack(">BxI", pdu.ASSOCIATE_AC, len(body)) + body


def proposed(request: bytes) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}

    def note(context: int, abstract: str, syntaxes: list[str]) -> list[str]:
        found[context] = syntaxes
        return syntaxes

    assert pdu.with_proposed_syntaxes(request, note) == request
    return found


def test_where_lists_can_be_long_ctp_is_offered_implicit_alone() -> None:
    jpeg = "1.2.840.10008.1.2.4.70"
    request = proposal(
        (1, RTSTRUCT, (EXPLICIT, IMPLICIT)),
        (3, RTSTRUCT, (EXPLICIT,)),
        (5, RTSTRUCT, (IMPLICIT, EXPLICIT)),
        (7, CT, (jpeg, EXPLICIT, IMPLICIT)),
    )
    incoming = Incoming(NO_RULES)
    assert proposed(incoming.proposal(request)) == {
        1: [IMPLICIT],
        3: [IMPLICIT],
        5: [IMPLICIT],
        7: [jpeg, EXPLICIT, IMPLICIT],
    }
    answer = incoming.answer(acceptance(16384, c1=IMPLICIT, c3=IMPLICIT, c5=IMPLICIT, c7=EXPLICIT))
    assert pdu.accepted_syntaxes(answer) == {1: EXPLICIT, 3: EXPLICIT, 5: IMPLICIT, 7: EXPLICIT}


@pytest.mark.parametrize(
    ("context", "command", "says", "marked"),
    [
        (CT, CT, CT + "\0", False),
        (CT, CT + "\0", CT + " ", False),
        (CT, "", CT, False),
        (CT, CT, "", False),  # which the script judges
        (CT, CT, US, True),
        (US, US, CT, True),
        (US, CT, CT, True),
        (CT, US, CT, True),
        (CT, CT, CT + "\\" + US, True),
    ],
)
@pytest.mark.parametrize("implicit", [False, True])
def test_an_object_is_of_the_class_that_it_was_announced_as(
    context: str, command: str, says: str, marked: bool, implicit: bool
) -> None:
    """Or its pixels are judged by a class that they are not of (PS3.4 B.2.1, PS3.7 9.1.1)."""
    syntax = IMPLICIT if implicit else EXPLICIT
    incoming = Incoming(SCRIPT)
    incoming.proposal(proposal((1, context, (syntax,))))
    incoming.answer(acceptance(0, c1=syntax))
    encode = bare if implicit else lambda tag, value: element(tag, "UI", value)
    data = encode(0x00080016, says.encode() + b"\0" * (len(says) % 2))
    # In an item it says something else.
    inner = bare if implicit else lambda tag, value: element(tag, "SQ", value)
    data += inner(0x00081140, item(encode(0x00080016, b"1.2\0")))
    told = bare(0x00000002, command.encode()) + bare(0x00000100, struct.pack("<H", 1))
    told += bare(0x00000800, b"\0\0")
    out = b""
    for flags, body in ((3, told), (2, data)):
        pdv = struct.pack(">IBB", len(body) + 2, 1, flags) + body
        sent = struct.pack(">BxI", pdu.P_DATA, len(pdv)) + pdv
        out += b"".join(bytes(each) for each in incoming.feed(sent))
    assert (b"wrong-value (0008,0016) UI" in out) == marked


@pytest.mark.parametrize("largest", [0, 64, 16384])
@pytest.mark.parametrize("chunk", [1, 13, 100_000])
def test_messages_are_rewritten_on_their_way(largest: int, chunk: int) -> None:
    incoming = Incoming(NO_RULES)
    incoming.proposal(proposal((1, RTSTRUCT, (EXPLICIT,))))
    incoming.answer(acceptance(largest, c1=IMPLICIT))
    data = encoded(structure_set(20), False)

    def fragment(flags: int, body: bytes) -> bytes:
        pdv = struct.pack(">IBB", len(body) + 2, 1, flags) + body
        return struct.pack(">BxI", pdu.P_DATA, len(pdv)) + pdv

    message = fragment(3, b"the command") + b"".join(
        fragment(0 if start + 300 < len(data) else 2, data[start : start + 300])
        for start in range(0, len(data), 300)
    )
    sent = message + message + pdu.release_request()
    out = b"".join(
        bytes(piece)
        for start in range(0, len(sent), chunk)
        for piece in incoming.feed(sent[start : start + chunk])
    )
    commands: list[bytes] = []
    objects: list[bytes] = []
    body = b""
    while out:
        kind, length = struct.unpack_from(">BxI", out)
        assert not largest or length <= largest
        if kind == pdu.P_DATA:
            size, context, flags = struct.unpack_from(">IBB", out, 6)
            assert (size, context) == (length - 4, 1)
            body += out[12 : 6 + length]
            if flags & 2:
                (commands if flags & 1 else objects).append(body)
                body = b""
        else:
            assert out[: 6 + length] == pdu.release_request()
        out = out[6 + length :]
    assert commands == [b"the command"] * 2
    for each in objects:
        assert values(read(each, True)) == values(read(encoded(structure_set(20), True), True))
    assert len(objects) == 2
