"""Who can reach which port: a connection attempt for each pair, nothing read back."""

from __future__ import annotations

import pytest
from conftest import CONTROL_PORT, unguarded
from shared.machines import Machine, Node, Scenario
from shared.reach import Attempt, connections

PUBLISHED = [8042, 8104, 9090, 5433]
# Orthanc's DICOM port takes objects from CTP alone, and 5432 is KeyDB's inside the stack.
NOT_PUBLISHED = [4242, 5432, 104]
# The engine listens on these for other nodes of a Swarm, and this one has none.
SWARM = [2377, 7946]


Pair = tuple[str, int]


@pytest.fixture(scope="module")
def connected(scenario: Scenario, node: Node) -> dict[Pair, bool]:
    """Which port of the node each machine reached, all of them tried at once."""
    ports = [CONTROL_PORT, *PUBLISHED, *NOT_PUBLISHED, *SWARM]
    pairs = [(source, port) for source in ("allowed", "stranger", "node") for port in ports]
    attempts = [
        Attempt(
            scenario.client(source),
            node.address,
            port,
            control=port == CONTROL_PORT or (source != "stranger" and port in PUBLISHED),
        )
        for source, port in pairs
    ]
    with unguarded(node):
        return dict(zip(pairs, connections(attempts)))


def test_stranger_reaches_the_node_itself(connected: dict[Pair, bool]) -> None:
    assert connected["stranger", CONTROL_PORT]


@pytest.mark.parametrize("port", PUBLISHED)
@pytest.mark.parametrize(
    ("source", "expected"), [("allowed", True), ("stranger", False), ("node", True)]
)
def test_published_port(
    connected: dict[Pair, bool], source: str, port: int, expected: bool
) -> None:
    assert connected[source, port] is expected


@pytest.mark.parametrize("port", PUBLISHED)
def test_published_port_on_loopback(node: Node, port: int) -> None:
    assert node.connects("127.0.0.1", port)


@pytest.mark.parametrize("port", SWARM)
def test_the_swarm_takes_no_other_node(connected: dict[Pair, bool], port: int) -> None:
    assert connected["node", port]
    assert not connected["stranger", port]
    assert not connected["allowed", port]


@pytest.mark.parametrize("port", NOT_PUBLISHED)
@pytest.mark.parametrize("source", ["allowed", "stranger", "node"])
def test_port_that_is_not_published(connected: dict[Pair, bool], source: str, port: int) -> None:
    assert not connected[source, port]


def test_stranger_cannot_go_round_the_published_port(stranger: Machine, node: Node) -> None:
    """A machine on the same network can send packets for a container's own address to the node."""
    (task,) = node.tasks("auscat_front")
    bridge = node.json("docker", "network", "inspect", "docker_gwbridge")[0]
    address = bridge["Containers"][task["Id"]]["IPv4Address"].split("/")[0]
    assert node.connects(address, 8042), f"{address} is not the address of front on the bridge"
    stranger.run("ip", "route", "replace", address, "via", node.address)
    try:
        with unguarded(node) as port:
            itself = Attempt(stranger, node.address, port, control=True)
            round_it = Attempt(stranger, address, 8042, control=False)
            assert connections([itself, round_it]) == [True, False]
    finally:
        stranger.run("ip", "route", "delete", address)
