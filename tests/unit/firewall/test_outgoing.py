"""Whom services may connect to: what the inventory means, and the rules with real packets."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.firewall import outgoing
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import (
    SWARM_BRIDGE,
    normalise,
    render,
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10.1.2.3", ("10.1.2.3", 0, "")),
        ("10.1.2.0/24", ("10.1.2.0/24", 0, "")),
        (" pacs ", ("pacs", 0, "")),
        ("pacs.hospital.example:104", ("pacs.hospital.example", 104, "tcp")),
        ("10.1.2.0/24:104", ("10.1.2.0/24", 104, "tcp")),
        ("10.1.2.3:53/udp", ("10.1.2.3", 53, "udp")),
    ],
)
def test_what_an_entry_means(text: str, meant: tuple[str, int, str]) -> None:
    found = outgoing.parsed(text, "orthanc_outgoing[0]")
    assert (found["host"], found["port"], found["protocol"]) == meant
    assert "problem" not in found


@pytest.mark.parametrize(
    "text", ["", "  ", None, 104, "https://pacs", "pacs:0", "pacs:70000", "pacs:53/icmp", ["a"]]
)
def test_what_is_none(text: Any) -> None:
    problem = outgoing.parsed(text, "orthanc_outgoing[0]")["problem"]
    assert problem.startswith(f" is {text!r}. Accepted: an IPv4 address or network")


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"network": "pacs"},
        {"network": "2001:db8::/32"},
        {"network": "10.0.0.0/8", "port": 80},
        {"network": "10.0.0.0/8", "protocol": "tcp"},
        {"network": "10.0.0.0/8", "protocol": "gre", "port": 1},
        "x",
    ],
)
def test_what_is_no_destination(entry: Any) -> None:
    with pytest.raises(outgoing.OutgoingError, match="Accepted: mappings with network"):
        outgoing.destinations([entry])


def test_what_is_declared_is_one_list() -> None:
    to = {"port": 104, "protocol": "tcp", "networks": ["10.1.2.3/32", "10.1.2.4/32"]}
    definitions: list[dict[str, Any]] = [
        {"name": "silent"},
        {"name": "unlimited", "outgoing": None},
        {"name": "keydb", "outgoing": []},
        {"name": "orthanc", "outgoing": [to, {"problem": " is wrong", **to, "networks": []}]},
        {"name": "ctp", "outgoing": [{**to, "networks": ["10.1.2.3/32"]}]},
    ]
    everything = {"port": 0, "protocol": "", "networks": ["10.2.0.0/16"]}
    others = [{"name": "monitoring", "outgoing": [everything]}]
    assert outgoing.destinations(outgoing.declared(definitions, others)) == [
        outgoing.Destination(IPv4Network("10.1.2.3/32"), "tcp", 104),
        outgoing.Destination(IPv4Network("10.1.2.4/32"), "tcp", 104),
        outgoing.Destination(IPv4Network("10.2.0.0/16"), of_all=True),
    ]


# With real packets: a host with the Swarm's bridge, on which are a service that names somebody, one
# that names nobody and a container of others; a machine that is named and one that is not.

in_a_kernel = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "setpriv"))),
    reason="needs root, nft, ip, unshare and setpriv",
)
HOST, NAMED, OTHER, SPEAKS, MUTE, FOREIGN = (
    f"auscat-out-{os.getpid()}-{name}" for name in "hnosmf"
)
GATEWAY = "203.0.113.1"
#: Namespace to the host's interface, the host's address there and its own.
LINKS = {
    NAMED: ("to-named", "192.0.2.1", "192.0.2.2"),
    OTHER: ("to-other", "198.51.100.1", "198.51.100.2"),
    SPEAKS: ("to-speaks", "", "203.0.113.2"),
    MUTE: ("to-mute", "", "203.0.113.3"),
    FOREIGN: ("to-foreign", "", "203.0.113.4"),
}
WEB = {"name": "web", "target": 8042}
#: As the engine sets them, and what the definitions add.
SYSCTLS = {
    SPEAKS: {"outgoing": [{}]},
    MUTE: {"ports": [WEB], "outgoing": []},
    FOREIGN: {"ports": [WEB]},
}
SERVE = """
import socket
listeners = [socket.create_server(("0.0.0.0", port)) for port in (104, 105)]
print("ready", flush=True)
import selectors
waiting = selectors.DefaultSelector()
for each in listeners:
    waiting.register(each, selectors.EVENT_READ)
while True:
    for key, _ in waiting.select():
        key.fileobj.accept()[0].close()
"""
CONNECT = """
import socket, sys
try:
    source = ("0.0.0.0", int(sys.argv[3]))
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2, source_address=source)
except TimeoutError:
    print("dropped")
except OSError as error:
    print(error.strerror)
else:
    print("open")
"""
REFUSED = "No route to host"
#: As our containers are.
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


def run(*command: str, data: str | None = None) -> str:
    result = subprocess.run(command, input=data, text=True, capture_output=True, check=False)
    assert result.returncode == 0, f"{command}: {result.stderr}"
    return result.stdout


def connect(namespace: str, target: str, port: int, source: int = 0) -> str:
    script = ("python3", "-c", CONNECT, target, str(port), str(source))
    return run("ip", "netns", "exec", namespace, *UNPRIVILEGED, *script).strip()


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    programs: list[subprocess.Popen[str]] = []
    try:
        for namespace in (HOST, *LINKS):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", HOST, "link", "add", SWARM_BRIDGE, "type", "bridge")
        run("ip", "-n", HOST, "address", "add", f"{GATEWAY}/26", "dev", SWARM_BRIDGE)
        run("ip", "-n", HOST, "link", "set", SWARM_BRIDGE, "up")
        for namespace, (link, here, there) in LINKS.items():
            run("ip", "-n", HOST, "link", "add", link, "type", "veth", "peer", "e0", "netns",
                namespace)  # fmt: skip
            if here:
                run("ip", "-n", HOST, "address", "add", f"{here}/26", "dev", link)
            else:
                run("ip", "-n", HOST, "link", "set", link, "master", SWARM_BRIDGE)
            run("ip", "-n", HOST, "link", "set", link, "up")
            run("ip", "-n", namespace, "address", "add", f"{there}/26", "dev", "e0")
            run("ip", "-n", namespace, "link", "set", "e0", "up")
            run("ip", "-n", namespace, "route", "add", "default", "via", here or GATEWAY)
        run("ip", "netns", "exec", HOST, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        for namespace, definition in SYSCTLS.items():
            wished = {
                "net.ipv4.ip_unprivileged_port_start": "0",
                **outgoing.sysctls(definition),
            }
            for name, value in wished.items():
                run("ip", "netns", "exec", namespace, "sysctl", "-q", "-w", f"{name}={value}")
        # As Docker leads a published port to a service, and a machine to another one.
        nat = (
            "table ip docker_like { chain prerouting { type nat hook prerouting priority dstnat;\n"
            "iifname to-named ip daddr 192.0.2.1 tcp dport 8042 dnat to 203.0.113.3:104\n"
            f"iifname {SWARM_BRIDGE} ip daddr 192.0.2.2 tcp dport 106 dnat to 198.51.100.2:104\n"
            "}\n}\n"
        )
        run("ip", "netns", "exec", HOST, "nft", "-f", "-", data=nat)
        for namespace in (HOST, *LINKS):
            program = subprocess.Popen(
                ["ip", "netns", "exec", namespace, "python3", "-c", SERVE],
                stdout=subprocess.PIPE,
                text=True,
            )
            programs.append(program)
            assert program.stdout is not None and program.stdout.readline() == "ready\n"
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()
        for namespace in (HOST, *LINKS):
            subprocess.run(["ip", "netns", "delete", namespace], check=False)


def load(*named: dict[str, Any] | None) -> None:
    to = None if named == (None,) else outgoing.destinations(named)
    ports = [{"published": 8042, "target": 104, "sources": ["192.0.2.0/24"]}]
    text = render(normalise(ports), SWARM_BRIDGE, to)
    run("ip", "netns", "exec", HOST, "nft", "-f", "-", data=text)


PORT_104 = {"network": "192.0.2.2/32", "protocol": "tcp", "port": 104}


@in_a_kernel
def test_a_service_opens_what_is_named_and_nothing_else(network: None) -> None:
    load(PORT_104)
    assert connect(SPEAKS, "192.0.2.2", 104) == "open"
    assert connect(SPEAKS, "192.0.2.2", 105) == REFUSED
    assert connect(SPEAKS, "198.51.100.2", 104) == REFUSED
    # Nor the host, by any of its addresses.
    for address in (GATEWAY, "192.0.2.1"):
        assert connect(SPEAKS, address, 104) == REFUSED


@in_a_kernel
def test_who_names_nobody_opens_nothing_of_what_others_name(network: None) -> None:
    load(PORT_104)
    for target in ("192.0.2.2", "198.51.100.2", GATEWAY):
        assert connect(MUTE, target, 104) == REFUSED
    # Not from the ports either that the others have.
    for source in (1024, 4095, 1):
        assert connect(MUTE, "192.0.2.2", 104, source) == "Permission denied"
    assert connect(MUTE, "192.0.2.2", 104, 4096) == REFUSED


@in_a_kernel
def test_others_on_the_bridge_have_what_is_named_for_all(network: None) -> None:
    load(PORT_104)
    assert connect(FOREIGN, "192.0.2.2", 104) == REFUSED
    load({**PORT_104, "of_all": True})
    for namespace in (FOREIGN, SPEAKS, MUTE):
        assert connect(namespace, "192.0.2.2", 104) == "open"
        assert connect(namespace, "192.0.2.2", 105) == REFUSED


@in_a_kernel
def test_who_is_let_in_gets_an_answer(network: None) -> None:
    load()
    assert connect(NAMED, "192.0.2.1", 8042) == "open"
    # The host itself, as Docker's proxy does.
    assert connect(HOST, "203.0.113.3", 104) == "open"
    # Past the published port there is no way.
    assert connect(NAMED, "203.0.113.3", 104) == "dropped"


@in_a_kernel
def test_what_counts_is_the_address_that_the_service_has_asked_for(network: None) -> None:
    load({"network": "198.51.100.2/32"})
    assert connect(SPEAKS, "198.51.100.2", 104) == "open"
    assert connect(SPEAKS, "192.0.2.2", 106) == REFUSED
    load({"network": "192.0.2.2/32", "protocol": "tcp", "port": 106})
    assert connect(SPEAKS, "192.0.2.2", 106) == "open"
    assert connect(SPEAKS, "198.51.100.2", 104) == REFUSED


@in_a_kernel
def test_without_a_limit_all_is_as_it_was(network: None) -> None:
    load(None)
    for namespace in (SPEAKS, MUTE, FOREIGN):
        assert connect(namespace, "198.51.100.2", 104) == "open"
        assert connect(namespace, GATEWAY, 104) == "open"
    load({"network": "0.0.0.0/0"})
    assert connect(SPEAKS, "192.0.2.2", 105) == connect(SPEAKS, "198.51.100.2", 104) == "open"
    assert connect(MUTE, "192.0.2.2", 105) == REFUSED
