"""The gateway: receiver, spool and worker for each pipeline, and the page, as one program."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pydicom

from . import BANNER, IMPLEMENTATION_VERSION_NAME
from .export import Exporter
from .plan import Pipeline, Plan
from .receiver import Receiver
from .spool import Spool
from .uid_key import load_key
from .web import Shown, StatusPage
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


class _Line:
    """One running pipeline."""

    def __init__(self, pipeline: Pipeline, spool: Spool) -> None:
        self.pipeline = pipeline
        self.spool = spool
        self.worker = Worker(
            spool,
            pipeline.lookup,
            Exporter.from_settings(pipeline.settings),
            pipeline.rules,
            pipeline.settings.retry_seconds,
        )
        self.receiver = Receiver(
            spool, pipeline.settings, pipeline.called_aets, pipeline.calling_aets
        )

    def start(self) -> None:
        counts = self.spool.counts()
        LOG.info("Taken up: %d queued, %d in quarantine", counts.queued, counts.quarantined)
        self.worker.start()
        self.receiver.start()
        settings = self.pipeline.settings
        LOG.info(
            "DICOM on port %d, page on port %d, forwarding to %s at %s:%d",
            settings.dicom_port,
            settings.web_port,
            settings.orthanc_aet,
            settings.orthanc_host,
            settings.orthanc_port,
        )

    def stop(self, deadline: float) -> None:
        self.worker.stop()
        self.receiver.stop(timeout=STOP_SECONDS / 2)
        self.worker.join(max(0.0, deadline - time.monotonic()))
        counts = self.spool.counts()
        self.spool.release()
        LOG.info("Stopped: %d queued, %d in quarantine", counts.queued, counts.quarantined)


class Gateway:
    """All parts of the program, built from a plan."""

    def __init__(self, plan: Plan) -> None:
        """Open the spools and the ports' owners; nothing listens before ``start``.

        Raises ``SpoolError`` or ``OSError`` with a text for the operator.
        """
        self._wish = threading.Event()
        self._stopped = threading.Event()
        spools = [
            Spool(
                pipeline.settings.spool_directory,
                pipeline.settings.min_free_mib * 2**20,
                pipeline.layout,
            )
            for pipeline in plan.pipelines
        ]
        if plan.uid_key_file is not None:
            is_new = all(spool.is_new for spool in spools)
            key = load_key(plan.uid_key_file, may_create=is_new).hex()
            for pipeline in plan.pipelines:
                pipeline.rules.key = key
        self._lines = [_Line(*pair) for pair in zip(plan.pipelines, spools)]
        self._page = StatusPage(
            plan.web_address,
            plan.login,
            [Shown(line.pipeline, line.spool, line.worker) for line in self._lines],
            self._shut_down,
        )

    def start(self) -> None:
        """Work, receive and answer from now on."""
        LOG.warning("%s (%s)", BANNER, IMPLEMENTATION_VERSION_NAME)
        for line in self._lines:
            line.start()
        self._page.start()

    def wish_to_stop(self) -> None:
        """Let ``wait`` return; may be called from a signal handler."""
        self._wish.set()

    def wait(self) -> None:
        """Wait for a signal, or for a request on the page, to stop."""
        # Not without end: a signal that comes just before the wait begins does not end it.
        while not self._wish.wait(1):
            pass

    def stop(self) -> None:
        """Stop receiving, finish the objects in hand, give the spools back."""
        LOG.info("Stopping")
        deadline = time.monotonic() + STOP_SECONDS
        with ThreadPoolExecutor(len(self._lines)) as pool:
            list(pool.map(lambda line: line.stop(deadline), self._lines))
        self._stopped.set()
        self._page.stop()

    def _shut_down(self) -> None:
        LOG.info("A shutdown was requested on the page")
        self._wish.set()
        self._stopped.wait(STOP_SECONDS + 2)


def run(plan: Plan) -> None:
    """Run until SIGTERM, SIGINT or a shutdown on the page, then end with status 0."""
    gateway = Gateway(plan)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: gateway.wish_to_stop())
    gateway.start()
    gateway.wait()
    gateway.stop()
    sys.stdout.flush()
    # The library's threads are not daemons and may still wait for a peer that is gone.
    os._exit(0)


def _log_type_only(arguments: threading.ExceptHookArgs) -> None:
    name = arguments.thread.name if arguments.thread else "?"
    LOG.error("Thread %s ended: %s", name, arguments.exc_type.__name__)
