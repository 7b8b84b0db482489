"""What of a machine is taken over, by what was seen of it and what is declared. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.adopt.describe import service_of


def freed_ports(look: Mapping[str, Any]) -> list[str]:
    """Return the ports that the replaced services publish, such as ``8042/tcp``.

    Args:
        look: what was seen of the machine (module C(adopt_look)).
    """
    return sorted(
        f"{port['published']}/{port['protocol']}"
        for part in look["parts"]
        for port in service_of(look, part)["ports"]
    )


def parts(look: Mapping[str, Any], keydb_user: str = "") -> dict[str, dict[str, str]]:
    """Return the services that are replaced, as the module C(adopt_take_over) takes them.

    Args:
        look: what was seen of the machine (module C(adopt_look)).
        keydb_user: the superuser of KeyDB, by the inventory.
    """
    found: dict[str, dict[str, str]] = {}
    for part in look["parts"]:
        service = service_of(look, part)
        found[part] = {"name": service["name"], "stack": service["stack"]}
        if part == "orthanc":
            data = look["data"].get(part) or {}
            found[part]["data"] = next((str(each["path"]) for each in data.values()), "")
        if part == "keydb":
            found[part]["user"] = keydb_user or str(look["keydb"].get("user") or "")
    return found


def moves(
    look: Mapping[str, Any], definitions: Iterable[Mapping[str, Any]], data_root: str
) -> list[dict[str, str]]:
    """Return where data lie, and which directory of the inventory they get.

    Args:
        look: what was seen of the machine (module C(adopt_look)).
        definitions: the services of this machine (C(__auscat_definitions)).
        data_root: C(auscat_data_root).
    """
    found = []
    for definition in definitions:
        part = str(definition["name"])
        data = look["data"].get(part) or {}
        for directory in definition.get("directories") or []:
            place = posixpath.join(data_root, str(directory["path"]))
            each = data.get(str(directory["target"]))
            if each and each.get("exists") and posixpath.normpath(each["path"]) != place:
                if each.get("database"):
                    # Where ours has it (PGDATA of roles/keydb).
                    place = posixpath.join(place, "pgdata")
                found.append({"source": str(each["path"]), "destination": place})
    return found
