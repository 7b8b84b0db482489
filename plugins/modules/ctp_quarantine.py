#!/usr/bin/python
"""Ansible module: list, export and purge CTP's quarantine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ctp_quarantine
short_description: List, export and purge CTP's quarantine
version_added: 0.1.0
description:
  - Asks CTP's page what lies in quarantine and why, and reads on the host which studies and
    patients it belongs to. Counts are returned; identifiers only where V(patients) asks for them.
  - Only what CTP's page is asked to remove is removed, through that page, so that its counts stay
    right.
requirements: [python3-pydicom]
options:
  state:
    description: >-
      V(listed) looks; V(exported) copies objects to a directory of root's on this host; V(purged)
      removes them for good.
    type: str
    choices: [listed, exported, purged]
    default: listed
  flavour:
    description: Flavour of CTP, ctp_flavour.
    type: str
    choices: [auscat, rsna, standin]
    required: true
  url:
    description: CTP's page, as seen from this host.
    type: str
    default: https://127.0.0.1:9090
  trust:
    description: Whom to trust there, where the URL is one of HTTPS.
    type: dict
    default: {}
    suboptions:
      ca_file:
        description: CAs, a PEM file of this host. Empty, those of the system.
        type: str
        default: ""
      name:
        description: Name that the certificate has to be for. Empty, the one in the URL.
        type: str
        default: ""
  password:
    description: Password of the page's user admin.
    type: str
    required: true
  directory:
    description: Where CTP's data lies on this host.
    type: path
    required: true
  reasons:
    description: Only objects that lie there for one of these reasons; empty means any.
    type: list
    elements: str
    default: []
  older_than_days:
    description: Only objects that came longer ago, in days; 0 means any. Needed for V(purged).
    type: float
    default: 0
  destination:
    description: Directory to make for V(exported).
    type: path
    default: ""
  exported:
    description:
      - With V(purged), a directory that V(exported) made. Only objects whose copy lies there, and
        that are still, byte by byte, what was copied, are removed; a directory that is not there
        holds no copy.
      - Empty removes what is chosen, copied or not.
    type: path
    default: ""
  patients:
    description: Also return the PatientIDs that KeyDB does not know, as a CSV for load_keys.yml.
    type: bool
    default: false
  record:
    description: File of one line of JSON for each purge, made where it is missing.
    type: path
    default: /var/lib/auscat/quarantine-purges.jsonl
attributes:
  check_mode: {support: full, description: Says what would be exported or removed.}
  diff_mode: {support: none, description: The objects identify patients.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: List the quarantine
  auscat.imaging.ctp_quarantine:
    flavour: rsna
    password: "{{ ctp_admin_password }}"
    directory: /srv/auscat/ctp/temp
"""

RETURN = r"""
rows:
  description: One row for each reason and each thing found, of all that lies there.
  type: list
  elements: dict
  returned: success
devices:
  description: >-
    One row for each device that waits to be declared in ctp_pixel_rules (sop_class, manufacturer,
    model, rows, columns, objects, says, rule, layout), none of it of a patient.
  type: list
  elements: dict
  returned: success
chosen:
  description: The same, of what was, or would be, exported or removed.
  type: list
  elements: dict
  returned: with states V(exported) and V(purged)
kept:
  description: Number of objects that are younger or have other reasons.
  type: int
  returned: with states V(exported) and V(purged)
not_copied:
  description: Number of objects that were left because no copy of what they are now was made.
  type: int
  returned: with states V(exported) and V(purged)
destination:
  description: The directory that was, or would be, made.
  type: str
  returned: with state V(exported)
left:
  description: Number of chosen objects that CTP did not remove.
  type: int
  returned: with state V(purged)
keys_file:
  description: CSV of the patients that KeyDB does not know. Identifies patients.
  type: str
  returned: with O(patients)
"""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine import (
    NOT_TOLD,
    WAITING,
    Device,
    Held,
    chosen,
    copied,
    devices,
    keys_file,
    manifest,
    missing_patients,
    seconds_of,
    shown,
    summary,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import (
    TRUST_OPTION,
    ClientError,
    Http,
)

with contextlib.suppress(ImportError):  # studies and patients are not counted then
    from pydicom import dcmread

_DEVICE = ("SOPClassUID", "Manufacturer", "ManufacturerModelName", "Rows", "Columns")
PAUSE_MIB = 512
"""What an export leaves free."""


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
        found["patient_id"] = _text(dataset.get("PatientID")).replace("\\", "").strip()
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


def listed(module: AnsibleModule, http: Http) -> list[Held]:
    """Return what lies in quarantine.

    Raises:
        ClientError: CTP's page does not answer as this flavour's does.
    """
    root = Path(module.params["directory"])
    entries: list[dict[str, Any]]
    if module.params["flavour"] == "auscat":
        entries = _of_directories(root)
    elif module.params["flavour"] == "standin":
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
                    came = datetime.fromtimestamp(path.stat().st_ctime, timezone.utc)
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


class ChangedError(Exception):
    """A file is not what it was a moment ago."""


def digest_of(path: Path, target: int | None = None) -> str:
    """Return the SHA-256 of a file, and write what was read to a descriptor.

    Raises:
        ChangedError: it is not there, is no regular file, or was written meanwhile.
        OSError: it cannot be read, or the target cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ChangedError from error
    with os.fdopen(descriptor, "rb") as source:
        before = os.fstat(source.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise ChangedError
        found = hashlib.sha256()
        while chunk := source.read(1024 * 1024):
            found.update(chunk)
            if target is not None:
                view = memoryview(chunk)
                while view:
                    view = view[os.write(target, view) :]
        after = os.fstat(source.fileno())
    if any(
        getattr(before, name) != getattr(after, name)
        for name in ("st_size", "st_mtime_ns", "st_ctime_ns")
    ):
        raise ChangedError
    return found.hexdigest()


def copy(source: Path, target: Path) -> str:
    """Copy a file to a new one, on the disk when this returns; return the SHA-256 of both.

    Raises:
        ChangedError: the source is gone or was written meanwhile; there is no new file then.
        OSError: the copy cannot be written, or does not hold what was written to it.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            digest = digest_of(source, descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except ChangedError:
        target.unlink()
        raise
    if digest_of(target) != digest:
        raise OSError(f"{target.name} does not hold what was written to it")
    return digest


def sync(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def export(module: AnsibleModule, held: list[Held]) -> int:
    """Copy objects to a new directory of root's, with a manifest; return how many were not copied.

    The directory has its name only when all in it is whole and on the disk.
    """
    destination = Path(module.params["destination"])
    if not destination.is_absolute() or os.path.lexists(destination):
        module.fail_json(
            msg=f"The directory for the export is {str(destination)!r}. Accepted: an absolute path"
            " that does not exist yet. Nothing was copied."
        )
    parent = next(each for each in destination.parents if each.exists())
    free = shutil.disk_usage(parent).free - PAUSE_MIB * 2**20
    needed = sum(each.size for each in held)
    if needed > free:
        module.fail_json(
            msg=f"{parent} has {max(free, 0) // 2**20} MiB to spare (beside {PAUSE_MIB} MiB that"
            f" stay free); the export needs {needed // 2**20} MiB. Choose another "
            "quarantine_export_directory. Nothing was copied."
        )
    if module.check_mode:
        return 0
    os.umask(0o077)
    partial = destination.with_name(f"{destination.name}.partial")
    named, digests = [], {}
    try:
        for missing in reversed([each for each in destination.parents if not each.exists()]):
            missing.mkdir(mode=0o700)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        for number, each in enumerate(held, start=1):
            name = f"{number:06d}.dcm"
            # One that was released or removed meanwhile is not there to be copied.
            with contextlib.suppress(ChangedError):
                digests[name] = copy(Path(each.path), partial / name)
                named.append((name, each))
        with (partial / "manifest.csv").open("x", encoding="utf-8", newline="") as file:
            file.write(manifest(named, digests))
            file.flush()
            os.fsync(file.fileno())
        sync(partial)
        partial.rename(destination)
        sync(destination.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        module.fail_json(
            msg=f"The export to {destination} broke off: {error.strerror or error}. Its files were"
            " removed again, and nothing was taken out of the quarantine. Make room, or choose"
            " another quarantine_export_directory, and run this again."
        )
    return len(held) - len(named)


def copies_in(module: AnsibleModule) -> dict[str, str]:
    """Return the SHA-256 of each object that the export holds a whole copy of, by its id."""
    directory = Path(module.params["exported"])
    found = {}
    try:
        listed_there = copied((directory / "manifest.csv").read_text(encoding="utf-8"))
        for identifier, (name, digest) in listed_there.items():
            with contextlib.suppress(ChangedError):
                if digest_of(directory / name) == digest:
                    found[identifier] = digest
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        module.fail_json(
            msg=f"The export {directory} cannot be read: {error}. Accepted: a directory that"
            " quarantine_export=true made. Nothing was removed."
        )
    return found


def is_still(each: Held, digest: str) -> bool:
    """Tell whether an object is still, byte by byte, what has this digest."""
    try:
        return digest_of(Path(each.path)) == digest
    except (ChangedError, OSError):
        return False


def purge(
    module: AnsibleModule, http: Http, held: list[Held], copies: dict[str, str] | None = None
) -> tuple[int, int]:
    """Have CTP remove objects; return how many it did not, and how many had no copy any more.

    Args:
        module: the running module.
        http: CTP's page.
        held: what is to be removed.
        copies: SHA-256 of what was copied, by the object's id; what differs by now is left.

    Raises:
        ClientError: CTP's page does not answer.
    """
    removed = differing = 0
    asked: list[Held] = []
    # In parts: a request must not take longer than its client waits.
    step = 50 if module.params["flavour"] == "rsna" else 1
    for start in range(0, len(held), step):
        part = held[start : start + step]
        # Looked at right before: what was copied a while ago may have been written since.
        same = [e for e in part if copies is None or is_still(e, copies.get(e.id, ""))]
        differing += len(part) - len(same)
        if not same:
            continue
        asked += same
        if module.params["flavour"] == "rsna":
            body = {"ids": [each.id for each in same]}
            status, content = http.send("POST", "/api/quarantine/delete", body)
            if status != 200:
                break
            removed += int(json.loads(content)["deleted"])
        else:
            removed += http.send("DELETE", f"/api/quarantine/{same[0].id}")[0] == 200
    line = {
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "removed": removed,
        "older_than_days": module.params["older_than_days"],
        "reasons": {row["reason"]: row["objects"] for row in summary(asked)},
    }
    record = Path(module.params["record"])
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return len(held) - differing - removed, differing


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["listed", "exported", "purged"],
                "default": "listed",
            },
            "flavour": {"type": "str", "choices": ["auscat", "rsna", "standin"], "required": True},
            "url": {"type": "str", "default": "https://127.0.0.1:9090"},
            "trust": TRUST_OPTION,
            "password": {"type": "str", "required": True, "no_log": True},
            "directory": {"type": "path", "required": True},
            "reasons": {"type": "list", "elements": "str", "default": []},
            "older_than_days": {"type": "float", "default": 0},
            "destination": {"type": "path", "default": ""},
            "exported": {"type": "path", "default": ""},
            "patients": {"type": "bool", "default": False},
            "record": {"type": "path", "default": "/var/lib/auscat/quarantine-purges.jsonl"},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    state, days = parameters["state"], parameters["older_than_days"]
    if state == "purged" and days <= 0:
        module.fail_json(
            msg=f"older_than_days is {days:g}. Accepted: a number of days above 0, such as 30."
            " Nothing was removed."
        )
    if state == "purged" and parameters["flavour"] == "auscat":
        module.fail_json(
            msg="ctp_flavour is auscat. Its quarantine can be purged on CTP's own page only, which"
            " keeps an index of it. Nothing was removed."
        )
    http = Http(parameters["url"], "admin", parameters["password"], parameters["trust"])
    try:
        held = listed(module, http)
        result: dict[str, Any] = {"changed": False, "rows": summary(held)}
        result["devices"] = devices(held)
        if parameters["patients"]:
            result["keys_file"] = keys_file(missing_patients(held))
        if state != "listed":
            picked = chosen(held, parameters["reasons"], days, time.time())
            result |= {"kept": len(held) - len(picked), "not_copied": 0, "left": 0}
            copies = copies_in(module) if state == "purged" and parameters["exported"] else None
            if copies is not None:
                aged = picked
                picked = [each for each in aged if each.id in copies]
                result["not_copied"] = len(aged) - len(picked)
            result |= {"chosen": summary(picked), "changed": bool(picked)}
            if state == "exported":
                result["destination"] = parameters["destination"]
                if picked:
                    result["not_copied"] = export(module, picked)
            elif picked and not module.check_mode:
                result["left"], differing = purge(module, http, picked, copies)
                result["not_copied"] += differing
                result["changed"] = result["left"] + differing < len(picked)
    except (ClientError, KeyError, TypeError, ValueError) as error:
        module.fail_json(
            msg=f"CTP's quarantine cannot be read: {error}. Check whether CTP runs:"
            " playbooks/troubleshoot.yml. Nothing was changed."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
