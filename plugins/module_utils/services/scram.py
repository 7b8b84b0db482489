"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802, RFC 7677).

A verifier lets a server check a password that it does not know. With these functions a password is
compared with, and changed in, a database without ever being sent to it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata

#: PostgreSQL's own numbers (scram_iterations and SCRAM_DEFAULT_SALT_LEN).
ITERATIONS = 4096
SALT_BYTES = 16

_VERIFIER = re.compile(
    r"SCRAM-SHA-256\$(?P<iterations>[0-9]{1,9}):(?P<salt>[A-Za-z0-9+/=]+)"
    r"\$(?P<stored>[A-Za-z0-9+/=]+):(?P<server>[A-Za-z0-9+/=]+)\Z"
)
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def normalized(password: str) -> bytes:
    """Return the octets that SCRAM works on: SASLprep (RFC 4013), as PostgreSQL applies it.

    PostgreSQL and its clients use the password unchanged where SASLprep would refuse it, so that a
    password with a control character can still be used; this function does the same.
    """
    if password.isascii() and password.isprintable():
        return password.encode()
    raw = password.encode("utf-8", "surrogateescape")
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if not stringprep.in_table_b1(character)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared or any(check(char) for char in prepared for check in _PROHIBITED):
        return raw
    if any(stringprep.in_table_d1(character) for character in prepared) and (
        any(stringprep.in_table_d2(character) for character in prepared)
        or not stringprep.in_table_d1(prepared[0])
        or not stringprep.in_table_d1(prepared[-1])
    ):
        return raw
    return prepared.encode()


def keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """Return StoredKey and ServerKey, 32 bytes each (RFC 5802, section 3)."""
    salted = hashlib.pbkdf2_hmac("sha256", normalized(password), salt, iterations)
    client_key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    server_key = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    return hashlib.sha256(client_key).digest(), server_key


def verifier(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """Return the text that ``ALTER ROLE ... PASSWORD`` takes in the place of a password.

    Args:
        password: any non-empty text.
        salt: random bytes; made here when not given.
        iterations: how often PBKDF2 hashes.
    """
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    stored, server = keys(password, salt, iterations)
    return f"SCRAM-SHA-256${iterations}:{_base64(salt)}${_base64(stored)}:{_base64(server)}"


def matches(password: str, stored_verifier: str | None) -> bool:
    """Say whether `password` is the one that `stored_verifier` (pg_authid.rolpassword) was made of.

    Anything that is no SCRAM verifier, such as an MD5 hash of an old database or no password at
    all, matches nothing: it is to be replaced.
    """
    found = _VERIFIER.match(stored_verifier or "")
    if not found:
        return False
    try:
        salt, wanted_stored, wanted_server = (
            base64.b64decode(found[part], validate=True) for part in ("salt", "stored", "server")
        )
    except binascii.Error:
        return False
    if int(found["iterations"]) < 1:
        return False
    stored, server = keys(password, salt, int(found["iterations"]))
    return hmac.compare_digest(stored, wanted_stored) and hmac.compare_digest(server, wanted_server)


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
