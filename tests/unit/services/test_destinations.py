"""Whom Orthanc, the web server in front of it and CTP connect to, by what the inventory says."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.services.destinations import (
    ctp_destinations,
    directory_destinations,
    orthanc_destinations,
)

Place = tuple[str, str, int]


def places(found: list[dict[str, Any]]) -> list[Place]:
    assert {each["protocol"] for each in found} <= {"tcp"}
    assert not [each for each in found if "problem" in each]
    return [(each["variable"], each["host"], each["port"]) for each in found]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"DicomModalitiesInDatabase": False, "DicomModalities": {}}, []),
        # Both ways in which Orthanc takes a modality, a peer and a server.
        (
            {
                "DicomModalities": {
                    "pacs": ["PACS", "pacs.example", 104],
                    "cad": {"AET": "CAD", "Host": "10.1.2.3", "Port": "11112", "AllowStore": False},
                    "old": ["OLD", "10.1.2.4", 104, "GenericNoWildcardInDates"],
                }
            },
            [
                ("DicomModalities.cad", "10.1.2.3", 11112),
                ("DicomModalities.old", "10.1.2.4", 104),
                ("DicomModalities.pacs", "pacs.example", 104),
            ],
        ),
        (
            {
                "OrthancPeers": {
                    "a": ["http://10.1.2.3:8042/", "user", "word"],
                    "b": {"Url": "https://archive.example/orthanc"},
                },
                "DicomWeb": {"Servers": {"c": ["http://web.example/dicom-web/"]}},
                "HttpProxy": "user:word@proxy.example:3128",
            },
            [
                ("OrthancPeers.a", "10.1.2.3", 8042),
                ("OrthancPeers.b", "archive.example", 443),
                ("DicomWeb.Servers.c", "web.example", 80),
                ("HttpProxy", "proxy.example", 3128),
            ],
        ),
        # Itself.
        ({"DicomModalities": {"self": ["ORTHANC", "127.0.0.1", 4242]}}, []),
        ({"OrthancPeers": {"self": ["http://localhost:8042/"]}}, []),
    ],
)
def test_whom_orthanc_connects_to(options: Any, expected: list[Place]) -> None:
    found = places(orthanc_destinations(options))
    assert found == [(f"orthanc_options.{name}", host, port) for name, host, port in expected]


@pytest.mark.parametrize(
    "options",
    [
        {"DicomModalities": {"x": ["PACS"]}},
        {"DicomModalities": {"x": {"AET": "PACS", "Host": "pacs"}}},
        {"DicomModalities": {"x": ["PACS", "pacs", 70000]}},
        {"DicomModalities": {"x": "pacs"}},
        {"OrthancPeers": {"x": ["pacs:8042", "user", "hidden-word"]}},
        {"OrthancPeers": {"x": ["http://user:hidden-word@:8042"]}},
        {"OrthancPeers": {"x": {}}},
        {"DicomWeb": {"Servers": {"x": ["http://pacs:port"]}}},
    ],
)
def test_what_names_no_machine_is_said_without_its_password(options: Any) -> None:
    (found,) = orthanc_destinations(options)
    assert "Accepted: " in found["problem"]
    assert found["variable"].startswith("orthanc_options.") and found["variable"].endswith(".x")
    assert "hidden-word" not in found["problem"] + found["variable"]


@pytest.mark.parametrize(
    ("ldap", "oidc", "expected"),
    [
        ({}, {}, []),
        (
            {"servers": ["dc1.example", "dc2.example:3269", "[2001:db8::1]"]},
            {},
            [
                ("orthanc_ldap.servers[0]", "dc1.example", 636),
                ("orthanc_ldap.servers[1]", "dc2.example", 3269),
                ("orthanc_ldap.servers[2]", "2001:db8::1", 636),
            ],
        ),
        (
            {"servers": ["dc1"], "tls": "starttls"},
            {"issuer": "https://login.example/realm"},
            [
                ("orthanc_ldap.servers[0]", "dc1", 389),
                ("orthanc_oidc.issuer", "login.example", 443),
            ],
        ),
        (
            {},
            {"issuer": "http://login.example:8080/"},
            [("orthanc_oidc.issuer", "login.example", 8080)],
        ),
    ],
)
def test_whom_the_web_server_asks(ldap: Any, oidc: Any, expected: list[Place]) -> None:
    assert places(directory_destinations(ldap, oidc)) == expected


@pytest.mark.parametrize("name", ["DicomModalitiesInDatabase", "OrthancPeersInDatabase"])
def test_what_orthanc_keeps_in_its_database_has_to_be_listed(name: str) -> None:
    (found,) = orthanc_destinations({name: True})
    assert found["variable"] == f"orthanc_options.{name}"
    assert "Accepted: their addresses in orthanc_outgoing" in found["problem"]
    assert orthanc_destinations({name: True}, ["10.1.2.3"]) == []
    assert orthanc_destinations({name: False}) == []


CTP = {"ctp_orthanc_hostname": "10.1.2.3", "ctp_orthanc_port": 4242}


@pytest.mark.parametrize(
    ("values", "inside", "expected"),
    [
        ({}, (), [("ctp_orthanc_hostname", "10.1.2.3", 4242)]),
        ({"ctp_orthanc_hostname": "orthanc"}, ("orthanc",), []),
        ({"ctp_pipelines": [{"name": "a"}]}, ("10.1.2.3",), []),
        (
            {
                "ctp_pipelines": [
                    {"name": "a", "export": {"called_aet": "X"}},
                    {"name": "b", "export": {"host": "10.1.2.4", "port": "104"}},
                    {"name": "c", "export": {"port": 11112}},
                    {"name": "d", "export": {"host": "10.1.2.4", "port": 104}},
                ]
            },
            (),
            [
                ("ctp_orthanc_hostname", "10.1.2.3", 4242),
                ("ctp_pipelines[1].export", "10.1.2.4", 104),
                ("ctp_pipelines[2].export", "10.1.2.3", 11112),
            ],
        ),
    ],
)
def test_where_ctp_exports_to(values: Any, inside: Any, expected: list[Place]) -> None:
    assert places(ctp_destinations({**CTP, **values}, inside)) == expected


def test_an_export_to_no_port_is_said() -> None:
    (found,) = ctp_destinations({**CTP, "ctp_orthanc_port": "dicom"})
    assert found["variable"] == "ctp_orthanc_hostname"
    assert "Accepted: a host and a port" in found["problem"]
