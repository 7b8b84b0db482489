"""A receiver of webhooks: keeps each as a file, and answers what the file `answer` says."""

from __future__ import annotations

import http.server
import json
import os
import ssl
import time
from pathlib import Path

HERE = Path("/srv/inbox")


class Answer(http.server.BaseHTTPRequestHandler):
    """Takes what is sent by POST."""

    def do_POST(self) -> None:
        """Keep it."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        found = {"path": self.path, "headers": dict(self.headers.items()), "body": body}
        part = HERE / "hook" / f".{time.time_ns()}"
        part.write_text(json.dumps(found))
        part.rename(part.with_name(part.name[1:]))
        self.send_response(int((HERE / "answer").read_text()))
        self.send_header("Content-Length", "0")
        self.end_headers()


(HERE / "pid").write_text(str(os.getpid()))
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8443), Answer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(HERE / "tls.crt", HERE / "tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
