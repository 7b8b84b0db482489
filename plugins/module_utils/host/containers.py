"""The container of a service on this machine, and its network."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    docker_objects,
    run,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import ClientError

REPLICATED_SERVICE_LABEL = "com.docker.swarm.service.name"


def container_of(service: str) -> dict[str, Any]:
    """Return what the engine tells of the running container of a Swarm service on this host.

    Raises:
        ClientError: none runs here.
    """
    try:
        containers = docker_objects("container", [f"label={REPLICATED_SERVICE_LABEL}={service}"])
    except CommandError as error:
        raise ClientError(str(error)) from error
    running = [entry for entry in containers if entry["State"]["Running"]]
    if not running:
        raise ClientError(
            f"no container of service {service} runs on this host",
            f"See docker service ps {service} and docker service logs {service}.",
        )
    return running[0]


def containers_of(services: Iterable[str]) -> list[dict[str, Any]]:
    """Return the same of each service that runs here; the others are left out."""
    found = []
    for service in services:
        with contextlib.suppress(ClientError):
            found.append(container_of(service))
    return found


def resolve_within(container: dict[str, Any], name: str) -> str:
    """Return the address that a name has inside a container.

    Raises:
        ClientError: it has none.
    """
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        found = run(["docker", "exec", str(container["Id"]), "getent", "hosts", name]).split()
    except CommandError as error:
        raise ClientError(f"the name {name!r} has no address in CTP's container") from error
    return found[0]
