#!/usr/bin/python
"""Ansible module: install the whole list of a stack's secrets, versioned."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_secrets
short_description: Install a stack's Docker secrets, versioned
version_added: 0.1.0
description:
  - Takes all secrets of a stack in one task and makes a new version of each whose value changed.
    A value that a service uses has not changed, also where a newer version was made that did not
    come to run.
  - Versions in use cannot be replaced (moby#33808); the stack is moved to the new ones when it is
    deployed, and O(state=pruned) then removes those that no service uses.
  - Values reach the engine on standard input, never on a command line. Set C(no_log) on the task.
options:
  stack:
    description: Name of the stack; it starts the Swarm secrets' names.
    type: str
    required: true
  secrets:
    description: The secrets; required with O(state=present).
    type: list
    elements: dict
    suboptions:
      name: {description: Plain name., type: str, required: true}
      content: {description: Value., type: str, required: true}
  state:
    description:
      - V(present) installs, V(pruned) removes superseded versions that no service uses, V(absent)
        removes all versions of the stack's secrets.
    type: str
    choices: [present, pruned, absent]
    default: present
attributes:
  check_mode: {support: full, description: Says which versions would be made or removed.}
  diff_mode: {support: full, description: "Shows names of versions, never values."}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Install the secrets
  auscat.imaging.swarm_secrets:
    stack: auscat
    secrets:
      - {name: keydb_pass, content: "{{ keydb_password }}"}
  no_log: true
"""

RETURN = r"""
versions:
  description: Plain name to the name of the Swarm secret that carries the present value.
  type: dict
  returned: when state is present
changed_secrets:
  description: Plain names of the secrets that got a new version, or Swarm names of removed ones.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    docker_objects,
    manages_a_swarm,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.secret_versions import (
    LABEL_DIGEST,
    LABEL_NAME,
    LABEL_STACK,
    LABEL_VERSION,
    SecretVersion,
    next_version,
    versions_of,
)


def used_secrets() -> set[str]:
    """Return the Swarm names of the secrets that services use."""
    return {
        reference["SecretName"]
        for service in docker_objects("service", [])
        for reference in service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Secrets") or []
    }


def install(module: AnsibleModule, existing: list[SecretVersion]) -> None:
    """Create the versions that are missing and exit."""
    stack = module.params["stack"]
    versions, created, used = {}, [], used_secrets()
    for secret in module.params["secrets"]:
        version, is_new = next_version(existing, stack, secret["name"], secret["content"], used)
        versions[secret["name"]] = version.swarm_name
        if not is_new:
            continue
        created.append(secret["name"])
        if not module.check_mode:
            labels = {
                LABEL_STACK: stack,
                LABEL_NAME: version.name,
                LABEL_VERSION: str(version.version),
                LABEL_DIGEST: version.digest,
            }
            arguments = ["docker", "secret", "create"]
            for key, value in labels.items():
                arguments += ["--label", f"{key}={value}"]
            run([*arguments, version.swarm_name, "-"], stdin=secret["content"])
    module.exit_json(
        changed=bool(created),
        versions=versions,
        changed_secrets=created,
        diff={
            "before": "".join(f"{version.swarm_name}\n" for version in existing),
            "after": "".join(
                f"{name}\n"
                for name in sorted(
                    {version.swarm_name for version in existing} | set(versions.values())
                )
            ),
        },
    )


def prune(module: AnsibleModule, existing: list[SecretVersion]) -> None:
    """Remove superseded versions that no service uses and exit."""
    used = used_secrets()
    newest = {version.name: version.swarm_name for version in existing}
    superseded = [
        version.swarm_name
        for version in existing
        if version.swarm_name not in used and version.swarm_name != newest[version.name]
    ]
    if superseded and not module.check_mode:
        run(["docker", "secret", "rm", *superseded])
    module.exit_json(changed=bool(superseded), changed_secrets=superseded)


def remove(module: AnsibleModule, existing: list[SecretVersion]) -> None:
    """Remove all versions and exit."""
    names = [version.swarm_name for version in existing]
    if names and not module.check_mode:
        run(["docker", "secret", "rm", *names])
    module.exit_json(changed=bool(names), changed_secrets=names)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "secrets": {
                "type": "list",
                "elements": "dict",
                # The task sets no_log. Here it would censor each value wherever it occurs in what
                # is returned: a password "admin" would mutilate the name "ctp_admin_pass".
                "no_log": False,
                "options": {
                    "name": {"type": "str", "required": True},
                    "content": {"type": "str", "required": True, "no_log": False},
                },
            },
            "state": {
                "type": "str",
                "choices": ["present", "pruned", "absent"],
                "default": "present",
            },
        },
        required_if=[("state", "present", ["secrets"])],
        supports_check_mode=True,
    )
    try:
        if module.params["state"] == "absent" and not manages_a_swarm():
            module.exit_json(changed=False, changed_secrets=[])
        existing = versions_of(
            docker_objects("secret", [f"label={LABEL_STACK}={module.params['stack']}"]),
            module.params["stack"],
        )
        if module.params["state"] == "present":
            install(module, existing)
        elif module.params["state"] == "absent":
            remove(module, existing)
        else:
            prune(module, existing)
    except CommandError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
