#!/usr/bin/python
"""Ansible module: who had access to a study, by the log of the web server in front of Orthanc."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_log
short_description: Find who read, searched, downloaded or deleted a study
version_added: 0.1.0
description:
  - Reads the log of the web server in front of Orthanc, the index of series that the sampler keeps,
    and Orthanc. Changes nothing.
options:
  study:
    description: A StudyInstanceUID, a PatientID as Orthanc has it, or an identifier of Orthanc.
    type: str
    required: true
  logs:
    description: Directory of the log.
    type: path
    required: true
  index:
    description: File with the series that are, or were, in Orthanc.
    type: path
    required: true
  url:
    description: Orthanc's REST API.
    type: str
    required: true
  user:
    description: User of Orthanc.
    type: str
    required: true
  password:
    description: Password of the user.
    type: str
    required: true
extends_documentation_fragment:
  - auscat.imaging.trust
attributes:
  check_mode: {support: full, description: Nothing is changed anyway.}
  diff_mode: {support: none, description: Nothing is changed.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Find who had access to a study
  auscat.imaging.audit_log:
    study: 1.2.3.4
    logs: /srv/auscat/front/logs
    index: /var/lib/node/archive.jsonl
    url: https://127.0.0.1:8042
    trust: {ca_file: /etc/ssl/node-ca.pem}
    user: admin
    password: "{{ vault_orthanc_admin_password }}"
"""

RETURN = r"""
rows:
  description: Who (user and address) did what (read, searched, downloaded, deleted, changed), when.
  type: list
  elements: dict
  returned: success
studies:
  description: UIDs of the studies that are meant, each to the pseudonym.
  type: dict
  returned: success
there:
  description: Whether it is in Orthanc now.
  type: bool
  returned: success
since:
  description: Day of the oldest log; empty where there is none.
  type: str
  returned: success
nameless:
  description:
    - What was done by requests whose studies are not in the log (searched, downloaded, deleted,
      changed, sent), each to how many they were, by user.
  type: dict
  returned: success
"""

import json
from itertools import chain
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.care import audit
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import (
    TRUST_OPTION,
    ClientError,
    Http,
)


def lines_of(path: Path) -> list[str]:
    """Return the lines of a file; none where there is no file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "study": {"type": "str", "required": True},
            "logs": {"type": "path", "required": True},
            "index": {"type": "path", "required": True},
            "url": {"type": "str", "required": True},
            "trust": TRUST_OPTION,
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    orthanc = Http.of(module.params)

    def ask(path: str) -> Any:
        status, content = orthanc.send("GET", path)
        if status == 404:
            return None
        if status != 200:
            raise ClientError(f"{orthanc.url} answered with status {status}")
        return json.loads(content)

    files = sorted(Path(module.params["logs"]).glob("access-*.log"))
    try:
        asked = audit.find(module.params["study"], lines_of(Path(module.params["index"])), ask)
        told = audit.trail(chain.from_iterable(map(lines_of, files)), asked)
    except (ClientError, OSError, ValueError) as error:
        module.fail_json(msg=f"Who had access to the study cannot be told: {error}")
    module.exit_json(
        changed=False,
        studies=asked.studies,
        there=asked.there,
        since=files[0].stem.removeprefix("access-") if files else "",
        **told,
    )


if __name__ == "__main__":
    main()
