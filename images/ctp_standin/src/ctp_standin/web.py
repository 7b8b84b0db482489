"""The page on 9090: what was received, forwarded, queued and quarantined, and why.

==================================  ===========================================================
Request                             Answer
==================================  ===========================================================
``GET /``                           the page
``GET /api/status``                 the same as JSON
``DELETE /api/quarantine/<id>``     removes one object for good: 200, or 404 when there is none
``GET /healthz``                    without login: 200 while the worker moves, else 503
==================================  ===========================================================

All but the last ask for the user ``admin`` and the password in ``ctp_admin_pass`` (HTTP Basic).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import html
import json
import logging
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from . import BANNER, IMPLEMENTATION_VERSION_NAME
from .spool import Spool
from .worker import Worker

LOG = logging.getLogger(__name__)

USER = "admin"
SILENT_SECONDS = 120.0
"""A worker that has not moved for this time is not healthy: no single step may take as long."""

_LISTED_ON_PAGE = 1000

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="10">
<title>CTP stand-in</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 64rem; padding: 0 1rem;
  color: #1c2733; background: #fff }}
.banner {{ background: #ffd54a; color: #1c2733; font-weight: 600; padding: .6rem 1rem;
  margin: 0 -1rem }}
dl {{ display: flex; flex-wrap: wrap; gap: 1rem }}
dl div {{ border: 1px solid #c3ccd5; border-radius: .4rem; padding: .5rem 1rem; min-width: 8rem }}
dt {{ color: #4a5968 }} dd {{ margin: 0; font-size: 1.8rem; font-variant-numeric: tabular-nums }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #dde3e8;
  overflow-wrap: anywhere }}
</style></head><body>
<p class="banner" role="note">{banner}</p>
<h1>CTP stand-in</h1>
<p>{state}</p>
<dl>{numbers}</dl>
<h2>Quarantine</h2>
{quarantine}
<p><small>{version}. Lies on disk as it was sent, with the patient's data: /ctp_temp/quarantine.
</small></p></body></html>
"""


class StatusPage:
    """Serves the page, each request in its own thread."""

    def __init__(
        self, address: tuple[str, int], password: str, spool: Spool, worker: Worker
    ) -> None:
        """Listen on ``address``. Raises ``OSError`` when the port is taken."""
        self.password = password.encode("utf-8")
        self.spool = spool
        self.worker = worker
        self._server = _Server(address, _handler(self))

    def start(self) -> None:
        """Answer requests from now on."""
        threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()

    def is_healthy(self) -> bool:
        """Whether the worker is alive and moving; away neighbours are not its fault."""
        return self.worker.is_alive() and self.worker.silent_seconds < SILENT_SECONDS

    def status(self) -> dict[str, Any]:
        """What the page shows, as data."""
        counts = self.spool.counts()
        return {
            "standin": True,
            "notice": BANNER,
            "version": IMPLEMENTATION_VERSION_NAME,
            "healthy": self.is_healthy(),
            "waiting_for": self.worker.waiting_for,
            "received": counts.received,
            "forwarded": counts.forwarded,
            "queued": counts.queued,
            "quarantined": counts.quarantined,
            "deleted": counts.deleted,
            "quarantine": [
                {
                    "id": found.id,
                    "sop_instance_uid": found.sop_instance_uid,
                    "reason": found.reason,
                    "received_at": found.received_at,
                }
                for found in self.spool.quarantined()
            ],
        }

    def page(self) -> str:
        """The page as HTML."""
        status = self.status()
        if not status["healthy"]:
            state = "Not healthy: the worker does not move. See the log of this container."
        elif status["waiting_for"]:
            state = f"Waiting for {status['waiting_for']}; objects stay queued until it answers."
        else:
            state = "Working."
        numbers = "".join(
            f"<div><dt>{name.capitalize()}</dt><dd>{status[name]}</dd></div>"
            for name in ("received", "forwarded", "queued", "quarantined")
        )
        listed = status["quarantine"][-_LISTED_ON_PAGE:]
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td>{html.escape(found[key])}</td>"
                for key in ("received_at", "reason", "sop_instance_uid", "id")
            )
            + "</tr>"
            for found in reversed(listed)
        )
        table = (
            "<table><thead><tr><th>Received (UTC)</th><th>Reason</th><th>SOP Instance UID</th>"
            f"<th>Id</th></tr></thead><tbody>{rows}</tbody></table>"
            if rows
            else "<p>Empty.</p>"
        )
        return _PAGE.format(
            banner=html.escape(BANNER),
            state=html.escape(state),
            numbers=numbers,
            quarantine=table,
            version=IMPLEMENTATION_VERSION_NAME,
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is not worth a traceback in the log."""


def _handler(site: StatusPage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = IMPLEMENTATION_VERSION_NAME
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == "/healthz":
                healthy = site.is_healthy()
                self._answer(
                    HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE,
                    "text/plain; charset=utf-8",
                    "ok\n" if healthy else "the worker does not move\n",
                )
            elif not self._is_admin():
                self._ask_for_login()
            elif path == "/":
                self._answer(HTTPStatus.OK, "text/html; charset=utf-8", site.page())
            elif path == "/api/status":
                self._json(HTTPStatus.OK, site.status())
            else:
                self._json(HTTPStatus.NOT_FOUND, {"error": "There is no such page."})

        do_HEAD = do_GET

        def do_DELETE(self) -> None:
            path = urlsplit(self.path).path
            prefix, _, object_id = path.rpartition("/")
            if not self._is_admin():
                self._ask_for_login()
            elif prefix == "/api/quarantine" and site.spool.delete_quarantined(object_id):
                LOG.warning("Object %s was deleted from quarantine by %s", object_id, USER)
                self._json(HTTPStatus.OK, {"deleted": object_id})
            else:
                self._json(HTTPStatus.NOT_FOUND, {"error": "No such object is in quarantine."})

        def _is_admin(self) -> bool:
            scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "basic":
                return False
            try:
                user, _, password = base64.b64decode(encoded, validate=True).partition(b":")
            except (binascii.Error, ValueError):
                return False
            # Both are always compared, each in constant time.
            right_user = hmac.compare_digest(user, USER.encode())
            return hmac.compare_digest(password, site.password) and right_user

        def _ask_for_login(self) -> None:
            self._answer(
                HTTPStatus.UNAUTHORIZED,
                "application/json",
                json.dumps({"error": f"Log in as {USER} with the secret ctp_admin_pass."}),
                {"WWW-Authenticate": 'Basic realm="CTP stand-in", charset="UTF-8"'},
            )

        def _json(self, status: HTTPStatus, content: dict[str, Any]) -> None:
            self._answer(status, "application/json", json.dumps(content))

        def _answer(
            self,
            status: HTTPStatus,
            media_type: str,
            content: str,
            headers: dict[str, str] | None = None,
        ) -> None:
            body = content.encode("utf-8")
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header(
                "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"
            )
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are not logged: a path is whatever a client sends."""

    return Handler
