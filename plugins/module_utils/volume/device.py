"""What is known of a machine's block devices and mounts, and what the inventory wishes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MIB = 1024**2
GIB = 1024**3
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
    key_file: str = ""


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


def is_below(path: str, point: str) -> bool:
    """Whether a path is a mount point other than the root, or lies below it."""
    return point.startswith("/") and point != "/" and f"{path}/".startswith(f"{point}/")


def is_own(device: Device, kind: str, label: str) -> bool:
    """Whether a device is this node's own volume, by its kind and label."""
    return device.type == kind and device.label == label and set(device.types) <= {kind}


def wish_of(parameters: Mapping[str, Any]) -> Wish:
    """Return the wish that a module's parameters hold."""
    names = Wish.__dataclass_fields__
    values = {name: value for name, value in parameters.items() if name in names}
    return Wish(**{**values, "mount_options": tuple(values["mount_options"])})
