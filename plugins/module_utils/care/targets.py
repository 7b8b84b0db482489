"""Who is to reach which published port, and whether this machine does.

What a machine is may be written in several forms: its IPv6 address, one of a network interface
(``fe80::1%eth0``), the IPv4 address in IPv6 notation. They are compared as one.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import parse_source

NAMELESS = "its name has no address here"
STATES = ("open", "refused", "no answer", "no way to it")
"""What an attempt can end in: the more was heard of the other machine, the earlier."""
_MOST_SOURCES = 8


def canonical(address: str) -> str:
    """Return an address in the one form in which a packet carries it; empty for anything else."""
    try:
        found = ipaddress.ip_address(address.strip().strip("[]").partition("%")[0])
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def is_loopback(address: str) -> bool:
    """Tell whether an address is that of whatever machine it is used on."""
    plain = canonical(address)
    return bool(plain) and ipaddress.ip_address(plain).is_loopback


def is_meant(port: Mapping[str, Any], address: str) -> bool | None:
    """Tell whether a port's declared sources hold an address; None where that cannot be told.

    Args:
        port: as the service definitions declare it, names among its sources resolved.
        address: of the machine that connects; empty: not known. Loopback is always meant.
    """
    plain = canonical(address)
    if not plain:
        return None
    if is_loopback(plain):
        return True
    # Any name without an address may be the machine in question.
    certain = not port.get("source_problems")
    for source in port.get("sources") or []:
        try:
            if ipaddress.ip_address(plain) in parse_source(source):
                return True
        except ValueError:
            certain = False
    return False if certain else None


def addresses(
    ports: Iterable[Mapping[str, Any]],
    seat: str = "",
    sender: Sequence[str] = (),
    viewer: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return who is to reach which port, for the look at the firewalls.

    Args:
        ports: as the service definitions declare them.
        seat: the operator's address; looked at where the sources hold it.
        sender: addresses of a machine that should send to CTP, whatever the sources hold.
        viewer: addresses of a machine that should see Orthanc's page, likewise.
    """
    found: dict[tuple[int, str], dict[str, Any]] = {}

    def add(port: Mapping[str, Any], address: str, who: str) -> None:
        plain = canonical(address)
        # From its own loopback a machine reaches its ports past every firewall.
        if not plain or is_loopback(plain):
            return
        row = {"port": int(port["published"]), "address": plain, "who": who}
        row["variable"] = port.get("sources_variable") or ""
        found.setdefault((int(port["published"]), plain), row)

    for port in ports:
        if (port.get("protocol") or "tcp") != "tcp":
            continue
        for service, name, listed, who in (
            ("ctp", "dicom", sender, "the sender"),
            ("ctp_gate", "dicom", sender, "the sender"),
            ("front", "orthanc", viewer, "the viewer"),
        ):
            if (port["service"], port.get("name")) == (service, name):
                for address in listed:
                    add(port, address, who)
        if is_meant(port, seat):
            add(port, seat, "the operator")
        for source in list(port.get("sources") or [])[:_MOST_SOURCES]:
            try:
                network = parse_source(source)
            except ValueError:
                continue
            if network.prefixlen and not network.is_loopback:
                first = network[0] if network.num_addresses < 3 else network[1]
                add(port, str(first), "a declared source")
    return list(found.values())


def strangers(asked: Iterable[Mapping[str, Any]], own: Collection[str]) -> list[dict[str, Any]]:
    """Return those of `addresses` that are not of the machine itself, which no firewall stops.

    Args:
        asked: as `addresses` returned them.
        own: addresses of the machine, in any form.
    """
    here = {canonical(each) for each in own}
    return [dict(each) for each in asked if canonical(str(each["address"])) not in here]


def own_address(address: str) -> str:
    """Return this machine's address on its way to another one; empty where it has no way."""
    try:
        family, kind, _, _, target = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)  # sends nothing: UDP
            return canonical(str(probe.getsockname()[0]))
    except (OSError, UnicodeError):
        return ""


def resolved(name: str) -> list[str]:
    """Return the addresses that a name has on this machine; none where it has none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def connected(address: str, port: int, timeout: float) -> tuple[str, str]:
    """Connect, and close again; return open or why not, and from which address (empty: unknown)."""
    try:
        with socket.create_connection((address, port), timeout) as opened:
            return "open", canonical(str(opened.getsockname()[0]))
    except (socket.timeout, TimeoutError):
        state = "no answer"
    except ConnectionRefusedError:
        state = "refused"
    except OSError:
        state = "no way to it"
    return state, own_address(address)


def reach(
    name: str,
    ports: Iterable[Mapping[str, Any]],
    timeout: float,
    limited: bool = True,
    connect: Callable[[str, int, float], tuple[str, str]] = connected,
) -> list[dict[str, Any]]:
    """Try each TCP port of a host, on each address of it until one is open.

    Args:
        name: of the host, or its address.
        ports: published ports, as the service definitions declare them.
        timeout: seconds for each attempt.
        limited: whether the inventory limits ports to their sources.
        connect: as `connected`.

    Returns:
        Rows with port, service, purpose, from (this machine's address on the way; empty: unknown),
        own (whether that is the host's own), meant (None: cannot be told) and state.
    """
    known = resolved(name)
    rows = []
    for port in ports:
        if (port.get("protocol") or "tcp") != "tcp":
            continue
        state, came_from, tried = NAMELESS, "", ""
        for each in known:
            told, way = connect(each, int(port["published"]), timeout)
            if not tried or STATES.index(told) < STATES.index(state):
                state, came_from, tried = told, way, each
            if told == "open":
                break
        own = bool(came_from) and (is_loopback(came_from) or came_from == canonical(tried))
        rows.append(
            {
                "port": int(port["published"]),
                "service": port["service"],
                "purpose": port["purpose"],
                "from": came_from,
                "own": own,
                "meant": True if own or not limited else is_meant(port, came_from),
                "state": state,
            }
        )
    return rows
