"""The rendered rules in a real kernel, with real packets, in network namespaces of their own.

Three namespaces: a host that forwards a port to a service (as Docker does: destination NAT, and a
program on the host that serves the same port), and a machine outside with two addresses, one
allowed and one not. Nothing here touches the machine's own rules.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import (
    normalise,
    render,
)

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare"))),
    reason="needs root, nft, ip and unshare",
)

HOST, OUTSIDE, SERVICE = (f"auscat-test-{os.getpid()}-{name}" for name in "hos")
ALLOWED = {4: "192.0.2.21", 6: "2001:db8::21"}
FORBIDDEN = {4: "192.0.2.22", 6: "2001:db8::22"}
HOST_ADDRESS = {4: "192.0.2.10", 6: "2001:db8::10"}
SERVICE_ADDRESS = {4: "198.51.100.2", 6: "2001:db8:1::2"}

# As Docker does it, once for each family.
NAT = """
table inet docker_like {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        ip daddr 192.0.2.10 tcp dport 8042 dnat ip to 198.51.100.2:80
        ip6 daddr 2001:db8::10 tcp dport 8042 dnat ip6 to [2001:db8:1::2]:80
        ip daddr 192.0.2.10 tcp dport 9999 dnat ip to 198.51.100.2:80
    }
}
"""
SERVE = """
import socket, sys
listener = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6,
                                dualstack_ipv6=True)
print("ready", flush=True)
while True:
    listener.accept()[0].close()
"""
CONNECT = """
import socket, sys
source, target, port = sys.argv[1:]
try:
    socket.create_connection((target, int(port)), timeout=1.5, source_address=(source, 0))
except TimeoutError:
    print("dropped")
else:
    print("open")
"""


def run(*command: str, data: str | None = None) -> str:
    result = subprocess.run(command, input=data, text=True, capture_output=True, check=False)
    assert result.returncode == 0, f"{command}: {result.stderr}"
    return result.stdout


def connect(namespace: str, source: str, target: str, port: int) -> str:
    script = ("python3", "-c", CONNECT, source, target, str(port))
    return run("ip", "netns", "exec", namespace, *script).strip()


def load(ports: list[dict[str, Any]]) -> None:
    text = render(normalise(ports), bridge="to-service")
    run("ip", "netns", "exec", HOST, "nft", "-f", "-", data=text)


def wait_until_open() -> None:
    """Wait until the neighbours have found each other, which a first packet may be lost over."""
    deadline = time.monotonic() + 30
    for family, target in HOST_ADDRESS.items():
        while connect(OUTSIDE, FORBIDDEN[family], target, 8042) != "open":
            assert time.monotonic() < deadline, f"IPv{family} does not reach the service at all"


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    programs: list[subprocess.Popen[str]] = []
    try:
        for namespace in (HOST, OUTSIDE, SERVICE):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        for link, there, name in (
            ("to-outside", OUTSIDE, "to-host"),
            ("to-service", SERVICE, "to-host"),
        ):
            run("ip", "-n", HOST, "link", "add", link, "type", "veth", "peer", name, "netns", there)
            run("ip", "-n", HOST, "link", "set", link, "up")
            run("ip", "-n", there, "link", "set", name, "up")
        addresses = [
            (HOST, "to-outside", "192.0.2.10/24", "2001:db8::10/64"),
            (HOST, "to-service", "198.51.100.1/24", "2001:db8:1::1/64"),
            (OUTSIDE, "to-host", "192.0.2.21/24", "2001:db8::21/64"),
            (OUTSIDE, "to-host", "192.0.2.22/24", "2001:db8::22/64"),
            (SERVICE, "to-host", "198.51.100.2/24", "2001:db8:1::2/64"),
        ]
        for namespace, device, ipv4, ipv6 in addresses:
            run("ip", "-n", namespace, "address", "add", ipv4, "dev", device)
            run("ip", "-n", namespace, "address", "add", ipv6, "dev", device, "nodad")
        for namespace, gateway4, gateway6 in (
            (OUTSIDE, "192.0.2.10", "2001:db8::10"),
            (SERVICE, "198.51.100.1", "2001:db8:1::1"),
        ):
            run("ip", "-n", namespace, "route", "add", "default", "via", gateway4)
            run("ip", "-n", namespace, "-6", "route", "add", "default", "via", gateway6)
        forwarding = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        run("ip", "netns", "exec", HOST, "sysctl", "-q", "-w", *forwarding)
        run("ip", "netns", "exec", HOST, "nft", "-f", "-", data=NAT)
        for namespace, port in ((SERVICE, 80), (HOST, 9090), (HOST, 9091)):
            program = subprocess.Popen(
                ["ip", "netns", "exec", namespace, "python3", "-c", SERVE, str(port)],
                stdout=subprocess.PIPE,
                text=True,
            )
            programs.append(program)
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        wait_until_open()
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()
        for namespace in (HOST, OUTSIDE, SERVICE):
            subprocess.run(["ip", "netns", "delete", namespace], check=False)


def declaration(published: int, sources: list[str]) -> dict[str, Any]:
    return {"service": "test", "name": str(published), "published": published, "sources": sources}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("published", [8042, 9090], ids=["forwarded", "served-on-the-host"])
def test_a_limited_port(network: None, family: int, published: int) -> None:
    target = HOST_ADDRESS[family]
    load([])
    assert connect(OUTSIDE, FORBIDDEN[family], target, published) == "open"
    load([declaration(published, [ALLOWED[family]])])
    assert connect(OUTSIDE, ALLOWED[family], target, published) == "open"
    assert connect(OUTSIDE, FORBIDDEN[family], target, published) == "dropped"
    load([declaration(published, [])])
    assert connect(OUTSIDE, ALLOWED[family], target, published) == "dropped"


@pytest.mark.parametrize("family", [4, 6])
def test_everybody(network: None, family: int) -> None:
    load([declaration(8042, ["0.0.0.0/0", "::/0"])])
    assert connect(OUTSIDE, FORBIDDEN[family], HOST_ADDRESS[family], 8042) == "open"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("target", ["own address", "loopback"])
def test_the_host_itself(network: None, family: int, target: str) -> None:
    load([declaration(9090, [])])
    address = {4: "127.0.0.1", 6: "::1"} if target == "loopback" else HOST_ADDRESS
    assert connect(HOST, address[family], address[family], 9090) == "open"


def test_one_family_does_not_open_the_other(network: None) -> None:
    load([declaration(8042, ["0.0.0.0/0"])])
    assert connect(OUTSIDE, ALLOWED[6], HOST_ADDRESS[6], 8042) == "dropped"


@pytest.mark.parametrize("published", [9091, 9999], ids=["served-on-the-host", "forwarded"])
def test_a_port_that_is_not_ours_is_left_alone(network: None, published: int) -> None:
    load([declaration(8042, []), declaration(9090, [])])
    assert connect(OUTSIDE, FORBIDDEN[4], HOST_ADDRESS[4], published) == "open"


@pytest.mark.parametrize("family", [4, 6])
def test_a_neighbour_cannot_route_around_the_published_port(network: None, family: int) -> None:
    load([])
    run("ip", "netns", "exec", HOST, "nft", "delete", "table", "inet", "auscat")
    assert connect(OUTSIDE, FORBIDDEN[family], SERVICE_ADDRESS[family], 80) == "open"
    load([declaration(8042, [ALLOWED[family]])])
    assert connect(OUTSIDE, FORBIDDEN[family], SERVICE_ADDRESS[family], 80) == "dropped"


@pytest.mark.parametrize("family", [4, 6])
def test_a_container_still_reaches_other_machines(network: None, family: int) -> None:
    load([declaration(8042, [])])
    script = ["ip", "netns", "exec", OUTSIDE, "python3", "-c", SERVE, "1104"]
    program = subprocess.Popen(script, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        assert connect(SERVICE, SERVICE_ADDRESS[family], ALLOWED[family], 1104) == "open"
    finally:
        program.kill()
        program.wait()


def test_loading_twice_leaves_one_table(network: None) -> None:
    for _ in range(2):
        load([declaration(8042, ["10.0.0.0/8"])])
    tables = run("ip", "netns", "exec", HOST, "nft", "list", "tables")
    assert tables.splitlines() == ["table inet docker_like", "table inet auscat"]


@pytest.mark.parametrize(
    "purpose", ['"; drop', "x" * 300, "a } b { c; # $d \\", "é\n\x00"], ids=repr
)
def test_any_purpose_loads(network: None, purpose: str) -> None:
    load([{**declaration(8042, []), "purpose": purpose}])
