#!/usr/bin/python
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_secrets
short_description: Create an inventory's vault with random values, or replace values in it
version_added: 0.1.0
description:
  - Reads the files of an inventory and creates group_vars/all/vault.yml in it, encrypted with the
    operator's vault password, with a random value for each variable C(vault_<what>_password),
    C(vault_<what>_passphrase) and C(vault_<what>_encryption_key) that the inventory refers to.
  - A vault that is there keeps every value that it has; only what is missing is added.
  - With O(state=rotated) it gives those variables that are passwords of the services new values.
    The old values are kept beside the vault, encrypted as it is, until O(state=settled). Where they
    still lie there, an earlier rotation was not finished, and is now, with the values that it made.
  - Machines of the node with C(auscat_tls=own_ca) get the CA C(vault_auscat_ca) and their
    certificates C(vault_auscat_certificates) too. With O(state=renewed) they get new ones, in the
    vault or in the directory that keeps them.
  - Files are replaced whole or not at all. No value is ever printed.
options:
  inventory:
    description: Sources of the inventory; exactly one.
    type: list
    elements: path
    required: true
  state:
    description:
      - V(present) adds what is missing, V(rotated) replaces, V(settled) forgets the old values.
        V(renewed) makes new certificates.
    type: str
    choices: [present, rotated, settled, renewed]
    default: present
  rotate:
    description: Variables that V(rotated) replaces, with or without C(vault_). Empty, all it can.
    type: list
    elements: str
    default: []
  services:
    description:
      - Variables from which the services take their secrets, each with the reason for which its
        value must not be replaced, or an empty text. What other variables use is left alone.
    type: dict
    default: {}
  renew:
    description:
      - What V(renewed) makes anew. V(machines) are the certificates of the machines, V(ca) the CA
        and these; the CA before stays trusted until V(forget_ca).
    type: str
    choices: [machines, ca, forget_ca]
    default: machines
attributes:
  check_mode: {support: full, description: It says what would be made.}
  diff_mode: {support: none, description: It would show secrets.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Create the values that the inventory refers to and the vault lacks
  auscat.imaging.vault_secrets:
    inventory: "{{ ansible_inventory_sources }}"
"""

RETURN = r"""
path:
  description: The vault.
  type: str
  returned: success
made:
  description: Names of the variables that got a value, or a new one.
  type: list
  elements: str
  returned: when state is not settled
kept:
  description: Names of the variables that had one.
  type: list
  elements: str
  returned: when state is present
asked:
  description: Names that the inventory refers to and nobody can invent, such as tokens.
  type: list
  elements: str
  returned: when state is present
names:
  description: All variables of the rotation, those that an interrupted one replaced included.
  type: list
  elements: str
  returned: when state is rotated
resumed:
  description: Names of an earlier rotation that was not finished.
  type: list
  elements: str
  returned: when state is rotated
left_out:
  description: Names that are left alone, each with the reason.
  type: dict
  returned: when state is rotated
places:
  description: Where the inventory uses each of the names.
  type: dict
  returned: when state is rotated
record:
  description: The file with the old values.
  type: str
  returned: when state is rotated or settled
"""
