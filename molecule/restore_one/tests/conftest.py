"""The site of two machines, and its object store."""

from __future__ import annotations

import pytest
from shared.ctp_node import load, quarantined
from shared.machines import Machine, Scenario
from shared.two_machines import cat, ctp, kv, orthanc

__all__ = ["cat", "ctp", "kv", "load", "orthanc", "quarantined"]


@pytest.fixture(scope="session")
def store(scenario: Scenario) -> Machine:
    """The object store that holds both repositories."""
    return scenario.client("store")
