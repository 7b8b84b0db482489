"""The web front: the status, the quarantine, and CTP's own pages behind one login.

====================================  =========================================================
Request                               Answer
====================================  =========================================================
``GET /healthz``                      without login: 200 while objects can be processed, else 503
``GET /api/status``                   the state as JSON
``GET /api/quarantine``               each object: reason, what was found, file; no identifier
``DELETE /api/quarantine/<id>``       removes one object for good: 200, or 404 when there is none
``POST /api/quarantine/delete``       removes those whose ids the body lists, ``{"ids": [...]}``
``POST /api/quarantine/release``      sends round again what can get further: 200 with counts
``POST /api/names``                   which names of structures became which, in studies asked for
                                      by ``identifier``, ``pseudonym`` or ``study`` as below; the
                                      old names may name a person
``POST /api/study``                   whether studies are complete, and what is missing and why;
                                      the body holds one of ``identifier`` (a Study Instance UID
                                      as its sender has it, or a PatientID), ``pseudonym`` and
                                      ``study`` (the UID in Orthanc), or ``{"still": true}`` for all
                                      that are neither complete nor arriving
all others                            CTP's own page; 403 for those that change what is deployed
====================================  =========================================================

All but the first ask for the user ``admin`` and the password in ``ctp_admin_pass`` (HTTP Basic).

A browser sends that login along with what a foreign page asks for. So a POST of the API needs what
such a page cannot send without being asked first (the Fetch standard's preflight, which is never
answered): the type ``application/json`` or a header ``X-Requested-With``. And a page of CTP that
may change something is answered with 403 and a form, which sends the same request with a token.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import http.client
import json
import logging
import re
import threading
from collections.abc import Callable, Container, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import urlsplit

from .. import NAME
from ..engine.workdir import USER
from .confirm import Confirmations, only_reads

LOG = logging.getLogger(__name__)

QUESTIONS = {"identifier": str, "pseudonym": str, "study": str, "still": bool}
"""What studies may be asked for by."""
QUESTIONS_OF_NAMES = {name: kind for name, kind in QUESTIONS.items() if name != "still"}
LARGEST_BODY = 16 * 1024 * 1024
_CHUNK = 256 * 1024
CLOSED_PAGES = frozenset(
    {"shutdown", "user", "users", "level", "daconfig", "script", "lookup", "login"}
)
"""Pages of CTP that change, or show, what is deployed: scripts (with the UID key), users, log."""
_NOT_FORWARDED = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "content-type",
        "expect",
        # CTP takes the first as a command to end, and the second as a login in plain text.
        "servicemanager",
        "rsna",
        "accept-encoding",
        # No method but the request's own.
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
    }
)
_NOT_RETURNED = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}
)


_PLAIN_PATH = re.compile(r"(?:/+(?!\.\.?(?:/|$))[A-Za-z0-9._-]*)+")
"""CTP takes escapes and dots apart by itself: what is not plain could lead to a closed page."""


def _first_part(path: str) -> str:
    return next((part for part in path.split("/") if part), "").lower()


class Site(Protocol):
    """What the front shows."""

    def health(self) -> tuple[bool, str]:
        """Whether all is well, and a few lines for people."""
        ...  # pragma: no cover

    def status(self) -> dict[str, Any]:
        """The state."""
        ...  # pragma: no cover

    def quarantine(self) -> list[dict[str, Any]]:
        """All objects in quarantine."""
        ...  # pragma: no cover

    def delete(self, object_ids: Container[str]) -> int:
        """Remove objects from quarantine. Raises ``OSError``, ``HTTPException``."""
        ...  # pragma: no cover

    def release(self) -> dict[str, Any]:
        """Send quarantined objects round again. Raises ``OSError``, ``HTTPException``."""
        ...  # pragma: no cover

    def study(self, question: dict[str, Any]) -> dict[str, Any]:
        """What is known of studies; see ``Account.ask`` for the question. It stays here."""
        ...  # pragma: no cover

    def names(self, question: dict[str, Any]) -> dict[str, Any]:
        """Which names of structures became which; see ``Account.names``. It stays here."""
        ...  # pragma: no cover

    def passes_on(self, path: str) -> None:
        """Called before a request for a page of CTP goes to CTP."""
        ...  # pragma: no cover


class Front:
    """Serves the pages, each request in its own thread."""

    def __init__(self, address: tuple[str, int], password: str, site: Site, ctp_port: int) -> None:
        """Listen on ``address``. Raises ``OSError`` when the port is taken."""
        self._server = _Server(address, _handler(site, password.encode("utf-8"), ctp_port))

    def start(self) -> None:
        """Answer requests from now on."""
        threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="web", daemon=True
        ).start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is not worth a traceback in the log."""


def _handler(site: Site, password: bytes, ctp_port: int) -> type[BaseHTTPRequestHandler]:
    confirmations = Confirmations()

    class Handler(BaseHTTPRequestHandler):
        server_version = NAME
        sys_version = ""
        timeout = 30

        def do_GET(self) -> None:
            if urlsplit(self.path).path == "/healthz":
                healthy, text = site.health()
                self._answer(
                    HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE,
                    "text/plain; charset=utf-8",
                    text,
                )
                return
            self._with_login(
                {
                    "/api/status": lambda: self._json(HTTPStatus.OK, site.status()),
                    "/api/quarantine": lambda: self._json(
                        HTTPStatus.OK, {"quarantine": site.quarantine()}
                    ),
                }
            )

        do_HEAD = do_GET

        def do_POST(self) -> None:
            self._with_login(
                {
                    "/api/quarantine/release": self._release,
                    "/api/quarantine/delete": self._delete_many,
                    "/api/study": self._study,
                    "/api/names": self._names,
                }
            )

        def do_DELETE(self) -> None:
            self._with_login({urlsplit(self.path).path: self._delete})

        def _with_login(self, pages: dict[str, Callable[[], None]]) -> None:
            path = urlsplit(self.path).path
            if not self._is_admin():
                self._answer(
                    HTTPStatus.UNAUTHORIZED,
                    "application/json",
                    json.dumps({"error": f"Log in as {USER} with the secret ctp_admin_pass."}),
                    {"WWW-Authenticate": 'Basic realm="CTP", charset="UTF-8"'},
                )
            elif self._comes_from_elsewhere():
                self._json(HTTPStatus.FORBIDDEN, {"error": "A link of another site."})
            elif self.command == "POST" and path in pages and not self._is_of_a_program():
                self._json(
                    HTTPStatus.FORBIDDEN,
                    {
                        "error": "Send it with Content-Type: application/json, or with a header"
                        " X-Requested-With. Nothing was changed."
                    },
                )
            elif path in pages:
                pages[path]()
            elif path.startswith("/api/"):
                self._json(HTTPStatus.NOT_FOUND, {"error": "There is no such page."})
            elif not _PLAIN_PATH.fullmatch(path) or _first_part(path) in CLOSED_PAGES:
                self._json(
                    HTTPStatus.FORBIDDEN,
                    {
                        "error": "This page of CTP is closed: what it changes is deployed from the"
                        " inventory, by site.yml."
                    },
                )
            elif self.command in ("GET", "HEAD") and only_reads(path):
                self._forward()
            elif self.command == "POST":
                self._confirmed()
            else:
                self._ask_to_confirm()

        def _is_of_a_program(self) -> bool:
            """Whether no form or script of a foreign page can have sent it."""
            media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return media_type == "application/json" or "X-Requested-With" in self.headers

        def _target(self) -> str:
            parts = urlsplit(self.path)
            return parts.path + (f"?{parts.query}" if parts.query else "")

        def _ask_to_confirm(self) -> None:
            page, cookie = confirmations.form(self._target(), self.headers.get("Cookie", ""))
            self._answer(
                HTTPStatus.FORBIDDEN,
                "text/html; charset=utf-8",
                page,
                {"Set-Cookie": cookie},
                # CTP shows its pages in frames of its own.
                policy="default-src 'none'; form-action 'self'; frame-ancestors 'self'",
                frames="SAMEORIGIN",
            )

        def _confirmed(self) -> None:
            """What the form sends: CTP knows it as a GET."""
            body = self._body()
            if body is None:
                return
            cookies = self.headers.get("Cookie", "")
            media_type = self.headers.get("Content-Type", "")
            if confirmations.is_confirmed(self._target(), cookies, media_type, body):
                LOG.warning("A change on CTP's own page was confirmed by %s", USER)
                self._forward()
            else:
                self._ask_to_confirm()

        def _comes_from_elsewhere(self) -> bool:
            if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
                return (
                    self.command != "GET"
                    or self.headers.get("Sec-Fetch-Mode") != "navigate"
                    or (urlsplit(self.path).path != "/")
                )
            origin = self.headers.get("Origin")
            return origin is not None and urlsplit(origin).netloc != self.headers.get("Host")

        def _delete(self) -> None:
            prefix, _, object_id = urlsplit(self.path).path.rpartition("/")
            try:
                deleted = prefix == "/api/quarantine" and site.delete({object_id})
            except (OSError, http.client.HTTPException):
                self._unavailable()
                return
            if deleted:
                LOG.warning("Object %s was deleted from quarantine by %s", object_id, USER)
                self._json(HTTPStatus.OK, {"deleted": object_id})
            else:
                self._json(HTTPStatus.NOT_FOUND, {"error": "No such object is in quarantine."})

        def _delete_many(self) -> None:
            body = self._body()
            if body is None:
                return
            try:
                ids = json.loads(body)["ids"]
                if not all(isinstance(each, str) for each in ids):
                    raise TypeError
                deleted = site.delete(frozenset(ids))
            except (ValueError, KeyError, TypeError, RecursionError):
                self._json(HTTPStatus.BAD_REQUEST, {"error": 'The body is not {"ids": [...]}.'})
                return
            except (OSError, http.client.HTTPException):
                self._unavailable()
                return
            LOG.warning("%d objects were deleted from quarantine by %s", deleted, USER)
            self._json(HTTPStatus.OK, {"deleted": deleted})

        def _study(self) -> None:
            question = self._question(QUESTIONS)
            if question is not None:
                self._json(HTTPStatus.OK, site.study(question))

        def _names(self) -> None:
            question = self._question(QUESTIONS_OF_NAMES)
            if question is not None:
                self._json(HTTPStatus.OK, site.names(question))

        def _question(self, known: Mapping[str, type]) -> dict[str, Any] | None:
            """What is asked; ``None`` where that was refused."""
            body = self._body()
            if body is None:
                return None
            try:
                ((name, value),) = json.loads(body).items()
                if isinstance(value, str):
                    value = value.strip()
                    value.encode()  # or half a character is in it
                if not value or type(value) is not known.get(name):
                    raise TypeError
            except (ValueError, AttributeError, TypeError, RecursionError):
                self._json(
                    HTTPStatus.BAD_REQUEST,
                    {"error": f"The body has to hold one of {', '.join(known)}."},
                )
                return None
            return {name: value}

        def _release(self) -> None:
            try:
                result = site.release()
            except (OSError, http.client.HTTPException):
                self._unavailable()
                return
            LOG.info("Released %d objects from quarantine", result["released"])
            self._json(HTTPStatus.OK, result)

        def _unavailable(self) -> None:
            self._json(
                HTTPStatus.SERVICE_UNAVAILABLE,
                {"error": "CTP does not answer now. Its state is at /api/status."},
            )

        def _is_admin(self) -> bool:
            scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "basic":
                return False
            try:
                user, _, given = base64.b64decode(encoded.strip(), validate=True).partition(b":")
            except (binascii.Error, ValueError):
                return False
            # Both are always compared, each in constant time.
            right_user = hmac.compare_digest(user, USER.encode())
            return hmac.compare_digest(given, password) and right_user

        def _forward(self) -> None:
            """CTP's own page. CTP honours the same login."""
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in _NOT_FORWARDED
            }
            upstream = http.client.HTTPConnection("127.0.0.1", ctp_port, timeout=60)
            try:
                site.passes_on(self._target())
                upstream.request("GET", self._target(), headers=headers)
                response = upstream.getresponse()
            except (OSError, http.client.HTTPException):
                upstream.close()
                self._unavailable()
                return
            try:
                self._return(response)
            finally:
                upstream.close()

        def _body(self) -> bytes | None:
            """What the client sent; ``None`` where that was refused."""
            try:
                length = int(self.headers.get("Content-Length", "0"))
            except ValueError:
                length = -1
            if not 0 <= length <= LARGEST_BODY:
                self._json(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "Too long a body."})
                return None
            return self.rfile.read(length)

        def _return(self, response: http.client.HTTPResponse) -> None:
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() == "location":
                    here = f"//127.0.0.1:{ctp_port}"
                    parts = urlsplit(value)
                    if f"//{parts.netloc}" == here:
                        value = parts._replace(scheme="", netloc="").geturl() or "/"
                if name.lower() not in _NOT_RETURNED:
                    self.send_header(name, value)
            self._security("frame-ancestors 'self'", "SAMEORIGIN")
            # HTTP/1.0: the end of the connection is the end of the body.
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            if self.command != "HEAD":
                while chunk := response.read(_CHUNK):
                    self.wfile.write(chunk)

        def _json(self, status: HTTPStatus, content: dict[str, Any]) -> None:
            self._answer(status, "application/json", json.dumps(content))

        def _security(self, policy: str, frames: str) -> None:
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", frames)
            self.send_header("Referrer-Policy", "same-origin")
            self.send_header("Content-Security-Policy", policy)

        def _answer(
            self,
            status: HTTPStatus,
            media_type: str,
            content: str,
            headers: dict[str, str] | None = None,
            policy: str = "default-src 'none'; frame-ancestors 'none'",
            frames: str = "DENY",
        ) -> None:
            body = content.encode("utf-8")
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self._security(policy, frames)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are not logged: a path is whatever a client sends."""

    return Handler
