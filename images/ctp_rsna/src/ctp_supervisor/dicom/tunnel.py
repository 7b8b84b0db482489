"""DICOM over TLS (PS3.15 B.9 and later): the program works with a plain connection, and a thread
carries over TLS what goes through it.

The two ends of a plain connection over loopback behave as a connection does: they are read and
written by different threads, shut down on one side, and reset. None of that can be done with
Python's own TLS sockets, which two threads must not use at once.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from . import sockets

HELLO = b"\x16\x03"
"""How a TLS client begins: a handshake record (RFC 8446, 5.1)."""
CERTIFICATE, KEY = "tls.crt", "tls.key"
"""Names of the secrets."""
_MOST_WAITING = 256 * 1024
"""So much waits for a side that does not read; then the other one waits."""
_CHUNK = 256 * 1024
_FLUSH_SECONDS = 10.0
_PAIR_SECONDS = 5.0


class Session:
    """One side of a TLS connection, without the connection: bytes go in, bytes come out."""

    def __init__(self, context: ssl.SSLContext, server: bool) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server)
        self.established = False
        self.ended = False
        """Nothing more comes of the other side."""

    def feed(self, data: bytes) -> None:
        """What came over the network; nothing: its end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def handshake(self) -> bool:
        """Go on with it; whether it is over. Raises ``SSLError``."""
        if not self.established:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
                self.established = True
        return self.established

    def read(self) -> bytes:
        """What is there of the other side, decrypted. Raises ``SSLError``."""
        found = []
        try:
            while piece := self._tls.read(_CHUNK):
                found.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # With or without a closing alert, which few DICOM programs send.
            self.ended = True
        return b"".join(found)

    def write(self, data: bytes) -> None:
        """Encrypt for the other side. Raises ``SSLError``."""
        self._tls.write(data)

    def outgoing(self) -> bytes:
        """What has to go over the network."""
        return self._outgoing.read()

    def names(self) -> list[str]:
        """The names and addresses of the other side's certificate, which was verified."""
        found = self._tls.getpeercert() or {}
        alternatives: Iterable[tuple[str, str]] = found.get("subjectAltName", ())  # type: ignore[assignment]
        return [value for kind, value in alternatives if kind in ("DNS", "IP Address")]


class Tunnelled(socket.socket):
    """A plain connection, and why its other end was reset, where TLS or the network did it."""

    why: OSError | None = None


def client_context(trusted: str, secrets: Path) -> ssl.SSLContext:
    """To somebody whose certificate is signed by one of the CAs in that file (empty: the system's),
    with this machine's own. Raises ``OSError``."""
    context = ssl.create_default_context(cafile=trusted or None)
    context.check_hostname = False  # by `connect`, which takes several names
    return _with_certificate(context, secrets)


def server_context(secrets: Path, clients: str = "") -> ssl.SSLContext:
    """For whoever calls; ``clients``: CAs in PEM of which one has to have signed the caller's
    certificate. The machine itself, which proves the node, may show its own. Raises ``OSError``."""
    context = _with_certificate(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), secrets)
    if clients:
        context.load_verify_locations(cadata=clients)
        own = (secrets / CERTIFICATE).read_text(encoding="ascii", errors="ignore")
        context.load_verify_locations(cadata=_first(own))
        # Without it a certificate would be trusted only if it signed itself.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _first(chain: str) -> str:
    """Return the first certificate of a file: its owner's, before those that signed it."""
    end = "-----END CERTIFICATE-----"
    return chain.partition(end)[0] + end


def _with_certificate(context: ssl.SSLContext, secrets: Path) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 asks of CAs what RFC 5280 says to the letter. Those of hospitals often have less,
    # and Orthanc, psql and the preflight take them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(secrets / CERTIFICATE, secrets / KEY)
    except OSError as error:
        raise OSError(
            f"The secrets {CERTIFICATE} and {KEY} in {secrets} cannot be used "
            f"({type(error).__name__})"
        ) from error
    return context


def connect(
    outer: socket.socket, context: ssl.SSLContext, names: Sequence[str], seconds: float
) -> Tunnelled:
    """Return a plain connection whose content goes over TLS; it begins with `handshake`."""
    return carry(outer, handshake(outer, context, names, seconds))


def handshake(
    outer: socket.socket, context: ssl.SSLContext, names: Sequence[str], seconds: float
) -> Session:
    """Begin TLS over a connection, which is closed when that fails.

    Args:
        outer: the connection.
        context: of the client.
        names: the other side's certificate has to be for one of them.
        seconds: for the handshake.

    Raises:
        OSError: the other side speaks no TLS, or is somebody else.
    """
    session = Session(context, server=False)
    try:
        deadline = time.monotonic() + seconds
        while not session.handshake():
            outer.settimeout(max(0.01, deadline - time.monotonic()))
            outer.sendall(session.outgoing())
            data = outer.recv(_CHUNK)
            if not data or time.monotonic() > deadline:
                raise TimeoutError("no TLS handshake") if data else ConnectionResetError
            session.feed(data)
        outer.sendall(session.outgoing())
        carried = [_as_written(name) for name in session.names()]
        if not any(_is_for(_as_written(name), carried) for name in names):
            raise ssl.SSLCertVerificationError(
                f"the certificate is for {', '.join(carried)} and not for {', '.join(names)}"
            )
        return session
    except BaseException:
        with contextlib.suppress(OSError):
            outer.send(session.outgoing())  # why, as an alert
        outer.close()
        raise


def _as_written(name: str) -> str:
    """An address in its one notation (RFC 5952), a name in small letters."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def _is_for(name: str, carried: Sequence[str]) -> bool:
    """A wildcard is for one label (RFC 6125, 6.4)."""
    return any(
        each == name or (each.startswith("*.") and name.partition(".")[2] == each[2:])
        for each in carried
    )


def carry(outer: socket.socket, session: Session, first: bytes = b"") -> Tunnelled:
    """Return a plain connection whose content goes over ``outer`` from now on, which belongs to it.

    ``first``: what was decrypted already. Raises ``OSError``.
    """
    near, far = _pair()

    def run() -> None:
        pump.run(lambda error: setattr(near, "why", error))

    try:
        pump = _Pump(outer, session, far, first)
        threading.Thread(target=run, name="tls", daemon=True).start()
    except BaseException:
        for each in (near, far, outer):
            each.close()
        raise
    return near


def bridge(outer: socket.socket, session: Session, inner: socket.socket) -> OSError | None:
    """Carry between the two connections until both are over; what ended the one with TLS."""
    found: list[OSError] = []
    _Pump(outer, session, inner, b"").run(found.append)
    return found[0] if found else None


def _pair() -> tuple[Tunnelled, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_PAIR_SECONDS)
        near = Tunnelled(socket.AF_INET, socket.SOCK_STREAM)
        try:
            near.settimeout(_PAIR_SECONDS)
            near.connect(listener.getsockname())
            while True:
                far, address = listener.accept()
                if address == near.getsockname():
                    break
                far.close()  # somebody else of this machine
            for each in (near, far):
                sockets.prepare(each)
            near.settimeout(None)
            return near, far
        except BaseException:
            near.close()
            raise


class _Side:
    """One of the two connections, and what waits to be written to it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.waiting = bytearray()
        self.reads = True
        """More may come of it."""
        self.writes = True
        """It is not shut down for writing."""

    def send(self) -> None:
        """Write what can be written now."""
        while self.waiting:
            try:
                count = self.connection.send(self.waiting)
            except BlockingIOError:
                return
            del self.waiting[:count]

    def receive(self) -> bytes | None:
        """What is there, nothing at its end, ``None`` when there is nothing now."""
        try:
            data = self.connection.recv(_CHUNK)
        except BlockingIOError:
            return None
        sockets.acknowledge_quickly(self.connection)
        return data

    def shut(self) -> None:
        """Nothing more is written to it."""
        self.writes = False
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)


class _Pump:
    """Carries between a connection with TLS and a plain one until both are over."""

    def __init__(
        self,
        outer: socket.socket,
        session: Session,
        inner: socket.socket,
        first: bytes,
    ) -> None:
        self._session = session
        self._outer, self._inner = _Side(outer), _Side(inner)
        self._why: OSError | None = None
        self._inner.waiting += first + session.read()
        self._outer.waiting += session.outgoing()
        self._deadline = float("inf")

    def run(self, tell: Callable[[OSError], None]) -> None:
        """Until both are over; a reset of one is a reset of the other. ``tell`` is called before
        that with what ended the one with TLS, where it did not end in order."""
        try:
            self._run()
        except Exception:  # whatever it is, it ends this connection and nothing else
            if self._why is not None:
                tell(self._why)
            for side in (self._inner, self._outer):
                sockets.reset(side.connection)
        else:
            for side in (self._inner, self._outer):
                side.connection.close()

    def _run(self) -> None:
        outer, inner = self._outer, self._inner
        while outer.reads or inner.reads or outer.waiting or inner.waiting:
            poll = select.poll()
            for side, other in ((outer, inner), (inner, outer)):
                wanted = select.POLLOUT if side.waiting else 0
                if side.reads and len(other.waiting) < _MOST_WAITING:
                    wanted |= select.POLLIN
                # Without a wish too: a reset is told in any case.
                if side.reads or side.waiting or side.writes:
                    poll.register(side.connection, wanted)
            if not outer.reads and not inner.reads and self._deadline == float("inf"):
                self._deadline = time.monotonic() + _FLUSH_SECONDS
            left = min(60.0, max(0.0, self._deadline - time.monotonic()))
            ready = dict(poll.poll(left * 1000))
            if time.monotonic() > self._deadline:
                raise TimeoutError("the other side does not read the rest")
            for side, step in ((outer, self._from_outer), (inner, self._from_inner)):
                seen = ready.get(side.connection.fileno(), 0)
                if seen & ~select.POLLOUT and side.reads:
                    step()
                elif seen & (select.POLLERR | select.POLLHUP):
                    raise ConnectionResetError
                if side.waiting:
                    self._send(side)
            if not outer.reads and not inner.waiting and inner.writes:
                inner.shut()
            if not inner.reads and not outer.waiting and outer.writes:
                outer.shut()

    def _send(self, side: _Side) -> None:
        try:
            side.send()
        except OSError as error:
            if side is self._outer:
                self._why = error
            raise

    def _from_outer(self) -> None:
        try:
            data = self._outer.receive()
            if data is None:
                return
            self._session.feed(data)
            self._inner.waiting += self._session.read()
        except OSError as error:
            self._why = error
            raise
        self._outer.waiting += self._session.outgoing()
        if self._session.ended or not data:
            self._outer.reads = False

    def _from_inner(self) -> None:
        data = self._inner.receive()
        if data is None:
            return
        if data:
            self._session.write(data)
        else:
            # No closing alert: behind one, the answer to what was sent last could not be read.
            self._inner.reads = False
        self._outer.waiting += self._session.outgoing()
