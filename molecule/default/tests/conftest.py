"""The three machines of this scenario, and a study that went all the way."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import pytest
from shared.documented import command
from shared.machines import Machine, Node, Scenario, wait_for
from shared.studies import Orthanc, Study, make_study, send

CONTROL_PORT = 18888


@contextlib.contextmanager
def unguarded(node: Node) -> Iterator[int]:
    """A listener on the node that nothing limits: proof that the stranger can reach the node."""
    program = f"import socket; s = socket.create_server(('', {CONTROL_PORT}))\nwhile 1: s.accept()"
    unit = "auscat-test-listener"
    node.run("systemd-run", f"--unit={unit}", "--collect", "python3", "-c", program)
    wait_for(
        "the listener accepts connections", lambda: node.connects("127.0.0.1", CONTROL_PORT), 60
    )
    yield CONTROL_PORT
    node.run("systemctl", "stop", unit)


@pytest.fixture(scope="session")
def node(scenario: Scenario) -> Node:
    """The single VM, in both groups."""
    return scenario.node("node")


@pytest.fixture(scope="session")
def allowed(scenario: Scenario) -> Machine:
    """The neighbour whose address the inventory allows."""
    return scenario.client("allowed")


@pytest.fixture(scope="session")
def stranger(scenario: Scenario) -> Machine:
    """The neighbour whose address the inventory does not allow."""
    return scenario.client("stranger")


@pytest.fixture(scope="session")
def orthanc(node: Node, allowed: Machine) -> Orthanc:
    """Orthanc through curl -u admin:admin on the neighbour that is allowed."""
    return Orthanc(allowed, node)


@pytest.fixture(scope="session")
def study(
    scenario: Scenario,
    node: Node,
    allowed: Machine,
    orthanc: Orthanc,
    tmp_path_factory: pytest.TempPathFactory,
) -> Study:
    """A study that came in from the PACS, for a patient whom load_keys.yml made known."""
    directory = tmp_path_factory.mktemp("pacs")
    patient = f"HOSPITAL-{uuid.uuid4().hex[:12]}"
    pseudonym = f"ANON-TRIAL-{uuid.uuid4().hex[:12]}"
    keys = directory / "patients.csv"
    keys.write_text(f"patient_id,pseudonym\n{patient},{pseudonym}\n{patient}-2,\n")
    own = {"patients.csv": str(keys)}
    loaded = scenario.play(*command("README.md", "playbooks/load_keys.yml", own))
    assert loaded.returncode == 0, loaded.errors
    made = make_study(directory / patient, patient, pseudonym)
    code, said = send(made, allowed, node)
    assert code == 0, said
    orthanc.wait_for(pseudonym, made.instances)
    return made
