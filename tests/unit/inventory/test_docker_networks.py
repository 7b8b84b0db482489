from __future__ import annotations

from ipaddress import IPv4Network, ip_interface
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import docker_networks

POOLS = ["10.199.0.0/16"]
BARE: dict[str, Any] = {
    "networks": [],
    "routes": [{"destination": "192.0.2.0/24", "device": "eth0"}],
    "engine": {"version": "", "swarm_state": "inactive"},
}
#: As the module preflight finds a node.
NODE: dict[str, Any] = {
    "networks": [
        {"name": "bridge", "subnet": "172.17.0.0/16", "device": "docker0"},
        {"name": "docker_gwbridge", "subnet": "172.18.0.0/16", "device": "docker_gwbridge"},
        {"name": "ingress", "subnet": "10.0.0.0/24", "device": "br-0123456789ab"},
        {"name": "auscat_ctp_alone", "subnet": "10.0.1.0/24", "device": "br-123456789abc"},
        {"name": "six", "subnet": "fd00::/64", "device": "br-23456789abcd"},
    ],
    "routes": [
        {"destination": "172.17.0.0/16", "device": "docker0"},
        {"destination": "172.18.0.0/16", "device": "docker_gwbridge"},
        {"destination": "192.0.2.0/24", "device": "eth0"},
    ],
    "engine": {"version": "26.1", "swarm_state": "active"},
}


def changed(machine: dict[str, Any], *routes: tuple[str, str]) -> dict[str, Any]:
    more = [{"destination": destination, "device": device} for destination, device in routes]
    return {**machine, "routes": [*machine["routes"], *more]}


def used(machine: dict[str, Any], pools: list[str], overlays: int = 3) -> dict[str, str]:
    return {k: str(v) for k, v in docker_networks.used(machine, pools, overlays).items()}


def test_what_docker_will_take_of_a_bare_machine() -> None:
    assert used(BARE, []) == {
        "docker0": "172.17.0.0/16",
        "docker_gwbridge": "172.18.0.0/16",
        "the Swarm's network 1": "10.0.0.0/24",
        "the Swarm's network 2": "10.0.1.0/24",
        "the Swarm's network 3": "10.0.2.0/24",
    }
    assert used(BARE, [], 0) == {"docker0": "172.17.0.0/16"}


def test_bridges_evade_the_machines_routes_and_the_swarm_does_not() -> None:
    machine = changed(BARE, ("172.16.0.0/14", "eth1"), ("10.0.1.0/24", "eth2"))
    assert used(machine, [], 2) == {
        "docker0": "172.20.0.0/16",
        "docker_gwbridge": "172.21.0.0/16",
        "the Swarm's network 1": "10.0.0.0/24",
        "the Swarm's network 2": "10.0.1.0/24",
    }


def test_what_docker_has_on_a_node() -> None:
    assert used(NODE, []) == {
        "docker0": "172.17.0.0/16",
        "docker_gwbridge": "172.18.0.0/16",
        "ingress": "10.0.0.0/24",
        "auscat_ctp_alone": "10.0.1.0/24",
    }


def test_the_pools_are_halved_and_nothing_overlaps() -> None:
    wished = docker_networks.pools(POOLS)
    assert wished == {
        "engine": {
            "default-address-pools": [{"base": "10.199.0.0/17", "size": 24}],
            "bip": "10.199.0.1/24",
        },
        "swarm": ["10.199.128.0/17"],
        "bits": 24,
    }
    taken = list(docker_networks.used(BARE, POOLS, 9).values())
    assert len(taken) == 11
    assert all(each.subnet_of(IPv4Network(POOLS[0])) for each in taken)
    assert not any(a.overlaps(b) for i, a in enumerate(taken) for b in taken[:i])
    assert ip_interface(wished["engine"]["bip"]).network == taken[0]
    assert docker_networks.pools([]) == {"engine": {}, "swarm": [], "bits": 24}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], []),
        (["10.199.0.0/16"], []),
        (["10.199.0.0/20", "10.198.0.0/20"], []),
        ("10.199.0.0/16", ["is '10.199.0.0/16'"]),
        (None, ["is None"]),
        (["10.199.0.1/16"], ["[0] is '10.199.0.1/16'"]),
        (["10.199.0.0/24"], ["[0] is '10.199.0.0/24'"]),
        (["10.0.0.0/7"], ["[0] is"]),
        (["fd00::/32"], ["[0] is 'fd00::/32'"]),
        ([{"base": "10.0.0.0/8", "size": 24}], ["[0] is {"]),
        (["10.199.0.0/20"], ["too small"]),
        (["10.199.0.0/16", "10.199.4.0/22"], ["overlap"]),
    ],
)
def test_pools_that_are_refused(value: Any, words: list[str]) -> None:
    problems = docker_networks.pool_problems(value)
    assert len(problems) == bool(words)
    for word in words:
        assert problems[0].startswith("auscat_docker_address_pools")
        assert word in problems[0] and "Accepted: a list of IPv4 networks" in problems[0]


@pytest.mark.parametrize(
    ("wished", "present", "is_refused"),
    [
        ([], ["10.0.0.0/8"], False),
        (POOLS, [], False),
        (POOLS, ["10.199.128.0/17"], False),
        (POOLS, ["10.0.0.0/8"], True),
    ],
)
def test_a_swarm_keeps_its_pools(wished: list[str], present: list[str], is_refused: bool) -> None:
    problems = docker_networks.swarm_pool_problems(wished, present, "kv01")
    assert len(problems) == is_refused
    for problem in problems:
        assert "made with 10.0.0.0/8" in problem and "teardown_swarm=true" in problem


@pytest.mark.parametrize(
    ("machine", "source", "refused", "said"),
    [
        (NODE, "172.18.4.0/24", "172.18.0.0/16, a network that Docker uses", ""),
        (NODE, "172.18.0.0/16", "docker_gwbridge", ""),
        (NODE, "10.0.1.77/32", "auscat_ctp_alone", ""),
        (NODE, "10.0.0.0/8", "", "10.0.0.0/24 (ingress), 10.0.1.0/24 (auscat_ctp_alone)"),
        (NODE, "192.0.2.7", "", ""),
        (NODE, "127.0.0.1", "", ""),
        (NODE, "0.0.0.0/0", "", ""),
        (NODE, "fd00::5", "", ""),
        (NODE, "pacs.hospital.example", "", ""),
        (BARE, "172.17.3.4", "docker0", ""),
        (BARE, "10.0.2.9", "the Swarm's network 3", ""),
        (BARE, "10.1.0.0/16", "", ""),
        (changed(NODE, ("172.18.9.0/24", "tun0")), "192.0.2.7", "172.18.9.0/24 (tun0)", ""),
        (changed(NODE, ("10.0.0.0/16", "eth1")), "192.0.2.7", "", "10.0.0.0/16 (eth1)"),
        (changed(BARE, ("10.0.0.0/24", "eth1")), "192.0.2.7", "10.0.0.0/24 (eth1)", ""),
        # Another bridge than Docker's, with the same network.
        (changed(NODE, ("172.18.0.0/16", "br0")), "192.0.2.7", "172.18.0.0/16 (br0)", ""),
    ],
)
def test_who_would_be_cut_off(
    machine: dict[str, Any], source: str, refused: str, said: str
) -> None:
    found = docker_networks.collisions(machine, [], {"ctp_dicom_sources": [source]}, 3)
    for texts, words in zip(found, (refused, said)):
        assert bool(texts) == bool(words), texts
        assert all(words in text and "auscat_docker_address_pools" in text for text in texts)


def test_the_pools_are_the_way_out() -> None:
    sources = {"ctp_dicom_sources": ["172.17.3.4", "10.0.0.7"]}
    assert len(docker_networks.collisions(BARE, [], sources, 3)[0]) == 2
    assert docker_networks.collisions(BARE, POOLS, sources, 3) == ([], [])
