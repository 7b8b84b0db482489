"""The inputs that are scored, what became of them, and docs/ctp-score.md made of it."""

from __future__ import annotations

import importlib.util
import json
import re
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import ctp_rules_clean
from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import method_codes
from ctp_rules_score import (
    COLUMNS,
    ROOTS,
    SOP_CLASS,
    Action,
    Asked,
    Box,
    Crosswalk,
    Known,
    Value,
    Verdict,
    keyword,
    opened,
    read,
    score,
    walk,
)
from ctp_rules_table import journeys, kind
from ctp_rules_way import OPTIONS, PSEUDONYM, TABLE, Way, of_the_patient

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = REPOSITORY / "docs/ctp-score.md"
SUMMARY_PAGE = REPOSITORY / "docs/ctp.md"
BEGIN, END = "<!-- score: tools/score_table.py -->\n", "<!-- /score -->\n"
TOKEN = "1739264850"
SHIFT = -17
_NAMED = 8
INTRODUCTION = """\
# Score

<!-- Written by tools/score_table.py from what is de-identified and judged. Do not edit. -->

How often the right thing is done, counted as others count it: the ten actions of the challenge
MIDI-B (Medical Image De-Identification Benchmark, MICCAI 2024; Pei et al., *Medical Image
De-Identification Benchmark Challenge*, arXiv:2507.23608 of 2025-07-31; seven of the actions:
Rutherford et al., *Scientific Data* 8:183, 2021, Table 8; their exact meaning: the organizers'
validation script, CBIIT/MIDI_validation_script, state of 2025-03-27). The score is theirs: right
actions out of those that are asked for.

**It is no result of the challenge.** Its ten teams reached 97.91 to 99.93 % on the challenge's
images and answer key, which cannot be had here. These figures are of other data and of another
key: of what the tests have, with a key that follows the standard. Two figures of two inputs say
nothing about each other.

## The key

For each element of each input it is said what is right, from PS3.15 Table E.1-1 (edition 2026c)
with the options that are claimed, and from what is known of the input; nothing comes from the
script. Marks are put where they stand, names are those of the object, and somebody looked at the
pixels.

| action | asked for | right when |
|---|---|---|
| `date_shifted` | a date (DA, DT) that the option Modified Dates cleans | it is another, or \
gone; *lost* unless it is moved by the patient's days |
| `patid_consistent` | PatientID | it is the patient's pseudonym |
| `pixels_hidden` | pixels that show a name | each place is one color, or the object is held back \
|
| `pixels_retained` | all other pixels | they are the same, but for what stands beside the image \
|
| `tag_retained` | what the table empties (Z), what has no value, sequences that stay | the \
element is there |
| `text_notnull` | what gets a dummy (D), or is cleaned (C) and not known to be harmless | it has \
a value |
| `text_removed` | what the table removes, empties or replaces; what names somebody, wherever it \
stands | the value is not there any more |
| `text_retained` | what the table does not name, or an option keeps (K) | the value is the same \
|
| `uid_changed` | UIDs that are replaced (U), and those in sequences that go | it is another, or \
gone |
| `uid_consistent` | the same | it is the one that this UID became everywhere else, or gone |

An object that is held back has hidden, removed and changed all, and retained nothing: so the
challenge counts a missing file. The second score is of the objects that left. *Lost* are actions
that count as right, since the challenge does not mind, though nothing is left, or a dummy, where
the standard would have the value changed. Where this is not what the challenge does: pixels are
hidden when one color is left, where it reads them with OCR; a missing PatientID is wrong; all of
a value must be kept or gone, where it counts words; and its key names some elements of an object,
this one all.

## Inputs

{inputs}
Most actions are of the flooded study, so that the others are better looked at by themselves. Not
scored are file meta information and the preamble, which the gate writes anew, and marks in numbers
that the table does not name. The objects went as at a site that has looked at its devices: those
that show a name are not [declared](quarantine.md#which-devices-wait), the others are.

## Sets of options

{sets}
## By action

{actions}
## By object

Objects that came, those held back with the options of the last column, and the score with each
set.

{objects}
## Held back

{held}
## What is not right

Of the objects that left: by action and kind of element (the table's action and the option that it
comes from; no row: the table does not name it, so that the standard keeps it), how many are wrong
with each set, and the elements, the most frequent first. The script keeps only what it lists, and
of that only values of a known form, so that it removes more than the standard asks for. That is
its design ([CTP](ctp.md#de-identification)), and it costs what is counted here; `text_removed`,
`uid_changed`, `date_shifted` and `pixels_hidden` are the ones by which somebody could be known.



{wrong}"""
INPUTS = {
    "flooded": "a study with a mark in every element of the dictionary (`tests/marks/flood.py`, of"
    " the slices of CT one): what has a mark must not leave, the object's own elements stay",
    "clean": "objects of eighteen kinds without an error (`ctp_rules_clean.py`); it is known whom"
    " they name",
    "real": "the files that the packages pydicom and pynetdicom bring, of each series one; names"
    " are those of the object",
    "deid-data": "the files of the package deid-data 0.0.20, its cines in archives left out. Two"
    " ultrasound images show a name, an identifier and a hospital; it has no annotations, these"
    " are ours",
    "burned": "a secondary capture and an ultrasound image with a name drawn into the pixels, which"
    " say that there is none",
}
# Looked at by a person: the banners of two devices; in the others no text, or none of anybody.
SHOWS = {
    "ultrasounds/GREYSCALE_IMAGE.dcm": Box(0, 0, 1024, 24),
    "ultrasounds/RGB_IMAGE.dcm": Box(0, 0, 900, 57),
}
_LETTERS = {
    "D": ("####.", "#...#", "#...#", "#...#", "#...#", "#...#", "####."),
    "O": (".###.", "#...#", "#...#", "#...#", "#...#", "#...#", ".###."),
    "E": ("#####", "#....", "#....", "####.", "#....", "#....", "#####"),
}
_DRAWN = Box(2, 2, 34, 16)


class Input(NamedTuple):
    """The file of an object, and what is known of it."""

    content: bytes
    known: Known


def _clean() -> dict[str, Input]:
    known = Known(names=frozenset((b"doe", b"roe", b"poe")), harmless=True)
    return {name: Input(content, known) for name, content in ctp_rules_clean.study().items()}


def _flooded() -> dict[str, Input]:
    import flood

    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flood.write(folder, TOKEN, False, slices=4)
        objects = json.loads((folder / "summary.json").read_text())["objects"]
        # The slices are alike.
        for each in {each["class"]: each for each in objects}.values():
            own = frozenset(
                path for path, _ in walk(read((folder / f"{each['name']}.structure").read_bytes()))
            )
            mark = re.compile(TOKEN[:8].encode())
            found[each["name"]] = Input(
                (folder / f"{each['name']}.dcm").read_bytes(), Known(mark=mark, own=own)
            )
    return found


def _deid_data() -> dict[str, Input]:
    spec = importlib.util.find_spec("deid_data")
    assert spec and spec.origin, "deid-data is not installed: make environment"
    root = Path(spec.origin).parent / "data"
    found = {}
    for path in sorted(root.rglob("*.dcm")):
        name = str(path.relative_to(root))
        dataset = read(path.read_bytes())
        found[name] = Input(of_the_patient(dataset), Known(shows=SHOWS.get(name)))
    return found


def _burned() -> dict[str, Input]:
    found = {}
    for name, dataset, colors in (
        ("SC", ctp_rules_clean.capture(), 1),
        ("US", ctp_rules_clean.ultrasound(), 3),
    ):
        dataset.Rows, dataset.Columns = 32, 48
        pixels = bytearray(32 * 48 * colors)
        for number, letter in enumerate("DOE"):
            for row, line in enumerate(_LETTERS[letter]):
                for column, ink in enumerate(line):
                    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
                        place = (2 + 2 * row + y) * 48 + 2 + 11 * number + 2 * column + x
                        color = b"\xff" if ink == "#" else b"\0"
                        pixels[place * colors : (place + 1) * colors] = color * colors
        dataset.PixelData = bytes(pixels)
        known = Known(names=frozenset((b"doe", b"roe", b"poe")), harmless=True, shows=_DRAWN)
        found[name] = Input(ctp_rules_clean.content(dataset), known)
    return found


def _real() -> dict[str, Input]:
    from ctp_rules_table import SOURCES as judged

    return {name: Input(content, Known()) for name, content in judged["real"]().items()}


SOURCES: dict[str, Callable[[], dict[str, Input]]] = {
    "flooded": cache(_flooded),
    "clean": cache(_clean),
    "real": cache(_real),
    "deid-data": cache(_deid_data),
    "burned": cache(_burned),
}


class Left(NamedTuple):
    """What left of an object, and why nothing did."""

    content: bytes
    held: str


def through(source: str, options: str) -> dict[str, Left]:
    """Let all objects of a source through; those that the judge had come from there.

    As at a site that has looked at its devices: those are declared that show no name.
    """
    if source in ("clean", "real"):
        found = journeys(source, options)
        return {name: Left(each.passed.left, each.passed.held) for name, each in found.items()}
    table = dict(TABLE)
    inputs = SOURCES[source]()
    if source == "flooded":
        one = read(next(iter(inputs.values())).content)
        table[f"PatientID/{one.PatientID}|{one.IssuerOfPatientID}"] = PSEUDONYM
        table[f"DateShift/{one.PatientID}"] = str(SHIFT)
    ways = {every: Way(OPTIONS[options], table, every_device=every) for every in (True, False)}
    passed = {
        name: ways[each.known.shows is None].through(each.content) for name, each in inputs.items()
    }
    return {name: Left(each.left, each.held) for name, each in passed.items()}


def columns(options: str) -> frozenset[str]:
    """Return the columns of the table that a set of options claims in (0012,0064)."""
    codes = method_codes(OPTIONS[options])
    return frozenset(COLUMNS[code] for code in codes if code in COLUMNS)


@dataclass(frozen=True)
class Scored:
    """An object with the verdicts about it."""

    kind: str
    held: str
    verdicts: tuple[tuple[Asked, Verdict], ...]


@cache
def scored(source: str, options: str) -> dict[str, Scored]:
    """Return what became of each object of a source."""
    with warnings.catch_warnings():
        # Marks are no dates, no UIDs and no character sets.
        warnings.simplefilter("ignore")
        return _scored(source, options)


def _scored(source: str, options: str) -> dict[str, Scored]:
    crosswalk = Crosswalk(PSEUDONYM.encode(), SHIFT)
    inputs, left = SOURCES[source](), through(source, options)
    before = {name: opened(each.content) for name, each in inputs.items()}
    for name, each in before.items():
        if left[name].content:
            after = read(left[name].content)
            roots = {
                (tag,): Value("UI", str(after[tag].value).encode()) for tag in ROOTS if tag in after
            }
            crosswalk.learn(each.elements, roots)
    return {
        name: Scored(
            kind(str(before[name].dataset[SOP_CLASS].value)),
            left[name].held,
            tuple(score(one.content, left[name].content, columns(options), one.known, crosswalk)),
        )
        for name, one in inputs.items()
    }


def everything(options: str) -> Iterator[tuple[str, Scored]]:
    """Yield each object of each source."""
    for source in SOURCES:
        for each in scored(source, options).values():
            yield source, each


def share(verdicts: Counter[Verdict]) -> str:
    """Return the part that is right, in percent, never rounded up; ``-`` of nothing."""
    of = verdicts.total()
    if not of:
        return "-"
    right = (of - verdicts[Verdict.WRONG]) * 10000 // of
    return f"{right // 100}.{right % 100:02d} %"


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(each) for each in cells)} |\n"


def _head(*cells: str) -> str:
    return _row(*cells) + f"|{'---|' * len(cells)}\n"


class _Counted(NamedTuple):
    action: Action
    source: str
    held: bool
    verdict: Verdict


@cache
def summary() -> str:
    """Return the table by action: share and number, with each set of options."""
    lines = _head("action", *(f"{each}, right | of" for each in OPTIONS)).replace(
        f"|{'---|' * (1 + len(OPTIONS))}", f"|{'---|' * (1 + 2 * len(OPTIONS))}"
    )
    found = {
        options: Counter(
            _Counted(asked.action, source, bool(each.held), verdict)
            for source, each in everything(options)
            for asked, verdict in each.verdicts
        )
        for options in OPTIONS
    }

    def row(name: str, chosen: Callable[[_Counted], bool]) -> str:
        cells: list[object] = []
        for options in OPTIONS:
            counted: Counter[Verdict] = Counter()
            for each, number in found[options].items():
                if chosen(each):
                    counted[each.verdict] += number
            cells += [share(counted), counted.total()]
        return _row(name, *cells)

    lines += "".join(
        row(f"`{action.value}`", lambda each, action=action: each.action is action)  # type: ignore[misc]
        for action in Action
    )
    lines += row("**all**", lambda _: True)
    lines += row("of what left", lambda each: not each.held)
    lines += "".join(
        row(f"of *{name}*", lambda each, name=name: each.source == name)  # type: ignore[misc]
        for name in SOURCES
    )
    lost = [
        sum(number for each, number in found[options].items() if each.verdict is Verdict.LOST)
        for options in OPTIONS
    ]
    return lines + _row("lost", *(cell for each in lost for cell in ("", each)))


def _objects() -> str:
    lines = _head("input", "object", "came", "held back", *OPTIONS)
    rows: dict[tuple[str, str], dict[str, list[Scored]]] = defaultdict(lambda: defaultdict(list))
    for options in OPTIONS:
        for source, each in everything(options):
            rows[source, each.kind][options].append(each)
    last = list(OPTIONS)[-1]
    for (source, name), sets in sorted(
        rows.items(), key=lambda row: (list(SOURCES).index(row[0][0]), row[0][1])
    ):
        shares = [
            share(Counter(verdict for each in sets[options] for _, verdict in each.verdicts))
            for options in OPTIONS
        ]
        held = sum(bool(each.held) for each in sets[last])
        lines += _row(source, name, len(sets[last]), held, *shares)
    return lines


def _held() -> str:
    counted: Counter[tuple[str, str, str]] = Counter()
    for options in OPTIONS:
        for _, each in everything(options):
            if each.held:
                counted[each.kind, each.held, options] += 1
    lines = _head("object", "reason", *OPTIONS)
    for name, reason in sorted({(name, reason) for name, reason, _ in counted}):
        lines += _row(name, reason, *(counted[name, reason, options] for options in OPTIONS))
    return lines


def _wrong() -> str:
    lines = _head("action", "kind of element", *OPTIONS, "elements")
    counted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    names: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for options in OPTIONS:
        for _, each in everything(options):
            for asked, verdict in each.verdicts:
                if each.held or verdict.counts:
                    continue
                place = (asked.action.value, asked.kind)
                counted[place][options] += 1
                names[place][keyword(asked.path) if asked.path else each.kind] += 1
    for (action, why), numbers in sorted(counted.items()):
        elements = sorted(names[action, why].items(), key=lambda each: (-each[1], each[0]))
        listed = ", ".join(name for name, _ in elements[:_NAMED])
        if len(elements) > _NAMED:
            listed += f" and {len(elements) - _NAMED} more"
        lines += _row(f"`{action}`", why, *(numbers[each] for each in OPTIONS), listed)
    return lines


def page() -> str:
    """Return docs/ctp-score.md."""
    inputs = "".join(
        f"- *{name}* ({len(SOURCES[name]())}): {what}.\n" for name, what in INPUTS.items()
    )
    sets = "".join(
        f"- *{each}*: PS3.15 Basic Profile; {'; '.join(sorted(columns(each)))}.\n"
        for each in OPTIONS
    )
    return INTRODUCTION.format(
        inputs=inputs,
        sets=sets,
        actions=summary(),
        objects=_objects(),
        held=_held(),
        wrong=_wrong(),
    )


def with_summary(text: str) -> str:
    """Return docs/ctp.md with the table by action in its place."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, f"{SUMMARY_PAGE.name} has no place for the score: {BEGIN}{END}"
    return f"{before}{begin}{summary()}{end}{after}"
