"""Until when a certificate is valid, as openssl says it."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from .command import run


def not_after(file: Path) -> float:
    """Return when the first certificate of a file ends to be valid, in seconds since 1970.

    Raises:
        UnknownError: there is none, or it cannot be read.
        ValueError: openssl says it in another way than it did.
    """
    return _moment(run("openssl", "x509", "-noout", "-enddate", "-in", str(file)))


def ends(pem: str) -> float:
    """Return the same of the first certificate of a text in PEM. Raises as `not_after`."""
    return _moment(run("openssl", "x509", "-noout", "-enddate", stdin=pem))


def served_until(port: int, timeout: float = 3) -> float:
    """Return the same of the certificate that a port of this host shows; it is not judged.

    Raises:
        OSError: nothing answers, or not in TLS.
        UnknownError: the certificate cannot be read.
        ValueError: as for `not_after`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout) as plain,
        context.wrap_socket(plain) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
    if not der:
        raise OSError("the port shows no certificate")
    return ends(ssl.DER_cert_to_PEM_cert(der))


def _moment(printed: str) -> float:
    """Read ``notAfter=Jan  5 09:34:43 2027 GMT``; the days before 1970 are negative."""
    return float(ssl.cert_time_to_seconds(printed.strip().partition("=")[2]))
