"""CTP's way to Orthanc: a port on loopback for each pipeline.

dcm4che in CTP repeats an object when the connection is refused or reset, and gives it up (into the
export quarantine) when the connection ends in order. So this port is closed while Orthanc cannot be
reached, and every end that Orthanc did not announce is passed on as a reset.

What leaves has a last check here (egress.py). What does not pass it never reaches Orthanc as a
whole, and CTP is told that it was refused, so that it quarantines it.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence

from . import pdu
from .outgoing import REFUSED, Outgoing
from .refusals import Refusals
from .settings import Pipeline

LOG = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 1.0
ANSWER_SECONDS = 300.0
"""Orthanc may take as long for one object; then it is taken for away."""
SILENT_SECONDS = 30
"""Orthanc's machine acknowledges no packet for so long: it is away, and CTP has to send again."""
RELEASE_SECONDS = 10.0
"""CTP ends an association itself after a refusal; then it is ended for it."""


class _Association:
    """What both directions of one association have to agree on."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self.outgoing = Outgoing(prefixes)
        self.lock = threading.Lock()
        """Held while something is sent to CTP."""
        self.cut = False
        """Orthanc's part is over: nothing of it goes to CTP any more."""


class ExportRelay:
    """Relays one pipeline's export."""

    def __init__(
        self,
        pipeline: Pipeline,
        intact: Callable[[], bool],
        forwarded: Callable[[int], None],
        prefixes: Sequence[str],
        refusals: Refusals,
    ) -> None:
        """``intact`` says whether CTP's files are those that were verified; nothing passes
        otherwise. ``forwarded`` counts objects that Orthanc acknowledged. ``prefixes``: of
        pseudonyms. ``refusals`` remembers what did not pass the last check."""
        self.pipeline = pipeline
        self._prefixes = tuple(prefixes)
        self._refusals = refusals
        self._intact = intact
        self._forwarded = forwarded
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._stopped = False
        self.reachable: bool | None = None
        """Whether Orthanc could be reached at the last try; ``None``: not tried yet."""
        self.moved = time.monotonic()
        """When CTP last used it."""

    def start(self) -> None:
        """Relay from now on."""
        threading.Thread(target=self._run, name=f"relay {self.pipeline.name}", daemon=True).start()

    def stop(self) -> None:
        """Cut everything, for good."""
        self._stopped = True
        with self._lock:
            sockets = list(self._open)
            if self._listener is not None:
                sockets.append(self._listener)
        for each in sockets:
            pdu.reset(each)

    def _connect(self) -> socket.socket | None:
        export = self.pipeline.export
        try:
            orthanc = socket.create_connection((export.host, export.port), timeout=CONNECT_SECONDS)
        except OSError as error:
            if self.reachable is not False:
                LOG.warning(
                    "Orthanc cannot be reached at %s:%d (%s); what is for it stays queued",
                    export.host,
                    export.port,
                    type(error).__name__,
                )
            self.reachable = False
            return None
        if self.reachable is False:
            LOG.info("Orthanc can be reached again at %s:%d", export.host, export.port)
        self.reachable = True
        return orthanc

    def _run(self) -> None:
        while not self._stopped:
            orthanc = self._connect()
            if orthanc is None:
                time.sleep(PROBE_SECONDS)
                continue
            orthanc.close()
            try:
                self._serve()
            except OSError as error:
                if not self._stopped:
                    LOG.error("The export relay cannot listen (%s)", type(error).__name__)
                    time.sleep(PROBE_SECONDS)

    def _serve(self) -> None:
        """Accept CTP's connections until Orthanc cannot be reached."""
        with socket.create_server(("127.0.0.1", self.pipeline.export.listen_port)) as listener:
            with self._lock:
                self._listener = listener
            try:
                while not self._stopped:
                    ctp, _ = listener.accept()
                    self.moved = time.monotonic()
                    if not self._intact():
                        pdu.reset(ctp)
                        continue
                    orthanc = self._connect()
                    if orthanc is None:
                        pdu.reset(ctp)
                        return
                    threading.Thread(
                        target=self._relay, args=(ctp, orthanc), name="export", daemon=True
                    ).start()
            finally:
                with self._lock:
                    self._listener = None

    def _relay(self, ctp: socket.socket, orthanc: socket.socket) -> None:
        with self._lock:
            self._open |= {ctp, orthanc}
        if self._stopped:
            pdu.reset(ctp)
        association = _Association(self._prefixes)
        outgoing = association.outgoing
        answers = threading.Thread(
            target=self._relay_answers,
            args=(ctp, orthanc, association),
            name="export answers",
            daemon=True,
        )
        try:
            for connection in (ctp, orthanc):
                pdu.prepare(connection)
                connection.settimeout(None)
            pdu.notice_silence(orthanc, SILENT_SECONDS)
            orthanc.settimeout(ANSWER_SECONDS)
            answers.start()
            reader = pdu.PduReader(ctp)
            passed = ""
            while True:
                found = reader.read()
                if found is None:
                    break
                self.moved = time.monotonic()
                # Asked after the bytes are here: what CTP made of a changed script comes later
                # than the change.
                if not self._intact():
                    pdu.reset(ctp)
                    break
                if not outgoing.may_leave(found):
                    self._refuse(ctp, orthanc, reader, association)
                    return
                if outgoing.passed != passed:
                    passed = outgoing.passed
                    self._refusals.discard(passed)
                orthanc.sendall(found)
            # Orthanc keeps one of its few threads for an association until the connection ends.
            with contextlib.suppress(OSError):
                orthanc.shutdown(socket.SHUT_WR)
            answers.join(CONNECT_SECONDS)
        except pdu.ProtocolError as error:
            LOG.warning("CTP's export was cut off: %s", error)
        except OSError:
            pass
        finally:
            pdu.reset(ctp)
            pdu.reset(orthanc)
            with self._lock:
                self._open -= {ctp, orthanc}

    def _refuse(
        self,
        ctp: socket.socket,
        orthanc: socket.socket,
        reader: pdu.PduReader,
        association: _Association,
    ) -> None:
        """Let Orthanc drop what it has of the object, answer CTP in its place, and end."""
        outgoing = association.outgoing
        assert outgoing.refused is not None
        with association.lock:
            association.cut = True
        with contextlib.suppress(OSError):
            orthanc.sendall(pdu.abort())
            orthanc.shutdown(socket.SHUT_WR)
        request, violation = outgoing.refused.request, outgoing.refused.violation
        LOG.warning("An object was kept from leaving to Orthanc: %s", violation)
        self._refusals.add(request.sop_instance_uid)
        while not outgoing.complete:
            # CTP reads no answer before it has sent all of the object.
            found = reader.read()
            if found is None or found[0] != pdu.P_DATA:
                return
            self.moved = time.monotonic()
            outgoing.may_leave(found)
        ctp.sendall(request.answer(REFUSED))
        ctp.settimeout(RELEASE_SECONDS)
        found = reader.read()
        if found is not None and found[0] == pdu.RELEASE_RQ:
            ctp.sendall(pdu.release_reply())
            # A reset could overtake what CTP has not read yet.
            ctp.shutdown(socket.SHUT_WR)
            while reader.read() is not None:
                pass
        elif found is not None and found[0] == pdu.P_DATA:
            ctp.sendall(pdu.abort())

    def _relay_answers(
        self, ctp: socket.socket, orthanc: socket.socket, association: _Association
    ) -> None:
        reader = pdu.PduReader(orthanc)
        scanner = pdu.ResponseScanner()
        last = 0
        try:
            while True:
                try:
                    found = reader.read()
                except TimeoutError:
                    continue  # an idle association; CTP ends it
                if found is None:
                    break
                last = found[0]
                if last == pdu.ASSOCIATE_AC:
                    association.outgoing.accepted(found)
                with association.lock:
                    if association.cut:
                        break
                    ctp.sendall(found)
                stored = [s for field, s in scanner.feed(found) if field == pdu.C_STORE_RSP]
                if stored:
                    self._forwarded(sum(status == 0 for status in stored))
        except (OSError, pdu.ProtocolError):
            pass
        finally:
            with association.lock:
                if association.cut:
                    pass  # the other direction answers and ends
                elif last == pdu.RELEASE_RP:
                    with contextlib.suppress(OSError):
                        ctp.shutdown(socket.SHUT_WR)
                else:
                    pdu.reset(ctp)
