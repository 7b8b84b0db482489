"""CTP's lookup table, kept equal to KeyDB.

The table is a file of Java properties. CTP reads it again at the next object, when the file's
modification time is newer than what it read and at least a second old (LookupTable). It takes the
time after it has read the content, so a table replaced in between would be missed: every table gets
its time once more a little later.

A key is PatientID and issuer, ``PatientID/12345|HOSP-A``, which CTP puts together itself
(``@lookup`` with ``|``): so CTP judges the issuer of every object, by whatever way it comes. The
issuer is (0010,0021); where that is blank, the Universal Entity ID of (0010,0024).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import whole_files
from program_settings import SettingsError

from ..settings import Settings
from .tables import Tables

LOG = logging.getLogger(__name__)

POLL_SECONDS = 2.0
_STEP_NS = 2_000_000  # CTP compares milliseconds
_OLD_NS = 1_000_000_000
_SOON_NS = 10_000_000_000  # what is no further ahead is waited for
_TABLE_HEAD = "# Made from KeyDB. Identifies patients.\n"
_JAVA_BLANKS = "".join(map(chr, range(33)))


SEPARATOR = "|"
KNOWN, OTHER_ISSUER, UNKNOWN = "known", "other-issuer", "unknown"


def key(patient_id: str, issuer: str) -> str:
    """What CTP looks up."""
    return f"{patient_id}{SEPARATOR}{issuer}"


class Patients:
    """Who is known: PatientID and issuer to pseudonym."""

    def __init__(self, pseudonyms: Mapping[str, str]) -> None:
        """``pseudonyms`` by ``key``."""
        self.pseudonyms = pseudonyms
        self._ids = {each.rpartition(SEPARATOR)[0] for each in pseudonyms}

    def __len__(self) -> int:
        """How many patients: one may be known by several issuers."""
        return len(set(self.pseudonyms.values()))

    def state(self, patient_id: str, issuer: str) -> str:
        """``KNOWN``, ``OTHER_ISSUER`` when only the PatientID is, or ``UNKNOWN``."""
        if key(patient_id, issuer) in self.pseudonyms:
            return KNOWN
        return OTHER_ISSUER if patient_id in self._ids else UNKNOWN


@dataclass(frozen=True)
class Table:
    """The patients that CTP can know: ``key`` to pseudonym, PatientID to days where dates shift."""

    pseudonyms: Mapping[str, str]
    shifts: Mapping[str, int]
    excluded: Mapping[str, int]
    """How many patients were left out, by reason."""

    def properties(self) -> str:
        """The table as CTP reads it."""
        lines = [_TABLE_HEAD]
        lines += [
            f"PatientID/{escape(each)}={escape(self.pseudonyms[each])}\n"
            for each in sorted(self.pseudonyms)
        ]
        lines += [f"DateShift/{escape(each)}={self.shifts[each]}\n" for each in sorted(self.shifts)]
        return "".join(lines)


def table(
    rows: Iterable[tuple[Any, ...]],
    prefixes: tuple[str, ...],
    date_shift: bool,
    issuers: Sequence[str] = ("",),
) -> Table:
    """Make the table of rows of PatientID, issuer, pseudonym and, with ``date_shift``, days.

    A patient with an issuer is known by that one alone; one without by each of ``issuers``, unless
    that one has given the PatientID to a patient of its own. What is ambiguous all the same is left
    out: a PatientID and issuer with several pseudonyms, and, since CTP looks the days up by the
    PatientID alone, a PatientID with several shifts. So is a pseudonym that the safety filter would
    stop, and what could be taken for another PatientID and issuer.
    """
    excluded = {"ambiguous": 0, "prefix": 0, "date_shift": 0, "empty": 0, "separator": 0}
    found: dict[tuple[str, str], set[tuple[str, int | None]]] = {}
    days_of: dict[str, set[int | None]] = {}
    for row in rows:
        # As CTP makes the key of the elements' values.
        patient_id = _text(row[0]).replace("\\", "").strip(_JAVA_BLANKS)
        shift = row[3] if date_shift and row[3] is not None else None
        days = None if shift is None else int(shift)
        found.setdefault((patient_id, _text(row[1]).strip(_JAVA_BLANKS)), set()).add(
            (_text(row[2]).strip(_JAVA_BLANKS), days)
        )
        days_of.setdefault(patient_id, set()).add(days)
    good: dict[tuple[str, str], str] = {}
    shifts: dict[str, int] = {}
    for (patient_id, issuer), names in found.items():
        pseudonym, days = next(iter(names))
        if not patient_id:
            excluded["empty"] += 1
        elif SEPARATOR in patient_id + issuer:
            excluded["separator"] += 1
        elif len(names) > 1 or len(days_of[patient_id]) > 1:
            excluded["ambiguous"] += 1
        elif not _is_pseudonym(pseudonym, prefixes):
            excluded["prefix"] += 1
        elif date_shift and days is None:
            excluded["date_shift"] += 1
        else:
            good[patient_id, issuer] = pseudonym
            if days is not None:
                shifts[patient_id] = days
    pseudonyms = {key(*each): pseudonym for each, pseudonym in good.items() if each[1]}
    for (patient_id, issuer), pseudonym in good.items():
        if not issuer:
            for accepted in issuers:
                # One that was left out is of another patient, too.
                if not accepted or (patient_id, accepted) not in found:
                    pseudonyms[key(patient_id, accepted)] = pseudonym
    return Table(pseudonyms, shifts, {why: n for why, n in excluded.items() if n})


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _is_pseudonym(value: str, prefixes: tuple[str, ...]) -> bool:
    return (
        value.startswith(prefixes)
        and len(value) <= 64
        and value.isascii()
        and value.isprintable()
        and "\\" not in value
    )


def escape(text: str) -> str:
    """A key or a value of Java properties, in ASCII (java.util.Properties.load)."""
    result = []
    for character in text:
        if character in " :=#!\\":
            result.append("\\" + character)
        elif " " < character <= "~":
            result.append(character)
        else:
            units = character.encode("utf-16-be", "surrogatepass")
            result += [f"\\u{units[i] << 8 | units[i + 1]:04X}" for i in range(0, len(units), 2)]
    return "".join(result)


def unescape(text: str) -> str:
    """The reverse of ``escape``."""
    result = bytearray()
    position = 0
    while position < len(text):
        if text.startswith("\\u", position):
            result += int(text[position + 2 : position + 6], 16).to_bytes(2, "big")
            position += 6
            continue
        if text[position] == "\\":
            position += 1
        result += text[position : position + 1].encode("utf-16-be")
        position += 1
    return result.decode("utf-16-be", "surrogatepass")


def read_values(text: str) -> dict[str, str]:
    """Kind and key, with a slash between them, to value, of a table that this program wrote."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        position = 0
        while position < len(line) and line[position] != "=":
            position += 2 if line[position] == "\\" else 1
        found[unescape(line[:position])] = unescape(line[position + 1 :])
    return found


def read_pseudonyms(text: str) -> dict[str, str]:
    """``key`` to pseudonym of a table that this program wrote.

    One of before it knew issuers says nothing of them: what it has is not known.
    """
    found = {}
    for line in text.splitlines():
        if line.startswith("PatientID/"):
            position = len("PatientID/")
            while position < len(line) and line[position] != "=":
                position += 2 if line[position] == "\\" else 1
            key, value = line[len("PatientID/") : position], line[position + 1 :]
            if SEPARATOR in key:
                found[unescape(key)] = unescape(value)
    return found


class TableFile:
    """The file. One writer; CTP reads it at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._again = False

    def ensure(self) -> str:
        """Its content; an empty table is made where there is none: CTP never looks for it again.

        For a CTP that has not read it yet: a time in the future is set back.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            self.write(_TABLE_HEAD)
            return _TABLE_HEAD
        if self._is_ahead():
            self._set_time(self.path)
        return text

    def write(self, text: str) -> bool:
        """Replace the file as a whole. Whether a CTP that runs can read it.

        It cannot when the clock was set back since the table before: a time that is newer than
        that one's lies in the future, and CTP reads no table before it is a second old.
        """
        readable = not self._is_ahead()
        whole_files.replace(self.path, text.encode("ascii"), stamp=self._set_time)
        self._again = True
        return readable

    def settle(self) -> None:
        """Renew the time of a table that was written since the last call."""
        if self._again:
            self._again = False
            if not self._is_ahead():
                self._set_time(self.path)

    def _modified(self) -> int:
        try:
            return self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _is_ahead(self) -> bool:
        return self._modified() > time.time_ns() + _SOON_NS

    def _set_time(self, path: Path) -> None:
        before = 0 if self._is_ahead() else self._modified()
        # Old enough for CTP to read at once, and newer than the one before.
        when = max(before + _STEP_NS, time.time_ns() - _OLD_NS)
        os.utime(path, ns=(when, when))


class KeyDBRows:
    """The rows of KeyDB. One connection, made anew, with the secrets read anew, when lost."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._source = (
            f"({settings.keydb.query}) AS known" if settings.keydb.query else "ctp_patient"
        )
        self._query = ""
        self._connection: Any = None

    def __call__(self) -> list[tuple[Any, ...]]:
        """Ask KeyDB. Raises ``UnavailableError``, which names no identifier."""
        import psycopg

        try:
            if self._connection is None:
                self._connection = self._connect(psycopg)
                self._query = self._select(self._connection)
            rows: list[tuple[Any, ...]] = self._connection.execute(self._query.encode()).fetchall()
            return rows
        except (psycopg.Error, SettingsError, OSError) as error:
            self.close()
            # The message of the error could quote an identifier: the class and SQLSTATE do not.
            state = getattr(error, "sqlstate", None)
            raise UnavailableError(
                f"{type(error).__name__}{f' {state}' if state else ''}"
            ) from None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _select(self, connection: Any) -> str:
        """The question, as far as the site's own query has what can be asked for."""
        issuer = "issuer"
        if self._settings.keydb.query:
            empty = connection.execute(f"SELECT * FROM {self._source} LIMIT 0".encode())
            if "issuer" not in [column.name for column in empty.description or ()]:
                issuer = "''"
        columns = f"patient_id, {issuer}, pseudonym"
        if self._settings.date_shift:
            columns += ", date_shift_days"
        return f"SELECT {columns} FROM {self._source}"

    def _connect(self, psycopg: Any) -> Any:
        keydb = self._settings.keydb
        where: dict[str, Any] = {"host": keydb.host}
        if keydb.tls_name:
            # The certificate is the machine's, and names the machine.
            where = {
                "host": keydb.tls_name,
                "hostaddr": socket.gethostbyname(keydb.host),
                "sslmode": "verify-full",
                "sslrootcert": self._settings.trusted or "system",
            }
        return psycopg.connect(
            **where,
            port=keydb.port,
            dbname=keydb.database,
            user=self._settings.secret("keydb_user"),
            password=self._settings.secret("keydb_pass"),
            application_name="ctp_supervisor",
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=15000,
            options="-c statement_timeout=10s -c default_transaction_read_only=on",
            autocommit=True,
        )


class UnavailableError(Exception):
    """KeyDB gave no answer: away, login refused, view missing."""


class LookupUpdater:
    """Keeps the file equal to KeyDB."""

    def __init__(
        self,
        settings: Settings,
        rows: Callable[[], list[tuple[Any, ...]]] | None = None,
        unreadable: Callable[[], None] = lambda: None,
    ) -> None:
        """``rows`` asks KeyDB, or stands in for it in a test. ``unreadable`` is called when there
        is a new table that only a CTP that is started now can read."""
        self._settings = settings
        self._rows = rows or KeyDBRows(settings)
        self._unreadable = unreadable
        self._file = TableFile(settings.lookup_table)
        self._stop = threading.Event()
        self.first_answer = threading.Event()
        self._text = self._file.ensure()
        self.patients = Patients(read_pseudonyms(self._text))
        self.tables = Tables(settings.data, read_values(self._text))
        self._excluded: Mapping[str, int] = {}
        self._answered: float | None = None
        self._problem = "not asked yet"

    def start(self) -> None:
        """Follow KeyDB from now on."""
        threading.Thread(target=self._run, name="lookup", daemon=True).start()

    def stop(self) -> None:
        """Follow it no more."""
        self._stop.set()

    def state(self) -> dict[str, Any]:
        """What the status shows."""
        answered = self._answered
        return {
            "state": self._problem or "ok",
            "patients": len(self.patients),
            "excluded": dict(self._excluded),
            "age_seconds": None if answered is None else round(time.monotonic() - answered, 1),
        }

    @property
    def problem(self) -> str:
        """Why the table may be out of date; empty when it is not."""
        return self._problem

    def update(self) -> None:
        """Ask once, and write the table when it changed."""
        try:
            rows = self._rows()
        except UnavailableError as error:
            if self._problem != f"away ({error})":
                LOG.warning("KeyDB does not answer (%s); the last lookup table stays", error)
            self._problem = f"away ({error})"
            return
        settings = self._settings
        made = table(rows, settings.pseudonym_prefixes, settings.date_shift, settings.issuers)
        patients = Patients(made.pseudonyms)
        text = made.properties()
        if text != self._text:
            values = read_values(text)
            self.tables.announce(values)
            readable = self._file.write(text)
            self._text, self.tables.current = text, values
            if not readable:
                self._unreadable()
            LOG.info(
                "The lookup table has %d patients; left out: %s",
                len(patients),
                dict(made.excluded) or "none",
            )
        else:
            self._file.settle()
        if self._problem.startswith("away"):
            LOG.info("KeyDB answers again")
        self.patients = patients
        self._excluded = made.excluded
        self._answered = time.monotonic()
        self._problem = ""
        self.first_answer.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.update()
            except OSError as error:
                # A full disk: the last good table stays.
                LOG.error("The lookup table cannot be written (%s)", type(error).__name__)
                self._problem = f"not writable ({type(error).__name__})"
            self._stop.wait(POLL_SECONDS)
