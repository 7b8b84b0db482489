"""A synthetic radiotherapy study with a mark in every place where a header can hide something."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from itertools import count

import pydicom
from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined]
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    RTDoseStorage,
    RTStructureSetStorage,
)

ROOT = "1.2.826.0.1.3680043.10.999"
BIRTH_DATE = "19470203"


class Marks:
    """Gives out marks: unique strings that must not be found again."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self._numbers = count(1)

    def new(self, vr: str) -> object:
        number = next(self._numbers)
        if vr == "DA":
            value = f"1947{number % 12 + 1:02d}{number % 28 + 1:02d}"
        elif vr == "DT":
            value = f"1947{number % 12 + 1:02d}{number % 28 + 1:02d}112233.{number:06d}"
        elif vr == "TM":
            value = f"112233.{number:06d}"
        elif vr == "AS":
            return f"{number % 999:03d}Y"
        elif vr == "UI":
            value = f"{ROOT}.7.{number}.1"
        elif vr == "PN":
            value = f"QZ{number:05d}^Given"
        elif vr in ("OB", "UN", "OW"):
            value = f"QZ{number:05d}X"
            self.given.append(value)
            return value.encode()
        else:
            value = f"QZ{number:05d}X"
        self.given.append(value)
        return value


TEXT = {"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "DA", "DT", "TM"}
# With a mark in the latter, the object says that its pixels are not to be trusted.
KEPT = {
    Tag(keyword)
    for keyword in (
        "SpecificCharacterSet",
        "CodeValue",
        "ConversionType",
        "SecondaryCaptureDeviceID",
        "DateOfSecondaryCapture",
        "SecondaryCaptureDeviceManufacturer",
        "SecondaryCaptureDeviceManufacturerModelName",
        "SecondaryCaptureDeviceSoftwareVersions",
        "BurnedInAnnotation",
        "RecognizableVisualFeatures",
    )
}


def mark_everything(dataset: Dataset, marks: Marks, depth: int = 0) -> None:
    """Put a mark into every text element of the dictionary, private ones, and nested items."""
    for number, (vr, _, _, retired, keyword) in DicomDictionary.items():
        tag = Tag(number)
        if tag in dataset or tag in KEPT or not keyword or tag.group <= 0x0002 or retired:
            continue
        if vr in TEXT and (depth == 0 or number % 41 == depth):
            dataset.add_new(tag, vr, marks.new(vr))
    block = dataset.private_block(0x0009, "QZ PRIVATE CREATOR", create=True)
    marks.given.append("QZ PRIVATE CREATOR")
    for offset, vr in enumerate(("LO", "PN", "UN", "OB", "UI"), 1):
        block.add_new(offset, vr, marks.new(vr))
    if depth < 2:
        for keyword in (
            "ProcedureCodeSequence",
            "OtherPatientIDsSequence",
            "ContributingEquipmentSequence",
            "ReferencedStudySequence",
            "AnatomicRegionSequence",
            "ContentSequence",
        ):
            item = Dataset()
            mark_everything(item, marks, depth + 1)
            dataset.add_new(Tag(keyword), "SQ", Sequence([item]))
        nested = Dataset()
        mark_everything(nested, marks, depth + 1)
        block.add_new(0x20, "SQ", Sequence([nested]))


@dataclass
class Study:
    """CT slices with an RTSTRUCT and an RTDOSE that refer to them, and the marks they carry."""

    patient_id: str
    objects: list[Dataset]
    marks: list[str] = field(default_factory=list)

    @property
    def structure_set(self) -> Dataset:
        return next(ds for ds in self.objects if ds.Modality == "RTSTRUCT")

    @property
    def slices(self) -> list[Dataset]:
        return [ds for ds in self.objects if ds.Modality == "CT"]


def study(
    patient_id: str = "PROOF-1947", *, slices: int = 3, marked: bool = True, number: int = 1
) -> Study:
    marks = Marks()
    base = f"{ROOT}.{number}"
    images = [_image(base, index, patient_id) for index in range(1, slices + 1)]
    objects = [*images, _structure_set(base, images, patient_id), _dose(base, patient_id)]
    if marked:
        for dataset in objects:
            mark_everything(dataset, marks)
    identity = [patient_id, BIRTH_DATE, "Doe", *(ds.SOPInstanceUID for ds in objects), base]
    return Study(patient_id, objects, [*marks.given, *map(str, identity)])


@cache
def marked_study() -> Study:
    """The study with all its marks: built once, not to be changed."""
    return study(slices=1)


def encode(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The object as a DICOM file, as the receiver writes it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", f"{ROOT}.1")
    meta.TransferSyntaxUID = syntax
    dataset.file_meta = meta
    buffer = BytesIO()
    pydicom.dcmwrite(
        buffer,
        dataset,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=True,
        enforce_file_format=True,
    )
    return buffer.getvalue()


def read(content: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(BytesIO(content))


def _common(base: str, patient_id: str, modality: str, sop_class: UID) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.StudyInstanceUID = f"{base}.1"
    dataset.FrameOfReferenceUID = f"{base}.9"
    dataset.Modality = modality
    dataset.PatientID = patient_id
    dataset.PatientName = "Doe^Jane"
    dataset.PatientBirthDate = BIRTH_DATE
    dataset.PatientSex = "F"
    dataset.Manufacturer = "SIEMENS"
    return dataset


def _image(base: str, index: int, patient_id: str) -> Dataset:
    dataset = _common(base, patient_id, "CT", CTImageStorage)
    dataset.SOPInstanceUID = f"{base}.2.{index}"
    dataset.SeriesInstanceUID = f"{base}.2"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]
    dataset.InstanceNumber = index
    dataset.ImagePositionPatient = [-250.0, -250.0, 3.0 * index]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.9765625, 0.9765625]
    dataset.SliceThickness = 3.0
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.RescaleType = "HU"
    dataset.ConvolutionKernel = "B30f"
    dataset.PatientPosition = "HFS"
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.SamplesPerPixel = 1
    dataset.Rows, dataset.Columns = 16, 16
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.BurnedInAnnotation = "NO"
    dataset.add_new(Tag("PixelData"), "OW", bytes(range(256)) * 2)
    return dataset


def _reference(base: str, sop_class: UID, instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = instance
    return item


def _structure_set(base: str, images: list[Dataset], patient_id: str) -> Dataset:
    dataset = _common(base, patient_id, "RTSTRUCT", RTStructureSetStorage)
    dataset.SOPInstanceUID = f"{base}.3.1"
    dataset.SeriesInstanceUID = f"{base}.3"
    series = Dataset()
    series.SeriesInstanceUID = f"{base}.2"
    series.ContourImageSequence = Sequence(
        [_reference(base, CTImageStorage, image.SOPInstanceUID) for image in images]
    )
    study_item = _reference(base, UID("1.2.840.10008.3.1.2.3.1"), f"{base}.1")
    study_item.RTReferencedSeriesSequence = Sequence([series])
    frame = Dataset()
    frame.FrameOfReferenceUID = f"{base}.9"
    frame.RTReferencedStudySequence = Sequence([study_item])
    dataset.ReferencedFrameOfReferenceSequence = Sequence([frame])
    rois, contours, observations = [], [], []
    for number, name in enumerate(("Bladder", "PTV_6000", "Doe Jane tumour"), 1):
        roi = Dataset()
        roi.ROINumber = number
        roi.ReferencedFrameOfReferenceUID = f"{base}.9"
        roi.ROIName = name
        roi.ROIGenerationAlgorithm = "MANUAL"
        rois.append(roi)
        contour = Dataset()
        contour.ContourImageSequence = Sequence(
            [_reference(base, CTImageStorage, images[0].SOPInstanceUID)]
        )
        contour.ContourGeometricType = "CLOSED_PLANAR"
        contour.NumberOfContourPoints = 3
        contour.ContourData = [1.5, 2.25, 3.0, 4.0, 5.0, 3.0, 7.0, 8.0, 3.0]
        item = Dataset()
        item.ReferencedROINumber = number
        item.ROIDisplayColor = [255, 0, 0]
        item.ContourSequence = Sequence([contour])
        contours.append(item)
        observation = Dataset()
        observation.ObservationNumber = number
        observation.ReferencedROINumber = number
        observation.RTROIInterpretedType = "ORGAN"
        observation.ROIInterpreter = "Doe^Physician"
        observations.append(observation)
    dataset.StructureSetLabel = "Doe label"
    dataset.StructureSetROISequence = Sequence(rois)
    dataset.ROIContourSequence = Sequence(contours)
    dataset.RTROIObservationsSequence = Sequence(observations)
    return dataset


def _dose(base: str, patient_id: str) -> Dataset:
    dataset = _common(base, patient_id, "RTDOSE", RTDoseStorage)
    dataset.SOPInstanceUID = f"{base}.4.1"
    dataset.SeriesInstanceUID = f"{base}.4"
    dataset.DoseUnits, dataset.DoseType, dataset.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    dataset.DoseGridScaling = 0.0001
    dataset.GridFrameOffsetVector = [0, 3, 6]
    dataset.NumberOfFrames = 3
    dataset.Rows, dataset.Columns = 2, 2
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation, dataset.SamplesPerPixel = 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.ReferencedStructureSetSequence = Sequence(
        [_reference(base, RTStructureSetStorage, f"{base}.3.1")]
    )
    dataset.add_new(Tag("PixelData"), "OW", bytes(24))
    return dataset
