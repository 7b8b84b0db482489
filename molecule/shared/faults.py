"""What happens to machines and services, done to them from outside."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from shared.machines import Node, wait_for

# The process that receives and de-identifies: CTP's Java machine, or the stand-in.
ENGINE = r"CTP\.jar|-m ctp_standin"


def container(node: Node, service: str) -> str:
    """Wait for the running container of a service and return its id."""
    return str(wait_for(f"a container of {service} runs", lambda: node.tasks(service))[0]["Id"])


def kill_process(node: Node, service: str, pattern: str) -> int:
    """kill -9 the processes of a service whose command line matches; return how many.

    From the machine, since the first process of a container is immune to its own.

    Args:
        pattern: extended regular expression.
    """
    script = (
        'docker top "$0" -eo pid,args | grep -E -- "$1" | awk \'{ print $1 }\' |'
        " tee /dev/stderr | xargs --no-run-if-empty kill -9"
    )
    killed = node.run("bash", "-c", script, container(node, service), pattern).stderr.split()
    return sum(each.isdecimal() for each in killed)


def kill_container(node: Node, service: str) -> None:
    """kill -9 all processes of a service at once."""
    node.run("docker", "kill", "--signal", "KILL", container(node, service))


def reboot(node: Node) -> None:
    """Sudden: nobody on the machine is told."""
    subprocess.run(["docker", "kill", node.container], check=True, capture_output=True)
    subprocess.run(["docker", "start", node.container], check=True, capture_output=True)


def scale(node: Node, service: str, replicas: int) -> None:
    """Take a service away (0), or bring it back (1)."""
    node.run("docker", "service", "scale", "--detach", f"{service}={replicas}")
    wait_for(f"{service} has {replicas} tasks", lambda: len(node.tasks(service)) == replicas, 120)


@contextlib.contextmanager
def full(node: Node, directory: str) -> Iterator[None]:
    """Another program fills the file system of a directory to the last byte."""
    filler = f"{directory}/filler"
    node.shell(f"dd if=/dev/zero of={filler} bs=64K 2>/dev/null || true")
    try:
        left = int(node.shell(f"df --output=avail {directory} | tail -n 1"))
        assert left < 1024, f"{left} KiB are free"
        yield
    finally:
        node.run("rm", filler)
