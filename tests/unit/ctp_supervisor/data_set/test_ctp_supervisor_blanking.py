"""Regions are blanked in what leaves, and what is blanked is proved by another reading.

The oracle goes from pixel to pixel: where each sample of it stands is the standard's rule (PS3.3
C.7.6.3.1.3).
"""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from ctp_rules.encoded import Encoded
from ctp_supervisor.data_set import blanking
from ctp_supervisor.settings import Declared, Region
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UltrasoundImageStorage

REGIONS = (Region(0, 0, 7, 2), Region(3, 1, 2, 4), Region(6, 4, 1, 1))
DECLARED = Declared(str(UltrasoundImageStorage), "ACME", "Echo 3", 5, 7, REGIONS)


def made(**values: Any) -> Dataset:
    dataset = Dataset()
    defaults = {
        "SOPClassUID": UltrasoundImageStorage,
        "Manufacturer": "ACME",
        "ManufacturerModelName": "Echo 3 ",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 5,
        "Columns": 7,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
    }
    for keyword, value in {**defaults, **values}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def encoded(dataset: Dataset, implicit: bool) -> bytes:
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = implicit, True
    write_dataset(out, dataset)
    return out.getvalue()


def blanked(header: bytes, pixels: bytes, task: blanking.Task, implicit: bool, step: int) -> Any:
    """What leaves, in fragments of that size, and why not."""
    head = struct.pack("<HHI", 0x7FE0, 0x10, len(pixels))
    if not implicit:
        head = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, len(pixels))
    data = memoryview(header + head + pixels)
    blanker = blanking.Blanker(task, implicit)
    out = b""
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        # The tag has to be there before anybody knows.
        known = at + len(piece) >= len(header) + 8
        out += blanker.feed(piece, len(header) if known else None)
    assert out[: len(header) + len(head)] == header + head
    return out[len(header) + len(head) :], blanker.finish()


COLOURS = {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}
YBR = {**COLOURS, "PhotometricInterpretation": "YBR_FULL"}
WORDS = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "grey": ({}, (0,)),
    "inverted, 16 bits": ({"PhotometricInterpretation": "MONOCHROME1", **WORDS}, (0,)),
    "signed, 3 frames": ({"PixelRepresentation": 1, "NumberOfFrames": 3, **WORDS}, (0,)),
    "32 bits": ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, (0,)),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, (0,)),
    "colours, 2 frames": ({**COLOURS, "NumberOfFrames": 2}, (0, 0, 0)),
    "luminance and chrominance": (YBR, (0, 128, 128)),
    "planes, 2 frames": ({**YBR, "PlanarConfiguration": 1, "NumberOfFrames": 2}, (0, 128, 128)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("implicit", [False, True])
def test_regions_are_blank_and_the_rest_is_as_it_came(name: str, implicit: bool) -> None:
    values, black = CASES[name]
    dataset = made(**values)
    header = encoded(dataset, implicit)
    task = blanking.task(Encoded(header, implicit), [DECLARED])
    assert task is not None
    assert not task.problem
    came, wanted = pixels(dataset, REGIONS, black, random.Random(7))
    for step in (1, 2, 3, 13, 50, 100_000):
        assert blanked(header, came, task, implicit, step) == (wanted, ""), step


def pixels(
    dataset: Dataset, regions: Sequence[Region], black: tuple[int, ...], chance: random.Random
) -> tuple[bytes, bytes]:
    """What comes, and what has to leave of it."""
    frames, size, samples = dataset.get("NumberOfFrames", 1), dataset.BitsAllocated // 8, len(black)
    rows, columns = dataset.Rows, dataset.Columns
    came = chance.randbytes(frames * rows * columns * samples * size)
    wanted = bytearray(came)
    for frame, y, x, sample in itertools.product(*map(range, (frames, rows, columns, samples))):
        number = ((frame * rows + y) * columns + x) * samples + sample
        if dataset.get("PlanarConfiguration"):
            number = ((frame * samples + sample) * rows + y) * columns + x
        if any(
            each.left <= x < each.left + each.width and each.top <= y < each.top + each.height
            for each in regions
        ):
            value = black[sample].to_bytes(size, "little")
            wanted[number * size : (number + 1) * size] = value
    pad = b"\0" * (len(came) % 2)
    return came + pad, bytes(wanted) + pad


@pytest.mark.parametrize("seed", range(3))
def test_any_regions_of_an_image_of_any_size(seed: int) -> None:
    """Over each other, over all of it, and in images of one row or column; of two declarations."""
    chance = random.Random(seed)
    for _ in range(100):
        rows, columns = chance.randint(1, 9), chance.randint(1, 9)
        regions = []
        for _ in range(chance.randint(1, 20)):
            left, top = chance.randrange(columns), chance.randrange(rows)
            width, height = chance.randint(1, columns - left), chance.randint(1, rows - top)
            regions.append(Region(left, top, width, height))
        if chance.random() < 0.2:
            regions.append(Region(0, 0, columns, rows))
        values, black = chance.choice(list(CASES.values()))
        dataset, implicit = made(**values, Rows=rows, Columns=columns), chance.random() < 0.5
        declared = [
            Declared("", "ACME", "Echo 3", rows, columns, tuple(part))
            for part in (regions[::2], regions[1::2])
            if part
        ]
        header = encoded(dataset, implicit)
        task = blanking.task(Encoded(header, implicit), declared)
        assert task is not None
        came, wanted = pixels(dataset, regions, black, chance)
        step = chance.choice((1, 2, 7, 20, 64, 100_000))
        found = blanked(header, came, task, implicit, step)
        assert found == (wanted, ""), (values, regions, implicit, step)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"PhotometricInterpretation": "YBR_FULL_422", "SamplesPerPixel": 3}, "colours"),
        ({"PhotometricInterpretation": "RGB"}, "colours"),
        ({"PhotometricInterpretation": None}, "colours"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "planes"),
        ({"BitsAllocated": 1}, "1 bits"),
        ({"BitsAllocated": None}, "does not say"),
    ],
)
def test_what_cannot_be_blanked_is_told(values: dict[str, Any], said: str) -> None:
    task = blanking.task(Encoded(encoded(made(**values), False), False), [DECLARED])
    assert task is not None
    assert said in task.problem
    assert said in blanking.Blanker(task, False).finish()


@pytest.mark.parametrize(
    "values",
    [
        {"Manufacturer": "ACME Ltd"},
        {"ManufacturerModelName": "echo 3"},
        {"ManufacturerModelName": ["Echo 3", "Echo 3"]},
        {"Rows": 6},
        {"Columns": 8},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        {"Manufacturer": None},
    ],
)
def test_another_device_is_left_alone(values: dict[str, Any]) -> None:
    assert blanking.task(Encoded(encoded(made(**values), False), False), [DECLARED]) is None


def test_pixel_data_of_another_length_are_told() -> None:
    header = encoded(made(), False)
    task = blanking.task(Encoded(header, False), [DECLARED])
    assert task is not None
    for pixels in (bytes(34), bytes(38), bytes(72)):
        _, why = blanked(header, pixels, task, False, 20)
        assert "not as long as its image" in why


def test_the_proof_sees_each_byte() -> None:
    """Of one image, each byte changed in turn: inside, outside, and in front."""
    header = encoded(made(), False)
    task = blanking.task(Encoded(header, False), [DECLARED])
    assert task is not None
    head = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 36)
    came = header + head + bytes(range(100, 136))
    right = blanking.Blanker(task, False).feed(came, len(header))
    proof = blanking.Proof(task, False)
    proof.feed(came, right, len(header))
    assert proof.finish() == ""
    for at in range(len(came)):
        wrong = bytearray(right)
        wrong[at] ^= 1
        proof = blanking.Proof(task, False)
        proof.feed(came, wrong, len(header))
        assert proof.finish(), at
    # Nothing blanked, too much blanked, and not all of it seen.
    for left, whole in ((came, came), (header + head + bytes(36), came), (right[:-9], came[:-9])):
        proof = blanking.Proof(task, False)
        proof.feed(whole, left, len(header))
        assert proof.finish()


def test_what_an_object_says_of_itself_is_read_where_it_stands() -> None:
    said, unsaid, elsewhere = made(), made(), made()
    for dataset, code in ((said, "113101"), (unsaid, "113100")):
        item = Dataset()
        item.CodeValue = code
        dataset.DeidentificationMethodCodeSequence = [item]
    elsewhere.StudyID = "113101"
    for implicit in (False, True):
        assert blanking.claims(Encoded(encoded(said, implicit), implicit))
        assert not blanking.claims(Encoded(encoded(unsaid, implicit), implicit))
        assert not blanking.claims(Encoded(encoded(elsewhere, implicit), implicit))
