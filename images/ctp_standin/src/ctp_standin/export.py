"""Export to Orthanc: C-STORE over an association that is kept for a batch."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from . import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from .settings import Settings

LOG = logging.getLogger(__name__)

MOST_CONTEXTS = 127  # 128 in all (PS3.8 9.3.2.2), one of them Verification

# Out of resources (PS3.4 B.2.3), and "not authorised" (PS3.7 C.5.2), which is a matter of the
# receiver's configuration and not of the object.
_TRY_AGAIN = frozenset({0x0124, 0x0213, *range(0xA700, 0xA800)})


_SETTLE_SECONDS = 1.0


class ExportUnavailableError(Exception):
    """Orthanc cannot be reached now: nothing to blame on the object."""


class ExportInterruptedError(Exception):
    """The exchange of this object broke off, or Orthanc asked to try again later."""


class ExportBrokenError(ExportInterruptedError):
    """The association was there, and ended before Orthanc answered for this object."""


class ExportRefusedError(Exception):
    """Orthanc will never take this object: failure status, or no presentation context for it."""


def prepare_socket(event: evt.Event) -> None:
    """Send small packets at once: Nagle's delay costs 40 ms for every object."""
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def settle(association: Association) -> None:
    """Let the library's reactor go on after a request, before the next one pauses it.

    The next request takes a reactor that has not woken yet for paused; it then wakes and takes away
    an answer that comes at once, for which the request waits until its timeout.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    while association._is_paused and association.is_alive() and time.monotonic() < deadline:
        time.sleep(0.0001)


class Exporter:
    """Sends data sets to one C-STORE SCP. Not thread-safe: it belongs to the worker."""

    def __init__(self, host: str, port: int, *, called_aet: str, calling_aet: str) -> None:
        self._host, self._port, self._called_aet = host, port, called_aet
        self._pairs: list[tuple[str, str]] = []
        self._association: Association | None = None
        self._ae = AE(ae_title=calling_aet)
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._ae.connection_timeout = 5
        self._ae.acse_timeout = 10
        self._ae.dimse_timeout = 60
        self._ae.network_timeout = 60

    @classmethod
    def from_settings(cls, settings: Settings) -> Exporter:
        """An exporter to the Orthanc that the settings name."""
        return cls(
            settings.orthanc_host,
            settings.orthanc_port,
            called_aet=settings.orthanc_aet,
            calling_aet=settings.aet,
        )

    def store(self, dataset: Dataset) -> None:
        """Send one object; when this returns, the receiver has confirmed it.

        Raises ``ExportUnavailableError``, ``ExportInterruptedError`` or ``ExportRefusedError``.
        """
        pair = (str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID))
        association = self._associate(pair)
        if not _accepts(association, pair):
            raise ExportRefusedError("no presentation context")
        try:
            status = association.send_c_store(dataset)
        except (RuntimeError, ValueError, AttributeError) as error:
            self.close()
            raise ExportBrokenError(type(error).__name__) from None
        settle(association)
        if "Status" not in status:
            self.close()
            raise ExportBrokenError("no answer")
        code = int(status.Status)
        if code in _TRY_AGAIN:
            raise ExportInterruptedError(f"status 0x{code:04X}")
        if code != 0x0000 and not 0xB000 <= code <= 0xBFFF:
            raise ExportRefusedError(f"status 0x{code:04X}")

    def close(self) -> None:
        """Release the association, if there is one."""
        association, self._association = self._association, None
        if association is not None and association.is_established:
            association.release()

    def _associate(self, pair: tuple[str, str]) -> Association:
        if pair in self._pairs:
            if self._association is not None and self._association.is_established:
                return self._association
        else:
            # What was sent before will be sent again: propose it too, the latest first.
            self._pairs = [pair, *self._pairs][:MOST_CONTEXTS]
        self.close()
        handlers: list[tuple[Any, ...]] = [(evt.EVT_CONN_OPEN, prepare_socket)]
        try:
            association = self._ae.associate(
                self._host,
                self._port,
                contexts=[build_context(Verification), *_contexts(self._pairs)],
                ae_title=self._called_aet,
                max_pdu=0,
                evt_handlers=handlers,
            )
        except OSError as error:
            # In Swarm, the name of a service without a running task does not resolve.
            raise ExportUnavailableError(type(error).__name__) from None
        if not association.is_established:
            raise ExportUnavailableError("rejected" if association.is_rejected else "no connection")
        self._association = association
        LOG.info("Associated with %s at %s:%d", self._called_aet, self._host, self._port)
        return association


def _contexts(pairs: Iterable[tuple[str, str]]) -> list[Any]:
    return [build_context(sop_class, syntax) for sop_class, syntax in pairs]


def _accepts(association: Association, pair: tuple[str, str]) -> bool:
    return any(
        (context.abstract_syntax, context.transfer_syntax[0]) == pair
        for context in association.accepted_contexts
    )
