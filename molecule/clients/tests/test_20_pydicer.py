"""PyDicer: from our Orthanc to NIfTI, complete and where it was drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import PATIENTS, Cohort, attempt, run
from shared import nifti
from shared.treatment import (
    COLUMNS,
    CT_ORIGIN,
    CT_SPACING,
    DOSE_MAXIMUM_GY,
    MARKS,
    ROWS,
    Treatment,
)

STRUCTURES = ("Body", "Lung_R", "Lung_L", "Heart", "SpinalCord", "PTV")


@pytest.fixture(scope="session")
def converted(
    pydicer: list[str],
    cohort: Cohort,
    told: dict[str, str],
    example: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """What the documentation's example makes of all patients."""
    directory = tmp_path_factory.mktemp("researcher")
    told = {**told, "PATIENT": " ".join(cohort.pseudonyms)}
    outcome = run(pydicer, example("pydicer_input.py"), told, directory)
    assert not (directory / "pydicer" / "quarantine").exists(), outcome.stdout
    return directory / "pydicer"


@pytest.fixture(params=range(len(PATIENTS)), ids=[patient[1] for patient in PATIENTS])
def treatment(request: pytest.FixtureRequest, cohort: Cohort) -> Treatment:
    """Each patient in turn."""
    return cohort.treatments[request.param]


def only(directory: Path, pattern: str) -> Path:
    (found,) = directory.glob(pattern)
    return found


def test_everything_was_fetched(converted: Path, treatment: Treatment) -> None:
    fetched = list((converted / "dicom" / treatment.pseudonym).rglob("*.dcm"))
    assert len(fetched) == treatment.instances


def test_everything_was_converted(converted: Path, treatment: Treatment) -> None:
    data = converted / "data" / treatment.pseudonym
    masks = {path.name.removesuffix(".nii.gz") for path in data.glob("structures/*/*.nii.gz")}
    assert masks == set(STRUCTURES)
    for pattern in ("images/*/CT.nii.gz", "plans/*/metadata.json", "doses/*/RTDOSE.nii.gz"):
        assert only(data, pattern).stat().st_size > 0
    # Nothing but the phantom's patients: no study of one got into another's directory.
    patients = {path.name for path in (converted / "data").iterdir()}
    assert patients == {patient[1] for patient in PATIENTS}


def test_image_is_where_the_scanner_saw_it(converted: Path, treatment: Treatment) -> None:
    image = nifti.read(only(converted / "data" / treatment.pseudonym, "images/*/CT.nii.gz"))
    assert image.size == (COLUMNS, ROWS, treatment.slices)
    last = tuple(origin + spacing * (size - 1) for origin, spacing, size in corners(image))
    assert image.position(0, 0, 0) == pytest.approx(CT_ORIGIN, abs=0.01)
    assert image.position(*(size - 1 for size in image.size)) == pytest.approx(last, abs=0.01)
    for shape in treatment.shapes:
        x, y, _ = shape.centre
        z = treatment.height(treatment.slices // 2)
        assert image.nearest(x, y, z) == treatment.hounsfield(*rounded(x, y, z)), shape.name
    assert image.nearest(-195, -145, CT_ORIGIN[2]) == -1000


def corners(image: nifti.Volume) -> Iterator[tuple[float, float, int]]:
    return zip(CT_ORIGIN, CT_SPACING, image.size)


def rounded(*point: float) -> tuple[float, float, float]:
    """Give the centre of the CT's voxel nearest to a point."""
    x, y, z = (o + s * round((p - o) / s) for p, o, s in zip(point, CT_ORIGIN, CT_SPACING))
    return x, y, z


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_is_where_it_was_drawn(converted: Path, treatment: Treatment, name: str) -> None:
    data = converted / "data" / treatment.pseudonym
    mask = nifti.read(only(data, f"structures/*/{name}.nii.gz"))
    image = nifti.read(only(data, "images/*/CT.nii.gz"))
    assert (mask.size, mask.affine) == (image.size, image.affine)
    (shape,) = (shape for shape in treatment.shapes if shape.name == name)
    truth = nifti.Volume(mask.size, mask.affine, memoryview(treatment.mask(shape)))
    drawn = mask.values.tobytes()
    common = (int.from_bytes(drawn, "big") & int.from_bytes(truth.values, "big")).bit_count()
    dice = 2 * common / (drawn.count(1) + truth.values.tobytes().count(1))
    assert dice > 0.9, f"Dice {dice:.3f}"
    assert mask.centroid() == pytest.approx(truth.centroid(), abs=1.0)
    # PyDicer counts a voxel in that the outline only touches.
    smallest, largest = (treatment.cubic_mm(shape.grown(by)) for by in (-1, 1))
    assert smallest < mask.cubic_mm() < largest


def test_target_is_around_the_point_that_was_planned(converted: Path, treatment: Treatment) -> None:
    data = converted / "data" / treatment.pseudonym
    mask = nifti.read(only(data, "structures/*/PTV.nii.gz"))
    assert mask.centroid() == pytest.approx(treatment.target, abs=1.0)


def test_dose_is_highest_where_it_was_planned(converted: Path, treatment: Treatment) -> None:
    data = converted / "data" / treatment.pseudonym
    dose = nifti.read(only(data, "doses/*/RTDOSE.nii.gz"))
    highest = max(dose.values)
    assert highest == pytest.approx(DOSE_MAXIMUM_GY, abs=0.001)
    place = dose.position(*dose.at(dose.values.index(highest)))
    assert place == pytest.approx(treatment.target, abs=0.01)


def test_dose_is_right_everywhere(converted: Path, treatment: Treatment) -> None:
    data = converted / "data" / treatment.pseudonym
    dose = nifti.read(only(data, "doses/*/RTDOSE.nii.gz"))
    worst = max(
        abs(value - treatment.dose(*dose.position(*dose.at(number))))
        for number, value in enumerate(dose.values)
        if number % 7 == 0
    )
    assert worst < 0.002


def test_nothing_of_it_names_the_patient(converted: Path, cohort: Cohort) -> None:
    files = [path for path in converted.rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        assert not [mark for mark in MARKS if mark.encode() in content], path


def test_wrong_password_is_refused(
    pydicer: list[str],
    told: dict[str, str],
    example: Callable[[str], str],
    tmp_path: Path,
) -> None:
    told = {**told, "ORTHANC_PASSWORD": "wrong"}
    refused = attempt(pydicer, example("pydicer_input.py"), told, tmp_path)
    assert refused.returncode == 1
    assert "401" in refused.stderr
    assert not list(tmp_path.rglob("*.dcm"))
