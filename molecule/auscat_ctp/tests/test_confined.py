"""A CTP that is not ours: the gate sees none of its data, and Orthanc nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shared.confined import Container, containers, reaches, status, tried
from shared.machines import Node


@pytest.fixture(scope="module")
def found(node: Node) -> dict[str, Container]:
    """All containers of the node."""
    return containers(node)


@pytest.fixture
def nothing_behind(node: Node) -> Iterator[None]:
    """No answer from beyond the node in the place of a container that cannot be reached."""
    hole = ("blackhole", "10.0.0.0/8")
    node.run("ip", "route", "add", *hole)
    yield
    node.run("ip", "route", "del", *hole)


def test_no_container_has_anything_to_spare(node: Node, found: dict[str, Container]) -> None:
    assert sorted(found) == ["ctp", "ctp_export", "ctp_gate", "front", "keydb", "orthanc"]
    for name, container in found.items():
        host, seen = container.seen["HostConfig"], status(node, container)
        assert host["ReadonlyRootfs"] is True, name
        assert host["PidsLimit"] > 0, name
        assert int(seen["CapBnd"], 16) == int(seen["CapPrm"], 16) == 0, name
        assert seen["NoNewPrivs"] == "1", name
        assert tried(node, container, "echo x > /x")[0] != 0, name


@pytest.mark.usefixtures("nothing_behind")
def test_orthanc_reaches_nobody(node: Node, found: dict[str, Container]) -> None:
    """CTP's image listens where it likes; so Orthanc shares no network with it."""
    places = {
        (address, port): other.service
        for other in found.values()
        if other.service != "orthanc"
        for address in other.addresses
        for port in (*other.ports, 5432, 8104, 9090)
    }
    reached = reaches(node, found["orthanc"], list(places))
    assert {(places[place], place[1]) for place in reached} == {
        ("ctp_export", 4242),
        ("ctp_export", 4243),
    }


def test_the_gate_has_free_space_and_no_data(node: Node, found: dict[str, Container]) -> None:
    """It has all that was written brought to disk by a directory that is empty."""
    gate = found["ctp_gate"]
    assert tried(node, gate, "ls -A /ctp_free_space") == (0, "")
    ask = ("stat", "--file-system", "--format=%i %b")
    here = node.output(*ask, "/srv/auscat/ctp/temp")
    assert node.output("docker", "exec", gate.id, *ask, "/ctp_free_space") == here
    sources = [each["Source"] for each in gate.seen["Mounts"] if each["Type"] == "bind"]
    assert not [each for each in sources if each.endswith("/ctp/temp")]
