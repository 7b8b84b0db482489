"""A double of CTP's web server, for whoever asks CTP for something."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ctp_supervisor.settings import Settings

PASSWORD = "a long pässword"


class CtpPagesDouble:
    """CTP's web server, as far as it is asked here; it has no pipeline behind it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.settings = settings
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                double.asked.append((self.command, self.path, dict(self.headers), body))
                parts = urlsplit(self.path)
                query = {key: value[0] for key, value in parse_qs(parts.query).items()}
                if parts.path.startswith("/quarantines/"):
                    double.quarantine(parts.path.rsplit("/", 1)[1], query)
                if parts.path == "/moved":
                    self.send_response(302)
                    self.send_header("Location", f"http://127.0.0.1:{double.port}/there?a=1")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<html>" + bytes(100_000))

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def quarantine(self, action: str, query: dict[str, str]) -> None:
        if self.settings is None:
            return
        stage = self.settings.pipelines[int(query["p"])].stages[int(query["s"])]
        for path in list(stage.quarantine.glob("*.dcm")):
            if action == "queueAll" or path.name == query.get("filename"):
                path.unlink()
