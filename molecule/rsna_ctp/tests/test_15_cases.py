"""What hospitals send arrives whole, as the right patient's, or is held back and says why.

All objects are sent at once, as one patient's; each test looks at its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian
from shared.cases import (
    CONTOUR,
    Case,
    bare,
    contours,
    item,
    outcomes,
    send,
    structure_set,
    unknown,
)
from shared.ctp_node import Patient
from shared.machines import Node
from shared.streams import Rest

CT, PET = CTImageStorage, "1.2.840.10008.5.1.4.1.1.128"
RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"

_ROIS = item(bare(0x30060022, b"1") + bare(0x30060026, b"PTV"))
CONTOURS = {
    "UN, explicit": structure_set(unknown(0x30060039, contours())),
    "implicit": structure_set(bare(0x30060039, contours()), ImplicitVRLittleEndian),
    "sequences as UN": structure_set(unknown(0x30060020, _ROIS) + unknown(0x30060039, contours())),
    "sequences as UN without a length": structure_set(
        unknown(0x30060020, _ROIS, undefined=True) + unknown(0x30060039, contours(), undefined=True)
    ),
}
# Numbers as PS3.5 6.2 has them, and defined terms of PS3.3.
VALUES: list[tuple[str, str, Any, Any]] = [
    (CT, "SeriesNumber", "1000001", 1000001),
    (CT, "SeriesNumber", " +12 ", 12),
    (CT, "ExposureInuAs", "1234567890", 1234567890),
    (CT, "ExposureTime", "1234567", 1234567),
    (CT, "SliceThickness", " +2.5E+00 ", 2.5),
    (CT, "SliceThickness", "-.5", -0.5),
    (CT, "TableHeight", "123456789.123456", 123456789.123456),
    (CT, "ScanOptions", ["FC", "DOE", "SP"], ["FC", "", "SP"]),
    (CT, "PatientPosition", "HFS", "HFS"),
    (PET, "ActualFrameDuration", "1200000", 1200000),
    (PET, "SeriesType", ["WHOLE BODY", "IMAGE"], ["WHOLE BODY", "IMAGE"]),
    (PET, "CorrectedImage", ["DECY", "ATTN", "DOE", "SCAT"], ["DECY", "ATTN", "", "SCAT"]),
    (RT_IMAGE, "ConversionType", "WSD", "WSD"),
]
# PixelSpacing is Type 1 of a CT image.
HELD = {
    "a text for a number": Case(behind=unknown(0x00280030, b"Doe^Jane")),
    "a comma for a point": Case(behind=unknown(0x00280030, rb"0,5\0,5")),
}
# Of the device that inventory/ declares, and of others.
_DEVICE = {"Manufacturer": "AusCAT", "ManufacturerModelName": "Flood"}
CAPTURES = {
    "an undeclared capture": Case({"BurnedInAnnotation": "NO"}, sop_class=SECONDARY_CAPTURE),
    "an undeclared ultrasound image": Case(sop_class=ULTRASOUND),
    "a saved screen": Case({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "Rows": 8}),
}
SAYS_YES = Case({**_DEVICE, "BurnedInAnnotation": "yes"}, sop_class=SECONDARY_CAPTURE)
DECLARED = Case(_DEVICE, sop_class=SECONDARY_CAPTURE)
# What the script itself refuses, whoever it is of: no release cures it.
REFUSED = {
    "burned-in-annotation": Case({"BurnedInAnnotation": "YES"}),
}
STRANGERS: dict[str, Callable[[str], str]] = {
    "a backslash": lambda known: known[:2] + "\\" + known[2:],
    "two values": lambda known: known + "\\" + known,
    "a tab": lambda known: known[:2] + "\t" + known[2:],
    "a zero in front": lambda known: "0" + known,
    "another case": str.lower,
    "a wildcard": lambda known: known[:-1] + "*",
}


@pytest.fixture(scope="module")
def found(
    node: Node,
    orthanc: Rest,
    ctp: Rest,
    known_patient: Callable[[], Patient],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Dataset | str]:
    """What became of each, by its SOP Instance UID as sent."""
    patient = known_patient()
    for name, changed in STRANGERS.items():
        _STRANGER[name] = Case({"PatientID": changed(patient.patient_id)})
    cases = [*CONTOURS.values(), *_VALUED, *HELD.values(), *REFUSED.values(), *_STRANGER.values()]
    cases += [*CAPTURES.values(), SAYS_YES, DECLARED]
    send(node, cases, patient.patient_id, tmp_path_factory.mktemp("cases"))
    by_number = outcomes(orthanc, ctp, patient.pseudonym, cases)
    return {case.sop_instance_uid: by_number[n] for n, case in enumerate(cases, 1)}


_VALUED = [Case({keyword: value}, sop_class=sop_class) for sop_class, keyword, value, _ in VALUES]
_STRANGER: dict[str, Case] = {}


@pytest.mark.parametrize("case", CONTOURS.values(), ids=CONTOURS)
def test_contours_arrive_whole(case: Case, found: dict[str, Dataset | str]) -> None:
    arrived = found[case.sop_instance_uid]
    assert isinstance(arrived, Dataset), arrived
    (roi,) = arrived.ROIContourSequence
    assert [float(point) for point in roi.ContourSequence[0].ContourData] == CONTOUR
    if b"PTV" in case.behind:
        assert [each.ROIName for each in arrived.StructureSetROISequence] == ["PTV"]


@pytest.mark.parametrize("number", range(len(VALUES)), ids=[f"{v[1]}-{v[2]}" for v in VALUES])
def test_values_arrive(number: int, found: dict[str, Dataset | str]) -> None:
    _, keyword, _, right = VALUES[number]
    arrived = found[_VALUED[number].sop_instance_uid]
    assert isinstance(arrived, Dataset), arrived
    value = arrived[keyword].value
    assert (list(value) if isinstance(right, list) else value) == right


@pytest.mark.parametrize("case", HELD.values(), ids=HELD)
def test_what_would_be_lost_is_held_back(case: Case, found: dict[str, Dataset | str]) -> None:
    assert found[case.sop_instance_uid] == "incomplete"


@pytest.mark.parametrize("case", CAPTURES.values(), ids=CAPTURES)
def test_what_may_show_a_name_waits_for_its_device(
    case: Case, found: dict[str, Dataset | str]
) -> None:
    assert found[case.sop_instance_uid] == "pixels-not-declared"


def test_a_declared_device_is_believed_unless_it_says_yes(found: dict[str, Dataset | str]) -> None:
    assert isinstance(found[DECLARED.sop_instance_uid], Dataset)
    assert found[SAYS_YES.sop_instance_uid] == "burned-in-annotation"


@pytest.mark.parametrize("reason", REFUSED)
def test_what_the_script_refuses_says_which_rule_it_is(
    reason: str, ctp: Rest, found: dict[str, Dataset | str]
) -> None:
    uid = REFUSED[reason].sop_instance_uid
    assert found[uid] == reason
    left = ctp.ask("/api/quarantine/release", {})["left"]
    assert left[reason] >= 1
    listed = {e["sop_instance_uid"]: e["reason"] for e in ctp.ask("/api/status")["quarantine"]}
    assert listed[uid] == reason, "a release leaves it where it is"


@pytest.mark.parametrize("name", STRANGERS)
def test_nobody_leaves_as_another_patient(name: str, found: dict[str, Dataset | str]) -> None:
    assert found[_STRANGER[name].sop_instance_uid] in ("unknown-patient", "ambiguous-patient-id")
