"""De-identification: PS3.15 Annex E, Basic Application Level Confidentiality Profile.

The profile's table (which attribute to remove, empty, replace; PS3.15 Table E.1-1) and the dummy
values come from the library ``dicomanonymizer``. Its own walk is not used, because it applies the
table to the top level only. Here a *new* data set is built at every nesting level, and an element
reaches it only when a rule lets it; what no rule knows stays behind. In order:

==========================================  =======================================================
Element                                     What becomes of it
==========================================  =======================================================
private; group length; overlays, curves     left behind
patient, visit, trial, signature groups     left behind (``DROPPED_GROUPS``), whatever the element
in the table: remove                        left behind; a sequence with all its items
UID                                         well-known ones stay, all others are mapped (``uids``)
other sequences                             the same rules inside each item
in the table: empty, or remove if allowed   zero length, so that a Type 2 attribute stays present
in the table: replace                       the library's dummy for its VR
ROI Name, Segment Label                     a standard structure name stays, else "ROI <number>"
coded concept                               stays when the standard defines it, with its own meaning
code string (CS)                            stays when it is a defined term (``vocabulary``)
number (DS, IS, binary)                     stays, unless it does not read as a number
pixel data, palettes, lookup tables         stay
everything else: text, dates, names, UN     left behind
==========================================  =======================================================

Dates and times never survive: this is not the Retain Longitudinal Temporal Information Option.
Patient characteristics (sex, age, weight) do not survive either. Pixel data are not looked at; an
object that declares burned-in annotation is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pydicom
from dicomanonymizer import simpledicomanonymizer as library
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from . import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from .spool import Reason
from .uids import UidMapper, is_well_known
from .vocabulary import (
    CONVOLUTION_KERNEL,
    MANUFACTURERS,
    RESCALE_TYPES,
    is_code_string,
    is_structure_name,
    known_concept,
)

METHOD = "CTP stand-in: PS3.15 Basic Profile, listed values only"
PROFILE_CODES = (
    ("113100", "DCM", "Basic Application Confidentiality Profile"),
    ("113105", "DCM", "Clean Descriptors Option"),
)
"""De-identification Method Code Sequence (0012,0064); codes of PS3.16 CID 7050."""

TEXT_VRS = frozenset({"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
TEMPORAL_VRS = frozenset({"DA", "DT", "TM"})
DECIMAL_VRS = frozenset({"DS", "IS"})
BINARY_NUMBER_VRS = frozenset(
    {"AT", "FD", "FL", "OD", "OF", "OL", "OV", "SL", "SS", "SV", "UL", "US", "UV"}
)
NUMBERS = re.compile(rb"[0-9eE+\-. \\\x00]*")

DROPPED_GROUPS = frozenset(
    {0x0000, 0x0002, 0x0004, 0x0010, 0x0012, 0x0016, 0x0032, 0x0034, 0x0038, 0x0072, 0x0074, 0x0088}
    | {0x0400, 0x4000, 0x4008, 0xFFFA, 0xFFFC}
    | set(range(0x2000, 0x2202, 2))
    | set(range(0x5000, 0x5100, 2))
    | set(range(0x6000, 0x6100, 2))
) - {0x2050}
"""Groups that describe a person, a visit, a trial, a signature, a film, a photo, or draw text."""


def _tags(*keywords: str) -> frozenset[BaseTag]:
    return frozenset(Tag(keyword) for keyword in keywords)


BULK = _tags(
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "LUTData", "BlendingLookupTableData"),
    *(f"{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue", "Alpha")),
    *(f"Segmented{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")),
    *("TrianglePointIndexList", "EdgePointIndexList", "VertexPointIndexList"),
    "PrimitivePointIndexList",
)
UNSUPPORTED = _tags("EncapsulatedDocument", "WaveformSequence", "EncryptedContent", "HPGLDocument")
TYPE_2 = _tags(
    *("Manufacturer", "PositionReferenceIndicator", "Laterality", "ROIGenerationAlgorithm"),
    *("RTROIInterpretedType", "ROIInterpreter"),
)
ALWAYS_MAPPED = _tags("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
IDENTIFYING = _tags(
    *("AccessionNumber", "StudyID", "InstitutionName", "InstitutionAddress", "StationName"),
    *("InstitutionalDepartmentName", "ReferringPhysicianAddress", "DeviceSerialNumber"),
    *("ReferringPhysicianTelephoneNumbers", "RequestedProcedureID", "ScheduledProcedureStepID"),
    *("FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest"),
    *("AdmissionID", "CurrentPatientLocation", "PerformedProcedureStepID", "ServiceEpisodeID"),
    *("SpecimenAccessionNumber", "PersonAddress"),
)
"""Besides all person names and all of group 0010: what the guard looks for in the result."""

SOP_CLASS, CHARACTER_SET = Tag("SOPClassUID"), Tag("SpecificCharacterSet")
CODE_VALUE, CODING_SCHEME = Tag("CodeValue"), Tag("CodingSchemeDesignator")
ROI_NAME, ROI_NUMBER = Tag("ROIName"), Tag("ROINumber")
SEGMENT_LABEL, SEGMENT_NUMBER = Tag("SegmentLabel"), Tag("SegmentNumber")
LISTED_TEXTS = {
    Tag("Manufacturer"): MANUFACTURERS.__contains__,
    Tag("RescaleType"): RESCALE_TYPES.__contains__,
    Tag("ConvolutionKernel"): lambda value: CONVOLUTION_KERNEL.fullmatch(value) is not None,
}

_REMOVE, _EMPTY, _REPLACE = "remove", "empty", "replace"
_ACTIONS = {
    library.delete: _REMOVE,
    library.empty: _EMPTY,
    library.delete_or_empty: _EMPTY,
    library.delete_or_replace: _EMPTY,
    library.delete_or_empty_or_replace: _EMPTY,
    library.delete_or_empty_or_replace_UID: _EMPTY,
    library.replace: _REPLACE,
    library.empty_or_replace: _REPLACE,
    library.replace_UID: _REPLACE,
}
RULES = {
    Tag(*tag): _ACTIONS[action]
    for tag, action in library.initialize_actions("dicomfields_2026c").items()
    if len(tag) == 2  # the masked ones are overlays and curves: DROPPED_GROUPS
}


class RefusedError(Exception):
    """The object must not leave: it goes to quarantine for ``reason``.

    ``detail`` may say where, such as a tag; never what was found there.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value} ({detail})" if detail else reason.value)
        self.reason = reason


@dataclass(frozen=True)
class Identity:
    """What told who the patient is, and which study this was; the guard looks for it."""

    texts: frozenset[str]
    uids: frozenset[str]


@dataclass(frozen=True)
class Deidentified:
    """The result, encoded as a DICOM file, and what the guard needs to judge it."""

    content: bytes
    pseudonym: str
    issued_uids: frozenset[str]
    identity: Identity


def deidentify(content: bytes, pseudonym: str, mapper: UidMapper) -> Deidentified:
    """De-identify one object, given as a DICOM file.

    The transfer syntax stays, except that Deflated becomes Explicit VR Little Endian. The result
    carries Patient Identity Removed (0012,0062) ``YES`` with method and codes (PS3.15 E.1.1).

    Raises ``RefusedError`` for content that this program cannot clean, and any exception of the
    parser for a data set that is damaged inside: the caller quarantines both.
    """
    source = pydicom.dcmread(BytesIO(content))
    syntax = UID(source.file_meta.TransferSyntaxUID)
    if syntax == DeflatedExplicitVRLittleEndian:
        syntax = ExplicitVRLittleEndian
    for required in (SOP_CLASS, *ALWAYS_MAPPED):
        if not _string(source, required):
            raise RefusedError(Reason.UNREADABLE)
    if not is_well_known(_string(source, SOP_CLASS)):
        raise RefusedError(Reason.UNSUPPORTED_CONTENT)
    cleaner = _Cleaner(mapper, syntax.is_implicit_VR)
    result = cleaner.clean(source)
    _mark(result, pseudonym, cleaner)

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = result.SOPClassUID
    meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    result.file_meta = meta
    buffer = BytesIO()
    pydicom.dcmwrite(
        buffer,
        result,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=True,
        enforce_file_format=True,
    )
    return Deidentified(buffer.getvalue(), pseudonym, frozenset(cleaner.issued), _identity(content))


def dictionary_vr(tag: BaseTag) -> str | None:
    """The VR of the data dictionary, ``US or SS`` where it has two; ``None`` when unknown."""
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return None


def _mark(result: Dataset, pseudonym: str, cleaner: _Cleaner) -> None:
    """Write what de-identification itself says, and the Type 2 attributes of the patient."""
    result.SpecificCharacterSet = cleaner.character_set
    result.PatientName = pseudonym
    result.PatientID = pseudonym
    result.PatientBirthDate = ""
    result.PatientSex = ""
    result.PatientIdentityRemoved = "YES"
    result.DeidentificationMethod = METHOD
    items = []
    for code, scheme, meaning in PROFILE_CODES:
        item = cleaner.new_dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, scheme, meaning
        items.append(item)
    result.DeidentificationMethodCodeSequence = Sequence(items)
    result.LongitudinalTemporalInformationModified = "REMOVED"


def _identity(content: bytes) -> Identity:
    # Read apart from the data set that is cleaned: this decodes, cleaning copies what is encoded.
    source = pydicom.dcmread(BytesIO(content))
    keywords = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    uids = {str(source.get(keyword, "")) for keyword in keywords}
    return Identity(
        frozenset(_identifying_texts(source)),
        frozenset(uid for uid in uids if uid and not is_well_known(uid)),
    )


def _identifying_texts(dataset: Dataset, inside: bool = False) -> Iterator[str]:
    for tag in list(dataset.keys()):
        if tag.is_private:
            continue
        vr = dictionary_vr(tag)
        personal = inside or tag.group == 0x0010
        if vr == "SQ":
            for item in dataset[tag].value or ():
                yield from _identifying_texts(item, personal)
        elif vr == "PN" or (
            vr in TEXT_VRS | TEMPORAL_VRS and (personal or tag in IDENTIFYING) and vr != "CS"
        ):
            value = dataset[tag].value
            for part in value if isinstance(value, (list, MultiValue)) else [value]:
                if part:
                    yield str(part).strip()


class _Cleaner:
    """Builds the clean data set of one object and remembers which UIDs it issued."""

    character_set = "ISO_IR 192"

    def __init__(self, mapper: UidMapper, implicit: bool) -> None:
        self.issued: set[str] = set()
        self._mapper = mapper
        self._implicit = implicit

    def new_dataset(self) -> Dataset:
        """An empty data set into which raw elements can be put without decoding them."""
        dataset = Dataset()
        dataset.set_original_encoding(self._implicit, True, dataset._character_set)
        return dataset

    def clean(self, source: Dataset) -> Dataset:
        """A new data set with what may survive of ``source``."""
        result = self.new_dataset()
        for tag in list(source.keys()):
            if tag.is_private or tag.element == 0 or tag.group in DROPPED_GROUPS:
                continue
            if tag in UNSUPPORTED:
                raise RefusedError(Reason.UNSUPPORTED_CONTENT, str(tag))
            vr = dictionary_vr(tag)
            if vr is None or RULES.get(tag) == _REMOVE:
                continue
            if vr == "SQ":
                self._sequence(result, tag, source[tag])
            else:
                self._leaf(result, tag, vr, source)
        self._concept(result, source)
        return result

    def _sequence(self, result: Dataset, tag: BaseTag, element: DataElement) -> None:
        if element.VR != "SQ":
            raise RefusedError(Reason.DEIDENTIFICATION_FAILED, str(tag))
        items = [self.clean(item) for item in element.value or ()]
        result.add(DataElement(tag, "SQ", Sequence(item for item in items if len(item))))

    def _leaf(self, result: Dataset, tag: BaseTag, vr: str, source: Dataset) -> None:
        value = encoded_value(source, tag)
        if vr == "UI":
            uids = [part.decode("ascii").strip("\x00 ") for part in value.split(b"\\")]
            result.add(DataElement(tag, vr, [self._uid(tag, uid) for uid in uids if uid]))
        elif tag == ROI_NAME:
            result.add(DataElement(tag, vr, _name(value, "ROI", _string(source, ROI_NUMBER))))
        elif tag == SEGMENT_LABEL:
            result.add(DataElement(tag, vr, _name(value, "Segment", _segment(source))))
        elif tag in RULES:
            result.add(_substitute(tag, vr, RULES[tag]))
        elif tag == Tag("BurnedInAnnotation") and value.strip(b" \x00").upper() == b"YES":
            raise RefusedError(Reason.BURNED_IN_ANNOTATION)
        elif vr == "CS" or tag in LISTED_TEXTS:
            self._listed(result, tag, vr, value)
        elif vr in DECIMAL_VRS:
            if NUMBERS.fullmatch(value):
                result[tag] = self._raw(tag, vr, value)
        elif tag in BULK or set(vr.split(" or ")) & BINARY_NUMBER_VRS:
            raw = source.get_item(tag)
            stored = raw.VR if raw is not None else None
            if stored is None or stored in vr or stored == "UN":
                result[tag] = self._raw(tag, stored or vr, value, _length(raw))

    def _uid(self, tag: BaseTag, uid: str) -> str:
        if is_well_known(uid) and tag not in ALWAYS_MAPPED:
            return uid
        mapped = self._mapper.map(uid)
        self.issued.add(mapped)
        return mapped

    @staticmethod
    def _listed(result: Dataset, tag: BaseTag, vr: str, value: bytes) -> None:
        allowed = LISTED_TEXTS.get(tag, is_code_string)
        values = [part.decode("ascii", "replace").strip("\x00 ") for part in value.split(b"\\")]
        if all(not part or allowed(part) for part in values):
            result.add(DataElement(tag, vr, values))
        elif tag == Tag("ImageType"):
            # Its first two values say what the rest of the image means: keep what is known.
            result.add(DataElement(tag, vr, [v if allowed(v) else "OTHER" for v in values]))
        elif tag in TYPE_2:
            result.add(DataElement(tag, vr, ""))

    def _raw(self, tag: BaseTag, vr: str, value: bytes, length: int | None = None) -> Any:
        return RawDataElement(
            tag, vr, len(value) if length is None else length, value, 0, self._implicit, True
        )

    @staticmethod
    def _concept(result: Dataset, source: Dataset) -> None:
        concept = known_concept(_string(source, CODE_VALUE), _string(source, CODING_SCHEME))
        if concept:
            result.CodeValue, result.CodingSchemeDesignator, result.CodeMeaning = concept


def _substitute(tag: BaseTag, vr: str, action: str) -> DataElement:
    element = DataElement(tag, vr.partition(" or ")[0], None)
    if action == _REPLACE:
        library.replace_element(element)
    return element


def _name(value: bytes, kind: str, number: str) -> str:
    name = value.decode("ascii", "replace").strip("\x00 ")
    if is_structure_name(name):
        return name
    return f"{kind} {int(number)}" if number else kind


def _segment(source: Dataset) -> str:
    value = encoded_value(source, SEGMENT_NUMBER)  # US
    return str(int.from_bytes(value, "little")) if value else ""


def _string(dataset: Dataset, tag: BaseTag) -> str:
    """A single plain value; empty when it is absent."""
    if tag not in dataset:
        return ""
    return encoded_value(dataset, tag).decode("ascii", "replace").strip("\x00 ")


def encoded_value(dataset: Dataset, tag: BaseTag) -> bytes:
    """The value as it is encoded, little endian; of the character set, nothing.

    Raises ``ValueError`` when it is shorter than its length field says.
    """
    raw = dataset.get_item(tag) if tag in dataset else None
    if raw is None or tag == CHARACTER_SET:  # decoded while reading, and ours to write
        return b""
    if not isinstance(raw, RawDataElement):
        return _encoded(raw)  # a few elements are decoded by the parser, for its own use
    value = raw.value or b""
    if raw.length not in (len(value), 0xFFFFFFFF):
        raise ValueError("truncated element")
    return value


def _encoded(element: DataElement) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_data_element(buffer, element)
    return bytes(buffer.getvalue()[8:])  # after tag and length


def _length(raw: Any) -> int | None:
    """Undefined length (encapsulated pixel data) must stay undefined."""
    return 0xFFFFFFFF if isinstance(raw, RawDataElement) and raw.length == 0xFFFFFFFF else None
