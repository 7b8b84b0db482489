"""What each container may do, by its own words and by trying."""

from __future__ import annotations

from typing import Any

import pytest
from shared.machines import Node

SERVICES = [
    ("cat", "auscat_orthanc"),
    ("cat", "auscat_front"),
    ("kv", "auscat_keydb"),
    ("kv", "auscat_ctp"),
    ("kv", "auscat_ctp_gate"),
    ("kv", "auscat_front"),
]


@pytest.fixture(params=SERVICES, ids=[f"{name}-{service}" for name, service in SERVICES])
def container(request: pytest.FixtureRequest, kv: Node, cat: Node) -> tuple[Node, dict[str, Any]]:
    """A machine, and `docker inspect` of a service's container on it."""
    name, service = request.param
    node = {"kv": kv, "cat": cat}[name]
    (found,) = node.tasks(service)
    return node, found


def test_it_has_no_capability(container: tuple[Node, dict[str, Any]]) -> None:
    node, found = container
    status = node.shell(f"cat /proc/{found['State']['Pid']}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == 0, fields["CapEff"]
    assert int(fields["CapBnd"], 16) == 0, fields["CapBnd"]
    assert fields["NoNewPrivs"] == "1"
    assert fields["Uid"].split()[0] != "0"


def test_its_root_cannot_be_written(container: tuple[Node, dict[str, Any]]) -> None:
    node, found = container
    assert found["HostConfig"]["ReadonlyRootfs"] is True
    for place in ("/", "/usr/bin", "/etc", "/opt"):
        tried = node.run(
            *("docker", "exec", "--user", "0", found["Id"], "sh", "-c", f"echo x > {place}/tried"),
            check=False,
        )
        assert "Read-only file system" in tried.stderr, (place, tried.stderr)


def test_its_processes_and_memory_are_limited(container: tuple[Node, dict[str, Any]]) -> None:
    _, found = container
    limits = found["HostConfig"]
    assert 0 < limits["PidsLimit"] <= 4096
    assert limits["Memory"] > 0
    assert any(each["Name"] == "nofile" for each in limits["Ulimits"] or [])


CONNECT = """
for target in "$@"; do
  timeout 3 bash -c "exec 3<>/dev/tcp/${target%:*}/${target#*:}" 2>/dev/null && echo "$target"
done
true
"""


def reached(node: Node, service: str, targets: list[str]) -> list[str]:
    """Say which of the targets, as address:port, a container of the service can connect to."""
    (found,) = node.tasks(service)
    return node.output(
        *("docker", "exec", found["Id"], "bash", "-c", CONNECT, "connect", *targets), check=False
    ).split()


def test_orthanc_reaches_nobody(kv: Node, cat: Node) -> None:
    """By name, by the machines' addresses, by those that containers have."""
    targets = [f"{kv.address}:{port}" for port in (22, 5433, 8104, 9090)]
    targets += [f"{cat.address}:{port}" for port in (22, 2377, 7946)]
    targets += ["keydb:5432", "ctp:9090", "ctp:8104", "ctp_gate:8104"]
    assert reached(cat, "auscat_orthanc", targets) == []


def test_the_gate_reaches_ctp_alone(kv: Node, cat: Node) -> None:
    targets = ["keydb:5432", f"{kv.address}:5433", f"{cat.address}:4242", f"{cat.address}:8042"]
    assert reached(kv, "auscat_ctp_gate", targets) == []
    assert reached(kv, "auscat_ctp_gate", ["ctp:8104"]) == ["ctp:8104"]


def test_the_gate_sees_no_data(kv: Node) -> None:
    (found,) = kv.tasks("auscat_ctp_gate")
    mounted = {each["Source"]: each["Destination"] for each in found["Mounts"]}
    # Of CTP's file system it sees how much is free, through a directory in which nothing is.
    free = mounted.pop("/srv/auscat/ctp/temp/.free-space")
    assert kv.output("docker", "exec", found["Id"], "find", free, "-mindepth", "1") == ""
    assert not [each for each in mounted if "temp" in each or "keydb" in each], mounted
    listed = kv.output(
        "docker", "exec", found["Id"], "sh", "-c", "ls /run/secrets 2>/dev/null || true"
    )
    assert not [name for name in listed.split() if "tls" not in name], listed
