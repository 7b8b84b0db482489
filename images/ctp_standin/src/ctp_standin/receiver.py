"""The receiver: C-ECHO and C-STORE SCP. Success means that the object is on disk."""

from __future__ import annotations

import logging
import threading
import time

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import (
    AE,
    ALL_TRANSFER_SYNTAXES,
    AllStoragePresentationContexts,
    evt,
)
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from . import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from .bounds import MOST_WAITING, BoundedHandler, BoundedServer, requested
from .export import prepare_socket
from .settings import Settings
from .spool import Spool

LOG = logging.getLogger(__name__)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
NOT_AUTHORISED = 0x0124  # PS3.7 C.5.2

_GRACE_SECONDS = 0.5

UNCOMPRESSED = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]
# Big Endian is retired; JPIP and SMPTE ST 2110 carry a reference instead of the pixel data.
TRANSFER_SYNTAXES = [
    *UNCOMPRESSED,
    *(
        syntax
        for syntax in map(UID, ALL_TRANSFER_SYNTAXES)
        if syntax not in UNCOMPRESSED
        and syntax != ExplicitVRBigEndian
        and not any(word in syntax.name for word in ("JPIP", "SMPTE"))
    ),
]


class Receiver:
    """Listens for associations, each in its own thread, and puts what comes into the spool."""

    def __init__(
        self,
        spool: Spool,
        settings: Settings,
        called_aets: frozenset[str] = frozenset(),
        calling_aets: frozenset[str] = frozenset(),
    ) -> None:
        """Objects are taken from and for the AE titles given; from and for any where none is."""
        self._spool = spool
        self._called_aets, self._calling_aets = called_aets, calling_aets
        self._address = (settings.bind_address, settings.dicom_port)
        self._stopping = False
        self._writing = 0
        self._idle = threading.Condition()
        self._server: ThreadedAssociationServer | None = None
        self._ae = AE(ae_title=settings.aet)
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._ae.require_called_aet = False
        # The library counts connections that have asked for nothing yet, and those that end, too.
        self._ae.maximum_associations = 64 + 2 * MOST_WAITING
        self._ae.maximum_pdu_size = 131072
        self._ae.network_timeout = 60
        self._ae.add_supported_context(Verification, UNCOMPRESSED[:2])
        for context in AllStoragePresentationContexts:
            self._ae.add_supported_context(str(context.abstract_syntax), TRANSFER_SYNTAXES)

    def start(self) -> None:
        """Listen. Raises ``OSError`` when the port is taken."""
        self._server = self._ae.make_server(
            self._address,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, prepare_socket),
                (evt.EVT_REQUESTED, requested),
                (evt.EVT_C_ECHO, lambda _event: SUCCESS),
                (evt.EVT_C_STORE, self._store),
            ],
            server_class=BoundedServer,
            request_handler=BoundedHandler,
        )
        self._ae._servers.append(self._server)  # its end takes it out again
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()

    def stop(self, timeout: float) -> None:
        """Refuse what comes from now on, let what is being written end, then close.

        A sender whose association is aborted here has no Success for its last object.
        """
        self._stopping = True
        with self._idle:
            self._idle.wait_for(lambda: self._writing == 0, timeout)
        # Time for the answers to leave, and for senders to end their associations themselves.
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._ae.active_associations and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._server is not None:
            self._server.shutdown()

    def _is_accepted(self, event: evt.Event) -> bool:
        requestor = event.assoc.requestor
        asked = requestor.primitive
        if asked is None:
            return False
        called, calling = asked.called_ae_title, requestor.ae_title
        return (not self._called_aets or called.strip() in self._called_aets) and (
            not self._calling_aets or calling.strip() in self._calling_aets
        )

    def _store(self, event: evt.Event) -> int:
        if not self._is_accepted(event):
            LOG.warning("An object for or from an AE title that is not accepted was refused")
            return NOT_AUTHORISED
        with self._idle:
            if self._stopping:
                return OUT_OF_RESOURCES
            self._writing += 1
        try:
            object_id = self._spool.add(event.encoded_dataset())
        except Exception as error:
            LOG.error(
                "An object could not be stored (%s) and was refused with status 0x%04X",
                type(error).__name__,
                OUT_OF_RESOURCES,
            )
            return OUT_OF_RESOURCES
        finally:
            with self._idle:
                self._writing -= 1
                self._idle.notify_all()
        LOG.info("Object %s was received", object_id)
        return SUCCESS
