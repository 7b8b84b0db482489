"""Images of a registry: by digest, with a login, under the site's own CA, patiently."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from conftest import Registry
from shared.machines import Node, Scenario

UP_TO_IMAGES = ("--tags", "preflight,docker_engine,images")


def settings(registry: Registry, image: str, **more: Any) -> dict[str, Any]:
    """What the inventory says; the other services run what this project builds."""
    return {
        "images_source": "build",
        "auscat_ca_certificates": [registry.ca],
        "images_registry_login": registry.login,
        "orthanc_image": image,
        **more,
    }


@pytest.fixture(scope="module")
def pinned(scenario: Scenario, island: Node, registry: Registry) -> str:
    """Orthanc's image in the registry, by digest, and no longer on the node.

    To push, the node's own engine has to trust the registry: auscat_ca_certificates at work.
    """
    outcome = scenario.play(
        "site.yml", "--tags", "preflight,docker_engine",
        extra={"auscat_ca_certificates": [registry.ca]},
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.errors
    island.wait_until_healthy(5)
    image = f"{registry.address}/orthanc"
    own, *_ = island.output(
        "docker", "image", "ls", "--format={{.Repository}}:{{.Tag}}", "auscat-imaging/orthanc"
    ).split()
    config = island.output("mktemp", "--directory")
    client = ("docker", "--config", config)
    login = (*client, "login", "--username", registry.username, "--password-stdin")
    island.run(*login, registry.address, stdin=registry.password)
    # One that no engine has seen: an engine that has pulled a digest once keeps its manifest.
    island.run(
        *("docker", "build", "--quiet", f"--tag={image}:test", f"--label=test={uuid.uuid4()}", "-"),
        stdin=f"FROM {own}\n",
    )
    pushed = island.output(*client, "push", f"{image}:test", timeout=300)
    island.run("rm", "-rf", config)
    found = re.search(r"sha256:[0-9a-f]{64}", pushed)
    assert found, pushed
    island.run("docker", "image", "rm", f"{image}:test")
    island.run("docker", "image", "rm", f"{image}@{found[0]}", check=False)
    return f"{image}@{found[0]}"


def test_certificate_is_in_the_trust_store(island: Node, registry: Registry, pinned: str) -> None:
    lines = registry.ca.splitlines()
    assert lines[1] in island.output("cat", "/etc/ssl/certs/ca-certificates.crt")


def test_unknown_login_is_refused(scenario: Scenario, registry: Registry, pinned: str) -> None:
    wrong = {**registry.login, "password": "wrong-5b1e"}
    outcome = scenario.play(
        "site.yml", *UP_TO_IMAGES, extra=settings(registry, pinned, images_registry_login=wrong)
    )
    assert outcome.returncode != 0
    assert f"The login at {registry.address} failed" in outcome.errors
    assert "images_registry_login" in outcome.errors
    assert "wrong-5b1e" not in outcome.text


def test_missing_login_is_named(scenario: Scenario, registry: Registry, pinned: str) -> None:
    outcome = scenario.play(
        "site.yml", *UP_TO_IMAGES, extra=settings(registry, pinned, images_registry_login={})
    )
    assert outcome.returncode != 0
    assert "images_registry_login" in outcome.errors


def test_unreachable_registry_names_the_other_ways(
    scenario: Scenario, island: Node, registry: Registry, pinned: str
) -> None:
    elsewhere = pinned.replace(registry.address, "10.213.80.99:5000")
    extra = settings(registry, elsewhere, images_registry_login={}, images_pull_retries=0)
    before = island.fingerprint()
    outcome = scenario.play("site.yml", *UP_TO_IMAGES, extra=extra)
    assert outcome.returncode != 0
    for text in (
        "10.213.80.99:5000 cannot be reached from island",
        "images_source: archive",
        "images_source: build",
    ):
        assert text in outcome.errors
    assert island.fingerprint() == before


def test_pulled_by_digest_when_the_registry_comes_back(
    scenario: Scenario, island: Node, registry: Registry, pinned: str
) -> None:
    """The registry is away when the pull begins. Swarm then runs the name with its digest."""
    registry.machine.shell(
        "systemctl stop docker-registry; systemd-run --on-active=20 systemctl start docker-registry"
    )
    extra = settings(registry, pinned, images_pull_retries=4)
    outcome = scenario.play(
        "site.yml", "--tags", "preflight,docker_engine,images,stack", extra=extra
    )
    assert outcome.returncode == 0, outcome.errors
    assert any("pull those that a registry has" in name for name in outcome.changed_tasks)
    island.wait_until_healthy(5)
    (task,) = island.tasks("auscat_orthanc")
    assert task["Config"]["Image"] == pinned
    assert registry.password not in outcome.text

    again = scenario.play("site.yml", "--tags", "preflight,docker_engine,images,stack", extra=extra)
    assert again.changed == 0, again.changed_tasks


def test_login_is_left_nowhere(island: Node, registry: Registry) -> None:
    code = island.output("printf", "%s", f"{registry.username}:{registry.password}")
    encoded = island.shell(f"printf %s '{code}' | base64 --wrap=0")
    for text in (registry.password, encoded):
        found = island.shell(
            f"grep -rlsF -- '{text}' /root /home /tmp /var/tmp /dev/shm /etc /run /var/log || true",
            timeout=180,
        )
        assert found == ""
