"""UIDs: a keyed, deterministic mapping, the same in every object and at every nesting level.

The Basic Profile asks for replacement UIDs that are "internally consistent within a set of
Instances" (PS3.15 E.3, action U). A keyed hash gives that across objects, studies and restarts
without a table that would itself identify. The key is random: without it nobody can test whether
a given original UID belongs to a given study, as an unsalted hash would allow.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import lru_cache
from pathlib import Path

from pydicom.uid import UID

from .spool import SpoolError, write_durably

KEY_BYTES = 32


def load_key(path: Path, *, may_create: bool) -> bytes:
    """The key of the mapping; created once, mode 0600, when ``may_create``.

    Raises ``SpoolError`` when the file is damaged, or is gone although objects were received:
    a new key would tear studies that are already in Orthanc from their later objects.
    """
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        if not may_create:
            raise SpoolError(
                f"{path} is missing, but this spool has received objects: with a new key, later"
                " objects of a study would no longer belong to it. Restore the file from a backup,"
                " or empty the spool directory to begin anew."
            ) from None
        key = secrets.token_bytes(KEY_BYTES)
        write_durably(path, key)
    if len(key) != KEY_BYTES:
        raise SpoolError(f"{path} has {len(key)} bytes, not {KEY_BYTES}. Restore it from a backup.")
    return key


def is_well_known(uid: str) -> bool:
    """Whether the DICOM standard registers this UID (PS3.6 Annex A): it identifies nobody."""
    return bool(UID(uid).type)


class UidMapper:
    """Maps UIDs with HMAC-SHA256 under a key to ``2.25.<128-bit integer>`` (PS3.5 B.2)."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._map = lru_cache(maxsize=65536)(self._hash)

    def map(self, uid: str) -> str:
        """The replacement of ``uid``: at most 44 characters, always the same."""
        return self._map(uid)

    def _hash(self, uid: str) -> str:
        digest = hmac.new(self._key, uid.encode("utf-8"), hashlib.sha256).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"
