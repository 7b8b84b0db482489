"""Pseudonyms from KeyDB: PostgreSQL, through the view ``ctp_patient`` or the site's own query."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg
from program_settings import SettingsError, read_secret

from .settings import Settings

LOG = logging.getLogger(__name__)

PATIENT_ID, DATE_SHIFT = "PatientID", "DateShift"
"""What rendered scripts look up: the pseudonym, and the days to move dates by."""

_COLUMNS = {PATIENT_ID: "pseudonym", DATE_SHIFT: "date_shift_days"}


class LookupUnavailableError(Exception):
    """KeyDB gave no answer (away, login refused, view missing): the question must be repeated."""


class OtherIssuerError(Exception):
    """The PatientID is known, but only as given by another issuer: of another patient, perhaps."""


class PatientLookup(Protocol):
    """Where pseudonyms come from."""

    def pseudonym(self, patient_id: str, issuer: str) -> str | None:
        """The patient's pseudonym, or ``None`` for an unknown patient.

        The exact issuer comes before a patient without one, who is known by those that the site
        lists. Raises ``OtherIssuerError``, and ``LookupUnavailableError`` when there is no answer.
        """
        ...  # pragma: no cover

    def date_shift(self, patient_id: str, issuer: str) -> str | None:
        """The days that the patient's dates are moved by, in digits; otherwise as `pseudonym`."""
        ...  # pragma: no cover


class KeyDBLookup:
    """``PatientLookup`` in KeyDB. One connection, made anew, with the secrets read anew, when lost.

    Not thread-safe: it belongs to the worker.
    """

    def __init__(
        self,
        host: str,
        port: int,
        database: str,
        secrets_directory: Path,
        query: str = "",
        issuers: Sequence[str] = ("",),
        tls_name: str = "",
        trusted: str = "",
    ) -> None:
        """``issuers``: by which a patient is known who is in KeyDB without one. ``tls_name``: that
        KeyDB's certificate is for, ``trusted``: file of the CAs (empty: the system's)."""
        # Percent signs are the site's own; only the question around them has a parameter.
        known = f"({query.replace('%', '%%')}) AS known" if query else "ctp_patient"
        self._query = f"SELECT * FROM {known} WHERE patient_id = %s"
        self._issuers = tuple(issuers)
        self._host = host
        self._port = port
        self._database = database
        self._tls_name = tls_name
        self._trusted = trusted
        self._secrets_directory = secrets_directory
        self._connection: psycopg.Connection | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> KeyDBLookup:
        """A lookup in the KeyDB that the settings name."""
        return cls(
            settings.keydb_host,
            settings.keydb_port,
            settings.keydb_database,
            settings.secrets_directory,
            settings.keydb_query,
            settings.issuers,
            settings.keydb_tls_name,
            settings.tls_trusted,
        )

    def pseudonym(self, patient_id: str, issuer: str) -> str | None:
        """See ``PatientLookup``; every answer is asked of KeyDB, nothing is cached."""
        return self._answer(PATIENT_ID, patient_id, issuer)

    def date_shift(self, patient_id: str, issuer: str) -> str | None:
        """See ``PatientLookup``."""
        return self._answer(DATE_SHIFT, patient_id, issuer)

    def _answer(self, kind: str, patient_id: str, issuer: str) -> str | None:
        reused = self._connection is not None
        try:
            return self._ask(kind, patient_id, issuer)
        except LookupUnavailableError:
            if not reused:
                raise
        # A connection that was idle while KeyDB restarted fails once, and only once.
        return self._ask(kind, patient_id, issuer)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, kind: str, patient_id: str, issuer: str) -> str | None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            cursor = self._connection.execute(self._query.encode(), (patient_id,))
            rows = cursor.fetchall()
            columns = [column.name for column in cursor.description or ()]
        except (psycopg.Error, SettingsError, OSError) as error:
            self.close()
            # The message of the error could quote the identifier: the class and SQLSTATE do not.
            state = getattr(error, "sqlstate", None)
            raise LookupUnavailableError(
                f"{type(error).__name__}{f' {state}' if state else ''}"
            ) from None
        if _COLUMNS[kind] not in columns:
            raise LookupUnavailableError(f"its answer has no column {_COLUMNS[kind]}")
        wanted = columns.index(_COLUMNS[kind])
        by_issuer = {
            str(row[columns.index("issuer")] or "") if "issuer" in columns else "": row[wanted]
            for row in rows
        }
        if issuer not in by_issuer and issuer in self._issuers:
            issuer = ""
        if issuer in by_issuer:
            found = by_issuer[issuer]
            return None if found in (None, "") else str(found)
        if by_issuer:
            raise OtherIssuerError
        return None

    def _connect(self) -> psycopg.Connection:
        where: dict[str, Any] = {"host": self._host}
        if self._tls_name:
            # The certificate is the machine's, and names the machine.
            where = {
                "host": self._tls_name,
                "hostaddr": socket.gethostbyname(self._host),
                "sslmode": "verify-full",
                "sslrootcert": self._trusted or "system",
            }
        connection = psycopg.connect(
            **where,
            port=self._port,
            dbname=self._database,
            user=read_secret(self._secrets_directory, "keydb_user"),
            password=read_secret(self._secrets_directory, "keydb_pass"),
            application_name="ctp_standin",
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=15000,
            options="-c statement_timeout=10s",
            autocommit=True,
        )
        LOG.info("Connected to KeyDB at %s:%d", self._host, self._port)
        return connection
