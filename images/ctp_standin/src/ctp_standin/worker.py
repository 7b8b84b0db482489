"""The worker: takes acknowledged objects one by one and brings each to where it belongs."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from pathlib import Path

from ctp_rules import anonymizer, reading
from pydicom.tag import Tag

from .export import (
    ExportBrokenError,
    Exporter,
    ExportInterruptedError,
    ExportRefusedError,
    ExportUnavailableError,
)
from .lookup import DATE_SHIFT, PATIENT_ID, LookupUnavailableError, OtherIssuerError, PatientLookup
from .rules import Rules
from .spool import QueuedObject, Reason, RefusedError, Spool

LOG = logging.getLogger(__name__)

IDLE_SECONDS = 2.0
"""The association to Orthanc is released after this time without work."""

_FIRST_PAUSE = 0.5
_SUSPICIOUS = 5  # so many objects in a row broke off: it is not the objects
_TRIES = 3
"""Times that Orthanc may end at an object, where it takes others."""
_TRIES_AT_MOST = 6
_LONGEST_PSEUDONYM = 64  # LO (PS3.5 6.2)
_IDENTIFIERS = ("PatientID", "IssuerOfPatientID")


class Worker:
    """One thread, one object in hand. What it cannot finish stays in the spool, for ever."""

    def __init__(
        self,
        spool: Spool,
        lookup: PatientLookup,
        exporter: Exporter,
        rules: Rules,
        retry_seconds: float,
    ) -> None:
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._spool = spool
        self._lookup = lookup
        self._exporter = exporter
        self._rules = rules
        self._retry_seconds = retry_seconds
        self._stopping = threading.Event()
        self._pauses = 0
        self._interruptions = 0
        self._beat = time.monotonic()
        self.waiting_for = ""

    @property
    def silent_seconds(self) -> float:
        """Time since the thread last moved; it moves every few seconds even without work."""
        return time.monotonic() - self._beat

    def start(self) -> None:
        """Work, in a thread of its own, until ``stop``."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether that thread runs."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> None:
        """Wait until that thread has ended, at most ``timeout`` seconds."""
        self._thread.join(timeout)

    def stop(self) -> None:
        """Finish the object in hand, then end."""
        self._stopping.set()
        self._spool.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._beat = time.monotonic()
            entry = self._spool.take(IDLE_SECONDS)
            if entry is None:
                self._exporter.close()
                self._look_for_more()
                continue
            try:
                self._handle(entry)
            except OSError as error:
                self._wait("the spool", type(error).__name__, entry)
            except Exception as error:
                # A mistake of this program: nothing is lost by it, and others may still pass.
                delay = self._pause(entry.attempts)
                LOG.error("Object %s is tried again in %.1f s: %s", entry.id, delay, where(error))
                self._spool.defer(entry, delay)
        self._exporter.close()

    def _look_for_more(self) -> None:
        try:
            self._spool.take_up_left_over()
        except OSError as error:
            LOG.warning("The spool could not be looked through (%s)", type(error).__name__)

    def _handle(self, entry: QueuedObject) -> None:
        try:
            self._forward(entry)
        except RefusedError as refusal:
            LOG.warning("Object %s goes to quarantine: %s", entry.id, refusal)
            self._spool.quarantine(entry, refusal.reason)
        except LookupUnavailableError as error:
            self._wait("KeyDB", str(error), entry)
        except ExportUnavailableError as error:
            self._wait("Orthanc", str(error), entry)
        except ExportInterruptedError as error:
            self._interruptions += 1
            entry.broken += isinstance(error, ExportBrokenError)
            if entry.broken >= (_TRIES if self._interruptions < _SUSPICIOUS else _TRIES_AT_MOST):
                LOG.warning(
                    "Object %s goes to quarantine: Orthanc ended at it %d times (%d MiB)",
                    entry.id,
                    entry.broken,
                    entry.path.stat().st_size // 2**20,
                )
                self._spool.quarantine(entry, Reason.REFUSED_BY_ORTHANC)
                return
            if self._interruptions >= _SUSPICIOUS:
                self._wait("Orthanc", str(error), entry)
                return
            # It may be this object's fault: let the others pass before it is tried again.
            delay = self._pause(entry.attempts)
            LOG.warning("Object %s is tried again in %.1f s (%s)", entry.id, delay, error)
            self._spool.defer(entry, delay)
        else:
            LOG.info("Object %s was forwarded", entry.id)
            self._spool.forwarded(entry)
            self._moved()

    def _forward(self, entry: QueuedObject) -> None:
        content = entry.path.read_bytes()
        issuer = _issuer(content)
        known: dict[tuple[str, str], str | None] = {}

        def lookup(kind: str, key: str) -> str | None:
            # The script asks for the same patient several times.
            if (kind, key) not in known:
                known[kind, key] = self._looked_up(kind, key, issuer)
            return known[kind, key]

        try:
            result = self._rules.deidentify(content, lookup)
        except (RefusedError, LookupUnavailableError):
            raise
        except Exception as error:
            LOG.warning("Object %s: de-identification failed: %s", entry.id, where(error))
            raise RefusedError(Reason.DEIDENTIFICATION_FAILED) from None
        self._beat = time.monotonic()
        try:
            self._exporter.store(result)
        except ExportRefusedError as error:
            LOG.warning("Object %s: Orthanc refused it: %s", entry.id, error)
            raise RefusedError(Reason.REFUSED_BY_ORTHANC) from None

    def _looked_up(self, kind: str, key: str, issuer: str) -> str | None:
        if kind == DATE_SHIFT:
            return self._lookup.date_shift(key, issuer) if key else None
        if kind != PATIENT_ID:
            return None
        # The script joins PatientID and issuer.
        patient_id, _, issuer = key.rpartition("|")
        if not patient_id:
            return None
        try:
            pseudonym = self._lookup.pseudonym(patient_id, issuer)
        except OtherIssuerError:
            raise RefusedError(Reason.OTHER_ISSUER) from None
        if pseudonym is not None and not _is_valid_pseudonym(pseudonym):
            raise RefusedError(Reason.INVALID_PSEUDONYM)
        return pseudonym

    def _wait(self, whom: str, why: str, entry: QueuedObject) -> None:
        delay = self._pause(self._pauses)
        self._pauses += 1
        self.waiting_for = whom
        LOG.warning("%s is not available (%s); next attempt in %.1f s", whom, why, delay)
        self._spool.defer(entry, 0.0)
        # All objects need both neighbours: none is tried in the meantime.
        deadline = time.monotonic() + delay
        while not self._stopping.wait(min(1.0, max(0.0, deadline - time.monotonic()))):
            self._beat = time.monotonic()
            if time.monotonic() >= deadline:
                return

    def _moved(self) -> None:
        if self.waiting_for:
            LOG.info("%s is available again", self.waiting_for)
        self.waiting_for = ""
        self._pauses = self._interruptions = 0

    def _pause(self, attempts: int) -> float:
        return min(self._retry_seconds, _FIRST_PAUSE * 2.0 ** min(attempts, 16))


def where(error: BaseException) -> str:
    """Type and place of an exception. Not its message: a parser quotes what it cannot parse."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def _issuer(content: bytes) -> str:
    """The issuer of the PatientID, empty where there is none.

    Raises ``RefusedError`` for what is no DICOM file, and where one of the two has several values
    or a control character: CTP takes backslashes out of what it looks up, and another patient's
    pseudonym may be what it then finds.
    """
    try:
        source = reading.read(content, pixels=False)
        texts = [anonymizer.shown(source, Tag(keyword)) for keyword in _IDENTIFIERS]
        qualifiers = source.get("IssuerOfPatientIDQualifiersSequence")
        if not texts[1] and qualifiers:
            texts[1] = anonymizer.shown(qualifiers[0], Tag("UniversalEntityID"))
        readable = len(source) > 0
    except Exception:
        raise RefusedError(Reason.UNREADABLE) from None
    if not readable:
        raise RefusedError(Reason.UNREADABLE)
    for text, reason in zip(texts, (Reason.AMBIGUOUS_PATIENT_ID, Reason.OTHER_ISSUER)):
        if any(c < " " or c == "\\" for c in text):
            raise RefusedError(reason)
    return texts[1]


def _is_valid_pseudonym(pseudonym: str) -> bool:
    """Whether it can be both a PatientID (LO) and one component of a PatientName (PN)."""
    return (
        0 < len(pseudonym) <= _LONGEST_PSEUDONYM
        and pseudonym == pseudonym.strip()
        and pseudonym.isprintable()
        and not set(pseudonym) & set("\\^=")
    )
