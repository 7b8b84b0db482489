"""A double of the Docker engine: its HTTP interface on a Unix socket, and nothing behind it."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


class EngineDouble(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Two services of one task each; what is asked for and is not there is a 404, as the engine's.

    Attributes:
        objects: services, containers and tasks by their ids.
        asked: how many questions came, the one for its version left out.
        goes: an object, and before which question it goes.
        ill: what the engine says to every question, with status 500; empty: it is well.
    """

    daemon_threads = True

    def __init__(self, socket: Path) -> None:
        super().__init__(str(socket), _Handler)
        self.objects: dict[str, dict[str, Any]] = {"service": {}, "container": {}, "task": {}}
        for name in ("one", "two"):
            spec = {"ContainerSpec": {"Image": name}, "ForceUpdate": 0}
            labels = {
                "com.docker.swarm.task.id": f"task-{name}",
                "com.docker.swarm.service.name": f"node_{name}",
            }
            self.objects["service"][f"service-{name}"] = {
                "Spec": {"Name": f"node_{name}", "TaskTemplate": spec, "Mode": {"Replicated": {}}}
            }
            self.objects["container"][f"container-{name}"] = {
                "Id": f"container-{name}",
                "Config": {"Labels": labels},
                "State": {"Health": {"Status": "healthy"}},
            }
            self.objects["task"][f"task-{name}"] = {
                "ID": f"task-{name}",
                "Spec": spec,
                "Status": {"State": "running"},
                "DesiredState": "running",
            }
        self.asked = 0
        self.goes: tuple[str, int] = ("", -1)
        self.ill = ""

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        """Return status and body of an answer."""
        if path == "/version":
            return 200, {"ApiVersion": "1.41", "MinAPIVersion": "1.12"}
        if self.ill:
            return 500, {"message": self.ill}
        name, at = self.goes
        if self.asked == at:
            del self.objects[name.partition("-")[0]][name]
        self.asked += 1
        parts = path.split("/")[2:]  # without the version
        kind = parts[0].rstrip("s")
        if len(parts) == 1 or parts == ["containers", "json"]:
            wished = json.loads(query.get("filters", ["{}"])[0]).get("service")
            if wished and not any(
                each["Spec"]["Name"] in wished for each in self.objects["service"].values()
            ):
                return 404, {"message": f"service {wished[0]} not found"}
            return 200, list(self.objects[kind].values())
        found = self.objects[kind].get(parts[1])
        return (200, found) if found else (404, {"message": f"No such {kind}: {parts[1]}"})


class _Handler(BaseHTTPRequestHandler):
    server: EngineDouble

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        status, body = self.server.answer(url.path, parse_qs(url.query))
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """A Unix socket has no address to log."""

    def address_string(self) -> str:
        return "unix"


@contextmanager
def engine_double(directory: Path) -> Iterator[EngineDouble]:
    """Serve a double on ``docker.sock`` in this directory."""
    server = EngineDouble(directory / "docker.sock")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        (directory / "docker.sock").unlink()
