"""A clock of a test host's services that can be set: clock.c in each of their processes.

The test hosts share the clock of the machine that runs them, which no test may set.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from shared.machines import Node, wait_for

DIRECTORY = "/var/lib/test-clock"
MOUNTS = {"/test-clock": DIRECTORY, "/etc/ld.so.preload": f"{DIRECTORY}/preload"}


@contextlib.contextmanager
def settable(node: Node, services: Sequence[str], scratch: Path) -> Iterator[Callable[[int], None]]:
    """Restart the services with a clock that can be set, and at the end without.

    Args:
        scratch: a directory of this machine.

    Yields:
        What sets it: seconds from the true time.
    """
    library = scratch / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True
    )
    node.run("mkdir", "-p", DIRECTORY)
    node.put(library, f"{DIRECTORY}/clock.so")
    node.shell(f"echo /test-clock/clock.so > {DIRECTORY}/preload; chmod -R a+rX {DIRECTORY}")
    jump(node, 0)
    options = [
        f"--mount-add=type=bind,readonly=true,source={source},target={target}"
        for target, source in MOUNTS.items()
    ]
    update(node, services, options)
    try:
        yield lambda seconds: jump(node, seconds)
    finally:
        update(node, services, [f"--mount-rm={target}" for target in MOUNTS])


def jump(node: Node, seconds: int) -> None:
    """Set the clock, without replacing the file that is mapped."""
    node.run(
        "python3",
        "-c",
        "import sys; open(sys.argv[1], 'ab').close(); file = open(sys.argv[1], 'r+b');"
        " file.write(int(sys.argv[2]).to_bytes(8, 'little', signed=True))",
        f"{DIRECTORY}/offset",
        str(seconds),
    )


def now(node: Node, service: str) -> int:
    """Seconds since the epoch, as a process of the service sees it."""
    (task,) = node.tasks(service)
    return int(node.output("docker", "exec", task["Id"], "date", "+%s"))


def update(node: Node, services: Sequence[str], options: Sequence[str]) -> None:
    """Update the services and wait until each has another, healthy task."""
    for service in services:
        before = {task["Id"] for task in node.tasks(service)}
        node.run("docker", "service", "update", "--detach", *options, service)

        def replaced(service: str = service, before: set[str] = before) -> bool:
            tasks = node.tasks(service)
            return len(tasks) == 1 and tasks[0]["Id"] not in before

        wait_for(f"{service} is replaced", replaced, 120)
    wait_for("they are healthy", lambda: not node.unhealthy(), 180)
