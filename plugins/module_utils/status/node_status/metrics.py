"""The figures as Prometheus text, for the textfile collector of its node_exporter.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import rules

PREFIX = "auscat"


class _Text:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(
        self,
        name: str,
        meaning: str,
        values: Iterable[tuple[Mapping[str, str], Any]],
        kind: str = "gauge",
    ) -> None:
        """Add a metric with its samples; those without a value are left out, they are not zero."""
        samples = [(labels, value) for labels, value in values if value is not None]
        if not samples:
            return
        self.lines += [f"# HELP {PREFIX}_{name} {meaning}", f"# TYPE {PREFIX}_{name} {kind}"]
        for labels, value in samples:
            inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            number = int(value) if isinstance(value, bool) else value
            self.lines.append(f"{PREFIX}_{name}{'{' + inner + '}' if inner else ''} {number!r}")


def _escaped(text: str) -> str:
    return str(text).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def text(
    state: Mapping[str, Any],
    alerts: Sequence[Mapping[str, str]],
    limits: Mapping[str, float],
) -> str:
    """Return the state and its alerts as Prometheus text. What is not known has no sample."""
    made = _Text()
    none: dict[str, str] = {}
    made.add("sample_timestamp_seconds", "When this was read.", [(none, state["time"])])
    firing = {(each["alert"], each["severity"]) for each in alerts}
    made.add(
        "alert",
        "Whether an alert of this machine is raised.",
        [
            ({"alert": name, "severity": severity}, int((name, severity) in firing))
            for name, (severities, _) in rules.ALERTS.items()
            for severity in severities
            # Only from outside can it be told that a machine is not to be reached.
            if name != "unreachable"
        ],
    )
    made.add("engine_up", "Whether the Docker engine answers.", [(none, bool(state["engine"]))])
    _services(made, state, limits)
    _figures(made, state)
    volumes = [({"mount": each["mount"]}, each) for each in state["volumes"]]
    for key, name, meaning in (
        ("size", "volume_size_bytes", "Size of a file system."),
        ("free", "volume_free_bytes", "Free space that its owner may use."),
        ("inodes_free", "volume_free_inodes", "Free inodes."),
    ):
        made.add(name, meaning, [(labels, each[key]) for labels, each in volumes])
    made.add(
        "certificate_not_after_timestamp_seconds",
        "Until when a certificate is valid.",
        [({"certificate": each["name"]}, each["not_after"]) for each in state["certificates"]],
    )
    clock, firewall = state["clock"], state["firewall"]
    made.add("clock_synchronised", "Whether the clock is set.", [(none, clock["synchronised"])])
    made.add("clock_offset_seconds", "How far off it is.", [(none, clock["offset_seconds"])])
    if firewall["wanted"]:
        right = firewall["loaded"] and firewall["equal"]
        made.add("firewall_loaded", "Whether its rules are as installed.", [(none, right)])
    _reports(made, state)
    return "\n".join(made.lines) + "\n"


def _services(made: _Text, state: Mapping[str, Any], limits: Mapping[str, float]) -> None:
    since = state["time"] - limits["restart_minutes"] * rules.MINUTE
    listed = [({"service": name}, each) for name, each in sorted(state["services"].items())]
    made.add(
        "service_running",
        "Containers of a service that run.",
        [(labels, each["running"]) for labels, each in listed],
    )
    made.add(
        "service_healthy",
        "Whether they are healthy, where they say so.",
        [
            (labels, None if each["health"] == "none" else each["health"] == "healthy")
            for labels, each in listed
        ],
    )
    made.add(
        "service_failures",
        "Containers that ended within status_restart_minutes.",
        [(labels, sum(t > since for t in each["failures"])) for labels, each in listed],
    )
    made.add(
        "image_created_timestamp_seconds",
        "When the image of a service was made.",
        [(labels, each["image_created"]) for labels, each in listed],
    )
    made.add(
        "service_info",
        "Version and image of a service.",
        [
            ({**labels, "version": each["version"], "image": each["image_id"]}, 1)
            for labels, each in listed
        ],
    )


def _figures(made: _Text, state: Mapping[str, Any]) -> None:
    none: dict[str, str] = {}
    asked = [(name, state[name]) for name in ("ctp", "keydb", "orthanc") if state.get(name)]
    made.add(
        "figures_known",
        "Whether a service told its figures.",
        [({"service": name}, figures["answers"]) for name, figures in asked],
    )
    ctp, orthanc, keydb = (state.get(name) or {} for name in ("ctp", "orthanc", "keydb"))
    for key, meaning in (
        ("received", "Objects that CTP acknowledged to senders."),
        ("forwarded", "Objects that Orthanc acknowledged to CTP."),
    ):
        made.add(f"ctp_{key}_total", meaning, [(none, ctp.get(key))], "counter")
    if ctp.get("export_queue") is None:
        queues = [({"queue": "all"}, ctp.get("queued"))]
    else:
        queues = [({"queue": name}, ctp.get(f"{name}_queue")) for name in ("import", "export")]
    made.add("ctp_queued_objects", "Objects that wait in CTP.", queues)
    made.add(
        "ctp_oldest_queued_seconds",
        "Age of the oldest of them, 0 without one.",
        [(none, (ctp.get("oldest_seconds") or 0) if ctp.get("export_queue") is not None else None)],
    )
    if ctp.get("answers"):
        made.add(
            "ctp_quarantined_objects",
            "Objects in CTP's quarantines, by reason.",
            [({"reason": reason}, n) for reason, n in sorted(ctp["quarantine"].items())]
            or [({"reason": "none"}, 0)],
        )
    studies = ctp.get("studies") or {}
    made.add(
        "ctp_studies",
        "Studies in CTP's account, by state; unknown: of patients that KeyDB does not know; "
        "deleted: what had not left was removed from quarantine for good.",
        [
            ({"state": name}, studies.get(name))
            for name in ("complete", "arriving", "waiting", "incomplete", "unknown", "deleted")
        ],
    )
    made.add(
        "ctp_mixed_studies",
        "Studies that came under two identifiers.",
        [(none, studies.get("mixed"))],
    )
    made.add("ctp_reception_open", "Whether CTP receives.", [(none, ctp.get("reception_open"))])
    made.add(
        "keydb_table_age_seconds",
        "Since when CTP has not read KeyDB.",
        [(none, ctp.get("keydb_age_seconds"))],
    )
    made.add("keydb_patients", "Patients in KeyDB.", [(none, keydb.get("patients"))])
    made.add("keydb_bytes", "Size of KeyDB.", [(none, keydb.get("bytes"))])
    for key in ("patients", "studies", "series", "instances"):
        made.add(f"orthanc_{key}", f"{key.capitalize()} in Orthanc.", [(none, orthanc.get(key))])
    made.add("orthanc_stored_bytes", "What Orthanc stores.", [(none, orthanc.get("bytes"))])


def _reports(made: _Text, state: Mapping[str, Any]) -> None:
    none: dict[str, str] = {}
    proof = state.get("proof") or {}
    made.add("proof_passed", "Whether the last proof passed.", [(none, proof.get("passed"))])
    made.add(
        "proof_timestamp_seconds",
        "When it ended.",
        [(none, rules.moment(proof.get("finished")))],
    )
    backups = [({"kind": kind}, each or {}) for kind, each in sorted(state["backup"].items())]
    made.add(
        "backup_ok",
        "Whether the last backup succeeded.",
        [(labels, each.get("ok")) for labels, each in backups],
    )
    made.add(
        "backup_timestamp_seconds",
        "When it ended.",
        [(labels, rules.moment(each.get("finished"))) for labels, each in backups],
    )
    made.add(
        "backup_succeeded_timestamp_seconds",
        "When the last one that succeeded ended.",
        [(labels, rules.moment(each.get("last_ok"))) for labels, each in backups],
    )
