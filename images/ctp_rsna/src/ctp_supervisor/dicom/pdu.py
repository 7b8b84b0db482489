"""The few bytes of the DICOM upper layer that the gate and the relay look at (PS3.8 9.3).

Everything else passes through them as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .encoding import IMPLICIT

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

VERIFICATION = "1.2.840.10008.1.1"
PERMANENT, TRANSIENT = 1, 2
LARGEST_REQUEST = 256 * 1024
"""An A-ASSOCIATE-RQ with 128 presentation contexts stays far below this."""
LARGEST_ANSWER = 4 * 1024 * 1024


class ProtocolError(Exception):
    """Bytes that are no DICOM upper layer protocol."""


@dataclass(frozen=True)
class Refusal:
    """An A-ASSOCIATE-RJ (PS3.8 9.3.4) and, for the log, why."""

    result: int
    source: int
    reason: int
    why: str

    def pdu(self) -> bytes:
        """The refusal as it is sent."""
        return struct.pack(">BxIxBBB", ASSOCIATE_RJ, 4, self.result, self.source, self.reason)


def called_not_recognized(why: str = "called AE title not recognized") -> Refusal:
    """No pipeline has this called AE title."""
    return Refusal(PERMANENT, 1, 7, why)


def calling_not_recognized(why: str = "calling AE title not recognized") -> Refusal:
    """The pipeline does not take objects from this calling AE title."""
    return Refusal(PERMANENT, 1, 3, why)


def congestion(why: str) -> Refusal:
    """Not now: the sender may try again later."""
    return Refusal(TRANSIENT, 3, 1, why)


def local_limit(why: str) -> Refusal:
    """Too many associations: the sender may try again later."""
    return Refusal(TRANSIENT, 3, 2, why)


def not_now(why: str) -> Refusal:
    """The side behind this one does not accept it, and does not say why."""
    return Refusal(TRANSIENT, 1, 1, why)


def is_rejection(pdu: bytes) -> bool:
    """Whether this is an A-ASSOCIATE-RJ."""
    return pdu[0] == ASSOCIATE_RJ and len(pdu) >= 10


def is_permanent(pdu: bytes) -> bool:
    """Whether this is an A-ASSOCIATE-RJ that says that there is no use in trying again."""
    return is_rejection(pdu) and pdu[7] == PERMANENT


def abort() -> bytes:
    """An A-ABORT of the service provider (PS3.8 9.3.8), reason not specified."""
    return struct.pack(">BxIxxBB", ABORT, 4, 2, 0)


def release_request() -> bytes:
    """An A-RELEASE-RQ (PS3.8 9.3.6)."""
    return struct.pack(">BxIxxxx", RELEASE_RQ, 4)


def release_reply() -> bytes:
    """An A-RELEASE-RP (PS3.8 9.3.7)."""
    return struct.pack(">BxIxxxx", RELEASE_RP, 4)


@dataclass(frozen=True)
class AssociateRequest:
    """What the gate decides by."""

    called_aet: str
    """Without its padding; empty when it is blank or not as PS3.5 6.2 has an AE title."""
    calling_aet: str
    abstract_syntaxes: tuple[str, ...]

    @property
    def only_verification(self) -> bool:
        """Whether nothing can be stored over this association."""
        return bool(self.abstract_syntaxes) and set(self.abstract_syntaxes) == {VERIFICATION}


def parse_request(pdu: bytes) -> AssociateRequest:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2), header included. Raises ``ProtocolError``."""
    if len(pdu) < 74 or pdu[0] != ASSOCIATE_RQ:
        raise ProtocolError("no A-ASSOCIATE-RQ")
    syntaxes = []
    for kind, item in _items(pdu[74:]):
        if kind == 0x20:  # presentation context: 4 bytes, then its own items
            syntaxes += [
                value.decode("ascii", "replace").strip(" \0")
                for inner, value in _items(item[4:])
                if inner == 0x30
            ]
    return AssociateRequest(_title(pdu[10:26]), _title(pdu[26:42]), tuple(syntaxes))


def _title(field: bytes) -> str:
    """An AE title: some pad with NUL, and leave behind the first what was there before."""
    text = field.partition(b"\0")[0].strip(b" ")
    if any(byte < 0x20 or byte > 0x7E or byte == 0x5C for byte in text):
        return ""
    return text.decode("ascii")


def with_titles(pdu: bytes, request: AssociateRequest) -> bytes:
    """The A-ASSOCIATE-RQ with its AE titles padded as PS3.8 9.3.2 says."""
    titles = (request.called_aet, request.calling_aet)
    return pdu[:10] + b"".join(each.encode("ascii").ljust(16) for each in titles) + pdu[42:]


@dataclass(frozen=True)
class Negotiated:
    """What an A-ASSOCIATE-AC settles for all that is sent later."""

    syntaxes: dict[int, str]
    """The transfer syntax of each accepted presentation context."""
    largest_pdu: int
    """Bytes that the one who accepts takes in one PDU; 0: any number (PS3.8 D.1)."""


def negotiated(pdu: bytes) -> Negotiated:
    """What this A-ASSOCIATE-AC settles. Raises ``ProtocolError``."""
    syntaxes = accepted_syntaxes(pdu)
    largest = 0
    for kind, item in _items(pdu[74:]):
        if kind == 0x50:
            for inner, value in _items(item):
                if inner == 0x51 and len(value) == 4:
                    (largest,) = struct.unpack(">I", value)
    return Negotiated(syntaxes, largest)


def accepted_syntaxes(pdu: bytes) -> dict[int, str]:
    """The transfer syntax of each presentation context that an A-ASSOCIATE-AC accepts.

    PS3.8 9.3.3. Raises ``ProtocolError``.
    """
    if len(pdu) < 74 or pdu[0] != ASSOCIATE_AC:
        raise ProtocolError("no A-ASSOCIATE-AC")
    found = {}
    for kind, item in _items(pdu[74:]):
        if kind == 0x21 and len(item) >= 4 and item[2] == 0:
            for inner, value in _items(item[4:]):
                if inner == 0x40:
                    found[item[0]] = value.decode("ascii", "replace").strip(" \0")
    return found


def with_proposed_syntaxes(pdu: bytes, choose: Callable[[int, str, list[str]], list[str]]) -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2) with other transfer syntaxes.

    ``choose`` is given the number of a presentation context, its abstract syntax and its transfer
    syntaxes. Raises ``ProtocolError``.
    """
    if len(pdu) < 74 or pdu[0] != ASSOCIATE_RQ:
        raise ProtocolError("no A-ASSOCIATE-RQ")
    body = pdu[6:74]
    for kind, item in _items(pdu[74:]):
        if kind == 0x20 and len(item) >= 4:
            inner = list(_items(item[4:]))
            abstract = "".join(_uid(value) for sub, value in inner if sub == 0x30)
            proposed = [_uid(value) for sub, value in inner if sub == 0x40]
            chosen = choose(item[0], abstract, proposed)
            if chosen != proposed:
                item = item[:4] + b"".join(
                    [_item(sub, value) for sub, value in inner if sub != 0x40]
                    + [_item(0x40, each.encode()) for each in chosen]
                )
        body += _item(kind, item)
    return struct.pack(">BxI", ASSOCIATE_RQ, len(body)) + body


def with_accepted_syntaxes(pdu: bytes, syntaxes: Mapping[int, str]) -> bytes:
    """An A-ASSOCIATE-AC (PS3.8 9.3.3) with other transfer syntaxes, by presentation context.

    Raises ``ProtocolError``.
    """
    body = pdu[6:74]
    for kind, item in _items(pdu[74:]):
        if kind == 0x21 and len(item) >= 4 and item[2] == 0 and item[0] in syntaxes:
            item = item[:4] + _item(0x40, syntaxes[item[0]].encode())
        body += _item(kind, item)
    return struct.pack(">BxI", ASSOCIATE_AC, len(body)) + body


def _uid(value: bytes) -> str:
    return value.decode("ascii", "replace").strip(" \0")


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(data):
        kind, length = struct.unpack_from(">BxH", data, position)
        position += 4
        if position + length > len(data):
            raise ProtocolError("an item longer than its PDU")
        yield kind, data[position : position + length]
        position += length


def associate_request(
    called: str, calling: str, abstract_syntax: str, transfer_syntax: str = IMPLICIT
) -> bytes:
    """An A-ASSOCIATE-RQ with one presentation context, number 1."""
    user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"2.25.1")
    body = (
        struct.pack(">Hxx", 1)
        + called.encode("ascii").ljust(16)
        + calling.encode("ascii").ljust(16)
        + bytes(32)
        + _item(0x10, b"1.2.840.10008.3.1.1.1")
        + _item(
            0x20,
            b"\x01\0\0\0"
            + _item(0x30, abstract_syntax.encode())
            + _item(0x40, transfer_syntax.encode()),
        )
        + _item(0x50, user)
    )
    return struct.pack(">BxI", ASSOCIATE_RQ, len(body)) + body
