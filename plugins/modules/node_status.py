#!/usr/bin/python
# Copyright (c) 2026, The AusCAT imaging node project
"""Ansible module: read the state of this node, judge it, and return its past."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_status
short_description: Read and assess the state of a node
version_added: 0.1.0
description:
  - Reads services, figures, disks, certificates, clock, firewall, last proof and last backups of
    this host, and reports what needs attention. Changes nothing.
  - The passwords of Orthanc and CTP are read from their containers and forgotten again. What is
    returned holds counts, ages and versions, and no identifier of a patient.
  - The same program takes the samples of the role C(status).
options:
  settings:
    description: What to look at, as the role C(status) puts it together in C(__status_settings).
    type: dict
    required: true
author:
  - The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Look at the node
  auscat.imaging.node_status:
    settings: "{{ __status_settings }}"
  register: __status_seen
"""

RETURN = r"""
state:
  description: What was read, as module_utils/status/node_status/collect.py describes it.
  type: dict
  returned: success
alerts:
  description: What needs attention, the most urgent first, each with what to do next.
  type: list
  elements: dict
  returned: success
history:
  description: The samples of the last day, and of those before it some hundred.
  type: list
  elements: dict
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import (
    collect,
    rules,
    samples,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"settings": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    settings = module.params["settings"]
    problem = rules.limits_problem(settings["limits"])
    if problem:
        module.fail_json(msg=f"{problem} Nothing was changed.")
    try:
        history = samples.read(Path(settings["history"]))
    except OSError as error:
        history = []
        module.warn(f"{settings['history']} cannot be read: {error.strerror}.")
    state = collect.state(settings)
    module.exit_json(
        changed=False,
        state=state,
        alerts=rules.evaluate(state, history, settings["limits"]),
        history=samples.thinned(history, state["time"]),
    )


if __name__ == "__main__":
    main()
