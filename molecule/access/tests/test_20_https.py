"""Orthanc's and CTP's pages over HTTPS alone, judged by OpenSSL and curl."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import curl
from shared.machines import Machine, Node

PAGES = [("cat", 8042, "researcher"), ("kv", 9090, "pacs")]


def handshake(node: Node, port: int, *arguments: str) -> tuple[bool, str]:
    """Shake hands as ``openssl s_client``; tell whether it came about, and what was said."""
    result = subprocess.run(
        ["openssl", "s_client", "-connect", f"{node.address}:{port}", "-brief", *arguments],
        input="",
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=30,
        check=False,
    )
    return result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(params=PAGES, ids=[f"{name}-{port}" for name, port, _ in PAGES])
def page(request: pytest.FixtureRequest, kv: Node, cat: Node) -> tuple[Node, int, str]:
    """A machine, the port of its page, and the neighbour who may look."""
    name, port, neighbour = request.param
    return {"kv": kv, "cat": cat}[name], port, neighbour


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_it_speaks_todays_versions(page: tuple[Node, int, str], ca: Path, version: str) -> None:
    node, port, _ = page
    done, said = handshake(
        *(node, port, version, "-CAfile", str(ca), "-verify_return_error"),
        *("-verify_ip", node.address),
    )
    assert done and "Verification: OK" in said, said


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused(page: tuple[Node, int, str], version: str) -> None:
    node, port, _ = page
    # Without it OpenSSL itself would not offer them, and the node would not be asked.
    done, said = handshake(node, port, version, "-cipher", "ALL:@SECLEVEL=0")
    assert not done and "alert" in said, said


@pytest.mark.parametrize("cipher", ["AES256-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"])
def test_weak_ciphers_are_refused(page: tuple[Node, int, str], cipher: str) -> None:
    node, port, _ = page
    done, said = handshake(node, port, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert not done, said


def test_a_stranger_to_the_certificate_is_warned(
    page: tuple[Node, int, str], clients: dict[str, Machine]
) -> None:
    node, port, neighbour = page
    asked = clients[neighbour].run(
        "curl", "--silent", "--show-error", f"https://{node.address}:{port}/", check=False
    )
    assert asked.returncode == 60, asked.stderr


def test_plain_http_is_never_served(
    page: tuple[Node, int, str], clients: dict[str, Machine]
) -> None:
    node, port, neighbour = page
    status, body = curl(clients[neighbour], f"http://{node.address}:{port}/system")
    assert status in (0, 301, 302, 307, 308, 400, 403, 426), body
    assert "Orthanc" not in body and "CTP" not in body, body


def test_the_headers_say_what_a_browser_needs_and_no_more(
    page: tuple[Node, int, str], clients: dict[str, Machine]
) -> None:
    node, port, neighbour = page
    status, text = curl(clients[neighbour], f"https://{node.address}:{port}/", "--include")
    head = text.partition("\r\n\r\n")[0].lower()
    assert status in (200, 301, 302, 307, 401), text
    assert "strict-transport-security: max-age=" in head, head
    for told in ("apache/", "debian", "openssl/", "orthanc/", "mongoose"):
        assert told not in head, head


def test_no_container_but_the_front_publishes_a_page(kv: Node, cat: Node) -> None:
    for node, port in ((kv, 9090), (cat, 8042)):
        publishing = [
            name
            for name, service in node.services().items()
            if any(each["PublishedPort"] == port for each in service["Endpoint"].get("Ports", []))
        ]
        assert publishing == ["auscat_front"]
