#!/usr/bin/python
"""Ansible module: find what was exported out of CTP's quarantine, and remove it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: quarantine_exports
short_description: Find what was exported out of CTP's quarantine, and remove it
version_added: 0.1.0
description:
  - An export is a directory with the C(manifest.csv) that M(auscat.imaging.ctp_quarantine) has
    written, or one of its exports that broke off. Nothing else is removed. No symbolic link is
    followed.
options:
  directories:
    description: Where exports may lie, one directory for each.
    type: list
    elements: path
    required: true
  record:
    description: File in which M(auscat.imaging.ctp_quarantine) notes where else it made exports.
    type: path
    default: ""
  state:
    description: >-
      V(present) looks; V(absent) removes the exports for good, and O(directories) where they are
      empty then.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode: {support: full, description: Says what would be removed.}
  diff_mode: {support: none, description: What is removed is returned.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Look for exports
  auscat.imaging.quarantine_exports:
    directories: [/srv/auscat/quarantine-export]
"""

RETURN = r"""
exports:
  description: What lies there, in words.
  type: list
  elements: str
  returned: success
  sample: ["/srv/auscat/quarantine-export/20261130T120000Z (12 objects, 6.1 MiB)"]
removed:
  description: What was, or would be, removed of it.
  type: list
  elements: str
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine_exports import (
    exports_in,
    noted,
    remove,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directories": {"type": "list", "elements": "path", "required": True},
            "record": {"type": "path", "default": ""},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    directories = [Path(each) for each in module.params["directories"]]
    record = module.params["record"]
    absent = module.params["state"] == "absent"
    try:
        exports = exports_in([*directories, *(noted(Path(record)) if record else [])])
        if absent and not module.check_mode:
            remove(exports, directories)
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename}, with exports of CTP's quarantine, cannot be read or removed:"
            f" {error.strerror}. Run this again."
        )
    texts = [str(each) for each in exports]
    module.exit_json(
        changed=absent and bool(exports), exports=texts, removed=texts if absent else []
    )


if __name__ == "__main__":
    main()
