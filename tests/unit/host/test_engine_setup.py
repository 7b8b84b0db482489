from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.host import engine_setup, facts

DEBIAN = ["docker.io", "nftables"]
#: What `docker info` says where the certificate of a Swarm has run out (20.10 to 26.1).
EXPIRED = (
    "error while loading TLS certificate in /var/lib/docker/swarm/certificates/swarm-node.crt: "
    "certificate (1 - 0a1b2c3d4e5f6g7h8i9j0k1l2) not valid after Fri, 25 Jun 2021 01:41:00 UTC, "
    "and it is currently Wed, 21 Jul 2021 00:39:25 UTC: x509: certificate has expired or is not "
    "yet valid"
)


@pytest.mark.parametrize(
    ("configuration", "options", "words"),
    [
        ({}, {}, []),
        ({"live-restore": False, "iptables": True, "userns-remap": ""}, {"log-driver": "x"}, []),
        ({"live-restore": True}, {}, ["live-restore of /etc/docker/daemon.json is true", "there"]),
        ({}, {"live-restore": True}, ["live-restore of docker_engine_options", "the inventory"]),
        # What the inventory says wins in the file that is written.
        ({"live-restore": True}, {"live-restore": False}, []),
        ({"userns-remap": "default"}, {}, ['userns-remap of /etc/docker/daemon.json is "default"']),
        ({"iptables": False}, {}, ["iptables", "is false", "Accepted: true"]),
        (
            {"cluster-store": "etcd://a"},
            {},
            ["cluster-store", "before Swarm mode, and excludes that"],
        ),
        ({}, None, []),
    ],
)
def test_settings_that_a_swarm_cannot_live_with(
    configuration: dict[str, Any], options: Any, words: list[str]
) -> None:
    problems = engine_setup.setting_problems(configuration, options)
    assert len(problems) == bool(words)
    for word in words:
        assert word in problems[0]


@pytest.mark.parametrize(
    ("found", "wished", "words"),
    [
        ([], DEBIAN, []),
        (["the package docker-ce"], DEBIAN, ["kv01 has the package docker-ce", "apt-get remove"]),
        (["the snap docker"], DEBIAN, ["the snap docker", "snap remove"]),
        # Whoever lists it has chosen it.
        (["the package docker-ce", "the package containerd.io"], ["docker-ce"], []),
    ],
)
def test_dockers_of_others(found: list[str], wished: list[str], words: list[str]) -> None:
    problems = engine_setup.foreign_problems(found, wished, "kv01")
    assert len(problems) == bool(words)
    for word in words:
        assert word in problems[0]


def test_a_snap_and_an_engine_by_hand_are_found(tmp_path: Path) -> None:
    there = set(engine_setup.foreign(tmp_path))
    for path in ("snap/docker/current", "usr/local/bin/dockerd"):
        (tmp_path / path).mkdir(parents=True)
    assert set(engine_setup.foreign(tmp_path)) - there == {
        "the snap docker",
        "/usr/local/bin/dockerd",
    }


def state(name: str, error: str = "") -> list[str]:
    return engine_setup.swarm_state_problems({"swarm_state": name, "swarm_error": error}, "kv01")


def test_a_certificate_of_the_swarm_that_has_run_out() -> None:
    (problem,) = state("error", EXPIRED)
    assert "The certificate of the Swarm on kv01 is not valid now" in problem
    assert "25 Jun 2021" in problem and "`date`" in problem
    assert "--force-new-cluster" in problem and "Do not leave the Swarm" in problem


def test_other_states_of_a_swarm() -> None:
    assert state("active") == state("inactive") == state("locked") == []
    (problem,) = state("error", "manager stopped: can't initialize raft node")
    assert "does not come up. The engine says: manager stopped" in problem
    assert "certificate" not in problem


@pytest.mark.parametrize(
    ("swarm_state", "address", "advertised", "is_refused"),
    [
        ("inactive", "192.0.2.1", "", False),
        ("inactive", "", "192.0.2.1", False),
        ("active", "", "", False),
        ("inactive", "", "", True),
        ("inactive", None, "", True),
    ],
)
def test_an_address_for_the_swarm(
    swarm_state: str, address: str | None, advertised: str, is_refused: bool
) -> None:
    engine = {"swarm_state": swarm_state}
    problems = engine_setup.address_problems(engine, address, advertised)
    assert len(problems) == is_refused
    assert all("Set swarm_advertise_address in the inventory" in problem for problem in problems)
    assert all(("iproute2" in problem) == (address is None) for problem in problems)


#: As `ip -j route show` prints them (iproute2 6.1).
UNREACHABLE = {"type": "unreachable", "dst": "default", "metric": 4278198272, "flags": []}
HOPS = {
    "dst": "default",
    "flags": [],
    "nexthops": [
        {"gateway": "192.0.2.1", "dev": "eth0", "weight": 1, "flags": []},
        {"gateway": "198.51.100.1", "dev": "eth1", "weight": 1, "flags": []},
    ],
}
PLAIN = {"dst": "default", "gateway": "192.0.2.1", "dev": "eth2", "metric": 100, "flags": []}


@pytest.mark.parametrize(
    ("routes", "ways"),
    [
        ([], []),
        ([UNREACHABLE], []),
        ([{**UNREACHABLE, "type": "blackhole"}], []),
        ([{**UNREACHABLE, "type": "prohibit", "dev": "lo"}], []),
        ([UNREACHABLE, PLAIN], [("", "eth2")]),
        ([HOPS], [("", "eth0"), ("", "eth1")]),
        ([PLAIN, HOPS], [("", "eth0"), ("", "eth1"), ("", "eth2")]),
        ([{**PLAIN, "prefsrc": "192.0.2.7"}], [("192.0.2.7", "eth2")]),
        ([{**PLAIN, "metric": None}], [("", "eth2")]),
    ],
)
def test_ways_out(routes: list[dict[str, Any]], ways: list[tuple[str, str]]) -> None:
    assert facts.ways_out(routes) == ways


def test_routes_and_networks_as_the_programs_tell_them() -> None:
    shown = [
        PLAIN,
        UNREACHABLE,
        {"dst": "10.1.0.0/16", "dev": "eth0", "protocol": "kernel", "prefsrc": "10.1.0.7"},
        {"type": "unreachable", "dst": "10.2.0.0/16"},
        {**HOPS, "dst": "10.3.0.0/16"},
        {"dst": "10.4.0.9", "dev": "tun0"},
    ]
    assert engine_setup.destinations(shown) == [
        {"destination": "10.1.0.0/16", "device": "eth0"},
        {"destination": "10.3.0.0/16", "device": "eth0"},
        {"destination": "10.4.0.9", "device": "tun0"},
    ]
    identifier = "0123456789abcdef"
    inspected: list[dict[str, Any]] = [
        {"Name": "host", "Id": identifier, "IPAM": {"Config": None}, "Options": {}},
        {
            "Name": "bridge",
            "Id": identifier,
            "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]},
            "Options": {"com.docker.network.bridge.name": "docker0"},
        },
        {"Name": "own", "Id": identifier, "IPAM": {"Config": [{"Subnet": "172.19.0.0/16"}]}},
    ]
    assert engine_setup.subnets(inspected) == [
        {"name": "bridge", "subnet": "172.17.0.0/16", "device": "docker0"},
        {"name": "own", "subnet": "172.19.0.0/16", "device": "br-0123456789ab"},
    ]


def test_who_else_leaves_by_the_bridge_of_the_swarm() -> None:
    inspected: list[dict[str, Any]] = [
        {"Containers": {each: {} for each in ("a", "b", "c", "d", "ingress-sbox")}}
    ]
    listed = "\n".join(
        "\t".join(line)
        for line in (
            ("a", "auscat", "auscat_ctp", "auscat_ctp.1.x"),
            ("b", "shop", "shop_web", "shop_web.1.x"),
            ("c", "", "lonely", "lonely.1.x"),
            ("d", "", "", "by_hand"),
            # On other networks alone.
            ("e", "monitoring", "monitoring_db", "monitoring_db.1.x"),
        )
    )
    assert engine_setup.others(inspected, listed, "auscat") == ["by_hand", "lonely", "shop"]
    assert engine_setup.others([{}], listed, "auscat") == []
    # In their place the node comes.
    replaced = ["shop_web", "lonely"]
    assert engine_setup.others(inspected, listed, "auscat", replaced) == ["by_hand"]
