"""The node with the AusCAT image's contract, and what looks at it from outside."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from shared.machines import Node, Scenario
from shared.streams import Rest, page


@pytest.fixture(scope="session")
def node(scenario: Scenario) -> Node:
    """The single VM, in both groups."""
    return scenario.node("node")


@pytest.fixture(scope="session")
def orthanc(node: Node) -> Rest:
    """Orthanc's REST API."""
    password = node.variables["orthanc_registered_users"]["admin"]
    return page(node, 8042, "admin", password)


@pytest.fixture(scope="session")
def quarantined(node: Node) -> Callable[[], set[str]]:
    """Ask the stand-in, in CTP's place, for the SOP Instance UIDs in quarantine."""
    shown = page(node, 9090, "admin", node.variables["ctp_admin_password"])
    return lambda: {each["sop_instance_uid"] for each in shown.ask("/api/status")["quarantine"]}


@pytest.fixture
def patient(scenario: Scenario, tmp_path: Path) -> tuple[str, str]:
    """Identifier and pseudonym of a patient whom load_keys.yml made known."""
    token = uuid.uuid4().hex[:10]
    keys = tmp_path / "patients.csv"
    keys.write_text(f"patient_id,pseudonym\nHOSP-{token},ANON-{token}\n")
    outcome = scenario.play("playbooks/load_keys.yml", extra={"keys_file": str(keys)})
    assert outcome.returncode == 0, outcome.errors
    return f"HOSP-{token}", f"ANON-{token}"
