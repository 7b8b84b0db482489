"""Orthanc's Python plugin: what may come into the archive, and who may ask what of it.

Orthanc runs this file when it starts (PythonScript), and ends where that fails. What it decides
with stands in ``orthanc_guard``, which knows nothing of Orthanc.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import orthanc
from orthanc_guard.settings import read

LOADED = Path("/run/orthanc/guard")
"""The health check looks for it, with the number of Orthanc's process in it."""

STORED = 0x0000
REFUSED = 0xC002
"""C-STORE: Error: Cannot understand (PS3.4 B.2.3). A sender takes it for the object's fault and
does not try for ever, as it may with Not authorized (0124) and Out of resources (A7xx)."""
NO_OBJECT = b"Refused: it does not carry the marks of this node's de-identification."
"""In an object's place Orthanc cannot read it, stores nothing and tells the client: HTTP status
400, a failed SOP sequence of DICOMweb, a failed job. To discard the object would be Success."""

METHODS = {
    orthanc.HttpMethod.GET: "GET",
    orthanc.HttpMethod.POST: "POST",
    orthanc.HttpMethod.PUT: "PUT",
    orthanc.HttpMethod.DELETE: "DELETE",
}

GUARD = read(json.loads(orthanc.GetConfiguration()))


def refusal(instance: Any) -> str:
    """Return why an object may not be stored, or nothing. It never raises."""
    try:
        return GUARD.marks.missing(json.loads(instance.GetInstanceSimplifiedJson()))
    except Exception as error:  # whatever it is, the object is not known to be de-identified
        return f"it cannot be read ({type(error).__name__})"


def store(instance: Any) -> int:
    """Answer a C-STORE, or a C-STORE within a C-GET that Orthanc has asked for."""
    why = refusal(instance)
    if why:
        orthanc.LogWarning(f"An object was refused over DICOM: {why} (docs/access.md)")
        return REFUSED
    return STORED


def receive(content: bytes, origin: Any) -> tuple[Any, bytes | None]:
    """Judge what comes in by any other way; Orthanc calls this before it stores anything."""
    keep = (orthanc.ReceivedInstanceAction.KEEP_AS_IS, None)
    if origin == orthanc.InstanceOrigin.DICOM_PROTOCOL:
        return keep  # `store` is asked next, and the sender gets its answer
    try:
        why = refusal(orthanc.CreateDicomInstance(content))
    except Exception as error:
        why = f"it cannot be read ({type(error).__name__})"
    if not why:
        return keep
    # What is raised here, Orthanc would log and store the object all the same.
    orthanc.LogWarning(f"An object was refused over HTTP: {why} (docs/access.md)")
    return (orthanc.ReceivedInstanceAction.MODIFY, NO_OBJECT)


def allow(uri: str, **request: Any) -> bool:
    """Say whether a request may go on; Orthanc has checked the password by now."""
    try:
        return GUARD.may(request["headers"], METHODS[request["method"]], uri)
    except Exception as error:
        orthanc.LogError(f"A request could not be judged ({type(error).__name__}): refused")
        return False


orthanc.RegisterIncomingCStoreInstanceFilter(store)
orthanc.RegisterReceivedInstanceCallback(receive)
orthanc.RegisterIncomingHttpRequestFilter(allow)
LOADED.write_text(f"{os.getpid()}\n", encoding="ascii")
