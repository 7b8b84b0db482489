#!/usr/bin/python
"""Ansible module: look which images are on the machine, and pull those of registries."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_images
short_description: Find the images on the machine, and pull missing ones from their registries
version_added: 0.1.0
description:
  - Takes the whole list in one task. Where every image is here, it asks the engine alone.
  - Images of this project (C(auscat-imaging/)) are never pulled, they are built or come from a
    bundle. They are returned as missing.
  - A login is made only when something is to be pulled, with a configuration of its own that is
    removed afterwards. The password goes through standard input.
options:
  images:
    description: Names of the images that the services on this machine run.
    type: list
    elements: str
    required: true
  pull:
    description: Pull missing images. Otherwise they are returned as missing.
    type: bool
    default: true
  login_url:
    description: Registry to log in to. Empty, the public one.
    type: str
    default: ""
  login_username:
    description: User name there. Empty, no login.
    type: str
    default: ""
  login_password:
    description: Password or token.
    type: str
    default: ""
  retries:
    description: Further attempts where the cause may pass by itself.
    type: int
    default: 3
  delay:
    description: Seconds before the first retry; each further one waits twice as long.
    type: int
    default: 5
attributes:
  check_mode: {support: full, description: Says what would be pulled.}
  diff_mode: {support: full, description: Shows the images before and after.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Pull the images
  auscat.imaging.node_images:
    images:
      - "registry.example/orthanc@sha256:{{ orthanc_digest }}"
"""

RETURN = r"""
own:
  description: Images of this project that are on the machine.
  type: list
  elements: str
  returned: success
missing:
  description: Images that are not on the machine and were not pulled.
  type: list
  elements: str
  returned: success
pulled:
  description: Images that were pulled, or would be.
  type: list
  elements: str
  returned: success
"""

import socket

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run
from ansible_collections.auscat.imaging.plugins.module_utils.images import registry
from ansible_collections.auscat.imaging.plugins.module_utils.images.references import (
    OWN,
    ImageNameError,
    parse,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "list", "elements": "str", "required": True},
            "pull": {"type": "bool", "default": True},
            "login_url": {"type": "str", "default": ""},
            "login_username": {"type": "str", "default": ""},
            "login_password": {"type": "str", "default": "", "no_log": True},
            "retries": {"type": "int", "default": 3},
            "delay": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    wished = sorted(set(module.params["images"]))
    login = {
        key: module.params[f"login_{key}"]
        for key in ("url", "username", "password")
        if module.params["login_username"]
    }
    try:
        listed = run(
            ["docker", "image", "ls", f"--filter=reference={OWN}*"]
            + ["--format={{.Repository}}:{{.Tag}}"]
        ).split()
        others = [image for image in wished if not parse(image).is_own]
        absent = [image for image in others if not registry.is_here(image)]
        to_pull = absent if module.params["pull"] else []
        if to_pull and not module.check_mode:
            registry.pull(
                to_pull,
                login,
                socket.gethostname(),
                module.params["retries"],
                module.params["delay"],
            )
    except CommandError as error:
        # Before the first run there may be no engine to ask.
        if not module.check_mode:
            module.fail_json(msg=str(error))
        listed, to_pull, absent = [], [], wished
    except (ImageNameError, registry.RegistryError) as error:
        module.fail_json(msg=str(error))
    missing = [image for image in wished if parse(image).is_own and image not in listed]
    missing += [image for image in absent if image not in to_pull]
    module.exit_json(
        changed=bool(to_pull),
        own=listed,
        missing=sorted(set(missing)),
        pulled=to_pull,
        diff={"before": "", "after": "".join(f"{image}\n" for image in to_pull)},
    )


if __name__ == "__main__":
    main()
