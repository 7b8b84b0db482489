"""Until when a certificate is valid, read from its DER encoding (X.690; RFC 5280, 4.1)."""

from __future__ import annotations

import base64
import datetime
import re
import socket
import ssl

PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
SEQUENCE, UTC_TIME, GENERALIZED_TIME, VERSION = 0x30, 0x17, 0x18, 0xA0


class CertificateError(ValueError):
    """No certificate, or one that cannot be read."""


def _element(der: bytes, start: int) -> tuple[int, int, int]:
    """Return tag, first byte of the content and first byte behind it."""
    tag, length, content = der[start], der[start + 1], start + 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(der[content : content + count], "big")
        content += count
    return tag, content, content + length


def _time(tag: int, text: bytes) -> float:
    digits = text.decode("ascii").rstrip("Z")
    if tag == UTC_TIME:
        # RFC 5280, 4.1.2.5.1: two digits from 50 on are of the last century.
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    elif tag != GENERALIZED_TIME:
        raise CertificateError(f"a date has the tag {tag:#x}")
    moment = datetime.datetime.strptime(digits, "%Y%m%d%H%M%S")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def not_after(text: str) -> float:
    """Return when the first certificate of a PEM text ends to be valid, in seconds since 1970.

    Raises:
        CertificateError: there is none, or it cannot be read.
    """
    found = PEM.search(text)
    if not found:
        raise CertificateError("there is no PEM certificate")
    try:
        der = base64.b64decode(found[1])
        _, position, _ = _element(der, 0)
        _, position, _ = _element(der, position)
        if der[position] == VERSION:
            position = _element(der, position)[2]
        for _ in ("serial number", "signature", "issuer"):
            position = _element(der, position)[2]
        tag, position, _ = _element(der, position)
        if tag != SEQUENCE:
            raise CertificateError("its validity is not where it belongs")
        _, _, position = _element(der, position)
        tag, first, behind = _element(der, position)
        return _time(tag, der[first:behind])
    except (ValueError, IndexError) as error:
        raise CertificateError(str(error)) from error


def served_by(port: int, timeout: float = 3) -> str:
    """Return the certificate that a port of this host shows, as PEM; it is not judged.

    Raises:
        OSError: nothing answers, or not in TLS.
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
    return ssl.DER_cert_to_PEM_cert(der)
