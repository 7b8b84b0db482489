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
    default: http://127.0.0.1:9090
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
author: The AusCAT imaging node project
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
chosen:
  description: The same, of what was, or would be, exported or removed.
  type: list
  elements: dict
  returned: with states V(exported) and V(purged)
kept:
  description: Number of objects that are younger or have other reasons.
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
import json
import os
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.proof_clients import (
    ClientError,
    Http,
)
from ansible_collections.auscat.imaging.plugins.module_utils.quarantine import (
    NOT_TOLD,
    Held,
    chosen,
    keys_file,
    manifest,
    missing_patients,
    seconds_of,
    summary,
)

with contextlib.suppress(ImportError):  # studies and patients are not counted then
    from pydicom import dcmread

PAUSE_MIB = 512
"""What an export leaves free."""


def patient_and_study(path: Path) -> tuple[str, str, int]:
    """Return PatientID, Study Instance UID and size of a file; empty where it cannot be read."""
    try:
        size = path.stat().st_size
        found = dcmread(
            path,
            stop_before_pixels=True,
            specific_tags=["SpecificCharacterSet", "PatientID", "StudyInstanceUID"],
        )
        patient = str(found.get("PatientID") or "").replace("\\", "").strip()
        return patient, str(found.get("StudyInstanceUID") or ""), size
    except OSError:
        return "", "", 0
    except Exception:  # pydicom raises whatever a broken file leads to
        return "", "", size


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
        patient, study, size = patient_and_study(path)
        held.append(
            Held(
                id=str(entry["id"]),
                reason=str(entry["reason"]),
                why=str(entry.get("why") or ""),
                releasable=bool(entry.get("releasable")),
                received=seconds_of(str(entry["received_at"])),
                path=str(path),
                patient_id=patient,
                study=study,
                size=size,
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


def export(module: AnsibleModule, held: list[Held]) -> None:
    """Copy objects to a new directory of root's, with a manifest."""
    destination = Path(module.params["destination"])
    if not destination.is_absolute() or destination.exists():
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
            f" stay free); the export needs {needed // 2**20} MiB. Choose another"
            " quarantine_export_directory. Nothing was copied."
        )
    if module.check_mode:
        return
    os.umask(0o077)
    for missing in reversed([each for each in destination.parents if not each.exists()]):
        missing.mkdir(mode=0o700)
    partial = destination.with_name(f"{destination.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    named = []
    for number, each in enumerate(held, start=1):
        # One that was released or removed meanwhile is not there to be copied.
        with contextlib.suppress(FileNotFoundError):
            name = f"{number:06d}.dcm"
            shutil.copyfile(each.path, partial / name)
            named.append((name, each))
    (partial / "manifest.csv").write_text(manifest(named), encoding="utf-8")
    partial.rename(destination)


def purge(module: AnsibleModule, http: Http, held: list[Held]) -> int:
    """Have CTP remove objects; return how many it did not.

    Raises:
        ClientError: CTP's page does not answer.
    """
    ids = [each.id for each in held]
    if module.params["flavour"] == "rsna":
        removed = 0
        # In parts: a request must not take longer than its client waits.
        for start in range(0, len(ids), 50):
            body = {"ids": ids[start : start + 50]}
            status, content = http.send("POST", "/api/quarantine/delete", body)
            if status != 200:
                break
            removed += int(json.loads(content)["deleted"])
    else:
        answers = [http.send("DELETE", f"/api/quarantine/{each}")[0] for each in ids]
        removed = sum(status == 200 for status in answers)
    line = {
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "removed": removed,
        "older_than_days": module.params["older_than_days"],
        "reasons": {row["reason"]: row["objects"] for row in summary(held)},
    }
    record = Path(module.params["record"])
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return len(ids) - removed


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
            "url": {"type": "str", "default": "http://127.0.0.1:9090"},
            "password": {"type": "str", "required": True, "no_log": True},
            "directory": {"type": "path", "required": True},
            "reasons": {"type": "list", "elements": "str", "default": []},
            "older_than_days": {"type": "float", "default": 0},
            "destination": {"type": "path", "default": ""},
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
    http = Http(parameters["url"], "admin", parameters["password"])
    try:
        held = listed(module, http)
        result: dict[str, Any] = {"changed": False, "rows": summary(held)}
        if parameters["patients"]:
            result["keys_file"] = keys_file(missing_patients(held))
        if state != "listed":
            picked = chosen(held, parameters["reasons"], days, time.time())
            result |= {"chosen": summary(picked), "kept": len(held) - len(picked)}
            result["changed"] = bool(picked)
            if state == "exported":
                result["destination"] = parameters["destination"]
                if picked:
                    export(module, picked)
            if state == "purged":
                result["left"] = 0
                if picked and not module.check_mode:
                    result["left"] = purge(module, http, picked)
                    result["changed"] = result["left"] < len(picked)
    except (ClientError, KeyError, TypeError, ValueError) as error:
        module.fail_json(
            msg=f"CTP's quarantine cannot be looked at: {error}. See whether CTP runs:"
            " playbooks/troubleshoot.yml. Nothing was changed."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
