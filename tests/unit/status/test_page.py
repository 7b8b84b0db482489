from __future__ import annotations

import copy
import html.parser
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.status import plot
from ansible_collections.auscat.imaging.plugins.module_utils.status import report as status_report
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import (
    collect,
    rules,
)
from ansible_collections.auscat.imaging.plugins.module_utils.status.page import status_page
from test_rules import LIMITS, NOW, WELL, changed, iso

HOUR = 3600.0


def result(state: dict[str, Any], history: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    past = [{"time": NOW - 60, "alerts": []}] if history is None else history
    return {"state": state, "alerts": rules.evaluate(state, past, LIMITS), "history": past}


def busy() -> dict[str, Any]:
    volumes = {"/": [100, 50]}
    past = [
        {"time": NOW - HOUR * n, "received": 500 - n, "forwarded": 400 - n, "queued": n % 7}
        | {"quarantined": 2, "instances": 900 - n, "volumes": volumes, "alerts": []}
        for n in range(400, 0, -1)
    ]
    return result(copy.deepcopy(WELL), past)


def test_the_table_has_a_row_for_each_thing_of_each_machine() -> None:
    results = {"kv": result(copy.deepcopy(WELL)), "cat": result(changed(clock__synchronised=False))}
    lines = status_report.status_table(results, NOW).splitlines()
    assert lines[0].endswith("1 warning")
    assert lines[2].startswith("WARNING  cat: clock_unsynchronised (clock): ")
    assert "-> Check whether the machine reaches its time server" in lines[3]
    rows = {tuple(line.split()[:3]) for line in lines}
    assert {("kv", "ctp", "ok"), ("cat", "clock", "WARNING"), ("kv", "clock", "ok")} <= rows


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({}, "The machine cannot be reached."),
        ({"unreachable": True, "msg": "ssh: secret"}, "The machine cannot be reached."),
        ({"failed": True, "msg": "Traceback: secret"}, "Its state could not be read."),
    ],
)
def test_a_machine_that_tells_nothing_hides_no_other(seen: dict[str, Any], words: str) -> None:
    results = {"kv": result(copy.deepcopy(WELL)), "cat": seen}
    table = status_report.status_table(results, NOW)
    assert f"CRITICAL  cat: unreachable (cat): {words}" in table
    assert "secret" not in table + status_page(results, NOW)
    assert status_report.status_failures(results, "critical") == [
        f"cat: unreachable (cat): {words}"
    ]


def test_a_list_of_patients_that_was_not_read_since_the_start_is_called_so() -> None:
    state = changed(ctp__keydb_age_seconds=None)
    table = status_report.status_table({"kv": result(state)}, NOW)
    assert "CTP has not read KeyDB since its start 60 min ago." in table
    assert "3 patients, not read since its start" in table


def test_a_failed_attempt_does_not_make_the_last_good_backup_younger(tmp_path: Path) -> None:
    """The timer tries again each day; what counts is when one succeeded."""
    noted = {"finished": iso(HOUR), "last_ok": iso(12 * 24 * HOUR), "ok": False, "error": "secret"}
    (tmp_path / "identifiable.json").write_text(json.dumps({**noted, "max_age_hours": 26}))
    kept = collect._report(tmp_path / "identifiable.json")
    assert kept == {
        **{key: noted[key] for key in ("finished", "last_ok", "ok")},
        **{"max_age_hours": 26, "failed": 0},
    }
    table = status_report.status_table({"kv": result(changed(backup__identifiable=kept))}, NOW)
    assert (
        "backup_failed (identifiable): The last attempt failed. The last backup that succeeded is"
        " 12 days old." in table
    )
    assert "failed 60 min ago; the last that succeeded ended 12 days ago" in table
    # Of one that never succeeded, or did at a time that is not known, nothing is made up.
    for unknown in (None, "yesterday"):
        (tmp_path / "identifiable.json").write_text(json.dumps({**noted, "last_ok": unknown}))
        kept = collect._report(tmp_path / "identifiable.json")
        table = status_report.status_table({"kv": result(changed(backup__identifiable=kept))}, NOW)
        assert "The last attempt failed." in table and "succeeded" not in table


@pytest.mark.parametrize(("fail_on", "count"), [("", 0), ("critical", 1), ("warning", 2)])
def test_a_run_fails_for_what_it_was_asked_to(fail_on: str, count: int) -> None:
    state = changed(clock__synchronised=False, firewall__loaded=False)
    assert len(status_report.status_failures({"kv": result(state)}, fail_on)) == count


class Tags(html.parser.HTMLParser):
    """Counts tags, and checks that each is closed in its turn."""

    VOID = {"meta", "link"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        """One that is closed in itself, as the parts of an SVG are."""
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_has_its_plots() -> None:
    tags = Tags()
    tags.feed(status_page({"kv": busy()}, NOW, "a <site> & more"))
    assert tags.open == []
    assert tags.count["figure"] == 4
    assert "script" not in tags.count


def test_names_of_the_inventory_are_escaped() -> None:
    page = status_page({'<img src="x">': busy()}, NOW, "<script>")
    assert "<script>" not in page
    assert "<img" not in page


def test_without_samples_the_page_says_why() -> None:
    page = status_page({"kv": result(changed(sampler__expected=False), [])}, NOW)
    assert "No plots yet: they need samples, and status_timer is false." in page
    page = status_page({"kv": result(changed(sampler__systemd=False), [])}, NOW)
    assert "No plots yet: they need samples, of which one is taken every 5 min." in page
    assert "every 5 min, by a process that no reboot starts again (PID 1 is not systemd)" in page


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (1, 1), (3, 4), (17, 20), (41, 50), (51, 100), (0.3, 0.4)]
)
def test_top_of_an_axis(value: float, top: float) -> None:
    assert plot.nice_top(value) == pytest.approx(top)


def test_rates_of_a_counter() -> None:
    start = NOW - 10 * HOUR
    steady = [(start + HOUR * n, 100.0 * n) for n in range(11)]
    rates = plot.rates(steady, start, NOW, 10)
    assert [round(value) for _, value in rates][1:-1] == [100] * (len(rates) - 2)
    # A restart from nothing is no negative rate, and a gap is not a peak.
    fallen = [(start + HOUR, 500.0), (start + 2 * HOUR, 40.0)]
    assert min(value for _, value in plot.rates(fallen, start, NOW, 10)) >= 0
    gap = [(start + HOUR, 0.0), (start + 1.5 * HOUR, 0.0), (start + 8.5 * HOUR, 700.0)]
    assert max(value for _, value in plot.rates(gap, start, NOW, 10)) == pytest.approx(100)
    assert plot.rates([], start, NOW) == []


STUDIES: dict[str, Any] = {
    **{"studies": 1204, "complete": 1200, "arriving": 1, "waiting": 4, "incomplete": 12},
    **{"unknown": 3, "mixed": 1, "unplaced": 0, "mixed_age_seconds": 60, "whole": True},
    "deleted": 2,
    "rows": [
        {
            **{"pseudonym": f"TRIAL-{number}", "state": "held back", "received": 9, "left": 5},
            **{"held": 2, "waiting": 0, "broken": 1, "gone": 1},
        }
        for number in range(12)
    ],
}


def test_studies_that_are_not_complete_are_named_by_pseudonym_or_not_at_all() -> None:
    results = {"kv": result(changed(ctp__studies=STUDIES))}
    table, page = status_report.status_table(results, NOW), status_page(results, NOW)
    assert "1 200 complete, 1 arriving, 4 on their way, 12 not complete" in table
    assert "3 of patients that KeyDB does not know, 2 whose rest was removed from" in table
    assert "quarantine for good, 1 under two identifiers" in table
    row = "held back: 9 received, 5 left, 2 held back, 1 broken off, 1 not found"
    for text in (table, page):
        assert "study of TRIAL-9" in text and "study of TRIAL-10" not in text
        assert row in text and "2: playbooks/study.yml lists them" in text
    for text in (
        status_report.status_table(results, NOW, False),
        status_page(results, NOW, "", False),
    ):
        assert "TRIAL" not in text and "12 not complete" in text


@pytest.mark.parametrize(
    ("studies", "words"),
    [
        (None, "this CTP keeps no account of studies"),
        (
            {**STUDIES, "studies": None, "whole": False},
            "the account is not kept: `studies.problem`",
        ),
        ({**STUDIES, "whole": False}, "not all is in the account: `studies.problem`"),
    ],
)
def test_an_account_that_is_not_there_or_not_whole_says_so(studies: Any, words: str) -> None:
    results = {"kv": result(changed(ctp__studies=studies))}
    assert words in status_report.status_table(results, NOW)
