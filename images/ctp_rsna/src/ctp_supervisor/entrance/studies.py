"""Whether one study comes under two identifiers: a mistake at the source, or two people in one.

The gate shows what passes to a `Watcher`, which reads a few elements of each data set on its way
and changes nothing. What is remembered are hashes with a key of this process, no identifiers. The
account of studies is told of each object, too.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import struct
import threading
from collections.abc import Iterable

from study_account.account import Sender
from study_account.identity import Identity

from ..dicom import dimse, pdu, scan
from ..dicom.encoding import ITEM_END, LONG, SEQUENCE_END, UNDEFINED, Bytes

LOG = logging.getLogger(__name__)

MOST_STUDIES = 50_000
SOP_INSTANCE, PATIENT_ID, ISSUER = 0x00080018, 0x00100020, 0x00100021
STUDY, SERIES = 0x0020000D, 0x0020000E
TOLD = 0x00201209
"""Number of Series Related Instances: what a sender may say of its series."""
_READ = frozenset({SOP_INSTANCE, PATIENT_ID, ISSUER, STUDY, SERIES, TOLD})
_LAST = max(_READ)
_BLANKS = "".join(map(chr, range(33)))
_LONGEST = 1024


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
            if tag in (ITEM_END, SEQUENCE_END):
                self._depth -= 1
                self.done = self._depth < 0
                return after
            if length == UNDEFINED:
                self._depth += 1
                return after
            return after + length
        if not self._depth and tag > _LAST:
            self.done = True
            return after
        if self._explicit:
            if vr in LONG:
                if len(data) - position < 12:
                    return 0
                (length,) = struct.unpack_from("<I", data, position + 8)
                after = 12
            else:
                length >>= 16
        if length == UNDEFINED:
            self._depth += 1
            return after
        if not self._depth and tag in _READ and length <= _LONGEST:
            if len(data) - position < after + length:
                return 0
            value = data[position + after : position + after + length]
            self.values[tag] = value.strip(b" \0")
        return after + length


class _Message(scan.MessageScanner):
    def __init__(self) -> None:
        super().__init__()
        self.identity = _Identity()

    def take_data(self, fragment: memoryview) -> None:
        self.identity.feed(fragment)


class Watcher:
    """Watches what one sender sends."""

    def __init__(self, studies: Studies, sender: Sender | None = None) -> None:
        """``sender``: of the account, which is told of each object."""
        self._studies = studies
        self._sender = sender
        self._message: _Message | None = _Message()
        self._last = 0
        """Type of the PDU that ended the latest message."""

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
                self._last = message.kind
                values = message.identity.values
                if message.command is not None and message.command.field == dimse.C_STORE_RQ:
                    self._studies.seen(
                        *(values.get(tag, b"") for tag in (STUDY, PATIENT_ID, ISSUER))
                    )
                    if self._sender is not None:
                        self._sender.came(message.command.message_id, _identity(message))

    def answered(self, commands: Iterable[dimse.Command]) -> None:
        """The sender has these answers."""
        if self._sender is not None:
            for each in commands:
                if each.field == dimse.C_STORE_RSP:
                    self._sender.answered(each.responded_to, each.status)

    def ended(self, here: bool) -> None:
        """The association is over. ``here``: it was ended from this side."""
        if self._sender is None:
            return
        message, partial = self._message, None
        if message is not None and message.command is not None:
            partial = _identity(message) if message.command.field == dimse.C_STORE_RQ else None
        released, aborted = self._last == pdu.RELEASE_RQ, self._last == pdu.ABORT
        self._sender.ended(partial, released, here and not aborted)


def _identity(message: _Message) -> Identity:
    """What an object says of itself, in the text that its sender may have meant."""
    assert message.command is not None
    values = message.identity.values

    def text(tag: int) -> str:
        value = values.get(tag, b"")
        try:
            return value.decode("utf-8").strip(_BLANKS)
        except UnicodeDecodeError:
            return value.decode("latin-1").strip(_BLANKS)

    told = text(TOLD)
    return Identity(
        # Of the command, where the data set has none that could be read.
        text(SOP_INSTANCE) or dimse.uid(message.command.sop_instance_uid),
        text(STUDY),
        text(SERIES),
        text(PATIENT_ID),
        text(ISSUER),
        int(told) if told.isascii() and told.isdigit() and len(told) < 7 else 0,
    )
