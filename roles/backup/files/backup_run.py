#!/usr/bin/python3
"""Launcher of the package backup_program beside it.

Managed by Ansible (role backup): changes made here are replaced.
"""

import sys

from backup_program.cli import main

sys.exit(main(sys.argv[1:]))
