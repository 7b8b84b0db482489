"""psql inside a container, as all modules of this collection start it.

The programs that are installed on a machine (backup/program, status/node_status) have to do without
this collection and say it themselves.
"""

from __future__ import annotations

DEFAULT_DATABASE = "key_db"
#: The name of the superuser is in a secret of the container, and stays there.
_AS_SUPERUSER = 'exec "$0" --username="$(cat /run/secrets/keydb_user)" "$@"'


def command(
    container: str,
    *options: str,
    user: str | None = None,
    database: str = DEFAULT_DATABASE,
) -> list[str]:
    """Return the command that reads statements from standard input and prints rows alone.

    Statements go over standard input: a command line can be read by every user of the host. The
    first error ends it, and is told without the row that it is about.

    Args:
        container: id or name of a running container that has psql.
        options: further ones of psql. Those that say where statements come from replace standard
            input.
        user: the role of the database; None: the superuser, by the container's own secret.
        database: name of the database.
    """
    environment = ("--env=PGCLIENTENCODING=UTF8", "--env=PGCONNECT_TIMEOUT=10")
    program = ("psql",) if user is not None else ("sh", "-c", _AS_SUPERUSER, "psql")
    role = (f"--username={user}",) if user is not None else ()
    asked = any(each.startswith(("--file=", "--command=")) for each in options)
    return [
        *("docker", "exec", "--interactive", *environment, container, *program),
        *("--no-psqlrc", "--quiet", "--no-align", "--tuples-only"),
        # Terse: DETAIL and LINE of an error would quote the row.
        *("--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse"),
        *role,
        f"--dbname={database}",
        *options,
        *(() if asked else ("--file=-",)),
    ]
