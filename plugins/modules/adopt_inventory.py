#!/usr/bin/python
"""Ansible module: write the inventory of a node that was made by hand, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_inventory
short_description: Write the inventory that describes a node made by hand
version_added: 0.1.0
description:
  - Turns what M(auscat.imaging.adopt_look) saw on the machines of one node into an inventory, and
    into a page that says what will change, what could not be seen, and what is unsafe today.
  - Runs on the controller. Writes into an empty or new directory alone. Contacts no machine.
options:
  directory:
    description: Directory of the inventory. It must be empty, or not be there.
    type: path
    required: true
  looks:
    description: What was seen, by name of the host.
    type: dict
    required: true
  connections:
    description: C(ansible_host), C(ansible_port) and C(ansible_user) of each host, where set.
    type: dict
    default: {}
attributes:
  check_mode: {support: full, description: Returns the page; no file is written.}
  diff_mode: {support: none, description: The files are new.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Write the inventory
  auscat.imaging.adopt_inventory:
    directory: inventories/site
    looks: {node01: "{{ found.look }}"}
  delegate_to: localhost
"""

RETURN = r"""
files:
  description: Paths that were written, or would be.
  type: list
  elements: str
  returned: success
report:
  description: The page, lines of text.
  type: list
  elements: str
  returned: success
obstacles:
  description: What is in the way of taking the node over.
  type: list
  elements: str
  returned: success
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.adopt.describe import (
    AdoptError,
    files,
)
from ansible_collections.auscat.imaging.plugins.module_utils.adopt.findings import findings, report
from ansible_collections.auscat.imaging.plugins.module_utils.host.files import write

PAGE = "ADOPTING.md"


def directory_problem(directory: Path) -> str:
    """Return why an inventory cannot be written there; empty where it can."""
    accepted = (
        "Accepted: a directory that is empty or not there, so that nothing of yours is "
        "overwritten. Name another one with -e adopt_directory=. Nothing was written."
    )
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        return f"adopt_directory is {directory}, which is no directory. {accepted}"
    if directory.is_dir() and any(directory.iterdir()):
        return f"adopt_directory is {directory}, which holds something. {accepted}"
    return ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "looks": {"type": "dict", "required": True},
            "connections": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    directory = Path(module.params["directory"])
    looks = module.params["looks"]
    try:
        if problem := directory_problem(directory):
            module.fail_json(msg=problem)
        written = files(looks, module.params["connections"])
        page = report(looks)
        written[PAGE] = page
        obstacles = findings(looks).get("obstacles", [])
    except AdoptError as error:
        module.fail_json(msg=f"{error} Nothing was written.")
    if not module.check_mode:
        try:
            for name, text in written.items():
                path = directory / name
                path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
                write({path: (text, 0o640)})
        except OSError as error:
            module.fail_json(
                msg=f"adopt_directory is {directory}, and {error.filename or directory} cannot be "
                f"written: {os.strerror(error.errno or 0)}. Accepted: a directory that you may "
                "write to. Remove what was begun there, or name another one."
            )
    module.exit_json(
        changed=True,
        files=[str(directory / name) for name in sorted(written)],
        report=page.splitlines(),
        obstacles=obstacles,
    )


if __name__ == "__main__":
    main()
