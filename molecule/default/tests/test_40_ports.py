"""Who can reach which port: a connection attempt for each pair, nothing read back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shared.machines import Machine, Node, Scenario, wait_for

PUBLISHED = [8042, 8104, 9090, 5433]
# Orthanc's DICOM port takes objects from CTP alone, and 5432 is KeyDB's inside the stack.
NOT_PUBLISHED = [4242, 5432, 104]
# The engine listens on these for other nodes of a Swarm, and this one has none.
SWARM = [2377, 7946]
CONTROL_PORT = 18888


@pytest.fixture(scope="module")
def unguarded(node: Node) -> Iterator[int]:
    """A listener on the node that nothing limits: proof that the stranger can reach the node."""
    program = f"import socket; s = socket.create_server(('', {CONTROL_PORT}))\nwhile 1: s.accept()"
    unit = "auscat-test-listener"
    node.run("systemd-run", f"--unit={unit}", "--collect", "python3", "-c", program)
    wait_for(
        "the listener accepts connections", lambda: node.connects("127.0.0.1", CONTROL_PORT), 10
    )
    yield CONTROL_PORT
    node.run("systemctl", "stop", unit)


def test_stranger_reaches_the_node_itself(stranger: Machine, node: Node, unguarded: int) -> None:
    assert stranger.connects(node.address, unguarded)


@pytest.mark.parametrize("port", PUBLISHED)
@pytest.mark.parametrize(
    ("source", "expected"), [("allowed", True), ("stranger", False), ("node", True)]
)
def test_published_port(
    scenario: Scenario, node: Node, source: str, port: int, expected: bool
) -> None:
    assert scenario.client(source).connects(node.address, port) is expected


@pytest.mark.parametrize("port", PUBLISHED)
def test_published_port_on_loopback(node: Node, port: int) -> None:
    assert node.connects("127.0.0.1", port)


@pytest.mark.parametrize("port", SWARM)
def test_the_swarm_takes_no_other_node(
    stranger: Machine, allowed: Machine, node: Node, port: int
) -> None:
    assert node.connects(node.address, port)
    assert not stranger.connects(node.address, port)
    assert not allowed.connects(node.address, port)


@pytest.mark.parametrize("port", NOT_PUBLISHED)
@pytest.mark.parametrize("source", ["allowed", "stranger", "node"])
def test_port_that_is_not_published(scenario: Scenario, node: Node, source: str, port: int) -> None:
    assert not scenario.client(source).connects(node.address, port)


def test_stranger_cannot_go_round_the_published_port(stranger: Machine, node: Node) -> None:
    """A machine on the same network can send packets for a container's own address to the node."""
    (task,) = node.tasks("auscat_orthanc")
    bridge = node.json("docker", "network", "inspect", "docker_gwbridge")[0]
    address = bridge["Containers"][task["Id"]]["IPv4Address"].split("/")[0]
    assert node.connects(address, 8042), f"{address} is not the address of Orthanc on the bridge"
    stranger.run("ip", "route", "replace", address, "via", node.address)
    try:
        assert not stranger.connects(address, 8042)
    finally:
        stranger.run("ip", "route", "delete", address)
