"""With the preset "radiotherapy": what a researcher computes is what the hospital would compute."""

from __future__ import annotations

import csv
import datetime
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import run
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, DeformableSpatialRegistrationStorage, SegmentationStorage
from shared import nifti
from shared.clinical import (
    BACKGROUND_BQML,
    DAYS_BETWEEN,
    FIRST_DAY,
    LESION_BQML,
    STANDARD_NAMES,
    TYPED_NAMES,
    Clinical,
    standardized_uptake,
)
from shared.machines import Node, Scenario, wait_for
from shared.streams import page
from shared.studies import Study, send
from shared.treatment import MARKS

PATIENT, PSEUDONYM = "HOSPITAL-4714-D", "ANON-D90F3E"
#: As the documentation's example does it, with what the hospital has on its disk.
HERE = """
from pathlib import Path
from pydicer import PyDicer

pydicer = PyDicer(Path("pydicer"))
pydicer.add_input(Path("dicom"))
pydicer.preprocess()
pydicer.convert.convert()
"""
HISTOGRAMS = """
from pathlib import Path
from pydicer import PyDicer

pydicer = PyDicer(Path("pydicer"))
pydicer.analyse.compute_dvh()
"""


@dataclass(frozen=True)
class Research:
    """What the hospital has, and what the researcher has, both as PyDicer made it."""

    sent: Clinical
    original: Path
    received: Path

    @property
    def pseudonymous(self) -> list[Dataset]:
        """The objects that the researcher fetched."""
        return [dcmread(path) for path in (self.received / "dicom").rglob("*.dcm")]

    @property
    def identified(self) -> list[Dataset]:
        """The objects that were sent."""
        return [dcmread(path) for path in self.sent.directory.glob("*.dcm")]


@pytest.fixture(scope="session")
def research(
    scenario: Scenario,
    node: Node,
    password: str,
    pydicer: list[str],
    example: Callable[[str], str],
    trusted: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Research:
    """One patient, sent from the PACS, fetched by PyDicer, and converted on both sides."""
    hospital, researcher = (tmp_path_factory.mktemp(name) for name in ("hospital", "researcher"))
    sent = Clinical(PATIENT, PSEUDONYM, hospital / "dicom", 10, (16.0, 6.0, -49.5))
    keys = hospital / "patients.csv"
    keys.write_text(f"patient_id,pseudonym\n{PATIENT},{PSEUDONYM}\n")
    loaded = scenario.play("playbooks/load_keys.yml", extra={"keys_file": str(keys)})
    assert loaded.returncode == 0, loaded.errors
    sent.write()
    code, said = send(
        Study(PATIENT, PSEUDONYM, sent.directory, sent.instances), scenario.client("pacs"), node
    )
    assert code == 0, said
    orthanc = page(node, 8042, "researcher", password)
    query = {"Level": "Instance", "Query": {"PatientID": PSEUDONYM}}
    wait_for(
        f"{sent.instances} objects of the patient are in Orthanc",
        lambda: len(orthanc.ask("/tools/find", query)) == sent.instances,
        120,
    )
    told = {
        "ORTHANC_HOST": node.address,
        "ORTHANC_USER": "researcher",
        "ORTHANC_PASSWORD": password,
        "PATIENT": PSEUDONYM,
        "REQUESTS_CA_BUNDLE": str(trusted),
    }
    run(pydicer, example("pydicer_input.py"), told, researcher)
    run(pydicer, HERE, {}, hospital)
    for directory in (hospital, researcher):
        run(pydicer, HISTOGRAMS, {}, directory)
    return Research(sent, hospital / "pydicer", researcher / "pydicer")


def roi_names(objects: list[Dataset]) -> dict[int, str]:
    (structures,) = (each for each in objects if each.Modality == "RTSTRUCT")
    return {int(roi.ROINumber): roi.ROIName for roi in structures.StructureSetROISequence}


def test_names_of_structures_stay_apart(research: Research) -> None:
    before, after = roi_names(research.identified), roi_names(research.pseudonymous)
    assert len(before) == len(after) == len(set(after.values())) == 40
    for number, name in before.items():
        if name in STANDARD_NAMES:
            assert after[number] == name
        else:
            assert after[number] not in TYPED_NAMES


def test_no_mask_overwrites_another(research: Research) -> None:
    masks = list((research.received / "data" / PSEUDONYM).glob("structures/*/*.nii.gz"))
    assert len({mask.name for mask in masks}) == len(masks) == 40


def test_uptake_is_right(research: Research) -> None:
    (image,) = (research.received / "data" / PSEUDONYM).glob("images/*/PT.nii.gz")
    found = Counter(round(value, 2) for value in nifti.read(image).values)
    (background, _), (lesion, _) = sorted(found.most_common(2))
    assert background == pytest.approx(standardized_uptake(BACKGROUND_BQML), rel=0.01)
    assert lesion == pytest.approx(standardized_uptake(LESION_BQML), rel=0.01)


def histograms(data: Path) -> dict[str, dict[str, str]]:
    """Give the dose-volume histogram by its label."""
    (path,) = data.glob("doses/*/dvh_*.csv")
    with path.open() as file:
        return {row["label"]: row for row in csv.DictReader(file)}


def test_dose_volume_histograms_are_those_of_the_original(research: Research) -> None:
    before = histograms(research.original / "data" / PATIENT)
    after = histograms(research.received / "data" / PSEUDONYM)
    assert len(before) == len(after) == 40
    leave_out = {"", "label", "patient", "struct_hash", "dose_hash"}
    for name in STANDARD_NAMES:
        curve, expected = (
            {key: value for key, value in each[name].items() if key not in leave_out}
            for each in (after, before)
        )
        assert curve == expected, name
    assert len({row["mean"] for row in after.values()}) > 30


def test_intervals_stay_and_days_do_not(research: Research) -> None:
    (was_first, was_second), (first, second) = (
        sorted({datetime.datetime.strptime(each.StudyDate, "%Y%m%d") for each in objects})
        for objects in (research.identified, research.pseudonymous)
    )
    assert (second - first).days == (was_second - was_first).days == DAYS_BETWEEN
    assert first != was_first


@pytest.mark.parametrize("kind", [SegmentationStorage, DeformableSpatialRegistrationStorage])
def test_what_points_at_images_still_does(research: Research, kind: str) -> None:
    objects = research.pseudonymous
    images = {each.SOPInstanceUID for each in objects if each.SOPClassUID == CTImageStorage}

    def references(among: list[Dataset]) -> list[str]:
        (found,) = (each for each in among if each.SOPClassUID == kind)
        uids = []
        found.walk(
            lambda _, element: (
                uids.append(element.value)
                if element.keyword == "ReferencedSOPInstanceUID"
                else None
            )
        )
        return uids

    before, after = references(research.identified), references(objects)
    assert len(after) == len(before) >= research.sent.slices
    assert set(after) <= images
    assert not set(after) & set(before)


def test_nobody_is_named(research: Research) -> None:
    # A day may by chance be moved to another of the hospital's: they are looked at above.
    marks = [
        mark.encode() for mark in (*MARKS, *TYPED_NAMES) if len(mark) > 5 and mark != FIRST_DAY
    ]
    for path in research.received.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [mark for mark in marks if mark in content], path


def test_objects_say_what_was_kept(research: Research) -> None:
    codes = {
        item.CodeValue
        for each in research.pseudonymous
        for item in each.DeidentificationMethodCodeSequence
    }
    # Basic profile, modified dates, patient characteristics, cleaned descriptors.
    assert {"113100", "113105", "113107", "113108"} <= codes
