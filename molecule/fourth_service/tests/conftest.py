"""A node, a copy of the tree with one service more, and the inventory that places it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from shared.ctp_node import node, pacs
from shared.documented import command
from shared.fourth import place, tree_with_service
from shared.machines import Machine, Node, Outcome, Scenario

__all__ = ["node", "pacs"]


@dataclass(frozen=True)
class Site:
    """An operator's copy of the tree, with an inventory whose vault init_secrets.yml has made."""

    directory: Path

    @property
    def tree(self) -> Path:
        """The copy, whose role is all that it has more."""
        return self.directory / "tree"

    @property
    def inventory(self) -> Path:
        """What an operator gives to -i."""
        return self.directory / "inventory"

    def play(self, playbook: str, *arguments: str, **extra: object) -> Outcome:
        """Run a playbook of the copy on this inventory."""
        secret = ("--vault-password-file", str(self.directory / "vault-password"))
        return Scenario(self.directory, self.tree).play(playbook, *secret, *arguments, extra=extra)

    def secrets(self) -> dict[str, str]:
        """Read the vault by Ansible's own command."""
        own = {"inventories/production": str(self.inventory)}
        shown = subprocess.run(
            [
                *command(
                    "docs/secrets.md",
                    "ansible-vault view inventories/production/group_vars/all/vault.yml",
                    own,
                )
            ]
            + ["--vault-password-file", str(self.directory / "vault-password")],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        found: dict[str, str] = yaml.safe_load(shown)
        return found


@pytest.fixture(scope="session")
def site(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The operator's copy. It outlives the session where Molecule keeps its state."""
    kept = os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY")
    made = Site(Path(kept) / "site" if kept else tmp_path_factory.mktemp("site"))
    if made.inventory.exists():
        return made
    tree_with_service(made.tree)
    shutil.copytree(scenario.inventory, made.inventory)
    (made.directory / "vault-password").write_text("a vault password of the tests\n")
    place(made.inventory)
    return made


@pytest.fixture(scope="session")
def stranger(scenario: Scenario) -> Machine:
    """The neighbour that the inventory does not name."""
    return scenario.client("stranger")


def sql(node: Node, statement: str, service: str = "auscat_notes") -> str:
    """Ask a database as its superuser, in its container."""
    (container,) = node.tasks(service)
    database, user = {"auscat_notes": ("notes", "notes_admin")}[service]
    return node.output(
        *("docker", "exec", "--interactive", container["Id"], "psql", "--no-psqlrc", "--quiet"),
        *("--tuples-only", "--no-align", f"--username={user}", f"--dbname={database}"),
        f"--command={statement}",
    )
