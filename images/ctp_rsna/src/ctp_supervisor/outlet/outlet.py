"""Takes CTP's associations in clear text, inside the stack, and carries them over TLS.

It changes nothing of what passes. A connection that Orthanc ends is ended, one that it resets is
reset, and so is one that cannot be begun: CTP then sends again.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading

from .. import program
from ..dicom import sockets, tunnel
from ..machine.threads import OfOneConnection
from .settings import OutletSettings, load

LOG = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
FIRST_SECONDS = 30.0
"""CTP begins with its request at once; a health check says nothing."""
SILENT_SECONDS = 30
MOST_CONNECTIONS = 48


class Outlet:
    """Listens for CTP."""

    def __init__(self, settings: OutletSettings) -> None:
        """Open the port. Raises ``OSError``: it is taken, or the certificate cannot be used."""
        self._settings = settings
        self._context = tunnel.client_context(settings.trusted, settings.secrets)
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._reachable: bool | None = None
        self._listener = socket.create_server((settings.bind, settings.port))

    def start(self) -> None:
        """Take connections from now on."""
        threading.Thread(target=self._run, name="outlet", daemon=True).start()
        LOG.info(
            "CTP on port %d, Orthanc over TLS at %s:%d",
            self._settings.port,
            self._settings.host,
            self._settings.orthanc_port,
        )

    def stop(self) -> None:
        """Take no more."""
        self._listener.close()

    def _run(self) -> None:
        while self._listener.fileno() >= 0:
            try:
                ctp, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            if not self._places.acquire(blocking=False):
                LOG.warning("CTP has more than %d connections: one is reset", MOST_CONNECTIONS)
                sockets.reset(ctp)
                continue
            OfOneConnection(target=self._serve, args=(ctp,), name="outlet", daemon=True).start()

    def _serve(self, ctp: socket.socket) -> None:
        try:
            sockets.prepare(ctp)
            if not sockets.readable(ctp, FIRST_SECONDS) or not ctp.recv(1, socket.MSG_PEEK):
                return
            orthanc = self._connect()
            if orthanc is None:
                sockets.reset(ctp)
                return
            why = tunnel.bridge(*orthanc, ctp)
            if isinstance(why, ssl.SSLError):
                LOG.warning("Orthanc's TLS ended an association (%s)", why.reason)
        except OSError:
            pass
        finally:
            ctp.close()
            self._places.release()

    def _connect(self) -> tuple[socket.socket, tunnel.Session] | None:
        host, port = self._settings.host, self._settings.orthanc_port
        try:
            connection = socket.create_connection((host, port), CONNECT_SECONDS)
            sockets.prepare(connection)
            sockets.notice_silence(connection, SILENT_SECONDS)
            names = self._settings.tls_names
            session = tunnel.handshake(connection, self._context, names, CONNECT_SECONDS)
        except OSError as error:
            if self._reachable is not False:
                what = type(error).__name__
                LOG.warning("Orthanc cannot be reached at %s:%d (%s)", host, port, what)
            self._reachable = False
            return None
        if self._reachable is False:
            LOG.info("Orthanc can be reached again at %s:%d", host, port)
        self._reachable = True
        return connection, session


def run(arguments: list[str]) -> int:
    """Run until told to stop; return the exit status."""
    return program.run("outlet", arguments, load, Outlet)
