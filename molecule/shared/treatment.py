"""A radiotherapy study whose geometry is known: what a client makes of it can be checked in mm.

The anatomy is made of ellipsoids and elliptic cylinders, painted into the CT, outlined in RTSTRUCT
and treated with a dose that is highest in the middle of the target. Nothing is symmetric: other
spacings, origins and numbers in each direction, so that a swapped or mirrored axis shows. All
objects say who the patient is; `MARKS` is what nobody may find behind CTP.

Coordinates are those of the patient (PS3.3 C.7.6.2.1.1), in mm: x to the left, y to the back, z to
the head.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    RTDoseStorage,
    RTPlanStorage,
    RTStructureSetStorage,
    generate_uid,
)

MARKS = ("HOSPITAL-", "Identifiable", "19400102", "20260102", "ACC-4711")

ROWS = COLUMNS = 256
CT_ORIGIN = (-200.0, -150.0, -63.0)
CT_SPACING = (1.5, 1.25, 3.0)

DOSE_SHAPE = (60, 44)
DOSE_SPACING = (5.0, 6.0, 4.5)
DOSE_SIGMA = (40.0, 30.0, 25.0)
DOSE_MAXIMUM_GY = 60.0
DOSE_SCALING = 0.001

CONTOUR_POINTS = 90
_DETACHED_STUDY = UID("1.2.840.10008.3.1.2.3.1")

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Shape:
    """An ellipsoid, or an elliptic cylinder along z where its third semi-axis is infinite.

    Attributes:
        name: ROI Name; one that a gateway which knows the usual structure names lets through.
        kind: RT ROI Interpreted Type (3006,00A4).
        hounsfield: what the CT shows there.
    """

    name: str
    kind: str
    centre: Point
    semi_axes: Point
    hounsfield: int

    def contains(self, x: float, y: float, z: float) -> bool:
        """Tell whether a point lies inside."""
        offsets = (x - self.centre[0], y - self.centre[1], z - self.centre[2])
        return sum((o / a) ** 2 for o, a in zip(offsets, self.semi_axes)) <= 1

    def grown(self, voxels: float) -> Shape:
        """Give the shape that reaches so many voxels of the CT further to each side."""
        x, y, z = (axis + voxels * size for axis, size in zip(self.semi_axes, CT_SPACING))
        return replace(self, semi_axes=(x, y, z))

    def section(self, z: float) -> tuple[float, float] | None:
        """Give the semi-axes in x and y of the ellipse at a height; None where there is none."""
        left = 1 - ((z - self.centre[2]) / self.semi_axes[2]) ** 2
        if left <= 0:
            return None
        return self.semi_axes[0] * math.sqrt(left), self.semi_axes[1] * math.sqrt(left)


@dataclass(frozen=True)
class Treatment:
    """One patient's CT, structures, plan and dose. The same arguments give the same objects.

    Attributes:
        patient_id: PatientID (0010,0020) as the clinical system sends it.
        pseudonym: what KeyDB holds for this patient, for the reader of the result.
        directory: where `write` puts the files.
        slices: number of CT slices.
        target: centre of the target, which is where the dose is highest.
    """

    patient_id: str
    pseudonym: str
    directory: Path
    slices: int
    target: Point

    @property
    def instances(self) -> int:
        """Objects of the study: the CT slices, RTSTRUCT, RTPLAN and RTDOSE."""
        return self.slices + 3

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """What is outlined, in the order in which it is painted into the CT."""
        endless = math.inf
        middle = self.height(self.slices - 1) / 2 + self.height(0) / 2
        return (
            Shape("Body", "EXTERNAL", (0.0, 10.0, 0.0), (155.0, 105.0, endless), 0),
            Shape("Lung_R", "ORGAN", (-75.0, 5.0, 0.0), (45.0, 70.0, endless), -780),
            Shape("Lung_L", "ORGAN", (78.0, 10.0, 0.0), (40.0, 66.0, endless), -780),
            Shape("Heart", "ORGAN", (14.0, -28.0, middle), (42.0, 36.0, 33.0), 60),
            Shape("SpinalCord", "ORGAN", (0.0, 72.0, 0.0), (9.0, 9.0, endless), 320),
            Shape("PTV", "PTV", self.target, (22.0, 19.0, 24.0), 160),
        )

    def height(self, index: int) -> float:
        """Give z of a CT slice."""
        return CT_ORIGIN[2] + index * CT_SPACING[2]

    def mask(self, shape: Shape) -> bytes:
        """Give a byte for each voxel of the CT, 1 where its centre is inside; x runs fastest."""
        drawn = bytearray(ROWS * COLUMNS * self.slices)
        for index in range(self.slices):
            for start, length in _runs(shape, self.height(index)):
                start += index * ROWS * COLUMNS
                drawn[start : start + length] = b"\1" * length
        return bytes(drawn)

    def cubic_mm(self, shape: Shape) -> float:
        """Give the volume of a shape, as far as the CT goes."""
        *ellipse, height = shape.semi_axes
        length = self.slices * CT_SPACING[2] if math.isinf(height) else 4 / 3 * height
        return math.pi * math.prod(ellipse) * length

    def dose(self, x: float, y: float, z: float) -> float:
        """Give the dose at a point in Gy."""
        offsets = (x - self.target[0], y - self.target[1], z - self.target[2])
        exponent = sum((o / s) ** 2 for o, s in zip(offsets, DOSE_SIGMA))
        return DOSE_MAXIMUM_GY * math.exp(-exponent / 2)

    def hounsfield(self, x: float, y: float, z: float) -> int:
        """Give what the CT shows at a point."""
        inside = [shape.hounsfield for shape in self.shapes if shape.contains(x, y, z)]
        return inside[-1] if inside else -1000

    @property
    def uids(self) -> list[UID]:
        """UIDs of the study, its series and objects, as sent."""
        names = (
            "study",
            "frame",
            "CT",
            "RTSTRUCT",
            "RTPLAN",
            "RTDOSE",
            "structures",
            "plan",
            "dose",
        )
        return [self.uid(name) for name in names] + [
            self.uid(f"CT {i}") for i in range(self.slices)
        ]

    def uid(self, what: str) -> UID:
        """Give the UID of one thing of this study."""
        return generate_uid(entropy_srcs=["treatment", self.patient_id, what])

    def write(self) -> None:
        """Write the study's files into the directory, which is made here."""
        self.directory.mkdir(parents=True)
        objects = [self._slice(index) for index in range(self.slices)]
        objects += [self._structures(), self._plan(), self._dose()]
        for number, dataset in enumerate(objects, start=1):
            dataset.save_as(self.directory / f"{number:04d}.dcm", enforce_file_format=True)

    def _base(self, sop_class: UID, modality: str, instance: str, number: int) -> FileDataset:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = sop_class
        meta.MediaStorageSOPInstanceUID = self.uid(instance)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID = sop_class
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        dataset.StudyInstanceUID = self.uid("study")
        dataset.SeriesInstanceUID = self.uid(modality)
        dataset.FrameOfReferenceUID = self.uid("frame")
        dataset.PositionReferenceIndicator = ""
        dataset.Modality = modality
        dataset.SeriesNumber = number
        dataset.InstanceNumber = 1
        dataset.Manufacturer = "Varian Medical Systems"
        dataset.PatientID = self.patient_id
        dataset.PatientName = f"Identifiable^{self.patient_id}"
        dataset.PatientBirthDate = "19400102"
        dataset.PatientSex = "F"
        dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20260102"
        dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "101500"
        dataset.StudyID = "1"
        dataset.AccessionNumber = "ACC-4711"
        dataset.InstitutionName = "Identifiable Hospital"
        dataset.ReferringPhysicianName = "Identifiable^Referring"
        dataset.OperatorsName = "Identifiable^Operator"
        dataset.StudyDescription = "Thorax of Mrs Identifiable"
        dataset.SeriesDescription = f"{modality} of Mrs Identifiable"
        block = dataset.private_block(0x0019, "IDENTIFIABLE SOFTWARE", create=True)
        block.add_new(0x10, "LO", "Mrs Identifiable")
        return dataset

    def _image(
        self, dataset: Dataset, rows: int, columns: int, spacing: Sequence[float], origin: Point
    ) -> None:
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.Rows, dataset.Columns = rows, columns
        # Between rows first, then between columns (PS3.3 10.7.1.1).
        dataset.PixelSpacing = [spacing[1], spacing[0]]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = list(origin)
        dataset.SliceThickness = spacing[2]
        dataset.PixelRepresentation = 0

    def _slice(self, index: int) -> FileDataset:
        dataset = self._base(CTImageStorage, "CT", f"CT {index}", 1)
        z = self.height(index)
        self._image(dataset, ROWS, COLUMNS, CT_SPACING, (CT_ORIGIN[0], CT_ORIGIN[1], z))
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.InstanceNumber = index + 1
        dataset.AcquisitionNumber = 1
        dataset.PatientPosition = "HFS"
        dataset.KVP = 120
        dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
        dataset.RescaleType = "HU"
        dataset.WindowCenter, dataset.WindowWidth = -200, 1400
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.PixelData = self._pixels(z)
        return dataset

    def _pixels(self, z: float) -> bytes:
        pixels = array("H", [24]) * (ROWS * COLUMNS)
        for shape in self.shapes:
            for start, length in _runs(shape, z):
                value = shape.hounsfield + 1024
                pixels[start : start + length] = array("H", [value]) * length
        return struct.pack(f"<{len(pixels)}H", *pixels)

    def _structures(self) -> FileDataset:
        dataset = self._base(RTStructureSetStorage, "RTSTRUCT", "structures", 2)
        dataset.StructureSetLabel = "IDENTIFIABLE"
        dataset.StructureSetDate, dataset.StructureSetTime = "20260102", "101500"
        images = Dataset()
        images.SeriesInstanceUID = self.uid("CT")
        images.ContourImageSequence = [
            _reference(CTImageStorage, self.uid(f"CT {index}")) for index in range(self.slices)
        ]
        study = _reference(_DETACHED_STUDY, self.uid("study"))
        study.RTReferencedSeriesSequence = [images]
        frame = Dataset()
        frame.FrameOfReferenceUID = self.uid("frame")
        frame.RTReferencedStudySequence = [study]
        dataset.ReferencedFrameOfReferenceSequence = [frame]
        names, contours, observations = [], [], []
        for number, shape in enumerate(self.shapes, start=1):
            name = Dataset()
            name.ROINumber = number
            name.ReferencedFrameOfReferenceUID = self.uid("frame")
            name.ROIName = shape.name
            name.ROIGenerationAlgorithm = "MANUAL"
            names.append(name)
            contour = Dataset()
            contour.ReferencedROINumber = number
            contour.ROIDisplayColor = [255, 40 * number, 0]
            contour.ContourSequence = self._contours(shape)
            contours.append(contour)
            observation = Dataset()
            observation.ObservationNumber = observation.ReferencedROINumber = number
            observation.RTROIInterpretedType = shape.kind
            observation.ROIInterpreter = "Identifiable^Interpreter"
            observations.append(observation)
        dataset.StructureSetROISequence = names
        dataset.ROIContourSequence = contours
        dataset.RTROIObservationsSequence = observations
        dataset.ApprovalStatus = "UNAPPROVED"
        return dataset

    def _contours(self, shape: Shape) -> list[Dataset]:
        contours = []
        for index in range(self.slices):
            z = self.height(index)
            axes = shape.section(z)
            if axes is None:
                continue
            points: list[str] = []
            for step in range(CONTOUR_POINTS):
                angle = 2 * math.pi * step / CONTOUR_POINTS
                x = shape.centre[0] + axes[0] * math.cos(angle)
                y = shape.centre[1] + axes[1] * math.sin(angle)
                points += [f"{x:.3f}", f"{y:.3f}", f"{z:.3f}"]
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = CONTOUR_POINTS
            contour.ContourData = points
            contour.ContourImageSequence = [_reference(CTImageStorage, self.uid(f"CT {index}"))]
            contours.append(contour)
        return contours

    def _plan(self) -> FileDataset:
        dataset = self._base(RTPlanStorage, "RTPLAN", "plan", 3)
        dataset.RTPlanLabel = "IDENTIFIABLE"
        dataset.RTPlanDate, dataset.RTPlanTime = "20260102", "101500"
        dataset.RTPlanGeometry = "PATIENT"
        structures = _reference(RTStructureSetStorage, self.uid("structures"))
        dataset.ReferencedStructureSetSequence = [structures]
        fraction = Dataset()
        fraction.FractionGroupNumber = 1
        fraction.NumberOfFractionsPlanned = 30
        fraction.NumberOfBeams = fraction.NumberOfBrachyApplicationSetups = 0
        dataset.FractionGroupSequence = [fraction]
        dataset.ApprovalStatus = "UNAPPROVED"
        return dataset

    def _dose(self) -> FileDataset:
        dataset = self._base(RTDoseStorage, "RTDOSE", "dose", 4)
        columns, rows = DOSE_SHAPE
        frames = math.ceil(self.slices * CT_SPACING[2] / DOSE_SPACING[2])
        # The target's centre is a point of the grid, so the maximum is exact.
        before = (columns // 2 - 3, rows // 2 + 2, round((self.target[2] - CT_ORIGIN[2]) / 4.5))
        x, y, z = (t - n * s for t, n, s in zip(self.target, before, DOSE_SPACING))
        self._image(dataset, rows, columns, DOSE_SPACING, (x, y, z))
        dataset.NumberOfFrames = frames
        dataset.FrameIncrementPointer = 0x3004000C  # GridFrameOffsetVector
        dataset.GridFrameOffsetVector = [index * DOSE_SPACING[2] for index in range(frames)]
        dataset.DoseUnits, dataset.DoseType = "GY", "PHYSICAL"
        dataset.DoseSummationType = "PLAN"
        dataset.DoseGridScaling = DOSE_SCALING
        dataset.DoseComment = "Dose of Mrs Identifiable"
        dataset.ReferencedRTPlanSequence = [_reference(RTPlanStorage, self.uid("plan"))]
        dataset.BitsAllocated = dataset.BitsStored = 32
        dataset.HighBit = 31
        values = [
            round(
                self.dose(x + c * DOSE_SPACING[0], y + r * DOSE_SPACING[1], z + f * DOSE_SPACING[2])
                / DOSE_SCALING
            )
            for f in range(frames)
            for r in range(rows)
            for c in range(columns)
        ]
        dataset.PixelData = struct.pack(f"<{len(values)}I", *values)
        return dataset


def _reference(sop_class: UID, instance: UID) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = instance
    return item


def _runs(shape: Shape, z: float) -> Iterator[tuple[int, int]]:
    """Give the pixels of a slice inside a shape: number of the first of a row, and how many."""
    axes = shape.section(z)
    if axes is None:
        return
    for row in range(ROWS):
        left = 1 - ((CT_ORIGIN[1] + row * CT_SPACING[1] - shape.centre[1]) / axes[1]) ** 2
        if left <= 0:
            continue
        half = axes[0] * math.sqrt(left)
        first = math.ceil((shape.centre[0] - half - CT_ORIGIN[0]) / CT_SPACING[0])
        last = math.floor((shape.centre[0] + half - CT_ORIGIN[0]) / CT_SPACING[0])
        if first <= last:
            yield row * COLUMNS + first, last - first + 1
