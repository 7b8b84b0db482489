"""What a container may do: capabilities, files, processes, and which services it may connect to.

A definition says so under the keys ``confinement``, ``reaches``, ``reached_by``, ``outside`` and
``outgoing`` (docs/adding-a-service.md). What it does not say, its container may not. Everything
here is pure.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.firewall import outgoing

Definition = Mapping[str, Any]

#: What a container gets of whom nothing is said.
STRICT: Mapping[str, Any] = {
    "capabilities": (),
    "read_only": True,
    "writable": (),
    "processes": 256,
    "open_files": 1024,
}
#: What an image that is not of this project gets where its site says nothing else: what an
#: entrypoint needs that starts as root, hands its directories to a user and becomes that user
#: (gosu, su-exec, setpriv), as that of the official PostgreSQL does, and a root file system that it
#: may write to.
FOREIGN: Mapping[str, Any] = {
    "capabilities": ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"),
    "read_only": False,
    "processes": 1024,
    "open_files": 16384,
}
#: Images of this project, from whatever registry, unless the site gave them another name.
OWN_IMAGE = re.compile(r"(^|/)auscat-imaging/[a-z_]+(:[^/@]+)?(@[^/]+)?\Z")

#: Linux capabilities (capabilities(7)) that a definition may ask for. Those that are as good as
#: root on the host, or see and forge what others send, are left out.
CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK",
        "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
        "SYS_NICE",
    }
)  # fmt: skip
MIB = 1024 * 1024
MOST_TMPFS_MIB = 65536
MOST_PROCESSES = 32768
MOST_OPEN_FILES = 1048576


def confinement(
    declared: Mapping[str, Any], image: str, needs: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the confinement of a service whose image a site may have chosen.

    Args:
        declared: what the image of this project needs beyond the strict defaults.
        image: the image that the site has chosen; empty: this project's.
        needs: what the site says of its own image, which wins key by key.
    """
    foreign = {} if not image or OWN_IMAGE.search(image) else FOREIGN
    return {**declared, **foreign, **(needs or {})}


def complete(definition: Definition) -> dict[str, Any]:
    """Return the confinement of a service with the defaults for what it leaves out."""
    return {**STRICT, **(definition.get("confinement") or {})}


def rendered(definition: Definition) -> dict[str, Any]:
    """Return the keys of Compose that confine the container of a service.

    ``volumes`` holds its tmpfs, and ``deploy`` its limit of processes; both are to be merged.
    """
    wished = complete(definition)
    open_files = int(wished["open_files"])
    return {
        "cap_drop": ["ALL"],
        **({"cap_add": sorted(wished["capabilities"])} if wished["capabilities"] else {}),
        **({"read_only": True} if wished["read_only"] else {}),
        "ulimits": {"nofile": {"soft": open_files, "hard": open_files}},
        "volumes": [
            {
                "type": "tmpfs",
                "target": each["path"],
                "tmpfs": {"size": int(each["size_mib"]) * MIB},
            }
            for each in wished["writable"]
        ],
        "deploy": {"resources": {"limits": {"pids": int(wished["processes"])}}},
    }


def problems(definition: Definition) -> list[str]:
    """Return what is wrong with the confinement and the neighbours of a service."""
    where = f"{definition.get('name', '(without a name)')}_service"
    found: list[str] = []
    given = definition.get("confinement") or {}
    if not isinstance(given, Mapping):
        return [
            f"{where}: confinement is {given!r}. Accepted: a mapping with the keys "
            f"{', '.join(sorted(STRICT))}."
        ]
    unknown = sorted(given.keys() - STRICT.keys())
    if unknown:
        found.append(
            f"{where}: confinement has the unknown keys {unknown}. Accepted: "
            f"{', '.join(sorted(STRICT))}."
        )
    wished = complete(definition)
    capabilities = wished["capabilities"]
    if not _is_list(capabilities) or not set(map(str, capabilities)) <= CAPABILITIES:
        found.append(
            f"{where}: the capabilities are {capabilities!r}. Accepted: a list of "
            f"{', '.join(sorted(CAPABILITIES))}. Others would give the container the host; leave "
            "them out, or run that program beside the node and not in it."
        )
    if not isinstance(wished["read_only"], bool):
        found.append(f"{where}: read_only is {wished['read_only']!r}. Accepted: true or false.")
    for key, most in (("processes", MOST_PROCESSES), ("open_files", MOST_OPEN_FILES)):
        if not _is_number(wished[key], most):
            found.append(
                f"{where}: {key} is {wished[key]!r}. Accepted: a whole number from 1 to {most}."
            )
    if not _is_list(wished["writable"]):
        found.append(f"{where}: writable is {wished['writable']!r}. Accepted: a list.")
        return found
    for each in wished["writable"]:
        path = each.get("path") if isinstance(each, Mapping) else None
        if (
            not isinstance(each, Mapping)
            or set(each) != {"path", "size_mib"}
            or not isinstance(path, str)
            or not posixpath.isabs(path)
            or posixpath.normpath(path) != path
            or path == "/"
            or not _is_number(each["size_mib"], MOST_TMPFS_MIB)
        ):
            found.append(
                f"{where}: an entry of writable is {each!r}. Accepted: path, an absolute path in "
                "the container without '..', and size_mib, a whole number of MiB from 1 to "
                f"{MOST_TMPFS_MIB}. It is memory, within the limit of the service."
            )
    for key in ("reaches", "reached_by"):
        names = definition.get(key) or []
        if not _is_list(names) or not all(isinstance(name, str) and name for name in names):
            found.append(f"{where}: {key} is {names!r}. Accepted: a list of names of services.")
        elif definition.get("name") in names:
            found.append(f"{where}: {key} names the service itself. Accepted: others. Take it out.")
    if not isinstance(definition.get("outside", False), bool):
        found.append(f"{where}: outside is {definition['outside']!r}. Accepted: true or false.")
    return found + outgoing_problems(definition.get("outgoing"), where)


def outgoing_problems(entries: Any, where: str) -> list[str]:
    """Return what is wrong with whom a service connects to; None is nothing."""
    if entries is None:
        return []
    if not isinstance(entries, (list, tuple)) or not all(
        isinstance(each, Mapping) and {"host", "port", "protocol", "variable"} <= each.keys()
        for each in entries
    ):
        return [
            f"{where}: outgoing is {entries!r}. Accepted: what the filter destinations returns, or "
            "a list of mappings with host, port, protocol and variable; [] for nobody."
        ]
    return [f"{each['variable']}{each['problem']}" for each in entries if each.get("problem")]


def networks(
    definitions: Sequence[Definition],
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the networks of each service, and those of the stack, as Compose has them.

    A network has two members: who asks, and who is asked, which alone has its aliases there (each
    has its own name by the engine). It leads nowhere else (``internal``). A service that publishes
    ports, or opens connections to other machines, has one more with nobody else on it: through that
    the engine connects it to the host. One that has neither this nor a neighbour has one that leads
    nowhere, under a name of its own: the engine never changes a network that is there.
    """
    present = {str(each["name"]): each for each in definitions}
    pairs = {
        (name, asked)
        for name, each in present.items()
        for asked in each.get("reaches") or []
        if asked in present
    } | {
        (asker, name)
        for name, each in present.items()
        for asker in each.get("reached_by") or []
        if asker in present
    }
    of_service: dict[str, dict[str, Any]] = {name: {} for name in present}
    of_stack: dict[str, dict[str, Any]] = {}
    for asker, asked in sorted(pairs):
        network = f"{asker}_to_{asked}"
        of_stack[network] = {"driver": "overlay", "internal": True}
        of_service[asker][network] = {}
        of_service[asked][network] = {"aliases": [asked, *present[asked].get("aliases", [])]}
    for name, each in present.items():
        to_host = outgoing.goes_out(each)
        if to_host or not of_service[name]:
            network = f"{name}_alone" if to_host else f"{name}_nowhere"
            of_stack[network] = {"driver": "overlay", **({} if to_host else {"internal": True})}
            of_service[name][network] = {}
    return of_service, of_stack


def connections(definition: Definition) -> dict[str, Any]:
    """Return the keys of Compose that have to do with whom a service connects to.

    ``environment`` is to be merged. One that declares somebody knows these by the addresses that
    its rules let it connect to, and the services of its networks by the engine. The rules keep the
    engine from asking a DNS server for it, and 20.10 then never answers: so it waits for that a few
    seconds, and not 20. A service that may ask a DNS server looks names up as any other.
    """
    if not outgoing.is_declared(definition):
        return {}
    marks = outgoing.sysctls(definition)
    found: dict[str, Any] = {"sysctls": marks} if marks else {}
    entries = definition["outgoing"]
    if any(each["port"] == outgoing.DNS_PORT for each in entries):
        return found
    hosts = {
        f"{each['host']}:{network.removesuffix('/32')}"
        for each in entries
        if each.get("is_name")
        for network in each.get("networks") or []
    }
    return {
        **found,
        **({"extra_hosts": sorted(hosts)} if hosts else {}),
        # Without the machine's own list, by which each name would be asked for several times.
        "dns_search": ["."],
        "environment": {"RES_OPTIONS": "timeout:1 attempts:2"},
    }


def undeclared_problems(definitions: Iterable[Definition], named: Iterable[str]) -> list[str]:
    """Return what is wrong with definitions that do not say whom their services connect to.

    Args:
        definitions: of a machine that limits it.
        named: of firewall_outgoing_of, which says it in their place.
    """
    return [
        f"{each['name']}_service has no outgoing, and firewall_outgoing is named, so the service "
        "could connect to nobody outside this machine. Accepted: outgoing in the definition "
        "(docs/adding-a-service.md), [] for nobody; or an entry of firewall_outgoing_of, such as "
        f"{{{each['name']}: [10.1.2.3:443]}}; or firewall_outgoing: any, which limits no container "
        "(docs/firewall.md)."
        for each in definitions
        if not outgoing.is_declared(each)
        and outgoing.goes_out(each)
        and each["name"] not in {*named}
    ]


def neighbour_findings(neighbours: Iterable[str], named: Iterable[str], host: str) -> list[str]:
    """Return who else leaves a machine by docker_gwbridge without being named.

    Args:
        neighbours: stacks and containers of others there, by name.
        named: of firewall_outgoing_of.
        host: the machine.
    """
    return [
        f"{each} on {host} is not of this node, and its containers leave the machine by the same "
        "bridge (docker_gwbridge). With firewall_outgoing: named they connect to nobody whom the "
        "inventory does not name. Accepted: an entry of firewall_outgoing_of for it, such as "
        f"{{{each}: [10.1.2.3:443]}}, or {{{each}: []}} for nobody; or firewall_outgoing: any, "
        "which limits no container (docs/firewall.md)."
        for each in sorted({*neighbours} - {*named})
    ]


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))


def _is_number(value: Any, most: int) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return False
    return str(value).isdecimal() and 1 <= int(value) <= most
