"""Takes what happens to objects, from many threads, and writes it once a second.

What passes an object on hashes what identifies it and notes it in a journal; SQLite is left to a
thread of its own. Nothing here ends with an error: where the ledger cannot be written, what
happened is kept for a while, and the account says what is wrong with it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctp_rules.names import Named

from . import uids, verdict
from .identity import Identity
from .journal import Journal
from .ledger import (
    Came,
    Ended,
    Event,
    InQuarantine,
    Ledger,
    Left,
    Removed,
    Removing,
    Renamed,
    StudyRow,
)

LOG = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
MOST_KEPT = 200_000
"""Events that wait for the ledger; beyond it they are lost, which is said."""
MOST_BYTES = 1024 * 1024 * 1024
OTHERS_SECONDS = 366 * 86400.0
"""So long an incomplete study stays of which nothing moves and nothing lies in quarantine."""
MOST_SHOWN = 50
MOST_ANSWERED = 500
_CARE_SECONDS = 60.0
_UNWRITTEN = "the ledger cannot be written"
_NOT_NOW = "the account cannot be read now"
_CUT_OFF = "its sender ended the association without a release right after an object of it"
_ENDED_HERE = "this node ended (a restart, a full disk) while its sender was connected"


@dataclass(frozen=True)
class Quarantined:
    """A file in quarantine. ``leaving``: its UIDs are already those that leave."""

    sop_instance_uid: str
    study: str
    series: str
    reason: str
    arrived: float
    leaving: bool = False
    pseudonym: str = ""


class Sender:
    """What one association of a sender brings. Used by its threads; events go to the account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._pending: dict[int, tuple[Identity, float, float]] = {}
        """By message: what came and when, by both clocks."""
        self._latest: tuple[str, str] | None = None
        self.places: set[tuple[str, str]] = set()
        """Study and series, as they came."""
        self.doubts: dict[tuple[str, str], str] = {}
        """Why there may be more of a series: another association that brought of it, at the same
        time as this one, was cut off. That this one ends in order says nothing of the other's."""
        self._lock = threading.Lock()

    def came(self, message_id: int, identity: Identity) -> None:
        """All of an object has come; its answer is awaited."""
        place = identity.study, identity.series
        with self._lock:
            self._pending[message_id] = identity, time.time(), time.monotonic()
            self._latest = place
            if place in self.places:
                return
        self._account.brings(self, place)

    def answered(self, message_id: int, status: int) -> None:
        """The sender was told what became of an object."""
        with self._lock:
            found = self._pending.pop(message_id, None)
        if found is not None:
            self._account.put((found[0], _when(*found[1:]), status != 0))

    def ended(self, partial: Identity | None, released: bool, here: bool = False) -> None:
        """The association is over.

        Args:
            partial: an object of which not all came.
            released: whether its sender released it in order (PS3.8 7.2).
            here: it was ended from this side.
        """
        with self._lock:
            pending, self._pending = list(self._pending.values()), {}
        for identity, at, run in pending:
            self._account.put((identity, _when(at, run), True))
        if partial is not None and partial.sop_instance_uid:
            self._account.put((partial, time.time(), True))
        broken = [identity for identity, _, _ in pending]
        if partial is not None:
            broken.append(partial)
        # Where an object broke off, that is said of the object, if its series is known.
        said = bool(broken) and all(each.study and each.series for each in broken)
        doubts = {}
        if self._latest is not None and not released and not said:
            doubts[self._latest] = _ENDED_HERE if here else _CUT_OFF
        self._account.over(self, doubts)


def _when(at: float, run: float) -> float:
    """When something was, by a clock that may have been set since: never later than it was."""
    return min(at, time.time() - (time.monotonic() - run))


class Account:
    """The account of one node."""

    def __init__(
        self,
        path: Path,
        leaving: uids.LeavingUids | None,
        key: bytes,
        pseudonym: Callable[[str, str], str],
        patients_pseudonyms: Callable[[str], Iterable[str]],
        idle: Callable[[], bool],
        quiet_seconds: float,
        keep_seconds: float,
        problem: str = "",
    ) -> None:
        """``leaving`` says what UIDs leave as; ``None``, with a ``problem``: there is no account.
        ``key``: of the node, for hashes of patients. ``pseudonym`` of a PatientID and its issuer,
        ``patients_pseudonyms`` of a PatientID with any. ``idle``: whether nothing waits in any
        queue. ``keep_seconds``: so long a complete study stays in it.
        """
        self._leaving = leaving
        self._key = key
        self._pseudonym = pseudonym
        self._patients_pseudonyms = patients_pseudonyms
        self._idle = idle
        self._quiet = quiet_seconds
        self._keep = keep_seconds
        self._problem = problem
        self._events: deque[Event] = deque()
        self._taken: list[Event] = []
        """Out of the queue, and not yet written."""
        self._journal = Journal(path)
        self._noting = threading.Lock()
        self._lost = 0
        self._lock = threading.Lock()
        self._open: set[Sender] = set()
        self._flushing = threading.Lock()
        self._same: tuple[tuple[Any, ...], tuple[str, str, bytes, bytes]] | None = None
        """Study, series, PatientID and issuer of the latest object, and what stands for them."""
        self._places: dict[tuple[str, str, str, bool], tuple[bytes, str, str]] = {}
        """By UIDs, as it lay in quarantine the last time: key, study and series."""
        self._shown: tuple[float, dict[str, Any]] | None = None
        self._ledger: Ledger | None = None
        if leaving is not None:
            try:
                self._ledger = Ledger(path)
            except (OSError, sqlite3.Error) as error:
                self._problem = f"the ledger cannot be opened ({type(error).__name__})"
                LOG.error("%s: %s", path, self._problem)
            else:
                # What was not written when this program was killed.
                self._read()
                self._journal.turn()
                self.flush()

    @property
    def works(self) -> bool:
        """Whether there is one at all."""
        return self._ledger is not None

    def start(self) -> None:
        """Write from now on."""
        threading.Thread(target=self._run, name="account", daemon=True).start()

    def stop(self) -> None:
        """Write what is left, and close."""
        for sender in list(self._open):
            sender.ended(None, released=False, here=True)
        done = self.flush()
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            with self._flushing:
                ledger.close()
            with self._noting:
                if done and not self._events:
                    self._journal.clear()

    # What happens.

    def sender(self) -> Sender:
        """For a new association of a sender."""
        found = Sender(self)
        with self._lock:
            self._open.add(found)
        return found

    def brings(self, sender: Sender, place: tuple[str, str]) -> None:
        """That association brings something of another series."""
        with self._lock:
            sender.places.add(place)
            # True if this program is killed now; taken back at the end of the association.
            self.put(((place,), _ENDED_HERE))

    def over(self, sender: Sender, cut: Mapping[tuple[str, str], str]) -> None:
        """That association is over. Note of its series why there may be more of them; empty: it
        ended in order, and so did those that were beside it.

        ``cut``: of which it was cut off, and why.
        """
        found: dict[str, list[tuple[str, str]]] = {}
        with self._lock:
            self._open.discard(sender)
            for place in sender.places:
                others = [each for each in self._open if place in each.places]
                why = cut.get(place) or sender.doubts.get(place, "")
                for each in others:
                    if place in cut:
                        each.doubts[place] = why
                    elif not why:
                        # It began after the one that was cut off: all was sent again.
                        each.doubts.pop(place, None)
                found.setdefault(why or (_ENDED_HERE if others else ""), []).append(place)
            # Here, or what another association brings could be noted in between.
            for why, places in found.items():
                self.put((tuple(places), why))

    def put(self, event: tuple[Any, ...]) -> None:
        """Of `Sender`: note something that came, as it came."""
        if self._ledger is None:
            return
        with self._noting:
            if len(self._events) + len(self._taken) >= MOST_KEPT:
                self._lost += 1
                return
            try:
                noted = self._event(event)
            except Exception as error:
                LOG.error("The account of studies failed (%s)", type(error).__name__)
                self._lost += 1
                return
            self._events.append(noted)
            self._journal.append(noted)

    def left(
        self, uid: str, study: str, series: str, pseudonym: str, names: Sequence[Named] = ()
    ) -> None:
        """Orthanc stored an object, under these UIDs. ``names``: of structures, that changed."""
        self.put(("left", uid, study, series, pseudonym, time.time(), names))

    def removing(self, found: Quarantined) -> None:
        """An object is about to be removed from quarantine for good. Where it is not in the end,
        nothing need be said."""
        self.put(("removing", found, time.monotonic()))

    def removed(self, found: Quarantined) -> None:
        """An object was removed from quarantine for good."""
        self.put(("removed", found, time.time(), time.monotonic(), False))

    def released(self, found: Quarantined) -> None:
        """An object is about to be sent round again."""
        self.put(("removed", found, time.time(), time.monotonic(), True))

    def quarantine(self, found: Iterable[Quarantined], looked: float | None = None) -> None:
        """What lies in quarantine now; all of it. ``looked``: when somebody began to see that, by
        ``time.monotonic``, if not just now."""
        if self._ledger is None or self._leaving is None or not self.flush():
            return
        looked = time.monotonic() if looked is None else looked
        seen: list[tuple[bytes, InQuarantine]] = []
        places: dict[tuple[str, str, str, bool], tuple[bytes, str, str]] = {}
        for each in found:
            if not each.sop_instance_uid:
                continue
            # What lay there the last time is not hashed again.
            name = each.sop_instance_uid, each.study, each.series, each.leaving
            place = places[name] = self._places.get(name) or self._place(each)
            key, study, series = place
            lies = InQuarantine(study, series, each.reason, each.arrived, each.pseudonym)
            seen.append((key, lies))
        self._places = places
        self._safely(lambda ledger: ledger.quarantine(seen, looked))

    def _place(self, found: Quarantined) -> tuple[bytes, str, str]:
        assert self._leaving is not None
        of = (lambda uid: uid) if found.leaving else self._leaving.of
        return uids.digest(of(found.sop_instance_uid)), of(found.study), of(found.series)

    # Writing.

    def _run(self) -> None:
        cared = 0.0
        while True:
            time.sleep(FLUSH_SECONDS)
            self.flush()
            if time.monotonic() - cared > _CARE_SECONDS:
                cared = time.monotonic()
                self.care()

    def flush(self) -> bool:
        """Write what has happened until now; whether all is written."""
        if self._ledger is None:
            return False
        with self._flushing:
            with self._noting:
                while self._events:
                    self._taken.append(self._events.popleft())
                if not self._taken:
                    return True
                self._journal.turn()
                number = self._journal.number
            if not self._safely(lambda ledger: self._write(ledger, number), len(self._taken)):
                return False
            with self._noting:
                self._taken.clear()
                self._journal.applied()
            return True

    def _write(self, ledger: Ledger, number: int) -> None:
        self._lost += ledger.apply(self._taken, number)

    def _read(self) -> None:
        """Take what the journal has of before this start. Where the ledger does not tell what of it
        was written, that is written once more."""
        written = [0]
        self._safely(lambda ledger: written.append(ledger.written()))
        self._taken = self._journal.read(written[-1])
        self._lost += self._journal.not_understood

    def _event(self, event: tuple[Any, ...]) -> Event:
        leaving = self._leaving
        assert leaving is not None
        first = event[0]
        if first == "left":
            _, uid, study, series, pseudonym, at, names = event
            renamed = [Renamed(uid, each.number, each.came, each.left) for each in names]
            return Left(uids.digest(uid), study, series, at, pseudonym, tuple(renamed))
        if first == "removing":
            return Removing(*self._place(event[1]), event[1].reason, event[1].arrived, event[2])
        if first == "removed":
            return Removed(*self._place(event[1]), *event[2:])
        if not isinstance(first, Identity):
            return Ended(tuple((leaving.of(a), leaving.of(b)) for a, b in first), event[1])
        identity, at, broken = event
        uid, study, series, patient, issuer, told = identity
        if self._same is None or self._same[0] != identity[1:5]:
            # The same for thousands of objects in a row.
            hashes = uids.hashed(self._key, patient), uids.hashed(self._key, patient, issuer)
            self._same = identity[1:5], (leaving.of(study), leaving.of(series), *hashes)
        place, hashes = self._same[1][:2], self._same[1][2:]
        pseudonym = self._pseudonym(patient, issuer) if patient else ""
        key = uids.digest(leaving.of(uid))
        return Came(key, *place, at, broken, pseudonym, *hashes, told)

    def _safely(self, write: Callable[[Ledger], Any], events: int = 0) -> bool:
        """Whether it need not be tried again. A file that is broken is replaced by a new one.

        ``events``: so many are lost where it fails in any other way.
        """
        ledger = self._ledger
        if ledger is None:
            return True
        try:
            write(ledger)
        except sqlite3.OperationalError as error:
            # A full disk, a lock: it is tried again.
            if not self._problem:
                LOG.error("The account of studies cannot be written (%s)", error)
            self._problem = f"{_UNWRITTEN} ({error})"
            return False
        except Exception as error:
            # sqlite3 has this very class for a file that is none, or malformed, and the other for
            # one that was put aside when no new one could be begun.
            if type(error) in (sqlite3.DatabaseError, sqlite3.ProgrammingError):
                try:
                    ledger.recover(error)
                except (OSError, sqlite3.Error) as again:
                    self._problem = f"{_UNWRITTEN} ({type(again).__name__})"
                return False
            LOG.error("The account of studies failed (%s)", type(error).__name__)
            self._lost += events
            return True
        if self._problem.startswith(_UNWRITTEN):
            LOG.info("The account of studies is written again")
            self._problem = ""
        return True

    def care(self) -> None:
        """See which studies are complete by now, and forget what has been for long."""
        if self._ledger is None:
            return
        self.flush()
        now = self._now()

        def settle(ledger: Ledger) -> None:
            judged = [verdict.study(row, now) for row in ledger.unsettled()]
            ledger.settle([each.uid for each in judged if each.settled], now.at)
            ledger.prune(now.at - self._keep, now.at - max(self._keep, OTHERS_SECONDS))
            if gone := ledger.trim(MOST_BYTES):
                LOG.warning("The account was too large: %d complete studies went early", gone)

        self._safely(settle)

    # Answers.

    def problem(self) -> str:
        """What is wrong with the account; empty: nothing."""
        if self._lost:
            return f"{self._lost} events could not be noted since CTP was started"
        ledger = self._ledger.problem if self._ledger is not None else ""
        return self._problem or ledger or self._journal.problem

    def _now(self) -> verdict.Now:
        leaving = self._leaving
        assert leaving is not None
        with self._lock:
            places = {place for each in self._open for place in tuple(each.places)}
        arriving = {(leaving.of(study), leaving.of(series)) for study, series in places}
        return verdict.Now(time.time(), self._quiet, arriving, self._idle())

    def summary(self) -> dict[str, Any]:
        """What the status shows: numbers, and by pseudonym the studies that are not complete and of
        which nothing is on its way any more."""
        if self._ledger is None:
            return {"problem": self._problem}
        if self._shown is not None and 0 <= time.monotonic() - self._shown[0] < FLUSH_SECONDS:
            return self._shown[1]
        self.flush()
        found: dict[str, Any] = {}
        self._safely(lambda ledger: found.update(self._summary(ledger)))
        shown = {**found, "problem": self.problem() or ("" if found else _NOT_NOW)}
        self._shown = time.monotonic(), shown
        return shown

    def _summary(self, ledger: Ledger) -> dict[str, Any]:
        now = self._now()
        judged = [verdict.study(row, now) for row in ledger.unsettled()]
        total, settled, removed = ledger.counts()
        mixed, mixed_at = ledger.mixed()
        moving = (verdict.ARRIVING, verdict.IN_TRANSIT)
        still = [each for each in judged if not each.settled and each.state not in moving]
        known = [each for each in still if each.names]
        known.sort(key=lambda each: each.newest, reverse=True)
        return {
            "since": verdict.iso(ledger.since),
            "studies": total,
            "complete": settled - removed + sum(each.complete for each in judged),
            "deleted": removed + sum(each.state == verdict.REMOVED for each in judged),
            "arriving": sum(each.state == verdict.ARRIVING for each in judged),
            "waiting": sum(each.state == verdict.IN_TRANSIT for each in judged),
            "incomplete": len(known),
            "unknown": len(still) - len(known),
            "mixed": mixed,
            "mixed_age_seconds": max(0, int(now.at - mixed_at)) if mixed else None,
            "unplaced": ledger.unplaced(),
            "rows": [
                {
                    "pseudonyms": each.names,
                    "study": each.uid,
                    "state": each.state,
                    "newest": verdict.iso(each.newest),
                    "series": len(each.series),
                    **each.sums(),
                }
                for each in known[:MOST_SHOWN]
            ],
        }

    def ask(
        self, identifier: str = "", pseudonym: str = "", study: str = "", still: bool = False
    ) -> dict[str, Any]:
        """What is known of some studies. What was asked for is not in the answer.

        Args:
            identifier: a Study Instance UID as its sender has it, or a PatientID.
            pseudonym: of a patient.
            study: the Study Instance UID that Orthanc has.
            still: all that are neither complete nor arriving.
        """
        if self._ledger is None:
            return {"problem": self._problem, "studies": [], "more": 0}
        self.flush()
        rows: dict[str, StudyRow] = {}
        answered: list[bool] = []

        def look(ledger: Ledger) -> None:
            found = self._found(ledger, identifier, pseudonym, study)
            if still:
                found += ledger.unsettled()
            rows.update({row.uid: row for row in found})
            answered.append(True)

        self._safely(look)
        if not answered:
            return {"problem": self.problem() or _NOT_NOW, "studies": [], "more": 0}
        now = self._now()
        judged = [verdict.study(row, now) for row in rows.values()]
        if still:
            judged = [e for e in judged if not e.settled and e.state != verdict.ARRIVING]
        judged.sort(key=lambda each: each.newest, reverse=True)
        shown = judged[:MOST_ANSWERED]
        return {
            "since": verdict.iso(self._ledger.since),
            "kept_days": round(self._keep / 86400),
            "problem": self.problem(),
            "studies": [each.shown() for each in shown],
            "more": len(judged) - len(shown),
        }

    def names(self, identifier: str = "", pseudonym: str = "", study: str = "") -> dict[str, Any]:
        """Which names of structures became which in some studies, as `ask` takes them.

        The old names are as they came and may name a person: this answer is for the custodian.
        """
        if self._ledger is None:
            return {"problem": self._problem, "studies": [], "more": 0}
        self.flush()
        found: list[dict[str, Any]] = []
        answered: list[int] = []

        def look(ledger: Ledger) -> None:
            rows = {row.uid: row for row in self._found(ledger, identifier, pseudonym, study)}
            chosen = sorted(rows.values(), key=lambda row: row.first, reverse=True)
            for row in chosen[:MOST_ANSWERED]:
                objects: dict[tuple[str, str], list[dict[str, str]]] = {}
                for series, each in ledger.renamed(row.uid):
                    told = {"number": each.number, "was": each.came, "is": each.left}
                    objects.setdefault((series, each.uid), []).append(told)
                shown = [
                    {"series": series, "object": uid, "names": names}
                    for (series, uid), names in objects.items()
                ]
                found.append({"study": row.uid, "pseudonyms": sorted(row.names), "objects": shown})
            answered.append(max(0, len(chosen) - MOST_ANSWERED))

        self._safely(look)
        if not answered:
            return {"problem": self.problem() or _NOT_NOW, "studies": [], "more": 0}
        return {
            "since": verdict.iso(self._ledger.since),
            "kept_days": round(self._keep / 86400),
            "problem": self.problem(),
            "studies": found,
            "more": answered[0],
        }

    def _found(self, ledger: Ledger, identifier: str, pseudonym: str, study: str) -> list[StudyRow]:
        found: list[StudyRow] = []
        if identifier:
            assert self._leaving is not None
            found += ledger.of_uid(self._leaving.of(identifier))
            found += ledger.of_patient(uids.hashed(self._key, identifier))
            for name in self._patients_pseudonyms(identifier):
                found += ledger.of_name(name)
        if pseudonym:
            found += ledger.of_name(pseudonym)
        if study:
            found += ledger.of_uid(study)
        return found
