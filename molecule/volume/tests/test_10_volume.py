"""An empty disk has become the volume."""

from __future__ import annotations

from conftest import MOUNTED, Disk, Host, apply
from shared.machines import Scenario


def test_it_is_mounted_with_safe_options(node: Host, disk: Disk) -> None:
    mount = node.mount()
    assert (mount["source"], mount["fstype"]) == (disk.path, "ext4")
    assert {"rw", "nodev", "nosuid", "noexec"} <= set(mount["options"].split(","))


def test_the_boot_mounts_it_by_its_uuid(node: Host, disk: Disk) -> None:
    uuid = node.output("blkid", "--probe", "--output=value", "--match-tag=UUID", disk.path)
    lines = [line.split() for line in node.output("cat", "/etc/fstab").splitlines()]
    (line,) = [line for line in lines if line[1:2] == [MOUNTED]]
    assert line[0] == f"UUID={uuid}"
    # A machine whose data disk is missing must still be reachable.
    assert "nofail" in line[3].split(",")


def test_the_engine_needs_it(node: Host) -> None:
    shown = node.output("systemctl", "show", "docker", "--property=Requires,After")
    requires, after = (line.split("=", 1)[1].split() for line in sorted(shown.splitlines())[::-1])
    assert "srv-auscat.mount" in requires
    assert "srv-auscat.mount" in after


def test_the_container_writes_to_it(node: Host) -> None:
    assert node.written()


def test_nobody_can_write_beneath_it(node: Host) -> None:
    """Seen past the mount, through a second view of the system's disk."""
    node.shell("mkdir -p /mnt/beneath; mount --bind / /mnt/beneath")
    try:
        assert node.output("ls", "--almost-all", f"/mnt/beneath{MOUNTED}") == ""
        attempt = node.run("touch", f"/mnt/beneath{MOUNTED}/x", check=False)
        assert "Operation not permitted" in attempt.stderr
    finally:
        node.shell("umount /mnt/beneath; rmdir /mnt/beneath")


def test_a_second_run_changes_nothing_in_one_task(scenario: Scenario) -> None:
    outcome = apply(scenario)
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed == 0
    ran = [
        name
        for name, result in outcome.results
        if not result.get("skipped") and "Validating arguments" not in name
    ]
    assert ran == ["auscat.imaging.host_volume : Check the volume and the data directories"]


def test_check_mode_says_what_would_be_done(
    scenario: Scenario, node: Host, other_disk: Disk
) -> None:
    before, content = node.state(), other_disk.checksum()
    wished = {"auscat_data_root": "/srv/second", "host_volume_device": other_disk.path}
    outcome = apply(scenario, "--check", "--diff", **wished)
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed
    shown = outcome.text
    assert f"make a file system on {other_disk.path}" in shown
    assert (node.state(), other_disk.checksum()) == (before, content)
