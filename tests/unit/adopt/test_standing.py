"""Which service is which, and what of it an inventory can say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from adopt.by_hand import DIGEST, HOST_PATH, PAGE_ORTHANC, others, page_ctp, page_keydb, service
from ansible_collections.auscat.imaging.plugins.module_utils.adopt import standing


def test_the_pages_orthanc() -> None:
    (found,) = standing.described([PAGE_ORTHANC])
    assert (found["name"], found["stack"], found["plain"]) == ("pacs_orthanc", "pacs", "orthanc")
    assert (found["image"], found["digest"], found["tag"]) == (
        "auscat/orthanc:latest",
        DIGEST,
        "latest",
    )
    assert found["replicas"] == 1
    assert [(each["published"], each["mode"]) for each in found["ports"]] == [
        (4242, "ingress"),
        (8042, "ingress"),
    ]
    assert found["mounts"] == [
        {
            "kind": "bind",
            "source": HOST_PATH,
            "target": "/var/lib/orthanc/db",
            "path": HOST_PATH,
            "read_only": False,
        }
    ]
    assert found["secrets"] == [{"name": "orthanc.json", "file": "orthanc.json"}]
    assert standing.parts([found]) == ({"orthanc": "pacs_orthanc"}, [])
    assert standing.reference(found) == f"auscat/orthanc@{DIGEST}"


def test_a_whole_node_is_found_among_others() -> None:
    found = standing.described([*others(), page_ctp(), page_keydb(), PAGE_ORTHANC])
    assert standing.parts(found) == (
        {"orthanc": "pacs_orthanc", "ctp": "pacs_ctp_customized", "keydb": "pacs_keydb_server"},
        [],
    )
    keydb = next(each for each in found if each["plain"] == "keydb_server")
    assert keydb["timezone"] == "Australia/Sydney"
    assert keydb["open_secrets"] == []
    assert next(iter(standing.data_of("keydb", keydb).values()))["path"] == (
        "/var/lib/docker/volumes/pacs_key-pgdata/_data"
    )


def test_no_value_of_an_environment_is_returned() -> None:
    """A password may be any word, also the name of a service."""
    found = standing.described(
        [*others(), page_keydb(), service("x", "x:1", environment=["A_TOKEN=hunter2", "B=hunter3"])]
    )
    etl = next(each for each in found if each["plain"] == "etl")
    assert etl["open_secrets"] == ["KEYDB_PASSWORD"]
    assert etl["asks"] == ["catdb_server", "keydb_server"]
    assert "hunter" not in json.dumps(found)


def test_who_asks_a_part() -> None:
    found = standing.described([*others(), page_ctp(), page_keydb(), PAGE_ORTHANC])
    parts, _ = standing.parts(found)
    # CTP asks Orthanc, and is a part itself.
    assert standing.dependent(found, parts) == {"pacs_etl": ["ctp", "keydb"]}


@pytest.mark.parametrize(
    ("made", "part"),
    [
        (
            service("archive", "hospital/pacs:1", {80: 8042}, {"/var/lib/orthanc/db": "/d"}),
            "orthanc",
        ),
        (service("dicom", "osimis/orthanc", {104: 4242}, {"/var/lib/orthanc/db": "/d"}), "orthanc"),
        (service("ctp", "registry:5000/x/ctp", {104: 8104}, {}), "ctp"),
        (service("key-db", "postgres:15", {5432: 5432}, {}), "keydb"),
    ],
)
def test_a_service_of_another_name(made: dict[str, Any], part: str) -> None:
    found = standing.described([made])
    assert standing.parts(found) == ({part: found[0]["name"]}, [])


@pytest.mark.parametrize(
    "made",
    [
        service("db", "postgres:15", {5432: 5432}, {"/var/lib/postgresql/data": "/d"}),
        service("redis", "eqalpha/keydb:latest", {6379: 6379}, {"/data": "/d"}),
        service("orthanc_docs", "nginx:1", {80: 80}, {}),
        service("octprint", "x/octprint:1", {9090: 80}, {}),
    ],
)
def test_what_is_no_part(made: dict[str, Any]) -> None:
    assert standing.parts(standing.described([made])) == ({}, [])


def test_two_of_a_kind_are_asked_about_and_told() -> None:
    second = service(
        "orthanc_test", "auscat/orthanc:latest", {8043: 8042}, {"/var/lib/orthanc/db": "/e"}
    )
    found = standing.described([PAGE_ORTHANC, second])
    parts, problems = standing.parts(found)
    assert parts == {}
    assert "pacs_orthanc and pacs_orthanc_test could each be Orthanc" in problems[0]
    assert standing.parts(found, {"orthanc": "pacs_orthanc"}) == ({"orthanc": "pacs_orthanc"}, [])
    assert standing.parts(found, {"orthanc": ""}) == ({}, [])


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"keyd": "x"}, "has the key 'keyd'. Accepted: orthanc, ctp, keydb."),
        ({"keydb": "pg"}, "adopt_services.keydb is 'pg', and no Swarm service here is called so."),
    ],
)
def test_what_is_told_and_is_not_so(told: dict[str, str], words: str) -> None:
    _, problems = standing.parts(standing.described([PAGE_ORTHANC]), told)
    assert words in problems[0]


def test_what_is_ours_is_no_node_made_by_hand() -> None:
    ours = service("orthanc", "x/orthanc:1", {8042: 8042}, {"/var/lib/orthanc/db": "/d"})
    ours["Spec"]["Labels"]["org.auscat.title"] = "Orthanc"
    assert standing.described([ours]) == []
    assert len(standing.described([ours, PAGE_ORTHANC])) == 1


def test_without_stack_digest_and_tag() -> None:
    (found,) = standing.described(
        [service("orthanc", "registry:5000/orthanc", {8042: 8042}, {"/x": "/y z"}, stack="")]
    )
    assert (found["stack"], found["plain"], found["tag"], found["digest"]) == (
        "",
        "orthanc",
        "",
        "",
    )
    assert standing.reference(found) == "registry:5000/orthanc"
    assert found["mounts"][0]["path"] == "/y z"


def test_a_registry_with_a_port_keeps_it() -> None:
    (found,) = standing.described([service("o", f"registry:5000/orthanc:1.12@{DIGEST}")])
    assert standing.reference(found) == f"registry:5000/orthanc@{DIGEST}"
