"""Whether the containers are confined as the stack file says, as the kernel of this host sees them.

An engine leaves out without a word what it, or the kernel, cannot do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.engine import Engine
from ansible_collections.auscat.imaging.plugins.module_utils.stack.state import LABEL_STACK

#: Bits of the capabilities that a definition may ask for (linux/capability.h).
BITS: Mapping[str, int] = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "DAC_READ_SEARCH": 2,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "IPC_LOCK": 14,
    "SYS_CHROOT": 18,
    "SYS_NICE": 23,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}
_UNLIMITED = 1 << 62


def not_confined(
    stack: str, document: Mapping[str, Any], engine: Engine | None = None
) -> list[str]:
    """Return in words what the running containers may do although the stack file says otherwise.

    What ended meanwhile is left out.

    Raises:
        CommandError: the engine does not answer.
    """
    found = []
    engine = engine or Engine()
    for container in engine.containers(f"{LABEL_STACK}={stack}"):
        name = container["Config"]["Labels"]["com.docker.swarm.service.name"][len(stack) + 1 :]
        service = document.get("services", {}).get(name)
        if service is None:
            continue
        try:
            seen = Seen(int(container["State"]["Pid"]))
        except (OSError, KeyError, ValueError):
            continue
        found += [f"{name} {problem}" for problem in differences(service, seen)]
    return sorted(found)


class Seen:
    """What the kernel tells of the first process of a container."""

    def __init__(
        self, pid: int, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")
    ) -> None:
        """Raises ``OSError``: it has ended; ``KeyError``, ``ValueError``: read in vain."""
        lines = (proc / str(pid) / "status").read_text(encoding="utf-8").splitlines()
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        #: Capabilities that it has, or can come to have, as bits.
        self.capabilities = int(status["CapBnd"], 16) | int(status["CapPrm"], 16)
        self.no_new_privileges = status.get("NoNewPrivs", "0").strip() == "1"
        mounts = (proc / str(pid) / "mountinfo").read_text(encoding="utf-8").splitlines()
        roots = [line.split() for line in mounts if line.split()[4] == "/"]
        self.read_only = bool(roots) and "ro" in roots[-1][5].split(",")
        limits = (proc / str(pid) / "limits").read_text(encoding="utf-8").splitlines()
        files = next(line for line in limits if line.startswith("Max open files")).split()[-2]
        self.open_files = _number(files)
        self.processes = _processes(proc / str(pid) / "cgroup", groups)


def differences(service: Mapping[str, Any], seen: Seen) -> list[str]:
    """Return what the kernel lets a container do beyond its entry in the stack file, in words."""
    found = []
    wished = sum(1 << BITS[name] for name in service.get("cap_add", []))
    more = seen.capabilities & ~wished
    if "ALL" in service.get("cap_drop", []) and more:
        names = {bit: name for name, bit in BITS.items()}
        bits = [bit for bit in range(64) if more >> bit & 1]
        listed = ", ".join(names.get(bit, f"number {bit}") for bit in bits)
        found.append(f"has further capabilities ({listed})")
    if service.get("read_only") and not seen.read_only:
        found.append("may write to its root file system")
    if not seen.no_new_privileges:
        found.append("may gain privileges by programs that give them (no_new_privs is not set)")
    limit = service["deploy"].get("resources", {}).get("limits", {}).get("pids")
    if limit is not None and seen.processes > int(limit):
        found.append(f"may start more than {limit} processes")
    files = service.get("ulimits", {}).get("nofile", {}).get("hard")
    if files is not None and seen.open_files > int(files):
        found.append(f"may open more than {files} files")
    return found


def _number(text: str) -> int:
    return int(text) if text.strip().isdecimal() else _UNLIMITED


def _processes(memberships: Path, groups: Path) -> int:
    """Return how many processes its control group may have."""
    for line in memberships.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        place = {"pids": groups / "pids", "": groups}.get(controllers)
        limit = place / path.lstrip("/") / "pids.max" if place is not None else None
        if limit is not None and limit.is_file():
            return _number(limit.read_text(encoding="utf-8"))
    return _UNLIMITED
