"""The guard: a second opinion on the encoded result, fail-closed.

It reads the bytes that would leave, as a receiver would, and does not ask how they came about:

1. every element must show that it is safe: a number, a registered or issued UID, a listed word, or
   one of the few values that de-identification itself writes;
2. none of the original identifying values may stand in what cannot show that: pixel data and other
   binary values (a compressed image can carry a comment), and the names of structures;
3. none of the distinctive ones may stand anywhere in the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import NoReturn

import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from . import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from .deidentify import (
    CHARACTER_SET,
    METHOD,
    Deidentified,
    RefusedError,
    dictionary_vr,
    encoded_value,
)
from .spool import Reason
from .uids import is_well_known
from .vocabulary import (
    CONVOLUTION_KERNEL,
    MANUFACTURERS,
    RESCALE_TYPES,
    is_code_string,
    is_structure_name,
    known_concept,
)

_DECIMAL = re.compile(rb"[0-9eE+\-. \\\x00]*")
_BINARY = frozenset(
    ["AT", "FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "US", "UV"]
    + ["US or SS", "OB or OW", "US or OW", "US or SS or OW"]
)
_DUMMIES = frozenset(
    {"", "ANONYMIZED", "000Y", "00010101", "000000.00", "00010101010101.000000+0000"}
)
_NUMBERED = re.compile(r"(?:ROI|Segment)(?: -?\d{1,12})?")
_NAMES = frozenset({Tag("ROIName"), Tag("SegmentLabel")})
_LISTED = {Tag("Manufacturer"): MANUFACTURERS, Tag("RescaleType"): RESCALE_TYPES}
_CONCEPT = (Tag("CodeValue"), Tag("CodingSchemeDesignator"), Tag("CodeMeaning"))
_OWN = {
    Tag("DeidentificationMethod"): METHOD,
    Tag("PatientIdentityRemoved"): "YES",
}
_META = frozenset({Tag("FileMetaInformationVersion"), Tag("FileMetaInformationGroupLength")})

# Shorter values turn up by chance: four characters in a few words, six in megabytes of pixels.
SHORTEST_IN_TEXT = 4
SHORTEST_IN_BINARY = 6
SHORTEST_ANYWHERE = 8


def check(result: Deidentified) -> Dataset:
    """Judge an encoded result; return it as a receiver reads it, to be sent as it is.

    Raises ``RefusedError`` with reason ``residual-identifier`` when an element cannot show that it
    is safe or an original identifying value is found.
    """
    dataset = pydicom.dcmread(BytesIO(result.content))
    inspection = _Inspection(result)
    inspection.meta(dataset.file_meta)
    inspection.walk(dataset)
    inspection.search()
    return dataset


class _Inspection:
    def __init__(self, result: Deidentified) -> None:
        self._result = result
        self._issued = result.issued_uids | {IMPLEMENTATION_CLASS_UID}
        self._binary: list[bytes] = []
        self._names: list[str] = []

    def meta(self, meta: Dataset) -> None:
        for element in meta:
            if element.tag in _META:
                continue
            if element.VR == "UI":
                self._uids(element.tag, str(element.value).encode())
            elif str(element.value) != IMPLEMENTATION_VERSION_NAME:
                _refuse(element.tag)

    def walk(self, dataset: Dataset) -> None:
        code, scheme, meaning = (_string(dataset, tag) for tag in _CONCEPT)
        if (code or scheme or meaning) and known_concept(code, scheme) != (code, scheme, meaning):
            _refuse(_CONCEPT[0])
        for tag in list(dataset.keys()):
            vr = dictionary_vr(tag)
            if tag.is_private or vr is None:
                _refuse(tag)
            elif vr == "SQ":
                for item in dataset[tag].value or ():
                    self.walk(item)
            elif tag == CHARACTER_SET:
                if str(dataset[tag].value) != "ISO_IR 192":
                    _refuse(tag)
            elif tag not in _CONCEPT:
                self._leaf(tag, vr, encoded_value(dataset, tag))

    def search(self) -> None:
        texts = sorted(text for text in self._result.identity.texts if not _is_listed(text))
        texts = [part.lower() for text in texts for part in {text, *text.split("^")}]
        uids = [uid.encode() for uid in self._result.identity.uids]
        names = "\n".join(self._names).lower()
        if any(len(text) >= SHORTEST_IN_TEXT and text in names for text in texts):
            _found("a structure name")
        needles = [encoded for text in texts for encoded in _encodings(text)]
        binary = b"\n".join(self._binary).lower()
        for needle in (*needles, *uids):
            if len(needle) >= SHORTEST_IN_BINARY and needle in binary:
                _found("binary data")
        # Our own words are cut out: a pseudonym may well begin with the name of the institution.
        everything = self._result.content.lower()
        for own in (self._result.pseudonym, METHOD, IMPLEMENTATION_VERSION_NAME):
            everything = everything.replace(own.lower().encode(), b"\n")
        for needle in (*needles, *uids):
            distinctive = len(needle) >= SHORTEST_ANYWHERE and not needle.isdigit()
            if distinctive and needle in everything:
                _found("the header")

    def _leaf(self, tag: BaseTag, vr: str, value: bytes) -> None:
        if vr in ("DS", "IS"):
            if not _DECIMAL.fullmatch(value):
                _refuse(tag)
        elif vr == "UI":
            self._uids(tag, value)
        elif vr in _BINARY:
            self._binary.append(value)
        else:
            self._text(tag, vr, value.decode("utf-8"))

    def _uids(self, tag: BaseTag, value: bytes) -> None:
        for uid in value.decode("ascii").split("\\"):
            uid = uid.strip("\x00 ")
            if uid and not is_well_known(uid) and uid not in self._issued:
                _refuse(tag)

    def _text(self, tag: BaseTag, vr: str, value: str) -> None:
        value = value.strip("\x00 ")
        if tag in (Tag("PatientID"), Tag("PatientName")):
            safe = value == self._result.pseudonym
        elif tag in _NAMES:
            self._names.append(value)
            safe = is_structure_name(value) or _NUMBERED.fullmatch(value) is not None
        else:
            safe = all(self._part(tag, vr, part.strip()) for part in value.split("\\"))
            safe = safe or value == _OWN.get(tag)
        if not safe:
            _refuse(tag)

    @staticmethod
    def _part(tag: BaseTag, vr: str, value: str) -> bool:
        if value in _DUMMIES:
            return True
        if tag in _LISTED:
            return value in _LISTED[tag]
        if tag == Tag("ConvolutionKernel"):
            return CONVOLUTION_KERNEL.fullmatch(value) is not None
        return vr == "CS" and is_code_string(value)


def _is_listed(text: str) -> bool:
    """Placeholders such as NONE or UNKNOWN identify nobody, and are found in every object."""
    return is_code_string(text.upper()) or is_structure_name(text) or text in MANUFACTURERS


def _encodings(text: str) -> Iterator[bytes]:
    yield text.encode("utf-8")
    for encoding in ("latin-1", "utf-16-le"):
        try:
            encoded = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        if encoded != text.encode("utf-8"):
            yield encoded


def _refuse(tag: BaseTag) -> NoReturn:
    raise RefusedError(Reason.RESIDUAL_IDENTIFIER, str(tag))


def _found(where: str) -> NoReturn:
    raise RefusedError(Reason.RESIDUAL_IDENTIFIER, f"original value in {where}")


def _string(dataset: Dataset, tag: BaseTag) -> str:
    return encoded_value(dataset, tag).decode("utf-8").strip("\x00 ")
