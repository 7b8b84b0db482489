#!/usr/bin/python
"""Ansible module: say what an upgrade of the stack would change, and change nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade_plan
short_description: Show what an upgrade of the stack would change, version by version
version_added: 0.1.0
description:
  - Compares what runs with the stack file that is wanted. Asks the images themselves for their
    versions, in containers without a network. Changes nothing.
options:
  name: {description: Name of the stack., type: str, required: true}
  document: {description: The wanted stack file., type: dict, required: true}
  directory: {description: Where the rendered stack file lies., type: path, required: true}
  data:
    description: As of M(auscat.imaging.swarm_stack).
    type: list
    elements: dict
    default: []
  copies: {description: As of M(auscat.imaging.swarm_stack)., type: path, required: true}
  order:
    description: As of M(auscat.imaging.swarm_stack).
    type: list
    elements: str
    default: []
  proof: {description: The file in which the last proof was noted., type: path, required: true}
attributes:
  check_mode: {support: full, description: It changes nothing.}
  diff_mode: {support: none, description: It changes nothing.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Look what would change
  auscat.imaging.upgrade_plan:
    name: auscat
    document: "{{ stack }}"
    directory: "{{ auscat_config_root }}"
    copies: /srv/auscat/.upgrade
    proof: /var/lib/example/proof.json
"""

RETURN = r"""
services:
  description: >-
    Of each service its name, action (upgraded, changed, added, removed or stays), health, what runs
    and is wanted (image, id, versions), changes and copy.
  type: list
  elements: dict
  returned: success
problems:
  description: What forbids the upgrade.
  type: list
  elements: str
  returned: success
unhealthy:
  description: Services that are not healthy now.
  type: list
  elements: str
  returned: success
proof:
  description: When the node was proved last, in words.
  type: str
  returned: success
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    run,
    run_json,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services.keydb import find_container
from ansible_collections.auscat.imaging.plugins.module_utils.stack.changes import (
    changed_services,
    differences,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.data_copy import (
    DataCopy,
    DataCopyError,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.state import read_stack
from ansible_collections.auscat.imaging.plugins.module_utils.stack.upgrade_plan import (
    PROBE,
    database_problem,
    versions,
)

LABEL_VERSION = "org.opencontainers.image.version"


def image_of(reference: str) -> tuple[str, str]:
    """Return the short ID of an image on this machine and its version label; empty: not here."""
    try:
        found = run_json(["docker", "image", "inspect", reference])[0]
    except CommandError:
        return "", ""
    labels = (found.get("Config") or {}).get("Labels") or {}
    return found["Id"].removeprefix("sha256:")[:12], labels.get(LABEL_VERSION, "")


def described(reference: str, printed: str) -> dict[str, Any]:
    """Return what is told of an image."""
    short, label = image_of(reference)
    return {"image": reference, "id": short, "versions": versions(printed, label)}


def running_image(stack: str, service: str, reference: str) -> dict[str, Any]:
    """Describe the image of a service that runs."""
    container = find_container(stack, service)
    printed = ""
    if container is not None:
        printed = _try(["docker", "exec", container, "sh", "-c", PROBE])
    return described(reference, printed)


def wanted_image(definition: dict[str, Any]) -> dict[str, Any]:
    """Describe an image that is to run, with the programs that are mounted into it."""
    reference = str(definition["image"])
    if not image_of(reference)[0]:
        return described(reference, "")
    arguments = ["docker", "run", "--rm", "--network", "none", "--read-only", "--entrypoint", "sh"]
    for volume in definition.get("volumes", []):
        if volume.get("read_only") and Path(volume["source"]).is_dir():
            arguments += ["--volume", f"{volume['source']}:{volume['target']}:ro"]
    return described(reference, _try([*arguments, reference, "-c", PROBE]))


def _try(arguments: list[str]) -> str:
    try:
        return run(arguments, timeout=60)
    except CommandError:
        return ""


def proof(file: Path) -> str:
    """Return in words when the node was proved last."""
    try:
        found = json.loads(file.read_text())
        verdict = "all checks passed" if found["passed"] else "FAILED"
        return f"{found['finished']}, {verdict}"
    except FileNotFoundError:
        return "none is noted on this machine"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{file} cannot be read"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "document": {"type": "dict", "required": True},
            "directory": {"type": "path", "required": True},
            "data": {"type": "list", "elements": "dict", "default": []},
            "copies": {"type": "path", "required": True},
            "order": {"type": "list", "elements": "str", "default": []},
            "proof": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    stack, wanted = module.params["name"], module.params["document"]
    file = Path(module.params["directory"]) / f"stack-{stack}.json"
    try:
        before = json.loads(file.read_text()) if file.exists() else {"services": {}}
        states = read_stack(stack)
    except CommandError as error:
        module.fail_json(msg=str(error))
    changed = changed_services(before, wanted, module.params["order"])
    copies = {
        each["service"]: DataCopy(
            each["service"],
            Path(each["path"]),
            Path(module.params["copies"]),
            tuple(each.get("linked") or ()),
        )
        for each in module.params["data"]
    }
    services, problems = [], []
    others = sorted((wanted["services"].keys() | before["services"].keys()) - set(changed))
    for name in [*changed, *others]:
        old, new = before["services"].get(name), wanted["services"].get(name)
        state = states.get(name)
        running = running_image(stack, name, state.image) if state else None
        exchanged = bool(old and new and old["image"] != new["image"])
        # What stays is told by its image alone: nothing has to be started for it.
        target = wanted_image(new) if new and name in changed else running
        copy = None
        if exchanged and name in copies:
            size = copies[name].size()
            copy = {"path": str(copies[name].path), **vars(size)}
            try:
                copies[name].require_space()
            except DataCopyError as error:
                problems.append(f"{name}: {error}")
        if new and target and name in changed:
            problem = database_problem(name, _data_version(new), target["versions"])
            problems += [problem] if problem else []
        services.append(
            {
                "name": name,
                "action": _action(old, new, name in changed),
                "health": _health(state),
                "running": running,
                "wanted": target if new else None,
                "changes": differences(before, wanted, name),
                "copy": copy,
            }
        )
    module.exit_json(
        changed=False,
        services=services,
        problems=problems,
        unhealthy=[
            f"{each['name']} ({each['health']})"
            for each in services
            if each["health"] not in ("healthy", "runs") and each["action"] != "added"
        ],
        proof=proof(Path(module.params["proof"])),
    )


def _action(old: object, new: dict[str, Any] | None, changed: bool) -> str:
    if not changed:
        return "stays" if new else "removed"
    if not old:
        return "added"
    return (
        "upgraded" if new and isinstance(old, dict) and old["image"] != new["image"] else "changed"
    )


def _health(state: Any) -> str:
    if state is None:
        return "absent"
    if not state.running:
        return "does not run"
    return "runs" if state.health == "none" else str(state.health)


def _data_version(definition: dict[str, Any]) -> str:
    """Return the major version of the PostgreSQL that made a service's data, or nothing."""
    data = (definition.get("environment") or {}).get("PGDATA", "")
    for volume in definition.get("volumes", []):
        if data and data.startswith(volume["target"] + "/"):
            file = Path(volume["source"] + data[len(volume["target"]) :]) / "PG_VERSION"
            return file.read_text().strip() if file.is_file() else ""
    return ""


if __name__ == "__main__":
    main()
