"""The two machines, and what they say of themselves: their metrics and playbooks/status.yml."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from shared.machines import Machine, Node, Scenario, wait_for
from shared.streams import Rest
from shared.studies import Study, make_study, send
from shared.two_machines import cat, ctp, kv, orthanc, pacs

__all__ = ["cat", "ctp", "kv", "orthanc", "pacs"]

METRICS = "/var/lib/auscat-metrics/auscat.prom"
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sent:
    """Two patients whose studies went to CTP: KeyDB knows the first, and not the second."""

    known: Study
    unknown: Study

    def marks(self) -> list[str]:
        """Everything of them that no status may show."""
        return [
            *(self.known.patient_id, self.unknown.patient_id, self.known.pseudonym),
            *("Molecule", "Identifiable", "ACC-4711", "19400102", "Referring", "Physician"),
        ]


@pytest.fixture(scope="session")
def sent(
    scenario: Scenario,
    kv: Node,
    pacs: Machine,
    ctp: Rest,
    orthanc: Rest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Sent:
    """Load one patient, send both, and wait until they are where they belong."""
    directory = tmp_path_factory.mktemp("studies")
    token = uuid.uuid4().hex[:8]
    known = make_study(directory / "known", f"HOSP-{token}", f"ANON-{token}", 3)
    unknown = make_study(directory / "unknown", f"NOBODY-{token}", "", 3)
    keys = directory / "patients.csv"
    keys.write_text(f"patient_id,pseudonym\n{known.patient_id},{known.pseudonym}\n")
    loaded = scenario.play("playbooks/load_keys.yml", extra={"keys_file": str(keys)})
    assert loaded.returncode == 0, loaded.errors

    def patients() -> int:
        found: int = ctp.ask("/api/status")["keydb"]["patients"]
        return found

    wait_for("CTP knows the patient", patients, 60)
    # What an earlier run of the tests left there is not counted.
    for each in ctp.ask("/api/status")["quarantine"]:
        ctp.ask(f"/api/quarantine/{each['id']}", method="DELETE")
    for patient in orthanc.ask("/patients"):
        orthanc.ask(f"/patients/{patient}", method="DELETE")
    for study in (known, unknown):
        code, said = send(study, pacs, kv)
        assert code == 0, said

    def there() -> bool:
        status = ctp.ask("/api/status")
        assert status["quarantined"] == 3, status
        stored = orthanc.ask("/statistics")["CountInstances"]
        assert stored == 3, stored
        return True

    wait_for("one study is in Orthanc and the other in quarantine", there, 120)
    return Sent(known, unknown)


def metrics(node: Node) -> dict[tuple[str, Labels], float]:
    """What a node_exporter would read now, by a parser of others."""
    text = node.output("cat", METRICS)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(f"{text}\n")
        for sample in family.samples
    }


def sample(node: Node) -> dict[tuple[str, Labels], float]:
    """Have the machine's own unit take a sample now, and return its metrics."""
    node.run("systemctl", "start", "auscat-status.service", timeout=180)
    return metrics(node)


def firing(node: Node, name: str, severity: str) -> bool:
    """Take a sample, and tell whether it raises an alert."""
    found = sample(node)
    return found["auscat_alert", (("alert", name), ("severity", severity))] == 1


def now_firing(node: Node, alerts: tuple[str, ...]) -> set[tuple[str, str]]:
    """Take a sample, and tell which of these alerts it raises: name, severity, name, severity …"""
    found = sample(node)
    return {
        (name, severity)
        for name, severity in zip(alerts[::2], alerts[1::2])
        if found["auscat_alert", (("alert", name), ("severity", severity))] == 1
    }


def raised(node: Node, *alerts: str, seconds: float = 180) -> None:
    """Wait until a machine has raised each of these alerts, given as name, severity, name …"""
    missing = set(zip(alerts[::2], alerts[1::2]))

    def all_seen() -> bool:
        # One may be over before another begins.
        missing.difference_update(now_firing(node, alerts))
        assert not missing, f"not raised yet: {sorted(missing)}"
        return True

    wait_for(f"{node.name} raises {', '.join(alerts[::2])}", all_seen, seconds)


def cleared(node: Node, *alerts: str, seconds: float = 300) -> None:
    """Wait until none of these alerts is raised any more, given as name, severity, name …"""

    def none_fires() -> bool:
        firing_still = now_firing(node, alerts)
        assert not firing_still, f"raised still: {sorted(firing_still)}"
        return True

    wait_for(f"{node.name} clears {', '.join(alerts[::2])}", none_fires, seconds)


@dataclass(frozen=True)
class Shown:
    """What a run of playbooks/status.yml said."""

    returncode: int
    table: str
    errors: str
    text: str
    changed: int
    seen: dict[str, Any]


@pytest.fixture(scope="session")
def show(scenario: Scenario) -> Callable[..., Shown]:
    """Run playbooks/status.yml as an operator does."""

    def run(**extra: Any) -> Shown:
        outcome = scenario.play("playbooks/status.yml", extra=extra)
        tables = [
            r["msg"]
            for name, r in outcome.results
            if name.endswith("Show the status") and "msg" in r
        ]
        seen = {
            host: result
            for play in outcome.document.get("plays", [])
            for task in play["tasks"]
            if task["task"]["name"].endswith("Inspect the machines")
            for host, result in task["hosts"].items()
        }
        table = tables[0] if tables else ""
        return Shown(outcome.returncode, table, outcome.errors, outcome.text, outcome.changed, seen)

    return run


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the screenshots go (tools/screenshots.sh)."""
    wanted = os.environ.get("STATUS_SCREENSHOTS")
    directory = Path(wanted) if wanted else tmp_path_factory.mktemp("pictures")
    directory.mkdir(parents=True, exist_ok=True)
    return directory
