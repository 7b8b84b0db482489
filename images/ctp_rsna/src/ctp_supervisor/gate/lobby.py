"""Connections that are no associations yet: one thread reads the A-ASSOCIATE-RQ of all of them.

Whoever can connect can keep a connection half open, so nothing is spent on one before its request
is whole: no thread, and of memory and time a share of a small budget. Where the budget is used up,
the address that holds most of it loses its oldest connection; the others do not notice.
"""

from __future__ import annotations

import logging
import selectors
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ..dicom import pdu, sockets, tunnel

LOG = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0
"""From the connection to the last byte of the request."""
LINGER_SECONDS = 2.0
"""So long a sender may take to read a refusal (PS3.8 9.2, ARTIM)."""
NOTICE_SECONDS = 60.0
MOST_NOTICES = 256
LOOPBACK = "127.0.0.1"
MOST_HANDSHAKE = 64 * 1024
"""Bytes of a TLS handshake; a chain of certificates of the caller's has a few thousand."""
_READ = 16 * 1024
_TURN = 16
"""So few are accepted at a time that a request that is there is read before others take its
place."""
_TICK = 0.25
_HTTP = (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE", b"CONN", b"PATC", b"TRAC", b"PRI ")


@dataclass(frozen=True)
class Bounds:
    """What connections may use before they are associations. Loopback, which only the container
    itself has, is bounded by ``per_address`` alone: the health check always gets in."""

    connections: int = 128
    per_address: int = 32
    size: int = 8 * 1024 * 1024
    """Bytes of requests that are not whole yet, of all together."""


class Notices:
    """Log lines about senders: one in a while for each address and text, with how many there were.

    A sender that is refused usually tries again at once, and the log is for others too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def warn(self, text: str, peer: str, why: str) -> None:
        """Log ``text`` with the address and the reason in it."""
        with self._lock:
            now = time.monotonic()
            at, unsaid = self._last.pop((peer, why), (0.0, 0))
            if at and now - at < NOTICE_SECONDS:
                self._last[peer, why] = at, unsaid + 1
                return
            if len(self._last) >= MOST_NOTICES:
                del self._last[next(iter(self._last))]
            self._last[peer, why] = now, 0
        LOG.warning(text, peer, why + (f" ({unsaid} more times before)" if unsaid else ""))


class Caller:
    """One connection, and what came of its request."""

    def __init__(self, connection: socket.socket, peer: str, deadline: float) -> None:
        self.connection = connection
        self.peer = peer
        self.deadline = deadline
        self.data = bytearray()
        self.tls: tunnel.Session | None = None
        self.came = 0
        """Bytes over the network; those that were decrypted are no more."""
        self.refused = False
        """The refusal is sent; whatever comes is not looked at."""


class Lobby:
    """Accepts, and hands over what has asked for an association."""

    def __init__(
        self,
        listener: socket.socket,
        bounds: Bounds,
        enter: Callable[[socket.socket, str, bytes, bytes], pdu.Refusal | None],
        notices: Notices,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``enter`` gets a connection, its address, its whole request and what came behind it. It
        takes the connection, or says why not; it does not wait, and raises ``ProtocolError`` for
        what is no request. With ``tls`` whoever begins with a TLS handshake is given one; its
        connection is a ``Tunnelled``."""
        self._tls = tls
        self._listener = listener
        self._bounds = bounds
        self._enter = enter
        self._notices = notices
        self._selector = selectors.DefaultSelector()
        self._callers: dict[Caller, None] = {}
        """Oldest first."""
        self._size = 0
        self._deaf_until = 0.0

    def start(self) -> None:
        """Accept from now on, until the listener is closed."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        threading.Thread(target=self._run, name="lobby", daemon=True).start()

    def _run(self) -> None:
        while self._listener.fileno() >= 0:
            try:
                self._turn()
            except Exception as error:  # nothing that comes may end the acceptance
                LOG.error("Accepting connections failed (%s)", type(error).__name__)
                time.sleep(_TICK)
        for caller in list(self._callers):
            self._close(caller)
        self._selector.close()

    def _turn(self) -> None:
        for key, _ in self._selector.select(_TICK):
            if isinstance(key.data, Caller):
                # One that was closed meanwhile, for the sake of others, is not there any more.
                if key.data in self._callers:
                    self._read(key.data)
            else:
                self._accept()
        now = time.monotonic()
        for caller in [each for each in self._callers if each.deadline <= now]:
            if not caller.refused:
                self._notice(caller.peer, "no whole A-ASSOCIATE-RQ in time")
            self._close(caller)
        if self._deaf_until and now >= self._deaf_until and self._listener.fileno() >= 0:
            self._deaf_until = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _accept(self) -> None:
        for _ in range(_TURN):
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:
                # Out of file descriptors, perhaps: some will be free again.
                self._selector.unregister(self._listener)
                self._deaf_until = time.monotonic() + _TICK
                return
            peer = str(address[0])
            self._make_room(peer)
            caller = Caller(connection, peer, time.monotonic() + REQUEST_SECONDS)
            try:
                connection.setblocking(False)
                sockets.prepare(connection)
                self._selector.register(connection, selectors.EVENT_READ, caller)
            except OSError:
                connection.close()  # gone already
                continue
            self._callers[caller] = None

    def _make_room(self, peer: str) -> None:
        """Close connections until one more of that address is within the bounds."""
        while True:
            counts = Counter(each.peer for each in self._callers)
            if counts[peer] >= self._bounds.per_address:
                loser = peer
            else:
                loopback = counts.pop(LOOPBACK, 0)
                if peer == LOOPBACK or len(self._callers) - loopback < self._bounds.connections:
                    return
                loser = counts.most_common(1)[0][0]
            self._notice(loser, "too many connections without an A-ASSOCIATE-RQ")
            self._reset(next(each for each in self._callers if each.peer == loser))

    def _read(self, caller: Caller) -> None:
        try:
            received = caller.connection.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._close(caller)
            return
        if caller.refused:
            return
        caller.came += len(received)
        self._size += len(received)
        try:
            self._take_in(caller, received)
            whole = self._is_whole(caller)
        except (OSError, pdu.ProtocolError) as error:
            if isinstance(error, ssl.SSLError):
                error = pdu.ProtocolError(f"no TLS handshake ({error.reason})")
            elif isinstance(error, OSError):
                error = pdu.ProtocolError("it does not read")
            self._notice(caller.peer, str(error))
            self._close(caller)
            return
        if whole:
            self._hand_over(caller)
        else:
            self._shrink()

    def _take_in(self, caller: Caller, received: bytes) -> None:
        """Raises ``OSError``, ``ProtocolError`` where a TLS handshake does not go on."""
        begins = caller.tls is None and self._tls is not None and not caller.data
        if begins and received.startswith(tunnel.HELLO[: len(received)]):
            assert self._tls is not None
            caller.tls = tunnel.Session(self._tls, server=True)
        if caller.tls is None:
            caller.data += received
            return
        session = caller.tls
        session.feed(received)
        try:
            if session.handshake():
                caller.data += session.read()
            elif caller.came > MOST_HANDSHAKE:
                raise pdu.ProtocolError("a TLS handshake that does not end")
        finally:
            # Little enough for what the kernel keeps, also an alert that says why.
            answer = session.outgoing()
            if answer and caller.connection.send(answer) < len(answer):
                raise pdu.ProtocolError("it does not read")

    @staticmethod
    def _is_whole(caller: Caller) -> bool:
        """Raises ``ProtocolError`` for what is no A-ASSOCIATE-RQ."""
        data = caller.data
        if not data:
            return False
        if data[0] != pdu.ASSOCIATE_RQ:
            raise pdu.ProtocolError(_what_it_is(bytes(data[:4])))
        if len(data) < 6:
            return False
        (length,) = struct.unpack_from(">I", data, 2)
        if length > pdu.LARGEST_REQUEST:
            raise pdu.ProtocolError("too long an A-ASSOCIATE-RQ")
        return len(data) >= 6 + length

    def _shrink(self) -> None:
        while self._size > self._bounds.size:
            sizes: Counter[str] = Counter()
            for each in self._callers:
                sizes[each.peer] += each.came
            loser = sizes.most_common(1)[0][0]
            self._notice(loser, "too much of A-ASSOCIATE-RQs that do not end")
            self._reset(next(each for each in self._callers if each.peer == loser and each.came))

    def _hand_over(self, caller: Caller) -> None:
        (length,) = struct.unpack_from(">I", caller.data, 2)
        request, more = bytes(caller.data[: 6 + length]), bytes(caller.data[6 + length :])
        self._size -= caller.came
        caller.came = 0
        caller.data.clear()
        self._selector.unregister(caller.connection)
        del self._callers[caller]
        if caller.tls is not None:
            try:
                caller.connection = tunnel.carry(caller.connection, caller.tls)
                caller.connection.setblocking(False)
            except (OSError, RuntimeError) as error:
                LOG.error("A connection with TLS cannot be taken (%s)", type(error).__name__)
                return
        try:
            refusal = self._enter(caller.connection, caller.peer, request, more)
        except pdu.ProtocolError as error:
            self._notice(caller.peer, str(error))
            caller.connection.close()
            return
        if refusal is None:
            return
        # What a sender calls itself is not for the log; what it lacks is.
        self._notices.warn("Refused an association from %s: %s", caller.peer, refusal.why)
        try:
            caller.connection.send(refusal.pdu())
        except OSError:
            caller.connection.close()
            return
        caller.refused = True
        caller.deadline = time.monotonic() + LINGER_SECONDS
        self._callers[caller] = None
        self._selector.register(caller.connection, selectors.EVENT_READ, caller)

    def _notice(self, peer: str, why: str) -> None:
        self._notices.warn("Closed a connection from %s: %s", peer, why)

    def _forget(self, caller: Caller) -> None:
        del self._callers[caller]
        self._size -= caller.came
        self._selector.unregister(caller.connection)

    def _close(self, caller: Caller) -> None:
        self._forget(caller)
        caller.connection.close()

    def _reset(self, caller: Caller) -> None:
        """Close without anything left of it, in the kernel either."""
        self._forget(caller)
        sockets.reset(caller.connection)


def _what_it_is(start: bytes) -> str:
    """What a sender speaks, by its first bytes, which are not repeated."""
    if start.startswith(b"\x16\x03"):
        return "it speaks TLS, and this port is DICOM without TLS"
    if start in _HTTP:
        return "it speaks HTTP, and this port is DICOM"
    return "it does not speak DICOM"
