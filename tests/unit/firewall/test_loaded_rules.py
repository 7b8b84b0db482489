"""What is published only where the loaded rules limit it, in a network namespace of its own."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import subprocess
from ipaddress import IPv4Network
from multiprocessing.connection import Connection
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.loaded_rules import (
    Port,
    not_limited_here,
    published_by,
)
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.outgoing import (
    Destination,
)
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import (
    SWARM_BRIDGE,
    PortRule,
    normalise,
    render,
)

in_a_kernel = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "unshare"))),
    reason="needs root, nft and unshare",
)
CLONE_NEWNET = 0x40000000
PORTS: set[Port] = {("tcp", 8042), ("udp", 8042), ("tcp", 9090)}
LIMITED = (
    {"published": 8042, "target": 80, "sources": ["192.0.2.0/24", "2001:db8::/64"]},
    {"published": 8042, "target": 80, "protocol": "udp", "sources": []},
    {"published": 9090, "target": 90, "sources": []},
    {"published": 4242, "sources": []},
)
#: Whom the loaded rules let a service connect to.
LOADED = [Destination(IPv4Network("198.51.100.7"), "tcp", 104)]
LOADED_RULE = (
    "meta nfproto ipv4 meta l4proto tcp ct original ip daddr 198.51.100.7 "
    "ct original proto-dst 104 ct original proto-src < 4096 return"
)


def rules_of(declared: tuple[dict[str, Any], ...]) -> list[PortRule]:
    return normalise([{"service": "test", "name": "x", **each} for each in declared])


def asked(commands: list[str], declared: tuple[dict[str, Any], ...] = LIMITED) -> list[Port]:
    """What is not limited where these ports are and somebody then ran these nft commands."""
    return looked(commands, declared)[0]


def looked(
    commands: list[str],
    declared: tuple[dict[str, Any], ...] = LIMITED,
    wished: tuple[dict[str, Any], ...] = (),
    to: list[Destination] | None = None,
) -> tuple[list[Port], list[str]]:
    """The same, and who is let in that these declarations do not name."""

    def child(answer: Connection) -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        if declared:
            text = render(rules_of(declared), SWARM_BRIDGE, LOADED)
            subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
        for command in commands:
            subprocess.run(["nft", "-f", "-"], input=command + "\n", text=True, check=True)
        answer.send(not_limited_here(PORTS, rules_of(wished), to))

    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=child, args=(there,))
    process.start()
    there.close()
    try:
        found: tuple[list[Port], list[str]] = here.recv()
    finally:
        process.join()
    return found


@in_a_kernel
def test_what_is_limited_may_be_published() -> None:
    assert asked([]) == []


@in_a_kernel
@pytest.mark.parametrize("name", ["no table", "another's table", "flushed", "deleted"])
def test_without_the_table_nothing_is_limited(name: str) -> None:
    commands, declared = {
        "no table": ([], ()),
        "another's table": (["add table inet auscat2", "add table ip auscat"], ()),
        "flushed": (["flush ruleset"], LIMITED),
        "deleted": (["delete table inet auscat"], LIMITED),
    }[name]
    assert asked(commands, declared) == sorted(PORTS)


@in_a_kernel
def test_a_port_that_is_open_to_containers_is_found() -> None:
    """As the rules of an earlier version leave it."""
    earlier = tuple({key: each[key] for key in each if key != "target"} for each in LIMITED)
    assert asked([], earlier) == sorted(PORTS)


@in_a_kernel
@pytest.mark.parametrize("left_out", range(3))
def test_a_port_that_is_not_declared_to_the_firewall_is_found(left_out: int) -> None:
    declared = LIMITED[:left_out] + LIMITED[left_out + 1 :]
    missing = LIMITED[left_out]
    assert asked([], declared) == [(missing.get("protocol", "tcp"), missing["published"])]


@in_a_kernel
@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("flush chain inet auscat tcp_9090", [("tcp", 9090)]),
        ("insert rule inet auscat tcp_9090 accept", [("tcp", 9090)]),
        ("flush chain inet auscat incoming", sorted(PORTS)),
        ("flush chain inet auscat forwarded", sorted(PORTS)),
        ("insert rule inet auscat forwarded accept", sorted(PORTS)),
        ("insert rule inet auscat incoming tcp dport 9090 accept", sorted(PORTS)),
        ("add table inet auscat { flags dormant; }", sorted(PORTS)),
        # Who may come in is looked at where it is declared; a port of others is not.
        ("add element inet auscat tcp_9090_ipv4 { 198.51.100.0/24 }", []),
        ("add chain inet auscat tcp_5433", []),
    ],
)
def test_a_table_that_was_changed_by_hand_is_not_believed(command: str, found: list[Port]) -> None:
    assert asked([command]) == found


ADDED = "add element inet auscat tcp_8042_ipv"


@in_a_kernel
@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("", []),
        (ADDED + "4 { 192.0.2.7 }", []),
        (ADDED + "4 { 198.51.100.7 }", ["8042/tcp from 198.51.100.7/32"]),
        # Merged with what was there: nft lists a range or a larger network.
        (ADDED + "4 { 192.0.3.0/24 }", ["8042/tcp from 192.0.2.0/23"]),
        (ADDED + "4 { 192.0.3.0/32 }", ["8042/tcp from 192.0.3.0/32"]),
        (ADDED + "4 { 0.0.0.0/0 }", ["8042/tcp from 0.0.0.0/0"]),
        (ADDED + "6 { 2001:db8:1::1 }", ["8042/tcp from 2001:db8:1::1/128"]),
        (ADDED.replace("8042", "9090") + "6 { ::/0 }", ["9090/tcp from ::/0"]),
        ("delete element inet auscat tcp_8042_ipv4 { 192.0.2.0/24 }", []),
    ],
)
def test_who_is_let_in_and_not_declared(command: str, more: list[str]) -> None:
    assert looked([command], wished=LIMITED) == ([], more)


@in_a_kernel
def test_a_list_that_was_narrowed_since() -> None:
    wished = ({**LIMITED[0], "sources": ["192.0.2.0/25"]}, *LIMITED[1:])
    assert looked([], wished=wished) == (
        [],
        ["8042/tcp from 192.0.2.0/24", "8042/tcp from 2001:db8::/64"],
    )


@in_a_kernel
def test_a_port_that_is_declared_and_not_of_the_stack() -> None:
    """The Swarm's own ports, and what the site limits itself."""
    wished = (*LIMITED, {"published": 2377, "sources": []})
    assert looked([], wished=wished) == ([("tcp", 2377)], [])


def test_the_ports_of_a_stack_file() -> None:
    ports = [
        {"target": 80, "published": 8042, "protocol": "tcp", "mode": "host"},
        {"target": 53, "published": "53", "protocol": "udp"},
        {"target": 81, "published": 8081},
        {"target": 82},
    ]
    document = {"services": {"a": {"ports": ports[:1]}, "b": {}, "c": {"ports": ports[1:]}}}
    assert published_by(document) == {("tcp", 8042), ("udp", 53), ("tcp", 8081)}
    assert published_by({}) == set()


ADD_OUT = "insert rule inet auscat outgoing index 1 accept"
MORE = Destination(IPv4Network("198.51.100.8"))


@in_a_kernel
@pytest.mark.parametrize(
    ("commands", "to", "more"),
    [
        ([], None, []),
        ([], LOADED, []),
        # One that the inventory names and that cannot be reached yet lets nobody out.
        ([], [*LOADED, MORE], []),
        ([ADD_OUT], LOADED, ["outwards: accept"]),
        ([ADD_OUT], None, []),
        ([], [], ["outwards: " + LOADED_RULE]),
        # What opens a port that all may come from is another rule.
        ([], [LOADED[0]._replace(of_all=True)], ["outwards: " + LOADED_RULE]),
        (["flush chain inet auscat outgoing"], LOADED, ["outwards: all"]),
        (["insert rule inet auscat outgoing drop"], LOADED, ["outwards: drop"]),
        (["flush chain inet auscat incoming"], LOADED, ["outwards: all"]),
        # No limit at all is the next task's.
        (["delete table inet auscat"], [], []),
    ],
)
def test_whom_services_may_connect_to_and_should_not(
    commands: list[str], to: list[Destination] | None, more: list[str]
) -> None:
    assert looked(commands, to=to)[1] == more
