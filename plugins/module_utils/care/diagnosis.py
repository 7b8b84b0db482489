"""What a diagnosis is made of, and what its steps ask of what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

OK, FAILED, UNKNOWN = "ok", "failed", "could not be checked"
MIB, GIB = 2**20, 2**30

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

SERVICES = {
    "ctp": "CTP",
    "ctp_export": "The way from CTP to Orthanc",
    "ctp_gate": "The gate in front of CTP",
    "front": "The web server in front of the pages",
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


def unanswered(seen: Mapping[str, Any], name: str) -> str:
    """Say why a part of the observation is missing."""
    if name in (seen.get("unasked") or []):
        return "because the other machine's name has no address here"
    kind = (seen.get("unanswered") or {}).get(name, "")
    return f"because looking failed ({kind})" if kind else "because nothing is known of it"


def runs(seen: Mapping[str, Any], service: str) -> bool | None:
    """Tell whether a service runs; None where it is not known."""
    if not seen.get("engine") or seen.get("swarm_locked"):
        return False
    rows = seen.get("services")
    if rows is None:
        return None
    row = rows.get(service)
    return bool(row and row["deployed"] and row.get("running"))


def has(seen: Mapping[str, Any], service: str) -> bool:
    """Tell whether the inventory places a service on this machine."""
    return service in (seen.get("here") or [])


def why_not(seen: Mapping[str, Any], service: str) -> str:
    """Why a service cannot be asked; empty where it can."""
    if not seen.get("engine"):
        return "because the engine does not run"
    if seen.get("swarm_locked"):
        return "because the Swarm is locked"
    # Their pages are reached through it alone.
    if service in ("orthanc", "ctp") and "front" in (seen.get("services") or {}):
        why = why_not(seen, "front")
        if why:
            return why
    running = runs(seen, service)
    if running is None:
        return f"because it is not known whether {SERVICES[service]} runs"
    return "" if running else f"because {SERVICES[service]} does not run"


def page_of(result: Diagnosis, seen: Mapping[str, Any], what: str) -> Mapping[str, Any] | None:
    """Return what CTP's page says; where it says nothing, the step is added with the reason."""
    host, page = str(seen["host"]), seen.get("ctp")
    why = why_not(seen, "ctp")
    if not why and page is None:
        why = unanswered(seen, "ctp")
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


def figure(number: Any, what: str) -> str:
    """Return a figure in words; one that is not known is not made up."""
    return f"{number} {what}" if number is not None else f"{what}: not known"


def times(count: int) -> str:
    """Return how often something happened, in words."""
    return "once" if count == 1 else f"{count} times"


def duration(seconds: float) -> str:
    """Return a number of seconds in words."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:.0f} hours"
    return f"{seconds / 86400:.0f} days"


def date_of(seconds: float) -> str:
    """Return the day of a time in seconds since 1970, in UTC."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d}"
