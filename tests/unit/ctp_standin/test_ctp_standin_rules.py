"""De-identification by the rendered rules: no mark is found, what radiotherapy needs stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import (
    METHOD,
    ScriptOptions,
    anonymizer_script,
    method_codes,
)
from ctp_standin.rules import Rules
from ctp_standin.spool import Reason, RefusedError
from ctp_standin_as_ctp import FILTER, KEY, SCRIPT, mapped
from ctp_standin_study import encode, marked_study, study
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    UltrasoundImageStorage,
)

PSEUDONYM = "PROOF-PSEUDONYM"
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    (tmp_path / "a.script").write_text(SCRIPT)
    (tmp_path / "f.script").write_text(FILTER)
    return Rules(tmp_path / "a.script", tmp_path / "f.script")


def lookup(kind: str, key: str) -> str | None:
    return {"PatientID": PSEUDONYM, "DateShift": "-17"}[kind] if key.partition("|")[0] else None


def clean(rules: Rules, dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    return rules.deidentify(encode(dataset, syntax), lookup)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("index", range(3), ids=("CT", "RTSTRUCT", "RTDOSE"))
def test_no_mark_is_found_in_the_bytes(rules: Rules, syntax: UID, index: int) -> None:
    marked = marked_study()
    assert len(marked.marks) > 5_000
    left = clean(rules, marked.objects[index], syntax)
    content = encode(left, UID(left.file_meta.TransferSyntaxUID))
    assert [mark for mark in marked.marks if mark.encode() in content] == []


def test_it_says_what_the_script_says(rules: Rules) -> None:
    left = clean(rules, marked_study().slices[0])
    assert (left.PatientID, str(left.PatientName)) == (PSEUDONYM, PSEUDONYM)
    assert (left.PatientIdentityRemoved, left.DeidentificationMethod) == ("YES", METHOD)
    codes = [item.CodeValue for item in left.DeidentificationMethodCodeSequence]
    assert codes == method_codes(ScriptOptions())
    assert left.LongitudinalTemporalInformationModified == "REMOVED"
    assert left.file_meta.ImplementationVersionName == "CTPSTANDIN_01"
    assert left.file_meta.MediaStorageSOPInstanceUID == left.SOPInstanceUID


def test_references_resolve_and_contours_stay(rules: Rules) -> None:
    original = study(marked=False)
    left = {str(ds.SOPInstanceUID): clean(rules, ds) for ds in original.objects}
    structures = left[str(original.structure_set.SOPInstanceUID)]
    contour = structures.ROIContourSequence[0].ContourSequence[0]
    assert contour.ContourData == [1.5, 2.25, 3.0, 4.0, 5.0, 3.0, 7.0, 8.0, 3.0]
    series = structures.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    images = series.RTReferencedSeriesSequence[0].ContourImageSequence
    assert [item.ReferencedSOPInstanceUID for item in images] == [
        mapped(str(ds.SOPInstanceUID)) for ds in original.slices
    ]
    assert {str(ds.StudyInstanceUID) for ds in left.values()} == {
        mapped(str(original.slices[0].StudyInstanceUID))
    }
    names = [item.ROIName for item in structures.StructureSetROISequence]
    assert names == ["Bladder", "PTV_6000", "ROI 3"]


@pytest.mark.parametrize("name", ["***", "Bell", "A", "ROI^AXIAL", "NONE", "1024"])
def test_a_patient_whose_name_is_found_elsewhere_is_not_held_back(rules: Rules, name: str) -> None:
    """It once was: the name was looked for in the pixels, and found by chance."""
    dataset = study(marked=False).slices[0]
    dataset.PatientName = name
    dataset.PatientID = name
    dataset.PixelData = name.encode().ljust(4, b" ") * 128
    assert clean(rules, dataset).PixelData == dataset.PixelData


def test_compressed_pixel_data_pass_unchanged(rules: Rules) -> None:
    dataset = study(marked=False).slices[0]
    dataset.add_new(Tag("PixelData"), "OB", encapsulate([b"\xff\xd8" + bytes(range(200))]))
    dataset["PixelData"].is_undefined_length = True
    left = clean(rules, dataset, JPEGBaseline8Bit)
    assert left.PixelData == dataset.PixelData
    assert left.file_meta.TransferSyntaxUID == JPEGBaseline8Bit


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("BurnedInAnnotation", "YES", Reason.BURNED_IN_ANNOTATION),
        ("SOPClassUID", EncapsulatedPDFStorage, Reason.SOP_CLASS_NOT_ACCEPTED),
        ("SOPClassUID", "1.3.12.2.1107.5.9.1", Reason.SOP_CLASS_NOT_ACCEPTED),
        ("PixelSpacing", "0,5", Reason.INCOMPLETE),
        ("PatientID", "", Reason.MISSING_PATIENT_ID),
        ("SOPClassUID", UltrasoundImageStorage, Reason.PIXELS_NOT_DECLARED),
        ("ImageType", ["DERIVED", "SECONDARY", "SCREEN SAVE"], Reason.PIXELS_NOT_DECLARED),
        ("RecognizableVisualFeatures", "YES", Reason.BURNED_IN_ANNOTATION),
    ],
)
def test_what_the_script_keeps_back(rules: Rules, keyword: str, value: str, reason: Reason) -> None:
    dataset = study(marked=False).slices[0]
    # As a text: the library makes no number of that one.
    vr = "LO" if keyword == "PixelSpacing" else dictionary_VR(keyword)
    dataset.add_new(Tag(keyword), vr, value)
    with pytest.raises(RefusedError) as refusal:
        clean(rules, dataset)
    assert refusal.value.reason is reason


def test_whose_an_object_is_matters_more_than_its_pixels(rules: Rules) -> None:
    dataset = study(marked=False).slices[0]
    dataset.SOPClassUID = UltrasoundImageStorage
    for patient, flag, reason in (
        ("", "NO", Reason.MISSING_PATIENT_ID),
        ("PROOF-1948", "NO", Reason.UNKNOWN_PATIENT),
        ("PROOF-1947", "yes", Reason.BURNED_IN_ANNOTATION),
        ("PROOF-1947", "NO", Reason.PIXELS_NOT_DECLARED),
    ):
        dataset.PatientID, dataset.BurnedInAnnotation = patient, flag
        with pytest.raises(RefusedError) as refusal:
            rules.deidentify(
                encode(dataset), lambda kind, key: PSEUDONYM if key == "PROOF-1947|" else None
            )
        assert refusal.value.reason is reason


@pytest.mark.parametrize("missing", [1, 100])
def test_a_truncated_object_does_not_leave(rules: Rules, missing: int) -> None:
    content = encode(study(marked=False).slices[0])
    with pytest.raises(RefusedError) as refusal:
        rules.deidentify(content[:-missing], lookup)
    assert refusal.value.reason is Reason.UNREADABLE


def test_the_filter_has_the_last_word(rules: Rules) -> None:
    with pytest.raises(RefusedError) as refusal:
        rules.deidentify(encode(study(marked=False).slices[0]), lambda _kind, _key: "OTHER-1")
    assert refusal.value.reason is Reason.RESIDUAL_IDENTIFIER


def test_options_are_those_of_the_script(rules: Rules) -> None:
    text = anonymizer_script(
        ScriptOptions(longitudinal="shifted", retain_patient_characteristics=True)
    )
    rules.script.write_text(text)
    rules.key = KEY
    dataset = study(marked=False).slices[0]
    dataset.StudyDate = "20230126"
    left = clean(rules, dataset)
    assert (left.StudyDate, left.PatientSex) == ("20230109", "F")


def test_a_script_without_its_key_is_refused_until_it_has_one(rules: Rules) -> None:
    assert rules.problem() == "" and rules.uid_key() == f"{KEY}@remove()"
    rules.script.write_text(anonymizer_script(ScriptOptions()))
    assert "it still holds @@UID_KEY@@" in rules.problem()
    rules.key = KEY
    assert rules.problem() == "" and rules.uid_key() == f"{KEY}@remove()"
