"""Why studies do not arrive: what was seen on the machines goes in, a diagnosis comes out.

Pure. The steps are those of the AusCAT guide, in its order: did CTP accept, did CTP pass on, can
CTP reach Orthanc, does Orthanc alone accept, can the operator reach it. Each step is ok, failed, or
could not be checked for a reason that another step tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.care.targets import (
    NAMELESS,
    canonical,
)
from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import table
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status.rules import (
    held_back_remedy,
)

OK, FAILED, UNKNOWN = "ok", "failed", "could not be checked"

CLOCK_SECONDS = 60
"""A run's own way to the machine takes some seconds, a busy machine more."""
MIB, GIB = 2**20, 2**30
FULL_MIB = 64
LEAST_INODES = 2000
STUCK_SECONDS = 300
RESTARTS = 3
RECENT_MINUTES = 15
"""How far back a container that ended counts."""
SOON_DAYS = 14

# Causes before what follows from them; the first finding is what to fix first.
(
    MACHINE,
    ENGINE,
    DISK,
    CLOCK,
    CERTIFICATE,
    SERVICE,
    SECRET,
    FIREWALL,
    TITLE,
    WAY,
    ALONE,
    QUEUE,
    QUARANTINE,
) = range(13)

_SERVICES = {
    "ctp": "CTP",
    "ctp_gate": "The gate in front of CTP",
    "keydb": "KeyDB",
    "orthanc": "Orthanc",
}


@dataclass(frozen=True)
class Step:
    """One thing that was looked at."""

    where: str
    what: str
    state: str
    detail: str = ""


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong, in words, and what to do next."""

    rank: int
    where: str
    text: str
    remedy: str


@dataclass
class Diagnosis:
    """All steps, in the order of the tree, and the findings, the cause first."""

    steps: list[Step] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def step(self, where: str, what: str, state: str, detail: str = "") -> None:
        """Add a step."""
        self.steps.append(Step(where, what, state, detail))

    def find(self, rank: int, where: str, text: str, remedy: str) -> None:
        """Add a finding once."""
        finding = Finding(rank, where, text, remedy)
        if finding not in self.findings:
            self.findings.append(finding)


def diagnose(observations: Iterable[Mapping[str, Any]]) -> Diagnosis:
    """Return what the observations of all machines mean.

    Args:
        observations: one for each machine: what the module troubleshoot_host returned as ``seen``,
            with ``controller`` (the controller's time in seconds since 1970), ``reach`` (rows of
            the module troubleshoot_reach) and ``phantom`` (rows of the module proof_isolation)
            added; a machine that could not be reached has host and ``reached`` false only.
    """
    result = Diagnosis()
    seen = sorted(observations, key=lambda each: str(each["host"]))
    for each in seen:
        _machine(result, each)
    reached = [each for each in seen if each.get("reached")]
    for check in (
        _reception,
        _refusals,
        _queue,
        _keydb,
        _quarantine,
        _way,
        _orthanc,
        _phantom,
        _reach,
    ):
        for each in reached:
            check(result, each, reached)
    result.findings.sort(key=lambda finding: finding.rank)
    return result


def _machine(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    host = str(seen["host"])
    what = "The machine can be reached, and its engine runs"
    if not seen.get("reached"):
        result.step(host, what, FAILED, "no login")
        result.find(
            MACHINE,
            host,
            f"The machine {host} cannot be reached from here; nothing on it could be checked.",
            "Check whether it runs and you can log in: ansible -m ping. Then run this again.",
        )
        return
    runs, absent = bool(seen.get("engine")), not seen.get("engine_installed", True)
    if runs:
        result.step(host, what, OK)
    else:
        result.step(host, what, FAILED, "no engine" if absent else "engine down")
        if absent:
            text = f"Docker is not installed on {host}: no node was ever deployed there."
            remedy = "Deploy it: run site.yml."
        else:
            text = f"The Docker engine on {host} does not run, so none of the services does."
            remedy = "Start it: systemctl start docker; if it ends again, journalctl -u docker."
        result.find(ENGINE, host, text, remedy)
    _disks(result, seen)
    _clock(result, seen)
    _certificates(result, seen)
    if runs:
        _services(result, seen)
        _secrets(result, seen)
    else:
        result.step(host, "The services run", UNKNOWN, "because the engine does not run")
    _firewall(result, seen)


def _unanswered(seen: Mapping[str, Any], name: str) -> str:
    kind = (seen.get("unanswered") or {}).get(name, "")
    return f"because looking failed ({kind})" if kind else "because nothing is known of it"


def _disks(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    host, what = str(seen["host"]), "There is space on the disks"
    rows = seen.get("disks")
    if rows is None:
        result.step(host, what, UNKNOWN, _unanswered(seen, "disks"))
        return
    full = []
    absent = [row["path"] for row in rows if not row["exists"]]
    for row in rows:
        floor = max(FULL_MIB, int(seen.get("minimum_free_mib") or 0) * (row["service"] == "ctp"))
        if not row["exists"]:
            continue
        free = row["free"] // MIB
        if free < floor or (row["inodes"] and row["inodes_free"] < LEAST_INODES):
            full.append(row)
            kind = "inodes" if free >= floor else f"{free} MiB"
            who = _SERVICES.get(row["service"], row["service"])
            effect = " CTP takes nothing until there is space." if row["service"] == "ctp" else ""
            result.find(
                DISK,
                host,
                f"The disk of {who}'s data on {host} is full: {row['path']} has {kind} left of"
                f" {row['size'] // MIB} MiB, and needs {floor} MiB.{effect}",
                "Make room or grow the disk (docs/volumes.md). Nothing that was acknowledged is"
                " lost.",
            )
    # What is free where a missing directory would be says nothing of where its data lie.
    told = [f"{row['service']} {row['free'] / GIB:.1f} GiB free" for row in rows if row["exists"]]
    told += [f"{path} does not exist" for path in absent]
    state = FAILED if full else UNKNOWN if absent else OK
    because = "because " if state == UNKNOWN else ""
    result.step(host, what, state, because + "; ".join(reversed(told) if absent else told))


def _clock(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    host, what = str(seen["host"]), "The clock is right"
    clock, now, here = seen.get("clock") or {}, seen.get("time"), seen.get("controller")
    if now is None or here is None:
        result.step(host, what, UNKNOWN, _unanswered(seen, "clock"))
        return
    off = float(now) - float(here)
    keeps = clock.get("kept")
    kept = "" if keeps is None else "kept by NTP" if keeps else "not kept by NTP"
    if abs(off) <= CLOCK_SECONDS:
        result.step(host, what, OK, kept)
        return
    side = "ahead of" if off > 0 else "behind"
    result.step(host, what, FAILED, f"{abs(off):.0f} s {side} the controller")
    result.find(
        CLOCK,
        host,
        f"The clock of {host} is {_duration(abs(off))} {side} that of this machine.",
        "See which of the two is wrong (date), and let NTP keep both: timedatectl set-ntp true.",
    )


def _certificates(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    host, what = str(seen["host"]), "No certificate has expired"
    rows, now = seen.get("certificates"), seen.get("time")
    if rows is None or now is None:
        result.step(host, what, UNKNOWN, _unanswered(seen, "certificates"))
        return
    known = [row for row in rows if row["not_after"] is not None]
    unread = [row["path"] for row in rows if row["not_after"] is None]
    late = [row for row in known if row["not_after"] <= now]
    soon = [row for row in known if now < row["not_after"] <= now + SOON_DAYS * 86400]
    for row in late:
        swarm = "swarm-node" in row["path"]
        result.find(
            CERTIFICATE,
            host,
            f"The certificate {row['path']} on {host} expired on {_date(row['not_after'])}.",
            "The Swarm renews it by itself while its engine runs and the clock is right: set the "
            "clock, and restart docker."
            if swarm
            else "Get a new one from who issued it, put it into auscat_ca_certificates: site.yml.",
        )
    detail = f"{len(known)} looked at"
    if soon:
        detail += f"; {soon[0]['path']} expires on {_date(soon[0]['not_after'])}"
    if unread:
        detail = f"because {', '.join(unread)} cannot be read; {detail}"
    result.step(host, what, FAILED if late else UNKNOWN if unread else OK, detail)


def _services(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    host, what = str(seen["host"]), "The services run"
    rows = seen.get("services")
    if rows is None:
        result.step(host, what, UNKNOWN, _unanswered(seen, "services"))
        return
    wrong = []
    stack = seen.get("stack", "auscat")
    for name, row in rows.items():
        title = _SERVICES.get(name, name)
        ended, killed = _lately(seen, row, "failures"), _lately(seen, row, "memory_kills")
        if not row["deployed"]:
            wrong.append(f"{name}: not deployed")
            result.find(
                SERVICE,
                host,
                f"{title} is not deployed on {host}.",
                "Deploy it: run site.yml.",
            )
        elif not row["replicas"]:
            wrong.append(f"{name}: stopped")
            result.find(
                SERVICE,
                host,
                f"{title} was stopped on {host}: its service is scaled to 0.",
                f"Start it: docker service scale {stack}_{name}=1, or run site.yml.",
            )
        elif row["running"] < row["replicas"]:
            why = f" ({row['error']})" if row.get("error") else ""
            wrong.append(f"{name}: does not run{why}")
            result.find(
                SERVICE,
                host,
                f"{title} does not run on {host}{why}.",
                f"See docker service ps --no-trunc {stack}_{name} and its log there.",
            )
        elif ended >= RESTARTS:
            # It may run, and be healthy, at the moment of looking.
            wrong.append(f"{name}: ended {ended} times in {RECENT_MINUTES} minutes")
            if not killed:
                result.find(
                    SERVICE,
                    host,
                    f"{title} on {host} ends again and again: {ended} times in the last"
                    f" {RECENT_MINUTES} minutes.",
                    f"See docker service ps --no-trunc {stack}_{name} and its log there.",
                )
        elif row["health"] not in ("healthy", "none"):
            wrong.append(f"{name}: {row['health']}")
            result.find(
                SERVICE,
                host,
                f"{title} on {host} runs, but is {row['health']}.",
                f"Where it has just been started, wait a minute. Else see docker service logs"
                f" {stack}_{name}.",
            )
        if killed:
            most = row.get("memory_limit_mib")
            limit = f", its limit is {most} MiB" if most else ""
            wrong.append(f"{name}: killed for memory")
            result.find(
                SERVICE,
                host,
                f"{title} on {host} was killed for memory {killed} times in the last"
                f" {RECENT_MINUTES} minutes{limit}.",
                "Declare the largest object that is sent (auscat_largest_object_mib) and run"
                " site.yml: the limit follows."
                if name == "orthanc"
                else f"See who sends so much: docker service logs {stack}_{name}."
                if name == "ctp_gate"
                else f"Raise {name}_memory_mib, and run site.yml.",
            )
    detail = "; ".join(wrong) or ", ".join(rows) or "none belongs here"
    result.step(host, what, FAILED if wrong else OK, detail)


def _lately(seen: Mapping[str, Any], row: Mapping[str, Any], what: str) -> int:
    """Return how often something happened to a service within RECENT_MINUTES."""
    since = float(seen["time"]) - RECENT_MINUTES * 60
    return sum(moment > since for moment in row.get(what) or [])


def _runs(seen: Mapping[str, Any], service: str) -> bool | None:
    """Tell whether a service runs; None where it is not known."""
    if not seen.get("engine"):
        return False
    rows = seen.get("services")
    if rows is None:
        return None
    row = rows.get(service)
    return bool(row and row["deployed"] and row.get("running"))


def _secrets(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    host, what = str(seen["host"]), "The services have the secrets of the inventory"
    rows = seen.get("secrets")
    if rows is None:
        result.step(host, what, UNKNOWN, _unanswered(seen, "secrets"))
        return
    other = sorted({row["secret"] for row in rows if not row["same"]})
    if other:
        result.find(
            SECRET,
            host,
            f"What runs on {host} was given other secrets than the inventory has now: "
            f"{', '.join(other)}.",
            "If the inventory is right, deploy it: run site.yml. Otherwise correct the vault.",
        )
    names = ", ".join(other) or f"{len({row['secret'] for row in rows})} compared"
    result.step(host, what, FAILED if other else OK, names)


def _firewall(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    host, what = str(seen["host"]), "No firewall on the machine is in the way"
    found = seen.get("firewall")
    if found is None:
        result.step(host, what, UNKNOWN, _unanswered(seen, "firewall"))
        return
    wrong = []
    for block in found["blocks"]:
        port, who = block["port"], f"{block['who']} ({block['address']})"
        wrong.append(f"port {port} from {block['address']}")
        if block["ours"] and block["sets"]:
            result.find(
                FIREWALL,
                host,
                f"The firewall of {host} does not let {who} in to port {port}: the address is not "
                f"in the set {block['sets'][0]} of the table inet auscat.",
                f"If it should be, add it to {block.get('variable') or 'the sources of the port'} "
                "in the inventory and run site.yml --tags firewall.",
            )
        else:
            result.find(
                FIREWALL,
                host,
                f"A firewall rule on {host} that is not of this project drops what {who} sends to "
                f"port {port}: {block['where']}: {block['rule']}.",
                "Ask who made it. It is listed by nft -a list ruleset, and removed by nft delete "
                "rule with the family, table, chain and handle above.",
            )
    for name, program in (("ufw", "ufw"), ("firewalld", "firewalld")):
        if found.get(name):
            ports = ", ".join(str(port) for port in found[name])
            wrong.append(f"{program}: {ports}")
            result.find(
                FIREWALL,
                host,
                f"{program} is active on {host} and lacks the rules for port {ports}.",
                "Set them: run site.yml --tags firewall.",
            )
    limited = found.get("wanted", True)
    if limited and not found["loaded"] and (seen.get("services") or {}):
        wrong.append("the table inet auscat is missing")
        result.find(
            FIREWALL,
            host,
            f"The table inet auscat is missing on {host}: the ports are open to everybody.",
            "Load it: run site.yml --tags firewall.",
        )
    dropped = [f"{count} packets to {port}" for port, count in found["dropped"].items() if count]
    detail = "; ".join(wrong) or (
        f"the table inet auscat has refused {', '.join(dropped)}"
        if dropped
        else ""
        if limited
        else "switched off in the inventory"
    )
    result.step(host, what, FAILED if wrong else OK, detail)


def _has(seen: Mapping[str, Any], service: str) -> bool:
    return service in (seen.get("here") or [])


def _why_not(seen: Mapping[str, Any], service: str) -> str:
    """Why a service cannot be asked; empty where it can."""
    if not seen.get("engine"):
        return "because the engine does not run"
    runs = _runs(seen, service)
    if runs is None:
        return f"because it is not known whether {_SERVICES[service]} runs"
    return "" if runs else f"because {_SERVICES[service]} does not run"


def _page(result: Diagnosis, seen: Mapping[str, Any], what: str) -> Mapping[str, Any] | None:
    """Return what CTP's page says; where it says nothing, the step is added with the reason."""
    host, page = str(seen["host"]), seen.get("ctp")
    why = _why_not(seen, "ctp")
    if not why and page is None:
        why = _unanswered(seen, "ctp")
    elif not why and page is not None:
        if not page["answers"]:
            why = "because CTP's page does not answer"
        elif page.get("login") is False:
            why = "because CTP's page refuses the inventory's password"
        elif not page["told"]:
            why = "because this flavour of CTP does not tell"
    if why:
        result.step(host, what, UNKNOWN, why)
        return None
    return page


def _figure(number: Any, what: str) -> str:
    """Return a figure in words; one that is not known is not made up."""
    return f"{number} {what}" if number is not None else f"{what}: not known"


def _reception(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not _has(seen, "ctp"):
        return
    host = str(seen["host"])
    if (seen.get("ctp") or {}).get("login") is False and not _why_not(seen, "ctp"):
        result.find(
            SECRET,
            host,
            f"CTP's page on {host} refuses the inventory's password for admin.",
            "If the inventory is right, deploy it: run site.yml.",
        )
        result.step(host, "CTP's page lets the inventory's admin in", FAILED)
    page = _page(result, seen, "CTP accepts studies")
    if page is None:
        return
    received = _figure(page["received"], "objects accepted so far")
    if page["reception_open"] is None:
        result.step(host, "CTP accepts studies", UNKNOWN, "because this CTP does not tell")
        return
    if page["reception_open"]:
        result.step(host, "CTP accepts studies", OK, received)
        return
    result.step(host, "CTP accepts studies", FAILED, "reception is closed")
    if page["short_of_space"]:
        free = page["free_mib"]
        left = "too little is left" if free is None else f"only {free} MiB are left"
        result.find(
            DISK,
            host,
            f"CTP on {host} has closed its reception: {left} on the disk of its data.",
            "Make room or grow the disk (docs/volumes.md). Senders are refused and keep what"
            " they have.",
        )
    else:
        result.find(
            SERVICE,
            host,
            f"CTP on {host} has closed its reception; its page and log say why.",
            "Where it has just been started, wait a minute.",
        )


def _refusals(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not _has(seen, "ctp"):
        return
    host, what = str(seen["host"]), "CTP refuses no sender"
    rows = seen.get("refusals")
    if rows is None:
        result.step(host, what, UNKNOWN, _why_not(seen, "ctp") or _unanswered(seen, "log"))
        return
    accepted = seen.get("titles") or {}
    told = []
    for row in rows:
        title = {"called AE title not recognized": "called", "calling AE title not recognized":
                 "calling"}.get(row["why"])  # fmt: skip
        if title is None:
            continue  # it was closed, full or busy: other steps tell
        told.append(f"{row['count']} from {row['peer']}: {row['why']}")
        names = ", ".join(accepted.get(title) or []) or "any"
        who = (
            "calls CTP by an AE title that CTP does not have"
            if title == "called"
            else "calls itself by an AE title that CTP does not accept"
        )
        variable = f"{title}_aets of ctp_pipelines"
        result.find(
            TITLE,
            host,
            f"CTP on {host} has refused the sender {row['peer']} {row['count']} times, last at"
            f" {str(row['last'])[11:16]} UTC: it {who}. Accepted: {names}.",
            f"Correct the AE title in the sender's configuration, or add it to {variable}.",
        )
    result.step(host, what, FAILED if told else OK, "; ".join(told))


def _queue(
    result: Diagnosis, seen: Mapping[str, Any], everybody: Sequence[Mapping[str, Any]]
) -> None:
    if not _has(seen, "ctp"):
        return
    host, what = str(seen["host"]), "CTP passes studies on"
    page = _page(result, seen, what)
    if page is None:
        return
    detail = f"{_figure(page['forwarded'], 'forwarded')}, {_figure(page['queued'], 'queued')}"
    oldest = page.get("oldest_seconds") or 0
    waiting = page["queued"] and (page["waits_for_orthanc"] or oldest > STUCK_SECONDS)
    if page["queued"] is None:
        result.step(host, what, UNKNOWN, "because what waits is not known")
    else:
        result.step(host, what, FAILED if waiting else OK, detail)
    if page["frozen"] and not page["short_of_space"]:
        result.find(
            DISK, host, f"CTP on {host} is frozen.", "Make room on its disk (docs/volumes.md)."
        )
    if waiting and not page["waits_for_orthanc"]:
        result.find(
            QUEUE,
            host,
            f"{page['queued']} objects wait in CTP's queues on {host}, the oldest for "
            f"{_duration(oldest)}.",
            "Look at CTP's log; where its page says that it is not healthy, restart the service.",
        )
    elif waiting and not any(
        each.get("engine") and _runs(each, "orthanc") is False
        for each in everybody
        if _has(each, "orthanc")
    ):
        result.find(
            QUEUE,
            host,
            f"{page['queued']} objects wait in CTP's queues on {host} for Orthanc; none is lost.",
            "They go by themselves once CTP reaches Orthanc.",
        )


def _keydb(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not _has(seen, "keydb"):
        return
    host, what = str(seen["host"]), "KeyDB lets CTP look patients up"
    found = seen.get("keydb")
    why = _why_not(seen, "keydb")
    if not why and found is None:
        why = _unanswered(seen, "keydb")
    if not why and not (found or {}).get("answers"):
        result.step(host, what, FAILED, "no answer")
        result.find(
            SERVICE,
            host,
            f"KeyDB on {host} runs, but does not answer.",
            "See docker service logs of its service there; a recovery after a crash takes a"
            " minute.",
        )
        return
    if why or found is None:
        result.step(host, what, UNKNOWN, why)
        return
    if not found["told"]:
        result.step(host, what, FAILED, "its patients cannot be read")
        result.find(
            SERVICE,
            host,
            f"KeyDB on {host} answers, but its table of patients (keydb_table) is missing or cannot"
            " be read.",
            "See keydb_table (docs/keydb.md). Where it is right, run site.yml, which makes the"
            " table.",
        )
    elif not found["role"]:
        result.step(host, what, FAILED, "CTP's role is missing")
        result.find(
            SECRET,
            host,
            f"KeyDB on {host} has no role ctp_key_db_select that may log in, so CTP cannot look"
            " patients up.",
            "Run site.yml, which makes it.",
        )
    elif not found["password"]:
        result.step(host, what, FAILED, "another password")
        result.find(
            SECRET,
            host,
            f"KeyDB on {host} has another password for CTP's role ctp_key_db_select than the "
            "inventory (keydb_ctp_password), so it refuses CTP. CTP keeps using the patients "
            "that it knew before; new ones stay unknown.",
            "Set it to the inventory's: run site.yml.",
        )
    else:
        result.step(host, what, OK, f"{found['patients']} patients")


_LEAVE_OUT = "Have the source leave them out, then purge them (docs/quarantine.md)."


def _quarantine(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not _has(seen, "ctp"):
        return
    host, what = str(seen["host"]), "CTP holds nothing back"
    page = _page(result, seen, what)
    if page is None:
        return
    reasons = page["quarantine"]
    detail = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    if page["quarantined"] is None:
        result.step(host, what, UNKNOWN, "because what it holds is not known")
    else:
        result.step(host, what, FAILED if reasons else OK, detail)
    words = {
        "unknown-patient": (
            "KeyDB does not know their patients",
            "Load the patients and release: load_keys.yml -e keys_file=… -e release=true"
            " (docs/quarantine.md).",
        ),
        "other-issuer": (
            "KeyDB knows their PatientID, but by another issuer",
            "Where they are of that patient, load the patient with this issuer or list it in"
            " ctp_issuers, then release (docs/keydb.md).",
        ),
        "known-patient": (
            "their patients were loaded or the rules changed after they came",
            "Release them: run playbooks/release_quarantine.yml.",
        ),
        "burned-in-annotation": (
            "they declare text, (0028,0301), or a face, (0028,0302), in their pixels, so that no"
            " release gets them further",
            _LEAVE_OUT,
        ),
        "sop-class-not-accepted": (
            "nothing can de-identify their SOP class, (0008,0016), so that no release gets them"
            " further",
            _LEAVE_OUT,
        ),
        "refused-by-profile": (
            "CTP's script refuses an element of them, so that no release gets them further",
            "playbooks/quarantine.yml says which. Correct it at the source and send them again,"
            " or leave them out; then purge (docs/quarantine.md).",
        ),
        "pixels-not-declared": (
            "they may show a name in their pixels, and their device is not declared",
            "See which devices wait (playbooks/quarantine.yml), look at one object of each, and "
            "declare in ctp_pixel_rules what shows nothing of a patient, or where "
            "(docs/quarantine.md).",
        ),
        "pixels-not-blanked": (
            "regions of them are to be blanked, and they cannot be decompressed, or are in colours"
            " in which nothing can be",
            "Have the device or the PACS send them uncompressed, and purge these "
            "(docs/quarantine.md).",
        ),
        "ended-ctp": (
            "CTP ended at each of them three times",
            "See CTP's log for why; where it is memory raise ctp_heap_mib and ctp_memory_mib, run"
            " site.yml, and then playbooks/release_quarantine.yml.",
        ),
        "refused-by-orthanc": (
            "Orthanc refused them",
            "Fix the findings about Orthanc, then run playbooks/release_quarantine.yml.",
        ),
    }
    for held in page.get("held_back") or []:
        result.find(
            QUARANTINE,
            host,
            f"CTP on {host} holds an object back: {held}.",
            held_back_remedy(held),
        )
    for reason, count in sorted(reasons.items()):
        why, remedy = words.get(reason, (f"reason {reason}", "See playbooks/quarantine.yml."))
        result.find(
            QUARANTINE,
            host,
            f"CTP on {host} holds {count} objects back in quarantine: {why}.",
            remedy,
        )


def _way(
    result: Diagnosis, seen: Mapping[str, Any], everybody: Sequence[Mapping[str, Any]]
) -> None:
    if not _has(seen, "ctp"):
        return
    host, what = str(seen["host"]), "CTP can reach Orthanc: name, port, AE title"
    found = seen.get("echo")
    why = _why_not(seen, "ctp")
    if not why and (found is None or not found["asked"]):
        why = _unanswered(seen, "echo")
    away = [each for each in everybody if _has(each, "orthanc") and _runs(each, "orthanc") is False]
    if not why and away and not (found or {}).get("ok"):
        why = "because Orthanc does not run"
    if why or found is None:
        result.step(host, what, UNKNOWN, why)
        return
    target = seen.get("target") or {}
    place = f"{target.get('hostname', 'orthanc')}:{target.get('port', 4242)}"
    if found["ok"]:
        result.step(host, what, OK, place)
        return
    texts = {
        "name": (
            f"CTP on {host} does not find Orthanc: its name {target.get('hostname')} has no "
            "address in CTP's network.",
            "The service must be called orthanc; with two machines see ctp_orthanc_hostname.",
        ),
        "port": (
            f"CTP on {host} finds the machine of Orthanc, but nobody answers at {place}.",
            "See ctp_orthanc_port, orthanc_dicom_port and whether Orthanc's DICOM server runs"
            " (its log).",
        ),
        "silent": (
            f"CTP on {host} gets no answer from Orthanc at {place}.",
            "Between two machines, see the network and orthanc_dicom_sources.",
        ),
        "called": (
            f"Orthanc refuses CTP: CTP calls it {target.get('called')}, and that is not its AE"
            " title.",
            "Make ctp_orthanc_aet and orthanc_aet the same and run site.yml.",
        ),
        "calling": (
            f"Orthanc refuses CTP: it does not know the AE title {target.get('calling')} under "
            "which CTP comes, or not from this address.",
            "See orthanc_ctp_aet, ctp_aet and orthanc_ctp_addresses; site.yml sets Orthanc's"
            " DicomModalities.",
        ),
    }
    text, remedy = texts.get(
        found["why"],
        (f"CTP on {host} cannot reach Orthanc at {place}.", "See Orthanc's log and CTP's."),
    )
    result.step(host, what, FAILED, found["why"])
    result.find(WAY, host, text, remedy)


def _orthanc(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not _has(seen, "orthanc"):
        return
    host, what = str(seen["host"]), "Orthanc answers, and knows its user"
    found = seen.get("orthanc")
    why = _why_not(seen, "orthanc")
    if not why and found is None:
        why = _unanswered(seen, "orthanc")
    if why or found is None:
        result.step(host, what, UNKNOWN, why)
    elif not found["answers"]:
        result.step(host, what, FAILED, "no answer on the machine itself")
        result.find(
            ALONE,
            host,
            f"Orthanc runs on {host}, but its REST API does not answer on the machine's own port.",
            "See Orthanc's log and whether orthanc_web_port is published: docker service ls.",
        )
    elif not found["login"]:
        result.step(host, what, FAILED, "login refused")
        result.find(
            SECRET,
            host,
            f"Orthanc on {host} refuses the first user of orthanc_registered_users: it has another"
            " password, or does not know the user.",
            "If the inventory is right, deploy it: run site.yml.",
        )
    else:
        counts = f"{found['studies']} studies, {found['instances']} instances"
        result.step(host, what, OK, counts)


def _phantom(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    if not _has(seen, "orthanc"):
        return
    host, what = str(seen["host"]), "Orthanc alone takes a phantom, finds it, and it is removed"
    rows = seen.get("phantom")
    if not rows:
        why = _why_not(seen, "orthanc") or (
            "because Orthanc could not remove it again"
            if not (seen.get("orthanc") or {}).get("login")
            else "because it was not asked for, or the sender's machine could not be used"
        )
        result.step(host, what, UNKNOWN, why)
        return
    wrong = [row for row in rows if not row["passed"]]
    if not wrong:
        result.step(host, what, OK)
        return
    result.step(host, what, FAILED, str(wrong[0]["check"]))
    # Which of the two is at fault is what the AusCAT guide asks here.
    result.find(
        ALONE,
        host,
        f"Orthanc on {host} does not take a phantom that is sent to it without CTP, so the fault "
        "is with Orthanc and not with CTP.",
        "See Orthanc's log, DicomModalities and DicomCheckCalledAet (orthanc_ctp_aet, orthanc_aet):"
        " playbooks/test_orthanc.yml shows more.",
    )


def _reach(result: Diagnosis, seen: Mapping[str, Any], _all: Any) -> None:
    host = str(seen["host"])
    own = {canonical(str(each)) for each in seen.get("own_addresses") or []}
    for row in seen.get("reach") or []:
        what = f"Port {row['port']} ({row['purpose']}) is open from here"
        state, came_from = row["state"], canonical(str(row["from"]))
        is_own = bool(row.get("own")) or (bool(came_from) and came_from in own)
        meant = True if is_own else row["meant"]
        if state == NAMELESS:
            result.step(host, what, UNKNOWN, f"because {state}")
            result.find(
                WAY,
                host,
                f"The name of {host} has no address on this machine, so none of its ports could"
                " be tried from here.",
                f"Set auscat_address of {host} to its address, or have DNS know the name.",
            )
        elif row["service"] in _SERVICES and _why_not(seen, row["service"]):
            result.step(host, what, UNKNOWN, _why_not(seen, row["service"]))
        elif state == "open":
            _open(result, seen, row, what, meant)
        elif meant:
            result.step(host, what, FAILED, state)
            _closed(result, seen, row, is_own)
        elif meant is None:
            why = (
                "a name among its sources has no address here"
                if came_from
                else "this machine's address on the way is not known"
            )
            result.step(host, what, UNKNOWN, f"{state}; whether it should be open: {why}")
        elif state in ("refused", "no answer"):
            # Closed on purpose is not a fault.
            result.step(host, what, OK, "closed to this machine, as declared")
        else:
            result.step(host, what, UNKNOWN, f"because there is {state} from here")


def _open(
    result: Diagnosis,
    seen: Mapping[str, Any],
    row: Mapping[str, Any],
    what: str,
    meant: bool | None,
) -> None:
    host = str(seen["host"])
    if meant is None:
        result.step(host, what, OK, "open; whether it should be cannot be told")
        return
    result.step(host, what, OK if meant else FAILED, "open")
    # Without any limits it is open to everybody, which the step on the firewall tells.
    if not meant and (seen.get("firewall") or {}).get("loaded"):
        result.find(
            FIREWALL,
            host,
            f"Port {row['port']} of {host} ({row['purpose']}) is open to this machine"
            f" ({row['from']}), which is not among its declared sources.",
            "Load the limits of the inventory: ansible-playbook site.yml --tags firewall.",
        )


def _closed(
    result: Diagnosis, seen: Mapping[str, Any], row: Mapping[str, Any], is_own: bool
) -> None:
    """Say what keeps a port closed that should be open, where no rule that was found does."""
    host, firewall = str(seen["host"]), seen.get("firewall")
    if any(
        block["port"] == row["port"]
        and canonical(str(block["address"])) == canonical(str(row["from"]))
        for block in (firewall or {}).get("blocks") or []
    ):
        return
    closed = f"Port {row['port']} of {host} ({row['purpose']}) cannot be reached"
    if is_own:
        result.find(
            SERVICE,
            host,
            f"{closed} from {host} itself: {row['state']}.",
            "See whether it is published: docker service ls. If it is, restart docker.",
        )
        return
    elsewhere = (
        f"ask the network team to let {row['from']} reach {host} on port {row['port']}/tcp"
        " (playbooks/port_table.yml prints the whole list)."
    )
    if firewall is None:
        result.find(
            FIREWALL,
            host,
            f"{closed} from here ({row['from']}): {row['state']}. The rules on {host} could not be"
            " looked at.",
            f"See nft list ruleset there. If nothing in it drops this, {elsewhere}",
        )
        return
    result.find(
        FIREWALL,
        host,
        f"{closed} from here ({row['from']}): {row['state']}. No rule on {host} is to blame.",
        f"Something between the two machines blocks it: {elsewhere}",
    )


# What of the observations may leave the hospital as text; all else of them is numbers.
_TEXTS = frozenset(
    [
        "host",
        "engine",
        "service",
        "path",
        "health",
        "error",
        "mount",
        "source",
        "address",
        "who",
        "variable",
        "where",
        "rule",
        "kind",
        "id",
        "version",
        "codename",
        "peer",
        "why",
        "last",
        "hostname",
        "called",
        "calling",
        "secret",
        "purpose",
        "from",
        "state",
        "check",
    ]
)


def shareable(value: Any, key: str = "") -> Any:
    """Return an observation with the texts that are known to be safe, and all numbers."""
    if isinstance(value, Mapping):
        return {str(name): shareable(each, str(name)) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [shareable(each, key) for each in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value) if key in _TEXTS else "(withheld)"


def bundle(
    observations: Sequence[Mapping[str, Any]], logs: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """Return the files for support: name to text.

    Args:
        observations: as `diagnose` takes them.
        logs: host to service to what `safe_log.passed_on` gave.
    """
    files = {
        "report.txt": report(observations) + "\n",
        "observations.json": json.dumps([shareable(each) for each in observations], indent=1),
    }
    for host, of_host in logs.items():
        for service, text in of_host.items():
            files[f"{host}-{service}.log"] = text
    return files


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:.0f} hours"
    return f"{seconds / 86400:.0f} days"


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d}"


def report(observations: Iterable[Mapping[str, Any]]) -> str:
    """Return the text for the operator: the steps as a table, then the diagnosis."""
    found = diagnose(observations)
    lines = table(
        ["", "where", "step", "detail"],
        [(step.state, step.where, step.what, step.detail) for step in found.steps],
    )
    lines.append("")
    if not found.findings:
        unknown = sum(step.state == UNKNOWN for step in found.steps)
        lines.append(
            "Diagnosis: nothing wrong found. What was checked is listed above"
            + (f"; {unknown} steps could not be checked." if unknown else ".")
        )
        lines.append(
            "If a study is missing nevertheless, check the sender: what it sent, to which "
            "address, port and AE title, and what it was answered."
        )
    else:
        lines.append("Diagnosis, what to fix first at the top:")
        for number, finding in enumerate(found.findings, start=1):
            lines += [f"{number}. {finding.text}", f"   -> {finding.remedy}"]
    return "\n".join(lines)
