"""Each role against each route of the node's own Orthanc, and what might get round the table."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from conftest import Cohort, passwords
from shared.https import trusting
from shared.machines import REPOSITORY, Node, wait_for
from shared.streams import page

ROUTES = REPOSITORY / "tests/unit/orthanc_guard/routes.txt"
ROLES = ("reader", "curator", "admin")
USERS = {"reader": "researcher", "curator": "curator"}
NOBODY = "00000000-00000000-00000000-00000000-00000000"
REFUSED = 403
# Pages that are no part of the REST API, and so in neither of Orthanc's own lists.
PAGES = {"/", "/favicon.ico", "/app/{path}", "/webdav/{path}"}


def routes() -> list[tuple[str, str, str]]:
    """Least role, method and path of each route that has a place in the list."""
    lines = ROUTES.read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return [(least, method, path) for least, method, path in rows]


@pytest.fixture(scope="module")
def image(node: Node) -> str:
    """The image that Orthanc runs from."""
    found: str = node.tasks("auscat_orthanc")[0]["Config"]["Image"]
    return found


@pytest.fixture(scope="module")
def login(node: Node) -> Mapping[str, str]:
    """User to the header that logs in."""
    return {
        user: "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        for user, password in passwords(node).items()
    }


@pytest.fixture(scope="module")
def study(node: Node, cohort: Cohort) -> str:
    """A study that all may see."""
    admin = page(node, 8042, "admin", passwords(node)["admin"])
    query = {"Level": "Study", "Query": {"PatientID": cohort.pseudonyms[0]}}
    [found] = admin.ask("/tools/find", query)
    return str(found)


def test_every_route_of_orthanc_has_its_place(node: Node, image: str) -> None:
    """Orthanc's REST API as Orthanc lists it, and what its plugins register when they start."""
    said = node.shell(
        f"docker run --rm --network=none --entrypoint sh {image} -c "
        "'Orthanc --openapi=/tmp/api.json 2>&1 | grep documentation; echo =====; cat /tmp/api.json'"
    )
    undocumented, _, documented = said.partition("=====")
    found = set(re.findall(r"without API documentation: (\w+) (\S+)", undocumented))
    for path, methods in json.loads(documented)["paths"].items():
        found |= {(method.upper(), path) for method in methods}
    name = "auscat-test-routes"
    node.shell(f"docker run --detach --name {name} --network=none {image} --verbose")
    try:
        log = wait_for(
            "Orthanc has started",
            lambda: (
                text
                if "Orthanc has started" in (text := node.shell(f"docker logs {name} 2>&1"))
                else ""
            ),
            60,
        )
    finally:
        node.shell(f"docker rm --force {name}")
    plugins = set(re.findall(r"registered a REST callback .* on: (\S+)", log))
    assert len(plugins) > 30
    for path in plugins:
        plain = path.replace("([^/]*)", "{id}").replace("(.*)", "{path}")
        found |= {(method, plain) for method in ("GET", "POST", "PUT", "DELETE")}
    listed = {(method, path) for _, method, path in routes() if path not in PAGES}
    assert found - listed == set(), "routes without a place in routes.txt and roles.py"
    assert listed - found == set(), "routes that Orthanc has no more"


def example(path: str) -> str:
    words = {
        "{id}": "1.2.3" if path.startswith("/dicom-web/studies") else NOBODY,
        "{path}": "0010-0010",
        "{name}": "tag",
        "{label}": "tag",
        "{frame}": "0",
        "{index}": "0",
        "{key}": "results",
    }
    for word, value in words.items():
        path = path.replace(word, value)
    return path


@pytest.fixture(scope="module", params=sorted(USERS))
def answers(
    request: pytest.FixtureRequest, node: Node, login: Mapping[str, str], cohort: Cohort
) -> tuple[str, dict[tuple[str, str], int]]:
    """A role, and the status of each route for a user who has it; nothing that it names exists."""
    role: str = request.param
    requests = [
        f"{method} {example(path)} HTTP/1.1\r\nHost: x\r\nAuthorization: {login[USERS[role]]}\r\n"
        "Content-Length: 0\r\nConnection: close\r\n\r\n"
        for _, method, path in routes()
    ]
    asked = [(method, path) for _, method, path in routes()]
    found = dict(zip(asked, statuses(node, requests), strict=True))
    return role, found


def test_each_role_gets_its_routes_and_no_others(
    answers: tuple[str, dict[tuple[str, str], int]],
) -> None:
    role, found = answers
    wrong = []
    for least, method, path in routes():
        allowed = ROLES.index(role) >= ROLES.index(least)
        if (found[method, path] != REFUSED) != allowed:
            wrong.append(f"{method} {path} for {role}: {found[method, path]}")
    assert not wrong
    assert sum(status == REFUSED for status in found.values()) > 200
    assert 401 not in found.values()


# Sends each request of a list as it is written, over a connection of its own, and prints the begin
# of each answer.
PROGRAM = """
import base64, json, socket, sys
said = []
for request in json.load(sys.stdin):
    with socket.create_connection(("127.0.0.1", 8042), timeout=30) as connection:
        connection.sendall(request.encode("latin-1"))
        try:
            said.append(connection.recv(4096).decode("latin-1"))
        except ConnectionError:
            said.append("")
print(json.dumps(said))
"""


def statuses(node: Node, requests: list[str]) -> list[int]:
    """Send requests to Orthanc itself, past the web server in front of it; 0 for no answer."""
    pid = node.tasks("auscat_orthanc")[0]["State"]["Pid"]
    program = ("nsenter", "--target", str(pid), "--net", "python3", "-c", PROGRAM)
    said = json.loads(node.output(*program, stdin=json.dumps(requests), timeout=600))
    found = [re.match(r"HTTP/1\.\d (\d{3})", head) for head in said]
    return [int(each[1]) if each else 0 for each in found]


def raw(node: Node, request: str) -> int:
    """Send one request, as `statuses` does."""
    return statuses(node, [request])[0]


SLY = [
    "{m} //{p} HTTP/1.1",
    "{m} /{p}/ HTTP/1.1",
    "{m} /{p}// HTTP/1.1",
    "{m} /./{p} HTTP/1.1",
    "{m} /app/../{p} HTTP/1.1",
    "{m} /app/%2e%2e/{p} HTTP/1.1",
    "{m} /app/..%2f{p} HTTP/1.1",
    "{m} /app/%252e%252e/{p} HTTP/1.1",
    "{m} /%2f{p} HTTP/1.1",
    "{m} /{p}%2f HTTP/1.1",
    "{m} /{p}%00 HTTP/1.1",
    "{m} /{p}%20 HTTP/1.1",
    "{m} /{p}; HTTP/1.1",
    "{m} /system/../{p} HTTP/1.1",
    "{m} /{p}?x=/system HTTP/1.1",
    "{m} /{p}#/system HTTP/1.1",
    "{m} /{P} HTTP/1.1",
    "{m} \\{p} HTTP/1.1",
    "{m} {p} HTTP/1.1",
    "{m} http://x/{p} HTTP/1.1",
    "{m} /{p} HTTP/1.0",
    "{m} /{p} HTTP/1.1\r\nX-Original-URL: /system\r\nX-Rewrite-URL: /system",
    "GET /{p} HTTP/1.1\r\nX-HTTP-Method-Override: {m}",
    "POST /{p} HTTP/1.1\r\nX-HTTP-Method-Override: {m}",
    "POST /{p} HTTP/1.1\r\nX-HTTP-Method: {m}",
    "POST /{p} HTTP/1.1\r\nX-Method-Override: {m}",
    "POST /tools/find HTTP/1.1\r\nX-HTTP-Method-Override: {m}",
    "GET /{p}?_method={m} HTTP/1.1",
    "POST /{p}?_method={m} HTTP/1.1",
    "GET /system?_method={m} HTTP/1.1",
    "OPTIONS /{p} HTTP/1.1",
    "HEAD /{p} HTTP/1.1",
    "PROPFIND /{p} HTTP/1.1",
    "PATCH /{p} HTTP/1.1",
    "{l} /{p} HTTP/1.1",
]


@pytest.fixture
def untouched(node: Node, study: str) -> Iterator[None]:
    """What none of the requests may change."""

    def state() -> object:
        admin = page(node, 8042, "admin", passwords(node)["admin"])
        seen = admin.ask(f"/studies/{study}")
        return seen["Series"], seen["Labels"], admin.ask("/statistics"), admin.ask("/peers")

    before = state()
    yield
    assert state() == before


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "studies/{study}"),
        ("PUT", "studies/{study}/labels/sly"),
        ("POST", "tools/reset"),
        ("POST", "studies/{study}/anonymize"),
        ("PUT", "peers/sly"),
        ("GET", "modalities"),
    ],
)
def test_nothing_gets_round_the_table(
    node: Node, login: Mapping[str, str], study: str, method: str, path: str
) -> None:
    target = path.format(study=study)
    lines = [
        template.format(m=method, p=target, P=target.upper(), l=method.lower()) for template in SLY
    ]
    requests = [
        f"{line}\r\nHost: x\r\nAuthorization: {login['researcher']}\r\n"
        "Content-Length: 2\r\nConnection: close\r\n\r\n{}"
        for line in lines
    ]
    refused = (0, 400, 401, 403, 404, 405, 501)
    got = [line for line, code in zip(lines, statuses(node, requests)) if code not in refused]
    # Of these some are but another way to ask for what a reader may see.
    harmless = ("/system", "/tools/find")
    assert not {line for line in got if line.split()[1].partition("?")[0] not in harmless}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("first", ["researcher", "admin"])
def test_two_logins_are_one(node: Node, login: Mapping[str, str], study: str, first: str) -> None:
    """Whichever Orthanc believes, the guard has to believe the same."""
    second = "admin" if first == "researcher" else "researcher"
    status = raw(
        node,
        f"GET /modalities HTTP/1.1\r\nHost: x\r\nAuthorization: {login[first]}\r\n"
        f"Authorization: {login[second]}\r\nConnection: close\r\n\r\n",
    )
    wrong = login[second][:-4] + "AAA="
    denied = raw(
        node,
        f"DELETE /studies/{study} HTTP/1.1\r\nHost: x\r\nAuthorization: {login['researcher']}\r\n"
        f"Authorization: {wrong}\r\nConnection: close\r\n\r\n",
    )
    assert status in ((200,) if first == "admin" else (403,))
    assert denied in (401, 403)


def test_a_curator_labels_and_a_reader_searches_for_it(
    node: Node, cohort: Cohort, study: str
) -> None:
    words = passwords(node)
    curator = http.client.HTTPSConnection(node.address, 8042, timeout=60, context=trusting(node))
    given = base64.b64encode(f"curator:{words['curator']}".encode()).decode()
    headers = {"Authorization": f"Basic {given}"}
    reader = page(node, 8042, "researcher", words["researcher"])
    query = {"Level": "Study", "Query": {}, "Labels": ["checked"]}
    for method, found in (("PUT", [study]), ("DELETE", [])):
        curator.request(method, f"/studies/{study}/labels/checked", "", headers)
        answer = curator.getresponse()
        answer.read()
        assert answer.status == 200
        assert reader.ask("/tools/find", query) == found


def test_pages_of_a_reader_name_no_modality(node: Node, login: Mapping[str, str]) -> None:
    """Orthanc Explorer asks for peers and modalities, and does without them."""
    for path in ("/peers?expand", "/modalities?expand", "/jobs?expand"):
        request = f"GET {path} HTTP/1.0\r\nAuthorization: {login['researcher']}\r\n\r\n"
        assert raw(node, request) == REFUSED


def test_routes_file_is_read_by_the_unit_tests_too() -> None:
    assert Path(ROUTES).is_file()
    assert len(routes()) > 400
