"""What is asked of KeyDB, and the view in front of its own table, in real PostgreSQL."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adopt.by_hand import KEYDB_SEEN, whole
from ansible_collections.auscat.imaging.plugins.module_utils.adopt import findings, look
from ansible_collections.auscat.imaging.plugins.module_utils.services import scram
from services.test_database import Database

OWN = """
CREATE TABLE patient (mrn varchar(20) PRIMARY KEY, anon_id varchar(20) UNIQUE NOT NULL);
CREATE SCHEMA "study data";
CREATE TABLE "study data"."Cohort" (a int, b date);
CREATE VIEW known AS SELECT mrn FROM patient;
INSERT INTO patient VALUES ('0012345', 'ANON-1'), ('0067890', 'ANON-2');
CREATE ROLE ctp_key_db_select LOGIN PASSWORD 'changeme';
GRANT SELECT ON patient TO ctp_key_db_select;
"""


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """Give a running server whose key_db is a site's own."""
    with tempfile.TemporaryDirectory(prefix="adopt-") as name:
        made = Database(Path(name))
        made.own()
        made.output("initdb", "-D", str(made.data), "-U", "key_admin", "-A", "trust", "-N")
        made.serve()
        try:
            made.output("psql", "--dbname=postgres", "--command=CREATE DATABASE key_db")
            made.ask(OWN)
            yield made
        finally:
            made.stop()


def ask(database: Database, statements: str) -> Any:
    return json.loads(database.ask(look.READ_ONLY + statements))


def test_the_server(database: Database) -> None:
    found = ask(database, look.SERVER)
    assert found["databases"] == ["key_db"]
    assert found["roles"] == ["ctp_key_db_select", "key_admin"]
    assert (found["superuser"], found["data"]) == (True, str(database.data))
    assert found["number"] // 10000 == int(found["version"].split(".")[0])


def test_its_tables(database: Database) -> None:
    found = look.tables(lambda text: ask(database, text))
    assert [(each["schema"], each["name"], each["kind"], each["rows"]) for each in found] == [
        ("public", "known", "VIEW", 2),
        ("public", "patient", "BASE TABLE", 2),
        ("study data", "Cohort", "BASE TABLE", 0),
    ]
    assert [each["read_by_ctp"] for each in found] == [False, True, False]
    assert [each["name"] for each in found[1]["columns"]] == ["mrn", "anon_id"]
    assert "0012345" not in json.dumps(found)


def test_looking_cannot_write(database: Database) -> None:
    code, said = database.psql(f"{look.READ_ONLY}DELETE FROM patient;")
    assert code != 0
    assert "read-only transaction" in said


def test_the_view_completed_takes_what_the_loader_and_the_proof_write(database: Database) -> None:
    sql = findings.view({"node01": whole(keydb=KEYDB_SEEN)})
    for word, name in (("IDENTIFIER", "mrn"), ("PSEUDONYM", "anon_id"), ("TABLE", "patient")):
        sql = sql.replace(word, name)
    database.ask(sql)
    database.ask("INSERT INTO auscat_pairs (patient_id, issuer, pseudonym) VALUES ('7', '', 'X')")
    assert database.ask("SELECT * FROM patient WHERE mrn = '7'") == "7|X"
    reader = "SELECT pseudonym FROM auscat_pairs WHERE patient_id = '7'"
    assert database.ask(reader, user="ctp_key_db_select") == "X"
    database.ask("DELETE FROM auscat_pairs WHERE patient_id = '7'")
    assert database.ask("SELECT count(*) FROM patient") == "2"


def test_an_old_verifier_goes_back_as_it_was(database: Database) -> None:
    question = "SELECT rolpassword FROM pg_authid WHERE rolname = 'ctp_key_db_select'"
    old = database.ask(question)
    assert scram.matches("changeme", old)
    alter = "ALTER ROLE ctp_key_db_select PASSWORD"
    database.ask(f"{alter} '{scram.verifier('another password')}';")
    assert scram.matches("another password", database.ask(question))
    database.ask(f"{alter} '{old}';")
    assert database.ask(question) == old
