"""The engine: a service's container held for a moment, and containers in which data is tried."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from typing import IO, Callable, cast

from . import base, trees

PAUSE_ATTEMPTS = 8


def docker(*arguments: str, stdin: str | None = None, what: str = "") -> str:
    """Run the docker command and return its trimmed output. Raises ``BackupError``."""
    done = subprocess.run(
        ["docker", *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise base.BackupError(
            f"{what or 'docker ' + arguments[0]} failed: "
            f"{(done.stderr or done.stdout).strip()[-500:]}"
        )
    return done.stdout.strip()


def container_of(service: str) -> str | None:
    """Return the running container of a Swarm service."""
    label = f"label=com.docker.swarm.service.name={service}"
    ids = docker("ps", "--quiet", "--no-trunc", "--filter", label, "--filter", "status=running")
    return next(iter(ids.split()), None)


def paused(containers: str) -> list[str]:
    """Return the paused containers of a Swarm service."""
    label = f"label=com.docker.swarm.service.name={containers}"
    return docker(
        "ps", "--quiet", "--no-trunc", "--filter", label, "--filter", "status=paused"
    ).split()


def hold(container: str, service: str) -> None:
    """Pause a container. The kernel refuses while a process of it cannot be frozen at that moment.

    Raises:
        BackupError: it refused each time; the container goes on.
    """
    for attempt in range(1, PAUSE_ATTEMPTS + 1):
        try:
            docker("pause", container, what=f"Pausing {service}")
            return
        except base.BackupError:
            if attempt == PAUSE_ATTEMPTS:
                raise
        time.sleep(0.5 * attempt)


@contextlib.contextmanager
def pause(service: str) -> Iterator[Callable[[], bool]]:
    """Hold a service still, and let it go on whatever becomes of this process.

    Gives a function that tells whether it was held all the while; a service that does not run is.
    """
    container = container_of(service)
    if container is None:
        yield lambda: container_of(service) is None
        return
    # It waits for the end of its standard input, which comes when this process ends in any way.
    with subprocess.Popen(
        [
            "sh",
            "-c",
            'trap "" INT TERM; read -r _; exec docker unpause "$1" >/dev/null',
            "sh",
            container,
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as guard:
        try:
            hold(container, service)
            yield lambda: container in paused(service)
        finally:
            cast("IO[bytes]", guard.stdin).close()
            guard.wait()


def wait_until(what: str, condition: Callable[[], bool], container: str, seconds: float) -> None:
    """Poll until a container is ready. Raises ``BackupError`` with its last words."""
    deadline = time.monotonic() + seconds
    while not condition():
        state = docker("inspect", "--format", "{{.State.Running}}", container)
        if state != "true" or time.monotonic() > deadline:
            done = subprocess.run(
                ["docker", "logs", "--tail", "5", container],
                capture_output=True,
                text=True,
                check=False,
            )
            raise base.BackupError(
                f"Waited until {what}: {(done.stdout + done.stderr).strip()[-500:]}"
            )
        time.sleep(0.3)


def remove_container(name: str) -> None:
    """Remove a container of this program, whether it is there or not."""
    subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)


def remove_leftovers() -> None:
    """Remove what a run that was killed left running, and the passwords it was given."""
    for container in docker("ps", "--all", "--quiet", "--filter", f"label={base.LABEL}").split():
        remove_container(container)
    for path in base.RUN.glob("auscat-backup-*"):
        trees.remove_tree(path)
