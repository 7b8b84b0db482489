"""The node, its neighbours, and studies of many patients at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from shared.ctp_node import Patient, ctp, load, new_patient, node, orthanc, pacs, status
from shared.machines import Machine, Node, Scenario
from shared.streams import Rest, ct_slices

__all__ = ["ctp", "load", "node", "orthanc", "pacs"]

Send = Callable[..., int]


@pytest.fixture(scope="session")
def stranger(scenario: Scenario) -> Machine:
    """The neighbour that the inventory lets in nowhere."""
    return scenario.client("stranger")


@pytest.fixture
def patient() -> Patient:
    """A patient whom KeyDB does not know yet."""
    return new_patient()


@pytest.fixture
def send(pacs: Machine, node: Node, tmp_path: Path) -> Send:
    """Send a small CT study of each patient from the PACS."""

    def send_studies(patients: Sequence[Patient], slices: int = 1, called: str = "CTP") -> int:
        directory = tmp_path / "studies"
        directory.mkdir(exist_ok=True)
        for one, each in enumerate(patients):
            for two, image in enumerate(ct_slices(each.patient_id, slices, side=16)):
                image.save_as(directory / f"{one:04d}-{two:04d}.dcm", enforce_file_format=True)
        pacs.run("rm", "-rf", "/root/studies")
        pacs.put(directory, "/root/studies")
        return pacs.run(
            *("dcmsend", "--timeout", "5", "--aetitle", "PACS", "--call", called),
            *("--scan-directories", node.address, "8104", "/root/studies"),
            check=False,
        ).returncode

    return send_studies


def empty_quarantine(scenario: Scenario, ctp: Rest) -> None:
    """Remove what other tests left."""
    if status(ctp)["quarantine"]:
        extra = {"purge_older_than_days": "0.000001", "purge_confirm": "node"}
        assert scenario.play("playbooks/quarantine.yml", extra=extra).returncode == 0
        assert not status(ctp)["quarantine"]
