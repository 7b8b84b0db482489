"""Fixtures of the site with two machines: each of them, the sender, and what both say over HTTP."""

from __future__ import annotations

import pytest
from shared.machines import Machine, Node, Scenario
from shared.streams import Rest, page


@pytest.fixture(scope="session")
def kv(scenario: Scenario) -> Node:
    """The identifiable side: KeyDB and CTP."""
    return scenario.node("kv")


@pytest.fixture(scope="session")
def cat(scenario: Scenario) -> Node:
    """The de-identified side: Orthanc."""
    return scenario.node("cat")


@pytest.fixture(scope="session")
def pacs(scenario: Scenario) -> Machine:
    """The neighbour that the inventory allows to send."""
    return scenario.client("pacs")


@pytest.fixture(scope="session")
def ctp(kv: Node) -> Rest:
    """What the supervisor tells on CTP's web port."""
    return page(kv, 9090, "admin", kv.variables["ctp_admin_password"])


@pytest.fixture(scope="session")
def orthanc(cat: Node) -> Rest:
    """Orthanc's REST API."""
    password = cat.variables["orthanc_registered_users"]["admin"]
    return page(cat, 8042, "admin", password)
