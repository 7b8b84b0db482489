"""What may show a name in its pixels is held back, by stock CTP and by the interpreter alike.

The classes are looked for by their names in pydicom's copy of PS3.6 Table A-1, not in the data of
this project.
"""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils import ctp_pixels
from ansible_collections.auscat.imaging.plugins.module_utils.ctp_script import (
    ScriptOptions,
    anonymizer_script,
)
from ctp_rules import reading, refusals, script
from ctp_rules.anonymizer import Anonymizer, QuarantineError
from ctp_rules_stock import Ctp
from ctp_rules_way import KEY, TABLE
from pydicom import dcmwrite
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian
from test_ctp_rules_refusals import judged

ROOT = "1.2.840.10008.5.1.4.1.1."
CT, MR, PET, NM, DX, CR = (ROOT + each for each in ("2", "4", "128", "20", "1.1", "1"))
SC, US, RT_IMAGE, RT_DOSE, SR = (ROOT + e for e in ("7", "6.1", "481.1", "481.2", "88.67"))
MPEG4 = "1.2.840.10008.1.2.4.102"
RULES: list[dict[str, Any]] = [
    {"manufacturer": "ACME (Test)", "model": "Echo 3", "action": "clean"},
    {
        "manufacturer": "ACME (Test)",
        "model": "Grab.1",
        "sop_class": "SecondaryCaptureImageStorage",
        "rows": 8,
        "columns": 9,
        "action": "clean",
    },
    {"manufacturer": "Other", "model": "Grab.1", "rows": 9, "action": "clean"},
]
TEXT = anonymizer_script(ScriptOptions(), ctp_pixels.rules(RULES)).replace("@@UID_KEY@@", KEY)
_NAMES = re.compile(
    r"Secondary Capture|Ultrasound|\bUS\b|Photoacoustic|VL |Video|Microscop|Endoscop|Photograph"
    r"|Ophthalmic (?:Tomography|Optical|Thickness)|Corneal"
)


def made(sop_class: str, syntax: str = ExplicitVRLittleEndian, **values: Any) -> bytes:
    """Return the file of an image; a value of ``None`` leaves an attribute out."""
    dataset = Dataset()
    defaults: dict[str, Any] = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.5",
        "PatientID": "PAT-1",
        "PatientName": "Doe^Jane",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Manufacturer": "SIEMENS",
        "ManufacturerModelName": "Sonic 1",
        "Rows": 8,
        "Columns": 8,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
    }
    for keyword, value in {**defaults, **values}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    pixels = bytes(int(dataset.get("Rows", 8)) * int(dataset.get("Columns", 8)))
    dataset.PixelData = pixels if syntax == ExplicitVRLittleEndian else encapsulate([pixels])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = syntax != ExplicitVRLittleEndian
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def carriers() -> list[str]:
    """The SOP Classes of images that may carry text, by their names."""
    found = [
        uid
        for uid, (name, kind, _, _, _) in UID_dictionary.items()
        if kind == "SOP Class"
        and uid.startswith(ROOT)
        and "Storage" in name
        and _NAMES.search(name)
    ]
    # These have no pixels.
    without = ("77.1.5.3", "91.1", "78.7", "80.1", "76")
    return [uid for uid in found if uid[len(ROOT) :] not in without and "SR Storage" not in uid]


ECHO: dict[str, Any] = {"Manufacturer": "ACME (Test)", "ManufacturerModelName": "Echo 3"}
GRAB: dict[str, Any] = {"Manufacturer": "ACME (Test)", "ManufacturerModelName": "Grab.1"}
HELD: dict[str, bytes] = {
    **{f"class {uid[len(ROOT) :]}": made(uid) for uid in carriers()},
    "a capture that says NO": made(SC, BurnedInAnnotation="NO"),
    "an ultrasound image that says no": made(US, BurnedInAnnotation="no"),
    "a whole slide label": made(
        ROOT + "77.1.6", ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"], BurnedInAnnotation="NO"
    ),
    **{
        f"Image Type {text}": made(sop_class, ImageType=["DERIVED", "SECONDARY", text])
        for sop_class, text in (
            (CT, "SCREEN SAVE"),
            (CT, "screen save"),
            (MR, "SNAPSHOT"),
            (PET, "SCREEN CAPTURE"),
            (CT, "DOSE_INFO"),
            (CT, "CT_SOM5 PROT"),
            (NM, "CSA REPORT"),
            (DX, "SAVED STATE"),
            (CT, "EXAM SUMMARY"),
            (CT, "BATCH FILM"),
            (MR, "MONTAGE"),
        )
    },
    **{
        f"series {text}": made(CT, SeriesDescription=text)
        for text in (
            *("Dose Report", "Patient Protocol", "Screen Save", "3D screenshots", "Dose Info"),
            *(
                "DOSE_SUMMARY",
                "Patientenprotokoll",
                "Dosisbericht",
                "Exam Summary",
                "Stroke Report",
            ),
            *("Scanned Documents", "Evidence Documents", "SnapShot", "Hardcopy"),
        )
    },
    **{
        f"conversion {word} of {sop_class}": made(sop_class, ConversionType=word)
        for sop_class, words in (
            (CR, "DF DV DI SD SI SYN WSD DRW"),
            (CT, "WSD"),
            (RT_IMAGE, "DF DV SD SI"),
        )
        for word in words.split()
    },
    "scanned film": made(CR, SecondaryCaptureDeviceManufacturer="Scanner", BurnedInAnnotation="NO"),
    "a day of capture": made(MR, DateOfSecondaryCapture="20240301"),
    "a capture device": made(DX, SecondaryCaptureDeviceID="FRAME"),
    "a video": made(CT, MPEG4),
    "a video that says so": made(
        CT, LossyImageCompression="01", LossyImageCompressionMethod="ISO_14496_10"
    ),
    **{f"says {word!r}": made(CT, BurnedInAnnotation=word) for word in ("YES", "yes", "YES ", "Y")},
    "says NO and YES": made(CT, BurnedInAnnotation=["NO", "YES"]),
    "a face": made(CT, RecognizableVisualFeatures="YES"),
    "a face in lower case": made(CT, RecognizableVisualFeatures="yes"),
    "a declared device that says YES": made(US, BurnedInAnnotation="YES", **ECHO),
    "a declared device with a face": made(US, RecognizableVisualFeatures="YES", **ECHO),
    "another maker": made(US, Manufacturer="ACME", ManufacturerModelName="Echo 3"),
    "another model": made(US, **{**ECHO, "ManufacturerModelName": "Echo 30"}),
    "a model in another case": made(US, **{**ECHO, "ManufacturerModelName": "ECHO 3"}),
    "a model that the expression must not match": made(
        SC, **{**GRAB, "ManufacturerModelName": "GrabX1"}, Columns=9
    ),
    "no model": made(US, **{**ECHO, "ManufacturerModelName": None}),
    "another class": made(US, **GRAB, Columns=9),
    "other columns": made(SC, **GRAB, Columns=8),
    "other rows": made(SC, **GRAB, Rows=9, Columns=9),
    "rows of the other rule": made(SC, **{**GRAB, "Manufacturer": "Other"}, Columns=9),
}
PASSES: dict[str, bytes] = {
    **{
        f"class {uid[len(ROOT) :]}": made(uid, BurnedInAnnotation=flag)
        for uid in (CT, MR, PET, NM, DX, CR, RT_IMAGE, RT_DOSE, ROOT + "66.4", ROOT + "2.1")
        for flag in (None, "NO")
    },
    "no, in lower case": made(CT, BurnedInAnnotation="no"),
    "no face": made(CT, RecognizableVisualFeatures="NO"),
    "a localizer": made(CT, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "a reformation": made(CT, ImageType=["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]),
    **{
        f"portal image of {what} dose": made(
            RT_IMAGE, ImageType=["ORIGINAL", "PRIMARY", "PORTAL", f"{what}_DOSE"]
        )
        for what in ("ACQUIRED", "PREDICTED", "CALCULATED")
    },
    "low dose": made(CT, ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "LOW DOSE"]),
    "screening": made(DX, ImageType=["ORIGINAL", "PRIMARY", "SCREENING"]),
    "a fingerprint": made(MR, ImageType=["DERIVED", "PRIMARY", "FINGERPRINT"]),
    **{
        f"series {text}": made(CT, SeriesDescription=text)
        for text in ("SnapShot Pulse 75%", "0.625mm SnapShot Segment", "Low Dose CT", "RT Dose")
    },
    "protons": made(MR, ImageType=["ORIGINAL", "PRIMARY", "PROTON"]),
    "a radiograph made of a CT": made(RT_IMAGE, ConversionType="WSD"),
    "a portal image": made(RT_IMAGE, ConversionType="DI"),
    "a report without pixels": made(SR, Rows=None, SeriesDescription="Dose Report"),
    "a dose": made(RT_DOSE, SeriesDescription="Dose Report"),
    "a declared device": made(US, **ECHO),
    "a declared device that says NO": made(US, BurnedInAnnotation="NO", **ECHO),
    "a declared device, padded": made(US, **{**ECHO, "ManufacturerModelName": "Echo 3 "}),
    "a saved screen of a declared device": made(CT, ImageType=["A", "B", "SCREEN SAVE"], **ECHO),
    "a declared size": made(SC, **GRAB, Columns=9),
    "the other rule": made(SC, **{**GRAB, "Manufacturer": "Other"}, Rows=9),
}


def test_every_class_with_text_is_known() -> None:
    assert set(ctp_pixels.classes()) >= set(carriers())
    assert len(carriers()) > 25
    known = {uid: entry[4] for uid, entry in UID_dictionary.items()}
    for uid, keyword in ctp_pixels.classes().items():
        assert known[uid] == keyword


def test_what_may_show_a_name_is_held_back() -> None:
    anonymizer = Anonymizer(script.parse(TEXT))
    judge = refusals.Judge(anonymizer)
    for name, content in {**HELD, **PASSES}.items():
        why = judged(judge, content)
        reasons = (refusals.PIXELS_NOT_DECLARED, refusals.BURNED_IN_ANNOTATION)
        assert (why.reason if why else "") in (reasons if name in HELD else ("",)), name
        held = 0
        try:
            anonymizer.run(reading.read(content), lambda k, v: TABLE.get(f"{k}/{v}"))
        except QuarantineError as error:
            held = error.tag
        expected = (0x7FDEFFFE, 0x00280301, 0x00280302) if name in HELD else (0,)
        assert held in expected, name


@pytest.mark.stock_ctp
def test_stock_ctp_holds_back_the_same(ctp: Ctp, tmp_path: Path) -> None:
    objects = {**HELD, **{f"passes: {name}": content for name, content in PASSES.items()}}
    files = ctp.run(TEXT, TABLE, objects.values(), tmp_path)
    left = {name for name, file in zip(objects, files) if file is not None}
    assert left == {f"passes: {name}" for name in PASSES}


def test_an_icon_never_leaves() -> None:
    icon = Dataset()
    icon.Rows = icon.Columns = 1
    icon.PixelData = b"\0\0"
    icon["PixelData"].VR = "OB"
    content = made(CT, IconImageSequence=[icon])
    left = Anonymizer(script.parse(TEXT)).run(
        reading.read(content), lambda k, v: TABLE.get(f"{k}/{v}")
    )
    assert "IconImageSequence" in reading.read(content)
    assert "IconImageSequence" not in left.dataset


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("no list", r"is 'no list'\. Accepted: a list"),
        ([{"model": "Echo 3", "action": "clean"}], r"\[0\] has no manufacturer\. Accepted"),
        ([{"manufacturer": "ACME", "action": "clean"}], r"\[0\] has no model\. Accepted"),
        ([{**RULES[0], "model": 3}], r"\[0\]\.model is 3\. Accepted: .*quote a number"),
        ([{**RULES[0], "model": "a\\b"}], r"\.model is .*without a backslash"),
        ([{**RULES[0], "model": " a"}], r"\.model is ' a'"),
        ([{**RULES[0], "action": "blank"}], r"\.action is 'blank'\. Accepted: clean"),
        ([{**RULES[0], "regions": []}], r"\[0\] has regions\. .*blanks no regions"),
        ([{**RULES[0], "rows": 0}], r"\.rows is 0\. Accepted: a whole number"),
        ([{**RULES[0], "columns": "512"}], r"\.columns is '512'"),
        ([{**RULES[0], "sop_class": "Ultrasound"}], r"\.sop_class is 'Ultrasound'\. Accepted"),
        ([{**RULES[0], "sop_class": f"{SC}."}], r"\.sop_class is '.*7\.'\. Accepted"),
        ([{**RULES[0], "maker": "x"}], r"has the unknown key 'maker'\. Accepted"),
        (RULES[:1] * 101, r"has 101 entries\. Accepted: 100 at most"),
    ],
)
def test_a_declaration_that_is_none_is_refused(rule: Any, said: str) -> None:
    found = ctp_pixels.problems(rule)
    assert len(found) == 1 and re.search(rf"ctp_pixel_rules.*{said}", found[0]), found


def test_the_declarations_of_this_test_are_accepted() -> None:
    assert ctp_pixels.problems(RULES) == [] == ctp_pixels.problems([])
