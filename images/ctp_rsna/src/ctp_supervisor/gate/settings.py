"""What the gate in a container of its own is told, and its health check.

Apart from ``standalone``: what the gate works with takes ten times as long to be imported, and the
health check runs every few seconds.

It reads ``gate.json`` in ``CTP_CONFIGURATION_DIRECTORY`` (default ``/etc/ctp``):

==============================  =================================================================
Key                             Meaning
==============================  =================================================================
``dicom_port``                  port that it listens on, 1-65535
``ctp_host``, ``ctp_port``      where CTP listens for DICOM
``pipelines``                   each with ``called_aets`` and ``calling_aets``, the AE titles
                                that may be used (empty: any), and ``parallel``, how many
                                pipelines of CTP share what comes in
``data``                        directory on the file system that CTP writes to; read-only is enough
``spool``                       directory for the object under way of each sender; nothing in it
                                has a name, and nothing outlives the association
``hold_seconds``                so long senders wait for CTP, within the bounds of the role's
                                variable; then they are rejected
``minimum_free_mib``            below it, associations are rejected and open ones aborted
``largest_object_mib``          a larger object is refused with C-STORE status 0xA700, 1-1048576;
                                so is one for which too little is free above the floor
``sync_before_acknowledge``     true: an answer waits until all that was written is on disk
``stop_seconds``                open associations may take as long to end
``tls``                         ``none``; ``accepted``: on the same port, beside clear text; or
                                ``required``
``tls_required_for``            calling AE titles that are refused in clear text where others are
                                not
``tls_clients``                 CAs (PEM) of which one has to have signed a sender's certificate;
                                empty: senders show none
==============================  =================================================================

For TLS, ``tls.crt`` and ``tls.key`` are in ``CTP_SECRETS_DIRECTORY`` (``/run/secrets``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from program_settings import SettingsError

from .. import reading
from ..dicom.echo import HEALTHCHECK_AET, echo
from ..machine.disk import MIB, free_bytes

HEALTH_SECONDS = 8.0
TLS_NONE, TLS_ACCEPTED, TLS_REQUIRED = "none", "accepted", "required"
WAITING = "A-ASSOCIATE-RJ 2/3/2"
"""How the gate tells the health check that CTP is away, and waited for."""


@dataclass(frozen=True)
class GatePipeline:
    """Whose objects are taken. No AE titles given: any."""

    called_aets: frozenset[str]
    calling_aets: frozenset[str]
    parallel: int
    """How many pipelines of CTP share what comes in."""


@dataclass(frozen=True)
class GateSettings:
    """``gate.json``."""

    bind: str
    dicom_port: int
    ctp_host: str
    ctp_port: int
    pipelines: tuple[GatePipeline, ...]
    data: Path
    spool: Path
    hold_seconds: int
    minimum_free_mib: int
    largest_object_mib: int
    sync_before_acknowledge: bool
    stop_seconds: int
    tls: str
    tls_required_for: tuple[str, ...]
    tls_clients: str
    secrets: Path


def load(environment: Mapping[str, str]) -> GateSettings:
    """Read ``gate.json``. Raises ``SettingsError`` naming the file and the key."""
    path = reading.configuration(environment) / "gate.json"
    read = reading.read(path)
    if (tls := read.text("tls")) not in (TLS_NONE, TLS_ACCEPTED, TLS_REQUIRED):
        raise SettingsError(f"{path}: tls is {tls!r}. Accepted: none, accepted or required.")
    return GateSettings(
        bind=reading.bind(environment),
        dicom_port=read.number("dicom_port", 1, 65535),
        ctp_host=read.text("ctp_host"),
        ctp_port=read.number("ctp_port", 1, 65535),
        pipelines=tuple(
            GatePipeline(
                frozenset(each.texts("called_aets")),
                frozenset(each.texts("calling_aets")),
                each.number("parallel", 1, 64),
            )
            for each in read.parts("pipelines")
        ),
        data=Path(read.text("data")),
        spool=Path(read.text("spool")),
        hold_seconds=read.number("hold_seconds", 0, 86400),
        minimum_free_mib=read.number("minimum_free_mib", 1, 1048576 * 16),
        largest_object_mib=read.number("largest_object_mib", 1, 1048576),
        sync_before_acknowledge=read.boolean("sync_before_acknowledge"),
        stop_seconds=read.number("stop_seconds", 1, 86400),
        tls=tls,
        tls_required_for=tuple(read.texts("tls_required_for")),
        tls_clients=read.text("tls_clients", empty=True),
        secrets=reading.secrets(environment),
    )


def check(settings: GateSettings) -> str:
    """What is wrong, in one sentence; empty when all is well.

    Closed for want of space is well, and so is to wait for CTP: a restart of this cures neither,
    and would end what waits.
    """
    problem = echo(
        "127.0.0.1", settings.dicom_port, "GATE", HEALTHCHECK_AET, seconds=HEALTH_SECONDS
    )
    if not problem or WAITING in problem:
        return ""
    try:
        closed = free_bytes(settings.data) < settings.minimum_free_mib * MIB
    except OSError:
        closed = True
    if closed and "refuses the association" in problem:
        return ""
    return f"Port {settings.dicom_port} {problem}."
