"""Pseudonyms from KeyDB: PostgreSQL, through the view ``ctp_patient`` or the site's own query."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import psycopg

from .settings import Settings, SettingsError, read_secret

LOG = logging.getLogger(__name__)

# '' sorts before every other issuer, so the exact one comes first.
_QUERY = (
    "SELECT pseudonym FROM ctp_patient WHERE patient_id = %s AND issuer IN (%s, '')"
    " ORDER BY issuer DESC LIMIT 1"
)


class LookupUnavailableError(Exception):
    """KeyDB gave no answer (away, login refused, view missing): the question must be repeated."""


class PatientLookup(Protocol):
    """Where pseudonyms come from."""

    def pseudonym(self, patient_id: str, issuer: str) -> str | None:
        """The patient's pseudonym, or ``None`` for an unknown patient.

        The exact issuer comes before a patient without one.
        Raises ``LookupUnavailableError`` when there is no answer.
        """
        ...  # pragma: no cover


class KeyDBLookup:
    """``PatientLookup`` in KeyDB. One connection, made anew, with the secrets read anew, when lost.

    Not thread-safe: it belongs to the worker.
    """

    def __init__(
        self, host: str, port: int, database: str, secrets_directory: Path, query: str = ""
    ) -> None:
        self._query = _QUERY
        if query:
            # Percent signs are the site's own; only the question around them has a parameter.
            known = query.replace("%", "%%")
            self._query = f"SELECT pseudonym FROM ({known}) AS known WHERE patient_id = %s"
        self._with_issuer = not query
        self._host = host
        self._port = port
        self._database = database
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
        )

    def pseudonym(self, patient_id: str, issuer: str) -> str | None:
        """See ``PatientLookup``; every answer is asked of KeyDB, nothing is cached."""
        reused = self._connection is not None
        try:
            return self._ask(patient_id, issuer)
        except LookupUnavailableError:
            if not reused:
                raise
        # A connection that was idle while KeyDB restarted fails once, and only once.
        return self._ask(patient_id, issuer)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, patient_id: str, issuer: str) -> str | None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            asked = (patient_id, issuer) if self._with_issuer else (patient_id,)
            row = self._connection.execute(self._query.encode(), asked).fetchone()
        except (psycopg.Error, SettingsError) as error:
            self.close()
            # The message of the error could quote the identifier: the class and SQLSTATE do not.
            state = getattr(error, "sqlstate", None)
            raise LookupUnavailableError(
                f"{type(error).__name__}{f' {state}' if state else ''}"
            ) from None
        return str(row[0]) if row and row[0] else None

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(
            host=self._host,
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
