r"""The scripts that RSNA CTP runs: an anonymizer script and a filter script, made from data.

The anonymizer script is a list of what may stay; CTP removes the rest at every level
(``unspecifiedelements``). It follows PS3.15 Annex E, Table E.1-1 (`ps3_15_e1_1`): attributes that
the profile empties are emptied, UIDs are replaced consistently, options add what the table lets
them add. An element that stays, stays only when its value has the form that the standard gives it:
a coded string is one of the defined terms, a number is a number. So a name in the wrong place does
not pass.

What CTP does that the script has to reckon with (its source, and measured):

- It keeps groups 0002, 0028 and 7FE0, SOPClassUID, SOPInstanceUID and StudyInstanceUID without
  being told to, so that these need rules of their own.
- ``@process()`` treats the items of a sequence; an element with a sequence's tag and another value
  representation (UN, as some gateways write) it *keeps as it is*. A sequence is therefore
  processed only when its own value is blank, which that of a sequence is, and bytes are not.
- A value that does not fit the value representation of the element leaves the *original* value,
  with a warning. A replacement is therefore given only where the value has a character that neither
  bytes (CTP shows them as hexadecimal numbers) nor numbers have; the filter script looks at the
  names.
- Blank is also what an element of the wrong representation (SQ) looks like, so that a blank value
  is no reason to keep an element; it is emptied, which an attribute of Type 2 may be.
- ``@incrementdate`` cannot read a DT with a fraction or an offset, and takes ``-`` for an ISO date.
  The supervisor puts the day of such a DT beside it, which is moved in its place. Inside items it
  finds the patient's days by ``root:PatientID``.
- A regular expression of ``@contents`` cannot be a parameter, so that it stands in each element.
- In an argument ``\`` escapes; a brace inside quotes still counts. Regular expressions therefore
  stand in parameters (``<p t="NAME">``, used as ``@NAME``), where nothing is escaped.
- Each element listed costs CTP some 10 microseconds for every object that passes, half of it where
  the supervisor can write its name instead (images/ctp_rsna, ``fast_script``).

Pure functions; nothing but the standard library.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from ansible_collections.auscat.imaging.plugins.module_utils.ctp import elements as ctp_elements
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import numbers, pixels
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import roi_names as ctp_roi_names
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import terms as ctp_terms
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import words as ctp_words

UID_KEY_PLACEHOLDER = "@@UID_KEY@@"
# An element that no edition of the standard defines: its script is the key of the UID hash, and
# should an object have it all the same, it is removed.
UID_KEY_TAG = "0012FFF0"
# The supervisor puts it into an object of which something would be lost that the script keeps
# (images/ctp_rsna, ``rewrite``).
MARK_TAG = "7FDEFFF0"
# Where it puts the days of DT elements that have a fraction or an offset: dates of the dictionary,
# since CTP reads what it does not know as bytes where there is no representation. They are retired
# (PS3.6), and this script removes them.
DAYS = {
    "0008002A": "00320032",
    "00181078": "00320034",
    "00181079": "00321000",
    "00189074": "00321010",
    "00189151": "00321040",
    "00189701": "00321050",
}

# PatientID with its issuer, which is (0010,0021) or, where that is blank, the Universal Entity ID
# of the first item of (0010,0024), by numbers because CTP's dictionary does not know the name.
# @lookup leaves out the backslash between values: what has several of either is held back.
LOOKUP = (
    "@if(PatientID,matches,@ONE_VALUE){@if(IssuerOfPatientID,matches,@ONE_VALUE)"
    "{@if(IssuerOfPatientID,isblank){@if(00100024::00400032,matches,@ONE_VALUE)"
    "{@lookup(PatientID|00100024::00400032,PatientID)}{@quarantine()}}"
    "{@lookup(PatientID|IssuerOfPatientID,PatientID)}}{@quarantine()}}{@quarantine()}"
)
LOOKUP_NAME = f"@always()@select(){{{LOOKUP}}}{{@remove()}}"
# What String.trim() takes away, too: another patient's identifier could be left.
LOOKUP_ID = (
    f"@always()@select(){{@if(this,matches,@PATIENT_ID){{{LOOKUP}}}{{@quarantine()}}}}{{@remove()}}"
)
LONGITUDINAL = ("none", "full", "shifted")
ROI_NAMES = ("standard", "listed", "kept")
METHOD = "AusCAT imaging: PS3.15 Basic Profile, only listed values kept"
# With roi_names: kept. No code of PS3.16 CID 7050 stands for names that stay as they came: 113105
# (Clean Descriptors) would say that somebody had looked at them.
METHOD_NAMES_KEPT = "AusCAT imaging: PS3.15 Basic Profile, ROI names as they came"
# A preset: what is chosen where an option is not given itself.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "strict": {},
    "radiotherapy": {
        "longitudinal": "shifted",
        "retain_patient_characteristics": True,
        "retain_device_model": True,
        "clean_descriptors": True,
    },
}
# What (0012,0063) says, at most 64 characters: with a preset as it is, and with options beside it.
METHODS = {
    "strict": (METHOD, METHOD),
    "radiotherapy": (
        "AusCAT imaging: PS3.15 Basic Profile, preset radiotherapy",
        "AusCAT imaging: PS3.15 Basic Profile, radiotherapy with changes",
    ),
}
# Beside any preset: what these say is the site's, and they keep nothing by themselves.
_OF_THE_SITE = frozenset({"descriptor_words", "site_roi_names", "uid_root"})
_A_METHOD = "|".join(
    sorted({re.escape(each) for pair in METHODS.values() for each in pair} | {METHOD_NAMES_KEPT})
)

_PATIENT_ID = "00100020"
_PATIENT_NAME = "00100010"
_IDENTITY_REMOVED = "00120062"
_METHOD_TAG = "00120063"
_METHOD_CODES = "00120064"
_BURNED_IN = "00280301"
_DATES_MODIFIED = "00280303"
_SITE_NAMES = "SITE_NAMES"
_KEEP = "@keep()"
_REMOVE = "@remove()"
_QUARANTINE = "@quarantine()"
_EMPTY = "@empty()"
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_UID_ROOT = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")
# A decimal MD5 has at most 39 digits, CTP may put a 9 before it, and a UID has 64 characters.
MAX_UID_ROOT = 64 - 1 - 40


def is_uid_root(value: object) -> bool:
    """Tell whether new UIDs can begin with it: a UID that leaves room for what is behind it."""
    return (
        isinstance(value, str) and len(value) <= MAX_UID_ROOT and bool(_UID_ROOT.fullmatch(value))
    )


@dataclass(frozen=True)
class ScriptOptions:
    """What the operator wants to keep beyond the Basic Profile (PS3.15 E.3).

    Attributes:
        longitudinal: ``none`` (dates and times go), ``full`` (kept), ``shifted`` (dates moved by
            the days that the lookup table gives as ``DateShift/<PatientID>``; a patient without
            such a line is quarantined; times stay).
        retain_patient_characteristics: sex, age (90 and over become 90), size, weight, ethnic
            group, smoking and pregnancy status.
        retain_device_identity: station and machine names, serial numbers, device UIDs, model and
            software versions, dates of calibration.
        clean_descriptors: of descriptions the listed words stay (`words`), labels and names
            when every word of them is a listed one.
        roi_names: which names of structures stay: ``standard`` (`roi_names`), ``listed`` (those
            and `site_roi_names`), ``kept`` (all). The others become ``ROI`` and the number of their
            item.
        site_roi_names: names of the site's own, whole.
        uid_root: what the new UIDs begin with.
        retain_device_model: model and software versions of listed words and forms, without what
            tells one device from another.
        preset: on which of `PRESETS` these options rest; it is what the object says.
        descriptor_words: words that the site lists beside those of `words`.
    """

    longitudinal: str = "none"
    retain_patient_characteristics: bool = False
    retain_device_identity: bool = False
    clean_descriptors: bool = False
    roi_names: str = "standard"
    site_roi_names: Sequence[str] = ()
    uid_root: str = "2.25"
    retain_device_model: bool = False
    preset: str = "strict"
    descriptor_words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what the script cannot be made from.

        Raises:
            ValueError: an option has a value that it may not have.
        """
        if self.longitudinal not in LONGITUDINAL:
            raise ValueError(
                f"longitudinal is {self.longitudinal!r}; it may be {', '.join(LONGITUDINAL)}."
            )
        if self.roi_names not in ROI_NAMES:
            raise ValueError(f"roi_names is {self.roi_names!r}; it may be {', '.join(ROI_NAMES)}.")
        for name in self.site_roi_names:
            if problem := ctp_roi_names.name_problem(name):
                raise ValueError(f"site_roi_names has {name!r}; it may have {problem}.")
        if not is_uid_root(self.uid_root):
            raise ValueError(
                f"uid_root is {self.uid_root!r}; it must be a UID of at most {MAX_UID_ROOT}"
                " characters."
            )
        if self.preset not in PRESETS:
            raise ValueError(f"preset is {self.preset!r}; it may be {', '.join(PRESETS)}.")
        for word in self.descriptor_words:
            if ctp_words.word_problem(word):
                raise ValueError(f"descriptor_words has {word!r}: {ctp_words.word_problem(word)}.")

    @property
    def changes(self) -> dict[str, Any]:
        """What differs from the preset, by name; the words of the site are no option."""
        preset = {**PRESETS["strict"], **PRESETS[self.preset]}
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in {"preset", *_OF_THE_SITE}
            and getattr(self, each.name) != preset.get(each.name, each.default)
        }


def resolved(site: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all options that hold, of a site or of a pipeline with some of its own.

    An option that is given wins over the preset, one of the pipeline over one of the site. A
    pipeline that names a preset starts from that alone: what the site has set beside its own preset
    is not taken over, so that ``preset: strict`` means what it says. UIDs keep the site's root.

    Args:
        site: ctp_deidentification.
        own: the options of one pipeline.
    """
    own = own or {}
    if "preset" in own:
        site = {name: value for name, value in site.items() if name in _OF_THE_SITE}
    given = {"preset": "strict", **site, **own}
    return {**PRESETS[given["preset"]], **given}


@dataclass(frozen=True)
class Element:
    """One line of `elements`: tag (eight hexadecimal digits), VR, keyword and rule."""

    tag: str
    vr: str
    keyword: str
    rule: str


@cache
def elements() -> tuple[Element, ...]:
    """Return the elements that have a rule."""
    found = []
    rule = ""
    for line in (ctp_elements.ELEMENTS.strip() + numbers.NUMBERS).strip().splitlines():
        if line.startswith("["):
            rule = line.strip("[]")
            continue
        tag, vr, keyword = line.split()
        found.append(Element(tag, vr, keyword, rule))
    return tuple(found)


@cache
def sequences() -> tuple[Element, ...]:
    """Return the sequences that are processed."""
    return tuple(
        Element(tag, vr, keyword, "sequence")
        for tag, vr, keyword in map(str.split, ctp_elements.SEQUENCES.strip().splitlines())
    )


@cache
def required() -> frozenset[str]:
    """Return the tags of numbers that are Type 1 or 1C in an IOD (PS3.3)."""
    return frozenset(numbers.REQUIRED_NUMBERS.split())


@cache
def dropped() -> tuple[Element, ...]:
    """Return the elements that are removed by name, the repeating ones of group 0028 included."""
    found = [
        Element(tag, vr, keyword, "drop")
        for tag, vr, keyword in map(str.split, ctp_elements.DROPPED.strip().splitlines())
    ]
    # (0028,04x2) Coefficient Coding and (0028,08x0) Code Label, both retired.
    for digit in "0123456789ABCDEF":
        found.append(Element(f"002804{digit}2", "LO", "CoefficientCoding", "drop"))
        found.append(Element(f"002808{digit}0", "CS", "CodeLabel", "drop"))
    return tuple(found)


def _if(pattern: str, yes: str, no: str, element: str = "this") -> str:
    return f"@if({element},matches,@{pattern}){{{yes}}}{{{no}}}"


def _replace(value: str) -> str:
    """Give a value: not to what is empty or cannot be read, nor to bytes."""
    return f"@if(this,isblank){{{_EMPTY}}}{{{_if('BYTES', _REMOVE, value)}}}"


def _else_empty(pattern: str, yes: str = _KEEP) -> str:
    """Empty what has not the form: Type 2 and 3 may be empty, and the element is seen to be."""
    return _if(pattern, yes, _EMPTY)


def _coded() -> str:
    other = _replace("UNKNOWN")
    script = other
    for scheme in reversed(ctp_terms.CODE_FORMS):
        script = _if(f"SCHEME_{scheme}", _if(f"CODE_{scheme}", _KEEP, other), script, "00080102")
    return script


def _hash(options: ScriptOptions) -> str:
    hashed = _if("UID", f"@hashuid({options.uid_root},this,{UID_KEY_TAG})", _REMOVE)
    return _if("UID_STANDARD", _KEEP, f"@if(this,isblank){{{_EMPTY}}}{{{hashed}}}")


def _else_empty_inside(at_root: str) -> str:
    """Empty it in items: there it is Type 2 in some object (PS3.3 C.8.8.18)."""
    return f"@select(){{{at_root or _REMOVE}}}{{{_EMPTY}}}"


def _process() -> str:
    return f"@if(this,isblank){{@process()}}{{{_REMOVE}}}"


def _required(words: Sequence[str], yes: str, no: str) -> str:
    """Give a value, or keep a sequence, in objects in which the attribute is Type 1 or 2."""
    for word in words:
        if word in ctp_terms.CLASSES:
            return _if(f"CLASS_{word}", yes, no or _REMOVE, "00080016")
    return no


_DUMMIES = {"DA": "19000101", "TM": "000000", "DT": "19000101000000"}


def _date(element: Element, options: ScriptOptions, kind: Sequence[str]) -> str:
    """Return the script of a date, a time or both; the Basic Profile alone keeps none.

    ``kind`` says what is left where nothing is kept: ``empty`` (Type 2), ``dummy`` (Type 1), a name
    of `terms.CLASSES` (Type 1 in those).
    """
    gone = _EMPTY if "empty" in kind else _REMOVE
    dummy = _else_empty(element.vr, _DUMMIES[element.vr])
    gone = dummy if kind == ["dummy"] else _required(kind, dummy, gone)
    if options.longitudinal == "none":
        return "" if gone == _REMOVE else gone
    if options.longitudinal == "full" or element.vr == "TM":
        return _else_empty(element.vr)
    if element.tag in _OF_REPORTS:
        # In an item it can be the day of a birth, which no option keeps.
        at_root, inside = _shifted(element, _EMPTY), gone
        return f"@select(){{{at_root}}}{{{inside}}}"
    return _shifted(element, dummy if kind == ["dummy"] else _EMPTY)


# Date, Time and DateTime of a content item (PS3.3 C.17.3).
_OF_REPORTS = frozenset({"0040A120", "0040A121"})


def _shifted(element: Element, other: str) -> str:
    """Move a day by the patient's days, at the root and in items; ``other``: what is none."""
    shift = "@incrementdate(this,root:PatientID,DateShift)"
    if element.vr == "DA":
        return _if("DA", shift, other)
    if element.tag in DAYS:
        day = f"@incrementdate({DAYS[element.tag]},root:PatientID,DateShift)"
        other = _if("DT_DAY", day + '@contents(this,"^........","")', other)
    return _if("DT_PLAIN", shift, other)


def _class_script() -> str:
    at_root = _if("CLASS_REFUSED", _QUARANTINE, _if("CLASS", _KEEP, _QUARANTINE))
    return f"@select(){{{at_root}}}{{{_if('CLASS', _KEEP, _REMOVE)}}}"


def _burned_script(declared: Sequence[pixels.PixelRule] = ()) -> str:
    """Only NO, in any spelling, and nothing at all say that there is nothing; in items, not YES.

    ``declared``: what is blanked says NO, whatever it said.
    """
    said = _if("PIXELS_NO", _if("NO", _KEEP, "NO"), _QUARANTINE)
    at_root = f"@if(this,isblank){{{_EMPTY}}}{{{said}}}"
    inside = f"@if(this,contains,YES){{{_QUARANTINE}}}{{{_else_empty('YESNO')}}}"
    if not declared:
        return f"@select(){{{at_root}}}{{{inside}}}"
    at_root = pixels.blanked(declared, "NO", f"@if(this,exists){{{at_root}}}{{{_REMOVE}}}")
    return f"@always()@select(){{{at_root}}}{{{inside}}}"


def _without(unknown: str, instead: str) -> str:
    """Replace the unknown words of a list; the others stay."""
    escaped = unknown.replace("\\", "\\\\")
    return _replace(f'@contents(this,"{escaped}","{instead}")')


def _structure(words: Sequence[str], options: ScriptOptions) -> str:
    """Keep a name that may stay; others are told apart by the number of their item.

    Two of them can come out alike only where items of one sequence have no number, or the same: the
    supervisor holds such an object back. A label names what the item refers to, and may be missing.
    """
    number = words[0]
    nameless = _REMOVE if "label" in words else "ROI"
    other = _replace(_if("ITEM_NUMBER", f"ROI @contents({number})", nameless, number))
    if options.roi_names == "kept":
        return _if("TEXT", _KEEP, other)
    if options.roi_names == "listed" and options.site_roi_names:
        other = _if(_SITE_NAMES, _KEEP, other)
    return _if("STRUCTURE", _KEEP, other)


def _cleaned(options: ScriptOptions) -> str:
    """Replace each run of unlisted words; not of bytes or numbers (`words.DESCRIPTION`)."""
    unlisted = ctp_words.unlisted(options.descriptor_words).replace("\\", "\\\\")
    return f'@contents(this,"{unlisted}","{ctp_words.INSTEAD}")'


def _terms_script(element: Element, terms: str, fallback: str, options: ScriptOptions) -> str:
    """Return the script of a coded string."""
    if fallback == "patient" and not options.retain_patient_characteristics:
        return ""
    if fallback == "*":
        # Their number counts, since what a word means follows from its place.
        return _without(ctp_terms.UNKNOWN_IMAGE_TYPE, "OTHER")
    if terms == "ANY":
        return _if("TERMS", _KEEP, _replace(fallback))
    if terms == "TERMS":
        terms = f"TERMS_{element.keyword}"
        unknown = ctp_terms.UNKNOWN_TERM.get(element.keyword)
        if unknown:
            return _if(terms, _KEEP, _without(unknown, ""))
    return (
        _else_empty(terms)
        if fallback in ("-", "patient")
        else _if(terms, _KEEP, _replace(fallback))
    )


def _element_script(element: Element, options: ScriptOptions) -> str:
    """Return the script of an element, empty where it need not be listed to be removed."""
    rule, *words = element.rule.split()
    if rule == "cs":
        return _terms_script(element, words[0], words[1], options)
    if rule == "structure":
        return _structure(words, options)
    patient = "patient" in words
    if patient and not options.retain_patient_characteristics:
        return ""
    if rule == "date":
        return _date(element, options, words)
    if rule == "device":
        if words == ["uid"]:
            return _else_empty("UID") if options.retain_device_identity else ""
        if not options.retain_device_identity:
            if words == ["removed"]:
                # Type 2 in an object, and the table says X: what is empty stays so.
                return f"@if(this,isblank){{{_EMPTY}}}{{{_REMOVE}}}"
            gone = _EMPTY if "empty" in words else _required(words, _replace("REMOVED"), "")
            gone = _else_empty_inside(gone) if "inside" in words else gone
            form = {"model": "MODEL", "versions": "VERSIONS"}.get((words or [""])[-1])
            if form and options.retain_device_model:
                return _if(form, _KEEP, gone or _REMOVE)
            return gone
        # Stricter than the table: a date of the device can be the date of the study.
        if element.vr in ("DA", "DT", "TM"):
            return _date(element, options, [])
        return _else_empty("TEXT")
    if rule == "descriptor":
        otherwise = {"label": _replace("REMOVED"), "empty": _EMPTY}.get(" ".join(words), _REMOVE)
        if options.clean_descriptors:
            if words == ["cleaned"]:
                return _if("DESCRIPTION", _cleaned(options), otherwise)
            return _if("WORDS", _KEEP, otherwise)
        return "" if otherwise == _REMOVE else otherwise
    if rule == "sex":
        return _else_empty("SEX") if options.retain_patient_characteristics else _EMPTY
    if rule == "age":
        return _if("AGE", _KEEP, _else_empty("AGE_OVER_89", "090Y"))
    if rule == "code":
        return {
            "value": _coded(),
            "scheme": _if("SCHEME", _KEEP, _replace("99LOCAL")),
            "meaning": _replace("See code value"),
        }[words[0]]
    if element.tag in required():
        # Without it the object would not be what it says.
        return _if(rule.upper(), _KEEP, f"@if(this,isblank){{{_EMPTY}}}{{{_QUARANTINE}}}")
    scripts = {
        "burned": _burned_script(),
        "class": _class_script(),
        "classref": _if("CLASS", _KEEP, _REMOVE),
        "wellknown": _if("UID_WELL_KNOWN", _KEEP, _REMOVE),
        "uid": _hash(options),
        "empty": _else_empty_inside("") if "inside" in words else _EMPTY,
        "sequence": _required(words, _process(), ""),
        "text": _replace("REMOVED"),
        "maker": _if("MAKER", _KEEP, _required(["EQUIPMENT"], _replace("UNKNOWN"), _EMPTY)),
        "raw": _KEEP,
        # Beside a descriptor alone: what else is of that representation is not numbers.
        "lut": _if("LUT", _else_empty("NUMBER"), _REMOVE, "00283002"),
        "palette": f"@if(00280004,contains,PALETTE){{{_KEEP}}}{{{_REMOVE}}}",
    }
    return scripts.get(rule) or _else_empty(rule.upper())


def method_codes(options: ScriptOptions) -> list[str]:
    """Return the codes of (0012,0064): Basic Profile, Clean Structured Content, the options."""
    codes = ["113100", "113104"]
    if options.clean_descriptors:
        codes.append("113105")
    if options.longitudinal != "none":
        codes.append("113106" if options.longitudinal == "full" else "113107")
    if options.retain_patient_characteristics:
        codes.append("113108")
    if options.retain_device_identity:
        codes.append("113109")
    return codes


def method(options: ScriptOptions) -> str:
    """Return the text of (0012,0063): the method, and the preset where it is not the strict one.

    Names that stay as they came are said before all.
    """
    if options.roi_names == "kept":
        return METHOD_NAMES_KEPT
    return METHODS[options.preset][bool(options.changes)]


def _marking(
    options: ScriptOptions, declared: Sequence[pixels.PixelRule] = ()
) -> list[tuple[str, str, str]]:
    """Return the elements that say what was done; they are added where an object lacks them."""
    state = {"none": "REMOVED", "full": "UNMODIFIED", "shifted": "MODIFIED"}[options.longitudinal]
    codes = "/".join(["reset", *method_codes(options)])
    codes += pixels.blanked(declared, f"/{pixels.CODE}", "")
    if options.longitudinal == "shifted":
        # CTP would empty the dates of a patient who has no shift. Looked up here, the patient is
        # quarantined; what is found becomes a code, which "reset" takes away again. The first
        # "reset" takes away what is no sequence: CTP cannot add a code to it, and would leave it.
        codes = f"reset/@select(){{@lookup(PatientID,DateShift)/{codes}}}{{reset}}"
        codes = f"@always(){codes}"

    def put(value: str) -> str:
        return f"@always(){_if('HEX', _REMOVE, value)}"

    return [
        (_IDENTITY_REMOVED, "PatientIdentityRemoved", "@always()YES"),
        (_METHOD_TAG, "DeidentificationMethod", put(method(options))),
        (_METHOD_CODES, "DeidentificationMethodCodeSequence", codes),
        (_DATES_MODIFIED, "LongitudinalTemporalInformationModified", put(state)),
    ]


def script_entries(
    options: ScriptOptions,
    declared: Sequence[pixels.PixelRule] = (),
    can_blank: bool = True,
) -> dict[str, tuple[str, str]]:
    """Return what the script says of each element: keyword and script by tag.

    ``declared``: the devices whose pixels show nothing of a patient, or in regions alone.
    ``can_blank``: something behind CTP blanks these; else it holds such objects back.
    """
    entries = {
        _PATIENT_ID: ("PatientID", LOOKUP_ID),
        _PATIENT_NAME: ("PatientName", LOOKUP_NAME),
        UID_KEY_TAG: ("UidKey", UID_KEY_PLACEHOLDER + _REMOVE),
        MARK_TAG: ("Incomplete", _QUARANTINE),
        pixels.TAG: ("PixelsNotDeclared", pixels.gate(declared)),
    }
    if any(each.regions for each in declared):
        held = pixels.blank_gate(declared, can_blank)
        entries[pixels.BLANK_TAG] = ("PixelsNotBlanked", held)
    for tag, keyword, script in _marking(options, declared):
        entries[tag] = (keyword, script)
    for element in elements():
        script = _element_script(element, options)
        if element.tag == _BURNED_IN and pixels.BLANK_TAG in entries:
            script = _burned_script(declared)
        if script or element.tag[:4] in ("0002", "0028", "7FE0"):
            entries[element.tag] = (element.keyword, script or _REMOVE)
    for element in sequences():
        entries[element.tag] = (element.keyword, _process())
    for element in dropped():
        entries[element.tag] = (element.keyword, _REMOVE)
    return dict(sorted(entries.items()))


def anonymizer_script(
    options: ScriptOptions,
    declared: Sequence[pixels.PixelRule] = (),
    can_blank: bool = True,
) -> str:
    """Return the script of a ``DicomAnonymizer`` stage, with `UID_KEY_PLACEHOLDER` in it.

    Whoever installs it replaces the placeholder by a secret (hexadecimal digits), which makes the
    hash of UIDs a keyed one.
    """
    entries = script_entries(options, declared, can_blank)
    patterns = {**ctp_terms.PATTERNS, **pixels.patterns(declared)}
    used = set(
        re.findall(r"matches,@([A-Za-z0-9_]+)\)", " ".join(text for _, text in entries.values()))
    )
    if options.site_roi_names:
        patterns[_SITE_NAMES] = ctp_roi_names.pattern(options.site_roi_names)
    if options.descriptor_words:
        patterns["WORDS"] = ctp_words.listed(options.descriptor_words)
    lines = ["<script>"]
    for name in sorted(used):
        lines.append(f"  <p t={quoteattr(name)}>{escape(patterns[name])}</p>")
    for tag, (keyword, script) in entries.items():
        lines.append(f'  <e en="T" t="{tag.lower()}" n="{keyword}">{escape(script)}</e>')
    for what in ("privategroups", "unspecifiedelements", "overlays", "curves"):
        lines.append(f'  <r en="T" t="{what}"/>')
    return "\n".join([*lines, "</script>", ""])


def filter_script(prefixes: Sequence[str], wanted: str = METHOD) -> str:
    """Return the script of the ``DicomFilter`` stage behind the anonymizer.

    ``wanted`` is what the anonymizer writes as the `method`.

    It lets an object through that says that its identity was removed, by the method of the script
    before it, and whose PatientID and PatientName both begin with one of the prefixes: CTP leaves a
    name in place that it could not overwrite.

    Raises:
        ValueError: there is no prefix, or one that could match more than itself.
    """
    if not prefixes:
        raise ValueError("prefixes is empty; without one no object would get through.")
    for prefix in prefixes:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(
                f"the pseudonym prefix {prefix!r} may only have letters, digits and _ . - (1 to 32,"
                " the first a letter or digit)."
            )

    def begins(tag: str) -> str:
        return "(" + " + ".join(f'[{tag}].startsWith("{prefix}")' for prefix in prefixes) + ")"

    lines = [
        f'[{_IDENTITY_REMOVED}].equals("YES")',
        f'[{_METHOD_TAG}].equals("{wanted}")',
        begins(_PATIENT_ID),
        begins(_PATIENT_NAME),
    ]
    return "\n* ".join(lines) + "\n"


_LOOKUPS = (
    ("PatientID|00100024::00400032", "PatientID"),
    ("PatientID|IssuerOfPatientID", "PatientID"),
    ("PatientID", "DateShift"),
)
_ARGUMENT_OF_LOOKUP = re.compile(r"@\s*lookup\s*\(\s*([^,)]*?)\s*,\s*([^,)]*?)\s*(,[^)]*)?\)")


def script_problems(text: str) -> list[str]:
    """Return what makes an anonymizer script unfit to be run, none if it is fit.

    This looks at the text alone, as CTP would read it, so that it can also judge a script that was
    changed since it was made.
    """
    if re.search("<!DOCTYPE|<!ENTITY", text, re.IGNORECASE):
        return ["it has a document type, which no script needs"]
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        return [f"it is not well-formed XML ({error}): CTP would export everything as it came"]
    if root.tag != "script":
        return [f"its root element is <{root.tag}>, not <script>"]
    problems = []
    if root.attrib:
        problems.append("its root element has attributes")
    removed = set()
    scripts: dict[str, str] = {}
    parameters: dict[str, str] = {}
    for child in root:
        kind, enabled = child.tag, child.get("en") == "T"
        if len(child):
            problems.append(f"<{kind}> has elements inside")
        if kind == "r" and enabled:
            removed.add(child.get("t", ""))
        elif kind == "k" and enabled:
            problems.append(f"it keeps the group {child.get('t', '')!r} as it is")
        elif kind == "p":
            parameters[child.get("t", "")] = child.text or ""
        elif kind == "e" and enabled:
            tag = child.get("t", "").upper()
            if not re.fullmatch("[0-9A-F]{8}", tag):
                problems.append(f"{child.get('t')!r} is no tag")
            if tag in scripts:
                problems.append(f"{tag} has two scripts")
            scripts[tag] = (child.text or "").strip()
        elif kind not in ("r", "k", "p", "e"):
            problems.append(f"<{kind}> is nothing that CTP knows")
    for what in ("privategroups", "unspecifiedelements", "overlays", "curves"):
        if what not in removed:
            problems.append(f'<r en="T" t="{what}"> is missing')
    for tag, script in scripts.items():
        problems += [f"{tag}: {problem}" for problem in _rule_problems(tag, script, parameters)]
    for tag, wanted in ((_PATIENT_ID, LOOKUP_ID), (_PATIENT_NAME, LOOKUP_NAME)):
        if scripts.get(tag) != wanted:
            problems.append(f"{tag} is not looked up by PatientID and issuer alone")
    for tag, wanted in (
        (_IDENTITY_REMOVED, r"@always\(\)YES"),
        (_METHOD_TAG, rf"@always\(\).*(?:{_A_METHOD})\}}?"),
        (_METHOD_CODES, r".*reset/113100\b.*"),
        ("00080016", r"(?!@keep\(\)$).+"),
        ("00080018", r".*@hashuid\(.*"),
        ("0020000D", r".*@hashuid\(.*"),
        (UID_KEY_TAG, r"(?:@@UID_KEY@@|[0-9a-f]{64})@remove\(\)"),
        (MARK_TAG, r"@quarantine\(\)"),
        (pixels.TAG, r"@always\(\).*matches,@PIXELS_CLASS.*"),
    ):
        if not re.fullmatch(wanted, scripts.get(tag, ""), re.DOTALL):
            problems.append(f"{tag} has not the script that it must have")
    for element in dropped():
        if scripts.get(element.tag) != _REMOVE:
            problems.append(f"{element.tag} ({element.keyword}) is not removed, CTP would keep it")
    if text.count(UID_KEY_PLACEHOLDER) > 1:
        problems.append(f"{UID_KEY_PLACEHOLDER} stands in it more than once")
    return problems


def _rule_problems(tag: str, script: str, parameters: dict[str, str]) -> list[str]:
    problems = []
    if not script:
        problems.append("an empty script leaves it to CTP's version what happens")
    if "@skip" in script.replace(" ", ""):
        problems.append("@skip() passes the whole object as it came")
    if re.search(r"@\s*(?:call|param|encrypt|hash|hashptid|hashname|value)\s*\(", script):
        problems.append("it calls a function that this project does not use")
    if re.search(r"@\s*lookup", script):
        if not script.startswith("@always()"):
            problems.append("@lookup without @always() passes objects that lack the element")
        calls = _ARGUMENT_OF_LOOKUP.findall(script)
        if len(calls) != len(re.findall(r"@\s*lookup", script)):
            problems.append("@lookup has not two arguments")
        for key, kind, more in calls:
            if (key, kind) not in _LOOKUPS or more:
                problems.append(
                    "@lookup must look up PatientID and issuer and quarantine what it does not find"
                )
    for call in re.findall(r"@hashuid\(([^)]*)\)", script):
        if call.split(",")[1:] != ["this", UID_KEY_TAG]:
            problems.append("@hashuid without the key can be undone")
    for name in re.findall(r"matches,@([A-Za-z0-9_]+)", script):
        if not parameters.get(name):
            problems.append(f"the parameter {name} is missing")
    if script.count("{") != script.count("}") or script.count("(") != script.count(")"):
        problems.append("its brackets do not match")
    if tag[:4] not in ("7FE0", "0028", "0064") and script == _KEEP:
        problems.append("it is kept whatever it holds")
    return problems


def filter_problems(text: str) -> list[str]:
    """Return what makes a filter script unfit to be run, none if it is fit."""
    lines = [line.strip() for line in text.strip().split("\n* ")]
    if len(lines) != 4 or text.strip().startswith("//"):
        return ["it has not the four conditions that this project writes"]
    problems = []
    for line, wanted in zip(
        lines,
        (
            re.escape(f'[{_IDENTITY_REMOVED}].equals("YES")'),
            re.escape(f"[{_METHOD_TAG}].equals(") + rf'"(?:{_A_METHOD})"\)',
            _begins_pattern(_PATIENT_ID),
            _begins_pattern(_PATIENT_NAME),
        ),
    ):
        if not re.fullmatch(wanted, line):
            problems.append(f"the condition {line!r} is not one that this project writes")
    return problems


def _begins_pattern(tag: str) -> str:
    one = rf'\[{tag}\]\.startsWith\("{_PREFIX.pattern}"\)'
    return rf"\({one}(?: \+ {one})*\)"
