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
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from program_settings import SettingsError

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
    path = Path(environment.get("CTP_CONFIGURATION_DIRECTORY") or "/etc/ctp") / "outlet.json"
    read = reading.read(path)
    return OutletSettings(
        bind=environment.get("CTP_BIND_ADDRESS") or "0.0.0.0",
        port=read.number("port", 1, 65535),
        host=read.text("host"),
        orthanc_port=read.number("orthanc_port", 1, 65535),
        tls_names=tuple(read.texts("tls_names")),
        trusted=read.text("trusted", empty=True),
        secrets=Path(environment.get("CTP_SECRETS_DIRECTORY") or "/run/secrets"),
    )


def healthcheck(environment: Mapping[str, str]) -> int:
    """Ask the outlet that runs here; return the exit status: 0 well, 1 not, 2 no such settings.

    Whether Orthanc is there does not count: a restart of this would not bring it back.
    """
    try:
        settings = load(environment)
    except SettingsError as error:
        print(f"The outlet cannot start: {error}", file=sys.stderr, flush=True)
        return 2
    try:
        socket.create_connection(("127.0.0.1", settings.port), HEALTH_SECONDS).close()
    except OSError as error:
        print(f"Port {settings.port} does not answer ({type(error).__name__}).")
        return 1
    print("ok")
    return 0
