"""Images as devices send them compressed, made by other programs than those that decompress them:
dcmtk (JPEG, JPEG-LS, RLE) and OpenJPEG by way of Pillow."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEG2000Lossless

GREY: dict[str, Any] = {
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "PixelRepresentation": 0,
}
WORDS = {**GREY, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}
RGB = {**GREY, "PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}
YBR = {**RGB, "PhotometricInterpretation": "YBR_FULL"}
PALETTE = {**GREY, "PhotometricInterpretation": "PALETTE COLOR"}


def by_dcmtk(dataset: Dataset, directory: Path, *command: str) -> Dataset:
    """Compress it."""
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    before, after = directory / "before.dcm", directory / "after.dcm"
    dataset.save_as(before, enforce_file_format=True)
    subprocess.run([*command, str(before), str(after)], check=True, capture_output=True)
    return dcmread(after)


def by_openjpeg(dataset: Dataset, is_lossy: bool = False) -> Dataset:
    """Compress it frame by frame, colours with the transformation of JPEG 2000."""
    is_colour, is_word = dataset.SamplesPerPixel == 3, dataset.BitsAllocated == 16
    mode = "RGB" if is_colour else "I;16" if is_word else "L"
    size = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated // 8
    frames = []
    for at in range(0, size * int(dataset.get("NumberOfFrames", 1)), size):
        image = Image.frombytes(
            mode, (dataset.Columns, dataset.Rows), dataset.PixelData[at : at + size]
        )
        out = io.BytesIO()
        more: dict[str, Any] = {"mct": 1} if is_colour else {}
        image.save(out, "JPEG2000", no_jp2=True, irreversible=is_lossy, **more)
        frames.append(_without_comment(out.getvalue()))
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    if is_colour:
        dataset.PhotometricInterpretation = "YBR_ICT" if is_lossy else "YBR_RCT"
    dataset.file_meta.TransferSyntaxUID = JPEG2000 if is_lossy else JPEG2000Lossless
    return dataset


def _without_comment(stream: bytes) -> bytes:
    """As the gate clears it: OpenJPEG writes its name (ITU-T T.800 A.9.2)."""
    at = stream.index(b"\xff\x64")
    return stream[:at] + stream[at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big") :]
