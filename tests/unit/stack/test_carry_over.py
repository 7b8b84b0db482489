"""What is done with the files that a failed Orthanc left, with a double of Orthanc's REST API.

That Orthanc answers 400 to a file that lacks its end is shown by the scenario upgrade.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.stack import deployment
from ansible_collections.auscat.imaging.plugins.module_utils.stack.carry_over import (
    CarryOverError,
    ConnectionWithin,
    store_again,
)
from processes import ended

HEADERS = {"Authorization": "Basic dTpw"}
OBJECT = bytes(128) + b"DICM"
ANSWERS = {b"good": 200, b"half": 400, b"full": 507}
FILES = {
    "00/00/1": OBJECT + b"good",
    "00/00/2": OBJECT + b"half",
    "00/00/3": b"what a plugin keeps of a series",
    "00/00/4": OBJECT + b"good",
}


class OrthancDouble(BaseHTTPRequestHandler):
    """Answers to POST /instances by the last word of the object."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = (self.path, self.headers["Authorization"]) == (
            "/instances",
            HEADERS["Authorization"],
        )
        self.send_response(ANSWERS[body[-4:]] if asked else 401)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def orthanc_double() -> Iterator[Callable[[], HTTPConnection]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), OrthancDouble) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield partial(HTTPConnection, "127.0.0.1", server.server_port, timeout=10)
        finally:
            server.shutdown()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def left(source: Path) -> set[str]:
    return {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}


def test_a_refused_file_stays_and_those_after_it_are_stored(source: Path) -> None:
    with orthanc_double() as connect:
        stored, refused = store_again(connect, HEADERS, source, map(Path, FILES))
    assert (stored, refused) == (2, [f"{source}/00/00/2"])
    assert left(source) == {"00/00/2"}


def test_a_full_orthanc_ends_it_and_the_rest_stays(source: Path) -> None:
    (source / "00/00/2").write_bytes(OBJECT + b"full")
    with orthanc_double() as connect, pytest.raises(CarryOverError) as raised:
        store_again(connect, HEADERS, source, map(Path, FILES))
    assert f"did not take {source}/00/00/2 back (HTTP status 507); stored again before: 1." in str(
        raised.value
    )
    assert left(source) == {"00/00/2", "00/00/3", "00/00/4"}


def test_an_orthanc_that_is_away_ends_it_and_all_stays(source: Path) -> None:
    with orthanc_double() as connect:
        pass
    with pytest.raises(CarryOverError, match="Connection refused"):
        store_again(connect, HEADERS, source, map(Path, FILES))
    assert left(source) == set(FILES)


def test_orthanc_is_reached_though_no_port_is_published() -> None:
    """The network of a container, where its pages are not this machine's."""
    program = (
        "import http.server\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()"
    )
    inside = "ip link set lo up && exec " + sys.executable + ' -c "$0"'
    with ended(
        ["unshare", "--net", "sh", "-c", inside, program], stdout=subprocess.PIPE, text=True
    ) as within:
        assert within.stdout is not None
        port = int(within.stdout.readline())
        with pytest.raises(ConnectionRefusedError):
            HTTPConnection("127.0.0.1", port, timeout=10).request("HEAD", "/")
        connection = ConnectionWithin(within.pid, port, timeout=10)
        connection.request("HEAD", "/")
        assert connection.getresponse().status == 200
        # Whoever asked is where it was.
        with pytest.raises(ConnectionRefusedError):
            HTTPConnection("127.0.0.1", port, timeout=10).request("HEAD", "/")


def test_keydbs_directory_is_found_beside_what_has_none_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a double of what reads the database; a memory file system is mounted, too."""
    asked: list[object] = []

    def read_pairs(stack: str, setting: dict[str, object], *_: object) -> str:
        asked.append((stack, setting["mounted"]))
        return "2 patients"

    monkeypatch.setattr(deployment, "keydb_pairs", read_pairs)
    stack = deployment.Stack(
        {
            "name": "node",
            "timeout": 1,
            "order": [],
            "kept_secrets": [],
            "limited": True,
            "directory": str(tmp_path),
            "copies": str(tmp_path / "copies"),
            "data": [
                {
                    "service": "keydb",
                    "path": str(tmp_path / "keydb"),
                    "linked": [],
                    "carry_over": {"kind": "keydb"},
                }
            ],
        }
    )
    service = {
        "image": "keydb",
        "volumes": [
            {"type": "tmpfs", "target": "/run/postgresql"},
            {"type": "bind", "source": str(tmp_path / "keydb"), "target": "/var/lib/postgresql"},
        ],
    }
    document = {"services": {"keydb": service}}
    stack._carry_over("keydb", document, document, [])
    assert asked == [("node", "/var/lib/postgresql")]
    assert stack.notes == ["keydb: 2 patients."] and stack.doubts == []
