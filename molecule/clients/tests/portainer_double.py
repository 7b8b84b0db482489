"""A test double in the place of Portainer, whose image tests cannot pull. It is NOT Portainer.

It takes the flags that Portainer documents and no others, and tells over HTTPS what reached it: the
password file, the data directory, and what the engine's socket answers.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import http.server
import json
import os
import socket
import ssl
from pathlib import Path
from typing import Any

NOTICE = "THIS IS A TEST DOUBLE AND NOT PORTAINER"


class Engine(http.client.HTTPConnection):
    """The Docker engine behind its socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=10)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)

    def ask(self, path: str) -> Any:
        """Return what the engine answers."""
        self.request("GET", path)
        return json.loads(self.getresponse().read())


def told(flags: argparse.Namespace) -> dict[str, Any]:
    """Return what this container was given."""
    password = Path(flags.admin_password_file)
    probe = Path(flags.data, "probe")
    probe.write_text("written by the test double")
    engine = Engine(flags.host.removeprefix("unix://"))
    services = engine.ask("/services")
    return {
        "notice": NOTICE,
        "password": hashlib.sha256(password.read_bytes()).hexdigest(),
        "password_mode": oct(password.stat().st_mode & 0o777),
        "environment": sorted(os.environ),
        "http_disabled": flags.http_disabled,
        # What Portainer groups services and containers by.
        "services": {each["Spec"]["Name"]: each["Spec"]["Labels"] for each in services},
        "containers": [each["Labels"] for each in Engine(engine.path).ask("/containers/json")],
    }


def main() -> None:
    """Serve until the container is stopped."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--admin-password-file", required=True)
    parser.add_argument("--bind-https", required=True)
    parser.add_argument("--http-disabled", action="store_true")
    parser.add_argument("--host", required=True)
    parser.add_argument("--data", default="/data")
    flags = parser.parse_args()
    print(NOTICE, flush=True)

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(told(flags)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    address, _, port = flags.bind_https.rpartition(":")
    server = http.server.ThreadingHTTPServer((address, int(port)), Page)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/double.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
