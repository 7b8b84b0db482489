"""The key of the UID hash, where the rendered script does not carry one yet.

The script hashes UIDs with a key (hexadecimal digits in place of ``@@UID_KEY@@``), so that nobody
who lacks it can test whether a given original UID belongs to a given study. In the place of stock
CTP the supervisor has put it there; in the place of the AusCAT image this program makes its own.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import whole_files

from .spool import SpoolError

KEY_BYTES = 32


def load_key(path: Path, *, may_create: bool) -> bytes:
    """The key; created once, mode 0600, when ``may_create``.

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
        whole_files.replace(path, key)
    if len(key) != KEY_BYTES:
        raise SpoolError(f"{path} has {len(key)} bytes, not {KEY_BYTES}. Restore it from a backup.")
    return key
