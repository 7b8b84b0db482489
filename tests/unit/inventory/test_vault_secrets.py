"""Certificates in an inventory's vault, made and renewed by Ansible itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates

REPOSITORY = Path(__file__).resolve().parents[3]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - auscat.imaging.vault_secrets:
        inventory: "{{ ansible_inventory_sources }}"
        state: "{{ state }}"
        renew: "{{ renew | default('machines') }}"
"""


class Inventory:
    """The sample for two machines, filled in, and its vault."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "inventory"
        shutil.copytree(REPOSITORY / "inventories/production", self.path)
        self.hosts({"kv01": "10.20.1.10", "cv01": "10.20.1.20"})
        (directory / "password").write_text("of the tests\n")
        (directory / "play.yml").write_text(PLAY)
        self.directory = directory

    def hosts(self, addresses: dict[str, str]) -> None:
        inventory = yaml.safe_load((REPOSITORY / "inventories/production/hosts.yml").read_text())
        for group, host in (("keyvm", "kv01"), ("catvm", "cv01")):
            inventory["all"]["children"][group]["hosts"][host]["ansible_host"] = addresses[host]
        (self.path / "hosts.yml").write_text(yaml.safe_dump(inventory))

    def run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments],
            env={**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(self.directory / "password")},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.stdout + done.stderr

    def secrets(self, state: str, **variables: str) -> str:
        given = [f"-e{name}={value}" for name, value in {"state": state, **variables}.items()]
        play = str(self.directory / "play.yml")
        return self.run("ansible-playbook", "-i", str(self.path), play, *given)

    def vault(self) -> dict[str, Any]:
        text = self.run("ansible-vault", "view", str(self.path / "group_vars/all/vault.yml"))
        found = yaml.safe_load(text)
        assert isinstance(found, dict), text
        return found

    def problems(self) -> list[str]:
        """What the preflight would say of both machines."""
        vault = self.vault()
        authority = vault["vault_auscat_ca"]
        return [
            problem
            for host, pair in vault["vault_auscat_certificates"].items()
            for problem in certificates.problems(
                {"mode": "own_ca", "ca": certificates.trusted(authority), **pair},
                [host, "localhost"],
            )
        ]


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    return Inventory(tmp_path)


def test_from_the_first_to_a_new_ca(inventory: Inventory) -> None:
    assert "changed=1" in inventory.secrets("present")
    first = inventory.vault()
    assert sorted(first["vault_auscat_certificates"]) == ["cv01", "kv01"]
    assert inventory.problems() == []
    assert "changed=0" in inventory.secrets("present")
    assert inventory.vault() == first

    inventory.hosts({"kv01": "10.20.1.11", "cv01": "10.20.1.20"})
    told = inventory.secrets("renewed")
    second = inventory.vault()
    assert second["vault_auscat_ca"] == first["vault_auscat_ca"]
    for host in ("kv01", "cv01"):
        pair = second["vault_auscat_certificates"][host]
        assert pair != first["vault_auscat_certificates"][host]
    (leaf,) = certificates.certificates_in(
        second["vault_auscat_certificates"]["kv01"]["certificate"]
    )
    assert "10.20.1.11" in certificates.names_in(leaf)
    passwords = {name: value for name, value in first.items() if name.endswith("_password")}
    assert passwords.items() <= second.items()

    told += inventory.secrets("renewed", renew="ca")
    third = inventory.vault()["vault_auscat_ca"]
    assert third["previous"] == first["vault_auscat_ca"]["certificate"]
    assert inventory.problems() == []
    # As somebody does whose first run ended before the machines had it.
    told += inventory.secrets("renewed", renew="ca")
    assert "there is a new CA already" in told
    assert inventory.vault()["vault_auscat_ca"] == third
    told += inventory.secrets("renewed", renew="forget_ca")
    assert sorted(inventory.vault()["vault_auscat_ca"]) == ["certificate", "key"]
    assert "PRIVATE KEY" not in told


def test_what_is_asked_wrongly_changes_nothing(inventory: Inventory) -> None:
    told = inventory.secrets("renewed")
    assert "Run playbooks/init_secrets.yml, which makes it. Nothing was changed." in told
    inventory.secrets("present")
    before = inventory.vault()
    assert "Accepted: machines, ca, forget_ca" in inventory.secrets("renewed", renew="all")
    assert inventory.vault() == before
