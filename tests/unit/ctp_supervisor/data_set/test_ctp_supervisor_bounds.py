"""No text leaves in bytes or binary numbers, behind those that are said to be there."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script as ctp_script
from ctp_supervisor.data_set import bounds
from ctp_supervisor.data_set.rules import rules
from pydicom._dicom_dict import DicomDictionary
from test_ctp_supervisor_incoming import SCRIPT, bare, element, item, rewritten

NAME = b"DOE^JANE "
WIDE = ctp_script.ScriptOptions(
    longitudinal="full",
    retain_patient_characteristics=True,
    retain_device_identity=True,
    clean_descriptors=True,
    roi_names="kept",
)
ENTRIES = {
    **ctp_script.script_entries(ctp_script.ScriptOptions()),
    **ctp_script.script_entries(WIDE),
}
BINARY = frozenset(
    ["OB", "OD", "OF", "OL", "OV", "OW", "UN", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"]
)
KEPT = {
    int(tag, 16): DicomDictionary[int(tag, 16)][0].split(" or ")
    for tag, (_, script) in ENTRIES.items()
    if int(tag, 16) in DicomDictionary
    and script != "@remove()"
    and set(DicomDictionary[int(tag, 16)][0].split(" or ")) & BINARY
}
"""All that the script may keep as it is, and that holds bytes or binary numbers."""
# What the gate leaves out (the offsets), and what it limits by the size of the image (``beside``).
PIXELS = {0x7FE00001, 0x7FE00002, 0x7FE00003, 0x7FE00008, 0x7FE00009}
COLOURED = element(0x00280004, "CS", b"PALETTE COLOR ")


def test_everything_of_bytes_that_stays_has_a_bound() -> None:
    assert set(KEPT) == PIXELS | (set(KEPT) & set(bounds.MOST)) | set(bounds.BOUNDED)
    assert len(KEPT) > 130 and 0x00281201 in KEPT and 0x00640009 in KEPT


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_no_name_leaves_in_what_is_no_text(implicit: bool, inside: bool) -> None:
    """40 times the name, 360 bytes, in the place of each element."""
    known = rules(ctp_script.anonymizer_script(WIDE).encode())
    for tag, representations in KEPT.items():
        vr = representations[0]
        size = {"US": "H", "SS": "h", "FD": "d"}.get(vr)
        text = NAME * 40
        if implicit:
            data, more = bare(tag, text), bare(0x00280004, b"PALETTE COLOR ")
        else:
            # As bytes, where the representation can only be short.
            data = element(tag, vr if vr in ("OB", "OW") or size else "UN", text)
            more = COLOURED
        data = more + data
        if inside:
            sequence = element(0x52009229, "SQ", item(data))
            data = bare(0x52009229, item(data)) if implicit else sequence
        out, rewriter = rewritten(data, implicit, implicit, known)
        if tag in PIXELS:
            assert rewriter.hidden or NAME not in out
            continue
        expected = "" if NAME not in out else f"wrong-value ({tag >> 16:04X},{tag & 0xFFFF:04X})"
        if tag == 0x00283006:
            # What has no descriptor, the script removes.
            expected = ""
        assert rewriter.problem.startswith(expected) and bool(rewriter.problem) == bool(expected)


def descriptor(tag: int, entries: int, bits: int) -> bytes:
    return element(tag, "US", struct.pack("<3H", entries, 0, bits))


RED = 0x00281101, 0x00281201
LUT = 0x00283002, 0x00283006
RAMP = bytes(range(32, 122))


def table(tags: tuple[int, int], entries: int, bits: int, data: bytes, **more: Any) -> bytes:
    found = COLOURED + descriptor(tags[0], entries, bits) + element(tags[1], "OW", data)
    return element(0x00283010, "SQ", item(found)) if more.get("inside") else found


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (table(RED, 90, 8, RAMP), ""),
        (table(RED, 89, 8, RAMP), ""),  # padded
        (table(RED, 88, 8, RAMP), "(0028,1201) OW"),
        (table(RED, 88, 8, RAMP[:30]), ""),
        (table(RED, 45, 16, RAMP), ""),
        (table(RED, 44, 16, RAMP), "(0028,1201) OW"),
        (table(RED, 0, 16, bytes(1 << 17)), ""),
        (table(RED, 0, 8, bytes(1 << 16)), ""),
        (table(RED, 0, 16, bytes((1 << 17) + 360)), "(0028,1201) OW"),
        # 8 bits in 16: below, above, twice; and something else there.
        (table(RED, 3, 8, b"a\0b\0c\0"), ""),
        (table(RED, 3, 8, b"\0a\0b\0c"), ""),
        (table(RED, 3, 8, b"aabbcc"), ""),
        (table(RED, 3, 8, b"Doe^Ja"), "(0028,1201) OW"),
        (table(RED, 3, 8, b"a\0b\0c\0d\0"), "(0028,1201) OW"),
        (COLOURED + element(RED[1], "OW", RAMP), "(0028,1201) OW"),
        # CTP reads that in any case.
        (
            element(0x00280004, "CS", b"Palette Color ") + element(RED[1], "OW", RAMP),
            "(0028,1201) OW",
        ),
        # The script removes it.
        (element(RED[1], "OW", RAMP), ""),
        (COLOURED + element(0x00283010, "SQ", item(element(RED[1], "OW", RAMP))), ""),
        # Out of its place.
        (COLOURED + element(RED[1], "OW", RAMP) + descriptor(RED[0], 90, 8), ""),
        (COLOURED + element(RED[1], "OW", RAMP) + descriptor(RED[0], 80, 8), "(0028,1201) OW"),
        (table(LUT, 45, 12, RAMP, inside=True), ""),
        (table(LUT, 44, 12, RAMP, inside=True), "(0028,3006) OW"),
        (table(LUT, 90, 8, RAMP, inside=True), ""),
        (element(LUT[0], "US", NAME * 40), "(0028,3002) US"),
        (element(0x00181310, "US", bytes(8)), ""),
        (element(0x00181310, "US", bytes(10)), "(0018,1310) US"),
        (element(0x00280010, "UL", bytes(8)), "(0028,0010) US"),
        (element(0x00280009, "AT", struct.pack("<4H", 0x18, 0x1063, 0x54, 0x10)), ""),
        (element(0x00280009, "AT", b"DOE^JANE"), "(0028,0009) AT"),
        (element(0x00280008, "IS", b"2 ") + element(0x00540010, "US", b"\1\0\1\0"), ""),
        (element(0x00280008, "IS", b"2 ") + element(0x00540010, "US", bytes(6)), "(0054,0010) US"),
        (element(0x0040A161, "FD", bytes(8)) + element(0x0040A30A, "DS", b"1 "), ""),
        (element(0x0040A161, "FD", bytes(16)) + element(0x0040A30A, "DS", b"1 "), "(0040,A161) FD"),
        (element(0x00700022, "FL", struct.pack("<6f", 12, 13.5, 14.25, 511, 0, 1e-3)), ""),
        (element(0x00700022, "FL", NAME * 4), "(0070,0022) FL"),
        (
            element(0x00640007, "UL", struct.pack("<3I", 2, 1, 1))
            + element(0x00640009, "UN", struct.pack("<6f", *[1.5] * 6)),
            "",
        ),
        (
            element(0x00640007, "UL", struct.pack("<3I", 2, 1, 1))
            + element(0x00640009, "UN", struct.pack("<6f", *[1.5] * 6) + NAME * 4),
            "(0064,0009) OF",
        ),
        (
            element(0x300A0392, "IS", b"2 ")
            + element(0x300A0394, "FL", bytes(16))
            + element(0x300A0396, "FL", bytes(8)),
            "",
        ),
        (
            element(0x300A0392, "IS", b"2 ")
            + element(0x300A0394, "FL", bytes(16))
            + element(0x300A0396, "FL", bytes(12)),
            "(300A,0396) FL",
        ),
    ],
)
def test_what_is_longer_than_it_says_is_held_back(data: bytes, problem: str) -> None:
    _, rewriter = rewritten(data, known=SCRIPT)
    assert rewriter.problem == (problem and f"wrong-value {problem}")
