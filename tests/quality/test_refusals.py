"""The scenarios' way to judge several refusals by one run lets none stand for another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "molecule"))

from shared.machines import Outcome
from shared.refusals import Case, Refusals, shared_out

ONE = Case("one", {"a": 1}, ["a is 1", "Accepted: 2"])
OTHER = Case("other", {"b": 1}, ["b is 1"])
SAME = Case("same variable", {"a": 3}, ["a is 3"])
TOO = Case("the same input, and what else it says", {"a": 1}, ["a is no word"])
ALONE = Case("alone", {"c": 1}, ["c is 1"], alone=True)
APART = Case("apart", {"d": 1}, ["d is 1"], apart=["a"])


def refused(*lines: str, returncode: int = 2, changed: bool = False) -> Outcome:
    """What a run says that reports these problems."""
    message = f"{len(lines)} problem(s) on node:\n" + "\n".join(f"- {line}" for line in lines)
    results = [{"failed": True, "msg": message}, {"changed": changed}]
    tasks = [{"task": {"name": "A"}, "hosts": {"node": result}} for result in results]
    return Outcome(returncode, message, {"plays": [{"tasks": tasks}]})


def judge(case: Case, outcome: Outcome, after: Any = 0) -> None:
    """Judge a case of the run of ONE and OTHER, before which the machine was 0."""
    looks = iter([0, after])
    Refusals([ONE, OTHER], lambda _: outcome, lambda: next(looks)).check(case)


def test_cases_share_runs() -> None:
    runs = [run.cases for run in shared_out([ONE, OTHER, SAME, TOO, ALONE, APART])]
    assert runs == [[ONE, OTHER, TOO], [SAME], [ALONE], [APART]]


def test_both_are_found() -> None:
    outcome = refused("a is 1. Accepted:\n  2.", "b is 1.")
    judge(ONE, outcome)
    judge(OTHER, outcome)


@pytest.mark.parametrize(
    ("outcome", "after"),
    [
        (refused("a is 1. Accepted: 2.", "b is 1.", returncode=0), 0),
        (refused("a is 1. Accepted: 2.", "b is 1.", changed=True), 0),
        (refused("a is 1. Accepted: 2.", "b is 1."), 1),
        (refused("a is 1.", "Accepted: 2.", "b is 1."), 0),
        (refused("a is 1. Accepted: 2."), 0),
        (refused("b is 1.", "c is 1."), 0),
    ],
    ids=[
        *("accepted", "changed a task", "changed the machine"),
        *("two problems say it between them", "one problem for two cases", "not said"),
    ],
)
def test_what_is_not_refused_fails(outcome: Outcome, after: int) -> None:
    with pytest.raises(AssertionError):
        judge(ONE, outcome, after)
