#!/usr/bin/python
"""Ansible module: note on the host how its proof ended."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_outcome
short_description: Record how a proof ended, for those who ask the node later
version_added: 0.1.0
description:
  - Writes a file for root alone, whole or not at all, and its directory where it is missing.
  - Does not report a change, because what is noted is no part of the node.
options:
  path:
    description: The file.
    type: path
    required: true
  outcome:
    description: What it says.
    type: dict
    required: true
attributes:
  check_mode: {support: full, description: Does nothing.}
  diff_mode: {support: none, description: Nothing of the node is changed.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Write the outcome of the proof
  auscat.imaging.proof_outcome:
    path: /var/lib/example/proof.json
    outcome: {passed: true, checks: 25, failed: []}
"""

RETURN = r""" # """

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host import directories
from ansible_collections.auscat.imaging.plugins.module_utils.host import files as host_files


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "outcome": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    if not module.check_mode:
        text = json.dumps(module.params["outcome"], indent=4, sort_keys=True) + "\n"
        directory = {"path": str(path.parent), "owner": 0, "group": 0, "mode": "0700"}
        try:
            directories.make(directories.differences([directory]))
            host_files.write({path: (text, 0o600)})
        except ValueError as error:
            module.fail_json(msg=str(error))
        except OSError as error:
            module.fail_json(
                msg=f"The outcome of the proof cannot be noted in {path}: {error.strerror}. "
                "Accepted: a path that root can write to. Is the disk full, or the file system "
                "read-only (findmnt)?"
            )
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
