"""The status of all nodes of an inventory: one list of rows, which the table and the page show.

Pure: what the module node_status returned for each machine goes in, text comes out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import table
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import rules

WORDS = {"critical": "CRITICAL", "warning": "WARNING", "ok": "ok", "unknown": "unknown"}
MOST_STUDIES = 10
_WHY = "`studies.problem` of /api/status on CTP's page says why"
FAIL_ON = ("", "warning", "critical")


def nodes(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each machine with state, alerts and history, in the inventory's order.

    Args:
        results: what the task that ran the module registered, by machine; empty for a machine
            that an earlier task already could not reach.
    """
    listed = []
    for name, result in results.items():
        if "state" in result:
            state, alerts, history = result["state"], list(result["alerts"]), result["history"]
        else:
            # Ansible's own words may hold anything, so they stay in its log.
            reason = (
                "The machine cannot be reached."
                if result.get("unreachable") or not result
                else "Its state could not be read."
            )
            state, history = {}, []
            alerts = [rules.alert("unreachable", rules.CRITICAL, name, reason)]
        listed.append({"name": name, "state": state, "alerts": alerts, "history": history})
    return listed


def attention(listed: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return all alerts with their node, the most urgent first."""
    found = [{"node": node["name"], **each} for node in listed for each in node["alerts"]]
    return sorted(found, key=lambda each: rules.SEVERITIES.index(each["severity"]))


def verdict(listed: Sequence[Mapping[str, Any]]) -> str:
    """Return in one line how things are."""
    alerts = attention(listed)
    counts = {s: sum(each["severity"] == s for each in alerts) for s in rules.SEVERITIES}
    told = [
        f"{n} {name}{'s' if n > 1 and name == 'warning' else ''}" for name, n in counts.items() if n
    ]
    return ", ".join(told) if told else "nothing needs attention"


def worst(alerts: Sequence[Mapping[str, Any]], names: Sequence[str], subject: str = "") -> str:
    """Return the worst severity among the alerts of these names and, where given, this subject."""
    severities = {
        each["severity"]
        for each in alerts
        if each["alert"] in names and subject in ("", each["subject"])
    }
    return next((severity for severity in rules.SEVERITIES if severity in severities), "ok")


def rows(node: Mapping[str, Any], studies: bool = True) -> list[tuple[str, str, str]]:
    """Return what there is to say of one machine: what, how it is, figures.

    Args:
        node: as `nodes` returns it.
        studies: whether studies that are not complete are named, by their pseudonyms.
    """
    state, alerts = node["state"], node["alerts"]
    if not state:
        return [("machine", "critical", alerts[0]["text"])]
    now = state["time"]
    system = state["system"]
    engine = f"Docker {state['engine']}" if state["engine"] else "no Docker engine"
    engine += ", its Swarm locked" if state.get("swarm_locked") else ""
    found = [
        ("machine", worst(alerts, ["engine_down", "swarm_locked"]), f"{system['os']}, {engine}"),
        *_holder_rows(state),
        *_service_rows(state, alerts, now),
    ]
    found += _figure_rows(state, alerts, studies)
    for volume in state["volumes"]:
        text = "its size is not known"
        if volume["size"]:
            text = f"{100 - 100 * volume['free'] / volume['size']:.0f} % used, "
            text += f"{rules.gib(volume['free'])} of {rules.gib(volume['size'])} free"
        mount = volume["mount"]
        found.append((f"disk {mount}", worst(alerts, ["disk_low"], mount), text))
    found += [proof_row(state, alerts), *_backup_rows(state, alerts)]
    found += _security_rows(state, alerts)
    return found


def _holder_rows(state: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the row on who changes the machine now; none where nobody does."""
    if not (holder := state.get("holder")):
        return []
    text = f"{holder['what']}, by {holder['who']} since {holder['since']} UTC"
    return [("being changed", "ok", text)]


def _service_rows(
    state: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]], now: float
) -> list[tuple[str, str, str]]:
    names = [
        "service_down",
        "service_unhealthy",
        "service_restarting",
        "image_old",
        "figures_missing",
    ]
    found = []
    for name, service in sorted(state["services"].items()):
        health = service["health"] if service["health"] != "none" else "running"
        told = [health if service["running"] else "does not run"]
        if service["version"]:
            told.append(f"version {service['version']}")
        if service["since"]:
            told.append(f"up {rules.words(now - service['since'])}")
        if service["failures"]:
            told.append(f"{len(service['failures'])} of its containers failed before")
        if service["image_created"]:
            told.append(f"image {rules.words(now - service['image_created'])} old")
        found.append((name, worst(alerts, names, name), ", ".join(told)))
    return found


def count(number: Any) -> str:
    """Return a number with its thousands apart, or that it is not known."""
    return "not known" if number is None else f"{number:,}".replace(",", " ")


def _figure(number: Any, what: str) -> str:
    """Return a figure with what it counts, or that this is not known."""
    return f"{what}: not known" if number is None else f"{count(number)} {what}"


def _figure_rows(
    state: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]], studies: bool
) -> list[tuple[str, str, str]]:
    found = []
    ctp, orthanc, keydb = (state.get(name) or {} for name in ("ctp", "orthanc", "keydb"))
    if ctp.get("answers"):
        oldest = ctp.get("oldest_seconds")
        queue = _figure(ctp["queued"], "waiting")
        queue += f", the oldest for {rules.words(oldest)}" if oldest is not None else ""
        queue += f"; {_figure(ctp['received'], 'received')}, {_figure(ctp['forwarded'], 'sent on')}"
        names = ["queue_old", "queue_growing", "orthanc_not_receiving", "reception_closed"]
        found.append(("queue", worst(alerts, names), queue))
        held = rules.number(ctp["quarantined"], "object")
        held += f": {rules.reasons_of(ctp)}" if ctp["quarantined"] else ""
        names = ["quarantine_not_empty", "quarantine_growing"]
        found.append(("quarantine", worst(alerts, names), held))
        found += _study_rows(ctp, alerts, studies)
        if ctp.get("deidentification"):
            found.append(("de-identification", "ok", "; ".join(ctp["deidentification"])))
        age = ctp.get("keydb_age_seconds")
        # A CTP that does not follow KeyDB by itself tells neither.
        if age is not None or ctp.get("keydb_patients") is not None:
            text = f"{rules.number(ctp['keydb_patients'], 'patient')}, "
            text += "not read since its start" if age is None else f"read {rules.words(age)} ago"
            found.append(("CTP's patient list", worst(alerts, ["keydb_table_stale"]), text))
    elif state["services"].get("ctp") and not state.get("ctp"):
        found.append(("queue", "unknown", "this CTP reports no figures; see its page"))
        found.append(("studies", "unknown", "this CTP reports nothing about single studies"))
    if orthanc.get("answers"):
        text = f"{rules.number(orthanc['studies'], 'study', 'studies')}, "
        text += f"{rules.number(orthanc['instances'], 'instance')}, "
        found.append(("Orthanc holds", "ok", text + rules.gib(orthanc["bytes"])))
    if keydb.get("answers"):
        text = f"{rules.number(keydb['patients'], 'patient')}, {rules.gib(keydb['bytes'])}"
        found.append(("KeyDB holds", "ok", text))
    return found


def _study_rows(
    ctp: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]], named: bool
) -> list[tuple[str, str, str]]:
    studies = ctp.get("studies")
    if studies is None:
        return [("studies", "unknown", "this CTP keeps no account of studies")]
    if studies["studies"] is None:
        return [("studies", "unknown", f"the account is not kept: {_WHY}")]
    told = [f"{count(studies[name])} {name}" for name in ("complete", "arriving")]
    if studies["waiting"]:
        way = "its" if studies["waiting"] == 1 else "their"
        told.append(f"{count(studies['waiting'])} on {way} way")
    told.append(f"{count(studies['incomplete'])} not complete")
    for name, text in (
        ("unknown", "of patients that KeyDB does not know"),
        ("deleted", "whose rest was removed from quarantine for good"),
        ("mixed", "under two identifiers"),
    ):
        if studies.get(name):
            told.append(f"{count(studies[name])} {text}")
    if studies["unplaced"]:
        told.append(f"{rules.number(studies['unplaced'], 'object')} whose study cannot be read")
    severity = worst(alerts, ["study_incomplete", "study_mixed"])
    if not studies["whole"]:
        severity = "unknown" if severity == "ok" else severity
        told.append(f"not all is in the account: {_WHY}")
    found = [("studies", severity, ", ".join(told))]
    if not named:
        return found
    shown = studies["rows"][:MOST_STUDIES]
    for each in shown:
        numbers = [f"{count(each['received'])} received", f"{count(each['left'])} left"]
        for name, text in (
            ("held", "held back"),
            ("broken", "broken off"),
            ("waiting", "waiting"),
            ("gone", "not found"),
        ):
            if each[name]:
                numbers.append(f"{count(each[name])} {text}")
        text = f"{each['state']}: {', '.join(numbers)}"
        found.append((f"study of {each['pseudonym']}", "warning", text))
    more = (studies["incomplete"] or 0) - len(shown)
    if more > 0:
        found.append(("more studies", "warning", f"{count(more)}: playbooks/study.yml lists them"))
    return found


def ago(report: Mapping[str, Any], now: float, key: str = "finished") -> str:
    """Return how long ago something ended."""
    finished = rules.moment(report.get(key))
    if finished is None:
        return "at an unknown time"
    if rules.is_to_come(finished, now):
        return rules.TO_COME
    return f"{rules.words(now - finished)} ago"


def proof_row(
    state: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]
) -> tuple[str, str, str]:
    """Return the row on the last proof."""
    proof = state.get("proof")
    if proof is None:
        text = "never"
    elif proof.get("passed") is True:
        text = f"{rules.number(proof.get('checks'), 'check')} passed {ago(proof, state['time'])}"
    elif proof.get("passed") is not False:
        text = "what it noted cannot be read"
    else:
        text = f"failed {ago(proof, state['time'])}"
    return ("last proof", worst(alerts, ["proof_failed", "proof_old"]), text)


def _backup_rows(
    state: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, str]]:
    found = []
    names = [name for name in rules.ALERTS if name.startswith("backup_")]
    for kind, report in sorted(state["backup"].items()):
        what = "trial restore" if kind == "verify" else f"backup, {kind}"
        severity = worst(alerts, names, kind)
        if report is None:
            # Nobody asks for a trial restore where there is no backup.
            if kind != "verify":
                found.append((what, "unknown" if severity == "ok" else severity, "not configured"))
            continue
        word = "succeeded" if report.get("ok") is True else "failed"
        text = f"{word} {ago(report, state['time'])}"
        # Each attempt renews when the last one ended.
        if word == "failed" and report.get("last_ok"):
            text += f"; the last that succeeded ended {ago(report, state['time'], 'last_ok')}"
        if not isinstance(report.get("ok"), bool):
            text = "what it noted cannot be read"
        if report.get("bytes_added"):
            text += f", {rules.gib(report['bytes_added'])} added"
        found.append((what, severity, text))
    return found


def _security_rows(
    state: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, str]]:
    found = []
    now = state["time"]
    for each in state["certificates"]:
        severity = worst(alerts, ["certificate_expired", "certificate_expiring"], each["name"])
        if each["not_after"] is None:
            severity, text = "unknown", "cannot be read"
        elif each["not_after"] > now:
            text = f"valid for {rules.words(each['not_after'] - now)}"
        else:
            text = f"ended {rules.words(now - each['not_after'])} ago"
        found.append((f"certificate {each['name']}", severity, text))
    firewall, clock, sampler = state["firewall"], state["clock"], state["sampler"]
    names = ["firewall_missing", "firewall_changed", "port_unlimited", "firewall_not_enabled"]
    if not firewall["wanted"]:
        found.append(("firewall", "unknown", "switched off in the inventory"))
    else:
        text = "not loaded"
        if firewall["loaded"]:
            text = "as installed" if firewall["equal"] else "changed since it was installed"
            if firewall.get("unlimited"):
                text += f", NOT for {', '.join(firewall['unlimited'])}"
        text += {True: ", loaded at boot", False: ", NOT loaded at boot", None: ""}[
            firewall["enabled"]
        ]
        found.append(("firewall", worst(alerts, names), text))
    if clock["synchronised"] is None:
        found.append(("clock", "unknown", "no time service of this machine answers"))
    else:
        text = f"{'set' if clock['synchronised'] else 'NOT set'} by {clock['source']}"
        if clock["offset_seconds"] is not None:
            text += f", {abs(clock['offset_seconds']):.3f} s off"
        found.append(("clock", worst(alerts, ["clock_unsynchronised"]), text))
    if not sampler["expected"]:
        found.append(("samples", "unknown", "none: status_timer is false"))
    else:
        text = f"every {sampler['interval_minutes']:g} min"
        if not sampler["systemd"]:
            text += ", by a process that no reboot starts again (PID 1 is not systemd)"
        found.append(("samples", worst(alerts, ["sampler_stopped"]), text))
    return [*found, *_notify_rows(state, alerts)]


def _notify_rows(
    state: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, str]]:
    """Return whether people are told of alerts, and whether that waits for a maintenance."""
    notify = state.get("notify")
    if notify is None:
        return []
    found = []
    if until := notify["maintenance"]:
        text = f"announced until {stamp(until)}; no message of alerts is sent before"
        found.append(("maintenance", "ok", text))
    told = []
    for name, way in notify["ways"].items():
        last = "nothing sent yet"
        if way["sent"]:
            last = f"last sent {rules.words(state['time'] - way['sent'])} ago"
            if rules.is_to_come(way["sent"], state["time"]):
                last = f"last sent {rules.TO_COME}"
        told.append(f"{name}: {last}{', FAILS' if way['failed'] else ''}")
    severity = worst(alerts, ["notify_failed"]) if told else "unknown"
    text = "; ".join(told) or "nobody is told: auscat_notify is not set"
    return [*found, ("messages of alerts", severity, text)]


def stamp(seconds: float) -> str:
    """Return a time for people, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def status_table(results: Mapping[str, Mapping[str, Any]], now: float, studies: bool = True) -> str:
    """Return the status of all machines as text: the verdict, what needs attention, one table.

    Args:
        results: as `nodes` takes them.
        now: seconds since 1970.
        studies: as for `rows`.
    """
    listed = nodes(results)
    lines = [f"Status on {stamp(now)}: {verdict(listed)}", ""]
    for each in attention(listed):
        word = WORDS[each["severity"]]
        lines.append(f"{word}  {each['node']}: {each['alert']} ({each['subject']}): {each['text']}")
        lines.append(f"{' ' * len(word)}  -> {each['next']}")
    lines += [""] if lines[-1] else []
    lines += table(
        ["node", "what", "state", "figures"],
        [
            (node["name"], what, WORDS[severity], text)
            for node in listed
            for what, severity, text in rows(node, studies)
        ],
    )
    return "\n".join(lines)


def status_failures(results: Mapping[str, Mapping[str, Any]], fail_on: str) -> list[str]:
    """Return the alerts for which a run is to fail, in words; none where `fail_on` is empty.

    Args:
        results: as `nodes` takes them.
        fail_on: critical, warning (these and critical ones) or an empty text.
    """
    wanted = {"": (), "warning": rules.SEVERITIES, "critical": (rules.CRITICAL,)}[fail_on]
    return [
        f"{each['node']}: {each['alert']} ({each['subject']}): {each['text']}"
        for each in attention(nodes(results))
        if each["severity"] in wanted
    ]
