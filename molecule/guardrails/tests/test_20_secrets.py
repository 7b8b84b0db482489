"""playbooks/init_secrets.yml makes a vault, adds to it, and never touches what is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from shared.machines import Machine, Outcome, Scenario
from sites import VAULT, Site, edit, sample

NAMES = [
    "vault_ctp_admin_password",
    "vault_host_volume_encryption_key",
    "vault_keydb_ctp_password",
    "vault_keydb_password",
    "vault_orthanc_admin_password",
]


def init(site: Site, *arguments: str) -> Outcome:
    """Run the playbook."""
    return site.play(*arguments, playbook="playbooks/init_secrets.yml")


CERTIFICATES = ("vault_auscat_ca", "vault_auscat_certificates")


def contents(site: Site) -> dict[str, Any]:
    """Give the content of the vault, read by Ansible's own command."""
    return yaml.safe_load(site.vault("view"))


def values(site: Site) -> dict[str, Any]:
    """Give the passwords in it."""
    return {name: value for name, value in contents(site).items() if name not in CERTIFICATES}


def test_strong_values_encrypted(production: Site) -> None:
    vault = production.inventory / VAULT
    assert vault.read_text().startswith("$ANSIBLE_VAULT;")
    assert vault.stat().st_mode & 0o777 == 0o600
    assert sorted(contents(production)) == sorted([*NAMES, *CERTIFICATES])
    made = values(production)
    assert sorted(made) == NAMES
    assert len(set(made.values())) == len(NAMES)
    for value in made.values():
        assert re.fullmatch(r"[A-Za-z0-9]{20,}", value)


def test_openssl_accepts_the_certificates(production: Site, tmp_path: Path) -> None:
    """Each machine's for the name that the inventory has for it, and no other."""
    made = contents(production)
    pairs = made["vault_auscat_certificates"]
    assert len(pairs) == 2
    (tmp_path / "ca.pem").write_text(made["vault_auscat_ca"]["certificate"])
    for host, pair in pairs.items():
        (tmp_path / "leaf.pem").write_text(pair["certificate"])
        verify = ["openssl", "verify", "-x509_strict", "-CAfile", str(tmp_path / "ca.pem")]
        for name in pairs:
            command = [*verify, "-verify_hostname", name, str(tmp_path / "leaf.pem")]
            done = subprocess.run(command, capture_output=True, check=False)
            assert (done.returncode == 0) is (name == host)


def test_again_changes_nothing(production: Site) -> None:
    vault = production.inventory / VAULT
    before = vault.read_bytes()
    outcome = init(production)
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed == 0
    assert vault.read_bytes() == before


def test_what_is_missing_is_added_and_the_rest_is_kept(production: Site, tmp_path: Path) -> None:
    site = production.variant(tmp_path)
    before = values(site)
    users = {
        "admin": "{{ vault_orthanc_admin_password }}",
        "researcher": "{{ vault_orthanc_researcher_password }}",
        "token": "{{ vault_some_token }}",
    }
    edit(site.inventory / "group_vars/all/main.yml", orthanc_registered_users=users)
    planned = init(site, "--check")
    assert planned.returncode == 0, planned.errors
    assert values(site) == before
    outcome = init(site, "-vvv")
    assert outcome.returncode == 0, outcome.errors
    after = values(site)
    assert after.items() >= before.items()
    assert after.keys() - before.keys() == {"vault_orthanc_researcher_password"}
    assert {name: contents(site)[name] for name in CERTIFICATES} == {
        name: contents(production)[name] for name in CERTIFICATES
    }
    assert "Yours to set, with ansible-vault edit: vault_some_token" in outcome.text
    for value in after.values():
        assert value not in outcome.text + planned.text


def test_no_vault_password(machines: dict[str, Machine], production: Site, tmp_path: Path) -> None:
    inventory = sample("production", tmp_path, machines)
    outcome = Scenario(tmp_path).play("playbooks/init_secrets.yml")
    assert outcome.returncode != 0
    assert "There is no vault password to encrypt with" in outcome.errors
    assert "--vault-password-file" in outcome.errors
    assert "Traceback" not in outcome.text
    assert not (inventory / VAULT).exists()


def test_a_vault_in_clear_is_not_touched(production: Site, tmp_path: Path) -> None:
    site = production.variant(tmp_path)
    vault = site.inventory / VAULT
    vault.write_text("vault_keydb_password: hunter2\n")
    outcome = init(site)
    assert "is there and not encrypted" in outcome.errors
    assert "hunter2" not in outcome.text
    assert vault.read_text() == "vault_keydb_password: hunter2\n"


def test_an_inventory_without_a_vault(production: Site, tmp_path: Path) -> None:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory/hosts.yml").write_text("all: {hosts: {one: }}\n")
    site = Site(Scenario(tmp_path), production.password_file, {})
    outcome = init(site)
    assert "refers to no variable vault_" in outcome.errors
    assert not (tmp_path / "inventory/group_vars").exists()


def test_variables_of_all_in_one_file(production: Site, tmp_path: Path) -> None:
    """A directory beside it would hide the file from Ansible."""
    group_vars = tmp_path / "inventory/group_vars"
    group_vars.mkdir(parents=True)
    (tmp_path / "inventory/hosts.yml").write_text("all: {hosts: {one: }}\n")
    (group_vars / "all.yml").write_text('keydb_password: "{{ vault_keydb_password }}"\n')
    outcome = init(Site(Scenario(tmp_path), production.password_file, {}))
    assert "Move it to" in outcome.errors
    assert not (group_vars / "all").exists()


@pytest.mark.parametrize("text", ["- a\n- list\n"])
def test_a_vault_that_cannot_be_added_to(production: Site, tmp_path: Path, text: str) -> None:
    site = production.variant(tmp_path)
    edit(
        site.inventory / "group_vars/all/main.yml",
        orthanc_registered_users={"new": "{{ vault_new_password }}"},
    )
    vault = site.inventory / VAULT
    vault.write_text("---\n{vault_keydb_password: kept}\n")
    site.vault("encrypt")
    before = vault.read_bytes()
    outcome = init(site)
    assert "Nothing was changed" in outcome.errors or "no YAML" in outcome.errors
    assert vault.read_bytes() == before
