#!/usr/bin/python
"""Ansible module: deploy a stack, wait until every service is healthy, say why when one is not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_stack
short_description: Deploy a Swarm stack and wait until it has converged, or remove it
version_added: 0.1.0
description:
  - Writes the stack file, deploys it and waits until every service runs and is healthy.
  - Deploys when the file changed, when a service is missing, or when somebody changed a service by
    another way since; a stack that is as it should be costs a few questions to the engine.
  - One changed service follows the other. Where one does not become healthy, all that this
    deployment changed goes back to what ran, and the module fails with the reason.
  - A port that the rules loaded here (M(auscat.imaging.port_guard)) do not limit, or open to
    more than O(guarded) declares, is not published, whatever part of a playbook runs; the module
    fails before it changes anything.
  - Before another image runs on data of O(data), the service is stopped and they are copied; going
    back puts the copy back, and gives the old version what the new one had taken in meanwhile.
  - M(community.docker.docker_stack) has no check mode and returns before the services converged.
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  document:
    description: The Compose file as data (version 3.9). Required with O(state=present).
    type: dict
  configs:
    description:
      - Files that the services read. Each becomes a Swarm config of that name, which the document
        refers to. A name carries a digest of the content, so a config that is there is right.
      - Those that no service uses any more are removed once the stack has converged.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the Swarm config., type: str, required: true}
      content: {description: Content of the file., type: str, required: true}
  directory:
    description: Directory on the host that keeps the rendered file and what was deployed last.
    type: path
    required: true
  state:
    description:
      - V(present) deploys. What ran before and the copies of its data are kept.
      - V(rolled_back) goes back to what ran before the latest deployment, data included.
      - V(settled) removes what was kept for going back.
      - V(absent) removes the services, waits until their containers have ended in their own time,
        and removes the stack's networks, configs and files; no data, and nothing of others.
    type: str
    choices: [present, rolled_back, settled, absent]
    default: present
  order:
    description: Services that are changed before all others, in this order.
    type: list
    elements: str
    default: []
  data:
    description: Directories that another image of their service may rewrite.
    type: list
    elements: dict
    default: []
    suboptions:
      service: {description: Name of the service., type: str, required: true}
      path: {description: The directory on the host., type: path, required: true}
      linked:
        description: Patterns of entries below which no file is ever rewritten; hard-linked.
        type: list
        elements: str
        default: []
      carry_over:
        description:
          - How the old version gets what the new one took in. C(kind) is C(orthanc), with C(port),
            the port of its REST API in its container, or C(keydb), with C(user), C(database) and
            C(table).
        type: dict
        default: {}
  copies:
    description: Directory of root's for the copies, on the file system of the data.
    type: path
    default: /srv/auscat/.upgrade
  kept_secrets:
    description: Secrets that keep their new version when the stack goes back.
    type: list
    elements: str
    default: []
  limited:
    description:
      - Whether to refuse a port that the table C(inet auscat) does not limit, and one of O(guarded)
        that it opens to others. V(false) publishes it to every machine that can reach the host.
    type: bool
    default: true
  guarded:
    description:
      - What that table has to limit, and to whom, as M(auscat.imaging.port_guard) takes its
        C(ports). What it limits further than that is no reason to refuse.
    type: list
    elements: raw
    default: []
  timeout:
    description: Seconds within which all services must be healthy, or must have ended.
    type: int
    default: 180
attributes:
  check_mode: {support: full, description: Says whether a deployment would follow.}
  diff_mode: {support: full, description: Shows the stack file and the files before and after.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Deploy the stack
  auscat.imaging.swarm_stack:
    name: auscat
    document: "{{ stack }}"
    directory: "{{ auscat_config_root }}"
"""

RETURN = r"""
services:
  description: Name, image and health of each service.
  type: list
  elements: dict
  returned: success
updated:
  description: Names of the services that got another definition in this run, and so were restarted.
  type: list
  elements: str
  returned: success
removed:
  description: What was removed, or would be in check mode, in words.
  type: list
  elements: str
  returned: when state is absent
others:
  description: What the Swarm has that is not of this stack, in words, other nodes included.
  type: list
  elements: str
  returned: when state is absent
unlimited:
  description: Ports that the loaded rules do not limit, and what they open to others; in check
    mode alone, since they would be limited before a deployment. Empty without O(limited).
  type: list
  elements: str
  returned: success
not_confined:
  description:
    - What containers may do although the document says otherwise, in words, as the kernel sees it.
    - Empty in check mode.
  type: list
  elements: str
  returned: success
reasons:
  description: Why the stack was deployed.
  type: list
  elements: str
  returned: success
"""

import json
import traceback
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.loaded_rules import (
    not_limited_here,
    published_by,
)
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import (
    PortRuleError,
    normalise,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError
from ansible_collections.auscat.imaging.plugins.module_utils.stack.confined import not_confined
from ansible_collections.auscat.imaging.plugins.module_utils.stack.data_copy import DataCopyError
from ansible_collections.auscat.imaging.plugins.module_utils.stack.deployment import (
    Stack,
    StackError,
    config_diffs,
    present_configs,
    prune_configs,
    prune_networks,
    reasons_to_deploy,
    remove,
    went_back,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.state import read_stack


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "document": {"type": "dict"},
            "configs": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "content": {"type": "str", "required": True},
                },
            },
            "directory": {"type": "path", "required": True},
            "limited": {"type": "bool", "default": True},
            # The entries are checked by port_rules, whose errors name the inventory's variable.
            "guarded": {"type": "list", "elements": "raw", "default": []},
            "timeout": {"type": "int", "default": 180},
            "state": {
                "type": "str",
                "choices": ["present", "rolled_back", "settled", "absent"],
                "default": "present",
            },
            "order": {"type": "list", "elements": "str", "default": []},
            "data": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "service": {"type": "str", "required": True},
                    "path": {"type": "path", "required": True},
                    "linked": {"type": "list", "elements": "str", "default": []},
                    "carry_over": {"type": "dict", "default": {}},
                },
            },
            "copies": {"type": "path", "default": "/srv/auscat/.upgrade"},
            # Names alone.
            "kept_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
        },
        required_if=[("state", "present", ["document"])],
        supports_check_mode=True,
    )
    try:
        act(module)
    except Exception as error:  # the role goes on after a failure, where a traceback is not shown
        place = traceback.extract_tb(error.__traceback__)[-1]
        module.fail_json(
            msg=f"The module itself failed ({type(error).__name__}: {error}, in"
            f" {Path(place.filename).name}, line {place.lineno}). What it had begun stands as it"
            " is. Run the playbook again, which goes on from there, and report this as a fault of"
            " the project.",
            exception=traceback.format_exc(),
        )


def act(module: AnsibleModule) -> None:
    """Do what is asked for, and exit."""
    if module.params["state"] == "present":
        deploy(module)
    stack = Stack(module.params)
    try:
        if module.params["state"] == "absent":
            files = [stack.file, stack.record, stack.before]
            removed, others = remove(stack.name, files, stack.timeout, module.check_mode)
            module.exit_json(changed=bool(removed), removed=removed, others=others)
        if module.params["state"] == "settled":
            if not module.check_mode:
                stack.settle()
                present = stack.present()
                if present and stack.record.exists():
                    prune_configs(stack.name, json.loads(present))
                    prune_networks(stack.name, json.loads(present))
            module.exit_json(changed=False)
        if not stack.before.exists():
            module.exit_json(changed=False, notes=[])
        if not module.check_mode:
            stack.go_back()
        module.exit_json(changed=True, notes=stack.notes + stack.doubts)
    except (StackError, CommandError, DataCopyError) as error:
        module.fail_json(msg=str(error))


def unlimited_ports(module: AnsibleModule) -> list[str]:
    """Refuse to publish what nothing limits as declared. In check mode, return it.

    Raises:
        CommandError: the loaded rules cannot be read.
    """
    if not module.params["limited"]:
        return []
    try:
        declared = normalise(module.params["guarded"])
    except PortRuleError as error:
        module.fail_json(msg=f"{error} The stack was not changed.")
    ports, others = not_limited_here(published_by(module.params["document"]), declared)
    open_ports = [f"{port}/{protocol}" for protocol, port in ports]
    if (open_ports or others) and not module.check_mode:
        what = [
            *([f"do not limit {', '.join(open_ports)}"] if open_ports else []),
            *([f"let in more than the inventory: {', '.join(others)}"] if others else []),
        ]
        module.fail_json(
            msg=f"The rules loaded on this host (nft list table inet auscat) {' and '.join(what)}:"
            f" with the stack {module.params['name']}, machines could connect that the inventory"
            " does not list. Accepted: ports that the role firewall has limited to their sources."
            " Run the playbook without --tags and --skip-tags, or site.yml --tags firewall before;"
            " where another firewall limits them, set firewall_restrict_published_ports: false."
            " The stack was not changed."
        )
    return open_ports + others


def deploy(module: AnsibleModule) -> None:
    """Deploy what is declared, or go back, and exit."""
    stack = Stack(module.params)
    rendered = json.dumps(module.params["document"], indent=2, sort_keys=True) + "\n"
    wished = set(module.params["document"]["services"])
    configs = {config["name"]: config["content"] for config in module.params["configs"]}
    loose: list[str] = []
    try:
        unlimited = unlimited_ports(module)
        there = present_configs(stack.name)
        present = stack.present()
        states = read_stack(stack.name, stack.engine)
        before = {service: state.spec_digest for service, state in states.items()}
        reasons = reasons_to_deploy(wished, states, rendered, present, stack.last())
        if not module.check_mode:
            if reasons:
                stack.begin(rendered)
            try:
                if reasons:
                    states = stack.deploy(rendered, configs)
                elif not all(states[service].converged for service in wished):
                    states = stack.wait(wished, False)
                stack.finish(states, wished)
                loose = not_confined(stack.name, module.params["document"], stack.engine)
            except (StackError, CommandError, OSError) as error:
                text = went_back(stack, str(error)) if reasons else str(error)
                module.fail_json(msg=text, reasons=reasons)
    except (CommandError, DataCopyError, StackError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(reasons),
        reasons=reasons,
        unlimited=unlimited,
        not_confined=loose,
        updated=sorted(
            service for service, state in states.items() if before.get(service) != state.spec_digest
        ),
        services=[
            {"name": state.name, "image": state.image, "health": state.health}
            for _, state in sorted(states.items())
        ],
        diff=[
            {
                "before": present,
                "after": rendered,
                "before_header": stack.file.name,
                "after_header": stack.file.name,
            },
            *config_diffs(configs, there),
        ],
    )


if __name__ == "__main__":
    main()
