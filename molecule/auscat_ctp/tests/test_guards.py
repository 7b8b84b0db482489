"""What guards an image whose inside is not ours: gate, drain and recovery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE
from shared.machines import Node, Scenario
from shared.rude import rejection
from shared.streams import Rest, Stream, balance, ct_slices

OBJECTS = 100


def associate(node: Node, called: str, calling: str) -> Any:
    ae = AE(ae_title=calling)
    ae.add_requested_context(CTImageStorage)
    association = ae.associate(node.address, 8104, ae_title=called)
    if association.is_established:
        association.release()
    return association


@pytest.mark.parametrize(
    ("called", "calling", "diagnostic"),
    [("WRONG", "PACS", 7), ("CTP", "STRANGER", 3)],  # PS3.8 9.3.4
)
def test_a_foreign_ae_title_is_rejected(
    node: Node, called: str, calling: str, diagnostic: int
) -> None:
    assert rejection(node.address, 8104, called, calling) == (1, 1, diagnostic)


def test_a_declared_one_is_accepted(node: Node) -> None:
    assert associate(node, "CTP", "PACS").is_released


def test_the_contract_of_the_image(node: Node) -> None:
    (task,) = node.tasks("auscat_ctp")
    environment = dict(entry.split("=", 1) for entry in task["Config"]["Env"])
    assert environment["ORTHANC_HOSTNAME"] == "orthanc"
    assert environment["ORTHANC_PORT"] == "4242"
    assert {"/logs", "/ctp_temp"} <= {mount["Destination"] for mount in task["Mounts"]}
    secrets = node.output("docker", "exec", task["Id"], "ls", "/run/secrets").split()
    assert sorted(secrets) == ["ctp_admin_pass", "keydb_pass", "keydb_user"]


@pytest.mark.parametrize("how", ["update", "kill"])
def test_nothing_acknowledged_is_lost(
    how: str,
    node: Node,
    orthanc: Rest,
    patient: tuple[str, str],
    quarantined: Callable[[], set[str]],
) -> None:
    patient_id, pseudonym = patient
    # More patient than the gate: what it turns away is its own doing (ctp_hold_seconds).
    with Stream(node, ct_slices(patient_id, OBJECTS), patience=150) as stream:
        stream.wait(OBJECTS // 4)
        if how == "update":
            node.run("docker", "service", "update", "--force", "--detach", "auscat_ctp")
        else:
            (task,) = node.tasks("auscat_ctp")
            node.run("docker", "kill", "--signal", "KILL", task["Id"])
        stream.wait(OBJECTS, 200)
    node.wait_until_healthy(6)
    result = balance(orthanc, pseudonym, stream, quarantined)
    assert (result.arrived, result.doubled, result.lost) == (OBJECTS, 0, 0), result
    assert stream.refusals == 0, "the gate lets senders wait"


def test_a_full_disk_refuses_and_says_so(
    scenario: Scenario, node: Node, orthanc: Rest, patient: tuple[str, str]
) -> None:
    """More free space is asked for than there is."""
    free = int(node.shell("df --output=avail --block-size=1M /srv/auscat/ctp/temp | tail -n 1"))
    part = ("site.yml", "--tags", "preflight,services,stack")
    outcome = scenario.play(*part, extra={"ctp_minimum_free_mib": free + 10000})
    assert outcome.returncode == 0, outcome.errors
    try:
        result, *_ = rejection(node.address, 8104, "CTP", "PACS")
        assert result == 2  # transient
    finally:
        outcome = scenario.play(*part)
    assert outcome.returncode == 0, outcome.errors
    assert associate(node, "CTP", "PACS").is_released
