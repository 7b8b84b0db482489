#!/usr/bin/python
"""Ansible module: deploy a stack, wait until every service is healthy, say why when one is not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_stack
short_description: Deploy a Swarm stack and wait until it has converged
version_added: 0.1.0
description:
  - Writes the stack file, deploys it and waits until every service runs and is healthy.
  - Deploys when the file changed, when a service is missing, or when somebody changed a service by
    another way since; a stack that is as it should be costs a few questions to the engine.
  - M(community.docker.docker_stack) has no check mode and returns before the services converged.
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  document:
    description: The Compose file as data (version 3.8).
    type: dict
    required: true
  directory:
    description: Directory on the host that keeps the rendered file and what was deployed last.
    type: path
    required: true
  timeout:
    description: Seconds within which all services must be healthy.
    type: int
    default: 180
attributes:
  check_mode: {support: full, description: Says whether a deployment would follow.}
  diff_mode: {support: full, description: Shows the stack file before and after.}
author: The AusCAT imaging node project
"""

EXAMPLES = r"""
- name: Deploy the stack
  auscat.imaging.swarm_stack:
    name: auscat
    document: "{{ stack }}"
    directory: /etc/auscat
"""

RETURN = r"""
services:
  description: Name, image and health of each service.
  type: list
  elements: dict
  returned: success
reasons:
  description: Why the stack was deployed.
  type: list
  elements: str
  returned: success
"""

import json
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.command import (
    CommandError,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack_state import (
    ServiceState,
    diagnosis,
    read_stack,
)

POLL_INTERVAL = 1.0  # seconds between two questions to the engine


def reasons_to_deploy(
    wished: set[str], states: dict[str, ServiceState], rendered: str, present: str, last: Any
) -> list[str]:
    """Return why the stack must be deployed; an empty list when it is as it should be."""
    reasons = []
    if rendered != present:
        reasons.append("the stack file changed" if present else "there is no stack file yet")
    for name in sorted(wished - states.keys()):
        reasons.append(f"the service {name} does not exist")
    for name in sorted(states.keys() - wished):
        reasons.append(f"the service {name} is no longer declared")
    for name in sorted(wished & states.keys()):
        if last.get(name) not in (None, states[name].spec_digest):
            reasons.append(f"the service {name} was changed by another way")
        elif last.get(name) is None:
            reasons.append(f"the service {name} was not deployed to its end")
    return reasons


def wait_until_converged(
    module: AnsibleModule, wished: set[str], deployed: bool
) -> dict[str, ServiceState]:
    """Poll until every service is healthy; fail with a diagnosis when the time is over."""
    name, timeout = module.params["name"], module.params["timeout"]
    deadline = time.monotonic() + timeout
    while True:
        states = read_stack(name)
        waiting = sorted(
            service
            for service in wished
            if service not in states
            or not states[service].converged
            or (deployed and states[service].rolled_back)
        )
        if not waiting:
            return states
        gave_up = [
            service
            for service in waiting
            if deployed
            and service in states
            and states[service].update_state in ("rollback_completed", "paused", "rollback_paused")
        ]
        if gave_up or time.monotonic() > deadline:
            if gave_up:
                summary = (
                    f"Swarm rolled {', '.join(gave_up)} back to what ran before, because the new "
                    f"definition did not become healthy: {states[gave_up[0]].update_message}."
                )
            else:
                summary = (
                    f"{', '.join(waiting)} did not become healthy within {timeout} s "
                    "(stack_timeout)."
                )
            module.fail_json(
                msg="\n".join(
                    [summary, *(diagnosis(name, service) for service in gave_up or waiting)]
                ),
                waiting=waiting,
            )
        time.sleep(POLL_INTERVAL)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "document": {"type": "dict", "required": True},
            "directory": {"type": "path", "required": True},
            "timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    directory = Path(module.params["directory"])
    file, record = directory / f"stack-{name}.json", directory / f"stack-{name}.deployed.json"
    rendered = json.dumps(module.params["document"], indent=2, sort_keys=True) + "\n"
    wished = set(module.params["document"]["services"])
    try:
        present = file.read_text() if file.exists() else ""
        last = json.loads(record.read_text()) if record.exists() else {}
        states = read_stack(name)
        reasons = reasons_to_deploy(wished, states, rendered, present, last)
        if reasons and not module.check_mode:
            # Without its record the next run deploys again, should this one be interrupted.
            record.unlink(missing_ok=True)
            file.write_text(rendered)
            file.chmod(0o600)
            run(
                ["docker", "stack", "deploy", "--prune", "--resolve-image", "never"]
                + ["--compose-file", str(file), name],
                timeout=module.params["timeout"],
            )
        if not module.check_mode:
            if reasons or not all(states[service].converged for service in wished):
                states = wait_until_converged(module, wished, bool(reasons))
            digests = {service: states[service].spec_digest for service in sorted(wished)}
            if digests != last:
                record.write_text(json.dumps(digests, indent=2) + "\n")
                record.chmod(0o600)
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(reasons),
        reasons=reasons,
        services=[
            {"name": state.name, "image": state.image, "health": state.health}
            for _, state in sorted(states.items())
        ],
        diff={
            "before": present,
            "after": rendered,
            "before_header": file.name,
            "after_header": file.name,
        },
    )


if __name__ == "__main__":
    main()
