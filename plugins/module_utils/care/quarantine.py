"""CTP's quarantine: what lies there and why, who is missing in KeyDB, and what is old.

Pure: what the module ctp_quarantine found goes in, tables and choices come out.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.ctp import layouts as ctp_layouts
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import pixels
from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import counted, table

UNKNOWN_PATIENT = "unknown-patient"
OTHER_ISSUER = "other-issuer"
KNOWN_PATIENT = "known-patient"
ENDED_CTP = "ended-ctp"
REFUSED_BY_ORTHANC = "refused-by-orthanc"
PIXELS_NOT_DECLARED = "pixels-not-declared"
PIXELS_NOT_BLANKED = "pixels-not-blanked"
BURNED_IN_ANNOTATION = "burned-in-annotation"
WAITING = (PIXELS_NOT_DECLARED, BURNED_IN_ANNOTATION)
"""What a declaration of the device can cure."""
_SAYS_TEXT = "(0028,0301)"
"""Found in an object that says that its pixels show text, and not that they show a face."""
RESIDUAL_IDENTIFIER = "residual-identifier"
_PIXEL_DATA = "(7FE0,0010): "
"""Found in an object of which the pixel data must not leave, whatever the script is."""
NOT_TOLD = "not-told"

DAY_SECONDS = 86400.0

_LOOK = "look at CTP's page"

# What an operator does about each reason.
NEXT_STEPS = {
    UNKNOWN_PATIENT: "load the patients and release: load_keys.yml -e keys_file=… -e release=true",
    OTHER_ISSUER: "the issuer is not that of KeyDB: load the patient with it, or list it in"
    " ctp_issuers, and release; otherwise purge",
    KNOWN_PATIENT: "release: release_quarantine.yml",
    ENDED_CTP: "see status.yml, raise ctp_heap_mib, site.yml, then release_quarantine.yml",
    REFUSED_BY_ORTHANC: "see why (troubleshoot.yml), then release: release_quarantine.yml",
    "missing-patient-id": "give it a PatientID in the PACS and send it again; then purge",
    "ambiguous-patient-id": "correct the PatientID in the PACS and send it again; then purge",
    "incomplete": "no release cures it: correct the element that is named, where it comes from, and"
    " send it again; then purge",
    "unreadable": "send it again from the PACS; then purge",
    RESIDUAL_IDENTIFIER: "correct the script of CTP, send the study again from the PACS; then"
    " purge",
    "invalid-pseudonym": "correct the pseudonym in KeyDB, send the study again; then purge",
    PIXELS_NOT_DECLARED: "look at one object of each device, declare in ctp_pixel_rules that it"
    " shows nothing of a patient, or where, site.yml, release_quarantine.yml (docs/quarantine.md)",
    PIXELS_NOT_BLANKED: "it cannot be decompressed, or is in other colours: have the device or PACS"
    " send it uncompressed, in colours that can be blanked (docs/ctp.md, Pixels); then purge",
    BURNED_IN_ANNOTATION: "no release cures it unless its device is declared with regions to"
    " blank (docs/quarantine.md): have the source leave it out; then purge",
    "sop-class-not-accepted": "no release cures it, since nothing here can de-identify its SOP"
    " class: have the source leave it out; then purge",
    "refused-by-profile": "no release cures it: CTP's script refuses the element that is named;"
    " correct it where it comes from and send it again, or leave it out; then purge",
    "deidentification-failed": "send it again from the PACS; then purge",
    NOT_TOLD: "this CTP gives no reason: see its own page",
}


RELEASE_CURES = (
    *(UNKNOWN_PATIENT, OTHER_ISSUER, KNOWN_PATIENT, PIXELS_NOT_DECLARED),
    *(ENDED_CTP, REFUSED_BY_ORTHANC),
)
"""The reasons that a release can cure, now or when what they name is done; no other one."""


@dataclass(frozen=True, order=True)
class Device:
    """What made an image, as far as a declaration in ctp_pixel_rules tells devices apart.

    Texts are those of the object, where they could be declared; what else stands there is shown as
    ``(not printable)``, and what is missing as an empty text.
    """

    sop_class: str = ""
    manufacturer: str = ""
    model: str = ""
    rows: int = 0
    columns: int = 0


@dataclass(frozen=True)
class Held:
    """One object in quarantine. ``patient_id``, ``issuer`` and ``study`` identify a patient.

    Attributes:
        id: what CTP calls it.
        reason: why it is here.
        why: what was found, such as an element by its tag; never a value.
        releasable: whether sending it round again would get it further now.
        received: when it came, seconds since 1970 (UTC).
        path: the file on the host.
        patient_id: PatientID (0010,0020); empty where there is none or it cannot be read.
        study: Study Instance UID; empty likewise.
        size: bytes.
        issuer: of the PatientID, as CTP looks it up: (0010,0021), or where that is blank the
            Universal Entity ID of (0010,0024); several values with their backslashes.
        device: of one that waits for its device to be declared.
    """

    id: str
    reason: str
    why: str
    releasable: bool
    received: float
    path: str
    patient_id: str = ""
    study: str = ""
    size: int = 0
    issuer: str = ""
    device: Device | None = None


def seconds_of(text: str) -> float:
    """Return the seconds since 1970 of an ISO 8601 time; one without a zone is UTC.

    Raises:
        ValueError: it is none.
    """
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def summary(held: Iterable[Held]) -> list[dict[str, Any]]:
    """Return one row for each reason and each thing found, without any identifier.

    Returns:
        Rows with reason, why, objects, studies, patients, bytes, oldest (seconds since 1970),
        releasable and next.
    """
    groups: dict[tuple[str, str], list[Held]] = {}
    for each in held:
        groups.setdefault((each.reason, each.why), []).append(each)
    return [
        {
            "reason": reason,
            "why": why,
            "objects": len(objects),
            "studies": len({each.study for each in objects if each.study}),
            "patients": len({each.patient_id for each in objects if each.patient_id}),
            "bytes": sum(each.size for each in objects),
            "oldest": min(each.received for each in objects),
            "releasable": all(each.releasable for each in objects),
            "next": _next_step(reason, why),
        }
        for (reason, why), objects in sorted(groups.items())
    ]


def _next_step(reason: str, why: str) -> str:
    if reason == RESIDUAL_IDENTIFIER and why.startswith(_PIXEL_DATA):
        return (
            "nothing is wrong with the script of CTP: send it again from the PACS, corrected where"
            " its image is named as at fault (docs/quarantine.md); then purge"
        )
    return NEXT_STEPS.get(reason, _LOOK)


NOT_PRINTABLE = "(not printable)"
_PRINTABLE = re.compile(r"[!-~](?:[ -~]{0,62}[!-~])?")


def shown(value: Any) -> str:
    """Return a text of a header as it may be shown: printable ASCII, 64 characters at most."""
    text = str(value or "").strip(" \0")
    return text if not text or _PRINTABLE.fullmatch(text) else NOT_PRINTABLE


def devices(held: Iterable[Held]) -> list[dict[str, Any]]:
    """Return one row for each device that waits to be declared, most objects first.

    Returns:
        Rows with sop_class (keyword, or UID), manufacturer, model, rows, columns, objects, and what
        to add to ctp_pixel_rules: rule, or empty where nothing can declare it clean, and layout,
        with regions to blank, where a public list knows some. says: YES where that is all that the
        objects are held back for, so that they leave blanked alone.
    """
    groups: dict[tuple[Device, str], int] = {}
    for each in held:
        says = "YES" if (each.reason, each.why) == (BURNED_IN_ANNOTATION, _SAYS_TEXT) else ""
        if each.device is not None and (says or each.reason == PIXELS_NOT_DECLARED):
            groups[each.device, says] = groups.get((each.device, says), 0) + 1
    return [
        {
            "sop_class": pixels.classes().get(device.sop_class, device.sop_class),
            "manufacturer": device.manufacturer,
            "model": device.model,
            "rows": device.rows,
            "columns": device.columns,
            "objects": count,
            "says": says,
            "rule": "" if says else _rule(device),
            "layout": _layout(device),
        }
        for (device, says), count in sorted(groups.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def _layout(device: Device) -> str:
    """Return the declaration with the regions that are known; empty without any."""
    values = (device.sop_class, device.manufacturer, device.model, device.rows, device.columns)
    regions = ctp_layouts.regions(*values)
    return _rule(device, {"action": "blank", "regions": regions}) if regions else ""


def _rule(device: Device, action: Mapping[str, Any] | None = None) -> str:
    """Return the declaration as YAML, one line of a list; empty where it would be refused."""
    rule: dict[str, Any] = {
        "sop_class": pixels.classes().get(device.sop_class, device.sop_class),
        "manufacturer": device.manufacturer,
        "model": device.model,
        "rows": device.rows,
        "columns": device.columns,
        **(action or {"action": "clean"}),
    }
    if NOT_PRINTABLE in rule.values() or pixels.problems([rule]):
        return ""
    # JSON is YAML, and quotes what needs it.
    return "- " + json.dumps(rule)


def _device_lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    header = ["waits for a declaration", "manufacturer", "model", "size", "objects", "says"]
    cells = [
        [
            row["sop_class"] or "?",
            row["manufacturer"] or "(none)",
            row["model"] or "(none)",
            _size_text(row["columns"], row["rows"]),
            row["objects"],
            row["says"] or "",
        ]
        for row in found
    ]
    rules = [row["rule"] for row in found if row["rule"]]
    lines = ["", *table(header, cells)]
    if rules:
        lines += ["", "where an object of it shows nothing of a patient, add to ctp_pixel_rules:"]
        lines += rules
    layouts = [row["layout"] for row in found if row["layout"]]
    if layouts:
        lines += ["where a public list knows that it shows it, see whether these are all regions:"]
        lines += layouts
    lines += [
        "where it shows it in the same places of every image, or says YES itself: action blank,"
        " with regions (docs/quarantine.md)"
    ]
    if any(not row["rule"] and not row["says"] for row in found):
        lines += [
            "without a SOP class, manufacturer, model or size that can be printed, nothing declares"
            " it: have the source keep it out, then purge"
        ]
    return lines


def chosen(
    held: Iterable[Held], reasons: Sequence[str], older_than_days: float, now: float
) -> list[Held]:
    """Return what has one of the reasons (none given: any) and lies there for longer.

    Args:
        held: what lies there.
        reasons: accepted reasons.
        older_than_days: what came less than this long ago is left out; 0: nothing is.
        now: seconds since 1970.
    """
    latest = now - older_than_days * DAY_SECONDS
    return [
        each
        for each in held
        if (not reasons or each.reason in reasons)
        and (not older_than_days or each.received < latest)
    ]


def missing_patients(held: Iterable[Held]) -> list[str]:
    """Return the PatientIDs that KeyDB does not know, each once. They identify patients."""
    return sorted({e.patient_id for e in held if e.reason == UNKNOWN_PATIENT and e.patient_id})


# What a spreadsheet takes for a formula: at the beginning, and behind what it may take for a
# delimiter or a quotation mark, which depends on where in the world it runs.
_FORMULA = re.compile(r'(^|[;,|\t\r\n"])(\s*)(?=[=@+\-\uff1d\uff20\uff0b\uff0d])')


def safe_cell(text: str) -> str:
    """Return a text that no spreadsheet runs: an apostrophe stands before what could be a formula.

    A PatientID is what a stranger's system sends. A plain number with a sign stays as it is.
    """
    return text if re.fullmatch(r"[+-]\d+", text) else _FORMULA.sub(r"\1\2'", text)


def keys_file(patient_ids: Iterable[str]) -> str:
    """Return a CSV that load_keys.yml takes: these patients, without pseudonyms.

    It begins with a byte order mark, without which Excel reads letters outside ASCII as others.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["patient_id"])
    writer.writerows([safe_cell(each)] for each in patient_ids)
    return f"\ufeff{stream.getvalue()}"


def manifest(named: Iterable[tuple[str, Held]], digests: Mapping[str, str] | None = None) -> str:
    """Return the CSV that lies beside exported files. It identifies patients.

    Its cells are those of `safe_cell`.

    Args:
        named: name of each file, and the object that it is a copy of.
        digests: SHA-256 of each file, by its name, as hexadecimal digits.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            "file",
            "reason",
            "why",
            "received_utc",
            "patient_id",
            "issuer",
            "study_instance_uid",
            "id",
            "sha256",
        ]
    )
    for name, each in named:
        cells = [name, each.reason, each.why or _device_text(each.device), _day(each.received)]
        cells += [each.patient_id, each.issuer, each.study, each.id, (digests or {}).get(name, "")]
        writer.writerow(map(safe_cell, cells))
    return stream.getvalue()


def copied(text: str) -> dict[str, tuple[str, str]]:
    """Return name and SHA-256 of the copy of each object that a manifest lists, by the object's id.

    An id that stands there twice is left out: what it was a copy of is not known.

    Raises:
        ValueError: it is no manifest with digests.
    """
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    found: dict[str, tuple[str, str]] = {}
    twice: set[str] = set()
    for row in rows:
        name, identifier, digest = (row.get(key) or "" for key in ("file", "id", "sha256"))
        if not re.fullmatch(r"\d{6,}\.dcm", name) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError("its manifest.csv has no digests: it was made by an older version")
        if identifier in found:
            twice.add(identifier)
        found[identifier] = (name, digest)
    return {identifier: found[identifier] for identifier in found if identifier not in twice}


def quarantine_report(
    host: str,
    rows: Sequence[dict[str, Any]],
    last_line: str = "",
    waiting: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the text on one machine: a table, then a last line or what to do about each reason.

    Args:
        host: its name in the inventory.
        rows: as the module ctp_quarantine returns them.
        last_line: in the place of what to do.
        waiting: what `devices` found.
    """
    total = sum(row["objects"] for row in rows)
    lines = [f"CTP's quarantine on {host}: {counted(total, 'object') if total else 'empty'}"]
    if rows:
        header = ["reason", "objects", "studies", "patients", "MiB", "oldest (UTC)", "releasable"]
        cells = [
            [
                row["reason"],
                row["objects"],
                row["studies"] or "?",
                row["patients"] or "?",
                f"{row['bytes'] / 2**20:.1f}",
                _day(row["oldest"]),
                "yes" if row["releasable"] else "no",
            ]
            for row in rows
        ]
        lines += ["", *table(header, cells)]
        if not last_line:
            steps = {(row["reason"], row["next"]): None for row in rows}
            lines += ["", *(f"{reason}: {step}" for reason, step in steps)]
        lines += [f"found in {row['objects']}: {row['why']}" for row in rows if row["why"]]
        if waiting:
            lines += _device_lines(waiting)
    return "\n".join([*lines, *(["", last_line] if last_line else [])])


def release_report(released: int, left: Mapping[str, int]) -> str:
    """Return the text on a release: how many objects went, and what keeps each of the others.

    Args:
        released: objects that were sent round again.
        left: those that stay where they are, by reason.
    """
    total = sum(left.values())
    lines = [f"{counted(released, 'object')} released; {total} left"]
    if total:
        counts = ", ".join(f"{reason} {left[reason]}" for reason in sorted(left))
        lines = [f"{lines[0]}: {counts}"]
        lines += [f"{each}: {NEXT_STEPS.get(each, _LOOK)}" for each in sorted(left)]
    never = sum(number for reason, number in left.items() if reason not in RELEASE_CURES)
    if never:
        stay = "stays" if never == 1 else "stay"
        lines.append(f"{never} of them {stay} whatever is released (docs/quarantine.md)")
    return "\n".join(lines)


def _device_text(device: Device | None) -> str:
    if device is None:
        return ""
    size = _size_text(device.columns, device.rows)
    return ", ".join([device.sop_class, device.manufacturer, device.model, size])


def _size_text(columns: int, rows: int) -> str:
    return f"{columns} x {rows}" if columns and rows else "(none)"


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M}"
