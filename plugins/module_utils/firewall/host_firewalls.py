"""What ufw and firewalld are told, so that they let in what the published ports' sources may reach.

The limits of `port_rules` only refuse. Where the host's own firewall refuses as well, the same
ports must be allowed there, for the same sources and nobody else. Everything here is pure: rules
and the text that the programs print go in, what to change comes out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import PortRule

#: The comment by which our rules in ufw are known again.
UFW_COMMENT = "auscat-firewall"
#: Docker binds its bridges to a zone of its own, which lets everything in.
DOCKER_ZONES = frozenset({"docker"})


class UfwRule(NamedTuple):
    """A rule of ufw that lets one source reach one port."""

    protocol: str
    port: int
    source: str


class UfwRules(NamedTuple):
    """The rules of this kind that ufw has: with our comment, and the administrator's."""

    ours: set[UfwRule]
    others: set[UfwRule]


class Zone(NamedTuple):
    """A zone of firewalld."""

    active: bool
    rich_rules: frozenset[str]


def _source(network: object) -> str:
    """Return a network as the programs print it: a single address without its prefix length."""
    text = str(network)
    whole = "/128" if ":" in text else "/32"
    return text[: -len(whole)] if text.endswith(whole) else text


def ufw_is_active(configuration: str) -> bool:
    """Tell from /etc/ufw/ufw.conf whether ufw is switched on.

    ``ufw status`` would load tables of iptables to say so.
    """
    return bool(re.search(r"^ENABLED=yes", configuration, re.MULTILINE | re.IGNORECASE))


def ufw_wished(rules: Iterable[PortRule], ipv6: bool) -> set[UfwRule]:
    """Return the rules that ufw should have; without `ipv6`, ufw has none for IPv6."""
    return {
        UfwRule(rule.protocol, rule.published, _source(network))
        for rule in rules
        for network in (*rule.ipv4, *(rule.ipv6 if ipv6 else ()))
    }


def ufw_command(rule: UfwRule) -> list[str]:
    """Return the arguments of ufw that add a rule; without the last two, those that name it."""
    what = f"allow from {rule.source} to any port {rule.port} proto {rule.protocol}".split()
    return [*what, "comment", UFW_COMMENT]


def ufw_rules(shown: str) -> UfwRules:
    """Read what ``ufw show added`` prints. Rules of other kinds are left out."""
    rules = UfwRules(set(), set())
    for line in shown.splitlines():
        try:
            words = shlex.split(line)
        except ValueError:
            continue
        comment = ""
        if "comment" in words[-2:-1]:
            comment = words[-1]
            words = words[:-2]
        # ufw allow from SOURCE to any port PORT proto PROTOCOL
        if len(words) != 10 or words[:3] != ["ufw", "allow", "from"]:
            continue
        if words[4:7] != ["to", "any", "port"] or words[8] != "proto" or not words[7].isdigit():
            continue
        rule = UfwRule(words[9], int(words[7]), words[3])
        (rules.ours if comment == UFW_COMMENT else rules.others).add(rule)
    return rules


def firewalld_rules(rules: Iterable[PortRule]) -> set[str]:
    """Return the rich rules that firewalld should have, written as firewalld prints them."""
    return {
        f'rule family="{family}" source address="{_source(network)}" '
        f'port port="{rule.published}" protocol="{rule.protocol}" accept'
        for rule in rules
        for family, networks in (("ipv4", rule.ipv4), ("ipv6", rule.ipv6))
        for network in networks
    }


def firewalld_zones(listed: str) -> dict[str, Zone]:
    """Read what ``firewall-cmd --list-all-zones`` prints."""
    zones: dict[str, Zone] = {}
    name = ""
    for line in listed.splitlines():
        head = re.match(r"(\S+)(?: \((.*)\))?$", line)
        if head:
            name = head[1]
            zones[name] = Zone("active" in (head[2] or ""), frozenset())
        elif name and line.strip().startswith("rule "):
            zone = zones[name]
            zones[name] = zone._replace(rich_rules=zone.rich_rules | {line.strip()})
    return zones


def zones_to_open(zones: Mapping[str, Zone], default: str) -> Sequence[str]:
    """Return the zones through which other machines come in: the active ones and the default."""
    active = {name for name, zone in zones.items() if zone.active}
    return sorted(({default} | active) - DOCKER_ZONES)
