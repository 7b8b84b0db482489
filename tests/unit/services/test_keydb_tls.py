"""KeyDB over TLS in a real PostgreSQL, with the rules and the command of the role."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates
from ansible_collections.auscat.imaging.plugins.module_utils.proof import keydb_tls
from ctp_standin.lookup import KeyDBLookup, LookupUnavailableError
from ctp_supervisor.lookup.keydb import KeyDBRows, UnavailableError
from ctp_supervisor.settings import KeyDB

REPOSITORY = Path(__file__).resolve().parents[3]
ROLE = yaml.safe_load((REPOSITORY / "roles/keydb/vars/main.yml").read_text())
PROGRAMS = max(
    Path("/usr/lib/postgresql").glob("*/bin"),
    key=lambda path: int(path.parent.name),
    default=Path("/nowhere"),
)
PASSWORD = "synthetic-9f2c"

pytestmark = pytest.mark.skipif(
    not (PROGRAMS / "postgres").exists(), reason="postgresql is not installed"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server in the directory, and those that ask it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.authority = certificates.make_authority()
        self.trusted = directory / "ca.pem"
        self.trusted.write_text(certificates.trusted(self.authority))
        self.stranger = directory / "stranger.pem"
        self.stranger.write_text(certificates.trusted(certificates.make_authority()))
        # A server does not start as root.
        self.user = pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None

    def run(self, *command: str, stdin: str = "") -> str:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.directory,
            user=self.user,
            env={"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "LC_ALL": "C"},
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        pair = certificates.issue(self.authority, ["kv01", "10.20.1.10"])
        (self.directory / "tls.crt").write_text(pair["certificate"])
        (self.directory / "tls.key").write_text(pair["key"])
        (self.directory / "pg_hba.conf").write_text(ROLE["__keydb_hba"])
        (self.directory / "tls.key").chmod(0o400)
        if self.user:
            for path in [self.directory, *self.directory.rglob("*")]:
                shutil.chown(path, self.user, self.user)
        data = str(self.directory / "data")
        self.run("initdb", "-D", data, "-U", "key_admin", "--auth=trust", "--no-sync", "-E", "UTF8")
        program, *options = ROLE["__keydb_tls_command"]
        assert program == "postgres"
        given = " ".join(options).replace("/run/secrets", str(self.directory))
        given = given.replace("/etc/keydb-tls", str(self.directory))
        given += f" -p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off"
        given += f" -c unix_socket_directories={self.directory}"
        log = str(self.directory / "log")
        self.run("pg_ctl", "-D", data, "-w", "-l", log, "-o", given, "start")
        local = ("-h", str(self.directory), "-p", str(self.port), "-U", "key_admin")
        self.run("createdb", *local, "key_db")
        schema = (REPOSITORY / "images/keydb/schema.sql").read_text()
        more = f"ALTER ROLE ctp_key_db_select PASSWORD '{PASSWORD}';"
        more += "INSERT INTO patient (patient_id, pseudonym) VALUES ('P1', 'ANON-1');"
        self.run("psql", *local, "-q", "-v", "ON_ERROR_STOP=1", "key_db", stdin=schema + more)

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-w", "-m", "fast", "stop")

    def connect(self, **options: Any) -> Any:
        return psycopg.connect(
            port=self.port,
            dbname="key_db",
            user="ctp_key_db_select",
            **{"host": "127.0.0.1", "password": PASSWORD, **options},
        )

    def rows(self, name: str = "kv01", trusted: Path | None = None) -> list[tuple[Any, ...]]:
        secrets = {"keydb_user": "ctp_key_db_select", "keydb_pass": PASSWORD}
        settings: Any = SimpleNamespace(
            keydb=KeyDB("localhost", self.port, "key_db", "", name),
            trusted=str(trusted or self.trusted),
            date_shift=False,
            secret=secrets.__getitem__,
        )
        ask = KeyDBRows(settings)
        try:
            return ask()
        finally:
            ask.close()

    def pseudonym(self, name: str = "kv01", trusted: Path | None = None) -> str | None:
        (self.directory / "keydb_user").write_text("ctp_key_db_select")
        (self.directory / "keydb_pass").write_text(PASSWORD)
        lookup = KeyDBLookup(
            "localhost",
            self.port,
            "key_db",
            self.directory,
            tls_name=name,
            trusted=str(trusted or self.trusted),
        )
        try:
            return lookup.pseudonym("P1", "")
        finally:
            lookup.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as directory:
        made = Server(Path(directory))
        made.start()
        yield made
        made.stop()


def test_clear_text_is_rejected(server: Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        server.connect(sslmode="disable")
    assert keydb_tls.plain_problems("127.0.0.1", server.port)[0] == []


def test_what_a_client_needs_by_default_is_tls(server: Server) -> None:
    """As psql, and the JDBC driver of the AusCAT image, which prefer it."""
    with server.connect() as connection:
        assert connection.pgconn.ssl_in_use
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.connect(password="wrong")


def test_verify_full_is_by_name_and_ca(server: Server) -> None:
    verify = {"sslmode": "verify-full", "hostaddr": "127.0.0.1"}
    for name in ("kv01", "10.20.1.10"):
        with server.connect(host=name, sslrootcert=str(server.trusted), **verify) as connection:
            assert connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        server.connect(host="kv02", sslrootcert=str(server.trusted), **verify)
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        server.connect(host="kv01", sslrootcert=str(server.stranger), **verify)


def test_ctp_looks_up_by_name_and_ca(server: Server) -> None:
    assert server.rows() == [("P1", "", "ANON-1")]
    assert server.pseudonym() == "ANON-1"
    for wrong in ({"name": "kv02"}, {"trusted": server.stranger}):
        with pytest.raises(UnavailableError):
            server.rows(**wrong)
        with pytest.raises(LookupUnavailableError):
            server.pseudonym(**wrong)


def test_old_protocols_are_refused(server: Server) -> None:
    with pytest.raises(psycopg.OperationalError):
        server.connect(ssl_min_protocol_version="TLSv1", ssl_max_protocol_version="TLSv1.1")


def test_the_proof_sees_who_answers(server: Server) -> None:
    ask = ("127.0.0.1", server.port, str(server.trusted))
    assert keydb_tls.tls_problems(*ask, "kv01")[0] == []
    with pytest.raises(OSError, match="Hostname mismatch"):
        keydb_tls.tls_problems(*ask, "kv02")
    with pytest.raises(OSError, match="certificate verify failed"):
        keydb_tls.tls_problems("127.0.0.1", server.port, str(server.stranger), "kv01")


def test_the_proof_sees_a_server_without_tls(server: Server) -> None:
    # A reload of the server takes new rules; those of a server without TLS.
    rules, data = server.directory / "pg_hba.conf", str(server.directory / "data")
    before = rules.read_text()
    try:
        rules.write_text("local all all trust\nhost all all all scram-sha-256\n")
        server.run("pg_ctl", "-D", data, "reload")
        problems: list[str] = []
        for _ in range(200):
            problems, _ = keydb_tls.plain_problems("127.0.0.1", server.port)
            if problems:
                break
        assert problems == [f"port {server.port} asks for the password in clear text"]
    finally:
        rules.write_text(before)
        server.run("pg_ctl", "-D", data, "reload")
