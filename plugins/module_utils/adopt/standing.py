"""The Swarm services of a node made by hand, as the engine describes them. Pure.

What is taken over of a service is what an inventory can say of it. Values of its environment stay
where they are: some are passwords.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

LABEL_STACK = "com.docker.stack.namespace"
#: What each service of this project carries (`inventory.definitions.stack_document`).
LABEL_OURS = "org.auscat.title"
#: What a node consists of, in the order in which it is told.
PARTS = ("orthanc", "ctp", "keydb")
#: Ports inside the containers, by which a service is known whatever it is called (AusCAT's pages).
PART_PORTS = {"orthanc": {4242, 8042}, "ctp": {8104, 9090}, "keydb": {5432}}
#: Where the data lie inside the containers.
PART_DATA = {
    "orthanc": ("/var/lib/orthanc/db",),
    "ctp": ("/ctp_temp", "/logs"),
    "keydb": ("/var/lib/postgresql/data", "/var/lib/postgresql"),
}
#: Images and names. Another PostgreSQL, such as AusCAT's catdb_schema, is not KeyDB.
PART_NAMES = {
    "orthanc": re.compile(r"orthanc"),
    "ctp": re.compile(r"(?<![a-z])ctp(?![a-z])"),
    "keydb": re.compile(r"key[_-]?db"),
}
#: A zone of the tz database, and nothing else.
ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}\Z")
VOLUMES = "/var/lib/docker/volumes"
#: Names of environment variables whose value is a password, unless they name a file.
SECRET_NAME = re.compile(r"pass|pwd|secret|token|api_?key|credential", re.IGNORECASE)


def described(
    services: Iterable[Mapping[str, Any]], volumes: str = VOLUMES
) -> list[dict[str, Any]]:
    """Return what an inventory can say of each service.

    Args:
        services: what ``docker service inspect`` tells of all of a machine.
        volumes: the engine's directory of named volumes.

    Returns:
        By name, without those of this project, each with
        name, stack (empty: of none) and plain (the name without it); image (without digest), digest
        (``sha256:…``, empty: none) and tag; replicas (None: one on each machine); ports
        (published, target, protocol and mode: ingress or host); mounts (kind: bind, volume, tmpfs;
        source, target, path on the host, read_only); secrets and configs (name and file in the
        container); environment (names), open_secrets (those of them whose value is a password that
        stands in the definition), asks (services of these that its other values name), timezone.
    """
    listed = sorted(
        (each for each in services if LABEL_OURS not in (each["Spec"].get("Labels") or {})),
        key=lambda each: str(each["Spec"]["Name"]),
    )
    names = {each for service in listed for each in _names(service)[::2]}
    return [_described(each, names, volumes) for each in listed]


def _names(service: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the full name of a service, its stack, and its name within that."""
    specification = service["Spec"]
    name = str(specification["Name"])
    stack = str((specification.get("Labels") or {}).get(LABEL_STACK) or "")
    return name, stack, name.removeprefix(f"{stack}_") if stack else name


def _described(service: Mapping[str, Any], names: Collection[str], volumes: str) -> dict[str, Any]:
    specification = service["Spec"]
    template = specification["TaskTemplate"]
    container = template["ContainerSpec"]
    name, stack, plain = _names(service)
    reference, _, digest = str(container["Image"]).partition("@")
    environment = [str(each).partition("=") for each in container.get("Env") or []]
    replicated = (specification.get("Mode") or {}).get("Replicated")
    zone = next((value for key, _, value in environment if key == "TZ"), "")
    return {
        "name": name,
        "stack": stack,
        "plain": plain,
        "image": reference,
        "digest": digest,
        "tag": _tag(reference),
        "replicas": replicated.get("Replicas", 1) if replicated is not None else None,
        "ports": _ports(service),
        "mounts": [_mount(each, volumes) for each in container.get("Mounts") or []],
        "secrets": _files(container.get("Secrets"), "SecretName"),
        "configs": _files(container.get("Configs"), "ConfigName"),
        "environment": sorted(key for key, _, _ in environment),
        "open_secrets": sorted(
            key
            for key, _, value in environment
            if value and SECRET_NAME.search(key) and not _is_file(key, value)
        ),
        "timezone": zone if ZONE.match(zone) else "",
        # Of a value nothing is returned that is not the name of a service.
        "asks": sorted(
            {
                word
                for key, _, value in environment
                if not SECRET_NAME.search(key)
                for word in _hosts(value)
                if word in names
            }
        ),
    }


def _tag(reference: str) -> str:
    last = reference.rpartition("/")[2]
    return last.partition(":")[2]


def _is_file(key: str, value: str) -> bool:
    return key.upper().endswith("_FILE") or value.startswith("/run/secrets/")


def _hosts(value: str) -> list[str]:
    """Return what could be the name of a host in a value: ``keydb_server:5432``, a URL."""
    return re.findall(r"(?:^|//|@|,)([a-z][a-z0-9_.-]{1,62})(?=$|[:/,])", value)


def _ports(service: Mapping[str, Any]) -> list[dict[str, Any]]:
    endpoint = service.get("Endpoint") or {}
    declared = (service["Spec"].get("EndpointSpec") or {}).get("Ports") or []
    found = [
        {
            "published": int(port["PublishedPort"]),
            "target": int(port["TargetPort"]),
            "protocol": str(port.get("Protocol") or "tcp"),
            "mode": str(port.get("PublishMode") or "ingress"),
        }
        for port in endpoint.get("Ports") or declared
        if port.get("PublishedPort")
    ]
    return sorted(found, key=lambda port: (port["published"], port["protocol"]))


def _mount(mount: Mapping[str, Any], volumes: str) -> dict[str, Any]:
    kind, source = str(mount.get("Type") or "bind"), str(mount.get("Source") or "")
    path = source
    if kind != "bind":
        # A volume of another driver lies elsewhere, which the engine says of the volume itself.
        path = posixpath.join(volumes, source, "_data") if kind == "volume" and source else ""
    return {
        "kind": kind,
        "source": source,
        "target": posixpath.normpath(str(mount["Target"])),
        "path": path,
        "read_only": bool(mount.get("ReadOnly")),
    }


def _files(entries: Any, key: str) -> list[dict[str, str]]:
    return sorted(
        (
            {"name": str(each[key]), "file": str((each.get("File") or {}).get("Name") or each[key])}
            for each in entries or []
        ),
        key=lambda each: each["name"],
    )


def parts(
    services: Iterable[Mapping[str, Any]], told: Mapping[str, str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """Return which service is Orthanc, CTP and KeyDB, by its full name, and what is not clear.

    Args:
        services: as `described` returns them.
        told: what the operator says (``adopt_services``): part to full name of the service.
    """
    listed = {str(each["name"]): each for each in services}
    found: dict[str, str] = {}
    problems: list[str] = []
    for part, name in (told or {}).items():
        if part not in PARTS:
            problems.append(f"adopt_services has the key {part!r}. Accepted: {', '.join(PARTS)}.")
        elif name and name not in listed:
            problems.append(
                f"adopt_services.{part} is {name!r}, and no Swarm service here is called so. "
                f"Accepted: {', '.join(sorted(listed)) or 'nothing, since there is none'}; an "
                "empty text for none."
            )
        elif name:
            found[part] = name
    for part in PARTS:
        if part in (told or {}):
            continue
        scores = {
            name: _likeness(part, each)
            for name, each in listed.items()
            if name not in found.values()
        }
        best = max(scores.values(), default=0)
        candidates = sorted(name for name, score in scores.items() if score == best)
        if best >= 2 and len(candidates) == 1:
            found[part] = candidates[0]
        elif best >= 2:
            problems.append(
                f"{' and '.join(candidates)} could each be {_TITLES[part]}. Say which: "
                f'-e \'{{"adopt_services": {{"{part}": "{candidates[0]}"}}}}\'.'
            )
    return {part: found[part] for part in PARTS if part in found}, problems


_TITLES = {"orthanc": "Orthanc", "ctp": "CTP", "keydb": "KeyDB"}


def _likeness(part: str, service: Mapping[str, Any]) -> int:
    """Return how much speaks for a service being a part: name or image, data, ports; 0 to 4.

    The name counts twice: data and port of KeyDB are those of each PostgreSQL.
    """
    names = PART_NAMES[part]
    image = re.split(r"[:@]", str(service["image"]).rpartition("/")[2])[0]
    named = bool(names.search(str(service["plain"])) or names.search(image))
    has_data = any(each["target"] in PART_DATA[part] for each in service["mounts"])
    has_port = any(each["target"] in PART_PORTS[part] for each in service["ports"])
    if part == "keydb" and not named:
        # Any other database is somebody else's.
        return 0
    if not (has_data or has_port):
        return 0
    return 2 * named + has_data + has_port


def data_of(part: str, service: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a part keeps on the host: where it is in the container, to its mount."""
    return {
        each["target"]: dict(each)
        for each in service["mounts"]
        if each["target"] in PART_DATA[part] and each["path"]
    }


def dependent(
    services: Iterable[Mapping[str, Any]], found: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return the other services that ask a part by its name, each with the parts that it asks."""
    listed = list(services)
    names = {
        alias: part
        for part, full in found.items()
        for each in listed
        if each["name"] == full
        for alias in (each["name"], each["plain"])
    }
    return {
        str(each["name"]): sorted({names[word] for word in each["asks"] if word in names})
        for each in listed
        if each["name"] not in found.values() and any(word in names for word in each["asks"])
    }


def reference(service: Mapping[str, Any]) -> str:
    """Return a service's image by its digest, or by its tag where no digest is known."""
    if not service["digest"]:
        return str(service["image"])
    name, tag = str(service["image"]), str(service["tag"])
    return f"{name.removesuffix(f':{tag}') if tag else name}@{service['digest']}"
