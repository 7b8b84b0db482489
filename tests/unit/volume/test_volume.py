from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.volume import (
    checks,
    device,
    look,
    plan,
)
from ansible_collections.auscat.imaging.plugins.module_utils.volume.device import (
    GIB,
    MIB,
    Device,
    Host,
    Mount,
    Partition,
    Wish,
)
from ansible_collections.auscat.imaging.plugins.module_utils.volume.plan import Plan, mount_options

ROOT = "/srv/auscat"
UUID = "13306ed6-bef9-479c-9190-b6dfa7c301eb"
NEW = "00000000-0000-4000-8000-000000000000"
OPTIONS = "nodev,nosuid,noexec,nofail,x-systemd.device-timeout=30s"
TOOLS = tuple(plan.TOOLS)
SYSTEM = Mount("/", "8:1", "ext4", "/dev/sda1", ("rw",))
VOLUME = Mount(ROOT, "8:16", "ext4", "/dev/sdb", ("rw", "nosuid", "nodev", "noexec"))

WISH = Wish(ROOT, "/dev/sdb")
EMPTY = Device("/dev/sdb", 10 * GIB)
OWN = Device(
    "/dev/sdb",
    10 * GIB,
    ("ext4",),
    "ext4",
    "auscat",
    UUID,
    mounts=(ROOT,),
    filesystem_size=10 * GIB,
)
HOST = Host(mounts=(SYSTEM,), tools=TOOLS)
DONE = Host(
    mounts=(SYSTEM, VOLUME),
    fstab=((f"UUID={UUID}", ROOT, "ext4", OPTIONS, "0", "2"),),
    drop_in=plan.drop_in_text(ROOT, ROOT),
    tools=TOOLS,
)


def planned(
    wish: Wish = WISH,
    host: Host = HOST,
    disk: Device | None = EMPTY,
    volume: Device | None = None,
    mapping: Device | None = None,
) -> Plan:
    """The volume is the disk, unless there is a partition."""
    volume = volume or (None if wish.partition else disk)
    return plan.plan(wish, host, disk, volume, mapping, NEW)


def problem(**arguments: Any) -> str:
    made = planned(**arguments)
    assert not made.steps(), "a plan with a problem must not do anything"
    assert "Accepted" in made.problems[0]
    return "\n".join(made.problems)


# An empty device


def test_empty_device_gets_a_file_system_and_is_mounted() -> None:
    made = planned()
    assert made.problems == []
    assert (made.format, made.mount, made.again) == ("/dev/sdb", "mount", False)
    assert made.fstab == {"source": f"UUID={NEW}", "type": "ext4", "options": OPTIONS}
    assert made.drop_in == plan.drop_in_text(ROOT, ROOT)


def test_empty_disk_gets_a_partition_first() -> None:
    made = planned(replace(WISH, partition=True))
    assert (made.partition, made.device, made.again) == ("/dev/sdb", "/dev/sdb1", True)
    assert made.format == ""


@pytest.mark.parametrize(
    ("disk", "partition"),
    [
        ("/dev/sdb", "/dev/sdb1"),
        ("/dev/nvme0n1", "/dev/nvme0n1p1"),
        ("/dev/loop200", "/dev/loop200p1"),
    ],
)
def test_name_of_a_partition(disk: str, partition: str) -> None:
    assert device.partition_path(disk, 1) == partition


def test_missing_tools_are_installed() -> None:
    wish = replace(WISH, filesystem="xfs", partition=True)
    assert planned(wish, replace(HOST, tools=())).packages == ["parted", "xfsprogs"]


def test_nothing_is_left_to_do() -> None:
    made = planned(host=DONE, disk=OWN)
    assert made.problems == []
    assert made.steps() == []


@pytest.mark.parametrize(
    ("host", "steps"),
    [
        (replace(DONE, drop_in=""), ["have the Docker engine wait for the volume"]),
        (replace(DONE, fstab=()), [f"mount UUID={UUID} at boot"]),
        (
            replace(DONE, mounts=(SYSTEM, replace(VOLUME, options=("rw", "noexec")))),
            ["remount the volume"],
        ),
    ],
)
def test_only_what_is_missing_is_done(host: Host, steps: list[str]) -> None:
    assert planned(host=host, disk=OWN).steps() == steps


def test_volume_that_is_not_mounted_is_mounted() -> None:
    made = planned(host=replace(DONE, mounts=(SYSTEM,)), disk=replace(OWN, mounts=()))
    assert made.steps() == ["mount the volume"]


# Safe mode


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        (Device("/dev/sdb", GIB, ("xfs",), "xfs", "patients", UUID), "the file system xfs"),
        (Device("/dev/sdb", GIB, ("ext4",), "ext4", "", UUID), "the file system ext4"),
        (Device("/dev/sdb", GIB, ("LVM2_member",), "LVM2_member"), "physical volume of LVM"),
        (Device("/dev/sdb", GIB, ("linux_raid_member",), "linux_raid_member"), "software RAID"),
        (Device("/dev/sdb", GIB, ("swap",), "swap"), "swap space"),
        (Device("/dev/sdb", GIB, ("crypto_LUKS",), "crypto_LUKS"), "LUKS"),
        (Device("/dev/sdb", GIB, ("dos",)), "partition table (MBR)"),
        (Device("/dev/sdb", GIB, ("gpt", "PMBR")), "partition table (GPT)"),
        (Device("/dev/sdb", GIB, ("zfs_member",)), "zfs_member"),
        (Device("/dev/sdb", GIB, ("unclear",)), "contradict"),
        (Device("/dev/sdb", GIB, partitions=("/dev/sdb1",)), "/dev/sdb1"),
        (Device("/dev/sdb", GIB, mounts=("/data",)), "mounted at /data"),
        (Device("/dev/sdb", GIB, holders=("md0",)), "md0"),
        (Device("/dev/sdb", GIB, swap=True), "swap space in use"),
        (replace(OWN, mounts=(), types=("ext4", "dos")), "MBR"),
    ],
)
@pytest.mark.parametrize("partition", [False, True])
@pytest.mark.parametrize("encryption", [False, True])
def test_device_that_holds_something_is_refused(
    disk: Device, words: str, partition: bool, encryption: bool
) -> None:
    wish = replace(WISH, partition=partition, encryption=encryption, key="k" * 16)
    text = problem(wish=wish, disk=disk)
    assert "host_volume_device is /dev/sdb, which holds" in text
    assert words in text
    assert "wipefs --all /dev/sdb" in text


def test_partition_of_somebody_else_is_refused() -> None:
    disk = Device("/dev/sdb", GIB, ("gpt",), partitions=("/dev/sdb1",))
    first = Device("/dev/sdb1", GIB, ("ext4",), "ext4", "auscat", UUID, partition_name="old")
    text = problem(wish=replace(WISH, partition=True), disk=disk, volume=first)
    assert "GPT" in text


def test_own_partition_is_taken_up_where_an_earlier_run_stopped() -> None:
    disk = Device("/dev/sdb", GIB, ("gpt",), partitions=("/dev/sdb1",))
    first = Device("/dev/sdb1", GIB, partition_name="auscat")
    assert planned(replace(WISH, partition=True), disk=disk, volume=first).format == "/dev/sdb1"


# Other refusals


def test_device_that_is_not_there() -> None:
    text = problem(disk=None, host=replace(HOST, block_devices=("/dev/sda", "/dev/sdc")))
    assert "no such block device" in text
    assert "/dev/sda, /dev/sdc" in text


def test_partition_of_a_partition() -> None:
    disk = Device("/dev/sdb1", GIB, partition=Partition("/dev/sdb", 1, GIB, GIB, True))
    assert "is a partition" in problem(wish=replace(WISH, partition=True), disk=disk)


def test_other_file_system_than_wished() -> None:
    text = problem(wish=replace(WISH, filesystem="xfs"), host=DONE, disk=OWN)
    assert "host_volume_filesystem is xfs" in text


def test_read_only_device() -> None:
    assert "read-only" in problem(disk=replace(EMPTY, read_only=True))


def test_another_device_at_the_mount_point() -> None:
    other = replace(VOLUME, number="8:32", source="/dev/sdc")
    text = problem(host=replace(DONE, mounts=(SYSTEM, other)), disk=EMPTY)
    assert "/dev/sdc is mounted at auscat_data_root" in text


def test_data_beneath_the_mount_point() -> None:
    text = problem(host=replace(HOST, entries=("keydb", "orthanc")))
    assert "holds keydb, orthanc, which the volume would hide" in text


def test_fstab_mounts_something_else_there() -> None:
    host = replace(HOST, fstab=(("/dev/sdc1", ROOT, "ext4", "defaults"),))
    assert "/etc/fstab mounts /dev/sdc1" in problem(host=host, disk=replace(OWN, mounts=()))


def test_volume_mounted_elsewhere() -> None:
    disk = replace(OWN, mounts=("/mnt",))
    assert "is mounted at /mnt" in problem(disk=disk)


# Growth


def test_file_system_grows_with_the_disk() -> None:
    made = planned(host=DONE, disk=replace(OWN, size=20 * GIB))
    assert made.steps() == ["grow the file system on /dev/sdb"]


def test_rounding_is_not_growth() -> None:
    assert planned(host=DONE, disk=replace(OWN, size=10 * GIB + 31 * MIB)).steps() == []


def test_growth_can_be_switched_off() -> None:
    wish = replace(WISH, grow=False)
    assert planned(wish, DONE, replace(OWN, size=20 * GIB)).steps() == []


@pytest.mark.parametrize(("alone", "grows"), [(True, True), (False, False)])
def test_partition_grows_only_when_it_has_its_disk_for_itself(alone: bool, grows: bool) -> None:
    place = Partition("/dev/sdb", 1, 10 * GIB, 20 * GIB, alone)
    volume = replace(OWN, path="/dev/sdb1", partition=place)
    made = planned(replace(WISH, device="/dev/sdb1"), DONE, volume, volume)
    assert made.grow_partition == ({"disk": "/dev/sdb", "number": 1} if grows else {})
    assert made.again is grows


# Encryption

SECRET = replace(WISH, encryption=True, key="0123456789abcdef", key_file="/etc/volume.key")
LUKS = Device(
    "/dev/sdb",
    10 * GIB,
    ("crypto_LUKS",),
    "crypto_LUKS",
    "auscat",
    "luks-uuid",
    holders=("auscat",),
)
KEYED = replace(HOST, key=b"0123456789abcdef")


def test_empty_device_is_encrypted_first() -> None:
    made = planned(SECRET)
    assert made.steps() == [
        "write the key file",
        "encrypt /dev/sdb",
        "open the encrypted volume /dev/sdb",
    ]
    assert made.again


def test_then_what_is_inside_gets_the_file_system() -> None:
    inside = Device("/dev/dm-0", 10 * GIB - 16 * MIB)
    made = planned(SECRET, KEYED, LUKS, mapping=inside)
    assert (made.format, made.crypttab, made.mount) == ("/dev/dm-0", "luks-uuid", "mount")
    assert not made.again


def test_closed_volume_is_opened() -> None:
    assert planned(SECRET, KEYED, replace(LUKS, holders=())).steps() == [
        "open the encrypted volume /dev/sdb"
    ]


def test_encrypted_volume_is_left_alone_when_all_is_done() -> None:
    inside = replace(OWN, path="/dev/dm-0", size=10 * GIB - 16 * MIB)
    table = (("auscat", "UUID=luks-uuid", SECRET.key_file, "luks"),)
    opened = f"{OPTIONS},x-systemd.requires=systemd-cryptsetup@auscat.service"
    fstab = ((f"UUID={UUID}", ROOT, "ext4", opened, "0", "2"),)
    host = replace(DONE, key=KEYED.key, crypttab=table, fstab=fstab)
    assert planned(SECRET, host, LUKS, mapping=inside).steps() == []


def test_the_mount_opens_the_encrypted_volume_itself() -> None:
    """Else a disk that is connected after the boot would stay locked."""
    wish = replace(SECRET, label="key-db")
    assert mount_options(wish)[-1] == r"x-systemd.requires=systemd-cryptsetup@key\x2ddb.service"
    assert not any("cryptsetup" in option for option in mount_options(WISH))


def test_encrypted_volume_grows() -> None:
    inside = replace(OWN, path="/dev/dm-0", size=10 * GIB - 16 * MIB)
    table = (("auscat", "UUID=luks-uuid", SECRET.key_file, "luks"),)
    host = replace(DONE, key=KEYED.key, crypttab=table)
    made = planned(SECRET, host, replace(LUKS, size=20 * GIB), mapping=inside)
    assert made.grow_mapping
    assert made.again


@pytest.mark.parametrize(
    ("wish", "host", "disk", "words"),
    [
        (replace(SECRET, key=""), HOST, EMPTY, "host_volume_encryption_key is empty"),
        (replace(SECRET, key="short"), HOST, EMPTY, "has 5 characters"),
        (SECRET, replace(HOST, key=b"another key of the past"), LUKS, "differs from"),
        (SECRET, replace(HOST, systemd=False), EMPTY, "no systemd"),
        (SECRET, DONE, OWN, "that is not encrypted"),
        (WISH, HOST, LUKS, "is an encrypted volume of this node"),
        (SECRET, HOST, replace(LUKS, label="laptop"), "an encrypted volume (LUKS)"),
        (replace(SECRET, device=""), HOST, EMPTY, "host_volume_device is empty"),
    ],
)
def test_encryption_that_cannot_be(wish: Wish, host: Host, disk: Device, words: str) -> None:
    text = problem(wish=wish, host=host, disk=disk)
    assert words in text
    assert SECRET.key not in text


def test_key_is_not_shown() -> None:
    assert SECRET.key not in repr(SECRET)


# Without a device


def test_directory_on_the_system_disk_needs_nothing() -> None:
    assert planned(Wish(ROOT), HOST, None).steps() == []


def test_mount_that_is_already_there_is_waited_for() -> None:
    data = Mount("/srv", "0:50", "nfs4", "filer:/srv", ("rw",))
    host = replace(HOST, mounts=(SYSTEM, data), fstab=(("filer:/srv", "/srv", "nfs4", "hard"),))
    made = planned(Wish(ROOT), host, None)
    assert made.drop_in == plan.drop_in_text(ROOT, "/srv")
    assert made.warnings == []


def test_mount_that_a_boot_would_forget_is_warned_of() -> None:
    host = replace(HOST, mounts=(SYSTEM, VOLUME))
    assert "not in /etc/fstab" in planned(Wish(ROOT), host, None).warnings[0]


def test_mount_that_is_missing() -> None:
    host = replace(HOST, fstab=(("/dev/sdc", "/srv", "xfs", "nofail"),))
    assert "/etc/fstab mounts /srv, and it is not mounted" in problem(
        wish=Wish(ROOT), host=host, disk=None
    )


def test_engine_no_longer_waits_for_a_volume_that_is_gone() -> None:
    host = replace(HOST, drop_in=plan.drop_in_text(ROOT, ROOT))
    assert planned(Wish(ROOT), host, None).drop_in == ""


def test_nothing_for_systemd_where_there_is_none() -> None:
    assert planned(Wish(ROOT), replace(HOST, systemd=False, drop_in="x"), None).drop_in is None


# Watching


@pytest.mark.parametrize(
    ("total", "free", "percent", "gib", "passed"),
    [
        (100 * GIB, 11 * GIB, 10, 5, True),
        (100 * GIB, 9 * GIB, 10, 5, False),
        (20 * GIB, 4 * GIB, 10, 5, False),
        (100 * GIB, 1, 0, 0, True),
        (0, 0, 10, 0, True),
    ],
)
def test_free_space(total: int, free: int, percent: float, gib: float, passed: bool) -> None:
    row = checks.free_space_check(ROOT, total, free, percent, gib, "kv01")
    assert row["passed"] is passed
    assert bool(row["remedy"]) is not passed
    assert row["where"] == "kv01"


def test_volume_that_is_not_as_declared_is_a_failed_row() -> None:
    made = planned(disk=None)
    row = checks.volume_check(WISH, made, "kv01")
    assert not row["passed"]
    assert "no such block device" in row["detail"]


# Reading


def test_mountinfo() -> None:
    text = r"42 29 8:16 / /srv/au\040scat rw,nosuid,nodev - ext4 /dev/sdb rw,errors=remount-ro"
    (mount,) = look.parse_mounts(text)
    assert mount == Mount("/srv/au scat", "8:16", "ext4", "/dev/sdb", ("rw", "nosuid", "nodev"))


def test_the_last_of_several_mounts_counts() -> None:
    later = replace(VOLUME, source="/dev/sdc")
    assert device.mount_of(f"{ROOT}/orthanc", (SYSTEM, VOLUME, later)) == later
    assert device.mount_of("/srv/auscat2", (SYSTEM, VOLUME)) == SYSTEM


def test_fstab() -> None:
    text = "# comment\n\nUUID=1 /srv/a\\040b ext4 defaults 0 2\nbroken line\n"
    assert look.parse_table(text, 4) == (("UUID=1", "/srv/a b", "ext4", "defaults", "0", "2"),)


def lvm(disk: Path) -> None:
    """The label of an LVM physical volume, format_text/layout.h."""
    label = struct.pack("<QI8s", 1, 0, b"")[0:0]
    body = struct.pack("<I8s", 32, b"LVM2 001") + b"A" * 32 + struct.pack("<Q", 0)
    body = body.ljust(512 - 20, b"\0")
    crc = 0xF597A6CF
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        table.append(value)
    for byte in body:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    label = struct.pack("<8sQI", b"LABELONE", 1, crc) + body
    with disk.open("r+b") as stream:
        stream.seek(512)
        stream.write(label)


def raid(disk: Path) -> None:
    """A superblock of version 1.2 of the kernel's software RAID, linux/raid/md_p.h."""
    block = bytearray(256 + 128 * 2)
    struct.pack_into("<II", block, 0, 0xA92B4EFC, 1)
    struct.pack_into("<Q", block, 144, 8)  # super_offset: 4 KiB, in sectors
    struct.pack_into("<I", block, 220, 0)
    words = struct.unpack(f"<{64}I", bytes(block[:256]))
    total = sum(words)
    struct.pack_into("<I", block, 216, (total & 0xFFFFFFFF) + (total >> 32))
    with disk.open("r+b") as stream:
        stream.seek(4096)
        stream.write(block)


def luks(disk: Path) -> None:
    """The beginning of a LUKS1 header, LUKS on-disk format specification 1.2.3."""
    with disk.open("r+b") as stream:
        stream.write(struct.pack(">6sH", b"LUKS\xba\xbe", 1))
        stream.seek(168)
        stream.write(UUID.encode())


def mbr(disk: Path) -> None:
    with disk.open("r+b") as stream:
        stream.seek(446)
        stream.write(struct.pack("<8B2I", 0, 0, 0, 0, 0x83, 0, 0, 0, 2048, 100000))
        stream.seek(510)
        stream.write(b"\x55\xaa")


def program(*command: str) -> Callable[[Path], None]:
    def write(disk: Path) -> None:
        tool = shutil.which(command[0], path="/usr/sbin:/sbin:/usr/bin:/bin")
        if tool is None:
            pytest.skip(f"{command[0]} is not installed here")
        subprocess.run([tool, *command[1:], str(disk)], check=True, capture_output=True)

    return write


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (program("mkfs.ext4", "-q", "-L", "auscat"), "ext4"),
        (program("mkfs.xfs", "-q", "-L", "auscat"), "xfs"),
        (program("mkswap"), "swap"),
        (lvm, "LVM2_member"),
        (raid, "linux_raid_member"),
        (luks, "crypto_LUKS"),
        (mbr, "dos"),
    ],
    ids=["ext4", "xfs", "swap", "LVM", "RAID", "LUKS", "MBR"],
)
def test_signatures_as_the_tools_of_this_machine_find_them(
    tmp_path: Path, write: Callable[[Path], None], kind: str
) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as stream:
        stream.truncate(400 * MIB)
    assert look.probe(str(disk)) == {}
    assert look.signatures(str(disk)) == ()
    write(disk)
    before = disk.stat().st_mtime_ns
    assert kind in look.signatures(str(disk))
    found = look.probe(str(disk))
    assert kind in (found.get("TYPE"), found.get("PTTYPE"))
    if kind in ("ext4", "xfs"):
        assert found["LABEL"] == "auscat"
        assert look.filesystem_size(str(disk), kind) == 400 * MIB
    assert disk.stat().st_mtime_ns == before, "looking must not write"


def test_what_is_no_block_device_is_none(tmp_path: Path) -> None:
    assert look.look(str(tmp_path / "missing"), ()) is None
    (tmp_path / "file").write_text("text")
    assert look.look(str(tmp_path / "file"), ()) is None


def test_this_machine_can_be_read(tmp_path: Path) -> None:
    host = look.read_host(Wish(str(tmp_path)), tmp_path / "drop-in")
    assert any(mount.point == "/" for mount in host.mounts)
    assert host.drop_in == ""
    total, free = look.space(str(tmp_path / "later"))
    assert total > free > 0
