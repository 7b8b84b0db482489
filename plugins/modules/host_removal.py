#!/usr/bin/python
"""Ansible module: remove what a node left on a host: systemd units, files, directories."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_removal
short_description: Remove systemd units, files and directories of a node from a host
version_added: 0.1.0
description:
  - Stops, disables and removes units by name pattern, then removes paths with all that is in them.
  - Never follows a symbolic link. A mount point is emptied and stays. Directories that hold what
    other programs need, such as C(/etc) or C(/var/lib), are refused.
options:
  units:
    description: Patterns of unit files below C(/etc/systemd/system), such as V(auscat-*.timer).
    type: list
    elements: str
    default: []
  except_units:
    description: Unit files that the patterns name and that are somebody else's task.
    type: list
    elements: str
    default: []
  paths:
    description: Files and directories, absolute.
    type: list
    elements: path
    default: []
  keep:
    description: Files in them that stay, with the directories above them.
    type: list
    elements: path
    default: []
  empty:
    description: Directories that are removed when nothing is in them any more.
    type: list
    elements: path
    default: []
attributes:
  check_mode: {support: full, description: Says what would be removed.}
  diff_mode: {support: none, description: What is removed is returned.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Remove the timers and the state of the node
  auscat.imaging.host_removal:
    units: ["auscat-*.timer", "auscat-*.service"]
    paths: [/var/lib/example]
"""

RETURN = r"""
removed:
  description: What was removed, or would be in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: ["unit auscat-backup.timer", "/var/lib/example"]
kept:
  description: What stays of the paths.
  type: list
  elements: str
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.facts import (
    service_manager,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.removal import (
    SHARED,
    RemovalError,
    removable,
    remove_tree,
)

UNITS = Path("/etc/systemd/system")


def units_of(patterns: list[str], except_units: list[str]) -> list[Path]:
    """Return the unit files of the patterns, timers first: they start the others."""
    found = {
        path
        for pattern in patterns
        for path in UNITS.glob(pattern)
        if path.name not in except_units
    }
    return sorted(found, key=lambda path: (path.suffix != ".timer", path.name))


def remove_units(units: list[Path]) -> None:
    """Stop and disable units where systemd runs, and remove their files.

    Raises:
        CommandError: systemd refused.
    """
    systemd = service_manager() == "systemd"
    # A template cannot be stopped; its instances end with those that started them.
    names = [unit.name for unit in units if "@." not in unit.name]
    if systemd and names:
        run(["systemctl", "disable", "--now", "--quiet", *names])
    for unit in units:
        unit.unlink(missing_ok=True)
    if systemd and units:
        run(["systemctl", "daemon-reload"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "default": []},
            "except_units": {"type": "list", "elements": "str", "default": []},
            "paths": {"type": "list", "elements": "path", "default": []},
            "keep": {"type": "list", "elements": "path", "default": []},
            "empty": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    keep = {Path(path) for path in module.params["keep"]}
    units = units_of(module.params["units"], module.params["except_units"])
    removed = [f"unit {unit.name}" for unit in units]
    kept: list[str] = []
    try:
        there = [removable(path) for path in module.params["paths"]]
        if not module.check_mode:
            remove_units(units)
        for path in there:
            gone, left = remove_tree(path, keep, module.check_mode)
            removed += gone
            kept += left
        for path in [Path(each) for each in module.params["empty"] if each not in SHARED]:
            if path.is_dir() and not path.is_mount() and not any(path.iterdir()):
                removed.append(str(path))
                if not module.check_mode:
                    path.rmdir()
    except (RemovalError, CommandError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename} cannot be removed: {error.strerror}. Run this again."
        )
    module.exit_json(changed=bool(removed), removed=removed, kept=kept)


if __name__ == "__main__":
    main()
