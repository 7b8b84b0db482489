"""Images of a device that shows a name in regions that the inventory of rsna_ctp declares."""

from __future__ import annotations

import itertools
from typing import Any

from pydicom.uid import UltrasoundImageStorage
from shared.cases import Case

ROWS, COLUMNS = 120, 160
NAME = b"DOE^JANE 1962-03-04 "
GREY: dict[str, Any] = {
    "PhotometricInterpretation": "MONOCHROME2",
    "SamplesPerPixel": 1,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "PixelRepresentation": 0,
}
SIGNED = {**GREY, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}
RGB = {**GREY, "PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}
PLANES = {**RGB, "PhotometricInterpretation": "YBR_FULL", "PlanarConfiguration": 1}
HALF = {**RGB, "PhotometricInterpretation": "YBR_FULL_422"}


def is_banner(x: int, y: int) -> bool:
    """Whether the inventory has it blanked."""
    return y < 24 or (x >= 100 and y >= 100)


def pixels(encoding: dict[str, Any], frames: int = 1) -> tuple[bytes, bytes]:
    """Return what is sent, with the name in each region, and what has to arrive.

    Where each sample of a pixel stands is the rule of PS3.3 C.7.6.3.1.3.
    """
    samples, size = encoding["SamplesPerPixel"], encoding["BitsAllocated"] // 8
    sent = bytearray(frames * ROWS * COLUMNS * samples * size)
    right = bytearray(len(sent))
    each_sample = itertools.product(*map(range, (frames, ROWS, COLUMNS, samples)))
    for frame, y, x, sample in each_sample:
        at = ((frame * ROWS + y) * COLUMNS + x) * samples + sample
        if encoding.get("PlanarConfiguration"):
            at = ((frame * samples + sample) * ROWS + y) * COLUMNS + x
        place = slice(at * size, (at + 1) * size)
        if is_banner(x, y):
            has_no_colour = encoding["PhotometricInterpretation"] == "YBR_FULL" and sample
            sent[place] = NAME[x % len(NAME)].to_bytes(size, "little")
            right[place] = (128 if has_no_colour else 0).to_bytes(size, "little")
        else:
            value = 1 + (7 * x + 13 * y + 29 * sample + 31 * frame) % 250
            sent[place] = right[place] = value.to_bytes(size, "little")
    return bytes(sent), bytes(right)


def case(
    sent: bytes, encoding: dict[str, Any], sop_class: str = UltrasoundImageStorage, **values: Any
) -> Case:
    """An image of the device that the inventory declares."""
    made: dict[str, Any] = {
        "Modality": "US",
        "Manufacturer": "AusCAT",
        "ManufacturerModelName": "Banner",
        "Rows": ROWS,
        "Columns": COLUMNS,
        "PixelData": sent,
    }
    return Case({**made, **encoding, **values}, sop_class=sop_class)
