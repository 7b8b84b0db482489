"""Which rule drops a packet: rulesets as ``nft --json`` prints them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.nft_trace import (
    Ruleset,
    words,
)


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def dport(right: Any, op: str = "==") -> dict[str, Any]:
    return match({"payload": {"protocol": "tcp", "field": "dport"}}, right, op)


def saddr(right: Any, op: str = "==") -> dict[str, Any]:
    return match({"payload": {"protocol": "ip", "field": "saddr"}}, right, op)


def meta(key: str, right: Any, op: str = "==") -> dict[str, Any]:
    return match({"meta": {"key": key}}, right, op)


DROP, ACCEPT, REJECT = {"drop": None}, {"accept": None}, {"reject": None}
XT = {"xt": {"type": "match", "name": "conntrack"}}
NEW = match({"ct": {"key": "state"}}, ["established", "related"], "in")
ORIGINAL = match({"ct": {"key": "proto-dst", "dir": "original"}}, 8042)
PAST = match({"&": [{"ct": {"key": "status"}}, "dnat"]}, 0)
SOURCE = "10.1.2.3"


def ruleset(
    *rules: list[dict[str, Any]],
    hook: str = "forward",
    policy: str = "accept",
    table: str = "site",
    more: tuple[dict[str, Any], ...] = (),
) -> Ruleset:
    base = {"family": "inet", "table": table, "name": "base", "type": "filter", "hook": hook}
    listed: list[dict[str, Any]] = [{"chain": {**base, "prio": 0, "policy": policy}}]
    for number, rule in enumerate(rules, start=1):
        where = {"family": "inet", "table": table, "chain": "base", "handle": number}
        listed.append({"rule": {**where, "expr": rule}})
    return Ruleset({"nftables": [*listed, *more]})


@pytest.mark.parametrize(
    ("rules", "blocked"),
    [
        ([[dport(8042), DROP]], True),
        ([[dport(8042), REJECT]], True),
        ([[dport(9999), DROP]], False),
        ([[dport({"set": [80, 8042]}), DROP]], True),
        ([[dport({"range": [8000, 8100]}), DROP]], True),
        ([[dport(8042, "!="), DROP]], False),
        ([[ORIGINAL, DROP]], True),
        ([[saddr({"prefix": {"addr": "10.1.0.0", "len": 16}}), DROP]], True),
        ([[saddr({"prefix": {"addr": "10.2.0.0", "len": 16}}), DROP]], False),
        ([[saddr(SOURCE), ACCEPT], [dport(8042), DROP]], False),
        ([[saddr("10.9.9.9"), ACCEPT], [dport(8042), DROP]], True),
        ([[NEW, ACCEPT], [dport(8042), DROP]], True),
        ([[meta("iifname", "lo"), ACCEPT], [dport(8042), DROP]], True),
        # What cannot be known from here is neither true nor false.
        ([[XT, ACCEPT], [dport(8042), DROP]], False),
        ([[XT, DROP]], False),
        ([[meta("iifname", "eth0"), DROP]], False),
        ([[meta("iifname", "eth0"), ACCEPT], [dport(8042), DROP]], False),
        ([[match({"payload": {"protocol": "ip6", "field": "saddr"}}, "::1"), DROP]], False),
        ([[{"counter": {"packets": 1, "bytes": 2}}, DROP]], True),
        # What perhaps drops it lets nothing in.
        ([[XT, DROP], [dport(8042), DROP]], True),
        ([[PAST, DROP]], False),
        ([[PAST, ACCEPT], [dport(8042), DROP]], True),
    ],
)
def test_a_rule_in_the_way(rules: list[list[dict[str, Any]]], blocked: bool) -> None:
    found = ruleset(*rules).blocks(8042, 8042, SOURCE, "tcp")
    assert bool(found) is blocked


def test_a_rule_is_named() -> None:
    (block,) = ruleset([saddr("10.9.9.9"), DROP], [dport(8042), DROP]).blocks(
        8042, 8042, SOURCE, "tcp"
    )
    assert block.where == "table inet site, chain base, handle 2"
    assert block.rule == "tcp dport 8042 drop" and not block.ours


def test_a_policy_is_named() -> None:
    (block,) = ruleset(policy="drop").blocks(8042, 8042, SOURCE, "tcp")
    assert "policy" in block.rule
    assert not ruleset([XT, ACCEPT], policy="drop").blocks(8042, 8042, SOURCE, "tcp")


def test_behind_dockers_translation_the_port_is_the_containers() -> None:
    rules = ruleset([dport(5433), DROP])
    assert not rules.blocks(5433, 5432, SOURCE, "tcp")
    assert ruleset([dport(5432), DROP]).blocks(5433, 5432, SOURCE, "tcp")
    assert ruleset([dport(5433), DROP], hook="prerouting").blocks(5433, 5432, SOURCE, "tcp")


def test_ipv6_ends_on_the_host() -> None:
    assert ruleset([dport(8042), DROP], hook="input").blocks(8042, 8042, "2001:db8::1", "tcp")
    assert not ruleset([dport(8042), DROP], hook="input").blocks(8042, 8042, SOURCE, "tcp")


@pytest.mark.parametrize(("source", "blocked"), [("10.1.2.3", False), ("10.1.2.4", True)])
def test_our_own_set_is_named(source: str, blocked: bool) -> None:
    where = {"family": "inet", "table": "auscat"}
    more = (
        {"set": {**where, "name": "tcp_8042_ipv4", "elem": ["10.1.2.3"]}},
        {"chain": {**where, "name": "tcp_8042"}},
        {"rule": {**where, "chain": "tcp_8042", "handle": 8, "expr": [
            saddr("@tcp_8042_ipv4"), ACCEPT]}},
        {"rule": {**where, "chain": "tcp_8042", "handle": 9, "expr": [
            {"counter": {"packets": 7, "bytes": 0}}, DROP]}},
    )  # fmt: skip
    rules = ruleset([ORIGINAL, {"jump": {"target": "tcp_8042"}}], table="auscat", more=more)
    found = rules.blocks(8042, 8042, source, "tcp")
    assert [(each.ours, each.sets) for each in found] == ([(True, ("tcp_8042_ipv4",))] * blocked)
    assert rules.dropped("inet", "auscat", "tcp_8042") == 7


def test_words_hold_no_comment() -> None:
    assert words([dport({"set": [1, 2]}), {"comment": "SECRET"}, DROP]) == "tcp dport { 1, 2 } drop"
