"""How the Docker engine of a machine is set up, and what of it a node cannot live with.

The first half asks the machine; the second is pure and takes what was found.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run
from ansible_collections.auscat.imaging.plugins.module_utils.host.facts import missing_packages

#: Packages of engines and clients of others, which share names, files or the socket with Debian's.
FOREIGN_PACKAGES = (
    *("containerd.io", "docker-ce", "docker-ce-cli", "docker-ce-rootless-extras"),
    *("docker-desktop", "docker-ee", "docker-ee-cli", "docker-engine"),
    *("moby-cli", "moby-containerd", "moby-engine", "podman-docker"),
)
STACK_LABEL = "com.docker.stack.namespace"
SERVICE_LABEL = "com.docker.swarm.service.name"
SWARM_BRIDGE = "docker_gwbridge"
#: What no package has brought.
FOREIGN_FILES = {
    "/snap/docker/current": "the snap docker",
    "/snap/bin/docker": "the snap docker",
    "/usr/local/bin/dockerd": "/usr/local/bin/dockerd",
    "/usr/local/sbin/dockerd": "/usr/local/sbin/dockerd",
    "/opt/bin/dockerd": "/opt/bin/dockerd",
}


def networks() -> list[dict[str, str]]:
    """Return the IPv4 and IPv6 networks of the engine: name, subnet, and device of a bridge."""
    try:
        listed = run(["docker", "network", "ls", "--quiet", "--no-trunc"], timeout=20).split()
        inspect = ["docker", "network", "inspect", *listed]
        found = json.loads(run(inspect, timeout=20)) if listed else []
    except CommandError:
        return []
    return subnets(found)


def subnets(inspected: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return name, subnet and device of what `docker network inspect` has told."""
    return [
        {
            "name": str(network["Name"]),
            "subnet": str(each["Subnet"]),
            "device": str(
                (network.get("Options") or {}).get("com.docker.network.bridge.name")
                or f"br-{network['Id'][:12]}"
            ),
        }
        for network in inspected
        for each in (network.get("IPAM") or {}).get("Config") or []
        if each.get("Subnet")
    ]


def neighbours(stack: str, replaced: Collection[str] = ()) -> list[str]:
    """Return who leaves this machine by the same bridge as a stack's services and is not of it.

    Stacks by their name, and containers of none by theirs or their service's. Only what is on the
    bridge now is seen.

    Args:
        stack: the node's.
        replaced: full names of services of others in whose place the node comes.
    """
    form = "\t".join(
        (
            "{{.ID}}",
            f'{{{{.Label "{STACK_LABEL}"}}}}',
            f'{{{{.Label "{SERVICE_LABEL}"}}}}',
            "{{.Names}}",
        )
    )
    try:
        inspected = json.loads(run(["docker", "network", "inspect", SWARM_BRIDGE], timeout=20))
        listed = run(["docker", "ps", "--no-trunc", "--format", form], timeout=20)
    except CommandError:
        return []
    return others(inspected, listed, stack, replaced)


def others(
    inspected: Iterable[Mapping[str, Any]],
    listed: str,
    stack: str,
    replaced: Collection[str] = (),
) -> list[str]:
    """Return those of the containers of a network that are not of a stack, sorted, each once.

    Args:
        inspected: what `docker network inspect` has told.
        listed: a line for each container: ID, stack, service and name, separated by tabs.
        stack: whose containers are left out.
        replaced: services whose containers are left out, too.
    """
    there = {each for network in inspected for each in network.get("Containers") or {}}
    found = set()
    for line in listed.splitlines():
        identifier, of_stack, service, name = line.split("\t")
        if identifier in there and of_stack != stack and service not in replaced:
            found.add(of_stack or service or name)
    return sorted(found)


def routes() -> list[dict[str, str]]:
    """Return destination and device of the machine's IPv4 routes, without default ones."""
    try:
        found = json.loads(run(["ip", "-j", "-4", "route", "show"]) or "[]")
    except CommandError:
        return []
    return destinations(found)


def destinations(shown: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return destination and device of what `ip -j route show` has told."""
    return [
        {
            "destination": str(route["dst"]),
            "device": str(hop["dev"]),
        }
        for route in shown
        if route.get("dst", "default") != "default" and route.get("type", "unicast") == "unicast"
        for hop in (route.get("nexthops") or [route])[:1]
        if hop.get("dev")
    ]


def foreign(root: Path = Path("/")) -> list[str]:
    """Return the engines and clients of others on this machine, as an operator knows them.

    Raises:
        CommandError: there is no dpkg.
    """
    absent = missing_packages(FOREIGN_PACKAGES)
    packages = [f"the package {name}" for name in FOREIGN_PACKAGES if name not in absent]
    files = [what for path, what in FOREIGN_FILES.items() if (root / path[1:]).exists()]
    return list(dict.fromkeys([*packages, *files]))


def foreign_problems(found: Iterable[str], wished: Collection[str], machine: str) -> list[str]:
    """Refuse engines of others beside the one that is installed here.

    Args:
        found: as `foreign` gives them.
        wished: docker_engine_packages: whoever lists them there has chosen them.
        machine: its name in the inventory.
    """
    others = [each for each in found if each.removeprefix("the package ") not in wished]
    if not others or "docker.io" not in wished:
        return []
    return [
        f"{machine} has {', '.join(others)}, beside which Debian's docker.io cannot be installed: "
        "they share the socket, the command and /var/lib/docker. Accepted: no other Docker, or its "
        "packages in docker_engine_packages in the place of docker.io. Look at what it runs "
        "(`docker ps --all`), and remove it the way it came (apt-get remove, snap remove)."
    ]


#: Settings of daemon.json that a Swarm, or what runs in it, cannot live with: what of them is
#: wrong, and why.
REFUSED_SETTINGS: dict[str, tuple[tuple[Any, ...], str]] = {
    "live-restore": ((True,), "an engine with it cannot become a Swarm. Accepted: false"),
    "iptables": (
        (False,),
        "no published port would lead to its service, and the node's rules would not see where a "
        "connection comes from. Accepted: true",
    ),
}
#: The same, whatever they are set to.
REFUSED_WHATEVER = {
    "userns-remap": "the services could not use their directories, which belong to the machine's "
    "own user IDs",
    "cluster-store": "it belongs to the clusters before Swarm mode, and excludes that",
    "cluster-advertise": "it belongs to the clusters before Swarm mode, and excludes that",
}


def setting_problems(configuration: Mapping[str, Any], options: Any) -> list[str]:
    """Refuse settings of the engine that a Swarm cannot live with.

    Args:
        configuration: /etc/docker/daemon.json of the machine.
        options: docker_engine_options, which are merged into it.
    """
    options = options if isinstance(options, Mapping) else {}
    problems = []
    for name, value in {**configuration, **options}.items():
        if name in REFUSED_SETTINGS and value in REFUSED_SETTINGS[name][0]:
            why = REFUSED_SETTINGS[name][1]
        elif value and name in REFUSED_WHATEVER:
            why = f"{REFUSED_WHATEVER[name]}. Accepted: none"
        else:
            continue
        if name in options:
            where, remedy = "docker_engine_options", "Remove it from the inventory."
        else:
            where, remedy = "/etc/docker/daemon.json", "Remove it there, and restart the engine."
        problems.append(f"{name} of {where} is {json.dumps(value)}: {why}. {remedy}")
    return problems


def swarm_state_problems(engine: Mapping[str, Any], machine: str) -> list[str]:
    """Say what is wrong with a Swarm that does not come up.

    Args:
        engine: swarm_state, swarm_error and swarm_address, as `facts.engine` gives them.
        machine: its name in the inventory.
    """
    if engine.get("swarm_state") != "error":
        return []
    error = " ".join(str(engine.get("swarm_error") or "").split())
    if "certificate" not in error or "expired" not in error:
        return [
            f"The Swarm on {machine} does not come up. The engine says: {error or 'nothing'}. "
            "Accepted: a Swarm that runs, or none. `journalctl -u docker` says more; leaving it "
            "(`docker swarm leave --force`) loses its secrets and services, which site.yml makes "
            "anew, and no data of auscat_data_root."
        ]
    return [
        f"The certificate of the Swarm on {machine} is not valid now. The engine says: {error}. "
        "A running engine renews it; one that was off for months, or whose clock is wrong, does "
        "not. Accepted: a valid one. Compare the clock first (`date`): where it is wrong, set it "
        "and restart the engine (`systemctl restart docker`). Where it is right, run `docker swarm "
        "init --force-new-cluster --advertise-addr ADDRESS` with this machine's address, which "
        "keeps services and secrets and makes a new certificate; then run this again. Do not leave "
        "the Swarm."
    ]


def address_problems(engine: Mapping[str, Any], address: Any, advertised: Any) -> list[str]:
    """Refuse a machine without an address for its Swarm, where one has to be made.

    Args:
        engine: swarm_state.
        address: that of the default route; empty without one, None where nobody can tell.
        advertised: swarm_advertise_address.
    """
    if address or advertised or engine.get("swarm_state") != "inactive":
        return []
    why = (
        "nobody can tell the machine's own without the command ip (package iproute2)"
        if address is None
        else "the machine has no default route that leads anywhere (`ip route show default`)"
    )
    return [
        f"swarm_advertise_address is empty, and {why}. Accepted: an address of this machine, or a "
        "default route. Set swarm_advertise_address in the inventory."
    ]
