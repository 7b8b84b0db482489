"""De-identification: nothing that was marked may be found, what radiotherapy needs must stay."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from ctp_standin.deidentify import Deidentified, RefusedError, deidentify
from ctp_standin.guard import check
from ctp_standin.spool import Reason
from ctp_standin.uids import UidMapper, is_well_known
from ctp_standin.vocabulary import is_structure_name, known_concept
from ctp_standin_study import ROOT, Study, encode, marked_study, read, study
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

MAPPER = UidMapper(b"k" * 32)
PSEUDONYM = "PROOF-PSEUDONYM"
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)


@pytest.fixture(scope="module")
def marked() -> Study:
    return marked_study()


def clean(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    return check(deidentify(encode(dataset, syntax), PSEUDONYM, MAPPER))


def elements(dataset: Dataset) -> Iterator[tuple[BaseTag, object]]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)
        else:
            yield element.tag, element.value


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("index", range(3), ids=("CT", "RTSTRUCT", "RTDOSE"))
def test_no_mark_is_found_in_the_bytes(marked: Study, syntax: UID, index: int) -> None:
    assert len(marked.marks) > 5_000
    result = deidentify(encode(marked.objects[index], syntax), PSEUDONYM, MAPPER)
    check(result)
    found = [mark for mark in marked.marks if mark.encode() in result.content]
    assert found == []


def test_it_says_that_and_how_it_was_done(marked: Study) -> None:
    result = clean(marked.slices[0])
    assert (result.PatientID, str(result.PatientName)) == (PSEUDONYM, PSEUDONYM)
    assert result.PatientIdentityRemoved == "YES"
    assert 0 < len(result.DeidentificationMethod) <= 64
    codes = [
        (i.CodeValue, i.CodingSchemeDesignator, i.CodeMeaning)
        for i in result.DeidentificationMethodCodeSequence
    ]
    assert ("113100", "DCM", "Basic Application Confidentiality Profile") in codes
    for code in codes:
        assert known_concept(*code[:2]) == code
    assert result.LongitudinalTemporalInformationModified == "REMOVED"
    assert result.PatientBirthDate == "" and result.StudyDate == ""


def test_what_is_needed_stays() -> None:
    original = study(marked=False)
    image = clean(original.slices[1])
    for keyword in (
        *("Modality", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient"),
        *("PixelSpacing", "SliceThickness", "RescaleIntercept", "RescaleSlope", "RescaleType"),
        *("PatientPosition", "PhotometricInterpretation", "Rows", "Columns", "BitsStored"),
        *("PixelData", "ConvolutionKernel", "Manufacturer", "SOPClassUID", "BurnedInAnnotation"),
        "ImageType",
    ):
        assert image[keyword].value == original.slices[1][keyword].value, keyword
    dose = clean(original.objects[-1])
    for keyword in (
        "DoseUnits",
        "DoseType",
        "DoseSummationType",
        "DoseGridScaling",
        "GridFrameOffsetVector",
        "NumberOfFrames",
        "PixelData",
    ):
        assert dose[keyword].value == original.objects[-1][keyword].value, keyword
    structures = clean(original.structure_set)
    contours = structures.ROIContourSequence
    assert [item.ReferencedROINumber for item in contours] == [1, 2, 3]
    contour = contours[0].ContourSequence[0]
    assert contour.ContourData == [1.5, 2.25, 3.0, 4.0, 5.0, 3.0, 7.0, 8.0, 3.0]
    assert contour.ContourGeometricType == "CLOSED_PLANAR"
    names = [item.ROIName for item in structures.StructureSetROISequence]
    assert names == ["Bladder", "PTV_6000", "ROI 3"]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_references_resolve_at_every_level(syntax: UID) -> None:
    original = study(marked=False)
    results = [clean(dataset, syntax) for dataset in original.objects]
    structures = next(ds for ds in results if ds.Modality == "RTSTRUCT")
    dose = next(ds for ds in results if ds.Modality == "RTDOSE")
    images = [ds for ds in results if ds.Modality == "CT"]
    instances = [ds.SOPInstanceUID for ds in images]
    assert len(set(instances)) == 3
    assert {ds.StudyInstanceUID for ds in results} == {images[0].StudyInstanceUID}
    frame = structures.ReferencedFrameOfReferenceSequence[0]
    assert frame.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    referenced = frame.RTReferencedStudySequence[0]
    assert referenced.ReferencedSOPInstanceUID == images[0].StudyInstanceUID
    series = referenced.RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == images[0].SeriesInstanceUID
    assert [i.ReferencedSOPInstanceUID for i in series.ContourImageSequence] == instances
    contour = structures.ROIContourSequence[0].ContourSequence[0].ContourImageSequence[0]
    assert contour.ReferencedSOPInstanceUID == instances[0]
    assert dose.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == (
        structures.SOPInstanceUID
    )
    for result in results:
        assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID
        assert not is_well_known(result.SOPInstanceUID)
        for _, value in elements(result):
            assert ROOT not in str(value)


def test_uids_are_keyed_and_deterministic() -> None:
    assert MAPPER.map("1.2.3") == UidMapper(b"k" * 32).map("1.2.3")
    assert MAPPER.map("1.2.3") != UidMapper(b"j" * 32).map("1.2.3")
    mapped = UID(MAPPER.map("1.2.3"))
    assert mapped.is_valid and mapped.startswith("2.25.")


def test_private_elements_go_at_every_level() -> None:
    dataset = study(marked=False).structure_set
    item = dataset.ROIContourSequence[0].ContourSequence[0]
    block = item.private_block(0x3007, "VENDOR", create=True)
    block.add_new(1, "LO", "Doe was here")
    deep = Dataset()
    deep.PatientName = "Doe^Jane"
    block.add_new(2, "SQ", Sequence([deep]))
    assert not any(tag.is_private for tag, _ in elements(clean(dataset)))


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x0008009C, "PN", "Consulting^Doe"),
        (0x001021B0, "LT", "history Doe"),
        (0x0018A002, "DT", "19470203"),
        (0x00181201, "TM", "010203.4"),
        (0x00104000, "LT", "comment"),
        (0x60004000, "LT", "overlay comment"),
        (0x60003000, "OW", b"overlay drawn over the image"),
        (0x50003000, "OW", b"curve"),
        (0x00080104, "LO", "Doe as a code meaning"),
        (0x00282000, "OB", b"ICC profile made by Doe"),
        (0x00204000, "UN", b"unknown VR"),
        (0x00099999, "UN", b"private"),
        (0x00189999, "LO", "not in the dictionary"),
        (0x00180015, "CS", "DOEHOSPITAL"),
        (0x00200013, "IS", "12 Doe"),
        (0x00180050, "DS", "Doe"),
    ],
)
def test_a_leak_is_left_behind(tag: int, vr: str, value: object) -> None:
    dataset = study(marked=False).slices[0]
    # pydicom encodes no DS or IS that is not a number: encode a text, then change its VR.
    dataset.add_new(tag, "LO" if vr in ("IS", "DS") else vr, value)
    header = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    content = encode(dataset).replace(header + b"LO", header + vr.encode())
    needle = value if isinstance(value, bytes) else str(value).encode()
    assert needle in content
    result = deidentify(content, PSEUDONYM, MAPPER)
    left = check(result).get(Tag(tag))
    assert left is None or left.is_empty
    assert needle not in result.content


def test_codes_keep_only_what_the_standard_defines() -> None:
    dataset = study(marked=False).slices[0]
    standard, old, local = Dataset(), Dataset(), Dataset()
    standard.CodeValue, standard.CodingSchemeDesignator = "39607008", "SCT"
    standard.CodeMeaning = "lung of Jane Doe"
    old.CodeValue, old.CodingSchemeDesignator = "T-28000", "SRT"
    local.CodeValue, local.CodingSchemeDesignator = "DOE1", "99LOCAL"
    dataset.AnatomicRegionSequence = Sequence([standard, old, local])
    items = clean(dataset).AnatomicRegionSequence
    assert [(i.CodeValue, i.CodingSchemeDesignator, i.CodeMeaning) for i in items] == [
        ("39607008", "SCT", "Lung")
    ] * 2


@pytest.mark.parametrize(
    ("name", "is_standard"),
    [
        *((name, True) for name in ("Bladder", "PTV", "PTV_6000", "CTVn1", "GTVp", "Lung_L")),
        *((name, True) for name in ("SpinalCord_PRV05", "Femur_Head_R", "BODY", "z_Rectum")),
        *((name, False) for name in ("PTV Doe", "Doe", "QZ00001X", "Lung_L Jane", "")),
        *((name, False) for name in ("PTV_QZ00001X", "Rectum 19470203", "L" * 65)),
    ],
)
def test_structure_names(name: str, is_standard: bool) -> None:
    assert is_structure_name(name) is is_standard


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("BurnedInAnnotation", "YES", Reason.BURNED_IN_ANNOTATION),
        ("EncapsulatedDocument", b"%PDF-1.4 Doe", Reason.UNSUPPORTED_CONTENT),
        ("SOPClassUID", "1.3.12.2.1107.5.9.1", Reason.UNSUPPORTED_CONTENT),
        ("StudyInstanceUID", None, Reason.UNREADABLE),
    ],
)
def test_what_cannot_be_cleaned_is_refused(keyword: str, value: object, reason: Reason) -> None:
    dataset = study(marked=False).slices[0]
    if value is None:
        del dataset[keyword]
    else:
        setattr(dataset, keyword, value)
    with pytest.raises(RefusedError) as refusal:
        clean(dataset)
    assert refusal.value.reason is reason


def test_a_truncated_element_is_not_forwarded() -> None:
    content = encode(study(marked=False).slices[0])
    with pytest.raises(Exception, match="truncated"):
        deidentify(content[:-100], PSEUDONYM, MAPPER)


@pytest.mark.parametrize("text", ["Doe^Jane", "PROOF-1947", "Jane Doe-Müller"])
def test_the_guard_finds_a_name_inside_compressed_pixel_data(text: str) -> None:
    dataset = study(marked=False).slices[0]
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = text if "M" in text else "Doe^Jane"
    comment = b"\xff\xd8\xff\xfe\x00\x20" + text.encode() + b"\xff\xd9"
    dataset.add_new(Tag("PixelData"), "OB", encapsulate([comment]))
    dataset["PixelData"].is_undefined_length = True
    with pytest.raises(RefusedError) as refusal:
        clean(dataset, JPEGBaseline8Bit)
    assert refusal.value.reason is Reason.RESIDUAL_IDENTIFIER


def test_compressed_pixel_data_pass_unchanged() -> None:
    dataset = study(marked=False).slices[0]
    dataset.add_new(Tag("PixelData"), "OB", encapsulate([b"\xff\xd8" + bytes(range(200))]))
    dataset["PixelData"].is_undefined_length = True
    result = clean(dataset, JPEGBaseline8Bit)
    assert result.PixelData == dataset.PixelData
    assert result.file_meta.TransferSyntaxUID == JPEGBaseline8Bit


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SeriesDescription", "anything"),
        ("StationName", "CT1"),
        ("StudyDate", "20200101"),
        ("Modality", "DOE"),
        ("FrameOfReferenceUID", f"{ROOT}.9"),
        ("PatientID", "PROOF-1947"),
        ("PatientIdentityRemoved", "NO"),
        ("CodeValue", "DOE"),
    ],
)
def test_the_guard_does_not_trust_the_cleaning(keyword: str, value: str) -> None:
    """Whatever stands in the result without proof of its own is refused, looked for or not."""
    good = deidentify(encode(study(marked=False).slices[0]), PSEUDONYM, MAPPER)
    leaky = read(good.content)
    setattr(leaky, keyword, value)
    result = Deidentified(encode(leaky), good.pseudonym, good.issued_uids, good.identity)
    with pytest.raises(RefusedError) as refusal:
        check(result)
    assert refusal.value.reason is Reason.RESIDUAL_IDENTIFIER


def test_placeholders_are_no_identifiers() -> None:
    dataset = study(marked=False).slices[0]
    dataset.ReferringPhysicianName = "PRIMARY"
    dataset.AccessionNumber = "NONE"
    assert clean(dataset).AccessionNumber == ""


def test_numbers_that_equal_an_identifier_by_chance_do_no_harm() -> None:
    dataset = study(marked=False).structure_set
    dataset.PatientID = "1024"
    dataset.ROIContourSequence[0].ContourSequence[0].ContourData = [1024.0, 2, 3] * 3
    assert clean(dataset).PatientID == PSEUDONYM
