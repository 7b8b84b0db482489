"""The export over TLS: to a receiver that wants a certificate, and to receivers that are not it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates
from ctp_supervisor.dicom import sockets, tunnel
from ctp_supervisor.outlet.outlet import Outlet
from ctp_supervisor.outlet.settings import OutletSettings
from processes import ended
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]
from test_ctp_supervisor_egress_relay import (
    REFUSED,
    Node,
    Orthanc,
    encoded,
    free_port,
    hostile,
    image,
    send,
    wait_until,
)

SYNTAX = ExplicitVRLittleEndian


class Machine:
    """The secrets of a machine, and what it trusts, as files."""

    def __init__(self, directory: Path, authority: dict[str, str], name: str) -> None:
        self.secrets = directory / name
        self.secrets.mkdir()
        pair = certificates.issue(authority, [name, "192.0.2.7", "2001:db8::7"])
        (self.secrets / "tls.crt").write_text(pair["certificate"])
        (self.secrets / "tls.key").write_text(pair["key"])
        self.trusted = self.secrets / "ca.pem"
        self.trusted.write_text(certificates.trusted(authority))

    def server(self) -> ssl.SSLContext:
        """As Orthanc: whoever calls has to show a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.secrets / "tls.crt", self.secrets / "tls.key")
        context.load_verify_locations(self.trusted)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self) -> ssl.SSLContext:
        return tunnel.client_context(str(self.trusted), self.secrets)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Machine]:
    """Two of one node, and one of another."""
    directory = tmp_path_factory.mktemp("machines")
    ours, other = certificates.make_authority(), certificates.make_authority()
    return {
        "kv": Machine(directory, ours, "kv"),
        "cat": Machine(directory, ours, "cat"),
        "stranger": Machine(directory, other, "stranger"),
    }


Start = Callable[..., Node]


@pytest.fixture
def start(tmp_path: Path, machines: dict[str, Machine]) -> Iterator[Start]:
    made: list[Node] = []

    def node(server: str = "cat", client: str = "kv", names: tuple[str, ...] = ("cat",)) -> Node:
        orthanc = Orthanc(16382, machines[server].server())
        made.append(Node(tmp_path, 0, orthanc, 0, machines[client].client(), names))
        return made[-1]

    yield node
    for each in made:
        each.relay.stop()
        each.orthanc.server.shutdown()


def test_what_is_sound_arrives_as_it_was(start: Start) -> None:
    node = start()
    association = node.associate()
    sent = {f"2.25.{n}": encoded(image(n, 3_000_000 + 2 * n), SYNTAX) for n in range(4)}
    for uid, data in sent.items():
        assert send(association, uid, data) == 0
    assert association.send_c_echo().Status == 0
    association.release()
    assert association.is_released
    assert node.orthanc.objects == sent
    wait_until("all are counted", lambda: node.forwarded == 4)
    wait_until("the receiver sees the end", lambda: node.orthanc.ended == ["released"])


def test_what_hides_something_is_not_stored(start: Start) -> None:
    node = start()
    association = node.associate()
    assert send(association, "2.25.1", encoded(image(1), SYNTAX)) == 0
    assert send(association, "2.25.2", hostile(2, SYNTAX)) == REFUSED
    association.release()
    assert association.is_released
    assert set(node.orthanc.objects) == {"2.25.1"}
    wait_until("the receiver sees the abort", lambda: node.orthanc.ended == ["aborted"])


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "2001:DB8:0::7"])
def test_an_address_names_the_receiver_too(start: Start, address: str) -> None:
    assert start(names=("orthanc.example", address)).relay.reachable


def test_a_ca_that_says_little_of_itself_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hospital's, without a key usage; Python asks for one from 3.13 on, as the image has it."""
    usual = ssl.create_default_context

    def strict(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = usual(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)

    new = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Hospital")
    openssl("req", *new, "-keyout", "tls.key", "-out", "request", "-subj", "/CN=cat")
    (tmp_path / "names").write_text("subjectAltName=DNS:cat\n")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "request", *signed, "-out", "tls.crt")

    trusted = tmp_path / "ca.pem"
    server = tunnel.Session(tunnel.server_context(tmp_path, trusted.read_text()), server=True)
    client = tunnel.Session(tunnel.client_context(str(trusted), tmp_path), server=False)
    for _ in range(4):
        client.handshake()
        server.feed(client.outgoing())
        server.handshake()
        client.feed(server.outgoing())
        if server.established:
            break
    assert client.established and server.established
    assert client.names() == server.names() == ["cat"]


@pytest.mark.parametrize(
    ("server", "names"), [("cat", ("dog",)), ("stranger", ("stranger",)), ("cat", ("at",))]
)
def test_somebody_else_gets_nothing(
    start: Start, server: str, names: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    node = start(server, names=names)
    assert node.relay.reachable is False
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", node.port))
    assert "Orthanc cannot be reached" in caplog.text
    assert "SSLCertVerificationError" in caplog.text


def test_who_speaks_no_tls_gets_nothing(tmp_path: Path, machines: dict[str, Machine]) -> None:
    node = Node(tmp_path, 0, Orthanc(0), 0, machines["kv"].client(), ("cat",))
    try:
        assert node.relay.reachable is False
        assert node.orthanc.objects == {}
    finally:
        node.relay.stop()
        node.orthanc.server.shutdown()


def test_a_sender_without_the_nodes_certificate_gets_no_association(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ctp_supervisor")
    node = start("cat", client="kv")
    node.relay._tls = ssl.create_default_context(cafile=None)
    node.relay._tls.check_hostname = False
    node.relay._tls.verify_mode = ssl.CERT_NONE
    ae = AE()
    ae.add_requested_context(Verification)
    assert not ae.associate("127.0.0.1", node.port).is_established
    assert node.orthanc.objects == {}


def test_a_receiver_that_ends_in_the_middle_resets_the_sender(start: Start) -> None:
    """dcm4che repeats after a reset, and gives up after an orderly end."""
    node = start()
    association = node.associate()
    assert send(association, "2.25.1", encoded(image(1), SYNTAX)) == 0
    for each in node.orthanc.server.active_associations:
        sockets.reset(each.dul.socket.socket)
    wait_until("the sender's end", lambda: not association.is_established)
    again = node.associate()
    assert send(again, "2.25.2", encoded(image(2), SYNTAX)) == 0
    again.release()


def test_a_certificate_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"The secrets tls\.crt and tls\.key in .* cannot be used"):
        tunnel.client_context("", tmp_path)


def pairs(machines: dict[str, Machine]) -> tuple[socket.socket, socket.socket, list[Any]]:
    """A plain connection, and the far end of it behind two TLS sessions."""
    listener = socket.create_server(("127.0.0.1", 0))
    far: list[Any] = []

    def accept() -> None:
        accepted, _ = listener.accept()
        session = tunnel.Session(machines["cat"].server(), server=True)
        while not session.handshake():
            accepted.sendall(session.outgoing())
            session.feed(accepted.recv(65536))
        accepted.sendall(session.outgoing())
        far.append(tunnel.carry(accepted, session))

    thread = threading.Thread(target=accept)
    thread.start()
    outer = socket.create_connection(listener.getsockname())
    near = tunnel.connect(outer, machines["kv"].client(), ["cat"], 5)
    thread.join(10)
    listener.close()
    return near, far[0], far


def read_all(connection: socket.socket) -> bytes:
    found = bytearray()
    while piece := connection.recv(65536):
        found += piece
    return bytes(found)


def test_each_side_ends_by_itself(machines: dict[str, Machine]) -> None:
    near, far, _ = pairs(machines)
    question, answer = os.urandom(5_000_000), os.urandom(5_000_000)

    def ask() -> None:
        near.sendall(question)
        near.shutdown(socket.SHUT_WR)

    sending = threading.Thread(target=ask)
    sending.start()
    assert read_all(far) == question
    far.sendall(answer)
    far.close()
    assert read_all(near) == answer
    sending.join(10)
    near.close()


def test_a_side_that_does_not_read_stops_the_other(machines: dict[str, Machine]) -> None:
    near, far, _ = pairs(machines)
    near.settimeout(2)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 64 * 1024 * 1024:
            sent += near.send(bytes(65536))
    assert sent < 32 * 1024 * 1024, "what the kernel and the tunnel keep is bounded"
    sockets.reset(near)
    with pytest.raises(ConnectionResetError):
        read_all(far)


@pytest.mark.parametrize("first", ["near", "far"])
def test_a_reset_is_a_reset_on_the_other_side(machines: dict[str, Machine], first: str) -> None:
    near, far, _ = pairs(machines)
    near.sendall(b"x")
    assert far.recv(1) == b"x"
    resetting, waiting = (near, far) if first == "near" else (far, near)
    sockets.reset(resetting)
    waiting.settimeout(20)
    with pytest.raises(ConnectionResetError):
        waiting.recv(1)


def test_nothing_is_left_running(machines: dict[str, Machine]) -> None:
    def tunnels() -> int:
        return sum(each.name == "tls" for each in threading.enumerate())

    before = tunnels()
    for end in (sockets.reset, socket.socket.close):
        near, far, _ = pairs(machines)
        end(near)
        end(far)
    near, far, _ = pairs(machines)
    near.shutdown(socket.SHUT_WR)
    sockets.reset(near)
    far.close()
    wait_until("the threads have ended", lambda: tunnels() <= before)


@pytest.fixture
def outlet(machines: dict[str, Machine]) -> Iterator[tuple[Outlet, Orthanc]]:
    orthanc = Orthanc(0, machines["cat"].server())
    settings = OutletSettings(
        "127.0.0.1",
        free_port(),
        "127.0.0.1",
        orthanc.port,
        ("cat",),
        str(machines["kv"].trusted),
        machines["kv"].secrets,
    )
    made = Outlet(settings)
    made.start()
    yield made, orthanc
    made.stop()
    with contextlib.suppress(ValueError):  # a test has done so
        orthanc.server.shutdown()


def test_the_outlet_carries_an_association(outlet: tuple[Outlet, Orthanc]) -> None:
    made, orthanc = outlet
    ae = AE("CTP")
    ae.add_requested_context(CTImageStorage, SYNTAX)
    association = ae.associate("127.0.0.1", made._settings.port, ae_title="ORTHANC")
    assert association.is_established
    data = encoded(image(1, 2_000_000), SYNTAX)
    assert send(association, "2.25.1", data) == 0
    association.release()
    assert association.is_released
    assert orthanc.objects == {"2.25.1": data}


def test_the_outlet_resets_whom_it_cannot_serve(outlet: tuple[Outlet, Orthanc]) -> None:
    made, orthanc = outlet
    # A health check says nothing, and nothing is made of it.
    socket.create_connection(("127.0.0.1", made._settings.port)).close()
    orthanc.server.shutdown()
    with socket.create_connection(("127.0.0.1", made._settings.port)) as ctp:
        ctp.settimeout(20)
        ctp.sendall(b"\x01")
        with pytest.raises(ConnectionResetError):
            ctp.recv(1)


def test_the_outlet_as_a_program(tmp_path: Path, machines: dict[str, Machine]) -> None:
    port = free_port()
    kv = machines["kv"]
    (tmp_path / "outlet.json").write_text(
        f'{{"port": {port}, "host": "127.0.0.1", "orthanc_port": 4242, "tls_names": ["cat"],'
        f' "trusted": "{kv.trusted}"}}'
    )
    environment = {
        **os.environ,
        "CTP_CONFIGURATION_DIRECTORY": str(tmp_path),
        "CTP_SECRETS_DIRECTORY": str(kv.secrets),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    program = [sys.executable, "-m", "ctp_supervisor.outlet"]

    def health() -> int:
        asked = [*program, "healthcheck"]
        return subprocess.run(asked, env=environment, capture_output=True, check=False).returncode

    assert health() == 1
    with ended(program, env=environment, stdout=subprocess.PIPE) as running:
        try:
            wait_until("it answers", lambda: health() == 0)
        finally:
            running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
    environment["CTP_SECRETS_DIRECTORY"] = str(tmp_path)
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "The outlet cannot start: The secrets tls.crt and tls.key" in done.stderr
