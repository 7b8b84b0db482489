"""A rotation over two machines, from a vault: KeyDB and CTP on one, Orthanc on the other.

Last of all: the passwords of the scenario's inventory open nothing afterwards.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import yaml
from shared.https import given, url
from shared.machines import Machine, Node, Scenario

SECRETS = ("keydb_password", "keydb_ctp_password", "ctp_admin_password")


def vaulted(scenario: Scenario, directory: Path) -> dict[str, str]:
    """Copy the inventory with its passwords in a vault, as a hospital has them; return them."""
    shutil.copytree(scenario.inventory, directory / "inventory")
    group_vars = directory / "inventory/group_vars"
    document = yaml.safe_load((group_vars / "all.yml").read_text())
    values = {f"vault_{name}": document[name] for name in SECRETS}
    for user, password in document["orthanc_registered_users"].items():
        values[f"vault_orthanc_{user}_password"] = password
    document.update({name: f"{{{{ vault_{name} }}}}" for name in SECRETS})
    document["orthanc_registered_users"] = {
        user: f"{{{{ vault_orthanc_{user}_password }}}}"
        for user in document["orthanc_registered_users"]
    }
    (group_vars / "all.yml").unlink()
    (group_vars / "all").mkdir()
    (group_vars / "all/main.yml").write_text(yaml.safe_dump(document))
    (group_vars / "all/vault.yml").write_text(yaml.safe_dump(values))
    (directory / "vault-password").write_text("a vault password of the tests\n")
    ansible_vault(directory, "encrypt")
    return values


def ansible_vault(directory: Path, action: str) -> str:
    return subprocess.run(
        ["ansible-vault", action, "--vault-password-file", str(directory / "vault-password")]
        + [str(directory / "inventory/group_vars/all/vault.yml")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def psql(kv: Node, user: str, password: str) -> bool:
    """Log in to KeyDB over the network of its container, where the password counts."""
    (task,) = kv.tasks("auscat_keydb")
    done = kv.run(
        *("docker", "exec", "--interactive", task["Id"], "psql", "--password", "--host=127.0.0.1"),
        *(f"--username={user}", "--dbname=key_db", "--command=SELECT 1"),
        stdin=f"{password}\n",
        check=False,
    )
    assert done.returncode == 0 or "password authentication failed" in done.stderr, done.stderr
    return done.returncode == 0


def curl(machine: Machine, node: Node, asked: str, user: str, password: str) -> str:
    return machine.output(
        *("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"),
        *("--cacert", given(node, machine), "--user", f"{user}:{password}", asked),
    )


def test_both_machines_have_the_new_passwords(
    scenario: Scenario, kv: Node, cat: Node, pacs: Machine, researcher: Machine, tmp_path: Path
) -> None:
    old = vaulted(scenario, tmp_path)
    secret = ("--vault-password-file", str(tmp_path / "vault-password"))
    outcome = Scenario(tmp_path).play("playbooks/rotate_secrets.yml", *secret)
    assert outcome.returncode == 0, outcome.errors
    new = yaml.safe_load(ansible_vault(tmp_path, "view"))
    assert new.keys() == old.keys()
    for values, accepted, status in ((old, False, "401"), (new, True, "200")):
        assert psql(kv, "key_admin", values["vault_keydb_password"]) is accepted
        assert psql(kv, "ctp_key_db_select", values["vault_keydb_ctp_password"]) is accepted
        password = values["vault_ctp_admin_password"]
        assert curl(pacs, kv, f"{url(kv, 9090)}/", "admin", password) == status
        for user in ("researcher", "steward"):
            password = values[f"vault_orthanc_{user}_password"]
            asked = f"{url(cat, 8042)}/system"
            assert curl(researcher, cat, asked, user, password) == status
    for row in (
        r"kv +keydb_ctp_password, user ctp_key_db_select +ctp, keydb +refused +accepted",
        r"cat +orthanc_registered_users, user steward +orthanc +refused +accepted",
    ):
        assert re.search(row, outcome.text), row
    for value in {*old.values(), *new.values()}:
        assert value not in outcome.text
