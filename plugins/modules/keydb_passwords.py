#!/usr/bin/python
"""Ansible module: give roles of a running KeyDB the passwords of the inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keydb_passwords
short_description: Set the inventory's passwords for roles of a running KeyDB
version_added: 0.1.0
description:
  - PostgreSQL reads its password files only when the database is created. This module compares
    the passwords of roles with those of a running database and changes the ones that differ.
  - The comparison is made with the stored SCRAM verifiers, and a new verifier is computed here,
    so no password reaches the server, its log or a command line.
  - Where no container of the service runs on the host, or none answers, nothing is changed; the
    result says so.
options:
  stack:
    description: Name of the Swarm stack.
    type: str
    required: true
  service:
    description: Name of the service in the stack.
    type: str
    default: keydb
  user:
    description: Superuser of the database.
    type: str
    required: true
  roles:
    description: The roles and their passwords. A role must exist.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Name of the role.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
  wait:
    description: How long to wait for the database's answer, in seconds.
    type: int
    default: 30
attributes:
  check_mode:
    support: full
    description: Compares, changes nothing.
  diff_mode:
    support: full
    description: Names the roles whose passwords differ.
author:
  - The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Set the inventory's passwords in the running KeyDB
  auscat.imaging.keydb_passwords:
    stack: auscat
    user: key_admin
    roles:
      - role: key_admin
        password: "{{ vault_keydb_password }}"
      - role: ctp_key_db_select
        password: "{{ vault_keydb_ctp_password }}"
"""

RETURN = r"""
running:
  description: Whether a database answered.
  type: bool
  returned: always
changed_roles:
  description: Names of the roles that got (in check mode would get) a new password.
  type: list
  elements: str
  returned: always
msg:
  description: What was found, in one sentence.
  type: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.auscat.imaging.plugins.module_utils.services.keydb import (
    Keydb,
    KeydbAbsentError,
    KeydbError,
    KeydbSilentError,
    identifier,
    literal,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services.scram import (
    matches,
    verifier,
)


def differing(wanted: dict[str, str], stored: dict[str, str | None], service: str) -> list[str]:
    """Return the roles whose stored verifier was not made of the wanted password.

    Raises:
        KeydbError: a role does not exist.
    """
    absent = [role for role in wanted if role not in stored]
    if absent:
        raise KeydbError(
            f"The database of {service} has no role {', '.join(absent)}. Accepted: roles that "
            'exist. Create it (docs/keydb.md, "Another PostgreSQL image") and run this again. '
            "Nothing was changed."
        )
    return [role for role, password in wanted.items() if not matches(password, stored[role])]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "service": {"type": "str", "default": "keydb"},
            "user": {"type": "str", "required": True},
            "roles": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "role": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                },
            },
            "wait": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    wanted = {entry["role"]: entry["password"] for entry in module.params["roles"]}
    empty = [role for role, password in wanted.items() if not password]
    if empty:
        module.fail_json(
            msg=f"The password of {', '.join(empty)} is empty. Accepted: at least one character. "
            "Set it in the inventory, in production in the vault. Nothing was changed."
        )
    try:
        database = Keydb(
            module.params["stack"],
            module.params["service"],
            module.params["user"],
            module.params["wait"],
        )
    except (KeydbAbsentError, KeydbSilentError) as error:
        # A KeyDB that cannot start must not stop the run that would repair it; the comparison is
        # made through the local socket, so it can be made up for whatever the secrets are by then.
        if isinstance(error, KeydbSilentError):
            module.warn(
                f"{error} Its passwords were not compared with the inventory. If one was changed "
                "there, run this again when the service is healthy."
            )
        module.exit_json(changed=False, running=False, changed_roles=[], msg=str(error))
    except KeydbError as error:
        module.fail_json(msg=f"{error} Nothing was changed.")

    try:
        names = ", ".join(literal(role) for role in wanted)
        stored = database.query(
            "SELECT json_object_agg(rolname, rolpassword) FROM pg_authid WHERE rolname IN "
            f"({names});",
            database="postgres",
        )
        changed = differing(wanted, stored or {}, database.service)
        if changed and not module.check_mode:
            statements = [
                f"ALTER ROLE {identifier(role)} PASSWORD {literal(verifier(wanted[role]))};"
                for role in changed
            ]
            # One transaction: never one role on the old password and another on the new.
            database.query("\n".join(["BEGIN;", *statements, "COMMIT;"]), database="postgres")
    except KeydbError as error:
        module.fail_json(msg=str(error))

    changes = ", ".join(changed)
    module.exit_json(
        changed=bool(changed),
        running=True,
        changed_roles=changed,
        msg=(
            f"Passwords that differ from the inventory: {changes}"
            if changed
            else "The passwords are those of the inventory."
        ),
        diff={
            "before": "".join(f"{role}: another password\n" for role in changed),
            "after": "".join(f"{role}: the password of the inventory\n" for role in changed),
        },
    )


if __name__ == "__main__":
    main()
