"""The networks that Docker takes for itself, and who of the site's they would cut off.

Pure. A container answers an address that lies in one of its own networks into that network, and the
machine one that lies in a bridge's into the bridge: who has such an address waits for ever. Docker
takes 172.17.0.0/16 and the next, and a Swarm 10.0.0.0/24 and the next, which hospitals use, too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

Network = ipaddress.IPv4Network

VARIABLE = "auscat_docker_address_pools"
#: Size of each network that Docker takes of the pools, in bits of its prefix.
SUBNET_BITS = 24
#: Least that the pools have together, in networks of that size: half for the bridges, half for the
#: Swarm, which has one for each pair of services that speak to one another.
LEAST_SUBNETS = 32
#: What the engine takes when nobody says otherwise (20.10 to 28): networks and prefixes.
ENGINE_DEFAULT = (
    *((f"172.{number}.0.0/16", 16) for number in range(17, 32)),
    ("192.168.0.0/16", 20),
)
SWARM_DEFAULT = (("10.0.0.0/8", 24),)


def halves(pools: Iterable[str]) -> tuple[list[Network], list[Network]]:
    """Return what the engine's bridges get of the pools, and what the Swarm gets."""
    bridges, overlays = [], []
    for pool in pools:
        lower, upper = ipaddress.IPv4Network(pool).subnets()
        bridges.append(lower)
        overlays.append(upper)
    return bridges, overlays


def pools(wished: Sequence[str]) -> dict[str, Any]:
    """Return what is set on a machine for the pools, nothing for none.

    Args:
        wished: auscat_docker_address_pools.

    Returns:
        engine (settings of daemon.json), swarm (networks for docker swarm init), and bits (the
        prefix of each network that the Swarm takes of them).
    """
    bridges, overlays = halves(wished)
    if not bridges:
        return {"engine": {}, "swarm": [], "bits": SUBNET_BITS}
    first = next(bridges[0].subnets(new_prefix=SUBNET_BITS))
    return {
        "engine": {
            "default-address-pools": [{"base": str(each), "size": SUBNET_BITS} for each in bridges],
            # An engine that has a bridge docker0 keeps its address, unless it is told another.
            "bip": f"{first.network_address + 1}/{SUBNET_BITS}",
        },
        "swarm": [str(each) for each in overlays],
        "bits": SUBNET_BITS,
    }


def pool_problems(value: Any) -> list[str]:
    """Return what is wrong with auscat_docker_address_pools."""
    accepted = (
        "Accepted: a list of IPv4 networks that nobody at the site uses, of /8 to "
        f"/{SUBNET_BITS - 1} and together at least a /{SUBNET_BITS - 5}, such as [100.64.0.0/16]; "
        "[] for Docker's own choice. Correct it in the inventory."
    )
    if not isinstance(value, (list, tuple)):
        return [f"{VARIABLE} is {value!r}. {accepted}"]
    found: list[Network] = []
    problems = []
    for index, each in enumerate(value):
        try:
            network = ipaddress.IPv4Network(each if isinstance(each, str) else "")
            if not 8 <= network.prefixlen < SUBNET_BITS:
                raise ValueError
        except ValueError:
            problems.append(f"{VARIABLE}[{index}] is {each!r}. {accepted}")
            continue
        others = [other for other in found if other.overlaps(network)]
        if others:
            problems.append(f"{VARIABLE} has {others[0]} and {network}, which overlap. {accepted}")
        found.append(network)
    if value and not problems and sum(map(_subnets, found)) < LEAST_SUBNETS:
        problems.append(f"{VARIABLE} is {list(value)!r}, which is too small. {accepted}")
    return problems


def _subnets(network: Network) -> int:
    return int(2 ** (SUBNET_BITS - network.prefixlen))


def swarm_pool_problems(wished: Sequence[str], present: Sequence[str], machine: str) -> list[str]:
    """Refuse pools that a Swarm, which keeps those that it was made with, does not have.

    Args:
        wished: auscat_docker_address_pools, sound.
        present: the pools of the Swarm on this machine, as `docker info` tells them; none where it
            has no Swarm.
        machine: its name in the inventory.
    """
    needed = pools(wished)["swarm"]
    if not wished or not present or set(needed) == set(present):
        return []
    return [
        f"{VARIABLE} is {list(wished)!r}, of which the Swarm gets {', '.join(needed)}, and the "
        f"Swarm on {machine} was made with {', '.join(present)}, which it keeps. Accepted: the "
        "pools that it was made with, or a machine without a Swarm. Run playbooks/teardown.yml "
        "with -e teardown_swarm=true, which keeps the data; then `docker network rm "
        f"docker_gwbridge` on {machine}, and site.yml."
    ]


def used(machine: Mapping[str, Any], wished: Sequence[str], overlays: int) -> dict[str, Network]:
    """Return the IPv4 networks that Docker has on a machine, or will take there, by name.

    Args:
        machine: what the module preflight has found: networks (of the engine: name, subnet),
            routes (destination, device), engine (version, swarm_state).
        wished: auscat_docker_address_pools, sound.
        overlays: how many networks a Swarm that is made will have, its own (ingress) among them;
            0 where none is to be made.
    """
    found = {
        str(each["name"]): network
        for each in machine.get("networks", [])
        for network in _ipv4(each["subnet"])
    }
    there = list(found.values())
    # Bridges are never made where the machine has a route. Overlays are, since they are none of the
    # machine's own networks.
    routes = [network for each in _routes(machine) for network in _ipv4(each["destination"])]
    lower, upper = halves(wished)
    of_engine = [(str(each), SUBNET_BITS) for each in lower] or list(ENGINE_DEFAULT)
    free = (each for each in _split(of_engine) if not _overlaps(each, [*there, *routes]))
    names = [each for each in ("docker0", "docker_gwbridge") if _bridge(each) not in found]
    if not overlays:
        names = [each for each in names if each == "docker0"]
    found.update(zip(names, islice(free, len(names))))
    if machine.get("engine", {}).get("swarm_state", "inactive") == "inactive":
        of_swarm = [(str(each), SUBNET_BITS) for each in upper] or list(SWARM_DEFAULT)
        new = islice(_split(of_swarm), overlays)
        found.update({f"the Swarm's network {number}": net for number, net in enumerate(new, 1)})
    return {_bridge_name(name): network for name, network in found.items()}


def _bridge(name: str) -> str:
    """Return the name of the engine's network that has a bridge of this name."""
    return "bridge" if name == "docker0" else name


def _bridge_name(name: str) -> str:
    return "docker0" if name == "bridge" else name


def _routes(machine: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the routes of a machine that are none of Docker's."""
    own = {(each.get("device"), each["subnet"]) for each in machine.get("networks", [])}
    return [
        each
        for each in machine.get("routes", [])
        if (each["device"], each["destination"]) not in own
    ]


def _split(bases: Iterable[tuple[str, int]]) -> Iterator[Network]:
    return chain.from_iterable(
        ipaddress.IPv4Network(base).subnets(new_prefix=bits) for base, bits in bases
    )


def _overlaps(network: Network, others: Iterable[Network]) -> bool:
    return any(network.overlaps(other) for other in others)


def _ipv4(text: Any) -> list[Network]:
    """Return an IPv4 address or network as a network, and nothing for what is none."""
    try:
        return [ipaddress.IPv4Network(str(text).strip(), strict=False)]
    except ValueError:
        return []


def collisions(
    machine: Mapping[str, Any],
    wished: Sequence[str],
    sources: Mapping[str, Iterable[str]],
    overlays: int,
) -> tuple[list[str], list[str]]:
    """Return who lies in a network of Docker's, which is refused, and who holds one, which is said.

    Args:
        machine: as for `used`.
        wished: auscat_docker_address_pools, sound.
        sources: addresses and networks by what an operator knows them by, such as the variable.
        overlays: as for `used`.
    """
    refused: list[str] = []
    said: list[str] = []
    asked = [
        (f"{label} has {network}", network)
        for label, each in sources.items()
        for text in each
        for network in _ipv4(text)
        if not network.is_loopback
    ] + [
        (f"The machine has a route to {network} ({each['device']})", network)
        for each in _routes(machine)
        for network in _ipv4(each["destination"])
        if network.prefixlen
    ]
    taken = used(machine, wished, overlays)
    for what, network in asked:
        held = []
        for name, subnet in taken.items():
            if network.subnet_of(subnet):
                refused.append(
                    f"{what}, which lies in {subnet}, a network that Docker uses on this machine "
                    f"({name}): answers of the services would never get there. Accepted: "
                    "addresses outside of Docker's networks. Give Docker other ones, which nobody "
                    f"at the site has, in {VARIABLE} (docs/firewall.md)."
                )
            elif network.prefixlen and subnet.subnet_of(network):
                held.append(f"{subnet} ({name})")
        if held:
            said.append(
                f"{what}, which holds networks that Docker uses on this machine: "
                f"{', '.join(held)}. Nobody with an address in them gets an answer. {VARIABLE} "
                "moves Docker's networks (docs/firewall.md)."
            )
    return list(dict.fromkeys(refused)), list(dict.fromkeys(said))
