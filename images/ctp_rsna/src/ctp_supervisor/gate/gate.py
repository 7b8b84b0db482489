"""The DICOM port: who may come in, and when an answer of CTP may go out.

CTP accepts every AE title and answers Success also to a sender whose object it drops, so the
decision is taken here, where the sender sees it (A-ASSOCIATE-RJ). And CTP answers before the object
is on disk: what it says about a stored object waits here until it is.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..dicom import pdu, sockets, tunnel
from ..dicom.echo import HEALTHCHECK_AET
from ..machine.threads import OfOneConnection
from .lobby import LOOPBACK, Bounds, Lobby, Notices

LOG = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 600.0
ANSWER_SECONDS = 60.0
"""So long a sender may take to read one answer, once the kernel keeps no more for it."""
ABORT_SECONDS = 1.0
LINGER_SECONDS = 2.0
PROGRESS_BYTES = 64 * 1024
"""Less within ``IDLE_SECONDS`` is no sign of life, unless it is a whole message."""
ANSWERS_BYTES = 128 * 1024
"""What the kernel keeps of answers that a sender does not read."""
MOST_ASSOCIATIONS = 96
MOST_PER_PIPELINE = 48
"""CTP itself takes 50 on one port."""
MOST_HEALTHCHECKS = 16
_CHUNK = 256 * 1024
_STEP = 0.25


@dataclass(frozen=True)
class Pipeline:
    """Where objects go, and whose. No AE titles given: any."""

    port: int
    """Where CTP takes them."""
    called_aets: frozenset[str]
    calling_aets: frozenset[str]
    parallel: int = 1
    """How many pipelines of CTP share what comes to that port."""


@dataclass(frozen=True)
class Secure:
    """DICOM over TLS: whether it is taken (``context``), and of whom it is wanted."""

    context: ssl.SSLContext
    required: bool = False
    required_for: frozenset[str] = frozenset()
    """Calling AE titles; of the others only where it is ``required``."""

    def refuses(self, calling_aet: str) -> bool:
        """Whether this sender may not come without TLS."""
        return self.required or calling_aet in self.required_for


class Association:
    """One sender, and CTP's side of it."""

    def __init__(
        self, sender: socket.socket, pipeline: Pipeline, health: bool, peer: str = ""
    ) -> None:
        self.sender = sender
        self._ctp: set[socket.socket] = set()
        self.pipeline = pipeline
        self.health = health
        self.peer = peer
        self.moved = time.monotonic()
        self._since_moved = 0
        self.ended = False
        self.lock = threading.Lock()
        """Held for moments only, never while something is sent or awaited."""
        self._sending = threading.Lock()

    def came(self, count: int) -> None:
        """The sender has sent so many bytes. A trickle does not keep an association."""
        self._since_moved += count
        if self._since_moved >= PROGRESS_BYTES:
            self.stir()

    def stir(self) -> None:
        """Something whole has passed."""
        self.moved = time.monotonic()
        self._since_moved = 0

    def attach(self, ctp: socket.socket) -> bool:
        """Take a connection to CTP in, which ends with this; false when this has ended."""
        with self.lock:
            if self.ended:
                sockets.reset(ctp)
                return False
            self._ctp.add(ctp)
            return True

    def detach(self, ctp: socket.socket) -> None:
        """Leave the connection to whoever calls this."""
        with self.lock:
            self._ctp.discard(ctp)

    def answer(self, data: bytes) -> bool:
        """Send whole PDUs to the sender, unless the association was aborted.

        Raises ``OSError``, also for a sender that does not read.
        """
        with self._sending:
            deadline = time.monotonic() + ANSWER_SECONDS
            rest = memoryview(data)
            while rest:
                if self.ended:
                    return False
                if time.monotonic() > deadline:
                    with self.lock:
                        sockets.reset(self.sender)
                    raise TimeoutError("the sender does not read")
                if sockets.writable(self.sender, _STEP):
                    with contextlib.suppress(BlockingIOError):
                        rest = rest[self.sender.send(rest, socket.MSG_DONTWAIT) :]
            return not self.ended

    def abort(self, deadline: float | None = None) -> None:
        """A-ABORT to the sender; CTP's side is cut. Waits for an answer that is being sent, at most
        until ``deadline`` (default: for a second); then there is no A-ABORT but a reset."""
        with self.lock:
            if self.ended:
                return
            self.ended = True
            for ctp in self._ctp:
                sockets.reset(ctp)
        left = ABORT_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
        in_turn = self._sending.acquire(timeout=left)
        try:
            with self.lock, contextlib.suppress(OSError):
                if in_turn and self.sender.fileno() >= 0 and sockets.writable(self.sender, 0):
                    self.sender.send(pdu.abort(), socket.MSG_DONTWAIT)
                    self.sender.shutdown(socket.SHUT_RDWR)
                else:
                    sockets.reset(self.sender)
        finally:
            if in_turn:
                self._sending.release()

    def close(self) -> None:
        """End both sides."""
        with self.lock:
            self.ended = True
            for connection in (self.sender, *self._ctp):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()


class Gate(ABC):
    """Listens on the DICOM port. Each association has a thread of its own."""

    most_associations = MOST_ASSOCIATIONS
    most_per_address = MOST_ASSOCIATIONS
    bounds = Bounds()

    def __init__(
        self,
        address: tuple[str, int],
        pipelines: Sequence[Pipeline],
        closed: Callable[[], str],
        before_answer: Callable[[], str],
        received: Callable[[int], None],
        published: bool = False,
        secure: Secure | None = None,
    ) -> None:
        """``closed`` says why nothing is taken now, or nothing; so does ``before_answer``, which
        returns when all that CTP wrote is on disk. ``received`` counts acknowledged objects.
        ``published``: others than our own containers can connect. ``secure``: TLS is taken.

        Raises ``OSError`` when the port is taken.
        """
        self._pipelines = pipelines
        self._closed = closed
        self._before_answer = before_answer
        self._received = received
        self._published = published
        self._secure = secure
        self._lock = threading.Lock()
        self._associations: set[Association] = set()
        self._draining = False
        self.notices = Notices()
        self._listener = socket.create_server(address, backlog=128)
        tls = secure.context if secure is not None else None
        self._lobby = Lobby(self._listener, self.bounds, self._take, self.notices, tls)

    def start(self) -> None:
        """Answer senders from now on."""
        self._lobby.start()
        threading.Thread(target=self._end_idle, name="gate idle", daemon=True).start()

    def associations(self) -> int:
        """How many are open."""
        with self._lock:
            return len(self._associations)

    def abort_all(self, why: str) -> None:
        """Abort all open associations; their senders know what was acknowledged."""
        with self._lock:
            open_now = list(self._associations)
        if open_now:
            LOG.warning("Aborted %d associations: %s", len(open_now), why)
        deadline = time.monotonic() + ABORT_SECONDS
        for association in open_now:
            association.abort(deadline)

    def drain(self, seconds: float) -> None:
        """End all associations: each after its next answer, at the latest after ``seconds``."""
        self._draining = True
        deadline = time.monotonic() + seconds
        while self.associations() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.abort_all("this program stops")

    def stop(self) -> None:
        """Close the port."""
        self._listener.close()

    def _take(
        self, sender: socket.socket, peer: str, raw: bytes, more: bytes
    ) -> pdu.Refusal | None:
        """See ``Lobby``: a connection with its A-ASSOCIATE-RQ, and what came behind it."""
        request = pdu.parse_request(raw)
        health = (
            (peer == LOOPBACK or not self._published)
            and request.calling_aet == HEALTHCHECK_AET
            and request.only_verification
        )
        association = self._enter(sender, request, health, peer)
        if isinstance(association, pdu.Refusal):
            return association
        try:
            sender.setblocking(True)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ANSWERS_BYTES)
            OfOneConnection(
                target=self._serve,
                args=(association, pdu.with_titles(raw, request), more),
                name="sender",
                daemon=True,
            ).start()
        except OSError:
            association.close()  # gone already
            self._leave(association)
        except RuntimeError:
            self._leave(association)
            sender.setblocking(False)
            return pdu.local_limit("no thread could be started")
        return None

    def _leave(self, association: Association) -> None:
        with self._lock:
            self._associations.discard(association)

    def _serve(self, association: Association, request: bytes, more: bytes) -> None:
        try:
            self._relay(association, request, more)
        except (OSError, pdu.ProtocolError) as error:
            # A sender that went away, or speaks something else.
            if isinstance(error, TimeoutError):
                self.notices.warn("Cut off %s: %s", association.peer, "it does not read")
        finally:
            association.close()
            self._leave(association)

    def _enter(
        self, sender: socket.socket, request: pdu.AssociateRequest, health: bool, peer: str
    ) -> Association | pdu.Refusal:
        if not request.called_aet:
            return pdu.called_not_recognized("the called AE title is blank or no text")
        if not request.calling_aet:
            return pdu.calling_not_recognized("the calling AE title is blank or no text")
        why = self._closed()
        if why:
            return pdu.congestion(why)
        if self._draining:
            return pdu.congestion("this program stops")
        if health:
            chosen = self._pipelines
        elif self._is_plain(sender) and self._secure and self._secure.refuses(request.calling_aet):
            return pdu.calling_not_recognized("it comes without TLS, which is required of it")
        else:
            called = [p for p in self._pipelines if _fits(request.called_aet, p.called_aets)]
            if not called:
                return pdu.called_not_recognized()
            chosen = [p for p in called if _fits(request.calling_aet, p.calling_aets)]
            if not chosen:
                return pdu.calling_not_recognized()
        with self._lock:
            counts = [sum(a.pipeline is p for a in self._associations) for p in chosen]
            fewest = min(range(len(chosen)), key=counts.__getitem__)
            most = MOST_PER_PIPELINE * chosen[fewest].parallel
            others = [a for a in self._associations if not a.health]
            if health:
                if len(self._associations) - len(others) >= MOST_HEALTHCHECKS:
                    return pdu.local_limit("too many health checks")
            elif len(others) >= self.most_associations or counts[fewest] >= most:
                return pdu.local_limit("too many associations")
            elif sum(a.peer == peer for a in others) >= self.most_per_address:
                return pdu.local_limit("too many associations from one address")
            association = Association(sender, chosen[fewest], health, peer)
            self._associations.add(association)
            return association

    @staticmethod
    def _is_plain(sender: socket.socket) -> bool:
        return not isinstance(sender, tunnel.Tunnelled)

    @abstractmethod
    def _relay(self, association: Association, request: bytes, more: bytes) -> None:
        """Lead it to its end. ``request`` is the A-ASSOCIATE-RQ, ``more`` what came behind it.

        Raises ``OSError``, ``ProtocolError``.
        """

    def _end_idle(self) -> None:
        while self._listener.fileno() >= 0:
            time.sleep(5)
            now = time.monotonic()
            with self._lock:
                idle = [a for a in self._associations if now - a.moved > IDLE_SECONDS]
            for association in idle:
                self.notices.warn(
                    "Aborted an association of %s: %s",
                    association.peer,
                    f"idle, or next to it, for {IDLE_SECONDS:.0f} s",
                )
                association.abort()

    @staticmethod
    def _linger(sender: socket.socket) -> None:
        """Let the sender read the refusal before the connection ends (PS3.8 9.2, ARTIM)."""
        deadline = time.monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            while (left := deadline - time.monotonic()) > 0:
                sender.settimeout(left)
                if not sender.recv(4096):
                    return


def _fits(title: str, accepted: frozenset[str]) -> bool:
    return not accepted or title in accepted
