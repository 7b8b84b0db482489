"""The rows, in SQLite: one for each object, by its latest state.

::

    studies     the UID that leaves; when its first object came; ``settled`` since it is complete
    series      the UID that leaves; when its newest object came; what the sender said of its number
    objects     a hash of the UID that leaves, with the series behind it where that UID came in
                another one before; state, since when, and the reason in quarantine
    names       pseudonyms that a study stands under; more than one is a mistake at the source
    identities  hashes of the identifiers that it came under
    structures  names of structures that left under another: what they were, which may name a
                person, and what they are
    removing    objects that somebody is about to remove from quarantine for good
    written     the number in the journal of the latest event that is in here

A write-ahead log and ``synchronous=NORMAL``: a kill loses nothing that was written, a power failure
may lose the last seconds. What is lost so is learned again when the object leaves or lies in
quarantine. A ledger that cannot be read is put aside and a new one begun: see `Ledger.problem`.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Union

LOG = logging.getLogger(__name__)

WAITING, LEFT, HELD, BROKEN, DELETED = range(5)
"""Acknowledged to the sender; stored by Orthanc; in quarantine; its transfer broke off, or it was
refused to the sender; removed from quarantine for good."""

UNREADABLE = "unreadable"
"""The reason of what lies in quarantine and is no whole object."""

_VERSION = 1
_SCHEMA = f"""
CREATE TABLE begun (at REAL NOT NULL);
CREATE TABLE studies (
    id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, first REAL NOT NULL,
    settled REAL NOT NULL DEFAULT 0);
CREATE INDEX studies_settled ON studies(settled);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, study INTEGER NOT NULL, uid TEXT NOT NULL,
    newest REAL NOT NULL DEFAULT 0, told INTEGER NOT NULL DEFAULT 0,
    unfinished TEXT NOT NULL DEFAULT '', UNIQUE (study, uid));
CREATE TABLE objects (
    uid BLOB PRIMARY KEY, series INTEGER NOT NULL, state INTEGER NOT NULL, at REAL NOT NULL,
    held TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE INDEX objects_series ON objects(series, state, held, at);
CREATE INDEX objects_held ON objects(held) WHERE held <> '';
CREATE TABLE names (
    study INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (study, name)) WITHOUT ROWID;
CREATE INDEX names_name ON names(name);
CREATE TABLE identities (
    study INTEGER NOT NULL, identity BLOB NOT NULL, patient BLOB NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (study, identity)) WITHOUT ROWID;
CREATE INDEX identities_patient ON identities(patient);
PRAGMA user_version = {_VERSION};
"""
_INDEX_DELETED = (
    f"CREATE INDEX IF NOT EXISTS objects_deleted ON objects(series) WHERE state = {DELETED}"
)
_STRUCTURES = """CREATE TABLE IF NOT EXISTS structures (
    study INTEGER NOT NULL, object BLOB NOT NULL, place INTEGER NOT NULL, series TEXT NOT NULL,
    uid TEXT NOT NULL, number TEXT NOT NULL, came TEXT NOT NULL, goes TEXT NOT NULL,
    PRIMARY KEY (object, place)) WITHOUT ROWID"""
_STRUCTURES_STUDY = "CREATE INDEX IF NOT EXISTS structures_study ON structures(study)"
_REMOVING = "CREATE TABLE IF NOT EXISTS removing (uid BLOB PRIMARY KEY) WITHOUT ROWID"
_WRITTEN = "CREATE TABLE IF NOT EXISTS written (number INTEGER NOT NULL)"
_MOST_REMEMBERED = 20_000
_NOT_WRITABLE = (
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
    *(sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
)
"""A value is at fault, and not the file."""
_PART = 500
"""Fewer than the parameters that SQLite takes in one statement."""


class Came(NamedTuple):
    """An object was acknowledged to its sender, or its transfer broke off (``broken``)."""

    uid: bytes
    study: str
    series: str
    at: float
    broken: bool = False
    pseudonym: str = ""
    patient: bytes = b""
    identity: bytes = b""
    told: int = 0
    """Number of Series Related Instances (0020,1209); 0: not said."""


class Renamed(NamedTuple):
    """A structure that left under another name: of which object, and with which number in it."""

    uid: str
    """The SOP Instance UID that leaves."""
    number: str
    came: str
    left: str


class Left(NamedTuple):
    """Orthanc stored an object."""

    uid: bytes
    study: str
    series: str
    at: float
    pseudonym: str = ""
    names: tuple[Renamed, ...] = ()


class Removing(NamedTuple):
    """Somebody is about to remove an object from quarantine for good, whether or not a look has
    shown it: when it is missed there, that is no release."""

    uid: bytes
    study: str
    series: str
    reason: str
    arrived: float
    run: float
    """When, by ``time.monotonic``."""


class Removed(NamedTuple):
    """An object was removed from quarantine for good; or it is about to be ``released``, whatever
    somebody was about to do with it."""

    uid: bytes
    study: str
    series: str
    at: float
    run: float
    """When, by ``time.monotonic``."""
    released: bool = False


class Ended(NamedTuple):
    """A sender's association ended. ``why`` is empty when it was released in order."""

    series: tuple[tuple[str, str], ...]
    """Study and series of what it brought; those that may have more to come, where ``why``."""
    why: str = ""


Event = Union[Came, Left, Removing, Removed, Ended]


@dataclass(frozen=True)
class InQuarantine:
    """What lies in quarantine under one UID."""

    study: str
    series: str
    reason: str
    arrived: float
    pseudonym: str = ""


@dataclass
class SeriesRow:
    """One series, counted."""

    uid: str
    newest: float
    told: int
    unfinished: str
    states: dict[int, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    """Objects in quarantine that have not left, by reason."""
    copies: int = 0
    """Objects that have left, of which an older copy still lies in quarantine."""
    again: dict[str, int] = field(default_factory=dict)
    """Objects that wait, of which a copy lies in quarantine, by reason."""
    waiting_since: float = 0.0

    @property
    def total(self) -> int:
        """All objects that are known of it."""
        return sum(self.states.values())

    def count(self, state: int) -> int:
        """How many objects are in that state."""
        return self.states.get(state, 0)


@dataclass
class StudyRow:
    """One study with its series."""

    uid: str
    first: float
    settled: float
    names: list[str] = field(default_factory=list)
    identities: int = 0
    series: list[SeriesRow] = field(default_factory=list)


class Ledger:
    """The file. Thread-safe; each call is short, and may raise ``sqlite3.Error``."""

    def __init__(self, path: Path) -> None:
        """Open it, or begin a new one; see ``problem`` for what was wrong.

        Raises ``OSError``, ``sqlite3.OperationalError``: it cannot be opened.
        """
        self.path = path
        self.problem = ""
        """Why the account is not what it should be: for the operator, in one sentence."""
        self._lock = threading.RLock()
        self._is_closed = False
        self._ids: dict[tuple[str, str], tuple[int, int]] = {}
        self._noted: set[tuple[int, str | bytes]] = set()
        self._held: dict[bytes, tuple[str, float]] = {}
        self._rows: dict[tuple[bytes, str, str], bytes] = {}
        """Of what was in quarantine the last time, by object, study and series."""
        self._looked = -math.inf
        """When it was looked at for the last time, by ``time.monotonic``."""
        self._removing: dict[bytes, float] = {}
        """When removals began of which this process knows, by ``time.monotonic``."""
        self._deleted: dict[bytes, float] = {}
        """When objects were removed that a look may still show, by ``time.monotonic``."""
        self.since = 0.0
        """When the account began."""
        try:
            self._db = self._open()
        except sqlite3.OperationalError:
            raise  # it cannot be opened or written, which says nothing of what is in it
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)

    # Opening.

    def _open(self) -> sqlite3.Connection:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        os.close(descriptor)
        db = sqlite3.connect(self.path, timeout=10, check_same_thread=False, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            # What is forgotten shall not stand in the file any more: it may name a person.
            db.execute("PRAGMA secure_delete = ON")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                db.executescript("BEGIN; " + _SCHEMA)
                db.execute("INSERT INTO begun VALUES (?)", (time.time(),))
                db.execute("COMMIT")
            elif version != _VERSION:
                raise sqlite3.DatabaseError(f"version {version}")
            for statement in (_INDEX_DELETED, _STRUCTURES, _STRUCTURES_STUDY, _REMOVING, _WRITTEN):
                db.execute(statement)
            (self.since,) = db.execute("SELECT max(at) FROM begun").fetchone()
            rows = db.execute("SELECT uid, held FROM objects WHERE held <> ''")
            self._held = {bytes(uid): (held, 0.0) for uid, held in rows}
        except BaseException:
            db.close()
            raise
        return db

    def _begin_anew(self, error: Exception) -> None:
        """Put a file that cannot be read aside, over the one before, and begin a new one."""
        LOG.error("%s cannot be read (%s): the account begins anew", self.path, error)
        for suffix in ("", "-wal", "-shm"):
            found = self.path.with_name(self.path.name + suffix)
            # An empty one is what an earlier try could not fill.
            if found.exists() and found.stat().st_size:
                found.replace(self.path.with_name(f"{self.path.name}.unreadable{suffix}"))
        self._forget_ids()
        self._held.clear()
        self._db = self._open()
        self.problem = "the account could not be read and began anew: what left before is not in it"

    def recover(self, error: Exception) -> None:
        """After an error of the file itself: begin a new one. Raises ``OSError``."""
        with self._lock:
            if self._is_closed:
                return  # which whoever comes late takes for an error
            self._db.close()
            self._begin_anew(error)

    def close(self) -> None:
        """Close the file, for good."""
        with self._lock:
            self._is_closed = True
            self._db.close()

    # Writing.

    def apply(self, events: Sequence[Event], number: int = 0) -> int:
        """Note what happened, in that order, in one transaction; return of how many events nothing
        can be noted. ``number``: of the latest one in the journal."""
        try:
            with self._transaction():
                self._apply(events)
                self._note_number(number)
            return 0
        except _NOT_WRITABLE as error:
            LOG.error("An event of the account cannot be noted (%s)", type(error).__name__)
        lost = 0
        with self._transaction():
            for each in events:
                self._db.execute("SAVEPOINT event")
                try:
                    self._apply([each])
                except _NOT_WRITABLE:
                    lost += 1
                    self._db.execute("ROLLBACK TO event")
                    self._forget_ids()
                self._db.execute("RELEASE event")
            self._note_number(number)
        return lost

    def _note_number(self, number: int) -> None:
        self._db.execute("DELETE FROM written")
        self._db.execute("INSERT INTO written VALUES (?)", (number,))

    def written(self) -> int:
        """The number of the latest event that was noted."""
        with self._lock:
            (found,) = self._db.execute("SELECT coalesce(max(number), 0) FROM written").fetchone()
            return int(found)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # What was remembered of rows that are not there now would be wrong.
                self._forget_ids()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _forget_ids(self) -> None:
        self._ids.clear()
        self._noted.clear()
        self._rows.clear()

    def _apply(self, events: Sequence[Event]) -> None:
        newest: dict[int, float] = {}
        touched: set[int] = set()
        execute = self._db.execute
        for event in events:
            if isinstance(event, Came):
                uid, study, series = self._row(event.uid, event.study, event.series, event.at)
                execute(_CAME if not event.broken else _BROKE, (uid, series, event.at))
                newest[series] = max(newest.get(series, 0.0), event.at)
                touched.add(study)
                if event.study:  # or its patient may not have been read, either
                    self._note(study, event)
            elif isinstance(event, Left):
                uid, study, series = self._row(event.uid, event.study, event.series, event.at)
                execute(_LEFT, (uid, series, event.at))
                touched.add(study)
                self._name(study, event.pseudonym)
                self._rename(study, uid, event)
            elif isinstance(event, Removing):
                touched.add(self._removing_begins(event))
            elif isinstance(event, Removed):
                self._removing_ends(event)
            else:
                for place in event.series:
                    study, series = self._place(*place, time.time())
                    if event.why:
                        touched.add(study)
                    execute("UPDATE series SET unfinished = ? WHERE id = ?", (event.why, series))
        self._db.executemany(
            "UPDATE series SET newest = max(newest, ?) WHERE id = ?",
            [(at, series) for series, at in newest.items()],
        )
        self._db.executemany(
            "UPDATE studies SET settled = 0 WHERE id = ? AND settled > 0",
            [(study,) for study in touched],
        )

    def _removing_begins(self, event: Removing) -> int:
        row, study, series = self._row(event.uid, event.study, event.series, event.arrived)
        lies = InQuarantine(event.study, event.series, event.reason, event.arrived)
        self._held[row] = self._lies(row, series, lies, event.run)
        if event.run > -math.inf:
            self._removing[row] = event.run
        self._db.execute("INSERT OR IGNORE INTO removing VALUES (?)", (row,))
        return study

    def _removing_ends(self, event: Removed) -> None:
        execute = self._db.execute
        if not execute(_ANY, (event.uid, event.uid + b"\xff" * 8)).fetchone():
            return
        row, _, _ = self._row(event.uid, event.study, event.series, event.at)
        self._removing.pop(row, None)
        execute("DELETE FROM removing WHERE uid = ?", (row,))
        if not event.released:
            self._deleted[row] = event.run
            self._held.pop(row, None)
            execute(_RELEASED, (DELETED, event.at, row))

    def _lies(
        self, row: bytes, series: int, found: InQuarantine, looked: float
    ) -> tuple[str, float]:
        """Note that it lies in quarantine, or did when that was looked at; return what is to be
        remembered of it."""
        # Seen before something was removed there, it may be that; later, it is a copy or came back.
        seen = looked > self._deleted.get(row, -math.inf)
        values = row, series, found.arrived, found.reason, seen, time.time()
        self._db.execute(_HELD, values)
        return found.reason, found.arrived if seen else 0.0

    def _place(self, study: str, series: str, at: float) -> tuple[int, int]:
        """The rows of study and series; made where they are missing."""
        found = self._ids.get((study, series))
        if found is not None:
            return found
        execute = self._db.execute
        execute("INSERT OR IGNORE INTO studies (uid, first) VALUES (?, ?)", (study, at))
        (study_id,) = execute("SELECT id FROM studies WHERE uid = ?", (study,)).fetchone()
        execute("INSERT OR IGNORE INTO series (study, uid) VALUES (?, ?)", (study_id, series))
        (series_id,) = execute(
            "SELECT id FROM series WHERE study = ? AND uid = ?", (study_id, series)
        ).fetchone()
        if len(self._ids) >= _MOST_REMEMBERED:
            self._ids.clear()
        self._ids[study, series] = study_id, series_id
        return study_id, series_id

    def _row(self, uid: bytes, study: str, series: str, at: float) -> tuple[bytes, int, int]:
        """The key of an object's row, and the rows of its study and series.

        Sites move objects to other studies and keep their UIDs: what came of each is another
        object. Where study and series could not be read, it is the one that is known.
        """
        study_id, series_id = self._place(study, series, at)
        apart = uid + series_id.to_bytes(8, "big")
        query = (
            "SELECT objects.uid, studies.uid, studies.id, series.uid, series.id FROM objects"
            " JOIN series ON series.id = objects.series JOIN studies ON studies.id = series.study"
            " WHERE objects.uid IN (?, ?)"
        )
        found = {bytes(row[0]): row[1:] for row in self._db.execute(query, (uid, apart))}
        if apart in found:
            return apart, study_id, series_id
        if uid in found:
            known, known_id, known_series, known_series_id = found[uid]
            if not study or (study == known and not series):
                return uid, known_id, known_series_id
            if known and known_series_id != series_id and (known != study or known_series):
                return apart, study_id, series_id
        return uid, study_id, series_id

    def _note(self, study: int, event: Came) -> None:
        self._name(study, event.pseudonym)
        if event.identity and self._is_new(study, event.identity):
            self._db.execute(
                "INSERT OR IGNORE INTO identities VALUES (?, ?, ?, ?)",
                (study, event.identity, event.patient, event.at),
            )
        if event.told:
            _, series = self._place(event.study, event.series, event.at)
            self._db.execute(
                "UPDATE series SET told = max(told, ?) WHERE id = ?", (event.told, series)
            )

    def _rename(self, study: int, uid: bytes, event: Left) -> None:
        self._db.execute("DELETE FROM structures WHERE object = ?", (uid,))
        self._db.executemany(
            "INSERT INTO structures VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(study, uid, place, event.series, *each) for place, each in enumerate(event.names)],
        )

    def _name(self, study: int, name: str) -> None:
        if name and self._is_new(study, name):
            self._db.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (study, name))

    def _is_new(self, study: int, what: str | bytes) -> bool:
        if (study, what) in self._noted:
            return False
        if len(self._noted) >= _MOST_REMEMBERED:
            self._noted.clear()
        self._noted.add((study, what))
        return True

    def quarantine(self, found: Iterable[tuple[bytes, InQuarantine]], looked: float) -> None:
        """Note all that lies in quarantine now: what is new there, and what is there no more, since
        it was released or removed. ``looked``: when somebody began to see that, by
        ``time.monotonic``."""
        with self._lock:
            if looked < self._looked:
                return  # somebody looked later, and was quicker
            self._looked = looked
            # Not now: what is missing may have come back since.
            began = time.time() - (time.monotonic() - looked)
            newest: dict[tuple[bytes, str, str], InQuarantine] = {}
            for uid, each in found:
                name = uid, each.study, each.series
                if name not in newest or newest[name].arrived < each.arrived:
                    newest[name] = each
            new = {
                name: each
                for name, each in newest.items()
                if self._held.get(self._rows.get(name, b"")) != (each.reason, each.arrived)
            }
            here = {row for name, row in self._rows.items() if name in newest}
            marked = {bytes(row) for (row,) in self._db.execute("SELECT uid FROM removing")}
            if not new and not marked and here >= self._held.keys():
                return
            held: dict[bytes, tuple[str, float]] = {}
            with self._transaction():
                touched = set()
                for name, each in new.items():
                    row, study, series = self._row(*name, each.arrived)
                    self._rows[name] = row
                    here.add(row)
                    touched.add(study)
                    self._name(study, each.pseudonym)
                    held[row] = self._lies(row, series, each, looked)
                gone = [
                    row
                    for row in self._held
                    if row not in here and self._removing.get(row, -math.inf) < looked
                ]
                self._db.executemany(
                    _RELEASED,
                    [(DELETED if row in marked else WAITING, began, row) for row in gone],
                )
                # Of one from before this start nobody is about to remove it any more.
                over = [row for row in marked if row not in self._removing or row in gone]
                self._db.executemany("DELETE FROM removing WHERE uid = ?", [(row,) for row in over])
                self._db.executemany(
                    "UPDATE studies SET settled = 0 WHERE id = ? AND settled > 0",
                    [(study,) for study in touched],
                )
            for row in gone:
                del self._held[row]
                self._removing.pop(row, None)
            self._held.update(held)
            self._rows = {name: row for name, row in self._rows.items() if name in newest}
            self._deleted = {row: run for row, run in self._deleted.items() if run >= looked}

    def settle(self, studies: Iterable[str], at: float) -> None:
        """These are complete: they are looked at again when something of them comes."""
        chosen = [(at, uid) for uid in studies]
        if chosen:
            with self._transaction():
                self._db.executemany("UPDATE studies SET settled = ? WHERE uid = ?", chosen)

    def prune(self, complete_before: float, others_before: float) -> int:
        """Forget studies that are complete since before the first, and others of which nothing
        moved since before the second, unless something of them lies in quarantine; return how
        many."""
        with self._lock:
            execute = self._db.execute
            chosen = [
                each
                for (each,) in execute(
                    "SELECT id FROM studies WHERE ((settled > 0 AND settled < ?) OR (settled = 0"
                    " AND first < ? AND NOT EXISTS (SELECT 1 FROM series JOIN objects"
                    " ON objects.series = series.id WHERE series.study = studies.id"
                    f" AND objects.at >= ?))) AND {_NOTHING_HELD} LIMIT 1000",
                    (complete_before, others_before, others_before),
                )
            ]
            self._forget(chosen)
            execute(
                "DELETE FROM objects WHERE at < ? AND held = '' AND series IN (SELECT series.id"
                " FROM series JOIN studies ON studies.id = series.study WHERE studies.uid = '')",
                (others_before,),
            )
            return len(chosen)

    def trim(self, most_bytes: int) -> int:
        """Forget complete studies, the oldest first, when the file holds more than that; return
        how many."""
        with self._lock:
            pages, free, size = (
                self._db.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            if (pages - free) * size <= most_bytes:
                return 0
            query = f"SELECT id FROM studies WHERE settled > 0 AND {_NOTHING_HELD}"
            query += " ORDER BY settled LIMIT 1000"
            chosen = [each for (each,) in self._db.execute(query)]
            self._forget(chosen)
            return len(chosen)

    def _forget(self, chosen: Sequence[int]) -> None:
        if not chosen:
            return
        execute = self._db.execute
        with self._transaction():
            for study in chosen:
                execute(
                    "DELETE FROM objects WHERE series IN (SELECT id FROM series WHERE study = ?)",
                    (study,),
                )
                for table in ("series", "names", "identities", "structures"):
                    execute(f"DELETE FROM {table} WHERE study = ?", (study,))
                execute("DELETE FROM studies WHERE id = ?", (study,))
        self._forget_ids()

    # Reading.

    def counts(self) -> tuple[int, int, int]:
        """How many studies are in it, how many of them are settled, and how many of these since
        what had not left was removed from quarantine for good."""
        with self._lock:
            query = "SELECT count(*), coalesce(sum(settled > 0), 0) FROM studies WHERE uid <> ''"
            total, settled = self._db.execute(query).fetchone()
            query = "SELECT count(*) FROM studies WHERE uid <> '' AND settled > 0 AND id IN"
            query += " (SELECT series.study FROM objects JOIN series ON series.id = objects.series"
            query += f" WHERE objects.state = {DELETED})"
            (deleted,) = self._db.execute(query).fetchone()
            return int(total), int(settled), int(deleted)

    def unplaced(self) -> int:
        """How many objects came of which the study could not be read, and have neither left nor
        been removed for good."""
        with self._lock:
            (found,) = self._db.execute(
                "SELECT count(*) FROM objects WHERE state NOT IN (?, ?) AND series IN"
                " (SELECT series.id FROM series JOIN studies ON studies.id = series.study"
                " WHERE studies.uid = '')",
                (LEFT, DELETED),
            ).fetchone()
            return int(found)

    def mixed(self) -> tuple[int, float]:
        """How many studies came under several identifiers, and when that was last seen."""
        with self._lock:
            count, latest = self._db.execute(
                "SELECT count(*), coalesce(max(latest), 0) FROM (SELECT max(at) AS latest"
                " FROM identities JOIN studies ON studies.id = study WHERE studies.uid <> ''"
                " GROUP BY study HAVING count(*) > 1)"
            ).fetchone()
            return int(count), float(latest)

    def unsettled(self) -> list[StudyRow]:
        """All studies that are not settled."""
        with self._lock:
            return self._studies("settled = 0 AND uid <> ''", ())

    def of_uid(self, uid: str) -> list[StudyRow]:
        """The study that leaves under this UID."""
        with self._lock:
            return self._studies("uid = ? AND uid <> ''", (uid,))

    def of_name(self, name: str) -> list[StudyRow]:
        """The studies under this pseudonym."""
        with self._lock:
            return self._studies("id IN (SELECT study FROM names WHERE name = ?)", (name,))

    def of_patient(self, patient: bytes) -> list[StudyRow]:
        """The studies that came under this identifier, whatever the issuer."""
        with self._lock:
            where = "uid <> '' AND id IN (SELECT study FROM identities WHERE patient = ?)"
            return self._studies(where, (patient,))

    def renamed(self, study: str) -> list[tuple[str, Renamed]]:
        """The structures of the study that leaves under this UID that left under another name, with
        the series that they are in."""
        with self._lock:
            query = "SELECT structures.series, structures.uid, number, came, goes FROM structures"
            query += " JOIN studies ON studies.id = study WHERE studies.uid = ?"
            query += " ORDER BY structures.series, structures.uid, place"
            return [(row[0], Renamed(*row[1:])) for row in self._db.execute(query, (study,))]

    def _studies(self, where: str, values: tuple[object, ...]) -> list[StudyRow]:
        """Read all that is to be known of some studies. ``where`` is text of this module."""
        execute = self._db.execute
        studies = {
            row[0]: StudyRow(*row[1:])
            for row in execute(
                "SELECT id, uid, first, settled FROM studies WHERE " + where,
                values,
            )
        }
        series: dict[int, SeriesRow] = {}
        ids = list(studies)
        for start in range(0, len(ids), _PART):
            part = ids[start : start + _PART]
            these = f"({','.join('?' * len(part))})"
            query = "SELECT id, study, uid, newest, told, unfinished FROM series WHERE study IN "
            for row in execute(query + these, part):
                series[row[0]] = SeriesRow(*row[2:])
                studies[row[1]].series.append(series[row[0]])
            query = (
                "SELECT objects.series, objects.state, objects.held, count(*), min(objects.at)"
                " FROM series JOIN objects ON objects.series = series.id"
                f" WHERE series.study IN {these} GROUP BY 1, 2, 3"
            )
            for series_id, state, held, count, oldest in execute(query, part):
                _add(series[series_id], state, held, count, oldest)
            for study, name in execute(
                f"SELECT study, name FROM names WHERE study IN {these}", part
            ):
                studies[study].names.append(name)
            query = f"SELECT study, count(*) FROM identities WHERE study IN {these} GROUP BY 1"
            for study, count in execute(query, part):
                studies[study].identities = count
        return list(studies.values())


def _add(series: SeriesRow, state: int, held: str, count: int, oldest: float) -> None:
    series.states[state] = series.states.get(state, 0) + count
    if state == HELD:
        series.held[held] = series.held.get(held, 0) + count
    elif state == LEFT and held:
        series.copies += count
    elif state == WAITING:
        if held:
            series.again[held] = series.again.get(held, 0) + count
        series.waiting_since = min(series.waiting_since or oldest, oldest)


# From the few that are held, not from each study.
_NOTHING_HELD = (
    "id NOT IN (SELECT series.study FROM objects JOIN series ON series.id = objects.series"
    " WHERE objects.held <> '')"
)
_INSERT = "INSERT INTO objects (uid, series, state, at) VALUES (?1, ?2, {state}, ?3)"
# It may have left, or lie in quarantine, or be removed from there, before its sender was told; and
# what came again waits, whatever became of it before.
_DONE = f"""((state IN ({LEFT}, {DELETED}) AND at >= ?3) OR (state = {HELD} AND at + 1 >= ?3))"""
_CAME = f"""{_INSERT.format(state=WAITING)} ON CONFLICT (uid) DO UPDATE SET series = ?2,
    state = CASE WHEN {_DONE} THEN state ELSE {WAITING} END,
    at = CASE WHEN {_DONE} THEN at ELSE ?3 END"""
_LEFT = f"""{_INSERT.format(state=LEFT)} ON CONFLICT (uid) DO UPDATE SET series = ?2,
    state = {LEFT}, at = ?3"""
# Of what was acknowledged once, a later try that breaks off takes nothing away.
_BROKE = f"""{_INSERT.format(state=BROKEN)} ON CONFLICT (uid) DO UPDATE SET series = ?2,
    at = CASE WHEN state = {BROKEN} THEN ?3 ELSE at END"""
# A file that is older than what came last is an older copy, and has no say; what came after now
# came before the clock was set back. One that is there after another was removed for good is a copy
# of that one, or came back. What is left of an object that broke off is none.
_MET = f"""((state = {BROKEN} AND ?4 <> '{UNREADABLE}')
    OR (state = {WAITING} AND (at <= ?3 + 1 OR at > ?6)) OR (state = {DELETED} AND ?5))"""
_HELD = f"""INSERT INTO objects (uid, series, state, at, held) VALUES (?1, ?2, {HELD}, ?3, ?4)
    ON CONFLICT (uid) DO UPDATE SET series = ?2, held = ?4,
    at = CASE WHEN {_MET} OR (state = {HELD} AND at < ?3) THEN ?3 ELSE at END,
    state = CASE WHEN {_MET} THEN {HELD} ELSE state END"""
_ANY = "SELECT 1 FROM objects WHERE uid BETWEEN ? AND ?"
_RELEASED = f"""UPDATE objects SET held = '',
    at = CASE WHEN state = {HELD} THEN ?2 ELSE at END,
    state = CASE WHEN state = {HELD} THEN ?1 ELSE state END WHERE uid = ?3"""
