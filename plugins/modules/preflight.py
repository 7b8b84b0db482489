#!/usr/bin/python
"""Ansible module: the host half of the preflight. The inventory half is the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check the inventory, then the host, and report all problems together
version_added: 0.1.0
description:
  - The action plugin of the same name checks the inventory on the controller, runs this module for
    the state of the host, and fails once with all problems. Nothing is changed.
  - The host's facts that later roles need are returned, so that no other fact gathering is needed.
  - The machine is held for this run, as M(auscat.imaging.machine_lock) does it.
options:
  distributions:
    description: Accepted distributions, as C(ID VERSION_ID) of os-release.
    type: list
    elements: str
    required: true
  architectures:
    description: Accepted machine names, as C(uname -m) prints them.
    type: list
    elements: str
    required: true
  memory_mib:
    description: Minimum memory of the host, in MiB.
    type: int
    required: true
  names:
    description: Names that the host must be able to resolve.
    type: list
    elements: str
    default: []
  data_root:
    description: Filled in by the action plugin.
    type: str
  config_root:
    description: Filled in by the action plugin.
    type: str
  device:
    description: Filled in by the action plugin.
    type: str
  directories:
    description: Filled in by the action plugin.
    type: list
    elements: dict
    default: []
  ports:
    description: Filled in by the action plugin.
    type: list
    elements: dict
    default: []
  packages:
    description: Filled in by the action plugin.
    type: list
    elements: str
    default: []
  stack:
    description: Filled in by the action plugin.
    type: str
  replaced:
    description: Filled in by the action plugin.
    type: list
    elements: str
    default: []
  repositories:
    description: Filled in by the action plugin.
    type: list
    elements: dict
    default: []
  lock:
    description: Filled in by the action plugin.
    type: dict
attributes:
  check_mode: {support: full, description: It never changes anything.}
  diff_mode: {support: none, description: There is nothing to show.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Check the inventory and the host
  auscat.imaging.preflight:
    distributions: [debian 12, debian 13]
    architectures: [x86_64]
    memory_mib: 2048
"""

RETURN = r"""
host:
  description: >-
    os, architecture, memory_mib, service_manager, packages_missing, address, engine,
    docker_configuration, data_on_system_disk, held_data, site_network, repositories, data_place,
    foreign, networks, routes, neighbours, outgoing_limited.
  type: dict
  returned: success
looked_up:
  description: Addresses by the name that was looked up for them, for the rest of the run.
  type: dict
  returned: success
run:
  description: What this run is known by to the machine that it holds; empty in check mode.
  type: str
  returned: success
problems:
  description: What is wrong, in plain words.
  type: list
  elements: str
  returned: always
"""

import os
import platform
import shutil
import socket
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import machine_lock
from ansible_collections.auscat.imaging.plugins.module_utils.host import engine_setup, site_network
from ansible_collections.auscat.imaging.plugins.module_utils.host import facts as host_facts
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "distributions": {"type": "list", "elements": "str", "required": True},
            "architectures": {"type": "list", "elements": "str", "required": True},
            "memory_mib": {"type": "int", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "data_root": {"type": "str"},
            "config_root": {"type": "str"},
            "device": {"type": "str"},
            "directories": {"type": "list", "elements": "dict", "default": []},
            "ports": {"type": "list", "elements": "dict", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "stack": {"type": "str"},
            "replaced": {"type": "list", "elements": "str", "default": []},
            "repositories": {"type": "list", "elements": "dict", "default": []},
            "lock": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    # Without root nothing else can be looked at.
    if problem := host_facts.user_problem(os.geteuid()):
        module.fail_json(msg=problem)
    lock = None
    # Before anything is looked at: nobody else changes it from here on.
    if wished := module.params["lock"]:
        try:
            lock = machine_lock.attempt(wished["record"], wished["broken"])
        except OSError as error:
            module.fail_json(msg=f"The machine could not be held: {error}")
    facts = {
        "os": host_facts.operating_system(),
        "architecture": platform.machine(),
        "memory_mib": host_facts.memory_mib(),
        "hostname": socket.gethostname(),
        "service_manager": host_facts.service_manager(),
        "packages_missing": [],
        "docker_configuration": {},
        "data_on_system_disk": False,
        "held_data": [],
        "foreign": [],
        "networks": [],
        "routes": [],
        "neighbours": [],
        "outgoing_limited": False,
    }
    problems = host_facts.host_problems(module.params, facts)
    try:
        facts["packages_missing"] = host_facts.missing_packages(module.params["packages"])
        facts["docker_configuration"] = host_facts.daemon_configuration()
        facts["has_ip"] = shutil.which("ip") is not None
        facts["address"] = host_facts.default_address()
        facts["engine"] = host_facts.engine()
        facts["foreign"] = engine_setup.foreign()
        facts["networks"] = engine_setup.networks() if facts["engine"]["version"] else []
        facts["routes"] = engine_setup.routes()
        if facts["engine"]["swarm_state"] == "active":
            facts["neighbours"] = engine_setup.neighbours(
                module.params["stack"], module.params["replaced"]
            )
        facts["site_network"] = site_network.state()
        root, config = Path(module.params["data_root"]), Path(module.params["config_root"])
        # A path that is not absolute is reported by the inventory half.
        if root.is_absolute():
            facts["data_on_system_disk"] = host_facts.is_on_system_disk(root)
            facts["data_place"] = host_facts.place(root)
        facts["repositories"] = [
            {**each, **host_facts.place(Path(each["path"]))}
            for each in module.params["repositories"]
        ]
        if config.is_absolute():
            # Where the role firewall writes what is loaded.
            rules = config / "firewall.nft"
            facts["outgoing_limited"] = rules.is_file() and "chain outgoing {" in rules.read_text()
            facts["held_data"] = host_facts.held_data(config, module.params["stack"])
    except CommandError as error:
        problems.append(str(error))
    module.exit_json(changed=False, host=facts, problems=problems, lock=lock)


if __name__ == "__main__":
    main()
