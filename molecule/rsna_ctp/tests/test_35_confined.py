"""Containers with nothing to spare, on networks by need, and a gate that sees no data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shared.confined import Container, containers, named, reaches, status, tried
from shared.machines import Node, wait_for

SERVICES = ("ctp", "ctp_export", "ctp_gate", "front", "keydb", "orthanc")
# Who may connect to whom: what the definitions of the services say (docs/architecture.md). CTP and
# those that it asks share a network, on which each sees the other; so do the gate and CTP.
NEIGHBOURS = {
    ("ctp_gate", "ctp"),
    ("ctp", "ctp_gate"),
    ("ctp", "keydb"),
    ("keydb", "ctp"),
    ("ctp", "ctp_export"),
    ("ctp_export", "ctp"),
    ("ctp_export", "orthanc"),
    ("orthanc", "ctp_export"),
    # The web server listens on neither of the networks that it shares with those behind it.
    ("front", "ctp"),
    ("front", "orthanc"),
}
LIMITS = {
    "ctp": (2048, 8192),
    "ctp_export": (256, 1024),
    "ctp_gate": (1024, 4096),
    "front": (512, 4096),
    "keydb": (256, 4096),
    "orthanc": (512, 4096),
}


@pytest.fixture(scope="module")
def found(node: Node) -> dict[str, Container]:
    """All containers of the node."""
    return containers(node)


@pytest.fixture(params=SERVICES)
def container(found: dict[str, Container], request: pytest.FixtureRequest) -> Container:
    """Each of them."""
    return found[request.param]


@pytest.fixture
def nothing_behind(node: Node) -> Iterator[None]:
    """No answer from beyond the node in the place of a container that cannot be reached.

    A container's packets for the networks of others leave by the host's default route, and what
    lies behind it may have the same addresses.
    """
    hole = ("blackhole", "10.0.0.0/8")
    node.run("ip", "route", "add", *hole)
    yield
    node.run("ip", "route", "del", *hole)


def test_these_are_all(found: dict[str, Container]) -> None:
    assert sorted(found) == sorted(SERVICES)


def test_what_the_engine_was_told(container: Container) -> None:
    host = container.seen["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert host["ReadonlyRootfs"] is True
    processes, files = LIMITS[container.service]
    assert host["PidsLimit"] == processes
    assert [(each["Name"], each["Soft"], each["Hard"]) for each in host["Ulimits"]] == [
        ("nofile", files, files)
    ]


def test_what_the_kernel_holds(node: Node, container: Container) -> None:
    seen = status(node, container)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(seen[kind], 16) == 0, kind
    assert seen["NoNewPrivs"] == "1"
    assert seen["Seccomp"] == "2"  # the engine's own filter
    _, said = tried(node, container, "find / -xdev -type f -perm /6000 2>/dev/null")
    assert said == "", "a program that makes its user another one"
    _, files = LIMITS[container.service]
    assert tried(node, container, "ulimit -Hn") == (0, f"{files}\n")


@pytest.mark.parametrize("user", ["", "0"], ids=["as the service", "as root"])
def test_nothing_can_be_written_to_its_system(node: Node, container: Container, user: str) -> None:
    for place in ("/", "/etc", "/usr/bin", "/var/lib", "/run"):
        code, said = tried(node, container, f"echo x > {place}/written", user)
        assert code != 0, place
        # Whoever is not root is told the first reason.
        assert "Read-only file system" in said or "ermission denied" in said, said
        assert user != "0" or "Read-only file system" in said, said


def test_root_inside_is_nobody(node: Node, container: Container) -> None:
    """docker exec --user 0: no capability, so the files of others stay shut."""
    code, said = tried(node, container, "cat /proc/self/status", "0")
    assert code == 0
    assert "\nCapEff:\t0000000000000000\n" in said
    code, said = tried(node, container, "chown 1 /dev/shm && echo yes", "0")
    assert "yes" not in said


def test_what_is_writable_has_a_size(node: Node, container: Container) -> None:
    """Beside the directories of the service: memory, within its limit."""
    code, said = tried(node, container, "cat /proc/mounts")
    assert code == 0
    writable = {
        fields[1]: fields[3]
        for fields in map(str.split, said.splitlines())
        if fields[2] == "tmpfs" and "rw" in fields[3].split(",")
        # What the engine itself mounts.
        if not fields[1].startswith(("/dev", "/proc", "/sys"))
    }
    expected = {
        "ctp": {"/tmp"},
        "front": {"/run/front"},
        "keydb": {"/tmp", "/run/postgresql"},
        "orthanc": {"/run/orthanc"},
    }.get(container.service, set())
    assert set(writable) == expected
    for options in writable.values():
        assert "size=" in options
        assert "nosuid" in options.split(",")


def test_a_fork_bomb_ends_at_its_limit(node: Node, found: dict[str, Container]) -> None:
    processes, _ = LIMITS["keydb"]
    # Those that were started end by themselves: the shell is at its end when one cannot be started.
    loop = "i=0; while [ $i -lt 1000 ]; do sleep 5 & i=$((i + 1)); echo $i; done"
    code, said = tried(node, found["keydb"], loop)
    assert code != 0
    assert "annot fork" in said, said[-300:]
    started = [int(line) for line in said.split() if line.isdecimal()]
    assert processes // 2 < max(started) < processes
    wait_for(
        "the started processes have ended",
        lambda: (
            tried(node, found["keydb"], "true")[0] == 0
            and len(node.output("docker", "top", found["keydb"].id).splitlines()) < 60
        ),
    )
    assert not node.unhealthy()


@pytest.mark.usefixtures("nothing_behind")
def test_who_reaches_whom_by_any_address(node: Node, found: dict[str, Container]) -> None:
    """Each port that listens in any container, from every other one, by each address it has."""
    seen = set()
    for asker in found.values():
        places = {
            (address, port): other.service
            for other in found.values()
            if other is not asker
            for address in other.addresses
            for port in other.ports
        }
        for place in reaches(node, asker, list(places)):
            seen.add((asker.service, places[place]))
    assert seen == NEIGHBOURS


@pytest.mark.parametrize("service", SERVICES)
def test_nobody_gets_in_by_the_host(node: Node, found: dict[str, Container], service: str) -> None:
    """By each address of the host, the bridge's own too, at each published port."""
    listed = node.json("ip", "-json", "-4", "address", "show", "scope", "global")
    addresses = [each["local"] for interface in listed for each in interface["addr_info"]]
    assert node.address in addresses
    places = [(address, port) for address in addresses for port in (5433, 8042, 8104, 9090)]
    assert len(addresses) >= 3  # its own, docker0, docker_gwbridge
    assert reaches(node, found[service], places) == []


@pytest.mark.usefixtures("nothing_behind")
def test_orthanc_sees_nothing_but_the_way_to_itself(
    node: Node, found: dict[str, Container]
) -> None:
    orthanc, way = found["orthanc"], found["ctp_export"]
    for name in ("ctp", "ctp_gate", "keydb", "keydb_server"):
        assert named(node, orthanc, name) == [], name
    places = [
        (address, port) for address in way.addresses for port in (*way.ports, 5432, 8042, 9090)
    ]
    assert {port for _, port in reaches(node, orthanc, places)} == {4242, 4243}
    # What it is led to is itself.
    assert named(node, found["ctp"], "orthanc")[0] in way.addresses


def test_the_gate_sees_free_space_and_no_data(node: Node, found: dict[str, Container]) -> None:
    gate = found["ctp_gate"]
    sources = {each["Source"] for each in gate.seen["Mounts"]}
    space = "/srv/auscat/ctp/temp/.free-space"
    assert {each for each in sources if each.startswith("/srv")} == {
        space,
        "/srv/auscat/ctp/gate",
    }
    assert not [each for each in sources if "secret" in each]
    assert tried(node, gate, "ls -A /ctp_free_space; ls /ctp_temp; ls /run/secrets")[1].count(
        "No such file"
    ) + len(tried(node, gate, "ls -A /ctp_temp 2>/dev/null")[1]) in (1, 2)
    assert tried(node, gate, "ls -A /ctp_free_space") == (0, "")
    assert tried(node, gate, "echo x > /ctp_free_space/x")[0] != 0
    # CTP's own file system, which a site may have mounted by itself.
    ask = ("stat", "--file-system", "--format=%i %b")
    here = node.output(*ask, "/srv/auscat/ctp/temp")
    assert node.output("docker", "exec", gate.id, *ask, "/ctp_free_space") == here
    assert node.output("stat", "--file-system", "--format=%i", "/srv/auscat/ctp/temp") != (
        node.output("stat", "--file-system", "--format=%i", "/srv/auscat/ctp")
    )


def test_the_network_of_all_is_gone(node: Node) -> None:
    names = node.output("docker", "network", "ls", "--format", "{{.Name}}").split()
    assert sorted(name for name in names if name.startswith("auscat_")) == [
        "auscat_ctp_export_to_orthanc",
        "auscat_ctp_gate_alone",
        "auscat_ctp_gate_to_ctp",
        "auscat_ctp_to_ctp_export",
        "auscat_ctp_to_keydb",
        "auscat_front_alone",
        "auscat_front_to_ctp",
        "auscat_front_to_orthanc",
        "auscat_keydb_alone",
    ]
