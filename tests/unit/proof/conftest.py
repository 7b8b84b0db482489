from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.proof import checks as proof_report
from ansible_collections.auscat.imaging.plugins.module_utils.proof import (
    judgement,
    phantom,
    studies,
)
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

TOKEN = "1234567890"


def mapped(uid: str) -> str:
    """Map UIDs as a de-identifier does: equal ones to equal ones, well-known ones to themselves."""
    if uid.startswith("1.2.840.10008."):
        return uid
    return f"2.25.{int.from_bytes(hashlib.sha256(uid.encode()).digest()[:15], 'big')}"


def deidentified(study: studies.Study, source: Dataset) -> Dataset:
    """De-identify rightly, by another rule than any gateway: drop whatever holds a mark."""
    target = Dataset()
    for element in source:
        if element.tag.is_private or element.VR in {"DA", "DT", "TM"}:
            continue
        if element.VR == "SQ":
            items = [deidentified(study, item) for item in element.value]
            functional = element.keyword in FUNCTIONAL_SEQUENCES
            if functional:
                target.add_new(element.tag, "SQ", items)
        elif element.VR == "UI":
            target.add_new(element.tag, "UI", mapped(str(element.value)))
        elif not studies.find_marks(judgement._bytes_of(element), study):
            target.add_new(element.tag, element.VR, element.value)
    return target


FUNCTIONAL_SEQUENCES = {
    "BeamLimitingDevicePositionSequence",
    "BeamLimitingDeviceSequence",
    "BeamSequence",
    "ContourImageSequence",
    "ContourSequence",
    "ControlPointSequence",
    "FractionGroupSequence",
    "PatientSetupSequence",
    "ROIContourSequence",
    "RTROIObservationsSequence",
    "RTReferencedSeriesSequence",
    "RTReferencedStudySequence",
    "ReferencedBeamSequence",
    "ReferencedFrameOfReferenceSequence",
    "ReferencedRTPlanSequence",
    "ReferencedStructureSetSequence",
    "StructureSetROISequence",
}


@pytest.fixture(scope="session")
def known() -> studies.Study:
    return phantom.make_study(TOKEN, known=True, pixel_rules=[])


@pytest.fixture(scope="session")
def unknown() -> studies.Study:
    return phantom.make_study(TOKEN, known=False, pixel_rules=[])


@pytest.fixture(scope="session")
def delivered(known: studies.Study) -> list[Dataset]:
    """The known patient's study as a right gateway delivers it."""
    datasets = []
    for sent in known.datasets:
        dataset = deidentified(known, sent)
        dataset.PatientID = known.pseudonym
        dataset.PatientName = known.pseudonym
        dataset.PatientIdentityRemoved = "YES"
        meta = FileMetaDataset()
        meta.FileMetaInformationVersion = b"\0\1"
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
        meta.ImplementationClassUID = UID("2.25.1")
        dataset.file_meta = meta
        dataset.preamble = b"\0" * 128
        datasets.append(dataset)
    return datasets


@pytest.fixture
def clean(delivered: list[Dataset]) -> list[Dataset]:
    """A copy of that study which the test may spoil."""
    return copy.deepcopy(delivered)


@pytest.fixture
def judge(known: studies.Study, tmp_path: Path) -> Callable[..., dict[str, proof_report.Check]]:
    """Write datasets as files, read and judge them, and return the rows by name."""

    def run(datasets: list[Dataset], records: dict[str, str] | None = None) -> dict[str, Any]:
        files = {}
        for number, dataset in enumerate(datasets):
            path = tmp_path / f"{number}.dcm"
            phantom.write_object(dataset, path)
            files[str(number)] = path.read_bytes()
        arrived, unreadable = judgement.read_arrived(files)
        assert unreadable == []
        report = proof_report.Report("cat01")
        judgement.judge_study(known, arrived, records or {}, report)
        return {check.check: check for check in report.checks}

    return run
