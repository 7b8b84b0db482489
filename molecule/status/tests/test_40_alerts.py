"""Each alert: raised by its cause, and gone after it. The machines' own sampler says so.

A test of the units (tests/unit/status/test_alerts_are_caused.py) asserts that none is left out. Not
the real thing, and said so where it is done: what other commands of the node note about times long
past, and a clock that no test may set.
"""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Sent, Shown, cleared, firing, metrics, raised, sample
from shared.machines import REPOSITORY, Machine, Node, Scenario, wait_for
from shared.streams import Rest, ct_slices
from shared.studies import send

FILLER = "/srv/auscat/ctp/temp/filler"


@pytest.fixture(scope="module", autouse=True)
def known(sent: Sent) -> Sent:
    """One study in Orthanc, one in quarantine."""
    return sent


def iso(days_ago: float = 0) -> str:
    moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=days_ago)
    return moment.isoformat(timespec="seconds")


def note(node: Node, name: str, content: dict[str, Any]) -> None:
    """Write what another command of the node would note of itself."""
    path = f"/var/lib/auscat/{name}.json"
    node.shell(f"mkdir -p $(dirname {path}); cat > {path}", stdin=json.dumps(content))


def scale(node: Node, service: str, number: int) -> None:
    node.run("docker", "service", "scale", "--detach", f"auscat_{service}={number}")


def limit(node: Node, service: str, memory: str) -> None:
    update = ["docker", "service", "update", "--quiet", "--limit-memory", memory]
    node.run(*update, f"auscat_{service}")


def running(node: Node, service: str) -> str:
    """Wait for the container of a service and return its ID."""
    tasks = wait_for(f"{service} has a container", lambda: node.tasks(f"auscat_{service}"), 120)
    identifier: str = tasks[0]["Id"]
    return identifier


# The firewall. In its place for a moment only, on a network of test hosts.


def test_firewall(kv: Node) -> None:
    kv.run("nft", "delete", "table", "inet", "auscat")
    raised(kv, "firewall_missing", "critical")
    kv.run("nft", "--file", "/etc/auscat/firewall.nft")
    cleared(kv, "firewall_missing", "critical")
    kv.run("nft", "add", "chain", "inet", "auscat", "somebody_was_here")
    raised(kv, "firewall_changed", "critical")
    kv.run("nft", "delete", "chain", "inet", "auscat", "somebody_was_here")
    cleared(kv, "firewall_changed", "critical")


def test_port_that_was_published_by_hand(kv: Node) -> None:
    publish = ("docker", "service", "update", "--quiet", "auscat_keydb")
    port = "published=15999,target=5999,mode=host"
    kv.run(*publish, "--publish-add", port, timeout=300)
    raised(kv, "port_unlimited", "critical")
    kv.run(*publish, "--publish-rm", port, timeout=300)
    cleared(kv, "port_unlimited", "critical")


def test_firewall_at_boot(kv: Node) -> None:
    kv.run("systemctl", "disable", "auscat-firewall.service")
    raised(kv, "firewall_not_enabled", "warning")
    kv.run("systemctl", "enable", "auscat-firewall.service")
    cleared(kv, "firewall_not_enabled", "warning")


# The disk of CTP, a file system of its own.


@pytest.fixture
def fill(kv: Node) -> Iterator[Callable[[int], None]]:
    """Fill it up to so many MiB."""

    def leave(mib: int) -> None:
        script = (
            f"rm -f {FILLER}; free=$(stat -f -c '%a*%S' /srv/auscat/ctp/temp); "
            f"fallocate -l $(( free - {mib} * 1048576 )) {FILLER}"
        )
        kv.shell(script)

    yield leave
    kv.run("rm", "-f", FILLER)


def test_disk(kv: Node, fill: Callable[[int], None]) -> None:
    fill(40)  # of 365 MiB; CTP receives nothing below 64
    raised(kv, "disk_low", "warning", "reception_closed", "critical")
    fill(10)
    raised(kv, "disk_low", "critical")
    assert not firing(kv, "disk_low", "warning")
    kv.run("rm", FILLER)
    cleared(kv, "disk_low", "critical", "disk_low", "warning", "reception_closed", "critical")


# The quarantine.


def test_quarantine(kv: Node, pacs: Machine, ctp: Rest, sent: Sent) -> None:
    raised(kv, "quarantine_not_empty", "warning")
    wait_for("what lies there is old", lambda: not firing(kv, "quarantine_growing", "warning"))
    for each in ctp.ask("/api/status")["quarantine"]:
        ctp.ask(f"/api/quarantine/{each['id']}", method="DELETE")
    cleared(kv, "quarantine_not_empty", "warning")
    code, said = send(sent.unknown, pacs, kv)
    assert code == 0, said
    raised(kv, "quarantine_growing", "warning")
    reason = (("reason", "unknown-patient"),)
    assert metrics(kv)["auscat_ctp_quarantined_objects", reason] == 3
    cleared(kv, "quarantine_growing", "warning")


# A study of which something is missing, and one that came under two identifiers.


def test_studies(
    kv: Node, pacs: Machine, ctp: Rest, sent: Sent, show: Callable[..., Shown], tmp_path: Path
) -> None:
    first, second = ct_slices(sent.known.patient_id, 2, side=16)
    first.BurnedInAnnotation = "YES"
    second.PatientID = sent.unknown.patient_id
    for number, image in enumerate((first, second)):
        image.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    pacs.put(tmp_path, "/root/mixed")
    titles = ["--aetitle", "PACS", "--call", "CTP", "--scan-directories"]
    pacs.run("dcmsend", *titles, kv.address, "8104", "/root/mixed")
    raised(kv, "study_incomplete", "warning", "study_mixed", "warning")
    assert metrics(kv)["auscat_ctp_studies", (("state", "incomplete"),)] == 1
    assert f"study of {sent.known.pseudonym}" in show().table
    assert sent.known.pseudonym not in show(status_studies=False).table
    uids = {str(first.SOPInstanceUID), str(second.SOPInstanceUID)}
    for each in ctp.ask("/api/status")["quarantine"]:
        if each["sop_instance_uid"] in uids:
            ctp.ask(f"/api/quarantine/{each['id']}", method="DELETE")
    cleared(kv, "study_incomplete", "warning", "study_mixed", "warning")


# Orthanc away: what CTP holds for it, and the proof that fails.


def test_orthanc_away(
    scenario: Scenario, kv: Node, cat: Node, pacs: Machine, ctp: Rest, sent: Sent
) -> None:
    sample(kv)
    scale(cat, "orthanc", 0)
    raised(cat, "service_down", "critical")
    code, said = send(sent.known, pacs, kv)
    assert code == 0, said
    raised(
        *(kv, "queue_growing", "warning", "queue_old", "warning"),
        *("orthanc_not_receiving", "critical"),
    )

    failed = scenario.play("playbooks/verify.yml", extra={"verify_timeout": 10})
    assert failed.returncode != 0
    for node in (kv, cat):
        raised(node, "proof_failed", "critical")

    # It comes back, but stands still while it starts.
    scale(cat, "orthanc", 1)
    container = running(cat, "orthanc")
    cat.run("docker", "kill", "--signal=STOP", container)
    raised(cat, "service_unhealthy", "critical", "figures_missing", "warning")
    cat.run("docker", "kill", "--signal=CONT", container)
    cleared(
        *(cat, "service_unhealthy", "critical", "figures_missing", "warning"),
        *("service_down", "critical"),
    )
    cleared(
        *(kv, "orthanc_not_receiving", "critical", "queue_old", "warning"),
        *("queue_growing", "warning"),
    )

    proved = scenario.play("playbooks/verify.yml")
    assert proved.returncode == 0, proved.errors
    for node in (kv, cat):
        cleared(node, "proof_failed", "critical")


# An object that is too large for Orthanc.


def test_an_object_that_orthanc_ends_at(
    kv: Node, cat: Node, pacs: Machine, ctp: Rest, sent: Sent, tmp_path: Path
) -> None:
    # 32 MB, of which Orthanc needs four times as much.
    (image,) = ct_slices(sent.known.patient_id, 1, side=4000)
    image.save_as(tmp_path / "large.dcm", enforce_file_format=True)
    pacs.put(tmp_path, "/root/large")
    form = "{{.Spec.TaskTemplate.Resources.Limits.MemoryBytes}}"
    before = cat.output("docker", "service", "inspect", "--format", form, "auscat_orthanc")
    limit(cat, "orthanc", "100M")
    titles = ["--aetitle", "PACS", "--call", "CTP"]
    pacs.run("dcmsend", *titles, kv.address, "8104", "/root/large/large.dcm")
    raised(cat, "service_out_of_memory", "critical")
    wait_for("CTP holds it back", lambda: ctp.ask("/api/status")["held_back"], 300)
    raised(kv, "object_held_back", "warning")
    limit(cat, "orthanc", before)
    for each in ctp.ask("/api/status")["quarantine"]:
        ctp.ask(f"/api/quarantine/{each['id']}", method="DELETE")
    cleared(kv, "object_held_back", "warning")


# KeyDB away, ending and old.


def test_keydb(kv: Node) -> None:
    scale(kv, "keydb", 0)
    raised(kv, "keydb_table_stale", "warning")
    scale(kv, "keydb", 1)
    cleared(kv, "keydb_table_stale", "warning")
    before = ""
    for _ in range(2):
        wait_for("another container runs", lambda b=before: running(kv, "keydb") != b, 120)
        before = running(kv, "keydb")
        kv.run("docker", "kill", before)
    raised(kv, "service_restarting", "warning")

    # The same image, made two years earlier: the engine has its layers already.
    program = """
import hashlib, io, json, subprocess, sys, tarfile
name = "auscat-imaging-test/old:1"
asked = ["docker", "inspect", "--format={{.Image}}", sys.argv[1]]
image = subprocess.check_output(asked, text=True)
base = "/var/lib/docker/image/overlay2/imagedb/content/sha256/"
config = json.load(open(base + image.strip().removeprefix("sha256:")))
config["created"] = sys.argv[2]
data = json.dumps(config).encode()
digest = hashlib.sha256(data).hexdigest()
layers = [f"{n}/layer.tar" for n in range(len(config["rootfs"]["diff_ids"]))]
manifest = [{"Config": digest + ".json", "RepoTags": [name], "Layers": layers}]
files = {digest + ".json": data, "manifest.json": json.dumps(manifest).encode()}
stream = io.BytesIO()
with tarfile.open(fileobj=stream, mode="w") as archive:
    for path, content in files.items():
        entry = tarfile.TarInfo(path)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
subprocess.run(["docker", "load"], input=stream.getvalue(), check=True)
subprocess.run(["docker", "service", "update", "--quiet", "--detach", "--no-resolve-image",
                "--image", name, "auscat_keydb"], check=True)
"""
    created = iso(730).replace("+00:00", "Z")
    kv.run("python3", "-", running(kv, "keydb"), created, stdin=program)
    raised(kv, "image_old", "warning")
    kv.run("docker", "service", "rollback", "--quiet", "--detach", "auscat_keydb")
    cleared(kv, "image_old", "warning")


# What other commands note. The files are written by hand where the cause is a time long past, and
# those of the backup in any case: no backup is set up on these machines.


def test_proof_is_old(kv: Node) -> None:
    proof = kv.json("cat", "/var/lib/auscat/proof.json")
    assert proof["passed"] is True, proof
    assert proof["checks"] > 20, proof
    note(kv, "proof", {**proof, "finished": iso(31)})
    raised(kv, "proof_old", "warning")
    note(kv, "proof", proof)
    cleared(kv, "proof_old", "warning")


def test_backup(kv: Node) -> None:
    good = {"ok": True, "error": None, "snapshot": "a", "bytes_added": 1, "max_age_hours": 26}
    raised(kv, "backup_missing", "warning")
    note(kv, "backup/identifiable", {**good, "finished": iso(2)})
    raised(kv, "backup_overdue", "critical")
    cleared(kv, "backup_missing", "warning")
    note(kv, "backup/identifiable", {**good, "finished": iso(), "ok": False, "error": "no space"})
    raised(kv, "backup_failed", "critical")
    cleared(kv, "backup_overdue", "critical")
    note(kv, "backup/verify", {"finished": iso(), "ok": False, "error": "2 studies differ"})
    raised(kv, "backup_verify_failed", "critical")
    note(kv, "backup/identifiable", {**good, "finished": iso(-1)})
    raised(kv, "backup_ahead", "warning")
    note(kv, "backup/identifiable", {**good, "finished": iso()})
    note(kv, "backup/verify", {"finished": iso(), "ok": True, "error": None})
    cleared(kv, "backup_failed", "critical", "backup_verify_failed", "critical")
    cleared(kv, "backup_ahead", "warning")
    kv.run("rm", "-r", "/var/lib/auscat/backup")


# Certificates: made by openssl where the site's CAs lie.


@pytest.fixture
def certify(kv: Node) -> Iterator[Callable[[int], None]]:
    """Put a certificate there that is valid for so many days."""
    directory = "/usr/local/share/ca-certificates/auscat"

    def put(days: int) -> None:
        kv.shell(
            f"mkdir -p {directory}; cd /run; "
            "openssl req -new -newkey rsa:2048 -nodes -subj '/CN=A test' -keyout a.key -out a.csr; "
            f"openssl x509 -req -in a.csr -signkey a.key -days {days} "
            f"-out {directory}/status-test.crt; rm a.key a.csr"
        )

    yield put
    kv.run("rm", "-f", f"{directory}/status-test.crt")


def test_certificates(kv: Node, certify: Callable[[int], None]) -> None:
    certify(5)
    raised(kv, "certificate_expiring", "warning")
    certify(-1)
    raised(kv, "certificate_expired", "critical")
    cleared(kv, "certificate_expiring", "warning")
    certify(100)
    cleared(kv, "certificate_expired", "critical")


# The clock. chronyd with -x, which never sets it: the clock of a container is that of the whole
# machine. First with a server that does not answer, then with itself for a source.


def test_clock(kv: Node) -> None:
    kv.run("systemctl", "mask", "chrony.service")
    kv.shell(
        "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; "
        "apt-get install -y -qq --no-install-recommends chrony",
        timeout=300,
    )
    started = "/usr/sbin/chronyd -x -f /run/chrony-test.conf"
    settings = "pidfile /run/chrony-test.pid\ncmdport 323\n"

    def start(source: str) -> None:
        kv.shell("cat > /run/chrony-test.conf", stdin=f"{settings}{source}\n")
        kv.run(*started.split())

    def stop() -> None:
        # It gives its privileges away, and may not remove the file itself.
        file = "/run/chrony-test.pid"
        kv.shell(
            f"pid=$(cat {file}); kill $pid; timeout 20 tail --pid=$pid -f /dev/null; rm {file}"
        )

    try:
        start("server 10.213.88.99 iburst")
        raised(kv, "clock_unsynchronised", "warning")
        stop()
        start("local stratum 8")
        cleared(kv, "clock_unsynchronised", "warning")
        assert sample(kv)["auscat_clock_synchronised", ()] == 1
        stop()
    finally:
        kv.run("dpkg", "--purge", "chrony")
        kv.run("systemctl", "unmask", "chrony.service")


# The sampler itself, and a machine that is away: only from outside can that be told.


def test_sampler_and_machine(kv: Node, cat: Node, show: Callable[..., Shown]) -> None:
    kv.run("systemctl", "stop", "auscat-status.timer")
    freeze(cat, "pause")
    try:
        shown = show(status_fail_on="critical")
    finally:
        freeze(cat, "unpause")
    assert shown.returncode != 0
    assert told(shown, "kv", "sampler_stopped", "warning"), shown.table
    assert told(shown, "cat", "unreachable", "critical"), shown.table
    assert "cat: unreachable (cat): " in shown.errors
    assert "kv    ctp" in shown.table

    kv.run("systemctl", "start", "auscat-status.timer")
    program = "/usr/local/lib/auscat/node_status"
    kv.run("mv", program, f"{program}.away")
    assert kv.run("systemctl", "start", "auscat-status.service", check=False).returncode != 0
    shown = show()
    assert shown.returncode == 0, shown.errors
    assert told(shown, "kv", "sampler_stopped", "warning"), shown.table
    kv.run("mv", f"{program}.away", program)
    sample(kv)
    shown = show()
    assert not told(shown, "kv", "sampler_stopped", "warning"), shown.table
    assert not told(shown, "cat", "unreachable", "critical"), shown.table


def told(shown: Shown, node: str, name: str, severity: str) -> bool:
    """As `firing`, for what only playbooks/status.yml can tell."""
    return f"{severity.upper()}  {node}: {name} (" in shown.table


def freeze(node: Node, verb: str) -> None:
    """Pause a machine as a whole, or let it go on.

    A machine that starts processes the whole time cannot be frozen at each attempt.
    """
    command = ["docker", verb, node.container]

    def done() -> bool:
        return subprocess.run(command, check=False).returncode == 0

    wait_for(" ".join(command), done, 60)


def test_engine(cat: Node) -> None:
    cat.run("systemctl", "stop", "docker.socket", "docker.service")
    raised(cat, "engine_down", "critical")
    cat.run("systemctl", "start", "docker.service")
    cleared(cat, "engine_down", "critical", "service_down", "critical")


def test_swarm_that_is_locked(cat: Node) -> None:
    """By hand, and unlocked so, as a site may that has no swarm_autolock."""
    cat.run("docker", "swarm", "update", "--autolock=true")
    key = cat.output("docker", "swarm", "unlock-key", "--quiet")
    cat.run("systemctl", "restart", "docker.service")
    raised(cat, "swarm_locked", "critical")
    # What follows from it is not said beside it.
    assert not firing(cat, "service_down", "critical")
    cat.run("docker", "swarm", "unlock", stdin=key + "\n")
    cleared(cat, "swarm_locked", "critical")
    cat.run("docker", "swarm", "update", "--autolock=false")
    try:
        cleared(cat, "service_down", "critical", seconds=120)
    except AssertionError:
        # Docker's fault that docs/secrets.md names, with its remedy; nothing is locked any more.
        states = cat.output(
            *("docker", "service", "ps", "--format", "{{.CurrentState}}"),
            *("auscat_front", "auscat_orthanc"),
        )
        assert "Assigned" in states, states
        cat.run("systemctl", "restart", "docker.service")
        cleared(cat, "service_down", "critical")


def test_containers_end_no_more(kv: Node, cat: Node) -> None:
    """Here and not where they ended: status_restart_minutes pass with the tests between."""
    cleared(cat, "service_out_of_memory", "critical")
    cleared(kv, "service_restarting", "warning")


def test_program_is_the_one_of_this_checkout(kv: Node) -> None:
    source = REPOSITORY / "plugins" / "module_utils" / "status" / "node_status" / "rules.py"
    assert (
        kv.output("cat", "/usr/local/lib/auscat/node_status/rules.py") == source.read_text().strip()
    )
