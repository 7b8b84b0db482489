"""Scenarios run side by side: none uses what another does of the machine that runs them."""

from __future__ import annotations

import ipaddress
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.vars.manager import VariableManager

MOLECULE = Path(__file__).resolve().parents[2] / "molecule"
SCENARIOS = sorted(file.parent.name for file in MOLECULE.glob("*/molecule.yml"))

# What scenarios may write to at once: each says why it is no conflict.
SHARED = {
    "/sys/fs/cgroup",  # the kernel's; each container has a part of its own
}


@cache
def machines(scenario: str) -> dict[str, dict[str, Any]]:
    """Give the test hosts of a scenario and their variables, as Ansible evaluates them."""
    if AnsibleCollectionConfig.collection_finder is None:
        init_plugin_loader()
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(MOLECULE / scenario / "inventory")])
    manager = VariableManager(loader=loader, inventory=inventory)
    found = {}
    for host in inventory.get_hosts():
        variables = manager.get_vars(host=host)
        templar = Templar(loader=loader, variables=variables)
        found[host.name] = {
            name: templar.template(value)
            for name, value in variables.items()
            if name.startswith(("testhost_", "ansible_host", "ansible_port", "volume_", "vm_"))
        }
    return {name: each for name, each in found.items() if "testhost_address" in each}


def subnets(scenario: str) -> set[str]:
    """Give the networks of a scenario."""
    return {
        str(value)
        for each in machines(scenario).values()
        for name, value in each.items()
        if name.startswith("testhost_subnet")
    }


def claims(scenario: str) -> set[str]:
    """Say what of the outer machine a scenario has for itself, in words that can be compared."""
    found = set()
    for each in machines(scenario).values():
        if "testhost_network" in each:
            found.add(f"network {each['testhost_network']}")
            found.add(f"container {each.get('testhost_container', each['ansible_host'])}")
        else:
            found.add(f"port {each['ansible_port']} of {each['ansible_host']}")
        for option in each.get("testhost_options", []):
            device = re.fullmatch(r"--device=(/dev/loop\d+)", option)
            volume = re.fullmatch(r"--volume=(/[^:]+):[^:]+", option)  # with :ro nobody writes
            found |= {f"path {match[1]}" for match in (device, volume) if match}
        found |= {f"path /dev/loop{number}" for number in each.get("volume_disks", [])}
        if "vm_directory" in each:
            found.add(f"path {each['vm_directory']}")
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_claims_something(scenario: str) -> None:
    """Else the tests below would hold whatever is written in its inventory."""
    kinds = {claim.partition(" ")[0] for claim in claims(scenario)}
    assert {"network", "container"} <= kinds or "port" in kinds


def test_no_two_scenarios_claim_the_same() -> None:
    owner: dict[str, str] = {}
    for scenario in SCENARIOS:
        for claim in claims(scenario) - {f"path {path}" for path in SHARED}:
            assert owner.setdefault(claim, scenario) == scenario, claim


def test_no_path_lies_within_that_of_another() -> None:
    paths = {
        (scenario, Path(claim.removeprefix("path ")))
        for scenario in SCENARIOS
        for claim in claims(scenario)
        if claim.startswith("path ")
    }
    nested = [
        (one, other)
        for one in paths
        for other in paths
        if one[0] != other[0] and one[1] in other[1].parents
    ]
    assert not nested


def test_networks_do_not_overlap() -> None:
    networks = [
        (scenario, ipaddress.ip_network(subnet))
        for scenario in SCENARIOS
        for subnet in subnets(scenario)
    ]
    assert len(networks) >= len(SCENARIOS) - 1  # the virtual machine has none
    for index, (one, network) in enumerate(networks):
        for other, another in networks[index + 1 :]:
            assert network.version != another.version or not network.overlaps(another), (one, other)


def test_addresses_lie_in_the_network_of_their_scenario() -> None:
    for scenario in SCENARIOS:
        for name, each in machines(scenario).items():
            if "testhost_subnet" in each:
                network = ipaddress.ip_network(each["testhost_subnet"])
                assert ipaddress.ip_address(each["testhost_address"]) in network, (scenario, name)
