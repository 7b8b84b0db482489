"""Which containers the kernel killed for memory.

Docker's own mark (OOMKilled) is gone with a restart, and is never set on machines with version 1 of
the control groups. The kernel's log names the container.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_KILL = re.compile(r"^\[\s*(\d+\.\d+)\].*\boom-kill:.*\btask_memcg=(\S*?),task=", re.MULTILINE)
_CONTAINER = re.compile(r"[0-9a-f]{64}")


def kills(kernel_log: str, booted: float) -> dict[str, list[float]]:
    """Return when something in a container was killed for memory, by the container's id.

    Args:
        kernel_log: what dmesg prints: a line for each message, with seconds since the boot.
        booted: when that was, in seconds since 1970.
    """
    found: dict[str, list[float]] = {}
    for moment, group in _KILL.findall(kernel_log):
        containers = _CONTAINER.findall(group)
        if containers:
            # The last one: a machine that is itself a container has another in front.
            found.setdefault(containers[-1], []).append(booted + float(moment))
    return found


def booted(now: float) -> float:
    """Return when this machine was started. Raises ``OSError``, ``ValueError``."""
    return now - float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])


def of_containers(killed: dict[str, list[float]], containers: Iterable[str]) -> list[float]:
    """Return when something in one of these containers was killed, in order."""
    return sorted(moment for each in containers for moment in killed.get(each, []))
