"""What the containers of a node may do and whom they reach: asked, and tried."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from shared.machines import Node

STATUS = "/proc/1/status"

# In the network of a container, with the node's own Python: which of these do answer.
_CONNECT = """
import concurrent.futures, json, socket, sys
def reached(place):
    try:
        socket.create_connection(place, 2).close()
    except OSError:
        return False
    return True
places = [tuple(each) for each in json.load(sys.stdin)]
with concurrent.futures.ThreadPoolExecutor(64) as pool:
    print(json.dumps([place for place, open in zip(places, pool.map(reached, places)) if open]))
"""


@dataclass(frozen=True)
class Container:
    """A running container of a service of the node."""

    service: str
    seen: dict[str, Any]
    addresses: tuple[str, ...]
    """All that it has, those of docker_gwbridge too."""
    ports: tuple[int, ...]
    """On which something listens there, on another address than loopback."""

    @property
    def id(self) -> str:
        """For docker exec."""
        return str(self.seen["Id"])


def containers(node: Node) -> dict[str, Container]:
    """All containers of the stack, by service."""
    found = {}
    for name in node.services():
        service = name.partition("_")[2]
        (seen,) = node.tasks(name)
        inside = f"nsenter --target {seen['State']['Pid']} --net"
        listed = node.json(*inside.split(), "ip", "-json", "-4", "address", "show")
        addresses = [
            each["local"] for interface in listed for each in interface["addr_info"]
            if interface["ifname"] != "lo"
        ]  # fmt: skip
        sockets = node.shell(f"{inside} ss -Hltn | awk '{{print $4}}'").split()
        # 127.0.0.11 is Docker's name server.
        ports = {int(each.rpartition(":")[2]) for each in sockets if not each.startswith("127.")}
        found[service] = Container(service, seen, tuple(addresses), tuple(sorted(ports)))
    return found


def status(node: Node, container: Container) -> dict[str, str]:
    """/proc/1/status, read inside."""
    text = node.output("docker", "exec", container.id, "cat", STATUS)
    return {key: value.strip() for key, _, value in (e.partition(":") for e in text.splitlines())}


def tried(node: Node, container: Container, script: str, user: str = "") -> tuple[int, str]:
    """Run a shell script inside; return its status and what it said."""
    arguments = ["docker", "exec", *(["--user", user] if user else []), container.id]
    result = node.run(*arguments, "sh", "-c", script, check=False)
    return result.returncode, result.stdout + result.stderr


def reaches(node: Node, asker: Container, places: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Which of these addresses and ports a program in the container can connect to."""
    enter = ("nsenter", "--target", str(asker.seen["State"]["Pid"]), "--net")
    answer = node.output(*enter, "python3", "-c", _CONNECT, stdin=json.dumps(sorted(set(places))))
    return [(address, port) for address, port in json.loads(answer)]


def named(node: Node, asker: Container, name: str) -> list[str]:
    """The addresses that a name has inside the container."""
    result = node.run("docker", "exec", asker.id, "getent", "ahostsv4", name, check=False)
    return sorted({line.split()[0] for line in result.stdout.splitlines()})
