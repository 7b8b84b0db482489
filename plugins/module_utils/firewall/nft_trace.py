"""Which rule of a host's nftables would drop a packet, read from ``nft --json list ruleset``.

Pure. What cannot be known from the rules alone (rules of iptables' own matches, marks, interfaces
of other machines) is neither taken for true nor for false: a drop behind it is not certain.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

Maybe = Optional[bool]

_OUR_TABLE = ("inet", "auscat")
_INSIDE = ("lo", "docker", "br-", "veth")
_DEEPEST = 16


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection from another machine to a published port.

    Attributes:
        source: address that it comes from.
        published: the port that it was sent to.
        port: the port that it is sent to now; another one behind Docker's translation.
        protocol: tcp or udp.
        translated: whether Docker has sent it on to a container.
    """

    source: str
    published: int
    port: int
    protocol: str = "tcp"
    translated: bool = False

    @property
    def family(self) -> str:
        """``ip`` or ``ip6``."""
        return "ip6" if ":" in self.source else "ip"


class Block(NamedTuple):
    """A rule, or the policy of a chain, that drops a packet.

    ``where`` names table, chain and handle; ``rule`` is it in words; ``sets`` are the sets of
    addresses that the chain accepts and that the source is not in; ``certain``: nothing before it
    could have let the packet in.
    """

    where: str
    rule: str
    sets: tuple[str, ...]
    ours: bool
    certain: bool


class Ruleset:
    """The chains, rules and sets of a host."""

    def __init__(self, listed: Mapping[str, Any]) -> None:
        self.chains: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self.rules: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
        self.sets: dict[tuple[str, str, str], Sequence[Any]] = {}
        for entry in listed.get("nftables", []):
            for kind, found in entry.items():
                if kind not in ("chain", "rule", "set"):
                    continue
                table = (str(found["family"]), str(found["table"]))
                if kind == "chain":
                    self.chains[(*table, str(found["name"]))] = found
                elif kind == "rule":
                    self.rules.setdefault((*table, str(found["chain"])), []).append(found)
                else:
                    self.sets[(*table, str(found["name"]))] = found.get("elem") or []

    def has_table(self, family: str, name: str) -> bool:
        """Whether there is a chain in a table."""
        return any(key[:2] == (family, name) for key in self.chains)

    def dropped(self, family: str, table: str, chain: str) -> int:
        """Return how many packets the dropping rules of a chain have counted."""
        total = 0
        for rule in self.rules.get((family, table, chain), []):
            expressions = rule.get("expr", [])
            if any("drop" in each for each in expressions):
                total += sum(
                    int(each["counter"].get("packets", 0))
                    for each in expressions
                    if isinstance(each.get("counter"), Mapping)
                )
        return total

    def blocks(self, published: int, target: int, source: str, protocol: str) -> list[Block]:
        """Return what drops the first packet of a connection, in the order in which it comes.

        Args:
            published: the port on the host.
            target: the port in the container that Docker sends it on to.
            source: address of the machine that connects.
            protocol: tcp or udp.
        """
        before = Packet(source, published, published, protocol)
        # IPv4 is sent on to the container; IPv6 is taken by Docker's proxy on the host.
        behind = (
            Packet(source, published, target, protocol, translated=True)
            if before.family == "ip"
            else before
        )
        found = []
        for hook, packet in (
            ("prerouting", before),
            ("forward" if behind.translated else "input", behind),
        ):
            bases = [
                (int(chain.get("prio", 0)), key)
                for key, chain in self.chains.items()
                if chain.get("hook") == hook
                and key[0] in ("inet", packet.family)
                # Docker's translation lives there, and nothing is dropped.
                and chain.get("type") == "filter"
            ]
            for _, key in sorted(bases):
                block = self._base(key, packet)
                if block:
                    found.append(block)
        return found

    def _base(self, key: tuple[str, str, str], packet: Packet) -> Block | None:
        end, certain = self._walk(key, packet, True, 0)
        if isinstance(end, Block):
            return end
        if end != "accept" and self.chains[key].get("policy") == "drop" and certain:
            where = f"table {key[0]} {key[1]}, chain {key[2]}"
            return Block(where, "the chain's policy is drop", (), key[:2] == _OUR_TABLE, True)
        return None

    def _walk(
        self, key: tuple[str, str, str], packet: Packet, certain: bool, depth: int
    ) -> tuple[Block | str, bool]:
        """Return a block, accept or continue; and whether all before it was certain."""
        if depth > _DEEPEST:
            return "continue", False
        for rule in self.rules.get(key, []):
            expressions = rule.get("expr", [])
            matched = self._matches(expressions, packet, key)
            if matched is False:
                continue
            for each in expressions:
                if "accept" in each:
                    if matched:
                        return "accept", certain
                    certain = False
                elif "drop" in each or "reject" in each:
                    # One that perhaps drops the packet lets nothing in.
                    if matched and certain:
                        return self._block(key, rule, packet), True
                elif "return" in each:
                    if matched:
                        return "continue", certain
                    certain = False
                elif "jump" in each or "goto" in each:
                    target = (each.get("jump") or each["goto"])["target"]
                    inner = bool(matched) and certain
                    end, inner = self._walk((*key[:2], target), packet, inner, depth + 1)
                    certain = certain and inner if matched else False
                    if matched and end != "continue":
                        return end, certain
                    if matched and "goto" in each:
                        return "continue", certain
                elif "xt" in each and each["xt"].get("type") == "target":
                    certain = False
        return "continue", certain

    def _block(self, key: tuple[str, str, str], rule: Mapping[str, Any], packet: Packet) -> Block:
        field = f"{packet.family} saddr"
        sets = tuple(
            str(each["match"]["right"])[1:]
            for other in self.rules[key]
            for each in other.get("expr", [])
            if "match" in each
            and _field(each["match"]["left"]) == field
            and str(each["match"]["right"]).startswith("@")
            and any("accept" in verdict for verdict in other.get("expr", []))
        )
        where = f"table {key[0]} {key[1]}, chain {key[2]}, handle {rule.get('handle', '?')}"
        return Block(where, words(rule.get("expr", [])), sets, key[:2] == _OUR_TABLE, True)

    def _matches(
        self, expressions: Iterable[Mapping[str, Any]], packet: Packet, key: tuple[str, str, str]
    ) -> Maybe:
        known: Maybe = True
        for each in expressions:
            if "match" in each:
                found = self._match(each["match"], packet, key)
            elif "limit" in each or ("xt" in each and each["xt"].get("type") == "match"):
                found = None
            else:
                continue
            if found is False:
                return False
            if found is None:
                known = None
        return known

    def _match(self, match: Mapping[str, Any], packet: Packet, key: tuple[str, str, str]) -> Maybe:
        field = _field(match["left"])
        values: dict[str, Any] = {
            f"{packet.protocol} dport": packet.port,
            "th dport": packet.port,
            f"{packet.family} saddr": packet.source,
            "meta l4proto": packet.protocol,
            "meta nfproto": "ipv6" if packet.family == "ip6" else "ipv4",
            f"{packet.family} {'nexthdr' if packet.family == 'ip6' else 'protocol'}": (
                packet.protocol
            ),
            "ct state": "new",
            "ct direction": "original",
            "ct status": "dnat" if packet.translated else "",
            "ct original proto-dst": packet.published,
        }
        operator, right = match.get("op", "=="), match["right"]
        if field == "ct status & dnat" and right == 0:
            return packet.translated is (operator == "!=")
        if field in ("meta iifname", "meta oifname"):
            names = _listed(right)
            if all(isinstance(name, str) and name.startswith(_INSIDE) for name in names):
                inside = field == "meta oifname" and packet.translated
                # It comes from outside; and goes to some bridge of Docker's, which is not known.
                equal: Maybe = None if inside and "lo" not in names else False
            else:
                equal = None
        elif field in values:
            equal = self._equal(values[field], right, key)
            if field.endswith(("saddr",)) and equal is None:
                return None
        elif field.split(" ")[0] in ("ip", "ip6", "tcp", "udp", "icmp", "icmpv6") and (
            field.split(" ")[0] not in (packet.family, packet.protocol)
        ):
            return False
        else:
            return None
        if equal is None:
            return None
        return not equal if operator == "!=" else equal if operator in ("==", "in") else None

    def _equal(self, value: Any, right: Any, key: tuple[str, str, str]) -> Maybe:
        if isinstance(right, str) and right.startswith("@"):
            name = (*key[:2], right[1:])
            if name not in self.sets:
                return None
            return any(self._equal(value, each, key) for each in self.sets[name])
        if isinstance(right, Mapping):
            if "set" in right:
                return any(self._equal(value, each, key) for each in _listed(right["set"]))
            if "elem" in right:
                return self._equal(value, right["elem"].get("val"), key)
            if "range" in right:
                low, high = right["range"]
                if isinstance(value, int):
                    return int(low) <= value <= int(high)
                address = ipaddress.ip_address(value)
                first, last = ipaddress.ip_address(low), ipaddress.ip_address(high)
                return int(first) <= int(address) <= int(last)
            if "prefix" in right:
                network = f"{right['prefix']['addr']}/{right['prefix']['len']}"
                return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)
            return None
        if isinstance(right, list):
            return any(self._equal(value, each, key) for each in right)
        if isinstance(value, int):
            return str(value) == str(right)
        return str(value) == str(right)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, Mapping) and "set" in value:
        value = value["set"]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _field(left: Any) -> str:
    if not isinstance(left, Mapping):
        return str(left) if left == "dnat" else "?"
    if "&" in left:
        return " & ".join(_field(each) for each in left["&"])
    if "payload" in left:
        payload = left["payload"]
        return f"{payload.get('protocol', '?')} {payload.get('field', '?')}"
    if "meta" in left:
        return f"meta {left['meta'].get('key', '?')}"
    if "ct" in left:
        ct = left["ct"]
        return " ".join(part for part in ("ct", ct.get("dir", ""), str(ct.get("key"))) if part)
    return "?"


def words(expressions: Iterable[Mapping[str, Any]]) -> str:
    """Return a rule in words, as nft would print it; no comment, which can hold anything."""
    parts = []
    for each in expressions:
        if "match" in each:
            match = each["match"]
            operator = "" if match.get("op", "==") in ("==", "in") else f"{match['op']} "
            parts.append(f"{_field(match['left'])} {operator}{_value(match['right'])}")
        else:
            parts += [name for name in ("drop", "reject") if name in each]
    return " ".join(parts)


def _value(right: Any) -> str:
    if isinstance(right, Mapping):
        if "set" in right:
            return "{ " + ", ".join(_value(each) for each in _listed(right["set"])) + " }"
        if "range" in right:
            return "-".join(str(each) for each in right["range"])
        if "prefix" in right:
            return f"{right['prefix']['addr']}/{right['prefix']['len']}"
        return "…"
    return str(right)
