"""Pages over HTTPS are asked only where the certificate is trusted and for the right name.

The server is Python's own, with certificates of the node's own CA.
"""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import ClientError, Http
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import observe
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status.command import (
    UnknownError,
)

NAMES = ("kv01.hospital.example",)


class Answer(http.server.BaseHTTPRequestHandler):
    asked: list[str] = []
    marks: list[str | None] = []

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.asked.append(self.path)
        self.marks.append(self.headers["X-Requested-With"])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    made = certificates.make_authority()
    pair = certificates.issue(made, NAMES)
    (tmp_path / "ca.pem").write_text(made["certificate"])
    (tmp_path / "pair.pem").write_text(pair["certificate"] + pair["key"])
    return tmp_path / "ca.pem"


@pytest.fixture
def url(authority: Path) -> Iterator[str]:
    Answer.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.with_name("pair.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_right_ca_and_name_are_trusted(url: str, authority: Path) -> None:
    trust = {"ca_file": str(authority), "name": NAMES[0]}
    assert Http(url, "admin", "x", trust).get("/a") == b"{}"
    assert observe.ask({"url": url, "trust": trust}, "/b", "admin", "x") == (200, b"{}")
    assert Answer.asked == ["/a", "/b"]


@pytest.mark.parametrize("body", [None, {"a": 1}, b"raw"])
def test_further_headers_are_sent(url: str, authority: Path, body: Any) -> None:
    """CTP's page refuses a POST that a foreign page could have made a browser send."""
    page = Http(url, "admin", "x", {"ca_file": str(authority), "name": NAMES[0]})
    assert page.send("POST", "/a", body, headers={"X-Requested-With": "auscat"})[0] == 200
    assert Answer.marks[-1] == "auscat"


@pytest.mark.parametrize("wrong", ["name", "ca", "system"])
def test_nothing_is_sent_to_others(url: str, authority: Path, tmp_path: Path, wrong: str) -> None:
    trust = {"ca_file": str(authority), "name": NAMES[0]}
    if wrong == "name":
        # The certificate is not for 127.0.0.1.
        trust["name"] = ""
    elif wrong == "ca":
        other = tmp_path / "other.pem"
        other.write_text(certificates.make_authority()["certificate"])
        trust["ca_file"] = str(other)
    else:
        trust["ca_file"] = ""
    with pytest.raises(ClientError, match="not trusted") as refused:
        Http(url, "admin", "x", trust).get("/")
    assert "site.yml" in refused.value.remedy
    with pytest.raises(UnknownError):
        observe.ask({"url": url, "trust": trust}, "/", "admin", "x")
    assert Answer.asked == []


def test_ca_file_that_is_missing_is_no_answer(url: str, tmp_path: Path) -> None:
    trust = {"ca_file": str(tmp_path / "none.pem"), "name": ""}
    with pytest.raises(ClientError, match="does not answer"):
        Http(url, "admin", "x", trust).get("/")
    with pytest.raises(UnknownError):
        observe.ask({"url": url, "trust": trust}, "/", "admin", "x")
