"""The DICOM port: who may come in, and when an answer of CTP may go out.

CTP accepts every AE title and answers Success also to a sender whose object it drops, so the
decision is taken here, where the sender sees it (A-ASSOCIATE-RJ). And CTP answers before the object
is on disk: what it says about a stored object waits here until it is.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import pdu

LOG = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 600.0
MOST_ASSOCIATIONS = 96
MOST_PER_PIPELINE = 48
"""CTP itself takes 50 on one port."""
HEALTHCHECK_AET = "HEALTHCHECK"
_CHUNK = 256 * 1024


@dataclass(frozen=True)
class Pipeline:
    """Where objects go, and whose. No AE titles given: any."""

    port: int
    """Where CTP takes them."""
    called_aets: frozenset[str]
    calling_aets: frozenset[str]
    parallel: int = 1
    """How many pipelines of CTP share what comes to that port."""


class Association:
    """One sender, and CTP's side of it."""

    def __init__(self, sender: socket.socket, pipeline: Pipeline, health: bool) -> None:
        self.sender = sender
        self._ctp: set[socket.socket] = set()
        self.pipeline = pipeline
        self.health = health
        self.moved = time.monotonic()
        self.ended = False
        self.lock = threading.Lock()

    def attach(self, ctp: socket.socket) -> bool:
        """Take a connection to CTP in, which ends with this; false when this has ended."""
        with self.lock:
            if self.ended:
                pdu.reset(ctp)
                return False
            self._ctp.add(ctp)
            return True

    def detach(self, ctp: socket.socket) -> None:
        """Leave the connection to whoever calls this."""
        with self.lock:
            self._ctp.discard(ctp)

    def answer(self, data: bytes) -> bool:
        """Send whole PDUs to the sender, unless the association was aborted."""
        with self.lock:
            if self.ended:
                return False
            self.sender.sendall(data)
            return True

    def abort(self) -> None:
        """A-ABORT to the sender; CTP's side is cut."""
        with self.lock:
            if self.ended:
                return
            self.ended = True
            try:
                self.sender.settimeout(1)
                self.sender.sendall(pdu.abort())
                self.sender.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # gone already
            for ctp in self._ctp:
                pdu.reset(ctp)

    def close(self) -> None:
        """End both sides."""
        with self.lock:
            self.ended = True
            for connection in (self.sender, *self._ctp):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()


class Gate:
    """Listens on the DICOM port. Each association is relayed by two threads."""

    most_associations = MOST_ASSOCIATIONS

    def __init__(
        self,
        address: tuple[str, int],
        pipelines: Sequence[Pipeline],
        closed: Callable[[], str],
        before_answer: Callable[[], str],
        received: Callable[[int], None],
        published: bool = False,
    ) -> None:
        """``closed`` says why nothing is taken now, or nothing; so does ``before_answer``, which
        returns when all that CTP wrote is on disk. ``received`` counts acknowledged objects.
        ``published``: others than our own containers can connect.

        Raises ``OSError`` when the port is taken.
        """
        self._pipelines = pipelines
        self._closed = closed
        self._before_answer = before_answer
        self._received = received
        self._published = published
        self._lock = threading.Lock()
        self._associations: set[Association] = set()
        self._draining = False
        self._listener = socket.create_server(address, backlog=128)

    def start(self) -> None:
        """Answer senders from now on."""
        threading.Thread(target=self._accept, name="gate", daemon=True).start()
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
        for association in open_now:
            association.abort()

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

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                if self._listener.fileno() < 0:
                    return
                time.sleep(0.1)  # out of file descriptors: some will be free again
                continue
            threading.Thread(
                target=self._serve, args=(connection, peer[0]), name="sender", daemon=True
            ).start()

    def _serve(self, sender: socket.socket, peer: str) -> None:
        association: Association | None = None
        try:
            pdu.prepare(sender)
            sender.settimeout(REQUEST_SECONDS)
            reader = pdu.PduReader(sender, pdu.LARGEST_REQUEST)
            raw = reader.read()
            if raw is None:
                return
            request = pdu.parse_request(raw)
            health = (
                (peer == "127.0.0.1" or not self._published)
                and request.calling_aet == HEALTHCHECK_AET
                and request.only_verification
            )
            chosen = self._enter(sender, request, health)
            if isinstance(chosen, pdu.Refusal):
                # What a sender calls itself is not for the log; what it lacks is.
                LOG.warning("Refused an association from %s: %s", peer, chosen.why)
                sender.sendall(chosen.pdu())
                self._linger(sender)
                return
            association = chosen
            self._relay(association, raw, reader.rest())
        except (OSError, pdu.ProtocolError):
            pass  # a sender that went away or speaks something else
        finally:
            if association is not None:
                association.close()
                with self._lock:
                    self._associations.discard(association)
            sender.close()

    def _enter(
        self, sender: socket.socket, request: pdu.AssociateRequest, health: bool
    ) -> Association | pdu.Refusal:
        why = self._closed()
        if why:
            return pdu.congestion(why)
        if self._draining:
            return pdu.congestion("this program stops")
        if health:
            chosen = self._pipelines
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
            if not health and (
                len(self._associations) >= self.most_associations or counts[fewest] >= most
            ):
                return pdu.local_limit("too many associations")
            association = Association(sender, chosen[fewest], health)
            self._associations.add(association)
            return association

    def _relay(self, association: Association, request: bytes, more: bytes) -> None:
        """Lead it to its end. ``request`` is the A-ASSOCIATE-RQ, ``more`` what came behind it."""
        port = association.pipeline.port
        try:
            ctp = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS)
        except OSError:
            LOG.warning("CTP does not listen on port %d", port)
            association.answer(pdu.congestion("CTP does not listen").pdu())
            self._linger(association.sender)
            return
        if not association.attach(ctp):
            return
        pdu.prepare(ctp)
        ctp.settimeout(None)
        association.sender.settimeout(None)
        ctp.sendall(request + more)
        answers = threading.Thread(
            target=self._relay_answers, args=(association, ctp), name="answers", daemon=True
        )
        answers.start()
        try:
            buffer = bytearray(_CHUNK)
            view = memoryview(buffer)
            while True:
                count = association.sender.recv_into(buffer)
                pdu.acknowledge_quickly(association.sender)
                if not count:
                    break
                association.moved = time.monotonic()
                ctp.sendall(view[:count])
            ctp.shutdown(socket.SHUT_WR)
            answers.join(10)
        except OSError:
            # CTP must not take half an object for a whole one.
            pdu.reset(ctp)
        finally:
            association.close()
            answers.join(10)

    def _relay_answers(self, association: Association, ctp: socket.socket) -> None:
        reader = pdu.PduReader(ctp)
        scanner = pdu.ResponseScanner()
        try:
            while True:
                found = reader.read()
                if found is None:
                    break
                association.moved = time.monotonic()
                responses = scanner.feed(found)
                stored = [status for field, status in responses if field == pdu.C_STORE_RSP]
                if found[0] == pdu.P_DATA and not (responses and not stored):
                    why = self._before_answer()
                    if why:
                        association.abort()
                        return
                if not association.answer(found):
                    return
                if stored:
                    self._received(sum(status == 0 for status in stored))
                    if self._draining:
                        association.abort()
                        return
        except (OSError, pdu.ProtocolError):
            association.abort()
        finally:
            association.close()

    def _end_idle(self) -> None:
        while self._listener.fileno() >= 0:
            time.sleep(5)
            now = time.monotonic()
            with self._lock:
                idle = [a for a in self._associations if now - a.moved > IDLE_SECONDS]
            for association in idle:
                LOG.warning("Aborted an association that was idle for %d s", IDLE_SECONDS)
                association.abort()

    @staticmethod
    def _linger(sender: socket.socket) -> None:
        """Let the sender read the refusal before the connection ends (PS3.8 9.2, ARTIM)."""
        sender.settimeout(2)
        try:
            while sender.recv(4096):
                pass
        except OSError:
            pass


def _fits(title: str, accepted: frozenset[str]) -> bool:
    return not accepted or title in accepted
