"""The forwarder between CTP and Orthanc, with real sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port
from processes import ended

SHARED = Path(__file__).resolve().parents[3] / "images/shared"
sys.path.insert(0, str(SHARED))

from one_way.forwarder import GREETING, Forwarder, health  # noqa: E402

LOOPBACK = "127.0.0.1"


class Server:
    """Who is asked: gives back what it gets, in capitals."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server((LOOPBACK, port))
        self.connections: list[socket.socket] = []
        self.took = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while found := connection.recv(65536):
                self.took += len(found)
                connection.sendall(found.upper())
            connection.close()

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def target() -> int:
    return free_port()


@pytest.fixture(params=[False, True], ids=["plain", "greeting"])
def greet(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def forwarder(target: int, greet: bool) -> Iterator[Forwarder]:
    made = Forwarder(free_port(), LOOPBACK, target, free_port() if greet else 0, bind=LOOPBACK)
    running = threading.Thread(target=made.run, daemon=True)
    running.start()
    yield made
    made.stop()
    running.join(10)
    assert not running.is_alive()


def connect(port: int, seconds: float = 20) -> socket.socket:
    """Connect as soon as the port is open."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection((LOOPBACK, port), 20)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the port stays closed"
            time.sleep(0.02)


def client(forwarder: Forwarder, greet: bool) -> socket.socket:
    connection = connect(forwarder.greeting or forwarder.port)
    if greet:
        assert connection.recv(1) == GREETING
    return connection


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_both_directions_and_an_orderly_end(forwarder: Forwarder, target: int, greet: bool) -> None:
    server = Server(target)
    sent = b"abc" * 1_000_000
    with client(forwarder, greet) as connection:

        def send() -> None:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)

        threading.Thread(target=send, daemon=True).start()
        assert read_all(connection) == sent.upper()
    assert server.took == len(sent)
    server.end()


@pytest.mark.usefixtures("greet")
def test_closed_while_the_other_side_is_away(forwarder: Forwarder, target: int) -> None:
    for _ in range(5):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, forwarder.greeting or forwarder.port), 5)
    server = Server(target)
    connect(forwarder.port).close()
    server.end()
    # The first that comes is reset, never ended in order; from then on the port is closed.
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            port = forwarder.greeting or forwarder.port
            # It may also come while the port is being opened.
            with (
                pytest.raises(ConnectionResetError),
                socket.create_connection((LOOPBACK, port), 5) as connection,
            ):
                connection.recv(1)
        except ConnectionRefusedError:
            return
    raise AssertionError("the port stays open")


def test_a_reset_is_passed_on(forwarder: Forwarder, target: int, greet: bool) -> None:
    """CTP repeats an object after a reset, and gives it up after an orderly end."""
    server = Server(target)
    with client(forwarder, greet) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"X"
        # The last is the client's; before it came the forwarder's own look.
        there = server.connections[-1]
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        there.shutdown(socket.SHUT_RD)
        there.close()
        with pytest.raises(ConnectionResetError):
            connection.sendall(b"y")
            connection.recv(1)
            connection.recv(1)
    server.end()


def test_the_health_check_tells_the_two_apart(forwarder: Forwarder, target: int) -> None:
    assert health(forwarder.port, LOOPBACK, target) == ""  # away, and closed for it
    server = Server(target)
    assert health(forwarder.port, LOOPBACK, target) == ""
    nobody = free_port()
    assert "is closed although" in health(nobody, LOOPBACK, target)
    server.end()


def test_the_program(target: int) -> None:
    port = free_port()
    command = [sys.executable, "-m", "one_way", str(port), LOOPBACK, str(target)]
    server = Server(target)
    with ended(command, cwd=SHARED, stdout=subprocess.PIPE, text=True) as process:
        with connect(port) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"X"
        assert subprocess.run([*command, "--healthcheck"], cwd=SHARED, check=False).returncode == 0
        process.terminate()
        assert process.wait(20) == 0
    wrong = subprocess.run([*command, "else"], cwd=SHARED, capture_output=True, check=False)
    assert wrong.returncode == 2
    server.end()
