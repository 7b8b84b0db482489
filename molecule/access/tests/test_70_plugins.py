"""Plugins of Orthanc that the inventory names are loaded, and are for the role admin alone."""

from __future__ import annotations

import json

import pytest
from conftest import curl
from shared.machines import Machine, Node

ALWAYS = {"dicom-web", "gdcm", "python", "explorer.js"}
ROUTES = ("/web-viewer/app/viewer.html", "/wsi/app/viewer.html", "/series/0-0/nifti")


@pytest.fixture
def named(cat: Node) -> set[str]:
    """The plugins that the inventory names."""
    names = set(cat.variables["orthanc_plugins"])
    assert names == {"neuro", "web-viewer", "wsi"}
    return names


def test_named_plugins_are_loaded(
    cat: Node, clients: dict[str, Machine], passwords: dict[str, str], named: set[str]
) -> None:
    login = f"reader:{passwords['reader']}"
    url = f"https://{cat.address}:8042/plugins"
    status, body = curl(clients["researcher"], url, login=login)
    assert status == 200, body
    assert set(json.loads(body)) == ALWAYS | named


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("user", "allowed"), [("reader", False), ("curator", False), ("steward", True)]
)
def test_what_they_add_is_for_admins(
    cat: Node,
    clients: dict[str, Machine],
    passwords: dict[str, str],
    route: str,
    user: str,
    allowed: bool,
) -> None:
    login = f"{user}:{passwords[user]}"
    status, body = curl(clients["researcher"], f"https://{cat.address}:8042{route}", login=login)
    # Of a series that is not there the plugin itself says so.
    assert status == ((404 if "nifti" in route else 200) if allowed else 403), body
