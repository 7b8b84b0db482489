#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: known_variables
short_description: Find variables that no role and no playbook of this collection reads
version_added: 0.1.0
description:
  - Refuses a variable given with C(-e) whose name nobody reads and that is a near miss of one that
    is read, with the nearest name. Warns of those that stand in the inventory, which the module
    M(auscat.imaging.preflight) refuses.
  - Ansible's own variables, internal ones (C(__)), and those that another variable takes are left
    alone. No value is shown. The machine is not contacted.
attributes:
  check_mode: {support: full, description: It never changes anything.}
  diff_mode: {support: none, description: There is nothing to show.}
author: The AusCAT imaging node project (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Refuse names that nobody reads
  auscat.imaging.known_variables:
"""

RETURN = r""" # """
