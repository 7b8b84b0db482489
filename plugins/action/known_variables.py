"""Action plugin: find variables that no role and no playbook reads, before a playbook begins."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import spelling

ROLES = Path(__file__).resolve().parents[2] / "roles"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    _VALID_ARGS = frozenset[str]()
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Fail for slips of this run, and warn of those that stand in the inventory."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        if checkout := named_as_nothing(variables.get("ansible_inventory_sources") or ()):
            return {**result, "failed": True, "msg": checkout}
        typed = load_extra_vars(self._loader)
        refused, said = findings(variables, typed)
        # Whoever looks for a fault is not kept from it by the inventory, which site.yml refuses.
        now = [each for each in refused if each.split()[0] in typed]
        result["warnings"] = [each for each in (*refused, *said) if each not in now]
        if now:
            listed = "\n".join(f"- {each}" for each in now)
            result.update(failed=True, msg=f"{listed}\nNothing was done.")
        return {**result, "changed": False}


def named_as_nothing(sources: Iterable[str]) -> str:
    """Return why the inventory of a run is none; empty where it is one.

    Args:
        sources: what ``-i`` or ``ANSIBLE_INVENTORY`` names. Where that is empty, Ansible takes the
            working directory, and finds all sample inventories in a checkout.
    """
    for source in sources:
        if "," not in source and Path(source).resolve() in ROLES.resolve().parents:
            return (
                f"The inventory is {source}, where the collection itself lies. Accepted: -i or "
                "ANSIBLE_INVENTORY with the inventory of one site, such as inventories/production; "
                "an empty one means the working directory to Ansible. Nothing was done."
            )
    return ""


@cache
def known_variables() -> frozenset[str]:
    """Return the variables that the roles of this collection and its playbooks read."""
    names = set(spelling.PLAYBOOK_VARIABLES)
    for role in role_names():
        names.add(f"{role}_service")
        file = ROLES / role / "meta/argument_specs.yml"
        if file.is_file():
            specifications = yaml.load(file.read_text(), Loader=LOADER)["argument_specs"]
            for entry in specifications.values():
                names.update(entry.get("options") or {})
    return frozenset(names)


def role_names() -> list[str]:
    """Return the names of the roles of this collection."""
    return sorted(path.name for path in ROLES.iterdir() if path.is_dir())


def findings(variables: dict[str, Any], typed: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return what is refused of the names of a host's variables, and what is only said.

    Args:
        variables: of the host, as a task gets them.
        typed: those that were given with -e.
    """
    known = known_variables()
    suspects = spelling.candidates(variables, known)
    found = spelling.variable_findings(suspects, known, role_names(), typed)
    here = _words(variables)
    missing = [word for word in here if word.startswith("vault_") and word not in variables]
    if not (any(found) or missing):
        return found
    # What another variable takes, of this host or another, is no slip. All are put together for
    # that, which is done only where it matters.
    hostvars: Any = variables.get("hostvars") or {}
    words = here.union(
        *(
            _words(hostvars.raw_get(host))
            for host in (hostvars if hasattr(hostvars, "raw_get") else ())
        )
    )
    suspects = [name for name in suspects if name not in words]
    refused, said = spelling.variable_findings(suspects, known, role_names(), typed)
    return [*refused, *spelling.secret_findings(variables, missing, words)], said


def _words(variables: Any) -> set[str]:
    """Return the words of the templates in a host's own variables."""
    skipped = ("hostvars", "vars", "groups", "ansible_facts")
    return {
        word
        for name, value in dict(variables).items()
        if name not in skipped
        for word in spelling.words_of(value)
    }
