"""What a run keeps, chooses and says: times, shares, the turn, stock CTP, the last lines."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from tools.testrun import plan, report, spans
from tools.testrun.distribution import Distribution, DistributionError, find, find_viewer
from tools.testrun.history import History, next_in_turn
from tools.testrun.jobs import Job, Result
from tools.testrun.scenarios import LONG, REPOSITORY, STOCK_CTP, USUAL

# --- Shares -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("INFO     volume ➜ verify: Executing\n", "verify"),
        (
            "\x1b[36mINFO    \x1b[0m \x1b[32mvolume\x1b[0m ➜ \x1b[33mcreate\x1b[0m: Executing",
            "create",
        ),
        ("INFO     volume ➜ verify: Executing Testinfra tests found in tests/...", None),
        ("INFO     volume ➜ create: Executed: Successful", None),
        ("TASK [Executing]", None),
    ],
)
def test_stages_are_recognised(line: str, stage: str | None) -> None:
    assert spans.stage_of(line) == stage


def test_time_is_divided(tmp_path: Path) -> None:
    stages = [("create", 110.0), ("verify", 200.0), ("destroy", 300.0)]
    times = tmp_path / "times"
    noted = [
        ("waiting", 205, 215),
        # Within another, and in two threads at once: counted once.
        ("waiting", 206, 210),
        ("deploying", 220, 260),
        ("waiting", 250, 270),
    ]
    lines = [json.dumps({"kind": kind, "start": a, "end": b}) for kind, a, b in noted]
    times.write_text("\n".join([*lines, '{"kind": "wai']))
    shares = spans.shares(stages, 100.0, 320.0, times)
    # 100 of 220 s are verify: 40 play, 10 + 10 wait beside that.
    assert shares == spans.Shares(deploying=160.0, waiting=20.0, asserting=40.0)


def test_a_step_without_stages_has_no_shares(tmp_path: Path) -> None:
    assert spans.shares([], 0.0, 9.0, tmp_path / "none") is None


# --- Times of earlier runs ------------------------------------------------------------------------


def test_a_failed_step_keeps_the_time_of_the_one_that_passed(tmp_path: Path) -> None:
    history = History(tmp_path / "cache" / "times.json")
    history.note("a", 12.34, passed=True)
    history.note("a", 1.0, passed=False)
    history.note("b", 1.0, passed=False)
    history.write()
    again = History(tmp_path / "cache" / "times.json")
    assert again.seconds("a") == 12.3
    assert again.seconds("b") == again.seconds("never") == 0
    assert again.entries["b"].ended > 0


def test_a_broken_file_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "times.json").write_text('{"a": ')
    assert not History(tmp_path / "times.json").entries


def test_the_one_that_ran_longest_ago_is_next() -> None:
    assert next_in_turn(["a", "b", "c"], {"a": 30.0, "b": 10.0, "c": 20.0}, "tie") == "b"


def test_one_that_never_ran_comes_before_all() -> None:
    assert next_in_turn(["a", "b"], {"a": 1.0}, "tie") == "b"


def test_commits_decide_between_equals() -> None:
    chosen = {next_in_turn(["a", "b", "c"], {}, f"commit {number}") for number in range(50)}
    assert chosen == {"a", "b", "c"}


# --- Stock CTP ------------------------------------------------------------------------------------


def directory_with_ctp(path: Path) -> Path:
    (path / "CTP" / "libraries").mkdir(parents=True)
    (path / "CTP" / "libraries" / "CTP.jar").touch()
    return path


def archive_with_ctp(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("CTP/libraries/CTP.jar", "")
    return path


def test_a_named_distribution_counts(tmp_path: Path) -> None:
    named = directory_with_ctp(tmp_path / "named")
    directory_with_ctp(tmp_path / "auscat-imaging" / "ctp")
    found = find({"CTP_DISTRIBUTION": str(named), "XDG_CACHE_HOME": str(tmp_path)})
    assert found.path == named


@pytest.mark.parametrize("kind", ["directory", "installer"])
def test_else_the_one_in_the_cache(tmp_path: Path, kind: str) -> None:
    place = tmp_path / ".cache" / "auscat-imaging" / "ctp"
    expected = (
        directory_with_ctp(place)
        if kind == "directory"
        else archive_with_ctp(place / "CTP-installer.jar")
    )
    assert find({"HOME": str(tmp_path)}).path == expected


def test_none_is_said(tmp_path: Path) -> None:
    found = find({"XDG_CACHE_HOME": str(tmp_path)})
    assert found.path is None
    assert str(tmp_path / "auscat-imaging" / "ctp") in found.where


@pytest.mark.parametrize("content", [None, "text"])
def test_a_name_of_nothing_usable_is_an_error(tmp_path: Path, content: str | None) -> None:
    named = tmp_path / "CTP-installer.jar"
    if content:
        named.write_text(content)
    with pytest.raises(DistributionError) as error:
        find({"CTP_DISTRIBUTION": str(named), "XDG_CACHE_HOME": str(tmp_path)})
    for part in ("CTP_DISTRIBUTION", str(named), "Accepted", "docs/ctp.md"):
        assert part in str(error.value)


def test_several_or_broken_ones_in_the_cache_are_an_error(tmp_path: Path) -> None:
    place = tmp_path / "auscat-imaging" / "ctp"
    archive_with_ctp(place / "a.jar")
    archive_with_ctp(place / "b.zip")
    with pytest.raises(DistributionError, match="holds 2 distributions"):
        find({"XDG_CACHE_HOME": str(tmp_path)})
    (place / "a.jar").unlink()
    (place / "b.zip").write_text("broken")
    with pytest.raises(DistributionError, match="holds 0 distributions"):
        find({"XDG_CACHE_HOME": str(tmp_path)})


# --- What runs, and what is said of it ------------------------------------------------------------

STOCK = Distribution(Path("/somewhere/ctp"), "found in the cache")
NO_STOCK = Distribution(None, "nothing is there")


def no_turn() -> str:
    raise AssertionError("outside CI nothing is in turn")


def test_usual_ones_run_and_stock_ctp_where_it_is() -> None:
    assert plan.make(plan.Request(), NO_STOCK, no_turn).scenarios == [*USUAL]
    assert plan.make(plan.Request(), STOCK, no_turn).scenarios == [*USUAL, *STOCK_CTP]


def test_all_runs_all() -> None:
    made = plan.make(plan.Request(every=True), STOCK, no_turn)
    assert made.scenarios == [*USUAL, *STOCK_CTP, *LONG]
    assert not [line for line in made.facts() if "NOT" in line]


def test_ci_runs_one_long_scenario_in_turn() -> None:
    made = plan.make(plan.Request(ci=True), STOCK, lambda: "vm")
    assert made.scenarios == [*USUAL, *STOCK_CTP, "vm"]
    text = "\n".join(made.facts())
    assert "Long scenarios tested: vm (vm in turn" in text
    assert f"NOT tested: {next(iter(LONG))}" in text


def test_whether_stock_ctp_is_tested_is_said_before_and_after() -> None:
    made = plan.make(plan.Request(), STOCK, no_turn)
    assert "Stock CTP is tested: /somewhere/ctp" in made.facts()[0]
    assert "Stock CTP was tested: /somewhere/ctp" in made.facts(["rsna_ctp"])[0]
    assert "Stock CTP was NOT tested: scenario rsna_ctp did not run" in made.facts(["default"])[0]
    without = plan.make(plan.Request(), NO_STOCK, no_turn)
    assert "Stock CTP is NOT tested: nothing is there" in without.facts()[0]


def test_whether_the_viewer_is_tested_is_said_before_and_after() -> None:
    made = plan.make(plan.Request(), STOCK, no_turn)
    made.viewer = Distribution(Path("/somewhere/ohif.tgz"), "found in the cache")
    assert "The viewer is tested: /somewhere/ohif.tgz (scenario clients)." in made.facts()
    assert "The viewer was tested: /somewhere/ohif.tgz (scenario clients)." in made.facts(
        ["clients"]
    )
    assert "viewer was NOT tested: scenario clients did not run" in "\n".join(made.facts([]))
    made.viewer = Distribution(None, "nothing is there")
    assert "The viewer is NOT tested: nothing is there" in "\n".join(made.facts())


def test_the_viewer_is_found_in_the_cache_or_by_its_name(tmp_path: Path) -> None:
    cached = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "XDG_CACHE_HOME": str(tmp_path)}
    assert find_viewer(cached).path is None
    version = next(
        line.rpartition("@")[2]
        for line in (REPOSITORY / "images/front_ohif/image.yml").read_text().splitlines()
        if "npm pack" in line
    )
    archive = tmp_path / "auscat-imaging" / "ohif" / f"ohif-app-{version}.tgz"
    archive.parent.mkdir(parents=True)
    archive.touch()
    assert find_viewer(cached) == Distribution(archive, "found in the cache")
    named = {**cached, "OHIF_ARCHIVE": str(archive)}
    assert find_viewer(named) == Distribution(archive, "named by OHIF_ARCHIVE")
    with pytest.raises(DistributionError, match="OHIF_ARCHIVE is /nowhere/"):
        find_viewer({**cached, "OHIF_ARCHIVE": "/nowhere/ohif.tgz"})


def test_a_change_says_what_it_leaves_out() -> None:
    request = plan.Request(changed={"roles/upgrade/tasks/main.yml"}, since="0123456789abcdef")
    made = plan.make(request, NO_STOCK, no_turn)
    assert made.scenarios == ["upgrade"] and made.style and made.units
    text = "\n".join(made.facts())
    assert "1 files since 0123456789ab needs: upgrade (roles/upgrade/tasks/main.yml)" in text
    assert "Left out: scenario default: nothing that it is made of has changed." in text


def test_no_change_needs_nothing() -> None:
    made = plan.make(plan.Request(changed=set(), since="0123"), STOCK, no_turn)
    assert not made.scenarios and not made.style and not made.units


def test_a_change_without_stock_ctp_says_why_its_scenario_is_left_out() -> None:
    request = plan.Request(changed={"molecule/rsna_ctp/molecule.yml"}, since="0123")
    made = plan.make(request, NO_STOCK, no_turn)
    assert "rsna_ctp" not in made.scenarios
    assert "nothing is there" in made.left_out["scenario rsna_ctp"]


def test_the_table_has_the_slowest_first_and_the_run_before() -> None:
    results = [
        Result(Job("quick", ()), "passed", 3.0),
        Result(Job("slow", ()), "FAILED", 200.0, spans.Shares(100.0, 50.0, 50.0)),
        Result(Job("never", ()), "NOT STARTED", note="needs: slow"),
    ]
    lines = report.table(results, {"quick": 65.0}).splitlines()
    assert [line.split()[-1] for line in lines] == ["step", "slow", "quick", "slow)"]
    assert lines[1].split() == ["3:20", "-", "50", "%", "25", "%", "25", "%", "FAILED", "slow"]
    assert lines[2].split() == ["0:03", "1:05", "passed", "quick"]
    assert report.counts(results) == "1 passed, 2 failed"


def test_what_an_interrupted_step_leaves_is_said() -> None:
    ended = Result(Job("Scenario a", (), remedy="molecule destroy -s a"), "ENDED")
    assert "molecule destroy -s a" in report.left_behind([ended])[0]
