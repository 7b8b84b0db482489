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
attributes:
  check_mode: {support: full, description: Nothing is changed anyway.}
  diff_mode: {support: none, description: Nothing is changed.}
author: The AusCAT imaging node project
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
  description: Rows with port, service, purpose, from, meant and state.
  type: list
  elements: dict
  returned: success
from:
  description: Address of this machine on its way to the host; empty where that has none.
  type: str
  returned: success
"""

import ipaddress
import socket
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.care.troubleshoot import is_meant


def own_address(address: str) -> str:
    """Return this machine's address on its way to a host, or an empty text."""
    try:
        family, kind, _, _, target = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)  # sends nothing: UDP
            return str(ipaddress.ip_address(probe.getsockname()[0]))
    except (OSError, ValueError):
        return ""


def state_of(address: str, port: int, timeout: float) -> str:
    """Return open, or why not."""
    try:
        socket.create_connection((address, port), timeout).close()
    except socket.gaierror:
        return "its name has no address here"
    except (socket.timeout, TimeoutError):
        return "no answer"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "no way to it"
    return "open"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "dict", "required": True},
            "timeout": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    address = module.params["address"]
    own = own_address(address)
    rows: list[dict[str, Any]] = []
    for port in module.params["ports"]:
        if (port.get("protocol") or "tcp") != "tcp":
            continue
        number = int(port["published"])
        rows.append(
            {
                "port": number,
                "service": port["service"],
                "purpose": port["purpose"],
                "from": own,
                "meant": is_meant(port, own),
                "state": state_of(address, number, module.params["timeout"]),
            }
        )
    module.exit_json(changed=False, reach=rows, **{"from": own})


if __name__ == "__main__":
    main()
