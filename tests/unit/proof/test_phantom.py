from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.proof import (
    marks,
    names,
    phantom,
    ps3_15_e1_1,
    studies,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services.key_list import new_pseudonym

TOKEN = "1234567890"


def test_equal_tokens_give_equal_files(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        directory = tmp_path / name
        directory.mkdir()
        files = phantom.write_study(phantom.make_study(TOKEN, known=True), directory)
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1]


def test_known_and_unknown_share_no_uid_and_no_image(
    known: studies.Study, unknown: studies.Study
) -> None:
    assert known.patient_id != unknown.patient_id
    assert not set(known.sop_instance_uids) & set(unknown.sop_instance_uids)
    assert {image.StudyInstanceUID for image in known.datasets}.isdisjoint(
        image.StudyInstanceUID for image in unknown.datasets
    )
    images = [
        bytes(entry.PixelData) for study in (known, unknown) for entry in study.of_class(phantom.CT)
    ]
    assert len(set(images)) == len(images) == 10


def test_the_study_has_the_objects_of_radiotherapy(known: studies.Study) -> None:
    counts = {name: len(known.of_class(uid)) for uid, name in phantom.SOP_CLASS_NAMES.items()}
    assert counts == {"CT": 5, "RTSTRUCT": 1, "RTPLAN": 1, "RTDOSE": 1}
    assert all(len(bytes(image.PixelData)) == 64 * 64 * 2 for image in known.of_class(phantom.CT))


def test_the_pseudonym_tells_nothing_of_the_token(known: studies.Study) -> None:
    assert known.pseudonym.startswith("PROOF-ANON-")
    assert studies.find_marks(known.pseudonym.encode(), known) == []


def test_the_value_representations_of_the_table_are_those_of_the_dictionary() -> None:
    table = {tag: row.vr for tag, row in ps3_15_e1_1.attributes().items() if row.vr != "-"}
    assert table == {tag: pydicom.datadict.dictionary_VR(int(tag, 16)) for tag in table}
    ranges = {"50XXXXXX", "60XX3000", "60XX4000", "GGGGEEEE"}
    assert set(ps3_15_e1_1.attributes()) - set(table) - ranges <= ps3_15_e1_1.UNKNOWN_OPTIONS


def test_each_attribute_of_the_profile_is_marked_or_left_out_for_a_reason(
    known: studies.Study,
) -> None:
    listed = [tag for tags in marks.LEFT_OUT.values() for tag in tags.split()]
    table = {tag for tag, row in ps3_15_e1_1.attributes().items() if row.vr != "-"}
    assert len(listed) == len(set(listed))
    assert set(listed) <= table
    for dataset in known.datasets:
        assert not [tag for tag in table - set(listed) if int(tag, 16) not in dataset]


@pytest.mark.parametrize("prefix", ["", "ANON-", "Site.7_", "A" * 32])
def test_a_pseudonym_under_the_prefix_of_a_site(known: studies.Study, prefix: str) -> None:
    study = phantom.make_study(TOKEN, known=True, ct_instances=4, pseudonym_prefix=prefix)
    assert study.pseudonym == prefix + known.pseudonym
    assert len(study.pseudonym) <= 64
    assert names.is_proof_pseudonym(study.pseudonym)
    # Nothing that is sent depends on it.
    assert study.sop_instance_uids[:4] == known.sop_instance_uids[:4]
    assert study.patient_id == known.patient_id


@pytest.mark.parametrize("prefix", ["A" * 33, "a b", "AN\\ON", "\u00e4", "ANON-\n"])
def test_a_prefix_that_no_pseudonym_can_have(prefix: str) -> None:
    with pytest.raises(ValueError, match="pseudonym_prefix is"):
        phantom.make_study(TOKEN, known=True, pseudonym_prefix=prefix)


def test_pseudonyms_that_are_made_are_none_of_a_proof() -> None:
    for prefix in ("PROOF-ANON-", "PROOF-", "ANON-"):
        assert not any(names.is_proof_pseudonym(new_pseudonym(prefix)) for _ in range(200))


@pytest.mark.parametrize("index", range(8))
def test_every_text_of_the_file_is_found_as_bytes_and_as_elements(
    known: studies.Study, tmp_path: Path, index: int
) -> None:
    path = tmp_path / "object.dcm"
    phantom.write_object(known.datasets[index], path)
    dataset = pydicom.dcmread(path)
    found = studies.find_marks(path.read_bytes(), known)
    for place in (
        "AccessionNumber (0008,0050)",
        "DataSetTrailingPadding (FFFC,FFFC)",
        "IssuerOfPatientID (0010,0021)",
        "PatientAddress (0010,1040)",
        "PatientName (0010,0010), given",
        "PrivateInformation (0002,0102)",
        "PrivateInformationCreatorUID (0002,0100)",
        "StudyInstanceUID (0020,000D)",
        "the date of birth",
        "the date of the study",
        "preamble of the file",
        "private group 0029, creator",
        "private group 0029, SQ > PatientName (0010,0010)",
        "the token of the patient's identifier",
        "the time of the study",
    ):
        # Marks of the file alone (preamble, file meta) are numbered for each file.
        assert place in found, place
    assert dataset.PatientID == known.patient_id
    assert dataset.PatientName.ideographic.startswith("\u5c71\u7530^Q")
    procedure = dataset.RequestAttributesSequence[0].ProcedureCodeSequence[0]
    assert TOKEN in str(procedure.PatientName)


@pytest.mark.parametrize(
    ("data", "places"),
    [
        (b"", []),
        (b"nothing to see 1234567891", []),
        (b"x Q1234567890N0001", [1]),
        (b"x q1234567890n0001 x", [1]),
        (b"x1234567890", ["the token of the patient's identifier"]),
        ("1234567890".encode("utf-16-le"), ["the token of the patient's identifier, in UTF-16"]),
        (b"19311124", ["the date of birth"]),
        (b"1931-11-24", ["the date of birth"]),
        (b"19311124021632.394444", ["the date of birth", "the time of the study"]),
        # Digits inside a longer number are chance, not the date.
        (b"2.25.7719311124", []),
        (b"021632.394444", ["the time of the study"]),
    ],
)
def test_find_marks(known: studies.Study, data: bytes, places: list[str | int]) -> None:
    expected = [known.texts[place] if isinstance(place, int) else place for place in places]
    assert studies.find_marks(data, known) == expected


def test_find_marks_names_the_uid(known: studies.Study) -> None:
    assert studies.find_marks(known.datasets[0].SOPInstanceUID.encode(), known) == [
        "SOPInstanceUID (0008,0018) of CT slice 1"
    ]


@pytest.mark.parametrize("token", ["", "123456789", "2234567890", "12345678901", "1234567x90"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="ten digits of which the first is 1"):
        phantom.make_study(token, known=True)


@pytest.mark.parametrize("ct_instances", [0, 3, 201])
def test_too_few_or_too_many_slices_are_refused(ct_instances: int) -> None:
    with pytest.raises(ValueError, match=f"ct_instances is {ct_instances}; it may be 4 to 200"):
        phantom.make_study(TOKEN, known=True, ct_instances=ct_instances)


def test_all_numbers_of_marks_fit_into_a_mark() -> None:
    study = phantom.make_study(TOKEN, known=True, ct_instances=phantom.MAX_CT_INSTANCES)
    assert len(study.texts) < 10_000
    assert len(study.uids) < 100_000


def test_references_lead_from_contour_to_slice(known: studies.Study) -> None:
    positions = {
        str(image.SOPInstanceUID): float(image.ImagePositionPatient[2])
        for image in known.of_class(phantom.CT)
    }
    (structures,) = known.of_class(phantom.RTSTRUCT)
    for roi in structures.ROIContourSequence:
        for contour in roi.ContourSequence:
            uid = str(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
            assert float(contour.ContourData[2]) == positions[uid]


@pytest.mark.skipif(shutil.which("dcmdump") is None, reason="dcmtk is not installed")
def test_dcmtk_reads_every_object(known: studies.Study, tmp_path: Path) -> None:
    for file in phantom.write_study(known, tmp_path):
        done = subprocess.run(
            ["dcmdump", "--print-all", str(file)], capture_output=True, check=True
        )
        assert done.stderr == b""
        assert b"PatientName" in done.stdout
