"""Which objects belonged to which study, kept after a study is deleted, for playbooks/audit.yml.

A line of JSON for each series to which something came: ``patient``, ``study`` and ``series``
(Orthanc's identifiers, SHA-1 of the DICOM ones), ``patient_id``, ``study_uid`` and ``series_uid``,
and ``instances``, the first 12 digits of each instance's identifier. A series that grew has another
line. All of it is pseudonymous, as what Orthanc holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import observe
from .command import UnknownError

PAGE = 1000
"""Entries of Orthanc's log of changes that are read at once."""
PAGES = 20
"""The most of them at one sample: the next one goes on."""
DIGITS = 12


def follow(page: Mapping[str, Any], user: str, password: str, path: Path) -> int:
    """Add the series to which something came since the last time; return how many.

    Args:
        page: as `observe.ask` takes it.
        path: of the lines; beside it, with ``.last``, is the number of the last change read.

    Raises:
        UnknownError: Orthanc does not answer as it should.
        OSError: a file cannot be read or written.
    """
    last = path.with_suffix(".last")
    since = int(last.read_text(encoding="ascii") or 0) if last.exists() else 0
    newest = int(_json(page, "/changes?last", user, password)["Last"])
    if newest < since:
        # Orthanc's index was put back to an earlier one.
        since = 0
    added = 0
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(PAGES):
        changes = _json(page, f"/changes?since={since}&limit={PAGE}", user, password)
        new = [
            str(each["ID"]) for each in changes["Changes"] if each["ChangeType"] == "NewInstance"
        ]
        lines = list(_lines(page, user, password, new))
        with path.open("a", encoding="utf-8") as file:
            path.chmod(0o600)
            file.writelines(json.dumps(each, separators=(",", ":")) + "\n" for each in lines)
        added += len(lines)
        since = int(changes["Last"])
        last.write_text(f"{since}\n", encoding="ascii")
        if changes["Done"]:
            break
    return added


def _lines(
    page: Mapping[str, Any], user: str, password: str, instances: Iterable[str]
) -> Iterator[dict[str, Any]]:
    """Return a line for the series of each instance, asking once for each series."""
    seen: set[str] = set()
    for instance in instances:
        if instance in seen:
            continue
        try:
            series = _json(page, f"/instances/{instance}/series", user, password)
            study = _json(page, f"/studies/{series['ParentStudy']}", user, password)
        except UnknownError:
            # It is gone already.
            continue
        seen.update(series["Instances"])
        yield {
            "patient": study["ParentPatient"],
            "study": series["ParentStudy"],
            "series": series["ID"],
            "patient_id": study["PatientMainDicomTags"].get("PatientID", ""),
            "study_uid": study["MainDicomTags"].get("StudyInstanceUID", ""),
            "series_uid": series["MainDicomTags"].get("SeriesInstanceUID", ""),
            "instances": sorted(short(each) for each in series["Instances"]),
        }


def short(identifier: str) -> str:
    """Return the first digits of an identifier of Orthanc."""
    return identifier.replace("-", "")[:DIGITS]


def _json(page: Mapping[str, Any], path: str, user: str, password: str) -> Any:
    status, content = observe.ask(page, path, user, password)
    if status != 200:
        raise UnknownError(f"{path.partition('?')[0]} answered {status}")
    return json.loads(content)
