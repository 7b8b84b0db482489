"""What a backup does to a node that receives, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from shared.ctp_node import new_patient
from shared.documented import command
from shared.machines import Machine, Node, Scenario, wait_for
from shared.streams import Rest, Stream, balance, ct_slices

PROGRAM = "/usr/local/lib/auscat/backup_run.py"
SETTINGS = "/etc/auscat/backup/settings.json"
STATE = "/var/lib/auscat/backup"
TARGET = "10.213.87.13:/home/identifiable/node"


@pytest.fixture(scope="module")
def target(scenario: Scenario) -> Machine:
    """The SFTP server with the repositories."""
    return scenario.client("target")


def run(node: Node, *arguments: str) -> dict[str, Any]:
    """Run the program as its timer does, and return its last line."""
    result = node.run("python3", PROGRAM, *arguments, check=False, timeout=600)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert (result.returncode == 0) == (not found.get("error")), result
    return found


def state(node: Node, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = node.json("cat", f"{STATE}/{kind}.json")
    return found


def restic(node: Node, kind: str, *arguments: str) -> str:
    """Ask the repository with restic itself."""
    settings = node.json("cat", SETTINGS)["kinds"][kind]
    return node.output(
        *("restic", "--repo", settings["repository"], "--password-file", settings["password_file"]),
        *("--option", f"sftp.command={settings['sftp_command']}", "--no-lock", *arguments),
        timeout=300,
    )


@contextmanager
def changed_settings(node: Node, kind: str, **changes: Any) -> Iterator[None]:
    """Other settings of one kind for a while."""
    before = node.output("cat", SETTINGS)
    document = json.loads(before)
    document["kinds"][kind].update(changes)
    noted = node.output("cat", f"{STATE}/{kind}.repository")
    node.run("tee", SETTINGS, stdin=json.dumps(document))
    try:
        yield
    finally:
        node.run("tee", SETTINGS, stdin=before)
        node.run("tee", f"{STATE}/{kind}.repository", stdin=noted)


def assert_nothing_is_left(node: Node) -> None:
    left = node.output("find", "/srv/auscat", "-maxdepth", "3", "-name", ".auscat-*")
    assert left == ""
    assert node.output("docker", "ps", "--quiet", "--filter", "status=paused") == ""
    assert node.output("docker", "ps", "--all", "--quiet", "--filter", "label=auscat.backup") == ""
    assert node.output("find", "/run", "-maxdepth", "1", "-name", "auscat-backup-*") == ""


def test_a_backup_during_a_stream_stops_it_for_no_longer_than_seconds(
    scenario: Scenario,
    node: Node,
    orthanc: Rest,
    load: Callable[..., None],
    quarantined: Callable[[], set[str]],
    record_property: Callable[[str, object], None],
) -> None:
    patient = new_patient()
    load(patient)
    gaps: list[float] = []
    over = False
    with Stream(node, ct_slices(patient.patient_id, 1500, side=64), senders=4) as stream:
        stream.wait(20)
        process = subprocess.Popen(
            ["ansible-playbook", "--inventory", str(scenario.inventory), "playbooks/backup.yml"],
            cwd=scenario.directory.parents[1],
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        last, count = time.monotonic(), len(stream.acknowledged)
        while process.poll() is None and not over:
            time.sleep(0.05)
            if len(stream.acknowledged) > count:
                gaps.append(time.monotonic() - last)
                last, count = time.monotonic(), len(stream.acknowledged)
            over = count == len(stream.objects)
        printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    record_property("longest gap", f"{max(gaps):.2f} s between two acknowledgements")
    print(f"longest gap {max(gaps):.2f} s, {count} objects")
    assert max(gaps) < 15
    result = balance(orthanc, patient.pseudonym, stream, quarantined, 300)
    assert (result.doubled, result.lost, result.quarantined) == (0, 0, 0), result
    for kind in ("identifiable", "deidentified"):
        found = state(node, kind)
        assert found["ok"] and not found["error"], found
        assert kind in printed
        assert found["snapshot"] in printed
        assert max(found["held_seconds"].values()) < 20, found
    assert_nothing_is_left(node)


def test_no_repository_holds_anything_of_the_other_kind(node: Node) -> None:
    identifiable = restic(node, "identifiable", "ls", "latest")
    deidentified = restic(node, "deidentified", "ls", "latest")
    assert "/uid.key" in identifiable
    assert "keydb.dump" in identifiable
    assert "/srv/auscat/orthanc" not in identifiable
    assert "/orthanc/.auscat-backup/orthanc/index" in deidentified
    for path in ("/ctp", "/keydb", "password", "secret", "sftp.key"):
        assert path not in deidentified, path
    assert "password" not in identifiable
    assert "sftp.key" not in identifiable


def test_the_repositories_show_nothing_in_clear(target: Machine) -> None:
    for mark in ("HOSP:", "Stream^Identifiable", "ANON-", "DICM"):
        found = target.run("grep", "-rlaF", mark, "/home", check=False)
        assert found.returncode == 1, f"{mark}: {found.stdout}"


def test_the_second_run_of_the_site_changes_nothing(scenario: Scenario) -> None:
    outcome = scenario.play("site.yml", extra={"verify_enabled": False})
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed == 0, outcome.changed_tasks


def test_the_timers_are_there_and_run_the_program(node: Node) -> None:
    for name in ("identifiable", "deidentified", "verify"):
        node.run("systemctl", "is-active", "--quiet", f"auscat-backup-{name}.timer")
    before = state(node, "identifiable")["finished"]
    node.run("systemctl", "start", "auscat-backup-identifiable.service", timeout=600)
    assert state(node, "identifiable")["finished"] > before


def test_a_newest_backup_is_tried_in_a_scratch_place(scenario: Scenario, node: Node) -> None:
    services = set(node.output("docker", "ps", "--quiet").split())
    outcome = scenario.play(*command("docs/backup.md", "playbooks/backup_verify.yml"))
    assert outcome.returncode == 0, outcome.errors
    assert "each with its MD5" in outcome.text
    assert "key pairs" in outcome.text
    assert state(node, "verify")["ok"]
    assert set(node.output("docker", "ps", "--quiet").split()) == services
    assert_nothing_is_left(node)


def test_the_password_is_another_one(scenario: Scenario, node: Node) -> None:
    before = state(node, "identifiable")
    node.run("tee", "/root/wrong", stdin="another-password-of-some-length\n")
    with changed_settings(node, "identifiable", password_file="/root/wrong"):
        outcome = scenario.play("playbooks/backup.yml")
        assert outcome.returncode != 0
        assert "The password does not open the repository" in outcome.errors
    found = state(node, "identifiable")
    assert not found["ok"]
    assert "The password does not open" in found["error"]
    # What is still there to restore stays known.
    assert (found["snapshot"], found["last_ok"]) == (before["snapshot"], before["last_ok"])
    assert state(node, "deidentified")["ok"]
    assert_nothing_is_left(node)


def test_the_repository_of_the_other_kind_is_refused(node: Node) -> None:
    other = node.json("cat", SETTINGS)["kinds"]["identifiable"]
    wrong = {key: other[key] for key in ("repository", "password_file", "sftp_command")}
    count = restic(node, "identifiable", "snapshots", "--json")
    with changed_settings(node, "deidentified", **wrong):
        error = run(node, "backup", "deidentified")["error"]
    assert "holds identifiable data" in error
    assert restic(node, "identifiable", "snapshots", "--json") == count
    assert not state(node, "deidentified")["ok"]


def test_a_repository_that_was_exchanged_or_vanished_is_not_made_anew(node: Node) -> None:
    there = node.json("cat", SETTINGS)["kinds"]["deidentified"]
    # Its disk is not mounted: the server answers, and there is no repository.
    gone = there["repository"] + "-moved"
    with changed_settings(node, "deidentified", repository=gone):
        digest = hashlib.sha256(gone.encode()).hexdigest()
        node.run("tee", f"{STATE}/deidentified.repository", stdin=f"0123 {digest}\n")
        error = run(node, "backup", "deidentified")["error"]
    assert "where this machine's backups were" in error
    assert "Nothing was made in its place" in error


def test_a_server_that_is_away_shows_as_a_failed_backup(node: Node, target: Machine) -> None:
    command = target.shell("tr '\\0' '\\n' < /proc/$(pgrep -o -x sshd)/cmdline")
    target.run("pkill", "-x", "sshd")
    try:
        error = run(node, "backup", "deidentified")["error"]
    finally:
        target.shell(
            "/usr/sbin/sshd -f /dev/null -o HostKey=/etc/ssh/test_host_key"
            " -o AuthorizedKeysFile=/etc/ssh/authorized_keys -o PasswordAuthentication=no"
            " -o UsePAM=no -o ForceCommand=internal-sftp -o 'Subsystem=sftp internal-sftp'"
        )
    assert command
    assert "The repository cannot be reached" in error
    found = state(node, "deidentified")
    assert (found["ok"], found["error"]) == (False, error)
    assert not run(node, "backup", "deidentified")["error"]
    assert state(node, "deidentified")["ok"]


def test_a_full_target_says_so_and_loses_nothing(node: Node, target: Machine) -> None:
    small = "sftp:identifiable@10.213.87.13:/small/identifiable/node"
    before = restic(node, "identifiable", "snapshots", "--json")
    with changed_settings(
        node,
        "identifiable",
        repository=small,
    ):
        assert not run(node, "backup", "identifiable")["error"]
        target.shell("dd if=/dev/zero of=/small/filler bs=64K 2>/dev/null || true")
        error = run(node, "backup", "identifiable")["error"]
        target.run("rm", "/small/filler")
        assert "no space left" in error, error
        assert not state(node, "identifiable")["ok"]
        assert_nothing_is_left(node)
        # With space again, the next run puts it right.
        assert not run(node, "backup", "identifiable")["error"]
    assert restic(node, "identifiable", "snapshots", "--json") == before
    assert not run(node, "backup", "identifiable")["error"]


def test_a_killed_run_lets_ctp_go_on_and_is_repaired_by_the_next(node: Node) -> None:
    # The program's own way to hold CTP, killed in the midst of it.
    (task,) = node.tasks("auscat_ctp")
    hold = (
        "import sys, time; sys.path.insert(0, '/usr/local/lib/auscat')\n"
        "from backup_program import engine\n"
        "with engine.pause('auscat_ctp'):\n    print('held', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        ["docker", "exec", node.container, "python3", "-c", hold], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert (
            node.output("docker", "ps", "--quiet", "--no-trunc", "--filter", "status=paused")
            == task["Id"]
        )
        node.shell("kill -9 $(pgrep -f 'from backup_program' | tr '\\n' ' ')", check=False)
    wait_for(
        "CTP goes on",
        lambda: node.output("docker", "ps", "--quiet", "--filter", "status=paused") == "",
        20,
    )
    node.run("mkdir", "-p", "/srv/auscat/ctp/temp/.auscat-backup/ctp/files")
    assert not run(node, "backup", "identifiable")["error"]
    assert_nothing_is_left(node)


def test_a_killed_trial_leaves_nothing_after_the_next_run(node: Node) -> None:
    scratch = ("docker", "ps", "--quiet", "--filter", "label=auscat.backup")
    with subprocess.Popen(
        ["docker", "exec", node.container, "python3", PROGRAM, "verify", "identifiable"],
        stdout=subprocess.DEVNULL,
    ):
        wait_for("KeyDB is tried", lambda: node.output(*scratch), 120)
        node.shell("kill -9 $(pgrep -f '^python3 .*backup_run.py verify')", check=False)
    assert node.output(*scratch)
    assert not run(node, "backup", "identifiable")["error"]
    assert_nothing_is_left(node)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "one repository for both": (
        {"backup_deidentified_repository": f"sftp:identifiable@{TARGET}"},
        "are one and the same place",
    ),
    "a link": (
        {
            "backup_identifiable_repository": "/mnt/link",
            "backup_deidentified_repository": "/mnt/real",
        },
        "lead to one and the same place",
    ),
    "on the data's disk": (
        {"backup_deidentified_repository": "/var/backups/auscat"},
        "on the disk that the data itself lies on",
    ),
}


@pytest.mark.parametrize(("extra", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_refused_before_anything_is_changed(
    scenario: Scenario, node: Node, extra: dict[str, Any], message: str
) -> None:
    node.shell("mkdir -p /mnt/real && ln -sfn real /mnt/link")
    before = node.fingerprint()
    outcome = scenario.play("site.yml", "--tags", "preflight", extra=extra)
    assert outcome.returncode != 0
    assert message in outcome.errors
    assert "Nothing was changed" in outcome.errors
    assert node.fingerprint() == before
