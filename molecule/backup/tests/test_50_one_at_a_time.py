"""Nothing changes a machine while something else does: playbooks and timers, in pairs, for real."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shared.machines import REPOSITORY, Node, Scenario, wait_for

PROGRAM = "/usr/local/lib/auscat/backup_run.py"
RECORD = "/run/auscat-lock/record.json"
UNIT = "auscat-backup-identifiable.service"
STATE = "/var/lib/auscat/backup/identifiable.json"


def held(node: Node) -> dict[str, Any]:
    """The record of whoever holds the machine; empty where nobody does."""
    shown = node.run("cat", RECORD, check=False)
    found: dict[str, Any] = json.loads(shown.stdout) if shown.returncode == 0 else {}
    return found


def wait_until_free(node: Node, seconds: float = 60) -> None:
    wait_for("the machine is free", lambda: not held(node), seconds)


@contextmanager
def under_way(
    scenario: Scenario, node: Node, playbook: str, **extra: Any
) -> Iterator[subprocess.Popen[str]]:
    """A playbook that holds the machine, in a session of its own. It is killed at the end."""
    with subprocess.Popen(
        ["ansible-playbook", "--inventory", str(scenario.inventory), playbook]
        + ["--extra-vars", json.dumps(extra)],
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        try:
            wait_for(
                f"{playbook} holds {node.name}",
                lambda: process.poll() is not None or held(node).get("what") == playbook,
                120,
            )
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def ended(process: subprocess.Popen[str], seconds: float = 600) -> str:
    """Wait for the end of a playbook that has to succeed, and return what it printed."""
    printed, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, printed[-3000:]
    return printed


def refused(scenario: Scenario, playbook: str, *arguments: str, **extra: Any) -> str:
    """Run a playbook that has to find the machine held; return what it says."""
    outcome = scenario.play(playbook, *arguments, extra=extra)
    assert outcome.returncode != 0, outcome.text[-2000:]
    print(outcome.errors)
    assert outcome.changed == 0, outcome.changed_tasks
    return outcome.errors


def test_two_sites_with_different_inventories(
    scenario: Scenario, node: Node, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(scenario.inventory, other / "inventory")
    wait_until_free(node)
    with under_way(scenario, node, "playbooks/site.yml") as first:
        said = refused(Scenario(other), "playbooks/site.yml", orthanc_memory_mib=1500)
        assert "node is being changed by playbooks/site.yml, started by " in said
        assert f"with the inventory {scenario.inventory}, last heard of " in said
        assert f"{held(node)['since']} UTC" in said
        assert "-e break_lock=node" in said
        assert "Nothing was changed on node." in said
        # A look is free, and so is a check.
        assert "playbooks/site.yml, by " in scenario.play("playbooks/status.yml").text
        assert not scenario.play("playbooks/backup.yml", "--check").returncode
        ended(first)
    wait_until_free(node)


def test_a_playbook_that_fails_or_is_killed_holds_nothing(scenario: Scenario, node: Node) -> None:
    outcome = scenario.play("playbooks/load_keys.yml", extra={"keys_file": "/nowhere.csv"})
    assert "/nowhere.csv" in outcome.errors
    wait_until_free(node)
    with under_way(scenario, node, "playbooks/site.yml") as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # It waits for the task that was under way, and for nothing else.
        assert not scenario.play("playbooks/verify.yml").returncode
    wait_until_free(node)


def test_a_timer_waits_for_an_upgrade(scenario: Scenario, node: Node) -> None:
    with under_way(scenario, node, "playbooks/upgrade.yml", orthanc_memory_mib=1500) as upgrade:
        node.run("systemctl", "start", "--no-block", UNIT)
        journal = ("journalctl", "--unit", UNIT, "--output=cat", "--no-pager", "--lines=20")
        wait_for(
            "the timer's backup says what it waits for",
            lambda: "waiting for playbooks/upgrade.yml, started by" in node.output(*journal),
        )
        ended(upgrade)
        over = node.output("date", "--utc", "+%Y-%m-%dT%H:%M:%SZ")
    wait_for(
        "the backup has ended",
        lambda: (
            node.output("systemctl", "show", "--value", "--property=ActiveState", UNIT)
            == "inactive"
        ),
        300,
    )
    state = node.json("cat", STATE)
    assert state["ok"], state
    assert state["finished"] >= over
    wait_until_free(node)


def test_an_upgrade_is_refused_in_the_midst_of_a_backup(scenario: Scenario, node: Node) -> None:
    hold = (
        "import sys; sys.path.insert(0, '/usr/local/lib/auscat')\n"
        "from backup_program import cli\n"
        "with cli.locked('backup deidentified', 0):\n    print('held', flush=True); input()\n"
    )
    with subprocess.Popen(
        ["docker", "exec", "--interactive", node.container, "python3", "-c", hold],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        said = refused(scenario, "playbooks/upgrade.yml", orthanc_memory_mib=1300)
        assert "node is being changed by backup deidentified, started by root on " in said
        assert "systemctl stop 'auscat-backup-*.service' on node" in said
        # Patients may be loaded while studies are copied.
        outcome = scenario.play("playbooks/release_quarantine.yml")
        assert outcome.returncode == 0, outcome.errors
        assert held(node)["what"] == "backup deidentified"
        # Another one by hand waits no longer than it was told to, and the status tells that.
        result = node.run("python3", PROGRAM, "backup", "identifiable", "--wait=1", check=False)
        assert "by backup deidentified, started by root" in result.stdout
        assert not node.json("cat", STATE)["ok"]
        # Killed, it holds nothing any more.
        process.kill()
        node.shell("kill -9 $(pgrep -f 'from backup_program' | tr '\\n' ' ')", check=False)
    assert not json.loads(node.output("python3", PROGRAM, "backup", "identifiable"))["error"]


def test_a_rotation_beside_a_restore(scenario: Scenario, node: Node) -> None:
    assert not json.loads(node.output("python3", PROGRAM, "backup", "deidentified"))["error"]
    with under_way(scenario, node, "playbooks/restore.yml", restore_replace="node") as restore:
        at_work = wait_for(
            "the restore works on the machine",
            lambda: restore.poll() is not None or held(node).get("processes"),
            300,
        )
        assert at_work, restore
        assert restore.poll() is None
        said = refused(scenario, "playbooks/rotate_secrets.yml")
        assert "node is being changed by playbooks/restore.yml" in said
        printed = ended(restore)
        assert "key pairs" in printed
    node.wait_until_healthy(len(node.services()))
    wait_until_free(node)


def test_a_broken_lock_says_what_it_risks(scenario: Scenario, node: Node) -> None:
    # As a controller leaves it that lost its power.
    record = {
        "run": "0123456789abx7x42",
        "what": "playbooks/site.yml",
        "who": "anna@elsewhere",
        "kind": "change",
        "since": "2026-01-31 18:00:00",
        "inventory": "/home/anna/inventories/production",
        "processes": [],
    }
    take = (
        "import json, sys; sys.path.insert(0, '/usr/local/lib/auscat')\n"
        "from backup_program import machine_lock\n"
        "machine_lock.take(json.loads(sys.argv[1]))\n"
    )
    node.run("python3", "-c", take, json.dumps(record))
    said = refused(scenario, "playbooks/verify.yml")
    assert "started by anna@elsewhere on 2026-01-31 18:00:00 UTC" in said
    assert "What still works of that run then works beside yours" in said
    outcome = scenario.play("playbooks/verify.yml", extra={"break_lock": "node"})
    assert outcome.returncode == 0, outcome.errors
    assert "It was broken. What still works of that run works beside this one." in outcome.text
    wait_until_free(node)
    # The same, five minutes later.
    node.run("python3", "-c", take, json.dumps(record))
    node.shell("echo $(($(cut -d . -f 1 /proc/uptime) - 301)) > /run/auscat-lock/heard")
    outcome = scenario.play("playbooks/verify.yml")
    assert outcome.returncode == 0, outcome.errors
    assert "which ended without a word" in outcome.text
    wait_until_free(node)
