"""Every playbook that changes a machine holds it before its first change (decision 70)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PLAYBOOKS = sorted((REPOSITORY / "playbooks").glob("*.yml"))
LOCK = "auscat.imaging.machine_lock"
#: Tells on the controller which names nobody reads.
FIRST = "auscat.imaging.known_variables"
#: Only reads the inventory.
DECLARES = "auscat.imaging.services"
PREFLIGHT = "auscat.imaging.preflight"
#: What the head of a playbook says that changes no machine.
LOOKS = re.compile(r"changes? nothing|no machine (of the inventory )?is contacted", re.IGNORECASE)


def plays(playbook: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(playbook.read_text(encoding="utf-8"))
    return found


def holds(play: dict[str, Any]) -> bool:
    """Tell whether a play takes the lock before all else that it does on its machines."""
    tasks = [each for each in play.get("pre_tasks", []) if FIRST not in each]
    if tasks:
        return LOCK in tasks[0] and "always" in tasks[0]["tags"]
    roles = [each["role"] for each in play.get("roles", []) if each["role"] != DECLARES]
    return bool(roles) and roles[0] == PREFLIGHT


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_holds_its_machines_or_says_that_it_changes_nothing(playbook: Path) -> None:
    text = playbook.read_text(encoding="utf-8")
    head = " ".join(re.findall(r"^# ?(.*)", text.partition("\n- ")[0], re.MULTILINE))
    on_machines = [
        play for play in plays(playbook) if play.get("hosts", "localhost") != "localhost"
    ]
    if not on_machines or LOOKS.search(head):
        assert LOCK not in text
        return
    assert holds(on_machines[0]), (
        f"{playbook.name} does not begin with {LOCK} or the role preflight. One that changes "
        "no machine says so at its head: 'Changes nothing.'"
    )


@pytest.mark.parametrize(
    "play",
    [
        {"pre_tasks": [{FIRST: None}], "roles": [{"role": DECLARES}, {"role": "x.y.stack"}]},
        {"pre_tasks": [{"x.y.file": {}}, {LOCK: None, "tags": ["always"]}]},
        {"pre_tasks": [{LOCK: None, "tags": []}]},
        {"roles": [{"role": "x.y.stack"}, {"role": PREFLIGHT}]},
        {"tasks": [{LOCK: None}]},
    ],
)
def test_the_judge_of_this_test(play: dict[str, Any]) -> None:
    assert not holds(play)


def test_the_preflight_takes_it() -> None:
    action = (REPOSITORY / "plugins/action/preflight.py").read_text(encoding="utf-8")
    assert "machine_lock.settle(" in action


def test_what_the_status_reads_is_what_is_written() -> None:
    """The two programs on a machine share no file."""
    found = {}
    for name, file in (
        ("DIRECTORY", "backup/program/machine_lock.py"),
        ("LOCK", "status/node_status/collect.py"),
    ):
        text = (REPOSITORY / "plugins/module_utils" / file).read_text(encoding="utf-8")
        place = re.search(rf"^{name} = (.+)$", text, re.MULTILINE)
        silent = re.search(r"^SILENT_SECONDS = (.+)$", text, re.MULTILINE)
        assert place, file
        assert silent, file
        found[file] = (place[1], silent[1])
    assert len(set(found.values())) == 1, found
