#!/usr/bin/python
"""Ansible module: ask a page of the node, as its own user, over HTTPS."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_page
short_description: Ask a page of the node for something
version_added: 0.1.0
description:
  - Sends one request to the page of Orthanc or CTP and returns what it answers. It fails at no
    status; one without an answer has the status -1.
  - In place of P(ansible.builtin.uri#module), which cannot ask a machine by its own 127.0.0.1 and
    take the certificate for one of its names.
  - Whether something changed is for the task to say.
options:
  url:
    description: Beginning of the page's URL.
    type: str
    required: true
  path:
    description: The rest of it.
    type: str
    required: true
  method:
    description: Method of the request. Not sent in check mode, except GET.
    type: str
    choices: [GET, POST]
    default: GET
  body:
    description: Sent as JSON.
    type: dict
  user:
    description: User of the page.
    type: str
    required: true
  password:
    description: Password of the user.
    type: str
    required: true
  timeout:
    description: Seconds to wait for the answer.
    type: int
    default: 20
extends_documentation_fragment:
  - auscat.imaging.trust
attributes:
  check_mode: {support: full, description: Sends what only reads.}
  diff_mode: {support: none, description: It returns what was answered.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Ask CTP how it is
  auscat.imaging.node_page:
    url: https://127.0.0.1:9090
    trust: {ca_file: /etc/ssl/node-ca.pem}
    path: /api/status
    user: admin
    password: "{{ ctp_admin_password }}"
  register: told
"""

RETURN = r"""
status:
  description: Status of the answer, or -1.
  type: int
  returned: always
problem:
  description: Why there is none.
  type: str
  returned: always
json:
  description: What was answered, where it was JSON.
  type: raw
  returned: success
"""

import json
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import (
    TRUST_OPTION,
    ClientError,
    Http,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "path": {"type": "str", "required": True},
            "trust": TRUST_OPTION,
            "method": {"type": "str", "choices": ["GET", "POST"], "default": "GET"},
            "body": {"type": "dict"},
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "timeout": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    asked = module.params
    if module.check_mode and asked["method"] != "GET":
        module.exit_json(changed=False, status=-1, problem="not sent in check mode", json=None)
    page = Http.of(asked)
    try:
        status, content = page.send(
            asked["method"],
            asked["path"],
            asked["body"],
            # Without it, CTP's page takes a POST for one that a foreign page made a browser send.
            headers={"X-Requested-With": "auscat"},
            seconds=asked["timeout"],
        )
    except ClientError as error:
        module.exit_json(changed=False, status=-1, problem=str(error), json=None)
    told: Any = None
    with suppress(ValueError):
        told = json.loads(content)
    module.exit_json(changed=False, status=status, problem="", json=told)


if __name__ == "__main__":
    main()
