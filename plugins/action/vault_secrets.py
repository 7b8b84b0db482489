"""Action plugin: complete the vault of an inventory, or replace values in it, on the controller."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.parsing.vault import is_encrypted, match_encrypt_secret
from ansible.plugins.action import ActionBase
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import vault_values
from ansible_collections.auscat.imaging.plugins.module_utils.inventory.guardrails import (
    is_vault_file,
)

VAULT = Path("group_vars/all/vault.yml")
#: The old values while a rotation is under way. Ansible reads no variables from a hidden file.
RECORD = Path("group_vars/all/.vault-rotation.yml")


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    _VALID_ARGS = frozenset({"inventory", "state", "rotate", "services"})
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what was done to which variables, by name."""
        result = super().run(tmp, task_vars)
        states = {"present": self._complete, "rotated": self._rotate, "settled": self._settle}
        state = self._task.args.get("state", "present")
        try:
            if state not in states:
                raise AnsibleError(f"state is {state!r}. Accepted: {', '.join(states)}.")
            return {**result, **states[state]()}
        except (vault_values.VaultError, AnsibleError, OSError) as error:
            return {**result, "failed": True, "msg": str(error)}

    def _complete(self) -> dict[str, Any]:
        directory = _directory(self._task.args.get("inventory") or [])
        wanted = set(_places(directory))
        path = directory / VAULT
        text, identity, secret = self._present(path)
        kept = vault_values.names_in(text)
        made = sorted(name for name in wanted - kept if vault_values.INVENTED.search(name))
        if made and not self._task.check_mode:
            whole = vault_values.completed(text, made)
            if vault_values.names_in(whole) != kept | set(made):
                raise vault_values.VaultError(
                    f"{path} cannot be added to: it is no plain list of `name: value` lines. Add "
                    f"{', '.join(made)} with ansible-vault edit. Nothing was changed."
                )
            encrypted = self._loader._vault.encrypt(whole, secret=secret, vault_id=identity)
            _replace(path, encrypted)
        return {
            "changed": bool(made),
            "path": str(path),
            "made": made,
            "kept": sorted(wanted & kept),
            "asked": sorted(wanted - kept - set(made)),
        }

    def _rotate(self) -> dict[str, Any]:
        """Give variables new values, having kept the old ones beside the vault."""
        directory = _directory(self._task.args.get("inventory") or [])
        places = _places(directory)
        path, kept = directory / VAULT, directory / RECORD
        if not path.exists():
            raise vault_values.VaultError(
                f"There is no {path}. Accepted: a vault that playbooks/init_secrets.yml made. "
                "Where the values come from elsewhere, change them there. Nothing was changed."
            )
        text, identity, secret = self._present(path)
        unfinished = vault_values.values_in(self._present(kept)[0]) if kept.exists() else {}
        plan = vault_values.plan_rotation(
            places,
            vault_values.values_in(text),
            self._task.args.get("services") or {},
            self._task.args.get("rotate") or [],
            unfinished,
        )
        if plan.renewed and not self._task.check_mode:
            whole = vault_values.replaced(text, plan.renewed)
            vault = self._loader._vault
            # The old values first: at no moment is either of the two nowhere.
            record = vault_values.record(plan.old)
            _replace(kept, vault.encrypt(record, secret=secret, vault_id=identity))
            _replace(path, vault.encrypt(whole, secret=secret, vault_id=identity))
        return {
            "changed": bool(plan.renewed),
            "path": str(path),
            "record": str(kept),
            "names": plan.names,
            "made": plan.renewed,
            "resumed": plan.resumed,
            "left_out": plan.left_out,
            "places": {name: sorted(places.get(name, ())) for name in plan.names},
        }

    def _settle(self) -> dict[str, Any]:
        """Forget the old values: the rotation is over."""
        kept = _directory(self._task.args.get("inventory") or []) / RECORD
        there = kept.exists()
        if there and not self._task.check_mode:
            kept.unlink()
            _flush(kept.parent)
        return {"changed": there, "record": str(kept)}

    def _present(self, path: Path) -> tuple[str, str | None, Any]:
        """Return the vault in clear, and the identity and secret to encrypt it with."""
        secrets = self._loader._vault.secrets
        found = (
            match_encrypt_secret(secrets, constants.DEFAULT_VAULT_ENCRYPT_IDENTITY)
            if secrets
            else None
        )
        if not found:
            raise vault_values.VaultError(
                "There is no vault password to encrypt with. Accepted: --vault-password-file FILE, "
                "--vault-id NAME@FILE, --ask-vault-pass, or ANSIBLE_VAULT_PASSWORD_FILE in the "
                "environment. Nothing was written (docs/secrets.md)."
            )
        beside = path.parent.with_suffix(".yml")
        if beside.exists() or beside.with_suffix(".yaml").exists():
            raise vault_values.VaultError(
                f"{beside} is a file, and Ansible would no longer read it beside a directory "
                f"{path.parent}. Accepted: a directory. Move it to {path.parent / 'main.yml'}."
            )
        if not path.exists():
            return "", found[0], found[1]
        content = path.read_bytes()
        if not is_encrypted(content):
            raise vault_values.VaultError(
                f"{path} is there and not encrypted. Accepted: no file, or one that ansible-vault "
                f"made. Run `ansible-vault encrypt {path}` first. Nothing was changed."
            )
        plain, identity, secret = self._loader._vault.decrypt_and_get_vault_id(content)
        return plain.decode("utf-8"), identity, secret


def _places(directory: Path) -> dict[str, set[str]]:
    """Return the variables that the inventory asks of its vault, and where it uses each.

    Raises:
        VaultError: it asks for none.
    """
    places = vault_values.uses(_texts(directory))
    if not places:
        raise vault_values.VaultError(
            f"{directory} refers to no variable vault_…, so there is nothing to make. "
            "Accepted: an inventory such as inventories/production. Choose it with -i."
        )
    return places


def _directory(sources: Any) -> Path:
    """Return the directory of the one inventory. Raises VaultError for none or several."""
    sources = [sources] if isinstance(sources, str) else list(sources)
    if len(sources) != 1 or not Path(str(sources[0])).exists():
        raise vault_values.VaultError(
            f"The inventory is {', '.join(map(str, sources)) or 'not given'}. Accepted: one "
            "file or directory, as in -i inventories/production."
        )
    source = Path(str(sources[0]))
    return source if source.is_dir() else source.parent


def _texts(directory: Path) -> list[str]:
    """Return the content of the inventory's YAML files, its vaults excepted."""
    return [
        file.read_text(encoding="utf-8")
        for file in sorted(directory.rglob("*"))
        if file.suffix in (".yml", ".yaml", ".json")
        and file.is_file()
        and not is_vault_file(file.relative_to(directory).as_posix())
        and not is_encrypted(file.read_bytes())
    ]


def _replace(path: Path, content: bytes) -> None:
    """Write a file for its owner alone, whole or not at all."""
    # Where the vault is a link, the file that it leads to is the vault.
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes it 0600; not a name that Ansible would read as variables.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".vault-", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
        _flush(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _flush(directory: Path) -> None:
    """Have the disk know a file's new name before anything else happens."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
