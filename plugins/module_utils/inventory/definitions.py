"""Turn service definitions into what the platform applies: ports, directories, secrets, stack file.

A definition is the mapping ``<service>_service`` that a service's role declares; its keys are
described in docs/adding-a-service.md. Everything here is pure: no I/O, no Ansible.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.firewall import port_rules
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import confinement
from ansible_collections.auscat.imaging.plugins.module_utils.inventory.spelling import nearest

Definition = Mapping[str, Any]

REQUIRED_KEYS = frozenset({"name", "title", "image"})
KNOWN_KEYS = REQUIRED_KEYS | {
    "after",
    "aliases",
    "backup",
    "command",
    "companions",
    "configs",
    "confinement",
    "data_copy",
    "directories",
    "entrypoint",
    "environment",
    "healthcheck",
    "logins",
    "memory_mib",
    "mounts",
    "outside",
    "ports",
    "reached_by",
    "reaches",
    "secrets",
    "stop_grace_period",
    "user",
}
#: Keys of what a definition lists or holds, to find slips of them.
PART_KEYS = {
    "backup": "database form kind path user",
    "configs": "content mode name target",
    "data_copy": "carry_over linked path",
    "directories": "free_gib group mode owner path read_only target",
    "healthcheck": "interval retries start_period test timeout",
    "mounts": "source target",
    "ports": "name protocol protocol_variable published purpose scheme service source_names "
    "source_problems sources sources_variable target title variable",
    "secrets": "content fixed further_variables group in_force mode name owner target variable",
}
#: Most that a Swarm config holds, which the engine of Debian 12 limits as it does secrets.
CONFIG_BYTES = 500 * 1024
SERVICE_NAME = re.compile(r"[a-z](?:[a-z0-9_-]{0,39}[a-z0-9])?\Z")


class DefinitionError(ValueError):
    """A service definition cannot be applied; the text names the service and the remedy."""


def changed(definition: Definition, **values: Any) -> dict[str, Any]:
    """Return a copy of a definition with these values, and evaluate nothing else of it.

    A mapping of Ansible's variables renders a value when somebody asks for it, and so does its
    copy; ``{**definition}`` asks for all of them, CTP's files among them.
    """
    copied: dict[str, Any] = definition.copy()  # type: ignore[attr-defined]
    copied.update(values)
    return copied


def with_companions(definitions: Iterable[Definition]) -> list[Definition]:
    """Return the definitions, each followed by those of the containers that it needs beside it.

    A companion of several services, known by its name, stands behind the first of them.
    """
    flat: list[Definition] = []
    for definition in _all(definitions):
        alone = changed(definition)
        alone.pop("companions", None)
        flat.append(alone)
    return flat


def without_repeated_ports(
    definitions: Iterable[Definition], incomplete: Collection[str]
) -> list[Definition]:
    """Return the definitions, where an incomplete one has no port that another publishes for it.

    The web server is a companion of each service with a page, and publishes the pages of all.

    Args:
        definitions: with their companions, those that cannot be put together without.
        incomplete: names of the latter.
    """
    listed = list(definitions)
    told = {
        str(port.get("variable"))
        for each in listed
        if each["name"] not in incomplete
        for port in each.get("ports") or []
    }
    return [
        changed(each, ports=[p for p in each.get("ports") or [] if p.get("variable") not in told])
        if each["name"] in incomplete
        else each
        for each in listed
    ]


def published_ports(definitions: Iterable[Definition]) -> list[dict[str, Any]]:
    """Return every published port with its service, in the order of the port numbers.

    Keys: service, title, name, published and target (TCP/UDP port numbers), protocol (tcp or udp),
    sources (networks and addresses that may connect beside the host itself), purpose, scheme.
    """
    ports = []
    for definition in definitions:
        for port in definition.get("ports", []):
            ports.append(
                {
                    "service": definition["name"],
                    "title": definition["title"],
                    **port,
                    "published": int(port["published"]),
                    "target": int(port["target"]),
                    "protocol": port.get("protocol", "tcp"),
                    "sources": port.get("sources", []),
                    "purpose": port.get("purpose", ""),
                    "scheme": port.get("scheme", ""),
                }
            )
    return sorted(ports, key=lambda port: (port["published"], port["protocol"]))


def port_declarations(definitions: Iterable[Definition]) -> list[dict[str, Any]]:
    """Return the definitions and their companions with nothing but names, titles and ports.

    Nothing else of a definition is evaluated, so that it may hold passwords that nobody has yet.
    """
    return [
        {key: each[key] for key in ("name", "title", "ports") if key in each}
        for each in _all(definitions)
    ]


def declared_images(definitions: Iterable[Definition]) -> list[str]:
    """Return the images of the definitions and their companions, and evaluate nothing else."""
    return [each["image"] for each in _all(definitions)]


def _all(definitions: Iterable[Definition]) -> Iterator[Definition]:
    shared = set()
    for definition in definitions:
        yield definition
        for companion in definition.get("companions") or []:
            if companion["name"] not in shared:
                shared.add(companion["name"])
                yield companion


def host_directories(definitions: Iterable[Definition], data_root: str) -> list[dict[str, Any]]:
    """Return the directories below `data_root`, parents first, owned as their child.

    Keys: path (absolute), owner and group (numeric), mode (octal as text), service,
    free_gib (GiB that must be free on its file system before the first deployment).
    """
    directories = []
    for definition in definitions:
        for directory in definition.get("directories", []):
            directories.append(
                {
                    "path": posixpath.join(data_root, directory["path"]),
                    "owner": int(directory["owner"]),
                    "group": int(directory["group"]),
                    "mode": str(directory["mode"]),
                    "free_gib": float(directory.get("free_gib", 0)),
                    "service": definition["name"],
                }
            )
    paths = {directory["path"] for directory in directories}
    for directory in list(directories):
        parent = posixpath.dirname(directory["path"])
        while parent not in paths and parent.startswith(posixpath.join(data_root, "")):
            paths.add(parent)
            directories.append({**directory, "path": parent, "free_gib": 0.0})
            parent = posixpath.dirname(parent)
    return sorted(directories, key=lambda directory: directory["path"])


def secret_values(definitions: Iterable[Definition]) -> list[dict[str, str]]:
    """Return each secret once, as name and content.

    Raises:
        DefinitionError: two services give the same secret different contents.
    """
    contents: dict[str, str] = {}
    for definition in definitions:
        for secret in definition.get("secrets", []):
            name, content = secret["name"], secret["content"]
            if contents.setdefault(name, content) != content:
                raise DefinitionError(
                    f"The secret {name} is declared twice with different contents, the second time "
                    f"by the service {definition['name']}. Let both take it from one variable."
                )
    return [{"name": name, "content": contents[name]} for name in sorted(contents)]


def data_copies(definitions: Iterable[Definition], data_root: str) -> list[dict[str, Any]]:
    """Return the directories that another image of their service may rewrite.

    Keys: service, path (absolute), linked (patterns of entries without rewritten files), carry_over
    (how the version before gets what the new one took in).
    """
    return [
        {
            "service": definition["name"],
            "linked": [],
            "carry_over": {},
            **definition["data_copy"],
            "path": posixpath.join(data_root, definition["data_copy"]["path"]),
        }
        for definition in definitions
        if definition.get("data_copy")
    ]


def service_logins(definitions: Iterable[Definition]) -> list[dict[str, Any]]:
    """Return how the users of the services log in, each as the module secret_logins takes it."""
    return [
        {"service": definition["name"], **login}
        for definition in definitions
        for login in definition.get("logins") or []
    ]


def waited_for(definitions: Iterable[Definition]) -> list[str]:
    """Return the services that others ask or send to, which are changed before them.

    Each stands behind those that it waits for itself; who waits for one another, by name.
    """
    after = {each["name"]: list(each.get("after") or []) for each in definitions}
    found: dict[str, None] = {}

    def add(name: str, waiting: tuple[str, ...]) -> None:
        for each in after.get(name, []):
            if each not in waiting:
                add(each, (*waiting, each))
                found[each] = None

    for name in after:
        add(name, (name,))
    return list(found)


def kept_secrets(definitions: Iterable[Definition]) -> list[str]:
    """Return the secrets whose new value is in force before the stack is deployed."""
    return sorted(
        {
            secret["name"]
            for definition in definitions
            for secret in definition.get("secrets", [])
            if secret.get("in_force")
        }
    )


#: Under this name a container holds the certificate that it shows others, as a secret.
TLS_CERTIFICATE = "tls.crt"


def tls_services(definitions: Iterable[Definition]) -> list[str]:
    """Return the services that hold a certificate: a secret that is the file ``tls.crt``."""
    return sorted(
        str(definition["name"])
        for definition in definitions
        if any(
            secret.get("target", secret["name"]) == TLS_CERTIFICATE
            for secret in definition.get("secrets") or []
        )
    )


def config_name(service: str, config: Mapping[str, Any]) -> str:
    """Return the name of the Swarm config that carries a file: it changes with the content.

    Swarm configs are immutable, so what runs keeps the file that it was started with, and a
    service goes back to it when Swarm rolls it back.
    """
    digest = hashlib.sha256(str(config["content"]).encode()).hexdigest()[:12]
    return f"{service}_{config['name']}_{digest}"


def config_files(definitions: Iterable[Definition]) -> list[dict[str, str]]:
    """Return the files that the services read, each as name (of its Swarm config) and content."""
    found = {
        config_name(definition["name"], config): str(config["content"])
        for definition in definitions
        for config in definition.get("configs", [])
    }
    return [{"name": name, "content": content} for name, content in sorted(found.items())]


def stack_document(
    definitions: Iterable[Definition],
    data_root: str,
    secret_versions: Mapping[str, str],
    timezone: str = "Etc/UTC",
    health: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the Compose file (version 3.9) of the stack.

    Args:
        definitions: the services of this host.
        data_root: absolute path on the host; bind mounts are made from it.
        secret_versions: secret name to the name of the Swarm secret that carries its present value.
        timezone: put into each service's environment as TZ.
        health: pace of the health checks (Compose's healthcheck) where a definition sets none;
            what it leaves out is the image's.

    Published ports use mode ``host`` and services ``endpoint_mode: dnsrr``: Swarm's ingress mesh
    hides the sender's address, so that no port could be limited to its senders, and needs IPVS.
    """
    definitions = list(definitions)
    services: dict[str, Any] = {}
    used_secrets: dict[str, Any] = {}
    used_configs: dict[str, Any] = {}
    networks, of_stack = confinement.networks(definitions)
    for definition in definitions:
        name = definition["name"]
        service: dict[str, Any] = {
            "image": definition["image"],
            "hostname": name,
            "environment": {"TZ": timezone, **_texts(definition.get("environment", {}))},
            "networks": networks[name],
            "stop_grace_period": definition.get("stop_grace_period", "30s"),
            "deploy": {
                "replicas": 1,
                "endpoint_mode": "dnsrr",
                "labels": {"org.auscat.title": definition["title"]},
                "restart_policy": {"condition": "any", "delay": "2s"},
                "update_config": {"order": "stop-first", "failure_action": "rollback"},
                "rollback_config": {"order": "stop-first"},
            },
        }
        for key in ("command", "entrypoint", "user"):
            if definition.get(key):
                service[key] = definition[key]
        healthcheck = {**(health or {}), **definition.get("healthcheck", {})}
        if healthcheck:
            service["healthcheck"] = healthcheck
        confined = confinement.rendered(definition)
        memory = confined.pop("volumes")
        service["deploy"].update(confined.pop("deploy"))
        service.update(confined)
        if definition.get("memory_mib"):
            limits = service["deploy"]["resources"]["limits"]
            limits["memory"] = f"{int(definition['memory_mib'])}M"
        if definition.get("ports"):
            service["ports"] = [
                {
                    "target": port["target"],
                    "published": port["published"],
                    "protocol": port["protocol"],
                    "mode": "host",
                }
                for port in published_ports([definition])
            ]
        volumes = [
            {
                "type": "bind",
                "source": posixpath.join(data_root, directory["path"]),
                "target": directory["target"],
                **({"read_only": True} if directory.get("read_only") else {}),
            }
            for directory in definition.get("directories", [])
        ] + [{**mount, "type": "bind", "read_only": True} for mount in definition.get("mounts", [])]
        volumes += memory
        if volumes:
            # In the order in which "docker service update" leaves them: to Swarm another order is
            # another task, and the next run would restart what somebody restarted by force.
            service["volumes"] = sorted(
                volumes, key=lambda volume: (volume.get("source", ""), volume["target"])
            )
        if definition.get("configs"):
            service["configs"] = [
                {
                    "source": f"{name}_{config['name']}",
                    "target": config["target"],
                    "mode": int(str(config.get("mode", "0444")), 8),
                }
                for config in definition["configs"]
            ]
            for config in definition["configs"]:
                used_configs[f"{name}_{config['name']}"] = {
                    "external": True,
                    "name": config_name(name, config),
                }
        if definition.get("secrets"):
            service["secrets"] = [
                {
                    "source": secret["name"],
                    "target": secret.get("target", secret["name"]),
                    "uid": str(secret.get("owner", 0)),
                    "gid": str(secret.get("group", 0)),
                    "mode": int(str(secret.get("mode", "0400")), 8),
                }
                for secret in definition["secrets"]
            ]
            for secret in definition["secrets"]:
                used_secrets[secret["name"]] = {
                    "external": True,
                    "name": secret_versions[secret["name"]],
                }
        services[name] = service
    return {
        # The first that has a limit of processes.
        "version": "3.9",
        "services": services,
        "networks": of_stack,
        "secrets": used_secrets,
        **({"configs": used_configs} if used_configs else {}),
    }


def definition_problems(
    definitions: Iterable[Definition], further_ports: Iterable[Mapping[str, Any]] = ()
) -> list[str]:
    """Return what is wrong with the definitions, each with variable, value, accepted, remedy.

    Values of secrets are never part of a text.

    Args:
        definitions: the services of this host.
        further_ports: those that the site lists itself (firewall_ports), as services do.
    """
    problems: list[str] = []
    ports: list[dict[str, Any]] = []
    for definition in definitions:
        service = definition.get("name", "(without a name)")
        missing = sorted(REQUIRED_KEYS - definition.keys())
        unknown = sorted(definition.keys() - KNOWN_KEYS)
        if missing or unknown:
            problems.append(
                f"{service}_service lacks {missing or 'nothing'} and has the unknown keys "
                f"{unknown or 'none'}. Accepted: {', '.join(sorted(KNOWN_KEYS))}."
            )
            continue
        if not SERVICE_NAME.match(service):
            problems.append(
                f"{service}_service: name is {service!r}. Accepted: a lower-case letter, then "
                "letters, digits, - and _, the last no - or _, since it is a DNS name on the "
                "stack's network."
            )
        problems += confinement.problems(definition)
        problems += _part_problems(definition)
        ports += [{**port, "service": service} for port in definition.get("ports", [])]
        for directory in definition.get("directories", []):
            path = str(directory["path"])
            if posixpath.isabs(path) or ".." in path.split("/") or not path:
                problems.append(
                    f"{service}_service: the directory path is {path!r}. Accepted: a path relative "
                    "to auscat_data_root, without '..'."
                )
        for mount in definition.get("mounts", []):
            if not posixpath.isabs(str(mount.get("source", ""))):
                problems.append(
                    f"{service}_service: the source of a mount is {mount.get('source')!r}. "
                    "Accepted: an absolute path on the host."
                )
        for config in definition.get("configs", []):
            size = len(str(config["content"]).encode())
            if size > CONFIG_BYTES:
                problems.append(
                    f"{service}_service: the file {config['target']} has {size} bytes. Accepted: "
                    f"{CONFIG_BYTES}, which is what Swarm takes."
                )
        for secret in definition.get("secrets", []):
            content = secret.get("content")
            if not isinstance(content, str) or not content.strip():
                variable = secret.get("variable", f"the content of the secret {secret['name']}")
                is_empty = content is None or isinstance(content, str)
                what = "empty" if is_empty else f"of the type {type(content).__name__}"
                problems.append(
                    f"{variable} is {what}. Accepted: a text of at least one character, digits "
                    "between quotes. Set it in the inventory, in production in the vault."
                )
    return problems + port_rules.problems([*ports, *further_ports])


def _part_problems(definition: Definition) -> list[str]:
    """Return the keys of what a definition lists that are near to one that is read, and unread."""
    problems = []
    for part, names in PART_KEYS.items():
        keys = names.split()
        value = definition.get(part) or []
        for each in [value] if isinstance(value, Mapping) else value:
            for key in each if isinstance(each, Mapping) else ():
                near = "" if key in keys else nearest(str(key), keys)
                if near:
                    problems.append(
                        f"{definition['name']}_service: {part} has the unknown key {key!r}. The "
                        f"nearest is {near}. Correct it in the role of the service."
                    )
    return problems


def after_problems(definitions: Iterable[Definition], services: Iterable[str]) -> list[str]:
    """Return what is wrong with those that services wait for; a name of nobody would be ignored.

    Args:
        definitions: the services of this host, and their companions.
        services: all that there can be, wherever they run.
    """
    declared = list(definitions)
    known = {*services, *(each["name"] for each in declared if "name" in each)}
    problems = []
    for each in declared:
        name, after = each.get("name", "(without a name)"), each.get("after") or []
        accepted = ", ".join(sorted(known - {name}))
        if not isinstance(after, list):
            problems.append(
                f"{name}_service: after is {after!r}. Accepted: a list of services ({accepted})."
            )
            continue
        problems += [
            f"{name}_service: after names {other!r}. Accepted: another service ({accepted}). "
            "Correct the name in the role of the service."
            for other in after
            if other == name or other not in known
        ]
    return problems


def _texts(environment: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in sorted(environment.items())}
