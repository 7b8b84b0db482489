"""Studies and pairs of keys outlive the stack and a reboot. Last, because it takes things away.

What test_80_changes.py changed is as the inventory has it from the first test on.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import unguarded
from shared.documented import command
from shared.machines import Machine, Node, Scenario, wait_for
from shared.reach import Attempt, connections
from shared.studies import Orthanc, Study, make_study, send

SERVICES = 5


@pytest.fixture(scope="module")
def stored(study: Study, orthanc: Orthanc) -> dict[str, str]:
    """The study's files as Orthanc serves them: SOP Instance UID to the file's hash."""
    found = orthanc.hashes(study.pseudonym)
    assert len(found) == study.instances
    return found


def test_study_survives_the_removal_of_the_stack(
    scenario: Scenario, node: Node, study: Study, orthanc: Orthanc, stored: dict[str, str]
) -> None:
    node.run("docker", "stack", "rm", "auscat")
    wait_for(
        "no container of the stack is left",
        lambda: not node.output("docker", "ps", "--quiet"),
        seconds=120,
    )
    outcome = scenario.play("site.yml", "--skip-tags", "verify")
    assert outcome.returncode == 0, outcome.errors
    node.wait_until_healthy(SERVICES)
    assert orthanc.hashes(study.pseudonym) == stored


def test_everything_comes_back_after_a_reboot(
    node: Node, study: Study, orthanc: Orthanc, stored: dict[str, str]
) -> None:
    left = "/srv/auscat/orthanc_temporary/left-by-an-archive"
    node.run("touch", left)
    node.run("chown", "--reference=/srv/auscat/orthanc_temporary", left)
    restart = ["docker", "restart", "--time", "90", node.container]
    subprocess.run(restart, check=True, capture_output=True)
    wait_for(
        "systemd has started everything",
        lambda: node.run("systemctl", "is-system-running", check=False).stdout.strip() == "running",
        seconds=120,
    )
    node.wait_until_healthy(SERVICES)
    assert orthanc.hashes(study.pseudonym) == stored
    assert not node.host.file(left).exists


def test_ports_are_limited_after_the_reboot(
    node: Node, allowed: Machine, stranger: Machine
) -> None:
    ports = [8042, 8104, 9090, 5433]
    with unguarded(node) as control:
        found = connections(
            Attempt(source, node.address, port, control=source is allowed or port == control)
            for source in (allowed, stranger)
            for port in (control, *ports)
        )
    assert found == [True, *(True for _ in ports), True, *(False for _ in ports)]


def test_studies_still_come_in(
    node: Node, study: Study, orthanc: Orthanc, allowed: Machine, tmp_path: Path
) -> None:
    """A second study of the patient finds the pair of keys that was loaded before."""
    more = make_study(tmp_path / "later", study.patient_id, study.pseudonym, instances=2)
    code, said = send(more, allowed, node)
    assert code == 0, said
    orthanc.wait_for(study.pseudonym, study.instances + more.instances)


def test_nothing_is_left_to_do(scenario: Scenario) -> None:
    outcome = scenario.play(*command("docs/guide.md", "site.yml"))
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []
