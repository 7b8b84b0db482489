"""The node, its neighbours, and studies of many patients at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from shared.ctp_node import Patient, ctp, load, new_patient, node, orthanc, pacs, send_small
from shared.known_faults import Site, empty_quarantine
from shared.machines import Machine, Node, Scenario

__all__ = ["ctp", "empty_quarantine", "load", "node", "orthanc", "pacs"]

Send = Callable[..., int]


@pytest.fixture
def patient() -> Patient:
    """A patient whom KeyDB does not know yet."""
    return new_patient()


@pytest.fixture
def send(pacs: Machine, node: Node, tmp_path: Path) -> Send:
    """Send a small CT study of each patient from the PACS."""

    def send_studies(patients: Sequence[Patient], slices: int = 1) -> int:
        return send_small(pacs, node, patients, tmp_path, slices)

    return send_studies


@pytest.fixture
def site(scenario: Scenario, node: Node, tmp_path: Path) -> Site:
    """Where faults are caused."""
    return Site(scenario, node, tmp_path)
