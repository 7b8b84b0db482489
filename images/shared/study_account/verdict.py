"""Whether a series and a study are complete, and if not: what is missing, why, and what to do.

Pure: rows of the ledger go in, words come out. Nothing of them identifies a patient.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .ledger import BROKEN, DELETED, LEFT, WAITING, SeriesRow, StudyRow

COMPLETE, ARRIVING, BROKEN_OFF, HELD_BACK = "complete", "arriving", "broken off", "held back"
GONE, IN_TRANSIT, AWAITED, REMOVED = "not found", "waiting", "announced", "deleted"
_ORDER = (ARRIVING, BROKEN_OFF, HELD_BACK, GONE, IN_TRANSIT, AWAITED, REMOVED, COMPLETE)
"""What is said of a study: the first of these that one of its series is."""
PATIENCE_SECONDS = 120.0
"""What has waited longer, while nothing waits anywhere, is not on its way."""

SEND_AGAIN = "Have the sender send the series again."
_NEVER = (
    "None by a release: CTP's script lets none such leave. Purge them, so that the study is settled"
    " (docs/quarantine.md)."
)
_REMEDIES = {
    "unknown-patient": "Load the patient (playbooks/load_keys.yml), then release the quarantine"
    " (playbooks/release_quarantine.yml).",
    "known-patient": "Release the quarantine (playbooks/release_quarantine.yml).",
    "other-issuer": "See which issuer is right (docs/ctp.md), then release the quarantine.",
    "pixels-not-declared": "Look at its pixels and declare the device (ctp_pixel_rules,"
    " docs/quarantine.md), then release the quarantine.",
    "pixels-not-blanked": "Have the device send them uncompressed (docs/quarantine.md), then purge"
    " those that wait.",
    "refused-by-orthanc": "See why Orthanc refused them (docs/quarantine.md), then release.",
    "burned-in-annotation": _NEVER,
    "sop-class-not-accepted": _NEVER,
    "refused-by-profile": "None by a release: see which element CTP's script refuses"
    " (playbooks/quarantine.yml), correct it where it comes from and send it again, or leave it"
    " out; then purge them.",
}
_LOOK = "See why (playbooks/quarantine.yml) and what cures it (docs/quarantine.md)."


@dataclass(frozen=True)
class Now:
    """What is to be known beside the ledger."""

    at: float
    """Seconds since 1970."""
    quiet_seconds: float
    """A series of which the newest object is younger is still arriving."""
    arriving: Collection[tuple[str, str]] = frozenset()
    """Study and series of which an association that is open has brought something."""
    idle: bool = False
    """Whether nothing waits in any queue."""


@dataclass(frozen=True)
class Missing:
    """One thing that is missing."""

    what: str
    why: str
    todo: str


@dataclass
class SeriesVerdict:
    """One series."""

    uid: str
    state: str
    received: int
    left: int
    waiting: int
    deleted: int
    broken: int
    gone: int
    held: Mapping[str, int]
    missing: list[Missing] = field(default_factory=list)


def series(study: str, row: SeriesRow, now: Now) -> SeriesVerdict:
    """Judge one series."""
    waiting, broken = row.count(WAITING), row.count(BROKEN)
    is_open = (study, row.uid) in now.arriving
    # A time ahead of now is of a clock that was set back since: nobody knows how long ago it was.
    quiet = abs(now.at - row.newest) >= now.quiet_seconds
    held, gone = dict(row.held), 0
    if waiting and now.idle and abs(now.at - row.waiting_since) > PATIENCE_SECONDS:
        # What is in quarantine is what came, although its time says that it is older.
        for why, number in row.again.items():
            held[why] = held.get(why, 0) + number
        waiting, gone = 0, waiting - sum(row.again.values())
    received = row.total - broken
    found = SeriesVerdict(
        uid=row.uid,
        state=COMPLETE,
        received=received,
        left=row.count(LEFT),
        waiting=waiting,
        deleted=row.count(DELETED),
        broken=broken,
        gone=gone,
        held=dict(sorted(held.items())),
    )
    states = []
    if broken:
        states.append(BROKEN_OFF)
        why = "the transfer broke off, or the sender was told that they were not taken"
        found.missing.append(Missing(_objects(broken), why, SEND_AGAIN))
    if row.unfinished:
        states.append(BROKEN_OFF)
        found.missing.append(Missing("perhaps more objects", row.unfinished, SEND_AGAIN))
    if held:
        states.append(HELD_BACK)
        found.missing += [
            Missing(_objects(n), f"in quarantine: {why}", _REMEDIES.get(why, _LOOK))
            for why, n in found.held.items()
        ]
    if gone:
        states.append(GONE)
        why = "acknowledged, but neither in Orthanc nor in quarantine, and nothing waits"
        found.missing.append(Missing(_objects(gone), why, SEND_AGAIN))
    if waiting:
        states.append(IN_TRANSIT)
        why = f"on their way since {stamp(row.waiting_since)}"
        todo = "Wait; if it lasts: playbooks/status.yml says what stands still."
        found.missing.append(Missing(_objects(waiting), why, todo))
    if row.told > received:
        states.append(AWAITED)
        why = f"the sender says that the series has {row.told}"
        found.missing.append(Missing(_objects(row.told - received), why, SEND_AGAIN))
    if found.deleted:
        states.append(REMOVED)
        why = "removed from quarantine for good"
        found.missing.append(
            Missing(_objects(found.deleted), why, "If needed: " + _lower(SEND_AGAIN))
        )
    if is_open or (not quiet and not set(states) & {BROKEN_OFF, HELD_BACK, GONE}):
        states.append(ARRIVING)
    found.state = next((each for each in _ORDER if each in states), COMPLETE)
    return found


@dataclass
class StudyVerdict:
    """One study."""

    uid: str
    state: str
    names: list[str]
    identities: int
    first: float
    newest: float
    series: list[SeriesVerdict]
    missing: list[Missing] = field(default_factory=list)
    """What no series alone is missing."""

    @property
    def complete(self) -> bool:
        """Whether all that its sender has is in Orthanc, as far as can be known."""
        return self.state == COMPLETE

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be expected, since it is complete or somebody decided so."""
        return self.state in (COMPLETE, REMOVED)

    def shown(self) -> dict[str, Any]:
        """As the programs tell it: JSON."""
        return {
            "study": self.uid,
            "pseudonyms": self.names,
            "state": self.state,
            "complete": self.complete,
            "identifiers": self.identities,
            "first": iso(self.first),
            "newest": iso(self.newest) if self.newest else None,
            **self.sums(),
            "missing": [vars(each) for each in self.missing],
            "series": [
                {**vars(each), "missing": [vars(one) for one in each.missing]}
                for each in self.series
            ],
        }

    def sums(self) -> dict[str, Any]:
        """Its objects, counted."""
        held: dict[str, int] = {}
        for each in self.series:
            for why, n in each.held.items():
                held[why] = held.get(why, 0) + n
        names = ("received", "left", "waiting", "deleted", "broken", "gone")
        sums = {name: sum(getattr(each, name) for each in self.series) for name in names}
        return {**sums, "held": dict(sorted(held.items()))}


def study(row: StudyRow, now: Now) -> StudyVerdict:
    """Judge one study."""
    # What broke off before its series was known leaves one that is none, when it is sent again.
    rows = [each for each in row.series if each.uid or each.total]
    judged = [series(row.uid, each, now) for each in rows]
    states = {each.state for each in judged}
    missing = []
    certainty = "certainty whose it is"
    if row.identities > 1:
        why = "the study came under several identifiers (PatientID with its issuer)"
        todo = "Look at the source: two people in one study, or a corrected identifier."
        missing.append(Missing(certainty, why, todo))
    elif len(row.names) > 1:
        why = "the study stands under several pseudonyms, and was not seen to come under several"
        why += " identifiers"
        todo = "See in KeyDB whether the patient got another pseudonym meanwhile, and look at the"
        missing.append(Missing(certainty, why, todo + " source."))
    return StudyVerdict(
        uid=row.uid,
        state=next((each for each in _ORDER if each in states), COMPLETE),
        names=sorted(row.names),
        identities=row.identities,
        first=row.first,
        newest=max((each.newest for each in row.series), default=0.0),
        series=judged,
        missing=missing,
    )


def _objects(number: int) -> str:
    return f"{number} object{'s' if number != 1 else ''}"


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def stamp(at: float) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def iso(at: float) -> str:
    """A time for programs."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")
