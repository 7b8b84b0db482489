"""The gate in front of CTP's container, in one of its own.

It has no password, and so no reason to be restarted when one is changed. Where it speaks TLS it has
the machine's certificate and key, and is restarted when these are renewed.

It refuses AE titles so that the sender sees it, turns senders away before the disk is full, and
lets them wait while CTP is restarted (``holding``). In front of a CTP of which nothing else is
known, it also holds CTP's answers until the object is on disk. CTP cannot be frozen from here: what
it has taken goes on being worked on below the floor, so the floor has to leave room for that.

Its settings are read by ``settings``.
"""

from __future__ import annotations

import logging
import tempfile

from program_settings import SettingsError

from .. import program
from ..dicom import tunnel
from ..machine.disk import CRITICAL, LOW, MIB, OPEN, GroupSync, SpaceGuard
from .gate import Pipeline, Secure
from .holding import HoldingGate
from .settings import TLS_NONE, TLS_REQUIRED, GateSettings, load

LOG = logging.getLogger(__name__)

_CLOSED = {LOW: "the disk is almost full", CRITICAL: "the disk is full"}


class StandaloneGate:
    """The gate and the guard of the free space."""

    def __init__(self, settings: GateSettings) -> None:
        """Open the port. Raises ``OSError`` when it is taken or there is no data directory."""
        self._settings = settings
        self._sync = GroupSync(settings.data) if settings.sync_before_acknowledge else None
        self._gate: HoldingGate | None = None
        self._space = SpaceGuard(settings.data, settings.minimum_free_mib * MIB, self._changed)
        with tempfile.TemporaryFile(dir=settings.spool):
            pass  # or this says now that it cannot be written
        self._gate = HoldingGate(
            (settings.bind, settings.dicom_port),
            tuple(
                Pipeline(settings.ctp_port, each.called_aets, each.calling_aets, each.parallel)
                for each in settings.pipelines
            ),
            closed=lambda: _CLOSED.get(self._space.level, ""),
            before_answer=self._before_answer,
            received=lambda _number: None,
            ctp_host=settings.ctp_host,
            hold_seconds=settings.hold_seconds,
            spool=settings.spool,
            largest_object_bytes=settings.largest_object_mib * MIB,
            minimum_free_bytes=settings.minimum_free_mib * MIB,
            secure=self._secure(),
        )

    def _secure(self) -> Secure | None:
        settings = self._settings
        if settings.tls == TLS_NONE:
            return None
        return Secure(
            tunnel.server_context(settings.secrets, settings.tls_clients),
            settings.tls == TLS_REQUIRED,
            frozenset(settings.tls_required_for),
        )

    def start(self) -> None:
        """Answer senders from now on."""
        assert self._gate is not None
        self._space.start()
        self._gate.start()
        LOG.info(
            "DICOM on port %d (TLS: %s), CTP at %s:%d, closed below %d MiB",
            self._settings.dicom_port,
            self._settings.tls,
            self._settings.ctp_host,
            self._settings.ctp_port,
            self._settings.minimum_free_mib,
        )

    def stop(self) -> None:
        """Let each sender have its next answer, then end."""
        assert self._gate is not None
        self._gate.drain(self._settings.stop_seconds)
        self._gate.stop()
        self._space.stop()

    def _changed(self, old: str, new: str) -> None:
        if new == OPEN:
            LOG.warning("There is space again: senders may come in")
            return
        LOG.error("Below the floor of free space (%s): senders are turned away", new)
        if self._gate is not None and old == OPEN:
            self._gate.abort_all(_CLOSED[new])

    def _before_answer(self) -> str:
        # CTP answers Success also to what it could not write.
        if self._space.check() == CRITICAL:
            return _CLOSED[CRITICAL]
        if self._sync is not None:
            try:
                self._sync.wait()
            except OSError as error:
                LOG.error("The file system failed to write (%s)", error.strerror)
                return "the disk failed"
        return ""


def run(arguments: list[str]) -> int:
    """Run until told to stop; return the exit status."""
    return program.run("gate", arguments, load, _made)


def _made(settings: GateSettings) -> StandaloneGate:
    try:
        return StandaloneGate(settings)
    except OSError as error:
        raise SettingsError(
            f"{error}. Its port must be free, the directory {settings.data} readable, "
            f"{settings.spool} writable."
        ) from error
