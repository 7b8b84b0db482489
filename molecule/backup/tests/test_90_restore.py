"""The machine is destroyed, and the node restored on an empty one. Last: there is no way back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from shared.ctp_node import Patient, new_patient, status
from shared.documented import command
from shared.faults import reboot
from shared.machines import Node, Scenario, wait_for
from shared.saved import pairs, verified
from shared.streams import Rest, Stream, arrived, ct_slices, page

PROGRAM = "/usr/local/lib/auscat/backup_run.py"
OBJECTS = 6


class Kept:
    """What was in the node when it was saved."""

    before: Patient
    queued: Patient
    unknown: Patient
    streaming: Patient
    acknowledged: frozenset[int]
    hashes: dict[str, str]
    pairs: str
    unknown_uids: frozenset[str]
    uid_key: str
    statistics: dict[str, int]


def send(node: Node, patient: Patient, count: int = OBJECTS) -> Stream:
    with Stream(node, ct_slices(patient.patient_id, count, side=64), senders=2) as stream:
        stream.wait(count)
    return stream


@pytest.fixture(scope="module")
def spare(scenario: Scenario) -> Node:
    """The empty machine, as what the inventory's `node` is to become."""
    there = scenario.client("spare")
    return Node("node", there.container, there.address, scenario.node("node").variables)


@pytest.fixture(scope="module")
def restored(scenario: Scenario, spare: Node) -> Callable[..., Any]:
    def play(arguments: Sequence[str] = (), **extra: Any) -> Any:
        extra = {"ansible_host": spare.container, **extra}
        documented = command("docs/backup.md", "playbooks/restore.yml")
        return scenario.play(*documented, *arguments, extra=extra)

    return play


def test_a_node_with_data_is_refused(scenario: Scenario, node: Node) -> None:
    before = node.fingerprint()
    outcome = scenario.play("playbooks/restore.yml")
    assert outcome.returncode != 0
    assert "There is data on node" in outcome.errors
    assert "-e restore_replace=node" in outcome.errors
    assert node.fingerprint() == before


def test_the_node_is_saved_with_a_quarantine_and_a_queue_while_it_receives(
    scenario: Scenario, node: Node, orthanc: Rest, ctp: Rest, load: Callable[..., None]
) -> None:
    kept = Kept
    kept.before, kept.queued, kept.unknown, kept.streaming = (new_patient() for _ in range(4))
    load(kept.before, kept.queued, kept.streaming)
    send(node, kept.before)
    held = send(node, kept.unknown)
    kept.unknown_uids = frozenset(str(image.SOPInstanceUID) for image in held.objects)
    wait_for("it arrived", lambda: len(arrived(orthanc, kept.before.pseudonym)) == OBJECTS, 120)
    wait_for(
        "the unknown patient is in quarantine",
        lambda: kept.unknown_uids <= {q["sop_instance_uid"] for q in status(ctp)["quarantine"]},
        120,
    )
    wait_for("nothing is under way", lambda: status(ctp)["queued"] == 0, 120)
    kept.hashes = verified(orthanc)
    kept.statistics = orthanc.ask("/statistics")
    kept.pairs = pairs(node)
    kept.uid_key = node.output("sha256sum", "/srv/auscat/ctp/temp/uid.key").split()[0]

    node.run("docker", "service", "scale", "--detach", "auscat_orthanc=0")
    wait_for("Orthanc is away", lambda: not node.tasks("auscat_orthanc"), 120)
    send(node, kept.queued)
    wait_for("they are queued", lambda: status(ctp)["queued"] >= OBJECTS, 60)
    slices = ct_slices(kept.streaming.patient_id, 2000, side=64)
    with Stream(node, slices, senders=4) as stream:
        stream.wait(50)
        kept.acknowledged = frozenset(stream.acknowledged)
        result = node.run("python3", PROGRAM, "backup", "identifiable", timeout=600)
        assert len(stream.acknowledged) > len(kept.acknowledged), "nothing came in meanwhile"
    assert '"error": null' in result.stdout
    result = node.run("python3", PROGRAM, "backup", "deidentified", timeout=600)
    assert '"error": null' in result.stdout


def test_the_machine_is_destroyed_and_the_node_restored_on_an_empty_one(
    node: Node, spare: Node, restored: Callable[..., Any]
) -> None:
    subprocess.run(
        ["docker", "rm", "--force", "--volumes", node.container], check=True, capture_output=True
    )
    assert spare.run("which", "docker", check=False).returncode != 0
    outcome = restored()
    assert outcome.returncode == 0, outcome.errors
    tables = [str(result.get("msg", "")) for _, result in outcome.results]
    (table,) = (text for text in tables if "found by the images themselves" in text)
    print(table)
    saved = Kept.statistics
    assert (
        f"{saved['CountStudies']} studies, {saved['CountInstances']} objects, each with its MD5"
        in table
    )
    assert "key pairs" in table
    spare.wait_until_healthy(len(spare.services()))


@pytest.fixture(scope="module")
def new_orthanc(spare: Node) -> Rest:
    return page(spare, 8042, "admin", spare.variables["orthanc_registered_users"]["admin"])


@pytest.fixture(scope="module")
def new_ctp(spare: Node) -> Rest:
    return page(spare, 9090, "admin", spare.variables["ctp_admin_password"])


def test_every_study_is_there_with_its_md5_by_orthancs_own_check(new_orthanc: Rest) -> None:
    assert Kept.hashes.items() <= verified(new_orthanc).items()


def test_every_key_pair_and_the_key_of_the_uids_are_there(spare: Node) -> None:
    assert set(Kept.pairs.splitlines()) <= set(pairs(spare).splitlines())
    found = spare.output("sha256sum", "/srv/auscat/ctp/temp/uid.key").split()[0]
    assert found == Kept.uid_key


def test_the_quarantine_is_there_and_the_queue_is_delivered(
    new_orthanc: Rest, new_ctp: Rest
) -> None:
    held = {each["sop_instance_uid"] for each in status(new_ctp)["quarantine"]}
    assert held >= Kept.unknown_uids
    wait_for(
        "what was queued is delivered",
        lambda: set(arrived(new_orthanc, Kept.queued.pseudonym)) == set(range(1, OBJECTS + 1)),
        180,
    )
    wait_for("nothing is under way", lambda: status(new_ctp)["queued"] == 0, 300)
    there = arrived(new_orthanc, Kept.streaming.pseudonym)
    lacking = Kept.acknowledged - set(there)
    print(f"{len(Kept.acknowledged)} acknowledged before the backup, {len(there)} arrived")
    assert not lacking
    assert set(there.values()) == {1}


def test_the_next_study_of_an_old_patient_gets_the_old_pseudonym(
    spare: Node, new_orthanc: Rest
) -> None:
    count = len(arrived(new_orthanc, Kept.before.pseudonym))
    send(spare, Kept.before, 3)
    wait_for(
        "the next study is under the old pseudonym",
        lambda: sum(arrived(new_orthanc, Kept.before.pseudonym).values()) == OBJECTS + 3,
        120,
    )
    assert count == OBJECTS


def test_nothing_of_the_restore_is_left_and_backups_go_on(spare: Node) -> None:
    left = spare.output("find", "/srv/auscat", "-maxdepth", "3", "-name", ".auscat-*")
    assert left == ""
    spare.run("systemctl", "is-active", "--quiet", "auscat-backup-identifiable.timer")
    for kind in ("identifiable", "deidentified"):
        result = spare.run("python3", PROGRAM, "backup", kind, timeout=600)
        assert '"error": null' in result.stdout


def test_what_is_there_is_put_aside_only_for_a_word_that_names_the_machine(
    spare: Node, restored: Callable[..., Any], new_orthanc: Rest
) -> None:
    refused = restored(restore_replace="other")
    assert refused.returncode != 0
    assert "There is data on node" in refused.errors
    outcome = restored(restore_replace="node", restore_kinds=["deidentified"], verify_enabled=False)
    assert outcome.returncode == 0, outcome.errors
    assert Kept.hashes.items() <= verified(new_orthanc).items()
    aside = spare.output("find", "/srv/auscat", "-maxdepth", "2", "-name", ".before-restore-*")
    assert aside.startswith("/srv/auscat/orthanc/.before-restore-")
    spare.wait_until_healthy(len(spare.services()))


def test_a_restore_that_a_power_cut_interrupted_is_repaired_by_running_it_again(
    scenario: Scenario, spare: Node, restored: Callable[..., Any], new_orthanc: Rest
) -> None:
    extra = {"ansible_host": spare.container, "restore_replace": "node"}
    with subprocess.Popen(
        ["ansible-playbook", "--inventory", str(scenario.inventory), "playbooks/restore.yml"]
        + ["--extra-vars", json.dumps(extra)],
        cwd=scenario.directory.parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        # CTP and KeyDB are back by then; Orthanc's data is on its way.
        marker = "/srv/auscat/orthanc/.auscat-restore"
        wait_for(
            "Orthanc's data is restored",
            lambda: (
                process.poll() is not None
                or spare.run("test", "-d", marker, check=False).returncode == 0
            ),
            300,
        )
        reboot(spare)
        printed, _ = process.communicate(timeout=300)
    assert process.returncode != 0, printed
    wait_for("Docker runs", lambda: not spare.run("docker", "info", check=False).returncode, 120)
    assert spare.run("test", "-d", marker, check=False).returncode == 0, printed
    for kind in ("identifiable", "deidentified"):
        backup = spare.run("python3", PROGRAM, "backup", kind, check=False)
        assert "was begun and not finished" in backup.stdout
    shown = scenario.play("playbooks/status.yml", extra={"ansible_host": spare.container})
    assert "backup_failed (deidentified)" in shown.text

    outcome = restored(verify_enabled=False)
    assert outcome.returncode == 0, outcome.errors
    spare.wait_until_healthy(len(spare.services()))
    assert Kept.hashes.items() <= verified(new_orthanc).items()
    assert set(Kept.pairs.splitlines()) <= set(pairs(spare).splitlines())
    assert spare.output("find", "/srv/auscat", "-maxdepth", "3", "-name", ".auscat-*") == ""
    assert spare.output("docker", "ps", "--all", "--quiet", "--filter", "label=auscat.backup") == ""
    # What was put aside before is kept by all of these runs.
    aside = spare.output("find", "/srv/auscat", "-maxdepth", "3", "-name", ".before-restore-*")
    for part in ("ctp", "keydb", "orthanc"):
        assert f"/srv/auscat/{part}/" in aside, aside
