"""What the proof does once it is known that its study cannot arrive: it sends nothing."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
ROLE = REPOSITORY / "roles" / "verify"


def row(check: str, passed: bool) -> dict[str, Any]:
    """One row of the proof, as its modules return them."""
    return {"check": check, "where": "kv", "passed": passed, "detail": "", "remedy": ""}


TAKEN = {"checks": [row("KeyDB takes the proof's patient", True)]}
REFUSED = {"checks": [row("KeyDB takes the proof's patient", False)]}
READ = {"checks": [row("CTP's lookup table follows KeyDB", True)]}
NOT_READ = {"checks": [row("CTP's lookup table follows KeyDB", False)]}
SKIPPED = {"skipped": True}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Let Ansible evaluate the variables on two machines: name of the case to the failed rows."""
    kv_and_cat = {
        "all is well": (TAKEN, READ),
        "refused": (REFUSED, SKIPPED),
        "not read": (TAKEN, NOT_READ),
        "each lookup asks": (TAKEN, {"checks": []}),
        "not asked yet": ({}, {}),
    }
    tasks: list[dict[str, Any]] = []
    for name, (patient, table) in kv_and_cat.items():
        # As the role's tasks register them: each on the machine of its service, skipped elsewhere.
        here = "inventory_hostname == 'kv'"
        facts = {
            "__verify_patient": f"{{{{ {json.dumps(patient)} if {here} else {SKIPPED} }}}}",
            "__verify_table": f"{{{{ {SKIPPED} if {here} else {json.dumps(table)} }}}}",
        }
        # "true" of JSON is also Jinja's.
        tasks.append({"name": f"Register: {name}", "ansible.builtin.set_fact": facts})
        shown = "{{ __verify_obstacles | map(attribute='check') | join() }}"
        tasks.append({"name": name, "ansible.builtin.debug": {"msg": shown}})
    play = {
        "hosts": "all",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(ROLE / "vars" / "main.yml")],
        "tasks": tasks,
    }
    file = tmp_path_factory.mktemp("play") / "play.yml"
    file.write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        ["ansible-playbook", "--inventory=kv,cat,", str(file)],
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers: dict[str, str] = {}
    for task in json.loads(done.stdout)["plays"][0]["tasks"]:
        found = {result.get("msg") for result in task["hosts"].values()}
        if task["task"]["name"] in kv_and_cat:
            (answers[task["task"]["name"]],) = found  # both machines say the same
    return answers


@pytest.mark.parametrize(
    ("case", "obstacle"),
    [
        ("all is well", ""),
        ("refused", "KeyDB takes the proof's patient"),
        ("not read", "CTP's lookup table follows KeyDB"),
        ("each lookup asks", ""),
        ("not asked yet", ""),
    ],
)
def test_obstacles(judged: dict[str, str], case: str, obstacle: str) -> None:
    assert judged[case] == obstacle


def test_no_task_sends_or_waits_in_vain() -> None:
    (block,) = (
        task["block"]
        for task in yaml.safe_load((ROLE / "tasks" / "main.yml").read_text())
        if task["name"] == "Prove the node"
    )
    entered = [task["name"] for task in block].index("Add the proof's patient to KeyDB")
    assert len(block) > entered + 3
    for task in block[entered + 1 :]:
        assert "__verify_obstacles | length == 0" in task["when"], task["name"]
