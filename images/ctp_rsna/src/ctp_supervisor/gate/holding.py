"""The gate in front of CTP's container: senders wait while CTP is restarted, and do not notice.

An association of a sender stays while those with CTP come and go behind it. Messages pass one at a
time, each kept until CTP has answered it: one whose answer does not come is sent again over a new
association. Nothing is answered in CTP's place, but that an object is too large, so a sender knows
no more than CTP has said, and an object that CTP got twice is one to Orthanc (the script maps its
SOP Instance UID to the same one).

Whether CTP is away is not concluded from what one sender proposes: where a proposal gets no answer,
the gate asks CTP itself, with a C-ECHO of its own.

An association that cannot begin now waits too. One that was accepted before with the same proposal
is accepted again at once, and its first message waits: senders are more patient for that.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ..dicom import dimse, pdu, scan, sockets
from ..dicom.echo import HEALTHCHECK_AET, echo
from ..machine.disk import MIB, free_bytes
from .gate import CONNECT_SECONDS, Association, Gate, Pipeline, Secure
from .lobby import Bounds

LOG = logging.getLogger(__name__)

ASSOCIATE_SECONDS = 30.0
RETRY_SECONDS = 0.5
POLL_SECONDS = 0.1
FORGET_SECONDS = 45.0
"""What was last seen of CTP holds as long; the health check looks more often."""
LANE_IDLE_SECONDS = 5.0
"""CTP's side of an idle association ends then, so that CTP can stop without waiting for it."""
RELEASE_SECONDS = 2.0
UNACKNOWLEDGED_SECONDS = 60
ATTEMPTS = 5
"""As often CTP may break off over one and the same message."""
ECHO_SECONDS = 5.0
"""CTP answers a C-ECHO within that time, or is away."""
PROPOSALS = 4
"""As often a proposal is made to a CTP that is there and does not accept it."""
REFUSE_SECONDS = 60.0
"""Then it is refused at once for so long."""
TOO_LARGE = 0xA700
"""C-STORE: Refused: Out of Resources (PS3.4 B.2.3)."""
MEMORY_BYTES = 1024 * 1024
"""A longer message is kept in a file without a name."""
STALLED_SECONDS = 60.0
"""Of whom less than ``STALLED_BYTES`` come within that time loses the room that another needs."""
STALLED_BYTES = 1024 * 1024
MOST_KNOWN = 64
MOST_REMEMBERED = 2_000
MOST_EXTRA_LANES = 24
"""With many senders each pipeline has something to do anyway."""
_CHUNK = 256 * 1024


class _AwayError(Exception):
    """CTP takes no association now."""


class _RefusedError(Exception):
    """CTP refuses for good."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class _NotThisError(Exception):
    """CTP takes associations, but not this one: it rejects it for now, or gives no answer."""

    def __init__(self, answer: bytes | None) -> None:
        super().__init__()
        self.answer = answer


class _EndError(Exception):
    """The sender's association cannot go on; the text is for the log, if there is one."""


class Absence:
    """Since when CTP is away, as the latest try saw it. All associations share one."""

    def __init__(self, seconds: float) -> None:
        """``seconds``: so long is it waited for."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._since: float | None = None
        self._tried = 0.0
        self._told = False

    def may_try(self) -> bool:
        """Whether it is time to look, which is then up to the caller: one looks for all."""
        with self._lock:
            now = time.monotonic()
            if self._since is not None and now - self._tried > FORGET_SECONDS:
                self._since = None
            if self._since is not None and now - self._tried < RETRY_SECONDS:
                return False
            self._tried = now
            return True

    def missed(self) -> None:
        """It was not there, whoever asks."""
        with self._lock:
            self._tried = time.monotonic()
            if self._since is None:
                self._since = self._tried
                self._told = False
                LOG.warning("CTP is away: senders wait for it, %d s at most", self._seconds)

    def reached(self) -> None:
        """It was there."""
        with self._lock:
            if self._since is not None:
                away = time.monotonic() - self._since
                LOG.warning("CTP is back after %.1f s", away)
            self._since = None

    def waits(self) -> bool:
        """Whether senders should wait; not any more when it has been away for too long."""
        with self._lock:
            if self._since is None or time.monotonic() - self._since < self._seconds:
                return True
            if not self._told:
                self._told = True
                LOG.error("CTP has been away for %d s: senders are turned away", self._seconds)
            return False


class _Message:
    """The bytes of one message, in memory or in a file that has no name and so ends with this."""

    def __init__(self, spool: Path) -> None:
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=str(spool))  # noqa: SIM115
        self.size = 0
        self.kept = True
        """Whether all of it is here."""

    def write(self, part: memoryview) -> None:
        self.size += len(part)
        if self.kept:
            try:
                self._file.write(part)
            except OSError as error:
                LOG.warning("An object cannot be kept to be sent again (%s)", error.strerror)
                self.kept = False
                # What is there of it would only keep the disk full.
                self.close()

    def pieces(self) -> Iterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(_CHUNK):
            yield piece
        self._file.seek(0, 2)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


def _wants_answer(command: dimse.Command) -> bool:
    """Not: a C-CANCEL (PS3.7 9.3.2.3), nor what is an answer itself."""
    return command.field != dimse.C_CANCEL_RQ and not command.field & 0x8000


class Budget:
    """What the objects under way take of the disk, and whose they are.

    What one of them takes here CTP takes once more, on the same disk. So as much has to be free
    above the floor as lies here; then nobody comes near the floor, at which all senders are turned
    away. And of several objects of one address no more than half of that, so that something is left
    for the others. One that stopped in the middle keeps its room while nobody needs it.
    """

    def __init__(self, free: Callable[[], int]) -> None:
        """``free``: bytes above the floor now, negative below it."""
        self._free = free
        self._lock = threading.Lock()
        self._held: dict[Association, int] = {}
        self._moved: dict[Association, tuple[int, float]] = {}
        """How much there was when it was last seen to move, and when that was."""

    def takes(self, association: Association, size: int) -> bool:
        """Whether the object under way may take so many bytes. Where others stopped in the middle,
        as many of them are aborted as it needs room of."""
        now = time.monotonic()
        losers: list[Association] = []
        with self._lock:
            self._held[association] = size
            before, _ = self._moved.get(association, (-STALLED_BYTES, 0.0))
            if size - before >= STALLED_BYTES:
                self._moved[association] = size, now
            free = self._free()
            fits = self._fits(association, free, losers)
            for each in [] if fits else self._stalled(association, now):
                losers.append(each)
                # It is free in a moment, when that one's thread has noticed.
                free += self._held[each]
                if fits := self._fits(association, free, losers):
                    break
            if not fits:
                losers.clear()
            for each in losers:
                self._pop(each)
        for each in losers:
            LOG.warning("Aborted %s, which stopped in the middle of an object: another one needs"
                        " its room on the disk", each.peer)  # fmt: skip
            each.abort(now)
        return fits

    def _fits(self, association: Association, free: int, without: Sequence[Association]) -> bool:
        held = {each: size for each, size in self._held.items() if each not in without}
        of_peer = [size for each, size in held.items() if each.peer == association.peer]
        if sum(held.values()) > free:
            return False
        return len(of_peer) == 1 or sum(of_peer) <= free // 2

    def _stalled(self, association: Association, now: float) -> list[Association]:
        """Of whom no more comes, the first to stop first; not who waits for CTP."""
        found = [
            (at, number, each)
            for number, (each, (_, at)) in enumerate(self._moved.items())
            if each is not association and now - at > STALLED_SECONDS
        ]
        return [each for _, _, each in sorted(found)]

    def is_whole(self, association: Association) -> None:
        """All of the object is here: it waits for CTP, not for its sender."""
        with self._lock:
            if association in self._held:
                self._moved[association] = self._held[association], math.inf

    def forget(self, association: Association) -> None:
        """Nothing of it is on the disk any more."""
        with self._lock:
            self._pop(association)

    def _pop(self, association: Association) -> None:
        self._held.pop(association, None)
        self._moved.pop(association, None)

    def held(self) -> int:
        """Bytes on the disk."""
        with self._lock:
            return sum(self._held.values())


class _Lane:
    """One association with CTP. It may be broken, and opened again."""

    def __init__(self, association: Association, host: str, request: bytes) -> None:
        self._association = association
        self._address = (host, association.pipeline.port)
        self._request = request
        self._connection: socket.socket | None = None

    @property
    def up(self) -> bool:
        return self._connection is not None

    def open(self) -> bytes:
        """Return the A-ASSOCIATE-AC.

        Raises ``_AwayError`` for a CTP that is not there at all, ``_NotThisError`` where that is
        not sure, ``_RefusedError``, ``_EndError``.
        """
        try:
            connection = socket.create_connection(self._address, timeout=CONNECT_SECONDS)
        except ConnectionRefusedError:
            raise _AwayError from None
        except OSError:
            raise _NotThisError(None) from None
        if not self._association.attach(connection):
            raise _EndError
        self._connection = connection
        try:
            sockets.prepare(connection)
            sockets.notice_silence(connection, UNACKNOWLEDGED_SECONDS)
            connection.settimeout(ASSOCIATE_SECONDS)
            connection.sendall(self._request)
            answer = scan.PduReader(connection, pdu.LARGEST_REQUEST).read()
            connection.settimeout(None)
        except (OSError, pdu.ProtocolError):
            answer = None
        if answer is not None and answer[0] == pdu.ASSOCIATE_AC:
            return answer
        self.drop()
        if answer is not None and pdu.is_permanent(answer):
            raise _RefusedError(answer)
        raise _NotThisError(answer if answer and pdu.is_rejection(answer) else None)

    def send(self, parts: Iterable[bytes | memoryview]) -> None:
        """Send. What goes wrong breaks the lane."""
        try:
            for part in parts:
                if self._connection is None:
                    return
                self._connection.sendall(part)
        except OSError:
            self.drop()

    def answer(self) -> tuple[bytes, dimse.Command] | None:
        """The next message of CTP; ``None`` when the lane broke."""
        scanner = scan.MessageScanner()
        found = bytearray()
        data, count = b"", 0
        try:
            while not scanner.ended:
                assert self._connection is not None
                data = self._connection.recv(_CHUNK)
                sockets.acknowledge_quickly(self._connection)
                count = scanner.feed(memoryview(data))
                found += data[:count]
                if not data or len(found) > pdu.LARGEST_ANSWER:
                    raise pdu.ProtocolError("no answer")
        except (OSError, pdu.ProtocolError):
            self.drop()
            return None
        if scanner.kind != pdu.P_DATA or scanner.command is None:
            self.drop()
            return None
        if count < len(data):
            self.drop()  # CTP stops: A-ABORT follows its last answer
        return bytes(found), scanner.command

    def drop_if_ended(self) -> None:
        """Between two messages CTP says nothing but that it ends."""
        if self._connection is not None and sockets.readable(self._connection, 0):
            self.drop()

    def drop(self) -> None:
        """End it so that CTP takes half an object for nothing else."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._association.detach(connection)
            sockets.reset(connection)

    def release(self) -> None:
        """End it in order, between two messages."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._association.detach(connection)
        try:
            connection.settimeout(RELEASE_SECONDS)
            connection.sendall(pdu.release_request())
            connection.recv(4096)
        except OSError:
            pass
        finally:
            connection.close()


class _Session:
    """One sender's association, from its proposal to its end."""

    def __init__(
        self, gate: HoldingGate, association: Association, request: bytes, more: bytes
    ) -> None:
        self._gate = gate
        self._association = association
        self._request = request
        self._proposal = hashlib.sha256(request).digest()
        self._rest = memoryview(more)
        self._lanes = [_Lane(association, gate.ctp_host, request)]
        self._settled: pdu.Negotiated | None = None
        self._dealt = False
        self._turn = 0
        self._lane_of: dict[int, _Lane] = {}
        """By a hash of the SOP Instance UID, which is as long as a sender likes."""
        self._not_accepted = 0

    def run(self) -> None:
        association = self._association
        try:
            answer = self._begin()
            if not association.answer(answer):
                return
            if answer[0] != pdu.ASSOCIATE_AC:
                self._gate.linger(association.sender)
                return
            while self._pass_message():
                pass
        except _EndError as end:
            if str(end):
                self._gate.notices.warn(
                    "Aborted an association of %s: %s", association.peer, str(end)
                )
            association.abort()
        finally:
            for lane in self._lanes:
                lane.drop()
            self._gate.give_back(len(self._lanes) - 1)

    def _begin(self) -> bytes:
        """The answer to the A-ASSOCIATE-RQ. Raises ``_EndError``."""
        absence, health = self._gate.absence, self._association.health
        while True:
            if self._gate.is_refused(self._proposal):
                return self._not_this()
            if health or absence.may_try():
                try:
                    answer = self._open(self._lanes[0])
                except _RefusedError as refused:
                    return refused.answer
                except _AwayError:
                    pass
                except _NotThisError as rejected:
                    if self._not_accepted >= PROPOSALS:
                        if rejected.answer is not None:
                            return rejected.answer
                        self._gate.refuse(self._proposal)
                        return self._not_this()
                    self._back_off()
                    continue
                else:
                    self._gate.know(self._proposal, answer)
                    return answer
            if not absence.waits():
                return pdu.congestion("CTP is away").pdu()
            if health:
                return pdu.local_limit("CTP is away, and waited for").pdu()
            known = self._gate.known(self._proposal)
            if known is not None:
                self._settled = pdu.negotiated(known)
                return known
            self._wait()

    def _not_this(self) -> bytes:
        refusal = pdu.not_now("CTP does not accept what is proposed")
        self._gate.notices.warn(
            "Refused an association from %s: %s", self._association.peer, refusal.why
        )
        return refusal.pdu()

    def _open(self, lane: _Lane) -> bytes:
        """Raises ``_AwayError``, ``_NotThisError``, ``_RefusedError``, ``_EndError``."""
        absence = self._gate.absence
        try:
            answer = lane.open()
        except _AwayError:
            absence.missed()
            raise
        except _NotThisError:
            if self._association.ended:
                raise _EndError from None
            if not self._gate.ctp_answers(self._association.pipeline.port):
                absence.missed()
                raise _AwayError from None
            absence.reached()
            self._not_accepted += 1
            raise
        except _RefusedError:
            absence.reached()
            raise
        absence.reached()
        self._not_accepted = 0
        settled = pdu.negotiated(answer)
        if self._settled is None:
            self._settled = settled
        elif settled != self._settled:
            self._gate.forget(self._proposal)
            raise _EndError("CTP accepts other transfer syntaxes than it did")
        return answer

    def _back_off(self) -> None:
        """Wait the longer the more often CTP did not accept. Raises ``_EndError``."""
        until = time.monotonic() + RETRY_SECONDS * 2**self._not_accepted
        while time.monotonic() < until:
            self._wait()

    def _wait(self) -> None:
        """Wait a moment. Raises ``_EndError`` when there is nobody left to wait for."""
        sender = self._association.sender
        if self._association.ended or self._gate.draining:
            raise _EndError
        if sockets.readable(sender, 0):
            found = sender.recv(1, socket.MSG_PEEK)
            if not found or (not self._rest and found[0] == pdu.ABORT):
                raise _EndError
        self._association.stir()
        time.sleep(POLL_SECONDS)

    def _pass_message(self) -> bool:
        """Pass one message on, and its answer back. False when the sender has ended."""
        scanner = scan.MessageScanner()
        message = _Message(self._gate.spool)
        try:
            lane: _Lane | None = None
            while not scanner.ended:
                part = self._receive(scanner)
                if not part:
                    return False
                message.write(part)
                why = self._gate.may_not_keep(self._association, scanner, message)
                if why:
                    message.close()
                    if lane is not None:
                        lane.drop()
                    return self._refuse_rest(scanner, why)
                if scanner.command is None:
                    continue
                if lane is None:
                    if not message.kept:
                        raise _EndError("a command without end")
                    lane = self._choose(scanner.command)
                    self._open_now(lane)
                    lane.send(message.pieces())
                else:
                    lane.send([part])
            self._association.stir()
            if scanner.kind == pdu.RELEASE_RQ:
                self._association.answer(pdu.release_reply())
                for each in self._lanes:
                    each.release()
            if scanner.kind != pdu.P_DATA or lane is None:
                return False
            assert scanner.command is not None
            self._gate.budget.is_whole(self._association)
            if not _wants_answer(scanner.command):
                return True
            answer, response = self._answer(lane, message)
        finally:
            message.close()
            self._gate.budget.forget(self._association)
        stored = response.field == dimse.C_STORE_RSP
        if (stored and self._gate.before_answer()) or not self._association.answer(answer):
            raise _EndError
        if stored:
            self._gate.received(int(response.status == 0))
            if self._gate.draining:
                raise _EndError
        return True

    def _refuse_rest(self, scanner: scan.MessageScanner, why: str) -> bool:
        """Read the rest of an object that is not taken, and say so: no sender reads an answer
        before it has sent all. Raises ``_EndError`` for what is no object."""
        self._gate.budget.forget(self._association)
        command = scanner.command
        if command is None or command.field != dimse.C_STORE_RQ:
            raise _EndError("a message without end")
        while not scanner.ended:
            if not self._receive(scanner):
                return False
        self._gate.tell_not_taken(self._association.peer, scanner.data_bytes, command, why)
        if not self._association.answer(dimse.store_response(scanner.context, command, TOO_LARGE)):
            raise _EndError
        return True

    def _receive(self, scanner: scan.MessageScanner) -> memoryview:
        """The next bytes of the message; none when the sender closed."""
        sender = self._association.sender
        if not self._rest:
            idle = not scanner.begun and any(lane.up for lane in self._lanes)
            if idle and not sockets.readable(sender, LANE_IDLE_SECONDS):
                for lane in self._lanes:
                    lane.release()
            data = sender.recv(_CHUNK)
            sockets.acknowledge_quickly(sender)
            self._rest = memoryview(data)
            self._association.came(len(data))
        count = scanner.feed(self._rest)
        part, self._rest = self._rest[:count], self._rest[count:]
        return part

    def _choose(self, command: dimse.Command) -> _Lane:
        """Objects in turn to CTP's pipelines, but the same one always to the same."""
        if command.field != dimse.C_STORE_RQ or self._association.pipeline.parallel == 1:
            return self._lanes[0]
        if not self._dealt and self._lanes[0].up:
            self._dealt = True
            for _ in range(self._association.pipeline.parallel - 1):
                if not self._gate.take():
                    break
                self._lanes.append(_Lane(self._association, self._gate.ctp_host, self._request))
                self._open_now(self._lanes[-1])
        uid = hash(command.sop_instance_uid)
        lane = self._lane_of.pop(uid, None)
        if lane is None:
            lane = self._lanes[self._turn % len(self._lanes)]
            self._turn += 1
            if len(self._lane_of) >= MOST_REMEMBERED:
                del self._lane_of[next(iter(self._lane_of))]
        self._lane_of[uid] = lane
        return lane

    def _open_now(self, lane: _Lane) -> None:
        """Open it unless it is open, or CTP is away."""
        lane.drop_if_ended()
        if not lane.up and self._gate.absence.may_try():
            # The message waits, and learns what it is.
            with contextlib.suppress(_AwayError, _NotThisError, _RefusedError):
                self._open(lane)

    def _answer(self, lane: _Lane, message: _Message) -> tuple[bytes, dimse.Command]:
        """CTP's answer to the message, which is sent again as needed. Raises ``_EndError``."""
        for _ in range(ATTEMPTS):
            while not lane.up:
                if not message.kept:
                    raise _EndError("CTP broke off, and the object was not kept")
                if self._gate.absence.may_try():
                    try:
                        self._open(lane)
                    except _RefusedError:
                        raise _EndError("CTP refuses what it accepted before") from None
                    except _AwayError:
                        pass
                    except _NotThisError:
                        if self._not_accepted >= PROPOSALS:
                            raise _EndError("CTP refuses what it accepted before") from None
                        self._back_off()
                    else:
                        lane.send(message.pieces())
                        break
                if not self._gate.absence.waits():
                    raise _EndError("CTP is away for too long")
                self._wait()
            found = lane.answer() if lane.up else None
            if found is not None:
                return found
            if self._association.ended:
                raise _EndError
        raise _EndError(f"CTP broke off {ATTEMPTS} times over the same message")


class HoldingGate(Gate):
    """A gate on a published port, in front of CTP in another container."""

    most_associations = 64
    most_per_address = 32
    bounds = Bounds()

    def __init__(
        self,
        address: tuple[str, int],
        pipelines: Sequence[Pipeline],
        closed: Callable[[], str],
        before_answer: Callable[[], str],
        received: Callable[[int], None],
        ctp_host: str,
        hold_seconds: float,
        spool: Path,
        largest_object_bytes: int,
        minimum_free_bytes: int = 0,
        secure: Secure | None = None,
    ) -> None:
        """As ``Gate``. ``spool``: a directory for the message under way of each association.
        ``largest_object_bytes``: a larger data set is refused with status 0xA700; so is one for
        which too little is free above ``minimum_free_bytes``."""
        super().__init__(
            address, pipelines, closed, before_answer, received, published=True, secure=secure
        )
        self.ctp_host = ctp_host
        self.spool = spool
        self.absence = Absence(hold_seconds)
        self._largest = largest_object_bytes
        self._floor = minimum_free_bytes
        self.budget = Budget(self._free)
        self._known: dict[bytes, bytes] = {}
        self._refused: dict[bytes, float] = {}
        self._extra = 0

    @property
    def draining(self) -> bool:
        """Whether this program stops."""
        return self._draining

    def before_answer(self) -> str:
        """See ``Gate``."""
        return self._before_answer()

    def received(self, count: int) -> None:
        """See ``Gate``."""
        self._received(count)

    def linger(self, sender: socket.socket) -> None:
        """See ``Gate``."""
        self._linger(sender)

    def known(self, proposal: bytes) -> bytes | None:
        """What CTP answered to this A-ASSOCIATE-RQ the last time, if it accepted it."""
        with self._lock:
            return self._known.get(proposal)

    def know(self, proposal: bytes, answer: bytes) -> None:
        """Remember for ``known``."""
        with self._lock:
            self._known.pop(proposal, None)
            self._known[proposal] = answer
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]

    def forget(self, proposal: bytes) -> None:
        """It is no longer what CTP would answer."""
        with self._lock:
            self._known.pop(proposal, None)

    def refuse(self, proposal: bytes) -> None:
        """CTP, which is there, does not accept this: it is not asked for a while."""
        with self._lock:
            self._refused.pop(proposal, None)
            self._refused[proposal] = time.monotonic() + REFUSE_SECONDS
            if len(self._refused) > MOST_KNOWN:
                del self._refused[next(iter(self._refused))]

    def is_refused(self, proposal: bytes) -> bool:
        """Whether that was so a short while ago."""
        with self._lock:
            until = self._refused.get(proposal, 0.0)
            if until and until < time.monotonic():
                del self._refused[proposal]
                return False
            return bool(until)

    def ctp_answers(self, port: int) -> bool:
        """Whether CTP answers a C-ECHO of this program's own. A refusal for good is an answer."""
        problem = echo(self.ctp_host, port, "CTP", HEALTHCHECK_AET, ECHO_SECONDS)
        return not problem or f"A-ASSOCIATE-RJ {pdu.PERMANENT}/" in problem

    def _free(self) -> int:
        try:
            return free_bytes(self.spool) - self._floor
        except OSError:
            return 0

    def may_not_keep(
        self, association: Association, scanner: scan.MessageScanner, message: _Message
    ) -> str:
        """Why no more of a message is taken; empty while it is.

        The headers of fragments count where there are far more of them than any sender needs.
        """
        largest = self._largest + self._largest // 4 + _CHUNK
        if scanner.data_bytes > self._largest or message.size > largest:
            return f"auscat_largest_object_mib is {self._largest // MIB}"
        is_on_disk = message.kept and message.size > MEMORY_BYTES
        if is_on_disk and not self.budget.takes(association, message.size):
            return "the disk has no room for more objects under way"
        return ""

    def tell_not_taken(self, peer: str, size: int, command: dimse.Command, why: str) -> None:
        """Log that an object was refused: its size and SOP class."""
        LOG.warning(
            "Refused an object from %s with status 0x%04X: %d MiB, SOP class %s; %s",
            peer,
            TOO_LARGE,
            -(-size // MIB),
            dimse.uid(command.sop_class_uid) or "unknown",
            why,
        )

    def take(self) -> bool:
        """Whether one more association with CTP is to be had, beside the first of each sender."""
        with self._lock:
            if self._extra >= MOST_EXTRA_LANES:
                return False
            self._extra += 1
            return True

    def give_back(self, number: int) -> None:
        """End of what ``take`` gave."""
        with self._lock:
            self._extra -= number

    def _relay(self, association: Association, request: bytes, more: bytes) -> None:
        _Session(self, association, request, more).run()
