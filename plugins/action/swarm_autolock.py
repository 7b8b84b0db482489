"""Action plugin: Swarm's autolock on a machine, with its key in the inventory's vault."""

from __future__ import annotations

import secrets
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.auscat.imaging.plugins.action.vault_secrets import (
    VAULT,
    directory_of,
    opened,
    replace_file,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.swarm_lock import SEAL_BYTES
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import vault_values

KEYS, SEALS = vault_values.UNLOCK_KEYS, vault_values.UNLOCK_SEALS


class ModuleFailedError(AnsibleError):
    """What the module says on the machine."""


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    _VALID_ARGS = frozenset({"inventory", "state", "directory"})
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what was done, in words; never a key."""
        result = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        self._host = str(self._variables["inventory_hostname"])
        state = self._task.args.get("state", "present")
        try:
            if state not in ("present", "absent", "rotated"):
                raise AnsibleError(f"state is {state!r}. Accepted: present, absent, rotated.")
            self._vault = _Vault(self, self._host, state)
            done = self._become(state)
        except (vault_values.VaultError, ModuleFailedError, OSError) as error:
            return {**result, "failed": True, "msg": str(error)}
        return {**result, "changed": bool(done), "done": done}

    def _become(self, state: str) -> list[str]:
        """Bring machine and vault to a state, and say what that took."""
        check, vault = self._task.check_mode, self._vault
        key, seal = vault.key, vault.seal
        seen = self._on_the_machine(keys=[key] if key else [], seal=seal)
        if seen["swarm"] == "locked":
            raise ModuleFailedError(self._locked(check, state))
        done = ["The Swarm was locked, and is unlocked with the key."] if seen["unlocked"] else []
        if not seen["manager"]:
            # Check mode on a machine without a Swarm, or another part of a playbook.
            return [*done, *(["Autolock would be on."] if check and state == "present" else [])]
        ours = state != "absent" or bool(key) or bool(seal)
        if seen["autolock"] and not seen["same"] and ours:
            done.append(f"The vault has the key that the Swarm has: {vault.name}.")
            if not check:
                vault.write(seen["key"], "")
                key = seen["key"]
                self._on_the_machine(step="forget")
        if state == "absent":
            return done + self._turned_off(seen["autolock"], bool(key) or bool(seal))
        if seen["autolock"] and state == "present":
            return done
        if state == "rotated" and not seen["autolock"]:
            raise ModuleFailedError(
                f"swarm_autolock is true, and autolock of the Swarm on {self._host} is off, so "
                "that there is no key to replace. Run site.yml, which turns it on. The Swarm was "
                "left as it was."
            )
        step = "rotate" if seen["autolock"] else "enable"
        if not check:
            # In this order: at no moment could the engine ask for a key that nobody has.
            new_seal = secrets.token_hex(SEAL_BYTES)
            vault.write(key, new_seal)
            chosen = self._on_the_machine(step=step, seal=new_seal)["key"]
            vault.write(chosen, "")
            self._on_the_machine(step="forget")
        if step == "rotate":
            return [*done, f"The Swarm has another key, and the vault has it: {vault.name}."]
        return [
            *done,
            f"Autolock is on, and the vault has the key: {vault.name}. Each start of the engine, "
            "as after a power cut, now needs site.yml or the key before any service runs.",
        ]

    def _turned_off(self, autolock: bool, ours: bool) -> list[str]:
        if not ours:
            return []
        if not self._task.check_mode:
            if autolock:
                self._on_the_machine(step="disable")
            # Not before: until then the engine could ask for it.
            self._vault.write("", "")
            self._on_the_machine(step="forget")
        return [f"Autolock is off, and {self._vault.name} is gone from the vault."]

    def _locked(self, check: bool, state: str) -> str:
        """Say why the Swarm is still locked, and what to do."""
        host, vault = self._host, self._vault
        start = (
            f"The Swarm on {host} is locked, so none of its services runs: its engine was started, "
            "and with autolock on it asks for a key then."
        )
        end = f" The Swarm on {host} was left as it was."
        if check and vault.key:
            return f"{start} Check mode unlocks nothing. Run site.yml without --check.{end}"
        what = f"{vault.name} in {vault.path} is {'another key' if vault.key else 'not there'}"
        keeps = ", which then keeps it" if state != "absent" else ""
        return (
            f"{start} {what}. Accepted: the key that this Swarm has. Look for it in older copies "
            f"of the vault, or where it was noted; give it to `docker swarm unlock` on {host}, "
            f"which asks for it, and run this again{keeps}. Where nobody has it: `docker swarm "
            f"leave --force` on {host}, then site.yml: Swarm, secrets and services are made anew, "
            f"and no data of auscat_data_root are lost (docs/secrets.md).{end}"
        )

    def _on_the_machine(self, **arguments: Any) -> dict[str, Any]:
        """Call the module, whose arguments and results hold the key, where nothing logs them.

        Raises:
            ModuleFailedError: it says that something is wrong.
        """
        given = {"directory": self._task.args.get("directory"), **arguments}
        # The module logs nothing for the task's sake, and a connection prints nothing for its own.
        quiet = (self._task, self._play_context, self._connection._play_context)
        before = [each.no_log for each in quiet]
        for each in quiet:
            each.no_log = True
        try:
            answer = self._execute_module(
                module_name="auscat.imaging.swarm_autolock",
                module_args=given,
                task_vars=self._variables,
            )
        finally:
            for each, said in zip(quiet, before):
                each.no_log = said
        if answer.get("failed"):
            raise ModuleFailedError(
                f"{answer.get('msg') or 'The module ended without a word.'} If autolock was being "
                "changed, run this again: it finishes that."
            )
        return dict(answer)


class _Vault:
    """What an inventory's vault says of one machine's Swarm.

    Raises:
        VaultError: there is none to write to, and one is needed.
    """

    def __init__(self, action: ActionModule, host: str, state: str) -> None:
        self._library = action._loader._vault
        self._host = host
        self.path = directory_of(action._task.args.get("inventory") or []) / VAULT
        self.name = f"{KEYS}[{host}]"
        # Who wants no autolock may have no vault, as a simulation.
        there = self.path.exists() or state != "absent"
        self._text: str
        self._identity: str | None
        self._secret: Any
        nothing = ("", None, None)
        self._text, self._identity, self._secret = (
            opened(self._library, self.path) if there else nothing
        )
        self.key = str(self._values(KEYS).get(host) or "")
        self.seal = str(self._values(SEALS).get(host) or "")

    def _values(self, name: str) -> dict[str, Any]:
        """Return what the vault has of one kind, by machine."""
        found = vault_values.values_in(self._text).get(name) or {}
        if not isinstance(found, dict):
            raise vault_values.VaultError(
                f"{name} in {self.path} is no mapping. Accepted: the names of machines with what "
                "this project wrote. Correct it with ansible-vault edit. Nothing was changed."
            )
        return found

    def write(self, key: str, seal: str) -> None:
        """Set the machine's key and seal; an empty text for none."""
        new = {}
        for name, value in ((KEYS, key), (SEALS, seal)):
            found = self._values(name)
            others = {host: each for host, each in found.items() if host != self._host}
            wished = {**others, **({self._host: value} if value else {})}
            if wished != found:
                new[name] = wished
        whole = vault_values.with_values(self._text, new)
        replace_file(
            self.path, self._library.encrypt(whole, secret=self._secret, vault_id=self._identity)
        )
        self._text = whole
