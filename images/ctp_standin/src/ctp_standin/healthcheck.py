"""The image's health check: C-ECHO as a sender would, and the worker through the page."""

from __future__ import annotations

import http.client

from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from .settings import Settings

SECONDS = 5


def check(settings: Settings) -> str:
    """What is wrong, in one sentence; empty when all is well."""
    ae = AE(ae_title="HEALTHCHECK")
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = SECONDS
    association = ae.associate(
        "127.0.0.1",
        settings.dicom_port,
        contexts=[build_context(Verification)],
        ae_title=settings.aet,
    )
    if not association.is_established:
        return f"Port {settings.dicom_port} accepts no DICOM association."
    status = association.send_c_echo()
    association.release()
    if "Status" not in status or status.Status != 0x0000:
        return f"C-ECHO on port {settings.dicom_port} was not answered with Success."
    connection = http.client.HTTPConnection("127.0.0.1", settings.web_port, timeout=SECONDS)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            return f"The page answers {response.status}: {response.read(200).decode().strip()}."
    except OSError as error:
        return f"Port {settings.web_port} does not answer HTTP ({type(error).__name__})."
    finally:
        connection.close()
    return ""
