"""What the proof says of the data volume."""

from __future__ import annotations

from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.volume.device import GIB, Wish
from ansible_collections.auscat.imaging.plugins.module_utils.volume.plan import Plan

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
        f"warns below {least / GIB:.1f} GiB",
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
