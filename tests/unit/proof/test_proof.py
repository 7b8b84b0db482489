"""The judge of the proof against a right gateway, and against one wrong in one way at a time."""

from __future__ import annotations

import re
from typing import Any, Callable

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.host import http
from ansible_collections.auscat.imaging.plugins.module_utils.proof import checks as proof_report
from ansible_collections.auscat.imaging.plugins.module_utils.proof import (
    judgement,
    phantom,
    studies,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

COMPLETE = "The known patient's study arrived complete"
PSEUDONYM = "It stands under the pseudonym"
MARKS = "No identifying mark is left in it"
PRIVATE = "No private element is left in it"
DECLARED = "It says that it is de-identified"
PIXELS = "Its pixel data are as sent"
GEOMETRY = "Its geometry is as sent"
REFERENCES = "References between its objects resolve"

Judge = Callable[..., dict[str, proof_report.Check]]
Study = list[Dataset]

CT_1, CT_3, STRUCTURES, PLAN, DOSE = 0, 2, 5, 6, 7


def test_a_right_gateway_passes_every_check(clean: Study, judge: Judge) -> None:
    checks = judge(clean)
    assert [check for check in checks.values() if not check.passed] == []
    assert list(checks) == [
        COMPLETE, PSEUDONYM, MARKS, PRIVATE, DECLARED, PIXELS, GEOMETRY, REFERENCES,
    ]  # fmt: skip
    assert checks[COMPLETE].detail == "8 objects: 5 CT, 1 RTSTRUCT, 1 RTPLAN, 1 RTDOSE"
    assert all(check.where == "cat01" and check.remedy == "" for check in checks.values())


def test_what_was_sent_fails_as_it_is(known: studies.Study, judge: Judge) -> None:
    checks = judge(list(known.datasets))
    failed = [name for name, check in checks.items() if not check.passed]
    assert failed == [PSEUDONYM, MARKS, PRIVATE, DECLARED]


def put(keyword: str, number: int) -> Callable[[Study, studies.Study], None]:
    def spoil(study: Study, known: studies.Study) -> None:
        setattr(study[CT_3], keyword, f"see Q{known.token}N{number:04d}")

    return spoil


def leak_sent(index: int, keyword: str) -> Callable[[Study, studies.Study], None]:
    """Let an element of the sent object through, as a script does that does not list it."""

    def spoil(study: Study, known: studies.Study) -> None:
        study[index][keyword] = known.datasets[index][keyword]

    return spoil


def leak_sequence(study: Study, known: studies.Study) -> None:
    item = Dataset()
    item.ProcedureCodeSequence = Sequence([Dataset()])
    item.ProcedureCodeSequence[0].PatientName = (
        known.datasets[CT_1].RequestAttributesSequence[0].ProcedureCodeSequence[0].PatientName
    )
    study[CT_1].RequestAttributesSequence = Sequence([item])


def leak_preamble(study: Study, known: studies.Study) -> None:
    study[DOSE].preamble = known.datasets[DOSE].preamble


def leak_file_meta(study: Study, known: studies.Study) -> None:
    mark = known.datasets[PLAN].file_meta.SourceApplicationEntityTitle
    study[PLAN].file_meta.SourceApplicationEntityTitle = mark


def leak_uid(study: Study, known: studies.Study) -> None:
    for dataset in study:
        dataset.StudyInstanceUID = known.datasets[0].StudyInstanceUID


def leak_time(study: Study, known: studies.Study) -> None:
    study[CT_1].ContentTime = known.time[:6]


def leak_birth_date(study: Study, known: studies.Study) -> None:
    study[CT_1].PatientBirthDate = known.datasets[0].PatientBirthDate


def leak_date_in_comment(study: Study, known: studies.Study) -> None:
    date = known.datasets[0].PatientBirthDate
    study[CT_1].ImageComments = f"born {date[:4]}-{date[4:6]}-{date[6:]}"


def leave_private(study: Study, known: studies.Study) -> None:
    block = study[PLAN].private_block(0x3287, "VENDOR", create=True)
    block.add_new(0x10, "LO", "harmless")


def leave_nested_private(study: Study, known: studies.Study) -> None:
    item = study[STRUCTURES].StructureSetROISequence[1]
    item.private_block(0x0031, "VENDOR", create=True).add_new(0x10, "LO", "harmless")


def lose_ct(study: Study, known: studies.Study) -> None:
    del study[CT_3]


def lose_dose(study: Study, known: studies.Study) -> None:
    del study[DOSE]


def double_ct(study: Study, known: studies.Study) -> None:
    study.append(study[CT_3])


def split_study(study: Study, known: studies.Study) -> None:
    study[CT_3].StudyInstanceUID = "2.25.77"


def wrong_name(study: Study, known: studies.Study) -> None:
    study[DOSE].PatientName = "Somebody^Else"


def wrong_id(study: Study, known: studies.Study) -> None:
    study[CT_1].PatientID = "ANON"


def not_declared(study: Study, known: studies.Study) -> None:
    del study[STRUCTURES].PatientIdentityRemoved


def declared_no(study: Study, known: studies.Study) -> None:
    study[CT_1].PatientIdentityRemoved = "NO"


def change_pixel(study: Study, known: studies.Study) -> None:
    pixels = bytearray(study[CT_3].PixelData)
    pixels[100] ^= 1
    study[CT_3].PixelData = bytes(pixels)


def change_dose_pixel(study: Study, known: studies.Study) -> None:
    study[DOSE].PixelData = bytes(len(study[DOSE].PixelData))


def shift_contour(study: Study, known: studies.Study) -> None:
    contour = study[STRUCTURES].ROIContourSequence[1].ContourSequence[2]
    contour.ContourData = ["0.5", *list(contour.ContourData)[1:]]


def lose_modality(study: Study, known: studies.Study) -> None:
    del study[CT_1].Modality


def scale_dose(study: Study, known: studies.Study) -> None:
    study[DOSE].DoseGridScaling = "0.0004"


def shift_slice(study: Study, known: studies.Study) -> None:
    study[CT_3].ImagePositionPatient = ["0", "0", "1000"]


def dangling_contour(study: Study, known: studies.Study) -> None:
    contour = study[STRUCTURES].ROIContourSequence[0].ContourSequence[3]
    contour.ContourImageSequence[0].ReferencedSOPInstanceUID = "2.25.78"


def contour_on_other_slice(study: Study, known: studies.Study) -> None:
    contour = study[STRUCTURES].ROIContourSequence[0].ContourSequence[3]
    contour.ContourImageSequence[0].ReferencedSOPInstanceUID = study[CT_1].SOPInstanceUID


def no_contour_image(study: Study, known: studies.Study) -> None:
    del study[STRUCTURES].ROIContourSequence[0].ContourSequence[3].ContourImageSequence


def other_frame_of_reference(study: Study, known: studies.Study) -> None:
    study[STRUCTURES].StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "2.25.79"


def dose_of_other_plan(study: Study, known: studies.Study) -> None:
    study[DOSE].ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID = "2.25.80"


@pytest.mark.parametrize(
    ("spoil", "failing", "words"),
    [
        (put("PatientComments", 1), MARKS, r"CT 3: PatientComments \(0010,4000\) holds the mark"),
        (leak_sent(CT_1, "ConsultingPhysicianName"), MARKS, r"ConsultingPhysicianName \(0008,009C"),
        (leak_sent(PLAN, "PatientSize"), MARKS, r"RTPLAN 1: PatientSize"),
        (leak_sent(DOSE, "InstanceCreationTime"), MARKS, r"time of the study"),
        (leak_sent(CT_1, "DateOfLastCalibration"), MARKS, "date of the study"),
        (
            leak_sequence,
            MARKS,
            r"RequestAttributes.*\[0\] > ProcedureCode.* > PatientName",
        ),
        (leak_preamble, MARKS, "RTDOSE 1: a part of the file that is no element.*preamble"),
        (leak_file_meta, MARKS, r"RTPLAN 1: SourceApplicationEntityTitle \(0002,0016\)"),
        (leak_uid, MARKS, r"CT 1 and 7 more: StudyInstanceUID \(0020,000D\) still holds its mark$"),
        (leak_time, MARKS, r"CT 1: ContentTime .* time of the study"),
        (leak_birth_date, MARKS, r"CT 1: PatientBirthDate .* date of birth"),
        (leak_date_in_comment, MARKS, r"CT 1: ImageComments .* date of birth"),
        (leave_private, PRIVATE, r"RTPLAN 1: \(3287,0010\); RTPLAN 1: \(3287,1010\)"),
        (leave_nested_private, PRIVATE, r"StructureSetROISequence .*\[1\] > \(0031,1010\)"),
        (lose_dose, COMPLETE, "RTDOSE: 1 sent, 0 arrived"),
        (lose_ct, COMPLETE, "CT: 5 sent, 4 arrived"),
        (lose_ct, REFERENCES, "ReferencedSOPInstanceUID .* names CT 3, which did not arrive"),
        (double_ct, COMPLETE, "CT: 5 sent, 6 arrived; two objects have the same SOP Instance UID"),
        (split_study, COMPLETE, "in 2 studies instead of one"),
        (wrong_name, PSEUDONYM, "RTDOSE 1: PatientName is 'Somebody\\^Else', not 'PROOF-ANON-"),
        (wrong_id, PSEUDONYM, "CT 1: PatientID is 'ANON'"),
        (not_declared, DECLARED, r"RTSTRUCT 1: \(0012,0062\) is ''"),
        (declared_no, DECLARED, r"CT 1: \(0012,0062\) is 'NO'"),
        (change_pixel, PIXELS, "CT 3: the pixel data differ"),
        (change_dose_pixel, PIXELS, "RTDOSE 1: the pixel data differ"),
        (
            shift_contour,
            GEOMETRY,
            r"ContourSequence .*\[2\] > ContourData .* is changed",
        ),
        (lose_modality, GEOMETRY, r"CT 1: Modality \(0008,0060\) is missing"),
        (scale_dose, GEOMETRY, r"RTDOSE 1: DoseGridScaling \(3004,000E\) is changed"),
        (shift_slice, GEOMETRY, "CT 3: no object with its position arrived"),
        (dangling_contour, REFERENCES, "no longer leads to CT 4"),
        (contour_on_other_slice, REFERENCES, "no longer leads to CT 4"),
        (no_contour_image, REFERENCES, r"is missing \(it named CT 4\)"),
        (other_frame_of_reference, REFERENCES, "no longer leads to FrameOfReferenceUID"),
        (dose_of_other_plan, REFERENCES, "RTDOSE 1: ReferencedRTPlan.* no longer leads to RTPLAN"),
    ],
)
def test_a_gateway_that_is_wrong_in_one_way_fails_there(
    clean: Study,
    known: studies.Study,
    judge: Judge,
    spoil: Callable[[Study, studies.Study], None],
    failing: str,
    words: str,
) -> None:
    spoil(clean, known)
    check = judge(clean)[failing]
    assert not check.passed
    assert check.remedy
    assert re.search(words, check.detail), check.detail


def test_a_mark_in_the_index_alone_fails(clean: Study, known: studies.Study, judge: Judge) -> None:
    records = {"Orthanc's index, series 12345678": f"{{'RemoteAET': 'Q{known.token}N0000'}}"}
    check = judge(clean, records)[MARKS]
    assert not check.passed
    assert check.detail.startswith("Orthanc's index, series 12345678: holds the token")


def test_nothing_arrived(judge: Judge) -> None:
    checks = judge([])
    assert list(checks) == [COMPLETE]
    assert not checks[COMPLETE].passed


def test_compressed_pixel_data_cannot_pass(clean: Study, known: studies.Study) -> None:
    clean[CT_1].file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.90")
    arrived = [judgement.Arrived("CT 1", b"", clean[CT_1])]
    problems = judgement.pixel_problems(known, arrived)
    assert problems[0].startswith("CT 1 arrived as JPEG 2000")


def test_a_broken_file_is_named() -> None:
    arrived, problems = judgement.read_arrived({"abc": b"no DICOM"})
    assert arrived == []
    assert problems == ["abc cannot be read as DICOM (InvalidDicomError)"]


@pytest.mark.parametrize(
    ("change", "stray"),
    [
        (lambda study, known, unknown: None, True),  # an image of the known patient
        (lambda study, known, unknown: study.pop("PixelData"), False),
        (lambda study, known, unknown: setattr(study, "PixelData", unknown_image(unknown)), True),
        (lambda study, known, unknown: setattr(study, "PixelData", b"\0" * 8192), False),
    ],
)
def test_strays_are_known_by_their_image(
    clean: Study,
    known: studies.Study,
    unknown: studies.Study,
    tmp_path: Any,
    change: Callable[..., Any],
    stray: bool,
) -> None:
    change(clean[CT_1], known, unknown)
    clean[CT_1].PatientID = "HASHED"
    phantom.write_object(clean[CT_1], tmp_path / "x.dcm")
    assert judgement.is_stray((tmp_path / "x.dcm").read_bytes(), [known, unknown]) is stray


def unknown_image(unknown: studies.Study) -> bytes:
    return bytes(unknown.datasets[2].PixelData)


def test_report_keeps_going_when_a_look_fails() -> None:
    report = proof_report.Report("kv01")

    def fails() -> tuple[list[str], str]:
        raise RuntimeError("no answer")

    def silent() -> tuple[list[str], str]:
        raise http.ClientError("no answer", remedy="start it")

    def lacks() -> tuple[list[str], str]:
        raise KeyError("Version")

    assert not report.attempt("first", "do this", fails)
    assert not report.attempt("second", "do that", lacks)
    assert not report.attempt("silent", "do that", silent)
    assert report.checks.pop().remedy == "start it"
    assert report.attempt("third", "", lambda: ([], "seen"))
    assert report.rows() == [
        {"check": "first", "where": "kv01", "passed": False, "detail": "no answer",
         "remedy": "do this"},
        {"check": "second", "where": "kv01", "passed": False,
         "detail": "an answer lacks 'Version'", "remedy": "do that"},
        {"check": "third", "where": "kv01", "passed": True, "detail": "seen", "remedy": ""},
    ]  # fmt: skip


def test_a_wait_ends_with_its_deadline() -> None:
    assert proof_report.wait_for(lambda: True, 0)
    assert not proof_report.wait_for(lambda: False, 0)


def test_long_lists_are_cut() -> None:
    assert proof_report.summarize(["a", "b", "c"], limit=2) == "a; b; and 1 more"
