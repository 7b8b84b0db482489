"""Until when a certificate is valid, as who made it knows: by another library than openssl's."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import certificates
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status.command import (
    UnknownError,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

UTC = datetime.timezone.utc
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def made(key: Key, ends: datetime.datetime) -> bytes:
    """A certificate of a site's own CA, as PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "its CA")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime.datetime(1960, 1, 1)).not_valid_after(ends)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("key", [RSA_KEY, EC_KEY])
@pytest.mark.parametrize(
    "ends",
    [
        datetime.datetime(1969, 12, 1, 2, 3, 4, tzinfo=UTC),
        datetime.datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC),
        datetime.datetime(2027, 1, 5, 9, 34, 43, tzinfo=UTC),
        # From 2050 on the date has another type (RFC 5280, 4.1.2.5).
        datetime.datetime(2051, 11, 30, 0, 0, 0, tzinfo=UTC),
    ],
)
def test_end_of_a_certificate(tmp_path: Path, key: Key, ends: datetime.datetime) -> None:
    file = tmp_path / "certificate.crt"
    later = made(key, datetime.datetime(2090, 1, 1, tzinfo=UTC))
    file.write_bytes(b"# a comment\n" + made(key, ends) + later)
    assert certificates.not_after(file) == ends.timestamp()


@pytest.mark.parametrize(
    "text",
    ["", "no", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    + ["-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"],
)
def test_what_is_none_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "certificate.crt"
    file.write_text(text)
    with pytest.raises(UnknownError):
        certificates.not_after(file)
    with pytest.raises(UnknownError):
        certificates.not_after(tmp_path / "absent.crt")


def test_end_of_what_a_port_shows(tmp_path: Path) -> None:
    ends = datetime.datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC)
    pem, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    pem.write_bytes(made(EC_KEY, ends))
    key.write_bytes(EC_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])

        def serve() -> None:
            connection, _ = server.accept()
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert certificates.served_until(port) == ends.timestamp()
        thread.join(10)
    with pytest.raises(OSError):
        certificates.served_until(port)
