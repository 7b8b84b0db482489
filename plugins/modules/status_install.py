#!/usr/bin/python
"""Ansible module: put the program that watches a node, its settings and its timer on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status_install
short_description: Install the program that samples the state of a machine, and its timer
version_added: 0.1.0
description:
  - Takes everything in one task. Without a I(package) it takes the timer and the I(leftovers) away;
    the program and the samples stay.
  - What was broken off is finished by the next run. Where a file cannot be written, none is.
options:
  directories:
    description: What is made first, parents before children, each with its path and mode; root's.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      mode: {description: Octal mode as text., type: str, required: true}
  directory:
    description: Directory of the package, one of them. Python files of other names go.
    type: path
    required: true
  package:
    description: Name to content of the package's files.
    type: dict
    default: {}
  settings_path:
    description: File of the settings.
    type: path
    required: true
  settings:
    description: What the program reads.
    type: dict
    default: {}
  units:
    description: Name to content of the units of systemd.
    type: dict
    default: {}
  timer:
    description: The one of them that is started.
    type: str
    required: true
  leftovers:
    description: Files that are removed with the timer.
    type: list
    elements: path
    default: []
attributes:
  check_mode: {support: full, description: Says what would change.}
  diff_mode: {support: full, description: Shows names.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Install the program that takes the samples, and its timer
  auscat.imaging.status_install:
    directories:
      - {path: /usr/local/lib/example/node_status, mode: "0755"}
    directory: /usr/local/lib/example/node_status
    package: {__init__.py: ""}
    settings_path: "{{ auscat_config_root }}/status.json"
    settings: {node: kv01}
    units:
      auscat-status.timer: "{{ lookup('ansible.builtin.template', 'auscat-status.timer.j2') }}"
    timer: auscat-status.timer
"""

RETURN = r""" # """

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host import directories
from ansible_collections.auscat.imaging.plugins.module_utils.host import files as host_files
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run
from ansible_collections.auscat.imaging.plugins.module_utils.host.files import UNITS


def ended_by_one_line_feed(text: str) -> str:
    """Return the text with the line feed at its end that Ansible's lookups lose."""
    return text.rstrip("\n") + "\n"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "mode": {"type": "str", "required": True},
                },
            },
            "directory": {"type": "path", "required": True},
            "package": {"type": "dict", "default": {}},
            "settings_path": {"type": "path", "required": True},
            "settings": {"type": "dict", "default": {}},
            "units": {"type": "dict", "default": {}},
            "timer": {"type": "str", "required": True},
            "leftovers": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    directory, timer = Path(given["directory"]), given["timer"]
    wished: dict[Path, tuple[str, int]] = {}
    superfluous: list[Path] = []
    if given["package"]:
        for name, text in given["package"].items():
            wished[directory / name] = (ended_by_one_line_feed(text), 0o644)
        settings = json.dumps(given["settings"], indent=4, sort_keys=True) + "\n"
        wished[Path(given["settings_path"])] = (settings, 0o600)
        for name, text in given["units"].items():
            wished[UNITS / name] = (ended_by_one_line_feed(text), 0o644)
        superfluous = sorted(set(directory.glob("*.py")) - wished.keys())
    elif given["units"]:
        module.fail_json(
            msg=f"package is empty, and units names {', '.join(given['units'])}. Accepted: the "
            "files of the program, without which there is nothing to start, or neither of them. "
            "Nothing was changed."
        )
    # Without the timer there is nothing of this role, and a file of that name is another's. So it
    # goes last: what was broken off before is taken up again.
    elif (UNITS / timer).is_file():
        leftovers = {Path(each) for each in given["leftovers"]} - {UNITS / timer}
        superfluous = [*sorted(path for path in leftovers if path.is_file()), UNITS / timer]
    try:
        new_directories = directories.differences(
            {**each, "owner": 0, "group": 0} for each in given["directories"]
        )
    except ValueError as error:
        module.fail_json(msg=str(error))
    different = host_files.different(wished)
    has_new_units = any(path.parent == UNITS for path in (*different, *superfluous))
    try:
        # A run that was broken off has written them, and no more.
        has_new_units |= bool(wished) and host_files.unread(given["units"])
        asleep = bool(wished) and (has_new_units or bool(host_files.asleep([timer])))
        if not module.check_mode:
            if not wished and superfluous:
                run(["systemctl", "disable", "--now", timer])
                service = timer.replace(".timer", ".service")
                # One that takes a sample just now would write the metrics again.
                if (UNITS / service).is_file():
                    run(["systemctl", "stop", service])
            directories.make(new_directories)
            host_files.write({path: wished[path] for path in different})
            for path in superfluous:
                path.unlink(missing_ok=True)
            if has_new_units:
                run(["systemctl", "daemon-reload"])
            if asleep:
                run(["systemctl", "enable", timer])
                # Restarted, since a timer keeps its old times otherwise.
                run(["systemctl", "restart", timer])
    except (CommandError, OSError, ValueError) as error:
        module.fail_json(msg=f"What watches this machine could not be installed: {error}")
    module.exit_json(
        changed=bool(new_directories or different or superfluous or asleep),
        diff={
            "before": "".join(f"{each['path']} {present}\n" for each, present, _ in new_directories)
            + "".join(f"{path}\n" for path in superfluous),
            "after": "".join(f"{each['path']} {target}\n" for each, _, target in new_directories)
            + "".join(f"{path}\n" for path in different)
            + (f"{timer} started\n" if asleep else ""),
        },
    )


if __name__ == "__main__":
    main()
