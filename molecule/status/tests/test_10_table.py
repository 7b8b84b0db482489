"""playbooks/status.yml and the metrics, against what is known of the node from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import METRICS, Sent, Shown, metrics, sample
from shared.machines import Node, Scenario
from shared.streams import Rest


@pytest.fixture(scope="module")
def shown(
    sent: Sent, show: Callable[..., Shown], tmp_path_factory: pytest.TempPathFactory
) -> Shown:
    """The table, and a page beside it."""
    return show(status_page=str(tmp_path_factory.mktemp("page") / "status.html"))


def row(table: str, node: str, what: str) -> str:
    """Give state and figures of a row."""
    found = re.search(rf"^{node}\s+{re.escape(what)}\s\s+(.*)$", table, re.MULTILINE)
    assert found, f"no row {node} {what} in\n{table}"
    return found[1]


def test_table_agrees_with_the_services(shown: Shown, orthanc: Rest, ctp: Rest) -> None:
    assert shown.returncode == 0, shown.errors
    assert shown.changed == 0
    for node, service in (("kv", "ctp"), ("kv", "keydb"), ("cat", "orthanc")):
        assert row(shown.table, node, service).startswith("ok "), shown.table
    stored = orthanc.ask("/statistics")
    holds = row(shown.table, "cat", "Orthanc holds")
    studies = f"{stored['CountStudies']} {'study' if stored['CountStudies'] == 1 else 'studies'}"
    assert f"{studies}, {stored['CountInstances']} instances" in holds
    told = ctp.ask("/api/status")
    queue = f"{told['received']} received, {told['forwarded']} sent on"
    assert queue in row(shown.table, "kv", "queue")
    assert "3 objects: unknown-patient 3" in row(shown.table, "kv", "quarantine")
    assert orthanc.ask("/system")["Version"] in row(shown.table, "cat", "orthanc")
    assert "checks passed" in row(shown.table, "kv", "last proof")
    assert row(shown.table, "cat", "firewall").endswith("as installed, loaded at boot")


def test_metrics_agree_with_the_services(
    sent: Sent, kv: Node, cat: Node, orthanc: Rest, ctp: Rest
) -> None:
    sample(kv)
    sample(cat)
    told, stored = ctp.ask("/api/status"), orthanc.ask("/statistics")
    found = {**metrics(cat), **metrics(kv)}
    assert found["auscat_orthanc_instances", ()] == stored["CountInstances"]
    assert found["auscat_orthanc_stored_bytes", ()] == int(stored["TotalDiskSize"])
    assert found["auscat_ctp_received_total", ()] == told["received"]
    assert found["auscat_ctp_forwarded_total", ()] == told["forwarded"]
    assert found["auscat_ctp_quarantined_objects", (("reason", "unknown-patient"),)] == 3
    patients = kv.output(
        *("docker", "exec", kv.tasks("auscat_keydb")[0]["Id"], "sh", "-c"),
        'psql -tA -d key_db -U "$(cat /run/secrets/keydb_user)" -c "SELECT count(*) FROM patient"',
    )
    assert found["auscat_keydb_patients", ()] == int(patients)
    size = kv.output("stat", "-f", "-c", "%a %S", "/srv/auscat/ctp/temp").split()
    free = found["auscat_volume_free_bytes", (("mount", "/srv/auscat/ctp/temp"),)]
    assert abs(free - int(size[0]) * int(size[1])) < 4 * 1024**2


def test_anybody_on_the_machine_may_read_the_metrics_and_nothing_else(kv: Node) -> None:
    """node_exporter runs as a user of its own."""
    assert "auscat_alert{" in kv.output("runuser", "-u", "nobody", "--", "cat", METRICS)
    for path in ("/var/lib/auscat/proof.json", "/var/lib/auscat/status/history.jsonl"):
        result = kv.run("runuser", "-u", "nobody", "--", "cat", path, check=False)
        assert "Permission denied" in result.stderr


def test_nothing_names_a_patient_or_a_password(
    sent: Sent,
    shown: Shown,
    kv: Node,
    cat: Node,
    orthanc: Rest,
    ctp: Rest,
    show: Callable[..., Shown],
    tmp_path: Path,
) -> None:
    page = tmp_path / "status.html"
    assert show(status_page=str(page)).returncode == 0
    query = {"Level": "Instance", "Query": {}, "Expand": True}
    uids = [each["MainDicomTags"]["SOPInstanceUID"] for each in orthanc.ask("/tools/find", query)]
    uids += [each["sop_instance_uid"] for each in ctp.ask("/api/status")["quarantine"]]
    assert len(uids) == 6
    passwords = [
        *kv.variables["orthanc_registered_users"].values(),
        *(kv.variables[f"{name}_password"] for name in ("keydb", "keydb_ctp", "ctp_admin")),
    ]
    words = [*sent.marks(), *uids, *passwords]
    texts = {"page": page.read_text(), "run": shown.text}
    for node in (kv, cat):
        kept = (
            "/var/lib/auscat /var/lib/auscat-metrics /etc/auscat/status.json /usr/local/lib/auscat"
        )
        archive = "-name archive.jsonl"
        texts[node.name] = node.shell(f"find {kept} -type f ! {archive} -exec cat {{}} +")
        texts[f"{node.name}, journal"] = node.output(
            "journalctl", "--no-pager", "--unit=auscat-status", "--output=cat"
        )
    for where, text in texts.items():
        # Ansible's own record of a run shows the inventory's addresses, and no login.
        assert len(text) > 100, where
        assert not [word for word in words if word in text], where
    # For the question who had a study: of pseudonyms, and for root alone.
    listed = cat.output("cat", "/var/lib/auscat/archive.jsonl")
    assert sent.known.pseudonym in listed
    assert not [word for word in words if word in listed and word != sent.known.pseudonym]
    assert cat.output("stat", "--format=%a %U", "/var/lib/auscat/archive.jsonl") == "600 root"


def test_history_is_one_sample_a_line(kv: Node) -> None:
    before = kv.output("wc", "-l", "/var/lib/auscat/status/history.jsonl").split()[0]
    sample(kv)
    lines = kv.output("cat", "/var/lib/auscat/status/history.jsonl").splitlines()
    assert len(lines) >= int(before) + 1
    assert all(json.loads(line)["time"] > 0 for line in lines)


def test_the_timer_runs(kv: Node, cat: Node) -> None:
    for node in (kv, cat):
        assert node.output("systemctl", "is-active", "auscat-status.timer") == "active"
        assert node.output("systemctl", "is-enabled", "auscat-status.timer") == "enabled"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (
            {"status_fail_on": "anything"},
            "status_fail_on is 'anything'. Accepted: warning, critical",
        ),
        ({"status_page": "/no/such/place/a.html"}, "Accepted: a file in a directory that exists"),
    ],
)
def test_what_cannot_be_is_refused(
    show: Callable[..., Shown], extra: dict[str, str], words: str
) -> None:
    shown = show(**extra)
    assert shown.returncode != 0
    assert words in shown.errors
    assert "No machine was inspected" in shown.errors
    assert not shown.table


def test_second_run_of_the_role_changes_nothing(scenario: Scenario) -> None:
    outcome = scenario.play("playbooks/site.yml", "--tags", "status")
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []
