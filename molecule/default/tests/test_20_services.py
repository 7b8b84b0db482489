"""The services run as declared."""

from __future__ import annotations

import pytest
from shared.machines import Node

SERVICES = ["auscat_ctp", "auscat_ctp_export", "auscat_front", "auscat_keydb", "auscat_orthanc"]
MIB = 1024 * 1024


def test_exactly_the_declared_services_run(node: Node) -> None:
    assert sorted(node.services()) == SERVICES
    assert node.unhealthy() == []


@pytest.mark.parametrize(
    ("service", "image", "user", "memory_mib"),
    [
        ("auscat_orthanc", "auscat-imaging/orthanc:", "64042:64042", 900),
        ("auscat_keydb", "auscat-imaging/keydb:", "64432:64432", 500),
        ("auscat_ctp", "auscat-imaging/ctp_standin:", "64104:64104", 700),
        ("auscat_ctp_export", "auscat-imaging/ctp_standin:", "64104:64104", 128),
        ("auscat_front", "auscat-imaging/front:", "64080:64080", 256),
    ],
)
def test_container(node: Node, service: str, image: str, user: str, memory_mib: int) -> None:
    (task,) = node.tasks(service)
    assert task["Config"]["Image"].startswith(image)
    assert task["Config"]["User"] == user
    assert task["HostConfig"]["Memory"] == memory_mib * MIB
    assert not task["HostConfig"]["Privileged"]


@pytest.mark.parametrize(
    ("service", "source", "target"),
    [
        ("auscat_orthanc", "/srv/auscat/orthanc", "/var/lib/orthanc/db"),
        ("auscat_keydb", "/srv/auscat/keydb", "/var/lib/postgresql/data"),
        ("auscat_ctp", "/srv/auscat/ctp/logs", "/logs"),
        ("auscat_front", "/srv/auscat/front/logs", "/logs"),
        ("auscat_ctp", "/srv/auscat/ctp/temp", "/ctp_temp"),
    ],
)
def test_data_lies_on_the_host(node: Node, service: str, source: str, target: str) -> None:
    (task,) = node.tasks(service)
    mounts = {mount["Destination"]: mount["Source"] for mount in task["Mounts"]}
    assert mounts[target] == source


@pytest.mark.parametrize("source", ["orthanc", "keydb", "ctp/temp"])
def test_services_write_to_the_host(node: Node, source: str) -> None:
    assert node.output("ls", "--almost-all", f"/srv/auscat/{source}")


@pytest.mark.parametrize("service", SERVICES)
def test_no_process_in_a_container_is_root(node: Node, service: str) -> None:
    (task,) = node.tasks(service)
    processes = node.output("docker", "top", task["Id"], "-eo", "pid,uid").splitlines()[1:]
    assert processes
    assert "0" not in {process.split()[1] for process in processes}


# The web server publishes Orthanc's page, and CTP on the same machine needs no port of it.
WITHOUT_PORTS = ("auscat_ctp_export", "auscat_orthanc")


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_by_the_host_itself(node: Node, service: str) -> None:
    """The ingress mesh would hide the sender's address, so no port could be limited to it."""
    endpoint = node.services()[service]["Spec"]["EndpointSpec"]
    assert endpoint["Mode"] == "dnsrr"
    published = {port["PublishMode"] for port in endpoint.get("Ports", [])}
    assert published == (set() if service in WITHOUT_PORTS else {"host"})
