"""A host that starts prepared is a machine of its own, and as bare as one that starts bare."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from shared.machines import REPOSITORY, Node, Scenario, wait_for

sys.path.insert(0, str(REPOSITORY / "tests" / "hosts"))
import snapshots
import testhosts

# Every file of an image with owner, mode, size, time and target, and what its programs hold; not
# what the engine puts into each container.
LISTING = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /.dockerenv -o -path /etc/mtab \
  -o -path /etc/hosts -o -path /etc/hostname -o -path /etc/resolv.conf \) -prune \
  -o \( -type f -o -type l \) -printf '%m %U %G %s %Ts %p %l\n' | sort
find / -xdev -type f -path '*bin/*' -exec sha256sum {} + | sort -k 2
"""


def outer(*command: str) -> str:
    """Ask the engine of this machine."""
    result = subprocess.run(["docker", *command], check=True, capture_output=True, encoding="utf-8")
    return result.stdout.strip()


@pytest.fixture(scope="module")
def first(scenario: Scenario) -> Node:
    return scenario.node("first")


@pytest.fixture(scope="module")
def second(scenario: Scenario) -> Node:
    return scenario.node("second")


@pytest.fixture(scope="module")
def untouched(scenario: Scenario) -> Node:
    return scenario.node("untouched")


@pytest.fixture(scope="module")
def images(first: Node) -> list[str]:
    """The node's images that a prepared host has."""
    listed = first.output("docker", "images", "--format={{.Repository}}:{{.Tag}}").split()
    return sorted(listed)


def test_the_packages_and_the_images_are_there(first: Node, images: list[str]) -> None:
    installed = first.output("dpkg-query", "--show", "--showformat=${Package}\n").split()
    assert {"docker.io", "nftables", "dcmtk", "python3-pydicom", "tesseract-ocr"} <= set(installed)
    names = {image.split("/")[-1].split(":")[0] for image in images}
    assert names == {"ctp_rsna", "ctp_standin", "front", "keydb", "orthanc"}


def test_an_image_is_the_same_as_on_the_machine_that_built_it(
    second: Node, images: list[str]
) -> None:
    """Deleted files stay deleted, and owners, modes, times and contents survive the copies."""
    for image in (image for image in images if "/keydb:" in image or "/orthanc:" in image):
        run = ("run", "--rm", "--network=none", "--user=0", "--entrypoint=bash", image, "-c")
        here = outer(*run, LISTING).splitlines()
        there = second.output("docker", *run, LISTING).splitlines()
        assert len(here) > 1000  # a listing, and not an error
        assert sorted(set(here) ^ set(there)) == [], image


def test_nothing_of_this_collection_has_run_there(first: Node, untouched: Node) -> None:
    script = """
    ls -d /etc/auscat /srv/auscat /var/lib/auscat /usr/local/lib/auscat 2>/dev/null || true
    ls /etc/systemd/system /srv
    """
    assert "auscat" not in first.shell(script)
    assert "auscat" not in first.output("nft", "list", "ruleset")
    assert not first.host.file("/etc/docker/daemon.json").exists
    assert first.output("docker", "info", "--format={{.Swarm.LocalNodeState}}") == "inactive"
    assert first.output("docker", "ps", "--all", "--quiet") == ""
    assert not untouched.host.exists("docker"), "a bare host has no engine"


def test_each_is_a_machine_of_its_own(first: Node, second: Node, untouched: Node) -> None:
    identities = [node.output("cat", "/etc/machine-id") for node in (first, second, untouched)]
    assert len(set(identities)) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", identity) for identity in identities)
    engines = [node.output("docker", "info", "--format={{.ID}}") for node in (first, second)]
    assert len(set(engines)) == 2
    assert [node.output("hostname") for node in (first, second)] == ["first", "second"]


def test_a_program_of_the_tests_runs_as_one_that_docker_starts(first: Node) -> None:
    """With the same user, directory, environment, namespaces, input, output and exit code."""
    ours = str(REPOSITORY / "molecule/shared/bin/docker")
    theirs = shutil.which("docker", path=os.environ["PATH"].replace(str(Path(ours).parent), ""))
    assert shutil.which("docker") == ours != theirs
    look = r"""
    id; pwd; umask; printf '%s|' "$@"; cat; env | grep -v ^PWD= | sort
    for name in ipc mnt net pid uts; do readlink /proc/self/ns/$name; done; ulimit -n
    head -c 3 /proc/self/comm; echo wrong >&2; exit 7
    """
    words = ("bash", "-c", look, "look", "two words", "*", "$HOME", "")
    for options in (("-i",), ("-u", "root", "-i"), ("--interactive",), (), ("--user=nobody",)):
        found = [
            subprocess.run(
                [program, "exec", *options, first.container, *words],
                input="typed",
                capture_output=True,
                text=True,
                check=False,
            )
            for program in (ours, str(theirs))
        ]
        assert [each.returncode for each in found] == [7, 7]
        assert found[0].stdout == found[1].stdout
        assert found[0].stderr == found[1].stderr == "wrong\n"
    gone = [
        subprocess.run([each, "exec", "no-such-host", "true"], capture_output=True, check=False)
        for each in (ours, str(theirs))
    ]
    assert gone[0].returncode == gone[1].returncode != 0


def test_their_engines_share_nothing(first: Node, second: Node, images: list[str]) -> None:
    """Each has a Swarm of its own on its own address; what one removes, the other keeps."""
    clusters = set()
    for node, secret in ((first, "of the first"), (second, "of the second")):
        state = node.output("docker", "info", "--format={{.Swarm.LocalNodeState}}")
        assert state == "inactive", f"{node.name} is in a Swarm before it made one"
        node.run("docker", "swarm", "init", f"--advertise-addr={node.address}")
        assert node.output("docker", "info", "--format={{.Swarm.NodeAddr}}") == node.address
        clusters.add(node.output("docker", "info", "--format={{.Swarm.Cluster.ID}}"))
        node.run("docker", "secret", "create", "word", "-", stdin=secret)
        image = next(image for image in images if "/keydb:" in image)
        service = ("--name=reader", "--secret=word", "--no-resolve-image", "--entrypoint=sleep")
        node.run("docker", "service", "create", "--detach", *service, image, "infinity")
    assert len(clusters) == 2
    for node, secret in ((first, "of the first"), (second, "of the second")):
        found: list[dict[str, Any]] = wait_for(
            f"the service runs on {node.name}", lambda node=node: node.tasks("reader")
        )
        assert node.output("docker", "exec", found[0]["Id"], "cat", "/run/secrets/word") == secret
        certificate = "/var/lib/docker/swarm/certificates/swarm-node.crt"
        node.run("openssl", "x509", "-in", certificate, "-noout", "-checkend", str(80 * 86400))

    removed = next(image for image in images if "/orthanc:" in image)
    first.run("docker", "rmi", removed)
    first.shell("echo mine > /var/lib/docker/probe")
    assert second.output("docker", "images", "--quiet", removed)
    assert not second.host.file("/var/lib/docker/probe").exists
    volumes = outer("volume", "ls", "--quiet", f"--filter=label={snapshots.LABEL}").split()
    assert volumes
    for volume in volumes:
        mount = f"--volume={volume}:/snapshot:ro"
        image = testhosts.image_name("host", "bookworm")
        listed = outer("run", "--rm", "--network=none", mount, image, "ls", "-A", "/snapshot")
        assert "probe" not in listed.split(), f"a host wrote into the snapshot {volume}"


def test_a_snapshot_that_cannot_be_made_leaves_nothing() -> None:
    snapshot = snapshots.Snapshot(
        suite="bookworm",
        base=testhosts.image_name("host", "bookworm"),
        packages=("auscat-imaging-no-such-package",),
        archives=(),
        options=testhosts.HOST_OPTIONS,
    )
    # The real cache, whose lock keeps whoever makes a snapshot meanwhile apart.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auscat-imaging"

    def make(container: str) -> None:
        testhosts.start_to_prepare(cache, "bookworm", container)

    with pytest.raises(snapshots.SnapshotError, match="auscat-imaging-no-such-package"):
        snapshots.ensure(snapshot, cache, make)
    assert outer("images", "--quiet", snapshot.image) == ""
    volumes = outer("volume", "ls", "--quiet").split()
    assert not set(snapshot.volumes.values()) & set(volumes)
    assert "auscat-imaging-test-prepares" not in outer("ps", "--all", "--format={{.Names}}")
