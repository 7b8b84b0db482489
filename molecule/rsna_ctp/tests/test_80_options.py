"""A changed option reaches CTP, is proved, and touches nothing else. No preset lets a mark out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from shared.banner import GREY, NAME, case, pixels
from shared.cases import Case, outcomes, send
from shared.ctp_node import Patient, status
from shared.machines import Node, Scenario, wait_for
from shared.marks import Flood, methods
from shared.streams import Rest

PART = ("site.yml", "--tags", "images,services,stack")


@pytest.fixture(scope="module")
def put_back(scenario: Scenario) -> Generator[None]:
    yield
    outcome = scenario.play(*PART)
    assert outcome.returncode == 0, outcome.errors


# By what of it stays as it is: behind the day.
MOMENTS = {
    ("AcquisitionDate", "20240301"): "",
    ("AcquisitionDateTime", "20240301"): "",
    ("AcquisitionDateTime", "20240301101112"): "101112",
    ("AcquisitionDateTime", "20240301101112.123456-0330"): "101112.123456-0330",
    ("AcquisitionDateTime", "20240301101112+1000"): "101112+1000",
}
# By preset: (0012,0063), and the options by which it keeps what the judge would take for a mark.
SAID = {
    "strict": ("AusCAT imaging: PS3.15 Basic Profile, only listed values kept", ()),
    "radiotherapy": (
        "AusCAT imaging: PS3.15 Basic Profile, preset radiotherapy",
        ("modified-dates", "patient-characteristics"),
    ),
}
NO_DAY = {("AcquisitionDate", "20240230"), ("AcquisitionDateTime", "202403")}


def test_shifted_dates_and_patient_characteristics(
    scenario: Scenario,
    node: Node,
    orthanc: Rest,
    ctp: Rest,
    known_patient: Callable[[], Patient],
    tmp_path: Path,
    put_back: None,
) -> None:
    """And what waits for the declaration of its device leaves blank once there is one."""
    waiting, (shown, blank) = known_patient(), pixels(GREY)
    banner = [case(shown, GREY, ManufacturerModelName="Another")]
    send(node, banner, waiting.patient_id, tmp_path)
    assert outcomes(orthanc, ctp, waiting.pseudonym, banner) == {1: "pixels-not-declared"}
    declared = [*node.variables["ctp_pixel_rules"]]
    (rule,) = (each for each in declared if each["action"] == "blank")
    declared.append({**rule, "model": "Another"})

    before = {name: tasks[0]["Id"] for name in node.services() if (tasks := node.tasks(name))}
    options = {
        "longitudinal": "shifted",
        "retain_patient_characteristics": True,
        "retain_device_identity": True,
        "clean_descriptors": True,
    }
    changes = {"ctp_deidentification": options, "ctp_pixel_rules": declared}
    outcome = scenario.play("site.yml", "--diff", extra=changes)
    assert outcome.returncode == 0, outcome.errors
    after = {name: tasks[0]["Id"] for name in node.services() if (tasks := node.tasks(name))}
    assert {name for name in after if after[name] != before[name]} == {"auscat_ctp"}
    configs = node.output("docker", "config", "ls", "--format", "{{.Name}}").split()
    assert len([name for name in configs if name.startswith("ctp_config_xml")]) == 1

    moments = [*MOMENTS, *NO_DAY]
    cases = [Case({"StudyDate": "20240301", keyword: value}) for keyword, value in moments]
    patient = known_patient()
    send(node, cases, patient.patient_id, tmp_path)
    found = outcomes(orthanc, ctp, patient.pseudonym, cases)
    for number, (keyword, value) in enumerate(moments, 1):
        arrived = found[number]
        assert isinstance(arrived, Dataset), (value, arrived)
        day = str(arrived.StudyDate)
        assert len(day) == 8 and day != "20240301"
        right = "" if (keyword, value) in NO_DAY else day + MOMENTS[keyword, value]
        assert str(arrived[keyword].value) == right, value

    assert outcomes(orthanc, ctp, waiting.pseudonym, banner) == {1: "known-patient"}
    assert ctp.ask("/api/quarantine/release", {})["released"] >= 1

    def blanked() -> Dataset:
        left = outcomes(orthanc, ctp, waiting.pseudonym, banner)[1]
        assert isinstance(left, Dataset), left
        return left

    left = wait_for("it leaves", blanked, 120)
    assert NAME in shown and left.PixelData == blank
    assert left.BurnedInAnnotation == "NO"


@pytest.fixture(scope="module")
def flood(
    scenario: Scenario,
    node: Node,
    ctp: Rest,
    load: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
    put_back: None,
) -> Flood:
    """The study with marks, and the node with both presets: of the site, and of a pipeline."""
    pipelines = [
        *node.variables["ctp_pipelines"],
        {"name": "strict", "called_aets": ["STRICT"], "deidentification": {"preset": "strict"}},
    ]
    changes = {"ctp_deidentification": {"preset": "radiotherapy"}, "ctp_pipelines": pipelines}
    outcome = scenario.play(*PART, extra=changes)
    assert outcome.returncode == 0, outcome.errors
    told = ["orthanc: radiotherapy", "strict: strict"]
    assert status(ctp)["deidentification"] == told
    # Without the sequences of the dictionary where it is not CTP that reads them: they take long.
    slices = 4 if node.variables["ctp_distribution"] == "standin" else 12
    study = Flood(tmp_path_factory.mktemp("flood"), slices)
    load(study.patient)
    return study


@pytest.mark.parametrize(("preset", "called"), [("strict", "STRICT"), ("radiotherapy", "CTP")])
def test_no_mark_of_any_element_arrives_and_every_reference_resolves(
    preset: str, called: str, flood: Flood, node: Node, orthanc: Rest
) -> None:
    """But what the options of the preset keep by PS3.15 Table E.1-1: times, age, size, weight."""
    says, options = SAID[preset]
    flood.send(node, called)
    arrived = flood.fetch(orthanc, preset)
    assert methods(arrived) == {says}
    counted = flood.judge(arrived, options)
    kept = [count for name, count in counted.items() if name.endswith(" kept by an option")]
    assert len(kept) == (6 if options else 0) and all(kept)
