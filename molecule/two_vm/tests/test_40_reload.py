"""Reloading a firewall opens nothing and closes nothing."""

from __future__ import annotations

import pytest
from conftest import Site
from shared.machines import Node


@pytest.mark.parametrize(
    ("machine", "command"),
    [
        ("kv", "ufw reload"),
        ("kv", "ufw --force disable && ufw --force enable"),
        ("cat", "firewall-cmd --reload"),
        ("cat", "systemctl restart firewalld"),
    ],
)
def test_limits_outlive(site: Site, machine: str, command: str) -> None:
    site.machine(machine).shell(command)
    site.wait_until_as_declared(command, 120)


@pytest.mark.parametrize("machine", ["kv", "cat"])
def test_limits_outlive_nftables(site: Site, machine: str) -> None:
    """nftables empties all rules, Docker's too, which only Docker brings back."""
    site.machine(machine).shell("systemctl restart nftables")
    open_now = [text for text in site.differences() if text.endswith("connected")]
    assert open_now == []


def test_engine_brings_everything_back(site: Site, kv: Node, cat: Node) -> None:
    for node, services in ((kv, 4), (cat, 2)):
        firewall = "ufw reload" if node is kv else "systemctl restart firewalld"
        node.shell(f"systemctl stop nftables; {firewall}; systemctl restart docker")
        node.wait_until_healthy(services)
    site.wait_until_as_declared("the restart of Docker")
