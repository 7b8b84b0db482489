"""How a machine knows its own pages, by whose certificate they have."""

from __future__ import annotations

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates

FILE = "/etc/auscat/tls/ca.pem"


def machine(*names: str) -> dict[str, str]:
    authority = certificates.make_authority()
    return {**certificates.issue(authority, names), "ca": authority["certificate"]}


def test_without_tls_nobody_is_asked() -> None:
    tls = {"mode": "none", "certificate": "", "key": "", "ca": ""}
    assert certificates.page_trust(tls, FILE) == {"ca_file": "", "name": ""}


def test_own_certificate_is_for_the_address_that_is_asked() -> None:
    tls = {"mode": "own_ca", **machine("kv01", "127.0.0.1")}
    assert certificates.page_trust(tls, FILE) == {"ca_file": FILE, "name": ""}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("kv01.hospital.example", "10.1.1.1"), "kv01.hospital.example"),
        (("*.hospital.example",), "node.hospital.example"),
        (("10.1.1.1",), "10.1.1.1"),
    ],
)
def test_hospitals_certificate_is_for_another_name(names: tuple[str, ...], expected: str) -> None:
    tls = {"mode": "files", **machine(*names)}
    assert certificates.page_trust(tls, FILE) == {"ca_file": FILE, "name": expected}
    # Without a CA the machine trusts what it trusts.
    assert certificates.page_trust({**tls, "ca": ""}, FILE)["ca_file"] == ""
