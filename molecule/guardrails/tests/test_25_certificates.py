"""playbooks/renew_certificates.yml, as docs/certificates.md shows it, and the CA for others."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml
from shared.documented import command
from shared.machines import REPOSITORY
from sites import Site


def renewed(site: Site, documented: list[str]) -> dict[str, Any]:
    """Run the command up to the preflight, which looks at all that was made; read the vault."""
    playbook, *arguments = documented
    outcome = site.play(*arguments, "--tags", "preflight", playbook=playbook)
    assert outcome.returncode == 0, outcome.errors
    made: dict[str, Any] = yaml.safe_load(site.vault("view"))
    assert made["vault_auscat_ca"]["key"] not in outcome.text
    return made


def test_new_certificates_then_a_new_ca_then_the_old_one_is_forgotten(
    production: Site, tmp_path: Path
) -> None:
    site = production.variant(tmp_path)
    first: dict[str, Any] = yaml.safe_load(site.vault("view"))
    second = renewed(site, command("docs/certificates.md", "playbooks/renew_certificates.yml"))
    assert second["vault_auscat_ca"] == first["vault_auscat_ca"]
    for host, pair in second["vault_auscat_certificates"].items():
        assert pair != first["vault_auscat_certificates"][host]
    third = renewed(site, command("docs/certificates.md", "-e renew=ca"))
    assert third["vault_auscat_ca"]["previous"] == first["vault_auscat_ca"]["certificate"]
    fourth = renewed(site, command("docs/certificates.md", "-e renew=forget_ca"))
    assert sorted(fourth["vault_auscat_ca"]) == ["certificate", "key"]
    assert fourth["vault_auscat_ca"]["certificate"] == third["vault_auscat_ca"]["certificate"]


def test_the_ca_for_those_who_are_to_trust_it(production: Site, tmp_path: Path) -> None:
    given = tmp_path / "auscat-ca.pem"
    own = {"inventories/production": str(production.inventory), "auscat-ca.pem": str(given)}
    subprocess.run(
        command("docs/certificates.md", "ansible.builtin.copy", own),
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(production.password_file)},
        check=True,
        capture_output=True,
    )
    held = yaml.safe_load(production.vault("view"))["vault_auscat_ca"]["certificate"]
    assert given.read_text().strip() == held.strip()
