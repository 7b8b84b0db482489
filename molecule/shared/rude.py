"""Senders that do what no sender should, in bytes: none of them is a DICOM library."""

from __future__ import annotations

import socket
import struct
from types import TracebackType

VERIFICATION = b"1.2.840.10008.1.1"
IMPLICIT = b"1.2.840.10008.1.2"
HALF = b"\x01\0" + (250_000).to_bytes(4, "big")
"""The beginning of an A-ASSOCIATE-RQ."""


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def request(
    called: bytes = b"CTP",
    calling: bytes = b"RUDE",
    abstract: bytes = VERIFICATION,
    fill: bytes = b" ",
) -> bytes:
    """An A-ASSOCIATE-RQ; the AE titles are bytes, padded with ``fill``."""
    context = b"\x01\0\0\0" + _item(0x30, abstract) + _item(0x40, IMPLICIT)
    body = (
        struct.pack(">Hxx", 1)
        + called.ljust(16, fill)
        + calling.ljust(16, fill)
        + bytes(32)
        + _item(0x10, b"1.2.840.10008.3.1.1.1")
        + _item(0x20, context)
        + _item(0x50, _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"2.25.1"))
    )
    return struct.pack(">BxI", 1, len(body)) + body


def rejection(address: str, port: int, called: str, calling: str) -> tuple[int, ...]:
    """Ask for an association; return result, source and reason of the A-ASSOCIATE-RJ (PS3.8 9.3.4).

    Empty when it was accepted. pynetdicom is not asked: of 240 rejections that came at once it took
    one for an abort, where 1,800 of 1,800 were read here (pynetdicom 3.0).
    """
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.sendall(request(called.encode(), calling.encode()))
        answer = b""
        while len(answer) < 10:
            more = connection.recv(10 - len(answer))
            assert more, f"the connection was closed after {answer!r}"
            answer += more
    assert answer[0] in (2, 3), answer
    return tuple(answer[7:10]) if answer[0] == 3 else ()


def p_data(command: bytes, control: int = 3) -> bytes:
    """A P-DATA-TF with one fragment, by default a whole command."""
    fragment = struct.pack(">IBB", len(command) + 2, 1, control) + command
    return struct.pack(">BxI", 4, len(fragment)) + fragment


def echo_request() -> bytes:
    """A C-ECHO-RQ (PS3.7 9.3.5.1)."""
    uid = VERIFICATION + b"\0"
    command = struct.pack("<HHI", 0, 2, len(uid)) + uid
    for element, value in ((0x0100, 0x0030), (0x0110, 1), (0x0800, 0x0101)):
        command += struct.pack("<HHIH", 0, element, 2, value)
    return p_data(struct.pack("<HHII", 0, 0, 4, len(command)) + command)


class Rude:
    """A connection of a rude sender, from an address of its own."""

    def __init__(
        self, port: int, source: str = "127.0.0.2", buffer: int = 0, host: str = "127.0.0.1"
    ) -> None:
        """``source``: empty for any address."""
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.bind((source, 0))
        self.socket.settimeout(20)
        self.socket.connect((host, port))

    def __enter__(self) -> Rude:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Rude:
        self.socket.sendall(data)
        return self

    def answer(self) -> bytes:
        """What comes next; nothing for an end of any kind."""
        try:
            return self.socket.recv(65536)
        except ConnectionError:
            return b""

    def rejection(self) -> tuple[int, int, int]:
        """Result, source and reason of the A-ASSOCIATE-RJ that comes next (PS3.8 9.3.4)."""
        found = self.answer()
        assert found[:6] == b"\x03\0\0\0\0\x04", found[:6]
        return found[7], found[8], found[9]

    def has_ended(self) -> bool:
        """Whether the other side has closed, without waiting."""
        self.socket.setblocking(False)
        try:
            return self.socket.recv(65536) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


def stuck(
    port: int,
    source: str = "127.0.0.2",
    host: str = "127.0.0.1",
    called: bytes = b"CTP",
    calling: bytes = b"RUDE",
) -> Rude:
    """A sender that never reads, and whose answers fill all that is kept of them."""
    rude = Rude(port, source, buffer=4096, host=host)
    assert rude.send(request(called, calling)).answer()[:1] == b"\x02"
    rude.socket.settimeout(2)
    try:
        while True:
            rude.send(echo_request() * 50)
    except (TimeoutError, ConnectionError):  # cut off while it was still filling, on a busy machine
        return rude
