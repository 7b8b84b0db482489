"""Talk to KeyDB, the PostgreSQL server of the stack, through psql inside its container.

Statements and data go through standard input: a command line could be read by every process of the
host. The container's local socket must be trusted, as it is in this project's image and in the
official PostgreSQL image.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run
from ansible_collections.auscat.imaging.plugins.module_utils.services import psql


class KeydbError(Exception):
    """KeyDB could not do what was asked; the text says why and what to do."""


class KeydbAbsentError(KeydbError):
    """No container of the service runs on this host."""


class KeydbSilentError(KeydbError):
    """A container runs, but its server does not answer."""


def find_container(stack: str, service: str) -> str | None:
    """Return the id of the youngest running container of a Swarm service, or None.

    Raises:
        KeydbError: the Docker engine does not answer.
    """
    if shutil.which("docker") is None:
        return None
    try:
        names = run(
            [
                "docker", "ps", "--no-trunc", "--quiet", "--filter", "status=running",
                "--filter", f"label=com.docker.swarm.service.name={stack}_{service}",
            ]
        )  # fmt: skip
    except CommandError as error:
        raise KeydbError(
            f"The Docker engine could not list its containers: {error} Start the engine and run "
            "this again."
        ) from error
    return next(iter(names.split()), None)


class Keydb:
    """The KeyDB of one stack on this host."""

    def __init__(self, stack: str, service: str, user: str, wait: float = 30) -> None:
        """Find the running container and wait until its server answers.

        Args:
            stack: name of the Swarm stack.
            service: name of the service in it.
            user: the superuser of the database.
            wait: how long to wait for an answer, in seconds.

        Raises:
            KeydbAbsentError: nothing runs here.
            KeydbSilentError: nothing answered in time.
            KeydbError: the server answers, but not to this user.
        """
        self.service = f"{stack}_{service}"
        self.user = user
        deadline = time.monotonic() + wait
        while True:
            container = find_container(stack, service)
            if container is None:
                raise KeydbAbsentError(f"No container of the service {self.service} runs here.")
            self.container = container
            try:
                superuser = self.query(
                    "SELECT to_json(rolsuper) FROM pg_roles WHERE rolname = current_user;",
                    database="postgres",
                )
                break
            except KeydbError as error:
                if _refused(str(error)):
                    raise KeydbError(self._refusal(str(error))) from error
                if time.monotonic() >= deadline:
                    raise KeydbSilentError(
                        f"{self.service} runs, but did not answer within {wait:g} seconds: "
                        f"{_first_line(error)}."
                    ) from error
            time.sleep(0.5)
        if not superuser:
            raise KeydbError(
                f"keydb_user is {user!r}, which is no superuser of {self.service}. Accepted: the "
                "name that the database was created with. Set keydb_user to that name."
            )

    def query(
        self, statements: str, database: str = psql.DEFAULT_DATABASE, timeout: float = 600
    ) -> Any:
        """Run `statements` and return their last line of output, read as JSON (None: no output).

        Args:
            statements: what psql reads: SQL, its own commands, data for COPY.
            database: the database to connect to.
            timeout: seconds until the attempt is given up.

        Raises:
            KeydbError: psql failed; the text is its message, without the data of any row.
        """
        try:
            result = subprocess.run(
                psql.command(self.container, user=self.user, database=database),
                input=statements.encode("utf-8", "surrogateescape"),
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise KeydbError(
                f"{self.service} did not finish within {timeout:g} seconds. It may still do so: "
                "run this again to see."
            ) from error
        if result.returncode:
            message = result.stderr.decode("utf-8", "replace").strip()
            raise KeydbError(message or f"psql ended with code {result.returncode}")
        lines = result.stdout.decode("utf-8", "replace").strip().splitlines()
        return json.loads(lines[-1]) if lines else None

    def _refusal(self, message: str) -> str:
        """Explain why the server does not let this user in."""
        if "role" not in message or "does not exist" not in message:
            return (
                f"{self.service} refuses {self.user!r} on its local socket: "
                f"{_first_line(message)}. Accepted: the superuser that the database was created "
                "with (keydb_user), and an image with psql whose pg_hba.conf trusts the local "
                "socket, as this project's and the official one do (docs/keydb.md)."
            )
        show = 'cat "${POSTGRES_USER_FILE:-/run/secrets/keydb_user}"'
        try:
            name = run(["docker", "exec", self.container, "sh", "-c", show]).strip()
        except CommandError:
            name = ""
        present = f" The running service was given {name!r}." if name and name != self.user else ""
        return (
            f"keydb_user is {self.user!r}, but the database of {self.service} has no such role."
            f"{present} Accepted: the name that the database was created with, since the name acts "
            "at the first start only. Set keydb_user back to that name, or create the other role "
            "first (docs/keydb.md)."
        )


def _first_line(message: object) -> str:
    return str(message).partition("\n")[0].rstrip(".")


def _refused(message: str) -> bool:
    """Say whether waiting cannot help: the server, or the lack of psql, has the last word."""
    return "executable file not found" in message or (
        "FATAL:" in message and "the database system is" not in message
    )


def literal(text: str) -> str:
    """Return `text` as an SQL string (standard_conforming_strings on)."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return `name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def table_problem(name: str) -> str:
    """Return what is wrong with `name` as that of a table or view; empty when nothing is."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?", name):
        return ""
    return (
        f"keydb_table is {name!r}. Accepted: the name of a table or view, with its schema where "
        "needed: letters, digits and underscores, such as patient or keys.patient."
    )


def qualified(name: str) -> str:
    """Return the name of a table, with or without its schema, as quoted SQL identifiers."""
    return ".".join(identifier(part) for part in name.split("."))


def copy_field(text: str) -> str:
    """Return `text` as a field of COPY's text format."""
    for character, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, escaped)
    return text
