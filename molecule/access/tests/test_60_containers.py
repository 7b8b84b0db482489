"""What each container may do, by its own words and by trying."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from shared.confined import Container, containers, named, reaches
from shared.machines import Machine, Node, Scenario, wait_for

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


# What the definitions of the services and the inventory say. Two on one network see each other, so
# who is asked reaches back to whoever of them listens there.
NEIGHBOURS = {
    ("kv", "ctp"): {"ctp_gate", "keydb"},
    ("kv", "ctp_gate"): {"ctp"},
    ("kv", "front"): {"ctp"},
    ("kv", "keydb"): {"ctp"},
    ("cat", "front"): {"orthanc"},
    ("cat", "orthanc"): set(),
}
#: Of whose names each knows the address: who shares a network with it, and itself.
KNOWN = {
    ("kv", "ctp"): {"ctp", "ctp_gate", "keydb", "keydb_server", "front"},
    ("kv", "ctp_gate"): {"ctp_gate", "ctp"},
    ("kv", "front"): {"front", "ctp"},
    ("kv", "keydb"): {"keydb", "keydb_server", "ctp"},
    ("cat", "front"): {"front", "orthanc", "orthanc_archive"},
    ("cat", "orthanc"): {"front", "orthanc", "orthanc_archive"},
}
#: Ports of the machines. Of cat's, CTP needs Orthanc's, and that is no way for its neighbours.
MACHINES = {("kv", "ctp"): {("cat", 4242)}}
NAMES = sorted(set().union(*KNOWN.values()) | {"ctp_export", "ctp_outlet"})


@pytest.fixture(scope="module")
def found(kv: Node, cat: Node) -> dict[str, dict[str, Container]]:
    """All containers of both machines."""
    return {node.name: containers(node) for node in (kv, cat)}


@pytest.fixture(scope="module")
def listening(kv: Node, cat: Node) -> dict[str, set[int]]:
    """Every TCP port on which a machine listens, whoever may connect."""
    ports = {}
    for node in (kv, cat):
        sockets = node.shell("ss -Hltn | awk '{print $4}'").split()
        ports[node.name] = {
            int(each.rpartition(":")[2]) for each in sockets if not each.startswith("127.")
        }
    assert {5433, 8104, 9090, 2377} <= ports["kv"] and {4242, 8042, 2377} <= ports["cat"]
    return ports


def test_these_are_all(found: dict[str, dict[str, Container]]) -> None:
    there = {(machine, service) for machine, each in found.items() for service in each}
    assert there == set(NEIGHBOURS)


@pytest.mark.parametrize(("machine", "service"), NEIGHBOURS)
def test_who_reaches_which_container(
    kv: Node, cat: Node, found: dict[str, dict[str, Container]], machine: str, service: str
) -> None:
    """Every port that listens in one, by each of its addresses."""
    node = {"kv": kv, "cat": cat}[machine]
    asker = found[machine][service]
    places = {
        (address, port): other.service
        for other in found[machine].values()
        if other is not asker
        for address in other.addresses
        for port in other.ports
    }
    reached = {places[place] for place in reaches(node, asker, list(places))}
    assert reached == NEIGHBOURS[machine, service]


@pytest.mark.parametrize(("machine", "service"), NEIGHBOURS)
def test_who_reaches_which_machine(
    kv: Node,
    cat: Node,
    found: dict[str, dict[str, Container]],
    listening: dict[str, set[int]],
    machine: str,
    service: str,
) -> None:
    """Every port of both, by each address of its own machine and by that of the other."""
    node = {"kv": kv, "cat": cat}[machine]
    listed = node.json("ip", "-json", "-4", "address", "show", "scope", "global")
    own = [each["local"] for interface in listed for each in interface["addr_info"]]
    assert node.address in own and len(own) >= 3  # its own, docker0, docker_gwbridge
    addresses = {"kv": [kv.address], "cat": [cat.address], machine: own}
    places = {
        (address, port): (name, port)
        for name, ports in listening.items()
        for address in addresses[name]
        for port in ports
    }
    reached = {places[place] for place in reaches(node, found[machine][service], list(places))}
    assert reached == MACHINES.get((machine, service), set())


@pytest.mark.parametrize(("machine", "service"), NEIGHBOURS)
def test_who_knows_which_name(
    kv: Node, cat: Node, found: dict[str, dict[str, Container]], machine: str, service: str
) -> None:
    node = {"kv": kv, "cat": cat}[machine]
    known = {name for name in NAMES if named(node, found[machine][service], name)}
    assert known == KNOWN[machine, service]


LISTEN = """
setsid python3 -c '
import socket, time
listeners = [socket.create_server(("0.0.0.0", port)) for port in (11112, 11113)]
time.sleep(120)
' >/dev/null 2>&1 &
"""


def test_services_open_what_the_inventory_names_and_nothing_else(
    kv: Node,
    cat: Node,
    clients: dict[str, Machine],
    found: dict[str, dict[str, Container]],
) -> None:
    """Orthanc knows a modality on the researcher's machine, at one port, by its name there."""
    named_one, other = clients["researcher"], clients["stranger"]
    for machine in (named_one, other):
        machine.shell(LISTEN)
        wait_for(f"{machine.name} listens", partial(machine.connects, "127.0.0.1", 11113))
    places = [(machine.address, port) for machine in (named_one, other) for port in (11112, 11113)]
    modality = (named_one.address, 11112)
    for node in (kv, cat):
        # The machines themselves get there.
        assert all(node.connects(*place) for place in places)
        for service, container in found[node.name].items():
            expected = [modality] if service == "orthanc" else []
            assert reaches(node, container, places) == expected, (node.name, service)
    assert named(cat, found["cat"]["orthanc"], "researcher") == [named_one.address]


# On a network of its own, so that it leaves the machine by the bridge of all Swarm services.
FOREIGN = """
docker network create --driver overlay shop
docker service create --quiet --detach --name shop --network shop \\
  --no-healthcheck --entrypoint sleep "$1" infinity
"""


def removed(node: Node, network: str) -> bool:
    return node.run("docker", "network", "rm", network, check=False).returncode == 0


def test_others_on_the_bridge_reach_whom_the_site_names_for_them(
    scenario: Scenario, kv: Node, cat: Node, clients: dict[str, Machine]
) -> None:
    """Somebody else's service is limited from its start, and a run warns of it."""
    researcher = clients["researcher"]
    researcher.shell(LISTEN)
    wait_for("researcher listens", partial(researcher.connects, "127.0.0.1", 11113))
    places = [(researcher.address, port) for port in (11112, 11113)]
    image = cat.services()["auscat_front"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    cat.run("bash", "-c", FOREIGN, "foreign", image)
    try:
        (seen,) = wait_for("the foreign service runs", partial(cat.tasks, "shop"))
        shop = Container("shop", seen, (), ())
        assert reaches(cat, shop, places) == []
        said = scenario.play("site.yml", "--tags", "firewall")
        assert said.returncode == 0, said.errors
        assert "shop on cat is not of this node" in " ".join(said.text.split())
        of = {"shop": [f"{researcher.address}:11113"]}
        named_for = scenario.play(
            "site.yml", "--tags", "firewall", extra={"firewall_outgoing_of": of}
        )
        assert named_for.returncode == 0, named_for.errors
        assert "is not of this node" not in " ".join(named_for.text.split())
        assert reaches(cat, shop, places) == places[1:]
    finally:
        cat.run("docker", "service", "rm", "shop")
        wait_for("its network is removed", partial(removed, cat, "shop"))
        back = scenario.play("site.yml", "--tags", "firewall")
    assert back.returncode == 0, back.errors


TAKE = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 4242), 3, source_address=("0.0.0.0", 2000))
except OSError as error:
    print(error.strerror or error)
else:
    print("open")
"""


def test_nobody_takes_a_port_that_the_rules_know_ctp_by(
    kv: Node, cat: Node, found: dict[str, dict[str, Container]]
) -> None:
    """Not even root inside, as the gate has Python."""
    gate = found["kv"]["ctp_gate"]
    for user in ((), ("--user", "0")):
        tried = kv.output("docker", "exec", *user, gate.id, "python3", "-c", TAKE, cat.address)
        assert tried == "Permission denied"


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
