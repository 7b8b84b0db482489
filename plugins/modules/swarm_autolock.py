#!/usr/bin/python
"""Ansible module: the host half of Swarm's autolock. The vault's half is the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_autolock
short_description: Turn Swarm's autolock on or off, with its key in the inventory's vault
version_added: 0.1.0
description:
  - Unlocks a Swarm that is locked since its engine was started, with the key of the vault.
  - Turns autolock on, and keeps the key that Swarm chooses in C(vault_swarm_unlock_keys) of
    group_vars/all/vault.yml, by the machine's name in the inventory; or turns it off again, where
    the vault has the key. An autolock that somebody has turned on by hand is left as it is.
  - The action plugin of the same name opens the vault on the controller and calls this module on
    the machine. The key reaches the engine on standard input, and no result has it.
options:
  inventory:
    description: Sources of the inventory; exactly one. Taken by the action plugin.
    type: list
    elements: path
  state:
    description:
      - V(present) has autolock on, V(absent) off; V(rotated) has Swarm choose another key.
        Taken by the action plugin.
    type: str
    choices: [present, absent, rotated]
    default: present
  directory:
    description: Directory of the machine that keeps a new key, sealed, until the vault has it.
    type: path
    required: true
  step:
    description: Filled in by the action plugin.
    type: str
    choices: [look, enable, rotate, disable, forget]
    default: look
  keys:
    description: Filled in by the action plugin.
    type: list
    elements: str
    default: []
  seal:
    description: Filled in by the action plugin.
    type: str
    default: ""
attributes:
  check_mode: {support: full, description: It says what would be done. A locked Swarm stays locked.}
  diff_mode: {support: none, description: There is nothing to show but a key.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Turn autolock on, with the key in the vault
  auscat.imaging.swarm_autolock:
    inventory: "{{ ansible_inventory_sources }}"
    directory: /var/lib/site
  # All machines write to one file.
  throttle: 1
"""

RETURN = r"""
done:
  description: What was done, or in check mode would be, in plain words.
  type: list
  elements: str
  returned: success
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host import swarm_lock
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError


def look(parameters: dict[str, Any], unlocks: bool) -> dict[str, Any]:
    """Unlock a locked Swarm where that may be done, and say how it is.

    Returns:
        ``swarm`` (its state), ``manager``, ``autolock``, ``unlocked`` (by this call), ``same``
        (whether its key is the first of those given), and ``key`` where it is not.
    """
    found = swarm_lock.look()
    given = [each for each in parameters["keys"] if each]
    unlocked = False
    if found.state == "locked" and unlocks:
        kept = swarm_lock.kept(Path(parameters["directory"]), parameters["seal"])
        unlocked = swarm_lock.unlock([*given, *([kept] if kept else [])])
        found = swarm_lock.look() if unlocked else found
    key = swarm_lock.key() if found.manager and found.autolock else ""
    same = key in given[:1]
    return {
        "swarm": found.state,
        "manager": found.manager,
        "autolock": found.autolock,
        "unlocked": unlocked,
        "same": same,
        # One that was handed in would be censored here.
        "key": "" if same else key,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "inventory": {"type": "list", "elements": "path"},
            "state": {
                "type": "str",
                "choices": ["present", "absent", "rotated"],
                "default": "present",
            },
            "directory": {"type": "path", "required": True},
            "step": {
                "type": "str",
                "choices": ["look", "enable", "rotate", "disable", "forget"],
                "default": "look",
            },
            "keys": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "seal": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    step, directory = module.params["step"], Path(module.params["directory"])
    try:
        if step == "look":
            seen = look(module.params, not module.check_mode)
            module.exit_json(changed=seen["unlocked"], **seen)
        elif module.check_mode:
            module.exit_json(changed=True)
        elif step in ("enable", "rotate"):
            key = swarm_lock.lock(step == "rotate", module.params["seal"], directory)
            module.exit_json(changed=True, key=key)
        elif step == "disable":
            swarm_lock.stay_unlocked()
        else:
            swarm_lock.forget(directory)
        module.exit_json(changed=True)
    except CommandError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or directory}: {error.strerror}.")


if __name__ == "__main__":
    main()
