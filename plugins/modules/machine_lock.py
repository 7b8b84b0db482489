#!/usr/bin/python
"""Ansible module: hold a machine for a run. The action plugin of the same name does the rest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_lock
short_description: Hold a machine for this run, so that nothing else changes it meanwhile
version_added: 0.1.0
description:
  - Takes the lock of a machine for this run of ansible-playbook, before its first change. It is
    let go when ansible-playbook ends, however it ends. A run that holds it already keeps it, so a
    playbook may import another.
  - Fails where another playbook, or a backup of the machine's timers, holds it, and says who, since
    when and what to do. With C(-e break_lock=HOST) it is taken from whoever holds it.
  - M(auscat.imaging.preflight) takes it, too. In check mode nothing is taken.
options:
  wait:
    description: Seconds to wait for another holder.
    type: int
    default: 0
  kind:
    description: What this run does. It tells others whether they may go on beside it.
    type: str
    choices: [change, backup]
    default: change
  beside_backup:
    description: >-
      Whether this run goes on beside a backup or its verification, as senders do all day. It holds
      nothing then.
    type: bool
    default: false
  record:
    description: Filled in by the action plugin.
    type: dict
  broken:
    description: Filled in by the action plugin.
    type: bool
    default: false
attributes:
  check_mode: {support: full, description: Nothing is taken.}
  diff_mode: {support: none, description: There is nothing to show.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Hold the machine
  auscat.imaging.machine_lock:
  become: true
"""

RETURN = r"""
run:
  description: What this run is known by; empty where it holds nothing.
  type: str
  returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import machine_lock
from ansible_collections.auscat.imaging.plugins.module_utils.host import facts as host_facts


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "wait": {"type": "int", "default": 0},
            "kind": {"type": "str", "choices": ["change", "backup"], "default": "change"},
            "beside_backup": {"type": "bool", "default": False},
            "record": {"type": "dict"},
            "broken": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if problem := host_facts.user_problem(os.geteuid()):
        module.fail_json(msg=problem)
    try:
        lock = machine_lock.attempt(module.params["record"], module.params["broken"])
    except OSError as error:
        module.fail_json(msg=f"The machine could not be held: {error}")
    module.exit_json(changed=False, lock=lock)


if __name__ == "__main__":
    main()
