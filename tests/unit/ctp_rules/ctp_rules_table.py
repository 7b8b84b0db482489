"""What becomes of each object that is judged, and the tables of docs/ctp-objects.md made of it."""

from __future__ import annotations

import subprocess
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import ctp_rules_clean
from ansible_collections.auscat.imaging.plugins.module_utils.proof import phantom
from ansible_collections.auscat.imaging.plugins.module_utils.proof.ps3_15_e1_1 import attributes
from ctp_rules.anonymizer import Action, Outcome
from ctp_rules_judge import DEMANDED, Fault, faults, introduced
from ctp_rules_way import OPTIONS, Passed, Way, of_the_patient, real_files
from ctp_supervisor.data_set.rewrite import DAYS
from pydicom.datadict import keyword_for_tag
from pydicom.uid import UID

_GONE = frozenset({Action.REMOVED, Action.EMPTIED, Action.REPLACED, Action.LOST})
# What says that the object is de-identified; the supervisor's days of a DT.
_OURS = frozenset({0x00120062, 0x00120063, 0x00120064, 0x00280303, *DAYS.values()})
#: What `Passed.held` means, by how it begins.
HELD = {
    "(0008,0016)": "a class of which nothing can be cleaned",
    "the transfer syntax cannot be checked": "big endian or deflated",
}
INTRODUCTION = """\
# What objects lose

<!-- Written by tools/objects_table.py from what is de-identified and judged. Do not edit. -->

Each object below went through the supervisor's gate, the [script](ctp.md#de-identification) and
the look at what leaves, and was judged before and after by `dciodvfy`, which knows the standard and
nothing of this project (dicom3tools {version}). *Real* are the files that the pinned packages
pydicom and pynetdicom bring, of each series one; *clean* are objects that the tests make, without
an error before. They went as if the device of each
[were declared](quarantine.md#which-devices-wait). The tests hold this page to what they find with
CTP's script interpreted; with stock CTP they ask for the same: nothing introduced, and the same
objects held back.

## Errors

An error that an object has when it leaves, and had not when it came, is introduced. Those that the
profile demands are:

{demands}

There is no other, whatever the options. The table is for the strict profile; an RT Dose of 32
bits is judged as a copy of 16, since `dciodvfy` aborts at 32.

| object | real | clean | held back | errors before | after | introduced, demanded | \
introduced otherwise |
|---|---|---|---|---|---|---|---|
"""
LOSSES = """
## Elements

Elements with a value in the objects above that left, in sequences too: how many came, stay in the
strict profile, and stay with all options and full dates; how many go by Table E.1-1 in the strict
profile; private ones, which all go. Then, by name, what goes though the table has no row for it:
its value was none of those that it may have, so that a name could stand there, or the script does
not list it. Of a list of words (ImageType, ScanOptions) the known ones stay. Some are replaced,
such as CodeMeaning by `See code value`.

| object | came | stay | with options | by the table | private | go without options | go always |
|---|---|---|---|---|---|---|---|
"""


class Journey(NamedTuple):
    """What became of an object, and its errors before and, where it left, after."""

    passed: Passed
    before: frozenset[Fault]
    after: frozenset[Fault]


@cache
def flooded() -> dict[str, bytes]:
    """Return the proof's study, which has nearly a hundred errors before it is sent."""
    study = phantom.make_study("1234567890", True, ct_instances=4, issuer="")
    return {
        f"{number} {each.Modality}": of_the_patient(each)
        for number, each in enumerate(study.datasets)
    }


SOURCES: dict[str, Callable[[], dict[str, bytes]]] = {
    "clean": cache(ctp_rules_clean.study),
    "flooded": flooded,
    "real": cache(real_files),
}


@cache
def journeys(source: str, options: str) -> dict[str, Journey]:
    """Let all objects of a source through, and judge them."""
    way = Way(OPTIONS[options])
    found = {}
    for name, content in SOURCES[source]().items():
        passed = way.through(content)
        nothing: frozenset[Fault] = frozenset()
        found[name] = (
            Journey(passed, nothing, nothing)
            if passed.held
            else Journey(passed, faults(content), faults(passed.left))
        )
    return found


def kind(sop_class: str) -> str:
    """Return the name of a SOP Class in short."""
    return UID(sop_class).name.replace(" Storage", "")


@dataclass
class _Errors:
    files: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    before: int = 0
    after: int = 0
    demanded: int = 0
    other: int = 0


def _error_rows() -> Iterator[str]:
    rows: dict[str, _Errors] = defaultdict(_Errors)
    for source in ("real", "clean"):
        for journey in journeys(source, "strict").values():
            row = rows[kind(journey.passed.sop_class)]
            row.files[source] += 1
            if journey.passed.held:
                row.held[_reason(journey.passed.held)] += 1
            new = len(journey.after - journey.before)
            other = len(introduced(journey.before, journey.after, "strict"))
            row.before += len(journey.before)
            row.after += len(journey.after)
            row.other += other
            row.demanded += new - other
    for name, row in sorted(rows.items()):
        held = ", ".join(f"{count}: {reason}" for reason, count in sorted(row.held.items()))
        yield (
            f"| {name} | {row.files['real']} | {row.files['clean']} | {held or 0} | {row.before}"
            f" | {row.after} | {row.demanded} | {row.other} |"
        )


def _reason(held: str) -> str:
    return next(reason for begin, reason in HELD.items() if held.startswith(begin))


@dataclass
class _Elements:
    came: int = 0
    stay: Counter[str] = field(default_factory=Counter)
    by_table: int = 0
    private: int = 0
    names: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def _element_rows() -> Iterator[str]:
    rows: dict[str, _Elements] = defaultdict(_Elements)
    for options in ("strict", "full"):
        for source in ("real", "clean"):
            for journey in journeys(source, options).values():
                if not journey.passed.held:
                    _count(rows[kind(journey.passed.sop_class)], journey.passed, options)
    for name, row in sorted(rows.items()):
        always = row.names["full"]
        yield (
            f"| {name} | {row.came} | {row.stay['strict']} | {row.stay['full']} | {row.by_table}"
            f" | {row.private} | {_listed(row.names['strict'] - always)} | {_listed(always)} |"
        )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "-"


def _count(row: _Elements, passed: Passed, options: str) -> None:
    table = attributes()
    came = {each.path: each for each in passed.came}
    for outcome in passed.outcomes:
        tag, before = outcome.path[-1], came.get(outcome.path)
        if before is None or tag in _OURS or not _has_value(before):
            continue
        strict = options == "strict"
        row.came += strict
        group = tag >> 16
        if group & 1:
            row.private += strict
        elif outcome.action not in _GONE or _bare(outcome) == _bare(before):
            row.stay[options] += 1
        elif f"{tag:08X}" in table or group >> 8 in (0x50, 0x60):
            row.by_table += strict
        else:
            row.names[options].add(keyword_for_tag(tag))


def _has_value(outcome: Outcome) -> bool:
    return bool(outcome.items or (_bare(outcome) or b"").strip())


def _bare(outcome: Outcome) -> bytes | None:
    return None if outcome.value is None else outcome.value.rstrip(b"\0 ")


def page() -> str:
    """Return docs/ctp-objects.md."""
    version = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Version}", "dicom3tools"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    demands = "\n".join(
        textwrap.fill(
            f"- {' and '.join(f'({tag[:4]},{tag[4:]})' for tag in each.tags)}: {each.reason}.",
            width=100,
            subsequent_indent="  ",
        )
        for each in DEMANDED
    )
    return (
        INTRODUCTION.format(version=version, demands=demands)
        + "".join(f"{row}\n" for row in _error_rows())
        + LOSSES
        + "".join(f"{row}\n" for row in _element_rows())
    )
