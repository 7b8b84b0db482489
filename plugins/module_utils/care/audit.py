"""Who had a study: from the log of the web server in front, the index of series, and Orthanc."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import table

IDENTIFIER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}")
UID = re.compile(r"[0-9]+(?:\.[0-9]+)+")
DIGITS = 12
COLUMNS = (
    *("time", "page", "address", "user", "method", "status", "received", "sent", "path", "asked"),
)
READ, SEARCHED, DOWNLOADED, DELETED = "read", "searched", "downloaded", "deleted"
CHANGED, SENT = "changed", "sent"
_DOWNLOAD = re.compile(
    r"/(?:archive|media|file|data|raw|numpy|matlab|pdf|frames|bulk|content|attachments/dicom/\.{3})"
    r"(?:/|$)|^/wado$"
    # WADO-RS: a study, a series or an object, whole (PS3.18, 10.4).
    r"|^/dicom-web/studies/[^/]+(?:/series/[^/]+(?:/instances/[^/]+)?)?$"
)
_SEARCH = frozenset({"/tools/find", "/tools/lookup", "/tools/count-resources"})
_SEVERAL = {
    **dict.fromkeys(_SEARCH, SEARCHED),
    "/tools/bulk-anonymize": CHANGED,
    "/tools/bulk-content": DOWNLOADED,
    "/tools/bulk-delete": DELETED,
    "/tools/bulk-modify": CHANGED,
    "/tools/create-archive": DOWNLOADED,
    "/tools/create-media": DOWNLOADED,
    "/tools/create-media-extended": DOWNLOADED,
}
_ELSEWHERE = ("/dicom-web/servers/", "/modalities/", "/peers/")


def orthanc_id(*identifiers: str) -> str:
    """Return Orthanc's identifier of what DICOM knows by PatientID, then Study, Series … UID.

    Source: Orthanc Book, "Orthanc identifiers": SHA-1 of them, joined by ``|``.
    """
    digest = hashlib.sha1("|".join(identifiers).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))


@dataclass
class Asked:
    """All by which a request names what was asked for.

    Attributes:
        studies: UIDs of the studies, each with the pseudonym it stands under.
        identifiers: Orthanc's, of patients, studies and series.
        uids: of studies and series.
        instances: first digits of Orthanc's identifiers.
        there: whether some of it is in Orthanc now.
    """

    studies: dict[str, str] = field(default_factory=dict)
    identifiers: set[str] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)
    instances: set[str] = field(default_factory=set)
    there: bool = False

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a line of the index of series."""
        self.studies[str(row["study_uid"])] = str(row["patient_id"])
        self.identifiers |= {str(row["patient"]), str(row["study"]), str(row["series"])}
        self.uids |= {str(row["study_uid"]), str(row["series_uid"])}
        self.instances.update(row["instances"])


def find(question: str, index: Iterable[str], ask: Callable[[str], Any]) -> Asked:
    """Return what belongs to a StudyInstanceUID, a PatientID (pseudonym) or an Orthanc identifier.

    Args:
        question: one of these.
        index: lines as `node_status.archive` writes them; one that is torn is left out.
        ask: gives the JSON at a path of Orthanc, None where there is nothing.
    """
    asked = Asked()
    for line in index:
        try:
            row = json.loads(line)
            names = {row[key] for key in ("patient", "study", "series", "patient_id", "study_uid")}
            if question in names or _short(question) in row["instances"]:
                asked.add(row)
        except (ValueError, KeyError, TypeError):
            continue
    for study in _studies(question, ask):
        asked.there = True
        patient = str(study["PatientMainDicomTags"].get("PatientID", ""))
        uid = str(study["MainDicomTags"].get("StudyInstanceUID", ""))
        for series in ask(f"/studies/{study['ID']}/series") or []:
            asked.add(
                {
                    "patient": study["ParentPatient"],
                    "study": study["ID"],
                    "series": series["ID"],
                    "patient_id": patient,
                    "study_uid": uid,
                    "series_uid": series["MainDicomTags"].get("SeriesInstanceUID", ""),
                    "instances": [_short(each) for each in series["Instances"]],
                }
            )
    # What can be said without either of them.
    asked.identifiers.add(question if IDENTIFIER.fullmatch(question) else orthanc_id(question))
    for uid, patient in asked.studies.items():
        asked.identifiers |= {orthanc_id(patient), orthanc_id(patient, uid)}
    if UID.fullmatch(question):
        asked.uids.add(question)
    return asked


def _short(identifier: str) -> str:
    plain = identifier.replace("-", "")
    return plain[:DIGITS] if IDENTIFIER.fullmatch(identifier) else ""


def _studies(question: str, ask: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Return the studies in Orthanc that belong to it."""
    candidates = [question] if IDENTIFIER.fullmatch(question) else [orthanc_id(question)]
    for identifier in candidates:
        for path in (f"/studies/{identifier}", f"/series/{identifier}/study"):
            found = ask(path)
            if found:
                return [found]
        found = ask(f"/instances/{identifier}/study")
        if found:
            return [found]
        found = ask(f"/patients/{identifier}/studies")
        if found:
            return list(found)
    if UID.fullmatch(question):
        # In DICOMweb's own words, since Orthanc's identifier needs the patient's too.
        found = ask(f"/dicom-web/studies?StudyInstanceUID={question}&includefield=PatientID") or []
        pairs = [(_first(each, "00100020"), _first(each, "0020000D")) for each in found]
        studies = (ask(f"/studies/{orthanc_id(*pair)}") for pair in pairs)
        return [each for each in studies if each]
    return []


def _first(told: Mapping[str, Any], tag: str) -> str:
    values = (told.get(tag) or {}).get("Value") or [""]
    return str(values[0])


def requests(lines: Iterable[str]) -> list[dict[str, str]]:
    """Return the requests of a log (images/front/httpd.conf), lines of another form left out."""
    split = (line.rstrip("\n").split("\t") for line in lines)
    return [dict(zip(COLUMNS, each)) for each in split if len(each) == len(COLUMNS)]


def concerns(request: Mapping[str, str], asked: Asked) -> bool:
    """Tell whether a request names something of what was asked for."""
    for part in request["path"].split("/"):
        if part in asked.identifiers or part in asked.uids:
            return True
        if IDENTIFIER.fullmatch(part) and _short(part) in asked.instances:
            return True
    return request["asked"].partition("=")[2] in asked.uids - {""}


def what(request: Mapping[str, str]) -> str:
    """Return what a request did."""
    method, path = request["method"], request["path"]
    if method == "DELETE":
        return DELETED
    if _DOWNLOAD.search(path) and method in ("GET", "POST"):
        return DOWNLOADED
    if path in _SEARCH or request["asked"] != "-":
        return SEARCHED
    return READ if method in ("GET", "HEAD", "OPTIONS") else CHANGED


def nameless(request: Mapping[str, str]) -> str:
    """Return what a request did with studies that it names where the log does not have it.

    That is in its body, or in the query of a GET; empty for one that names none there.
    """
    method, path = request["method"], request["path"]
    if method == "POST" and path.startswith(_ELSEWHERE):
        return SENT
    what_it_did = _SEVERAL.get(path, "")
    return what_it_did if method == "POST" or what_it_did == DOWNLOADED else ""


def trail(lines: Iterable[str], asked: Asked) -> dict[str, Any]:
    """Return who did what with it, in the order of the first time.

    Returns:
        rows: page, address, user, what, first and last (ISO 8601), requests and bytes sent, of
        requests that were answered with less than 400. nameless: by what they did, and by user,
        how many requests named studies where the log does not have it.
    """
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    unnamed: dict[str, dict[str, int]] = {}
    for request in requests(lines):
        if request["page"] != "orthanc" or int(request["status"]) >= 400:
            continue
        if did := nameless(request):
            users = unnamed.setdefault(did, {})
            users[request["user"]] = users.get(request["user"], 0) + 1
        if not concerns(request, asked):
            continue
        key = (request["user"], request["address"], what(request))
        row = rows.setdefault(
            key,
            {
                **dict(zip(("user", "address", "what"), key)),
                "first": request["time"],
                "requests": 0,
                "bytes": 0,
            },
        )
        row["last"] = request["time"]
        row["requests"] += 1
        row["bytes"] += int(request["sent"])
    return {"rows": list(rows.values()), "nameless": unnamed}


def report(host: str, told: Mapping[str, Any]) -> str:
    """Return the answer in words.

    Args:
        told: what the module audit_log returned.
    """
    lines = []
    for uid, patient in sorted(told["studies"].items()):
        lines.append(f"study {uid} of {patient}")
    where = "in Orthanc" if told["there"] else "not in Orthanc now"
    if not told["studies"]:
        lines.append("No study of this name is, or was, known here.")
    lines += [f"{host}: {where}; the log goes back to {told['since'] or 'nothing yet'}", ""]
    if told["rows"]:
        heads: Sequence[str] = ("user", "address", "what", "first", "last", "requests", "bytes")
        lines += table(heads, [[row[head] for head in heads] for row in told["rows"]])
    else:
        lines.append(
            "The log of this page has no request that read, searched, downloaded or deleted it."
        )
    if told["nameless"]:
        lines += ["", "Requests whose studies the log does not name; it may have been among them:"]
    for did, users in sorted(told["nameless"].items()):
        who = ", ".join(f"{user} ({count})" for user, count in sorted(users.items()))
        lines.append(f"{did}: {who}")
    return "\n".join(lines)
