"""The gateway: receiver, spool, worker and page as one program."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings

import pydicom

from . import BANNER, IMPLEMENTATION_VERSION_NAME
from .export import Exporter
from .lookup import PatientLookup
from .receiver import Receiver
from .settings import Settings
from .spool import Spool
from .uids import UidMapper, load_key
from .web import StatusPage
from .worker import Worker

LOG = logging.getLogger(__name__)

STOP_SECONDS = 8.0
"""Stopping takes no longer: Docker kills after 10 s by default."""


def configure_logging() -> None:
    """Log to stdout, in UTC, without identifiers.

    The DICOM libraries quote values and UIDs in their messages and warnings, so they are silenced;
    this program logs an object's spool id, and of an exception its type.
    """
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for library in ("pydicom", "pynetdicom", "psycopg"):
        logger = logging.getLogger(library)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
    warnings.simplefilter("ignore")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    threading.excepthook = _log_type_only


class Gateway:
    """All parts of the program, built from the settings and the place pseudonyms come from."""

    def __init__(self, settings: Settings, lookup: PatientLookup) -> None:
        """Open the spool and the ports' owners; nothing listens before ``start``.

        Raises ``SettingsError``, ``SpoolError`` or ``OSError`` with a text for the operator.
        """
        self._settings = settings
        password = settings.secret("ctp_admin_pass")
        self._spool = Spool(settings.spool_directory, settings.min_free_mib * 2**20)
        key = load_key(settings.spool_directory / "uid.key", may_create=self._spool.is_new)
        self._worker = Worker(
            self._spool,
            lookup,
            Exporter.from_settings(settings),
            UidMapper(key),
            settings.retry_seconds,
        )
        self._receiver = Receiver(self._spool, settings)
        self._page = StatusPage(
            (settings.bind_address, settings.web_port), password, self._spool, self._worker
        )

    def start(self) -> None:
        """Work, receive and answer from now on."""
        LOG.warning("%s (%s)", BANNER, IMPLEMENTATION_VERSION_NAME)
        counts = self._spool.counts()
        LOG.info("Taken up: %d queued, %d in quarantine", counts.queued, counts.quarantined)
        self._worker.start()
        self._receiver.start()
        self._page.start()
        LOG.info(
            "DICOM on port %d, page on port %d, forwarding to %s at %s:%d",
            self._settings.dicom_port,
            self._settings.web_port,
            self._settings.orthanc_aet,
            self._settings.orthanc_host,
            self._settings.orthanc_port,
        )

    def stop(self) -> None:
        """Stop receiving, finish the object in hand, give the spool back."""
        LOG.info("Stopping")
        deadline = time.monotonic() + STOP_SECONDS
        self._worker.stop()
        self._receiver.stop(timeout=STOP_SECONDS / 2)
        self._worker.join(max(0.0, deadline - time.monotonic()))
        self._page.stop()
        counts = self._spool.counts()
        self._spool.release()
        LOG.info("Stopped: %d queued, %d in quarantine", counts.queued, counts.quarantined)


def run(settings: Settings, lookup: PatientLookup) -> None:
    """Run until SIGTERM or SIGINT, then end the process with status 0."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    gateway = Gateway(settings, lookup)
    gateway.start()
    stop.wait()
    gateway.stop()
    sys.stdout.flush()
    # The library's threads are not daemons and may still wait for a peer that is gone.
    os._exit(0)


def _log_type_only(arguments: threading.ExceptHookArgs) -> None:
    name = arguments.thread.name if arguments.thread else "?"
    LOG.error("Thread %s ended: %s", name, arguments.exc_type.__name__)
