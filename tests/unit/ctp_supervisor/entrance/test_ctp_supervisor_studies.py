"""One study under two identifiers is seen, whatever the encoding, and never by a value."""

from __future__ import annotations

import logging
import random
import struct
from pathlib import Path

import pytest
from ctp_supervisor import account
from ctp_supervisor.dicom import pdu
from ctp_supervisor.entrance.studies import Studies, Watcher
from ctp_supervisor.held_back import quarantine
from ctp_supervisor.lookup import keydb
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset


def message(
    study: str, patient_id: str, issuer: str | None, implicit: bool, undefined: bool, size: int
) -> bytes:
    """A C-STORE-RQ as P-DATA-TF, in fragments of ``size``."""
    dataset = Dataset()
    item = Dataset()
    item.ReferencedSOPInstanceUID, item.PatientID = "1.2.3", "NESTED"
    item.StudyInstanceUID = "9.9.9"
    outer = Dataset()
    outer.ReferencedInstanceSequence = [item, item]
    dataset.ReferencedStudySequence = [outer]
    dataset.PatientID = patient_id
    if issuer is not None:
        dataset.IssuerOfPatientID = issuer
    dataset.OtherPatientIDsSequence = [item]
    dataset.StudyInstanceUID = study
    dataset.PixelData = bytes(1000)
    dataset["PixelData"].VR = "OW"
    if undefined:
        for sequence in (dataset.ReferencedStudySequence, outer.ReferencedInstanceSequence):
            sequence.is_undefined_length = True
            for each in sequence:
                each.is_undefined_length_sequence_item = True
        dataset["ReferencedStudySequence"].is_undefined_length = True
        outer["ReferencedInstanceSequence"].is_undefined_length = True
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, implicit
    write_dataset(file, dataset)
    data = file.getvalue()
    command = b"".join(
        struct.pack("<HHIH", 0, element, 2, value)
        for element, value in ((0x0100, 1), (0x0110, 1), (0x0800, 0))
    )
    found = _fragment(command, 3)
    for start in range(0, len(data), size):
        found += _fragment(data[start : start + size], 2 if start + size >= len(data) else 0)
    return found


def _fragment(data: bytes, control: int) -> bytes:
    fragment = struct.pack(">IBB", len(data) + 2, 1, control) + data
    return struct.pack(">BxI", pdu.P_DATA, len(fragment)) + fragment


def watch(studies: Studies, data: bytes, chance: random.Random) -> None:
    watcher, position = Watcher(studies), 0
    while position < len(data):
        count = chance.choice([1, 7, 100, 10_000])
        watcher.feed(memoryview(data)[position : position + count])
        position += count


@pytest.mark.parametrize("size", [50, 10_000])
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("implicit", [False, True])
def test_a_study_under_two_identifiers(
    implicit: bool, undefined: bool, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    studies, chance = Studies(), random.Random(1)

    def came(study: str, patient_id: str, issuer: str | None) -> int:
        one = message(study, patient_id, issuer, implicit, undefined, size)
        watch(studies, one * 2, chance)
        return studies.mixed()

    assert came("1.2.1", "SECRET-1", None) == 0
    assert came("1.2.2", "SECRET-2", None) == 0
    assert came("1.2.1", "SECRET-1 ", "") == 0
    assert came("1.2.1", "SECRET-2", None) == 1
    assert came("1.2.1", "SECRET-3", None) == 1
    assert came("1.2.2", "SECRET-2", "HOSP-A") == 2
    assert caplog.text.count("One study came under two identifiers") == 2
    for value in ("SECRET", "HOSP-A", "1.2.1"):
        assert value not in caplog.text


def test_what_cannot_be_followed_is_left_alone() -> None:
    studies, chance = Studies(), random.Random(1)
    for _ in range(500):
        watch(studies, chance.randbytes(200), chance)
        spoiled = bytearray(message("1.2", "1", None, False, True, 300))
        spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        watch(studies, bytes(spoiled), chance)


@pytest.mark.parametrize("kind", ["anonymizer", "filter", "export"])
@pytest.mark.parametrize("engine", ["ctp", "standin"])
def test_whose_uids_are_in_a_file_in_quarantine(engine: str, kind: str) -> None:
    """It was sent with (0012,0062) YES, as data are that another site has de-identified."""
    file = quarantine.Quarantined(0, 1, kind, Path("TQ-1.dcm"), "1.2.3", "PAT-1", 0.0, done=True)
    known = keydb.Patients({"PAT-1|": "ANON-1"})
    (found,) = account.in_quarantine([(file, "incomplete")], known, engine)
    assert found.leaving == (engine == "ctp" and kind != "anonymizer")
    assert found.pseudonym == "ANON-1"
