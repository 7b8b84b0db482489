"""A PostgreSQL database: dumped, put back and tried."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, cast

from . import base, engine, parts


class Database(parts.Part):
    """A database of PostgreSQL, such as KeyDB: a dump of it, and its roles."""

    _EXEC = (
        'exec "$0" --username="$(cat "$POSTGRES_USER_FILE" 2>/dev/null ||'
        ' echo "${POSTGRES_USER:-key_admin}")" "$@"'
    )

    @property
    def dump(self) -> str:
        """Name of the file with the dump."""
        return f"{self.name}.dump"

    def random_logins(self) -> dict[str, str]:
        """See ``Part``. The superuser alone has the name that the dump knows."""
        user_file = Path(str(self.settings["environment"].get("POSTGRES_USER_FILE", ""))).name
        return {
            file: str(self.settings["user"]) if file == user_file else secrets.token_hex(16)
            for file in self.settings["secrets"]
        }

    def _in(self, container: str, program: str, *arguments: str) -> list[str]:
        return [
            "docker",
            "exec",
            "--interactive",
            container,
            "sh",
            "-c",
            self._EXEC,
            program,
            *arguments,
        ]

    def take(self) -> dict[str, Any]:
        """Dump the database as it is at one moment; nothing is held."""
        container = engine.container_of(self.service)
        if container is None:
            raise base.BackupError(
                f"{self.service} does not run, so it cannot be dumped. Start it first."
            )
        self.stage.mkdir(mode=0o700, exist_ok=True)
        self.when = datetime.now(timezone.utc).strftime(base.TIME)
        database = str(self.settings["database"])
        for name, command in (
            ("globals.sql", self._in(container, "pg_dumpall", "--globals-only")),
            (
                self.dump,
                self._in(
                    container, "pg_dump", "--format=custom", "--create", f"--dbname={database}"
                ),
            ),
        ):
            descriptor = os.open(self.stage / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.PIPE,
                    check=False,
                )
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip()[-300:]
                raise base.BackupError(f"{self.title} could not be dumped: {said}")
        rows = self._rows_of_dump(container)
        counts: dict[str, Any] = {f"{self.name}_rows": rows}
        table = str(self.settings["table"]).rpartition(".")[2]
        if table:
            counts["key_pairs"] = next(
                (n for name, n in rows.items() if name.rpartition(".")[2] == table), None
            )
        return counts

    def _rows_of_dump(self, container: str) -> dict[str, int]:
        rows: dict[str, int] = {}
        with (self.stage / self.dump).open("rb") as dump, subprocess.Popen(
            ["docker", "exec", "--interactive", container, "pg_restore", "--data-only", "--file=-"],
            stdin=dump, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            table = ""
            for line in cast("IO[bytes]", process.stdout):
                if table and line == b"\\.\n":
                    table = ""
                elif table:
                    rows[table] += 1
                elif line.startswith(b"COPY "):
                    table = line.split()[1].decode()
                    rows[table] = 0
        if process.returncode:
            raise base.BackupError(f"The dump of {self.title} cannot be read back.")
        return rows

    def put(self, restored: Path, target: Path, manifest: Mapping[str, Any]) -> None:
        """Keep the dump beside the database until it is loaded."""
        (restored / self.dump).rename(target / base.RESTORING / self.dump)
        (restored / "globals.sql").rename(target / base.RESTORING / "globals.sql")

    def check(self, target: Path, manifest: Mapping[str, Any], logins: Mapping[str, str]) -> str:
        """Let the image make a database, load the dump, and count the rows of each table."""
        source = target / base.RESTORING
        user = str(self.settings["user"])
        with self._server(target, logins) as container:
            known = set(self._psql(container, user, "SELECT rolname FROM pg_roles;").split("\n"))
            roles = without_roles((source / "globals.sql").read_text(), known)
            self._psql(container, user, roles)
            with (source / self.dump).open("rb") as dump:
                done = subprocess.run(
                    ["docker", "exec", "--interactive", container, "pg_restore",
                     f"--username={user}",
                     "--dbname=postgres", "--create", "--clean", "--if-exists", "--exit-on-error"],
                    stdin=dump, capture_output=True, check=False,
                )  # fmt: skip
            if done.returncode:
                # A message could quote a row: only the kind of object that failed is told.
                said = re.sub(r"\(.*", "", done.stderr.decode(errors="replace"))[-300:]
                raise base.BackupError(
                    f"The dump of {self.title} could not be loaded: {said.strip()}"
                )
            database = str(self.settings["database"])
            rows = manifest["counts"][f"{self.name}_rows"]
            for table, wanted in rows.items():
                count = self._psql(container, user, f"SELECT count(*) FROM {table};", database)
                if int(count) != wanted:
                    raise base.BackupError(
                        f"{table} has {count} rows in the restored {self.title} and not {wanted}."
                    )
        if self.settings["table"]:
            return base.counted(manifest["counts"]["key_pairs"], "key pair")
        return f"{base.counted(sum(rows.values()), 'row')} of {self.title}"

    def _psql(self, container: str, user: str, statements: str, database: str = "postgres") -> str:
        return engine.docker(
            "exec", "--interactive", container, "psql", "--no-psqlrc", "--quiet", "--no-align",
            "--tuples-only", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse", f"--username={user}",
            f"--dbname={database}", "--file=-", stdin=statements, what="psql",
        )  # fmt: skip

    @contextlib.contextmanager
    def _server(self, target: Path, logins: Mapping[str, str]) -> Iterator[str]:
        owner, group = int(self.settings["owner"]), int(self.settings["group"])
        outer = Path(tempfile.mkdtemp(prefix="auscat-backup-", dir=base.RUN))
        inner = outer / "secrets"
        inner.mkdir()
        inner.chmod(0o755)
        name = f"auscat-{target.name.strip('.')}-{self.name}-{os.getpid()}"
        try:
            for key, value in logins.items():
                path = inner / key
                path.touch(mode=0o400)
                path.write_text(value)
                os.chown(path, owner, group)
            environment = [f"--env={k}={v}" for k, v in self.settings["environment"].items()]
            engine.docker(
                "run", "--detach", f"--name={name}", f"--label={base.LABEL}",
                "--network=none",
                # Its health check would hold the database that pg_restore replaces.
                "--no-healthcheck", "--stop-signal=SIGINT", *environment,
                f"--volume={inner}:/run/secrets:ro",
                f"--volume={target}:{self.settings['target']}", self.image(),
                what=f"Starting {self.title}",
            )  # fmt: skip
            # Over TCP: while a database is made, the image's server listens on its socket only.
            engine.wait_until(
                f"{self.title} is ready",
                lambda: subprocess.run(
                    ["docker", "exec", name, "pg_isready", "--quiet", "--host=127.0.0.1"],
                    capture_output=True, check=False,
                ).returncode == 0,
                name, 180,
            )  # fmt: skip
            yield name
            engine.docker("stop", "--time", "60", name)
        finally:
            engine.remove_container(name)
            shutil.rmtree(outer)


def without_roles(globals_sql: str, known: Iterable[str]) -> str:
    """Return what pg_dumpall wrote without making or changing roles that exist, passwords included.

    Those are the superuser and CTP's role, which have the inventory's passwords.
    """
    names = {name for each in known for name in (each, '"' + each.replace('"', '""') + '"')}

    def concerns(line: str) -> bool:
        found = re.match(r'(?:CREATE|ALTER) ROLE ("(?:[^"]|"")*"|[^\s;]+)', line)
        return bool(found and found[1] in names)

    return "".join(f"{line}\n" for line in globals_sql.splitlines() if not concerns(line))
