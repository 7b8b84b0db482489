"""CTP's way to Orthanc: a port on loopback for each pipeline.

dcm4che in CTP repeats an object when the connection is refused or reset, and gives it up (into the
export quarantine) when the connection ends in order. So this port is closed while Orthanc cannot be
reached, and every end that Orthanc did not announce is passed on as a reset.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable

from . import pdu
from .settings import Pipeline

LOG = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 1.0
ANSWER_SECONDS = 300.0
"""Orthanc may take as long for one object; then it is taken for away."""
_CHUNK = 256 * 1024


class ExportRelay:
    """Relays one pipeline's export."""

    def __init__(
        self, pipeline: Pipeline, intact: Callable[[], bool], forwarded: Callable[[int], None]
    ) -> None:
        """``intact`` says whether CTP's files are those that were verified; nothing passes
        otherwise. ``forwarded`` counts objects that Orthanc acknowledged."""
        self.pipeline = pipeline
        self._intact = intact
        self._forwarded = forwarded
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._stopped = False
        self.reachable: bool | None = None
        """Whether Orthanc could be reached at the last try; ``None``: not tried yet."""
        self.moved = time.monotonic()
        """When CTP last used it."""

    def start(self) -> None:
        """Relay from now on."""
        threading.Thread(target=self._run, name=f"relay {self.pipeline.name}", daemon=True).start()

    def stop(self) -> None:
        """Cut everything, for good."""
        self._stopped = True
        with self._lock:
            sockets = list(self._open)
            if self._listener is not None:
                sockets.append(self._listener)
        for each in sockets:
            pdu.reset(each)

    def _connect(self) -> socket.socket | None:
        export = self.pipeline.export
        try:
            orthanc = socket.create_connection((export.host, export.port), timeout=CONNECT_SECONDS)
        except OSError as error:
            if self.reachable is not False:
                LOG.warning(
                    "Orthanc cannot be reached at %s:%d (%s); what is for it stays queued",
                    export.host,
                    export.port,
                    type(error).__name__,
                )
            self.reachable = False
            return None
        if self.reachable is False:
            LOG.info("Orthanc can be reached again at %s:%d", export.host, export.port)
        self.reachable = True
        return orthanc

    def _run(self) -> None:
        while not self._stopped:
            orthanc = self._connect()
            if orthanc is None:
                time.sleep(PROBE_SECONDS)
                continue
            orthanc.close()
            try:
                self._serve()
            except OSError as error:
                if not self._stopped:
                    LOG.error("The export relay cannot listen (%s)", type(error).__name__)
                    time.sleep(PROBE_SECONDS)

    def _serve(self) -> None:
        """Accept CTP's connections until Orthanc cannot be reached."""
        with socket.create_server(("127.0.0.1", self.pipeline.export.listen_port)) as listener:
            with self._lock:
                self._listener = listener
            try:
                while not self._stopped:
                    ctp, _ = listener.accept()
                    self.moved = time.monotonic()
                    if not self._intact():
                        pdu.reset(ctp)
                        continue
                    orthanc = self._connect()
                    if orthanc is None:
                        pdu.reset(ctp)
                        return
                    threading.Thread(
                        target=self._relay, args=(ctp, orthanc), name="export", daemon=True
                    ).start()
            finally:
                with self._lock:
                    self._listener = None

    def _relay(self, ctp: socket.socket, orthanc: socket.socket) -> None:
        with self._lock:
            self._open |= {ctp, orthanc}
        if self._stopped:
            pdu.reset(ctp)
        answers = threading.Thread(
            target=self._relay_answers, args=(ctp, orthanc), name="export answers", daemon=True
        )
        try:
            for connection in (ctp, orthanc):
                pdu.prepare(connection)
                connection.settimeout(None)
            orthanc.settimeout(ANSWER_SECONDS)
            answers.start()
            buffer = bytearray(_CHUNK)
            view = memoryview(buffer)
            while True:
                count = ctp.recv_into(buffer)
                pdu.acknowledge_quickly(ctp)
                if not count:
                    break
                self.moved = time.monotonic()
                # Asked after the bytes are here: what CTP made of a changed script comes later
                # than the change.
                if not self._intact():
                    pdu.reset(ctp)
                    break
                orthanc.sendall(view[:count])
            answers.join(CONNECT_SECONDS)
        except OSError:
            pass
        finally:
            pdu.reset(ctp)
            pdu.reset(orthanc)
            with self._lock:
                self._open -= {ctp, orthanc}

    def _relay_answers(self, ctp: socket.socket, orthanc: socket.socket) -> None:
        reader = pdu.PduReader(orthanc)
        scanner = pdu.ResponseScanner()
        last = 0
        try:
            while True:
                try:
                    found = reader.read()
                except TimeoutError:
                    continue  # an idle association; CTP ends it
                if found is None:
                    break
                last = found[0]
                ctp.sendall(found)
                stored = [s for field, s in scanner.feed(found) if field == pdu.C_STORE_RSP]
                if stored:
                    self._forwarded(sum(status == 0 for status in stored))
        except (OSError, pdu.ProtocolError):
            pass
        finally:
            if last == pdu.RELEASE_RP:
                with contextlib.suppress(OSError):
                    ctp.shutdown(socket.SHUT_WR)
            else:
                pdu.reset(ctp)
