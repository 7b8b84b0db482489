"""Whole PDUs and whole messages, in whatever pieces they come."""

from __future__ import annotations

import socket
import struct

from . import dimse
from .dimse import Command
from .pdu import ABORT, ASSOCIATE_RQ, LARGEST_ANSWER, LARGEST_REQUEST, P_DATA, ProtocolError
from .sockets import acknowledge_quickly

CHUNK = 256 * 1024


class PduReader:
    """Reads whole PDUs from a socket, of bounded length."""

    def __init__(self, connection: socket.socket, largest: int = LARGEST_ANSWER) -> None:
        self._connection = connection
        self._largest = largest
        self._buffer = bytearray()

    def read(self) -> bytes | None:
        """The next PDU with its header; ``None`` when the other side closed between two PDUs.

        Raises ``ProtocolError``, ``OSError``.
        """
        while True:
            if len(self._buffer) >= 6:
                (length,) = struct.unpack_from(">I", self._buffer, 2)
                if not 1 <= self._buffer[0] <= 7 or length > self._largest:
                    raise ProtocolError("no PDU, or too long a one")
                if len(self._buffer) >= 6 + length:
                    found = bytes(self._buffer[: 6 + length])
                    del self._buffer[: 6 + length]
                    return found
            received = self._connection.recv(CHUNK)
            acknowledge_quickly(self._connection)
            if not received:
                if self._buffer:
                    raise ProtocolError("closed in the middle of a PDU")
                return None
            self._buffer += received

    def rest(self) -> bytes:
        """What was received beyond the PDUs that were read."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


class ResponseScanner:
    """Finds the DIMSE responses (PS3.7 9.3) among the PDUs of one direction."""

    def __init__(self) -> None:
        self._command = bytearray()
        self.latest: list[Command] = []
        """The responses that the latest PDU completed."""

    def feed(self, pdu: bytes) -> list[tuple[int, int]]:
        """Command Field and Status of each response that this PDU completes."""
        self.latest = []
        if pdu[0] == P_DATA:
            position = 6
            while position + 6 <= len(pdu):
                (length,) = struct.unpack_from(">I", pdu, position)
                header = pdu[position + 5]
                if header & 1:  # a fragment of a command
                    self._command += pdu[position + 6 : position + 4 + length]
                    if len(self._command) > LARGEST_REQUEST:
                        raise ProtocolError("a command without end")
                    if header & 2:  # the last one
                        self.latest.append(dimse.parse(bytes(self._command)))
                        self._command.clear()
                position += 4 + max(length, 2)
        return [(command.field, command.status) for command in self.latest]


class MessageScanner:
    """Follows one direction to the end of one message, in whatever pieces it comes.

    It ends behind the last fragment of a DIMSE message (PS3.8 Annex E), or behind any PDU that is
    no P-DATA-TF. PDUs of any length pass through it, since it keeps nothing but the command.
    """

    def __init__(self) -> None:
        self.kind = 0
        """Type of the latest PDU."""
        self.command: Command | None = None
        """Once all of it has come."""
        self.ended = False
        self.context = 0
        """Presentation context of the latest fragment."""
        self.data_bytes = 0
        """Of the data set, so far."""
        self._header = bytearray()
        self._pdu_left = self._fragment_left = 0
        self._control = 0
        self._whole = False
        self._bytes = bytearray()

    @property
    def begun(self) -> bool:
        """Whether there is anything of it yet."""
        return bool(self.kind or self._header)

    def feed(self, data: memoryview) -> int:
        """Return how many bytes belong to it. Raises ``ProtocolError``."""
        position = 0
        while position < len(data) and not self.ended:
            if self._fragment_left or (self._pdu_left and self.kind != P_DATA):
                count = min(self._fragment_left or self._pdu_left, len(data) - position)
                if self._fragment_left:
                    if self._control & 1:
                        self._bytes += data[position : position + count]
                        if len(self._bytes) > LARGEST_REQUEST:
                            raise ProtocolError("a command without end")
                    else:
                        self.data_bytes += count
                        self.take_data(data[position : position + count])
                    self._fragment_left -= count
                self._pdu_left -= count
                position += count
                if self.kind == P_DATA and not self._fragment_left:
                    self._end_fragment()
            else:
                count = min(6 - len(self._header), len(data) - position)
                self._header += data[position : position + count]
                position += count
                if len(self._header) == 6:
                    self._read_header()
                    self._header.clear()
            self.ended = (
                not self._header
                and not self._pdu_left
                and (self._whole or self.kind not in (0, P_DATA))
            )
        return position

    def take_data(self, fragment: memoryview) -> None:
        """Called with each piece of the data set, for whoever wants it."""

    def _read_header(self) -> None:
        if not self._pdu_left:
            self.kind, self._pdu_left = struct.unpack(">BxI", self._header)
            if not ASSOCIATE_RQ <= self.kind <= ABORT:
                raise ProtocolError("no PDU")
            if self.kind != P_DATA and self._pdu_left > LARGEST_REQUEST:
                raise ProtocolError("too long a PDU")
            return
        length, self.context, self._control = struct.unpack(">IBB", self._header)
        if length < 2 or length + 4 > self._pdu_left:
            raise ProtocolError("a fragment longer than its PDU")
        if self._whole:
            raise ProtocolError("two messages in one PDU")
        if bool(self._control & 1) == (self.command is not None):
            raise ProtocolError("a command or a data set out of turn")
        self._pdu_left -= 6
        self._fragment_left = length - 2
        if not self._fragment_left:
            self._end_fragment()

    def _end_fragment(self) -> None:
        if self._control & 1 and self._control & 2:
            self.command = dimse.parse(bytes(self._bytes))
            self._whole = not self.command.data_set
        elif self._control & 2:
            self._whole = True
