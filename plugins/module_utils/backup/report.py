"""How backups and restores went, as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import counted, table


def run_result(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what backup_run.py said on its last line; an error when it said nothing.

    Args:
        run: what the task that ran the program registered.
    """
    lines = str(run.get("stdout") or "").strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        said = str(run.get("stderr") or run.get("msg") or "nothing").strip()
        return {"error": f"The program ended without a result and said: {said[-500:]}"}
    return found if isinstance(found, dict) else {"error": "The program gave no result."}


def size(count: float) -> str:
    """Return bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def contents(counts: Mapping[str, Any]) -> str:
    """Return in words what a snapshot holds."""
    words = {
        "key_pairs": ("key pair", "key pairs"),
        "ctp_files": ("file of CTP", "files of CTP"),
        "studies": ("study", "studies"),
        "instances": ("object", "objects"),
    }
    found = [
        counted(counts[key], *text) for key, text in words.items() if counts.get(key) is not None
    ]
    for key, count in counts.items():
        service, _, unit = key.rpartition("_")
        if unit == "rows" and service != "keydb":
            found.append(f"{counted(sum(count.values()), 'row')} of {service}")
        elif unit == "files" and service and key not in words:
            found.append(f"{counted(count, 'file')} of {service}")
    return ", ".join(found)


def backup_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of backups.

    Args:
        results: host, kind, and what backup_run.py gave: snapshot, bytes_added, seconds, counts,
            held_seconds, error, warnings.
    """
    rows = []
    for each in results:
        held = each.get("held_seconds") or {}
        rows.append(
            (
                "FAILED" if each.get("error") else "ok",
                each["host"],
                each["kind"],
                each.get("snapshot") or "-",
                "-" if each.get("bytes_added") is None else size(each["bytes_added"]),
                "-" if each.get("seconds") is None else f"{each['seconds']:.0f} s",
                ", ".join(f"{part} {t:.2f} s" for part, t in held.items() if t) or "-",
                contents(each.get("counts") or {}) or "-",
            )
        )
    header = ["", "machine", "data", "snapshot", "added", "took", "held for", "contents"]
    errors = [
        f"{each['host']}, {each['kind']}: {each['error']}" for each in results if each.get("error")
    ]
    told = [
        f"{each['host']}, {each['kind']}: {warning}"
        for each in results
        for warning in each.get("warnings") or []
    ]
    return "\n".join([*table(header, rows), *([""] if errors or told else []), *errors, *told])


def restore_results(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a host's restores gave, from the host's variables.

    Args:
        variables: of the host, with what its restores registered.
    """
    registers = (
        variables.get(f"__backup_restore_{kind}") for kind in ("identifiable", "deidentified")
    )
    return [
        {**run_result(run), "host": str(variables["inventory_hostname"])}
        for run in registers
        if run and run.get("stdout")
    ]


def restore_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of restores: results with host, parts, warnings.

    Args:
        results: of all machines, as `restore_results` returns them: host, parts, warnings.
    """
    rows = [
        (each["host"], name, part["snapshot"], part["taken"], part["result"])
        for each in results
        for name, part in (each.get("parts") or {}).items()
    ]
    warnings = [
        f"{each['host']}: {warning}" for each in results for warning in each.get("warnings") or []
    ]
    header = ["machine", "data", "snapshot", "of (UTC)", "found by the images themselves"]
    return "\n".join([*table(header, rows), *([""] if warnings else []), *warnings])
