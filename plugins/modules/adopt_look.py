#!/usr/bin/python
"""Ansible module: look at a machine whose node was made by hand."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_look
short_description: Look at a node that was made by hand, and change nothing
version_added: 0.1.0
description:
  - Reads the Swarm services of all stacks of a machine, finds Orthanc, CTP and KeyDB among them,
    and returns what an inventory can say of each. Starts, writes and changes nothing.
  - Returns no password. Where one is a default of AusCAT's pages, its name is returned.
options:
  services:
    description: Which service is which, where it is not clear, by its full name; empty for none.
    type: dict
    default: {}
  note:
    description: >-
      File in which M(auscat.imaging.adopt_take_over) notes what it does. Whether the rules of this
      collection are loaded is said as it was before that.
    type: path
attributes:
  check_mode: {support: full, description: Nothing is changed anyway.}
  diff_mode: {support: none, description: Nothing is changed.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Look at what stands here
  auscat.imaging.adopt_look:
    services: {keydb: hospital_pg}
  register: found
"""

RETURN = r"""
look:
  description: What was seen; module M(auscat.imaging.adopt_inventory) takes it.
  type: dict
  returned: success
settled:
  description: Whether the note says that a proof has passed, and that there is no way back.
  type: bool
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.adopt.look import as_before, observed
from ansible_collections.auscat.imaging.plugins.module_utils.adopt.take_over import TakeOver
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status.command import (
    UnknownError,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"services": {"type": "dict", "default": {}}, "note": {"type": "path"}},
        supports_check_mode=True,
    )
    told = {str(part): str(name or "") for part, name in module.params["services"].items()}
    note = module.params["note"]
    noted = TakeOver(Path(note), Path(note), 0).noted() if note else {}
    try:
        look = as_before(observed(told), noted)
        module.exit_json(changed=False, look=look, settled=bool(noted.get("settled")))
    except UnknownError as error:
        module.fail_json(
            msg=f"The Docker engine of this machine does not answer ({error}). Accepted: one that "
            "runs. Start it (systemctl start docker) and run this again. Nothing was changed."
        )


if __name__ == "__main__":
    main()
