"""Every scenario says where it belongs, and the table of inputs knows what it uses."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tools.testrun import scenarios  # noqa: E402

DIRECTORIES = {file.parent.name: file.parent for file in REPOSITORY.glob("molecule/*/molecule.yml")}


def test_every_scenario_has_its_place() -> None:
    placed = [*scenarios.USUAL, *scenarios.STOCK_CTP, *scenarios.LONG]
    assert sorted(placed) == sorted(DIRECTORIES), (
        "tools/testrun/scenarios.py places each scenario once: USUAL, STOCK_CTP or LONG"
    )


def test_the_page_has_one_row_for_each_scenario() -> None:
    page = (REPOSITORY / "molecule/README.md").read_text()
    table = page.partition("| Scenario |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(DIRECTORIES)


def test_the_table_names_scenarios_that_exist() -> None:
    named = {name for _, names in scenarios.INPUTS for name in names}
    assert named <= set(DIRECTORIES)


@pytest.mark.parametrize("name", sorted(DIRECTORIES))
def test_a_playbook_that_a_scenario_names_concerns_it(name: str) -> None:
    directory = DIRECTORIES[name]
    own = {name: scenarios.own_paths(directory)}
    texts = [
        file.read_text()
        for root in own[name]
        for file in [REPOSITORY / root, *(REPOSITORY / root).rglob("*")]
        if file.suffix in (".py", ".yml") and file.is_file()
    ]
    used = {path for text in texts for path in re.findall(r"playbooks/\w+\.yml", text)}
    used |= {
        path
        for text in texts
        for path in re.findall(r"(?:tools|tests/hosts|tests/marks)/[\w/]+\.(?:py|sh)", text)
        if (REPOSITORY / path).exists()
    }
    missing = {path for path in used if name not in scenarios.concerned(path, own)[0]}
    assert not missing, f"INPUTS of tools/testrun/scenarios.py leaves {name} out for {missing}"


@pytest.mark.parametrize("name", sorted(DIRECTORIES))
def test_hosts_of_a_scenario_are_known(name: str) -> None:
    """Only the virtual machine has none: two scenarios whose hosts are unknown could meet."""
    assert scenarios.networks(DIRECTORIES[name]) or name == "vm"
