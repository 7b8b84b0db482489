"""Whom the containers of this machine's Swarm may connect to outside.

All of them leave by one bridge, ``docker_gwbridge``, which gives out its addresses anew at each
start: no rule can tell there whose connection it is. So what the services of a machine declare
under ``outgoing`` is one list for all. Those that declare nobody are told from the others all the
same, by the ports that their connections come from: below `MUTE_FROM` a program has to be
privileged to take one, and in their containers none is (decision 68). Everything here is pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

CHAIN = "outgoing"
PROTOCOLS = ("tcp", "udp")
#: A destination with this port is a DNS server: its service looks names up itself.
DNS_PORT = 53
#: Who may connect to somebody does so from the first of these ports to below the second; who may
#: to nobody can take none of them (net.ipv4.ip_unprivileged_port_start).
SPEAKING_FROM, MUTE_FROM = 1024, 4096

_PORT = re.compile(r"(?P<host>.+):(?P<port>[0-9]{1,5})(?:/(?P<protocol>[a-z]+))?\Z", re.DOTALL)
ACCEPTED = (
    "Accepted: an IPv4 address or network, a host or a group of the inventory, or a name that this "
    "machine can look up"
)
_ACCEPTED_TEXT = f"{ACCEPTED}, each with :PORT (TCP) or :PORT/udp behind it for one port alone"


class Destination(NamedTuple):
    """Whom containers of this machine may connect to."""

    network: ipaddress.IPv4Network
    protocol: str = ""
    """tcp or udp; empty with port 0: all ports of both."""
    port: int = 0
    of_all: bool = False
    """Whether whoever is on the bridge may, and not only services that declare somebody."""


class OutgoingError(ValueError):
    """The destinations cannot be turned into rules; the text says which and why."""


def parsed(text: Any, variable: str) -> dict[str, Any]:
    """Return one entry of a list of destinations as definitions have it under ``outgoing``.

    Args:
        text: HOST, HOST:PORT or HOST:PORT/PROTOCOL.
        variable: what an operator has to look for to correct it.

    Returns:
        host, port (0 for all), protocol, variable; and ``problem`` where it is none.
    """
    entry: dict[str, Any] = {"host": text, "port": 0, "protocol": "", "variable": variable}
    if not isinstance(text, str) or not text.strip() or "://" in text:
        return {**entry, "problem": f" is {text!r}. {_ACCEPTED_TEXT}. Correct the inventory."}
    found = _PORT.match(text.strip())
    if not found:
        return {**entry, "host": text.strip()}
    entry.update(host=found["host"], port=int(found["port"]), protocol=found["protocol"] or "tcp")
    if entry["protocol"] not in PROTOCOLS or not 1 <= entry["port"] <= 65535:
        entry["problem"] = f" is {text!r}. {_ACCEPTED_TEXT}. Correct the inventory."
    return entry


def destinations(declared: Any) -> list[Destination]:
    """Return the destinations of all services, sorted, each once.

    Args:
        declared: a list of mappings with network, protocol, port and of_all, as `declared` gives
            them.

    Raises:
        OutgoingError: an entry is none.
    """
    found = set()
    try:
        for each in declared:
            port, protocol = int(each.get("port") or 0), str(each.get("protocol") or "")
            if (protocol in PROTOCOLS) is not (1 <= port <= 65535):
                raise ValueError(f"{protocol or 'no protocol'} and the port {port}")
            network = ipaddress.IPv4Network(each["network"])
            found.add(Destination(network, protocol, port, bool(each.get("of_all"))))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OutgoingError(
            f"The destinations of services hold what is none ({error}). Accepted: mappings with "
            "network (IPv4), and protocol (tcp or udp) and port or neither."
        ) from None
    return sorted(found)


def rules(wished: Iterable[Destination]) -> list[str]:
    """Return the chain that limits what comes from the bridge, as lines of a ruleset.

    What a container opens passes where a destination says so; all else is refused, with an answer,
    so that its program knows at once.
    """
    lines = [
        "\t# What containers of the Swarm open themselves.",
        f"\tchain {CHAIN} {{",
        "\t\t# Answers to who has connected to them.",
        "\t\tct direction reply return",
    ]
    for each in wished:
        protocol = each.protocol or "{ tcp, udp }"
        parts = ["meta nfproto ipv4", f"meta l4proto {protocol}"]
        # As the container has sent it, wherever the host itself leads that to.
        if each.network.prefixlen:
            parts.append(f"ct original ip daddr {each.network}")
        if each.port:
            parts.append(f"ct original proto-dst {each.port}")
        if not each.of_all:
            parts.append(f"ct original proto-src < {MUTE_FROM}")
        lines.append(f"\t\t{' '.join(parts)} return")
    return [
        *lines,
        "\t\tcounter reject with icmpx type admin-prohibited "
        'comment "opened by a container, and not to whom the inventory names"',
        "\t}",
        "",
    ]


def jump(bridge: str) -> str:
    """Return the rule of a base chain that leads there."""
    return f'\t\tiifname "{bridge}" jump {CHAIN}'


def is_declared(definition: Mapping[str, Any]) -> bool:
    """Tell whether a definition says whom its service connects to, if only that it is nobody."""
    return isinstance(definition.get("outgoing"), (list, tuple))


def goes_out(definition: Mapping[str, Any]) -> bool:
    """Tell whether the engine connects the container of a service to the host."""
    if definition.get("ports"):
        return True
    asks = definition["outgoing"] if is_declared(definition) else definition.get("outside", False)
    return bool(asks)


def declared(
    definitions: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Return whom the containers of a machine may connect to, as the rules take it.

    Args:
        definitions: of this host, with their names resolved (inventory/addresses.py).
        others: the same of whoever else is on the bridge (firewall_outgoing_of).
    """
    return [
        {
            "network": network,
            "protocol": each["protocol"],
            "port": each["port"],
            "of_all": of_all,
        }
        for listed, of_all in ((definitions, False), (others, True))
        for definition in listed
        if is_declared(definition)
        for each in definition["outgoing"]
        for network in each.get("networks") or []
    ]


def sysctls(definition: Mapping[str, Any]) -> dict[str, str]:
    """Return the kernel's settings by which a container's connections are known, for Compose.

    Of one that is not connected to the host, and of one of which nobody says whom it connects to,
    there are none.
    """
    if not is_declared(definition) or not goes_out(definition):
        return {}
    if definition["outgoing"]:
        return {
            "net.ipv4.ip_local_port_range": f"{SPEAKING_FROM} {MUTE_FROM - 1}",
            # They are few for one connection an object, each taken for a minute after its end.
            "net.ipv4.tcp_tw_reuse": "1",
        }
    # What it publishes it has to be able to listen on.
    targets = [int(port["target"]) for port in definition.get("ports") or []]
    return {"net.ipv4.ip_unprivileged_port_start": str(min([MUTE_FROM, *targets]))}
