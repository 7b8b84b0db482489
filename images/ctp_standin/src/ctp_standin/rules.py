"""The rules that were rendered for CTP: its anonymizer script and its filter script, carried out.

Both files are looked at again for every object, as they can be edited while CTP runs. Where CTP
would then pass objects on as they came, here none leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom
from ctp_rules import filter_script, reading, script
from ctp_rules.anonymizer import (
    Anonymizer,
    Lookup,
    QuarantineError,
    Refusal,
    evaluate,
    holds,
    shown,
)
from ctp_rules.filter_script import FilterError
from ctp_rules.script import Script, ScriptError
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from . import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from .spool import Reason, RefusedError

PLACEHOLDER = "@@UID_KEY@@"
"""What stands in a rendered script until it has its key (`uid_key`)."""
UID_KEY = 0x0012FFF0
"""The element whose script is the key."""

_SOP_CLASS, _BURNED_IN = int(Tag("SOPClassUID")), int(Tag("BurnedInAnnotation"))
_PATIENT_ID = int(Tag("PatientID"))
_FACE = int(Tag("RecognizableVisualFeatures"))
_MARK = 0x7FDEFFF0
"""The supervisor's mark of what would not be whole."""
_PIXELS = 0x7FDEFFF6
"""Its script holds back what may carry text in its pixels and is not declared."""


@dataclass
class Rules:
    """Two files of one pipeline; not thread-safe: they belong to its worker.

    Attributes:
        script: the anonymizer script.
        filter: the filter script.
        key: what the placeholder in the script is replaced by. ``None``: the script must hold none.
            Empty: it is not known yet.
    """

    script: Path
    filter: Path
    key: str | None = None
    _version: tuple[int, int, int, str | None] | None = None
    _anonymizer: Anonymizer | None = None
    _problem: str = ""

    def problem(self) -> str:
        """Why the rules cannot be carried out; empty when they can."""
        problem = self._script_problem()
        if problem:
            return f"{self.script} is no anonymizer script: {problem}"
        try:
            filter_script.read(self.filter)
        except FilterError as error:
            return f"{self.filter} is no safety filter: {error}"
        return ""

    def uid_key(self) -> str | None:
        """What the script adds to UIDs before they are hashed; ``None`` where it adds nothing."""
        if self._script_problem() or self._anonymizer is None:
            return None
        rule = self._anonymizer.script.rules.get(UID_KEY)
        return rule.text.literal if rule else None

    def deidentify(self, content: bytes, lookup: Lookup) -> Dataset:
        """Return what becomes of one object, given as a DICOM file, as its receiver will read it.

        The transfer syntax stays, except that Deflated becomes Explicit VR Little Endian.

        Raises:
            RefusedError: the script, the filter or something in the object keeps it back.
            Exception: the parser's, for a data set that is damaged inside.
        """
        problem = self._script_problem()
        if problem or self._anonymizer is None:
            raise RefusedError(Reason.DEIDENTIFICATION_FAILED, f"anonymizer script: {problem}")
        source = reading.read(content)
        try:
            result = self._anonymizer.run(source, lookup).dataset
        except QuarantineError as error:
            raise RefusedError(self._reason(error, source, lookup), str(error)) from None
        left = pydicom.dcmread(BytesIO(_written(result, UID(source.file_meta.TransferSyntaxUID))))
        try:
            passed = filter_script.read(self.filter).lets_through(left)
        except FilterError as error:
            raise RefusedError(Reason.RESIDUAL_IDENTIFIER, f"filter script: {error}") from None
        if not passed:
            raise RefusedError(Reason.RESIDUAL_IDENTIFIER, "filter script")
        return left

    def _reason(self, error: QuarantineError, source: Dataset, lookup: Lookup) -> Reason:
        if error.tag != _PIXELS or self._anonymizer is None:
            return _reason(error, source)
        # CTP looks at the pixels first; whose an object is matters more.
        rules = self._anonymizer.script.rules
        try:
            evaluate(rules[_PATIENT_ID], source, lookup)
        except QuarantineError as other:
            return _reason(other, source)
        said = any(holds(rules[tag], source) for tag in (_BURNED_IN, _FACE) if tag in rules)
        return Reason.BURNED_IN_ANNOTATION if said else Reason.PIXELS_NOT_DECLARED

    def _script_problem(self) -> str:
        try:
            found = self.script.stat()
            version = (found.st_ino, found.st_mtime_ns, found.st_size, self.key)
            if version != self._version:
                self._anonymizer = None
                self._problem = ""
                self._anonymizer = Anonymizer(self._parsed())
                self._version = version
        except OSError as error:
            self._version, self._anonymizer = None, None
            return f"it cannot be read ({type(error).__name__})"
        except ScriptError as error:
            self._version, self._problem = version, str(error)
        return self._problem

    def _parsed(self) -> Script:
        content = self.script.read_bytes()
        placeholder = PLACEHOLDER.encode()
        if placeholder in content:
            if self.key is None:
                raise ScriptError(f"it still holds {PLACEHOLDER}")
            content = content.replace(placeholder, self.key.encode())
        return script.parse(content)


def _reason(error: QuarantineError, source: Dataset) -> Reason:
    if error.refusal is Refusal.BY_SCRIPT:
        named = bool(shown(source, _PATIENT_ID).strip())
        return {
            _PATIENT_ID: Reason.AMBIGUOUS_PATIENT_ID if named else Reason.MISSING_PATIENT_ID,
            _MARK: Reason.INCOMPLETE,
            _BURNED_IN: Reason.BURNED_IN_ANNOTATION,
            _FACE: Reason.BURNED_IN_ANNOTATION,
            _SOP_CLASS: Reason.UNSUPPORTED_CONTENT,
        }.get(error.tag, Reason.DEIDENTIFICATION_FAILED)
    return {
        Refusal.NO_KEY: Reason.MISSING_PATIENT_ID,
        Refusal.UNKNOWN_KEY: Reason.UNKNOWN_PATIENT,
        Refusal.UNREADABLE: Reason.UNREADABLE,
    }[error.refusal]


def _written(dataset: Dataset, syntax: UID) -> bytes:
    if syntax == DeflatedExplicitVRLittleEndian:
        syntax = ExplicitVRLittleEndian
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(dataset.get("SOPClassUID", "")))
    meta.MediaStorageSOPInstanceUID = UID(str(dataset.get("SOPInstanceUID", "")))
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
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
