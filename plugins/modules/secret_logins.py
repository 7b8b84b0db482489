#!/usr/bin/python
"""Ansible module: try old and new passwords at the running services, as their users do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_logins
short_description: Check that running services refuse old passwords and accept new ones
version_added: 0.1.0
description:
  - Logs in to each service over the network with the password before and after a rotation, and says
    what came of it. It changes nothing and fails only where the engine does not answer.
  - Passwords go through standard input and HTTP headers, never on a command line. Set C(no_log).
options:
  stack:
    description: Name of the Swarm stack.
    type: str
    required: true
  before:
    description: The logins as they were before the rotation.
    type: list
    elements: dict
    required: true
    suboptions: &login
      variable: {description: Variable that holds the password., type: str, required: true}
      service: {description: Service in the stack., type: str, required: true}
      kind: {description: How one logs in., type: str, required: true, choices: [http, postgresql]}
      url: {description: Page that asks for a login; for C(http)., type: str, default: ""}
      trust:
        description: Whom to trust there, where the URL is one of HTTPS.
        type: dict
        default: {}
        suboptions:
          ca_file: {description: CAs as a PEM file of this host., type: str, default: ""}
          name: {description: Name that the certificate has to be for., type: str, default: ""}
      database: {description: Database; for C(postgresql)., type: str, default: ""}
      user: {description: User., type: str, required: true}
      password: {description: Password., type: str, required: true}
  after:
    description: The same logins as they are now.
    type: list
    elements: dict
    required: true
    suboptions: *login
  timeout:
    description: Seconds within which a new password must be accepted.
    type: int
    default: 60
attributes:
  check_mode: {support: full, description: It changes nothing.}
  diff_mode: {support: none, description: It changes nothing.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Try the old and the new passwords
  auscat.imaging.secret_logins:
    stack: auscat
    before: "{{ logins_before }}"
    after: "{{ logins_now }}"
  no_log: true
"""

RETURN = r"""
logins:
  description:
    - Each login whose password differs. C(old) is C(refused), C(ACCEPTED) or what else happened;
      C(new) is C(accepted), C(REFUSED) or what else happened.
  type: list
  elements: dict
  returned: success
"""

import subprocess
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.containers import container_of
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import (
    TRUST_OPTION,
    ClientError,
    Http,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services import psql

ACCEPTED = "accepted"
REFUSED = "refused"


def http_login(login: dict[str, Any]) -> str:
    """Say what a page with HTTP Basic authentication answers."""
    try:
        status, _ = Http.of(login).send("GET", "")
    except ClientError as error:
        return f"no answer: {error}"
    return {200: ACCEPTED, 401: REFUSED}.get(status, f"status {status}")


def postgresql_login(stack: str, login: dict[str, Any]) -> str:
    """Say what the database answers on the stack's network, where everybody needs the password."""
    try:
        container = container_of(f"{stack}_{login['service']}")
    except ClientError as error:
        return f"no answer: {error}"
    networks = container["NetworkSettings"]["Networks"].values()
    address = next((each["IPAddress"] for each in networks if each["IPAddress"]), "")
    command = psql.command(
        container["Id"],
        f"--host={address}",
        # Without a terminal, psql reads the password that it asks for from standard input.
        "--password",
        "--command=SELECT 1",
        user=login["user"],
        database=login["database"],
    )
    try:
        done = subprocess.run(
            command,
            input=f"{login['password']}\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer within 60 s"
    if done.returncode == 0:
        return ACCEPTED
    if "authentication failed" in done.stderr:
        return REFUSED
    return f"no answer: {done.stderr.strip()[-200:]}"


def main() -> None:
    """Run the module."""
    login = {
        "type": "list",
        "elements": "dict",
        "required": True,
        # The task sets no_log; here it would censor the values wherever they occur in the rows.
        "no_log": False,
        "options": {
            "variable": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True, "choices": ["http", "postgresql"]},
            "url": {"type": "str", "default": ""},
            "trust": TRUST_OPTION,
            "database": {"type": "str", "default": ""},
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": False},
        },
    }
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "before": login,
            "after": login,
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )

    def attempt(each: dict[str, Any]) -> str:
        if each["kind"] == "http":
            return http_login(each)
        return postgresql_login(module.params["stack"], each)

    before = {(each["variable"], each["user"]): each for each in module.params["before"]}
    deadline = time.monotonic() + module.params["timeout"]
    rows = []
    for each in module.params["after"]:
        key = each["variable"], each["user"]
        if key not in before or before[key]["password"] == each["password"]:
            continue
        new = attempt(each)
        # A service that has just started, and a front that has just read its password. Ever more
        # seldom: each is a wrong login to the web server, which refuses all after some.
        pause = 1.0
        while new != ACCEPTED and time.monotonic() < deadline:
            time.sleep(pause)
            pause *= 2
            new = attempt(each)
        old = attempt(before[key])
        rows.append(
            {
                "variable": each["variable"],
                "service": each["service"],
                "user": each["user"],
                "old": "ACCEPTED" if old == ACCEPTED else old,
                "new": "REFUSED" if new == REFUSED else new,
            }
        )
    module.exit_json(changed=False, logins=rows)


if __name__ == "__main__":
    main()
