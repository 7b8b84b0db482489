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
  - Where systemd is not process 1, there are no I(units); C(node_status.keeper) of the package is
    started as a process of its own, which holds I(lock) and takes the samples until it is removed
    or the machine ends.
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
  notify_path:
    description: File of what tells people of alerts. Removed where I(notify) is empty.
    type: path
    required: true
  notify:
    description: Its content, with what is secret in it.
    type: str
    default: ""
  units:
    description: Name to content of the units of systemd.
    type: dict
    default: {}
  timer:
    description: The one of them that is started.
    type: str
    required: true
  lock:
    description: File that the process holds which takes the samples where there is no systemd.
    type: path
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
    notify_path: "{{ auscat_config_root }}/notify.json"
    units:
      auscat-status.timer: "{{ lookup('ansible.builtin.template', 'auscat-status.timer.j2') }}"
    timer: auscat-status.timer
    lock: /run/auscat-status.lock
"""

RETURN = r""" # """

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host import directories
from ansible_collections.auscat.imaging.plugins.module_utils.host import facts as host_facts
from ansible_collections.auscat.imaging.plugins.module_utils.host import files as host_files
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run
from ansible_collections.auscat.imaging.plugins.module_utils.host.files import UNITS
from ansible_collections.auscat.imaging.plugins.module_utils.status import keeping
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import keeper


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
            "notify_path": {"type": "path", "required": True},
            "notify": {"type": "str", "default": "", "no_log": True},
            "units": {"type": "dict", "default": {}},
            "timer": {"type": "str", "required": True},
            "lock": {"type": "path", "required": True},
            "leftovers": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    directory, timer, lock = Path(given["directory"]), given["timer"], Path(given["lock"])
    systemd = host_facts.service_manager() == "systemd"
    units = given["units"] if systemd else {}
    running = 0 if systemd else keeper.holder(lock)
    wished: dict[Path, tuple[str, int]] = {}
    superfluous: list[Path] = []
    if given["package"]:
        for name, text in given["package"].items():
            wished[directory / name] = (ended_by_one_line_feed(text), 0o644)
        settings = json.dumps(given["settings"], indent=4, sort_keys=True) + "\n"
        wished[Path(given["settings_path"])] = (settings, 0o600)
        for name, text in units.items():
            wished[UNITS / name] = (ended_by_one_line_feed(text), 0o644)
        notify = Path(given["notify_path"])
        if given["notify"]:
            wished[notify] = (ended_by_one_line_feed(given["notify"]), 0o600)
        there = [*directory.glob("*.py"), *([notify] if notify.is_file() else [])]
        superfluous = sorted(set(there) - wished.keys())
    elif given["units"]:
        module.fail_json(
            msg=f"package is empty, and units names {', '.join(given['units'])}. Accepted: the "
            "files of the program, without which there is nothing to start, or neither of them. "
            "Nothing was changed."
        )
    # Without the timer there is nothing of this role, and a file of that name is another's. So it
    # goes last: what was broken off before is taken up again.
    elif not systemd and running:
        superfluous = [path for path in map(Path, given["leftovers"]) if path.is_file()]
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
        has_new_units |= bool(wished) and systemd and host_files.unread(units)
        asleep = bool(wished) and (
            has_new_units or bool(host_files.asleep([timer]))
            if systemd
            else not running or directory / "keeper.py" in different
        )
        ends = bool(running) and (asleep or not wished)
        if not module.check_mode:
            if ends:
                keeping.end(running, lock)
            if systemd and not wished and superfluous:
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
            if asleep and not systemd:
                keeping.start(directory, given["settings_path"], lock)
            elif asleep:
                run(["systemctl", "enable", timer])
                # Restarted, since a timer keeps its old times otherwise.
                run(["systemctl", "restart", timer])
    except (CommandError, OSError, ValueError) as error:
        module.fail_json(msg=f"What watches this machine could not be installed: {error}")
    module.exit_json(
        changed=bool(new_directories or different or superfluous or asleep or ends),
        diff={
            "before": "".join(f"{each['path']} {present}\n" for each, present, _ in new_directories)
            + "".join(f"{path}\n" for path in superfluous)
            + ("the process of the samples\n" if ends else ""),
            "after": "".join(f"{each['path']} {target}\n" for each, _, target in new_directories)
            + "".join(f"{path}\n" for path in different)
            + (f"{timer if systemd else 'the process of the samples'} started\n" if asleep else ""),
        },
    )


if __name__ == "__main__":
    main()
