"""Portainer as an operator adds it: one line of the inventory. A double stands in for its image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shared.machines import Machine, Node, Outcome, Scenario, wait_for

IMAGE = "portainer-test-double:1"
PASSWORD = "portainer-admin-9f4c27e1b05d8a63"
SERVICE = "auscat_portainer"
PLACED = {"keydb": "keyvm", "ctp": "keyvm", "orthanc": "catvm", "portainer": "catvm"}
SETTINGS = {
    "auscat_services": PLACED,
    "portainer_image": IMAGE,
    "portainer_admin_password": PASSWORD,
}
DOUBLE = Path(__file__).with_name("portainer_double.py")
BUILD = f"""
cd /root/double
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=double -keyout key -out certificate 2>&1
cat key certificate > double.pem
base=$(docker service inspect auscat_ctp --format '{{{{.Spec.TaskTemplate.ContainerSpec.Image}}}}')
docker build --quiet --tag {IMAGE} --file - . <<END
FROM $base
USER 0
COPY portainer_double.py double.pem /
ENTRYPOINT ["python3", "/portainer_double.py"]
CMD []
HEALTHCHECK NONE
END
"""


def deploy(scenario: Scenario, **extra: Any) -> Outcome:
    """Run site.yml, without the proof, which the scenario has run."""
    return scenario.play("site.yml", "--skip-tags", "verify", extra=extra or None)


@pytest.fixture(scope="module")
def settings(researcher: Machine) -> dict[str, Any]:
    """What an operator adds to the inventory."""
    return {**SETTINGS, "portainer_sources": [researcher.address]}


@pytest.fixture(scope="module")
def deployed(scenario: Scenario, node: Node, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The node with Portainer's double; afterwards as the inventory has it again."""
    before = {name: node.tasks(name)[0]["Id"] for name in node.services()}
    node.run("mkdir", "--parents", "/root/double")
    node.put(DOUBLE, "/root/double/portainer_double.py")
    node.shell(BUILD)
    try:
        outcome = deploy(scenario, **settings)
        assert outcome.returncode == 0, outcome.errors
        yield {"containers": before, "outcome": outcome}
    finally:
        part = "firewall,images,services,stack,status"
        outcome = scenario.play("site.yml", "--tags", part)
        assert outcome.returncode == 0, outcome.errors
        wait_for("Portainer is gone", lambda: not node.tasks(SERVICE), 60)
        node.run("rm", "--recursive", "--force", "/root/double", "/srv/auscat/portainer")
        node.run("docker", "rmi", "--force", IMAGE)


@pytest.fixture(scope="module")
def page(deployed: dict[str, Any], node: Node, researcher: Machine) -> dict[str, Any]:
    """What the double tells, fetched by a machine that is among portainer_sources."""
    url = f"https://{node.address}:9443/"
    command = ("curl", "--silent", "--insecure", "--max-time", "10", url)
    # It has no health check that the deployment could have waited for.
    told: dict[str, Any] = wait_for("the page answers", lambda: researcher.json(*command), 60)
    return told


def test_it_is_off_by_default(scenario: Scenario, node: Node) -> None:
    assert SERVICE not in node.services()
    # Nor is anything asked for that only Portainer needs: site.yml ran without it.
    assert not [name for name in node.variables if name.startswith("portainer_")]


def test_a_missing_image_and_a_short_password_are_refused(scenario: Scenario, node: Node) -> None:
    before = node.fingerprint()
    outcome = deploy(scenario, auscat_services=PLACED, portainer_admin_password="eleven-char")
    assert outcome.returncode != 0
    assert "portainer_image is not set" in outcome.errors
    outcome = deploy(scenario, **{**SETTINGS, "portainer_admin_password": "eleven-char"})
    assert outcome.returncode != 0
    assert "portainer_admin_password is too short. Accepted: at least 12" in outcome.errors
    assert "eleven-char" not in outcome.text
    assert node.fingerprint() == before


def test_what_portainer_needs_reaches_it(page: dict[str, Any]) -> None:
    assert page["notice"] == "THIS IS A TEST DOUBLE AND NOT PORTAINER"
    # Plain text without a line break, which Portainer would drop.
    assert page["password"] == hashlib.sha256(PASSWORD.encode()).hexdigest()
    assert page["password_mode"] == "0o400"
    assert page["http_disabled"] is True
    assert not [name for name in page["environment"] if "PASS" in name]


def test_the_stack_shows_itself(page: dict[str, Any]) -> None:
    """Portainer finds a stack by these labels of its services and containers."""
    stack = "com.docker.stack.namespace"
    names = sorted([*PLACED, "ctp_export", "front"])
    assert sorted(page["services"]) == [f"auscat_{name}" for name in names]
    assert {labels[stack] for labels in page["services"].values()} == {"auscat"}
    assert all(labels["org.auscat.title"] for labels in page["services"].values())
    ours = [labels for labels in page["containers"] if labels.get(stack) == "auscat"]
    assert sorted(labels["com.docker.swarm.service.name"] for labels in ours) == sorted(
        page["services"]
    )


def test_service_is_what_was_declared(deployed: dict[str, Any], node: Node) -> None:
    (task,) = node.tasks(SERVICE)
    mounts = {mount["Target"]: mount for mount in task["HostConfig"]["Mounts"]}
    assert mounts["/var/run/docker.sock"]["ReadOnly"] is True
    assert mounts["/data"]["Source"] == "/srv/auscat/portainer"
    assert node.output("stat", "--format=%a %u", "/srv/auscat/portainer") == "700 0"
    ports = node.services()[SERVICE]["Spec"]["EndpointSpec"]["Ports"]
    assert [(port["PublishedPort"], port["PublishMode"]) for port in ports] == [(9443, "host")]
    # The image has no health check: what runs counts as well, and the table says so.
    assert "Health" not in task["State"]
    services = [result.get("services") for _, result in deployed["outcome"].results]
    (listed,) = [each for each in services if isinstance(each, list)]
    assert {each["name"]: each["health"] for each in listed}["portainer"] == "none"


def test_password_is_in_a_secret_alone(deployed: dict[str, Any], node: Node) -> None:
    (task,) = node.tasks(SERVICE)
    assert PASSWORD not in json.dumps([task, node.services()[SERVICE]])
    assert PASSWORD not in deployed["outcome"].text
    assert PASSWORD not in node.shell("cat /etc/auscat/* 2>/dev/null", check=False)


def test_only_its_sources_reach_it(
    page: dict[str, Any], node: Node, researcher: Machine, scenario: Scenario
) -> None:
    assert researcher.connects(node.address, 9443)
    assert not scenario.client("pacs").connects(node.address, 9443)
    assert not researcher.connects(node.address, 9000)


def test_nothing_else_was_interrupted(deployed: dict[str, Any], node: Node) -> None:
    before = deployed["containers"]
    assert {name: node.tasks(name)[0]["Id"] for name in before} == before


def test_second_run_changes_nothing(
    scenario: Scenario, page: dict[str, Any], settings: dict[str, Any]
) -> None:
    outcome = deploy(scenario, **settings)
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []
