"""A test host with a kernel of its own: a virtual machine under QEMU, software emulation only.

What a container on this machine cannot have, it has: device-mapper (LUKS, LVM), a boot loader's
view of disks, the kernel's own /dev. It needs no root device, no bridge and no hardware support:
the root file system comes from mmdebstrap, the kernel is booted directly, and the network is QEMU's
user mode with SSH forwarded to a port of this machine::

    testvm.py up       --directory DIRECTORY --port PORT   make what is missing, start, wait
    testvm.py stop     --directory DIRECTORY               power off and wait
    testvm.py start    --directory DIRECTORY --port PORT [--without-data]
    testvm.py grow     --directory DIRECTORY --size 3G     grow the data disk, also while it runs
    testvm.py down     --directory DIRECTORY               end the machine, remove its disks

DIRECTORY holds the machine (disks, key, log of the console); images that other runs can use lie in
its parent. ``--images`` names a directory of image archives, which the machine finds at
/var/cache/auscat-images. Exit code 1, with the reason on standard error, when something failed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SUITE = "bookworm"
PACKAGES = (
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "openssh-server",
    "python3",
    "python3-apt",
    "iproute2",
    "ca-certificates",
    "procps",
    "kmod",
    "e2fsprogs",
    # A test makes a physical volume; installing it there would make the initrd anew, in emulation.
    "lvm2",
)
ROOT_SIZE = "16G"
MEMORY_MIB = 4096
# A boot takes 30 s on an idle machine and minutes on a busy one.
BOOT_SECONDS = 900
STOP_SECONDS = 300
# QEMU's user-mode network answers names at this address.
HOOK = r"""
mkdir -p "$1/root/.ssh"; chmod 700 "$1/root/.ssh"
cp "$PUBLIC_KEY" "$1/root/.ssh/authorized_keys"
echo node >"$1/etc/hostname"; echo "127.0.1.1 node" >>"$1/etc/hosts"
rm -f "$1/etc/resolv.conf"; echo "nameserver 10.0.2.3" >"$1/etc/resolv.conf"
printf "[Match]\nName=e*\n[Network]\nDHCP=ipv4\n" >"$1/etc/systemd/network/10-all.network"
chroot "$1" systemctl --quiet enable systemd-networkd
chroot "$1" systemctl --quiet mask systemd-networkd-wait-online.service apt-daily.timer \
    apt-daily-upgrade.timer e2scrub_reap.service
printf "LABEL=root / ext4 errors=remount-ro 0 1\n" >"$1/etc/fstab"
printf "LABEL=images /var/cache/auscat-images ext4 ro,nofail 0 0\n" >>"$1/etc/fstab"
mkdir -p "$1/var/cache/auscat-images"
# Loaded at once: on a busy machine udev is too slow to do it within the 30 s that a boot waits.
printf "virtio_pci\nvirtio_blk\next4\n" >>"$1/etc/initramfs-tools/modules"
chroot "$1" update-initramfs -u
"""


class MachineError(Exception):
    """The machine could not be made or reached; the message says why and what to look at."""


def run(*command: str, **options: Any) -> str:
    """Run a command and return its output; raises MachineError with what it said when it fails."""
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, **options)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise MachineError(f"{' '.join(command[:4])} failed with {done.returncode}: {said}")
    return done.stdout.strip()


def base(cache: Path) -> Path:
    """Give the directory with kernel, initrd and root file system; made when missing."""
    inputs = json.dumps([SUITE, PACKAGES, ROOT_SIZE, HOOK])
    made = cache / f"vm-{SUITE}-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"
    if (made / "complete").exists():
        return made
    shutil.rmtree(made, ignore_errors=True)
    root = made / "root"
    root.mkdir(parents=True)
    # A key of this machine's own: it opens test machines that listen on the loopback alone.
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made / "key"))
    # In a session of its own, because mmdebstrap signals its whole process group when it fails.
    archive = made / "root.tar"
    run(
        *("mmdebstrap", "--quiet", "--variant=minbase", '--aptopt=Acquire::Retries "3"'),
        *(f"--include={','.join(PACKAGES)}", f"--customize-hook={HOOK}", SUITE, str(archive)),
        start_new_session=True,
        env={**os.environ, "PUBLIC_KEY": str(made / "key.pub")},
    )
    run("tar", "--directory", str(root), "--extract", "--file", str(archive))
    archive.unlink()
    for name in ("vmlinuz", "initrd.img"):
        (newest,) = sorted((root / "boot").glob(f"{name}-*"))[-1:]
        shutil.copyfile(newest, made / name)
    image = made / "root.img"
    run("truncate", "--size", ROOT_SIZE, str(image))
    run("mkfs.ext4", "-q", "-L", "root", "-d", str(root), str(image))
    shutil.rmtree(root)
    (made / "complete").touch()
    return made


def images_disk(directory: Path, images: Path) -> None:
    """Make a disk of the newest archive of each image, so that the machine builds none."""
    newest: dict[str, Path] = {}
    for archive in sorted(images.glob("*.tar"), key=lambda file: file.stat().st_mtime):
        newest[archive.name.rpartition("-")[0]] = archive
    content = directory / "images"
    content.mkdir()
    for archive in newest.values():
        os.link(archive, content / archive.name)
    disk = directory / "images.img"
    size = sum(file.stat().st_size for file in newest.values()) // 1024**2
    run("truncate", "--size", f"{size + size // 10 + 64}M", str(disk))
    run("mkfs.ext4", "-q", "-L", "images", "-m", "0", "-d", str(content), str(disk))
    shutil.rmtree(content)


def prepare(directory: Path, images: Path | None, data_size: str) -> None:
    """Make the disks of the machine, where they are missing."""
    made = base(directory.parent)
    directory.mkdir(parents=True, exist_ok=True)
    # ssh refuses a key that others may read, and Ansible wants its path to be known beforehand.
    shutil.copyfile(made / "key", directory / "key")
    (directory / "key").chmod(0o600)
    root = directory / "root.qcow2"
    if not root.exists():
        backing = str(made / "root.img")
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", "raw", str(root))
        if images is not None:
            images_disk(directory, images)
    data = directory / "data.img"
    if not data.exists():
        run("truncate", "--size", data_size, str(data))


def command(directory: Path, port: int, with_data: bool) -> list[str]:
    """Give QEMU's command line."""
    made = base(directory.parent)
    drives = [f"file={directory}/root.qcow2,format=qcow2,if=virtio,cache=unsafe"]
    if (directory / "images.img").exists():
        drives.append(f"file={directory}/images.img,format=raw,if=virtio,readonly=on")
    line = [
        "qemu-system-x86_64",
        *("-machine", "q35,hpet=off", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MIB)),
        *("-accel", "tcg,thread=multi,tb-size=512"),
        *("-nodefaults", "-display", "none", "-serial", f"file:{directory}/console.log"),
        *("-kernel", str(made / "vmlinuz"), "-initrd", str(made / "initrd.img")),
        *(
            "-append",
            "root=LABEL=root rw console=ttyS0 net.ifnames=0 mitigations=off",
        ),
        *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"),
        *("-qmp", f"unix:{directory}/qmp.sock,server,nowait"),
        *("-pidfile", f"{directory}/pid"),
    ]
    for drive in drives:
        line += ["-drive", drive]
    if with_data:
        line += [
            *("-blockdev", f"driver=file,filename={directory}/data.img,node-name=data"),
            *("-device", "virtio-blk-pci,drive=data,id=data,serial=data"),
        ]
    return line


def process(directory: Path) -> int:
    """Give the process number of the running machine, 0 when it does not run."""
    file = directory / "pid"
    if not file.exists():
        return 0
    number = int(file.read_text())
    line = Path(f"/proc/{number}/cmdline")
    return number if line.exists() and str(directory).encode() in line.read_bytes() else 0


def ssh(directory: Path, port: int, *words: str, seconds: float = 60) -> int:
    """Run a command on the machine; its exit code, 255 when it cannot be reached."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=20")
    line = ["ssh", "-q", "-i", f"{directory}/key", "-p", str(port)]
    for option in options:
        line += ["-o", option]
    try:
        done = subprocess.run(
            [*line, "root@127.0.0.1", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return 255
    return done.returncode


def start(directory: Path, port: int, with_data: bool = True) -> bool:
    """Start the machine and wait until systemd has finished. Raises MachineError."""
    if process(directory):
        return False
    with (directory / "qemu.log").open("wb") as log:
        subprocess.Popen(
            command(directory, port, with_data),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + BOOT_SECONDS
    # 0 running, 1 degraded: a unit failed, which a test may want.
    while ssh(directory, port, "systemctl", "is-system-running", "--wait", seconds=300) not in (
        0,
        1,
    ):
        if time.monotonic() > deadline or not _alive(directory):
            raise MachineError(
                f"The machine does not answer at port {port} within {BOOT_SECONDS} s. Look at "
                f"{directory}/console.log and {directory}/qemu.log."
            )
        time.sleep(2)
    return True


def _alive(directory: Path) -> bool:
    if process(directory):
        return True
    time.sleep(5)  # QEMU writes its process number a moment after its start
    return bool(process(directory))


def qmp(directory: Path, execute: str, **arguments: Any) -> Any:
    """Give QEMU a command, see its QMP reference."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(directory / "qmp.sock"))
        stream = connection.makefile("rw")
        stream.readline()
        answer: dict[str, Any] = {}
        for document in (
            {"execute": "qmp_capabilities"},
            {"execute": execute, "arguments": arguments},
        ):
            stream.write(json.dumps(document) + "\n")
            stream.flush()
            answer = {}
            while "return" not in answer and "error" not in answer:
                answer = json.loads(stream.readline())
        if "error" in answer:
            raise MachineError(f"QEMU refused {execute}: {answer['error']['desc']}")
        return answer["return"]


def stop(directory: Path, port: int) -> bool:
    """Power the machine off in order and wait until it is gone."""
    number = process(directory)
    if not number:
        return False
    ssh(directory, port, "systemctl", "poweroff")
    deadline = time.monotonic() + STOP_SECONDS
    while process(directory):
        if time.monotonic() > deadline:
            os.kill(number, signal.SIGKILL)
            raise MachineError(f"The machine did not power off within {STOP_SECONDS} s.")
        time.sleep(1)
    return True


def grow(directory: Path, size: str) -> None:
    """Grow the data disk, of a running machine too."""
    run("truncate", "--size", size, str(directory / "data.img"))
    if process(directory):
        qmp(
            directory,
            "block_resize",
            **{"node-name": "data"},
            size=(directory / "data.img").stat().st_size,
        )


def down(directory: Path) -> list[str]:
    """End the machine and remove what is its own."""
    said = []
    number = process(directory)
    if number:
        os.kill(number, signal.SIGKILL)
        while process(directory):
            time.sleep(0.2)
        said.append(f"ended process {number}")
    if directory.exists():
        shutil.rmtree(directory)
        said.append(f"removed {directory}")
    return said


def main() -> int:
    """Read the command line and do as it says; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=["up", "start", "stop", "grow", "down"])
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, default=22801)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--size", default="2G", help="of the data disk; default: %(default)s")
    parser.add_argument("--without-data", action="store_true")
    arguments = parser.parse_args()
    directory = arguments.directory.resolve()
    try:
        # What was never made can be removed without the tools that make it.
        tools = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "ssh", "mkfs.ext4")
        for tool in () if arguments.command == "down" else tools:
            if not shutil.which(tool):
                raise MachineError(f"{tool} is not installed. molecule/vm/create.yml installs it.")
        if arguments.command == "up":
            prepare(directory, arguments.images, arguments.size)
        if arguments.command in ("up", "start") and start(
            directory, arguments.port, not arguments.without_data
        ):
            print("started the machine")
        if arguments.command == "stop" and stop(directory, arguments.port):
            print("stopped the machine")
        if arguments.command == "grow":
            grow(directory, arguments.size)
            print("grew the data disk")
        if arguments.command == "down":
            print(*down(directory), sep="\n")
    except (MachineError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
