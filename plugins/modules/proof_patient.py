#!/usr/bin/python
"""Ansible module: enter the proof's patient in KeyDB, and remove the patients of all proofs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_patient
short_description: Add the proof's patient to KeyDB, or remove those of all proofs
version_added: 0.1.0
description:
  - Works through the KeyDB container on this host, as the superuser whose name its secrets hold.
  - Never touches a patient whose identifier and pseudonym are not those of one and the same proof.
  - Does not report a change, because a proof leaves nothing behind.
options:
  token:
    description: Ten digits, the first one 1, from which patient and pseudonym follow.
    type: str
    required: true
  service:
    description: Full name of KeyDB's Swarm service.
    type: str
    default: auscat_keydb
  table:
    description: Table or updatable view with the columns C(patient_id) and C(pseudonym).
    type: str
    default: patient
  pseudonym_prefix:
    description: What the known patient's pseudonym begins with; needed where CTP asks for one.
    type: str
    default: ""
  port:
    description: KeyDB's published port, which is asked for clear text and for TLS.
    type: int
    default: 5433
  tls_name:
    description: Name that KeyDB's certificate is for; empty, the port is not asked.
    type: str
    default: ""
  tls_trusted:
    description: File of the CAs; empty, those of this machine.
    type: str
    default: ""
  state:
    description: V(present) enters this proof's patient, V(absent) removes those of all proofs.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - auscat.imaging.proof
attributes:
  check_mode: {support: full, description: Does nothing and returns no rows.}
  diff_mode: {support: none, description: Nothing is changed that would stay.}
"""

EXAMPLES = r"""
- name: Add the proof's patient to KeyDB
  auscat.imaging.proof_patient:
    token: "1234567890"
    where: "{{ inventory_hostname }}"
"""

RETURN = r"""
checks:
  description: The rows of the proof, each with check, where, passed, detail and remedy.
  type: list
  elements: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.proof import keydb_tls
from ansible_collections.auscat.imaging.plugins.module_utils.proof.checks import Report
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    patient_identifier,
    pseudonym_of,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.patients import KeyDb

REMEDY = "See the container and the log of KeyDB; its secrets keydb_user and its schema must stand."


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "token": {"type": "str", "required": True, "no_log": False},
            "service": {"type": "str", "default": "auscat_keydb"},
            "table": {"type": "str", "default": "patient"},
            "pseudonym_prefix": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 5433},
            "tls_name": {"type": "str", "default": ""},
            "tls_trusted": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "where": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    token, service, table = (module.params[name] for name in ("token", "service", "table"))
    report = Report(module.params["where"])

    def enter() -> tuple[list[str], str]:
        pseudonym = pseudonym_of(token, module.params["pseudonym_prefix"])
        KeyDb(service, table).add(patient_identifier(token, known=True), pseudonym)
        return [], f"entered with the pseudonym {pseudonym}"

    def remove() -> tuple[list[str], str]:
        removed = KeyDb(service, table).remove_all()
        return [], f"patients of proofs removed: {len(removed)}"

    if not module.check_mode:
        if module.params["state"] == "present":
            report.attempt("KeyDB takes the proof's patient", REMEDY, enter)
            if name := module.params["tls_name"]:
                port, trusted = (module.params[each] for each in ("port", "tls_trusted"))
                report.attempt(
                    "KeyDB lets nobody in without TLS",
                    "See the log of KeyDB, and whether its image takes the command postgres -c …",
                    lambda: keydb_tls.plain_problems("127.0.0.1", port),
                )
                report.attempt(
                    "KeyDB shows this machine's certificate",
                    "Run site.yml; compare auscat_tls, and the CAs that it writes on the machine.",
                    lambda: keydb_tls.tls_problems("127.0.0.1", port, trusted, name),
                )
        else:
            report.attempt("Nothing of the proof is left in KeyDB", REMEDY, remove)
    module.exit_json(changed=False, checks=report.rows())


if __name__ == "__main__":
    main()
