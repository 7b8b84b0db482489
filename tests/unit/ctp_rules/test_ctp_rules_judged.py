"""``dciodvfy`` before and after: de-identification introduces no error but what it has to."""

from __future__ import annotations

from pathlib import Path

import ctp_rules_clean
import ctp_rules_clean_treatment
import pytest
from ctp_rules_judge import DEMANDED, AbortError, Demand, faults, introduced
from ctp_rules_score_page import PAGE, SUMMARY_PAGE, with_summary
from ctp_rules_score_page import page as score_page
from ctp_rules_stock import Ctp
from ctp_rules_table import SOURCES, Journey, journeys, page
from ctp_rules_way import (
    OPTIONS,
    TABLE,
    Way,
    handed_over,
    looked_at,
    of_the_patient,
    script_text,
)
from ctp_supervisor.export.egress import Violation
from pydicom.dataset import Dataset

ALL = [(source, options) for source in SOURCES for options in OPTIONS]


def left(source: str, options: str) -> dict[str, Journey]:
    found = journeys(source, options)
    return {name: each for name, each in found.items() if not each.passed.held}


@pytest.mark.parametrize("kind", ctp_rules_clean.KINDS)
def test_the_clean_study_has_no_error(kind: str) -> None:
    assert faults(ctp_rules_clean.content(ctp_rules_clean.KINDS[kind]())) == frozenset()


@pytest.mark.parametrize(("source", "options"), ALL)
def test_no_error_is_introduced(source: str, options: str) -> None:
    found = {
        f"{name}: {fault}"
        for name, (_, before, after) in left(source, options).items()
        for fault in introduced(before, after, options)
    }
    assert found == set()


@pytest.mark.parametrize(("source", "least"), [("clean", 18), ("flooded", 7), ("real", 88)])
def test_objects_leave(source: str, least: int) -> None:
    """Nothing is introduced into what is held back, so that it must not be much."""
    assert len(left(source, "strict")) >= least


@pytest.mark.parametrize("demand", DEMANDED, ids=lambda demand: demand.tags[0])
def test_what_the_profile_demands_is_still_needed(demand: Demand) -> None:
    """An exception that no object needs would let a fault of the script pass."""
    covered = {
        fault.tag
        for source in ("clean", "real")
        for _, before, after in left(source, "strict").values()
        for fault in after - before
        if demand.covers(fault, before, "strict")
    }
    assert covered == set(demand.tags)


def test_the_page_tells_what_was_found() -> None:
    written = (Path(__file__).resolve().parents[3] / "docs/ctp-objects.md").read_text()
    assert written == page(), "run tools/objects_table.py and look at what has changed"


def test_the_score_is_what_was_found() -> None:
    """Here, where the objects that it shares have been de-identified."""
    assert PAGE.read_text() == score_page(), "run tools/score_table.py and look at what has changed"
    summary = SUMMARY_PAGE.read_text()
    assert summary == with_summary(summary), "run tools/score_table.py"


def test_the_judge_finds_what_is_missing() -> None:
    image = ctp_rules_clean.ct()
    del image.ImageType
    image.Modality = "c t"
    found = {fault.tag for fault in faults(ctp_rules_clean.content(image))}
    assert found == {"00080008", "00080060"}


def test_the_judge_says_when_it_aborts() -> None:
    """At an RT Dose of 32 bits, so that a copy of 16 bits is judged."""
    dose: Dataset = ctp_rules_clean_treatment.dose()
    dose.BitsAllocated, dose.BitsStored, dose.HighBit = 32, 32, 31
    dose.PixelData = bytes(2 * len(dose.PixelData))
    with pytest.raises(AbortError):
        faults(ctp_rules_clean.content(dose))
    assert faults(of_the_patient(dose)) == frozenset()


def test_without_the_judge_a_test_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(AssertionError, match=r"make machine"):
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
    files = ctp.run(script_text(OPTIONS[options], True), TABLE, handed, tmp_path)
    found, leaves = set(), set()
    for (name, content), file in zip(objects.items(), files):
        if file is None:
            continue
        try:
            looked_at(file.read_bytes())
        except Violation:
            continue
        leaves.add(name)
        before = faults(content)
        found |= {
            f"{name}: {fault}" for fault in introduced(before, faults(file.read_bytes()), options)
        }
    assert found == set()
    assert leaves == set(left(source, options))
