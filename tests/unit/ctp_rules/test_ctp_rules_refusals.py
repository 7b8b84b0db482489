"""What the script holds objects back for: each of its own paths to quarantine, told in one word.

The paths are those of the rendered script, so that one that is added is tried here at once. What
has to agree is the interpreter, which is another piece of code, and stock CTP where it is at hand.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from ctp_rules import encoded, reading, refusals, script
from ctp_rules.anonymizer import Anonymizer, QuarantineError, Refusal
from ctp_rules.elements import default_vr
from ctp_rules.encoded import Encoded
from ctp_rules.refusals import Judge, Refused
from ctp_rules_objects import BIG, EXPLICIT, IMPLICIT, Element, Writer, base, kinds, noise
from ctp_rules_stock import Ctp
from ctp_rules_way import OPTIONS, script_text
from test_ctp_rules_encoded import body

TABLE = {"PatientID/PAT-1|": "ANON-1", "DateShift/PAT-1": "-17"}
TRIED = (b"YES", b"")
CLASSES = (b"1.3.12.2.1107.5.9.1", b"1.2.840.10008.5.1.4.1.1.104.1", b"1.2.840.10008.5.1.4.1.1.4")
SOP_CLASS, BURNED_IN, PATIENT_ID, MARK = 0x00080016, 0x00280301, 0x00100020, 0x7FDEFFF0
FACE = 0x00280302
INSIDE = 0x00081115  # Referenced Series Sequence, which the script enters


def lookup(kind: str, key: str) -> str | None:
    return TABLE.get(f"{kind}/{key}")


def quarantining(text: str) -> list[int]:
    """The elements whose rules can hold an object back, as the script's text says."""
    rules = script.parse(text).rules
    return [tag for tag, rule in rules.items() if "@quarantine" in rule.source]


def made(tag: int, value: bytes) -> Iterator[tuple[str, bytes]]:
    """One element with one value, at the root and in an item."""
    element = Element(tag, default_vr(tag), value)
    yield f"{tag:08X} {value!r}", Writer(EXPLICIT).file([*base(), element])
    inside = [Element(INSIDE, "SQ", [[element]], True)]
    yield f"{tag:08X} {value!r} inside", Writer(IMPLICIT).file([*base(), *inside])


def each_path(text: str) -> dict[str, bytes]:
    return dict(
        pair
        for tag in quarantining(text)
        for value in (CLASSES if tag == SOP_CLASS else TRIED)
        for pair in made(tag, value)
    )


@pytest.fixture(scope="module")
def text() -> str:
    found = {name: script_text(options) for name, options in OPTIONS.items()}
    assert len({tuple(quarantining(each)) for each in found.values()}) == 1
    return found["strict"]


def judged(judge: Judge, content: bytes) -> Refused | None:
    """As the stand-in asks, and as the supervisor does: the same answer, where both can read it."""
    dataset = reading.read(content)
    found = judge.of_dataset(dataset, lookup)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if syntax != BIG:
        other = judge.of_encoded(body(content), syntax, lookup)
        if found is None or found.reason != refusals.UNREADABLE:
            assert other == found
    return found


def test_each_path_of_the_script_is_told(text: str) -> None:
    anonymizer = Anonymizer(script.parse(text))
    judge = Judge(anonymizer)
    told: dict[int, set[str]] = {}
    for name, content in each_path(text).items():
        found = judged(judge, content)
        try:
            anonymizer.run(reading.read(content), lookup)
        except QuarantineError as error:
            assert found is not None and found.tag == error.tag, name
            told.setdefault(error.tag, set()).add(found.reason)
            assert not any(value.decode() in found.why for value in (b"YES", *CLASSES)), name
        else:
            assert found is None, name
    expected = {tag: {refusals.INCOMPLETE} for tag in quarantining(text)}
    expected[SOP_CLASS] = {refusals.SOP_CLASS_NOT_ACCEPTED}
    expected[BURNED_IN] = expected[FACE] = {refusals.BURNED_IN_ANNOTATION}
    # Nobody is called YES in the table; the name's rule comes first, and asks for the same.
    expected[0x00100010] = {refusals.UNKNOWN_PATIENT, refusals.MISSING_PATIENT_ID}
    del expected[PATIENT_ID]
    # Asked of kinds of images, not of an element (test_ctp_rules_pixels).
    del expected[refusals.PIXELS]
    assert told == expected


@pytest.mark.parametrize(
    ("elements", "reason", "why"),
    [
        ([], None, ""),
        ([Element(BURNED_IN, "CS", b"yes ")], "burned-in-annotation", "(0028,0301)"),
        ([Element(BURNED_IN, "CS", b"NO")], None, ""),
        (
            [Element(SOP_CLASS, "UI", b"1.2.840.10008.5.1.4.1.1.9.1.1")],
            "sop-class-not-accepted",
            "(0008,0016)",
        ),
        ([Element(0x00280030, "DS", b"0,5")], "incomplete", "wrong-value (0028,0030) DS"),
        ([Element(MARK, "LO", b"wrong-value (0028,0030) DS")], "incomplete", "(7FDE,FFF0)"),
        ([Element(PATIENT_ID, "LO", rb"PAT\-1")], "ambiguous-patient-id", ""),
        ([Element(PATIENT_ID, "LO", b"  ")], "missing-patient-id", ""),
        # What can be cured the least is said.
        (
            [Element(0x00180050, "DS", b"x"), Element(BURNED_IN, "CS", b"YES")],
            "burned-in-annotation",
            "(0028,0301)",
        ),
        (
            [Element(PATIENT_ID, "LO", b"PAT-2"), Element(BURNED_IN, "CS", b"YES")],
            "unknown-patient",
            "",
        ),
    ],
)
def test_an_object_has_one_reason(elements: list[Element], reason: str | None, why: str) -> None:
    judge = Judge(Anonymizer(script.parse(script_text(OPTIONS["strict"]))))
    found = judged(judge, Writer(EXPLICIT).file([*base(), *elements]))
    assert (found and found.reason) == reason
    assert found is None or found.why == why


def test_a_rule_of_a_site_has_the_general_word() -> None:
    rule = '<e en="T" t="00080060" n="Modality">@if(this,equals,CT){@quarantine()}{@empty()}</e>'
    text = script_text(OPTIONS["strict"])
    start = text.index('<e en="T" t="00080060"')
    changed = text[:start] + rule + text[text.index("\n", start) :]
    content = Writer(EXPLICIT).file(base())
    assert judged(Judge(Anonymizer(script.parse(text))), content) is None
    found = judged(Judge(Anonymizer(script.parse(changed))), content)
    assert found == ("refused-by-profile", 0x00080060, "(0008,0060)")


def agree(anonymizer: Anonymizer, objects: Mapping[str, bytes]) -> int:
    """Both hold back the same objects; return how many."""
    judge, held = Judge(anonymizer), 0
    for name, content in objects.items():
        found = judged(judge, content)
        try:
            anonymizer.run(reading.read(content), lookup)
        except QuarantineError as error:
            if error.refusal is not Refusal.UNREADABLE:
                assert found is not None, f"{name}: {error}"
                held += 1
        else:
            assert found is None or found.reason == refusals.UNREADABLE, f"{name}: {found}"
    return held


def test_kinds_from_the_field_and_noise(text: str) -> None:
    known = script.parse(text).rules
    tags = [tag for tag in known if 0x00080000 < tag < 0x7FDE0000 and tag >> 8 != 0x001000]
    objects = dict([*kinds(), *noise(tags, 31, 9)])
    assert agree(Anonymizer(script.parse(text)), objects) > 20


@pytest.mark.stock_ctp
def test_ctp_holds_back_the_same(ctp: Ctp, tmp_path: Path) -> None:
    text = script_text(OPTIONS["radiotherapy"])
    judge = Judge(Anonymizer(script.parse(text)))
    objects = each_path(text)
    left = ctp.run(text, TABLE, objects.values(), tmp_path)
    found = {name: judged(judge, content) for name, content in objects.items()}
    assert {name for name in objects if found[name] is not None} == {
        name for name, path in zip(objects, left) if path is None
    }


def test_what_is_cut_short_is_called_unreadable() -> None:
    judge = Judge(Anonymizer(script.parse(script_text(OPTIONS["strict"]))))
    whole = body(Writer(EXPLICIT).file(base()))
    found = judge.of_encoded(Encoded(whole.data[:-3], False), EXPLICIT, lookup)
    assert found is not None and found.reason == refusals.UNREADABLE


def test_nothing_long_is_read(tmp_path: Path) -> None:
    """Neither the pixels, nor a document, nor a number of 32 MiB."""
    judge = Judge(Anonymizer(script.parse(script_text(OPTIONS["strict"]))))
    elements = [
        Element(0x00280030, "UN", b"1" * 32 * 1024 * 1024),
        Element(BURNED_IN, "CS", b"YES"),
        Element(0x00420011, "OB", bytes(32 * 1024 * 1024)),
        Element(0x7FE00010, "OB", bytes(32 * 1024 * 1024)),
    ]
    view = memoryview(Writer(EXPLICIT).file([*base(), *elements]))[132:]
    (length,) = view[8:12].cast("I")
    whole = Encoded(view[12 + length :], False)
    tracemalloc.start()
    try:
        came = Encoded(whole.data[: encoded.pixels_at(whole)], False)
        found = judge.of_encoded(came, EXPLICIT, lookup)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None and found.reason == "burned-in-annotation"
    assert most < 4 * 1024 * 1024
