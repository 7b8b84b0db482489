"""Engine, Swarm and directories."""

from __future__ import annotations

import pytest
from shared.machines import Node


def test_engine_runs_and_starts_at_boot(node: Node) -> None:
    engine = node.host.service("docker")
    assert engine.is_running
    assert engine.is_enabled


def test_swarm_is_led_from_the_address_of_the_default_route(node: Node) -> None:
    swarm = node.json("docker", "info", "--format", "{{json .Swarm}}")
    assert swarm["LocalNodeState"] == "active"
    assert swarm["ControlAvailable"]
    assert swarm["NodeAddr"] == node.address


@pytest.mark.parametrize(
    "service", ["auscat_orthanc", "auscat_ctp", "auscat_keydb", "auscat_front"]
)
def test_logs_are_rotated(node: Node, service: str) -> None:
    """Read from the running container: daemon.json only counts for containers made after it."""
    for task in node.tasks(service):
        assert task["HostConfig"]["LogConfig"] == {
            "Type": "json-file",
            "Config": {"max-file": "5", "max-size": "10m"},
        }


@pytest.mark.parametrize(
    ("path", "owner", "mode"),
    [
        ("/etc/auscat", 0, 0o700),
        ("/srv/auscat", 0, 0o711),
        ("/srv/auscat/orthanc", 64042, 0o750),
        ("/srv/auscat/keydb", 64432, 0o700),
        ("/srv/auscat/ctp/logs", 64104, 0o700),
        ("/srv/auscat/ctp/temp", 64104, 0o700),
    ],
)
def test_directory(node: Node, path: str, owner: int, mode: int) -> None:
    directory = node.host.file(path)
    assert directory.is_directory
    assert (directory.uid, directory.gid, oct(directory.mode)) == (owner, owner, oct(mode))


@pytest.mark.parametrize("path", ["keydb", "ctp/temp", "ctp/logs", "orthanc"])
def test_other_users_of_the_host_see_no_data(node: Node, path: str) -> None:
    result = node.run(
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
        "ls", f"/srv/auscat/{path}",
        check=False,
    )  # fmt: skip
    assert result.returncode != 0
    assert "Permission denied" in result.stderr
