"""The preset ``radiotherapy``: what researchers compute from what left, and what must not be in it.

What is judged left the interpreter and, in one start, stock CTP. The judges know neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import ctp_rules_clean
import flood
import pydicom
import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script
from ansible_collections.auscat.imaging.plugins.module_utils.proof import judgement, phantom
from ctp_rules_objects import Element, Writer, base
from ctp_rules_stock import Ctp
from ctp_rules_way import (
    OPTIONS,
    PSEUDONYM,
    TABLE,
    Way,
    handed_over,
    looked_at,
    real_files,
    rules,
    script_text,
)
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset

DECLARED_NUMBERS = Path(__file__).resolve().parents[2] / "marks/declared_numbers.txt"
PRESET = OPTIONS["radiotherapy"]
SHIFT = timedelta(days=-17)
LISTED = [
    line
    for line in Path(__file__).with_name("descriptions.txt").read_text().splitlines()
    if line.strip() and line[0] not in "#["
]
# Those of the cases from the field, and more of their kind.
IDENTIFYING = [
    *("CT CHEST 12-34-56", "CT HEAD 02/01/65", "MR BRAIN 123 456 789 0", "CT ABDOMEN 0/012/345"),
    *("CT CHEST 555-123-456", "CT CHEST 0012345", "CT CHEST 1950", "CT CHEST DOE", "12-34-56"),
    *("CT 1 2 3 4 5 6", "CT 12.05.1965", "CT 2.12", "CT 5x12x65", "HEAD 65 M", "CHEST 12 34 56"),
    *("CT 1.2.3.4.5.6", "CT 12,345", "T1 12345", "CT A123456", "CT0012345", "MR 0412 345 678"),
    *("CT @keep()", "@remove() CT", "CT {12}", "CT CHEST\n12-34", "MR DOE^JANE", "PHASE 12/34"),
    *("CT 65.01.02", "CT 02JAN65", "CT JAN1965", "CT 12_05_1965", "CT 0412.345.678", "CT SN1234"),
    *("CT 5.65", "CT 12#05#65", "CT 5Gy/02/65", "CT 02-12#"),
    *("CT 2 MAR 65", "CT 2 OCT 1965", "CT 02-JAN-1965", "CT 2/1/65", "CT 02.01.65", "CT 02,01,65"),
]
#: Parts of them that must not be left.
TRACES = [
    *("12-34", "02/01", "123", "345", "555", "0012", "1950", "DOE", "34", "65", "2.12", "0412"),
    *("678", "1.2.3", "5x12", "MAR", "OCT", "2/1", "02.01", "02,01", "JAN", "12_05", "SN1"),
]
# Usual ones of CT, MR, PET and radiotherapy, with letters that could be hexadecimal digits alone,
# and units behind a blank.
USUAL = [
    *("ADC", "ABD", "T Spine", "C-Spine", "Monoenergetic Plus 65 keV", "60 deg", "AX T1 +C", "H&N"),
    *("Thorax 1.5 Br40", "Abdomen 2.0 Bf37 3", "18F-FDG PET", "Ga-68 PSMA", "2CH", "50Gy 25#"),
    *("Prostate 60Gy/20", "DTI_64dir", "mDIXON", "Lung 1.0 Bl57"),
]
MODELS = [
    *(
        "TrueBeam STx",
        "Sensation 64",
        "GEMINI TF TOF 16",
        "Discovery MI DR",
        "Avanto_fit",
        "TrioTim",
    ),
    *("Biograph128_Vision 600", "LightSpeed RT16", "Signa HDxt", "uCT 760", "Philips CT Big Bore"),
]
HOSTILE = [
    *("1 " * 32, "1." * 32, "A" * 64, "CT " * 21, "CTCTCT" * 10, "1x" * 32, "W/" * 32, "%" * 64),
    *("PHASE_" * 10, "0.0.0.0 " * 8, "1 mm" * 16, "-" * 64, "LOW LOW " * 8, "T1T2" * 16, "é" * 64),
    *("CT" + " " * 60 + "!", "a" * 5000, "1" * 5000, "CT 1 " * 1000),
]


def with_text(text: str) -> bytes:
    """An object with the text as description, label and model."""
    value = text.encode("utf-8")
    tags = (0x0008103E, 0x00081030, 0x00081090, 0x00181020, 0x00181030)
    elements = [Element(tag, "LO", value) for tag in tags]
    plan = Element(0x300A00B0, "SQ", [[Element(0x300A00C2, "LO", value)]])
    return Writer().file([*base(b"ISO_IR 192"), *elements, plan])


def scan(day: str, birth: str = "19500203") -> bytes:
    image = ctp_rules_clean.ct()
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = day
    image.PatientBirthDate = birth
    return ctp_rules_clean.content(image)


def scanned(*keywords: str, **changes: Any) -> bytes:
    """A PET image, given up at nine, with changes in the radiopharmaceutical."""
    image = ctp_rules_clean.pet()
    (drug,) = image.RadiopharmaceuticalInformationSequence
    for keyword in keywords:
        delattr(drug, keyword)
    for keyword, value in changes.items():
        setattr(drug, keyword, value)
    image.ManufacturerModelName, image.SoftwareVersions = "Biograph64_mCT", "VG60A"
    return ctp_rules_clean.content(image)


GIVEN = "RadiopharmaceuticalStartTime"
PETS = {
    "PET": scanned(),
    "PET, fraction": scanned(GIVEN, RadiopharmaceuticalStartDateTime="20240301090000.000000"),
    "PET, offset": scanned(GIVEN, RadiopharmaceuticalStartDateTime="20240301090000+0000"),
    "PET, plain": scanned(GIVEN, RadiopharmaceuticalStartDateTime="20240301090000"),
    "PET, night": scanned(GIVEN, RadiopharmaceuticalStartDateTime="20240229235900.0"),
}
OBJECTS: dict[str, bytes] = {
    **PETS,
    "first": scan("20240301"),
    "second": scan("20240715"),
    **{f"listed {text}": with_text(text) for text in LISTED},
    **{f"usual {text}": with_text(text) for text in [*USUAL, *MODELS]},
    **{f"identifying {text}": with_text(text) for text in IDENTIFYING},
    **{f"hostile {number}": with_text(text) for number, text in enumerate(HOSTILE)},
}


def suv(image: Dataset) -> float:
    """SUVbw of the first pixel that is not zero, as the QIBA profile for FDG-PET computes it."""
    (drug,) = image.RadiopharmaceuticalInformationSequence
    begin = datetime.strptime(image.SeriesDate + image.SeriesTime[:6], "%Y%m%d%H%M%S")
    if "RadiopharmaceuticalStartDateTime" in drug:
        given = datetime.strptime(drug.RadiopharmaceuticalStartDateTime[:14], "%Y%m%d%H%M%S")
    else:
        time = drug.RadiopharmaceuticalStartTime[:6]
        given = datetime.strptime(image.SeriesDate + time, "%Y%m%d%H%M%S")
    assert (image.Units, image.DecayCorrection) == ("BQML", "START")
    assert "DECY" in image.CorrectedImage and "ATTN" in image.CorrectedImage
    seconds = (begin - given).total_seconds()
    left = float(drug.RadionuclideTotalDose) * 2 ** (-seconds / float(drug.RadionuclideHalfLife))
    pixels = image.PixelData
    first = next(
        value
        for place in range(0, len(pixels), 2)
        if (value := int.from_bytes(pixels[place : place + 2], "little"))
    )
    active = first * float(image.RescaleSlope) + float(image.RescaleIntercept)
    return active * float(image.PatientWeight) * 1000 / left


def judge_suv(left: Mapping[str, Dataset]) -> None:
    for name, content in PETS.items():
        before = suv(pydicom.dcmread(BytesIO(content)))
        assert before > 0
        assert suv(left[name]) == pytest.approx(before, rel=0.01), name
        assert left[name].ManufacturerModelName == "Biograph64_mCT"
        assert left[name].SoftwareVersions == "VG60A"
        assert "DeviceSerialNumber" not in left[name] and "StationName" not in left[name]
        assert left[name].PatientSex == "F" and left[name].PatientAge == "074Y"


def judge_intervals(left: Mapping[str, Dataset]) -> None:
    def days(image: Dataset) -> list[datetime]:
        keywords = ("StudyDate", "SeriesDate", "AcquisitionDate")
        return [datetime.strptime(image[keyword].value, "%Y%m%d") for keyword in keywords]

    for first, second in zip(days(left["first"]), days(left["second"])):
        assert second - first == datetime(2024, 7, 15) - datetime(2024, 3, 1)
        assert first == datetime(2024, 3, 1) + SHIFT
    assert left["first"].PatientBirthDate == ""
    night = left["PET, night"].RadiopharmaceuticalInformationSequence[0]
    assert night.RadiopharmaceuticalStartDateTime == "20240212235900.0"


def texts(image: Dataset) -> list[str]:
    found = [str(image.get(keyword, "")) for keyword in ("SeriesDescription", "ProtocolName")]
    found += [str(image.get(k, "")) for k in ("ManufacturerModelName", "SoftwareVersions")]
    return [*found, str(image.BeamSequence[0].get("BeamName", ""))]


def judge_descriptions(left: Mapping[str, Dataset]) -> None:
    stay = [text for text in LISTED if left[f"listed {text}"].SeriesDescription == text]
    partly = [text for text in LISTED if len(texts(left[f"listed {text}"])[0].strip("* ")) > 1]
    assert (len(LISTED), len(stay), len(partly)) == (124, 106, 123)
    for text in IDENTIFYING:
        model = text in ("CT 2.12", "CT 5.65")  # as a version it is one
        for found in texts(left[f"identifying {text}"])[:: 4 if model else 1]:
            assert not [trace for trace in TRACES if trace in found], (text, found)
    assert [each for each in USUAL if left[f"usual {each}"].SeriesDescription != each] == []
    lost = [each for each in MODELS if left[f"usual {each}"].ManufacturerModelName != each]
    assert lost == []
    # What was left out can be seen.
    assert left["identifying CT CHEST DOE"].SeriesDescription == "CT CHEST *"
    assert left["identifying CT CHEST 12-34-56"].BeamSequence[0].BeamName == "REMOVED"


def judge_method(left: Mapping[str, Dataset]) -> None:
    for image in left.values():
        assert image.DeidentificationMethod == script.METHODS["radiotherapy"][0]
        codes = [item.CodeValue for item in image.DeidentificationMethodCodeSequence]
        assert codes == ["113100", "113104", "113105", "113107", "113108"]
        assert image.LongitudinalTemporalInformationModified == "MODIFIED"


JUDGES: list[Callable[[Mapping[str, Dataset]], None]] = [
    *(judge_suv, judge_intervals, judge_descriptions, judge_method)
]


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Dataset]:
    way = Way(PRESET)
    passed = {name: way.through(content) for name, content in OBJECTS.items()}
    assert {name: each.held for name, each in passed.items() if each.held} == {}
    return {name: pydicom.dcmread(BytesIO(each.left)) for name, each in passed.items()}


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)
def test_what_left_the_interpreter(
    judge: Callable[[Mapping[str, Dataset]], None], interpreted: dict[str, Dataset]
) -> None:
    judge(interpreted)


@pytest.mark.stock_ctp
def test_what_left_stock_ctp(ctp: Ctp, interpreted: dict[str, Dataset], tmp_path: Path) -> None:
    """And it is what left the interpreter, hostile texts too."""
    rules = Way(PRESET).rules
    handed = [handed_over(content, rules) for content in OBJECTS.values()]
    files = ctp.run(script_text(PRESET), TABLE, handed, tmp_path)
    left = {}
    for name, file in zip(OBJECTS, files):
        assert file is not None, name
        looked_at(file.read_bytes())
        left[name] = pydicom.dcmread(file)
        if "BeamSequence" in left[name]:
            assert texts(left[name]) == texts(interpreted[name]), name
    for judge in JUDGES:
        judge(left)


def test_an_ethnic_group_is_one_and_no_name() -> None:
    way = Way(PRESET)

    def left(text: str) -> str:
        group = Element(0x00102160, "SH", text.encode())
        passed = way.through(Writer().file([*base(b"ISO_IR 192"), group]))
        return str(pydicom.dcmread(BytesIO(passed.left)).EthnicGroup)

    stay = ["Caucasian", "BLACK/AFRICAN", "Not Hispanic", "White or Asian", "Middle Eastern", ""]
    assert [left(each) for each in stay] == stay
    gone = ["Doe Jane", "Doe", "Torres", "White Doe", "Asian-Doe", "Black ", "Asian or"]
    assert [left(each) for each in gone] == [""] * 5 + ["Black", ""]


def test_a_radiopharmaceutical_is_one_and_no_initials_with_an_age() -> None:
    way = Way(PRESET)

    def left(tag: int, keyword: str, text: str) -> str:
        passed = way.through(Writer().file([*base(), Element(tag, "LO", text.encode())]))
        return str(pydicom.dcmread(BytesIO(passed.left))[keyword].value)

    stay = [
        "FDG",
        "FDG -- fluorodeoxyglucose",
        "F-18",
        "99mTc",
        "FDG F18",
        "PSMA-1007",
        "FDG [18F]",
    ]
    assert [left(0x00180031, "Radiopharmaceutical", each) for each in stay] == stay
    gone = ["JD65", "65DO", "DOE65", "FDG JD65", "FDG [65JD]", "FDG Doe", "065YE"]
    assert {left(0x00180031, "Radiopharmaceutical", each) for each in gone} == {""}
    assert left(0x00180085, "ImagedNucleus", "1H") == "1H"
    assert left(0x00180085, "ImagedNucleus", "065Y") == ""


def test_descriptions_of_real_files_stay() -> None:
    """In the files that the packages bring: those that left with each word, and those with some."""
    way = Way(PRESET)
    whole, some, all_of_them = set(), set(), set()
    for content in real_files().values():
        passed = way.through(content)
        if passed.held:
            continue
        came, left = (pydicom.dcmread(BytesIO(each), force=True) for each in (content, passed.left))
        for keyword in ("SeriesDescription", "StudyDescription", "ProtocolName"):
            if not (before := str(came.get(keyword, "")).strip()):
                continue
            all_of_them.add(before)
            if (after := str(left.get(keyword, ""))) == before:
                whole.add(before)
            elif after.strip("* "):
                some.add(before)
    assert len(all_of_them) >= 20
    assert len(whole) >= 15 and len(whole | some) >= 20, (whole, some, all_of_them)


def test_no_mark_is_left(tmp_path: Path) -> None:
    """By the judge of the proof, which knows what the options may keep: times, and the age."""
    study = phantom.make_study(
        "1234567890", True, ct_instances=4, pseudonym_prefix=PSEUDONYM, issuer=""
    )
    whose = study.patient_id
    way = Way(PRESET, {f"PatientID/{whose}|": study.pseudonym, f"DateShift/{whose}": "-17"})
    arrived = []
    for path in phantom.write_study(study, tmp_path):
        passed = way.through(path.read_bytes())
        dataset = pydicom.dcmread(BytesIO(passed.left))
        arrived.append(judgement.Arrived(path.name, passed.left, dataset))
    retained = judgement.Retained.by({"preset": "radiotherapy"})
    assert judgement.mark_problems(study, arrived, {}, retained) == []
    assert judgement.mark_problems(study, arrived, {})  # the judge sees what is kept
    assert len(arrived) > 4


def test_no_mark_of_any_element_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the judge of the study with a mark in every element, which knows the standard's table."""
    flood.write(tmp_path, "1739264850", False, slices=4)
    summary = tmp_path / "summary.json"
    said = {**json.loads(summary.read_text()), "pseudonym": PSEUDONYM}
    summary.write_text(json.dumps(said))
    whose = said["patient_id"]
    table = {f"PatientID/{whose}|{said['issuer']}": PSEUDONYM, f"DateShift/{whose}": "-17"}
    way, left = Way(PRESET, table, every_device=False), tmp_path / "left"
    left.mkdir()
    for path in sorted(tmp_path.glob("*.dcm")):
        (left / path.name).write_bytes(way.through(path.read_bytes()).left)
    keeps = ["modified-dates", "patient-characteristics"]
    assert flood.check(tmp_path, left, keeps) == 0
    kept = re.findall(r"(\w+) kept by an option: (\d+)", capsys.readouterr().out)
    assert len(kept) == 6 and all(int(count) for _, count in kept)
    # The judge sees what is kept, and by which option.
    for one, other in ((keeps[:1], "PatientAge"), (keeps[1:], "StudyTime")):
        assert flood.check(tmp_path, left, one) > 0
        found = capsys.readouterr().out
        assert other in found


def test_numbers_that_stay_are_declared() -> None:
    """Where any number may stand, an identifier may: each one that the script keeps is in the list
    that tests/marks/flood.py excepts, so that who adds one sees it there."""
    kept = {
        keyword_for_tag(tag)
        for tag in rules(script_text(OPTIONS["strict"]).encode()).kept
        if dictionary_VR(tag) in ("DS", "IS")
    }
    assert kept == set(DECLARED_NUMBERS.read_text().split())
