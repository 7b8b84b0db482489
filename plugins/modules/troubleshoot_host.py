#!/usr/bin/python
"""Ansible module: look at everything on a host that can keep studies from arriving."""

from __future__ import annotations

DOCUMENTATION = r"""
module: troubleshoot_host
short_description: Inspect everything on a host that can keep studies from arriving
version_added: 0.1.0
description:
  - Looks and changes nothing. Never fails; what could not be looked at is returned as such.
  - What is returned holds no secret and no identifier of a patient. Of the services' logs it holds
    the lines whose form is known to be safe, and how many others there were.
options:
  where:
    description: Name of this host in the inventory.
    type: str
    required: true
  stack:
    description: Name of the Swarm stack.
    type: str
    default: auscat
  services:
    description: Names of the services that belong on this host.
    type: list
    elements: str
    required: true
  ports:
    description: Published ports, as the service definitions declare them.
    type: list
    elements: dict
    required: true
  directories:
    description: Data directories, with path and service.
    type: list
    elements: dict
    required: true
  secrets:
    description: Secrets with name and content, compared with those that the services use.
    type: list
    elements: dict
    required: true
  tls_services:
    description: Names of the services that hold a certificate, their companions among them.
    type: list
    elements: str
    default: []
  addresses:
    description: Addresses of machines that are to reach ports; port, address and who.
    type: list
    elements: dict
    default: []
  limited:
    description: Whether the inventory limits published ports to their sources.
    type: bool
    default: true
  ctp:
    description: flavour, url, password, minimum_free_mib, and Orthanc's hostname, port, called and
      calling AE title.
    type: dict
    default: {}
  orthanc:
    description: url, user and password.
    type: dict
    default: {}
  keydb:
    description: table, and ctp_password.
    type: dict
    default: {}
  since:
    description: How far back the logs are read, as docker takes it.
    type: str
    default: 24h
  unasked:
    description:
      - What cannot be asked, since the controller does not know the other machine's address,
        V(secrets) or V(echo).
    type: list
    elements: str
    choices: [secrets, echo]
    default: []
attributes:
  check_mode: {support: full, description: Nothing is changed anyway.}
  diff_mode: {support: none, description: Nothing is changed.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Inspect the machine
  auscat.imaging.troubleshoot_host:
    where: "{{ inventory_hostname }}"
    services: [orthanc]
    ports: "{{ __auscat_published_ports }}"
    directories: "{{ __auscat_directories }}"
    secrets: []
"""

RETURN = r"""
seen:
  description: What module_utils/care/troubleshoot.py decides by.
  type: dict
  returned: success
logs:
  description: What may be passed on of each service's log.
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.care.observation import observed


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "where": {"type": "str", "required": True},
            "stack": {"type": "str", "default": "auscat"},
            "services": {"type": "list", "elements": "str", "required": True},
            "ports": {"type": "list", "elements": "dict", "required": True},
            "directories": {"type": "list", "elements": "dict", "required": True},
            # The task sets no_log; here it would censor each value wherever it occurs.
            "secrets": {"type": "list", "elements": "dict", "required": True, "no_log": False},
            "tls_services": {"type": "list", "elements": "str", "default": []},
            "addresses": {"type": "list", "elements": "dict", "default": []},
            "limited": {"type": "bool", "default": True},
            "ctp": {"type": "dict", "default": {}},
            "orthanc": {"type": "dict", "default": {}},
            "keydb": {"type": "dict", "default": {}, "no_log": False},
            "since": {"type": "str", "default": "24h"},
            "unasked": {
                "type": "list",
                "elements": "str",
                "choices": ["secrets", "echo"],
                "default": [],
            },
        },
        supports_check_mode=True,
    )
    seen, logs = observed(module.params)
    module.exit_json(changed=False, seen=seen, logs=logs)


if __name__ == "__main__":
    main()
