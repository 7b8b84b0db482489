"""The published example of SCRAM-SHA-256 is the oracle, not the module itself."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.services.scram import (
    ITERATIONS,
    keys,
    matches,
    normalized,
    verifier,
)

# RFC 7677, section 3.
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
NONCE = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
AUTH_MESSAGE = (
    f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={NONCE}"
).encode()
CLIENT_PROOF = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SERVER_SIGNATURE = base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_stored_key_accepts_the_proof_of_rfc_7677() -> None:
    stored, _ = keys("pencil", SALT, 4096)
    signature = hmac.new(stored, AUTH_MESSAGE, hashlib.sha256).digest()
    client_key = bytes(a ^ b for a, b in zip(CLIENT_PROOF, signature))
    assert hashlib.sha256(client_key).digest() == stored


def test_server_key_makes_the_signature_of_rfc_7677() -> None:
    _, server = keys("pencil", SALT, 4096)
    assert hmac.new(server, AUTH_MESSAGE, hashlib.sha256).digest() == SERVER_SIGNATURE


def test_verifier_has_the_form_of_pg_authid() -> None:
    text = verifier("pencil", SALT)
    assert text.startswith(f"SCRAM-SHA-256${ITERATIONS}:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert matches("pencil", text)


def test_two_verifiers_of_one_password_differ() -> None:
    assert verifier("pencil") != verifier("pencil")


# Made by PostgreSQL 17 itself (CREATE ROLE ... PASSWORD, then pg_authid.rolpassword).
MADE_BY_POSTGRESQL = {
    "s3cret'pa$$ word": (
        "SCRAM-SHA-256$4096:T8HSTqVHQHOakzyEOpHyfQ==$Q"
        "enoMUDkfzjLkVQ+7ZhdUsEw/vhsiHeRgUy43X0FV1Y=:KHcO6zTnOxj8SQoqmgWy75xi3EVIN7Omu79AeaZt+hQ="
    ),
    "I\xadX": (
        "SCRAM-SHA-256$4096:gQWaB9xpQC8RPodlNLTZPg==$3"
        "790OQsB1DKUyf+tByWZvPLoRMmRDfP2UKvAi6Y8awQ=:USHqoyV62fHIlIy38rSZB/yQdQJVDA7oPDsjNkH8bLA="
    ),
    "cafe\u0301": (
        "SCRAM-SHA-256$4096:ctn7LZgf9Vz/sE89qfeuyg==$X"
        "EMyblLQPXhHycq63czma5w+3EJe2caO2GCJCJvMpjI=:R8fuDS92SO+Q+szLcOcBG9Yv7A8tgRm5v7eETnq9YCQ="
    ),
    "\u2168 und \xaa": (
        "SCRAM-SHA-256$4096:I7KZDjb/F2KPBVhyr5uIqw==$Q"
        "1F5o8ql6mpCJ13bd3L0dlKSaHeMErfoxuU2o6HI+Ak=:s9FyIl3KhQIEQ5v7XRAK89JSXAWOBvyRnyfDiUBPG18="
    ),
    "\u06271": (
        "SCRAM-SHA-256$4096:XMNVYaK8mshmpSmibj6F3w==$m"
        "3jEg0oemyuyRp+bAoUwMXnUiqNVA+LZw7yRWhYoYLk=:qtkYHqjxRw1luYDYZ0KrYfcvsWMGBlHKrSFhnYrfNxM="
    ),
    "tab\there": (
        "SCRAM-SHA-256$4096:DB5jNqSTVAV1Gt3VoWwV3g==$j"
        "bjFuhMCBKrouVoQQXYYCMez1ho5KbTTbXXUF7UO/hg=:yhm82atiFlDq+4UAkdYKYpHrKWabHS1kRA49Udbz8aE="
    ),
    "\U0001f511 key": (
        "SCRAM-SHA-256$4096:TMJwVT7VjGZud4NRD4La3g==$H"
        "DqOcOYPv/wAjIImrf+rMVXXMKU7OWX3v1yB7qlFark=:RlsYEJ0PeDcgk1Ow/RfxGjFW7KlWXgySeQTI4VwLTxQ="
    ),
    "a\u2003b": (
        "SCRAM-SHA-256$4096:oOmx9kMqlNuWUXqIG4HHYA==$E"
        "5YK3/Ce5i14Z/zMp0FUMZptsrc8gvzqJBQxipgWDqA=:2dkaQiYIkKot0Z5ZJnXIKjPVgwGulA18JCI/ayh59p4="
    ),
    "x" * 200: (
        "SCRAM-SHA-256$4096:7fwIRyAPBt3l4UVjtW/sWw==$K"
        "S88EBC/iyKrAGmBZ/dQlngjE19c4nF5Hz+haHleZ+I=:qgun+vA6G8uavgj8IMiCI9bpa1S7uGIuZLyKr1shw/M="
    ),
}


@pytest.mark.parametrize(("password", "made"), MADE_BY_POSTGRESQL.items())
def test_a_verifier_of_postgresql_matches_its_password_only(password: str, made: str) -> None:
    assert matches(password, made)
    assert not matches(password + "x", made)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "md5a3556571e93b0d20722ba62be61e8c2d",
        "pencil",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==",
        "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$AAAA:AAAA",
        "SCRAM-SHA-256$4096:A$A:A",
        verifier("pencil", SALT)[:-4] + "AAA=",
        verifier("pencil", SALT) + "\n",
    ],
)
def test_anything_else_matches_nothing(stored: str | None) -> None:
    assert not matches("pencil", stored)


@pytest.mark.parametrize(
    ("password", "octets"),
    [
        # RFC 4013, section 3.
        ("I\u00adX", b"IX"),
        ("user", b"user"),
        ("USER", b"USER"),
        ("\u00aa", b"a"),
        ("\u2168", b"IX"),
        # Where SASLprep refuses, PostgreSQL takes the password as it is.
        ("\u0007", b"\x07"),
        ("\u0627\u0031", "\u0627\u0031".encode()),
        ("\u00ad", "\u00ad".encode()),
        ("caf\u00e9 \u2003x", "caf\u00e9  x".encode()),
        ("cafe\u0301", "caf\u00e9".encode()),
    ],
)
def test_passwords_are_normalized_as_rfc_4013_says(password: str, octets: bytes) -> None:
    assert normalized(password) == octets
