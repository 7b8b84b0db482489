"""KeyDB's published port, asked as a stranger would: nothing without TLS, and by the right machine.

PostgreSQL 17, "Frontend/Backend Protocol", 53.2.1 and 53.2.10: a client says in clear text what it
wants, a session or TLS, and is answered by one message or one byte.
"""

from __future__ import annotations

import socket
import ssl
import struct

SECONDS = 5.0
_PROTOCOL = 196608
_SSL_REQUEST = struct.pack(">II", 8, 80877103)
#: invalid_authorization_specification: what pg_hba.conf rejects.
_REJECTED = b"C28000\0"


def plain_problems(host: str, port: int) -> tuple[list[str], str]:
    """Ask for a session without TLS; return problems and what was seen.

    Raises:
        OSError: nobody answers.
    """
    names = b"user\0ctp_key_db_select\0database\0key_db\0\0"
    request = struct.pack(">II", 8 + len(names), _PROTOCOL) + names
    with socket.create_connection((host, port), SECONDS) as connection:
        connection.sendall(request)
        answer = connection.recv(4096)
    if answer[:1] == b"E" and _REJECTED in answer:
        return [], f"port {port} rejects who comes without TLS"
    asks = {b"R": "asks for the password in clear text", b"": "ends the connection"}
    return [f"port {port} {asks.get(answer[:1], 'answers something else')}"], ""


def tls_problems(host: str, port: int, trusted: str, name: str) -> tuple[list[str], str]:
    """Ask for TLS, as psql with ``sslmode=verify-full``; return problems and what was seen.

    Args:
        host: address of the port.
        port: the port.
        trusted: file of the CAs; empty for those of this machine.
        name: that the certificate has to be for.

    Raises:
        OSError: nobody answers, the certificate is not trusted or for somebody else.
    """
    context = ssl.create_default_context(cafile=trusted or None)
    # As psql, and not as Python 3.13, which refuses many a hospital's CA.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with socket.create_connection((host, port), SECONDS) as connection:
        connection.sendall(_SSL_REQUEST)
        if connection.recv(1) != b"S":
            return [f"port {port} does not speak TLS"], ""
        with context.wrap_socket(connection, server_hostname=name) as secured:
            return [], f"port {port} speaks {secured.version()} with a certificate for {name}"
