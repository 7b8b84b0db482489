"""The gate in front of CTP in the same container: each association goes to it as it comes.

What a sender sends is rewritten on the way (``incoming``). CTP's answers about stored objects wait
until all is on disk.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping, Sequence

from study_account.account import Sender

from ..completeness.arrivals import Arrivals
from ..data_set.rules import NO_RULES, Rules
from ..dicom import dimse, pdu, scan, sockets
from ..gate.gate import CONNECT_SECONDS, Association, Gate, Pipeline
from ..gate.lobby import Bounds
from ..machine.threads import OfOneConnection
from .broken_off import BrokenOff
from .incoming import Incoming
from .studies import Studies, Watcher

LOG = logging.getLogger(__name__)
_CHUNK = 256 * 1024


class Door(Gate):
    """A gate with CTP behind it. Each association is relayed by two threads."""

    bounds = Bounds(per_address=128)
    """Behind the gate in a container of its own, which all senders come through."""

    def __init__(
        self,
        address: tuple[str, int],
        pipelines: Sequence[Pipeline],
        closed: Callable[[], str],
        before_answer: Callable[[], str],
        received: Callable[[int], None],
        studies: Studies | None = None,
        rules: Rules = NO_RULES,
        broken_off: BrokenOff | None = None,
        account: Callable[[], Sender] | None = None,
        arrivals: Mapping[int, Arrivals] | None = None,
    ) -> None:
        """As ``Gate``. ``studies`` is told of which study and patient each object is,
        ``broken_off`` of which CTP got all. ``rules``: of the scripts of CTP. ``account`` of
        studies: for each association. ``arrivals`` keep what CTP gets, by its port."""
        super().__init__(address, pipelines, closed, before_answer, received)
        self._studies = studies
        self._rules = rules
        self._broken_off = broken_off
        self._account = account
        self._arrivals = arrivals or {}

    def _relay(self, association: Association, request: bytes, more: bytes) -> None:
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
        sockets.prepare(ctp)
        ctp.settimeout(None)
        incoming = Incoming(self._rules, self._broken_off, self._arrivals.get(port))
        watcher = self._watcher(association)
        answers = OfOneConnection(
            target=self._relay_answers,
            args=(association, ctp, incoming, watcher),
            name="answers",
            daemon=True,
        )
        try:
            answers.start()
        except RuntimeError:
            if watcher is not None:
                watcher.ended(here=True)
            association.answer(pdu.local_limit("no thread could be started").pdu())
            self._linger(association.sender)
            return
        here = True
        try:
            ctp.sendall(incoming.proposal(request))
            if more:
                raise pdu.ProtocolError("it did not wait for an answer")
            while True:
                try:
                    data = association.sender.recv(_CHUNK)
                finally:
                    here = association.ended
                sockets.acknowledge_quickly(association.sender)
                if not data:
                    break
                here = True
                association.came(len(data))
                if watcher is not None:
                    watcher.feed(memoryview(data))
                pieces = b"".join(incoming.feed(data))
                if pieces:
                    ctp.sendall(pieces)
            ctp.shutdown(socket.SHUT_WR)
            answers.join(10)
        except (OSError, pdu.ProtocolError):
            # CTP must not take half an object for a whole one.
            sockets.reset(ctp)
        except Exception:
            sockets.reset(ctp)
            raise
        finally:
            association.close()
            answers.join(10)
            incoming.close()
            if watcher is not None:
                watcher.ended(here)

    def _watcher(self, association: Association) -> Watcher | None:
        if self._studies is None or association.health:
            return None
        return Watcher(self._studies, None if self._account is None else self._account())

    def _relay_answers(
        self,
        association: Association,
        ctp: socket.socket,
        incoming: Incoming,
        watcher: Watcher | None,
    ) -> None:
        reader = scan.PduReader(ctp)
        scanner = scan.ResponseScanner()
        try:
            while True:
                found = reader.read()
                if found is None:
                    break
                association.stir()
                if found[0] == pdu.ASSOCIATE_AC:
                    found = incoming.answer(found)
                responses = scanner.feed(found)
                stored = [status for field, status in responses if field == dimse.C_STORE_RSP]
                if found[0] == pdu.P_DATA and not (responses and not stored):
                    why = self._before_answer()
                    if why:
                        association.abort()
                        return
                if not association.answer(found):
                    return
                if stored:
                    if watcher is not None:
                        watcher.answered(scanner.latest)
                    self._received(sum(status == 0 for status in stored))
                    if self._draining:
                        association.abort()
                        return
        except (OSError, pdu.ProtocolError) as error:
            if isinstance(error, TimeoutError):
                self.notices.warn("Cut off %s: %s", association.peer, "it does not read")
            association.abort()
        finally:
            association.close()
