"""What came out of the bundle, and nothing else, makes a node."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from shared.machines import Node, Scenario


@pytest.fixture(scope="module")
def manifest(island: Node) -> dict[str, Any]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auscat-imaging"
    suite = island.shell(". /etc/os-release; echo $VERSION_CODENAME")
    with tarfile.open(cache / f"airgap-{suite}.tar") as archive:
        first = archive.next()
        assert first is not None and first.name == "manifest.json"
        file = archive.extractfile(first)
        assert file is not None
        return json.load(file)


def test_node_has_no_way_out(island: Node) -> None:
    """That it reaches its neighbours, the other tests show."""
    assert island.output("ip", "route", "show", "default") == ""
    assert not island.connects("192.0.2.1", 80, 2)
    name = island.shell("sed -n 's,^deb [a-z]*://\\([^/]*\\)/.*,\\1,p;q' /etc/apt/sources.list")
    assert name
    assert island.run("timeout", "20", "getent", "hosts", name, check=False).returncode != 0


def test_services_run_the_images_of_the_bundle(island: Node, manifest: dict[str, Any]) -> None:
    island.wait_until_healthy(5)
    held = {image["name"]: image["id"] for image in manifest["images"]}
    for name in island.services():
        (task,) = island.tasks(name)
        assert task["Image"] == held[task["Config"]["Image"].split("@")[0]]


def test_packages_are_those_of_the_bundle(island: Node, manifest: dict[str, Any]) -> None:
    (packages,) = manifest["packages"].values()
    versions = {package["name"]: package["version"] for package in packages}
    for name in ("docker.io", "nftables", "dcmtk", "tesseract-ocr-eng"):
        shown = island.output("dpkg-query", "--show", "--showformat", "${Version}", name)
        assert shown == versions[name]


def test_nothing_of_the_bundle_stays_behind(island: Node) -> None:
    for place in ("/var/cache/auscat-imaging", "/root/.ansible/tmp"):
        assert island.shell(f"find {place} -type f 2>/dev/null || true") == ""
    assert island.shell("ls /var/tmp | grep auscat || true") == ""
    # Neither does a source of packages that apt would look for later.
    assert island.shell("grep -rl trusted=yes /etc/apt || true") == ""


def test_swarm_asks_no_registry(island: Node) -> None:
    environment = island.output("systemctl", "show", "docker", "--property=Environment")
    assert "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1" in environment
    said = island.output("journalctl", "--unit=docker", "--no-pager", "--output=cat")
    assert "pulling image failed" not in said


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        (
            {"images_archive_checksum": "0" * 64},
            ["has the SHA-256", "Accepted: 0000", "images_archive_checksum"],
        ),
        ({"images_archive_checksum": "abc"}, ["images_archive_checksum is 'abc'", "64 hex digits"]),
        ({"images_archive": "/nowhere/bundle.tar"}, ["neither on the controller nor on island"]),
        ({"images_archive": ""}, ["images_archive is empty"]),
        ({}, ["The bundle lacks the packages tree for", "playbooks/bundle.yml"]),
    ],
    ids=["another checksum", "no checksum", "no file", "no path", "a package more"],
)
def test_bad_bundles_are_refused(
    scenario: Scenario, island: Node, variables: dict[str, str], says: list[str]
) -> None:
    island.run("dpkg", "--purge", "tree")
    before = island.fingerprint()
    packages = {"firewall_packages": ["nftables", "tree"]}
    outcome = scenario.play(
        "site.yml", "--tags", "preflight,docker_engine", extra={**packages, **variables}
    )
    assert outcome.returncode != 0
    for text in says:
        assert text in outcome.errors
    assert island.fingerprint() == before
    assert island.shell("ls /var/cache/auscat-imaging 2>/dev/null || true") == ""


def test_check_mode_needs_no_bundle(scenario: Scenario, tmp_path: Path) -> None:
    outcome = scenario.play(
        "site.yml",
        "--check",
        "--tags",
        "platform",
        extra={"images_archive": str(tmp_path / "none")},
    )
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed == 0, outcome.changed_tasks
