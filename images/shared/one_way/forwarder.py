"""Connections taken on one port, or two, and led to one address.

Nobody is asked whether the other side is there before its connection is taken: the kernel does
that. So what "nobody listens" tells a client has to be told in another way. The port is closed
while the other side cannot be reached, and a connection that came at the wrong moment ends by a
reset, as it does where the other side ends. A client that knows this program comes by the second
port, where it is told of each connection that stands: it then knows as much as if it had connected
itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import socket
import struct
import threading
import time

LOG = logging.getLogger(__name__)

GREETING = b"\x01"
"""The first byte that a client of the second port gets: the other side has been reached."""
CONNECT_SECONDS = 5.0
PROBE_SECONDS = 0.5
"""So often the other side is looked for while it is away."""
MOST_CONNECTIONS = 64
CHUNK_BYTES = 128 * 1024

_LIBC = ctypes.CDLL(None)


class Forwarder:
    """Listens on ``port`` (and ``greeting``) and leads each connection to ``(host, target)``."""

    def __init__(
        self, port: int, host: str, target: int, greeting: int = 0, bind: str = "0.0.0.0"
    ) -> None:
        """``greeting``: a second port, whose clients get ``GREETING`` first; 0: none."""
        self.port = port
        self.host = host
        self.target = target
        self.greeting = greeting
        self._bind = bind
        self._lock = threading.Lock()
        self._listeners: list[socket.socket] = []
        self._open: set[socket.socket] = set()
        self._gone = threading.Event()
        """Set when the other side could not be reached."""
        self._stop = threading.Event()
        self._reachable: bool | None = None

    def run(self) -> None:
        """Forward until ``stop`` is called. Raises ``OSError`` when the port is taken."""
        while True:
            # In this order: ``stop`` sets the one and then the other.
            self._gone.clear()
            if self._stop.is_set():
                break
            if self._probe():
                self._listen()
                # Asked no more: each connection shows whether it is still there.
                self._gone.wait()
            else:
                self._close()
                self._stop.wait(PROBE_SECONDS)
        self._close()

    def stop(self) -> None:
        """End everything."""
        self._stop.set()
        self._gone.set()
        self._close()
        with self._lock:
            connections = list(self._open)
        for each in connections:
            reset(each)

    def _probe(self) -> bool:
        connection = self._connect()
        if connection is not None:
            connection.close()
        return connection is not None

    def _connect(self) -> socket.socket | None:
        try:
            connection = socket.create_connection((self.host, self.target), timeout=CONNECT_SECONDS)
        except OSError as error:
            if self._reachable is not False:
                LOG.warning(
                    "%s:%d cannot be reached (%s): port %d is closed",
                    self.host,
                    self.target,
                    type(error).__name__,
                    self.port,
                )
            self._reachable = False
            return None
        if not self._reachable:
            LOG.info("%s:%d is reached: port %d is open", self.host, self.target, self.port)
        self._reachable = True
        return connection

    def _listen(self) -> None:
        with self._lock:
            if self._listeners or self._stop.is_set():
                return
            for port in filter(None, (self.port, self.greeting)):
                listener = socket.create_server((self._bind, port), backlog=64)
                self._listeners.append(listener)
                threading.Thread(
                    target=self._accept,
                    args=(listener, port == self.greeting),
                    name=f"port {port}",
                    daemon=True,
                ).start()

    def _close(self) -> None:
        with self._lock:
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            reset(listener)

    def _accept(self, listener: socket.socket, greet: bool) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # closed
            with self._lock:
                full = len(self._open) >= 2 * MOST_CONNECTIONS
            if full:
                LOG.warning("More than %d connections at once: one was cut off", MOST_CONNECTIONS)
                reset(client)
                continue
            threading.Thread(
                target=self._lead, args=(client, greet), name="way", daemon=True
            ).start()

    def _lead(self, client: socket.socket, greet: bool) -> None:
        server = self._connect()
        if server is None:
            reset(client)
            self._gone.set()
            return
        with self._lock:
            self._open |= {client, server}
        ended: list[bool] = []
        back = threading.Thread(
            target=lambda: ended.append(self._pass(server, client)), name="back", daemon=True
        )
        try:
            for each in (client, server):
                each.settimeout(None)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if greet:
                client.sendall(GREETING)
            back.start()
            ended.append(self._pass(client, server))
            back.join()
        except OSError:
            pass
        finally:
            for each in (client, server):
                if ended == [True, True]:
                    # A reset could overtake what the other side has not read yet.
                    each.close()
                else:
                    reset(each)
            with self._lock:
                self._open -= {client, server}

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> bool:
        """Pass on what comes, and then how it ended: in order (true), or by a reset."""
        buffer = bytearray(CHUNK_BYTES)
        view = memoryview(buffer)
        try:
            while count := source.recv_into(view):
                # The peer may wait for the acknowledgement of its first small write (Nagle).
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                target.sendall(view[:count])
            target.shutdown(socket.SHUT_WR)
        except OSError:
            reset(target)
            reset(source)
            return False
        return True


def reset(connection: socket.socket) -> None:
    """Close with RST, and wake every thread that waits on it."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    descriptor = connection.fileno()
    if descriptor >= 0:
        # connect(2) to AF_UNSPEC dissolves the connection; a listener is woken by the shutdown.
        _LIBC.connect(descriptor, bytes(16), 16)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def health(port: int, host: str, target: int) -> str:
    """What is wrong, in one sentence; empty when all is well.

    Closed while the other side is away is well: a restart of this does not bring it back.
    """
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2.0):
            return ""
        try:
            with socket.create_connection((host, target), 2.0):
                pass
        except OSError:
            return ""
        # It may have come just now.
        if time.monotonic() > deadline:
            return f"Port {port} is closed although {host}:{target} can be reached."
        time.sleep(PROBE_SECONDS)
