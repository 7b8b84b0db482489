"""Which ports the rules that this host has loaded limit, asked before something publishes them."""

from __future__ import annotations

import ipaddress
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.firewall import outgoing
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import (
    SWARM_BRIDGE,
    TABLE_FAMILY,
    TABLE_NAME,
    Network,
    PortRule,
    render,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run

Port = tuple[str, int]
"""Protocol (tcp or udp) and port number on the host."""

_SBIN = "/usr/sbin:/sbin"
_TABLE = (TABLE_FAMILY, TABLE_NAME)
_JUMP = re.compile(rf"jump (?:(?:tcp|udp)_\d+|{outgoing.CHAIN})$")
_BASE_CHAINS = ("forwarded", "incoming")
_OUTGOING = f"chain {outgoing.CHAIN}"


def published_by(document: Mapping[str, Any]) -> set[Port]:
    """The ports that a stack file publishes on the host.

    Args:
        document: a Compose file of version 3.9, with ports in the long form.
    """
    return {
        (str(port.get("protocol") or "tcp"), int(port["published"]))
        for service in (document.get("services") or {}).values()
        for port in service.get("ports") or []
        if port.get("published")
    }


def not_limited(ports: Iterable[Port], live: str, model: str) -> list[Port]:
    """Return those ports that the loaded table does not limit, sorted.

    Args:
        ports: what is to be published.
        live: ``nft --stateless list table inet auscat`` of the host; empty without a table.
        model: the same of a table rendered for these ports. Who may reach a port is not compared,
            and the ports of others may be there too; all else has to be as it is rendered.
    """
    found, wished = _blocks(live), _blocks(model)
    whole = "dormant" not in " ".join(found.get("", [])) and all(
        _fixed(found.get(f"chain {name}")) == _fixed(wished.get(f"chain {name}"))
        for name in _BASE_CHAINS
    )
    return sorted(port for port in ports if not whole or not _is_limited(port, found, wished))


def let_out_too(live: str, model: str) -> list[str]:
    """Return whom containers may connect to by the loaded table and not by the model, in words.

    Args:
        live: as for `not_limited`. Where it limits that not at all, nothing is said: a machine gets
            this limit once its services know the names that they need (decision 68).
        model: the same of a table rendered with the wished destinations.
    """
    found, wished = _blocks(live), _blocks(model)
    if _OUTGOING not in found:
        return []
    opened, declared = (_uncommented(each[_OUTGOING]) or [] for each in (found, wished))
    more = [line for line in opened if line not in declared]
    jump = outgoing.jump(SWARM_BRIDGE).strip()
    # What refuses stands last, and nothing may go past the chain.
    if opened[-1:] != declared[-1:] or any(
        jump not in found.get(f"chain {name}", []) for name in _BASE_CHAINS
    ):
        more.append("all")
    return [f"outwards: {line}" for line in more]


def let_in_too(rules: Iterable[PortRule], live: str) -> list[str]:
    """Return who is let in by the loaded table and not by these rules, in words.

    Args:
        rules: ports with their sources; of those that the table does not have, nothing is said.
        live: as for `not_limited`.
    """
    blocks = _blocks(live)
    found = []
    for rule in rules:
        name = f"{rule.protocol}_{rule.published}"
        for family, wished in (("ipv4", rule.ipv4), ("ipv6", rule.ipv6)):
            found += [
                f"{rule.published}/{rule.protocol} from {network}"
                for network in _elements(blocks.get(f"set {name}_{family}", []))
                # What these rules let in has no two networks that would make one.
                if not any(network.version == w.version and network.subnet_of(w) for w in wished)
            ]
    return found


def _elements(lines: list[str]) -> list[Network]:
    """Return the networks of a set as nft lists it, in which neighbours may stand as a range."""
    _, _, listed = " ".join(lines).partition("elements = {")
    networks: list[Network] = []
    for element in listed.partition("}")[0].split(","):
        first, _, last = (element.split() or [""])[0].partition("-")
        if last:
            ends = (ipaddress.ip_address(first), ipaddress.ip_address(last))
            networks += ipaddress.summarize_address_range(*ends)
        elif first:
            networks.append(ipaddress.ip_network(first))
    return networks


def not_limited_here(
    ports: Iterable[Port],
    declared: Iterable[PortRule] = (),
    destinations: Sequence[outgoing.Destination] | None = None,
) -> tuple[list[Port], list[str]]:
    """Return what the table loaded on this host lets in and should not.

    Args:
        ports: what is to be published.
        declared: what should be limited on this host, to whom.
        destinations: whom containers may connect to; None: nothing is said of it.

    Returns:
        The ports that are not limited, sorted, and who beside the declared is let in or may be
        connected to, in words.

    Raises:
        CommandError: nft gives no answer that can be compared.
    """
    declared, published = list(declared), set(ports)
    # Behind these are containers, which the rules keep from coming in by them.
    of_containers = published | {
        (rule.protocol, rule.published) for rule in declared if rule.of_container
    }
    wished = sorted({*published, *((rule.protocol, rule.published) for rule in declared)})
    nft = shutil.which("nft") or shutil.which("nft", path=_SBIN)
    if nft is None or not (wished or destinations is not None):
        return wished, []
    try:
        live = run([nft, "--stateless", "list", "table", *_TABLE])
    except CommandError as error:
        if "No such file or directory" not in str(error):
            raise
        return wished, []
    rules = [
        PortRule(number, protocol, (), (), "-", (protocol, number) in of_containers)
        for protocol, number in wished
    ]
    text = render(rules, SWARM_BRIDGE, destinations)
    # Loaded into a network namespace that ends with the command, nft lists it as it lists the host.
    script = f"{nft} --file - && exec {nft} --stateless list table {' '.join(_TABLE)}"
    model = run(["unshare", "--net", "sh", "-c", script], text)
    others = let_in_too(declared, live)
    if destinations is not None:
        others += let_out_too(live, model)
    return not_limited(wished, live, model), others


def _is_limited(
    port: Port, found: Mapping[str, list[str]], wished: Mapping[str, list[str]]
) -> bool:
    name = f"{port[0]}_{port[1]}"
    chain = f"chain {name}"
    return _uncommented(found.get(chain)) == _uncommented(wished[chain]) and all(
        line in found[f"chain {base}"]
        for base in _BASE_CHAINS
        for line in wished[f"chain {base}"]
        if line.endswith(f"jump {name}")
    )


def _fixed(lines: list[str] | None) -> list[str] | None:
    return None if lines is None else [line for line in lines if not _JUMP.search(line)]


def _uncommented(lines: list[str] | None) -> list[str] | None:
    return None if lines is None else [re.sub(r' comment ".*"$', "", line) for line in lines]


def _blocks(listing: str) -> dict[str, list[str]]:
    """The lines of each set and chain of a listing; those of the table itself under ``""``."""
    blocks: dict[str, list[str]] = {}
    name = ""
    for line in map(str.strip, listing.splitlines()[1:]):
        if match := re.fullmatch(r"((?:set|chain) \S+) \{", line):
            name = match[1]
            blocks[name] = []
        elif line == "}":
            name = ""
        elif line:
            blocks.setdefault(name, []).append(line)
    return blocks
