"""The past of a node: one line of JSON a sample, for a bounded time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DAY = 86400.0
CTP = ("received", "forwarded", "queued", "export_queue", "quarantined")


def compact(state: Mapping[str, Any], alerts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is kept of a state: its time (s since 1970), counts, volumes and alerts."""
    ctp, orthanc, keydb = (state.get(name) or {} for name in ("ctp", "orthanc", "keydb"))
    kept: dict[str, Any] = {"time": state["time"]}
    kept.update({name: ctp[name] for name in CTP if ctp.get(name) is not None})
    for name, value in (
        ("instances", orthanc.get("instances")),
        ("bytes", orthanc.get("bytes")),
        ("patients", keydb.get("patients")),
    ):
        if value is not None:
            kept[name] = value
    kept["volumes"] = {each["mount"]: [each["size"], each["free"]] for each in state["volumes"]}
    kept["alerts"] = sorted({f"{each['alert']}:{each['severity']}" for each in alerts})
    return kept


def read(path: Path) -> list[dict[str, Any]]:
    """Return the samples, oldest first. A line that a power cut has torn is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            record = json.loads(line)
            record["time"] = float(record["time"])
        except (ValueError, KeyError, TypeError):
            continue
        found.append(record)
    return sorted(found, key=lambda record: record["time"])


def append(path: Path, record: Mapping[str, Any], days: float) -> None:
    """Add a sample, and drop those older than `days` once a day's worth of them is too old.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = read(path)
    oldest = record["time"] - days * DAY
    line = json.dumps(record, separators=(",", ":")) + "\n"
    if kept and kept[0]["time"] < oldest - DAY:
        lines = [json.dumps(each, separators=(",", ":")) + "\n" for each in kept]
        write(path, "".join(t for t, each in zip(lines, kept) if each["time"] >= oldest) + line)
        return
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(file.tell() - 1)
            # Behind a line that a power cut has torn, this one would be lost too.
            line = line if file.read() == "\n" else "\n" + line
        file.write(line)
    path.chmod(0o600)


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step, so that nobody reads half of it.

    Raises:
        OSError: the directory is missing, or cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def thinned(records: Sequence[dict[str, Any]], now: float, points: int = 400) -> list[Any]:
    """Return the whole last day, and of what is older about `points` samples evenly spread."""
    if not records:
        return []
    recent = [each for each in records if each["time"] > now - DAY]
    older = records[: len(records) - len(recent)]
    if len(older) > points:
        width = (older[-1]["time"] - older[0]["time"]) / points or 1.0
        last = {int((each["time"] - older[0]["time"]) / width): each for each in older}
        older = [last[key] for key in sorted(last)]
    return [*older, *recent]
