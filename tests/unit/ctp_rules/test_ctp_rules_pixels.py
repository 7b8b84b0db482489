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
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import pixels as ctp_pixels
from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import (
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
REGION = {"x": 0, "y": 0, "width": 9, "height": 2}
BLANK: list[dict[str, Any]] = [
    {
        "manufacturer": "ACME (Test)",
        "model": "Banner",
        "rows": 8,
        "columns": 9,
        "action": "blank",
        "regions": [REGION],
    }
]
BLANKING = [*RULES, *BLANK]
TEXT = anonymizer_script(ScriptOptions(), ctp_pixels.rules(RULES)).replace("@@UID_KEY@@", KEY)
BLANKED_TEXT = anonymizer_script(ScriptOptions(), ctp_pixels.rules(BLANKING)).replace(
    "@@UID_KEY@@", KEY
)
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
    dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def blank(**sides: Any) -> dict[str, Any]:
    """Return a declaration with another region."""
    return {**BLANK[0], "regions": [{**REGION, **sides}]}


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


def plain_images() -> list[str]:
    """The SOP Classes of the other images of medicine, by their names."""
    names = re.compile(r"Image Storage|Parametric Map|^Segmentation|Spectroscopy|RT Dose")
    return [
        uid
        for uid, (name, kind, _, _, _) in UID_dictionary.items()
        if kind == "SOP Class"
        and uid.startswith(ROOT)
        and names.search(name)
        and uid not in carriers()
        and not re.match(r"DICOS|Eddy Current", name)
    ]


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
            (CT, "CSA 3D EDITOR"),
            (CT, "VRT"),
            (CT, "VR"),
            (MR, "GRAPH"),
            (PET, "TIME CURVE GRAPHS"),
            (CT, "SSD"),
            (MR, "RENDERED"),
            (CT, "SURFACE_RENDER"),
            (CT, "3D"),
            (CT, "HARDCOPY"),
        )
    },
    **{
        f"{photometric} in {sop_class} {kind}": made(
            sop_class,
            PhotometricInterpretation=photometric,
            SamplesPerPixel=samples,
            ImageType=kind.split(),
        )
        for sop_class, photometric, samples, kind in (
            (CT, "RGB", 3, "DERIVED SECONDARY"),
            (CT, "RGB", 3, "ORIGINAL PRIMARY AXIAL"),
            (MR, "RGB", 3, "DERIVED SECONDARY PERFUSION TTP"),
            (MR, "rgb", 3, "DERIVED PRIMARY DIFFUSION FA"),
            (PET, "PALETTE COLOR", 1, "DERIVED SECONDARY"),
            (PET, "YBR_FULL_422", 3, "DERIVED SECONDARY"),
            (NM, "PALETTE COLOR", 1, "DERIVED SECONDARY EMISSION"),
            (NM, "RGB", 3, "DERIVED SECONDARY"),
            (DX, "RGB", 3, "DERIVED SECONDARY"),
            (ROOT + "4.3", "RGB", 3, "DERIVED PRIMARY DIFFUSION FA"),
        )
    },
    **{
        f"{photometric!r} of {samples} samples": made(
            CT, PhotometricInterpretation=photometric, SamplesPerPixel=samples
        )
        for photometric, samples in ((None, 3), ("", 3), ("MONOCHROME2", 3), (None, 4))
    },
    "a screen of 860 lines": made(NM, ImageType=["DERIVED", "SECONDARY"], Rows=860),
    "a rendered volume": made(CT, VolumeBasedCalculationTechnique="VOLUME_RENDER"),
    "a rendered surface": made(ROOT + "2.1", VolumeBasedCalculationTechnique="SURFACE_RENDER"),
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
            *("Report", "REPORTS", "AVA Report", "Befund", "Rapport", "Compte rendu", "Results"),
            *("3D Saved", "save", "VRT", "Heart 3D VR", "Volume Rendering", "Summary", "Protocol"),
            *("MEDRAD", "FFR-CT", "Graph", "Injection Report", "Key Images 3D Viewer"),
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
    "no class": made(US, SOPClassUID=None),
    **{
        f"an image of class {uid}": made(uid)
        for uid in (
            *(ROOT + each for each in ("6.7", "999", "481.5", "11.1", "501.1", "88.67")),
            *(ROOT[:-1], "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.5.1.4.31"),
        )
    },
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
    **{f"plain class {uid[len(ROOT) :]}": made(uid) for uid in plain_images()},
    "an image of an unknown class of a declared device": made(ROOT + "999", **ECHO),
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
    "a nuclear medicine image in its palette": made(
        NM,
        PhotometricInterpretation="PALETTE COLOR",
        ImageType=["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"],
    ),
    "a label map in its palette": made(
        ROOT + "66.7", PhotometricInterpretation="PALETTE COLOR", ImageType=["DERIVED", "PRIMARY"]
    ),
    "a map of perfusion in grey": made(
        MR, ImageType=["DERIVED", "PRIMARY", "PERFUSION", "NONE", "RCBF"]
    ),
    "a map of perfusion in grey, secondary": made(
        CT, ImageType=["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 SPI", "PERFUSION"]
    ),
    "an image in grey that does not say of how many samples": made(CT, SamplesPerPixel=None),
    "an image of one sample that does not say that it is grey": made(
        CT, PhotometricInterpretation=None
    ),
    "a spectrum": made(ROOT + "4.2", PhotometricInterpretation=None, SamplesPerPixel=None),
    "an inverted radiograph": made(DX, PhotometricInterpretation="MONOCHROME1 "),
    **{
        f"Image Type {text}": made(sop_class, ImageType=text.split("/"))
        for sop_class, text in (
            (CT, "ORIGINAL/PRIMARY/AXIAL/CT_SOM5 SPI"),
            (CT, "ORIGINAL/PRIMARY/LOCALIZER/CT_SOM5 TOP"),
            (CT, "DERIVED/SECONDARY/OTHER/CSA MPR"),
            (CT, "DERIVED/SECONDARY/OTHER/CSA RESAMPLED"),
            (CT, "DERIVED/SECONDARY/MPR"),
            (CT, "DERIVED/SECONDARY/PROJECTION IMAGE/MIP"),
            (CT, "DERIVED/SECONDARY/SURVEY"),
            (MR, "ORIGINAL/PRIMARY/M/NORM/DIS2D/FM3_2/FIL"),
            (MR, "ORIGINAL/PRIMARY/M_FFE/M/FFE"),
            (MR, "ORIGINAL/PRIMARY/M/3D"),
            (MR, "DERIVED/SECONDARY/MPR/CSA MPR/M/ND/NORM"),
            (MR, "DERIVED/PRIMARY/DIFFUSION/TRACEW/ND"),
            (PET, "ORIGINAL/PRIMARY"),
            (PET, "ORIGINAL/PRIMARY/AXIAL/STATIC"),
            (NM, "ORIGINAL/PRIMARY/RECON TOMO/EMISSION"),
            (ROOT + "2.1", "DERIVED/PRIMARY/VOLUME/MAXIMUM"),
            (ROOT + "12.1", "DERIVED/PRIMARY/SINGLE PLANE/SINGLE A"),
        )
    },
    "an image of 860 lines": made(CT, Rows=860),
    "a maximum": made(ROOT + "2.1", VolumeBasedCalculationTechnique="MAX_IP"),
    "low dose": made(CT, ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "LOW DOSE"]),
    "screening": made(DX, ImageType=["ORIGINAL", "PRIMARY", "SCREENING"]),
    "a fingerprint": made(MR, ImageType=["DERIVED", "PRIMARY", "FINGERPRINT"]),
    **{
        f"series {text}": made(CT, SeriesDescription=text)
        for text in (
            *("SnapShot Pulse 75%", "0.625mm SnapShot Segment", "Low Dose CT", "RT Dose"),
            *("Thorax 1.0 B30f", "t1_vprage_sag", "Tomography", "CARE Dose4D", "T2 space restore"),
            *("Protocol 3 abdomen", "VRTX", "Unreported", "DWI 3D", "Perfusion TTP", "Angiography"),
        )
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


BANNER: dict[str, Any] = {
    "Manufacturer": "ACME (Test)",
    "ManufacturerModelName": "Banner",
    "Columns": 9,
}
COLOURS: dict[str, Any] = {
    "PhotometricInterpretation": "RGB",
    "SamplesPerPixel": 3,
    "PlanarConfiguration": 0,
}
BLANKED: dict[str, bytes] = {
    "of a kind with text": made(US, **BANNER),
    "that says YES": made(US, BurnedInAnnotation="YES", **BANNER),
    "of any kind": made(CT, BurnedInAnnotation="NO", **BANNER),
    "a screen in colours": made(SC, **COLOURS, **BANNER),
    "of 16 bits": made(US, BitsAllocated=16, **BANNER),
}
NOT_BLANKED: dict[str, bytes] = {
    "JPEG baseline": made(US, "1.2.840.10008.1.2.4.50", **BANNER),
    "RLE": made(CT, "1.2.840.10008.1.2.5", **BANNER),
    "half of the colours": made(
        US, **{**COLOURS, "PhotometricInterpretation": "YBR_FULL_422"}, **BANNER
    ),
    "colours of 16 bits": made(
        US, **{**COLOURS, "PhotometricInterpretation": "YBR_FULL"}, BitsAllocated=16, **BANNER
    ),
    "no colours told": made(US, PhotometricInterpretation=None, **BANNER),
    "single bits": made(US, BitsAllocated=1, **BANNER),
}


def said(content: bytes) -> tuple[str, bool]:
    """What an object says of its pixels: (0028,0301), and whether it has the code."""
    dataset = reading.read(content)
    codes = [each.CodeValue for each in dataset.DeidentificationMethodCodeSequence]
    assert codes[0] == "113100"
    return str(dataset.get("BurnedInAnnotation")), "113101" in codes


def test_what_is_blanked_says_so_and_what_cannot_be_is_held_back() -> None:
    anonymizer = Anonymizer(script.parse(BLANKED_TEXT))
    judge = refusals.Judge(anonymizer)

    def left(content: bytes) -> tuple[str, bool]:
        found = anonymizer.run(reading.read(content), lambda k, v: TABLE.get(f"{k}/{v}")).dataset
        codes = [each.CodeValue for each in found.DeidentificationMethodCodeSequence]
        return str(found.get("BurnedInAnnotation")), "113101" in codes

    for name, content in BLANKED.items():
        assert judged(judge, content) is None, name
        assert left(content) == ("NO", True), name
    for name, content in NOT_BLANKED.items():
        why = judged(judge, content)
        assert why is not None and why.reason == refusals.PIXELS_NOT_BLANKED, name
    for name, content in {**HELD, **PASSES}.items():
        assert (judged(judge, content) is None) == (name in PASSES), name
        if name in PASSES:
            assert not left(content)[1], name
    # The stand-in in the AusCAT image's place has nothing behind it that would blank.
    alone = anonymizer_script(ScriptOptions(), ctp_pixels.rules(BLANKING), can_blank=False)
    judge = refusals.Judge(Anonymizer(script.parse(alone.replace("@@UID_KEY@@", KEY))))
    for name, content in {**BLANKED, **NOT_BLANKED}.items():
        why = judged(judge, content)
        assert why is not None and why.reason == refusals.PIXELS_NOT_BLANKED, name


@pytest.mark.stock_ctp
def test_stock_ctp_says_the_same_of_what_is_blanked(ctp: Ctp, tmp_path: Path) -> None:
    passes = {name: PASSES[name] for name in ("a declared device that says NO", "a localizer")}
    objects = {**BLANKED, **NOT_BLANKED, **passes}
    files = dict(zip(objects, ctp.run(BLANKED_TEXT, TABLE, objects.values(), tmp_path)))
    left = {name: said(file.read_bytes()) for name, file in files.items() if file is not None}
    assert left == {
        **dict.fromkeys(BLANKED, ("NO", True)),
        "a declared device that says NO": ("NO", False),
        "a localizer": ("None", False),
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


NO_CLASS = {
    name: made(US, SOPClassUID=uid)
    for name, uid in {
        "a dot behind it": f"{ROOT}6.1.",
        "a naught in front": f"{ROOT}06.1",
        "two dots": f"{ROOT}6..1",
        "too many digits": f"{ROOT}6.1000000",
    }.items()
}


def test_what_is_no_sop_class_passes_for_none() -> None:
    anonymizer = Anonymizer(script.parse(TEXT))
    judge = refusals.Judge(anonymizer)
    for name, content in NO_CLASS.items():
        with pytest.raises(QuarantineError):
            anonymizer.run(reading.read(content), lambda k, v: TABLE.get(f"{k}/{v}"))
        why = judged(judge, content)
        # No declaration cures it.
        assert why is not None and why.reason == refusals.SOP_CLASS_NOT_ACCEPTED, name


@pytest.mark.stock_ctp
def test_nor_does_it_in_stock_ctp(ctp: Ctp, tmp_path: Path) -> None:
    files = ctp.run(TEXT, TABLE, NO_CLASS.values(), tmp_path)
    assert [*files] == [None] * len(NO_CLASS)


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
        ([{**RULES[0], "action": "blur"}], r"\.action is 'blur'\. Accepted: clean.* blank"),
        ([{**RULES[0], "regions": []}], r"\[0\] has regions\. Accepted: .*action blank"),
        ([{**BLANK[0], "regions": []}], r"\.regions is \[\]\. Accepted.* 1 to 20 regions"),
        ([{**BLANK[0], "regions": [REGION] * 21}], r"\.regions is 21 entries\. Accepted"),
        ([{**BLANK[0], "regions": REGION}], r"\.regions is \{.*\}\. Accepted.* 1 to 20 regions"),
        (
            [{**BLANK[0], "regions": [[0, 0, 8, 2]]}],
            r"\[0\]\.regions\[0\] is .*Accepted: a mapping",
        ),
        ([blank(x=-1)], r"\.regions\[0\]\.x is -1\. Accepted: a whole number from 0 to 8"),
        ([blank(width=0)], r"\.regions\[0\]\.width is 0\. Accepted: a whole number from 1 to 9"),
        ([blank(height="2")], r"\.regions\[0\]\.height is '2'\. Accepted"),
        ([blank(x=1, width=9)], r"\.regions\[0\] ends at x 10, and the image has 9 columns\. Acc"),
        ([blank(y=7, height=2)], r"\.regions\[0\] ends at y 9, and the image has 8 rows\. Acc"),
        (
            [{key: value for key, value in BLANK[0].items() if key != "rows"}],
            r"\[0\] has no rows\. Accepted, with action blank: rows and columns",
        ),
        ([{**RULES[0], "rows": 0}], r"\.rows is 0\. Accepted: a whole number"),
        ([{**RULES[0], "columns": "512"}], r"\.columns is '512'"),
        ([{**RULES[0], "sop_class": "Ultrasound"}], r"\.sop_class is 'Ultrasound'\. Accepted"),
        ([{**RULES[0], "sop_class": f"{SC}."}], r"\.sop_class is '.*7\.'\. Accepted"),
        ([{**RULES[0], "sop_class": ROOT + "104.1"}], r"\.sop_class is .* Not one of documents"),
        ([{**RULES[0], "maker": "x"}], r"has the unknown key 'maker'\. Accepted"),
        (BLANK * 41, r"has 41 entries with action blank\. Accepted: 40 at most"),
        (RULES[:1] * 101, r"has 101 entries\. Accepted: 100 at most"),
    ],
)
def test_a_declaration_that_is_none_is_refused(rule: Any, said: str) -> None:
    found = ctp_pixels.problems(rule)
    assert len(found) == 1 and re.search(rf"ctp_pixel_rules.*{said}", found[0]), found


def test_as_many_as_are_accepted_fit_into_a_swarm_config() -> None:
    longest = [
        {**blank(), "manufacturer": f"Maker {number % 9}", "model": f"Model {number}" + "x" * 20}
        for number in range(100)
    ]
    for number, rule in enumerate(longest):
        rule |= {"rows": 600 + number, "columns": 800 + number}
        if number >= 40:
            rule["action"] = "clean"
            del rule["regions"]
    assert ctp_pixels.problems(longest) == []
    text = anonymizer_script(
        ScriptOptions(preset="radiotherapy", longitudinal="shifted"), ctp_pixels.rules(longest)
    )
    assert len(text) < 600_000  # and a config holds 1,024,000 bytes


def test_the_declarations_of_this_test_are_accepted() -> None:
    assert ctp_pixels.problems(BLANKING) == [] == ctp_pixels.problems([])
