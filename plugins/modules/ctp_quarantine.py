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
  exports_record:
    description: >-
      File in which to note where exports are made, for M(auscat.imaging.quarantine_exports).
    type: path
    default: ""
  record:
    description: File of one line of JSON for each purge, made where it is missing.
    type: path
    required: true
extends_documentation_fragment:
  - auscat.imaging.trust
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
    record: /var/lib/example/purges.jsonl
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

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.care import quarantine_exports
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine import (
    chosen,
    devices,
    keys_file,
    missing_patients,
    summary,
)
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine_listing import listed
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine_removal import (
    QuarantineError,
    copies_in,
    export,
    note,
    purge,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import (
    TRUST_OPTION,
    ClientError,
    Http,
)


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
            "exports_record": {"type": "path", "default": ""},
            "record": {"type": "path", "required": True},
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
        held = listed(parameters["flavour"], Path(parameters["directory"]), http)
        result: dict[str, Any] = {"changed": False, "rows": summary(held)}
        result["devices"] = devices(held)
        if parameters["patients"]:
            result["keys_file"] = keys_file(missing_patients(held))
        if state != "listed":
            picked = chosen(held, parameters["reasons"], days, time.time())
            result |= {"kept": len(held) - len(picked), "not_copied": 0, "left": 0}
            copies = None
            if state == "purged" and parameters["exported"]:
                copies = copies_in(Path(parameters["exported"]))
            if copies is not None:
                aged = picked
                picked = [each for each in aged if each.id in copies]
                result["not_copied"] = len(aged) - len(picked)
            result |= {"chosen": summary(picked), "changed": bool(picked)}
            if state == "exported":
                result["destination"] = parameters["destination"]
                if picked:
                    destination = Path(parameters["destination"])
                    if parameters["exports_record"] and not module.check_mode:
                        # First, so that one that breaks off is found, too.
                        quarantine_exports.note(
                            Path(parameters["exports_record"]), destination.parent
                        )
                    result["not_copied"] = export(destination, picked, module.check_mode)
            elif picked and not module.check_mode:
                done = purge(parameters["flavour"], http, picked, copies)
                note(Path(parameters["record"]), done, days)
                result["left"] = done.left
                result["not_copied"] += done.differing
                result["changed"] = done.removed > 0
    except QuarantineError as error:
        module.fail_json(msg=str(error))
    except (ClientError, KeyError, TypeError, ValueError) as error:
        module.fail_json(
            msg=f"CTP's quarantine cannot be read: {error}. Check whether CTP runs:"
            " playbooks/troubleshoot.yml. Nothing was changed."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
