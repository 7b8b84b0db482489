"""DIMSE commands (PS3.7), as far as they are looked at here."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from .pdu import P_DATA, VERIFICATION, ProtocolError

C_STORE_RQ, C_STORE_RSP, C_ECHO_RQ, C_ECHO_RSP = 0x0001, 0x8001, 0x0030, 0x8030
C_CANCEL_RQ = 0x0FFF
NO_DATA_SET = 0x0101


@dataclass(frozen=True)
class Command:
    """A DIMSE command (6.3), as far as it is looked at here."""

    field: int
    """Command Field (0000,0100)."""
    status: int
    """Status (0000,0900) of a response."""
    data_set: bool
    """Whether a data set follows: Command Data Set Type (0000,0800)."""
    sop_instance_uid: bytes
    """Affected SOP Instance UID (0000,1000), as it was sent."""
    sop_class_uid: bytes = b""
    """Affected SOP Class UID (0000,0002), as it was sent."""
    message_id: int = 0
    """Message ID (0000,0110)."""
    responded_to: int = 0
    """Message ID Being Responded To (0000,0120)."""


def parse(data: bytes, strict: bool = False) -> Command:
    """Read a command: implicit little endian, of group 0000 (PS3.7 6.3).

    What is no element of a command is passed over; ``strict``: raises ``ProtocolError``. Without a
    Command Data Set Type no data set follows; ``strict``: one does, as far as anybody knows.
    """
    numbers = {0x0100: 0, 0x0110: 0, 0x0120: 0, 0x0800: -1 if strict else NO_DATA_SET}
    numbers[0x0900] = 0xFFFF
    uids = {0x0002: b"", 0x1000: b""}
    position = 0
    while position + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHI", data, position)
        position += 8
        if group == 0 and position + length <= len(data):
            if element in numbers and length == 2:
                (numbers[element],) = struct.unpack_from("<H", data, position)
            elif element in uids:
                uids[element] = data[position : position + length]
        elif strict:
            raise ProtocolError("no command")
        position += length
    if strict and position != len(data):
        raise ProtocolError("a command cut short")
    return Command(
        numbers[0x0100],
        numbers[0x0900],
        numbers[0x0800] != NO_DATA_SET,
        uids[0x1000],
        uids[0x0002],
        numbers[0x0110],
        numbers[0x0120],
    )


def uid(value: bytes) -> str:
    """A UID that may be logged; empty for what is none (PS3.5 9.1)."""
    text = value.rstrip(b" \0")
    return text.decode("ascii") if len(text) <= 64 and not text.strip(b"0123456789.") else ""


def store_response(context: int, request: Command, status: int) -> bytes:
    """A C-STORE-RSP (9.3.1.2) to that request, as a PDU."""
    return message(
        context,
        {
            0x0002: request.sop_class_uid,
            0x0100: C_STORE_RSP,
            0x0120: request.message_id,
            0x0800: NO_DATA_SET,
            0x0900: status,
            0x1000: request.sop_instance_uid,
        },
    )


def echo_request(context: int) -> bytes:
    """A C-ECHO-RQ (9.3.5.1), as a PDU."""
    return message(
        context,
        {0x0002: VERIFICATION.encode(), 0x0100: C_ECHO_RQ, 0x0110: 1, 0x0800: NO_DATA_SET},
    )


def message(context: int, elements: Mapping[int, int | bytes]) -> bytes:
    """A command as a P-DATA-TF PDU (PS3.8 9.3.5): its elements in order, numbers of 16 bits, UIDs
    padded to an even length."""
    data = b""
    for element, given in elements.items():
        value = struct.pack("<H", given) if isinstance(given, int) else given
        value += b"\0" * (len(value) % 2)
        data += struct.pack("<HHI", 0, element, len(value)) + value
    data = struct.pack("<HHII", 0, 0, 4, len(data)) + data
    fragment = struct.pack(">IBB", len(data) + 2, context, 3) + data
    return struct.pack(">BxI", P_DATA, len(fragment)) + fragment
