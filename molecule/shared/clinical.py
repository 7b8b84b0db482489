"""What a radiotherapy researcher works with: forty structures, a PET, what points at images.

It is a `Treatment` of whose structures some have names of TG-263 and some have not, with a PET
whose uptake is known, a segmentation, a deformable registration, and a second study weeks later.
"""

from __future__ import annotations

import math
import struct
from array import array
from dataclasses import dataclass
from functools import cached_property

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeformableSpatialRegistrationStorage,
    PositronEmissionTomographyImageStorage,
    SegmentationStorage,
)
from shared.treatment import CT_ORIGIN, CT_SPACING, Shape, Treatment

DAYS_BETWEEN = 37
"""Days from the first study to the second, over the end of a month that is not a leap year's."""
FIRST_DAY, SECOND_DAY = "20260102", "20260208"

#: Names of TG-263 (worksheet of 2017-08-15), which have to stay as they are.
STANDARD_NAMES = (
    *("Body", "Heart", "Lung_L", "Lung_R", "SpinalCord", "Brainstem", "Parotid_L", "Parotid_R"),
    *("Bladder", "Rectum", "Femur_Head_L", "Femur_Head_R", "PenileBulb", "Kidney_L", "Kidney_R"),
    *("Liver", "Stomach", "Esophagus", "Larynx", "OpticNrv_L", "OpticNrv_R", "Eye_L", "PTV"),
    *("GTVp", "CTVn"),
)
#: What people type: names that are none of TG-263's, and some that name somebody.
TYPED_NAMES = (
    *("Contour 1", "Dr Identifiable draft", "PTV Mrs Identifiable", "zz_opt1", "ring 2cm"),
    *("Artefakt", "LUNG LT old", "NS_dose", "Kontur_12", "heart_19400102", "temp", "test2"),
    *("Avoid HOSPITAL-4714-D", "Identifiable", "hspt"),
)

PET_SIZE, PET_SPACING = (64, 48), (6.0, 6.5)
WEIGHT_KG, DOSE_BQ, HALF_LIFE_S = 72.5, 3.7e8, 6586.2
INJECTED, SCANNED, SECONDS_BETWEEN = "091407", "101500", 3653
BACKGROUND_BQML, LESION_BQML = 4000.0, 32000.0


def standardized_uptake(activity: float) -> float:
    """Give the SUV by body weight (g/ml) of an activity concentration (Bq/ml) of the PET.

    The image is decay-corrected to the start of the scan (DecayCorrection START).
    """
    left = DOSE_BQ * 2 ** (-SECONDS_BETWEEN / HALF_LIFE_S)
    return activity * WEIGHT_KG * 1000 / left


@dataclass(frozen=True)
class Clinical(Treatment):
    """A `Treatment` with forty structures, PET, segmentation, registration and a second study."""

    @property
    def instances(self) -> int:
        """Objects of both studies: each slice as CT and PET, five others, and the second CT."""
        return 2 * self.slices + 5 + self.slices

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Forty cylinders beside each other; the last of the standard ones is the target."""
        names = [*STANDARD_NAMES, *TYPED_NAMES]
        shapes = []
        for number, name in enumerate(names):
            column, row = number % 8, number // 8
            centre = (-120.0 + 34 * column, -70.0 + 38 * row, 0.0)
            kind = {"Body": "EXTERNAL", "PTV": "PTV"}.get(name, "ORGAN")
            axes = (11.0 + number / 10, 14.0 - number / 10, math.inf)
            shapes.append(Shape(name, kind, centre, axes, 20 * number))
        return tuple(shapes)

    def write(self) -> None:
        """Write the files of both studies into the directory, which is made here."""
        super().write()
        objects = [self._pet(index) for index in range(self.slices)]
        objects += [self._segmentation(), self._registration()]
        objects += [self._later(index) for index in range(self.slices)]
        for number, dataset in enumerate(objects, start=5001):
            dataset.save_as(self.directory / f"{number:04d}.dcm", enforce_file_format=True)

    def _pet(self, index: int) -> FileDataset:
        dataset = self._base(PositronEmissionTomographyImageStorage, "PT", f"PT {index}", 5)
        columns, rows = PET_SIZE
        spacing = (*PET_SPACING, CT_SPACING[2])
        origin = (CT_ORIGIN[0], CT_ORIGIN[1], self.height(index))
        self._image(dataset, rows, columns, spacing, origin)
        dataset.ImageType = ["ORIGINAL", "PRIMARY"]
        dataset.InstanceNumber = dataset.ImageIndex = index + 1
        dataset.AcquisitionDate, dataset.AcquisitionTime = FIRST_DAY, SCANNED
        dataset.PatientWeight, dataset.PatientSize, dataset.PatientAge = WEIGHT_KG, 1.68, "085Y"
        dataset.Units, dataset.SeriesType = "BQML", ["STATIC", "IMAGE"]
        dataset.CorrectedImage = ["DECY", "ATTN", "SCAT", "NORM"]
        dataset.DecayCorrection, dataset.DecayFactor = "START", 1
        dataset.CountsSource, dataset.CollimatorType = "EMISSION", "NONE"
        dataset.NumberOfSlices = self.slices
        dataset.FrameReferenceTime, dataset.ActualFrameDuration = 0, 180000
        tracer = Dataset()
        tracer.RadiopharmaceuticalStartTime = INJECTED
        tracer.RadiopharmaceuticalStartDateTime = FIRST_DAY + INJECTED
        tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = DOSE_BQ, HALF_LIFE_S
        tracer.RadionuclidePositronFraction = 0.97
        dataset.RadiopharmaceuticalInformationSequence = [tracer]
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        slope = 1.25 + index / 8
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, 0
        pixels = array("H", [round(BACKGROUND_BQML / slope)]) * (columns * rows)
        for row in range(rows // 3, rows // 3 + 5):
            for column in range(columns // 4, columns // 4 + 7):
                pixels[row * columns + column] = round(LESION_BQML / slope)
        dataset.PixelData = struct.pack(f"<{len(pixels)}H", *pixels)
        return dataset

    def _pointers(self) -> list[Dataset]:
        return [self._pointer(index) for index in range(self.slices)]

    def _pointer(self, index: int) -> Dataset:
        item = Dataset()
        item.ReferencedSOPClassUID = CTImageStorage
        item.ReferencedSOPInstanceUID = self.uid(f"CT {index}")
        return item

    def _segmentation(self) -> FileDataset:
        dataset = self._base(SegmentationStorage, "SEG", "segmentation", 6)
        dataset.ImageType = ["DERIVED", "PRIMARY"]
        dataset.ContentLabel, dataset.ContentDescription = "SEG", "Mrs Identifiable"
        dataset.SegmentationType = "BINARY"
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows = dataset.Columns = 16
        dataset.BitsAllocated = dataset.BitsStored = 1
        dataset.HighBit = dataset.PixelRepresentation = 0
        dataset.NumberOfFrames = self.slices
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = 1, "Heart"
        segment.SegmentAlgorithmType = "MANUAL"
        dataset.SegmentSequence = [segment]
        series = Dataset()
        series.SeriesInstanceUID = self.uid("CT")
        series.ReferencedInstanceSequence = self._pointers()
        dataset.ReferencedSeriesSequence = [series]
        frames = []
        for index in range(self.slices):
            derivation, frame, identity = Dataset(), Dataset(), Dataset()
            derivation.SourceImageSequence = [self._pointer(index)]
            identity.ReferencedSegmentNumber = 1
            frame.DerivationImageSequence = [derivation]
            frame.SegmentIdentificationSequence = [identity]
            frames.append(frame)
        dataset.PerFrameFunctionalGroupsSequence = frames
        size = (self.slices * 16 * 16 + 7) // 8
        dataset.PixelData = (b"\x5a\x3c" * size)[: size + size % 2]
        return dataset

    def _registration(self) -> FileDataset:
        modality, kind = "REG", DeformableSpatialRegistrationStorage
        dataset = self._base(kind, modality, "registration", 7)
        dataset.ContentLabel = "REGISTRATION"
        grid, part = Dataset(), Dataset()
        grid.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        grid.ImagePositionPatient = list(CT_ORIGIN)
        grid.GridDimensions, grid.GridResolution = [2, 2, 2], [30.0, 30.0, 30.0]
        grid.VectorGridData = struct.pack("<24f", *(number / 4 for number in range(24)))
        part.SourceFrameOfReferenceUID = self.uid("frame")
        part.ReferencedImageSequence = self._pointers()
        part.DeformableRegistrationGridSequence = [grid]
        dataset.DeformableRegistrationSequence = [part]
        return dataset

    def _later(self, index: int) -> FileDataset:
        dataset = self._slice(index)
        instance = self.uid(f"later CT {index}")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID(instance)
        dataset.StudyInstanceUID = self.uid("later study")
        dataset.SeriesInstanceUID = self.uid("later series")
        dataset.FrameOfReferenceUID = self.uid("later frame")
        dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = SECOND_DAY
        return dataset
