"""What the outlet is told: ``outlet.json`` in ``CTP_CONFIGURATION_DIRECTORY`` (``/etc/ctp``).

==========================  =====================================================================
Key                         Meaning
==========================  =====================================================================
``port``                    port that it listens on for CTP, 1-65535
``host``, ``orthanc_port``  where Orthanc listens for DICOM over TLS
``tls_names``               Orthanc's certificate has to be for one of them
``trusted``                 file of the CAs that are trusted; empty: those of the system
==========================  =====================================================================

In ``CTP_SECRETS_DIRECTORY`` (``/run/secrets``) are ``tls.crt`` and ``tls.key``.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import reading

HEALTH_SECONDS = 5.0


@dataclass(frozen=True)
class OutletSettings:
    """``outlet.json``."""

    bind: str
    port: int
    host: str
    orthanc_port: int
    tls_names: tuple[str, ...]
    trusted: str
    secrets: Path


def load(environment: Mapping[str, str]) -> OutletSettings:
    """Read ``outlet.json``. Raises ``SettingsError`` naming the file and the key."""
    path = reading.configuration(environment) / "outlet.json"
    read = reading.read(path)
    return OutletSettings(
        bind=reading.bind(environment),
        port=read.number("port", 1, 65535),
        host=read.text("host"),
        orthanc_port=read.number("orthanc_port", 1, 65535),
        tls_names=tuple(read.texts("tls_names")),
        trusted=read.text("trusted", empty=True),
        secrets=reading.secrets(environment),
    )


def check(settings: OutletSettings) -> str:
    """What is wrong, in one sentence; empty when all is well.

    Whether Orthanc is there does not count: a restart of this would not bring it back.
    """
    try:
        socket.create_connection(("127.0.0.1", settings.port), HEALTH_SECONDS).close()
    except OSError as error:
        return f"Port {settings.port} does not answer ({type(error).__name__})."
    return ""
