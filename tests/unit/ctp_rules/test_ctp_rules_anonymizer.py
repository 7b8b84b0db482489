"""What the interpreter makes of an object, by rules small enough to be read beside the result."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pydicom
import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import (
    UID_KEY_PLACEHOLDER,
    ScriptOptions,
    anonymizer_script,
)
from ctp_rules import reading, script
from ctp_rules.anonymizer import Action, Anonymizer, QuarantineError, Refusal, path_text
from ctp_rules.expressions import compiled
from ctp_rules_objects import Element, Writer, base
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

KEY = "0f" * 32
TABLE = {"PatientID/PAT-1|": "ANON-1", "DateShift/PAT-1": "-17"}


def table(kind: str, key: str) -> str | None:
    return TABLE.get(f"{kind}/{key}")


def rules(**options: Any) -> Anonymizer:
    text = anonymizer_script(ScriptOptions(**options))
    return Anonymizer(script.parse(text.replace(UID_KEY_PLACEHOLDER, KEY)))


def read_again(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = BytesIO()
    dataset.save_as(buffer, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return reading.read(b"\0" * 128 + b"DICM" + buffer.getvalue())


def plan() -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.StudyDate = "20230126"
    dataset.Modality = "RTSTRUCT"
    dataset.PatientName = "Doe^Jane"
    dataset.PatientID = "PAT-1"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.add_new(0x00090010, "LO", "SOMEONE")
    roi = Dataset()
    roi.ROINumber = "1"
    roi.ROIName = "Doe^Jane"
    roi.ROIDescription = "of Jane"
    dataset.StructureSetROISequence = [roi]
    return dataset


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_each_element_has_an_outcome(syntax: str) -> None:
    source = read_again(plan(), syntax)
    result = rules(longitudinal="shifted").run(source, table)
    found = {path_text(each.path): each for each in result.outcomes}
    assert {path: each.action for path, each in found.items()} == {
        "(0008,0005)": Action.KEPT,
        "(0008,0016)": Action.KEPT,
        "(0008,0018)": Action.MAPPED,
        "(0008,0020)": Action.SHIFTED,
        "(0008,0060)": Action.KEPT,
        "(0009,0010)": Action.REMOVED,
        "(0010,0010)": Action.REPLACED,
        "(0010,0020)": Action.REPLACED,
        "(0012,0062)": Action.ADDED,
        "(0012,0063)": Action.ADDED,
        "(0012,0064)": Action.ADDED,
        **{
            f"(0012,0064)[{item}]/(0008,{element})": Action.ADDED
            for item in range(3)
            for element in ("0100", "0102", "0104")
        },
        "(0020,000D)": Action.MAPPED,
        "(0028,0303)": Action.ADDED,
        "(3006,0020)": Action.ENTERED,
        "(3006,0020)[0]/(3006,0022)": Action.KEPT,
        "(3006,0020)[0]/(3006,0026)": Action.REPLACED,
        "(3006,0020)[0]/(3006,0028)": Action.REMOVED,
    }
    assert found["(0008,0020)"].value == b"20230109"
    assert found["(3006,0020)"].items == 1 and found["(0012,0064)"].items == 3
    left = result.dataset
    assert left.PatientName == left.PatientID == "ANON-1"
    assert left.StructureSetROISequence[0].ROIName == "ROI 1"
    assert "StudyDate" in left and left.StudyDate == "20230109"
    assert source.PatientName == "Doe^Jane"


def test_uids_are_the_keyed_md5_in_decimal() -> None:
    from hashlib import md5

    result = rules().run(read_again(plan()), table).dataset
    hashed = md5(f"1.2.3{KEY}@remove()".encode(), usedforsecurity=False).hexdigest()
    assert result.StudyInstanceUID == f"2.25.{int(hashed, 16)}"


def without(keyword: str) -> Callable[[Dataset], None]:
    return lambda dataset: delattr(dataset, keyword)


@pytest.mark.parametrize(
    ("change", "refusal", "kind"),
    [
        (lambda d: setattr(d, "PatientID", "PAT-2"), Refusal.UNKNOWN_KEY, "PatientID"),
        (lambda d: setattr(d, "PatientID", ""), Refusal.NO_KEY, "PatientID"),
        (without("PatientID"), Refusal.BY_SCRIPT, ""),
        (lambda d: setattr(d, "BurnedInAnnotation", "YES"), Refusal.BY_SCRIPT, ""),
        (lambda d: setattr(d, "SOPClassUID", "1.2.3"), Refusal.BY_SCRIPT, ""),
    ],
)
def test_what_is_kept_back_says_why(
    change: Callable[[Dataset], None], refusal: Refusal, kind: str
) -> None:
    dataset = plan()
    change(dataset)
    with pytest.raises(QuarantineError) as caught:
        rules().run(read_again(dataset), table)
    assert (caught.value.refusal, caught.value.kind) == (refusal, kind)
    assert "PAT" not in str(caught.value)


def test_a_data_set_that_was_never_written_is_taken_too() -> None:
    result = rules().run(plan(), table).dataset
    assert result.PatientID == "ANON-1" and result.StructureSetROISequence[0].ROIName == "ROI 1"


def test_the_result_can_be_written_and_read() -> None:
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        result = rules().run(read_again(plan(), syntax), table).dataset
        again = pydicom.dcmread(BytesIO(_written(result, syntax)))
        assert again.PatientID == "ANON-1" and again.Modality == "RTSTRUCT"


def _written(dataset: Dataset, syntax: str) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("expression", "so", "not_so"),
    [
        ("A(?:B)*+", "ABB", "AB "),
        ("A(?:[ .]{1,3}(?:B|C))*+", "A B..C", "A.B "),
        (r"(?:A(?:B|[)])++|C)?+D{2}+", "AB)DD", "ABDDD"),
        (r"A\)++", "A))", "A)A"),
    ],
)
def test_possessive_expressions_are_java_s(expression: str, so: str, not_so: str) -> None:
    pattern = compiled(expression, is_whole=True)
    assert pattern.match(so)
    assert not pattern.match(not_so)


def test_a_pixel_representation_that_cannot_be_read_holds_back() -> None:
    """The library reads it when it is given a sequence."""
    item = [Element(0x30060022, "IS", b"1")]
    unreadable = Element(0x00280103, "SV", bytes(2))
    content = Writer().file([*base(), unreadable, Element(0x30060020, "SQ", [item], True)])
    with pytest.raises(QuarantineError) as caught:
        rules().run(reading.read(content), table)
    assert caught.value.refusal is Refusal.UNREADABLE
    assert caught.value.tag == unreadable.tag
