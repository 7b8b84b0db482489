"""What one sender does wrong, and that the others do not notice.

``Scp`` is a double in CTP's place (``ctp_gate_scp``), no CTP. The rude come from 127.0.0.2 and on.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ctp_gate_scp import Scp
from ctp_standin_doubles import wait_until
from ctp_supervisor.dicom import sockets
from ctp_supervisor.dicom.echo import HEALTHCHECK_AET, echo
from ctp_supervisor.entrance.door import Door
from ctp_supervisor.gate import gate as gate_module
from ctp_supervisor.gate import holding, lobby
from ctp_supervisor.gate.gate import Association, Gate, Pipeline
from ctp_supervisor.gate.holding import MIB, Budget, HoldingGate
from ports import free_port
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from shared.rude import HALF, Rude, echo_request, p_data, request, stuck
from test_holding_gate import LARGE, LARGEST, image, later, shown, store
from test_standalone_gate import GateProcess

MEMORY_MIB = 256
"""Limit of the gate's container (``roles/ctp/vars/main.yml``)."""


class Doors:
    """A gate of either kind before a double of CTP."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.scp = Scp(directory, free_port())
        self.port = free_port()
        self.received = 0
        pipelines = [Pipeline(self.scp.port, frozenset(), frozenset())]
        address = ("127.0.0.1", self.port)
        self.gate: Gate
        if kind == "holding":
            self.gate = HoldingGate(
                address, pipelines, lambda: "", lambda: "", self._count,
                "127.0.0.1", 30, directory, LARGEST,
            )  # fmt: skip
        else:
            self.gate = Door(address, pipelines, lambda: "", lambda: "", self._count)

    def _count(self, number: int) -> None:
        self.received += number

    def start(self, *options: str) -> Doors:
        self.scp.start(*options)
        self.gate.start()
        return self

    def associate(self, calling: str = "PACS") -> Any:
        ae = AE(calling)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        return ae.associate("127.0.0.1", self.port, ae_title="CTP")

    def passes(self) -> None:
        """One object of another sender comes through."""
        dataset = image(2000)
        sender = self.associate()
        assert sender.is_established
        assert store(sender, dataset) == 0
        sender.release()
        assert shown(dataset) in [(uid, pixels) for _, uid, pixels in self.scp.lines("object")]


@pytest.fixture(params=["holding", "supervisor"])
def doors(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Doors]:
    made = Doors(tmp_path, request.param)
    yield made
    made.gate.abort_all("the test ends")
    made.gate.stop()
    made.scp.kill()


@pytest.fixture
def holding_doors(tmp_path: Path) -> Iterator[Doors]:
    made = Doors(tmp_path, "holding")
    yield made
    made.gate.abort_all("the test ends")
    made.gate.stop()
    made.scp.kill()


@pytest.mark.parametrize(
    ("called", "calling", "expected"),
    [
        (b"CTP", b"", (1, 1, 3)),
        (b"CTP", b" " * 16, (1, 1, 3)),
        (b"CTP", b"\0" * 16, (1, 1, 3)),
        (b"CTP", b"\0PACS", (1, 1, 3)),
        (b"CTP", "RÖNTGEN".encode("latin-1"), (1, 1, 3)),
        (b"CTP", "RÖNTGEN".encode(), (1, 1, 3)),
        (b"CTP", b"A\\B", (1, 1, 3)),
        (b"CTP", b"A\rB", (1, 1, 3)),
        (b"", b"PACS", (1, 1, 7)),
        (b"\xff" * 16, b"PACS", (1, 1, 7)),
        (b"", b"", (1, 1, 7)),
    ],
)
def test_an_ae_title_that_is_none(
    doors: Doors, called: bytes, calling: bytes, expected: tuple[int, int, int]
) -> None:
    doors.start()
    with Rude(doors.port) as rude:
        assert rude.send(request(called, calling)).rejection() == expected
    assert doors.scp.lines("association") == [] and doors.scp.lines("asked") == []


@pytest.mark.parametrize("padding", [b"\0", b" ", b"\0 ", b"\0old"])
def test_an_ae_title_is_read_without_its_padding(doors: Doors, padding: bytes) -> None:
    doors.start()
    with Rude(doors.port) as rude:
        titles = [title + padding for title in (b"CTP", b"WORKSTATION")]
        assert rude.send(request(*titles, fill=padding[:1])).answer()[:1] == b"\x02"
        wait_until("CTP knows it by its name", lambda: bool(doors.scp.lines("association")))
    assert doors.scp.lines("association") == [["1", "WORKSTATION"]]


def test_a_proposal_that_gets_no_answer_is_no_absence_of_ctp(
    holding_doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    doors = holding_doors.start("--close-on", "ODD")
    with Rude(doors.port) as rude:
        rude.send(request(calling=b"ODD"))
        wait_until("CTP closes it", lambda: len(doors.scp.lines("closed")) > 0)
        for _ in range(5):
            doors.passes()
            assert not rude.has_ended(), "the others pass before this one is through"
        rude.socket.settimeout(30)
        assert rude.rejection() == (2, 1, 1)
    tries = len(doors.scp.lines("closed"))
    with Rude(doors.port) as rude:
        assert rude.send(request(calling=b"ODD")).rejection() == (2, 1, 1)
    assert len(doors.scp.lines("closed")) == tries, "it is not proposed again at once"
    doors.passes()
    assert "CTP is away" not in caplog.text
    assert "127.0.0.2: CTP does not accept what is proposed" in caplog.text
    assert "ODD" not in caplog.text


@pytest.mark.parametrize("addresses", [1, 40])
def test_half_requests(tmp_path: Path, addresses: int) -> None:
    """800 connections with 240 kB each, of one sender and of many."""
    scp = Scp(tmp_path, free_port())
    scp.start()
    gate = GateProcess(tmp_path, scp.port, hold_seconds=30)
    gate.start()
    assert gate.process is not None
    rude: list[Rude] = []
    try:
        for number in range(800):
            rude.append(Rude(gate.port, f"127.0.0.{2 + number % addresses}"))
            try:
                rude[-1].send(HALF + bytes(240_000))
            except ConnectionError:
                continue  # cut off while it sends
            if number % 200 == 199:
                assert gate.run("healthcheck").returncode == 0
                sender = AE("PACS")
                sender.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
                association = sender.associate("127.0.0.1", gate.port, ae_title="CTP")
                assert association.is_established
                assert store(association, image(LARGE)) == 0
                association.release()
        held = sum(not each.has_ended() for each in rude)
        status = Path(f"/proc/{gate.process.pid}/status").read_text()
        (peak,) = (int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
        assert held <= lobby.Bounds().connections
        assert peak < MEMORY_MIB * 1024 / 2, f"{peak} kB"
        assert len(scp.lines("object")) == 4
    finally:
        for each in rude:
            each.socket.close()
        gate.end()
        scp.kill()


def test_a_request_that_does_not_end_has_a_deadline(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lobby, "REQUEST_SECONDS", 1.0)
    doors.start()
    with Rude(doors.port) as rude:
        rude.send(HALF)
        # Each byte would start a deadline per read anew.
        for _ in range(100):
            if rude.has_ended():
                break
            rude.socket.setblocking(True)
            try:
                rude.send(b"\0")
            except OSError:
                break
            threading.Event().wait(0.1)
        else:
            pytest.fail("it can go on as long as it likes")
    assert "127.0.0.2: no whole A-ASSOCIATE-RQ in time" in caplog.text


def test_a_sender_that_does_not_read_is_cut_off(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gate_module, "ANSWER_SECONDS", 3.0)
    doors.start()
    with stuck(doors.port):
        wait_until("it is cut off", lambda: doors.gate.associations() == 0)
    assert "127.0.0.2: it does not read" in caplog.text
    doors.passes()


@pytest.mark.parametrize("ends", ["abort_all", "drain"])
def test_a_sender_that_does_not_read_holds_nobody_up(doors: Doors, ends: str) -> None:
    doors.start()
    with stuck(doors.port):
        doors.passes()
        wait_until("only the stuck one is there", lambda: doors.gate.associations() == 1)
        ended = later(
            lambda: doors.gate.abort_all("test") if ends == "abort_all" else doors.gate.drain(1)
        )
        ended.join(gate_module.ANSWER_SECONDS / 2)
        assert not ended.is_alive()
        wait_until("it has ended", lambda: doors.gate.associations() == 0)


def test_a_trickle_does_not_keep_an_association(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gate_module, "IDLE_SECONDS", 2.0)
    doors.start()
    with Rude(doors.port) as rude:
        assert rude.send(request()).answer()[:1] == b"\x02"
        rude.send(echo_request()[:20])
        for _ in range(200):
            if rude.has_ended():
                break
            rude.socket.setblocking(True)
            try:
                rude.send(b"\0")
            except OSError:
                break
            threading.Event().wait(0.1)
        else:
            pytest.fail("it can go on as long as it likes")
    assert "Aborted an association of 127.0.0.2" in caplog.text


def test_slow_is_no_trickle() -> None:
    """64 KiB in ten minutes are enough, and so is one whole message."""
    association = gate_module.Association(
        socket.socket(), Pipeline(1, frozenset(), frozenset()), False
    )
    association.moved = 0.0
    for _ in range(63):
        association.came(1024)
    assert association.moved == 0
    association.came(1024)
    assert association.moved > 0
    association.close()


def test_a_thread_that_cannot_be_started(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    doors.start()
    start = threading.Thread.start

    def fails(thread: threading.Thread) -> None:
        if thread.name in ("sender", "answers"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fails)
        with Rude(doors.port) as rude:
            assert rude.send(request()).rejection() == (2, 3, 2)
    assert doors.gate.associations() == 0
    doors.passes()


def test_one_address_has_a_share_of_the_associations(holding_doors: Doors) -> None:
    doors = holding_doors.start()
    held = []
    try:
        for _ in range(HoldingGate.most_per_address):
            held.append(Rude(doors.port).send(request()))
            assert held[-1].answer()[:1] == b"\x02"
        with Rude(doors.port) as rude:
            assert rude.send(request()).rejection() == (2, 3, 2)
        with Rude(doors.port, "127.0.0.3") as other:
            assert other.send(request()).answer()[:1] == b"\x02"
        assert echo("127.0.0.1", doors.port, "ANY", HEALTHCHECK_AET, 5) == ""
    finally:
        for each in held:
            each.socket.close()


def test_an_object_that_is_too_large(
    holding_doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    doors = holding_doors.start()
    sender = doors.associate()
    sent = [image(2000), image(LARGEST + 1000), image(2000)]
    assert [store(sender, each) for each in sent] == [0, 0xA700, 0]
    sender.release()
    taken = [(uid, pixels) for _, uid, pixels in doors.scp.lines("object")]
    assert taken == [shown(sent[0]), shown(sent[2])]
    assert doors.received == 2
    assert f"9 MiB, SOP class {CTImageStorage}; auscat_largest_object_mib is 8" in caplog.text
    assert str(sent[1].SOPInstanceUID) not in caplog.text


def _store_request() -> bytes:
    uid = b"1.2.840.10008.5.1.4.1.1.2\0"
    command = struct.pack("<HHI", 0, 2, len(uid)) + uid
    for element, value in ((0x0100, 1), (0x0110, 1), (0x0800, 0)):
        command += struct.pack("<HHIH", 0, element, 2, value)
    return command


NOTHING = p_data(b"", 0) * 10_000
"""Fragments without content: 120 kB of no data set."""


def test_a_data_set_of_nothing(holding_doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding_doors.gate, "_largest", 64 * 1024)
    doors = holding_doors.start()
    with Rude(doors.port) as rude:
        assert rude.send(request(abstract=b"1.2.840.10008.5.1.4.1.1.2")).answer()[:1] == b"\x02"
        rude.send(p_data(_store_request()))
        for _ in range(10):
            rude.send(NOTHING)
        answer = rude.send(p_data(b"", 2)).answer()
    assert struct.pack("<HHIH", 0, 0x0900, 2, 0xA700) in answer
    doors.passes()


class DiskDouble:
    """A disk of which objects under way take twice what the gate holds: it, and CTP."""

    def __init__(self, size: int, gate: HoldingGate) -> None:
        self.size = self.lowest = size
        self._held = gate.budget._held

    def free(self) -> int:
        found = self.size - 2 * sum(self._held.values())
        self.lowest = min(self.lowest, found)
        return found


def test_unfinished_objects_of_one_address_leave_room_for_the_others(
    holding_doors: Doors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = holding_doors.gate
    assert isinstance(gate, HoldingGate)
    disk = DiskDouble(30 * MIB, gate)
    monkeypatch.setattr(gate.budget, "_free", disk.free)
    doors = holding_doors.start()
    ct = b"1.2.840.10008.5.1.4.1.1.2"
    rude = [Rude(doors.port).send(request(abstract=ct)) for _ in range(8)]
    try:
        for each in rude:
            assert each.answer()[:1] == b"\x02"
            each.send(p_data(_store_request()))
        for _ in range(4):
            for each in rude:
                each.send(p_data(bytes(MIB), 0))
        wait_until("somebody is refused what would be too much", lambda: disk.lowest < disk.size)
        dataset = image(LARGE)
        sender = doors.associate()
        assert store(sender, dataset) == 0
        sender.release()
        assert shown(dataset) in [(uid, pixels) for _, uid, pixels in doors.scp.lines("object")]
        for each in rude:
            each.send(p_data(b"", 2))
        # What has room goes to CTP's double, which makes nothing of it.
        wait_until(
            "all have all of theirs",
            lambda: caplog.text.count("status 0xA700") + len(gate.budget._held) == len(rude),
        )
        refused = [each for each in rude if sockets.readable(each.socket, 1)]
        assert 4 <= len(refused) < 8, "of 32 MiB some have room, and not all"
        for each in refused:
            assert struct.pack("<HHIH", 0, 0x0900, 2, 0xA700) in each.answer()
        # Nobody came near the floor, at which all would be turned away.
        assert disk.lowest > disk.size // 4
        assert "0xA700" in caplog.text and "no room for more objects under way" in caplog.text
    finally:
        for each in rude:
            each.socket.close()
    gate.abort_all("the double answers none")
    wait_until("nothing of them is held", lambda: not gate.budget.held())


@pytest.mark.parametrize(
    ("held", "free", "taken"),
    [
        # One object has as much as stays free, whoever sends it.
        ([("a", 200)], 200, True),
        ([("a", 200)], 199, False),
        # Several of one address have half of it.
        ([("a", 50), ("a", 50)], 200, True),
        ([("a", 50), ("a", 51)], 200, False),
        # What others have there counts against all.
        ([("b", 60), ("a", 150)], 210, True),
        ([("b", 60), ("a", 151)], 210, False),
        ([("b", 60), ("b", 60), ("a", 100)], 240, True),
        ([("a", 1)], -5, False),
    ],
)
def test_who_has_room_on_the_disk(held: list[tuple[str, int]], free: int, taken: bool) -> None:
    budget = Budget(lambda: free)
    pipeline = Pipeline(1, frozenset(), frozenset())
    found = False
    for peer, size in held:
        with socket.socket() as sender:
            found = budget.takes(Association(sender, pipeline, False, peer), size)
    assert found is taken
    assert budget.held() == sum(size for _, size in held)


def test_one_that_stops_in_the_middle_takes_no_room_from_others(
    holding_doors: Doors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = holding_doors.gate
    assert isinstance(gate, HoldingGate)
    monkeypatch.setattr(gate.budget, "_free", DiskDouble(20 * MIB, gate).free)
    doors = holding_doors.start()
    ct = b"1.2.840.10008.5.1.4.1.1.2"
    with Rude(doors.port) as rude:
        assert rude.send(request(abstract=ct)).answer()[:1] == b"\x02"
        rude.send(p_data(_store_request()))
        for _ in range(6):
            rude.send(p_data(bytes(MIB), 0))
        wait_until("it has its room", lambda: gate.budget.held() >= 6 * MIB)
        sender, dataset = doors.associate(), image(LARGE)
        assert store(sender, dataset) == 0xA700, "it may be slow only"
        monkeypatch.setattr(holding, "STALLED_SECONDS", 0.0)
        assert store(sender, dataset) == 0
        sender.release()
        assert shown(dataset) in [(uid, pixels) for _, uid, pixels in doors.scp.lines("object")]
        wait_until("it is cut off", lambda: sockets.readable(rude.socket, 0))
    assert "stopped in the middle of an object" in caplog.text
    wait_until("nothing of it is held", lambda: not gate.budget.held())


def test_who_loses_room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stopped first, as few as are needed, and nobody who waits for CTP, or in vain."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    free = 300 * MIB
    budget: Budget = Budget(lambda: free - sum(budget._held.values()))
    pipeline = Pipeline(1, frozenset(), frozenset())
    there = {}
    for name in ("waits", "first", "second", "slow", "new"):
        there[name] = Association(socket.socket(), pipeline, False, name)
    try:
        for name in ("waits", "first", "second", "slow"):
            assert budget.takes(there[name], 30 * MIB)
            now += 1
        budget.is_whole(there["waits"])
        now += 100
        assert budget.takes(there["slow"], 31 * MIB)  # and it goes on
        assert not budget.takes(there["new"], 300 * MIB)
        assert not any(each.ended for each in there.values())
        budget.forget(there["new"])
        free = 243 * MIB
        assert budget.takes(there["new"], 20 * MIB)
        assert [name for name, each in there.items() if each.ended] == ["first"]
        assert budget.held() == (30 + 30 + 31 + 20) * MIB
        for each in there.values():
            budget.forget(each)
        assert not budget.held() and not budget._moved
    finally:
        for each in there.values():
            each.sender.close()


def test_a_full_disk_keeps_nothing_of_what_cannot_be_kept(
    holding_doors: Doors,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is there of it would keep the disk full; CTP gets it all the same."""
    doors = holding_doors.start()
    write = tempfile.SpooledTemporaryFile.write

    def full(file: Any, data: bytes) -> int:
        if file.tell() > MIB:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(write(file, data))

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", full)
    dataset = image(LARGE)
    sender = doors.associate()
    assert store(sender, dataset) == 0
    assert shown(dataset) in [(uid, pixels) for _, uid, pixels in doors.scp.lines("object")]
    assert "cannot be kept to be sent again" in caplog.text
    sender.release()
    message = holding._Message(tmp_path)
    for _ in range(2):
        message.write(memoryview(bytes(2 * MIB)))
    assert not message.kept and message._file.closed


def test_a_command_of_nothing(holding_doors: Doors) -> None:
    doors = holding_doors.start()
    with Rude(doors.port) as rude:
        assert rude.send(request()).answer()[:1] == b"\x02"
        with pytest.raises(OSError):
            for _ in range(3 * LARGEST // len(NOTHING)):
                rude.send(p_data(b"", 1) * 10_000)
    wait_until("it has ended", lambda: doors.gate.associations() == 0)
    doors.passes()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfcSECRET", "it speaks TLS"),
        (b"GET /SECRET HTTP/1.1\r\n\r\n", "it speaks HTTP"),
        (b"POST /SECRET HTTP/1.1\r\n\r\n", "it speaks HTTP"),
        (b"SSH-2.0-SECRET\r\n", "it does not speak DICOM"),
        (b"\x04\0\0\0\0\x01\0", "it does not speak DICOM"),
        (b"\x01\0\x7f\xff\xff\xff", "too long an A-ASSOCIATE-RQ"),
        (b"\x01\0\0\0\0\x02\0\0", "no A-ASSOCIATE-RQ"),
    ],
)
def test_other_protocols_are_named(
    doors: Doors, caplog: pytest.LogCaptureFixture, sent: bytes, said: str
) -> None:
    doors.start()
    for _ in range(3):
        with Rude(doors.port) as rude:
            assert rude.send(sent).answer() == b""
    assert caplog.text.count(f"127.0.0.2: {said}") == 1, "said once, not for each"
    assert "SECRET" not in caplog.text and "SCP" not in caplog.text


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
