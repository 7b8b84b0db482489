"""Steps of the diagnosis that look at a machine: disks, clock, certificates, services, firewall."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.care.diagnosis import (
    CERTIFICATE,
    CLOCK,
    DISK,
    ENGINE,
    FAILED,
    FIREWALL,
    GIB,
    MACHINE,
    MIB,
    OK,
    SECRET,
    SERVICE,
    SERVICES,
    UNKNOWN,
    WAY,
    Diagnosis,
    date_of,
    duration,
    times,
    unanswered,
)

CLOCK_SECONDS = 60
"""A run's own way to the machine takes some seconds, a busy machine more."""
FULL_MIB = 64
LEAST_INODES = 2000
RESTARTS = 3
RECENT_MINUTES = 15
"""How far back a container that ended counts."""
SOON_DAYS = 14


#: Kinds of `failure_kind`: what happened, and what to do.
FAILURES = {
    "no Python": (
        "finds no Python there",
        "Install it there: apt-get install python3.",
    ),
    "no root": (
        "may not become root there",
        "Give Ansible the password (-K), or let its user use sudo.",
    ),
    "disk full": (
        "finds no space there",
        "Make room on / and /tmp of the machine.",
    ),
    "undefined variable": (
        "could not be told what to look for: a variable of the inventory is missing",
        "Run site.yml --check: it names each variable that is missing.",
    ),
}
NAMELESS_REMEDY = (
    "Run this again then. Until it is known here, site.yml refuses the inventory, and what CTP and"
    " Orthanc know of each other cannot be compared."
)


def failure_kind(result: Mapping[str, Any]) -> str:
    """Return what kept a module from looking, in words that hold nothing of the machine.

    Args:
        result: what Ansible registered of the task.
    """
    if "seen" in result:
        return ""
    said = " ".join(str(result.get(key) or "") for key in ("msg", "module_stderr", "exception"))
    return next((kind for pattern, kind in KINDS if re.search(pattern, said)), "")


KINDS = (
    (r"No space left on device|Disk quota exceeded", "disk full"),
    (r"(?i)sudo: |(sudo|become) password|a password is required", "no root"),
    (r"(?i)interpreter.* (was )?not found|python3?: (command )?not found", "no Python"),
    (r"is undefined", "undefined variable"),
)


def check_machine(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    """Add what is to be said of one machine, before any study's way is looked at."""
    host = str(seen["host"])
    what = "The machine can be reached, and its engine runs"
    if not seen.get("reached") and seen.get("answers"):
        kind = str(seen.get("failure") or "")
        result.step(host, what, FAILED, "looking failed" + (f" ({kind})" if kind else ""))
        text, remedy = FAILURES.get(
            kind,
            (
                f"ended with an error{f' ({kind})' if kind else ''}",
                "See the error, on a terminal that nobody else reads: run this again with -e"
                " auscat_secure_logging=false -vvv.",
            ),
        )
        result.find(
            MACHINE,
            host,
            f"The machine {host} can be reached, but what looks at it {text}; nothing on it could"
            " be checked.",
            remedy,
        )
        return
    if not seen.get("reached"):
        result.step(host, what, FAILED, "no login")
        result.find(
            MACHINE,
            host,
            f"The machine {host} cannot be reached from here; nothing on it could be checked.",
            "Check whether it runs and you can log in: ansible -m ping. Then run this again.",
        )
        return
    for other, why in (seen.get("nameless") or {}).items():
        result.step(host, f"The address of {other} is known here", FAILED, "no address")
        result.find(WAY, host, why, NAMELESS_REMEDY)
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
    if runs and seen.get("swarm_locked"):
        result.step(host, "The services run", FAILED, "the Swarm is locked")
        result.find(
            ENGINE,
            host,
            f"The Swarm on {host} is locked, so none of the services runs: its engine was started,"
            " as after a power cut, and with autolock on it waits for the unlock key.",
            "Run site.yml, which unlocks it with the key of the vault. Where the vault has none,"
            " docker swarm unlock there asks for it (docs/secrets.md).",
        )
    elif runs:
        _services(result, seen)
        _secrets(result, seen)
    else:
        result.step(host, "The services run", UNKNOWN, "because the engine does not run")
    _firewall(result, seen)


def _disks(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    host, what = str(seen["host"]), "There is space on the disks"
    rows = seen.get("disks")
    if rows is None:
        result.step(host, what, UNKNOWN, unanswered(seen, "disks"))
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
            who = SERVICES.get(row["service"], row["service"])
            # A name of one word has data; "the gate in front of CTP" has its disk.
            whose = f"the {who[4:]}" if who.startswith("The ") else f"{who}'s data"
            effect = " CTP takes nothing until there is space." if row["service"] == "ctp" else ""
            result.find(
                DISK,
                host,
                f"The disk of {whose} on {host} is full: {row['path']} has {kind} left of"
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
        result.step(host, what, UNKNOWN, unanswered(seen, "clock"))
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
        f"The clock of {host} is {duration(abs(off))} {side} that of this machine.",
        "See which of the two is wrong (date), and let NTP keep both: timedatectl set-ntp true.",
    )


def _certificate(row: Mapping[str, Any]) -> str:
    return str(row["path"] or f"that of the service {row['name']}")


def _certificates(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    host, what = str(seen["host"]), "No certificate has expired"
    now = seen.get("time")
    # Those of services are looked at where the engine runs.
    parts: dict[str, Any] = {"certificates": None, "held_certificates": [], **seen}
    missing = [part for part in ("certificates", "held_certificates") if parts[part] is None]
    if missing or now is None:
        result.step(host, what, UNKNOWN, unanswered(seen, (missing or ["certificates"])[0]))
        return
    rows = [*parts["certificates"], *parts["held_certificates"]]
    known = [row for row in rows if row["not_after"] is not None]
    unread = [_certificate(row) for row in rows if row["not_after"] is None]
    late = [row for row in known if row["not_after"] <= now]
    soon = [row for row in known if now < row["not_after"] <= now + SOON_DAYS * 86400]
    for row in late:
        which, ended = row["path"] or f"of the service {row['name']}", date_of(row["not_after"])
        if "swarm-node" in row["path"]:
            remedy = (
                "The Swarm renews it by itself while its engine runs and the clock is right: set "
                "the clock, and restart docker."
            )
        elif row["path"]:
            remedy = (
                "Get a new one from whoever issued it, put it into auscat_ca_certificates, and run "
                "site.yml."
            )
        else:
            remedy = (
                "Run playbooks/renew_certificates.yml; with auscat_tls files, replace it in the "
                "inventory and run site.yml (docs/certificates.md)."
            )
        text = f"The certificate {which} on {host} expired on {ended}."
        result.find(CERTIFICATE, host, text, remedy)
    detail = f"{len(known)} looked at"
    if soon:
        detail += f"; {_certificate(soon[0])} expires on {date_of(soon[0]['not_after'])}"
    if unread:
        detail = f"because {', '.join(unread)} cannot be read; {detail}"
    result.step(host, what, FAILED if late else UNKNOWN if unread else OK, detail)


def _services(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    host, what = str(seen["host"]), "The services run"
    rows = seen.get("services")
    if rows is None:
        result.step(host, what, UNKNOWN, unanswered(seen, "services"))
        return
    wrong = []
    stack = seen.get("stack", "auscat")
    for name, row in rows.items():
        title = SERVICES.get(name, name)
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
            wrong.append(f"{name}: ended {times(ended)} in {RECENT_MINUTES} minutes")
            if not killed:
                result.find(
                    SERVICE,
                    host,
                    f"{title} on {host} ends again and again: {times(ended)} in the last"
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
                f"{title} on {host} was killed for memory {times(killed)} in the last"
                f" {RECENT_MINUTES} minutes{limit}.",
                "Declare the largest object that is sent (auscat_largest_object_mib) and run"
                " site.yml: the limit follows."
                if name == "orthanc"
                else f"See who sends so much: docker service logs {stack}_{name}."
                if name in ("ctp_gate", "ctp_export")
                else f"Raise {name}_memory_mib, and run site.yml.",
            )
    detail = "; ".join(wrong) or ", ".join(rows) or "none belongs here"
    result.step(host, what, FAILED if wrong else OK, detail)


def _lately(seen: Mapping[str, Any], row: Mapping[str, Any], what: str) -> int:
    """Return how often something happened to a service within RECENT_MINUTES."""
    since = float(seen["time"]) - RECENT_MINUTES * 60
    return sum(moment > since for moment in row.get(what) or [])


def _secrets(result: Diagnosis, seen: Mapping[str, Any]) -> None:
    host, what = str(seen["host"]), "The services have the secrets of the inventory"
    rows = seen.get("secrets")
    if rows is None:
        result.step(host, what, UNKNOWN, unanswered(seen, "secrets"))
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
        result.step(host, what, UNKNOWN, unanswered(seen, "firewall"))
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
