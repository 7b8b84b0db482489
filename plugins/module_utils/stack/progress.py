"""How far the services of a stack are, asked beside a deployment that waits for them."""

from __future__ import annotations

import re
import shlex

from ansible_collections.auscat.imaging.plugins.module_utils.stack.state import LABEL_STACK

_BETWEEN = "--"


def question(stack: str) -> str:
    """Return the shell command that asks the engine; `told` reads what it prints."""
    label = shlex.quote(f"label={LABEL_STACK}={stack}")
    return (
        f"docker service ls --filter {label} --format '{{{{.Name}}}} {{{{.Replicas}}}}'"
        f" && echo {_BETWEEN} && docker ps --filter {label} --format"
        " '{{.Label \"com.docker.swarm.service.name\"}} {{.Status}}'"
    )


def told(stack: str, printed: str) -> str:
    """Return how many services run and what the others do, in one line.

    Swarm counts a task as running once its container is healthy.

    Args:
        stack: its name, which the services' names begin with.
        printed: what the command of `question` printed.
    """
    services, _, containers = printed.partition(f"{_BETWEEN}\n")
    states = dict(line.split(" ", 1) for line in containers.splitlines() if " " in line)
    rows = [line.split()[:2] for line in sorted(services.splitlines()) if len(line.split()) > 1]
    waiting = []
    for name, replicas in rows:
        running, _, wanted = replicas.partition("/")
        if wanted == "0":
            waiting.append(f"{name.removeprefix(f'{stack}_')}: stopped")
        elif running != wanted:
            waiting.append(f"{name.removeprefix(f'{stack}_')}: {_state(states.get(name, ''))}")
    if not rows:
        return "no service yet"
    return "; ".join([f"{len(rows) - len(waiting)} of {len(rows)} services run", *waiting])


def _state(status: str) -> str:
    """Return the state of a container that Swarm does not count, from the words of docker ps."""
    if not status:
        return "no container yet"
    starting = re.fullmatch(r"Up (.+) \(health: starting\)", status)
    return f"starting for {starting[1].lower()}" if starting else status
