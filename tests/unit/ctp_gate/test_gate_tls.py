"""DICOM over TLS at the gate, with dcmtk and pynetdicom as senders, and with rude ones."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates
from ctp_gate_scp import Scp
from ctp_standin_doubles import free_port, wait_until
from ctp_supervisor.dicom import tunnel
from ctp_supervisor.dicom.echo import HEALTHCHECK_AET, echo
from ctp_supervisor.gate import lobby
from ctp_supervisor.gate.gate import Pipeline, Secure
from ctp_supervisor.gate.holding import HoldingGate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from shared.rude import Rude, request, stuck
from test_holding_gate import LARGE, LARGEST, image, later, shown, store
from test_standalone_gate import GateProcess


class Certificates:
    """A node's certificate for its gate, and a hospital's for its senders."""

    def __init__(self, directory: Path) -> None:
        self.ours, self.hospitals = certificates.make_authority(), certificates.make_authority()
        self.secrets = directory / "secrets"
        self.trusted, self.clients = directory / "ca.pem", directory / "clients.pem"
        self.pacs = directory / "pacs"
        for place, authority, name in (
            (self.secrets, self.ours, "kv"),
            (self.pacs, self.hospitals, "pacs"),
        ):
            place.mkdir()
            pair = certificates.issue(authority, [name])
            (place / "tls.crt").write_text(pair["certificate"])
            (place / "tls.key").write_text(pair["key"])
        self.trusted.write_text(certificates.trusted(self.ours))
        self.clients.write_text(certificates.trusted(self.hospitals))

    def client(self, shows: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.trusted))
        if shows:
            context.load_cert_chain(self.pacs / "tls.crt", self.pacs / "tls.key")
        return context


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


class Doors:
    """A gate before a double of CTP."""

    def __init__(self, directory: Path, secure: Secure) -> None:
        self.scp = Scp(directory, free_port())
        self.scp.start()
        self.port = free_port()
        self.gate = HoldingGate(
            ("127.0.0.1", self.port),
            [Pipeline(self.scp.port, frozenset(), frozenset())],
            closed=lambda: "",
            before_answer=lambda: "",
            received=lambda _number: None,
            ctp_host="127.0.0.1",
            hold_seconds=30,
            spool=directory,
            largest_object_bytes=LARGEST,
            secure=secure,
        )
        self.gate.start()

    def associate(self, tls: ssl.SSLContext | None = None, calling: str = "PACS") -> Any:
        ae = AE(calling)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        how = (tls, "kv") if tls else None
        return ae.associate("127.0.0.1", self.port, ae_title="CTP", tls_args=how)

    def passes(self, tls: ssl.SSLContext | None = None, calling: str = "PACS") -> None:
        sender, dataset = self.associate(tls, calling), image(LARGE)
        assert sender.is_established
        assert store(sender, dataset) == 0
        sender.release()
        assert sender.is_released
        assert shown(dataset) in [(uid, pixels) for _, uid, pixels in self.scp.lines("object")]


Start = Callable[..., Doors]


@pytest.fixture
def start(tmp_path: Path, made: Certificates) -> Iterator[Start]:
    found: list[Doors] = []

    def doors(required: bool = False, of: tuple[str, ...] = (), clients: str = "") -> Doors:
        context = tunnel.server_context(made.secrets, clients)
        found.append(Doors(tmp_path, Secure(context, required, frozenset(of))))
        return found[-1]

    yield doors
    for each in found:
        each.gate.abort_all("the test ends")
        each.gate.stop()
        each.scp.kill()


def dcmtk(program: str, port: int, *options: str) -> subprocess.CompletedProcess[str]:
    names = ["-aet", "PACS", "-aec", "CTP", "-to", "20", "-ta", "20", "-td", "20"]
    target = ["127.0.0.1", str(port)]
    files = [each for each in options if each.endswith(".dcm")]
    switches = [each for each in options if each not in files]
    return subprocess.run(
        [f"/usr/bin/{program}", "-v", *names, *switches, *target, *files],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_pynetdicom_sends_over_tls_and_in_clear_text(start: Start, made: Certificates) -> None:
    doors = start()
    doors.passes(made.client())
    doors.passes()
    assert echo("127.0.0.1", doors.port, "ANY", HEALTHCHECK_AET, 5) == ""


def test_dcmtk_sends_over_tls(start: Start, made: Certificates, tmp_path: Path) -> None:
    doors = start()
    file, dataset = tmp_path / "ct.dcm", image(LARGE)
    dataset.save_as(file, enforce_file_format=True)
    sent = dcmtk("storescu", doors.port, "+tla", "+cf", str(made.trusted), str(file))
    assert "Received Store Response (Success)" in sent.stderr, sent.stderr
    assert [shown(dataset)] == [(uid, pixels) for _, uid, pixels in doors.scp.lines("object")]
    assert dcmtk("echoscu", doors.port, "+tla", "+cf", str(made.trusted)).returncode == 0
    # Who trusts the hospital's CA alone does not take this gate for the PACS's.
    assert dcmtk("echoscu", doors.port, "+tla", "+cf", str(made.clients)).returncode != 0


def test_tls_is_wanted_of_everybody(start: Start, made: Certificates) -> None:
    doors = start(required=True)
    doors.passes(made.client())
    assert dcmtk("echoscu", doors.port).returncode != 0
    with Rude(doors.port) as rude:
        assert rude.send(request()).rejection() == (1, 1, 3)
    # Its own health check stays inside.
    assert echo("127.0.0.1", doors.port, "ANY", HEALTHCHECK_AET, 5) == ""


def test_tls_is_wanted_of_some(
    start: Start, made: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    doors = start(of=("PACS",))
    doors.passes(made.client(), "PACS")
    doors.passes(made.client(), "CT1")
    doors.passes(calling="CT1")
    assert not doors.associate(calling="PACS").is_established
    assert "127.0.0.1: it comes without TLS, which is required of it" in caplog.text


def test_senders_show_a_certificate(start: Start, made: Certificates) -> None:
    doors = start(clients=made.clients.read_text())
    doors.passes(made.client(shows=True))
    assert not doors.associate(made.client()).is_established
    own = ("+tls", str(made.pacs / "tls.key"), str(made.pacs / "tls.crt"))
    assert dcmtk("echoscu", doors.port, *own, "+cf", str(made.trusted)).returncode == 0
    assert dcmtk("echoscu", doors.port, "+tla", "+cf", str(made.trusted)).returncode != 0
    doors.passes()


def test_the_proof_shows_the_machines_own_certificate(
    start: Start, made: Certificates, tmp_path: Path
) -> None:
    doors = start(required=True, clients=made.clients.read_text())
    own = ("+tls", str(made.secrets / "tls.key"), str(made.secrets / "tls.crt"))
    assert dcmtk("echoscu", doors.port, *own, "+cf", str(made.trusted)).returncode == 0
    # It counts as itself: no other certificate of the node's CA does.
    other = certificates.issue(made.ours, ["kv"])
    certificate, key = tmp_path / "other.crt", tmp_path / "other.key"
    certificate.write_text(other["certificate"])
    key.write_text(other["key"])
    shown_other = ("+tls", str(key), str(certificate), "+cf", str(made.trusted))
    assert dcmtk("echoscu", doors.port, *shown_other).returncode != 0


def test_a_gate_without_tls_says_what_came(tmp_path: Path) -> None:
    scp = Scp(tmp_path, free_port())
    scp.start()
    gate = GateProcess(tmp_path, scp.port, hold_seconds=30)
    gate.start()
    try:
        context = ssl.create_default_context()
        with socket.create_connection(("127.0.0.1", gate.port)) as plain, pytest.raises(OSError):
            context.wrap_socket(plain, server_hostname="kv")
        assert "it speaks TLS, and this port is DICOM without TLS" in gate.log.read_text()
    finally:
        gate.end()
        scp.kill()


def hello(context: ssl.SSLContext) -> bytes:
    session = tunnel.Session(context, server=False)
    session.handshake()
    return session.outgoing()


def test_half_a_handshake_has_a_deadline(
    start: Start,
    made: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(lobby, "REQUEST_SECONDS", 1.0)
    doors = start()
    begun = hello(made.client())
    rude = [Rude(doors.port).send(begun[:length]) for length in (1, 60, len(begun))]
    for each in rude:
        wait_until("it is cut off", each.has_ended)
        each.socket.close()
    assert "127.0.0.2: no whole A-ASSOCIATE-RQ in time" in caplog.text
    doors.passes(made.client())


def test_a_handshake_and_no_request_has_a_deadline(
    start: Start, made: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobby, "REQUEST_SECONDS", 1.0)
    doors = start()
    with (
        socket.create_connection(("127.0.0.1", doors.port), timeout=20) as plain,
        made.client().wrap_socket(plain, server_hostname="kv") as secured,
    ):
        assert secured.recv(1) == b""


def test_handshakes_are_bounded_for_each_address(start: Start, made: Certificates) -> None:
    doors = start()
    begun = hello(made.client())
    rude = []
    try:
        for _ in range(200):
            rude.append(Rude(doors.port).send(begun[:60]))
        wait_until(
            "the others are closed",
            lambda: sum(not each.has_ended() for each in rude) <= lobby.Bounds().per_address,
        )
        doors.passes(made.client())
    finally:
        for each in rude:
            each.socket.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x40\x00" + b"\x01\x00\x3f\xfc" + bytes(200_000),
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03" + bytes(200),
    ],
)
def test_what_is_no_handshake_is_closed(start: Start, made: Certificates, data: bytes) -> None:
    doors = start()
    with Rude(doors.port) as rude:
        with contextlib.suppress(ConnectionError):  # cut off while it sends
            rude.send(data)
        wait_until("it is closed", rude.has_ended)
    doors.passes(made.client())


@pytest.mark.parametrize("what", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(60)])
def test_what_is_no_dicom_inside_tls_is_closed(
    start: Start, made: Certificates, what: bytes
) -> None:
    doors = start()
    with (
        socket.create_connection(("127.0.0.1", doors.port), timeout=20) as plain,
        made.client().wrap_socket(plain, server_hostname="kv") as secured,
    ):
        secured.sendall(what)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert secured.recv(1) == b""
    doors.passes(made.client())


def test_a_refusal_is_told_over_tls(start: Start, made: Certificates) -> None:
    doors = start()
    with (
        socket.create_connection(("127.0.0.1", doors.port), timeout=20) as plain,
        made.client().wrap_socket(plain, server_hostname="kv") as secured,
    ):
        secured.sendall(request(calling=b""))
        assert secured.recv(65536)[:10] == b"\x03\0\0\0\0\x04\0\x01\x01\x03"


def test_ctp_restarts_and_the_sender_over_tls_just_waits(start: Start, made: Certificates) -> None:
    doors = start()
    sender = doors.associate(made.client())
    first, second = image(LARGE, 1), image(LARGE, 2)
    assert store(sender, first) == 0
    doors.scp.kill()
    restarted = later(doors.scp.start)
    assert store(sender, second) == 0
    restarted.join()
    sender.release()
    taken = [(uid, pixels) for _, uid, pixels in doors.scp.lines("object")]
    assert taken == [shown(first), shown(second)]


def test_a_sender_that_is_cut_off_sees_its_end(start: Start, made: Certificates) -> None:
    doors = start()
    sender = doors.associate(made.client())
    assert sender.is_established
    doors.gate.abort_all("the test wants it")
    wait_until("it is aborted", lambda: sender.is_aborted)
    with stuck(doors.port):
        doors.passes(made.client())


def test_the_gate_as_a_program(tmp_path: Path, made: Certificates) -> None:
    scp = Scp(tmp_path, free_port())
    scp.start()
    gate = GateProcess(
        tmp_path,
        scp.port,
        hold_seconds=30,
        tls="required",
        tls_clients=made.clients.read_text(),
    )
    gate.environment["CTP_SECRETS_DIRECTORY"] = str(made.secrets)
    gate.start()
    try:
        own = ("+tls", str(made.pacs / "tls.key"), str(made.pacs / "tls.crt"))
        assert dcmtk("echoscu", gate.port, *own, "+cf", str(made.trusted)).returncode == 0
        assert dcmtk("echoscu", gate.port).returncode != 0
        assert gate.run("healthcheck").returncode == 0
    finally:
        gate.end()
        scp.kill()
