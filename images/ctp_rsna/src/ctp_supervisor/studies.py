"""Whether one study comes under two identifiers: a mistake at the source, or two people in one.

The gate shows what passes to a `Watcher`, which reads three elements of each data set on its way
and changes nothing. What is remembered are hashes with a key of this process, no identifiers.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import struct
import threading
from typing import Union

from . import pdu

LOG = logging.getLogger(__name__)

MOST_STUDIES = 50_000
_PATIENT_ID, _ISSUER, _STUDY = 0x00100020, 0x00100021, 0x0020000D
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_LONGEST = 1024

Bytes = Union[bytes, bytearray, memoryview]


class Studies:
    """Under which PatientID and issuer each study came. Forgets the oldest, and all at its end."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._identifier_of: dict[bytes, bytes] = {}
        self._mixed: set[bytes] = set()

    def seen(self, study: bytes, patient_id: bytes, issuer: bytes) -> None:
        """An object of that study came."""
        if not study:
            return
        uid, identifier = self._hash(study), self._hash(patient_id, issuer)
        with self._lock:
            before = self._identifier_of.pop(uid, identifier)
            self._identifier_of[uid] = before
            if len(self._identifier_of) > MOST_STUDIES:
                oldest = next(iter(self._identifier_of))
                del self._identifier_of[oldest]
                self._mixed.discard(oldest)
            if before == identifier or uid in self._mixed:
                return
            self._mixed.add(uid)
        LOG.warning(
            "One study came under two identifiers (PatientID with its issuer): look at the source"
            " (docs/ctp.md)"
        )

    def mixed(self) -> int:
        """How many studies came under more than one."""
        with self._lock:
            return len(self._mixed)

    def _hash(self, *parts: bytes) -> bytes:
        found = hashlib.blake2b(key=self._key, digest_size=16)
        for part in parts:
            found.update(struct.pack("<I", len(part)) + part)
        return found.digest()


class _Identity:
    """Reads the elements off the beginning of a data set, in whatever pieces it comes.

    Little endian, implicit or explicit, which its first element tells. What is neither is not read.
    """

    def __init__(self) -> None:
        self.values: dict[int, bytes] = {}
        self.done = False
        self._rest = b""
        self._skip = 0
        self._depth = 0
        """Of sequences and items without a length of their own."""
        self._explicit: bool | None = None

    def feed(self, data: Bytes) -> None:
        if self.done:
            return
        if self._skip:
            count = min(self._skip, len(data))
            self._skip -= count
            data = data[count:]
        data = self._rest + bytes(data)
        position = 0
        while not self.done and not self._skip and len(data) - position >= 8:
            count = self._element(data, position)
            if not count:
                break
            self._skip = max(0, position + count - len(data))
            position = min(position + count, len(data))
        self._rest = b"" if self.done else data[position:]

    def _element(self, data: bytes, position: int) -> int:
        """Judge the element there; how long it is, as far as it can be skipped; 0: not all here."""
        group, element, length = struct.unpack_from("<HHI", data, position)
        tag, after = group << 16 | element, 8
        vr = data[position + 4 : position + 6]
        if self._explicit is None:
            self._explicit = vr.isalpha() and vr.isupper()
        if group == 0xFFFE:
            if tag in (_ITEM_END, _SEQUENCE_END):
                self._depth -= 1
                self.done = self._depth < 0
                return after
            if length == _UNDEFINED:
                self._depth += 1
                return after
            return after + length
        if not self._depth and tag > _STUDY:
            self.done = True
            return after
        if self._explicit:
            if vr in _LONG:
                if len(data) - position < 12:
                    return 0
                (length,) = struct.unpack_from("<I", data, position + 8)
                after = 12
            else:
                length >>= 16
        if length == _UNDEFINED:
            self._depth += 1
            return after
        if not self._depth and tag in (_PATIENT_ID, _ISSUER, _STUDY) and length <= _LONGEST:
            if len(data) - position < after + length:
                return 0
            value = data[position + after : position + after + length]
            self.values[tag] = value.strip(b" \0")
        return after + length


class _Message(pdu.MessageScanner):
    def __init__(self) -> None:
        super().__init__()
        self.identity = _Identity()

    def take_data(self, fragment: memoryview) -> None:
        self.identity.feed(fragment)


class Watcher:
    """Watches what one sender sends."""

    def __init__(self, studies: Studies) -> None:
        self._studies = studies
        self._message: _Message | None = _Message()

    def feed(self, data: memoryview) -> None:
        """Show what passes. What cannot be followed is not watched any more."""
        while data and self._message is not None:
            message = self._message
            try:
                data = data[message.feed(data) :]
            except pdu.ProtocolError:
                self._message = None
                return
            if message.ended:
                self._message = _Message()
                values = message.identity.values
                if message.command is not None and message.command.field == pdu.C_STORE_RQ:
                    self._studies.seen(
                        *(values.get(tag, b"") for tag in (_STUDY, _PATIENT_ID, _ISSUER))
                    )
