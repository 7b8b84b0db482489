"""Read the few facts of a host that the platform needs, quickly, and find what is wrong with it."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run

GIB = 1024**3


def operating_system(text: str | None = None) -> dict[str, str]:
    """Return id, version and codename from os-release (freedesktop.org os-release(5))."""
    text = Path("/etc/os-release").read_text() if text is None else text
    values = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return {
        "id": values.get("ID", "unknown"),
        "version": values.get("VERSION_ID", "unknown"),
        "codename": values.get("VERSION_CODENAME", ""),
    }


def user_problem(user_id: int) -> str:
    """Return what is wrong with the user that Ansible works as; empty for root.

    Args:
        user_id: the effective one, geteuid(2).
    """
    if user_id == 0:
        return ""
    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:
        name = f"number {user_id}"
    return (
        f"Ansible works as the user {name} on this machine. Accepted: root. Run a simulation as "
        "root (sudo make simulation). On any other machine leave ansible_become true and allow the "
        "user that Ansible logs in as to use sudo. Nothing was changed."
    )


def memory_mib() -> int:
    """Return the host's memory in MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2


def existing_parent(path: Path) -> Path:
    """Return the path itself, or the nearest directory above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def service_manager() -> str:
    """Return systemd when it is PID 1, otherwise none."""
    return "systemd" if Path("/run/systemd/system").is_dir() else "none"


def missing_packages(names: Iterable[str]) -> list[str]:
    """Return those Debian packages that are not installed.

    Raises:
        CommandError: there is no dpkg.
    """
    listed = run(["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\\n"])
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return sorted(set(names) - installed)


def default_address() -> str:
    """Return this host's address on its default route, or an empty text without such a route.

    The first address of ``hostname -I`` may be docker0's, and a Swarm that advertises it cannot be
    reached by other nodes.
    """
    for family in ("-4", "-6"):
        try:
            routes = json.loads(run(["ip", "-j", family, "route", "show", "default"]) or "[]")
        except CommandError:
            continue
        for address, device in ways_out(routes):
            if address:
                return address
            shown = json.loads(run(["ip", "-j", family, "address", "show", "dev", device]))
            for entry in (entry for link in shown for entry in link.get("addr_info", [])):
                if entry.get("scope") == "global":
                    return str(entry["local"])
    return ""


def ways_out(routes: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return source address (empty: that of the device) and device of default routes, best first.

    Args:
        routes: as `ip -j route show default` tells them. One of several next hops names a device
            for each; one of the types unreachable, blackhole, prohibit and throw leads nowhere.
    """
    found = []
    for route in sorted(routes, key=lambda route: route.get("metric") or 0):
        if route.get("type", "unicast") != "unicast":
            continue
        hops = route.get("nexthops") or [route]
        found += [
            (str(route.get("prefsrc") or ""), str(hop["dev"])) for hop in hops if hop.get("dev")
        ]
    return found


def engine() -> dict[str, Any]:
    """Return the Docker engine's version and Swarm state; an empty version when none answers."""
    try:
        information = json.loads(run(["docker", "info", "--format", "{{json .}}"], timeout=20))
    except CommandError:
        information = {}
    swarm = information.get("Swarm") or {}
    return {
        "version": information.get("ServerVersion") or "",
        "client": shutil.which("docker") or "",
        "swarm_state": swarm.get("LocalNodeState") or "inactive",
        "swarm_manager": bool(swarm.get("ControlAvailable")),
        "swarm_address": swarm.get("NodeAddr") or "",
        "swarm_error": swarm.get("Error") or "",
        # Known to managers only.
        "swarm_nodes": int(swarm.get("Nodes") or 0),
        "swarm_autolock": bool(
            (((swarm.get("Cluster") or {}).get("Spec") or {}).get("EncryptionConfig") or {}).get(
                "AutoLockManagers"
            )
        ),
        "swarm_pools": list((swarm.get("Cluster") or {}).get("DefaultAddrPool") or []),
    }


def device_of(path: str, mountinfo: str) -> str:
    """Return the device ("major:minor") of the file system that holds an absolute path.

    Not stat(2), which names another device for each subvolume of one btrfs.

    Args:
        path: without symbolic links; it need not exist.
        mountinfo: content of /proc/self/mountinfo, proc(5).
    """
    found, length = "", -1
    for line in mountinfo.splitlines():
        fields = line.split()
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        # Of several mounts on one point the last is the one in use.
        if f"{path}/".startswith(f"{point.rstrip('/')}/") and len(point) >= length:
            found, length = fields[2], len(point)
    return found


def is_on_system_disk(path: Path) -> bool:
    """Tell whether a path lies, or would be made, on the file system of /."""
    mountinfo = Path("/proc/self/mountinfo").read_text()
    place = os.path.realpath(existing_parent(path))
    return device_of(place, mountinfo) == device_of("/", mountinfo)


def place(path: Path) -> dict[str, str]:
    """Return where a path leads (real) and which file system holds it (device)."""
    real = os.path.realpath(path)
    mountinfo = Path("/proc/self/mountinfo").read_text()
    return {"real": real, "device": device_of(real, mountinfo)}


def held_data(config_root: Path, stack: str) -> list[dict[str, str]]:
    """Return the writable bind mounts of the deployed stack whose directory holds something.

    Each has service, source (path on this host) and target (path in the container).

    Raises:
        CommandError: the rendered stack file is there but cannot be read as what it should be.
    """
    file = config_root / f"stack-{stack}.json"
    if not file.is_file():
        return []
    try:
        services = json.loads(file.read_text())["services"]
        mounts = [
            {"service": name, "source": volume["source"], "target": volume["target"]}
            for name, service in sorted(services.items())
            for volume in service.get("volumes", [])
            if volume["type"] == "bind" and not volume.get("read_only")
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(
            f"{file} is not the stack file that the role stack rendered ({error}), so nobody can "
            "tell where the deployed services keep their data. Restore it from a backup."
        ) from error
    return [mount for mount in mounts if _holds_something(Path(mount["source"]))]


def _holds_something(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())


def daemon_configuration() -> dict[str, Any]:
    """Return what /etc/docker/daemon.json says now.

    Raises:
        CommandError: the file is there but is no JSON mapping.
    """
    file = Path("/etc/docker/daemon.json")
    if not file.exists():
        return {}
    try:
        configuration = json.loads(file.read_text() or "{}")
    except json.JSONDecodeError as error:
        raise CommandError(
            f"{file} is not valid JSON ({error}). Accepted: a JSON mapping or no file."
        ) from error
    if not isinstance(configuration, dict):
        raise CommandError(f"{file} holds no JSON mapping. Accepted: a JSON mapping or no file.")
    return configuration


def listeners() -> dict[tuple[int, str], int]:
    """Return (port, protocol) of each listening socket with its inode, from /proc/net."""
    found = {}
    for name, protocol, state in (
        ("tcp", "tcp", "0A"),
        ("tcp6", "tcp", "0A"),
        ("udp", "udp", "07"),
        ("udp6", "udp", "07"),
    ):
        file = Path("/proc/net") / name
        if not file.exists():
            continue
        for line in file.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state:
                found[(int(fields[1].rsplit(":", 1)[1], 16), protocol)] = int(fields[9])
    return found


# What owner_of says of a port that the engine holds for a container.
ENGINE_OWNERS = ("docker-proxy", "dockerd", "an unknown process")


def owner_of(inode: int) -> str:
    """Return name and PID of the process that holds a socket, or 'an unknown process'."""
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for descriptor in (process / "fd").iterdir():
                if descriptor.readlink().as_posix() == wanted:
                    return f"{(process / 'comm').read_text().strip()} (PID {process.name})"
        except OSError:
            continue  # the process ended meanwhile
    return "an unknown process"


def ports_of_stack(stack: str) -> set[tuple[int, str]]:
    """Return the ports that the stack's own services publish now."""
    try:
        printed = run(
            ["docker", "ps", "--filter", f"label=com.docker.stack.namespace={stack}"]
            + ["--format", "{{.Ports}}"],
            timeout=20,
        )
    except CommandError:
        return set()
    return {(int(port), protocol) for port, protocol in re.findall(r":(\d+)->\d+/(\w+)", printed)}


def ports_declared_by_stack(stack: str) -> set[tuple[int, str]]:
    """Return the ports that the stack's services are to publish, whether they run or not."""
    try:
        label = f"label=com.docker.stack.namespace={stack}"
        services = run(["docker", "service", "ls", "--quiet", "--filter", label], timeout=20)
        form = "{{range .Endpoint.Spec.Ports}}{{.PublishedPort}}/{{.Protocol}} {{end}}"
        listed = services.split()
        inspect = ["docker", "service", "inspect", "--format", form, *listed]
        printed = run(inspect, timeout=20) if listed else ""
    except CommandError:
        return set()
    return {(int(port), protocol) for port, protocol in re.findall(r"(\d+)/(\w+)", printed)}


def resolves(name: str) -> bool:
    """Tell whether this host can turn a name into an address."""
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


def host_problems(wished: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the host, each with fact, value, accepted values and remedy.

    Args:
        wished: data_root, device (host_volume_device), directories (path, free_gib), ports
            (published, protocol, service), stack, distributions ("debian 12" …), architectures,
            memory_mib, names.
        facts: os, architecture, memory_mib as this module reads them.
    """
    problems = []
    system = facts["os"]
    label = f"{system['id']} {system['version']}"
    if label not in wished["distributions"]:
        problems.append(
            f"The distribution is {label}. Accepted (preflight_distributions): "
            f"{', '.join(wished['distributions'])}. Install one of these."
        )
    if facts["architecture"] not in wished["architectures"]:
        problems.append(
            f"The architecture is {facts['architecture']}. Accepted (preflight_architectures): "
            f"{', '.join(wished['architectures'])}."
        )
    if facts["memory_mib"] < wished["memory_mib"]:
        problems.append(
            f"The machine has {facts['memory_mib']} MiB of memory. Accepted: at least "
            f"{wished['memory_mib']} MiB (preflight_memory_mib). Give it more."
        )
    problems += _data_root_problems(
        Path(wished["data_root"]), wished["directories"], Path(wished.get("device") or "/")
    )
    problems += _port_problems(wished["ports"], wished["stack"])
    for name in wished["names"]:
        if not resolves(name):
            problems.append(
                f"The name {name} has no address on this machine. Accepted: a name that DNS or "
                "/etc/hosts knows. Add it there, or correct it in the inventory."
            )
    return problems


def _device_bytes(device: Path) -> int:
    """Return the size of a block device, or 0 where there is none of this name."""
    size = Path("/sys/class/block") / device.resolve().name / "size"
    # In units of 512 bytes, whatever the device's own sector size is (kernel, sysfs-block).
    return int(size.read_text()) * 512 if size.exists() else 0


def _data_root_problems(
    root: Path, directories: Iterable[Mapping[str, Any]], device: Path
) -> list[str]:
    if not root.is_absolute():
        return []  # the inventory half has said so
    parent = existing_parent(root)
    if not parent.is_dir():
        return [
            f"auscat_data_root is {root}, and {parent} is a file. Accepted: a directory, or a path "
            "that does not exist yet. Choose another path or move the file."
        ]
    problems = []
    if not device.exists():
        problems.append(
            f"host_volume_device is {device}, and there is no such block device. Accepted: the "
            "path of a disk, a partition or a logical volume. Attach the disk, or correct the name."
        )
    # Only before the first deployment: later it is the data that fills the disk.
    needed: dict[int, float] = {}
    places: dict[int, Path] = {}
    names: dict[int, list[str]] = {}
    for directory in directories:
        path = Path(directory["path"])
        if _holds_something(path):
            continue
        place = existing_parent(path)
        number = place.stat().st_dev
        needed[number] = needed.get(number, 0) + directory["free_gib"]
        places[number] = place
        names.setdefault(number, []).append(f"{directory['service']} {directory['free_gib']:g}")
    # The disk that the role host_volume will mount there, as long as it is not mounted.
    coming = _device_bytes(device) if is_on_system_disk(root) else 0
    for number, gib in needed.items():
        free = (coming or shutil.disk_usage(places[number]).free) / GIB
        if free < gib:
            problems.append(
                f"{device if coming else places[number]} has {free:.1f} GiB free. Accepted: at "
                f"least {gib:g} GiB for the data of {', '.join(names[number])} "
                "(<service>_free_gib). Free some space, set auscat_data_root to a larger disk, or "
                "declare less."
            )
    return problems


def _port_problems(ports: Iterable[Mapping[str, Any]], stack: str) -> list[str]:
    taken = listeners()
    ours = (
        ports_of_stack(stack)
        if any((p["published"], p["protocol"]) in taken for p in ports)
        else set()
    )
    problems = []
    for port in ports:
        key = (port["published"], port["protocol"])
        if key in taken and key not in ours:
            owner = owner_of(taken[key])
            # A task of ours that is just starting or ending: the engine holds its port then.
            if owner.startswith(ENGINE_OWNERS) and key in ports_declared_by_stack(stack):
                continue
            problems.append(
                f"Port {key[0]}/{key[1]}, which {port['service']} publishes, is in use by {owner}. "
                "Accepted: a free port. Stop that program or choose another port in the inventory."
            )
    return problems
