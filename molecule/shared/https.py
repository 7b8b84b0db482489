"""The pages of a node over HTTPS, checked against the CAs that the node itself says it has."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path

from shared.machines import Machine, Node

CA = "/etc/auscat/tls/ca.pem"
THERE = "/root/auscat-ca.pem"
"""Where `given` puts it."""


def url(node: Node, port: int) -> str:
    """Return the beginning of a page's URL."""
    return f"https://{node.address}:{port}"


@cache
def _trusting(pem: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pem)


def trusting(node: Node) -> ssl.SSLContext:
    """Return what checks the certificate of a node."""
    return _trusting(node.output("cat", CA))


def given(node: Node, machine: Machine) -> str:
    """Give a machine the CAs of a node, as its operator does; return their path there."""
    machine.run("dd", f"of={THERE}", "status=none", stdin=node.output("cat", CA))
    return THERE


def kept(node: Node, directory: Path) -> Path:
    """Write the CAs of a node to a file of this machine; return it."""
    file = directory / f"{node.name}-ca.pem"
    file.write_text(node.output("cat", CA))
    return file
