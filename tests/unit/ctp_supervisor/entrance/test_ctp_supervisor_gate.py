"""The gate, the relay and the guard of the disk, against doubles of CTP and Orthanc."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ctp_supervisor.dicom import dimse, pdu, scan
from ctp_supervisor.dicom.echo import HEALTHCHECK_AET, echo
from ctp_supervisor.entrance.door import Door
from ctp_supervisor.gate.gate import Pipeline
from ctp_supervisor.machine import disk
from ctp_supervisor.machine.disk import GroupSync, SpaceGuard
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class CtpDouble:
    """A DICOM port that takes everything, as CTP does, and says who called."""

    def __init__(self) -> None:
        self.port = free_port()
        self.stored: list[str] = []
        self.called: list[str] = []
        ae = AE()
        ae.add_supported_context(Verification)
        ae.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
        server = ae.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_ACCEPTED, self._accepted)],
        )
        assert server is not None
        self.server = server

    def _store(self, event: evt.Event) -> int:
        self.stored.append(str(event.dataset.SOPInstanceUID))
        return 0

    def _accepted(self, event: evt.Event) -> None:
        self.called.append(str(event.assoc.requestor.info["ae_title"]))


class GateDouble:
    """The gate itself, with this test's answers to what it asks."""

    def __init__(self, *pipelines: Pipeline) -> None:
        self.closed = ""
        self.refused = ""
        self.asked = 0
        self.received = 0
        self.port = free_port()
        self.gate = Door(
            ("127.0.0.1", self.port),
            pipelines,
            lambda: self.closed,
            self._before_answer,
            self._count,
        )
        self.gate.start()

    def _before_answer(self) -> str:
        self.asked += 1
        return self.refused

    def _count(self, number: int) -> None:
        self.received += number


def pipeline(port: int, called: set[str] = set(), calling: set[str] = set()) -> Pipeline:  # noqa: B006
    return Pipeline(port, frozenset(called), frozenset(calling))


@pytest.fixture
def ctp() -> Iterator[CtpDouble]:
    double = CtpDouble()
    yield double
    double.server.shutdown()


def association(port: int, called: str = "CTP", calling: str = "PACS") -> tuple[AE, object]:
    ae = AE(calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 5
    ae.add_requested_context(Verification)
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    return ae, ae.associate("127.0.0.1", port, ae_title=called)


def image() -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.PatientID = "1"
    dataset.PixelData = bytes(300_000)
    dataset["PixelData"].VR = "OW"
    return dataset


def rejection(port: int, called: str, calling: str = "PACS") -> tuple[int, int, int]:
    """Result, source and reason of the A-ASSOCIATE-RJ, from the bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(pdu.associate_request(called, calling, CTImageStorage))
        answer = connection.recv(100)
    assert answer[:6] == b"\x03\0\0\0\0\x04"
    return answer[7], answer[8], answer[9]


def test_objects_pass_and_are_counted(ctp: CtpDouble) -> None:
    double = GateDouble(pipeline(ctp.port, {"CTP"}, {"PACS"}))
    _, sender = association(double.port)
    sent = [image() for _ in range(5)]
    for dataset in sent:
        assert sender.send_c_store(dataset).Status == 0  # type: ignore[attr-defined]
        # Or the library may take away the next answer (ctp_standin.export.settle).
        wait_until(lambda: not sender._is_paused, "its reactor goes on")  # type: ignore[attr-defined]
    sender.release()  # type: ignore[attr-defined]
    assert ctp.stored == [dataset.SOPInstanceUID for dataset in sent]
    assert ctp.called == ["PACS"]
    assert double.received == 5 and double.asked >= 5
    wait_until(lambda: double.gate.associations() == 0, "the association has ended")


@pytest.mark.parametrize(
    ("called", "calling", "expected"),
    [("OTHER", "PACS", (1, 1, 7)), ("CTP", "OTHER", (1, 1, 3)), ("ctp", "PACS", (1, 1, 7))],
)
def test_a_refusal_that_the_sender_sees(
    ctp: CtpDouble, called: str, calling: str, expected: tuple[int, int, int]
) -> None:
    double = GateDouble(pipeline(ctp.port, {"CTP"}, {"PACS"}))
    assert rejection(double.port, called, calling) == expected
    assert not ctp.called


def test_not_now(ctp: CtpDouble) -> None:
    double = GateDouble(pipeline(ctp.port))
    double.closed = "no space"
    assert rejection(double.port, "CTP") == (2, 3, 1)
    assert not ctp.called
    double.closed = ""
    assert echo("127.0.0.1", double.port, "CTP", "PACS", 5) == ""


def test_ctp_that_does_not_listen() -> None:
    double = GateDouble(pipeline(free_port()))
    assert rejection(double.port, "CTP") == (2, 3, 1)


def test_the_pipeline_with_the_fewest_associations() -> None:
    first, second, other = CtpDouble(), CtpDouble(), CtpDouble()
    double = GateDouble(
        pipeline(first.port, {"CTP"}),
        pipeline(second.port, {"CTP"}),
        pipeline(other.port, {"OTHER"}),
    )
    held = [association(double.port) for _ in range(6)]
    assert (len(first.called), len(second.called), len(other.called)) == (3, 3, 0)
    for _, sender in held:
        sender.release()  # type: ignore[attr-defined]
    for each in (first, second, other):
        each.server.shutdown()


def test_the_health_check_may_always_ask_and_never_store(ctp: CtpDouble) -> None:
    double = GateDouble(pipeline(ctp.port, {"CTP"}, {"PACS"}))
    assert echo("127.0.0.1", double.port, "ANY", HEALTHCHECK_AET, 5) == ""
    assert "A-ASSOCIATE-RJ 1/1/7" in echo("127.0.0.1", double.port, "ANY", "ELSE", 5)
    assert rejection(double.port, "ANY", HEALTHCHECK_AET) == (1, 1, 7)


def test_no_success_for_what_is_not_on_disk(ctp: CtpDouble) -> None:
    double = GateDouble(pipeline(ctp.port))
    _, sender = association(double.port)
    assert sender.send_c_store(image()).Status == 0  # type: ignore[attr-defined]
    wait_until(lambda: not sender._is_paused, "its reactor goes on")  # type: ignore[attr-defined]
    double.refused = "no space"
    status = sender.send_c_store(image())  # type: ignore[attr-defined]
    assert "Status" not in status
    # CTP has stored it and said Success; the sender does not know and sends it again.
    assert len(ctp.stored) == 2 and double.received == 1
    wait_until(lambda: sender.is_aborted, "the sender sees A-ABORT")  # type: ignore[attr-defined]


def test_all_associations_are_aborted(ctp: CtpDouble) -> None:
    double = GateDouble(pipeline(ctp.port))
    held = [association(double.port)[1] for _ in range(3)]
    double.gate.abort_all("test")
    for sender in held:
        wait_until(lambda s=sender: s.is_aborted, "A-ABORT")  # type: ignore[misc]
    wait_until(lambda: double.gate.associations() == 0, "all have ended")


def test_at_the_end_each_sender_gets_its_next_answer(ctp: CtpDouble) -> None:
    double = GateDouble(pipeline(ctp.port))
    _, sender = association(double.port)
    drained = threading.Thread(target=double.gate.drain, args=(5,))
    drained.start()
    time.sleep(0.2)
    assert rejection(double.port, "CTP") == (2, 3, 1)
    assert sender.send_c_store(image()).Status == 0  # type: ignore[attr-defined]
    drained.join(4)
    assert not drained.is_alive()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\x01\0\0\0\0\x02\0\0", b""])
def test_other_protocols(ctp: CtpDouble, sent: bytes) -> None:
    double = GateDouble(pipeline(ctp.port))
    with socket.create_connection(("127.0.0.1", double.port), timeout=5) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert not ctp.called


def test_a_response_in_pieces() -> None:
    command = struct.pack("<HHIH", 0, 0x0100, 2, dimse.C_STORE_RSP)
    command += struct.pack("<HHIH", 0, 0x0900, 2, 0xA700)
    scanner = scan.ResponseScanner()
    found = []
    for number, piece in enumerate((command[:7], command[7:])):
        fragment = struct.pack(">IBB", len(piece) + 2, 1, 1 if number == 0 else 3) + piece
        found += scanner.feed(struct.pack(">BxI", pdu.P_DATA, len(fragment)) + fragment)
    assert found == [(dimse.C_STORE_RSP, 0xA700)]


def test_one_sync_serves_all_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = GroupSync(tmp_path)
    monkeypatch.setattr(sync, "_sync", lambda: time.sleep(0.1))
    threads = [threading.Thread(target=sync.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)
    # The first goes alone; those who came meanwhile go together.
    assert 2 <= sync.calls <= 4


def test_a_sync_that_began_before_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = GroupSync(tmp_path)
    began, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        assert go_on.wait(5)

    monkeypatch.setattr(sync, "_sync", slow)
    first = threading.Thread(target=sync.wait)
    first.start()
    assert began.wait(5)
    second = threading.Thread(target=sync.wait)
    second.start()
    go_on.set()
    first.join(5)
    second.join(5)
    assert sync.calls == 2


def test_a_failed_sync_is_never_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = GroupSync(tmp_path)
    sync.wait()

    def fail() -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(sync, "_sync", fail)
    with pytest.raises(OSError, match="Input/output"):
        sync.wait()
    monkeypatch.setattr(sync, "_sync", lambda: None)
    with pytest.raises(OSError, match="Input/output"):
        sync.wait()


def test_levels_of_the_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 1000
    monkeypatch.setattr(disk, "free_bytes", lambda _: free)
    changes: list[tuple[str, str]] = []
    guard = SpaceGuard(tmp_path, 800, lambda old, new: changes.append((old, new)))
    for free, level in (
        (800, disk.OPEN),
        (799, disk.LOW),
        (400, disk.LOW),
        (399, disk.CRITICAL),
        (499, disk.CRITICAL),
        (500, disk.LOW),
        (800, disk.OPEN),
        (0, disk.CRITICAL),
        (800, disk.OPEN),
    ):
        assert guard.check() == level, free
    assert changes == [
        ("open", "low"),
        ("low", "critical"),
        ("critical", "low"),
        ("low", "open"),
        ("open", "critical"),
        ("critical", "open"),
    ]
