"""One machine of two is lost, and restored alone under its old name and address."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from shared.ctp_node import Patient, new_patient, status
from shared.machines import Node, Scenario, wait_for
from shared.saved import pairs, verified
from shared.streams import Rest, Stream, arrived, balance, ct_series, ct_slices

OBJECTS = 30
PACE = 0.3  # seconds from one object to the next


@pytest.fixture(scope="module")
def old(load: Callable[..., None]) -> Patient:
    """A patient whom the site knew before anything was lost."""
    patient = new_patient()
    load(patient)
    return patient


@pytest.fixture(scope="module")
def held(
    kv: Node, ctp: Rest, orthanc: Rest, old: Patient, quarantined: Callable[[], set[str]]
) -> set[str]:
    """What the site held before: objects of a known patient in Orthanc, and these in quarantine."""
    unknown = new_patient()
    streams = []
    for patient in (old, unknown):
        with Stream(kv, ct_slices(patient.patient_id, OBJECTS, side=64), senders=4) as stream:
            stream.wait(OBJECTS)
        streams.append(stream)
    uids = set(streams[1].offered)
    wait_for("they are in quarantine", lambda: uids <= quarantined(), 120)
    wait_for("they arrived", lambda: len(arrived(orthanc, old.pseudonym)) == OBJECTS, 120)
    wait_for("nothing is under way", lambda: status(ctp)["queued"] == 0, 120)
    return uids


def lose(scenario: Scenario, node: Node) -> None:
    """Destroy a machine with its disks, and put an empty one in its place."""
    subprocess.run(
        ["docker", "rm", "--force", "--volumes", node.container], check=True, capture_output=True
    )
    outcome = scenario.play("molecule/shared/create.yml")
    assert outcome.returncode == 0, outcome.errors
    # It may have its packages already (molecule/README.md), and has nothing of a node.
    for path in ("/etc/auscat", "/srv/auscat"):
        assert node.run("test", "-e", path, check=False).returncode != 0, path


def tasks(node: Node) -> set[str]:
    return {task["Id"] for name in node.services() for task in node.tasks(name)}


def proves_itself(scenario: Scenario, kv: Node, cat: Node) -> None:
    """The node is proved, and site.yml finds nothing to do."""
    for node in (kv, cat):
        node.wait_until_healthy(len(node.services()))
    outcome = scenario.play("playbooks/verify.yml")
    assert outcome.returncode == 0, outcome.errors
    outcome = scenario.play("site.yml", extra={"verify_enabled": False})
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed == 0, outcome.changed_tasks


def test_orthancs_machine_is_lost(
    scenario: Scenario,
    kv: Node,
    cat: Node,
    orthanc: Rest,
    held: set[str],
    load: Callable[..., None],
    quarantined: Callable[[], set[str]],
) -> None:
    """What comes in meanwhile waits in CTP, and is delivered to the new one."""
    outcome = scenario.play("playbooks/backup.yml")
    assert outcome.returncode == 0, outcome.errors
    streamed = new_patient()
    load(streamed)
    before, there, running = verified(orthanc), kv.fingerprint(), tasks(kv)

    lose(scenario, cat)
    with Stream(kv, ct_series(streamed.patient_id, 64), senders=4, pace=PACE) as stream:
        stream.wait(10)
        outcome = scenario.play("playbooks/restore.yml", "--limit", "cat")
        stream.finish()
    assert outcome.returncode == 0, outcome.errors
    assert "each with its MD5" in outcome.text
    assert stream.refusals == 0
    result = balance(orthanc, streamed.pseudonym, stream, quarantined, 300)
    print(result)
    assert result.arrived == result.acknowledged == len(stream.offered) > 10, result
    assert (result.doubled, result.quarantined, result.lost) == (0, 0, 0), result
    assert before.items() <= verified(orthanc).items()
    assert (kv.fingerprint(), tasks(kv)) == (there, running)
    assert held <= quarantined()
    proves_itself(scenario, kv, cat)


def test_the_identifiable_machine_is_lost(
    scenario: Scenario,
    kv: Node,
    cat: Node,
    ctp: Rest,
    orthanc: Rest,
    old: Patient,
    held: set[str],
    load: Callable[..., None],
    quarantined: Callable[[], set[str]],
) -> None:
    """The PACS offers objects until they are taken; what was queued at the backup is delivered."""
    streamed, queued = new_patient(), new_patient()
    load(streamed, queued)
    cat.run("docker", "service", "scale", "--detach", "auscat_orthanc=0")
    wait_for("Orthanc is away", lambda: not cat.tasks("auscat_orthanc"), 120)
    with Stream(kv, ct_slices(queued.patient_id, OBJECTS, side=64), senders=4) as waiting:
        waiting.wait(OBJECTS)
    outcome = scenario.play("playbooks/backup.yml", "--limit", "kv")
    assert outcome.returncode == 0, outcome.errors
    kept = pairs(kv)
    key = kv.output("sha256sum", "/srv/auscat/ctp/temp/uid.key")

    lose(scenario, kv)
    cat.run("docker", "service", "scale", "--detach", "auscat_orthanc=1")
    cat.wait_until_healthy(len(cat.services()))
    assert not arrived(orthanc, queued.pseudonym)
    before, there, running = verified(orthanc), cat.fingerprint(), tasks(cat)
    with Stream(kv, ct_series(streamed.patient_id, 64), senders=4, pace=PACE) as stream:
        wait_for("a sender is refused", lambda: stream.refusals, 60)
        outcome = scenario.play("playbooks/restore.yml", "--limit", "kv")
        stream.wait(10)
        stream.finish()
    assert outcome.returncode == 0, outcome.errors
    assert "key pairs" in outcome.text
    for patient, sent in ((queued, waiting), (streamed, stream)):
        result = balance(orthanc, patient.pseudonym, sent, quarantined, 300)
        print(result)
        assert result.arrived == result.acknowledged == len(sent.offered), result
        assert (result.doubled, result.quarantined, result.lost) == (0, 0, 0), result
    assert before.items() <= verified(orthanc).items()
    assert (cat.fingerprint(), tasks(cat)) == (there, running)
    assert pairs(kv) == kept
    assert kv.output("sha256sum", "/srv/auscat/ctp/temp/uid.key") == key
    assert held <= quarantined()

    with Stream(kv, ct_slices(old.patient_id, 3, side=64), senders=1) as more:
        more.wait(3)
    wait_for(
        "the next study is under the old pseudonym",
        lambda: sum(arrived(orthanc, old.pseudonym).values()) == OBJECTS + 3,
        120,
    )
    proves_itself(scenario, kv, cat)
