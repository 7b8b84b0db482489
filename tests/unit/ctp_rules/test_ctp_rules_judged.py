"""``dciodvfy`` before and after: de-identification introduces no error but what it has to."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import ctp_rules_clean
import pytest
from ansible_collections.auscat.imaging.plugins.module_utils import phantom
from ctp_rules_judge import DEMANDED, AbortError, Demand, Fault, faults, introduced
from ctp_rules_stock import Ctp
from ctp_rules_way import (
    OPTIONS,
    TABLE,
    Way,
    handed_over,
    looked_at,
    of_the_patient,
    real_files,
    script_text,
)
from ctp_supervisor.egress import Violation
from pydicom.dataset import Dataset


@cache
def flooded() -> dict[str, bytes]:
    """The proof's study, which has nearly a hundred errors before it is sent."""
    study = phantom.make_study("1234567890", True, ct_instances=4, issuer="")
    return {
        f"{number} {each.Modality}": of_the_patient(each)
        for number, each in enumerate(study.datasets)
    }


class Verdict(NamedTuple):
    before: frozenset[Fault]
    after: frozenset[Fault]


SOURCES = {"clean": cache(ctp_rules_clean.study), "flooded": flooded, "real": cache(real_files)}
ALL = [(source, options) for source in SOURCES for options in OPTIONS]


@cache
def verdicts(source: str, options: str) -> dict[str, Verdict]:
    """Judge what leaves of the objects."""
    way = Way(OPTIONS[options])
    passed = {name: way.through(content) for name, content in SOURCES[source]().items()}
    return {
        name: Verdict(faults(SOURCES[source]()[name]), faults(each.left))
        for name, each in passed.items()
        if not each.held
    }


@pytest.mark.parametrize("kind", ctp_rules_clean.KINDS)
def test_the_clean_study_has_no_error(kind: str) -> None:
    assert faults(ctp_rules_clean.content(ctp_rules_clean.KINDS[kind]())) == frozenset()


@pytest.mark.parametrize(("source", "options"), ALL)
def test_no_error_is_introduced(source: str, options: str) -> None:
    found = {
        f"{name}: {fault}"
        for name, (before, after) in verdicts(source, options).items()
        for fault in introduced(before, after, options)
    }
    assert found == set()


@pytest.mark.parametrize(("source", "least"), [("clean", 18), ("flooded", 7), ("real", 88)])
def test_objects_leave(source: str, least: int) -> None:
    """Nothing is introduced into what is held back, so that it must not be much."""
    assert len(verdicts(source, "strict")) >= least


@pytest.mark.parametrize("demand", DEMANDED, ids=lambda demand: demand.tags[0])
def test_what_the_profile_demands_is_still_needed(demand: Demand) -> None:
    """An exception that no object needs would let a fault of the script pass."""
    covered = {
        fault.tag
        for source in ("clean", "real")
        for before, after in verdicts(source, "strict").values()
        for fault in after - before
        if demand.covers(fault, before, "strict")
    }
    assert covered == set(demand.tags)


def test_the_judge_finds_what_is_missing() -> None:
    image = ctp_rules_clean.ct()
    del image.ImageType
    image.Modality = "c t"
    found = {fault.tag for fault in faults(ctp_rules_clean.content(image))}
    assert found == {"00080008", "00080060"}


def test_the_judge_says_when_it_aborts() -> None:
    """At an RT Dose of 32 bits, so that a copy of 16 bits is judged."""
    dose: Dataset = ctp_rules_clean.dose()
    dose.BitsAllocated, dose.BitsStored, dose.HighBit = 32, 32, 31
    dose.PixelData = bytes(2 * len(dose.PixelData))
    with pytest.raises(AbortError):
        faults(ctp_rules_clean.content(dose))
    assert faults(of_the_patient(dose)) == frozenset()


def test_without_the_judge_a_test_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(AssertionError, match=r"ansible-playbook tests/machine\.yml"):
        faults(b"nothing that was judged before")


@pytest.mark.stock_ctp
@pytest.mark.parametrize(
    ("source", "options"),
    [("clean", options) for options in OPTIONS] + [("flooded", "strict"), ("real", "strict")],
)
def test_no_error_is_introduced_by_stock_ctp(
    ctp: Ctp, source: str, options: str, tmp_path: Path
) -> None:
    """And it lets the same objects leave as the interpreter does, which the other tests judge."""
    objects = SOURCES[source]()
    rules = Way(OPTIONS[options]).rules
    handed = [handed_over(content, rules) for content in objects.values()]
    files = ctp.run(script_text(OPTIONS[options]), TABLE, handed, tmp_path)
    found, left = set(), set()
    for (name, content), file in zip(objects.items(), files):
        if file is None:
            continue
        try:
            looked_at(file.read_bytes())
        except Violation:
            continue
        left.add(name)
        before = faults(content)
        found |= {
            f"{name}: {fault}" for fault in introduced(before, faults(file.read_bytes()), options)
        }
    assert found == set()
    assert left == set(verdicts(source, options))
