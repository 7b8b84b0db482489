r"""What may carry text in its pixels, and what a site has declared of its devices: that they are
without, or in which regions of their images it stands.

The data below says by which SOP Class, Image Type, conversion or syntax an object is of a kind
that can show a name: captures, screens, ultrasound, photographs, video, scanned film. `gate` makes
of it, and of the variable ctp_pixel_rules, the one rule of CTP's script that holds such an object
back unless its device is declared. The supervisor and the stand-in carry out that very rule; there
is no second list. Regions are blanked by the supervisor when an object leaves
(images/ctp_rsna, data_set.blanking); the script says in the object that it is blanked, and
holds back what cannot be.

Sources: SOP Classes and transfer syntaxes of PS3.6 2025b (A), by pydicom 3.0.2; Conversion Type of
PS3.3 C.8.6.1 and, of RT images, C.8.8.2; the attributes of the device that made a capture of
C.8.6.1; Lossy Image Compression Method of C.7.6.1.1.5.1; Burned In Annotation and Recognizable
Visual Features of C.7.6.1; Photometric Interpretation of C.7.6.3.1.2; Volume Based Calculation
Technique of C.8.16.2. Words in Image Type and Series Description are no terms of the standard:
scanners write them for saved screens and for dose reports and protocols as images. Some of them,
and the lines of screens, are facts of the scripts that RSNA's CTP brings
(BurnedInPixelsFilter.script, DicomPixelAnonymizer.script, as of 2025).

Pure functions; nothing but the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.ctp import terms

TAG = "7FDEFFFE"
"""An element that no edition of the standard defines. Its script is carried out for every object,
since it begins with ``@always()``."""
BLANK_TAG = "7FDEFFEE"
"""Another one: its script holds back what is declared to be blanked and cannot be."""
CODE = "113101"
"""Clean Pixel Data Option (PS3.16 CID 7050), of what is blanked."""

_ROOT = "1.2.840.10008.5.1.4.1.1."
_RT_IMAGE, _RT_DOSE = "481.1", "481.2"

# SOP Class UID behind `_ROOT`, and keyword, as PS3.6 Table A-1 has them.
CLASSES = """
7 SecondaryCaptureImageStorage
7.1 MultiFrameSingleBitSecondaryCaptureImageStorage
7.2 MultiFrameGrayscaleByteSecondaryCaptureImageStorage
7.3 MultiFrameGrayscaleWordSecondaryCaptureImageStorage
7.4 MultiFrameTrueColorSecondaryCaptureImageStorage
3 UltrasoundMultiFrameImageStorageRetired
3.1 UltrasoundMultiFrameImageStorage
6 UltrasoundImageStorageRetired
6.1 UltrasoundImageStorage
6.2 EnhancedUSVolumeStorage
6.3 PhotoacousticImageStorage
77.1 VLImageStorageTrial
77.2 VLMultiFrameImageStorageTrial
77.1.1 VLEndoscopicImageStorage
77.1.1.1 VideoEndoscopicImageStorage
77.1.2 VLMicroscopicImageStorage
77.1.2.1 VideoMicroscopicImageStorage
77.1.3 VLSlideCoordinatesMicroscopicImageStorage
77.1.4 VLPhotographicImageStorage
77.1.4.1 VideoPhotographicImageStorage
77.1.5.1 OphthalmicPhotography8BitImageStorage
77.1.5.2 OphthalmicPhotography16BitImageStorage
77.1.5.4 OphthalmicTomographyImageStorage
77.1.5.5 WideFieldOphthalmicPhotographyStereographicProjectionImageStorage
77.1.5.6 WideFieldOphthalmicPhotography3DCoordinatesImageStorage
77.1.5.7 OphthalmicOpticalCoherenceTomographyEnFaceImageStorage
77.1.5.8 OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage
77.1.6 VLWholeSlideMicroscopyImageStorage
77.1.7 DermoscopicPhotographyImageStorage
77.1.8 ConfocalMicroscopyImageStorage
77.1.9 ConfocalMicroscopyTiledPyramidalImageStorage
81.1 OphthalmicThicknessMapStorage
82.1 CornealTopographyMapStorage
"""
# Classes of other images, likewise: radiographs, CT, MR, spectroscopy, nuclear medicine,
# angiography, intravascular OCT, parametric maps, segmentations, PET, RT images and doses. Whatever
# else has pixels is of a kind that nobody has looked at, or is not what it says.
_IMAGES = """
1 1.1 1.1.1 1.2 1.2.1 1.3 1.3.1 2 2.1 2.2 4 4.1 4.2 4.3 4.4 5 12.1 12.1.1 12.2 12.2.1 12.3
13.1.1 13.1.2 13.1.3 13.1.4 13.1.5 14.1 14.2 20 30 66.4 66.7 66.8 128 128.1 130
481.1 481.2 481.23 481.24
"""

# Words of a value of Image Type, in any place of it. Portal images have a dose, and what was taken
# for screening is no screen.
_SCREENS = (
    r"SCREEN(?!ING)|SAVE|SNAP.?SHOT|CAPTURE|REPORT|SUMMARY|ANNOTAT|MONTAGE|PATIENT.?INFO"
    r"|(?<!LOW.)(?<!ACQUIRED.)(?<!PREDICTED.)(?<!CALCULATED.)DOSE|(?<![A-Z])(?:FILM|PRINT)"
    r"|PROT(?:OCOL)? *(?:\\|$)|VOLREN|VXTL|EDITOR|RENDER|HARD.?COPY"
    r"|(?<![A-Z])(?:GRAPHS?|CHARTS?|CURVES?|HISTOGRAMS?|VRT?|SSD)(?![A-Z])|3D.?VIEW"
    r"|SECONDARY.*\\ *3D *(?:\\|$)"
)
# A SnapShot with one of these words is a way to scan the heart, or a sequence.
_SERIES = (
    r"SCREEN.?(?:SAVE|SHOT|CAPTURE|IMAGE)|SAVED? (?:SCREEN|IMAGE|STATE)|SECONDARY.?CAPTURE"
    r"|SNAP.?SHOT(?!.?(?:PULSE|SEGMENT|BURST|CINE|FREEZE|ASSIST|FLASH))|ELECTRONIC.?FILM"
    r"|HARD.?COPY|PRINTED.?IMAGE|DOSE.?(?:REPORT|INFO|SUMMARY|SHEET|PAGE|RECORD)"
    r"|DOSIS.?(?:PROTOKOLL|BERICHT)|RAPPORT.?DE.?DOSE|PATIENT(?:EN)?.?PROTO[CK]OL"
    r"|PROTOCOLE.?PATIENT|(?:EXAM|EXPOSURE|RESULTS?|CAD|STROKE|SCORE|PERFUSION).?(?:REPORT|SUMMARY)"
    r"|EXAM.?PROTOCOL|EVIDENCE.?DOCUMENT|SCANNED.?(?:DOCUMENT|IMAGE)|REQUISITION|REQUEST.?FORM"
    r"|WORK.?SHEET|PAPER.?WORK|COMPTE.?RENDU|VOLUME.?RENDER|3D.?(?:RENDER|VIEW)|MEDRAD"
    r"|(?<![A-Z])(?:REPORTS?|BEFUNDE?|BERICHTE?|RAPPORTS?|INFORMES?|REFERT[OI]|VERSLAG"
    r"|SAVED?|GRAPHS?|VRT?|FFR)(?![A-Z])"
)
# Of which a series is called and nothing else.
_WHOLE_SERIES = (
    "SUMMARY|RESULTS?|PROTO[CK]OLL?S?|PROTOKOLLE|PROTOCOLE|SCREENS?|CURVES?|CHARTS?|TABLES?"
)
# Defined terms of (0008,9207): pictures of a body, with its face, made for looking at.
_RENDERED = "VOLUME_RENDER|SURFACE_RENDER"
# Lines of screens that CT and nuclear medicine save as secondary images.
_SCREEN_ROWS = "860|865|882|1041|1077"
# Not grey.
_NOT_GREY = " *(?!MONOCHROME[12] *$)[^ ].*"
# A segmentation colours its labels, and nuclear medicine may have a palette (PS3.3 C.8.4.7). What
# else may have colours is of `CLASSES`, but for Enhanced MR Color, which has maps.
_MAY_COLOUR = r"(?:66\.[0-9]{1,2}|20)"
_VIDEO_METHODS = "ISO_13818_2|ISO_14496_10|ISO_23008_2"
_VIDEO_SYNTAXES = r"1\.2\.840\.10008\.1\.2\.(?:4\.10[0-8](?:\.1)?|7\.[1-3])"

# Of the device that made a capture: identifier, day, maker, model and software.
DEVICES = "00181010 00181012 00181016 00181018 00181019"

_CLASS_TAG, _IMAGE_TYPE, _CONVERSION, _SERIES_TAG = "00080016", "00080008", "00080064", "0008103E"
_MAKER, _MODEL, _ROWS, _COLUMNS = "00080070", "00081090", "00280010", "00280011"
_METHOD, _SYNTAX = "00282114", "00020010"
_SAMPLES, _PHOTOMETRIC, _ALLOCATED = "00280002", "00280004", "00280100"
_TECHNIQUE = "00089207"

KEYS = ("sop_class", "manufacturer", "model", "rows", "columns", "action", "regions")
CLEAN, BLANK = "clean", "blank"
ACTIONS = (CLEAN, BLANK)
SIDES = ("x", "y", "width", "height")
_TEXT = re.compile(r"(?! )[!-\[\]-~ ]{1,64}(?<! )")
_MOST_PIXELS = 65535
_MOST_RULES, _MOST_BLANK = 100, 40
"""Each makes the script longer, those with action blank the most; with as many it takes little more
than half of what a Swarm config holds, less than 1,024,000 bytes (measured with Docker 20.10)."""
_MOST_REGIONS = 20


@dataclass(frozen=True)
class PixelRule:
    """A device whose pixels a site declares to show nothing of a patient; empty: any.

    Outside of ``regions``, that is, where there are any.

    Attributes:
        manufacturer: (0008,0070), as the device writes it.
        model: (0008,1090), likewise.
        sop_class: SOP Class UID.
        rows: (0028,0010).
        columns: (0028,0011).
        regions: to be blanked: left, top, width and height in pixels, from the top left corner.
    """

    manufacturer: str
    model: str
    sop_class: str = ""
    rows: str = ""
    columns: str = ""
    regions: tuple[tuple[int, int, int, int], ...] = ()


def classes() -> dict[str, str]:
    """Return the SOP Classes that can carry text: UID to keyword."""
    pairs = (line.split() for line in CLASSES.strip().splitlines())
    return {_ROOT + suffix: keyword for suffix, keyword in pairs}


def problems(given: Any) -> list[str]:
    """Return what is wrong with ctp_pixel_rules, each with name, value, accepted and remedy."""
    name = "ctp_pixel_rules"
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        return [
            f"{name} is {given!r}. Accepted: a list of declarations, such as [{{manufacturer: ACME,"
            " model: Echo 3, action: clean}]; [] declares no device."
        ]
    found = []
    if len(given) > _MOST_RULES:
        found.append(
            f"{name} has {len(given)} entries. Accepted: {_MOST_RULES} at most. Leave out rows and"
            " columns where a device is without text in any size."
        )
    blank = sum(isinstance(rule, Mapping) and rule.get("action") == BLANK for rule in given)
    if blank > _MOST_BLANK:
        found.append(
            f"{name} has {blank} entries with action blank. Accepted: {_MOST_BLANK} at most. Leave"
            " devices or sizes undeclared that send little, and their objects stay in quarantine."
        )
    for index, rule in enumerate(given):
        found += _rule_problems(rule, f"{name}[{index}]")
    return found


def _rule_problems(rule: Any, where: str) -> list[str]:
    if not isinstance(rule, Mapping):
        return [f"{where} is {rule!r}. Accepted: a mapping of {', '.join(KEYS)}."]
    found = [
        f"{where} has the unknown key {key!r}. Accepted: {', '.join(KEYS)}."
        for key in rule
        if key not in KEYS
    ]
    for key in ("manufacturer", "model"):
        if not rule.get(key):
            found.append(
                f"{where} has no {key}. Accepted: manufacturer and model, both as the device writes"
                " them (playbooks/quarantine.yml shows them); without them it would declare devices"
                " that nobody has looked at."
            )
        elif not isinstance(rule[key], str) or not _TEXT.fullmatch(rule[key]):
            found.append(
                f"{where}.{key} is {rule[key]!r}. Accepted: 1 to 64 printable ASCII characters"
                " without a backslash, and none of them a blank at the ends; quote a number."
            )
    if rule.get("action") not in ACTIONS:
        found.append(
            f"{where}.action is {rule.get('action')!r}. Accepted: clean, for a device whose images"
            " show nothing of a patient, or blank, for one that shows it in regions alone."
        )
    sizes = {}
    for key in ("rows", "columns"):
        value = rule.get(key)
        if key not in rule:
            continue
        if type(value) is int and 1 <= value <= _MOST_PIXELS:
            sizes[key] = value
        else:
            found.append(
                f"{where}.{key} is {value!r}. Accepted: a whole number from 1 to {_MOST_PIXELS},"
                " or no such key for any, with action clean."
            )
    if "sop_class" in rule and not _class_uid(rule["sop_class"]):
        found.append(
            f"{where}.sop_class is {rule['sop_class']!r}. Accepted: the UID of a storage SOP"
            " Class, or the keyword of one that can show text, such as UltrasoundImageStorage; or"
            " no such key for any. Not one of documents or waveforms, of which nothing leaves."
        )
    if rule.get("action") == BLANK:
        found += _region_problems(rule, sizes, where)
    elif "regions" in rule:
        found.append(
            f"{where} has regions. Accepted: regions with action blank. Write action: blank, or"
            " leave them out where its images show nothing of a patient anywhere."
        )
    return found


def _region_problems(rule: Mapping[str, Any], sizes: Mapping[str, int], where: str) -> list[str]:
    found = [
        f"{where} has no {key}. Accepted, with action blank: rows and columns of the images, since"
        " regions mean pixels of one size (playbooks/quarantine.yml shows it)."
        for key in ("rows", "columns")
        if key not in rule
    ]
    regions = rule.get("regions")
    is_list = isinstance(regions, Sequence) and not isinstance(regions, (str, bytes))
    if not is_list or not regions or len(regions) > _MOST_REGIONS:
        shown = f"{len(regions)} entries" if is_list and regions else repr(regions)
        return [
            *found,
            f"{where}.regions is {shown}. Accepted, with action blank: a list of 1 to"
            f" {_MOST_REGIONS} regions, such as [{{x: 0, y: 0, width: 800, height: 60}}]; a device"
            " without text has action clean.",
        ]
    for index, region in enumerate(regions):
        inside = f"{where}.regions[{index}]"
        if not isinstance(region, Mapping) or set(region) != set(SIDES):
            found.append(
                f"{inside} is {region!r}. Accepted: a mapping of {', '.join(SIDES)}, in pixels from"
                " the top left corner of the image."
            )
            continue
        for start, extent, key in (("x", "width", "columns"), ("y", "height", "rows")):
            found += _side_problems(region, start, extent, key, sizes.get(key), inside)
    return found


def _side_problems(
    region: Mapping[str, Any], start: str, extent: str, key: str, size: int | None, where: str
) -> list[str]:
    most = (size or _MOST_PIXELS) - 1
    found = [
        f"{where}.{name} is {region[name]!r}. Accepted: a whole number from {least} to {highest}."
        for name, least, highest in ((start, 0, most), (extent, 1, most + 1))
        if type(region[name]) is not int or not least <= region[name] <= highest
    ]
    if not found and size is not None and region[start] + region[extent] > size:
        found.append(
            f"{where} ends at {start} {region[start] + region[extent]}, and the image has {size}"
            f" {key}. Accepted: {start} and {extent} of together {size} at most. Make {extent}"
            f" smaller, or correct {key}."
        )
    return found


def _class_uid(value: Any) -> str:
    """Return the UID of a class that is given by UID or keyword; empty for what is none, or for one
    of which nothing leaves."""
    by_keyword = {keyword: uid for uid, keyword in classes().items()}
    text = str(value)
    if re.fullmatch(r"1\.2\.840\.10008\.5\.1\.4\.1\.1(?:\.[1-9][0-9]{0,3}){1,5}", text):
        # CTP's script refuses these, whatever is declared.
        return "" if re.fullmatch(terms.PATTERNS["CLASS_REFUSED"], text) else text
    return by_keyword.get(text, "")


def rules(given: Sequence[Mapping[str, Any]]) -> tuple[PixelRule, ...]:
    """Return the declarations of ctp_pixel_rules, in which `problems` found nothing."""
    return tuple(
        PixelRule(
            manufacturer=str(each["manufacturer"]),
            model=str(each["model"]),
            sop_class=_class_uid(each["sop_class"]) if "sop_class" in each else "",
            rows=str(each.get("rows", "")),
            columns=str(each.get("columns", "")),
            regions=tuple(
                tuple(int(region[side]) for side in SIDES)  # type: ignore[misc]
                for region in each.get("regions", ())
            ),
        )
        for each in given
    )


def regions(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the supervisor is told of ctp_pixel_rules: what to blank, and of which device.

    Keys: sop_class (UID; empty: any), manufacturer, model, rows, columns, and regions (each with
    x, y, width and height).
    """
    return [
        {
            "sop_class": each.sop_class,
            "manufacturer": each.manufacturer,
            "model": each.model,
            "rows": int(each.rows),
            "columns": int(each.columns),
            "regions": [dict(zip(SIDES, region)) for region in each.regions],
        }
        for each in rules(given)
        if each.regions
    ]


def patterns(declared: Sequence[PixelRule]) -> dict[str, str]:
    """Return the parameters that `gate` names, as Java's regular expressions."""
    suffixes = [uid[len(_ROOT) :] for uid in classes()]
    found = {
        "PIXELS_CLASS": re.escape(_ROOT) + f"(?:{'|'.join(map(re.escape, suffixes))})",
        "PIXELS_IMAGE": re.escape(_ROOT) + f"(?:{'|'.join(map(re.escape, _IMAGES.split()))})",
        "PIXELS_RT_IMAGE": re.escape(_ROOT + _RT_IMAGE),
        "PIXELS_RT_DOSE": re.escape(_ROOT + _RT_DOSE),
        "PIXELS_NO": "(?i) *NO *",
        # A portal image, and a radiograph that was reconstructed.
        "PIXELS_RENDERED": "(?i) *(?:DI|WSD) *",
        "PIXELS_SCREEN": f"(?is).*(?:{_SCREENS}).*",
        "PIXELS_SERIES": f"(?is)(?:.*(?:{_SERIES}).*| *(?:{_WHOLE_SERIES}) *)",
        "PIXELS_RENDERING": f"(?is) *(?:{_RENDERED}) *",
        "PIXELS_SECONDARY": "(?is).*SECONDARY.*",
        "PIXELS_SCREEN_ROWS": _SCREEN_ROWS,
        "PIXELS_NOT_GREY": f"(?is){_NOT_GREY}",
        # Whatever it says of its colours, or does not say.
        "PIXELS_SAMPLES": r"(?s)(?! *1 *$).*[^ ].*",
        "PIXELS_MAY_COLOUR": re.escape(_ROOT) + _MAY_COLOUR,
        "PIXELS_METHOD": f"(?is).*(?:{_VIDEO_METHODS}).*",
        "PIXELS_SYNTAX": f"{_VIDEO_SYNTAXES} *",
        # All but the two that are not compressed, and little endian.
        "PIXELS_ENCODED": r"1\.2\.840\.10008\.1\.2\.(?:1\.|[2-9]).*",
        "PIXELS_COLOURS": "(?:MONOCHROME[12]|RGB|PALETTE COLOR) *",
        "PIXELS_YBR": "YBR_FULL *",
        "PIXELS_BITS": "8|16|32",
        "PIXELS_BYTE": "8",
    }
    for kind, values in _values(declared).items():
        for number, value in enumerate(values):
            # CTP takes blanks at the ends of an expression away.
            found[f"{kind}{number}"] = f"[ ]*{_escaped(value)}[ ]*"
    return found


def _values(declared: Sequence[PixelRule]) -> dict[str, list[str]]:
    """Return the values of model, maker, class, rows and columns. Their names are short, since each
    stands in the script many times."""
    return {
        "M": sorted({each.model for each in declared}),
        "F": sorted({each.manufacturer for each in declared}),
        "S": sorted({each.sop_class for each in declared} - {""}),
        "R": sorted({each.rows for each in declared} - {""}),
        "C": sorted({each.columns for each in declared} - {""}),
    }


def _escaped(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9 ]", r"\\\g<0>", text)


_LEVELS = (
    ("M", "model", _MODEL),
    ("F", "manufacturer", _MAKER),
    ("S", "sop_class", _CLASS_TAG),
    ("R", "rows", _ROWS),
    ("C", "columns", _COLUMNS),
)


def _tree(declared: Sequence[PixelRule], yes: str, no: str, all_rules: Sequence[PixelRule]) -> str:
    """Return a script that is ``yes`` for what one of the declarations is for, else ``no``.

    ``all_rules``: those that `patterns` was given, by which it numbers their values.
    """
    values = _values(all_rules)

    def level(depth: int, left: Sequence[PixelRule]) -> str:
        if not left:
            return no
        if depth == len(_LEVELS):
            return yes
        kind, attribute, tag = _LEVELS[depth]
        any_value = [each for each in left if not getattr(each, attribute)]
        script = level(depth + 1, any_value)
        for number, value in reversed(list(enumerate(values[kind]))):
            here = [each for each in left if getattr(each, attribute) == value]
            if here:
                inner = level(depth + 1, [*here, *any_value])
                name = f"{kind}{number}"
                script = f"@if({tag},matches,@{name}){{{inner}}}{{{script}}}"
        return script

    return level(0, declared)


def blanked(declared: Sequence[PixelRule], yes: str, no: str) -> str:
    """Return a script that is ``yes`` for what is declared to be blanked, else ``no``."""
    return _tree([each for each in declared if each.regions], yes, no, declared)


def blank_gate(declared: Sequence[PixelRule], can_blank: bool) -> str:
    """Return the script of `BLANK_TAG`: it quarantines what is to be blanked and cannot be.

    ``can_blank``: not, where nothing behind CTP blanks anything.
    """
    yes = "@quarantine()"
    if can_blank:
        colours = (
            f"@if({_PHOTOMETRIC},matches,@PIXELS_COLOURS){{@if({_ALLOCATED},matches,@PIXELS_BITS)"
            f"{{}}{{@quarantine()}}}}{{@if({_PHOTOMETRIC},matches,@PIXELS_YBR)"
            f"{{@if({_ALLOCATED},matches,@PIXELS_BYTE){{}}{{@quarantine()}}}}{{@quarantine()}}}}"
        )
        yes = f"@if({_SYNTAX},matches,@PIXELS_ENCODED){{@quarantine()}}{{{colours}}}"
    return f"@always()@select(){{{blanked(declared, yes, '')}@remove()}}{{@remove()}}"


def gate(declared: Sequence[PixelRule]) -> str:
    """Return the script of `TAG`: it quarantines what may carry text and is not declared.

    Conditions stand one behind the other: CTP reads on behind one that gives nothing. What an
    object says of itself, that it has no text or nothing, counts as much as its device does.
    """
    held = _tree(declared, "", "@quarantine()", declared)
    parts = [f"@if({_CLASS_TAG},matches,@PIXELS_CLASS){{{held}}}{{}}"]
    parts.append(f"@if({_SYNTAX},matches,@PIXELS_SYNTAX){{{held}}}{{}}")
    coloured = (
        f"@if({_CLASS_TAG},matches,@PIXELS_MAY_COLOUR)"
        f"{{@if({_IMAGE_TYPE},matches,@PIXELS_SECONDARY){{{held}}}{{}}}}{{{held}}}"
    )
    # What has no rows is no image: a report may be called "Dose Report". Nor is a dose one.
    other = [
        f"@if({_CLASS_TAG},isblank){{@quarantine()}}"
        f"{{@if({_CLASS_TAG},matches,@PIXELS_IMAGE){{}}{{{held}}}}}",
        f"@if({_IMAGE_TYPE},matches,@PIXELS_SCREEN){{{held}}}{{}}",
        f"@if({_SERIES_TAG},matches,@PIXELS_SERIES){{{held}}}{{}}",
        f"@if({_METHOD},matches,@PIXELS_METHOD){{{held}}}{{}}",
        f"@if({_CONVERSION},isblank){{}}{{@if({_CLASS_TAG},matches,@PIXELS_RT_IMAGE)"
        f"{{@if({_CONVERSION},matches,@PIXELS_RENDERED){{}}{{{held}}}}}{{{held}}}}}",
        *(f"@if({tag},isblank){{}}{{{held}}}" for tag in DEVICES.split()),
        f"@if({_TECHNIQUE},matches,@PIXELS_RENDERING){{{held}}}{{}}",
        f"@if({_IMAGE_TYPE},matches,@PIXELS_SECONDARY)"
        f"{{@if({_ROWS},matches,@PIXELS_SCREEN_ROWS){{{held}}}{{}}}}{{}}",
        f"@if({_PHOTOMETRIC},matches,@PIXELS_NOT_GREY){{{coloured}}}"
        f"{{@if({_SAMPLES},matches,@PIXELS_SAMPLES){{{coloured}}}{{}}}}",
    ]
    parts.append(
        f"@if({_ROWS},isblank){{}}{{@if({_CLASS_TAG},matches,@PIXELS_RT_DOSE){{}}"
        f"{{{''.join(other)}}}}}"
    )
    return f"@always()@select(){{{''.join(parts)}@remove()}}{{@remove()}}"
