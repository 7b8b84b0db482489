"""The gate that lets senders wait, before a C-STORE SCP that is killed and started again."""

from __future__ import annotations

import hashlib
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ctp_gate_scp import Scp
from ctp_standin_doubles import wait_until
from ctp_supervisor.dicom import dimse, pdu, scan
from ctp_supervisor.dicom.echo import HEALTHCHECK_AET, echo
from ctp_supervisor.gate import holding
from ctp_supervisor.gate.gate import Pipeline
from ctp_supervisor.gate.holding import Absence, HoldingGate
from ports import free_port
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

SMALL, LARGE = 300_000, 3_000_000
"""Bytes of pixels: kept in memory, and in a file."""
LARGEST = 8 * 1024 * 1024
"""Bytes of a data set."""


class Bench:
    """A gate and the SCP behind it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.spool = directory / "spool"
        self.spool.mkdir()
        self.scp = Scp(directory, free_port())
        self.refused = ""
        self.received = 0
        self.port = 0
        self._gates: list[HoldingGate] = []

    def gate(
        self, hold: float = 30, parallel: int = 1, called: frozenset[str] = frozenset()
    ) -> HoldingGate:
        self.port = free_port()
        gate = HoldingGate(
            ("127.0.0.1", self.port),
            [Pipeline(self.scp.port, called, frozenset(), parallel)],
            closed=lambda: "",
            before_answer=lambda: self.refused,
            received=self._count,
            ctp_host="127.0.0.1",
            hold_seconds=hold,
            spool=self.spool,
            largest_object_bytes=LARGEST,
        )
        self._gates.append(gate)
        gate.start()
        return gate

    def start_later(self) -> None:
        time.sleep(1)  # CTP is away for a while
        self.scp.start()

    def _count(self, number: int) -> None:
        self.received += number

    def end(self) -> None:
        for gate in self._gates:
            gate.abort_all("the test ends")
            gate.stop()
        self.scp.kill()

    def associate(self, *syntaxes: str, acse_seconds: float = 20) -> Any:
        ae = AE("PACS")
        ae.acse_timeout = acse_seconds
        ae.dimse_timeout = ae.network_timeout = 30
        ae.add_requested_context(CTImageStorage, list(syntaxes) or [ExplicitVRLittleEndian])
        ae.add_requested_context(Verification)
        return ae.associate("127.0.0.1", self.port, ae_title="CTP")

    def objects(self) -> list[tuple[str, str]]:
        """UID and checksum of the pixels of what the SCP took, in turn."""
        return [(uid, pixels) for _, uid, pixels in self.scp.lines("object")]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.end()
    assert list(made.spool.iterdir()) == []


def image(size: int = SMALL, fill: int = 0) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.PatientID = "1"
    dataset.BitsAllocated = 16
    dataset.PixelData = bytes((fill + number) % 251 for number in range(1000)) * (size // 1000)
    dataset["PixelData"].VR = "OW"
    return dataset


def shown(dataset: Dataset) -> tuple[str, str]:
    pixels = hashlib.sha256(dataset.PixelData).hexdigest()
    return str(dataset.SOPInstanceUID), pixels


def store(sender: Any, dataset: Dataset) -> int | None:
    status = sender.send_c_store(dataset)
    # Or the library may take away the next answer (ctp_standin.export.settle).
    wait_until("its reactor goes on", lambda: not (sender.is_established and sender._is_paused))
    return int(status.Status) if "Status" in status else None


def later(what: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("size", "option", "number", "twice"),
    [
        (SMALL, "--die-unanswered", 2, True),  # taken, but the sender was not told
        (SMALL, "--die-in-pdu", 30, False),  # half of it had come
        (LARGE, "--die-unanswered", 2, True),
        (LARGE, "--die-in-pdu", 250, False),
    ],
)
def test_a_sender_does_not_notice_that_ctp_was_killed(
    bench: Bench, size: int, option: str, number: int, twice: bool
) -> None:
    bench.scp.start(option, str(number))
    bench.gate()
    sent = [image(size, fill) for fill in range(4)]
    sender = bench.associate()

    def restart() -> None:
        wait_until("it is killed", bench.scp.has_ended)
        bench.start_later()

    restarted = later(restart)
    for dataset in sent:
        assert store(sender, dataset) == 0
    restarted.join(20)
    sender.release()
    taken = bench.objects()
    assert taken == [shown(each) for each in (sent[:2] + sent[1:] if twice else sent)]
    assert bench.received == 4
    assert len(bench.scp.lines("association")) == 2


def test_senders_wait_for_a_ctp_that_is_not_there_yet(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bench.gate()
    later(bench.start_later)
    sender = bench.associate()
    assert sender.is_established
    assert store(sender, image()) == 0
    sender.release()
    assert "senders wait for it, 30 s at most" in caplog.text and "CTP is back" in caplog.text


def test_a_known_proposal_is_accepted_at_once(bench: Bench) -> None:
    bench.scp.start()
    bench.gate()
    bench.associate().release()
    bench.scp.kill()
    sender = bench.associate(acse_seconds=1)  # does not wait for CTP
    assert sender.is_established
    later(bench.start_later)
    dataset = image()
    assert store(sender, dataset) == 0
    assert bench.objects() == [shown(dataset)]
    sender.release()


def test_ctp_away_for_too_long(bench: Bench) -> None:
    bench.scp.start()
    gate = bench.gate(hold=1)
    sender = bench.associate()
    assert store(sender, image()) == 0
    bench.scp.kill()
    assert store(sender, image()) is None
    wait_until("the sender sees A-ABORT", lambda: sender.is_aborted)
    began = time.monotonic()
    refused = bench.associate()
    assert refused.is_rejected and time.monotonic() - began < 1
    answer = refused.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 1)
    assert bench.received == 1
    bench.scp.start()

    def taken() -> bool:
        again = bench.associate()
        again.release()
        return again.is_released

    wait_until("senders are taken again", taken, 10 * holding.RETRY_SECONDS)
    wait_until("all have ended", lambda: gate.associations() == 0)


def test_what_the_health_check_is_told(bench: Bench) -> None:
    def asked() -> str:
        return echo("127.0.0.1", bench.port, "GATE", HEALTHCHECK_AET, 5)

    bench.gate(hold=1)
    assert "A-ASSOCIATE-RJ 2/3/2" in asked()  # waits
    wait_until("it waits no more", lambda: "A-ASSOCIATE-RJ 2/3/1" in asked())
    bench.scp.start()
    assert asked() == ""


def test_no_other_transfer_syntax_behind_the_senders_back(bench: Bench) -> None:
    bench.scp.start()
    bench.gate()
    sender = bench.associate(ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    assert store(sender, image()) == 0
    bench.scp.kill()
    bench.scp.start("--implicit-only")
    assert store(sender, image()) is None
    wait_until("the sender sees A-ABORT", lambda: sender.is_aborted)
    assert len(bench.objects()) == 1
    again = bench.associate(ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    assert [str(each.transfer_syntax[0]) for each in again.accepted_contexts] == [
        ImplicitVRLittleEndian,
        ImplicitVRLittleEndian,
    ]
    again.release()


def test_an_object_that_ctp_never_takes(bench: Bench) -> None:
    bench.scp.start("--abort-objects")
    bench.gate()
    sender = bench.associate()
    assert store(sender, image()) is None
    wait_until("the sender sees A-ABORT", lambda: sender.is_aborted)
    assert len(bench.scp.lines("aborted")) == holding.ATTEMPTS and bench.received == 0


def test_a_refusal_of_ctp_is_passed_on(bench: Bench) -> None:
    bench.scp.start("--require", "OTHER")
    bench.gate()
    refused = bench.associate()
    assert refused.is_rejected
    assert (refused.acceptor.primitive.result, refused.acceptor.primitive.diagnostic) == (1, 7)


def test_a_sender_that_waits_no_longer_is_forgotten(bench: Bench) -> None:
    gate = bench.gate()
    assert not bench.associate(acse_seconds=0.5).is_established
    wait_until("the gate has seen it", lambda: gate.associations() == 0)
    bench.scp.start()
    assert bench.scp.lines("association") == []


def test_an_idle_sender_does_not_keep_ctp(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "LANE_IDLE_SECONDS", 0.3)
    released: list[bool] = []
    original = holding._Lane.release

    def release(lane: Any) -> None:
        released.append(lane.up)
        original(lane)

    monkeypatch.setattr(holding._Lane, "release", release)
    bench.scp.start()
    bench.gate()
    sender = bench.associate()
    assert store(sender, image()) == 0
    wait_until("CTP's side is released", lambda: released == [True])
    assert sender.is_established
    assert store(sender, image()) == 0
    assert len(bench.scp.lines("association")) == 2
    sender.release()


def test_objects_of_one_sender_are_dealt_out(bench: Bench) -> None:
    bench.scp.start()
    bench.gate(parallel=3)
    sent = [image(2000) for _ in range(9)]
    sender = bench.associate()
    for dataset in [*sent, *sent[:2]]:
        assert store(sender, dataset) == 0
    sender.release()
    taken = bench.scp.lines("object")
    assert [number for number, _, _ in taken[:9]] == ["1", "2", "3"] * 3
    # The same object again goes where it went: a later version must not overtake an earlier one.
    assert [number for number, _, _ in taken[9:]] == ["1", "2"]
    assert [uid for _, uid, _ in taken] == [str(each.SOPInstanceUID) for each in [*sent, *sent[:2]]]


def test_dealt_out_and_killed(bench: Bench) -> None:
    bench.scp.start("--die-unanswered", "4")
    gate = bench.gate(parallel=2)
    sent = [image(2000) for _ in range(8)]
    sender = bench.associate()
    later(lambda: (wait_until("it is killed", bench.scp.has_ended), bench.scp.start()))
    for dataset in sent:
        assert store(sender, dataset) == 0
    sender.release()
    assert {uid for uid, _ in bench.objects()} == {str(each.SOPInstanceUID) for each in sent}
    assert len(bench.objects()) == 9 and bench.received == 8
    wait_until("all lanes are given back", lambda: gate._extra == 0)


def test_no_success_for_what_is_not_on_disk(bench: Bench) -> None:
    bench.scp.start()
    bench.gate()
    sender = bench.associate()
    bench.refused = "no space"
    assert store(sender, image()) is None
    assert len(bench.objects()) == 1 and bench.received == 0


def test_at_the_end_each_sender_gets_its_next_answer(bench: Bench) -> None:
    bench.scp.start()
    gate = bench.gate()
    sender = bench.associate()
    drained = later(lambda: gate.drain(10))
    assert store(sender, image()) == 0
    drained.join(5)
    assert not drained.is_alive()


def test_messages_sent_without_waiting_are_answered_in_turn(bench: Bench) -> None:
    """As after a negotiated asynchronous operations window (PS3.7 D.3.3.3)."""
    bench.scp.start()
    bench.gate()

    def echo_request(number: int) -> bytes:
        uid = b"1.2.840.10008.1.1\0"
        command = struct.pack("<HHI", 0, 2, len(uid)) + uid
        for element, value in ((0x0100, 0x30), (0x0110, number), (0x0800, dimse.NO_DATA_SET)):
            command += struct.pack("<HHIH", 0, element, 2, value)
        command = struct.pack("<HHII", 0, 0, 4, len(command)) + command
        fragment = struct.pack(">IBB", len(command) + 2, 1, 3) + command
        return struct.pack(">BxI", pdu.P_DATA, len(fragment)) + fragment

    with socket.create_connection(("127.0.0.1", bench.port), timeout=10) as connection:
        reader = scan.PduReader(connection)
        # The messages come with the request already, as nobody may do, and in odd pieces.
        request = pdu.associate_request("CTP", "PACS", pdu.VERIFICATION)
        data = request + b"".join(map(echo_request, range(1, 6))) + pdu.release_request()
        for start in range(0, len(data), 97):
            connection.sendall(data[start : start + 97])
        answers = [reader.read() for _ in range(7)]
        assert [each and each[0] for each in answers] == [2, 4, 4, 4, 4, 4, 6]
        for number, answer in enumerate(answers[1:6], 1):
            assert answer and struct.pack("<HHIH", 0, 0x0120, 2, number) in answer


@pytest.mark.parametrize("piece", [1, 5, 7, 1000, 10**9])
@pytest.mark.parametrize("fragments", [[1000], [100, 0, 900], [1]])
def test_the_end_of_a_message_is_found(piece: int, fragments: list[int]) -> None:
    def pdv(control: int, value: bytes) -> bytes:
        return struct.pack(">IBB", len(value) + 2, 1, control) + value

    def p_data(*values: bytes) -> bytes:
        return struct.pack(">BxI", pdu.P_DATA, sum(map(len, values))) + b"".join(values)

    uid = b"1.2.3\0"
    command = struct.pack("<HHI", 0, 0x1000, len(uid)) + uid
    for element, value in ((0x0100, dimse.C_STORE_RQ), (0x0800, 1)):
        command += struct.pack("<HHIH", 0, element, 2, value)
    data = [pdv(0, bytes(size)) for size in fragments[:-1]] + [pdv(2, bytes(fragments[-1]))]
    message = p_data(pdv(1, command[:9])) + p_data(pdv(3, command[9:]), *data)
    stream = memoryview(message + p_data(pdv(1, command)))
    scanner = scan.MessageScanner()
    consumed = 0
    while not scanner.ended:
        count = scanner.feed(stream[consumed : consumed + piece])
        assert count
        consumed += count
    assert consumed == len(message)
    assert scanner.command == dimse.Command(dimse.C_STORE_RQ, 0xFFFF, True, uid)
    assert scanner.feed(stream[consumed:]) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        b"GET / HTTP/1.1\r\n",
        struct.pack(">BxI", pdu.ABORT, 10**9),
        struct.pack(">BxIIBB", pdu.P_DATA, 8, 100, 1, 3),  # longer than its PDU
        struct.pack(">BxIIBB", pdu.P_DATA, 6, 1, 1, 3),  # shorter than its own header
        struct.pack(">BxIIBBxx", pdu.P_DATA, 8, 4, 1, 2),  # a data set before any command
        struct.pack(">BxIIBB", pdu.P_DATA, 2**31, 2**30, 1, 1) + bytes(pdu.LARGEST_REQUEST + 1),
    ],
)
def test_what_is_no_message(wrong: bytes) -> None:
    with pytest.raises(pdu.ProtocolError):
        scan.MessageScanner().feed(memoryview(wrong))


def message(field: int, context: int) -> bytes:
    """A command without a data set, as one P-DATA-TF PDU."""
    command = b""
    for element, value in ((0x0100, field), (0x0120, 1), (0x0800, dimse.NO_DATA_SET)):
        command += struct.pack("<HHIH", 0, element, 2, value)
    command = struct.pack("<HHII", 0, 0, 4, len(command)) + command
    fragment = struct.pack(">IBB", len(command) + 2, context, 3) + command
    return struct.pack(">BxI", pdu.P_DATA, len(fragment)) + fragment


@pytest.mark.parametrize("field", [dimse.C_CANCEL_RQ, dimse.C_STORE_RSP])
def test_what_wants_no_answer_keeps_nobody_waiting(bench: Bench, field: int) -> None:
    bench.scp.start()
    bench.gate()
    sender = bench.associate()
    context = sender.accepted_contexts[0].context_id
    assert store(sender, image()) == 0
    sender.dul.socket.send(message(field, context))
    dataset = image()
    assert store(sender, dataset) == 0
    assert bench.objects()[-1] == shown(dataset)
    sender.release()
    assert sender.is_released


def test_one_looks_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(holding.time, "monotonic", lambda: now)
    absence = Absence(10)
    assert absence.may_try() and absence.may_try() and absence.waits()
    absence.missed()
    assert not absence.may_try() and absence.waits()
    now += holding.RETRY_SECONDS
    assert absence.may_try() and not absence.may_try()
    absence.missed()
    now += 10
    assert not absence.waits() and absence.may_try()
    now += holding.FORGET_SECONDS + 1
    assert absence.may_try() and absence.waits()  # nobody has looked for long: not known
    absence.missed()
    absence.reached()
    assert absence.may_try() and absence.may_try()
