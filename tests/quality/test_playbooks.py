"""Every playbook can be read by Ansible."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PLAYBOOKS = [
    REPOSITORY / "site.yml",
    *sorted((REPOSITORY / "playbooks").glob("*.yml")),
    REPOSITORY / "tests" / "machine.yml",
    *(REPOSITORY / "molecule/shared" / f"{name}.yml" for name in ("create", "converge", "destroy")),
]


def test_syntax() -> None:
    """All in one run, which says in which file an error is."""
    inventory = REPOSITORY / "molecule" / "default" / "inventory"
    result = subprocess.run(
        ["ansible-playbook", "--syntax-check", "--inventory", inventory, *PLAYBOOKS],
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    # It names each that it has read to its end.
    assert result.stdout.count("\nplaybook: ") == len(PLAYBOOKS), result.stdout
