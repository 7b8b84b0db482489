#!/usr/bin/python
"""Ansible module: create a whole list of directories with owner and mode."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_directories
short_description: Create a list of directories with owner, group and mode
version_added: 0.1.0
description:
  - Takes the whole list in one task, where M(ansible.builtin.file) would need one call a directory.
  - Never touches what is in a directory, never removes one, never follows a symbolic link.
options:
  directories:
    description: The directories, parents before children.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      owner: {description: Numeric user., type: int, default: 0}
      group: {description: Numeric group., type: int, default: 0}
      mode: {description: Octal mode as text., type: str, default: "0755"}
attributes:
  check_mode: {support: full, description: Says what would be created or changed.}
  diff_mode: {support: full, description: Shows owner and mode before and after.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Create the data directories
  auscat.imaging.host_directories:
    directories:
      - {path: /srv/auscat/orthanc, owner: 64042, group: 64042, mode: "0750"}
"""

RETURN = r"""
changed_paths:
  description: The directories that were created or whose owner or mode was set.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.directories import (
    differences,
    make,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "owner": {"type": "int", "default": 0},
                    "group": {"type": "int", "default": 0},
                    "mode": {"type": "str", "default": "0755"},
                },
            }
        },
        supports_check_mode=True,
    )
    wished: list[dict[str, Any]] = module.params["directories"]
    try:
        different = differences(wished)
        if not module.check_mode:
            make(different)
    except ValueError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(different),
        changed_paths=[directory["path"] for directory, _, _ in different],
        diff={
            "before": "".join(f"{each['path']} {present}\n" for each, present, _ in different),
            "after": "".join(f"{each['path']} {target}\n" for each, _, target in different),
        },
    )


if __name__ == "__main__":
    main()
