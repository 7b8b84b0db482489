"""Single roles in somebody else's playbook: the examples of docs/roles-alone.md, in its order."""

from __future__ import annotations

import json
from typing import Any

from conftest import Place
from shared.https import given, url
from shared.machines import Machine, Node, Outcome, wait_for

DISK = "/dev/loop230"
PASSWORD = "research-orthanc-3f0b7c1e94a2"


def run(place: Place, inventory: str, playbook: str, *arguments: str, **extra: Any) -> Outcome:
    """Run an example; it must end well."""
    outcome = place.play(inventory, playbook, *arguments, **extra)
    assert outcome.returncode == 0, outcome.errors
    return outcome


def listen(node: Node, port: int) -> None:
    """Have a program answer on a port of the node, which Docker has no part in."""
    program = f"import socket; s = socket.create_server(('', {port}))\nwhile 1: s.accept()"
    unit = f"--unit=listener-{port}"
    if not node.connects("127.0.0.1", port):
        node.run("systemd-run", unit, "--collect", "python3", "-c", program)
    wait_for(f"port {port} answers", lambda: node.connects("127.0.0.1", port))


def test_firewall(
    place: Place, own_inventory: str, research: Node, workstation: Machine, stranger: Machine
) -> None:
    research.run("dpkg", "--purge", "nftables")
    for port in (8888, 5432, 9999):
        listen(research, port)
    assert stranger.connects(research.address, 8888)
    outcome = run(place, own_inventory, "firewall.yml")
    assert "auscat.imaging.firewall : Install nftables" in outcome.changed_tasks
    assert workstation.connects(research.address, 8888)
    assert not stranger.connects(research.address, 8888)
    assert not workstation.connects(research.address, 5432)
    assert research.connects("127.0.0.1", 5432)
    assert research.connects(research.address, 5432)
    # Not listed.
    assert stranger.connects(research.address, 9999)
    assert run(place, own_inventory, "firewall.yml").changed == 0


def test_firewall_names_what_is_wrong(place: Place, own_inventory: str, research: Node) -> None:
    before = research.output("nft", "--stateless", "list", "table", "inet", "auscat")
    ports = [
        {"name": "a", "published": 8888, "sources": []},
        {"name": "b", "published": 70000, "sources": ["10.1.2.3/8", "no-such-machine"]},
    ]
    outcome = place.play(own_inventory, "firewall.yml", firewall_ports=ports)
    assert outcome.returncode != 0
    for said in (
        "firewall_ports[1].published is 70000",
        "firewall_ports[1].sources[0] is '10.1.2.3/8'",
        "firewall_ports[1].sources[1] is 'no-such-machine'",
    ):
        assert said in outcome.errors
    assert research.output("nft", "--stateless", "list", "table", "inet", "auscat") == before


def test_docker_engine(place: Place, own_inventory: str, research: Node) -> None:
    """The images of the machine stay: only the package is taken away."""
    research.run("dpkg", "--remove", "docker.io")
    assert research.run("docker", "info", check=False).returncode != 0
    outcome = run(place, own_inventory, "docker_engine.yml")
    assert any("Install the Docker engine" in task for task in outcome.changed_tasks)
    assert research.output("systemctl", "is-active", "docker") == "active"
    assert research.output("systemctl", "is-enabled", "docker") == "enabled"
    information = research.json("docker", "info", "--format", "{{json .}}")
    assert information["ServerVersion"]
    assert information["Swarm"]["LocalNodeState"] == "inactive"
    configured = research.json("cat", "/etc/docker/daemon.json")
    assert configured["log-opts"] == {"max-size": "50m", "max-file": "3"}
    assert run(place, own_inventory, "docker_engine.yml").changed == 0


def test_docker_engine_refuses_a_machine_that_is_too_small(
    place: Place, own_inventory: str
) -> None:
    outcome = place.play(own_inventory, "docker_engine.yml", preflight_memory_mib=10**7)
    assert outcome.returncode != 0
    assert "Accepted: at least 10000000 MiB (preflight_memory_mib)" in outcome.errors
    assert outcome.changed == 0


def test_swarm(
    place: Place, own_inventory: str, research: Node, workstation: Machine, stranger: Machine
) -> None:
    run(place, own_inventory, "swarm.yml")
    swarm = research.json("docker", "info", "--format", "{{json .Swarm}}")
    assert (swarm["LocalNodeState"], swarm["ControlAvailable"]) == ("active", True)
    assert swarm["NodeAddr"] == research.address
    assert research.connects(research.address, 2377)
    for machine in (workstation, stranger):
        assert not machine.connects(research.address, 2377)
    # Still reachable where nothing is listed.
    assert stranger.connects(research.address, 9999)
    assert run(place, own_inventory, "swarm.yml").changed == 0


def test_host_volume(place: Place, own_inventory: str, research: Node) -> None:
    def signature() -> str:
        return research.run("blkid", "--probe", DISK, check=False).stdout

    disk = {"host_volume_device": DISK}
    assert signature() == ""
    planned = run(place, own_inventory, "host_volume.yml", "--check", **disk)
    looked = next(result for _, result in planned.results if result.get("steps"))
    assert looked["changed"]
    assert any(DISK in step for step in looked["steps"]), looked["steps"]
    assert signature() == ""
    assert not research.host.file("/srv/research").exists
    run(place, own_inventory, "host_volume.yml", **disk)
    mounted = research.output(
        "findmnt", "--noheadings", "--output", "SOURCE,FSTYPE", "/srv/research"
    )
    assert mounted.split() == [DISK, "ext4"]
    assert "/srv/research" in research.output("cat", "/etc/fstab")
    assert run(place, own_inventory, "host_volume.yml", **disk).changed == 0


def test_orthanc(
    place: Place, own_inventory: str, research: Node, workstation: Machine, stranger: Machine
) -> None:
    values = {
        "vault_orthanc_admin_password": PASSWORD,
        "auscat_tls_names": [research.address],
        "host_volume_device": DISK,
        "host_volume_label": "research",
        "orthanc_free_gib": 0.1,
        "host_volume_free_warning_gib": 0,
    }
    run(place, own_inventory, "orthanc.yml", **values)
    # Orthanc, and the web server in front of it.
    research.wait_until_healthy(2)
    trust = ("--cacert", given(research, workstation))
    curl = ("curl", "--silent", "--show-error", "--fail", "--max-time", "20", *trust)
    system = json.loads(
        workstation.output(*curl, "--user", f"admin:{PASSWORD}", f"{url(research, 8042)}/system")
    )
    assert system["DicomAet"] == "ORTHANC"
    refused = workstation.run(*curl, f"{url(research, 8042)}/system", check=False)
    assert "401" in refused.stderr
    for port in (8042, 4242):
        assert workstation.connects(research.address, port)
        assert not stranger.connects(research.address, port)
    echo = ("echoscu", "-aec", "ORTHANC", "-aet")
    workstation.run(*echo, "SCANNER", research.address, "4242")
    assert workstation.run(*echo, "OTHER", research.address, "4242", check=False).returncode != 0
    # On the disk of its own.
    assert research.output("ls", "/srv/research/orthanc")
    assert run(place, own_inventory, "orthanc.yml", **values).changed == 0
