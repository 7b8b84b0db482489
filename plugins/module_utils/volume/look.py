"""Look at a machine's block devices and mounts. Nothing here changes anything."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError
from ansible_collections.auscat.imaging.plugins.module_utils.volume.device import (
    Device,
    Host,
    Mount,
    Partition,
    Wish,
)
from ansible_collections.auscat.imaging.plugins.module_utils.volume.plan import (
    SYSTEMD_CRYPTSETUP,
    TOOLS,
)

SYS_BLOCK = Path("/sys/class/block")


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
