"""What a site's options let an object keep, and that nothing else is excused by them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.phantom import TIME_OF_STUDY
from ansible_collections.auscat.imaging.plugins.module_utils.proof import Retained

DATE = "the date of the study"
BIRTH = "the date of birth"


@pytest.mark.parametrize(
    ("options", "found", "allowed"),
    [
        ({}, ("PatientAge", "PatientAge", "AS"), False),
        ({}, (TIME_OF_STUDY, "StudyTime", "TM"), False),
        ({}, (DATE, "StudyDate", "DA"), False),
        ({"retain_patient_characteristics": True}, ("PatientSex", "PatientSex", "CS"), True),
        ({"retain_patient_characteristics": True}, ("PatientSex", "StudyID", "SH"), False),
        ({"retain_patient_characteristics": True}, ("PatientName", "PatientName", "PN"), False),
        ({"retain_patient_characteristics": True}, ("StationName", "StationName", "SH"), False),
        ({"retain_device_identity": True}, ("StationName", "StationName", "SH"), True),
        ({"retain_device_identity": True}, ("StationName", None, None), True),
        ({"retain_device_identity": True}, ("PatientSex", "PatientSex", "CS"), False),
        ({"longitudinal": "full"}, (DATE, "StudyDate", "DA"), True),
        ({"longitudinal": "full"}, (DATE, "StudyDescription", "LO"), False),
        ({"longitudinal": "full"}, (BIRTH, "PatientBirthDate", "DA"), False),
        ({"longitudinal": "full"}, (TIME_OF_STUDY, "StudyTime", "TM"), True),
        ({"longitudinal": "shifted"}, (DATE, "StudyDate", "DA"), False),
        ({"longitudinal": "shifted"}, (TIME_OF_STUDY, "StudyTime", "TM"), True),
        ({"longitudinal": "shifted"}, (TIME_OF_STUDY, "StudyID", "SH"), False),
    ],
)
def test_retained(
    options: dict[str, Any], found: tuple[str, str | None, str | None], allowed: bool
) -> None:
    assert Retained.by(options).allows(*found) is allowed
