# Copyright (c) 2026, The AusCAT imaging node project
"""Who may reach a published port: check the declarations, render the nftables table.

Everything here is pure: declarations go in, problems or the text of a ruleset come out.
The module ``port_guard`` applies the text, and preflight reports the problems before
anything on a host is touched.

A *declaration* is a mapping, as a service definition lists its ports
(further keys are ignored)::

    {"service": "orthanc", "name": "web", "published": 8042, "protocol": "tcp",
     "sources": ["10.20.0.0/16", "2001:db8:7::/48"], "purpose": "Web interface"}

A declaration may also name the inventory variables behind it, ``variable`` for the published
port and ``sources_variable`` for the sources; errors then name these instead of the place in
the service definition. Names among the sources have been resolved before this
(module_utils/inventory/addresses.py); ``source_problems`` says which could not be.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Union

from ansible_collections.auscat.imaging.plugins.module_utils.firewall import outgoing

PROTOCOLS = ("tcp", "udp")
LOWEST_PORT = 1
HIGHEST_PORT = 65535

TABLE_FAMILY = "inet"
TABLE_NAME = "auscat"
TABLE = f"{TABLE_FAMILY} {TABLE_NAME}"

#: The bridge through which the tasks of a Swarm reach, and are reached from, other machines.
SWARM_BRIDGE = "docker_gwbridge"

#: nftables accepts 128 bytes of comment per rule, the closing zero included.
COMMENT_BYTES = 120

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

_ADDRESS_EXAMPLES = '"10.20.30.40", "10.20.0.0/16", "2001:db8:7::5" or "2001:db8:7::/48"'


class PortRule(NamedTuple):
    """One published port and who may reach it, checked and in canonical form."""

    published: int
    protocol: str
    ipv4: tuple[ipaddress.IPv4Network, ...]
    ipv6: tuple[ipaddress.IPv6Network, ...]
    label: str
    of_container: bool = False
    """Whether a service of the node publishes it. Its neighbours may not come in by that way."""

    @property
    def sources(self) -> list[str]:
        """The networks that may reach the port, IPv4 first, sorted, overlaps merged."""
        return [str(network) for network in (*self.ipv4, *self.ipv6)]


class PortRuleError(ValueError):
    """The declarations cannot be turned into rules.

    ``problems`` holds one sentence for each thing that is wrong.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def parse_source(source: Any) -> Network:
    """Return the network that one entry of ``sources`` means; an address is its own network.

    Raises:
        ValueError: the entry is no address and no network; the message says what it may be.
    """
    if not isinstance(source, str):
        raise ValueError(
            f"is {source!r}, a {type(source).__name__}. Accepted: text with an address or a "
            f"network, as in {_ADDRESS_EXAMPLES}."
        )
    text = source.strip()
    address_text, slash, prefix_text = text.partition("/")
    try:
        address = ipaddress.ip_address(address_text)
    except ValueError:
        raise ValueError(
            f"is {source!r}. Accepted: an address or a network, as in {_ADDRESS_EXAMPLES}. "
            "Names are not accepted here: those of the inventory and of DNS are resolved before, "
            "on the controller."
        ) from None
    if "%" in address_text:
        raise ValueError(
            f"is {source!r}, an address bound to an interface. Accepted: an address or a "
            f"network without %, as in {_ADDRESS_EXAMPLES}."
        )
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        # A packet from an IPv4 machine is an IPv4 packet in every hook, also where the
        # listening program sees ::ffff:a.b.c.d: such an entry would silently match nothing.
        raise ValueError(
            f"is {source!r}, an IPv4 address in IPv6 notation, which no packet carries. "
            f'Write "{address.ipv4_mapped}".'
        )
    if not slash:
        return ipaddress.ip_network(address)
    if not (prefix_text.isascii() and prefix_text.isdigit()) or (
        int(prefix_text) > address.max_prefixlen
    ):
        raise ValueError(
            f"is {source!r}. Accepted after the slash: the number of network bits, 0 to "
            f"{address.max_prefixlen}."
        )
    network = ipaddress.ip_network((address, int(prefix_text)), strict=False)
    if network.network_address != address:
        raise ValueError(
            f"is {source!r}, an address with bits to the right of its network. Write "
            f'"{network}" for the whole network, or "{address}" for this one machine.'
        )
    return network


def parse_port(value: Any) -> int:
    """Return a published port as a number.

    Raises:
        ValueError: the value is no whole number from 1 to 65535.
    """
    accepted = f"Accepted: a whole number from {LOWEST_PORT} to {HIGHEST_PORT}."
    # YAML's true is an int to Python; it is never a port that somebody meant.
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"is {value!r}. {accepted}")
    if isinstance(value, str):
        # A port that came through a template may arrive as text.
        if not re.fullmatch(r"[0-9]{1,5}", value.strip()):
            raise ValueError(f"is {value!r}. {accepted}")
        value = int(value)
    if not LOWEST_PORT <= value <= HIGHEST_PORT:
        raise ValueError(f"is {value}. {accepted}")
    return value


def normalise(ports: Any) -> list[PortRule]:
    """Return the rules that the declarations ask for, ordered by port and protocol.

    Raises:
        PortRuleError: with every problem of every declaration, not only the first.
    """
    rules, found = _read(ports)
    if found:
        raise PortRuleError(found)
    return sorted(rules, key=lambda rule: (rule.published, rule.protocol))


def problems(ports: Any) -> list[str]:
    """Return one sentence for each thing wrong with the declarations, none when all is well.

    Each names the variable, its value, what is accepted and what to do.
    """
    return _read(ports)[1]


def render(
    rules: Sequence[PortRule],
    bridge: str = SWARM_BRIDGE,
    destinations: Sequence[outgoing.Destination] | None = None,
) -> str:
    """Return the file that ``nft -f`` loads: in one transaction, the old table out, this in.

    The file never flushes the ruleset, because Docker's rules live there too, and drops
    nothing but what is addressed to one of these ports from a machine that is not listed,
    what is routed around them to ``bridge``, and what comes from ``bridge`` to others than
    ``destinations``, if these are given.
    """
    lines = [
        "#!/usr/sbin/nft -f",
        "# Managed by Ansible (role firewall): changes made here are replaced.",
        "# Limits every published port to the networks that its service declares.",
        "# The host itself always reaches its own ports. How it works: docs/firewall.md",
        "",
        "# Adding the table first lets the next line succeed on a host that has none yet.",
        f"add table {TABLE_FAMILY} {TABLE_NAME}",
        f"delete table {TABLE_FAMILY} {TABLE_NAME}",
        "",
        f"table {TABLE_FAMILY} {TABLE_NAME} {{",
    ]
    for rule in rules:
        lines += _render_port(rule, bridge)
    limit = [] if destinations is None else [outgoing.jump(bridge)]
    lines += [] if destinations is None else outgoing.rules(destinations)
    lines += [
        "\t# Ports that Docker forwards to a container. Before Docker's own chains, which",
        "\t# accept such a packet whoever sent it.",
        "\tchain forwarded {",
        "\t\ttype filter hook forward priority filter - 10; policy accept;",
        "\t\t# A neighbour can route to a container's own address, past its published port; so can",
        "\t\t# another container, where the engine does not keep them apart.",
        f'\t\toifname "{bridge}" ct direction original '
        'ct status & dnat == 0 counter drop comment "routed past the published ports"',
        *limit,
    ]
    lines += [
        f"\t\tct direction original ct status dnat meta l4proto {rule.protocol} "
        f"ct original proto-dst {rule.published} jump {_chain(rule)}"
        for rule in rules
    ]
    lines += [
        "\t}",
        "",
        "\t# Ports that a program on this host serves: Docker's proxy (IPv6, and IPv4 when",
        "\t# Docker's own rules are missing) or anything else that listens there.",
        "\tchain incoming {",
        "\t\ttype filter hook input priority filter - 10; policy accept;",
        '\t\tiifname "lo" accept',
        *limit,
    ]
    lines += [f"\t\t{rule.protocol} dport {rule.published} jump {_chain(rule)}" for rule in rules]
    lines += ["\t}", "}", ""]
    return "\n".join(lines)


def _chain(rule: PortRule) -> str:
    return f"{rule.protocol}_{rule.published}"


def _render_port(rule: PortRule, bridge: str) -> list[str]:
    chain = _chain(rule)
    lines = [f"\t# {rule.label}"]
    for family, networks in (("ipv4", rule.ipv4), ("ipv6", rule.ipv6)):
        lines += [
            f"\tset {chain}_{family} {{",
            f"\t\ttype {family}_addr",
            "\t\tflags interval",
            "\t\tauto-merge",
        ]
        if networks:
            lines.append(f"\t\telements = {{ {', '.join(map(str, networks))} }}")
        lines.append("\t}")
    return [
        *lines,
        f"\tchain {chain} {{",
        # Who asks whom within the node goes over networks of their own, and not around by the host.
        *(
            [f'\t\tiifname "{bridge}" counter drop comment "from a container of a Swarm"']
            if rule.of_container
            else []
        ),
        f"\t\tip saddr @{chain}_ipv4 accept",
        f"\t\tip6 saddr @{chain}_ipv6 accept",
        f'\t\tcounter drop comment "{rule.label}"',
        "\t}",
        "",
    ]


def _read(ports: Any) -> tuple[list[PortRule], list[str]]:
    """Return the rules of the sound declarations, and the problems of the others."""
    if isinstance(ports, (str, bytes, Mapping)) or not isinstance(ports, Sequence):
        return [], [
            f"The published ports are {ports!r}. Accepted: a list of declarations, each with "
            "published, protocol and sources. Correct the ports of the service definitions."
        ]
    rules: list[PortRule] = []
    found: list[str] = []
    claims: dict[tuple[int, str], str] = {}
    for position, port in enumerate(ports):
        if not isinstance(port, Mapping):
            found.append(
                f"Entry {position} of the published ports is {port!r}. Accepted: a mapping with "
                "published, protocol and sources. Correct it in the service definition."
            )
            continue
        rule, wrong = _read_one(port, position)
        found += wrong
        if rule is None:
            continue
        claim = (rule.published, rule.protocol)
        if claim in claims:
            found.append(
                f"{_variable(port, 'published', position)} is {rule.published}, and "
                f"{rule.protocol} port {rule.published} is claimed by {claims[claim]} already. "
                "Accepted: a port that nothing else on this host publishes. Give one of the two "
                "another number."
            )
            continue
        claims[claim] = _variable(port, "published", position)
        if not wrong:
            rules.append(rule)
    return rules, found


def _read_one(port: Mapping[str, Any], position: int) -> tuple[PortRule | None, list[str]]:
    """Return a rule (None when it has no usable port and protocol) and what is wrong."""
    found: list[str] = []

    published: int | None = None
    try:
        published = parse_port(port.get("published"))
    except ValueError as error:
        found.append(
            f"{_variable(port, 'published', position)} {error} Correct it in the inventory."
        )

    protocol = port.get("protocol", "tcp")
    if protocol not in PROTOCOLS:
        found.append(
            f"{_variable(port, 'protocol', position)} is {protocol!r}. Accepted: "
            f"{' or '.join(PROTOCOLS)}. Correct it in the service definition."
        )

    ipv4: list[ipaddress.IPv4Network] = []
    ipv6: list[ipaddress.IPv6Network] = []
    sources = port.get("sources")
    if isinstance(sources, (str, bytes, Mapping)) or not isinstance(sources, Sequence):
        found.append(
            f"{_variable(port, 'sources', position)} is {sources!r}. Accepted: a list of "
            "addresses and networks; an empty list [] lets only this host itself in. "
            f"Write it as a list, as in [{_ADDRESS_EXAMPLES.split(', ')[0]}]."
        )
        sources = []
    for problem in port.get("source_problems") or ():
        found.append(f"{_variable(port, 'sources', position)}{problem}")
    for index, source in enumerate(sources):
        try:
            network = parse_source(source)
        except ValueError as error:
            found.append(
                f"{_variable(port, 'sources', position)}[{index}] {error} Correct it in the "
                "inventory."
            )
            continue
        if isinstance(network, ipaddress.IPv4Network):
            ipv4.append(network)
        else:
            ipv6.append(network)

    if published is None or protocol not in PROTOCOLS:
        return None, found
    # Merged here and not only by nftables, so that one meaning has one text and a run that
    # lists the same networks in another order changes nothing.
    rule = PortRule(
        published=published,
        protocol=protocol,
        ipv4=tuple(ipaddress.collapse_addresses(ipv4)),
        ipv6=tuple(ipaddress.collapse_addresses(ipv6)),
        label=_label(port, published, protocol),
        # Where a declaration says which port of the container it is.
        of_container="target" in port,
    )
    return rule, found


def _variable(port: Mapping[str, Any], key: str, position: int) -> str:
    """Return what an operator has to look for to correct ``key`` of this declaration."""
    variable = port.get("variable" if key == "published" else f"{key}_variable")
    if variable:
        return str(variable)
    service = port.get("service")
    if not service:
        return f"Published port number {position + 1}: {key}"
    name = port.get("name") or port.get("published")
    return f"{service}_service: {key} of port {name!r}"


def _label(port: Mapping[str, Any], published: int, protocol: str) -> str:
    """Return a comment for people who list the rules: plain text that nft can carry."""
    origin = " ".join(str(port[key]) for key in ("service", "name") if port.get(key))
    purpose = str(port.get("purpose") or "")
    text = ": ".join(part for part in (origin, purpose) if part) or f"{protocol} port {published}"
    # A quote would end the comment and a line break the statement: neither may pass.
    text = re.sub(r"[^\x20-\x7e]+", " ", text).replace('"', "'").replace("\\", "/")
    return " ".join(text.split())[:COMMENT_BYTES].rstrip()
