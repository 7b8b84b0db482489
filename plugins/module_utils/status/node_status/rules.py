"""What of a node's state needs attention: one pure function, and what to do about each alert."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DAY, HOUR, MINUTE = 86400.0, 3600.0, 60.0
CLOCKS_DIFFER = 300.0
"""How far clocks of machines may be apart, in seconds, before one of them counts as wrong."""
TO_COME = "at a time that is still to come, so that its age is not known"
WARNING, CRITICAL = "warning", "critical"
SEVERITIES = (CRITICAL, WARNING)

ALERTS: dict[str, tuple[tuple[str, ...], str]] = {
    "engine_down": (
        (CRITICAL,),
        "Look at `journalctl -u docker` on the machine and start it: systemctl start docker.",
    ),
    "swarm_locked": (
        (CRITICAL,),
        "Run site.yml, which unlocks it with the key of the vault; by hand, docker swarm unlock "
        "(docs/secrets.md).",
    ),
    "service_down": (
        (CRITICAL,),
        "Look at `docker service ps --no-trunc` and `docker service logs` of the service; running "
        "site.yml again deploys what is missing.",
    ),
    "service_unhealthy": (
        (CRITICAL,),
        "Look at `docker service logs` of the service: its container runs but does no work.",
    ),
    "service_restarting": (
        (WARNING,),
        "Look at `docker service ps --no-trunc` of the service for why its containers end.",
    ),
    "service_out_of_memory": (
        (CRITICAL,),
        "The kernel killed something in its container, which had reached its limit. Orthanc: "
        "declare the largest object (auscat_largest_object_mib) and run site.yml; others: raise "
        "<service>_memory_mib.",
    ),
    "figures_missing": (
        (WARNING,),
        "Check whether the service answers on its web port on the machine itself; until it does, "
        "alerts that depend on its figures cannot be raised.",
    ),
    "reception_closed": (
        (CRITICAL,),
        "CTP refuses senders, which then keep their studies: /api/status of CTP's page says why; "
        "most often the disk is full.",
    ),
    "orthanc_not_receiving": (
        (CRITICAL,),
        "Check whether Orthanc runs and CTP reaches it: run playbooks/test_orthanc.yml. What CTP "
        "holds stays queued.",
    ),
    "queue_old": (
        (WARNING,),
        "Find out why CTP does not pass objects on: run playbooks/test_orthanc.yml, then read "
        "`docker service logs` of CTP.",
    ),
    "queue_growing": (
        (WARNING,),
        "More comes in than goes out: check whether Orthanc is away or the machine is too slow, "
        "and postpone large transfers.",
    ),
    "quarantine_not_empty": (
        (WARNING,),
        "Run playbooks/quarantine.yml: it says what to do for each reason. If patients are "
        "missing, load the list (playbooks/load_keys.yml), then run "
        "playbooks/release_quarantine.yml.",
    ),
    "object_held_back": (
        (WARNING,),
        'A service ended at it several times, so it is not sent on. See docs/ctp.md, "An object '
        'that is too much".',
    ),
    "quarantine_growing": (
        (WARNING,),
        "Check the reasons: unknown-patient means that a list was not loaded "
        "(playbooks/load_keys.yml), any other that CTP's script and the sender do not fit.",
    ),
    "study_incomplete": (
        (WARNING,),
        "Run playbooks/study.yml: it says what is missing of each, why, and what to do.",
    ),
    "study_mixed": (
        (WARNING,),
        "Two people in one study, or a corrected identifier: playbooks/study.yml says which. Check "
        "the source, and in Orthanc what has left.",
    ),
    "keydb_table_stale": (
        (WARNING,),
        "CTP keeps using the last list of patients: check whether KeyDB runs and CTP reaches it.",
    ),
    "disk_low": (
        (WARNING, CRITICAL),
        "Free space or grow the volume (docs/volumes.md) before reception stops.",
    ),
    "backup_missing": (
        (WARNING,),
        "Set up the backup of this machine; without one a lost disk is lost data.",
    ),
    "backup_failed": (
        (CRITICAL,),
        "Read the error, fix its cause, and run playbooks/backup.yml.",
    ),
    "backup_overdue": (
        (CRITICAL,),
        "Check the backup's timer and log on the machine, and run playbooks/backup.yml.",
    ),
    "backup_ahead": (
        (WARNING,),
        "Check the clock (timedatectl). Where it is right now, remove the snapshots of the time to "
        'come: docs/backup.md, "A clock that ran ahead".',
    ),
    "backup_verify_failed": (
        (CRITICAL,),
        "The backup could not be restored into a scratch node: treat it as if there were none.",
    ),
    "proof_failed": (
        (CRITICAL,),
        "Send no patient through the node; playbooks/verify.yml says what fails.",
    ),
    "proof_old": ((WARNING,), "Prove the node again: run playbooks/verify.yml."),
    "certificate_expired": (
        (CRITICAL,),
        "Run playbooks/renew_certificates.yml, or replace a certificate of the hospital in the "
        "inventory and run site.yml; a Swarm's own is renewed by `docker swarm ca --rotate`.",
    ),
    "certificate_expiring": (
        (WARNING,),
        "Run playbooks/renew_certificates.yml, or replace a certificate of the hospital in the "
        "inventory and run site.yml; a Swarm renews its own while the engine runs.",
    ),
    "image_old": (
        (WARNING,),
        "Build or pull the images again for the security updates in them, and run site.yml.",
    ),
    "firewall_missing": (
        (CRITICAL,),
        "Every machine may reach the published ports: run site.yml --tags firewall now.",
    ),
    "firewall_changed": (
        (CRITICAL,),
        "The loaded rules are not those that were installed: run site.yml --tags firewall, and "
        "find out who changed them.",
    ),
    "port_unlimited": (
        (CRITICAL,),
        "Every machine may reach it. Run site.yml, which takes back what was published by hand; "
        "what is to stay belongs in the inventory.",
    ),
    "firewall_not_enabled": (
        (WARNING,),
        "The rules would be missing after a reboot: run site.yml --tags firewall.",
    ),
    "clock_unsynchronised": (
        (WARNING,),
        "Check whether the machine reaches its time server: timedatectl, or chronyc sources.",
    ),
    "sampler_stopped": (
        (WARNING,),
        "Read `journalctl -u auscat-status` on the machine, and run site.yml --tags status.",
    ),
    "notify_failed": (
        (WARNING,),
        "Correct auscat_notify, run site.yml --tags status, and send a test message: "
        "playbooks/status.yml -e status_notify_test=true (docs/status.md).",
    ),
    "unreachable": (
        (CRITICAL,),
        "Check whether the machine runs and Ansible may log in to it.",
    ),
}

LIMITS = frozenset(
    {
        "start_minutes",
        "restarts",
        "restart_minutes",
        "queue_old_minutes",
        "queue_growing_minutes",
        "queue_growing_objects",
        "orthanc_silent_minutes",
        "quarantine_objects",
        "quarantine_growing_minutes",
        "quarantine_growing_objects",
        "study_mixed_hours",
        "keydb_stale_minutes",
        "disk_warning_percent",
        "disk_critical_percent",
        "backup_hours",
        "backup_required",
        "proof_days",
        "certificate_days",
        "image_days",
        "clock_offset_seconds",
    }
)
"""Names of the limits. Their values are the variables ``status_<name>`` of the role status."""


def limits_problem(limits: Mapping[str, float]) -> str:
    """Return what is wrong with the names of limits; empty when nothing is."""
    unknown, missing = sorted(set(limits) - LIMITS), sorted(LIMITS - set(limits))
    if not unknown and not missing:
        return ""
    found = " and ".join(
        f"{verb} {', '.join(names)}"
        for verb, names in (("names", unknown), ("lacks", missing))
        if names
    )
    return f"settings.limits {found}. Accepted: exactly {', '.join(sorted(LIMITS))}."


def held_back_remedy(held: str) -> str:
    """Return what to do about an object that a service ended at, by which one it was."""
    larger = (
        "ctp_heap_mib, and ctp_memory_mib to at least 400 more"
        if held.startswith("CTP ")
        else "auscat_largest_object_mib to it"
    )
    return (
        f"Where its size is the reason, raise {larger}, run site.yml, and then "
        "playbooks/release_quarantine.yml (docs/ctp.md)."
    )


def alert(
    name: str, severity: str, subject: str, text: str, remedy: str | None = None
) -> dict[str, str]:
    """Return an alert: name, severity, what it is about, in words, and what to do next.

    Args:
        name: a key of `ALERTS`.
        severity: one of those that it may have.
        subject: what it is about.
        text: what was found.
        remedy: what to do next, where it is not the same each time.
    """
    severities, usual = ALERTS[name]
    if severity not in severities:
        raise ValueError(f"{name} is never {severity}")
    return {
        "alert": name,
        "severity": severity,
        "subject": subject,
        "text": text,
        "next": usual if remedy is None else remedy,
    }


def evaluate(
    state: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    limits: Mapping[str, float],
) -> list[dict[str, str]]:
    """Return the alerts of a node, the most urgent first.

    Args:
        state: as ``collect.state`` returns it. A part that could not be read is absent or None.
        history: samples before it, oldest first, as ``samples.read`` returns them.
        limits: each of `LIMITS`.

    Raises:
        ValueError: a limit is missing, or there is none of that name.
    """
    problem = limits_problem(limits)
    if problem:
        raise ValueError(problem)
    found: list[dict[str, str]] = []
    for rule in (
        _engine,
        _services,
        _ctp,
        _queue,
        _quarantine,
        _studies,
        _volumes,
        _backup,
        _proof,
        _certificates,
        _firewall,
        _clock,
        _sampler,
        _notify,
    ):
        found += rule(state, history, limits)
    return sorted(found, key=lambda each: SEVERITIES.index(each["severity"]))


Found = Iterator[dict[str, str]]
State = Mapping[str, Any]
History = Sequence[Mapping[str, Any]]
Limits = Mapping[str, float]


def _engine(state: State, history: History, limits: Limits) -> Found:
    if not state.get("engine"):
        yield alert("engine_down", CRITICAL, "docker", "The Docker engine does not answer.")
    elif state.get("swarm_locked"):
        yield alert(
            "swarm_locked",
            CRITICAL,
            "docker",
            "The Swarm is locked: its engine was started, and with autolock on it waits for the "
            "unlock key. No service runs.",
        )


def _services(state: State, history: History, limits: Limits) -> Found:
    # Nothing else is to be said of them then.
    if not state.get("engine") or state.get("swarm_locked"):
        return
    now = state["time"]
    for name, service in sorted(state["services"].items()):
        failures = [t for t in service["failures"] if t > now - limits["restart_minutes"] * MINUTE]
        if service["running"] < service["desired"]:
            yield alert(
                "service_down",
                CRITICAL,
                name,
                f"{service['running']} of {service['desired']} containers run.",
            )
        elif service["health"] == "unhealthy" or (
            service["health"] == "starting"
            and now - (service["since"] or now) > limits["start_minutes"] * MINUTE
        ):
            started = (
                f"{words(now - service['since'])} after its start"
                if service["since"]
                else "and when it was started is not known"
            )
            yield alert(
                "service_unhealthy",
                CRITICAL,
                name,
                f"Its container is {service['health']}, {started}.",
            )
        if len(failures) >= limits["restarts"]:
            yield alert(
                "service_restarting",
                WARNING,
                name,
                f"Its containers ended {times(len(failures))} in "
                f"{words(limits['restart_minutes'] * MINUTE)}.",
            )
        kills = [
            moment
            for moment in service.get("memory_kills") or []
            if moment > now - limits["restart_minutes"] * MINUTE
        ]
        if kills:
            yield alert(
                "service_out_of_memory",
                CRITICAL,
                name,
                f"Killed for memory {times(len(kills))} in "
                f"{words(limits['restart_minutes'] * MINUTE)}, the last time "
                f"{words(now - max(kills))} ago.",
            )
        created = service.get("image_created")
        if created and now - created > limits["image_days"] * DAY:
            yield alert(
                "image_old", WARNING, name, f"Its image was built {words(now - created)} ago."
            )
    for name in ("ctp", "orthanc", "keydb"):
        figures = state.get(name)
        if figures is not None and not figures["answers"]:
            yield alert("figures_missing", WARNING, name, "It reports no figures.")


def _ctp(state: State, history: History, limits: Limits) -> Found:
    ctp = state.get("ctp") or {}
    if not ctp.get("answers"):
        return
    if ctp.get("reception_open") is False:
        yield alert("reception_closed", CRITICAL, "ctp", "CTP receives nothing now.")
    age, text = ctp.get("keydb_age_seconds"), "CTP last read KeyDB {} ago."
    started = (state["services"].get("ctp") or {}).get("since")
    if age is None and ctp.get("keydb_patients") is not None and started:
        # What it knew of the time before ended with its last container.
        age, text = state["time"] - started, "CTP has not read KeyDB since its start {} ago."
    if age is not None and age > limits["keydb_stale_minutes"] * MINUTE:
        yield alert("keydb_table_stale", WARNING, "ctp", text.format(words(age)))


def _queue(state: State, history: History, limits: Limits) -> Found:
    ctp = state.get("ctp") or {}
    queued, now = ctp.get("queued"), state["time"]
    if not queued:
        return
    oldest = ctp.get("oldest_seconds")
    if oldest is not None and oldest > limits["queue_old_minutes"] * MINUTE:
        yield alert("queue_old", WARNING, "ctp", f"An object has waited for {words(oldest)}.")

    past = _since(history, "queued", now, limits["queue_growing_minutes"])
    if past:
        growth = queued - past[0]["queued"]
        if growth >= limits["queue_growing_objects"] and queued >= max(r["queued"] for r in past):
            yield alert(
                "queue_growing",
                WARNING,
                "ctp",
                f"{number(queued, 'object waits', 'objects wait')}, {growth} more than "
                f"{words(now - past[0]['time'])} ago.",
            )

    # All that waits, not the export queue alone: a CTP that cannot pass an object on may keep it in
    # the queue before (the stand-in does).
    past = _since(history, "queued", now, limits["orthanc_silent_minutes"])
    counts = [each.get("forwarded") for each in past] + [ctp.get("forwarded")]
    if (
        past
        and None not in counts
        and all(each["queued"] for each in past)
        and len(set(counts)) == 1
    ):
        yield alert(
            "orthanc_not_receiving",
            CRITICAL,
            "orthanc",
            f"CTP holds {number(queued, 'object')}, and Orthanc has taken none for at least "
            f"{words(now - past[0]['time'])}.",
        )


def _since(history: History, name: str, now: float, minutes: float) -> History:
    """Return the samples that know `name` from the last one before the period on, or none where
    the history does not reach that far back."""
    known = [each for each in history if each.get(name) is not None and each["time"] <= now]
    before = [each for each in known if each["time"] <= now - minutes * MINUTE]
    return known[len(before) - 1 :] if before else []


def _quarantine(state: State, history: History, limits: Limits) -> Found:
    ctp = state.get("ctp") or {}
    count, now = ctp.get("quarantined"), state["time"]
    if not count:
        return
    reasons = reasons_of(ctp)
    if count >= limits["quarantine_objects"]:
        yield alert(
            "quarantine_not_empty", WARNING, "ctp", f"{number(count, 'object')}: {reasons}."
        )
    held = ctp.get("held_back") or []
    if held:
        more = f", and {len(held) - 1} more" if held[1:] else ""
        # What ended at others is not what ended at this one.
        remedy = " ".join(dict.fromkeys(held_back_remedy(each) for each in held))
        yield alert("object_held_back", WARNING, "ctp", f"{held[0]}{more}.", remedy)
    minutes = limits["quarantine_growing_minutes"]
    known = [each for each in history if each.get("quarantined") is not None]
    # What a young node has put there since its first sample counts too.
    past = _since(history, "quarantined", now, minutes) or known
    # Compared with the fewest, as what was purged or released must not hide what came after it.
    fewest = min(reversed(past), key=lambda each: each["quarantined"], default=None)
    growth = count - fewest["quarantined"] if fewest else 0
    if fewest and growth >= limits["quarantine_growing_objects"]:
        yield alert(
            "quarantine_growing",
            WARNING,
            "ctp",
            f"{number(growth, 'object')} more than {words(now - fewest['time'])} ago; now "
            f"{reasons}.",
        )


def _studies(state: State, history: History, limits: Limits) -> Found:
    studies = (state.get("ctp") or {}).get("studies") or {}
    count = studies.get("incomplete")
    if count:
        some = "1 study is" if count == 1 else f"{count} studies are"
        yield alert(
            "study_incomplete",
            WARNING,
            "ctp",
            f"{some} not complete in Orthanc, and nothing more is on its way.",
        )
    mixed, age = studies.get("mixed"), studies.get("mixed_age_seconds")
    if mixed and age is not None and age < limits["study_mixed_hours"] * HOUR:
        yield alert(
            "study_mixed",
            WARNING,
            "ctp",
            f"{mixed} {'study' if mixed == 1 else 'studies'} came under two identifiers (PatientID "
            f"with its issuer), the latest {words(age)} ago.",
        )


def _volumes(state: State, history: History, limits: Limits) -> Found:
    for volume in state["volumes"]:
        shares = [("space", volume["free"], volume["size"])]
        if volume["inodes"]:
            shares.append(("inodes", volume["inodes_free"], volume["inodes"]))
        for what, free, size in shares:
            percent = 100 * free / size if size else 100.0
            for severity in SEVERITIES:
                if percent < limits[f"disk_{severity}_percent"]:
                    rest = f", {gib(free)}" if what == "space" else ""
                    yield alert(
                        "disk_low",
                        severity,
                        volume["mount"],
                        f"{percent:.0f} % of its {what} are free{rest}.",
                    )
                    break


def _backup(state: State, history: History, limits: Limits) -> Found:
    now = state["time"]
    for kind, report in sorted(state["backup"].items()):
        if report is None:
            if kind != "verify" and limits["backup_required"]:
                yield alert("backup_missing", WARNING, kind, "There is no backup.")
            continue
        finished = moment(report.get("finished"))
        if report.get("ok") is not True or finished is None:
            name = "backup_verify_failed" if kind == "verify" else "backup_failed"
            text = "The last attempt failed."
            last = moment(report.get("last_ok"))
            # Each attempt renews when the last one ended.
            if last is not None and not is_to_come(last, now):
                text += f" The last backup that succeeded is {words(now - last)} old."
            if report.get("ok") is not False:
                text = "What the last attempt noted cannot be read, so take it for failed."
            yield alert(name, CRITICAL, kind, text)
        elif is_to_come(finished, now):
            yield alert("backup_ahead", WARNING, kind, f"The last one ended {TO_COME}.")
        elif kind != "verify":
            hours = report.get("max_age_hours")
            allowed = float(hours if isinstance(hours, (int, float)) else limits["backup_hours"])
            if now - finished > allowed * HOUR:
                yield alert(
                    "backup_overdue",
                    CRITICAL,
                    kind,
                    f"The last one is {words(now - finished)} old; allowed are {allowed:g} h.",
                )
            if report.get("ahead"):
                yield alert(
                    "backup_ahead",
                    WARNING,
                    kind,
                    f"{number(report['ahead'], 'snapshot')} of a time that is still to come: not "
                    "taken for the newest, and until that time nothing is forgotten.",
                )


def _proof(state: State, history: History, limits: Limits) -> Found:
    proof = state.get("proof")
    if proof is None:
        yield alert("proof_old", WARNING, "proof", "This node was never proved.")
        return
    finished = moment(proof.get("finished"))
    if proof.get("passed") is not True or finished is None:
        count = proof.get("failed")
        text = f"{number(count, 'check')} failed." if count else "it did not finish."
        yield alert("proof_failed", CRITICAL, "proof", f"The last proof failed: {text}")
    elif is_to_come(finished, state["time"]):
        yield alert("proof_old", WARNING, "proof", f"The last proof ended {TO_COME}.")
    elif state["time"] - finished > limits["proof_days"] * DAY:
        age = words(state["time"] - finished)
        yield alert("proof_old", WARNING, "proof", f"The last proof is {age} old.")


def _certificates(state: State, history: History, limits: Limits) -> Found:
    for each in state["certificates"]:
        if each["not_after"] is None:
            continue
        left = each["not_after"] - state["time"]
        if left <= 0:
            text = f"It ended {words(-left)} ago."
            yield alert("certificate_expired", CRITICAL, each["name"], text)
        elif left < limits["certificate_days"] * DAY:
            text = f"It ends in {words(left)}."
            yield alert("certificate_expiring", WARNING, each["name"], text)


def _firewall(state: State, history: History, limits: Limits) -> Found:
    firewall = state["firewall"]
    if not firewall["wanted"]:
        return
    if not firewall["loaded"]:
        yield alert(
            "firewall_missing", CRITICAL, "firewall", "The table inet auscat is not loaded."
        )
    elif not firewall["equal"]:
        text = "The table inet auscat is not as it was installed."
        yield alert("firewall_changed", CRITICAL, "firewall", text)
    if firewall["loaded"] and firewall.get("unlimited"):
        text = f"Published, and no rule limits it: {', '.join(firewall['unlimited'])}."
        yield alert("port_unlimited", CRITICAL, "firewall", text)
    if firewall["enabled"] is False:
        text = "auscat-firewall is not started at boot."
        yield alert("firewall_not_enabled", WARNING, "firewall", text)


def _clock(state: State, history: History, limits: Limits) -> Found:
    clock = state["clock"]
    offset = clock["offset_seconds"]
    if clock["synchronised"] is False:
        text = f"{clock['source']} has not set the clock."
        yield alert("clock_unsynchronised", WARNING, "clock", text)
    elif offset is not None and abs(offset) > limits["clock_offset_seconds"]:
        text = f"The clock is {abs(offset):.1f} s off."
        yield alert("clock_unsynchronised", WARNING, "clock", text)


def _sampler(state: State, history: History, limits: Limits) -> Found:
    sampler = state["sampler"]
    if not sampler["expected"]:
        return
    # One of a clock that ran ahead says nothing of when the last was taken.
    past = [each["time"] for each in history if not is_to_come(each["time"], state["time"])]
    last = past[-1] if past else None
    text = ""
    remedy = None
    if not sampler["systemd"]:
        remedy = (
            "Run site.yml --tags status. What the last run said stands beside the samples, in "
            "last.log (docs/status.md)."
        )
    if not sampler["active"] and not sampler["systemd"]:
        text = "The process that takes the samples has ended; no reboot starts it again."
    elif not sampler["active"]:
        text = "Its timer is stopped."
    elif sampler["failed"]:
        text = "Its last run failed."
    elif not sampler["now"] and last is not None:
        age = state["time"] - last
        if age > 3 * sampler["interval_minutes"] * MINUTE:
            text = f"The last sample is {words(age)} old."
    if text:
        yield alert("sampler_stopped", WARNING, "sampler", text, remedy)


def _notify(state: State, history: History, limits: Limits) -> Found:
    ways = (state.get("notify") or {}).get("ways") or {}
    for name, way in sorted(ways.items()):
        failed = way["failed"]
        if failed and failed["partly"]:
            yield alert("notify_failed", WARNING, name, f"Not for all: {failed['why']}.")
        elif failed:
            age = words(state["time"] - failed["since"])
            yield alert(
                "notify_failed",
                WARNING,
                name,
                f"No message gets through, tried {times(failed['tries'])} since {age} ago: "
                f"{failed['why']}.",
            )


def reasons_of(ctp: Mapping[str, Any]) -> str:
    """Return in words why objects lie in quarantine, as far as CTP tells."""
    listed = sorted((ctp.get("quarantine") or {}).items())
    return ", ".join(f"{reason} {n}" for reason, n in listed) or "their reasons are not known"


def moment(text: Any) -> float | None:
    """Return an ISO 8601 time in seconds since 1970, or None for anything else."""
    try:
        parsed = datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=datetime.timezone.utc)
    return parsed.timestamp()


def is_to_come(at: float, now: float) -> bool:
    """Tell whether a time of the past is still to come: a clock ran ahead, or is behind."""
    return at > now + CLOCKS_DIFFER


def number(count: float | None, one: str, many: str = "") -> str:
    """Return a number of things in words: "1 study", "1 204 studies"; None: not known.

    As `counted` of the room host, which this package, copied to a machine by itself, has not.
    """
    if count is None:
        return f"an unknown number of {many or one + 's'}"
    return f"{count:,}".replace(",", " ") + f" {one if count == 1 else many or one + 's'}"


def times(count: int) -> str:
    """Return how often something happened, in words."""
    return "once" if count == 1 else f"{count} times"


def words(seconds: float) -> str:
    """Return a duration as a person says it; that it is not known where a clock was set back."""
    if seconds < -CLOCKS_DIFFER:
        return "an unknown time"
    seconds = max(seconds, 0)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * MINUTE:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < 48 * HOUR:
        return f"{seconds / HOUR:.0f} h"
    return f"{seconds / DAY:.0f} days"


def gib(size: float | None) -> str:
    """Return a number of bytes in a binary unit that fits it; that it is not known for None."""
    if size is None:
        return "an unknown size"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
