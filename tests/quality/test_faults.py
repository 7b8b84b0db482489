"""The list of faults, what the first line of a diagnosis said of each, and the page agree."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "molecule")]

from shared import diagnoses  # noqa: E402
from shared.diagnoses import first_line, merged, tried  # noqa: E402
from shared.known_faults import FAULTS, RESILIENCE, Asked, Site, inventory, of  # noqa: E402
from shared.machines import Scenario  # noqa: E402

from tools import faults_table  # noqa: E402

NAMES = [each.name for each in FAULTS]
SAID = {each.name: f"What {each.name} is | of" for each in FAULTS}
PAGE = "# Page\n\n## The tree\n\ntext\n\n## It changes nothing\n\nmore\n"


def test_the_page_and_the_list_have_what_was_said() -> None:
    """A fault of the list without a row fails here, once its scenario has noted any."""
    program = REPOSITORY / "tools/faults_table.py"
    done = subprocess.run(
        [sys.executable, str(program), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_each_fault_has_a_name_and_a_title_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES) > 30
    assert len({each.title for each in FAULTS}) == len(NAMES)
    for each in FAULTS:
        assert not re.match(each.first, ""), each.name
        assert (REPOSITORY / "molecule" / each.scenario / "molecule.yml").is_file()


def test_each_scenario_with_faults_tries_them() -> None:
    for scenario in {each.scenario for each in FAULTS}:
        tests = [file.read_text() for file in (REPOSITORY / f"molecule/{scenario}/tests").glob("*")
                 if file.suffix == ".py"]  # fmt: skip
        assert any(f'HERE = "{scenario}"' in text and "of(HERE)" in text for text in tests)


def test_each_case_of_the_scenario_resilience_is_among_them() -> None:
    text = (REPOSITORY / "molecule/resilience/tests/faults_here.py").read_text()
    cases = re.findall(r'Case\(\s*"(\w+)"', text)
    assert len(cases) > 15
    assert sorted(RESILIENCE) == sorted(cases)
    assert {name for name in RESILIENCE.values() if name} <= set(NAMES)


def test_the_table_has_a_row_for_each() -> None:
    text = faults_table.page(PAGE, FAULTS, SAID)
    for each in FAULTS:
        row = f"| {each.title} | `{each.scenario}` | What {each.name} is \\| of |"
        assert text.count(f"\n{row}\n") == 1
    assert text.index("## What was tried") < text.index("## It changes nothing")
    # Written again it is the same, and without a record it is gone.
    assert faults_table.page(text, FAULTS, SAID) == text
    assert faults_table.page(text, FAULTS, {}) == PAGE
    with pytest.raises(ValueError, match="no heading"):
        faults_table.page("# Another page\n", FAULTS, SAID)


def test_what_does_not_agree_is_named() -> None:
    assert faults_table.problems(FAULTS, {}) == []
    some = {"ctp_stopped": "CTP was stopped on node: its service is scaled to 0.", "gone": "x"}
    found = faults_table.problems(FAULTS, some)
    assert len(found) == len(of("troubleshoot"))
    assert "engine_down has no row: run molecule test -s troubleshoot" in found
    assert "gone is in the record and not in the list" in found
    (other,) = faults_table.problems(FAULTS[:1], {"ctp_stopped": "KeyDB was stopped."})
    assert other == "ctp_stopped: the first line names another cause: KeyDB was stopped."


def test_a_line_that_differs_in_numbers_alone_stays() -> None:
    before = {"clock": "3 hours ahead", "ctp_disk": "has 30 MiB left", "gone": "x"}
    rows = {"ctp_stopped": "new", "ctp_disk": "has 29 MiB left", "clock": "3 hours behind"}
    assert list(merged(before, rows).items()) == [
        ("ctp_stopped", "new"),
        ("ctp_disk", "has 30 MiB left"),
        ("clock", "3 hours behind"),
    ]


def test_the_first_line_is_what_stands_behind_the_first_number() -> None:
    said = "Diagnosis, what to fix first at the top: 1. One, 2. of 3 -> Do it. 2. Two -> Do that."
    assert first_line(said) == "One, 2. of 3"
    assert first_line("Diagnosis: nothing wrong found. What was checked is listed above.") == ""


def test_a_record_of_some_faults_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnoses, "RECORD", tmp_path / "known_faults.json")
    monkeypatch.setattr(faults_table, "PAGE", tmp_path / "page.md")
    faults_table.PAGE.write_text(PAGE)
    with pytest.raises(ValueError, match="not tried: firewalld"):
        diagnoses.record("two_vm", {"ufw": "x"})
    assert diagnoses.recorded() == {}
    diagnoses.record("two_vm", {"ufw": "x", "firewalld": "y"})
    assert diagnoses.recorded() == {"ufw": "x", "firewalld": "y"}
    assert "| firewalld lacks a rule | `two_vm` | y |" in faults_table.PAGE.read_text()


def test_where_something_is_wrong_the_playbook_ends_with_an_error(tmp_path: Path) -> None:
    """Of a machine that is away, which needs none: the exit code, and what is repeated."""

    @contextlib.contextmanager
    def happens(site: Site) -> Iterator[Asked]:
        away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.9", "ansible_port": 1}
        yield inventory(site, **away, auscat_address="127.0.0.9")

    scenario = Scenario(REPOSITORY / "molecule/troubleshoot")
    (fault,) = [each for each in FAULTS if each.name == "machine_away"]
    site = Site(scenario, scenario.node("node"), tmp_path)
    assert tried(replace(fault, happens=happens), site) == (
        "The machine node cannot be reached from here; nothing on it could be checked."
    )
