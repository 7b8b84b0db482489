"""Who gets messages in these tests: a double of an SMTP relay, and a web server with HTTPS.

The relay is no mail server and says so here: it speaks as much of RFC 5321, 3207 (STARTTLS) and
4954 (AUTH PLAIN) as a client needs, and keeps what it takes. Debian's real one receives in
molecule/status.
"""

from __future__ import annotations

import base64
import email
import email.policy
import http.server
import json
import re
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

USER, PASSWORD = "node", "relay-4b1f9d27c6"


class RelayDouble(socketserver.ThreadingTCPServer):
    """See the head of this file.

    Args:
        pair: PEM with certificate and key, for STARTTLS; without, it offers none.
        login: whether it asks for one.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, pair: Path | None = None, login: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.context = None
        if pair:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(pair)
        self.login = login
        self.refused: set[str] = set()
        self.taken: list[tuple[list[str], EmailMessage]] = []
        self.in_clear: list[str] = []
        self.silent = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Talk(socketserver.StreamRequestHandler):
    server: RelayDouble

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")
        self.wfile.flush()

    def handle(self) -> None:
        if self.server.silent.is_set():
            time.sleep(2)
            return
        secure = known = False
        people: list[str] = []
        self.say("220 double.example ESMTP")
        while line := self.rfile.readline().decode().strip():
            word = line.upper()
            if not secure:
                self.server.in_clear.append(line)
            if word.startswith("EHLO"):
                offers = ["AUTH PLAIN"] if self.server.login else []
                offers += ["STARTTLS"] if self.server.context and not secure else []
                lines = ["double.example", *offers]
                for each in lines[:-1]:
                    self.say(f"250-{each}")
                self.say(f"250 {lines[-1]}")
            elif word == "STARTTLS" and self.server.context:
                self.say("220 go on")
                try:
                    wrapped = self.server.context.wrap_socket(self.connection, server_side=True)
                except OSError:
                    return  # who calls does not trust it
                self.rfile, self.wfile = wrapped.makefile("rb"), wrapped.makefile("wb")
                secure = True
            elif word.startswith("AUTH PLAIN "):
                given = base64.b64decode(line.split()[2]).decode().split("\0")[1:]
                known = given == [USER, PASSWORD]
                self.say("235 welcome" if known else "535 who is that")
            elif word.startswith("MAIL FROM:"):
                self.say("530 log in" if self.server.login and not known else "250 yes")
            elif word.startswith("RCPT TO:"):
                address = re.findall("<(.*)>", line)[0]
                refused = address in self.server.refused
                people += [] if refused else [address]
                self.say("550 nobody" if refused else "250 yes")
            elif word == "DATA":
                self.say("354 go on")
                content = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    content += part.removeprefix(b".")
                message = email.message_from_bytes(content, policy=email.policy.default)
                assert isinstance(message, EmailMessage)
                self.server.taken.append((people, message))
                self.say("250 taken")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 yes" if word in ("RSET", "NOOP") else "502 what")


class Hook(http.server.ThreadingHTTPServer):
    """A web server with HTTPS that keeps what is sent to it, and answers as it is told to."""

    daemon_threads = True

    def __init__(self, pair: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.status, self.elsewhere = 200, ""
        self.taken: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """Who does not trust it hangs up."""


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.taken.append((self.path, dict(self.headers.items()), body))
        self.send_response(self.server.status)
        if self.server.elsewhere:
            self.send_header("Location", self.server.elsewhere)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Have it answer for as long as the block takes."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
