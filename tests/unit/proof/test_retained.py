"""What a site's options let an object keep, and that nothing else is excused by them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.proof.judgement import Retained
from ansible_collections.auscat.imaging.plugins.module_utils.proof.marks import describe_tag
from ansible_collections.auscat.imaging.plugins.module_utils.proof.phantom import make_study
from ansible_collections.auscat.imaging.plugins.module_utils.proof.studies import (
    TIME_OF_STUDY,
    TOKEN_ALONE,
)

DATE = "the date of the study"
BIRTH = "the date of birth"


@pytest.mark.parametrize(
    ("options", "found", "allowed"),
    [
        ({}, (describe_tag(0x00101010), "PatientAge", "AS"), False),
        ({}, (TIME_OF_STUDY, "StudyTime", "TM"), False),
        ({}, (DATE, "StudyDate", "DA"), False),
        (
            {"retain_patient_characteristics": True},
            (describe_tag(0x00100040), "PatientSex", "CS"),
            True,
        ),
        (
            {"retain_patient_characteristics": True},
            (describe_tag(0x00100040), "StudyID", "SH"),
            False,
        ),
        (
            {"retain_patient_characteristics": True},
            (describe_tag(0x00100010), "PatientName", "PN"),
            False,
        ),
        (
            {"retain_patient_characteristics": True},
            (describe_tag(0x00081010), "StationName", "SH"),
            False,
        ),
        ({"retain_device_identity": True}, (describe_tag(0x00081010), "StationName", "SH"), True),
        ({"retain_device_identity": True}, (describe_tag(0x00081010), None, None), True),
        ({"retain_device_identity": True}, (describe_tag(0x00100040), "PatientSex", "CS"), False),
        ({"retain_patient_characteristics": True}, (TOKEN_ALONE, "PatientSize", "DS"), True),
        ({"retain_patient_characteristics": True}, (TOKEN_ALONE, "PatientID", "LO"), False),
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


def test_places_are_read_as_the_study_writes_them() -> None:
    retained = Retained.by({"retain_device_identity": True})
    study = make_study("1234567890", True, 4)
    allowed = {place for place in study.texts.values() if retained.allows(place)}
    assert describe_tag(0x00081010) in allowed
    assert not any("Patient" in place.rpartition(" > ")[2] for place in allowed)
