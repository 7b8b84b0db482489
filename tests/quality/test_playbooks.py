"""Every playbook can be read by Ansible."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PLAYBOOKS = [
    REPOSITORY / "site.yml",
    *sorted((REPOSITORY / "playbooks").glob("*.yml")),
    *(REPOSITORY / "molecule/shared" / f"{name}.yml" for name in ("create", "converge", "destroy")),
]


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_syntax(playbook: Path) -> None:
    inventory = REPOSITORY / "molecule" / "default" / "inventory"
    result = subprocess.run(
        ["ansible-playbook", "--syntax-check", "--inventory", inventory, playbook],
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
