"""The page on 9090: what was received, forwarded, queued and quarantined, and why.

==================================  ===========================================================
Request                             Answer
==================================  ===========================================================
``GET /``                           the page
``GET /api/status``                 the same as JSON
``DELETE /api/quarantine/<id>``     removes one object for good: 200, or 404 when there is none
``GET /healthz``                    without login: 200 while the workers move, else 503
``GET /ping``                       200, with a login beginning with the time, as CTP's
``GET /shutdown``                   from loopback, with a header ``servicemanager``, without login:
                                    stops as CTP does and answers when nothing is in hand any more
==================================  ===========================================================

In the place of stock CTP also its own addresses of quarantines, for users with the role ``admin``
or ``qadmin``; ``p`` and ``s`` are the indexes of pipeline and stage:

=================================================  ============================================
``GET /quarantines``                               a link to each quarantine
``GET /quarantines/queueAll?p=&s=``                all objects there are tried again
``GET /quarantines/queueFile?p=&s=&filename=``     this one is
``GET /quarantines/deleteFile?p=&s=&filename=``    this one is removed for good
=================================================  ============================================

The last three change something on GET. They are for the program in front of CTP, which asks over
loopback: 403 for everybody else, and for what a browser sends, since it sends the login along with
what a foreign page asks for.

What asks for a login takes HTTP Basic: the users of the plan (``admin`` with ``ctp_admin_pass``, or
those of CTP's ``users.xml``).
"""

from __future__ import annotations

import base64
import binascii
import html
import ipaddress
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from . import BANNER, IMPLEMENTATION_VERSION_NAME
from .plan import ADMIN, QUARANTINE_ROLES, Login, Pipeline
from .spool import QuarantinedObject, Spool
from .worker import Worker

LOG = logging.getLogger(__name__)

SILENT_SECONDS = 120.0
"""A worker that has not moved for this time is not healthy: no single step may take as long."""

_LISTED_ON_PAGE = 1000
_OF_BROWSERS = frozenset(
    {"accept-language", "cookie", "origin", "referer", "upgrade-insecure-requests"}
)

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="10">
<title>CTP stand-in</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 0 1rem;
  color: #1c2733; background: #fff }}
.banner {{ background: #ffd54a; color: #1c2733; font-weight: 600; padding: .6rem 1rem;
  margin: 0 -1rem; box-shadow: 0 0 0 100vmax #ffd54a; clip-path: inset(0 -100vmax) }}
dl {{ display: flex; flex-wrap: wrap; gap: 1rem }}
dl div {{ border: 1px solid #c3ccd5; border-radius: .4rem; padding: .5rem 1rem; min-width: 8rem }}
dt {{ color: #4a5968 }} dd {{ margin: 0; font-size: 1.8rem; font-variant-numeric: tabular-nums }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #dde3e8;
  overflow-wrap: anywhere }}
th, td:nth-child(-n + 2) {{ white-space: nowrap }} td:nth-child(n + 3) {{ font: .85em monospace }}
</style></head><body>
<p class="banner" role="note">{banner}</p>
<h1>CTP stand-in</h1>
<p>{state}</p>
<dl>{numbers}</dl>
<h2>Quarantine</h2>
{quarantine}
<p><small>{version}. Lies on disk as it was sent, with the patient's data: {directories}.
</small></p></body></html>
"""


@dataclass(frozen=True)
class Shown:
    """A running pipeline, as the page sees it."""

    pipeline: Pipeline
    spool: Spool
    worker: Worker


class StatusPage:
    """Serves the page, each request in its own thread."""

    def __init__(
        self,
        address: tuple[str, int],
        login: Login,
        pipelines: Sequence[Shown],
        shut_down: Callable[[], None],
    ) -> None:
        """Listen on ``address``. Raises ``OSError`` when the port is taken.

        ``shut_down`` ends the program and returns when all but this page has ended.
        """
        self.login = login
        self.pipelines = pipelines
        self.shut_down = shut_down
        self._server = _Server(address, _handler(self))

    def start(self) -> None:
        """Answer requests from now on."""
        threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()

    def is_healthy(self) -> bool:
        """Whether the workers are alive and moving; away neighbours are not their fault."""
        return all(
            shown.worker.is_alive() and shown.worker.silent_seconds < SILENT_SECONDS
            for shown in self.pipelines
        )

    def status(self) -> dict[str, Any]:
        """What the page shows, as data."""
        all_counts = [shown.spool.counts() for shown in self.pipelines]
        waiting_for = [shown.worker.waiting_for for shown in self.pipelines]
        quarantined = [found for shown in self.pipelines for found in shown.spool.quarantined()]
        return {
            "standin": True,
            "notice": BANNER,
            "version": IMPLEMENTATION_VERSION_NAME,
            "healthy": self.is_healthy(),
            "waiting_for": next(filter(None, waiting_for), ""),
            **{
                name: sum(getattr(counts, name) for counts in all_counts)
                for name in ("received", "forwarded", "queued", "quarantined", "deleted")
            },
            "quarantine": [
                {
                    "id": found.id,
                    "sop_instance_uid": found.sop_instance_uid,
                    "reason": found.reason,
                    "received_at": found.received_at,
                }
                for found in sorted(quarantined, key=lambda found: found.id)
            ],
        }

    def delete(self, object_id: str) -> bool:
        """Remove one object from quarantine for good; whether there was one of that id."""
        return any(shown.spool.delete_quarantined(object_id) for shown in self.pipelines)

    def quarantine_links(self) -> str:
        """A list of all quarantines as HTML, empty where CTP's addresses do not exist."""
        rows = [
            f'<li><a href="?p={p}&amp;s={stage.index}">{html.escape(shown.pipeline.name)}:'
            f" {stage.kind}</a></li>"
            for p, shown in enumerate(self.pipelines)
            for stage in shown.pipeline.stages
        ]
        return f"<p>{html.escape(BANNER)}</p><ul>{''.join(rows)}</ul>\n" if rows else ""

    def stage(self, pipeline: str, stage: str) -> tuple[Shown, Path] | None:
        """The running pipeline and the quarantine behind two indexes; ``None``: no such stage."""
        try:
            p, s = int(pipeline), int(stage)
        except ValueError:
            return None
        if not (0 <= p < len(self.pipelines) and s >= 0):
            return None
        shown = self.pipelines[p]
        for found in shown.pipeline.stages:
            if found.index == s:
                return shown, found.quarantine
        return None

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
            for name in ("received", "forwarded", "queued", "quarantined", "deleted")
        )
        listed = status["quarantine"][-_LISTED_ON_PAGE:]
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td>{html.escape(text)}</td>"
                for text in (
                    found["received_at"][:19].replace("T", " "),
                    *(found[key] for key in ("reason", "sop_instance_uid", "id")),
                )
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
            directories=html.escape(
                ", ".join(
                    str(directory)
                    for shown in self.pipelines
                    for directory in (
                        shown.pipeline.layout.parents
                        or shown.pipeline.layout.quarantine_directories()
                    )
                )
            ),
            version=IMPLEMENTATION_VERSION_NAME,
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is not worth a traceback in the log."""


def _act(command: str, spool: Spool, found: QuarantinedObject) -> bool:
    if command == "deleteFile":
        return spool.delete_quarantined(found.id) is not None
    return spool.requeue_quarantined(found.id)


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
            elif path == "/ping":
                # CTP answers 200 to everybody, and to who has no login with the login page.
                now = f"{datetime.now():%Y.%m.%d %H:%M:%S} " if self._roles() is not None else ""
                self._answer(HTTPStatus.OK, "text/plain; charset=utf-8", f"{now}{BANNER}\n")
            elif path == "/shutdown" and self._is_service_manager():
                site.shut_down()
                self._answer(HTTPStatus.OK, "text/plain; charset=utf-8", "Goodbye.\n")
            elif self._roles() is None:
                self._ask_for_login()
            elif path == "/":
                self._answer(HTTPStatus.OK, "text/html; charset=utf-8", site.page())
            elif path == "/api/status":
                self._json(HTTPStatus.OK, site.status())
            elif path == "/quarantines" or path.startswith("/quarantines/"):
                self._quarantines(path[len("/quarantines/") :])
            else:
                self._json(HTTPStatus.NOT_FOUND, {"error": "There is no such page."})

        do_HEAD = do_GET

        def do_DELETE(self) -> None:
            path = urlsplit(self.path).path
            prefix, _, object_id = path.rpartition("/")
            roles = self._roles()
            if roles is None:
                self._ask_for_login()
            elif not roles & QUARANTINE_ROLES:
                self._json(HTTPStatus.FORBIDDEN, {"error": f"This needs the role {ADMIN}."})
            elif prefix == "/api/quarantine" and site.delete(object_id):
                LOG.warning("Object %s was deleted from quarantine on the page", object_id)
                self._json(HTTPStatus.OK, {"deleted": object_id})
            else:
                self._json(HTTPStatus.NOT_FOUND, {"error": "No such object is in quarantine."})

        def _quarantines(self, command: str) -> None:
            query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            if not QUARANTINE_ROLES & (self._roles() or frozenset()):
                self._json(HTTPStatus.FORBIDDEN, {"error": f"This needs the role {ADMIN}."})
                return
            links = site.quarantine_links()
            if not command and not query and links:
                self._answer(HTTPStatus.OK, "text/html; charset=utf-8", links)
                return
            stage = site.stage(query.get("p", ""), query.get("s", ""))
            if stage is None or command not in ("queueAll", "queueFile", "deleteFile"):
                self._json(HTTPStatus.NOT_FOUND, {"error": "There is no such quarantine."})
                return
            if self.command != "GET" or not self._is_the_front():
                self._json(
                    HTTPStatus.FORBIDDEN,
                    {"error": "Only the program in front of CTP may ask for this, over loopback."},
                )
                return
            shown, directory = stage
            wanted = query.get("filename", "")
            done = 0
            shown.spool.adopt_quarantined(directory)
            for found in shown.spool.quarantined():
                if found.path.parent == directory and (
                    command == "queueAll" or found.path.name == wanted
                ):
                    done += _act(command, shown.spool, found)
            LOG.warning("%s on the page: %d objects", command, done)
            self._answer(
                HTTPStatus.OK,
                "text/html; charset=utf-8",
                f"<p>{html.escape(BANNER)}</p><p>{command}: {done} objects.</p>\n",
            )

        def _is_here(self) -> bool:
            return ipaddress.ip_address(self.client_address[0]).is_loopback

        def _is_service_manager(self) -> bool:
            return self._is_here() and "servicemanager" in self.headers

        def _is_the_front(self) -> bool:
            """Whether it comes from this machine and carries nothing that only browsers send."""
            return self._is_here() and not any(
                name.lower() in _OF_BROWSERS or name.lower().startswith("sec-")
                for name in self.headers
            )

        def _roles(self) -> frozenset[str] | None:
            scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "basic":
                return None
            try:
                pair = base64.b64decode(encoded, validate=True).decode("utf-8")
            except (binascii.Error, ValueError):
                return None
            user, _, password = pair.partition(":")
            return site.login(user, password)

        def _ask_for_login(self) -> None:
            self._answer(
                HTTPStatus.UNAUTHORIZED,
                "application/json",
                json.dumps({"error": f"Log in as {ADMIN} with the secret ctp_admin_pass."}),
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
