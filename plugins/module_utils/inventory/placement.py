"""Which machines the services are on: machines that the playbooks never touch, or never use.

Pure. What stands in an inventory and has no effect is refused, since nobody is told otherwise.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

#: The groups that site.yml and the other playbooks go through.
GROUPS = ("keyvm", "catvm")
#: Services of which a node has one: what sends to them, or asks them, knows the first alone.
SINGLE = ("ctp", "keydb", "orthanc")
#: A name of a Swarm service, and the most characters of one (swarmkit, manager/controlapi).
SERVICE_NAME = re.compile(r"[a-zA-Z0-9](?:[-_]*[a-zA-Z0-9]+)*\Z")
LONGEST = 63


def outside_problems(
    services: Mapping[str, Any],
    groups: Mapping[str, Sequence[str]],
    played: Collection[str],
    limited: bool,
) -> list[str]:
    """Refuse services on machines that no playbook goes through.

    Args:
        services: auscat_services, sound.
        groups: of the inventory.
        played: the machines of this play.
        limited: whether --limit has taken machines out of it.
    """
    ours = {host for group in GROUPS for host in groups.get(group, [])}
    # Somebody else's play, with groups of its own.
    if limited or not ours & set(played):
        return []
    problems = []
    for service, group in services.items():
        outside = [each for each in groups.get(group, []) if each not in {*ours, *played}]
        if outside:
            problems.append(
                f"auscat_services places {service} in the group {group!r}, whose "
                f"{', '.join(outside)} is in none of {' and '.join(GROUPS)}, which alone the "
                f"playbooks go through: {service} would be missing without a word. "
                "Accepted: groups of machines that are in one of these two. Make the group a child "
                "of keyvm (identifiable data) or catvm in the inventory's hosts.yml."
            )
    return problems


def single_problems(
    services: Mapping[str, Any], groups: Mapping[str, Sequence[str]], host: str
) -> list[str]:
    """Refuse a second machine with a service of which a node has one.

    Args:
        services: auscat_services, sound.
        groups: of the inventory.
        host: the machine that is checked; what does not concern it is left out.
    """
    there = [service for service in SINGLE if service in services]
    by_group: dict[str, list[str]] = {}
    for service in there:
        # One that is used alone sends to nobody and asks nobody.
        if len(there) > 1:
            by_group.setdefault(str(services[service]), []).append(service)
    return [
        f"The group {group} has {', '.join(groups[group])}. Accepted: one machine for "
        f"{' and '.join(placed)}, since what sends to it or asks it knows {groups[group][0]} "
        "alone, and the others would get no study. A second node has an inventory of its own. Take "
        f"{', '.join(groups[group][1:])} out of the group in hosts.yml."
        for group, placed in by_group.items()
        if len(groups.get(group, [])) > 1 and host in groups[group]
    ]


def family_problems(pair: Mapping[str, Iterable[str]]) -> list[str]:
    """Refuse machines of CTP and Orthanc that know each other by IPv6 alone.

    Args:
        pair: the two machines, with the addresses by which the others reach them. One without any
            is reported elsewhere.
    """
    problems = []
    for host, addresses in pair.items():
        families = {ipaddress.ip_address(each).version for each in addresses}
        if families == {6}:
            problems.append(
                f"{host} has {', '.join(addresses)}, IPv6 alone, as its address for the other "
                "machine. Accepted: at least one IPv4 address, since an association over IPv6 "
                "comes to Orthanc from Docker's own proxy, and Orthanc could not tell CTP from "
                f"others. Set auscat_address of {host} to its IPv4 address; senders and people may "
                "use IPv6."
            )
    return problems


def stack_name_problems(stack: str, services: Iterable[str]) -> list[str]:
    """Return why Swarm would refuse a stack of this name (auscat_stack_name).

    Args:
        stack: the name.
        services: of this machine, companions included; their Swarm services begin with the name.
    """
    room = LONGEST - 1 - max(map(len, services), default=0)
    if SERVICE_NAME.match(stack) and len(stack) <= room:
        return []
    return [
        f"auscat_stack_name is {stack!r}. Accepted: letters, digits, - and _, of which a letter or "
        f"digit comes first and last, at most {room} characters, since Swarm refuses services with "
        "other or longer names. Correct it in the inventory."
    ]
