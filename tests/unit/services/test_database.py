"""KeyDB's schema, the way of an older database to it, and what works on it, in real PostgreSQL."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.proof.names import (
    patient_identifier,
    pseudonym_of,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.patients import REMOVE_PROOFS
from ansible_collections.auscat.imaging.plugins.module_utils.services import psql

IMAGE = Path(__file__).resolve().parents[3] / "images/keydb"
SCHEMA_1 = Path(__file__).with_name("schema-1.sql")
PROGRAMS = max(
    Path("/usr/lib/postgresql").glob("*/bin"),
    key=lambda path: int(path.parent.name),
    default=Path("/nowhere"),
)

pytestmark = pytest.mark.skipif(
    not (PROGRAMS / "postgres").exists() or shutil.which("psql") is None,
    reason="postgresql is not installed",
)

PATIENTS = "SELECT patient_id, issuer, pseudonym, added_at, added_by FROM patient ORDER BY 1, 2"
SHIFTS = "SELECT patient_id, date_shift_days FROM patient ORDER BY 1, 2"
VERSIONS = "SELECT version, applied_at FROM schema_version ORDER BY 1"


class Database:
    """A data directory, and the programs that work on it, as a user that PostgreSQL accepts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.migrations = directory / "migrations"
        self.script = directory / "migrate.sh"
        # A server does not start as root.
        self.user = pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None

    def own(self) -> None:
        if self.user:
            for path in [self.directory, *self.directory.rglob("*")]:
                shutil.chown(path, self.user, self.user)

    def start_process(self, *command: str) -> subprocess.Popen[str]:
        path = f"{PROGRAMS}:{os.environ['PATH']}"
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
            user=self.user,
            env={"PATH": path, "LC_ALL": "C", "PGHOST": str(self.directory), "PGUSER": "key_admin"},
            start_new_session=True,
        )

    def run(self, *command: str, stdin: str = "") -> tuple[int, str]:
        with self.start_process(*command) as process:
            said, _ = process.communicate(stdin, timeout=60)
        return process.returncode, said

    def output(self, *command: str, stdin: str = "") -> str:
        code, said = self.run(*command, stdin=stdin)
        assert code == 0, said
        return said

    def serve(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.directory} -c fsync=off"
        log = str(self.directory / "log")
        command = ("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", options, "start")
        self.output(*command)

    def stop(self) -> None:
        self.output("pg_ctl", "-D", str(self.data), "-w", "-m", "fast", "stop")

    def psql(self, sql: str, user: str = "key_admin") -> tuple[int, str]:
        settings = (
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
        )
        command = ("psql", *settings, f"--username={user}", "--dbname=key_db", "--file=-")
        return self.run(*command, stdin=sql)

    def ask(self, sql: str, user: str = "key_admin") -> str:
        code, said = self.psql(sql, user)
        assert code == 0, said
        return said.strip()

    def schema(self) -> str:
        """Return all definitions, grants included."""
        dump = self.output("pg_dump", "--schema-only", "key_db")
        return re.sub(r"^\\(un)?restrict .*$", "", dump, flags=re.MULTILINE)

    @property
    def migrate_command(self) -> tuple[str, ...]:
        return ("bash", str(self.script), str(self.data), "key_db", str(self.migrations))

    def migrate(self) -> tuple[int, str]:
        return self.run(*self.migrate_command)


@pytest.fixture(scope="module")
def empty() -> Iterator[Path]:
    """A server's data directory with an empty key_db, to be copied."""
    with tempfile.TemporaryDirectory(prefix="keydb-") as name:
        database = Database(Path(name))
        database.own()
        # Small segments: every test copies the directory.
        options = ("-U", "key_admin", "-A", "trust", "-N", "--wal-segsize=1")
        database.output("initdb", "-D", str(database.data), *options)
        database.serve()
        database.output("psql", "--dbname=postgres", "--command=CREATE DATABASE key_db")
        database.stop()
        yield database.data


@pytest.fixture
def database(empty: Path) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="keydb-") as name:
        database = Database(Path(name))
        shutil.copytree(empty, database.data)
        shutil.copytree(IMAGE / "migrations", database.migrations)
        shutil.copy(IMAGE / "migrate.sh", database.script)
        database.own()
        database.serve()
        yield database
        if (database.data / "postmaster.pid").exists():
            database.run("pg_ctl", "-D", str(database.data), "-m", "immediate", "stop")


@pytest.fixture
def schema_1(database: Database) -> Database:
    """A database of schema 1 with patients; it is not served."""
    database.ask(SCHEMA_1.read_text())
    database.ask(
        "INSERT INTO patient (patient_id, issuer, pseudonym)"
        " SELECT 'P' || n, CASE n % 2 WHEN 0 THEN '' ELSE 'HOSP' END, 'ANON-' || n"
        " FROM generate_series(1, 2000) n;"
        "CREATE VIEW site_pairs AS SELECT * FROM ctp_patient"
    )
    return database


def latest() -> int:
    return max(int(path.stem) for path in (IMAGE / "migrations").glob("*.sql"))


def test_a_new_database_has_the_latest_version(database: Database) -> None:
    database.ask((IMAGE / "schema.sql").read_text())
    assert database.ask("SELECT version FROM schema_version") == str(latest())


def test_a_migrated_database_is_like_a_new_one(schema_1: Database) -> None:
    patients = schema_1.ask(PATIENTS)
    schema_1.stop()
    code, said = schema_1.migrate()
    assert code == 0, said
    schema_1.serve()
    assert schema_1.ask(PATIENTS) == patients
    assert len(schema_1.ask("SELECT * FROM site_pairs").splitlines()) == 2000
    schema_1.ask("DROP VIEW site_pairs")
    migrated = schema_1.schema()
    schema_1.ask(
        "DROP TABLE schema_version, patient CASCADE; DROP FUNCTION refuse_changed_pair;"
        "DROP OWNED BY ctp_key_db_select; DROP ROLE ctp_key_db_select"
    )
    schema_1.ask((IMAGE / "schema.sql").read_text())
    assert schema_1.schema() == migrated


def test_each_patient_gets_a_shift_that_is_kept(schema_1: Database) -> None:
    schema_1.stop()
    assert schema_1.migrate()[0] == 0
    schema_1.serve()
    shifts = [int(line.split("|")[1]) for line in schema_1.ask(SHIFTS).splitlines()]
    assert len(shifts) == 2000
    assert -3650 <= min(shifts) <= -3550
    assert -130 <= max(shifts) <= -30
    assert len(set(shifts)) > 1000
    seen = schema_1.ask(
        "SELECT date_shift_days FROM ctp_patient WHERE patient_id = 'P7'", "ctp_key_db_select"
    )
    assert int(seen) in shifts
    code, said = schema_1.psql("UPDATE patient SET date_shift_days = -1 WHERE patient_id = 'P7'")
    assert code != 0
    assert "is kept for ever" in said
    schema_1.ask("UPDATE patient SET added_by = 'custodian' WHERE patient_id = 'P7'")
    for shift in (0, 40000):
        code, said = schema_1.psql(
            "INSERT INTO patient (patient_id, pseudonym, date_shift_days)"
            f" VALUES ('x', 'y', {shift})"
        )
        assert code != 0
        assert "date_shift_days_range" in said


def test_a_migration_by_hand_is_like_that_of_the_image(schema_1: Database) -> None:
    """For an image that has no migrate.sh (docs/keydb.md)."""
    schema_1.ask("DROP VIEW site_pairs")
    psql = ("psql", "--dbname=key_db", "--single-transaction", "--set=ON_ERROR_STOP=1")
    for version in range(2, latest() + 1):
        migration = (IMAGE / f"migrations/{version}.sql").read_text()
        schema_1.output(*psql, stdin=migration)
        before = [schema_1.schema(), schema_1.ask(SHIFTS)]
        code, said = schema_1.run(*psql, stdin=migration)
        assert code != 0
        assert "schema_version_pkey" in said
        assert [schema_1.schema(), schema_1.ask(SHIFTS)] == before


@pytest.mark.parametrize("way", ["new", "migrated"])
def test_a_no_break_space_at_the_ends_is_part_of_an_identifier(
    schema_1: Database, way: str
) -> None:
    """In a locale where it is white space, as in the image's."""
    schema_1.ask(
        "DROP VIEW site_pairs; DROP TABLE patient CASCADE; DROP OWNED BY ctp_key_db_select"
    )
    schema_1.ask("DROP ROLE ctp_key_db_select; DROP DATABASE IF EXISTS unicode")
    made = "CREATE DATABASE unicode TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
    schema_1.ask(f"{made} LOCALE_PROVIDER icu ICU_LOCALE 'und'")
    psql = ("psql", "--dbname=unicode", "--quiet", "--set=ON_ERROR_STOP=1", "--tuples-only")
    assert schema_1.output(*psql, "-c", "SELECT E'\\u00a0' ~ '[[:space:]]'").strip() == "t"
    scripts = [IMAGE / "schema.sql"]
    if way == "migrated":
        scripts = [SCHEMA_1, *(IMAGE / f"migrations/{n}.sql" for n in range(2, latest() + 1))]
    for script in scripts:
        schema_1.output(*psql, "--single-transaction", stdin=script.read_text())

    def insert(patient_id: str, issuer: str = "") -> str:
        values = f"E'{patient_id}', E'{issuer}', 'ANON-' || random()"
        return schema_1.run(
            *psql, "-c", f"INSERT INTO patient (patient_id, issuer, pseudonym) VALUES ({values})"
        )[1]

    for sound in ("12", "12\\u00a0", "\\u00a012", "1\\u00a02"):
        assert insert(sound) == ""
    assert insert("12", "H\\u00a0") == ""
    for wrong in ("13 ", " 13", "1\\t", "1\\\\2", "1\\n", "1" * 65):
        assert "patient_id_dicom_lo" in insert(wrong)
        assert "issuer_dicom_lo" in insert("14", wrong)
    for blank in ("", "\\u00a0"):
        assert "patient_id_blank" in insert(blank)


def test_a_second_start_changes_nothing(schema_1: Database) -> None:
    schema_1.stop()
    assert schema_1.migrate()[0] == 0
    schema_1.serve()
    before = [schema_1.ask(sql) for sql in (SHIFTS, VERSIONS)]
    schema_1.stop()
    code, said = schema_1.migrate()
    assert code == 0
    assert "bringing" not in said
    schema_1.serve()
    assert [schema_1.ask(sql) for sql in (SHIFTS, VERSIONS)] == before


def spoil(database: Database, statement: str, version: int) -> None:
    """Let a migration end with a statement."""
    with (database.migrations / f"{version}.sql").open("a", encoding="utf-8") as file:
        file.write(f"{statement}\n")


def repair(database: Database) -> None:
    shutil.copytree(IMAGE / "migrations", database.migrations, dirs_exist_ok=True)


def test_a_migration_that_fails_leaves_everything_as_it_was(schema_1: Database) -> None:
    before = [schema_1.schema(), schema_1.ask(VERSIONS)]
    schema_1.stop()
    spoil(schema_1, "SELECT 1 / 0;", 2)
    code, said = schema_1.migrate()
    assert code == 1
    assert "division by zero" in said
    assert "could not be brought from schema 1 to 2" in said
    assert "Nothing was changed. Start the image before this one" in said
    schema_1.serve()
    assert [schema_1.schema(), schema_1.ask(VERSIONS)] == before


def test_a_start_that_was_killed_is_finished_by_the_next(schema_1: Database) -> None:
    before = schema_1.ask(PATIENTS)
    schema_1.stop()
    reached = schema_1.directory / "reached"
    spoil(schema_1, f"COPY (SELECT 1) TO '{reached}'; SELECT pg_sleep(60);", latest())
    with schema_1.start_process(*schema_1.migrate_command) as process:
        deadline = time.monotonic() + 30
        while not reached.exists():
            assert time.monotonic() < deadline, "the migration did not come to its end within 30 s"
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()  # ends with the last process that could write to it
    # The entrypoint does so, which knows by its own lock that nothing runs on the directory.
    (schema_1.data / "postmaster.pid").unlink()
    repair(schema_1)
    code, said = schema_1.migrate()
    assert code == 0, said
    assert "not properly shut down" in said
    schema_1.serve()
    assert schema_1.ask(PATIENTS) == before
    assert (
        schema_1.ask("SELECT max(version), count(*) FROM schema_version")
        == f"{latest()}|{latest()}"
    )


def test_a_schema_of_a_site_is_left_alone(database: Database) -> None:
    """Its own table of the same name does not make it one of this project."""
    database.ask(
        "CREATE TABLE patient (mrn text); CREATE TABLE schema_version (version text);"
        "INSERT INTO schema_version VALUES ('1')"
    )
    before = database.schema()
    database.stop()
    code, said = database.migrate()
    assert code == 0
    assert "has no schema of this project: it is left as it is" in said
    database.serve()
    assert database.schema() == before


def test_a_database_that_does_not_exist(database: Database) -> None:
    database.stop()
    command = [part if part != "key_db" else "absent" for part in database.migrate_command]
    code, said = database.run(*command)
    assert code == 1
    assert 'database "absent" does not exist' in said
    assert "must be the name that it was created with" in said


def test_settings_of_a_site_do_not_hinder_it(schema_1: Database) -> None:
    schema_1.ask(
        "ALTER DATABASE key_db SET default_transaction_read_only = on;"
        "ALTER ROLE key_admin SET search_path = elsewhere; ALTER ROLE key_admin SET"
        " statement_timeout = 1"
    )
    schema_1.stop()
    code, said = schema_1.migrate()
    assert code == 0, said
    assert f"has schema {latest()} now" in said


def test_patients_of_proofs_are_removed_and_nobody_else(database: Database) -> None:
    database.ask((IMAGE / "schema.sql").read_text())
    token, other = "1234567890", "1234567891"
    known = patient_identifier(token, known=True)
    proofs = [
        (known, pseudonym_of(token)),
        (patient_identifier(other, known=True), pseudonym_of(other, "ANON-")),
    ]
    real = [
        (patient_identifier(token, known=False), pseudonym_of(token, "A-")),
        (f"{known}2", pseudonym_of(token, "B-")),
        (patient_identifier("1000000000", known=True), pseudonym_of(token, "C-")),
        (patient_identifier("1000000001", known=True), "ANON-1"),
        ("12", pseudonym_of(token, "D-")),
        ("PROOF-1", "PROOF-ANON-2"),
    ]
    values = ", ".join(
        f"('{patient_id}', '{pseudonym}')" for patient_id, pseudonym in proofs + real
    )
    database.ask(f"INSERT INTO patient (patient_id, pseudonym) VALUES {values}")
    removed = database.ask(REMOVE_PROOFS.format(table='"patient"'))
    assert sorted(removed.splitlines()) == sorted(pseudonym for _, pseudonym in proofs)
    left = database.ask("SELECT patient_id || '|' || pseudonym FROM patient")
    assert sorted(left.splitlines()) == sorted("|".join(pair) for pair in real)


def in_the_container(command: list[str]) -> list[str]:
    """What docker would start there."""
    assert command[:3] == ["docker", "exec", "--interactive"]
    return command[command.index("container") + 1 :]


def test_psql_prints_rows_and_tells_an_error_without_the_row(database: Database) -> None:
    command = in_the_container(psql.command("container", user="key_admin"))
    made = "CREATE TABLE patient (id text PRIMARY KEY); INSERT INTO patient VALUES ('DOE-1');"
    assert database.output(*command, stdin=made) == ""
    assert database.output(*command, stdin="SELECT id, 2 FROM patient;") == "DOE-1|2\n"

    code, said = database.run(
        *command, stdin="INSERT INTO patient VALUES ('DOE-1'); DELETE FROM patient;"
    )
    assert code == 3
    assert "duplicate key" in said
    assert "DOE-1" not in said
    assert database.output(*command, stdin="SELECT id FROM patient;") == "DOE-1\n"


def test_psql_is_given_options_and_asks_what_they_say(database: Database) -> None:
    options = ("--single-transaction", "--command=SELECT 7")
    command = psql.command("container", *options, user="key_admin", database="postgres")
    assert database.output(*in_the_container(command), stdin="SELECT 8;") == "7\n"


def test_psql_as_the_superuser_leaves_its_name_in_the_container(database: Database) -> None:
    secret = database.directory / "keydb_user"
    secret.write_text("key_admin")
    command = in_the_container(psql.command("container"))
    assert not [each for each in command if "key_admin" in each]
    own = [each.replace("/run/secrets/keydb_user", str(secret)) for each in command]
    assert database.output("env", "PGUSER=nobody", *own, stdin="SELECT current_user;") == (
        "key_admin\n"
    )
