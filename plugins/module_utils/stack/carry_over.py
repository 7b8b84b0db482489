"""What a version that failed took in while it ran, given to the version that runs again.

Orthanc acknowledges an object when its file is in the storage and its row in the index. The index
is put back, so the files that came since are stored again, over the REST API. Of KeyDB's data all
is put back; the patients that came since are read by the version that wrote them, without a
network, and entered again.
"""

from __future__ import annotations

import base64
import ctypes
import http.client
import json
import socket
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError, run
from ansible_collections.auscat.imaging.plugins.module_utils.host.tables import counted
from ansible_collections.auscat.imaging.plugins.module_utils.services import psql
from ansible_collections.auscat.imaging.plugins.module_utils.services.keydb import (
    KeydbError,
    find_container,
    literal,
    qualified,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services.orthanc import first_admin

READY_SECONDS = 90.0
CLONE_NEWNET = 0x40000000  # of Linux; setns(2)


class CarryOverError(RuntimeError):
    """Something could not be given to the version that runs again; the text says what and why."""


def dicom_object(content: bytes) -> bytes | None:
    """Return the DICOM object in a file of Orthanc's storage; None where it holds something else.

    With StorageCompression, Orthanc writes the size (8 bytes, little endian) and a zlib stream.
    """
    if content[128:132] == b"DICM":
        return content
    if len(content) > 8:
        with suppress(zlib.error):
            plain = zlib.decompress(content[8:])
            if len(plain) == int.from_bytes(content[:8], "little") and plain[128:132] == b"DICM":
                return plain
    return None


def orthanc_objects(
    stack: str, setting: Mapping[str, Any], source: Path, files: Iterable[Path]
) -> str:
    """Store the objects in these files again, remove the files, and say how many there were.

    A file that Orthanc refuses stays where it is: what was half-written when the version ended.

    Args:
        stack: name of the stack.
        setting: service (its name in the stack) and port (of its REST API in its container, which
            no version has to publish).
        source: Orthanc's directory on the host.
        files: relative to it.

    Returns:
        How many were stored and which were refused, in words; empty for neither.

    Raises:
        CarryOverError: Orthanc cannot be asked. The files that are left stay.
    """
    listed = list(files)
    if not listed:
        return ""
    container = find_container(stack, str(setting["service"]))
    if container is None:
        raise CarryOverError(f"No container of {stack}_{setting['service']} runs here.")
    headers = _orthanc_login(container)
    pid = int(run(["docker", "inspect", "--format", "{{.State.Pid}}", container]))

    def connect() -> http.client.HTTPConnection:
        return ConnectionWithin(pid, int(setting["port"]), timeout=120)

    stored, refused = store_again(connect, headers, source, listed)
    notes = []
    if stored:
        notes.append(f"{counted(stored, 'object')} that it had received meanwhile stored again")
    if refused:
        notes.append(
            f"{counted(len(refused), 'file')} that it left refused as no DICOM object with the "
            "marks of this node, most likely half-written and never acknowledged. Each stays until "
            "you remove it: "
            f"{', '.join(refused)}"
        )
    return "; ".join(notes)


class ConnectionWithin(http.client.HTTPConnection):
    """A connection to a port of loopback in the network of a process."""

    def __init__(self, pid: int, port: int, timeout: float) -> None:
        super().__init__("127.0.0.1", port, timeout=timeout)
        self.network = Path(f"/proc/{pid}/ns/net")

    def connect(self) -> None:
        """Connect; a thread of its own goes there, and the socket stays there when it ends."""
        with ThreadPoolExecutor(1) as thread:
            self.sock = thread.submit(self._enter).result()

    def _enter(self) -> socket.socket:
        libc = ctypes.CDLL(None, use_errno=True)
        with self.network.open() as opened:
            if libc.setns(opened.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {self.network}")
        return socket.create_connection((self.host, self.port), self.timeout)


def store_again(
    connect: Callable[[], http.client.HTTPConnection],
    headers: Mapping[str, str],
    source: Path,
    files: Iterable[Path],
) -> tuple[int, list[str]]:
    """Give Orthanc the objects in files, and remove each file that it took or that holds none.

    Args:
        connect: to Orthanc's REST API.
        headers: log in.
        source: the directory of the files.
        files: relative to it.

    Returns:
        How many objects it took, and the paths of those that it refused as bad (HTTP status 400).

    Raises:
        CarryOverError: it cannot be reached, or refuses one for another reason (a full disk).
    """
    stored = 0
    refused: list[str] = []
    for file in files:
        path = source / file
        content = dicom_object(path.read_bytes())
        if content is not None:
            connection = connect()
            try:
                connection.request("POST", "/instances", body=content, headers=dict(headers))
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise _not_taken(path, str(error), stored) from error
            finally:
                connection.close()
            if answer.status == http.HTTPStatus.BAD_REQUEST:
                refused.append(str(path))
                continue
            if answer.status != http.HTTPStatus.OK:
                raise _not_taken(path, f"HTTP status {answer.status}", stored)
            stored += 1
        path.unlink()
    return stored, refused


def _not_taken(path: Path, why: str, stored: int) -> CarryOverError:
    return CarryOverError(
        f"Orthanc did not take {path} back ({why}); stored again before: {stored}. "
        "The others are where they were: send them once Orthanc answers"
    )


def _orthanc_login(container: str) -> dict[str, str]:
    """Log in as a user of the running Orthanc: the inventory may know others by now."""
    text = run(["docker", "exec", container, "cat", "/run/secrets/orthanc.json"])
    name, password = first_admin(json.loads(text))
    if not name:
        return {}
    login = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {login}"}


def keydb_pairs(
    stack: str,
    setting: Mapping[str, Any],
    images: Iterable[str],
    environment: Mapping[str, str],
    left: Path,
) -> str:
    """Enter the patients that a failed version's database has and the running one lacks.

    Args:
        stack: name of the stack.
        setting: service, user (superuser), database, table, and mounted (where the service has its
            data directory).
        images: that of the version that failed and, should it not start, the one before.
        environment: what it ran with.
        left: the data that it left, as `data_copy.DataCopy.failed`.

    Returns:
        How many there were, in words; empty for none.

    Raises:
        CarryOverError: the database that it left cannot be read, or a pair of it cannot be entered.
    """
    user, database = str(setting["user"]), str(setting["database"])
    table = qualified(str(setting["table"]))
    running = find_container(stack, str(setting["service"]))
    if running is None:
        raise CarryOverError(f"No container of {stack}_{setting['service']} runs here.")
    problem: CarryOverError | None = None
    for image in images:
        try:
            found = _read(
                image, environment, left, str(setting["mounted"]), (user, database, table)
            )
            break
        except CarryOverError as error:
            problem = problem or error
    else:
        raise problem or CarryOverError("there is no image to read it with")
    rows = literal(json.dumps(found))
    # The columns are those of the database that runs: one that only the other has is left out.
    statements = f"""
        CREATE TEMPORARY TABLE carried AS
            SELECT c.* FROM json_populate_recordset(NULL::{table}, {rows}::json) c
            WHERE NOT EXISTS (SELECT FROM {table} p
                              WHERE (p.patient_id, p.issuer) = (c.patient_id, c.issuer));
        INSERT INTO {table} SELECT * FROM carried;
        SELECT to_json(count(*)) FROM carried;
    """
    try:
        count = int(_ask(running, user, database, statements))
    except CarryOverError as error:
        raise CarryOverError(f"Patients could not be entered again: {error}") from error
    return f"{counted(count, 'patient')} loaded meanwhile entered again" if count else ""


def _read(
    image: str,
    environment: Mapping[str, str],
    left: Path,
    mounted: str,
    place: tuple[str, str, str],
) -> Any:
    user, database, table = place
    arguments = ["docker", "run", "--detach", "--network", "none"]
    for name, value in sorted(environment.items()):
        arguments += ["--env", f"{name}={value}"]
    try:
        reader = run([*arguments, "--volume", f"{left}:{mounted}", image]).strip()
    except CommandError as error:
        raise CarryOverError(f"{image} cannot be started: {error}") from error
    try:
        statement = f"SELECT coalesce(json_agg(p), '[]') FROM {table} p;"
        return _ask_when_ready(reader, user, database, statement)
    finally:
        with suppress(CommandError):
            run(["docker", "rm", "--force", "--volumes", reader])


def _ask_when_ready(container: str, user: str, database: str, statements: str) -> Any:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            return json.loads(_ask(container, user, database, statements))
        except CarryOverError as error:
            state = run(["docker", "inspect", "--format", "{{.State.Running}}", container]).strip()
            if state != "true" or time.monotonic() > deadline:
                raise CarryOverError(f"what it left cannot be read: {error}") from error
        time.sleep(0.5)


def _ask(container: str, user: str, database: str, statements: str) -> str:
    arguments = psql.command(container, "--single-transaction", user=user, database=database)
    try:
        return run(arguments, stdin=statements, timeout=600)
    except (CommandError, KeydbError) as error:
        raise CarryOverError(str(error)) from error
