"""What differs between two stack files, and the way from one to the other, service after service.

A stack file is the mapping that `definitions.stack_document` returns. Everything here is pure.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Document = dict[str, Any]

#: What a service takes from the stack, by the name of it in its own entry and in the document.
_REFERRED = ("secrets", "configs")


def resolved(document: Mapping[str, Any]) -> Document:
    """Return the stack file with secrets and configs referred to by their Swarm names.

    So two versions of one secret can stand in one document. Swarm's own definition of a service
    holds these names anyway, and is the same.
    """
    result: Document = copy.deepcopy(dict(document))
    for kind in _REFERRED:
        entries = result.pop(kind, None) or {}
        names = {key: entry.get("name", key) for key, entry in entries.items()}
        for service in result["services"].values():
            for reference in service.get(kind, []):
                reference["source"] = names.get(reference["source"], reference["source"])
        if entries:
            result[kind] = {
                names[key]: {**entry, "name": names[key]} for key, entry in entries.items()
            }
    return result


def changed_services(
    before: Mapping[str, Any], after: Mapping[str, Any], order: Sequence[str] = ()
) -> list[str]:
    """Return the services of `after` that are new or differ from `before`.

    Args:
        before: a stack file.
        after: a stack file.
        order: services that come first, in this order; all others follow by name.
    """
    old, new = resolved(before)["services"], resolved(after)["services"]
    found = [name for name in new if new[name] != old.get(name)]
    place = {name: number for number, name in enumerate(order)}
    return sorted(found, key=lambda name: (place.get(name, len(place)), name))


def steps(
    before: Mapping[str, Any], after: Mapping[str, Any], changed: Sequence[str]
) -> list[tuple[list[str], Document]]:
    """Return the stack files through which a stack goes from `before` to `after`.

    Each changes one of the services `changed`, in their order, and is given with its name. Services
    that `after` no longer has are in all of them. Where a service takes a port that another one
    still publishes then, all change in one step.
    """
    old, new = resolved(before), resolved(after)
    services = dict(old["services"])
    result = []
    for name in changed:
        services = {**services, name: new["services"][name]}
        published = [
            (port["published"], port["protocol"])
            for service in services.values()
            for port in service.get("ports", [])
        ]
        if len(published) != len(set(published)):
            return [(list(changed), new)]
        step = {**new, "services": services}
        step["networks"] = {**old.get("networks", {}), **new.get("networks", {})}
        for kind in _REFERRED:
            used = {
                reference["source"]
                for service in services.values()
                for reference in service.get(kind, [])
            }
            entries = {**old.get(kind, {}), **new.get(kind, {})}
            step.pop(kind, None)
            if used:
                step[kind] = {key: entries[key] for key in sorted(used)}
        result.append(([name], step))
    return result


def going_back(
    before: Mapping[str, Any], after: Mapping[str, Any], kept: Iterable[str] = ()
) -> Document:
    """Return the stack file with which `before` runs again.

    Args:
        before: the stack file to go back to.
        after: the one that did not work.
        kept: secrets that keep the version of `after`, since what they open knows no other by now:
            a password that the running database was given.
    """
    result: Document = copy.deepcopy(dict(before))
    for name in kept:
        if name in result.get("secrets", {}) and name in after.get("secrets", {}):
            result["secrets"][name] = copy.deepcopy(after["secrets"][name])
    return result


def differences(before: Mapping[str, Any], after: Mapping[str, Any], service: str) -> list[str]:
    """Return in words which settings of a service differ: names, and never a secret's value.

    The image is left out. A service that only one of the two has is one difference.
    """
    old = resolved(before)["services"].get(service)
    new = resolved(after)["services"].get(service)
    if old is None or new is None:
        return [] if old is new else ["new service" if old is None else "is removed"]
    found = []
    for key in sorted(old.keys() | new.keys()):
        mine, other = old.get(key), new.get(key)
        if key == "image" or mine == other:
            continue
        if key == "environment":
            mine, other = mine or {}, other or {}
            found += [
                f"environment {name}"
                for name in sorted(mine.keys() | other.keys())
                if mine.get(name) != other.get(name)
            ]
        elif key in _REFERRED:
            found += _referred(key[:-1], mine or [], other or [])
        elif key == "ports":
            found.append(f"ports {_ports(mine)} -> {_ports(other)}")
        elif key == "volumes":
            found += [
                f"mount {target}"
                for target in _by_target(mine, other)
                if _entry(mine, target) != _entry(other, target)
            ]
        elif key == "deploy":
            found += _nested("", mine or {}, other or {})
        elif isinstance(mine, (str, int, float)) and isinstance(other, (str, int, float)):
            found.append(f"{key} {mine} -> {other}")
        else:
            found.append(key)
    return found


def _nested(path: str, mine: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    found = []
    for key in sorted(mine.keys() | other.keys()):
        old, new = mine.get(key), other.get(key)
        if old == new:
            continue
        if isinstance(old or {}, Mapping) and isinstance(new or {}, Mapping):
            found += _nested(f"{path}{key}.", old or {}, new or {})
        else:
            found.append(f"{path}{key} {old} -> {new}")
    return found


def _referred(kind: str, mine: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[str]:
    return [
        f"{kind} {target.rpartition('/')[2]}"
        for target in _by_target(mine, other)
        if _entry(mine, target) != _entry(other, target)
    ]


def _by_target(*lists: list[dict[str, Any]] | None) -> list[str]:
    return sorted({entry["target"] for each in lists for entry in each or []})


def _entry(entries: list[dict[str, Any]] | None, target: str) -> dict[str, Any] | None:
    return next((entry for entry in entries or [] if entry["target"] == target), None)


def _ports(ports: list[dict[str, Any]] | None) -> str:
    return ", ".join(f"{port['published']}/{port['protocol']}" for port in ports or []) or "none"
