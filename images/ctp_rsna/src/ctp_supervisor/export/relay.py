"""CTP's way to Orthanc: a port on loopback for each pipeline.

dcm4che in CTP repeats an object when the connection is refused or reset, and gives it up (into the
export quarantine) when the connection ends in order. So this port is closed while Orthanc cannot be
reached, and every end that Orthanc did not announce is passed on as a reset.

What leaves has a last check here (egress.py). What does not pass it never reaches Orthanc as a
whole, and CTP is told that it was refused, so that it quarantines it. The same is done with an
object that Orthanc ended at several times (suspects.py).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence

from ctp_rules.names import Named
from one_way.forwarder import GREETING

from ..completeness.arrivals import Record
from ..completeness.whole import Whole
from ..dicom import dimse, pdu, scan, sockets, tunnel
from ..machine.threads import OfOneConnection
from ..settings import Pipeline
from .egress import PATIENT_ID, SERIES, STUDY
from .lanes import LARGE_BYTES, Lanes
from .outgoing import REFUSED, Outgoing, Request
from .refusals import Refusals
from .suspects import Suspects

LOG = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 1.0
ANSWER_SECONDS = 300.0
"""Orthanc may take as long for one object; then it is taken for away."""
SILENT_SECONDS = 30
"""Orthanc's machine acknowledges no packet for so long: it is away, and CTP has to send again."""
RELEASE_SECONDS = 10.0
"""CTP ends an association itself after a refusal; then it is ended for it."""
_GONE = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH})
"""Errors of a connection whose other side is not there: its machine or the network ended."""


def _await_greeting(connection: socket.socket) -> None:
    """Wait until the forwarder says that it has reached Orthanc. Raises ``OSError``: it has not."""
    try:
        if connection.recv(len(GREETING)) == GREETING:
            return
    except OSError:
        connection.close()
        raise
    connection.close()
    raise ConnectionResetError("the forwarder did not reach Orthanc")


class _Association:
    """What both directions of one association have to agree on."""

    def __init__(self, prefixes: Sequence[str], whole: Whole | None) -> None:
        self.outgoing = Outgoing(prefixes, whole)
        self.lock = threading.Lock()
        """Held while something is sent to CTP."""
        self.cut = False
        """Orthanc's part is over: nothing of it goes to CTP any more."""
        self.over = False
        """CTP has ended it, or this program has: Orthanc may go."""
        self.under_way: Request | None = None
        """The object that Orthanc has begun to get and has not answered for."""
        self.sent_at: float | None = None
        """When the last byte of it went to Orthanc."""
        self.left: Record | None = None
        """What is kept of an object that Orthanc has, until CTP shows that it knows."""
        self.orthanc: socket.socket | None = None
        """The connection to it."""
        self.judging = threading.Lock()
        self.refused = False
        """Whether CTP was told that the object is refused."""
        self.judged: bool | None = None
        """Whether the object under way is held back from now on; ``None``: nothing happened."""

    def why(self) -> OSError | None:
        """What ended the connection to Orthanc, where another one stands before it."""
        return self.orthanc.why if isinstance(self.orthanc, tunnel.Tunnelled) else None


class ExportRelay:
    """Relays one pipeline's export."""

    def __init__(
        self,
        pipeline: Pipeline,
        intact: Callable[[], bool],
        forwarded: Callable[[int], None],
        prefixes: Sequence[str],
        refusals: Refusals,
        suspects: Suspects,
        lanes: Lanes,
        left: Callable[[str, str, str, str, Sequence[Named]], None] = lambda *of: None,
        whole: Whole | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``intact`` says whether CTP's files are those that were verified; nothing passes
        otherwise. ``forwarded`` counts objects that Orthanc acknowledged. ``prefixes``: of
        pseudonyms. ``refusals`` remembers what did not pass the last check, ``suspects`` what
        Orthanc ended at; ``lanes`` is one for all relays to the same Orthanc. ``left`` is told of
        each object that Orthanc stored, with the names of structures that changed; ``whole`` knows
        what came of it. ``tls``: for an Orthanc that is on another machine."""
        self.pipeline = pipeline
        self._tls = tls
        self._prefixes = tuple(prefixes)
        self._refusals = refusals
        self._suspects = suspects
        self._lanes = lanes
        self._left = left
        self._whole = whole
        self._intact = intact
        self._forwarded = forwarded
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._stopped = False
        self.stopping = False
        """Whether this machine may be on its way down, and Orthanc with it."""
        self.reachable: bool | None = None
        """Whether Orthanc could be reached at the last try; ``None``: not tried yet."""
        self.moved = time.monotonic()
        """When CTP last used it."""

    def start(self) -> None:
        """Relay from now on."""
        threading.Thread(target=self._run, name=f"relay {self.pipeline.name}", daemon=True).start()

    def stop(self) -> None:
        """Cut everything, for good."""
        self._stopped = self.stopping = True
        with self._lock:
            connections = list(self._open)
            if self._listener is not None:
                connections.append(self._listener)
        for each in connections:
            sockets.reset(each)

    def _connect(self) -> socket.socket | None:
        export = self.pipeline.export
        try:
            orthanc = socket.create_connection(
                (export.host, export.greeting_port or export.port), timeout=CONNECT_SECONDS
            )
            if export.greeting_port:
                _await_greeting(orthanc)
            if self._tls is not None and export.tls_names:
                sockets.prepare(orthanc)
                sockets.notice_silence(orthanc, SILENT_SECONDS)
                orthanc = tunnel.connect(orthanc, self._tls, export.tls_names, CONNECT_SECONDS)
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
                        sockets.reset(ctp)
                        continue
                    orthanc = self._connect()
                    if orthanc is None:
                        sockets.reset(ctp)
                        return
                    OfOneConnection(
                        target=self._relay, args=(ctp, orthanc), name="export", daemon=True
                    ).start()
            finally:
                with self._lock:
                    self._listener = None

    def _relay(self, ctp: socket.socket, orthanc: socket.socket) -> None:
        with self._lock:
            self._open |= {ctp, orthanc}
        if self._stopped:
            sockets.reset(ctp)
        association = _Association(self._prefixes, self._whole)
        association.orthanc = orthanc
        outgoing = association.outgoing
        answers = OfOneConnection(
            target=self._relay_answers,
            args=(ctp, orthanc, association),
            name="export answers",
            daemon=True,
        )
        reader = scan.PduReader(ctp)
        try:
            for connection in (ctp, orthanc):
                sockets.prepare(connection)
                connection.settimeout(None)
            sockets.notice_silence(orthanc, SILENT_SECONDS)
            orthanc.settimeout(ANSWER_SECONDS)
            answers.start()
            passed = ""
            while True:
                try:
                    found = reader.read()
                except (OSError, pdu.ProtocolError):
                    association.over = True
                    raise
                if found is None:
                    association.over = True
                    break
                self.moved = time.monotonic()
                self._forget(association)
                # Asked after the bytes are here: what CTP made of a changed script comes later
                # than the change.
                if not self._intact():
                    association.over = True
                    sockets.reset(ctp)
                    break
                before, size = outgoing.latest, outgoing.size
                if not outgoing.may_leave(found):
                    self._refuse(ctp, orthanc, reader, association)
                    return
                if association.judged:
                    # Orthanc has gone, and was not noticed by sending to it.
                    self._hold_back(ctp, reader, association, found)
                    return
                if outgoing.passed != passed:
                    passed = outgoing.passed
                    self._refusals.discard(passed)
                if outgoing.latest is not before and not self._set_out(association):
                    if outgoing.refused is not None:
                        self._refuse(ctp, orthanc, reader, association)
                    return
                if size < LARGE_BYTES <= outgoing.size and not self._lanes.grows_large(association):
                    LOG.info("A large object waits for another one, and is sent again")
                    association.over = True
                    return
                try:
                    orthanc.sendall(outgoing.leaving)
                except OSError as error:
                    if not self._judge(association, error):
                        raise
                    self._hold_back(ctp, reader, association)
                    return
                if outgoing.whole and association.sent_at is None:
                    self._all_is_sent(ctp, association)
            # Orthanc keeps one of its few threads for an association until the connection ends.
            with contextlib.suppress(OSError):
                orthanc.shutdown(socket.SHUT_WR)
            answers.join(CONNECT_SECONDS)
        except pdu.ProtocolError as error:
            LOG.warning("CTP's export was cut off: %s", error)
        except OSError:
            pass
        finally:
            association.over = True
            if isinstance(why := association.why(), ssl.SSLError):
                LOG.warning("Orthanc's TLS ended the association (%s)", why.reason)
            sockets.reset(ctp)
            sockets.reset(orthanc)
            self._lanes.leave(association)
            outgoing.close()
            with self._lock:
                self._open -= {ctp, orthanc}

    def _forget(self, association: _Association) -> None:
        """CTP goes on, so it has read the answer and removed the object."""
        left, association.left = association.left, None
        if left is not None and self._whole is not None:
            self._whole.arrivals.gone(left)

    def _set_out(self, association: _Association) -> bool:
        """Begin with the next object; whether it may go now."""
        request = association.outgoing.latest
        assert request is not None
        uid = request.sop_instance_uid
        held = self._suspects.held(uid)
        if held is not None:
            association.outgoing.hold_back(held.why())
            return False
        self._lanes.leave(association)
        if not self._lanes.enter(association, alone=uid in self._suspects):
            association.over = True
            return False
        association.sent_at = None
        association.under_way = request
        return True

    def _all_is_sent(self, ctp: socket.socket, association: _Association) -> None:
        """From here on only Orthanc's answer is missing."""
        with association.lock:
            association.sent_at = time.monotonic()
            if association.judged:
                self._answer_refused(ctp, association)

    def _answered(self, association: _Association, status: int) -> None:
        request, association.under_way = association.under_way, None
        self._lanes.leave(association)
        if request is not None:
            self._suspects.answered(request.sop_instance_uid, status == 0)
            if status == 0:
                values = association.outgoing.values
                study, series, pseudonym = (
                    values.get(tag, "") for tag in (STUDY, SERIES, PATIENT_ID)
                )
                arrival = association.outgoing.arrival
                names = arrival.names if arrival is not None else ()
                self._left(request.sop_instance_uid, study, series, pseudonym, names)
                association.left = arrival

    def _judge(self, association: _Association, what: OSError | str, abort: bool = False) -> bool:
        """Orthanc's part ended by itself; whether the object under way is held back for it."""
        with association.judging:
            if association.judged is None:
                association.judged = self._is_held_back(association, what, abort)
            return association.judged

    def _is_held_back(self, association: _Association, what: OSError | str, abort: bool) -> bool:
        request = association.under_way
        if request is None or association.over or self.stopping or not association.outgoing.size:
            return False
        if isinstance(what, OSError):
            what = association.why() or what
            if what.errno in _GONE:
                return False
            silent = isinstance(what, TimeoutError)
            what = f"Orthanc did nothing for {ANSWER_SECONDS:.0f} s" if silent else "Orthanc ended"
        if abort:
            # It says so itself: the object is the reason, unless it is about to stop.
            what = "Orthanc broke off"
            time.sleep(PROBE_SECONDS)
            probe = self._connect()
            if probe is None:
                return False
            probe.close()
        alone = self._lanes.was_alone(association)
        outgoing = association.outgoing
        held = self._suspects.broke(
            request.sop_instance_uid,
            request.sop_class_uid,
            outgoing.size,
            outgoing.whole,
            what,
            alone,
        )
        LOG.warning(
            "%s while it was sent an object of SOP class %s (%d MiB so far)%s",
            what,
            request.sop_class_uid,
            outgoing.size // (1024 * 1024),
            ": it is held back from now on"
            if held
            else ""
            if alone
            else ", and others; it is tried again alone",
        )
        return held

    def _refuse(
        self,
        ctp: socket.socket,
        orthanc: socket.socket,
        reader: scan.PduReader,
        association: _Association,
    ) -> None:
        """Let Orthanc drop what it has of the object, answer CTP in its place, and end."""
        outgoing = association.outgoing
        assert outgoing.refused is not None
        association.over = True
        with association.lock:
            association.cut = True
        with contextlib.suppress(OSError):
            orthanc.sendall(pdu.abort())
            orthanc.shutdown(socket.SHUT_WR)
        self._lanes.leave(association)
        request = outgoing.refused.request
        LOG.warning("An object was kept from leaving to Orthanc: %s", outgoing.refused.why)
        if self._suspects.held(request.sop_instance_uid) is None:
            finding = outgoing.refused.finding
            if finding is None:
                self._refusals.add(request.sop_instance_uid)
            else:
                # The stand-in keeps it under the UID that it came with.
                for uid in {request.sop_instance_uid, finding.uid or request.sop_instance_uid}:
                    self._refusals.add(uid, finding.why, finding.incomplete)
        self._drain(reader, outgoing)
        with association.lock:
            self._answer_refused(ctp, association)
        self._end_refused(ctp, reader, reader.read())

    def _hold_back(
        self,
        ctp: socket.socket,
        reader: scan.PduReader,
        association: _Association,
        found: bytes | None = None,
    ) -> None:
        """Orthanc is gone: answer CTP in its place, and end. ``found``: of CTP, not yet sent on."""
        outgoing = association.outgoing
        with association.lock:
            association.cut = True
            waiting = association.sent_at is None
        if waiting:
            if outgoing.refused is None:
                outgoing.hold_back("")
            self._drain(reader, outgoing)
            with association.lock:
                self._answer_refused(ctp, association)
            found = None
        self._end_refused(ctp, reader, found or reader.read())

    def _drain(self, reader: scan.PduReader, outgoing: Outgoing) -> None:
        """Take the rest of the object: CTP reads no answer before it has sent all of it."""
        while not outgoing.complete:
            found = reader.read()
            if found is None or found[0] != pdu.P_DATA:
                raise ConnectionError("CTP has ended the association")
            self.moved = time.monotonic()
            outgoing.may_leave(found)

    def _answer_refused(self, ctp: socket.socket, association: _Association) -> None:
        """Tell CTP once that the object was refused. Asks for the association's lock."""
        request, association.under_way = association.outgoing.latest, None
        if not association.refused and request is not None:
            association.refused = True
            ctp.sendall(request.answer(REFUSED))

    def _end_refused(self, ctp: socket.socket, reader: scan.PduReader, found: bytes | None) -> None:
        ctp.settimeout(RELEASE_SECONDS)
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
        reader = scan.PduReader(orthanc)
        scanner = scan.ResponseScanner()
        last = 0
        end: OSError | str = "Orthanc ended"
        try:
            while True:
                try:
                    found = reader.read()
                except TimeoutError as error:
                    if error.errno is not None:
                        raise
                    sent_at = association.sent_at
                    if (
                        association.under_way is None
                        or sent_at is None
                        or time.monotonic() - sent_at < ANSWER_SECONDS
                    ):
                        continue  # an idle association, which CTP ends, or CTP still sends
                    end = error
                    break
                if found is None:
                    break
                last = found[0]
                if last == pdu.ASSOCIATE_AC:
                    association.outgoing.accepted(found)
                stored = [s for field, s in scanner.feed(found) if field == dimse.C_STORE_RSP]
                if stored:
                    # Before CTP knows: its next object may be here at once.
                    self._answered(association, stored[-1])
                if last == pdu.ABORT and association.under_way is not None:
                    break
                with association.lock:
                    if association.cut:
                        break
                    ctp.sendall(found)
                if stored:
                    self._forwarded(sum(status == 0 for status in stored))
        except (OSError, pdu.ProtocolError) as error:
            end = error if isinstance(error, OSError) else end
        finally:
            held = self._judge(association, end, last == pdu.ABORT)
            with association.lock:
                if association.cut:
                    pass  # the other direction answers and ends
                elif held:
                    association.cut = True
                    sockets.reset(orthanc)
                    if association.sent_at is not None:
                        with contextlib.suppress(OSError):
                            self._answer_refused(ctp, association)
                elif last == pdu.RELEASE_RP:
                    with contextlib.suppress(OSError):
                        ctp.shutdown(socket.SHUT_WR)
                else:
                    sockets.reset(ctp)
