"""The volume at boot: there, missing, back again. Last, because it takes things away."""

from __future__ import annotations

import pytest
from conftest import MOUNTED, Disk, Host, apply
from shared.machines import Scenario, wait_for


def engine(node: Host) -> str:
    return node.run("systemctl", "is-active", "docker", check=False).stdout.strip()


def test_everything_comes_back_after_a_reboot(node: Host) -> None:
    before = node.written()
    node.stop()
    node.start()
    assert node.mount()
    wait_for("the container writes again", lambda: node.written() > before)


@pytest.fixture(scope="module")
def without_disk(node: Host, disk: Disk) -> int:
    """The machine, booted without its data disk; the number of lines that were on it."""
    written = node.written()
    node.stop()
    disk.do("detach")
    node.start()
    return written


def test_the_machine_is_up_without_the_disk(node: Host, without_disk: int) -> None:
    assert not node.mount()
    assert node.output("systemctl", "is-active", "dbus") == "active"


def test_the_engine_does_not_run_without_the_disk(node: Host, without_disk: int) -> None:
    assert engine(node) in ("inactive", "failed")
    attempt = node.run("systemctl", "start", "docker", check=False)
    assert attempt.returncode != 0
    assert engine(node) in ("inactive", "failed")
    assert not node.shell("pgrep --exact dockerd || true")
    assert "srv-auscat.mount" in node.output("journalctl", "--boot", "--no-pager")


def test_it_does_not_run_either_when_fstab_has_forgotten_the_volume(
    node: Host, without_disk: int
) -> None:
    node.shell(f"cp /etc/fstab /root/fstab; sed -i '\\#{MOUNTED}#d' /etc/fstab")
    node.run("systemctl", "daemon-reload")
    try:
        assert node.run("systemctl", "start", "docker", check=False).returncode != 0
        assert not node.shell("pgrep --exact dockerd || true")
    finally:
        node.shell("cp /root/fstab /etc/fstab; systemctl daemon-reload")


def test_nothing_was_written_beneath(node: Host, without_disk: int) -> None:
    assert node.output("ls", "--almost-all", MOUNTED) == ""
    attempt = node.run("mkdir", f"{MOUNTED}/writer", check=False)
    assert "Operation not permitted" in attempt.stderr


def test_a_run_without_the_disk_says_so(scenario: Scenario, node: Host, without_disk: int) -> None:
    before = node.state()
    outcome = apply(scenario)
    assert outcome.returncode != 0
    assert "there is no such block device" in outcome.errors
    assert node.state() == before


def test_all_is_there_when_the_disk_is_back(node: Host, disk: Disk, without_disk: int) -> None:
    disk.do("attach")
    node.run("systemctl", "reset-failed", "docker.service", "docker.socket", check=False)
    wait_for(
        "the engine starts",
        lambda: node.run("systemctl", "start", "docker", check=False).returncode == 0,
    )
    assert node.mount()
    wait_for("the container writes again", lambda: node.written() > without_disk)


def test_the_engine_stops_when_the_volume_goes(node: Host, without_disk: int) -> None:
    assert engine(node) == "active"
    node.run("systemctl", "stop", "srv-auscat.mount")
    try:
        assert engine(node) in ("inactive", "failed")
        assert node.output("ls", "--almost-all", MOUNTED) == ""
    finally:
        node.run("systemctl", "start", "docker")
    assert node.mount()
