"""The two bare machines, and the sample inventories filled in for them."""

from __future__ import annotations

import os

import pytest
from shared.machines import Machine, Scenario
from sites import Site, make_site


@pytest.fixture(scope="session", autouse=True)
def _no_vault_password_of_ours() -> None:
    """The environment of whoever runs the tests must not decide what they see."""
    for name in ("ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_VAULT_IDENTITY_LIST"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def machines(scenario: Scenario) -> dict[str, Machine]:
    """The two bare machines."""
    return {name: scenario.client(name) for name in ("kv01", "cv01")}


@pytest.fixture(scope="session")
def production(machines: dict[str, Machine], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """inventories/production, filled in for both machines. Not to be changed."""
    return make_site("production", tmp_path_factory.mktemp("production"), machines)


@pytest.fixture(scope="session")
def single_vm(machines: dict[str, Machine], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """inventories/single_vm, filled in for one of the machines. Not to be changed."""
    directory = tmp_path_factory.mktemp("single_vm")
    return make_site("single_vm", directory, {"node01": machines["kv01"]})
