"""What a deployed stack looks like to the Docker command, and whether it has converged."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.engine import Engine

LABEL_STACK = "com.docker.stack.namespace"
#: States of a task that neither runs nor will.
ENDED = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")
LOG_LINES = 15
DIGEST_OF = "engine:"
"""What a digest is of: the engine's own words. Records of earlier versions have no such mark: they
are of the docker command's, which leave unset parts out."""


@dataclass
class ServiceState:
    """One service of the stack as it is now."""

    name: str
    spec_digest: str
    image: str = ""
    update_state: str = ""
    update_message: str = ""
    running: int = 0
    desired: int = 1
    health: str = "none"
    errors: list[str] = field(default_factory=list)

    @property
    def converged(self) -> bool:
        """All tasks of the present definition run and are healthy, and no update is under way."""
        return (
            self.running >= self.desired
            and self.health in ("healthy", "none")
            and self.update_state in ("", "completed", "rollback_completed")
        )

    @property
    def rolled_back(self) -> bool:
        """Swarm gave the present definition up and went back to the one before it."""
        return self.update_state.startswith(("rollback", "paused"))


def spec_digest(service: dict[str, Any]) -> str:
    """Return the SHA-256 of a service's Spec as Swarm keeps it, behind `DIGEST_OF`."""
    return (
        DIGEST_OF + hashlib.sha256(json.dumps(service["Spec"], sort_keys=True).encode()).hexdigest()
    )


def read_stack(stack: str, engine: Engine | None = None) -> dict[str, ServiceState]:
    """Return the services of a stack by plain name (without the stack's).

    Args:
        stack: name of the stack.
        engine: a connection that is there already.

    Raises:
        CommandError: the engine does not answer.
    """
    states = {}
    engine = engine or Engine()
    services = engine.services(f"{LABEL_STACK}={stack}")
    containers = _running_containers(engine, stack) if services else {}
    tasks = engine.tasks(
        container["Config"]["Labels"]["com.docker.swarm.task.id"]
        for found in containers.values()
        for container in found
    )
    for service in services:
        spec = service["Spec"]
        name = spec["Name"][len(stack) + 1 :]
        update = service.get("UpdateStatus") or {}
        present = [
            container
            for container in containers.get(spec["Name"], [])
            if _belongs(container, service, tasks)
        ]
        state = ServiceState(
            name=name,
            spec_digest=spec_digest(service),
            image=spec["TaskTemplate"]["ContainerSpec"]["Image"],
            update_state=update.get("State", ""),
            update_message=update.get("Message", ""),
            running=len(present),
            desired=spec["Mode"].get("Replicated", {}).get("Replicas", 1),
        )
        if present:
            healths = {
                container["State"].get("Health", {}).get("Status", "none") for container in present
            }
            state.health = healths.pop() if len(healths) == 1 else "starting"
        states[name] = state
    return states


def _running_containers(engine: Engine, stack: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for container in engine.containers(f"{LABEL_STACK}={stack}"):
        found.setdefault(container["Config"]["Labels"]["com.docker.swarm.service.name"], []).append(
            container
        )
    return found


def _belongs(
    container: dict[str, Any], service: dict[str, Any], tasks: dict[str, dict[str, Any]]
) -> bool:
    """Tell whether a container runs what the service's present definition asks for."""
    template = service["Spec"]["TaskTemplate"]
    task = tasks.get(container["Config"]["Labels"]["com.docker.swarm.task.id"])
    return bool(
        task
        and all(
            _filled(task["Spec"].get(part)) == _filled(template.get(part))
            for part in ("ContainerSpec", "Resources", "ForceUpdate")
        )
        and _ports(task["Status"].get("PortStatus")) == _ports(service["Spec"].get("EndpointSpec"))
        and task["DesiredState"] == "running"
        and task["Status"]["State"] == "running"
    )


def _filled(part: Any) -> Any:
    """Leave unset settings out, at all levels.

    The engine writes some in a service and not in its tasks, and so does a Docker command that is
    newer than the engine.
    """
    if isinstance(part, dict):
        filled = {key: _filled(value) for key, value in part.items()}
        return {key: value for key, value in filled.items() if value is not None} or None
    if isinstance(part, list):
        return [_filled(value) for value in part] or None
    return part or None


def _ports(holder: dict[str, Any] | None) -> set[tuple[int, int, str]]:
    return {
        (port["PublishedPort"], port["TargetPort"], port["Protocol"])
        for port in (holder or {}).get("Ports") or []
    }


def task_ids(engine: Engine, stack: str, name: str) -> set[str]:
    """Return the tasks that a service has or had, as far as Swarm remembers; none without it.

    Raises:
        CommandError: the engine does not answer.
    """
    return {task["ID"] for task in engine.tasks_of(f"{stack}_{name}")}


def unfinished_tasks(engine: Engine, stack: str, name: str) -> int:
    """Return how many of a service's tasks run or may still be started.

    A task that waits for its start has no container that runs, and Swarm may start it although the
    service was scaled to nothing in the meantime.

    Raises:
        CommandError: the engine does not answer.
    """
    tasks = engine.tasks_of(f"{stack}_{name}")
    return sum(task["Status"]["State"] not in ENDED for task in tasks)


def failed_tasks(engine: Engine, stack: str, name: str, known: set[str]) -> int:
    """Return how many of a service's tasks ended of themselves, those `known` left out.

    One that Swarm ends since it is not healthy counts by its exit code: 0 is "complete".

    Raises:
        CommandError: the engine does not answer.
    """
    return sum(
        task["Status"]["State"] in ("failed", "rejected", "complete")
        for task in engine.tasks_of(f"{stack}_{name}")
        if task["ID"] not in known
    )


def diagnosis(stack: str, name: str) -> str:
    """Return a service's last task errors and log lines, for an operator to read."""
    service = f"{stack}_{name}"
    tasks = _try(
        ["docker", "service", "ps", "--no-trunc", "--format"]
        + ["{{.Name}}: {{.CurrentState}} {{.Error}}", service]
    )
    # What a service wrote to its standard error comes on that of the command.
    logs = _try(
        ["sh", "-c", '"$@" 2>&1', "sh", "docker", "service", "logs", "--raw", "--timestamps"]
        + ["--tail", str(LOG_LINES), service]
    )
    # The lines of several tasks come mixed; each begins with its time.
    logs = "\n".join(line.partition(" ")[2] for line in sorted(logs.splitlines()))
    return (
        f"Tasks of {service}, newest first:\n{_indent(tasks, 6)}\n"
        f"Last log lines of {service}:\n{_indent(logs, LOG_LINES, last=True)}"
    )


def _try(arguments: list[str]) -> str:
    try:
        return run(arguments, timeout=20)
    except CommandError as error:
        return str(error)


def _indent(text: str, lines: int, last: bool = False) -> str:
    kept = text.strip().splitlines()
    kept = kept[-lines:] if last else kept[:lines]
    return "\n".join(f"    {line}" for line in kept) or "    (nothing)"
