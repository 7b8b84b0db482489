"""A study with a mark in every element of the DICOM dictionary, and what of it arrived elsewhere.

For proofs against a de-identifying gateway whose script is not known to this tool: it knows the
dictionary (pydicom's), not what the gateway is told to keep. CT, RTSTRUCT, RTPLAN and RTDOSE are
those of `phantom`; a comprehensive SR and a secondary capture are added, which refer to them.

    python tests/marks/flood.py write DIRECTORY [--text-in-numbers] [--slices 12]
    python tests/marks/flood.py check DIRECTORY ARRIVED [--option modified-dates …]

Where marks stand: at the top level every element of the dictionary with a text, date, number
string, UID or bytes, if the object has no value of its own there; the same in the first item of
each of the object's own sequences, at every depth; and, spread over the CT slices, in an item of
*every* sequence of the dictionary. Every such item also has private elements and sequences down to
depth three.
Besides: private groups, overlays, curves, file meta information, preamble, what follows the pixel
data.

Without a mark: values by which an object is what it is (the phantom's own: SOP class, geometry,
references, pixels), and group lengths. Numbers (DS, IS) carry the token as digits; with
``--text-in-numbers`` a text, which no number may be.

What the gateway was told to keep by an option of PS3.15 is no mark where Table E.1-1 has that
option for the attribute, and there alone: with ``modified-dates`` a time (never the day), with
``patient-characteristics`` an age or a number. It is counted.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import struct
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "unit"))

import conftest  # noqa: E402,F401  makes the checkout importable as the collection
from ansible_collections.auscat.imaging.plugins.module_utils.proof import (  # noqa: E402
    marks as proof_marks,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof import names as proof_names  # noqa: E402
from ansible_collections.auscat.imaging.plugins.module_utils.proof import (  # noqa: E402
    phantom,
    ps3_15_e1_1,
    studies,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.judgement import (  # noqa: E402
    KEPT_ELEMENTS,
)

SR = "1.2.840.10008.5.1.4.1.1.88.33"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
NAMES = {**phantom.SOP_CLASS_NAMES, SR: "SR", SECONDARY_CAPTURE: "SC"}
SLICES = 12

_VRS = "AE AS CS DA DS DT IS LO LT OB OW PN SH ST TM UC UI UN UR UT"
MARKED_VRS = frozenset(_VRS.split())
NUMBERS = {
    "US": b"\1\0",
    "SS": b"\1\0",
    "UL": b"\1\0\0\0",
    "SL": b"\1\0\0\0",
    "AT": b"\x08\0\x60\0",
    "FL": struct.pack("<f", 1),
    "FD": struct.pack("<d", 1),
}
DATE = "19370513"
TIME = "034711.271828"
AGE = "087Y"
LONG_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UC", "UN", "UR", "UT", "SV", "UV"}
ITEM = 0xFFFEE000
PIXEL_DATA = 0x7FE00010


def dictionary() -> Iterator[tuple[int, str]]:
    """Yield tag and VR of what can stand in a data set."""
    for tag, entry in sorted(DicomDictionary.items()):
        group = tag >> 16
        if group < 8 or group >= 0xFFFA or tag == PIXEL_DATA or group in (0x0004,):
            continue
        yield tag, str(entry[0]).split(" or ")[-1]
    for group in (0x5000, 0x5002, 0x6000, 0x6002):
        yield from ((group << 16 | element, vr) for element, vr in REPEATING[group >> 8])
    for digit in range(16):
        yield 0x00280402 | digit << 4, "LO"
        yield 0x00280800 | digit << 4, "CS"
        yield 0x00203100 | digit, "CS"


REPEATING = {
    0x50: [(0x0020, "CS"), (0x0022, "LO"), (0x0030, "SH"), (0x2500, "LO"), (0x3000, "OW")],
    0x60: [(0x0022, "LO"), (0x0040, "CS"), (0x1500, "LO"), (0x3000, "OW"), (0x4000, "LT")],
}

# What an option keeps, by its column of Table E.1-1.
OPTIONS = {
    "modified-dates": ps3_15_e1_1.MODIFIED_DATES,
    "patient-characteristics": ps3_15_e1_1.PATIENT_CHARACTERISTICS,
}

# With a mark in one of these, at its root, an object says that its pixels are not to be trusted,
# and is held back: a conversion, the device of a capture, a face.
SAYS_OF_PIXELS = {
    *(0x00080064, 0x00181010, 0x00181012, 0x00181016, 0x00181018, 0x00181019),
    0x00280302,
}
# What a site that receives the capture has to declare (ctp_pixel_rules).
DEVICE = {"manufacturer": "AusCAT", "model": "Flood", "action": "clean"}
MARKABLE = sorted(
    {tag: vr for tag, vr in dictionary() if vr in MARKED_VRS or vr in NUMBERS}.items()
)
SEQUENCES = [tag for tag, vr in dictionary() if vr == "SQ"]


@dataclass
class Marks:
    """Hands out marks and remembers where each stands."""

    token: str
    text_in_numbers: bool
    places: list[str] = field(default_factory=list)
    dates: int = 0

    def value(self, vr: str, place: str) -> bytes:
        """Return the encoded value of a mark."""
        if vr in ("DA", "TM", "DT", "AS"):
            self.dates += 1
            value = {"DA": DATE, "TM": TIME, "DT": DATE + TIME, "AS": AGE}[vr]
            return _padded(value.encode(), b" ")
        number = len(self.places)
        self.places.append(f"{vr} {place}")
        if vr == "UI":
            return _padded(f"{proof_names.UID_ROOT}{self.token}3{number:07d}".encode(), b"\0")
        if vr in ("DS", "IS") and not self.text_in_numbers:
            digits = f"{self.token}.{number % 100000:05d}" if vr == "DS" else self.token
            return _padded(digits.encode(), b" ")
        text = f"Q{self.token}{_base36(number)}"
        return _padded(f"Flood^{text}".encode() if vr == "PN" else text.encode(), b" ")


def _padded(data: bytes, pad: bytes) -> bytes:
    return data + pad * (len(data) % 2)


def _base36(number: int) -> str:
    digits = ""
    for _ in range(5):
        number, digit = divmod(number, 36)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit] + digits
    return digits


class Encoder:
    """Writes a dataset with marks, in explicit or implicit VR little endian."""

    def __init__(self, marks: Marks, implicit: bool) -> None:
        self.marks = marks
        self.implicit = implicit

    def element(self, tag: int, vr: str, value: bytes) -> bytes:
        """Encode one element."""
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        if self.implicit:
            return head + struct.pack("<I", len(value)) + value
        if vr in LONG_VRS:
            return head + vr.encode() + b"\0\0" + struct.pack("<I", len(value)) + value
        return head + vr.encode() + struct.pack("<H", len(value)) + value

    def item(self, body: bytes) -> bytes:
        """Encode one item."""
        return struct.pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, len(body)) + body

    def own(self, element: Any) -> bytes:
        """Encode an element of the object itself that is no sequence."""
        stream = DicomBytesIO()
        stream.is_implicit_VR = self.implicit
        stream.is_little_endian = True
        write_data_element(stream, element, ["utf-8"])
        return stream.getvalue()

    def private(self, place: str, group: int, depth: int) -> dict[int, bytes]:
        """Encode a private block, with a nested name."""
        base = group << 16
        found = {
            base | 0x10: self.element(base | 0x10, "LO", self.marks.value("LO", f"{place}creator")),
            base | 0x1001: self.element(
                base | 0x1001, "PN", self.marks.value("PN", f"{place}private PN")
            ),
            base | 0x1002: self.element(
                base | 0x1002, "UN", self.marks.value("UN", f"{place}private UN")
            ),
        }
        if depth:
            body = self.few(f"{place}private SQ > ")
            found[base | 0x1003] = self.element(base | 0x1003, "SQ", self.item(body))
        return found

    def few(self, place: str) -> bytes:
        """Encode one mark of each VR, as the body of an item."""
        chosen: dict[str, int] = {"PN": 0x00100010, "LO": 0x00100020}
        for tag, vr in MARKABLE:
            if vr in MARKED_VRS:
                chosen.setdefault(vr, tag)
        parts = {
            tag: self.element(tag, vr, self.marks.value(vr, place + proof_marks.describe_tag(tag)))
            for vr, tag in chosen.items()
        }
        parts |= self.private(place, 0x0009, 0)
        return b"".join(parts[tag] for tag in sorted(parts))

    def deep(self, place: str) -> dict[int, bytes]:
        """Encode sequences within sequences, three deep, that a gateway is likely to process."""
        body = self.few(f"{place}depth 3 > ")
        # Referenced Series > Referenced SOP > Purpose of Reference Code.
        found = {}
        for tags in ((0x00081115, 0x00081199, 0x0040A170), (0x0040A730, 0x0040A730, 0x0040A043)):
            inner = body
            for tag in reversed(tags[1:]):
                inner = self.merged(place, {tag: self.element(tag, "SQ", self.item(inner))})
            found[tags[0]] = self.element(tags[0], "SQ", self.item(inner))
        return found

    def merged(self, place: str, parts: dict[int, bytes]) -> bytes:
        """Encode an item that has marks of each VR besides the parts given."""
        for tag, vr in ((0x00100010, "PN"), (0x00080104, "LO"), (0x00081155, "UI")):
            mark = self.marks.value(vr, f"{place}nested {proof_marks.describe_tag(tag)}")
            parts.setdefault(tag, self.element(tag, vr, mark))
        return b"".join(parts[tag] for tag in sorted(parts))

    def everything(self, place: str, present: set[int], nested: bool) -> dict[int, bytes]:
        """Encode a mark in every element of the dictionary that is not present."""
        parts = {}
        for tag, vr in MARKABLE:
            if tag in present or (not nested and tag in SAYS_OF_PIXELS):
                continue
            if vr in NUMBERS:
                if nested:
                    parts[tag] = self.element(tag, vr, NUMBERS[vr])
                continue
            mark = self.marks.value(vr, place + proof_marks.describe_tag(tag))
            parts[tag] = self.element(tag, vr, mark)
        return parts

    def dataset(self, dataset: Dataset, place: str, within: str, sequences: list[int]) -> bytes:
        """Encode a dataset and its items with marks around what they have."""
        parts: dict[int, bytes] = {}
        for element in dataset:
            tag = int(element.tag)
            if tag == PIXEL_DATA:
                continue
            if element.VR != "SQ":
                parts[tag] = self.own(element)
                continue
            items = b""
            for number, item in enumerate(element.value):
                # The other items stay as they are: an object with a mark in each would be huge.
                path = f"{within}{proof_marks.describe_tag(tag)} > "
                full = number == 0
                body = (
                    self.dataset(item, f"{place}{path}", path, [])
                    if full
                    else b"".join(self.plain(entry) for entry in item)
                )
                items += self.item(body)
            parts[tag] = self.element(tag, "SQ", items)
        parts |= self.everything(place, set(parts), bool(within))
        for group in (0x0009, 0x0029, 0x3003):
            parts |= self.private(place, group, 1)
        if within:
            for tag, data in self.deep(place).items():
                parts.setdefault(tag, data)
        for tag in sequences:
            if tag not in parts:
                path = f"{place}{proof_marks.describe_tag(tag)} > "
                inner = self.everything(path, set(), True) | self.private(path, 0x0009, 1)
                inner |= self.deep(path)
                body = b"".join(inner[key] for key in sorted(inner))
                parts[tag] = self.element(tag, "SQ", self.item(body))
        return b"".join(parts[tag] for tag in sorted(parts))

    def plain(self, element: Any) -> bytes:
        """Encode an element and its items without marks."""
        if element.VR != "SQ":
            return self.own(element)
        items = b"".join(
            self.item(b"".join(self.plain(entry) for entry in item)) for item in element.value
        )
        return self.element(int(element.tag), "SQ", items)

    def behind_pixels(self, place: str) -> bytes:
        """Encode what may follow the pixel data: private bytes, a signature, padding."""
        parts = [
            self.element(0x7FE10010, "LO", self.marks.value("LO", f"{place}7FE1 creator")),
            self.element(0x7FE11010, "OB", self.marks.value("OB", f"{place}7FE1 bytes")),
            self.element(0xFFFAFFFA, "SQ", self.item(self.few(f"{place}signature > "))),
            self.element(0xFFFCFFFC, "OB", self.marks.value("OB", f"{place}padding")),
        ]
        return b"".join(parts)


def _phantom(token: str, slices: int) -> studies.Study:
    """Return the phantom's study without its own marks' files: only its structure is used."""
    return phantom.make_study(token, True, slices)


# Elements by which an object is what it is; the phantom has marks in most others.
def _structure(dataset: Dataset, token: str, names: set[str]) -> Dataset:
    """Return the dataset without what carries a mark of the phantom."""
    kept = Dataset()
    for element in dataset:
        if element.keyword == "ProcedureCodeSequence":
            continue
        if element.VR == "SQ" and element.tag.group < 0xFFFA:
            items = [_structure(item, token, names) for item in element.value]
            # What the phantom hides in a sequence leaves nothing, or a well-known class, behind.
            items = [item for item in items if set(item.keys()) - {Tag("ReferencedSOPClassUID")}]
            if items:
                kept.add_new(element.tag, "SQ", items)
            continue
        if element.tag.group >= 0xFFFA:
            continue
        if element.tag.is_private or element.VR in ("DA", "TM", "DT", "AS"):
            continue
        text = str(element.value)
        if element.VR == "UI":
            if text in names or not text.startswith(proof_names.UID_ROOT):
                kept.add(element)
        elif (
            element.tag == PIXEL_DATA
            or token not in text
            or text.startswith(proof_names.PATIENT_PREFIX)
        ):
            kept.add(element)
    return kept


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _reference(sop_class: str, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def _others(study: studies.Study) -> list[Dataset]:
    """Return an SR that measures something on a slice and a secondary capture made from one."""
    image = study.of_class(phantom.CT)[0]
    found = []
    for number, (sop_class, modality) in enumerate(((SR, "SR"), (SECONDARY_CAPTURE, "OT"))):
        dataset = Dataset()
        dataset.SOPClassUID = sop_class
        dataset.SOPInstanceUID = f"{proof_names.UID_ROOT}{study.token}4{number}1"
        dataset.StudyInstanceUID = image.StudyInstanceUID
        dataset.SeriesInstanceUID = f"{proof_names.UID_ROOT}{study.token}4{number}2"
        dataset.PatientID = study.patient_id
        dataset.Modality = modality
        dataset.SeriesNumber = str(90 + number)
        dataset.InstanceNumber = "1"
        found.append(dataset)
    report, capture = found
    report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
    report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
    report.ConceptNameCodeSequence = [_code("126000", "DCM", "Imaging Measurement Report")]
    series = Dataset()
    series.SeriesInstanceUID = image.SeriesInstanceUID
    series.ReferencedSOPSequence = [_reference(phantom.CT, image.SOPInstanceUID)]
    evidence = Dataset()
    evidence.StudyInstanceUID = image.StudyInstanceUID
    evidence.ReferencedSeriesSequence = [series]
    report.CurrentRequestedProcedureEvidenceSequence = [evidence]
    measured, number_item = Dataset(), Dataset()
    measured.NumericValue = "41.5"
    measured.MeasurementUnitsCodeSequence = [_code("mm", "UCUM", "millimeter")]
    number_item.RelationshipType, number_item.ValueType = "CONTAINS", "NUM"
    number_item.ConceptNameCodeSequence = [_code("103339001", "SCT", "Long axis")]
    number_item.MeasuredValueSequence = [measured]
    shown = Dataset()
    shown.RelationshipType, shown.ValueType = "INFERRED FROM", "IMAGE"
    shown.ReferencedSOPSequence = [_reference(phantom.CT, image.SOPInstanceUID)]
    number_item.ContentSequence = [shown]
    report.ContentSequence = [number_item]
    capture.Manufacturer, capture.ManufacturerModelName = DEVICE["manufacturer"], DEVICE["model"]
    capture.ConversionType = "WSD"
    capture.SourceImageSequence = [_reference(phantom.CT, image.SOPInstanceUID)]
    capture.BurnedInAnnotation = "NO"
    capture.SamplesPerPixel, capture.PhotometricInterpretation = 1, "MONOCHROME2"
    capture.Rows = capture.Columns = 16
    capture.BitsAllocated = capture.BitsStored = 8
    capture.HighBit, capture.PixelRepresentation = 7, 0
    capture.add_new(PIXEL_DATA, "OB", bytes(range(256)))
    return found


def write(directory: Path, token: str, text_in_numbers: bool, slices: int = SLICES) -> None:
    """Write the study, and what is needed to judge what becomes of it.

    With fewer slices than `SLICES`, without the sequences of the dictionary that the objects do not
    have by themselves: they are spread over those.
    """
    study = _phantom(token, slices)
    own = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    names = {str(dataset[keyword].value) for dataset in study.datasets for keyword in own}
    structures = [_structure(dataset, token, names) for dataset in study.datasets]
    structures += _others(study)
    # By which the patient is known, so that it is the same in all objects.
    issuer = f"Q{token}ISSUER"
    summary: dict[str, Any] = {"token": token, "issuer": issuer, "objects": [], "places": {}}
    for index, structure in enumerate(structures):
        structure.BurnedInAnnotation = "NO"
        structure.IssuerOfPatientID = issuer
        name = f"{index + 1:04d}"
        sop_class = str(structure.SOPClassUID)
        marks = Marks(f"{token[:8]}{index + 10:02d}", text_in_numbers)
        encoder = Encoder(marks, implicit=sop_class == phantom.RTDOSE)
        spread = sop_class == phantom.CT and slices == SLICES
        sequences = SEQUENCES[index::SLICES] if spread else []
        body = encoder.dataset(structure, "", "", sequences)
        before, after = _split(body, encoder.implicit)
        if PIXEL_DATA in structure:
            pixels = encoder.own(structure[PIXEL_DATA])
            body = before + pixels + after + encoder.behind_pixels("behind pixels ")
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID(sop_class)
        meta.MediaStorageSOPInstanceUID = structure.SOPInstanceUID
        meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if encoder.implicit else ExplicitVRLittleEndian
        )
        meta.ImplementationClassUID = UID("1.2.3.4")
        meta.SourceApplicationEntityTitle = marks.value("AE", "source AE title").decode()
        meta.PrivateInformationCreatorUID = UID(
            marks.value("UI", "private creator").decode().strip("\0")
        )
        meta.PrivateInformation = marks.value("OB", "private information")
        stream = io.BytesIO()
        header = Dataset()
        header.file_meta = meta
        header.preamble = marks.value("LO", "preamble").ljust(128, b"\0")
        header.save_as(
            stream, enforce_file_format=True, implicit_vr=encoder.implicit, little_endian=True
        )
        (directory / f"{name}.dcm").write_bytes(stream.getvalue() + body)
        plain = Dataset()
        plain.update(structure)
        del plain.IssuerOfPatientID
        plain.file_meta = meta
        plain.save_as(
            directory / f"{name}.structure",
            enforce_file_format=True,
            implicit_vr=encoder.implicit,
            little_endian=True,
        )
        summary["objects"].append(
            {
                "name": name,
                "class": NAMES[sop_class],
                "token": marks.token,
                "marks": len(marks.places),
                "dates": marks.dates,
            }
        )
        (directory / f"{name}.places").write_text("\n".join(marks.places))
    summary["patient_id"] = study.patient_id
    summary["pseudonym"] = study.pseudonym
    (directory / "summary.json").write_text(json.dumps(summary))


def _split(body: bytes, implicit: bool) -> tuple[bytes, bytes]:
    """Nothing of the dictionary lies behind the pixel data but the rest of their own group."""
    marker = struct.pack("<HH", 0x7FE0, 0x0020)
    cut = body.rfind(marker)
    return (body[:cut], body[cut:]) if cut > 0 else (body, b"")


def check(directory: Path, arrived_directory: Path, options: Collection[str] = ()) -> int:
    """Print what arrived, object by object, and return the number of problems.

    ``options``: of `OPTIONS`, those that the gateway was told to follow.
    """
    columns = {OPTIONS[option] for option in options}
    keeps = frozenset(
        row.keyword
        for row in ps3_15_e1_1.attributes().values()
        if columns.intersection(row.options)
    )
    summary = json.loads((directory / "summary.json").read_text())
    arrived = {}
    for path in sorted(arrived_directory.rglob("*")):
        if path.is_file() and path.suffix != ".json":
            dataset = dcmread(path, force=True)
            key = (str(dataset.get("SOPClassUID")), str(dataset.get("InstanceNumber")))
            arrived[key] = (path.read_bytes(), dataset)
    problems = 0
    became: dict[str, str] = {}
    pairs = []
    for entry in summary["objects"]:
        sent = dcmread(directory / f"{entry['name']}.structure")
        partner = arrived.get((str(sent.SOPClassUID), str(sent.InstanceNumber)))
        pairs.append((entry, sent, partner))
        for keyword in (
            "SOPInstanceUID",
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "FrameOfReferenceUID",
        ):
            if keyword in sent and partner is not None:
                became.setdefault(str(sent[keyword].value), str(partner[1].get(keyword, "")))
    totals: Counter[str] = Counter()
    for entry, sent, partner in pairs:
        kind = entry["class"]
        totals[f"{kind} marks sent"] += entry["marks"]
        totals[f"{kind} dates sent"] += entry["dates"]
        if partner is None:
            print(f"{entry['name']} {kind}: did not arrive")
            problems += 1
            continue
        raw, dataset = partner
        leaks, kept = _leaks(directory, entry, summary["token"], raw, dataset, keeps)
        for leak in leaks[:40]:
            print(f"{entry['name']} {kind}: {leak}")
        totals[f"{kind} marks arrived"] += len(leaks)
        if options:
            totals[f"{kind} kept by an option"] += kept
        problems += len(leaks)
        found, references = _compare(sent, dataset, became)
        totals[f"{kind} references"] += references
        for line in found[:40]:
            print(f"{entry['name']} {kind}: {line}")
        problems += len(found)
        for keyword in ("PatientID", "PatientName"):
            if str(dataset.get(keyword)) != summary["pseudonym"]:
                print(f"{entry['name']} {kind}: {keyword} is {dataset.get(keyword)!r}")
                problems += 1
    for name, count in sorted(totals.items()):
        print(f"{name}: {count}")
    print(f"{problems} problems")
    return problems


def _leaks(
    directory: Path,
    entry: dict[str, Any],
    study_token: str,
    raw: bytes,
    dataset: Dataset,
    keeps: frozenset[str],
) -> tuple[list[str], int]:
    """Return the marks that are in the file, by bytes first, and where they are now.

    And how many values are there of attributes that an option ``keeps``.
    """
    places = (directory / f"{entry['name']}.places").read_text().split("\n")
    where: dict[bytes, str] = {}
    leaks = []
    numbers: Counter[str] = Counter()
    kept = 0
    try:
        elements = list(studies.walk(dataset))
    except Exception as error:  # whatever a broken file makes pydicom raise
        # The bytes below tell what is in it all the same.
        leaks.append(f"it cannot be read to its end ({error})")
        elements = []
    for path, element in elements:
        if element.VR == "SQ":
            continue
        value = element.value if isinstance(element.value, bytes) else str(element.value).encode()
        if element.VR in ("DS", "IS") and study_token[:8].encode() in value:
            numbers[element.keyword or path] += 1
            continue
        if element.tag.is_private:
            leaks.append(f"private {path}")
        moment = re.match(rf"{DATE}|{TIME}|{AGE}".encode(), value)
        if moment and element.VR in ("DA", "TM", "DT", "AS", "LO", "ST", "UN"):
            if element.keyword in keeps and moment[0] != DATE.encode():
                kept += 1
            else:
                leaks.append(f"date, time or age at {path}")
        for hit in re.findall(study_token[:8].encode() + rb"[0-9]{2}.{0,8}", value):
            where[hit[:10]] = path
            leaks.append(f"{path} holds {hit!r}{_origin(hit, places)}")
    for keyword, count in numbers.items():
        if keyword in keeps:
            kept += count
        elif keyword not in DECLARED_NUMBERS:
            leaks += [f"the number {keyword}"] * count
    if not where:
        # Preamble, padding, what a reader skips. Digits of declared numbers are no find: alone, as
        # no other mark is.
        digits = study_token[:8].encode() + rb"[0-9]{2}(?:\.[0-9]{5})?"
        rest = re.sub(rb"(?<![0-9A-Za-z.])" + digits + rb"(?![0-9A-Za-z]{2})", b"", raw)
        leaks += [
            f"bytes outside of elements: {hit!r}"
            for hit in re.findall(
                rb".{0,8}" + study_token[:8].encode() + rb"[0-9]{2}.{0,8}", rest, re.DOTALL
            )
        ]
        if DATE.encode() in raw and not leaks:
            leaks.append("the date, in bytes outside of elements")
    return leaks, kept


def _origin(hit: bytes, places: list[str]) -> str:
    try:
        number = int(hit[11:18]) if hit[10:11] == b"3" else int(hit[10:15], 36)
        return f" from {places[number]}"
    except (ValueError, IndexError):
        return ""


# Decimal strings that any value may stand in, because images, dose and plan are nothing without
# them. Filled from a file beside this one, so that each addition is seen in review.
DECLARED_NUMBERS = frozenset((Path(__file__).with_name("declared_numbers.txt")).read_text().split())


def _compare(sent: Dataset, arrived: Dataset, became: dict[str, str]) -> tuple[list[str], int]:
    """Compare references, geometry and pixels of an object with what it has become."""
    problems = []
    try:
        there = dict(studies.walk(arrived))
    except Exception:  # said by the search for marks
        return [], 0
    count = 0
    for path, element in studies.walk(sent):
        if (
            element.VR == "UI"
            and str(element.value) in became
            and element.keyword != "SOPInstanceUID"
        ):
            count += 1
            now = there.get(path)
            if now is None or str(now.value) != became[str(element.value)]:
                problems.append(f"{path} no longer leads to what it named")
        elif element.keyword in KEPT_ELEMENTS or element.tag == Tag(PIXEL_DATA):
            now = there.get(path)
            if now is None:
                if element.value not in (None, ""):
                    problems.append(f"{path} is missing")
            elif _plain(now.value) != _plain(element.value):
                problems.append(f"{path} changed")
    return problems, count


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, str)):
        return value
    try:
        return [round(float(entry), 6) for entry in value]
    except (TypeError, ValueError):
        try:
            return round(float(value), 6)
        except (TypeError, ValueError):
            return str(value)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("write", "check"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("arrived", type=Path, nargs="?")
    parser.add_argument("--token", default="1739264850")
    parser.add_argument("--text-in-numbers", action="store_true")
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--option", action="append", choices=sorted(OPTIONS), default=[])
    arguments = parser.parse_args()
    if arguments.command == "write":
        arguments.directory.mkdir(parents=True, exist_ok=True)
        token = proof_names.check_token(arguments.token)
        write(arguments.directory, token, arguments.text_in_numbers, arguments.slices)
        return 0
    return 1 if check(arguments.directory, arguments.arrived, arguments.option) else 0


if __name__ == "__main__":
    sys.exit(main())
