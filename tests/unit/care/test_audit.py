"""Who had a study: by the log, the index of series and Orthanc."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.care import audit

PATIENT = "ANON-1"
UID = "1.2.826.0.1.3680043.8.498.94983279512416278313802667894259335776"
STUDY = "312c14ef-a4124e14-af9e2620-4eda7f71-6137a214"
"""What Orthanc 1.12.7 called this study."""
SERIES = "aaaaaaaa-bbbbbbbb-cccccccc-dddddddd-eeeeeeee"
SERIES_UID = "1.2.3.9"
INSTANCE = "11111111-22222222-33333333-44444444-55555555"
OTHER = "99999999-22222222-33333333-44444444-55555555"
ROW = {
    "patient": audit.orthanc_id(PATIENT),
    "study": STUDY,
    "series": SERIES,
    "patient_id": PATIENT,
    "study_uid": UID,
    "series_uid": SERIES_UID,
    "instances": ["111111112222"],
}
INDEX = ["{torn", json.dumps(ROW), json.dumps({"study": STUDY}), "[]"]


def nothing(path: str) -> Any:
    return None


def line(path: str, method: str = "GET", status: int = 200, **more: str) -> str:
    told = {
        "time": "2026-11-30T09:00:00+0000",
        "page": "orthanc",
        "address": "10.1.1.1",
        "user": "researcher",
        "received": "10",
        "sent": "100",
        "asked": "-",
        **more,
        "method": method,
        "status": str(status),
        "path": path,
    }
    return "\t".join(told[name] for name in audit.COLUMNS)


def test_orthancs_identifiers_are_computed_as_orthanc_does() -> None:
    assert audit.orthanc_id(PATIENT, UID) == STUDY


@pytest.mark.parametrize("question", [UID, PATIENT, STUDY, SERIES, INSTANCE, ROW["patient"]])
def test_a_study_that_is_gone_is_known_by_the_index(question: str) -> None:
    asked = audit.find(question, INDEX, nothing)
    assert not asked.there
    assert asked.studies == {UID: PATIENT}
    assert {STUDY, SERIES, ROW["patient"]} <= asked.identifiers


def test_a_patient_whom_nobody_knows_is_found_by_the_identifier_alone() -> None:
    asked = audit.find("ANON-2", INDEX, nothing)
    assert asked.studies == {}
    request = audit.requests([line(f"/patients/{audit.orthanc_id('ANON-2')}")])[0]
    assert audit.concerns(request, asked)


def test_a_study_that_is_there_is_asked_of_orthanc() -> None:
    study = {
        "ID": STUDY,
        "ParentPatient": ROW["patient"],
        "PatientMainDicomTags": {"PatientID": PATIENT},
        "MainDicomTags": {"StudyInstanceUID": UID},
    }
    series = {"ID": SERIES, "MainDicomTags": {}, "Instances": [INSTANCE]}
    known = {
        f"/studies/{STUDY}": study,
        f"/studies/{STUDY}/series": [series],
        f"/patients/{ROW['patient']}/studies": [study],
        f"/dicom-web/studies?StudyInstanceUID={UID}&includefield=PatientID": [
            {"00100020": {"Value": [PATIENT]}, "0020000D": {"Value": [UID]}}
        ],
    }
    for question in (UID, PATIENT, STUDY):
        asked = audit.find(question, [], known.get)
        assert asked.there and asked.studies == {UID: PATIENT}
        assert asked.instances == {"111111112222"}


@pytest.mark.parametrize(
    ("request_line", "what"),
    [
        (line(f"/studies/{STUDY}"), audit.READ),
        (line(f"/patients/{ROW['patient']}"), audit.READ),
        (line(f"/series/{SERIES}/archive"), audit.DOWNLOADED),
        (line(f"/instances/{INSTANCE}/file"), audit.DOWNLOADED),
        (line(f"/studies/{STUDY}", "DELETE"), audit.DELETED),
        (line("/dicom-web/studies", asked=f"study={UID}"), audit.SEARCHED),
        (line(f"/dicom-web/studies/{UID}/series"), audit.READ),
        (line(f"/dicom-web/studies/{UID}"), audit.DOWNLOADED),
        (line(f"/dicom-web/studies/{UID}/series/{SERIES_UID}"), audit.DOWNLOADED),
        (line(f"/dicom-web/studies/{UID}/metadata"), audit.READ),
        (line("/wado", asked=f"study={UID}"), audit.DOWNLOADED),
        (line(f"/instances/{INSTANCE}/attachments/dicom/..."), audit.DOWNLOADED),
        (line(f"/dicom-web/studies/{UID}/series/{SERIES_UID}/instances/1.2.3"), audit.DOWNLOADED),
        (line(f"/studies/{STUDY}/labels/...", "PUT"), audit.CHANGED),
        (line(f"/instances/{OTHER}/file"), None),
        (line("/dicom-web/studies", asked="study=1.2.3.4"), None),
        (line("/studies"), None),
        (line(f"/studies/{STUDY}", status=401), None),
        (line(f"/studies/{STUDY}", status=429), None),
        (line(f"/studies/{STUDY}", page="ctp"), None),
        (line(f"/studies/{STUDY}") + "\tmore", None),
    ],
)
def test_what_a_request_did_is_told(request_line: str, what: str | None) -> None:
    found = audit.trail([request_line], audit.find(UID, INDEX, nothing))
    assert [row["what"] for row in found["rows"]] == ([what] if what else [])


def test_requests_are_put_together_by_user_address_and_what() -> None:
    later = "2026-11-30T10:00:00+0000"
    lines = [
        line(f"/instances/{INSTANCE}/file"),
        line(f"/instances/{INSTANCE}/file", time=later),
        line(f"/instances/{INSTANCE}/file", address="10.1.1.2"),
        line("/tools/find", "POST", user="admin"),
    ]
    found = audit.trail(lines, audit.find(PATIENT, INDEX, nothing))
    first, second = found["rows"]
    assert (first["requests"], first["bytes"], first["last"]) == (2, 200, later)
    assert second["address"] == "10.1.1.2"
    assert found["nameless"] == {"searched": {"admin": 1}}
    text = audit.report("cat", {**found, "studies": {UID: PATIENT}, "there": False, "since": "x"})
    assert "not in Orthanc now" in text and "10.1.1.2" in text and "admin (1)" in text


@pytest.mark.parametrize(
    ("request_line", "what"),
    [
        (line("/tools/create-archive", "POST"), "downloaded"),
        (line("/tools/create-archive"), "downloaded"),
        (line("/tools/create-media-extended", "POST"), "downloaded"),
        (line("/tools/bulk-content", "POST"), "downloaded"),
        (line("/tools/bulk-delete", "POST"), "deleted"),
        (line("/tools/bulk-modify", "POST"), "changed"),
        (line("/modalities/...", "POST"), "sent"),
        (line("/dicom-web/servers/...", "POST"), "sent"),
        (line("/modalities/..."), ""),
        (line("/tools/create-archive", "POST", status=403), ""),
    ],
)
def test_several_studies_at_once_are_told_without_their_names(request_line: str, what: str) -> None:
    """Their names stand in the body: nobody must read that nobody had the study."""
    found = audit.trail([request_line], audit.find(UID, INDEX, nothing))
    assert found == {"rows": [], "nameless": {what: {"researcher": 1}} if what else {}}
    text = audit.report("cat", {**found, "studies": {UID: PATIENT}, "there": True, "since": "x"})
    assert "Nobody" not in text
    assert (f"{what}: researcher (1)" in text) == bool(what)
