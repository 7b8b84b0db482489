#!/usr/bin/python
"""Ansible module: log in to Orthanc before anything of a proof is sent."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_login
short_description: Check who may log in to Orthanc, and record where its log of changes ends
version_added: 0.1.0
description:
  - Works through Orthanc's REST API only, as a researcher would.
  - Does not report a change, because nothing is changed.
options:
  url:
    description: Orthanc's REST API.
    type: str
    default: https://127.0.0.1:8042
  user:
    description: One of RegisteredUsers in orthanc.json.
    type: str
    required: true
  password:
    description: The user's password.
    type: str
    required: true
  timeout:
    description: Seconds to wait until Orthanc answers.
    type: int
    default: 120
extends_documentation_fragment:
  - auscat.imaging.trust
  - auscat.imaging.proof
attributes:
  check_mode: {support: full, description: Does nothing and returns no rows.}
  diff_mode: {support: none, description: Nothing is changed.}
"""

EXAMPLES = r"""
- name: Log in to Orthanc
  auscat.imaging.proof_login:
    user: admin
    password: "{{ orthanc_registered_users.admin }}"
    where: "{{ inventory_hostname }}"
"""

RETURN = r"""
checks:
  description: The rows of the proof, each with check, where, passed, detail and remedy.
  type: list
  elements: dict
  returned: success
since:
  description: Last entry in Orthanc's log of changes, -1 when Orthanc did not tell.
  type: int
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import (
    TRUST_OPTION,
    ClientError,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.checks import (
    Report,
    wait_for,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.orthanc import Orthanc


def look_before(orthanc: Orthanc, report: Report, timeout: int) -> int:
    """Add the rows about Orthanc's logins; return where its log of changes ends, or -1."""
    last = -1

    def answers() -> bool:
        try:
            orthanc.send("GET", "/system", password=None)
        except ClientError:
            return False
        return True

    def refuses() -> tuple[list[str], str]:
        wait_for(answers, timeout)
        return orthanc.login_problems("/system"), "a wrong password and no password get status 401"

    def accepts() -> tuple[list[str], str]:
        nonlocal last
        version = orthanc.version()
        last = orthanc.last_change()
        return [], f"{orthanc.url}/system answers: Orthanc {version}"

    report.attempt(
        "Orthanc refuses wrong logins",
        "Set AuthenticationEnabled in orthanc.json to true; look at Orthanc's log if it does not"
        " answer.",
        refuses,
    )
    report.attempt(
        "Orthanc accepts the right login",
        "Compare orthanc_registered_users with the secret orthanc.json that runs; run site.yml.",
        accepts,
    )
    return last


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "default": "https://127.0.0.1:8042"},
            "trust": TRUST_OPTION,
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "timeout": {"type": "int", "default": 120},
            "where": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    if module.check_mode:
        module.exit_json(changed=False, checks=[], since=-1)
    report = Report(parameters["where"])
    orthanc = Orthanc.of(parameters)
    since = look_before(orthanc, report, parameters["timeout"])
    module.exit_json(changed=False, checks=report.rows(), since=since)


if __name__ == "__main__":
    main()
