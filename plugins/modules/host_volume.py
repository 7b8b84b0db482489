#!/usr/bin/python
"""Ansible module: see what must be done for the data to lie on its own volume."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_volume
short_description: Plan the volume that holds the data of the services
version_added: 0.1.0
description:
  - Looks at a block device, at what is mounted and at what the boot will mount, and returns what
    must be done. It changes nothing; the role C(host_volume) does what is planned, and skips all
    of it where nothing is.
  - Safe mode is the only mode. A device that holds anything recognisable (a file system, a
    partition table, LVM, RAID, swap, LUKS) and is not the volume of an earlier run is refused.
options:
  data_root:
    description: Where the volume is mounted, or where the directory is.
    type: path
    required: true
  device:
    description: Block device. Empty for a directory, or for a mount that is already there.
    type: str
    default: ""
  filesystem:
    description: Type of the file system.
    type: str
    choices: [ext4, xfs]
    default: ext4
  label:
    description: Label by which the volume of an earlier run is known again.
    type: str
    default: auscat
  partition: {description: Whether one partition is made on the disk., type: bool, default: false}
  grow: {description: Whether the volume grows when the disk has grown., type: bool, default: true}
  mount_options:
    description: Options of mount(8).
    type: list
    elements: str
    default: [nodev, nosuid, noexec]
  device_timeout: {description: Seconds that a boot waits for the device., type: int, default: 30}
  encryption: {description: Whether the volume is encrypted (LUKS2)., type: bool, default: false}
  key: {description: Key of the encryption. Empty when the key file has it., type: str, default: ""}
  key_file:
    description: Where the key lies on the host.
    type: path
    required: true
  drop_in:
    description: What ties the Docker engine to the mount.
    type: path
    default: /etc/systemd/system/docker.service.d/auscat-volume.conf
  directories:
    description: The directories below; as for M(auscat.imaging.host_directories).
    type: list
    elements: dict
    default: []
  free_warning_percent:
    description: Complain below this share of free space.
    type: float
    default: 10
  free_warning_gib: {description: Complain below this much free GiB., type: float, default: 5}
  where: {description: Name of the host in the rows that are returned., type: str, default: ""}
  state:
    description: C(report) returns problems as rows of the proof, C(present) fails with them.
    type: str
    choices: [present, report]
    default: present
attributes:
  check_mode: {support: full, description: It never changes anything.}
  diff_mode: {support: full, description: In check mode it shows the steps that would be taken.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: See what the volume needs
  auscat.imaging.host_volume:
    data_root: /srv/auscat
    device: /dev/disk/by-id/virtio-data
    filesystem: xfs
    key_file: "{{ auscat_config_root }}/volume.key"

- name: Watch the volume
  auscat.imaging.host_volume:
    data_root: /srv/auscat
    state: report
    where: "{{ inventory_hostname }}"
  register: volume   # its checks are rows of the proof
"""

RETURN = r"""
plan:
  description: What is to be done, see Plan in plugins/module_utils/volume/plan.py.
  type: dict
  returned: success
steps:
  description: The same in words. Empty when all is as it should be.
  type: list
  elements: str
  returned: success
directories_differ:
  description: Whether a directory is not as wished.
  type: bool
  returned: success
systemd:
  description: Whether systemd is the service manager.
  type: bool
  returned: success
checks:
  description: Rows of the proof, whether the volume is as declared and has space left.
  type: list
  elements: dict
  returned: success
space:
  description: total and free bytes of the file system that holds data_root.
  type: dict
  returned: success
"""

import socket
import uuid
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError
from ansible_collections.auscat.imaging.plugins.module_utils.host.directories import differences
from ansible_collections.auscat.imaging.plugins.module_utils.volume import (
    checks,
    device,
    look,
    plan,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "data_root": {"type": "path", "required": True},
            "device": {"type": "str", "default": ""},
            "filesystem": {"type": "str", "choices": ["ext4", "xfs"], "default": "ext4"},
            "label": {"type": "str", "default": "auscat"},
            "partition": {"type": "bool", "default": False},
            "grow": {"type": "bool", "default": True},
            "mount_options": {
                "type": "list",
                "elements": "str",
                "default": ["nodev", "nosuid", "noexec"],
            },
            "device_timeout": {"type": "int", "default": 30},
            "encryption": {"type": "bool", "default": False},
            "key": {"type": "str", "default": "", "no_log": True},
            "key_file": {"type": "path", "required": True, "no_log": False},
            "drop_in": {
                "type": "path",
                "default": "/etc/systemd/system/docker.service.d/auscat-volume.conf",
            },
            "directories": {"type": "list", "elements": "dict", "default": []},
            "free_warning_percent": {"type": "float", "default": 10.0},
            "free_warning_gib": {"type": "float", "default": 5.0},
            "where": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["present", "report"], "default": "present"},
        },
        supports_check_mode=True,
    )
    values = module.params
    report = values["state"] == "report"
    where = values["where"] or socket.gethostname()
    wish = device.wish_of(values)
    try:
        host = look.read_host(wish, Path(values["drop_in"]))
        devices = look.own_volume(wish, host.mounts)
        made = plan.plan(wish, host, *devices, new_uuid=str(uuid.uuid4()))
        different = differences(values["directories"])
    except (CommandError, OSError, ValueError) as error:
        module.fail_json(msg=f"{error} Nothing was changed on {where}.")
    if made.problems and not report:
        listed = "\n".join(f"- {problem}" for problem in made.problems)
        module.fail_json(
            msg=f"{len(made.problems)} problem(s) with the volume on {where}:\n{listed}\n"
            f"Nothing was changed on {where}."
        )
    for warning in made.warnings:
        module.warn(warning)
    steps = made.steps()
    total, free = look.space(wish.data_root)
    least = (values["free_warning_percent"], values["free_warning_gib"])
    module.exit_json(
        # What is planned here is done by other tasks, which do not run in check mode.
        changed=bool(steps) and module.check_mode and not report,
        plan=made.as_dict(),
        steps=steps,
        directories_differ=bool(different),
        checks=[
            checks.volume_check(wish, made, where),
            checks.free_space_check(wish.data_root, total, free, *least, where),
        ],
        space={"total": total, "free": free},
        systemd=host.systemd,
        diff={"before": "", "after": "".join(f"{step}\n" for step in steps)},
    )


if __name__ == "__main__":
    main()
