"""What lies in CTP's quarantine: what its page or its directories say, and what the files say."""

from __future__ import annotations

import contextlib
import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine import (
    NOT_TOLD,
    WAITING,
    Device,
    Held,
    seconds_of,
    shown,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import ClientError, Http

with contextlib.suppress(ImportError):  # studies and patients are not counted then
    from pydicom import dcmread

_DEVICE = ("SOPClassUID", "Manufacturer", "ManufacturerModelName", "Rows", "Columns")

_JAVA_BLANKS = "".join(map(chr, range(33)))


def whose(path: Path) -> dict[str, Any]:
    """Return PatientID, issuer, Study Instance UID, size and device of a file, for `Held`.

    What cannot be read is empty. The issuer is the one that CTP looks up, which the patient has to
    be in KeyDB with.
    """
    found: dict[str, Any] = dict.fromkeys(("patient_id", "issuer", "study"), "")
    found.update(size=0, device=Device())
    try:
        found["size"] = path.stat().st_size
        dataset = dcmread(
            path,
            stop_before_pixels=True,
            specific_tags=[
                "SpecificCharacterSet",
                "PatientID",
                "IssuerOfPatientID",
                "IssuerOfPatientIDQualifiersSequence",
                "StudyInstanceUID",
                *_DEVICE,
            ],
        )
        # A no-break space at its end is of the PatientID, to CTP as to KeyDB.
        patient_id = _text(dataset.get("PatientID")).replace("\\", "")
        found["patient_id"] = patient_id.strip(_JAVA_BLANKS)
        found["study"] = str(dataset.get("StudyInstanceUID") or "")
        issuer = _text(dataset.get("IssuerOfPatientID")).lstrip(" ").rstrip(_JAVA_BLANKS)
        qualifiers = dataset.get("IssuerOfPatientIDQualifiersSequence")
        if not issuer and qualifiers:
            issuer = _text(qualifiers[0].get("UniversalEntityID")).rstrip(_JAVA_BLANKS)
        found["issuer"] = issuer
        sop_class, maker, model = (shown(dataset.get(each)) for each in _DEVICE[:3])
        rows, columns = (_pixels(dataset.get(each)) for each in _DEVICE[3:])
        found["device"] = Device(sop_class, maker, model, rows, columns)
    except Exception:  # pydicom raises whatever a broken file leads to
        return found
    return found


def _text(value: Any) -> str:
    """Return one value, or several with what separates them."""
    return (
        str(value or "") if value is None or isinstance(value, str) else "\\".join(map(str, value))
    )


def _pixels(value: Any) -> int:
    return value if isinstance(value, int) else 0


def listed(flavour: str, root: Path, http: Http) -> list[Held]:
    """Return what lies in quarantine.

    Args:
        flavour: of CTP, ctp_flavour.
        root: where CTP's data lies on this host.
        http: CTP's page.

    Raises:
        ClientError: CTP's page does not answer as this flavour's does.
    """
    entries: list[dict[str, Any]]
    if flavour == "auscat":
        entries = _of_directories(root)
    elif flavour == "standin":
        entries = http.get_json("/api/status")["quarantine"]
        for entry in entries:
            entry["file"] = f"quarantine/{entry['reason']}/{entry['id']}.dcm"
    else:
        status, content = http.send("GET", "/api/quarantine")
        if status == 404:
            raise ClientError(f"{http.url} is a CTP of before this command; run site.yml first")
        if status != 200:
            raise ClientError(f"{http.url}/api/quarantine answered with status {status}")
        entries = json.loads(content)["quarantine"]
    held = []
    for entry in entries:
        path = root / str(entry["file"])
        of_file = whose(path)
        if entry["reason"] not in WAITING:
            of_file["device"] = None
        held.append(
            Held(
                id=str(entry["id"]),
                reason=str(entry["reason"]),
                why=str(entry.get("why") or ""),
                releasable=bool(entry.get("releasable")),
                received=seconds_of(str(entry["received_at"])),
                path=str(path),
                **of_file,
            )
        )
    return held


def _of_directories(root: Path) -> list[dict[str, Any]]:
    """Return the files in directories called quarantine(s), which is all that is known there."""
    found = []
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if not name.startswith("..")]  # CTP's own index
        relative = Path(directory).relative_to(root)
        if any(part.lower().startswith("quarantine") for part in relative.parts):
            for name in files:
                path = Path(directory, name)
                with contextlib.suppress(OSError):
                    # Each backup sets the time of its status (ctime) anew.
                    came = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
                    if path.suffix == ".dcm":
                        found.append(
                            {
                                "id": name,
                                "reason": NOT_TOLD,
                                "why": f"directory {relative}",
                                "received_at": came.isoformat(),
                                "file": str(path.relative_to(root)),
                            }
                        )
    return found
