"""The proof's synthetic radiotherapy study, with identifying marks wherever a header can hide them.

The study follows from a token of ten digits alone, so the machine that sends it and the machine
that checks what arrived build the same study without exchanging more than that token. The token
stands in every text mark, UID and number that the study hides: whoever finds it in what arrived
has found a leak. Dates and times cannot hold a token; they are chosen so that they are unlikely
to appear by chance.

The places are those of DICOM PS3.15 2026c, Table E.1-1 (attributes to protect under the Basic
Application Level Confidentiality Profile), some free texts that the table does not list, private
elements, nested sequences, file meta information, preamble and trailing padding. No mark stands in
the pixel data of the study, which must arrive as it was sent. Beside it there may be images with a
name in their pixels, which must not (`Lettered`).

Needs pydicom 2.3 or newer on the host, and for those images what `pixel_text` needs; everything
else is the standard library.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.ctp import pixels as ctp_pixels
from ansible_collections.auscat.imaging.plugins.module_utils.proof import pixel_text
from ansible_collections.auscat.imaging.plugins.module_utils.proof.checks import Report
from ansible_collections.auscat.imaging.plugins.module_utils.proof.marks import (
    DETACHED_STUDY,
    Marker,
    even,
    hidden_header,
    hide,
    hide_private,
    moment_of,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    UID_ROOT,
    check_token,
    patient_identifier,
    pseudonym_of,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.studies import Lettered, Study

try:
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    PYDICOM_ERROR = ""
except ImportError as error:
    PYDICOM_ERROR = str(error)

CT = "1.2.840.10008.5.1.4.1.1.2"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
RTDOSE = "1.2.840.10008.5.1.4.1.1.481.2"
RTPLAN = "1.2.840.10008.5.1.4.1.1.481.5"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
SOP_CLASS_NAMES = {CT: "CT", RTSTRUCT: "RTSTRUCT", RTPLAN: "RTPLAN", RTDOSE: "RTDOSE"}

ROWS = COLUMNS = 64
PIXEL_SPACING_MM = 4.0
SLICE_SPACING_MM = 3.0
DOSE_ROWS = DOSE_COLUMNS = 16
DOSE_SPACING_MM = 12.0
CONTOUR_POINTS = 24
MIN_CT_INSTANCES = 4
MAX_CT_INSTANCES = 200

# A saved screen, and an ultrasound image with a banner over its full width.
CAPTURE_ROWS, CAPTURE_COLUMNS = 128, 512
ULTRASOUND_ROWS, ULTRASOUND_COLUMNS, BANNER_ROWS = 300, 480, 40
FIRST_DECLARED = MAX_CT_INSTANCES + 1
"""Instance Number (0020,0013) of the first image of a declared device; no slice has one as high."""
LARGEST_DECLARED = 16 * 1024 * 1024
ALL_DECLARED = 64 * 1024 * 1024
"""Bytes of one image of a declared device, and of all of them, which a host holds in memory."""
LONGEST_SIDE = 32767
"""Pixels: tesseract reads no image with a longer one."""


def _file_meta(dataset: Dataset, syntax: str, marker: Marker) -> FileMetaDataset:
    """Return file meta information (PS3.10 7.1) with marks where the file alone holds them."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(UID_ROOT)
    meta.ImplementationVersionName = "AUSCAT_PROOF"
    meta.SourceApplicationEntityTitle = marker.text("SourceApplicationEntityTitle (0002,0016)")
    creator = marker.uid("PrivateInformationCreatorUID (0002,0100)")
    meta.PrivateInformationCreatorUID = UID(creator)
    meta.PrivateInformation = even(marker.text("PrivateInformation (0002,0102)").encode())
    return meta


def slice_position(index: int) -> list[float]:
    """Return Image Position (Patient) of a CT slice in mm."""
    edge = -PIXEL_SPACING_MM * (COLUMNS - 1) / 2
    return [edge, edge, index * SLICE_SPACING_MM]


def _decimals(values: list[float]) -> list[str]:
    return [f"{value:.4f}" for value in values]


def ct_pixels(seed: str, index: int, count: int) -> bytes:
    """Return one slice: a water cylinder with a bone cone and an air hole in it.

    Returns:
        `ROWS` x `COLUMNS` unsigned 16 bit little endian values, Hounsfield unit + 1024, with noise
        of the seed, so that no two slices of any two proofs are equal.
    """
    noise = hashlib.shake_256(f"{seed} {index}".encode()).digest(ROWS * COLUMNS)
    cone = 14.0 + 20.0 * index / count
    values = []
    for row in range(ROWS):
        y = (row - (ROWS - 1) / 2) * PIXEL_SPACING_MM
        for column in range(COLUMNS):
            x = (column - (COLUMNS - 1) / 2) * PIXEL_SPACING_MM
            if math.hypot(x, y) > 110.0:
                hounsfield = -1000
            elif math.hypot(x - 40.0, y) < cone:
                hounsfield = 900
            elif math.hypot(x + 45.0, y + 20.0) < 15.0:
                hounsfield = -850
            else:
                hounsfield = 0
            values.append(hounsfield + 1024 + noise[row * COLUMNS + column] % 16)
    return struct.pack(f"<{len(values)}H", *values)


def _dose_pixels(count: int) -> bytes:
    """Return `count` frames of a dose that falls off around the tumour, 32 bit little endian."""
    values = []
    for index in range(count):
        for row in range(DOSE_ROWS):
            for column in range(DOSE_COLUMNS):
                distance = math.hypot(row - 7.5, column - 7.5, index - count / 2)
                values.append(round(200000 * math.exp(-((distance / 5.0) ** 2))))
    return struct.pack(f"<{len(values)}I", *values)


def _circle(centre_x: float, centre_y: float, radius: float, z: float) -> list[str]:
    points: list[float] = []
    for step in range(CONTOUR_POINTS):
        angle = 2 * math.pi * step / CONTOUR_POINTS
        points += [centre_x + radius * math.cos(angle), centre_y + radius * math.sin(angle), z]
    return _decimals(points)


def _reference(sop_class: str, instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = instance_uid
    return item


class _Builder:
    """Builds the objects of one study around common UIDs."""

    def __init__(self, token: str, known: bool, ct_instances: int, issuer: str | None) -> None:
        self.marker = Marker(token, known)
        self.moment = moment_of(token)
        self.known = known
        self.count = ct_instances
        self.patient_id = patient_identifier(token, known)
        self.study_uid = self.marker.uid("StudyInstanceUID (0020,000D)")
        self.frame_uid = self.marker.uid("FrameOfReferenceUID (0020,0052)")
        self.ct_series_uid = self.marker.uid("SeriesInstanceUID (0020,000E) of the CT")
        self.ct_uids = [
            self.marker.uid(f"SOPInstanceUID (0008,0018) of CT slice {index + 1}")
            for index in range(ct_instances)
        ]
        self.struct_uid = self.marker.uid("SOPInstanceUID (0008,0018) of the RTSTRUCT")
        self.plan_uid = self.marker.uid("SOPInstanceUID (0008,0018) of the RTPLAN")
        self.dose_uid = self.marker.uid("SOPInstanceUID (0008,0018) of the RTDOSE")
        self.header = hidden_header(self.marker, self.moment)
        mark = self.marker.text("IssuerOfPatientID (0010,0021)")
        self.issuer = mark if issuer is None else issuer

    def base(self, sop_class: str, uid: str, series_uid: str, number: int) -> Dataset:
        """Return a dataset with what all objects share (PS3.3 C.7.1 to C.7.5, C.12.1)."""
        # The elements are shared, not copied: nobody changes them, and copying takes seconds. So
        # what is set here must not be in the header already.
        dataset = Dataset()
        dataset.update(self.header)
        dataset.SOPClassUID = sop_class
        dataset.SOPInstanceUID = uid
        dataset.StudyInstanceUID = self.study_uid
        dataset.SeriesInstanceUID = series_uid
        dataset.FrameOfReferenceUID = self.frame_uid
        dataset.PositionReferenceIndicator = ""
        dataset.PatientID = self.patient_id
        dataset.IssuerOfPatientID = self.issuer
        dataset.PatientSex = "O"
        dataset.PatientAge = "047Y"
        dataset.Modality = SOP_CLASS_NAMES.get(sop_class, "OT")
        dataset.Manufacturer = "AusCAT proof"
        dataset.BurnedInAnnotation = "NO"
        dataset.SeriesNumber = str(number)
        dataset.InstanceNumber = "1"
        return dataset

    def finish(self, dataset: Dataset, syntax: str) -> Dataset:
        """Add file meta information and preamble."""
        dataset.file_meta = _file_meta(dataset, syntax, self.marker)
        mark = self.marker.text("preamble of the file")
        dataset.preamble = mark.encode().ljust(128, b"\0")
        return dataset

    def _image(self, dataset: Dataset, rows: int, columns: int, spacing: float) -> None:
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.Rows = rows
        dataset.Columns = columns
        dataset.PixelSpacing = _decimals([spacing, spacing])
        dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        dataset.PixelRepresentation = 0

    def slice(self, index: int) -> Dataset:
        """Return a CT image (PS3.3 A.3)."""
        dataset = self.base(CT, self.ct_uids[index], self.ct_series_uid, 1)
        self._image(dataset, ROWS, COLUMNS, PIXEL_SPACING_MM)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.AcquisitionNumber = "1"
        dataset.InstanceNumber = str(index + 1)
        dataset.PatientPosition = "HFS"
        dataset.ImagePositionPatient = _decimals(slice_position(index))
        dataset.SliceThickness = f"{SLICE_SPACING_MM:.4f}"
        dataset.SliceLocation = f"{index * SLICE_SPACING_MM:.4f}"
        dataset.KVP = "120"
        dataset.RescaleIntercept = "-1024"
        dataset.RescaleSlope = "1"
        dataset.RescaleType = "HU"
        dataset.BitsAllocated = 16
        dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.add_new(0x7FE00010, "OW", ct_pixels(self.patient_id, index, self.count))
        return self.finish(dataset, ExplicitVRLittleEndian)

    def structure_set(self) -> Dataset:
        """Return an RT Structure Set (PS3.3 A.19) whose contours name the slices they lie on."""
        series_uid = self.marker.uid("SeriesInstanceUID (0020,000E) of the RTSTRUCT")
        dataset = self.base(RTSTRUCT, self.struct_uid, series_uid, 2)
        images = Dataset()
        images.SeriesInstanceUID = self.ct_series_uid
        images.ContourImageSequence = [_reference(CT, uid) for uid in self.ct_uids]
        study = _reference(DETACHED_STUDY, self.study_uid)
        study.RTReferencedSeriesSequence = [images]
        frame = Dataset()
        frame.FrameOfReferenceUID = self.frame_uid
        frame.RTReferencedStudySequence = [study]
        dataset.ReferencedFrameOfReferenceSequence = [frame]
        dataset.StructureSetROISequence = []
        dataset.ROIContourSequence = []
        dataset.RTROIObservationsSequence = []
        for number, (name, kind, x, radius) in enumerate(
            (("BODY", "EXTERNAL", 0.0, 110.0), ("GTV", "GTV", 40.0, 24.0)), start=1
        ):
            self._add_structure(dataset, number, name, kind, x, radius)
        dataset.ApprovalStatus = "UNAPPROVED"
        return self.finish(dataset, ExplicitVRLittleEndian)

    def _add_structure(
        self, dataset: Dataset, number: int, name: str, kind: str, x: float, radius: float
    ) -> None:
        within = f"StructureSetROISequence > structure {number} > "
        structure = Dataset()
        structure.ROINumber = str(number)
        structure.ReferencedFrameOfReferenceUID = self.frame_uid
        structure.ROIName = f"{name} {self.marker.text(within + 'ROIName (3006,0026)')}"
        structure.ROIGenerationAlgorithm = "MANUAL"
        for tag, vr in ((0x30060028, "ST"), (0x30060038, "LO"), (0x00100010, "PN")):
            hide(structure, tag, vr, within, self.marker, self.moment)
        hide_private(structure, 0x0031, within, self.marker, self.moment, depth=1)
        dataset.StructureSetROISequence.append(structure)

        contours = []
        for index, uid in enumerate(self.ct_uids):
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = str(CONTOUR_POINTS)
            contour.ContourData = _circle(x, 0.0, radius, slice_position(index)[2])
            contour.ContourImageSequence = [_reference(CT, uid)]
            # A name where no standard has one, deep inside what must be kept.
            hide(
                contour.ContourImageSequence[0],
                0x00100010,
                "PN",
                "ROIContourSequence > ContourSequence > ContourImageSequence > ",
                self.marker,
                self.moment,
            )
            contours.append(contour)
        roi = Dataset()
        roi.ReferencedROINumber = str(number)
        roi.ROIDisplayColor = ["255", "0", "0"]
        roi.ContourSequence = contours
        dataset.ROIContourSequence.append(roi)

        within = f"RTROIObservationsSequence > structure {number} > "
        observation = Dataset()
        observation.ObservationNumber = str(number)
        observation.ReferencedROINumber = str(number)
        observation.RTROIInterpretedType = kind
        for tag, vr in ((0x30060085, "SH"), (0x30060088, "ST"), (0x300600A6, "PN")):
            hide(observation, tag, vr, within, self.marker, self.moment)
        dataset.RTROIObservationsSequence.append(observation)

    def plan(self) -> Dataset:
        """Return an RT Plan (PS3.3 A.20) with one static photon beam."""
        series_uid = self.marker.uid("SeriesInstanceUID (0020,000E) of the RTPLAN")
        dataset = self.base(RTPLAN, self.plan_uid, series_uid, 3)
        dataset.RTPlanGeometry = "PATIENT"
        dataset.ReferencedStructureSetSequence = [_reference(RTSTRUCT, self.struct_uid)]
        dataset.ApprovalStatus = "UNAPPROVED"
        beam_link = Dataset()
        beam_link.ReferencedBeamNumber = "1"
        beam_link.BeamMeterset = "100"
        fraction = Dataset()
        fraction.FractionGroupNumber = "1"
        fraction.NumberOfFractionsPlanned = "30"
        fraction.NumberOfBeams = "1"
        fraction.NumberOfBrachyApplicationSetups = "0"
        fraction.ReferencedBeamSequence = [beam_link]
        hide(fraction, 0x300A0072, "LO", "FractionGroupSequence > ", self.marker, self.moment)
        dataset.FractionGroupSequence = [fraction]
        setup = Dataset()
        setup.PatientSetupNumber = "1"
        setup.PatientPosition = "HFS"
        hide(setup, 0x300A01B2, "ST", "PatientSetupSequence > ", self.marker, self.moment)
        dataset.PatientSetupSequence = [setup]
        dataset.BeamSequence = [self._beam()]
        return self.finish(dataset, ExplicitVRLittleEndian)

    def _beam(self) -> Dataset:
        within = "BeamSequence > "
        beam = Dataset()
        beam.BeamNumber = "1"
        beam.BeamType = "STATIC"
        beam.RadiationType = "PHOTON"
        beam.TreatmentDeliveryType = "TREATMENT"
        beam.PrimaryDosimeterUnit = "MU"
        beam.SourceAxisDistance = "1000"
        for tag, vr in (
            (0x300A00C2, "LO"),
            (0x300A00C3, "ST"),
            (0x300A00B2, "SH"),
            (0x00080080, "LO"),
            (0x00181000, "LO"),
            (0x00100010, "PN"),
        ):
            hide(beam, tag, vr, within, self.marker, self.moment)
        hide_private(beam, 0x3287, within, self.marker, self.moment, depth=1)
        beam.NumberOfWedges = "0"
        beam.NumberOfCompensators = "0"
        beam.NumberOfBoli = "0"
        beam.NumberOfBlocks = "0"
        jaws = []
        for kind in ("X", "Y"):
            jaw = Dataset()
            jaw.RTBeamLimitingDeviceType = kind
            jaw.NumberOfLeafJawPairs = "1"
            jaws.append(jaw)
        beam.BeamLimitingDeviceSequence = jaws
        beam.FinalCumulativeMetersetWeight = "1"
        beam.NumberOfControlPoints = "2"
        beam.ReferencedPatientSetupNumber = "1"
        first, last = Dataset(), Dataset()
        first.ControlPointIndex = "0"
        first.NominalBeamEnergy = "6"
        positions = []
        for kind in ("X", "Y"):
            position = Dataset()
            position.RTBeamLimitingDeviceType = kind
            position.LeafJawPositions = ["-50", "50"]
            positions.append(position)
        first.BeamLimitingDevicePositionSequence = positions
        first.GantryAngle = "0"
        first.GantryRotationDirection = "NONE"
        first.BeamLimitingDeviceAngle = "0"
        first.BeamLimitingDeviceRotationDirection = "NONE"
        first.PatientSupportAngle = "0"
        first.PatientSupportRotationDirection = "NONE"
        first.TableTopEccentricAngle = "0"
        first.TableTopEccentricRotationDirection = "NONE"
        first.IsocenterPosition = _decimals([40.0, 0.0, self.count * SLICE_SPACING_MM / 2])
        first.CumulativeMetersetWeight = "0"
        last.ControlPointIndex = "1"
        last.CumulativeMetersetWeight = "1"
        beam.ControlPointSequence = [first, last]
        return beam

    def dose(self) -> Dataset:
        """Return an RT Dose (PS3.3 A.18), in implicit VR, where private elements lose their VR."""
        series_uid = self.marker.uid("SeriesInstanceUID (0020,000E) of the RTDOSE")
        dataset = self.base(RTDOSE, self.dose_uid, series_uid, 4)
        self._image(dataset, DOSE_ROWS, DOSE_COLUMNS, DOSE_SPACING_MM)
        edge = -DOSE_SPACING_MM * (DOSE_COLUMNS - 1) / 2
        dataset.ImagePositionPatient = _decimals([edge, edge, 0.0])
        dataset.SliceThickness = ""
        dataset.NumberOfFrames = str(self.count)
        dataset.FrameIncrementPointer = 0x3004000C
        dataset.GridFrameOffsetVector = _decimals(
            [index * SLICE_SPACING_MM for index in range(self.count)]
        )
        dataset.DoseUnits = "GY"
        dataset.DoseType = "PHYSICAL"
        dataset.DoseSummationType = "PLAN"
        dataset.DoseGridScaling = "0.0003"
        dataset.ReferencedRTPlanSequence = [_reference(RTPLAN, self.plan_uid)]
        dataset.ReferencedStructureSetSequence = [_reference(RTSTRUCT, self.struct_uid)]
        dataset.BitsAllocated = 32
        dataset.BitsStored = 32
        dataset.HighBit = 31
        dataset.add_new(0x7FE00010, "OW", _dose_pixels(self.count))
        return self.finish(dataset, ImplicitVRLittleEndian)

    def lettered(
        self,
        sop_class: str,
        rows: int,
        columns: int,
        regions: Sequence[pixel_text.Region],
        number: int,
    ) -> tuple[Dataset, tuple[str, ...]]:
        """Return an image that says that there is no text in it, and the words that are in it."""
        what = f"lettered image {number}"
        uid = self.marker.uid(f"SOPInstanceUID (0008,0018) of {what}")
        series_uid = self.marker.uid(f"SeriesInstanceUID (0020,000E) of {what}")
        dataset = self.base(sop_class, uid, series_uid, 5)
        dataset.StudyInstanceUID = self.marker.uid(f"StudyInstanceUID (0020,000D) of {what}")
        dataset.InstanceNumber = str(number)
        self._image(dataset, rows, columns, PIXEL_SPACING_MM)
        dataset.Modality = "US" if sop_class == ULTRASOUND else "OT"
        dataset.ImageType = ["DERIVED", "SECONDARY"]
        dataset.BitsAllocated = 8
        dataset.BitsStored = 8
        dataset.HighBit = 7
        name = pixel_text.name_of(self.marker.token)
        pixels, words = pixel_text.write_name(uid, columns, rows, regions, name)
        dataset.add_new(0x7FE00010, "OB", even(pixels))
        return self.finish(dataset, ExplicitVRLittleEndian), words

    def captures(self) -> list[Lettered]:
        """Return a secondary capture (PS3.3 A.8.1) and an ultrasound image (PS3.3 A.6)."""
        middle = (0, CAPTURE_ROWS // 3, CAPTURE_COLUMNS, BANNER_ROWS)
        capture, words = self.lettered(
            SECONDARY_CAPTURE, CAPTURE_ROWS, CAPTURE_COLUMNS, [middle], 1
        )
        capture.ConversionType = "WSD"
        banner = (0, 0, ULTRASOUND_COLUMNS, BANNER_ROWS)
        ultrasound, more = self.lettered(
            ULTRASOUND, ULTRASOUND_ROWS, ULTRASOUND_COLUMNS, [banner], 2
        )
        ultrasound.ManufacturerModelName = "Undeclared"
        return [
            Lettered("capture", capture, words),
            Lettered("ultrasound image", ultrasound, more),
        ]

    def declared(self, rules: Sequence[ctp_pixels.PixelRule]) -> tuple[list[Lettered], list[str]]:
        """Return an image for each declaration with regions, and what is too large to be made."""
        made: list[Lettered] = []
        too_large = []
        left = ALL_DECLARED
        for index, rule in enumerate(rules):
            if not rule.regions:
                continue
            what = f"image for ctp_pixel_rules[{index}]"
            rows, columns = int(rule.rows), int(rule.columns)
            if rows * columns > min(left, LARGEST_DECLARED) or max(rows, columns) > LONGEST_SIDE:
                too_large.append(what)
                continue
            left -= rows * columns
            sop_class = rule.sop_class or ULTRASOUND
            # What several declarations are for is blanked in the regions of all of them.
            device = (rule.manufacturer, rule.model, rule.rows, rule.columns)
            regions = tuple(
                region
                for each in rules
                if each.sop_class in ("", sop_class)
                and device == (each.manufacturer, each.model, each.rows, each.columns)
                for region in each.regions
            )
            number = FIRST_DECLARED + index
            dataset, words = self.lettered(sop_class, rows, columns, regions, number)
            dataset.Manufacturer = rule.manufacturer
            dataset.ManufacturerModelName = rule.model
            made.append(Lettered(what, dataset, words, regions))
        return made, too_large


def make_study(
    token: str,
    known: bool,
    ct_instances: int = 5,
    pseudonym_prefix: str = "",
    issuer: str | None = None,
    pixel_rules: Sequence[Mapping[str, Any]] | None = None,
    blanks: bool = True,
) -> Study:
    """Build the synthetic study of a proof.

    Args:
        token: ten digits, the first one 1; equal tokens give equal studies.
        known: whether it is for the patient whom KeyDB knows, or for the one whom it does not.
        ct_instances: number of CT slices, `MIN_CT_INSTANCES` to `MAX_CT_INSTANCES`.
        pseudonym_prefix: what the pseudonym begins with, as for `pseudonym_of`.
        issuer: (0010,0021) of the objects; a mark where it is not given. CTP knows a patient by the
            issuer too, so that a mark would not be let through.
        pixel_rules: what the site declares, as ctp_pixel_rules: the known patient then has images
            with a name in their pixels too. Without it, none.
        blanks: as `Study.blanks`.

    Raises:
        ValueError: the token, the number of slices, the prefix or a declaration is out of range.
        RuntimeError: pydicom, or what writes the names, is missing on this host.
    """
    check_token(token)
    if PYDICOM_ERROR:
        raise RuntimeError(
            f"pydicom is missing on this host ({PYDICOM_ERROR}). Install python3-pydicom."
        )
    if not MIN_CT_INSTANCES <= ct_instances <= MAX_CT_INSTANCES:
        raise ValueError(
            f"ct_instances is {ct_instances}; it may be {MIN_CT_INSTANCES} to {MAX_CT_INSTANCES}."
        )
    wrong = ctp_pixels.problems(pixel_rules or [])
    if wrong:
        raise ValueError(" ".join(wrong))
    builder = _Builder(token, known, ct_instances, issuer)
    datasets = [builder.slice(index) for index in range(ct_instances)]
    datasets += [builder.structure_set(), builder.plan(), builder.dose()]
    captures: list[Lettered] = []
    declared: list[Lettered] = []
    too_large: list[str] = []
    if known and pixel_rules is not None:
        captures = builder.captures()
        declared, too_large = builder.declared(ctp_pixels.rules(pixel_rules))
    moment = builder.moment
    return Study(
        token=token,
        patient_id=builder.patient_id,
        pseudonym=pseudonym_of(token, pseudonym_prefix),
        datasets=datasets,
        texts=builder.marker.texts,
        uids=builder.marker.uids,
        dates={moment.birth: "the date of birth", moment.study: "the date of the study"},
        time=moment.time,
        captures=captures,
        declared=declared,
        too_large=too_large,
        blanks=blanks,
    )


def build_studies(
    report: Report,
    token: str,
    ct_instances: int,
    pseudonym_prefix: str,
    pixel_rules: Sequence[Mapping[str, Any]],
    blanks: bool,
) -> list[Study]:
    """Return the known and the unknown patient's study; a row says so where that fails."""
    try:
        return [
            make_study(token, known, ct_instances, pseudonym_prefix, None, pixel_rules, blanks)
            for known in (True, False)
        ]
    except (RuntimeError, ValueError) as error:
        report.add(
            "The proof can build its study",
            [str(error)],
            "",
            "Install the packages of verify_packages (site.yml does), and see the variables"
            " verify_ct_instances and ctp_pixel_rules.",
        )
        return []


def write_object(dataset: Dataset, path: Path) -> None:
    """Write a dataset as a DICOM file (PS3.10)."""
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    implicit = syntax == ImplicitVRLittleEndian
    if int(pydicom.__version__.split(".")[0]) >= 3:
        pydicom.dcmwrite(
            path, dataset, implicit_vr=implicit, little_endian=True, enforce_file_format=True
        )
        return
    # pydicom 2 takes the encoding from the dataset.
    dataset.is_implicit_VR = implicit
    dataset.is_little_endian = True
    pydicom.dcmwrite(path, dataset, write_like_original=False)


def write_study(study: Study, directory: Path) -> list[Path]:
    """Write the objects of a study into a directory, one file each, and return the files.

    File names tell nothing of the patient, so that they may appear in a command line.
    """
    files = []
    for number, dataset in enumerate(study.datasets, start=1):
        files.append(directory / f"{number:04d}.dcm")
        write_object(dataset, files[-1])
    return files
