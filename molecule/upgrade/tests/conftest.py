"""The node, and other versions of its images: made on the node, each from the one that runs."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from shared.ctp_node import ctp, load, node, orthanc, pacs, patient, quarantined
from shared.machines import Node, Scenario

__all__ = ["ctp", "load", "node", "orthanc", "pacs", "patient", "quarantined"]

COPIES = "/srv/auscat/.upgrade"


@pytest.fixture(scope="session")
def version_of(node: Node) -> Callable[..., str]:
    """Build an image from the one that a service runs, and return its name."""

    def build(service: str, tag: str, *instructions: str) -> str:
        template = "{{.Spec.TaskTemplate.ContainerSpec.Image}}"
        spec = ("docker", "service", "inspect", "--format", template, f"auscat_{service}")
        lines = [f"FROM {node.output(*spec)}", *instructions]
        name = f"upgrade-test/{service}:{tag}"
        node.shell(
            f"DOCKER_BUILDKIT=0 docker build --quiet --tag {name} -", stdin="\n".join(lines) + "\n"
        )
        return name

    return build


def script(path: str, *lines: str) -> str:
    """Return the instruction that puts a shell script into an image."""
    words = " ".join(shlex.quote(line) for line in lines)
    return f"RUN printf '%s\\n' {words} > {path}"


def containers(node: Node) -> dict[str, str]:
    """The container of each service, by service."""
    return {name: tasks[0]["Id"] for name in node.services() if (tasks := node.tasks(name))}


def images(node: Node) -> dict[str, str]:
    """The image that each service's container runs, by service."""
    return {name: node.tasks(name)[0]["Config"]["Image"] for name in node.services()}


def fails(scenario: Scenario, playbook: str, extra: dict[str, Any]) -> str:
    """Run a playbook that has to fail, and return what it says of it."""
    outcome = scenario.play(playbook, extra=extra)
    assert outcome.returncode != 0, outcome.text[-2000:]
    print(outcome.errors)
    return outcome.errors
