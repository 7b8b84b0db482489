"""Regions that the inventory declares are blank in Orthanc, and nothing else is changed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    RLELossless,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)
from shared.banner import COLUMNS, GREY, HALF, NAME, PLANES, RGB, ROWS, SIGNED, case, pixels
from shared.cases import Case, outcomes, send
from shared.ctp_node import Patient, status
from shared.machines import Node, wait_for
from shared.streams import Rest, arrived


def compressed() -> Case:
    """One of a frame of which nothing has to be decoded."""
    values = dict(case(b"", GREY).values)
    del values["PixelData"]
    head = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
    item, end = struct.pack("<HHI", 0xFFFE, 0xE000, 0), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    row = (len(NAME) - 1).to_bytes(1, "little") + NAME
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + row * (ROWS * COLUMNS // len(NAME))
    behind = head + item + struct.pack("<HHI", 0xFFFE, 0xE000, len(frame)) + frame + end
    return Case(values, behind, UltrasoundImageStorage, RLELossless)


def beside() -> list[Dataset]:
    """Items that show the name once more."""
    found = []
    for keyword in ("PixelData", "FloatPixelData"):
        item = Dataset()
        item.ReferencedSOPClassUID = UltrasoundImageStorage
        item.ReferencedSOPInstanceUID = generate_uid()
        setattr(item, keyword, NAME)
        item[keyword].VR = "OB" if keyword == "PixelData" else "OF"
        found.append(item)
    return found


BLANKED: dict[str, tuple[dict[str, Any], int, dict[str, Any]]] = {
    "grey, says nothing": (GREY, 1, {}),
    "colours, says YES": (RGB, 1, {"BurnedInAnnotation": "YES"}),
    "planes, says NO": (PLANES, 1, {"BurnedInAnnotation": "NO"}),
    "signed": (SIGNED, 1, {}),
    "two frames": (RGB, 2, {"NumberOfFrames": 2}),
    "shown beside the image": (GREY, 1, {"ReferencedImageSequence": beside()}),
}


@pytest.fixture(scope="module")
def found(
    node: Node,
    orthanc: Rest,
    ctp: Rest,
    known_patient: Callable[[], Patient],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Dataset | str]:
    """What became of each object, by its name here: all were sent over one association."""
    claim = Dataset()
    claim.CodeValue, claim.CodingSchemeDesignator = "113101", "DCM"
    claim.CodeMeaning = "Clean Pixel Data Option"
    grey, _ = pixels(GREY)
    cases = {
        name: case(pixels(encoding, frames)[0], encoding, **values)
        for name, (encoding, frames, values) in BLANKED.items()
    }
    cases |= {
        "another size": case(grey[COLUMNS:], GREY, Rows=ROWS - 1),
        "turned": case(grey, GREY, Rows=COLUMNS, Columns=ROWS),
        "another size, says YES": case(
            grey[COLUMNS:], GREY, Rows=ROWS - 1, BurnedInAnnotation="YES"
        ),
        "a face": case(grey, GREY, RecognizableVisualFeatures="YES"),
        "a saved screen": case(grey, GREY, SecondaryCaptureImageStorage),
        "a film": case(grey, GREY, UltrasoundMultiFrameImageStorage),
        "half of the colours": case(grey * 2, HALF),
        "compressed": compressed(),
        "declared clean": case(
            grey,
            GREY,
            ManufacturerModelName="Flood",
            DeidentificationMethodCodeSequence=[claim],
        ),
    }
    patient = known_patient()
    listed = list(cases.values())
    send(node, listed, patient.patient_id, tmp_path_factory.mktemp("blanked"))
    numbered = outcomes(orthanc, ctp, patient.pseudonym, listed)
    return {name: numbered[number] for number, name in enumerate(cases, 1)}


def codes(dataset: Dataset) -> list[str]:
    return [str(each.CodeValue) for each in dataset.DeidentificationMethodCodeSequence]


@pytest.mark.parametrize("name", BLANKED)
def test_regions_are_blank_and_the_rest_is_what_was_sent(
    name: str, found: dict[str, Dataset | str]
) -> None:
    left = found[name]
    assert isinstance(left, Dataset), left
    encoding, frames, _ = BLANKED[name]
    sent, right = pixels(encoding, frames)
    assert any(NAME in sent[::step] for step in (1, 2, 3))
    assert left.PixelData == right
    assert [each.tag for each in left.iterall() if each.tag.group == 0x7FE0] == [0x7FE00010]
    assert left.BurnedInAnnotation == "NO"
    assert "113101" in codes(left)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("another size", "pixels-not-declared"),
        ("turned", "pixels-not-declared"),
        ("another size, says YES", "burned-in-annotation"),
        ("a face", "burned-in-annotation"),
        ("a saved screen", "pixels-not-declared"),
        ("a film", "pixels-not-declared"),
        ("half of the colours", "pixels-not-blanked"),
        ("compressed", "pixels-not-blanked"),
    ],
)
def test_what_is_not_blanked_is_held_back(
    name: str, reason: str, found: dict[str, Dataset | str]
) -> None:
    assert found[name] == reason


def test_what_is_declared_clean_says_nothing_of_the_sort(
    found: dict[str, Dataset | str],
) -> None:
    left = found["declared clean"]
    assert isinstance(left, Dataset), left
    assert "113101" not in codes(left)


def test_pixels_that_are_no_whole_image_are_held_back(
    node: Node,
    orthanc: Rest,
    ctp: Rest,
    known_patient: Callable[[], Patient],
    tmp_path: Path,
) -> None:
    """CTP has given the object its new UID by then."""

    def held() -> set[str]:
        listed = status(ctp)["quarantine"]
        return {each["id"] for each in listed if each["reason"] == "residual-identifier"}

    before, patient = held(), known_patient()
    send(node, [case(pixels(GREY)[0][:-2], GREY)], patient.patient_id, tmp_path)
    wait_for("it is held back", lambda: held() - before, 60)
    assert not arrived(orthanc, patient.pseudonym)
