"""What must be done so that a device holds the node's data; touches nothing.

Safe mode is the only mode: a device that holds anything recognisable and is not this node's own
volume is a problem in the plan, never something to format.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.volume.device import (
    LUKS,
    LUKS_HEADER_BYTES,
    MIB,
    Device,
    Host,
    Wish,
    is_below,
    is_own,
    mount_of,
    partition_path,
)

# Less than this behind a partition or a file system is alignment and rounding, not growth.
GROWTH_BYTES = 32 * MIB


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
        missing = [line[1] for line in host.fstab if is_below(wish.data_root, line[1])]
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
    if not is_own(volume, LUKS, wish.label):
        if is_own(volume, wish.filesystem, wish.label):
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


def _plan_filesystem(made: Plan, wish: Wish, host: Host, volume: Device, holder: Device) -> None:
    made.device = holder.path
    if holder.empty:
        made.format = holder.path
    elif not is_own(holder, wish.filesystem, wish.label):
        other = {"ext4": "xfs", "xfs": "ext4"}[wish.filesystem]
        if is_own(holder, other, wish.label):
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
