"""The image's health check: the front's own judgement, then C-ECHO as a sender would."""

from __future__ import annotations

import http.client

from ..dicom.echo import HEALTHCHECK_AET, echo
from ..settings import Settings

SECONDS = 5.0
OPEN = "reception open"
"""How the front says that C-ECHO has to succeed now."""


def check(settings: Settings) -> tuple[bool, str]:
    """Whether all is well, and a sentence."""
    connection = http.client.HTTPConnection("127.0.0.1", settings.web_port, timeout=SECONDS)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        text = response.read(4096).decode("utf-8", "replace").strip().replace("\n", "; ")
    except (OSError, http.client.HTTPException) as error:
        return False, f"Port {settings.web_port} does not answer HTTP ({type(error).__name__})."
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        return False, text
    if OPEN not in text:
        # Closed on purpose (no space, starting, stopping): a restart cures nothing.
        return True, text
    ports = [settings.dicom_port] + [each.import_port for each in settings.pipelines]
    for port in ports:
        problem = echo("127.0.0.1", port, "CTP", HEALTHCHECK_AET, SECONDS)
        if problem:
            return False, f"Port {port} {problem}."
    return True, text
