"""Machines that somebody has joined to one Swarm. Last: it installs the engine on both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shared.machines import Machine, wait_for
from sites import Site, assert_refused


@pytest.fixture(scope="module")
def shared_swarm(production: Site, machines: dict[str, Machine]) -> Iterator[None]:
    """Both machines in one Swarm, made by hand, with the engine that site.yml installs."""
    installed = production.play("--tags", "docker_engine")
    assert installed.returncode == 0, installed.errors
    manager, worker = machines["kv01"], machines["cv01"]
    manager.run("docker", "swarm", "init", "--advertise-addr", manager.address)
    token = manager.output("docker", "swarm", "join-token", "--quiet", "worker")
    worker.run("docker", "swarm", "join", "--token", token, f"{manager.address}:2377")
    ready = "{{.Status}}"

    def two_nodes() -> bool:
        return manager.output("docker", "node", "ls", "--format", ready).split() == ["Ready"] * 2

    wait_for("both nodes are ready", two_nodes)
    yield
    for machine in (worker, manager):
        machine.run("docker", "swarm", "leave", "--force")


def test_shared_swarm(production: Site, shared_swarm: None) -> None:
    before = production.fingerprints()
    outcome = production.play()
    says = [
        "manages a Swarm of 2 nodes",
        "is a worker",
        "docker swarm leave",
        "preflight_accept_shared_swarm",
    ]
    assert_refused(outcome, says)
    assert production.fingerprints() == before


def test_shared_swarm_that_was_asked_for(production: Site, shared_swarm: None) -> None:
    outcome = production.play("--tags", "preflight", preflight_accept_shared_swarm=True)
    assert outcome.returncode == 0, outcome.errors
