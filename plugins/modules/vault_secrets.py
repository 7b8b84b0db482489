#!/usr/bin/python
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_secrets
short_description: Make the vault of an inventory, with random values for what it refers to
version_added: 0.2.0
description:
  - Reads the files of an inventory and creates group_vars/all/vault.yml in it, encrypted with the
    operator's vault password, with a random value for each variable C(vault_<what>_password),
    C(vault_<what>_passphrase) and C(vault_<what>_encryption_key) that the inventory refers to.
  - A vault that is there keeps every value that it has; only what is missing is added.
  - No value is ever printed.
options:
  inventory:
    description: Sources of the inventory; exactly one.
    type: list
    elements: path
    required: true
attributes:
  check_mode: {support: full, description: It says what would be made.}
  diff_mode: {support: none, description: It would show secrets.}
author: The AusCAT imaging node project
"""

EXAMPLES = r"""
- name: Make what the inventory refers to and its vault lacks
  auscat.imaging.vault_secrets:
    inventory: "{{ ansible_inventory_sources }}"
"""

RETURN = r"""
path:
  description: The vault.
  type: str
  returned: success
made:
  description: Names of the variables that got a value.
  type: list
  elements: str
  returned: success
kept:
  description: Names of the variables that had one.
  type: list
  elements: str
  returned: success
asked:
  description: Names that the inventory refers to and nobody can invent, such as tokens.
  type: list
  elements: str
  returned: success
"""
