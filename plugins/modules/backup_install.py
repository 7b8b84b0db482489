#!/usr/bin/python
"""Ansible module: put the backup program, its settings and its timers on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_install
short_description: Install the program that backs up a machine, and its timers
version_added: 0.1.0
description:
  - Takes everything in one task. Without a kind in I(settings) it takes away what it put there; the
    repositories and the results of earlier runs stay.
  - Where systemd is not process 1, there are no timers, and C(timers) of the result is false.
options:
  directory:
    description: Directory for the settings and what is secret, for root alone.
    type: path
    required: true
  program:
    description:
      - Path of the program's launcher. The program lies in the directory C(backup_program) beside
        it.
    type: path
    required: true
  content:
    description: The launcher itself.
    type: str
    required: true
  package:
    description: Name to content of the program's files. Others in its directory are removed.
    type: dict
    required: true
  settings:
    description: What the program reads.
    type: dict
    required: true
  files:
    description: Name to content of the files beside the settings.
    type: dict
    required: true
  schedules:
    description: Kind of data, or C(verify), to its OnCalendar.
    type: dict
    required: true
attributes:
  check_mode: {support: full, description: Says what would change.}
  diff_mode: {support: full, description: "Shows names and salted digests, other ones each time."}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Install what backs this machine up
  auscat.imaging.backup_install:
    directory: "{{ auscat_config_root }}/backup"
    program: /usr/local/lib/example/backup_run.py
    content: "{{ lookup('ansible.builtin.template', 'backup_run.py.j2') }}"
    package:
      cli.py: "{{ lookup('ansible.builtin.file', 'program/cli.py') }}"
    settings: {node: kv01, config_root: "{{ auscat_config_root }}", kinds: {}}
    files: {}
    schedules: {}
"""

RETURN = r"""
timers:
  description: Whether the machine makes backups by itself.
  type: bool
  returned: success
"""

import json
import secrets
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.backup import plan as backup_plan
from ansible_collections.auscat.imaging.plugins.module_utils.host import facts as host_facts
from ansible_collections.auscat.imaging.plugins.module_utils.host import files as host_files
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run
from ansible_collections.auscat.imaging.plugins.module_utils.host.files import UNITS


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "program": {"type": "path", "required": True},
            "content": {"type": "str", "required": True},
            "package": {"type": "dict", "required": True},
            "settings": {"type": "dict", "required": True, "no_log": True},
            "files": {"type": "dict", "required": True, "no_log": True},
            "schedules": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    directory, program = Path(given["directory"]), Path(given["program"])
    package = program.with_name("backup_program")
    is_on = bool(given["settings"]["kinds"])
    systemd = host_facts.service_manager() == "systemd"
    schedules: dict[str, str] = given["schedules"] if is_on and systemd else {}
    wished: dict[Path, tuple[str, int]] = {}
    if is_on:
        text = json.dumps(given["settings"], indent=2, sort_keys=True) + "\n"
        wished[directory / "settings.json"] = (text, 0o600)
        for name, content in given["files"].items():
            wished[directory / name] = (content, 0o600)
        # Ansible's templates lose the line feed at the end of a file.
        wished[program] = (given["content"].rstrip("\n") + "\n", 0o755)
        for name, content in given["package"].items():
            wished[package / name] = (content.rstrip("\n") + "\n", 0o644)
    units = backup_plan.units(str(program), schedules)
    for name, text in units.items():
        wished[UNITS / name] = (text, 0o644)
    present = {
        path
        for path in (
            *directory.glob("*"),
            *package.glob("*.py"),
            *UNITS.glob("auscat-backup-*"),
            program,
        )
        if path.is_file()
    }
    different = host_files.different(wished)
    superfluous = sorted(present - wished.keys())
    timers = [f"auscat-backup-{name}.timer" for name in schedules]
    try:
        for name, schedule in schedules.items():
            try:
                run(["systemd-analyze", "calendar", "--", schedule])
            except CommandError:
                module.fail_json(
                    msg=f"backup_{name}_schedule is {schedule!r}, which systemd does not know. "
                    'Accepted: a time as in OnCalendar, such as "*-*-* 01:00:00" '
                    "(man systemd.time). Nothing was changed."
                )
        has_new_units = any(path.parent == UNITS for path in (*different, *superfluous))
        # A run that was broken off has written them, and no more.
        has_new_units |= bool(units) and host_files.unread(units)
        asleep = host_files.asleep(timers) if systemd else []
        if has_new_units:
            asleep = timers
        if not module.check_mode:
            gone = [path.name for path in superfluous if path.suffix == ".timer"]
            if gone:
                run(["systemctl", "disable", "--now", *gone])
            for path in different:
                mode = 0o700 if path.parent == directory else 0o755
                path.parent.mkdir(mode=mode, parents=True, exist_ok=True)
            host_files.write({path: wished[path] for path in different})
            for path in superfluous:
                path.unlink(missing_ok=True)
            if not is_on and package.exists():
                # What Python has compiled lies there, too.
                shutil.rmtree(package)
            if is_on:
                directory.chmod(0o700)
            if has_new_units:
                run(["systemctl", "daemon-reload"])
            if asleep:
                run(["systemctl", "enable", "--now", *asleep])
    except (CommandError, OSError) as error:
        module.fail_json(msg=f"The backup could not be installed: {error}")
    salt = secrets.token_bytes(16)
    shown = {path: backup_plan.digest(wished[path][0], salt) for path in different}
    module.exit_json(
        changed=bool(different or superfluous or asleep),
        timers=bool(timers),
        diff={
            "before": "".join(f"{path}\n" for path in superfluous),
            "after": "".join(f"{path} {shown[path]}\n" for path in different)
            + "".join(f"{timer} enabled\n" for timer in asleep),
        },
    )


if __name__ == "__main__":
    main()
