"""The way of an object: real files, what the gate makes of them, the rules, the look behind them.

The files are those that the pinned packages bring, taken at test time. What stands here in the
place of CTP is the interpreter of its script (``ctp_rules``).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pydicom
import pynetdicom
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import pixels as ctp_pixels
from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import (
    UID_KEY_PLACEHOLDER,
    ScriptOptions,
    anonymizer_script,
    resolved,
)
from ctp_rules import reading, script
from ctp_rules.anonymizer import Anonymizer, Outcome, QuarantineError, flat, shown
from ctp_supervisor.data_set.rewrite import Rewriter
from ctp_supervisor.data_set.rules import Rules, rules
from ctp_supervisor.dicom.encapsulated import ENCAPSULATED
from ctp_supervisor.dicom.encoding import EXPLICIT, IMPLICIT
from ctp_supervisor.dicom.part10 import begin_data_set, is_truncated
from ctp_supervisor.entrance.incoming import _IMPLICIT_CLASSES
from ctp_supervisor.export.egress import Checker, Violation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_file_meta_info
from pydicom.uid import UID

PATIENT, PSEUDONYM = "PAT-1", "ANON-1"
TABLE = {f"PatientID/{PATIENT}|": PSEUDONYM, f"DateShift/{PATIENT}": "-17"}
KEY = "ab" * 32
EVERYTHING = {
    "retain_patient_characteristics": True,
    "retain_device_identity": True,
    "clean_descriptors": True,
}
OPTIONS = {
    "strict": ScriptOptions(),
    "radiotherapy": ScriptOptions(**resolved({"preset": "radiotherapy"})),
    "full": ScriptOptions(longitudinal="full", **EVERYTHING),
}
RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
_COLOR_PALETTE = "1.2.840.10008.5.1.4.39.1"  # of no patient
_SOP_CLASS, _SOP_INSTANCE, _SERIES = 0x00080016, 0x00080018, 0x0020000E


# Devices that are declared: of the capture of tests/marks/flood.py.
DECLARED = ctp_pixels.rules([{"manufacturer": "AusCAT", "model": "Flood", "action": "clean"}])


def script_text(options: ScriptOptions, every_device: bool = False) -> str:
    """Return the script as it is installed, with a key; or as if every device were declared."""
    text = anonymizer_script(options, DECLARED).replace(UID_KEY_PLACEHOLDER, KEY)
    if every_device:
        text = text.replace(ctp_pixels.gate(DECLARED), "@always()@remove()")
    return text


def real_files() -> dict[str, bytes]:
    """Return the files that the pinned packages bring, each of the patient `PATIENT`.

    They are those that can come over the network: whole, of a SOP Class, in a known transfer
    syntax. Of the slices of a series, one. RT Dose of 32 bits comes as a copy of 16 bits with empty
    pixels, since ``dciodvfy`` aborts at every one of 32.
    """
    found: dict[str, bytes] = {}
    series = set()
    for package, folder in ((pydicom, "data"), (pynetdicom, "tests/dicom_files")):
        root = Path(str(package.__file__)).parent
        for path in sorted(each for each in (root / folder).rglob("*") if each.is_file()):
            dataset = _whole(path)
            if dataset is None:
                continue
            if "dicomdirtests" in path.parts:
                if shown(dataset, _SERIES) in series:
                    continue
                series.add(shown(dataset, _SERIES))
            with contextlib.suppress(TypeError, ValueError, InvalidDicomError):
                # The library cannot write all that it can read.
                found[f"{root.name}/{path.relative_to(root / folder)}"] = of_the_patient(dataset)
    return found


def _whole(path: Path) -> Dataset | None:
    """Return the data set of a file that a sender could send."""
    content = path.read_bytes()
    if content[128:132] == b"DICM":
        if is_truncated(path):
            return None
        dataset = reading.read(content)
    else:
        try:
            dataset = pydicom.dcmread(path, force=True)
        except (OSError, ValueError, AttributeError, NotImplementedError):
            return None  # no DICOM at all
        if "TransferSyntaxUID" not in dataset.file_meta and "SOPClassUID" in dataset:
            implicit, little = dataset.original_encoding
            if little:
                dataset.file_meta.TransferSyntaxUID = UID(IMPLICIT if implicit else EXPLICIT)
    sendable = "TransferSyntaxUID" in dataset.file_meta
    return dataset if sendable and shown(dataset, _SOP_CLASS) not in ("", _COLOR_PALETTE) else None


def of_the_patient(dataset: Dataset) -> bytes:
    """Return the file of an object that is given to `PATIENT`; RT Dose of 32 bits with 16."""
    dataset.PatientID = PATIENT
    for keyword in ("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence"):
        if keyword in dataset:
            del dataset[keyword]
    if shown(dataset, _SOP_CLASS) == RT_DOSE and dataset.get("BitsAllocated") == 32:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        frames = int(dataset.get("NumberOfFrames", None) or 1)
        dataset.PixelData = bytes(2 * dataset.Rows * dataset.Columns * frames)
        dataset["PixelData"].VR = "OW"
        if dataset.file_meta.TransferSyntaxUID in ENCAPSULATED:
            dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    sop_class, instance = shown(dataset, _SOP_CLASS), shown(dataset, _SOP_INSTANCE)
    dataset.preamble = bytes(128)
    buffer = BytesIO()
    dcmwrite(buffer, dataset)
    syntax = begin_data_set(buffer)
    return as_file(buffer.read(), sop_class, instance, syntax)


def as_file(data: bytes, sop_class: str, instance: str, syntax: str) -> bytes:
    """Return an encoded data set as a DICOM file (PS3.10)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(instance)
    meta.TransferSyntaxUID = UID(syntax)
    buffer = DicomBytesIO()
    buffer.write(bytes(128) + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return buffer.getvalue() + data


def handed_over(content: bytes, rules: Rules) -> bytes:
    """Return the file of what the gate of the supervisor hands to CTP of an object."""
    file = BytesIO(content)
    came = begin_data_set(file)
    data = file.read()
    dataset = reading.read(content, pixels=False)
    sop_class, instance = shown(dataset, _SOP_CLASS), shown(dataset, _SOP_INSTANCE)
    goes = came
    if came == EXPLICIT and sop_class.startswith(_IMPLICIT_CLASSES):
        goes = IMPLICIT
    if goes not in (IMPLICIT, EXPLICIT) and goes not in ENCAPSULATED:
        return content
    rewriter = Rewriter(came == IMPLICIT, goes == IMPLICIT, rules, syntax=goes)
    pieces = [bytes(each) for each in [*rewriter.feed(data), *rewriter.finish()]]
    return as_file(b"".join(pieces), sop_class, instance, goes)


def looked_at(content: bytes) -> None:
    """Look at a file that would leave, as the supervisor does on its way to Orthanc.

    Raises:
        Violation: it is held back.
    """
    file = BytesIO(content)
    checker = Checker(begin_data_set(file), [PSEUDONYM])
    checker.feed(file.read())
    checker.finish()


@dataclass(frozen=True)
class Passed:
    """What became of an object.

    Attributes:
        left: its file; empty where it was held back.
        held: why it was.
        sop_class: its SOP Class UID.
        came: its elements, as CTP was given them.
        outcomes: what the script makes of each.
    """

    left: bytes = field(repr=False, default=b"")
    held: str = ""
    sop_class: str = ""
    came: tuple[Outcome, ...] = field(repr=False, default=())
    outcomes: tuple[Outcome, ...] = field(repr=False, default=())


@functools.lru_cache(maxsize=16)
def _read(text: str) -> tuple[Anonymizer, Rules]:
    return Anonymizer(script.parse(text)), rules(text.encode())


class Way:
    """Gate, rules and the look at what leaves, with one set of options.

    ``every_device``: each is declared, or only that of the capture of tests/marks/flood.py.
    """

    def __init__(
        self, options: ScriptOptions, table: Mapping[str, str] = TABLE, every_device: bool = True
    ) -> None:
        text = script_text(options, every_device)
        self._table = table
        self._anonymizer, self.rules = _read(text)

    def through(self, content: bytes) -> Passed:
        """Return what becomes of the file of an object."""
        source = reading.read(handed_over(content, self.rules))
        sop_class = shown(source, _SOP_CLASS)
        try:
            result = self._anonymizer.run(
                source, lambda kind, key: self._table.get(f"{kind}/{key}")
            )
        except QuarantineError as error:
            return Passed(held=str(error), sop_class=sop_class)
        syntax = UID(source.file_meta.TransferSyntaxUID)
        result.dataset.file_meta = FileMetaDataset()
        result.dataset.file_meta.TransferSyntaxUID = syntax
        buffer = BytesIO()
        dcmwrite(
            buffer,
            result.dataset,
            enforce_file_format=True,
            implicit_vr=syntax.is_implicit_VR,
            little_endian=syntax.is_little_endian,
        )
        left = buffer.getvalue()
        try:
            looked_at(left)
        except Violation as error:
            return Passed(held=str(error), sop_class=sop_class)
        return Passed(left, "", sop_class, tuple(flat(source)), result.outcomes)
