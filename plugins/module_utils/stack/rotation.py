"""A rotation of the services' secrets: whence they come, and what became of each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import table


def declared_secrets(definitions: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the secrets of services that come from a variable, without their contents.

    Keys: variable, service, secret (its plain name), fixed (the reason for which its value must not
    be replaced by a rotation, or an empty text).
    """
    return [
        {
            "variable": str(variable),
            "service": str(definition["name"]),
            "secret": str(secret["name"]),
            "fixed": str(secret.get("fixed", "")),
        }
        for definition in definitions
        for secret in definition.get("secrets") or []
        for variable in (secret.get("variable"), *(secret.get("further_variables") or []))
        if variable
    ]


def fixed_variables(declared: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return each variable of `declared_secrets` with what keeps it, or an empty text.

    Args:
        declared: as `declared_secrets` returns them.
    """
    found: dict[str, str] = {}
    for secret in declared:
        found[secret["variable"]] = found.get(secret["variable"]) or secret["fixed"]
    return found


def plan_report(plan: Mapping[str, Any]) -> str:
    """Return the text that says what a rotation does and leaves, before it does anything.

    Args:
        plan: what the module vault_secrets returns for the state rotated.
    """
    lines = [f"Vault: {plan['path']}", ""]
    resumed = set(plan["resumed"])
    if resumed:
        lines += [
            f"An earlier rotation was not finished: {', '.join(sorted(resumed))}. It is "
            f"finished now; its old values lie in {plan['record']} until then.",
            "",
        ]
    rows = [
        (
            name,
            ", ".join(plan["places"].get(name, [])),
            "gets a new value" if name in plan["made"] else "keeps the new value that it has",
        )
        for name in plan["names"]
    ]
    lines += table(["in the vault", "used by", "what happens"], rows)
    if plan["left_out"]:
        lines += ["", "Left alone", ""]
        lines += [f"{name}: {why}" for name, why in plan["left_out"].items()]
    return "\n".join(lines)


def _variable(place: str, variables: Iterable[str]) -> str:
    """Return the variable of a service that a place belongs to, or an empty text."""
    return next((part for part in place.split(".") if part in set(variables)), "")


def rotation_rows(
    host: str,
    places: Mapping[str, Iterable[str]],
    declared: Iterable[Mapping[str, str]],
    logins: Iterable[Mapping[str, str]],
    updated: Iterable[str],
    removed: Iterable[str],
) -> list[dict[str, Any]]:
    """Return a row for each secret of a host that was rotated: what became of it.

    Args:
        host: its name in the inventory.
        places: name in the vault to where the inventory uses it.
        declared: as `declared_secrets` returns them, of this host.
        logins: what the module secret_logins returns.
        updated: services that were restarted in this run.
        removed: Swarm names of the versions that were removed in this run.

    Returns:
        Mappings with host, secret, restarted, old, new, removed and passed.
    """
    declared, logins = list(declared), list(logins)
    variables = {secret["variable"] for secret in declared}
    used = sorted(
        {_variable(place, variables) for each in places.values() for place in each} - {""}
    )
    rows = []
    for variable in used:
        mine = [secret for secret in declared if secret["variable"] == variable]
        restarted = sorted({secret["service"] for secret in mine} & set(updated))
        versions = sorted(
            name for name in removed if any(f"_{secret['secret']}_v" in name for secret in mine)
        )
        tried: list[Mapping[str, str]] = [
            login for login in logins if login["variable"] == variable
        ] or [{"user": "", "old": "not tried", "new": "not tried"}]
        for login in tried:
            rows.append(
                {
                    "host": host,
                    "secret": f"{variable}, user {login['user']}" if login["user"] else variable,
                    "restarted": ", ".join(restarted) or "none in this run",
                    "old": login["old"],
                    "new": login["new"],
                    "removed": ", ".join(versions) or "none in this run",
                    "passed": login["old"] != "ACCEPTED"
                    and login["new"] in ("accepted", "not tried"),
                }
            )
    return rows


def rotation_report(rows: Iterable[Mapping[str, Any]], last_line: str = "") -> str:
    """Return the closing table of a rotation.

    Args:
        rows: of all hosts, as `rotation_rows` returns them.
        last_line: a sentence below the table.
    """
    lines = table(
        ["host", "secret", "restarted", "old password", "new password", "versions removed"],
        [
            (row["host"], row["secret"], row["restarted"], row["old"], row["new"], row["removed"])
            for row in rows
        ],
    )
    return "\n".join(["Rotated secrets", "", *lines, "", last_line])
