"""Bounds on connections that are no associations yet, and on what one PDU may take.

In flavour standin nothing stands in front of the receiver, and the library gives each connection
threads and as much memory as its sender claims. So the oldest connection of whoever holds most goes
where there are too many, a request has to be whole in time, and no PDU is read that is longer than
any that was agreed on.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import Counter
from typing import Any

from pynetdicom import evt
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

LOG = logging.getLogger(__name__)

MOST_WAITING, MOST_WAITING_PER_ADDRESS = 64, 16
REQUEST_SECONDS = 10.0
LARGEST_PDU = 1024 * 1024
"""Above ``maximum_pdu_size``, and above any A-ASSOCIATE-RQ."""
NOTICE_SECONDS = 60.0


class BoundedServer(ThreadedAssociationServer):
    """Accepts no more than it can bear."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, tuple[str, float]] = {}
        """Oldest first: address, and when the connection came."""
        self._noticed = 0.0
        super().__init__(*arguments, **options)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take it, and make room for it first."""
        peer = str(client_address[0])
        with self._lock:
            while True:
                counts = Counter(each for each, _ in self._waiting.values())
                if counts[peer] >= MOST_WAITING_PER_ADDRESS:
                    self._drop_oldest(peer)
                elif len(self._waiting) >= MOST_WAITING:
                    self._drop_oldest(counts.most_common(1)[0][0])
                else:
                    break
            self._waiting[request] = peer, time.monotonic()
        return True

    def service_actions(self) -> None:
        """Called twice a second: end what takes too long."""
        super().service_actions()
        limit = time.monotonic() - REQUEST_SECONDS
        with self._lock:
            for connection in [c for c, (_, since) in self._waiting.items() if since < limit]:
                self._drop(connection, "no whole A-ASSOCIATE-RQ in time")

    def asked(self, connection: socket.socket | None) -> None:
        """Its request is whole: the library counts it from here on."""
        with self._lock:
            if connection is not None:
                self._waiting.pop(connection, None)

    def _drop_oldest(self, peer: str) -> None:
        oldest = next(each for each, (address, _) in self._waiting.items() if address == peer)
        self._drop(oldest, "too many connections without an A-ASSOCIATE-RQ")

    def _drop(self, connection: socket.socket, why: str) -> None:
        peer, _ = self._waiting.pop(connection)
        now = time.monotonic()
        if now - self._noticed > NOTICE_SECONDS:
            self._noticed = now
            LOG.warning("Closed a connection from %s: %s", peer, why)
        with contextlib.suppress(OSError):
            # Wakes the thread that reads from it, which then closes it.
            connection.shutdown(socket.SHUT_RDWR)


class BoundedHandler(RequestHandler):
    """Reads no PDU that is too long."""

    def _create_association(self) -> Any:
        association = super()._create_association()
        reader = association.dul.socket
        assert reader is not None
        read = reader.recv

        def recv(count: int) -> bytearray:
            return bytearray() if count > LARGEST_PDU else read(count)

        reader.recv = recv  # type: ignore[method-assign,assignment]
        return association


def requested(event: evt.Event) -> None:
    """An A-ASSOCIATE-RQ is there."""
    association = event.assoc
    reader = association.dul.socket
    if reader is not None and isinstance(association._server, BoundedServer):
        association._server.asked(reader.socket)
