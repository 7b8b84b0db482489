"""Regions that the inventory declares are blank in Orthanc, and nothing else is changed."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)
from shared.banner import (
    COLUMNS,
    GREY,
    HALF,
    NAME,
    PLANES,
    RGB,
    ROWS,
    SIGNED,
    case,
    is_banner,
    pixels,
)
from shared.cases import Case, outcomes, send
from shared.ctp_node import Patient, status
from shared.machines import Node, wait_for
from shared.streams import Rest, arrived


def compressed(
    frames: list[bytes], syntax: str, encoding: dict[str, Any] = GREY, **values: Any
) -> Case:
    """One with these frames, which are not padded (PS3.5 A.4)."""
    values = {**case(b"", encoding, **values).values, "NumberOfFrames": len(frames)}
    del values["PixelData"]
    head = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
    item, end = struct.pack("<HHI", 0xFFFE, 0xE000, 0), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    for frame in frames:
        frame += bytes(len(frame) % 2)
        item += struct.pack("<HHI", 0xFFFE, 0xE000, len(frame)) + frame
    return Case(values, head + item + end, UltrasoundImageStorage, syntax)


def rle(frame: bytes) -> bytes:
    """A grey frame as literal runs (PS3.5 G.3)."""
    runs = [frame[at : at + 128] for at in range(0, len(frame), 128)]
    head = struct.pack("<16I", 1, 64, *[0] * 14)
    return head + b"".join(bytes([len(run) - 1]) + run for run in runs)


def by_pillow(frame: bytes, encoding: dict[str, Any], form: str, **options: Any) -> bytes:
    """A frame as libjpeg or OpenJPEG compress it."""
    mode = "RGB" if encoding["SamplesPerPixel"] == 3 else "L"
    out = io.BytesIO()
    Image.frombytes(mode, (COLUMNS, ROWS), frame).save(out, form, **options)
    return out.getvalue()


def packed() -> dict[str, Case]:
    """What is decompressed on its way."""
    grey, size = pixels(GREY, 2)[0], ROWS * COLUMNS
    colours = by_pillow(pixels(RGB)[0], RGB, "JPEG2000", no_jp2=True, mct=1)
    lossy = by_pillow(pixels(GREY)[0], GREY, "JPEG", quality=95)
    reversible = {**RGB, "PhotometricInterpretation": "YBR_RCT"}
    return {
        "RLE, two frames": compressed([rle(grey[:size]), rle(grey[size:])], RLELossless),
        "JPEG 2000": compressed([colours], JPEG2000Lossless, reversible, BurnedInAnnotation="YES"),
        "JPEG": compressed([lossy], JPEGBaseline8Bit),
        "torn": compressed([rle(grey[:size])[:-200]], RLELossless),
    }


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
        **packed(),
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
    ("name", "encoding", "frames", "most"),
    [("RLE, two frames", GREY, 2, 0), ("JPEG 2000", RGB, 1, 0), ("JPEG", GREY, 1, 10)],
)
def test_what_came_compressed_leaves_blank_and_decompressed(
    name: str,
    encoding: dict[str, Any],
    frames: int,
    most: int,
    found: dict[str, Dataset | str],
) -> None:
    """``most``: how far a sample may be from what was compressed, in grey levels."""
    left = found[name]
    assert isinstance(left, Dataset), left
    _, right = pixels(encoding, frames)
    assert left.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert left.PhotometricInterpretation == encoding["PhotometricInterpretation"]
    assert left.get("LossyImageCompression") == ("01" if most else None)
    assert len(left.PixelData) == len(right)
    samples = encoding["SamplesPerPixel"]
    for number, (is_one, was) in enumerate(zip(left.PixelData, right)):
        y, x = divmod(number // samples % (ROWS * COLUMNS), COLUMNS)
        assert abs(is_one - was) <= (0 if is_banner(x, y) else most), (x, y)
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
        ("torn", "pixels-not-blanked"),
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
