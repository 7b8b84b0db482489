"""Who is refused, and how: by an answer that the sender sees."""

from __future__ import annotations

import urllib.error
from base64 import b64encode
from typing import Any
from urllib.request import Request, urlopen

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE
from shared.ctp_node import logs
from shared.https import trusting, url
from shared.machines import Machine, Node
from shared.reach import Attempt, connections
from shared.rude import rejection
from shared.streams import Rest


def associate(node: Node, called: str, calling: str) -> Any:
    ae = AE(ae_title=calling)
    ae.add_requested_context(CTImageStorage)
    association = ae.associate(node.address, 8104, ae_title=called)
    if association.is_established:
        association.release()
    return association


@pytest.mark.parametrize(
    ("called", "calling", "diagnostic"),
    [("WRONG", "PACS", 7), ("CTP", "STRANGER", 3)],  # PS3.8 9.3.4
)
def test_a_foreign_ae_title_is_rejected(
    node: Node, called: str, calling: str, diagnostic: int
) -> None:
    assert rejection(node.address, 8104, called, calling) == (1, 1, diagnostic)


@pytest.mark.parametrize("calling", ["PACS", "SECOND_PACS"])
def test_declared_ae_titles_are_accepted(node: Node, calling: str) -> None:
    assert associate(node, "CTP", calling).is_released


PAGES = ["/", "/ping", "/status", "/summary", "/server", "/system", "/environment", "/api/status"]


@pytest.mark.parametrize("path", [*PAGES, "/users", "/shutdown", "/quarantines", "/daconfig"])
def test_no_page_without_a_login(node: Node, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urlopen(f"{url(node, 9090)}{path}", timeout=60, context=trusting(node))
    assert refused.value.code == 401


@pytest.mark.parametrize("login", ["admin:password", "king:password", "admin:admin", "admin:"])
def test_no_default_user(node: Node, login: str) -> None:
    headers = {"Authorization": "Basic " + b64encode(login.encode()).decode()}
    with pytest.raises(urllib.error.HTTPError) as refused:
        request = Request(f"{url(node, 9090)}/", headers=headers)
        urlopen(request, timeout=60, context=trusting(node))
    assert refused.value.code == 401


def test_what_is_inside_is_not_published(node: Node, pacs: Machine) -> None:
    published, inside = (8104, 9090), (8201, 8202, 8301, 9080)
    found = connections(
        Attempt(pacs, node.address, port, control=port in published)
        for port in (*published, *inside)
    )
    assert found == [True, True, False, False, False, False]


def test_secrets_stand_in_no_process_and_no_log(node: Node) -> None:
    (task,) = node.tasks("auscat_ctp")
    seen = node.shell(
        f"docker exec {task['Id']} sh -c 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ'"
        f" 2>/dev/null | tr '\\0' '\\n'; docker inspect {task['Id']}",
        check=False,
    )
    seen += logs(node)
    assert seen
    for name in ("ctp_admin_password", "keydb_ctp_password", "keydb_password"):
        assert node.variables[name] not in seen, name


def test_the_login_opens_the_page(ctp: Rest) -> None:
    assert ctp.ask("/api/status")["healthy"] is True
