"""The few bytes of the DICOM upper layer that the gate and the relay look at (PS3.8 9.3).

Everything else passes through them as it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

VERIFICATION = "1.2.840.10008.1.1"
HEALTHCHECK_AET = "HEALTHCHECK"
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"

C_STORE_RQ, C_STORE_RSP, C_ECHO_RSP = 0x0001, 0x8001, 0x8030

C_CANCEL_RQ = 0x0FFF

NO_DATA_SET = 0x0101
PERMANENT, TRANSIENT = 1, 2
LARGEST_REQUEST = 256 * 1024
"""An A-ASSOCIATE-RQ with 128 presentation contexts stays far below this."""
LARGEST_ANSWER = 4 * 1024 * 1024
_CHUNK = 256 * 1024
_LIBC = ctypes.CDLL(None)


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
            received = self._connection.recv(_CHUNK)
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
                        self.latest.append(parse_command(bytes(self._command)))
                        self._command.clear()
                position += 4 + max(length, 2)
        return [(command.field, command.status) for command in self.latest]


@dataclass(frozen=True)
class Command:
    """A DIMSE command (PS3.7 6.3), as far as it is looked at here."""

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


def parse_command(data: bytes) -> Command:
    """Read an implicit little endian command."""
    numbers = {0x0100: 0, 0x0110: 0, 0x0120: 0, 0x0800: NO_DATA_SET, 0x0900: 0xFFFF}
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
        position += length
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


def store_response(context: int, command: Command, status: int) -> bytes:
    """A C-STORE-RSP (PS3.7 9.3.1.2) to that request, as a PDU."""
    data = b""
    for element, value in (
        (0x0002, _even(command.sop_class_uid)),
        (0x0100, struct.pack("<H", C_STORE_RSP)),
        (0x0120, struct.pack("<H", command.message_id)),
        (0x0800, struct.pack("<H", NO_DATA_SET)),
        (0x0900, struct.pack("<H", status)),
        (0x1000, _even(command.sop_instance_uid)),
    ):
        data += struct.pack("<HHI", 0, element, len(value)) + value
    data = struct.pack("<HHII", 0, 0, 4, len(data)) + data
    fragment = struct.pack(">IBB", len(data) + 2, context, 3) + data
    return struct.pack(">BxI", P_DATA, len(fragment)) + fragment


def _even(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)


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
            self.command = parse_command(bytes(self._bytes))
            self._whole = not self.command.data_set
        elif self._control & 2:
            self._whole = True


def readable(connection: socket.socket, seconds: float) -> bool:
    """Whether there is something to read, or the end, within that time."""
    return _ready(connection, select.POLLIN, seconds)


def writable(connection: socket.socket, seconds: float) -> bool:
    """Whether something can be written, or the connection has ended, within that time."""
    return _ready(connection, select.POLLOUT, seconds)


def _ready(connection: socket.socket, event: int, seconds: float) -> bool:
    descriptor = connection.fileno()
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(seconds * 1000))


def acknowledge_quickly(connection: socket.socket) -> None:
    """Re-arm TCP_QUICKACK: the kernel clears it by itself.

    Without it, a peer with Nagle's algorithm waits 40 ms for the delayed acknowledgement of the
    first of its two small writes, once per object.
    """
    with contextlib.suppress(OSError):  # closed meanwhile: the next use says so
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def prepare(connection: socket.socket) -> None:
    """Set the options that every connection of a relay has."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    acknowledge_quickly(connection)


def notice_silence(connection: socket.socket, seconds: int) -> None:
    """End the connection when the other side says nothing at all any more, as after a power cut."""
    for option, value in (
        (socket.TCP_KEEPIDLE, 10),
        (socket.TCP_KEEPINTVL, 5),
        (socket.TCP_KEEPCNT, 4),
        (socket.TCP_USER_TIMEOUT, seconds * 1000),
    ):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def reset(connection: socket.socket) -> None:
    """Close with RST: dcm4che repeats after a reset, and gives up after an orderly end.

    Wakes every thread that waits on this socket, which neither close() nor SO_LINGER does.
    """
    descriptor = connection.fileno()
    if descriptor >= 0:
        # connect(2) to AF_UNSPEC dissolves the connection.
        _LIBC.connect(descriptor, bytes(16), 16)
    connection.close()


def associate_request(
    called: str, calling: str, abstract_syntax: str, transfer_syntax: str = IMPLICIT_LITTLE_ENDIAN
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


def echo(host: str, port: int, called: str, calling: str, seconds: float) -> str:
    """C-ECHO as a sender would; what is wrong in a few words, empty when all is well."""
    uid = VERIFICATION.encode() + b"\0"
    command = struct.pack("<HHI", 0, 2, len(uid)) + uid
    for element, value in ((0x0100, 0x0030), (0x0110, 1), (0x0800, 0x0101)):
        command += struct.pack("<HHIH", 0, element, 2, value)
    command = struct.pack("<HHII", 0, 0, 4, len(command)) + command
    fragment = struct.pack(">IBB", len(command) + 2, 1, 3) + command
    try:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            prepare(connection)
            reader = PduReader(connection)
            connection.sendall(associate_request(called, calling, VERIFICATION))
            answer = reader.read()
            if answer is None or answer[0] != ASSOCIATE_AC:
                if answer is not None and answer[0] == ASSOCIATE_RJ and len(answer) >= 10:
                    code = "/".join(map(str, answer[7:10]))
                    return f"refuses the association (A-ASSOCIATE-RJ {code})"
                return "does not accept the association"
            connection.sendall(struct.pack(">BxI", P_DATA, len(fragment)) + fragment)
            answer = reader.read()
            if answer is None or ResponseScanner().feed(answer) != [(C_ECHO_RSP, 0)]:
                return "does not answer C-ECHO with Success"
            connection.sendall(release_request())
            reader.read()
    except (OSError, ProtocolError) as error:
        return f"does not answer ({type(error).__name__})"
    return ""
