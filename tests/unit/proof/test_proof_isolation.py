"""What may go to Orthanc past CTP, and what the outcome of the test means."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.proof import names, phantom, studies
from ansible_collections.auscat.imaging.plugins.module_utils.proof.isolation import (
    ANSWERS,
    FOUND,
    REMOVED,
    TAKEN,
    ForeignFileError,
    isolation_verdict,
    made_identified,
    made_phantoms,
    read_phantom,
    read_phantoms,
    write_marked,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services.orthanc import OWN_MARKS
from pydicom.dataset import Dataset

TOKEN = "1234567890"


def as_file(dataset: Dataset, directory: Path) -> bytes:
    path = directory / "object.dcm"
    phantom.write_object(dataset, path)
    return path.read_bytes()


@pytest.mark.parametrize("patient", ["known", "unknown"])
def test_every_object_of_a_phantom_is_accepted(
    patient: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    study: studies.Study = request.getfixturevalue(patient)
    phantom.write_study(study, tmp_path)
    assert [each.sop_instance_uid for each in read_phantoms(tmp_path)] == study.sop_instance_uids


def test_phantom_is_made(known: studies.Study, tmp_path: Path) -> None:
    assert [each.sop_instance_uid for each in made_phantoms(TOKEN, tmp_path)] == (
        known.sop_instance_uids
    )


def test_a_phantom_is_sent_with_the_marks(known: studies.Study, tmp_path: Path) -> None:
    path = tmp_path / "marked.dcm"
    phantom.write_study(known, tmp_path)
    first = read_phantoms(tmp_path)[0]
    write_marked(first, {**OWN_MARKS, "pseudonym_prefixes": ["TRIAL-", "ANON-"]}, path)
    sent = pydicom.dcmread(path)
    assert sent.SOPInstanceUID == first.sop_instance_uid
    assert sent.PatientID == sent.PatientName == names.pseudonym_of(TOKEN, "TRIAL-")
    assert names.is_proof_pseudonym(str(sent.PatientID))
    assert sent.PatientIdentityRemoved == "YES"
    assert sent.DeidentificationMethod == "AusCAT imaging: phantom"
    assert [item.CodeValue for item in sent.DeidentificationMethodCodeSequence] == ["113100"]
    assert sent.PixelData == known.datasets[0].PixelData


def test_a_phantom_without_marks_that_nobody_asks_for(known: studies.Study, tmp_path: Path) -> None:
    phantom.write_study(known, tmp_path)
    none = {"identity_removed": True, "methods": [], "codes": [], "pseudonym_prefixes": []}
    write_marked(read_phantoms(tmp_path)[0], none, tmp_path / "marked.dcm")
    sent = pydicom.dcmread(tmp_path / "marked.dcm")
    assert "DeidentificationMethod" not in sent
    assert "DeidentificationMethodCodeSequence" not in sent
    assert sent.PatientID == names.pseudonym_of(TOKEN)


def test_the_identified_object_is_the_unknown_patients(
    unknown: studies.Study, tmp_path: Path
) -> None:
    """What would get in is among what the proof looks for and removes."""
    made = made_identified(TOKEN, tmp_path)
    assert made.sop_instance_uid in unknown.sop_instance_uids
    assert "PatientIdentityRemoved" not in pydicom.dcmread(tmp_path / "0001.dcm")


def put(keyword: str, value: str) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


FOREIGN = [
    (put("PatientID", "HOSPITAL-4711"), "its PatientID is not PROOF-"),
    (put("PatientID", "PROOF-1234567890"), "its PatientID is not PROOF-"),
    (put("PatientID", "PROOF-1234567890-KNOWN-2"), "its PatientID is not PROOF-"),
    # Another proof's: the other identifiers no longer follow from it.
    (put("PatientID", "PROOF-1999999999-KNOWN"), "its PatientName does not belong"),
    (put("PatientName", "Miller^Anna"), "its PatientName does not belong"),
    (put("StudyInstanceUID", "1.2.840.1"), "its StudyInstanceUID does not begin with"),
    (put("SeriesInstanceUID", "1.2.840.1"), "its SeriesInstanceUID does not begin with"),
    (put("SOPInstanceUID", f"{names.UID_ROOT}1999999999"), "its SOPInstanceUID does not"),
    (lambda dataset: dataset.pop("PatientID"), "cannot be read as a DICOM file of a patient"),
]


@pytest.mark.parametrize(("spoil", "problem"), FOREIGN, ids=[str(each) for each in range(9)])
def test_anything_else_is_refused(
    known: studies.Study, tmp_path: Path, spoil: Callable[[Dataset], Any], problem: str
) -> None:
    dataset = copy.deepcopy(known.datasets[0])
    spoil(dataset)
    with pytest.raises(ForeignFileError, match=problem) as refusal:
        read_phantom(as_file(dataset, tmp_path))
    # The text goes to a terminal: nothing of whoever it is.
    assert "4711" not in str(refusal.value)
    assert "Miller" not in str(refusal.value)


@pytest.mark.parametrize("raw", [b"", b"text", b"\0" * 200, b"\0" * 128 + b"DICM"])
def test_what_is_no_dicom_file_is_refused(raw: bytes) -> None:
    with pytest.raises(ForeignFileError, match="cannot be read as a DICOM file"):
        read_phantom(raw)


def test_what_came_out_of_ctp_is_refused(delivered: list[Dataset], tmp_path: Path) -> None:
    """A phantom under its pseudonym has other UIDs, which could be anybody's."""
    with pytest.raises(ForeignFileError):
        read_phantom(as_file(delivered[0], tmp_path))


def test_one_foreign_file_refuses_all(known: studies.Study, tmp_path: Path) -> None:
    files = phantom.write_study(known, tmp_path)
    (tmp_path / "below").mkdir()
    dataset = pydicom.dcmread(files[0])
    dataset.PatientID = "HOSPITAL-4711"
    phantom.write_object(dataset, tmp_path / "below" / "other.dcm")
    with pytest.raises(ForeignFileError, match=r"1 of 9 files are no phantom.*below/other.dcm"):
        read_phantoms(tmp_path)


def test_directory_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForeignFileError, match="holds no file"):
        read_phantoms(tmp_path)
    with pytest.raises(ForeignFileError, match="is no directory on this machine"):
        read_phantoms(tmp_path / "missing")


ALL = (TAKEN, ANSWERS, FOUND, REMOVED)
VERDICTS = [
    ((), "the issue is with CTP communicating with Orthanc"),
    ((REMOVED,), "the issue is with CTP communicating with Orthanc"),
    ((TAKEN,), "CTP had no part in it"),
    ((TAKEN, FOUND, REMOVED), "CTP had no part in it"),
    (ALL, "CTP had no part in it"),
    ((ANSWERS, FOUND, REMOVED), "its REST API does not answer"),
    ((FOUND,), "acknowledged the phantom and does not find it"),
]


@pytest.mark.parametrize(("failed", "words"), VERDICTS)
def test_verdict_says_who_is_at_fault(failed: tuple[str, ...], words: str) -> None:
    rows = [
        {
            "check": check,
            "where": "cat01",
            "passed": check not in failed,
            "detail": f"saw {check}",
            "remedy": "do this",
        }
        for check in ALL
        # What cannot be looked for is no row.
        if not (check == FOUND and ANSWERS in failed)
    ]
    verdict = isolation_verdict(rows, "Last log lines")
    assert words in verdict
    assert verdict.count("saw ") == sum(not row["passed"] for row in rows)
    assert ("Last log lines" in verdict) is bool(failed)
    others = {text for _, text in VERDICTS} - {words}
    assert not [text for text in others if text in verdict]
