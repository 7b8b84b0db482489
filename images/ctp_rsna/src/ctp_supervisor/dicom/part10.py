"""What has to be known of a DICOM file, read with as little as possible."""

from __future__ import annotations

import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.filereader import read_file_meta_info
from pydicom.tag import Tag

from .encoding import BIG_ENDIAN, DEFLATED, IMPLICIT, LONG, UNDEFINED
from .marks import MARK, MARKED, UNPACKED

# The library's warnings quote values, and standard error is the container's log.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
warnings.filterwarnings("ignore", module=r"pydicom(\..*)?\Z")

PREAMBLE = 132
_DEPTH = 60
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Header:
    """The elements that this program decides by; a missing one is empty."""

    sop_instance_uid: str
    patient_id: str
    issuer: str
    """As CTP looks it up: (0010,0021), or the Universal Entity ID of (0010,0024)."""
    identity_removed: str
    methods: tuple[str, ...]
    sop_class_uid: str = ""
    ambiguous: bool = False
    """The PatientID is not one value of visible characters: no table can tell whose it is."""
    mark: str = ""
    """What would have been lost of it (``data_set.rewrite``)."""
    study: str = ""
    series: str = ""
    unpacked: bool = False
    """Whether its image was decompressed here."""


def _uid(text: str) -> str:
    """The text, if it is a UID (PS3.5 9.1): it is shown, and could be anything."""
    return text if len(text) <= 64 and text and not set(text) - set("0123456789.") else ""


def read_header(path: Path) -> Header | None:
    """The header of a DICOM file; ``None`` when it cannot be read."""
    try:
        dataset = pydicom.dcmread(
            path,
            stop_before_pixels=True,
            specific_tags=[
                *map(
                    Tag,
                    (
                        "SpecificCharacterSet",
                        "SOPClassUID",
                        "SOPInstanceUID",
                        "PatientID",
                        "IssuerOfPatientID",
                        "IssuerOfPatientIDQualifiersSequence",
                        "PatientIdentityRemoved",
                        "DeidentificationMethod",
                        "StudyInstanceUID",
                        "SeriesInstanceUID",
                    ),
                ),
                Tag(MARK),
            ],
        )
        methods = dataset.get("DeidentificationMethod") or []
        patient_id = _text(dataset.get("PatientID"))
        return Header(
            str(dataset.get("SOPInstanceUID") or ""),
            patient_id.strip(_JAVA_BLANKS),
            _issuer(dataset),
            str(dataset.get("PatientIdentityRemoved") or ""),
            tuple(str(each) for each in ([methods] if isinstance(methods, str) else methods)),
            _uid(str(dataset.get("SOPClassUID") or "")),
            bool(re.search(r"[\\\x00-\x1f\x7f]", patient_id.rstrip("\0"))),
            _mark(dataset.get(Tag(MARK))),
            str(dataset.get("StudyInstanceUID") or ""),
            str(dataset.get("SeriesInstanceUID") or ""),
            str(dataset.file_meta.get("ImplementationVersionName") or "") == UNPACKED,
        )
    except Exception:  # pydicom raises whatever a broken file leads to
        return None


def announced_uid(path: Path) -> str:
    """The SOP Instance UID of a file of which no more can be read: CTP writes that of the command
    in front of the data set. Empty where there is none."""
    try:
        return _uid(str(read_file_meta_info(path).get("MediaStorageSOPInstanceUID") or ""))
    except Exception:  # pydicom raises whatever a broken file leads to
        return ""


_JAVA_BLANKS = "".join(map(chr, range(33)))


def _issuer(dataset: pydicom.Dataset) -> str:
    """As CTP looks it up, which trims less in front than behind. Several values keep their
    backslashes, which no issuer has."""
    value = dataset.get("IssuerOfPatientID") or ""
    if isinstance(value, pydicom.multival.MultiValue):
        return "\\".join(map(str, value))
    issuer = str(value).lstrip(" ").rstrip(_JAVA_BLANKS)
    qualifiers = dataset.get("IssuerOfPatientIDQualifiersSequence")
    if not issuer and qualifiers:
        issuer = str(qualifiers[0].get("UniversalEntityID") or "").rstrip(_JAVA_BLANKS)
    return issuer


def _text(value: Any) -> str:
    """One value, or several with what separates them."""
    if value is None or isinstance(value, str):
        return str(value or "")
    return "\\".join(map(str, value))


def _mark(element: Any) -> str:
    value = element.value if element is not None else ""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    # A sender may have written it: then it is nothing to be shown.
    return text.strip() if MARKED.fullmatch(text.strip()) else ""


def begin_data_set(file: BinaryIO) -> str:
    """Go to where the data set of an open DICOM file begins; return its transfer syntax.

    Raises ``ValueError``, ``EOFError``, ``struct.error`` for what is no DICOM file.
    """
    size = file.seek(0, 2)
    file.seek(128)
    if file.read(4) != b"DICM":
        raise ValueError("no DICOM file")
    return _Walker(file, size).meta()


def is_truncated(path: Path) -> bool:
    """Whether the file ends in the middle of an element, which no whole object does.

    NUL bytes behind the last element are padding, and cut nothing. Whether other bytes there are
    the beginning of an element cannot be told: ``True``. ``False`` also for what is not DICOM at
    all or cannot be walked (deflated): that is for CTP to judge.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(PREAMBLE)
        if len(head) < PREAMBLE:
            return True
        if head[128:] != b"DICM":
            return False
        walker = _Walker(file, size)
        try:
            syntax = walker.meta()
            if syntax == DEFLATED:
                return False
            walker.explicit = syntax != IMPLICIT
            walker.order = ">" if syntax == BIG_ENDIAN else "<"
            walker.dataset(size, 0)
        except EOFError:
            return True
        except (ValueError, struct.error, RecursionError):
            return False
    return False


class _Walker:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.order = "<"
        self.explicit = True

    def _take(self, count: int) -> bytes:
        data = self.file.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def _skip(self, count: int) -> None:
        end = self.file.tell() + count
        if end > self.size:
            raise EOFError
        self.file.seek(end)

    def meta(self) -> str:
        """Read the file meta information; return the transfer syntax."""
        syntax = ""
        while True:
            start = self.file.tell()
            raw = self.file.read(2)
            if not raw:
                raise EOFError  # no data set at all
            self.file.seek(start)
            if raw != b"\x02\x00":
                return syntax
            group, element, _, length = self._header()
            value = self._take(length)
            if (group, element) == (2, 0x10):
                syntax = value.decode("ascii", "replace").strip(" \0")

    def _is_padding(self) -> bool:
        """Whether nothing but NUL follows, which is no element's tag."""
        start = self.file.tell()
        count = 8
        try:
            while chunk := self.file.read(count):
                if chunk.count(0) < len(chunk):
                    return False
                count = _CHUNK
            return True
        finally:
            self.file.seek(start)

    def _header(self) -> tuple[int, int, bytes, int]:
        group, element = struct.unpack(self.order + "HH", self._take(4))
        if group == 0xFFFE or not self.explicit:
            return group, element, b"", struct.unpack(self.order + "I", self._take(4))[0]
        vr = self._take(2)
        if not vr.isalpha():
            raise ValueError("no VR")
        if vr in LONG:
            self._take(2)
            return group, element, vr, struct.unpack(self.order + "I", self._take(4))[0]
        return group, element, vr, struct.unpack(self.order + "H", self._take(2))[0]

    def dataset(self, end: int, depth: int) -> None:
        """Walk to ``end``, or to the delimiter of an item of undefined length."""
        if depth > _DEPTH:
            raise ValueError("too deep")
        while self.file.tell() < end:
            if not depth and self._is_padding():
                return
            group, element, vr, length = self._header()
            if (group, element) == (0xFFFE, 0xE00D):
                return
            if length != UNDEFINED:
                self._skip(length)
            elif (group, element) == (0x7FE0, 0x0010) or vr in (b"OB", b"OW"):
                self._items(depth, fragments=True)
            else:
                self._items(depth, fragments=False)
        if depth:
            raise EOFError  # an item of undefined length without its end

    def _items(self, depth: int, fragments: bool) -> None:
        while True:
            group, element, _, length = self._header()
            if (group, element) == (0xFFFE, 0xE0DD):
                return
            if (group, element) != (0xFFFE, 0xE000):
                raise ValueError("no item")
            if length != UNDEFINED:
                self._skip(length)
            elif fragments:
                raise ValueError("a fragment of undefined length")
            else:
                self.dataset(self.size, depth + 1)
