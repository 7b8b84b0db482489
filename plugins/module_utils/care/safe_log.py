"""Which lines of the services' logs may leave the hospital: those whose form is known to be safe.

Nothing is searched for and replaced. A line is passed on only where it has a form of this list in
full, and each part of it that varies has a type that cannot hold an identifier: a number, a time,
an address of a machine, one of a few words. Of every other line nothing is passed on but that there
was one, and where the program itself writes them, its level and its place in the source code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_TYPES = {
    "n": r"\d{1,9}",
    "d": r"\d{1,9}(?:\.\d{1,9})?",
    "ip": r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}",
    # Names that the inventory gives to machines; matched against the site's own only.
    "host": r"[a-z0-9][a-z0-9.-]{0,62}",
    "error": r"(?:[A-Z][A-Za-z]{0,40}(?:Error|Exception|Interrupt)|timeout|gaierror|herror)",
    "state": r"[0-9A-Z]{5}",
    "role": r"(?:ctp_key_db_select|postgres)",
    "reasons": r"(?:none|\{(?:'(?:ambiguous|prefix|date_shift|empty)': \d+(?:, )?)+\})",
    "recovered": r"recovered: (?:[0-9]+ (?:imported|exported|copies|incomplete|doubtful)(?:, )?)+",
    "version": r"[0-9][0-9.]{0,20}",
}

_SUPERVISOR = """
Stopping
Stopped after {d} s
CTP goes on
CTP is frozen: it would lose what it has, were the disk full
CTP failed to write a file; what it acknowledges now does not reach a sender
CTP has ended by itself (status {n}); the next start recovers
CTP has ended by itself (status -{n}); the next start recovers
CTP did not end within {n} s and is killed; the next start recovers
CTP was not ready within {n} s
CTP is killed where it is: going on would lose what it cannot write
CTP does not listen on port {n}
There is space again: reception is open
Reception is open on port {n}, for {n} pipelines; {recovered}
Reception is closed: only {n} MiB free in the data directory, minimum {n}
KeyDB answers again
KeyDB has not answered yet; the last lookup table is used
KeyDB does not answer ({error}); the last lookup table stays
KeyDB does not answer ({error} {state}); the last lookup table stays
The lookup table has {n} patients; left out: {reasons}
The lookup table cannot be written ({error})
Orthanc cannot be reached at {host}:{n} ({error}); what is for it stays queued
Orthanc can be reached again at {host}:{n}
Queued {n} objects for Orthanc again
Released {n} objects from quarantine
{n} objects were deleted from quarantine by admin
A change on CTP's own page was confirmed by admin
Refused an association from {ip}: called AE title not recognized
Refused an association from {ip}: calling AE title not recognized
Refused an association from {ip}: too many associations
Refused an association from {ip}: starting
Refused an association from {ip}: stopping
Refused an association from {ip}: this program stops
Refused an association from {ip}: CTP has ended
Refused an association from {ip}: a file that CTP reads was changed
Refused an association from {ip}: the data file system reports errors
Refused an association from {ip}: only {n} MiB free in the data directory, minimum {n}
Aborted {n} associations: too little space
Aborted {n} associations: this program stops
Aborted {n} associations: CTP has ended
Aborted an association that was idle for {n} s
"""
# In front of CTP, with words of its own and some of those above (images/ctp_rsna, standalone).
_GATE = (
    _SUPERVISOR
    + """
CTP is away: senders wait for it, {n} s at most
CTP is back after {d} s
CTP has been away for {n} s: senders are turned away
There is space again: senders may come in
DICOM on port {n}, CTP at {host}:{n}, closed below {n} MiB
Below the floor of free space (low): senders are turned away
Below the floor of free space (critical): senders are turned away
Refused an association from {ip}: CTP is away
Refused an association from {ip}: CTP is away, and waited for
Refused an association from {ip}: CTP does not listen
Refused an association from {ip}: the disk is almost full
Refused an association from {ip}: the disk is full
Aborted {n} associations: the disk is almost full
Aborted {n} associations: the disk is full
Aborted an association: CTP is away for too long
Aborted an association: CTP refuses what it accepted before
Aborted an association: CTP accepts other transfer syntaxes than it did
"""
)
_STANDIN = """
Stopping
Taken up: {n} queued, {n} in quarantine
Stopped: {n} queued, {n} in quarantine
The lookup table was read: {n} entries
KeyDB is available again
Orthanc is available again
deleteFile on the page: {n} objects
queueFile on the page: {n} objects
queueAll on the page: {n} objects
"""
_ONE_WAY = """
orthanc_archive:{n} is reached: port {n} is open
orthanc_archive:{n} cannot be reached ({error}): port {n} is closed
More than {n} connections at once: one was cut off
"""
_ORTHANC = """
Orthanc has started
Orthanc is stopping
Orthanc has stopped
Orthanc version: {version}
DICOM server listening with AET ORTHANC on port: {n}
HTTP server listening on port: {n} (HTTPS encryption is disabled, remote access is allowed)
HTTP compression is disabled
Disk compression is disabled
No limit on the number of stored patients
No limit on the size of the storage area
The jobs engine has started with {n} threads
Remote LUA script execution is disabled
"""
_POSTGRESQL = """
starting PostgreSQL {version} .*
listening on IPv4 address "0.0.0.0", port {n}
listening on IPv6 address "::", port {n}
database system is ready to accept connections
database system is shut down
database system was interrupted; .*
received fast shutdown request
received smart shutdown request
aborting any active transactions
shutting down
password authentication failed for user "{role}"
role "{role}" is not permitted to log in
too many connections for role "{role}"
sorry, too many clients already
the database system is starting up
the database system is shutting down
could not write to file .*: No space left on device
could not extend file .*: No space left on device
"""
_FRONT = """
wrong login at orthanc from {ip}
wrong login at ctp from {ip}
"""


def _compiled(forms: str) -> list[tuple[re.Pattern[str], str]]:
    found = []
    for form in forms.strip().splitlines():
        pattern, shown = "", form.replace(".*", "…")
        for part in re.split(r"(\{\w+\}|\.\*)", form):
            if part == ".*":
                pattern += ".*"  # not shown
            elif part.startswith("{"):
                pattern += f"({_TYPES[part[1:-1]]})"
            else:
                pattern += re.escape(part)
        found.append((re.compile(pattern), re.sub(r"\{\w+\}", "{}", shown)))
    return found


_FORMS = {
    "supervisor": _compiled(_SUPERVISOR),
    "gate": _compiled(_GATE),
    "standin": _compiled(_STANDIN),
    "one_way": _compiled(_ONE_WAY),
    "front": _compiled(_FRONT),
    "orthanc": _compiled(_ORTHANC),
    "postgresql": _compiled(_POSTGRESQL),
}
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+Z (.*)", re.DOTALL)
_SOURCES = [
    ("supervisor", re.compile(r"supervisor: (DEBUG|INFO|WARNING|ERROR|CRITICAL) *(.*)")),
    ("one_way", re.compile(r"one_way: (DEBUG|INFO|WARNING|ERROR|CRITICAL) *(.*)")),
    ("gate", re.compile(r"gate: (DEBUG|INFO|WARNING|ERROR|CRITICAL) *(.*)")),
    ("front", re.compile(r"front: (WARNING) *(.*)")),
    (
        "standin",
        re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]{8,15}Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) +(.*)"),
    ),
    (
        "orthanc",
        re.compile(r"([EWIT])\d{4} [0-9:.]{15} +\S+ (?:\S+:/)?[A-Za-z]+\.(?:cpp|h):\d{1,5}\] (.*)"),
    ),
    (
        "postgresql",
        re.compile(
            r"[0-9-]{10} [0-9:.]{8,15} \w{1,5} \[\d+\] .*?"
            r"\b(LOG|FATAL|PANIC|ERROR|WARNING|NOTICE):  (.*)"
        ),
    ),
]
_WITHHELD = "(text withheld)"


def line(text: str) -> str | None:
    """Return what may be shown of a line without its time, or None for nothing at all."""
    for source, pattern in _SOURCES:
        found = pattern.fullmatch(text)
        if not found:
            continue
        level, message = found[1], found[2]
        for form, shown in _FORMS[source]:
            values = form.fullmatch(message)
            if values:
                return f"{source} {level} {shown.format(*values.groups())}"
        return f"{source} {level} {_WITHHELD}"
    return None


def passed_on(lines: Iterable[str]) -> str:
    """Return what may leave the hospital of a log as ``docker service logs --timestamps`` has it.

    Lines of which nothing is passed on are counted where they stood.
    """
    shown: list[str] = []
    hidden = 0

    def count() -> None:
        nonlocal hidden
        if hidden:
            shown.append(f"  ({hidden} lines withheld)")
        hidden = 0

    for each in lines:
        stamped = _STAMP.fullmatch(each.rstrip("\r\n"))
        kept = line(stamped[2]) if stamped else None
        if stamped is None or kept is None:
            hidden += 1
            continue
        count()
        shown.append(f"{stamped[1]}Z {kept}")
    count()
    return "\n".join(shown) + "\n"


_REFUSED = re.compile(
    rf"(supervisor|gate): WARNING *Refused an association from ({_TYPES['ip']}): (.*)"
)


def refusals(lines: Iterable[str]) -> list[dict[str, object]]:
    """Return who was refused by CTP's gate and why: peer, why, count and when last (UTC)."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in lines:
        stamped = _STAMP.fullmatch(each.rstrip("\r\n"))
        refused = _REFUSED.fullmatch(stamped[2]) if stamped else None
        if stamped and refused and line(stamped[2]) != f"{refused[1]} WARNING {_WITHHELD}":
            found.setdefault((refused[2], refused[3]), []).append(stamped[1])
    return [
        {"peer": peer, "why": why, "count": len(times), "last": max(times)}
        for (peer, why), times in sorted(found.items())
    ]
