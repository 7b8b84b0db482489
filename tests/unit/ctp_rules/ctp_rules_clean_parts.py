"""What the objects of the clean study (``ctp_rules_clean``) are made of."""

from __future__ import annotations

import struct
from typing import Any

from pydicom.dataset import Dataset

ROOT = "1.2.826.0.1.3680043.10.1234"
CLASSES = "1.2.840.10008.5.1.4.1.1."
CT, MR, US, SC, DX = (CLASSES + each for each in ("2", "4", "6.1", "7", "1.1"))
PET, SEG, REG, RTIMAGE, RTDOSE = (
    CLASSES + each for each in ("128", "66.4", "66.1", "481.1", "481.2")
)
RTSTRUCT, RTRECORD, RTPLAN, BRACHYRECORD, IONPLAN = (
    CLASSES + each for each in ("481.3", "481.4", "481.5", "481.6", "481.8")
)
SR, PRESENTATION = CLASSES + "88.33", CLASSES + "11.1"
STUDY, FRAME = f"{ROOT}.1", f"{ROOT}.2"
SIDE = 16
SLICES = 3


def made(**values: Any) -> Dataset:
    """Return a data set, or an item, of these attributes."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def uid(kind: str, number: int = 1) -> str:
    """Return the SOP Instance UID of an object."""
    return f"{ROOT}.3.{int.from_bytes(kind.encode(), 'big')}.{number}"


def reference(sop_class: str, instance: str, **more: Any) -> Dataset:
    """Return an item of a sequence that refers to an object (PS3.3 10.8)."""
    return made(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance, **more)


def code(value: str, scheme: str, meaning: str, **more: Any) -> Dataset:
    """Return an item of a code sequence (PS3.3 8.8)."""
    return made(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning, **more)


def start(sop_class: str, modality: str, kind: str, number: int = 1) -> Dataset:
    """Patient, study, series, equipment, SOP common (PS3.3 C.7.1 to C.7.5, C.12.1)."""
    return made(
        SpecificCharacterSet="ISO_IR 192",
        InstanceCreationDate="20240301",
        InstanceCreationTime="101500",
        SOPClassUID=sop_class,
        SOPInstanceUID=uid(kind, number),
        StudyDate="20240301",
        SeriesDate="20240301",
        StudyTime="101112",
        SeriesTime="101213",
        AccessionNumber="A1234",
        Modality=modality,
        Manufacturer="Varian",
        InstitutionName="General Hospital",
        ReferringPhysicianName="Roe^Richard",
        StationName="STATION1",
        StudyDescription="CT CHEST",
        SeriesDescription="THIN SOFT TISSUE",
        OperatorsName="Poe^Polly",
        ManufacturerModelName="Model 1",
        PatientName="Doe^Jane",
        PatientID="PAT-1",
        PatientBirthDate="19500203",
        PatientSex="F",
        PatientAge="074Y",
        PatientSize="1.7",
        PatientWeight="70",
        DeviceSerialNumber="4711",
        SoftwareVersions="1.0",
        StudyInstanceUID=STUDY,
        SeriesInstanceUID=f"{uid(kind)}.9",
        StudyID="1",
        SeriesNumber="1",
        InstanceNumber=str(number),
    )


def in_space(dataset: Dataset, number: int = 1) -> None:
    """Frame of reference and image plane (PS3.3 C.7.4.1, C.7.6.2)."""
    dataset.FrameOfReferenceUID = FRAME
    dataset.PositionReferenceIndicator = ""
    dataset.ImagePositionPatient = ["-30", "-30", str(3 * number)]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.PixelSpacing = ["4", "4"]
    dataset.SliceThickness = "3"
    dataset.ContentDate, dataset.ContentTime = "20240301", "101314"


def pixels(dataset: Dataset, frames: int = 1, bits: int = 16, colors: int = 1) -> None:
    """Image pixel (PS3.3 C.7.6.3)."""
    dataset.SamplesPerPixel = colors
    dataset.PhotometricInterpretation = "RGB" if colors == 3 else "MONOCHROME2"
    if colors == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows = dataset.Columns = SIDE
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    values = [number % 251 for number in range(SIDE * SIDE * frames * colors)]
    dataset.PixelData = struct.pack(f"<{len(values)}{'H' if bits == 16 else 'B'}", *values)
    dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
