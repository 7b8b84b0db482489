"""An object that is too large for Orthanc, beside a stream: it is held back, the others go on."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shared.ctp_node import new_patient, status
from shared.machines import Machine, Node, Scenario, wait_for
from shared.streams import Rest, Stream, balance, ct_slices

OBJECTS = 200
SIDE = 4000
"""Rows of the large object: 32 MB, of which Orthanc needs four times as much."""


@pytest.fixture
def tight(node: Node) -> Iterator[None]:
    """Orthanc with room for what is usual and not for the large object."""
    command = ["docker", "service", "update", "--quiet", "--limit-memory", "120M"]
    node.run(*command, "auscat_orthanc", timeout=300)
    yield
    # To what the stack deployed: site.yml has nothing to change afterwards.
    node.run("docker", "service", "rollback", "--quiet", "auscat_orthanc", timeout=300)
    node.wait_until_healthy(6)


def send(pacs: Machine, node: Node, patient_id: str, directory: Path) -> None:
    (image,) = ct_slices(patient_id, 1, side=SIDE)
    image.InstanceNumber = OBJECTS + 1
    image.save_as(directory / "large.dcm", enforce_file_format=True)
    pacs.put(directory, "/root/large")
    titles = ["--aetitle", "PACS", "--call", "CTP"]
    pacs.run("dcmsend", *titles, node.address, "8104", "/root/large/large.dcm", timeout=300)
    pacs.run("rm", "-r", "/root/large")


def test_it_is_held_back_and_the_others_go_on(
    scenario: Scenario,
    node: Node,
    pacs: Machine,
    ctp: Rest,
    orthanc: Rest,
    load: Callable[..., None],
    quarantined: Callable[[], set[str]],
    tight: None,
    tmp_path: Path,
) -> None:
    patient, other = new_patient(), new_patient()
    load(patient, other)
    with Stream(node, ct_slices(patient.patient_id, OBJECTS, side=128)) as stream:
        stream.wait(OBJECTS // 4)
        send(pacs, node, other.patient_id, tmp_path)
        stream.wait(OBJECTS, 300)
    result = balance(orthanc, patient.pseudonym, stream, quarantined)
    assert (result.acknowledged, result.arrived) == (OBJECTS, OBJECTS), result
    assert (result.doubled, result.quarantined, result.lost) == (0, 0, 0), result

    def held() -> Any:
        return status(ctp)["held_back"]

    (why,) = wait_for("the large one is held back", held, 300)
    assert why.startswith("Orthanc ended, ") and "; 31 MiB, SOP class 1.2.840.10008.5.1" in why, why
    reasons = [each["reason"] for each in status(ctp)["quarantine"]]
    assert reasons.count("refused-by-orthanc") == 1, reasons
    # A release of everything does not let it loose again.
    assert ctp.ask("/api/quarantine/release", body={})["left"]["refused-by-orthanc"] == 1
    found = scenario.play("playbooks/troubleshoot.yml")
    assert why in found.text
    assert other.patient_id not in found.text


def test_with_more_memory_it_arrives(
    node: Node, pacs: Machine, ctp: Rest, orthanc: Rest, load: Callable[..., None], tmp_path: Path
) -> None:
    """The same size, and the limit that follows from the default."""
    patient = new_patient()
    load(patient)
    send(pacs, node, patient.patient_id, tmp_path)
    query = {"Level": "Instance", "Query": {"PatientID": patient.pseudonym}}
    wait_for("it is in Orthanc", lambda: orthanc.ask("/tools/find", query), 120)

    def emptied() -> bool:
        """Delete what is there; what was released before may leave meanwhile, and return."""
        held = status(ctp)["quarantine"]
        for each in held:
            try:
                ctp.ask(f"/api/quarantine/{each['id']}", method="DELETE")
            except urllib.error.HTTPError as error:
                assert error.code == 404, error
        return not held

    wait_for("quarantine is empty", emptied, 120)
