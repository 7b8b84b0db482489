r"""Which names of structures may stay: a pattern for CTP, and what a site may list besides.

TG-263 (`tg263`) has names and rules. What the rules allow around a name is bounded, in number and
length, so that a long value costs neither stack nor time. Free text passes nowhere: behind ``^``,
where TG-263 has whatever a user types, there have to be listed words. Nor does a number that could
be a date or an identifier: what is no dose in Gy, with its unit or its fractions, has four digits
at most and is no year of our time.

Case does not count, since sites write ``HEART`` and ``heart``; a letter that is not ASCII is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ansible_collections.auscat.imaging.plugins.module_utils.ctp import tg263

MOST_NAMES = 1000
LONGEST_NAME = 64

# RT ROI Interpreted Type (PS3.3 C.8.8.8.1), which sites use as names, too.
_TYPES = (
    "EXTERNAL TREATED_VOLUME IRRAD_VOLUME OAR BOLUS AVOIDANCE ORGAN MARKER CONTROL REGISTRATION "
    "ISOCENTER CONTRAST_AGENT CAVITY BRACHY_CHANNEL BRACHY_ACCESSORY BRACHY_SRC_APP "
    "BRACHY_CHNL_SHLD SUPPORT FIXATION DOSE_REGION DOSE_MEASUREMENT DEVICE"
)
# Common older spellings.
_ORGANS = (
    "Adrenal|Anal_?Canal|Glnd_Parotid|Mandible|Sternum|Aorta|Bone_?Marrow|Bowel(?:_(?:Bag|Space))?|Brachial_?Plex(?:us)?"
    "|Brain_?Stem|Breasts?|Carotid|Cauda_?Equina|Chest_?wall|(?:Optic)?Chiasm"
    "|Couch(?:_?(?:Surface|Interior))?|Ears?|Oesophagus|Femoral_?Heads?|Fiducials?|Gall_?Bladder"
    "|Hypothalamus|Implant|Isocent(?:er|re)|LAD|Optic_?Nerves?|Oral_?Cavity|PelvicBones"
    "|Penile_?Bulb|Prostate_?Bed|Ribs?|Seminal_?Ves(?:icles?)?|Sigmoid|Spinal_?(?:Canal|Cord)"
    "|Submandibular|SubmandGlnd|Thyroid|Vertebrae|Lumbar|Pelvis|Ring|Opt|Avoid"
)
_SIDE = (
    "(?:L|R|LT|RT|Left|Right|Sup|Inf|Ant|Post|Bilat|A|P|I|S|M|Lat|Med|NAdj|Dist|Prox|RUL|RML|RLL"
    "|LUL|LLL)"
)
_WORD = (
    r"(?:Eval|Ev(?:[0-9]{1,2})?|Opt|Ring|Boost|High|Mid(?:[0-9]{2})?|Int|Low|Breast|Nodes?|Nodal"
    "|Primary|Prostate|SV|LN|Chestwall|Preop|Postop|Wall|Core|Surf|Avoid|Sub|4D)"
)
_CUSTOM_WORD = (
    "(?:Adapt|AI|AIP|Artifact|Auto|Ave|Boost|Cold|Core|Crop|CT|CBCT|DIBH|Edit|Eval|Ex|Exp|FB|Final"
    "|FLAIR|Hot|In|Init|Insp|Manual|Max|Min|MIP|MR|New|Old|Opt|Overlap|PET|Phase|Physician|Plan"
    "|Post|Postop|Pre|Preop|Prelim|PT|Ring|Sim|Sub|Surf|T1|T2|Test|Total|Wall|4D)"
)
_CLASSIFIER = "(?:par|sb|vas|ab|[pnlbvm]{1,2})"
_TYPE = "(?:E-)?(?:PTV!?|[GCHI]TV|I[GC]TV|TV)"
# Bare, a number of four digits could be a year, or a day and a month in either order.
_DAY_AND_MONTH = "(?:[12][0-9]|3[01])(?:0[1-9]|1[0-2])|1[0-2](?:0[1-9]|[12][0-9]|3[01])"
_NUMBER = (
    f"(?:(?!19[0-9]{{2}}|20(?:0[1-9]|[1-3][0-9])|{_DAY_AND_MONTH})[1-9][0-9]{{3}}|[1-9][0-9]{{2}})"
)
_DOSE = (
    "(?:[1-9][0-9]{2,3}(?:cGy(?:x[0-9]{1,2})?|x[0-9]{1,2})"
    r"|[1-9][0-9]?(?:[.p][0-9]{1,2})?Gy(?:x[0-9]{1,2})?"
    # Bare, two short numbers with a point could be a day and a month, or a year and a month; 40.05
    # is what breasts are given in 15 fractions.
    rf"|40[.p]05|(?:3[2-9]|[4-9][0-9])[.p](?!0[1-9]|1[0-2])[0-9]{{1,2}}|{_NUMBER})"
)


def _structures() -> list[str]:
    """Return the names without their sides, in both orders, and the interpreted types."""
    found = [re.sub("_[LR]$", "", name) for name in tg263.primary_names()]
    found += [re.sub("^[LR]_", "", name) for name in tg263.reverse_names()]
    return [*found, *_TYPES.split()]


def _standard() -> str:
    target = f"{_TYPE}{_CLASSIFIER}?"
    numbered = f"{target}[0-9]{{0,2}}"
    image = "(?:_(?:(?:CT|PT|MR|SP|US|PET|CBCT)[1-9]?){1,3})?"
    custom = rf"(?:\^{_CUSTOM_WORD}[0-9]?(?:[ _+-]?{_CUSTOM_WORD}[0-9]?){{0,2}})?"
    more = f"(?:[_ ]{_SIDE}|[_ ]?{_WORD}){{0,3}}"
    crop = "(?:-(?:0[1-9]|[12][0-9]|[1-9]))?"  # back by millimetres
    dosed = f"(?:(?:[_ ]{_DOSE})?{crop}|[_ ][0-9]{{2}})"
    prv = "(?:[_ ]?PRV(?:[0-9]{1,2}|xx?)?)"
    margin = "(?:[_ +-][0-9]{1,2}(?:mm)?|[1-9])"
    # The longer one of two that begin alike comes first. In one row: CTP compiles the pattern for
    # each name, and groups are what that costs (0.2 ms so, and twice as much as a tree).
    names = "|".join(sorted({name.lower() for name in _structures()}, reverse=True))
    structure = f"(?:{names}|{_ORGANS})"
    of_target = f"{target}{_DOSE}|{numbered}{image}{more}{dosed}(?:[_ ]{_SIDE})?{prv}?{more}"
    of_structure = (
        f"(?:{numbered}{image}[_ ])?(?:[LR]_)?(?:PRV(?:[0-9]{{1,2}}|xx?)?_)?{structure}"
        f"(?:~|[_ ]{_SIDE}|[_ ]?{_WORD}){{0,4}}(?:{prv}|{margin})?(?:[_ ]{_SIDE})?{more}"
        f"(?:[-_]{numbered})?(?:[_ ]{_DOSE}{crop})?"
    )
    return (
        # Where it is no target, it has no dose, and no number of three digits is anything else.
        rf"(?i)(?![ -~]{{{LONGEST_NAME + 1}}})(?:(?=z?_?{_TYPE})|(?![ -~]*[0-9]{{3}}))"
        rf"z?_?(?:{of_target}|{of_structure}){custom}"
    )


STANDARD = _standard()
"""Java's pattern of what stays with ``roi_names: standard``."""

_OTHERS = re.compile(r"(?i)roi[ _-]*[0-9]*")
_RUN = re.compile("[0-9]{4}[0-9]+")
_DAY = re.compile("[0-9]{1,4}[-./_ ][0-9]{1,2}[-./_ ][0-9]{1,4}")
_PERSON = re.compile(r"(?i)\b(?:mr|mrs|ms|dr|prof|herr|frau|mme|sr|sra)\b")
_SIGNS = frozenset(" _-+.~!()[]/%<>'#*")


def pattern(names: Iterable[str]) -> str:
    """Return Java's pattern of any of these names, whole."""
    escaped = (re.sub(r"([.\[\]{}()*+?^$|#/-])", r"\\\1", name) for name in names)
    return f"(?i)(?:{'|'.join(sorted(escaped))})"


def name_problem(name: object) -> str:
    """Return why a site may not list this name, empty where it may: what is accepted instead."""
    if not isinstance(name, str) or not name:
        return "a text, in quotes where it could be taken for a number"
    if len(name) > LONGEST_NAME or name != name.strip():
        return f"1 to {LONGEST_NAME} characters, without blanks at the ends"
    foreign = any(each.isdigit() and not each.isascii() for each in name)
    if foreign or any(not (each.isalnum() or each in _SIGNS) for each in name) or "  " in name:
        return (
            "letters, digits (0 to 9), single blanks and " + " ".join(sorted(_SIGNS - {" "})) + "; "
            "'^', ',' and '=' stand between the parts of a person's name"
        )
    if not any(each.isalpha() for each in name):
        return "a name with a letter in it"
    if _RUN.search(name) or _DAY.search(name) or sum(map(str.isdigit, name)) > 6:
        return "a name without what could be a date or an identifier: at most four digits in a row"
    if _PERSON.search(name):
        return "a name of a structure, not of a person"
    if _OTHERS.fullmatch(name):
        return "another name: what is not listed is called so, with its number"
    return ""
