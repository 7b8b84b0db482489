"""Who is to reach a port, by sources and by connections."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.care import targets
from ansible_collections.auscat.imaging.plugins.module_utils.care.targets import (
    NAMELESS,
    addresses,
    is_meant,
    reach,
    strangers,
)

PORTS: list[dict[str, Any]] = [
    {"service": "ctp", "name": "dicom", "published": 8104, "protocol": "tcp",
     "sources": ["10.1.0.0/24"], "sources_variable": "ctp_dicom_sources"},
    {"service": "front", "name": "orthanc", "published": 8042, "sources": ["10.2.2.2"]},
    {"service": "swarm", "name": "gossip", "published": 7946, "protocol": "udp",
     "sources": ["10.0.0.1"]},
]  # fmt: skip
NAMED = {**PORTS[0], "source_problems": ["[1] is 'pacs'."]}


def test_who_is_to_reach_what() -> None:
    found = {
        (each["port"], each["address"]): each["who"]
        for each in addresses(PORTS, "10.2.2.2", ["10.9.9.9"], ["10.8.8.8"])
    }
    assert found == {
        (8104, "10.1.0.1"): "a declared source",
        (8104, "10.9.9.9"): "the sender",
        (8042, "10.2.2.2"): "the operator",
        (8042, "10.8.8.8"): "the viewer",
    }


def test_one_machine_is_asked_for_once_in_each_form() -> None:
    forms = ["10.9.9.9", "::ffff:10.9.9.9", "[2001:db8::9]", "2001:DB8:0::9", "fe80::9%eth0"]
    found = addresses(PORTS[:1], "", [*forms, "127.0.0.1", "::1", "::ffff:127.0.1.1", "pacs"])
    assert [each["address"] for each in found if each["who"] == "the sender"] == [
        "10.9.9.9",
        "2001:db8::9",
        "fe80::9",
    ]


@pytest.mark.parametrize(
    ("port", "address", "meant"),
    [
        (PORTS[0], "10.1.0.7", True),
        (PORTS[0], "::ffff:10.1.0.7", True),
        (PORTS[0], "10.2.0.7", False),
        (PORTS[0], "2001:db8::1", False),
        (PORTS[0], "127.0.0.1", True),
        (PORTS[0], "::1", True),
        (PORTS[0], "::ffff:127.0.0.1", True),
        # Nobody knows who that is.
        (PORTS[0], "", None),
        (PORTS[0], "pacs", None),
        # The name that has no address may be just this machine.
        (NAMED, "10.1.0.7", True),
        (NAMED, "10.2.0.7", None),
        ({**PORTS[0], "sources": ["pacs", "10.1.0.0/24"]}, "10.1.0.7", True),
        ({**PORTS[0], "sources": ["pacs"]}, "10.1.0.7", None),
        ({**PORTS[0], "sources": []}, "10.1.0.7", False),
    ],
)
def test_who_is_meant(port: dict[str, Any], address: str, meant: bool | None) -> None:
    assert is_meant(port, address) is meant


def test_the_machine_itself_is_no_stranger() -> None:
    asked = addresses(PORTS, "", ["10.9.9.9", "2001:db8::9", "fe80::9"])
    own = ["::ffff:10.9.9.9", "2001:db8:0:0::9", "fe80::9%eth0", "127.0.0.1"]
    assert {each["who"] for each in strangers(asked, own)} == {"a declared source"}


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of this machine at which a program listens, by IPv4 alone."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def port(number: int, **changes: Any) -> dict[str, Any]:
    return {
        **{"service": "orthanc", "published": number, "purpose": "Web", "sources": ["10.1.0.9"]},
        **changes,
    }


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "::ffff:127.0.0.1", "node"])
def test_own_ports_are_open_to_the_machine_itself(
    listening: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "node":
        # A double of Debian's /etc/hosts, which gives a machine's own name a loopback address.
        monkeypatch.setattr(targets, "resolved", lambda _: ["127.0.0.1"])
    (row,) = reach(name, [port(listening)], 3)
    assert (row["state"], row["own"], row["meant"]) == ("open", True, True)
    assert row["from"] == "127.0.0.1"


def test_a_port_at_which_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = int(server.getsockname()[1])
    (row,) = reach("127.0.0.1", [port(number)], 3)
    assert (row["state"], row["own"]) == ("refused", True)


def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    # A double of the resolver: a name under .invalid could be answered by a hospital's DNS.
    def nameless(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nameless)
    for name in ("cat", "a" * 80):
        (row,) = reach(name, [port(8042), port(7946, protocol="udp")], 3)
        assert (row["state"], row["from"], row["meant"]) == (NAMELESS, "", None)


FAR = "192.0.2.7"


def test_each_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """By doubles of resolver and network: the first family is not routed here."""
    monkeypatch.setattr(targets, "resolved", lambda _: ["2001:db8::7", FAR])
    told = {"2001:db8::7": ("no way to it", ""), FAR: ("open", "10.1.0.9")}
    asked = [port(8042), port(8043, sources=["10.2.0.0/16"])]
    found = reach("cat", asked, 3, connect=lambda address, *_: told[address])
    assert [(row["state"], row["meant"], row["own"]) for row in found] == [
        ("open", True, False),
        ("open", False, False),
    ]
    told[FAR] = ("refused", "10.1.0.9")
    (row,) = reach("cat", asked[:1], 3, connect=lambda address, *_: told[address])
    assert (row["state"], row["from"]) == ("refused", "10.1.0.9")
    # Its own address, by which a machine comes to itself.
    told[FAR] = ("open", FAR)
    (row,) = reach("cat", asked[:1], 3, connect=lambda address, *_: told[address])
    assert (row["own"], row["meant"]) == (True, True)
    told[FAR] = ("open", "10.3.0.1")
    (row,) = reach("cat", asked[:1], 3, limited=False, connect=lambda address, *_: told[address])
    assert row["meant"] is True, "the inventory limits nothing"
