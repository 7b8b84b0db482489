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
  - M(community.docker.docker_stack) has no check mode and returns before the services converged.
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  state:
    description:
      - V(absent) removes the services, waits until their containers have ended in their own time,
        and removes the stack's networks, configs and files; no data, and nothing of others.
    type: str
    choices: [present, absent]
    default: present
  document:
    description: The Compose file as data (version 3.8). Required with O(state=present).
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
  timeout:
    description: Seconds within which all services must be healthy, or must have ended.
    type: int
    default: 180
attributes:
  check_mode: {support: full, description: Says whether a deployment would follow.}
  diff_mode: {support: full, description: Shows the stack file and the files before and after.}
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
reasons:
  description: Why the stack was deployed.
  type: list
  elements: str
  returned: success
"""

import base64
import json
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.command import (
    CommandError,
    docker_objects,
    manages_a_swarm,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.secret_versions import (
    LABEL_STACK as LABEL_SECRET_STACK,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack_state import (
    LABEL_STACK,
    ServiceState,
    diagnosis,
    read_stack,
)

POLL_INTERVAL = 1.0  # seconds between two questions to the engine


def present_configs(stack: str) -> dict[str, str]:
    """Return name and content of the Swarm configs that were made for the stack."""
    return {
        config["Spec"]["Name"]: base64.b64decode(config["Spec"]["Data"]).decode()
        for config in docker_objects("config", [f"label={LABEL_STACK}={stack}"])
    }


def create_configs(stack: str, wished: dict[str, str], present: dict[str, str]) -> None:
    """Make the Swarm configs that are not there yet."""
    for name in sorted(wished.keys() - present.keys()):
        arguments = ["docker", "config", "create", "--label", f"{LABEL_STACK}={stack}", name, "-"]
        run(arguments, stdin=wished[name])


def config_diffs(wished: dict[str, str], present: dict[str, str]) -> list[dict[str, str]]:
    """Return before and after of each file that changes, found by its name without the digest."""

    def by_file(configs: dict[str, str]) -> dict[str, str]:
        return {name.rpartition("_")[0]: configs[name] for name in sorted(configs)}

    after, before = by_file(wished), by_file(present)
    return [
        {
            "before": before.get(file, ""),
            "after": after.get(file, ""),
            "before_header": file,
            "after_header": file,
        }
        for file in sorted({*after, *before})
        if before.get(file) != after.get(file)
    ]


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


def of_stack(stack: str, kind: str) -> tuple[list[str], list[str]]:
    """Return the names of the stack's objects of a kind, and of all others."""
    ours: list[str] = []
    others: list[str] = []
    for each in docker_objects(kind, []):
        spec = each.get("Spec", each)
        labels = spec.get("Labels") or {}
        mine = stack in (labels.get(LABEL_STACK), labels.get(LABEL_SECRET_STACK))
        (ours if mine else others).append(str(spec["Name"]))
    return sorted(ours), sorted(others)


def remove(module: AnsibleModule, files: list[Path]) -> None:
    """Remove the stack and exit."""
    name, timeout = module.params["name"], module.params["timeout"]
    removed: list[str] = []
    others: list[str] = []
    if manages_a_swarm():
        services, foreign = of_stack(name, "service")
        others = [f"service {each}" for each in foreign]
        others += [f"secret {each}" for each in of_stack(name, "secret")[1]]
        others += [f"config {each}" for each in of_stack(name, "config")[1]]
        nodes = run(["docker", "node", "ls", "--quiet"]).split()
        others += [f"{len(nodes) - 1} other nodes"] if len(nodes) > 1 else []
        networks, configs = of_stack(name, "network")[0], of_stack(name, "config")[0]
        for kind, names in (("service", services), ("network", networks), ("config", configs)):
            removed += [f"{kind} {each}" for each in names]
        if not module.check_mode:
            if services:
                run(["docker", "service", "rm", *services])
            # Each service ends in its own time; a network stays as long as one is attached.
            containers = [
                "docker",
                "ps",
                "--all",
                "--quiet",
                "--filter",
                f"label={LABEL_STACK}={name}",
            ]
            deadline = time.monotonic() + timeout
            while run(containers).split():
                if time.monotonic() > deadline:
                    module.fail_json(
                        msg=f"Containers of {name} have not ended within {timeout} s "
                        f"(stack_timeout). See docker ps --filter label={LABEL_STACK}={name}, "
                        "then run this again."
                    )
                time.sleep(POLL_INTERVAL)
            while networks:
                try:
                    run(["docker", "network", "rm", *networks])
                    break
                except CommandError:
                    # Swarm lets go of it a moment after the last container.
                    networks = of_stack(name, "network")[0]
                    if networks and time.monotonic() > deadline:
                        raise
                    time.sleep(POLL_INTERVAL)
            if configs:
                run(["docker", "config", "rm", *configs])
    for file in files:
        if file.exists():
            removed.append(str(file))
            if not module.check_mode:
                file.unlink()
    module.exit_json(changed=bool(removed), removed=removed, others=others)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
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
            "timeout": {"type": "int", "default": 180},
        },
        required_if=[("state", "present", ["document"])],
        supports_check_mode=True,
    )
    name = module.params["name"]
    directory = Path(module.params["directory"])
    file, record = directory / f"stack-{name}.json", directory / f"stack-{name}.deployed.json"
    if module.params["state"] == "absent":
        try:
            remove(module, [file, record])
        except CommandError as error:
            module.fail_json(msg=str(error))
    rendered = json.dumps(module.params["document"], indent=2, sort_keys=True) + "\n"
    wished = set(module.params["document"]["services"])
    configs = {config["name"]: config["content"] for config in module.params["configs"]}
    try:
        there = present_configs(name)
        present = file.read_text() if file.exists() else ""
        last = json.loads(record.read_text()) if record.exists() else {}
        states = read_stack(name)
        before = {service: state.spec_digest for service, state in states.items()}
        reasons = reasons_to_deploy(wished, states, rendered, present, last)
        if reasons and not module.check_mode:
            # Without its record the next run deploys again, should this one be interrupted.
            record.unlink(missing_ok=True)
            file.write_text(rendered)
            file.chmod(0o600)
            create_configs(name, configs, there)
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
            superseded = sorted(there.keys() - configs.keys())
            if superseded:
                run(["docker", "config", "rm", *superseded])
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(reasons),
        reasons=reasons,
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
                "before_header": file.name,
                "after_header": file.name,
            },
            *config_diffs(configs, there),
        ],
    )


if __name__ == "__main__":
    main()
