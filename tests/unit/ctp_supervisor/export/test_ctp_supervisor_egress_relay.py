"""The export relay with a sender in CTP's place and a receiver in Orthanc's."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ctp_supervisor.dicom import dimse, pdu, scan
from ctp_supervisor.export.lanes import Lanes
from ctp_supervisor.export.outgoing import Outgoing
from ctp_supervisor.export.refusals import Refusals
from ctp_supervisor.export.relay import ExportRelay
from ctp_supervisor.export.suspects import Suspects
from ctp_supervisor.held_back.quarantine import Quarantines
from ctp_supervisor.lookup.keydb import Patients
from ctp_supervisor.settings import STAGE_KINDS, Export, Pipeline, Stage
from one_way.forwarder import Forwarder
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

PREFIXES = ("ANON-",)
SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    ExplicitVRBigEndian,
)
REFUSED = 0xC001


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(what: str, condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain: {what}")


def image(number: int, size: int = 200_000) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"2.25.{number}"
    dataset.PatientName = dataset.PatientID = "ANON-1"
    dataset.PatientIdentityRemoved = "YES"
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 1, 2, 16
    dataset.PixelRepresentation = 0
    dataset.add_new(0x7FE00010, "OW", os.urandom(size))
    return dataset


def encoded(dataset: Dataset, syntax: Any) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian = syntax != ExplicitVRBigEndian
    stream.is_implicit_VR = syntax == ImplicitVRLittleEndian
    if syntax == JPEG2000Lossless:
        dataset.add_new(0x7FE00010, "OB", encapsulate([bytes(dataset.PixelData)]))
        dataset["PixelData"].is_undefined_length = True
    write_dataset(stream, dataset)
    return stream.getvalue()


def hostile(number: int, syntax: Any) -> bytes:
    """A name behind the pixel data."""
    late = b"MARK^LATE "
    if syntax == ImplicitVRLittleEndian:
        head = struct.pack("<HHI", 0x10, 0x10, len(late))
    else:
        head = struct.pack("<HH2sH", 0x10, 0x10, b"PN", len(late))
    return encoded(image(number), syntax) + head + late


class Orthanc:
    """A C-STORE SCP that keeps the bytes that came."""

    def __init__(self, maximum_pdu: int, tls: ssl.SSLContext | None = None) -> None:
        self.port: int = free_port()
        self.objects: dict[str, bytes] = {}
        self.ended: list[str] = []
        self.status = 0
        ae = AE(ae_title="ORTHANC")
        ae.maximum_pdu_size = maximum_pdu
        ae.add_supported_context(CTImageStorage, list(SYNTAXES))
        ae.add_supported_context(Verification)
        self.server: Any = ae.start_server(
            ("127.0.0.1", self.port),
            block=False,
            ssl_context=tls,
            evt_handlers=[
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_ABORTED, lambda _event: self.ended.append("aborted")),
                (evt.EVT_RELEASED, lambda _event: self.ended.append("released")),
            ],
        )

    def _store(self, event: Any) -> int:
        if not self.status:
            self.objects[str(event.request.AffectedSOPInstanceUID)] = (
                event.request.DataSet.getvalue()
            )
        return self.status


class OneAtATime(Orthanc):
    """In front of it a port that serves a connection to its end before the next one."""

    def __init__(self) -> None:
        super().__init__(0)
        self.behind, self.port = self.port, free_port()
        listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", self.behind)) as server:
                back = threading.Thread(target=forward, args=(server, client), daemon=True)
                back.start()
                forward(client, server)  # to the client's end


def forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


class Node:
    """The relay between the two, and CTP's quarantines."""

    def __init__(
        self,
        directory: Path,
        maximum_pdu: int,
        orthanc: Orthanc | None = None,
        greeting_port: int = 0,
        tls: ssl.SSLContext | None = None,
        tls_names: tuple[str, ...] = (),
    ) -> None:
        self.orthanc = orthanc or Orthanc(maximum_pdu)
        self.port = free_port()
        self.directory = directory
        stages = []
        for index, kind in enumerate(STAGE_KINDS):
            stage = Stage(index, kind, directory / "roots" / kind, directory / "quarantines" / kind)
            stage.quarantine.mkdir(parents=True)
            stages.append(stage)
        self.pipeline = Pipeline(
            "p",
            0,
            free_port(),
            frozenset(),
            frozenset(),
            "a",
            "f",
            Export(self.port, "127.0.0.1", self.orthanc.port, greeting_port, tls_names),
            tuple(stages),
        )
        self.refusals = Refusals(directory)
        self.forwarded = 0
        self.suspects = Suspects(directory)
        self.relay = ExportRelay(
            self.pipeline,
            lambda: True,
            self._count,
            PREFIXES,
            self.refusals,
            self.suspects,
            Lanes(),
            tls=tls,
        )
        self.relay.start()
        wait_until("it tries", lambda: self.relay.reachable is not None)
        if self.relay.reachable:
            wait_until("the relay listens", lambda: self.relay._listener)

    def _count(self, count: int) -> None:
        self.forwarded += count

    def associate(self, syntax: Any = ExplicitVRLittleEndian) -> Any:
        ae = AE(ae_title="CTP")
        ae.add_requested_context(CTImageStorage, syntax)
        ae.add_requested_context(Verification)
        association = ae.associate("127.0.0.1", self.port, ae_title="ORTHANC")
        assert association.is_established
        return association


def send(association: Any, uid: str, data: bytes) -> int | None:
    """C-STORE of these very bytes; the status, ``None`` when none came."""
    request = C_STORE()
    request.MessageID = 7
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CTImageStorage, uid
    request.Priority = 2
    request.DataSet = io.BytesIO(data)
    context = next(
        each for each in association.accepted_contexts if each.abstract_syntax == CTImageStorage
    )
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.001)
    association.dimse.send_msg(request, context.context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    if answer is None:
        return None
    assert (answer.MessageIDBeingRespondedTo, answer.AffectedSOPInstanceUID) == (7, uid)
    return int(answer.Status)


@pytest.fixture(params=[0, 16382, 1000])
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    found = Node(tmp_path, request.param)
    yield found
    found.relay.stop()
    found.orthanc.server.shutdown()


def test_through_the_forwarder_it_is_as_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes arrives; and Orthanc's absence is known before CTP is let in."""
    monkeypatch.setattr("ctp_supervisor.export.relay.CONNECT_SECONDS", 3600)
    orthanc = OneAtATime()
    way = Forwarder(free_port(), "127.0.0.1", orthanc.port, free_port(), bind="127.0.0.1")
    threading.Thread(target=way.run, daemon=True).start()
    wait_until("the forwarder listens", lambda: len(way._listeners) == 2)
    node = Node(tmp_path, 0, orthanc, way.greeting)
    try:
        sent = {f"2.25.{n}": encoded(image(n), ExplicitVRLittleEndian) for n in range(4)}
        for uid, data in sent.items():
            association = node.associate()
            assert send(association, uid, data) == 0
            association.release()
            assert association.is_released
        assert orthanc.objects == sent
        # The forwarder still takes a connection, and reaches nobody.
        way.target = free_port()
        assert node.relay._connect() is None
        assert node.relay.reachable is False
        assert not node.suspects.all_held()
    finally:
        way.stop()
        node.relay.stop()


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_what_is_sound_arrives_as_it_was(node: Node, syntax: Any) -> None:
    association = node.associate(syntax)
    sent = {f"2.25.{n}": encoded(image(n, 200_000 + 2 * n), syntax) for n in range(5)}
    for uid, data in sent.items():
        assert send(association, uid, data) == 0
    assert association.send_c_echo().Status == 0
    association.release()
    assert association.is_released
    assert node.orthanc.objects == sent
    wait_until("all are counted", lambda: node.forwarded == 5)


def test_orthanc_is_free_as_soon_as_an_association_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver with one thread that, as Orthanc's toolkit does, waits for the end of the
    connection behind its A-RELEASE-RP. CTP opens an association for each change of class."""
    monkeypatch.setattr("ctp_supervisor.export.relay.CONNECT_SECONDS", 3600)
    node = Node(tmp_path, 0, OneAtATime())
    try:
        for number in range(3):
            association = node.associate()
            data = encoded(image(number), ExplicitVRLittleEndian)
            assert send(association, f"2.25.{number}", data) == 0
            association.release()
            assert association.is_released
        assert len(node.orthanc.objects) == 3
    finally:
        node.relay.stop()
        node.orthanc.server.shutdown()


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_what_hides_something_is_not_stored(
    node: Node, syntax: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ctp_supervisor")
    association = node.associate(syntax)
    assert send(association, "2.25.1", encoded(image(1), syntax)) == 0
    assert send(association, "2.25.2", hostile(2, syntax)) == REFUSED
    began = time.monotonic()
    association.release()
    assert association.is_released, "the end is in order, also for the sender"
    assert time.monotonic() - began < 5
    again = node.associate(syntax)
    assert send(again, "2.25.3", encoded(image(3), syntax)) == 0
    again.release()
    assert set(node.orthanc.objects) == {"2.25.1", "2.25.3"}
    wait_until("the receiver sees both ends", lambda: len(node.orthanc.ended) == 2)
    assert sorted(node.orthanc.ended) == ["aborted", "released"]
    assert node.forwarded == 2
    assert "2.25.2" in node.refusals and "2.25.3" not in node.refusals
    warnings = [
        each.getMessage()
        for each in caplog.records
        if each.levelno >= logging.WARNING and each.name.startswith("ctp_supervisor")
    ]
    assert len(warnings) == 1 and "(0010,0010): behind the pixel data" in warnings[0]
    assert "MARK" not in caplog.text and "2.25." not in caplog.text


def test_a_syntax_that_cannot_be_read_is_not_stored(node: Node) -> None:
    association = node.associate(ExplicitVRBigEndian)
    assert send(association, "2.25.1", encoded(image(1), ExplicitVRBigEndian)) == REFUSED
    association.release()
    assert not node.orthanc.objects


def test_another_object_after_a_refusal_ends_the_association(node: Node) -> None:
    association = node.associate()
    assert send(association, "2.25.1", hostile(1, ExplicitVRLittleEndian)) == REFUSED
    assert send(association, "2.25.2", encoded(image(2), ExplicitVRLittleEndian)) is None
    assert not node.orthanc.objects


def test_a_refusal_of_orthanc_stays_one(node: Node) -> None:
    node.orthanc.status = 0xA700
    association = node.associate()
    assert send(association, "2.25.1", encoded(image(1), ExplicitVRLittleEndian)) == 0xA700
    association.release()
    assert "2.25.1" not in node.refusals
    assert node.forwarded == 0


def test_what_passes_later_is_no_longer_refused(node: Node) -> None:
    association = node.associate()
    assert send(association, "2.25.1", hostile(1, ExplicitVRLittleEndian)) == REFUSED
    association.release()
    assert "2.25.1" in Refusals(node.directory)
    association = node.associate()
    assert send(association, "2.25.1", encoded(image(1), ExplicitVRLittleEndian)) == 0
    association.release()
    assert "2.25.1" not in node.refusals and "2.25.1" not in Refusals(node.directory)


def test_bytes_as_tcp_likes(tmp_path: Path) -> None:
    """A PDU in pieces, and two at once; the last fragment empty, as dcm4che sends it."""
    node = Node(tmp_path, 16382)
    try:
        data = encoded(image(1, 3000), ExplicitVRLittleEndian)
        for number, (body, status) in enumerate(
            ((data, 0), (hostile(1, ExplicitVRLittleEndian), REFUSED))
        ):
            connection = socket.create_connection(("127.0.0.1", node.port))
            connection.settimeout(10)
            reader = scan.PduReader(connection)
            connection.sendall(
                pdu.associate_request("ORTHANC", "CTP", CTImageStorage, ExplicitVRLittleEndian)
            )
            accepted = reader.read()
            assert accepted is not None and accepted[0] == pdu.ASSOCIATE_AC
            stream = store(body, 777)
            for start in range(0, len(stream), 501):
                connection.sendall(stream[start : start + 501])
            answer = reader.read()
            assert answer is not None
            assert scan.ResponseScanner().feed(answer) == [(dimse.C_STORE_RSP, status)]
            connection.sendall(struct.pack(">BxIxxxx", pdu.RELEASE_RQ, 4))
            released = reader.read()
            assert released is not None and released[0] == pdu.RELEASE_RP
            assert reader.read() is None
            connection.close()
            assert node.orthanc.objects == {"2.25.1": data}, number
    finally:
        node.relay.stop()
        node.orthanc.server.shutdown()


def command(field: int, data_set: bool, uid: bytes = b"2.25.1") -> bytes:
    parts = b""
    for element, value in (
        (0x0002, CTImageStorage.encode() + b"\0"),
        (0x0100, struct.pack("<H", field)),
        (0x0110, struct.pack("<H", 3)),
        (0x0800, struct.pack("<H", 1 if data_set else 0x0101)),
        (0x1000, uid),
    ):
        parts += struct.pack("<HHI", 0, element, len(value)) + value
    return parts


def pdv(header: int, body: bytes, context: int = 1) -> bytes:
    return struct.pack(">IBB", len(body) + 2, context, header) + body


def p_data(*pdvs: bytes) -> bytes:
    return struct.pack(">BxI", pdu.P_DATA, sum(map(len, pdvs))) + b"".join(pdvs)


def store(body: bytes, step: int) -> bytes:
    fragments = [pdv(0, body[start : start + step]) for start in range(0, len(body), step)]
    return b"".join(map(p_data, [pdv(3, command(1, True)), *fragments, pdv(2, b"")]))


def outgoing() -> Outgoing:
    found = Outgoing(PREFIXES)
    found._syntaxes = {1: str(ExplicitVRLittleEndian)}
    return found


def test_several_pdvs_in_one_pdu() -> None:
    data = encoded(image(1, 3000), ExplicitVRLittleEndian)
    whole = p_data(pdv(1, command(1, True)[:20]), pdv(3, command(1, True)[20:]), pdv(2, data))
    assert outgoing().may_leave(whole)
    data = hostile(1, ExplicitVRLittleEndian)
    watched = outgoing()
    assert not watched.may_leave(p_data(pdv(3, command(1, True)), pdv(2, data)))
    assert watched.complete


@pytest.mark.parametrize(
    ("pdus", "what"),
    [
        ([p_data(pdv(2, b"MARK"))], "a data set without its command"),
        ([p_data(pdv(3, command(1, True)), pdv(0, b"", 3))], "a data set without its command"),
        ([p_data(pdv(3, command(1, True)), pdv(3, command(1, True)))], "within another"),
        ([p_data(pdv(1, command(1, True)), pdv(3, b"", 3))], "within another"),
        ([p_data(pdv(3, command(0x140, True)))], "not to be stored"),
        ([p_data(pdv(3, command(1, True, b"")))], "nothing to store"),
        ([p_data(pdv(3, command(1, True)[:-3]))], "no command"),
        ([p_data(pdv(3, b"MARK"))], "a command cut short"),
        ([p_data(pdv(0, b"")[:-2])], "cut short"),
        ([p_data(struct.pack(">IBB", 1, 1, 2))], "longer than its PDU"),
        ([p_data(struct.pack(">IBB", 99, 1, 2))], "longer than its PDU"),
        ([p_data(pdv(1, bytes(200_000)))] * 2, "without end"),
    ],
)
def test_what_is_no_message_ends_the_association(pdus: list[bytes], what: str) -> None:
    watched = outgoing()
    with pytest.raises(pdu.ProtocolError, match=what):
        for each in pdus:
            watched.may_leave(each)


def test_commands_without_a_data_set_pass() -> None:
    assert outgoing().may_leave(p_data(pdv(3, command(0x30, False))))
    assert outgoing().may_leave(struct.pack(">BxIxxxx", pdu.RELEASE_RQ, 4))


class ClientDouble:
    """CTP's quarantine page."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def quarantine(self, *arguments: Any) -> None:
        self.asked.append(arguments)


def quarantined(path: Path, uid: str) -> None:
    dataset = image(1, 100)
    dataset.SOPInstanceUID = uid
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, dataset, enforce_file_format=True)
    os.utime(path)


def test_it_is_not_sent_again_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(tmp_path, 0)
    try:
        client: Any = ClientDouble()

        def quarantines() -> Quarantines:
            return Quarantines(
                [node.pipeline],
                tmp_path,
                lambda: Patients({}),
                client,
                Refusals(tmp_path),
                (),
                Suspects(tmp_path),
            )

        directory = node.pipeline.stage("export").quarantine
        quarantined(directory / "kept.dcm", "2.25.1")
        quarantined(directory / "other.dcm", "2.25.2")
        node.refusals.add("2.25.1")
        node.refusals.add("2.25.3")
        now = time.time()
        monkeypatch.setattr("time.time", lambda: now + 30)
        watched = quarantines()
        assert {each["sop_instance_uid"]: each["reason"] for each in watched.listed()} == {
            "2.25.1": "residual-identifier",
            "2.25.2": "refused-by-orthanc",
        }
        assert watched.repeat_exports(lambda _: True) == 1
        assert client.asked == [("queueFile", 0, 3, "other.dcm")]
        # The double takes nothing out of the quarantine, so what may go is left there, too.
        left = {"residual-identifier": 1, "refused-by-orthanc": 1}
        assert watched.release()["left"] == left
        assert all("kept.dcm" not in asked for asked in client.asked)
        # Months and restarts later.
        monkeypatch.setattr("time.time", lambda: now + 1e7)
        client.asked.clear()
        (directory / "other.dcm").unlink()
        for _ in range(5):
            assert quarantines().repeat_exports(lambda _: True) == 0
        assert not client.asked
        assert "2.25.3" not in Refusals(tmp_path), "what lies nowhere is forgotten"
        assert "2.25.1" in Refusals(tmp_path)
    finally:
        node.relay.stop()
        node.orthanc.server.shutdown()


def test_a_record_cut_short_is_no_obstacle(tmp_path: Path) -> None:
    Refusals(tmp_path).add("2.25.1")
    with (tmp_path / "egress-refused.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(["2.25.2", 1.0])[:-4])
    found = Refusals(tmp_path)
    assert "2.25.1" in found and "2.25.2" not in found
    found.add("2.25.3")
    assert "2.25.3" in Refusals(tmp_path)


def test_refusals_of_several_pipelines(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path)
    threads = [
        threading.Thread(
            target=lambda n=n: [refusals.add(f"2.25.{n}.{each}") for each in range(20)]
        )
        for n in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found = Refusals(tmp_path)
    assert all(f"2.25.{n}.{each}" in found for n in range(4) for each in range(20))
