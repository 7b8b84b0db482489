"""What is on a block device, and what must be done so that it holds the node's data.

`look` and `read_host` read a machine, `plan` decides and touches nothing. Safe mode is the only
mode: a device that holds anything recognisable and is not this node's own volume is a problem in
the plan, never something to format.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError

MIB = 1024**2
GIB = 1024**3
SYS_BLOCK = Path("/sys/class/block")

# Less than this behind a partition or a file system is alignment and rounding, not growth.
GROWTH_BYTES = 32 * MIB
# A LUKS2 header takes 16 MiB of its device.
LUKS_HEADER_BYTES = 16 * MIB

LUKS = "crypto_LUKS"
KINDS = {
    LUKS: "an encrypted volume (LUKS)",
    "LVM2_member": "a physical volume of LVM",
    "linux_raid_member": "a member of a software RAID",
    "swap": "swap space",
    "dos": "a partition table (MBR)",
    "PMBR": "a partition table (protective MBR)",
    "gpt": "a partition table (GPT)",
}


@dataclass(frozen=True)
class Partition:
    """A device's place on its disk, in bytes; alone: no other partition is on the disk."""

    disk: str
    number: int
    end: int
    disk_size: int
    alone: bool


@dataclass(frozen=True)
class Device:
    """What is known of one block device.

    Attributes:
        path: as the kernel names it, /dev/sdb.
        size: bytes.
        types: all signatures that wipefs(8) finds: ext4, gpt, crypto_LUKS …; "unclear" when they
            contradict each other.
        type: the one that blkid(8) finds, its label and UUID; empty when there is none.
        partitions: kernel paths of the partitions on it.
        partition: its own place when it is a partition.
        partition_name: its name in a GPT.
        mounts: where its file system is mounted.
        holders: names of what is stacked on it: an opened LUKS volume, LVM, RAID.
        swap: whether it is in use as swap space.
        filesystem_size: bytes that an ext4 or xfs on it takes; 0 for all else.
    """

    path: str
    size: int
    types: tuple[str, ...] = ()
    type: str = ""
    label: str = ""
    uuid: str = ""
    read_only: bool = False
    partitions: tuple[str, ...] = ()
    partition: Partition | None = None
    partition_name: str = ""
    mounts: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    swap: bool = False
    filesystem_size: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing recognisable is on it and nothing uses it."""
        return not (
            self.types or self.type or self.partitions or self.mounts or self.holders or self.swap
        )

    def contents(self) -> str:
        """Say in words what is on it."""
        names = [name for name in self.types if name != self.type]
        if self.type:
            names.insert(0, self.type)
        words = [KINDS.get(name, f"the file system {name}") for name in names if name != "unclear"]
        if "gpt" in names:
            words = [word for word in words if "protective" not in word]
        if "unclear" in names:
            words.append("signatures that contradict each other")
        if self.type and (self.label or self.uuid):
            words[0] += f' (label "{self.label}", UUID {self.uuid})'
        if self.partitions:
            words.append(f"the partitions {', '.join(self.partitions)}")
        if self.mounts:
            words.append(f"what is mounted at {', '.join(self.mounts)}")
        if self.holders:
            words.append(f"what {', '.join(self.holders)} is made of")
        if self.swap:
            words.append("swap space in use")
        return " and ".join(words)


@dataclass(frozen=True)
class Mount:
    """One line of /proc/self/mountinfo, proc(5)."""

    point: str
    number: str
    type: str
    source: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Host:
    """The rest of what a plan depends on.

    Attributes:
        mounts: in the order in which they were made.
        fstab: fields of each line of fstab(5).
        crypttab: fields of each line of crypttab(5).
        drop_in: what ties the Docker engine to the mount now; empty when nothing does.
        entries: names in auscat_data_root where that is no mount point.
        systemd: whether it is the service manager.
        tools: programs of TOOLS that are there.
        key: content of the key file; None when there is no such file.
        block_devices: paths of the disks and partitions, for the error that names them.
    """

    mounts: tuple[Mount, ...] = ()
    fstab: tuple[tuple[str, ...], ...] = ()
    crypttab: tuple[tuple[str, ...], ...] = ()
    drop_in: str = ""
    entries: tuple[str, ...] = ()
    systemd: bool = True
    tools: tuple[str, ...] = ()
    key: bytes | None = None
    block_devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """What the inventory says; each is the variable host_volume_<name>, except data_root and key.

    Attributes:
        data_root: auscat_data_root.
        device: empty for a directory or a mount that is already there.
        key: host_volume_encryption_key; empty when only the key file has it.
        key_file: host_volume_encryption_key_file.
    """

    data_root: str
    device: str = ""
    filesystem: str = "ext4"
    label: str = "auscat"
    partition: bool = False
    grow: bool = True
    mount_options: tuple[str, ...] = ("nodev", "nosuid", "noexec")
    device_timeout: int = 30
    encryption: bool = False
    key: str = field(default="", repr=False)
    key_file: str = "/etc/auscat/volume.key"


@dataclass
class Plan:
    """What to do, in this order; all is empty or false where nothing is to be done.

    Attributes:
        problems: what stands against it; then nothing is to be done at all.
        warnings: what is allowed and may hurt later.
        packages: Debian packages that the steps need.
        write_key: whether the key of the vault goes into the key file.
        partition: disk that gets a partition over its whole length.
        grow_partition: disk and number of the partition that grows.
        encrypt: device that becomes a LUKS volume.
        open: LUKS device to be opened.
        grow_mapping: whether the opened LUKS volume grows.
        again: the steps so far change what is to be seen: look again before the following.
        format: device that gets a file system.
        crypttab: UUID of the LUKS volume that is opened at boot.
        fstab: fields 1, 3 and 4 of the line in fstab(5) that mounts the volume.
        mount: whether it is mounted now; "remount" when its options differ.
        grow_filesystem: whether the file system grows.
        drop_in: what the engine's drop-in is to hold; None when it is as it should be.
        device: the device that holds, or will hold, the file system.
        uuid: of that file system.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    write_key: bool = False
    partition: str = ""
    grow_partition: dict[str, Any] = field(default_factory=dict)
    encrypt: str = ""
    open: str = ""
    grow_mapping: bool = False
    again: bool = False
    format: str = ""
    crypttab: str = ""
    fstab: dict[str, str] = field(default_factory=dict)
    mount: str = ""
    grow_filesystem: bool = False
    drop_in: str | None = None
    device: str = ""
    uuid: str = ""

    def steps(self) -> list[str]:
        """Say in words what is to be done, one line a step."""
        grown = self.grow_partition
        lines = [
            (self.packages, f"install {', '.join(self.packages)}"),
            (self.write_key, "write the key file"),
            (self.partition, f"partition {self.partition}"),
            (grown, f"grow partition {grown.get('number')} of {grown.get('disk')}"),
            (self.encrypt, f"encrypt {self.encrypt}"),
            (self.open, f"open the encrypted volume {self.open}"),
            (self.grow_mapping, "grow the encrypted volume"),
            (self.format, f"make a file system on {self.format}"),
            (self.crypttab, "open the encrypted volume at boot"),
            (self.fstab, f"mount {self.fstab.get('source')} at boot"),
            (self.mount, f"{self.mount} the volume"),
            (self.grow_filesystem, f"grow the file system on {self.device}"),
            (self.drop_in, "have the Docker engine wait for the volume"),
            (self.drop_in == "", "have the Docker engine wait for no volume"),
        ]
        return [words for wanted, words in lines if wanted]

    def as_dict(self) -> dict[str, Any]:
        """Return it as data for the tasks of the role."""
        return asdict(self)


# Program, and the Debian package that brings it.
TOOLS = {
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "parted": "parted",
    "growpart": "cloud-guest-utils",
    "sfdisk": "fdisk",
    "cryptsetup": "cryptsetup-bin",
    # Debian 13 has put what opens volumes at boot into a package of its own.
    "systemd-cryptsetup": "systemd-cryptsetup",
}
SYSTEMD_CRYPTSETUP = ("/usr/lib/systemd/systemd-cryptsetup", "/lib/systemd/systemd-cryptsetup")


def drop_in_text(data_root: str, mount_point: str) -> str:
    """Return what makes the Docker engine wait for a mount, and not start without it."""
    return f"""\
# Managed by Ansible (role host_volume): changes made here are replaced.
# Without the volume the services would start empty and write to the disk beneath. RequiresMountsFor
# mounts it first, and stops the engine when it goes; the assertion holds also where nothing mounts
# it any more.
[Unit]
RequiresMountsFor={data_root}
AssertPathIsMountPoint={mount_point}
"""


def partition_path(disk: str, number: int) -> str:
    """Return the kernel's name of a partition: /dev/sdb1, /dev/nvme0n1p1."""
    return f"{disk}{'p' if disk[-1:].isdigit() else ''}{number}"


def mount_of(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """Return the mount that a path lies on."""
    found = None
    for mount in mounts:
        inside = f"{path}/".startswith(f"{mount.point.rstrip('/')}/")
        # Of several mounts on one point the last is the one in use.
        if inside and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def plan(
    wish: Wish,
    host: Host,
    disk: Device | None = None,
    volume: Device | None = None,
    mapping: Device | None = None,
    new_uuid: str = "",
) -> Plan:
    """Decide what must be done for the data root to lie where the inventory says.

    Args:
        wish: what the inventory says.
        host: the state of the machine.
        disk: the device that wish.device names; None when there is none.
        volume: the disk itself or, with wish.partition, its only partition; None while it has none.
        mapping: the opened LUKS volume on `volume`; None while it is closed.
        new_uuid: what a file system gets that is still to be made.
    """
    made = Plan(uuid=new_uuid)
    if wish.device:
        _plan_device(made, wish, host, disk, volume, mapping)
    else:
        _plan_directory(made, wish, host)
    if made.problems:
        return Plan(problems=made.problems, warnings=made.warnings)
    needed = {
        "mkfs.ext4": made.format and wish.filesystem == "ext4",
        "mkfs.xfs": (made.format or made.grow_filesystem) and wish.filesystem == "xfs",
        "parted": made.partition,
        "growpart": made.grow_partition,
        "sfdisk": made.grow_partition,
        "cryptsetup": wish.encryption,
        "systemd-cryptsetup": wish.encryption and host.systemd,
    }
    # All that the following looks will need is installed with the first step.
    if made.partition or made.encrypt:
        needed[f"mkfs.{wish.filesystem}"] = True
    made.packages = sorted(
        TOOLS[tool] for tool, wanted in needed.items() if wanted and tool not in host.tools
    )
    return made


def _plan_directory(made: Plan, wish: Wish, host: Host) -> None:
    if wish.encryption:
        made.problems.append(
            "host_volume_encryption is true and host_volume_device is empty. Accepted: encryption "
            "of a device that host_volume_device names. Set it, or encrypt the disk beneath "
            f"{wish.data_root} yourself and set host_volume_encryption to false."
        )
    mount = mount_of(wish.data_root, host.mounts)
    if mount is None or mount.point == "/":
        # Unless the volume is merely missing: then fstab, or the drop-in, still speaks of it.
        missing = [line[1] for line in host.fstab if _is_below(wish.data_root, line[1])]
        if missing:
            made.problems.append(
                f"auscat_data_root is {wish.data_root}, /etc/fstab mounts {missing[0]}, and it is "
                f"not mounted. Accepted: a mounted volume. Run `mount {missing[0]}` and look at "
                "what it says, or remove the line."
            )
        _plan_drop_in(made, host, "")
        return
    if not any(line[1] == mount.point for line in host.fstab):
        made.warnings.append(
            f"{mount.point}, where auscat_data_root {wish.data_root} lies, is not in /etc/fstab. "
            "Unless something else mounts it at boot, the Docker engine will not start after one."
        )
    _plan_drop_in(made, host, drop_in_text(wish.data_root, mount.point))


def _is_below(path: str, point: str) -> bool:
    return point.startswith("/") and point != "/" and f"{path}/".startswith(f"{point}/")


def _plan_drop_in(made: Plan, host: Host, text: str) -> None:
    if host.systemd and host.drop_in != text:
        made.drop_in = text


def _plan_device(
    made: Plan,
    wish: Wish,
    host: Host,
    disk: Device | None,
    volume: Device | None,
    mapping: Device | None,
) -> None:
    _check_mount_point(made, wish, host, volume, mapping)
    if disk is None:
        known = ", ".join(host.block_devices) or "none"
        made.problems.append(
            f"host_volume_device is {wish.device}, and there is no such block device. Accepted: "
            f"one of {known}, best by a name below /dev/disk/by-id, which stays the same. Connect "
            "the disk or correct the name."
        )
        return
    if wish.encryption:
        _check_key(made, wish, host)
    if disk.read_only:
        made.problems.append(
            f"host_volume_device is {wish.device}, which is read-only. Accepted: a device that can "
            "be written to."
        )
    if wish.partition and disk.partition is not None:
        made.problems.append(
            f"host_volume_device is {wish.device}, which is a partition, and host_volume_partition "
            "is true. Accepted: a whole disk, or host_volume_partition: false."
        )
        return
    if volume is None or (wish.partition and volume.partition_name != wish.label):
        if disk.empty and wish.partition:
            made.partition, made.again = disk.path, True
            made.device = partition_path(disk.path, 1)
        else:
            _refuse(made, wish, disk)
        return
    made.device = volume.path
    _plan_growth_of_partition(made, wish, volume)
    holder = _plan_encryption(made, wish, volume, mapping)
    if holder is not None and not made.problems:
        _plan_filesystem(made, wish, host, volume, holder)


def _check_mount_point(
    made: Plan, wish: Wish, host: Host, volume: Device | None, mapping: Device | None
) -> None:
    """Nothing but the volume may be mounted at the data root, and nothing may lie beneath."""
    holder = mapping or volume
    mounted = mount_of(wish.data_root, host.mounts)
    if mounted is not None and mounted.point == wish.data_root:
        if holder is None or wish.data_root not in holder.mounts:
            made.problems.append(
                f"host_volume_device is {wish.device}, and {mounted.source} is mounted at "
                f"auscat_data_root {wish.data_root}. Accepted: one volume. Names such as /dev/sdb "
                "change from boot to boot: use one below /dev/disk/by-id. To move the data to "
                "another disk, see docs/volumes.md."
            )
    elif host.entries:
        made.problems.append(
            f"host_volume_device is {wish.device}, and {wish.data_root} holds "
            f"{', '.join(host.entries[:5])}{' …' if len(host.entries) > 5 else ''}, which the "
            "volume would hide. Accepted: an empty directory or none. Move the data to the volume "
            "first (docs/volumes.md)."
        )


def _check_key(made: Plan, wish: Wish, host: Host) -> None:
    if not host.systemd:
        made.problems.append(
            "host_volume_encryption is true, and this machine has no systemd to open the volume at "
            "boot. Accepted: false, or a machine that systemd runs."
        )
    if wish.key and len(wish.key) < 16:
        made.problems.append(
            f"host_volume_encryption_key has {len(wish.key)} characters. Accepted: at least 16. "
            "playbooks/init_secrets.yml makes one."
        )
    elif not wish.key and not host.key:
        made.problems.append(
            f"host_volume_encryption is true, host_volume_encryption_key is empty and there is no "
            f"{wish.key_file} (host_volume_encryption_key_file). Accepted: a key in the vault, or "
            "a key file on the machine. Without the key nobody reads the volume again: keep a copy "
            "elsewhere."
        )
    elif wish.key and host.key is not None and host.key != wish.key.encode():
        made.problems.append(
            f"host_volume_encryption_key differs from {wish.key_file}, the key that opens the "
            "volume. Accepted: the same key. To change it, see docs/volumes.md."
        )
    made.write_key = bool(wish.key) and host.key is None


def _refuse(made: Plan, wish: Wish, device: Device) -> None:
    made.problems.append(
        f"host_volume_device is {wish.device}, which holds {device.contents()}. Accepted: a device "
        "that holds nothing recognisable, or the volume that an earlier run made (label "
        f'"{wish.label}"). Nothing is formatted that holds something. Is it the right disk? To '
        "use what is on it, mount it yourself and leave host_volume_device empty. To give it up, "
        f"erase it yourself: wipefs --all {device.path}"
    )


def _plan_growth_of_partition(made: Plan, wish: Wish, volume: Device) -> None:
    """A partition that shares its disk does not grow: the space may be meant for another."""
    place = volume.partition
    if not wish.grow or place is None or not place.alone or volume.empty:
        return
    if place.disk_size - place.end >= GROWTH_BYTES:
        made.grow_partition = {"disk": place.disk, "number": place.number}
        made.again = True


def _plan_encryption(
    made: Plan, wish: Wish, volume: Device, mapping: Device | None
) -> Device | None:
    """Return the device that holds, or will hold, the file system; None: it cannot be seen yet."""
    if not wish.encryption:
        if volume.type == LUKS and volume.label == wish.label:
            made.problems.append(
                f"host_volume_encryption is false, and {wish.device} is an encrypted volume of "
                "this node. Accepted: true. Nothing is decrypted by changing the variable."
            )
            return None
        return volume
    if volume.empty:
        made.encrypt = made.open = volume.path
        made.again = True
        return None
    if not _is_own(volume, LUKS, wish.label):
        if _is_own(volume, wish.filesystem, wish.label):
            made.problems.append(
                f"host_volume_encryption is true, and {wish.device} is a volume of this node that "
                "is not encrypted. Accepted: false, or an empty device. Nothing is encrypted by "
                "changing the variable: move the data (docs/volumes.md)."
            )
        else:
            _refuse(made, wish, volume)
        return None
    if mapping is None:
        made.open, made.again = volume.path, True
        return None
    if wish.grow and volume.size - mapping.size - LUKS_HEADER_BYTES >= GROWTH_BYTES:
        made.grow_mapping = made.again = True
    return mapping


def mount_options(wish: Wish) -> list[str]:
    """Return the options that /etc/fstab gives the volume."""
    options = [*wish.mount_options, "nofail", f"x-systemd.device-timeout={wish.device_timeout}s"]
    if wish.encryption:
        # Without it only a boot opens the volume: a disk that is connected later stays locked, and
        # the engine, which requires the mount, cannot be started.
        name = wish.label.replace("-", r"\x2d")
        options.append(f"x-systemd.requires=systemd-cryptsetup@{name}.service")
    return options


def _is_own(device: Device, kind: str, label: str) -> bool:
    return device.type == kind and device.label == label and set(device.types) <= {kind}


def _plan_filesystem(made: Plan, wish: Wish, host: Host, volume: Device, holder: Device) -> None:
    made.device = holder.path
    if holder.empty:
        made.format = holder.path
    elif not _is_own(holder, wish.filesystem, wish.label):
        other = {"ext4": "xfs", "xfs": "ext4"}[wish.filesystem]
        if _is_own(holder, other, wish.label):
            made.problems.append(
                f"host_volume_filesystem is {wish.filesystem}, and the volume on {wish.device} is "
                f"{other}. Accepted: {other}. Nothing is converted."
            )
        else:
            _refuse(made, wish, holder)
        return
    elsewhere = [point for point in holder.mounts if point != wish.data_root]
    if elsewhere and wish.data_root not in holder.mounts:
        made.problems.append(
            f"{wish.device} is mounted at {', '.join(elsewhere)} and not at auscat_data_root "
            f"{wish.data_root}. Accepted: mounted there or nowhere. Unmount it."
        )
        return
    options = ",".join(mount_options(wish))
    made.uuid = holder.uuid or made.uuid
    wished = (f"UUID={made.uuid}", wish.data_root, wish.filesystem, options)
    present = [line for line in host.fstab if line[1] == wish.data_root]
    foreign = [line[0] for line in present if line[0] != wished[0]]
    if foreign and not holder.empty:
        made.problems.append(
            f"/etc/fstab mounts {foreign[0]} at {wish.data_root}, and host_volume_device "
            f"{wish.device} has {wished[0]}. Accepted: one of them. Remove the line that is wrong."
        )
        return
    if [line[:4] for line in present] != [wished]:
        made.fstab = {"source": wished[0], "type": wish.filesystem, "options": options}
    if wish.encryption and not any(
        line[:3] == (wish.label, f"UUID={volume.uuid}", wish.key_file) for line in host.crypttab
    ):
        made.crypttab = volume.uuid
    mounted = mount_of(wish.data_root, host.mounts)
    if mounted is None or mounted.point != wish.data_root:
        made.mount = "mount"
    elif not set(wish.mount_options) <= set(mounted.options):
        made.mount = "remount"
    if wish.grow and holder.filesystem_size:
        made.grow_filesystem = holder.size - holder.filesystem_size >= GROWTH_BYTES
    _plan_drop_in(made, host, drop_in_text(wish.data_root, wish.data_root))


# Watching


def free_space_check(
    path: str, total: int, free: int, percent: float, gib: float, where: str
) -> dict[str, Any]:
    """Return the row of the proof that says whether enough space is left for data.

    Args:
        path: where the data lies.
        total: bytes of the file system.
        free: bytes that an unprivileged service can still write.
        percent: host_volume_free_warning_percent; 0 switches it off.
        gib: host_volume_free_warning_gib; 0 switches it off.
        where: the machine's name in the inventory.
    """
    least = max(total * percent / 100, gib * GIB)
    passed = free >= least
    share = 100 * free / total if total else 0
    return {
        "check": f"{path} has space left for more studies",
        "where": where,
        "passed": passed,
        "detail": f"{free / GIB:.1f} of {total / GIB:.1f} GiB ({share:.0f} %) are free; "
        f"complained about below {least / GIB:.1f} GiB",
        "remedy": ""
        if passed
        else "Enlarge the disk and run site.yml, or remove studies. When the disk is full, CTP "
        "loses what it has acknowledged. Threshold: host_volume_free_warning_percent, "
        "host_volume_free_warning_gib.",
    }


def volume_check(wish: Wish, made: Plan, where: str) -> dict[str, Any]:
    """Return the row of the proof that says whether the data lies where the inventory says."""
    wrong = made.problems or made.steps()
    where_it_lies = f"on {wish.device}" if wish.device else "in a directory or an own mount"
    return {
        "check": f"{wish.data_root} lies {where_it_lies}, and the engine waits for it",
        "where": where,
        "passed": not wrong,
        "detail": "; ".join(wrong) if wrong else "as the inventory says",
        "remedy": "Run site.yml; docs/volumes.md has what each message means." if wrong else "",
    }


# Reading a machine


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Read /proc/self/mountinfo, proc(5)."""
    mounts = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        mounts.append(
            Mount(
                point=_unescape(fields[4]),
                number=fields[2],
                type=kind[0],
                source=_unescape(kind[1]),
                options=tuple(fields[5].split(",")),
            )
        )
    return tuple(mounts)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)


def parse_table(text: str, fields: int) -> tuple[tuple[str, ...], ...]:
    """Read fstab(5) or crypttab(5): the lines that have at least this many fields."""
    lines = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    return tuple(tuple(map(_unescape, line)) for line in lines if len(line) >= fields)


def read(path: Path) -> str:
    """Return what a file holds; empty when there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def probe(path: str) -> dict[str, str]:
    """Return what blkid(8) finds on a device by looking at it, not into its cache.

    Raises:
        CommandError: it cannot be read.
    """
    done = subprocess.run(
        ["blkid", "--probe", "--output", "export", path],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    # Exit codes of blkid(8): 2 nothing found, 8 several signatures that contradict each other.
    if done.returncode == 8:
        return {"ambivalent": "yes"}
    if done.returncode not in (0, 2):
        raise CommandError(f"blkid cannot read {path}: {done.stderr.strip()}")
    # The values are quoted for a shell.
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def signatures(path: str) -> tuple[str, ...]:
    """Return the types of all signatures that wipefs(8) would erase. It erases nothing here.

    Raises:
        CommandError: the device cannot be read.
    """
    done = subprocess.run(
        ["wipefs", "--no-act", "--json", path],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise CommandError(f"wipefs cannot read {path}: {done.stderr.strip()}")
    found = json.loads(done.stdout)["signatures"] if done.stdout.strip() else []
    return tuple(dict.fromkeys(str(signature["type"]) for signature in found))


def filesystem_size(path: str, kind: str) -> int:
    """Return the bytes that an ext4 or xfs takes, from its first superblock; 0 for other types.

    Offsets: "ext4 Data Structures and Algorithms" and "XFS Algorithms & Data Structures" of the
    kernel's documentation.
    """
    with Path(path).open("rb") as stream:
        if kind == "ext4":
            stream.seek(1024)
            block = stream.read(1024)
            low, log_size = (
                struct.unpack_from("<I", block, 4)[0],
                struct.unpack_from("<I", block, 24)[0],
            )
            # s_blocks_count_hi counts only with INCOMPAT_64BIT.
            wide = struct.unpack_from("<I", block, 96)[0] & 0x80
            high = struct.unpack_from("<I", block, 0x150)[0] if wide else 0
            return int((high << 32 | low) * (1024 << log_size))
        if kind == "xfs":
            size, blocks = struct.unpack_from(">IQ", stream.read(16), 4)
            return int(size * blocks)
    return 0


def sys_name(path: str) -> str:
    """Return the kernel's name of a device file: sdb, dm-0, cciss!c0d0."""
    return os.path.realpath(path)[len("/dev/") :].replace("/", "!")


def _sys(name: str, attribute: str) -> str:
    return read(SYS_BLOCK / name / attribute).strip()


def _partition_names(name: str) -> list[str]:
    return sorted(file.parent.name for file in (SYS_BLOCK / name).glob("*/partition"))


def look(path: str, mounts: Sequence[Mount]) -> Device | None:
    """Return what is on a block device, or None when there is no such device.

    Raises:
        CommandError: it cannot be read.
    """
    real = os.path.realpath(path)
    name = sys_name(path)
    size = int(_sys(name, "size") or 0) * 512
    # A loop device or a card reader without a medium has a name and no size.
    if not Path(real).is_block_device() or size == 0:
        return None
    found, types = probe(real), signatures(real)
    if "ambivalent" in found:
        types = (*types, "unclear")
    kind = found.get("TYPE", "")
    number = _sys(name, "dev")
    holders = [file.name for file in sorted((SYS_BLOCK / name / "holders").glob("*"))]
    swaps = [
        os.path.realpath(line.split()[0]) for line in read(Path("/proc/swaps")).splitlines()[1:]
    ]
    return Device(
        path=real,
        size=size,
        types=types,
        type=kind,
        label=found.get("LABEL", ""),
        uuid=found.get("UUID", ""),
        read_only=_sys(name, "ro") == "1",
        partitions=tuple(f"/dev/{part}" for part in _partition_names(name)),
        partition=_place(name),
        partition_name=found.get("PART_ENTRY_NAME", ""),
        mounts=tuple(dict.fromkeys(m.point for m in mounts if m.number == number)),
        holders=tuple(_sys(holder, "dm/name") or holder for holder in holders),
        swap=real in swaps,
        filesystem_size=filesystem_size(real, kind),
    )


def _place(name: str) -> Partition | None:
    number = _sys(name, "partition")
    if not number:
        return None
    disk = (SYS_BLOCK / name).resolve().parent.name
    return Partition(
        disk=f"/dev/{disk}",
        number=int(number),
        end=(int(_sys(name, "start")) + int(_sys(name, "size"))) * 512,
        disk_size=int(_sys(disk, "size")) * 512,
        alone=len(_partition_names(disk)) == 1,
    )


def mapping_path(volume: Device, label: str) -> str:
    """Return the device of the opened LUKS volume of this name; empty while it is closed."""
    for holder in (SYS_BLOCK / sys_name(volume.path) / "holders").glob("*"):
        if _sys(holder.name, "dm/name") == label and _sys(holder.name, "dm/uuid").startswith(
            "CRYPT-LUKS"
        ):
            return f"/dev/{holder.name}"
    return ""


def own_volume(wish: Wish, mounts: Sequence[Mount]) -> tuple[Device | None, ...]:
    """Return disk, volume and mapping as `plan` takes them. Raises CommandError."""
    disk = look(wish.device, mounts) if wish.device else None
    volume: Device | None = disk
    if disk is not None and wish.partition and disk.partition is None:
        volume = look(disk.partitions[0], mounts) if len(disk.partitions) == 1 else None
    opened = mapping_path(volume, wish.label) if volume is not None and wish.encryption else ""
    return disk, volume, look(opened, mounts) if opened else None


def read_host(wish: Wish, drop_in: Path) -> Host:
    """Read what a plan depends on beside the devices."""
    mounts = parse_mounts(read(Path("/proc/self/mountinfo")))
    root = Path(wish.data_root)
    mounted = any(mount.point == wish.data_root for mount in mounts)
    entries = [] if mounted or not root.is_dir() else sorted(file.name for file in root.iterdir())
    key = Path(wish.key_file)
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    tools = {tool for tool in TOOLS if shutil.which(tool, path=path)}
    if any(Path(file).exists() for file in SYSTEMD_CRYPTSETUP):
        tools.add("systemd-cryptsetup")
    return Host(
        mounts=mounts,
        fstab=parse_table(read(Path("/etc/fstab")), 4),
        crypttab=parse_table(read(Path("/etc/crypttab")), 2),
        drop_in=read(drop_in),
        entries=tuple(entries),
        systemd=Path("/run/systemd/system").is_dir(),
        tools=tuple(sorted(tools)),
        key=key.read_bytes() if key.is_file() else None,
        block_devices=tuple(
            f"/dev/{file.name}"
            for file in sorted(SYS_BLOCK.glob("*"))
            if int(_sys(file.name, "size") or 0) and not file.name.startswith("ram")
        ),
    )


def space(path: str) -> tuple[int, int]:
    """Return total and free bytes of the file system that holds a path, or would hold it."""
    place = Path(path)
    while not place.exists():
        place = place.parent
    status = os.statvfs(place)
    return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize


def wish_of(parameters: Mapping[str, Any]) -> Wish:
    """Return the wish that a module's parameters hold."""
    names = Wish.__dataclass_fields__
    values = {name: value for name, value in parameters.items() if name in names}
    return Wish(**{**values, "mount_options": tuple(values["mount_options"])})
