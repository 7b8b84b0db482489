"""The ports on which an engine listens for other nodes: limited before there is a Swarm."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from shared.machines import Machine, wait_for
from sites import Site

SWARM = (2377, 7946)
CONTROL = 18099
# Tries without pause until the file is gone, and says how often and what it reached.
TRY = """
import json, os, socket, sys
address, mark, ports = sys.argv[1], sys.argv[2], [int(each) for each in sys.argv[3:]]
open(mark, "w").close()
rounds, reached = 0, {}
while os.path.exists(mark):
    rounds += 1
    for port in ports:
        try:
            socket.create_connection((address, port), 0.2).close()
            reached[port] = reached.get(port, 0) + 1
        except OSError:
            pass
print(json.dumps({"rounds": rounds, "reached": reached}))
"""
UNIT = "auscat-test-ports"


@pytest.fixture
def served(machines: dict[str, Machine]) -> Iterator[None]:
    """A port of the machine that nothing limits."""
    unit = ("systemd-run", f"--unit={UNIT}", "--collect")
    machines["kv01"].run(*unit, "python3", "-m", "http.server", str(CONTROL))
    yield
    machines["kv01"].run("systemctl", "stop", UNIT)


def test_no_neighbour_reaches_a_swarm_that_is_being_made(
    production: Site, machines: dict[str, Machine], served: None
) -> None:
    """Also where a part of the playbook makes it, without the role firewall."""
    node, neighbour = machines["kv01"], machines["cv01"]
    installed = production.play("--tags", "docker_engine", "--limit", "kv01")
    assert installed.returncode == 0, installed.errors
    assert node.output("docker", "info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"
    node.run("nft", "delete", "table", "inet", "auscat", check=False)
    neighbour.run("tee", "/run/try.py", stdin=TRY)
    neighbour.run(
        *("systemd-run", f"--unit={UNIT}", "--collect"),
        "--property=StandardOutput=truncate:/run/tried.json",
        *("python3", "/run/try.py", node.address, "/run/trying"),
        *map(str, (CONTROL, *SWARM)),
    )
    try:
        outcome = production.play("--tags", "swarm", "--limit", "kv01")
    finally:
        neighbour.run("rm", "--force", "/run/trying")
        wait_for(
            "the neighbour has stopped trying",
            lambda: neighbour.run("systemctl", "is-active", UNIT, check=False).returncode != 0,
        )
    assert outcome.returncode == 0, outcome.errors
    tried = json.loads(neighbour.output("cat", "/run/tried.json"))
    assert tried["reached"].keys() == {str(CONTROL)}, tried
    assert tried["reached"][str(CONTROL)] > 1, tried
    for port in SWARM:
        assert node.connects("127.0.0.1", port), f"the engine does not listen on {port}"
    node.run("docker", "swarm", "leave", "--force")
