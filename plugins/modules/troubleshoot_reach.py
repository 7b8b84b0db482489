#!/usr/bin/python
"""Ansible module: try a host's published ports from the machine that this runs on."""

from __future__ import annotations

DOCUMENTATION = r"""
module: troubleshoot_reach
short_description: Check a host's published ports from the machine that this runs on
version_added: 0.1.0
description:
  - Opens a connection to each TCP port and closes it again, without sending anything.
  - Never fails; runs on the controller, which is where the operator sits.
options:
  address:
    description: Address or name of the host.
    type: str
    required: true
  ports:
    description: Published ports, as the service definitions declare them.
    type: list
    elements: dict
    required: true
  timeout:
    description: Seconds to wait for each port.
    type: int
    default: 3
  limited:
    description: Whether the inventory limits published ports to their sources.
    type: bool
    default: true
attributes:
  check_mode: {support: full, description: Nothing is changed anyway.}
  diff_mode: {support: none, description: Nothing is changed.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Check the ports from here
  auscat.imaging.troubleshoot_reach:
    address: 10.20.30.40
    ports: "{{ __auscat_published_ports }}"
  delegate_to: localhost
"""

RETURN = r"""
reach:
  description: Rows with port, service, purpose, from, own, meant (none where that cannot be told)
    and state.
  type: list
  elements: dict
  returned: success
from:
  description: Address of this machine on its way to the host; empty where that has none.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.care.targets import own_address, reach


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "dict", "required": True},
            "timeout": {"type": "int", "default": 3},
            "limited": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    rows = reach(p["address"], p["ports"], p["timeout"], p["limited"])
    module.exit_json(changed=False, reach=rows, **{"from": own_address(p["address"])})


if __name__ == "__main__":
    main()
