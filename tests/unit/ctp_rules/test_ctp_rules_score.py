"""The scorer calls right what is right, and wrong what is wrong, for each of the ten actions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import ctp_rules_clean
import ctp_rules_clean_treatment
import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.proof import ps3_15_e1_1 as table
from ctp_rules_clean import content
from ctp_rules_clean_parts import CT, made, reference
from ctp_rules_score import (
    COLUMNS,
    DONE_BY_HOLDING_BACK,
    Action,
    Asked,
    Box,
    Crosswalk,
    Known,
    Verdict,
    image,
    key,
    opened,
    read,
    score,
    shifted,
)
from ctp_rules_score_page import BEGIN, END, share, with_summary
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

NAMES = Known(names=frozenset((b"doe", b"roe", b"poe")), harmless=True)
SHIFTED = frozenset((table.MODIFIED_DATES,))
NOTHING: frozenset[str] = frozenset()


def fresh() -> Crosswalk:
    return Crosswalk(b"ANON-1", -17)


def asked(dataset: Dataset, columns: frozenset[str] = NOTHING, known: Known = NAMES) -> set[Any]:
    """Return keyword paths and actions, of the elements alone."""
    return {(each.path, each.action) for each in key(content(dataset), columns, known)}


def verdicts(
    before: Dataset,
    after: Dataset,
    action: Action,
    tag: int,
    columns: frozenset[str] = NOTHING,
    known: Known = NAMES,
) -> list[Verdict]:
    found = score(content(before), content(after), columns, known, fresh())
    return [
        verdict
        for each, verdict in found
        if each.action is action and (each.path[-1:] == (tag,) or not each.path)
    ]


def changed(**values: Any) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return change


def nothing(dataset: Dataset) -> None:
    """Leave an object as it is."""


CASES = [
    (Action.DATE_SHIFTED, 0x00080020, SHIFTED, nothing, Verdict.WRONG),
    (Action.DATE_SHIFTED, 0x00080020, SHIFTED, changed(StudyDate="20240213"), Verdict.RIGHT),
    (Action.DATE_SHIFTED, 0x00080020, SHIFTED, changed(StudyDate="20240214"), Verdict.LOST),
    (Action.DATE_SHIFTED, 0x00080020, SHIFTED, changed(StudyDate=None), Verdict.LOST),
    (Action.PATID_CONSISTENT, 0x00100020, NOTHING, nothing, Verdict.WRONG),
    (Action.PATID_CONSISTENT, 0x00100020, NOTHING, changed(PatientID="ANON-1"), Verdict.RIGHT),
    (Action.PATID_CONSISTENT, 0x00100020, NOTHING, changed(PatientID="ANON-2"), Verdict.WRONG),
    (Action.PIXELS_RETAINED, 0, NOTHING, nothing, Verdict.RIGHT),
    (Action.PIXELS_RETAINED, 0, NOTHING, changed(PixelData=bytes(512)), Verdict.WRONG),
    (Action.PIXELS_RETAINED, 0, NOTHING, changed(PixelData=None), Verdict.WRONG),
    (Action.TAG_RETAINED, 0x00100030, NOTHING, changed(PatientBirthDate=""), Verdict.RIGHT),
    (Action.TAG_RETAINED, 0x00100030, NOTHING, changed(PatientBirthDate=None), Verdict.WRONG),
    (Action.TEXT_REMOVED, 0x00100030, NOTHING, nothing, Verdict.WRONG),
    (Action.TEXT_REMOVED, 0x00100030, NOTHING, changed(PatientBirthDate=""), Verdict.RIGHT),
    (Action.TEXT_REMOVED, 0x00080080, NOTHING, nothing, Verdict.WRONG),
    (Action.TEXT_REMOVED, 0x00080080, NOTHING, changed(InstitutionName=None), Verdict.RIGHT),
    (
        Action.TEXT_REMOVED,
        0x00080080,
        NOTHING,
        changed(InstitutionName="The General Hospital"),
        Verdict.WRONG,
    ),
    (Action.TEXT_RETAINED, 0x00180060, NOTHING, nothing, Verdict.RIGHT),
    (Action.TEXT_RETAINED, 0x00180060, NOTHING, changed(KVP="120.0"), Verdict.RIGHT),
    (Action.TEXT_RETAINED, 0x00180060, NOTHING, changed(KVP="80"), Verdict.WRONG),
    (Action.TEXT_RETAINED, 0x00180060, NOTHING, changed(KVP=None), Verdict.WRONG),
    (Action.UID_CHANGED, 0x0020000D, NOTHING, nothing, Verdict.WRONG),
    (Action.UID_CHANGED, 0x0020000D, NOTHING, changed(StudyInstanceUID="2.25.1"), Verdict.RIGHT),
    (Action.UID_CHANGED, 0x0020000D, NOTHING, changed(StudyInstanceUID=None), Verdict.LOST),
    (Action.UID_CONSISTENT, 0x0020000D, NOTHING, changed(StudyInstanceUID="2.25.1"), Verdict.RIGHT),
    (Action.UID_CONSISTENT, 0x0020000D, NOTHING, changed(StudyInstanceUID=None), Verdict.LOST),
]


@pytest.mark.parametrize(("action", "tag", "columns", "change", "verdict"), CASES)
def test_what_is_done_is_told(
    action: Action,
    tag: int,
    columns: frozenset[str],
    change: Callable[[Dataset], None],
    verdict: Verdict,
) -> None:
    after = ctp_rules_clean.ct()
    change(after)
    assert verdicts(ctp_rules_clean.ct(), after, action, tag, columns) == [verdict]


def test_a_dummy_is_asked_for_where_the_table_says_so() -> None:
    before, after = ctp_rules_clean_treatment.plan(), ctp_rules_clean_treatment.plan()
    assert table.attributes()["300A0002"].basic == "D"
    for value, verdict in (("REMOVED", Verdict.RIGHT), ("", Verdict.WRONG)):
        after.RTPlanLabel = value
        assert verdicts(before, after, Action.TEXT_NOTNULL, 0x300A0002) == [verdict]
        assert verdicts(before, after, Action.TEXT_REMOVED, 0x300A0002) == [Verdict.RIGHT]


def test_a_reference_has_to_become_what_the_object_became() -> None:
    crosswalk = fresh()
    image_before, image_after = ctp_rules_clean.ct(), ctp_rules_clean.ct()
    image_after.SOPInstanceUID = "2.25.7"
    files = content(image_before), content(image_after)
    crosswalk.learn(opened(files[0]).elements, opened(files[1]).elements)
    before = made(
        SOPClassUID=image_before.SOPClassUID,
        SOPInstanceUID="1.2.9",
        ReferencedImageSequence=[reference(CT, str(image_before.SOPInstanceUID))],
    )
    for became, verdict in (("2.25.7", Verdict.RIGHT), ("2.25.8", Verdict.WRONG)):
        after = read(content(before))
        after.ReferencedImageSequence[0].ReferencedSOPInstanceUID = became
        found = score(content(before), content(after), NOTHING, NAMES, crosswalk)
        assert [
            each
            for ask, each in found
            if ask.action is Action.UID_CONSISTENT and ask.path[-1] == 0x00081155
        ] == [verdict]


def test_two_uids_must_not_become_the_same() -> None:
    crosswalk = fresh()
    assert crosswalk.agrees(b"1.2", b"2.25.1")
    assert crosswalk.agrees(b"1.2", b"2.25.1")
    assert not crosswalk.agrees(b"1.3", b"2.25.1")


@pytest.mark.parametrize("colors", [1, 3])
def test_pixels_are_hidden_where_all_of_the_box_is_one_color(colors: int) -> None:
    known = Known(shows=Box(2, 1, 6, 3))
    before = ctp_rules_clean.ultrasound() if colors == 3 else ctp_rules_clean.capture()
    before.PixelData = bytes(range(256)) * colors
    before["PixelData"].VR = "OB"
    after = read(content(before))
    pixels = bytearray(before.PixelData)
    for row in (1, 2):
        pixels[(16 * row + 2) * colors : (16 * row + 6) * colors] = bytes(4 * colors)
    after.PixelData = bytes(pixels)
    right = verdicts(before, after, Action.PIXELS_HIDDEN, 0, known=known)
    pixels[(16 * 2 + 5) * colors] = 9
    after.PixelData = bytes(pixels)
    wrong = verdicts(before, after, Action.PIXELS_HIDDEN, 0, known=known)
    assert (right, wrong) == ([Verdict.RIGHT], [Verdict.WRONG])
    assert verdicts(before, before, Action.PIXELS_HIDDEN, 0, known=known) == [Verdict.WRONG]


def test_what_stands_beside_an_image_is_no_part_of_it() -> None:
    native, cleaned = ctp_rules_clean.ct(), ctp_rules_clean.ct()
    for dataset in (native, cleaned):
        dataset.BitsStored, dataset.HighBit = 12, 11
    native.PixelData = b"\x34\xf2" * 256 + b"DOE^JANE"
    cleaned.PixelData = b"\x34\x02" * 256
    assert image(native) == image(cleaned)
    cleaned.PixelData = b"\x35\x02" * 256
    assert image(native) != image(cleaned)
    start, table_, scan = b"\xff\xd8", b"\xff\xdb\x00\x04AB", b"\xff\xda\x00\x02pixels\xff\xd9"
    comment = b"\xff\xfe\x00\x05DOE"
    compressed, without = ctp_rules_clean.capture(), ctp_rules_clean.capture()
    for dataset, frame in (
        (compressed, start + comment + table_ + scan),
        (without, start + table_ + scan),
    ):
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta = made(TransferSyntaxUID=JPEGBaseline8Bit)
    assert image(compressed) == image(without) != b""


def test_the_options_change_what_is_right() -> None:
    image_ = ctp_rules_clean.ct()
    day, serial, age = ((each,) for each in (0x00080020, 0x00181000, 0x00101010))
    assert {(day, Action.TEXT_REMOVED), (serial, Action.TEXT_REMOVED)} <= asked(image_)
    assert (day, Action.DATE_SHIFTED) in asked(image_, SHIFTED)
    full = frozenset((table.FULL_DATES, table.DEVICE_IDENTITY, table.PATIENT_CHARACTERISTICS))
    found = asked(image_, full)
    assert {(each, Action.TEXT_RETAINED) for each in (day, serial, age)} <= found
    image_.PatientAge = "091Y"
    assert (age, Action.TEXT_REMOVED) in asked(image_, full)


def test_names_are_asked_to_go_wherever_they_stand() -> None:
    image_ = ctp_rules_clean.ct()
    image_.ConvolutionKernel = "Kernel of Doe"
    assert ((0x00181210,), Action.TEXT_REMOVED) in asked(image_)
    image_.ConvolutionKernel = "STANDARD"
    assert ((0x00181210,), Action.TEXT_RETAINED) in asked(image_)


def test_marks_and_private_elements_are_asked_to_go() -> None:
    image_ = ctp_rules_clean.ct()
    image_.ConvolutionKernel = "Q17392648"
    image_.add_new(0x00090010, "LO", "MAKER")
    found = asked(image_, known=Known(mark=re.compile(b"17392648"), own=frozenset()))
    assert ((0x00181210,), Action.TEXT_REMOVED) in found
    assert ((0x00090010,), Action.TEXT_REMOVED) in found
    assert not {action for _, action in found} & {Action.TEXT_RETAINED, Action.TAG_RETAINED}


def test_what_is_in_a_sequence_that_goes_has_to_go() -> None:
    image_ = ctp_rules_clean.ct()
    assert table.attributes()["00081110"].basic == "X/Z"
    image_.ReferencedStudySequence = [reference("1.2.840.10008.3.1.2.3.1", "1.2.3", KVP="80")]
    found = asked(image_)
    assert ((0x00081110, 0, 0x00081155), Action.UID_CHANGED) in found
    assert ((0x00081110, 0, 0x00180060), Action.TEXT_REMOVED) in found


def test_each_action_is_asked_for() -> None:
    """An action that no input asks for would be right without having been done."""
    found = {action for _, action in asked(ctp_rules_clean.ct(), SHIFTED)}
    found |= {action for _, action in asked(ctp_rules_clean_treatment.plan())}
    found |= {
        action for _, action in asked(ctp_rules_clean.ct(), known=Known(shows=Box(0, 0, 1, 1)))
    }
    assert found == set(Action)


def shares(
    de_identify: Callable[[bytes], bytes], columns: frozenset[str]
) -> dict[Action, tuple[int, int]]:
    found = dict.fromkeys(Action, (0, 0))
    for file in ctp_rules_clean.study().values():
        for each, verdict in score(file, de_identify(file), columns, NAMES, fresh()):
            right, of = found[each.action]
            found[each.action] = right + verdict.counts, of + 1
    return found


def test_who_changes_nothing_scores_low() -> None:
    """Retaining all, and nothing else."""
    found = shares(lambda file: file, SHIFTED)
    for action in (Action.DATE_SHIFTED, Action.PATID_CONSISTENT, Action.UID_CHANGED):
        assert found[action][0] == 0 < found[action][1]
    assert found[Action.TEXT_REMOVED][0] == 0 < found[Action.TEXT_REMOVED][1]
    for action in (Action.PIXELS_RETAINED, Action.TEXT_RETAINED, Action.TAG_RETAINED):
        assert found[action][0] == found[action][1] > 0


def test_who_removes_everything_scores_low() -> None:
    def emptied(file: bytes) -> bytes:
        dataset = read(file)
        return content(made(SOPClassUID=dataset.SOPClassUID, SOPInstanceUID="2.25.1"))

    found = shares(emptied, SHIFTED)
    kept = (Action.PIXELS_RETAINED, Action.TAG_RETAINED, Action.PATID_CONSISTENT)
    assert all(found[action][0] == 0 < found[action][1] for action in kept)
    right, of = found[Action.TEXT_RETAINED]
    assert right == len(ctp_rules_clean.study()) < of / 10  # the SOP Class
    assert found[Action.TEXT_REMOVED][0] == found[Action.TEXT_REMOVED][1]


def test_what_is_held_back_is_hidden_and_not_retained() -> None:
    found = shares(lambda _: b"", SHIFTED)
    for action, (right, of) in found.items():
        assert right == (of if action in DONE_BY_HOLDING_BACK else 0)


def test_dates_are_moved_as_the_calendar_has_it() -> None:
    assert shifted(b"20240301", -17) == b"20240213"
    assert shifted(b"20240301101112.5+0100\\20240101", 1) == b"20240302101112.5+0100\\20240102"
    assert shifted(b"2024", 1) is None
    assert shifted(b"20230230", 1) is None


def test_every_code_of_an_option_has_its_column() -> None:
    """113101 and 113102 are of pixels, which the table does not know (PS3.16 CID 7050)."""
    assert set(COLUMNS.values()) == set(table.OPTION_COLUMNS)


def test_what_is_asked_says_why() -> None:
    (found,) = (
        each
        for each in key(content(ctp_rules_clean.ct()), SHIFTED, NAMES)
        if each.path == (0x00080020,)
    )
    assert found == Asked(
        (0x00080020,), Action.DATE_SHIFTED, f"C, {table.MODIFIED_DATES}", b"20240301"
    )


def test_a_share_is_never_rounded_up_to_all() -> None:
    assert share(Counter({Verdict.RIGHT: 999_999, Verdict.WRONG: 1})) == "99.99 %"
    assert share(Counter({Verdict.RIGHT: 2, Verdict.LOST: 1})) == "100.00 %"
    assert share(Counter()) == "-"


def test_a_page_without_a_place_for_the_score_is_refused() -> None:
    for text in ("no place", BEGIN, END):
        with pytest.raises(AssertionError, match="has no place for the score"):
            with_summary(text)
