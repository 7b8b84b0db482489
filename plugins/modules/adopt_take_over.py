#!/usr/bin/python
"""Ansible module: stop the services of a node made by hand, take their data, or give all back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_take_over
short_description: Stop the services of a node made by hand and take their data, or give all back
version_added: 0.1.0
description:
  - Stops CTP, Orthanc and KeyDB of a node made by hand, and brings their data where the services of
    this collection expect them. What lies on the same file system is renamed, not copied.
  - Notes what it does before it does it. After an interruption it goes on, or gives back.
  - Other services are left alone, also those of the same stack.
options:
  state:
    description:
      - V(taken) stops the services and takes their data.
      - V(given_back) brings the data back and runs the services again, as they were. The services
        of this collection must have been removed.
      - V(settled) removes the services that were stopped, and what was kept for going back.
    type: str
    choices: [taken, given_back, settled]
    required: true
  parts:
    description:
      - C(orthanc), C(ctp) and C(keydb), as far as they are there, each with C(name) and C(stack) of
        its service; of Orthanc C(data), its directory on the host; of KeyDB C(user), its superuser.
    type: dict
    default: {}
  moves:
    description: Where data lie, and the empty directory that they get.
    type: list
    elements: dict
    default: []
    suboptions:
      source: {description: Where they lie., type: path, required: true}
      destination: {description: Where they shall lie., type: path, required: true}
  passwords:
    description: Passwords that roles of KeyDB get before it stops, since ours log in with them.
    type: list
    elements: dict
    default: []
    suboptions:
      role: {description: Name of the role., type: str, required: true}
      password: {description: Its password., type: str, required: true}
  limited:
    description: Whether the rules of this collection were loaded before all this. It is noted.
    type: bool
    default: false
  note:
    description: File that keeps what was done.
    type: path
    required: true
  copies:
    description: Directory of root's for a copy of Orthanc's index, on the file system of the data.
    type: path
    required: true
  timeout:
    description: Seconds within which a service must have stopped, or must run again.
    type: int
    default: 180
attributes:
  check_mode: {support: full, description: Says whether something would be done.}
  diff_mode: {support: none, description: What would be done is shown by the playbook.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Take Orthanc's studies
  auscat.imaging.adopt_take_over:
    state: taken
    parts: {orthanc: {name: pacs_orthanc, stack: pacs, data: /data/orthanc}}
    moves: [{source: /data/orthanc, destination: /data/auscat/orthanc}]
    note: /root/adopted.json
    copies: /data/auscat/.adopt
"""

RETURN = r"""
notes:
  description: What there is to say, in words.
  type: list
  elements: str
  returned: success
removed:
  description: What was removed, in words.
  type: list
  elements: str
  returned: when state is settled
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.adopt.moving import MoveError
from ansible_collections.auscat.imaging.plugins.module_utils.adopt.take_over import (
    TakeOver,
    TakeOverError,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError
from ansible_collections.auscat.imaging.plugins.module_utils.stack.data_copy import DataCopyError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["taken", "given_back", "settled"],
                "required": True,
            },
            "parts": {"type": "dict", "default": {}},
            "moves": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "source": {"type": "path", "required": True},
                    "destination": {"type": "path", "required": True},
                },
            },
            "passwords": {
                "type": "list",
                # What is secret in it is said below.
                "no_log": False,
                "elements": "dict",
                "default": [],
                "options": {
                    "role": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                },
            },
            "limited": {"type": "bool", "default": False},
            "note": {"type": "path", "required": True},
            "copies": {"type": "path", "required": True},
            "timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    p = module.params
    way = TakeOver(Path(p["note"]), Path(p["copies"]), p["timeout"])
    noted = bool(way.noted())
    if module.check_mode:
        wanted = not way.noted().get("taken") if p["state"] == "taken" else noted
        module.exit_json(changed=wanted, notes=[], removed=[])
    removed: list[str] = []
    try:
        if p["state"] == "taken":
            moves = [(each["source"], each["destination"]) for each in p["moves"]]
            passwords = {each["role"]: each["password"] for each in p["passwords"]}
            way.take(p["parts"], moves, passwords, p["limited"])
        elif p["state"] == "given_back":
            way.give_back()
        else:
            removed = way.settle()
    except (TakeOverError, MoveError, DataCopyError, CommandError, OSError) as error:
        rest = " Nothing was changed."
        if way.noted():
            rest = (
                f" What was begun is noted in {p['note']}: the next run of this playbook goes on "
                "from there"
            )
            back = ", and -e adopt_give_back=true brings back what stood."
            rest += "." if way.noted().get("settled") else back
        module.fail_json(msg=f"{error}{rest}")
    module.exit_json(changed=noted or p["state"] == "taken", notes=way.notes, removed=removed)


if __name__ == "__main__":
    main()
