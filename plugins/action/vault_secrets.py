"""Action plugin: complete the vault of an inventory, or replace values in it, on the controller."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible import constants
from ansible.errors import AnsibleError
from ansible.parsing.vault import is_encrypted, match_encrypt_secret
from ansible.plugins.action import ActionBase
from ansible_collections.auscat.imaging.plugins.module_utils.host import files
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import (
    certificate_store,
    certificates,
    vault_values,
)
from ansible_collections.auscat.imaging.plugins.module_utils.inventory.guardrails import (
    is_vault_file,
)

VAULT = Path("group_vars/all/vault.yml")
#: The old values while a rotation is under way. Ansible reads no variables from a hidden file.
RECORD = Path("group_vars/all/.vault-rotation.yml")


ROLE = Path(__file__).resolve().parents[2] / "roles/auscat/defaults/main.yml"
#: What a renewal does: new certificates of the machines; a new CA and these; or the CA before the
#: last one is trusted no longer.
RENEWALS = ("machines", "ca", "forget_ca")


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    _VALID_ARGS = frozenset({"inventory", "state", "rotate", "services", "renew"})
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what was done to which variables, by name."""
        result = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        states = {
            "present": self._complete,
            "rotated": self._rotate,
            "settled": self._settle,
            "renewed": self._renew,
        }
        state = self._task.args.get("state", "present")
        try:
            if state not in states:
                raise AnsibleError(f"state is {state!r}. Accepted: {', '.join(states)}.")
            return {**result, **states[state]()}
        except (
            vault_values.VaultError,
            certificates.CertificateError,
            AnsibleError,
            OSError,
        ) as error:
            return {**result, "failed": True, "msg": str(error)}

    def _complete(self) -> dict[str, Any]:
        directory = directory_of(self._task.args.get("inventory") or [])
        wanted = set(_places(directory))
        path = directory / VAULT
        text, identity, secret = self._present(path)
        kept = vault_values.names_in(text)
        made = sorted(name for name in wanted - kept if vault_values.INVENTED.search(name))
        there = vault_values.values_in(text)
        signed, made_signed, kept_signed = self._missing_certificates(there)
        if (made or signed) and not self._task.check_mode:
            whole = vault_values.with_values(vault_values.completed(text, made), signed)
            if vault_values.names_in(whole) != kept | set(made) | set(signed):
                raise vault_values.VaultError(
                    f"{path} cannot be added to: it is no plain list of `name: value` lines. Add "
                    f"{', '.join(made)} with ansible-vault edit. Nothing was changed."
                )
            encrypted = self._loader._vault.encrypt(whole, secret=secret, vault_id=identity)
            replace_file(path, encrypted)
        return {
            "changed": bool(made or signed),
            "path": str(path),
            "made": made + made_signed,
            "kept": sorted(wanted & kept) + kept_signed,
            "asked": sorted(wanted - kept - set(made) - set(signed)),
        }

    def _missing_certificates(
        self, there: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[str], list[str]]:
        """Return what a vault lacks of the own CA's: new values, names made and names kept."""
        machines = {host: names for host, (names, place) in self._machines().items() if not place}
        if not machines:
            return {}, [], []
        authority = there.get(vault_values.AUTHORITY)
        # What another CA has signed is of no use any more.
        pairs = dict(there.get(vault_values.MACHINES) or {}) if authority else {}
        lacking = [host for host in machines if host not in pairs]
        shown = {host: f"{vault_values.MACHINES}[{host}]" for host in machines}
        made = [] if authority else [vault_values.AUTHORITY]
        kept = [vault_values.AUTHORITY] if authority else []
        made += [shown[host] for host in lacking]
        kept += [shown[host] for host in machines if host not in lacking]
        if not made:
            return {}, [], kept
        signer = authority or certificates.make_authority()
        pairs.update({host: certificates.issue(signer, machines[host]) for host in lacking})
        new = {vault_values.MACHINES: pairs}
        return (new if authority else {vault_values.AUTHORITY: signer, **new}), made, kept

    def _machines(self) -> dict[str, tuple[list[str], str]]:
        """Return the machines that take certificates of the own CA.

        Returns:
            Each machine of the node to the names of its certificate, and to the directory that
            keeps it, where the inventory names one in the place of the vault.
        """
        hostvars, groups = self._variables["hostvars"], self._variables["groups"]
        defaults = yaml.safe_load(ROLE.read_text(encoding="utf-8"))
        found: dict[str, tuple[list[str], str]] = {}
        hosts = sorted({host for host in groups.get("all", []) if host != "localhost"})
        for host in hosts:
            services = hostvars[host].get("auscat_services", defaults["auscat_services"])
            if not any(host in groups.get(group, []) for group in dict(services).values()):
                continue
            if hostvars[host].get("auscat_tls", defaults["auscat_tls"]) == "own_ca":
                directory = str(hostvars[host].get("auscat_tls_directory") or "")
                found[host] = certificates.machine_names(host, hostvars), directory
        return found

    def _renew(self) -> dict[str, Any]:
        """Make new certificates of the machines, and a new CA where that is asked for."""
        what = str(self._task.args.get("renew") or RENEWALS[0])
        if what not in RENEWALS:
            raise vault_values.VaultError(
                f"renew is {what!r}. Accepted: {', '.join(RENEWALS)}. Nothing was changed."
            )
        machines = self._machines()
        if not machines:
            raise vault_values.VaultError(
                "auscat_tls of no machine is own_ca. Accepted here: certificates of the node's own "
                "CA; those of the hospital are replaced in the inventory. Nothing was changed."
            )
        sources = self._task.args.get("inventory") or []
        done = [f"certificate of {host}" for host in machines if what != "forget_ca"]
        result = {"made": (["CA"] if what == "ca" else []) + done, "changed": True, "path": ""}
        path = directory_of(sources) / VAULT
        text = ""
        if path.exists():
            text, identity, secret = self._present(path)
        values = vault_values.values_in(text)
        authority = values.get(vault_values.AUTHORITY)
        if authority:
            renewed = _renewed(authority, what)
            pairs = dict(values.get(vault_values.MACHINES) or {})
            if what != "forget_ca":
                for host, (names, _) in machines.items():
                    pairs[host] = certificates.issue(renewed, names)
            new = {vault_values.AUTHORITY: renewed, vault_values.MACHINES: pairs}
            whole = vault_values.with_values(text, new)
            if not self._task.check_mode:
                encrypted = self._loader._vault.encrypt(whole, secret=secret, vault_id=identity)
                replace_file(path, encrypted)
            return {**result, "path": str(path)}
        for place, named in self._places_of(machines, sources).items():
            if self._task.check_mode:
                continue
            renewed = _renewed(certificate_store.authority_of(place), what)
            certificate_store.renew(place, {} if what == "forget_ca" else named, renewed)
        return result

    def _places_of(
        self, machines: Mapping[str, tuple[list[str], str]], sources: Any
    ) -> dict[Path, dict[str, list[str]]]:
        """Return the directories that keep certificates, with the machines and names of each."""
        places: dict[Path, dict[str, list[str]]] = {}
        for host, (names, directory) in machines.items():
            environment = self._variables["hostvars"][host].get("auscat_environment")
            if not directory and environment != "simulation":
                raise vault_values.VaultError(
                    f"The vault of the inventory holds no {vault_values.AUTHORITY}. Run "
                    "playbooks/init_secrets.yml, which makes it. Nothing was changed."
                )
            default = certificate_store.default_directory(
                self._variables["hostvars"][host].get("inventory_dir"), sources, os.environ
            )
            place = Path(directory).expanduser() if directory else default
            places.setdefault(place, {})[host] = names
        return places

    def _rotate(self) -> dict[str, Any]:
        """Give variables new values, having kept the old ones beside the vault."""
        directory = directory_of(self._task.args.get("inventory") or [])
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
            replace_file(kept, vault.encrypt(record, secret=secret, vault_id=identity))
            replace_file(path, vault.encrypt(whole, secret=secret, vault_id=identity))
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
        kept = directory_of(self._task.args.get("inventory") or []) / RECORD
        there = kept.exists()
        if there and not self._task.check_mode:
            kept.unlink()
            _flush(kept.parent)
        return {"changed": there, "record": str(kept)}

    def _present(self, path: Path) -> tuple[str, str | None, Any]:
        return opened(self._loader._vault, path)


def opened(vault: Any, path: Path) -> tuple[str, str | None, Any]:
    """Return a vault in clear, and the identity and secret to encrypt it with.

    Args:
        vault: Ansible's VaultLib, with the secrets that the run was given.
        path: the file; one that is not there is empty.

    Raises:
        VaultError: there is no password, or the file is none that ansible-vault made.
    """
    secrets = vault.secrets
    found = (
        match_encrypt_secret(secrets, constants.DEFAULT_VAULT_ENCRYPT_IDENTITY) if secrets else None
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
    plain, identity, secret = vault.decrypt_and_get_vault_id(content)
    return plain.decode("utf-8"), identity, secret


def _renewed(authority: Mapping[str, str], what: str) -> dict[str, str]:
    """Return a CA as a renewal leaves it (RENEWALS).

    Raises:
        VaultError: a new CA is asked for while machines and clients may have only the one before.
    """
    if what == "ca" and authority.get("previous"):
        raise vault_values.VaultError(
            "renew is ca, and there is a new CA already, beside the one before it. Clients that "
            "have not followed yet trust that one alone; a third would shut them out. Accepted: "
            "renew=machines, which brings it to the machines, and then, once all clients trust "
            "it, renew=forget_ca. Nothing was changed."
        )
    if what == "ca":
        return certificates.renew_authority(authority)
    forgotten = ("previous", "cross") if what == "forget_ca" else ()
    return {name: str(value) for name, value in authority.items() if name not in forgotten}


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


def directory_of(sources: Any) -> Path:
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


def replace_file(path: Path, content: bytes) -> None:
    """Write a file for its owner alone, whole or not at all."""
    # Where the vault is a link, the file that it leads to is the vault.
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under a name with a dot at first, which Ansible does not read as variables.
    files.write({path: (content.decode(), 0o600)})
    _flush(path.parent)


def _flush(directory: Path) -> None:
    """Have the disk know a file's new name before anything else happens."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
