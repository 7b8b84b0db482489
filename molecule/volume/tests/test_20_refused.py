"""Safe mode: what holds something is refused, and neither the disk nor the machine is changed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import Disk, Host, apply
from shared.machines import Scenario

SECOND = "/srv/second"

# mkfs.ext4 leaves the first sector alone, so a table can stand there beside the file system.
WRITE_MBR = (
    'python3 -c \'import struct, sys; disk = open(sys.argv[1], "r+b"); disk.seek(446);'
    ' disk.write(struct.pack("<8B2I", 0, 0, 0, 0, 0x83, 0, 0, 0, 2048, 100000)); disk.seek(510);'
    " disk.write(bytes([0x55, 0xAA]))' {0}"
)

# What is on the disk, how it gets there, and what the error says of it.
CONTENTS = [
    ("ext4", "mkfs.ext4 -q -F -L patients {}", [r'file system ext4 \(label "patients", UUID']),
    # ext4 with our own label is not what the inventory asks for.
    ("xfs wished", "mkfs.ext4 -q -F -L auscat {}", ["host_volume_filesystem is xfs", "is ext4"]),
    ("swap", "mkswap {}", ["swap space"]),
    ("empty GPT", "parted -s {} mklabel gpt", [r"partition table \(GPT\)"]),
    ("MBR with a partition", "parted -s {} mklabel msdos mkpart primary 1MiB 100%", ["MBR"]),
    # Our own file system, and something else beside it.
    (
        "own label and a partition table",
        "mkfs.ext4 -q -F -L auscat {0}; " + WRITE_MBR,
        ["MBR|contradict"],
    ),
]


def assert_refused(
    scenario: Scenario, node: Host, disk: Disk, says: list[str], **wished: Any
) -> None:
    before, content = node.state(), disk.checksum()
    outcome = apply(scenario, **wished)
    assert outcome.returncode != 0, "it was accepted"
    for text in says:
        assert re.search(text, outcome.errors), f"{text!r} is not in: {outcome.errors}"
    assert "Nothing was changed on node" in outcome.errors
    assert node.state() == before
    assert disk.checksum() == content, "the disk was written to"


@pytest.mark.parametrize(
    ("content", "command", "says"), CONTENTS, ids=[content[0] for content in CONTENTS]
)
def test_disk_that_holds_something(
    scenario: Scenario, node: Host, other_disk: Disk, content: str, command: str, says: list[str]
) -> None:
    other_disk.do("erase", "300M")
    node.shell(command.format(other_disk.path))
    assert_refused(
        scenario,
        node,
        other_disk,
        ["host_volume_device is /dev/loop211|host_volume_filesystem", "Accepted", *says],
        auscat_data_root=SECOND,
        host_volume_device=other_disk.path,
        host_volume_filesystem="xfs" if content == "xfs wished" else "ext4",
    )


@pytest.fixture(scope="module")
def empty_disk(other_disk: Disk) -> Disk:
    """The same disk as new."""
    other_disk.do("erase", "300M")
    return other_disk


def test_disk_in_use_elsewhere(scenario: Scenario, node: Host, disk: Disk) -> None:
    before = node.state()
    outcome = apply(scenario, auscat_data_root=SECOND, host_volume_device=disk.path)
    assert outcome.returncode != 0
    assert "is mounted at /srv/auscat and not at auscat_data_root /srv/second" in outcome.errors
    assert node.state() == before


def test_second_disk_for_the_same_place(scenario: Scenario, node: Host, empty_disk: Disk) -> None:
    assert_refused(
        scenario,
        node,
        empty_disk,
        ["/dev/loop210 is mounted at auscat_data_root /srv/auscat"],
        host_volume_device=empty_disk.path,
    )


def test_directory_that_already_holds_data(
    scenario: Scenario, node: Host, empty_disk: Disk
) -> None:
    node.shell("mkdir -p /srv/full/orthanc")
    try:
        assert_refused(
            scenario,
            node,
            empty_disk,
            ["/srv/full holds orthanc, which the volume would hide"],
            auscat_data_root="/srv/full",
            host_volume_device=empty_disk.path,
        )
    finally:
        node.shell("rm -r /srv/full")


def test_device_that_is_not_there(scenario: Scenario, node: Host, empty_disk: Disk) -> None:
    assert_refused(
        scenario,
        node,
        empty_disk,
        ["/dev/sdz, and there is no such block device", "/dev/loop210, /dev/loop211"],
        auscat_data_root=SECOND,
        host_volume_device="/dev/sdz",
    )


def test_unencrypted_volume_is_not_encrypted(scenario: Scenario, node: Host, disk: Disk) -> None:
    before = node.state()
    outcome = apply(
        scenario, host_volume_encryption=True, host_volume_encryption_key="0123456789abcdef"
    )
    assert outcome.returncode != 0
    assert "is a volume of this node that is not encrypted" in outcome.errors
    assert "0123456789abcdef" not in outcome.text
    assert node.state() == before
