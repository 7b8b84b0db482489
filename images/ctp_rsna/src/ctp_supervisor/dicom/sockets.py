"""What a connection of a relay needs of its socket, beside sending and receiving."""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket

_LIBC = ctypes.CDLL(None)


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
