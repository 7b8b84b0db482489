"""Repositories in an object store."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from shared.ctp_node import new_patient
from shared.documented import command
from shared.machines import Machine, Node, Scenario, wait_for
from shared.streams import Rest, Stream, arrived, ct_slices

PROGRAM = "/usr/local/lib/auscat/backup_run.py"
SETTINGS = "/etc/auscat/backup/settings.json"
PROXY = "bin/swift-proxy-server"


def run(node: Node, kind: str) -> dict[str, Any]:
    """Run the program as its timer does, and return its last line."""
    result = node.run("python3", PROGRAM, "backup", kind, check=False, timeout=600)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert (result.returncode == 0) == (not found["error"]), result
    return found


def test_both_machines_are_saved_there(
    scenario: Scenario, kv: Node, cat: Node, orthanc: Rest, load: Callable[..., None]
) -> None:
    patient = new_patient()
    load(patient)
    with Stream(kv, ct_slices(patient.patient_id, 20, side=64), senders=2) as stream:
        stream.wait(20)
    wait_for("they arrived", lambda: len(arrived(orthanc, patient.pseudonym)) == 20, 120)
    outcome = scenario.play(*command("docs/backup.md", "playbooks/backup.yml"))
    assert outcome.returncode == 0, outcome.errors
    for node, kind in ((kv, "identifiable"), (cat, "deidentified")):
        report = node.json("cat", f"/var/lib/auscat/backup/{kind}.json")
        assert report["ok"] and report["snapshot"] in outcome.text, report


def test_the_newest_backups_are_tried(scenario: Scenario) -> None:
    outcome = scenario.play("playbooks/backup_verify.yml")
    assert outcome.returncode == 0, outcome.errors
    assert "each with its MD5" in outcome.text
    assert "key pairs" in outcome.text


def test_the_store_shows_nothing_in_clear(store: Machine) -> None:
    assert int(store.shell("find /srv/swift -name '*.data' | wc -l")) > 10
    for mark in ("HOSP:", "Stream^Identifiable", "ANON-", "DICM"):
        found = store.run("grep", "-rlaF", mark, "/srv/swift", check=False)
        assert found.returncode == 1, f"{mark}: {found.stdout}"


def test_a_login_that_it_does_not_know_is_said(cat: Node) -> None:
    before = cat.output("cat", SETTINGS)
    document = json.loads(before)
    document["kinds"]["deidentified"]["environment"]["AWS_SECRET_ACCESS_KEY"] = "s3-wrong-secret"
    cat.run("tee", SETTINGS, stdin=json.dumps(document))
    try:
        error = run(cat, "deidentified")["error"]
    finally:
        cat.run("tee", SETTINGS, stdin=before)
    assert "does not accept backup_s3_access_key_id and backup_s3_secret_access_key" in error
    assert "s3-wrong-secret" not in error
    assert not run(cat, "deidentified")["error"]


def test_a_store_that_is_away_shows_as_a_failed_backup(
    scenario: Scenario, cat: Node, store: Machine
) -> None:
    # Stopped and not killed: a connection then waits, as behind a firewall.
    store.run("pkill", "--signal", "STOP", "--full", PROXY)
    try:
        error = run(cat, "deidentified")["error"]
    finally:
        store.run("pkill", "--signal", "CONT", "--full", PROXY)
    assert "The repository cannot be reached" in error
    shown = scenario.play("playbooks/status.yml")
    assert "backup_failed (deidentified)" in shown.text
    assert not run(cat, "deidentified")["error"]
    shown = scenario.play("playbooks/status.yml")
    assert "backup_failed" not in shown.text
