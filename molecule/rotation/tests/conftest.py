"""A node on CTP's files with the stand-in in its place, and its operator's vault."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from shared.ctp_node import Patient, node, pacs, status
from shared.documented import command
from shared.https import kept, url
from shared.killed import Playbook
from shared.machines import Node, Outcome, Scenario, wait_for
from shared.streams import page

__all__ = ["node", "pacs"]

VAULT = "group_vars/all/vault.yml"
RECORD = "group_vars/all/.vault-rotation.yml"


@dataclass(frozen=True)
class Site:
    """A copy of the scenario's inventory whose values stand in a vault."""

    directory: Path

    @property
    def inventory(self) -> Path:
        """What an operator gives to -i."""
        return self.directory / "inventory"

    @property
    def vault(self) -> Path:
        """The encrypted file."""
        return self.inventory / VAULT

    @property
    def record(self) -> Path:
        """The old values while a rotation is under way."""
        return self.inventory / RECORD

    @property
    def own(self) -> dict[str, str]:
        """What stands in the place of the inventory that the documents name."""
        return {"inventories/production": str(self.inventory)}

    @property
    def password_file(self) -> Path:
        """What the vault is encrypted with."""
        return self.directory / "vault-password"

    @property
    def secret(self) -> tuple[str, str]:
        """The arguments that name it."""
        return ("--vault-password-file", str(self.password_file))

    def play(self, playbook: str, *arguments: str, **extra: object) -> Outcome:
        """Run a playbook on this inventory, as an operator does."""
        return Scenario(self.directory).play(playbook, *self.secret, *arguments, extra=extra)

    def playbook(self, playbook: str, *arguments: str) -> Playbook:
        """Return a playbook on this inventory as one that can be killed."""
        here = Scenario(self.directory)
        command = here.command(playbook, *self.secret, *arguments)
        return Playbook(command, here.tree, here.environment())

    def values(self, file: Path | None = None) -> dict[str, str]:
        """Read the vault, or the record, by Ansible's own command."""
        view = (
            command(
                "docs/secrets.md",
                "ansible-vault view inventories/production/group_vars/all/vault.yml",
                self.own,
            )
            if file != self.record
            else command("docs/secrets.md", "all/.vault-rotation.yml", self.own)
        )
        shown = subprocess.run(
            [*view, *self.secret],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return yaml.safe_load(shown)

    def change(self, **values: str) -> None:
        """Change values with `ansible-vault edit`; the editor is a copy of what is wanted."""
        wanted = self.directory / "wanted.yml"
        wanted.write_text(yaml.safe_dump({**self.values(), **values}))
        subprocess.run(
            [*command("docs/secrets.md", "ansible-vault edit", self.own), *self.secret],
            env={**os.environ, "EDITOR": f"cp {wanted}"},
            check=True,
            capture_output=True,
        )
        wanted.unlink()

    def encrypt(self) -> None:
        """Encrypt the vault's plain text."""
        subprocess.run(
            ["ansible-vault", "encrypt", *self.secret, str(self.vault)],
            check=True,
            capture_output=True,
        )


def logins(node: Node, values: dict[str, str]) -> dict[str, str]:
    """Log in as each user does, with psql and curl, and say what came of it."""

    def psql(user: str, password: str) -> str:
        done = subprocess.run(
            ["psql", "--no-psqlrc", "--tuples-only", "--command=SELECT count(*) FROM ctp_patient"]
            + [f"--host={node.address}", "--port=5433", f"--username={user}", "--dbname=key_db"],
            env={**os.environ, "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "10"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return "accepted"
        return "refused" if "password authentication failed" in done.stderr else done.stderr

    trusted = kept(node, Path(tempfile.mkdtemp()))

    def curl(user: str, password: str, port: int, path: str) -> str:
        status = subprocess.run(
            ["curl", "--silent", "--max-time", "10", "--output", "/dev/null"]
            + ["--write-out", "%{http_code}", "--noproxy", "*", "--config", "-"]
            + ["--cacert", str(trusted), f"{url(node, port)}{path}"],
            input=f'user = "{user}:{password}"\n',
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        return {"200": "accepted", "401": "refused"}.get(status, status)

    return {
        "vault_keydb_password": psql("key_admin", values["vault_keydb_password"]),
        "vault_keydb_ctp_password": psql("ctp_key_db_select", values["vault_keydb_ctp_password"]),
        "vault_ctp_admin_password": curl("admin", values["vault_ctp_admin_password"], 9090, "/"),
        "vault_orthanc_admin_password": curl(
            "admin", values["vault_orthanc_admin_password"], 8042, "/system"
        ),
        "vault_orthanc_researcher_password": curl(
            "researcher", values["vault_orthanc_researcher_password"], 8042, "/system"
        ),
    }


ROTATED = (
    "vault_ctp_admin_password",
    "vault_keydb_ctp_password",
    "vault_keydb_password",
    "vault_orthanc_admin_password",
    "vault_orthanc_researcher_password",
)
LEFT_ALONE = (
    "vault_host_volume_encryption_key",
    "vault_site_export_passphrase",
    "vault_site_token",
)


def all_are(what: str) -> dict[str, str]:
    """What `logins` returns when all are accepted, or refused."""
    return dict.fromkeys(ROTATED, what)


def secret_versions(node: Node) -> list[str]:
    """Plain names of the stack's secrets, one for each version that is there."""
    names = node.output("docker", "secret", "ls", "--format={{.Name}}").split()
    return sorted(name.rpartition("_v")[0] for name in names if name.startswith("auscat_"))


ONE_VERSION_EACH = [
    "auscat_ctp_admin_pass",
    "auscat_front_certificate",
    "auscat_front_key",
    "auscat_keydb_ctp_pass",
    "auscat_keydb_ctp_user",
    "auscat_keydb_pass",
    "auscat_keydb_tls_cert",
    "auscat_keydb_tls_key",
    "auscat_keydb_user",
    "auscat_orthanc.json",
]


def load(site: Site, node: Node, patient: Patient) -> None:
    """Load a patient into KeyDB, as an operator does, and wait until CTP knows them."""
    keys = site.directory / f"{patient.pseudonym}.csv"
    keys.write_text(f"patient_id,pseudonym\n{patient.patient_id},{patient.pseudonym}\n")
    outcome = site.play("playbooks/load_keys.yml", keys_file=str(keys))
    assert outcome.returncode == 0, outcome.errors
    loaded = time.monotonic()
    ctp = page(node, 9090, "admin", site.values()["vault_ctp_admin_password"])

    # CTP reads a table that changed no sooner than a second later.
    def known() -> bool:
        return 1.5 < status(ctp)["keydb"]["age_seconds"] < time.monotonic() - loaded

    wait_for("CTP knows the patient", known, 30)


@pytest.fixture(scope="session")
def site(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The operator's inventory. It outlives the session where Molecule keeps its state."""
    kept = os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY")
    made = Site(Path(kept) / "site" if kept else tmp_path_factory.mktemp("site"))
    if made.vault.exists():
        return made
    shutil.copytree(scenario.inventory, made.inventory)
    made.password_file.write_text("a vault password of the tests\n")
    (made.inventory / "group_vars/all/first_values.yml").rename(made.vault)
    made.encrypt()
    return made
