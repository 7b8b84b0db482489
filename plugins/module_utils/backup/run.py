#!/usr/bin/python3
"""Back up this machine's part of the node, restore it, and try a backup in a scratch place.

The role ``backup`` copies this file to the host, where the timers and the playbooks run it as
root. It
needs nothing but Python 3.9, restic and the docker command. Two kinds of data, each with a
repository
and a password of its own: ``identifiable`` (CTP, KeyDB) and ``deidentified`` (Orthanc).

    backup_run.py backup KIND [--wait SECONDS] [--adopt]
    backup_run.py verify KIND… [--wait SECONDS]    restore the newest snapshot to a scratch place,
    try it
    backup_run.py list KIND                        the snapshots, as JSON
    backup_run.py restore KIND --snapshot WHICH    secrets of new databases as JSON on standard
    input: service to file to content
    backup_run.py finish KIND…                     after all: until then, restore begins anew
    backup_run.py cleanup KIND                     remove what a run that was killed left

The last line of standard output is a JSON object; exit status 0: done, 1: an error, in ``error``.

Snapshots carry the tag ``unchecked`` until all that their index names is known to be in them; only
those
tagged ``complete`` are ever restored. A tag such as ``ctp.20260102T030405.678901Z`` says when that
part
was taken.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

SETTINGS = Path("/etc/auscat/backup/settings.json")
STATE = Path("/var/lib/auscat/backup")
LOCK = Path("/run/lock/auscat-backup.lock")
RUN = Path("/run")
CACHE = Path("/var/cache/auscat/restic")
# A server that is there and silent must not hold a run, and its lock, for ever.
ANSWER_SECONDS = 60.0

STAGE, SCRATCH, RESTORING, ASIDE = (
    ".auscat-backup",
    ".auscat-verify",
    ".auscat-restore",
    ".before-restore-",
)
"""Directories of this program inside a service's directory, so on that service's disk."""
LABEL = "auscat.backup=scratch"
"""Of the containers in which data is tried."""
KINDS = ("identifiable", "deidentified")
INDEX_FILES = ("index", "index-wal", "index-shm", "index-journal")
#: CTP makes the index of a quarantine anew; that one ended in order is not true of a copy.
CTP_LEFT_OUT = ("..index", "clean-stop", "supervisor.lock", ".lock")
PAUSE_SECONDS = 30.0
PAUSE_ATTEMPTS = 8
TAKES = 4
TIME = "%Y%m%dT%H%M%S.%fZ"


class BackupError(Exception):
    """What could not be done; the text says what, why, and what to do."""


class StoppedError(Exception):
    """Somebody told this run to end."""


def now() -> str:
    """Return the present time, ISO 8601 in UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def say(text: str) -> None:
    """Tell how far the run is."""
    print(f"backup: {text}", file=sys.stderr, flush=True)


# --- What restic says -----------------------------------------------------------------------------

_REASONS = (
    (
        r"wrong password or no key found",
        "The password does not open the repository. It is the one that the repository was made "
        "with, whatever the vault says now: put that one back into the vault (docs/backup.md).",
    ),
    (
        r"no space left on device|disk quota exceeded|sftp: \"Failure\"|SSH_FX_FAILURE",
        "The repository has no space left. Make room there, or lower backup_keep_daily and the "
        "like and run again: nothing that was complete before is lost.",
    ),
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION",
        "The server's host key is not in backup_sftp_known_hosts. Ask its administrator for the "
        "key, and set the line that `ssh-keyscan SERVER` gives only after comparing it.",
    ),
    (
        r"Permission denied \(publickey",
        "The server does not accept the key backup_sftp_private_key for this user.",
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|Access ?Denied|Access Key Id|request signature",
        "The object store does not accept backup_s3_access_key_id and backup_s3_secret_access_key.",
    ),
    (
        r"Could not resolve|no such host|Connection refused|No route to host|timed out|i/o timeout"
        r"|Network is unreachable|Connection reset|unable to start the sftp session|server closed",
        "The repository cannot be reached. Check whether the server runs, its name and address are "
        "right, and a firewall is in the way.",
    ),
    (
        r"already locked",
        "Another machine works on this repository, or was killed while it did. Each machine needs "
        "a repository of its own. When no other does: `restic unlock` (docs/backup.md).",
    ),
    (
        r"permission denied",
        "The repository's directory may not be written by the user it is opened as.",
    ),
)  # fmt: skip


def explain(said: str) -> str:
    """Return restic's complaint in plain words, with its own last line in parentheses."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if "atal" in line), lines[-1] if lines else "")
    for pattern, text in _REASONS:
        if re.search(pattern, said, re.IGNORECASE):
            return f"{text} (restic: {last[:300]})"
    return f"restic failed: {last[:500] or 'it said nothing'}"


def is_absent(said: str) -> bool:
    """Tell whether restic found the place but no repository in it."""
    if "specified bucket does not exist" in said:
        return True
    return bool(
        re.search(
            r"Is there a repository at the following location|unable to open config file", said
        )
    ) and bool(re.search(r"no such file|does not exist|not exist|404", said, re.IGNORECASE))


def sftp_command(repository: str, key_file: str, known_hosts_file: str) -> str:
    """Return the command by which restic reaches an SFTP repository; empty for others.

    Raises:
        BackupError: the repository names no user and host.
    """
    if not repository.startswith("sftp:"):
        return ""
    found = re.fullmatch(
        r"sftp://(?P<host>[^/:]+)(?::(?P<port>\d+))?/.+", repository
    ) or re.fullmatch(r"sftp:(?P<host>[^/:][^:]*):(?P<port>(?!))?.+", repository)
    if not found or not re.fullmatch(r"[\w.@-]+", found["host"]):
        raise BackupError(
            f"The repository {repository} names no SFTP server. Accepted: sftp:USER@HOST:/PATH or "
            "sftp://USER@HOST:PORT//PATH."
        )
    port = f" -p {found['port']}" if found["port"] else ""
    return (
        f"ssh -F none -i {key_file} -o IdentitiesOnly=yes -o UserKnownHostsFile={known_hosts_file} "
        "-o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes -o BatchMode=yes "
        f"-o ConnectTimeout=20 -o ServerAliveInterval=30{port} {found['host']} -s sftp"
    )


class Restic:
    """One repository."""

    def __init__(self, kind: str, settings: Mapping[str, Any], node: str) -> None:
        """Take ``repository``, ``password_file``, ``environment`` and ``sftp_command``."""
        self.kind = kind
        self.node = node
        self.repository = str(settings["repository"])
        self._there = ""
        self._options = (
            ["--option", f"sftp.command={settings['sftp_command']}"]
            if settings.get("sftp_command")
            else []
        )
        self._environment = {
            **{key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ},
            "HOME": "/root",
            **{str(key): str(value) for key, value in (settings.get("environment") or {}).items()},
            "RESTIC_REPOSITORY": self.repository,
            "RESTIC_PASSWORD_FILE": str(settings["password_file"]),
            "RESTIC_CACHE_DIR": str(CACHE),
        }

    def ask(
        self, *arguments: str, seconds: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run restic and return what it did, whatever that was.

        Where it has not ended within `seconds`, it is ended, and what it said until then returned.

        Raises:
            BackupError: it is not installed, or said nothing in that time.
        """
        CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return subprocess.run(
                ["restic", *self._options, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as ended:
            # The newer restic tries for a quarter of an hour, also what will never work.
            said = (ended.stderr or b"").decode(errors="replace")
            if said.strip():
                return subprocess.CompletedProcess(ended.cmd, 1, "", said)
            raise BackupError(
                f"The repository cannot be reached: it did not answer within {seconds:g} s. Look "
                "whether the server works, and a firewall is in the way."
            ) from None
        except FileNotFoundError:
            raise BackupError("restic is not installed. Run site.yml, which installs it.") from None

    def run(self, *arguments: str) -> str:
        """Run restic and return its standard output. Raises ``BackupError`` in plain words."""
        done = self.ask(*arguments)
        if done.returncode:
            raise BackupError(explain(done.stderr + "\n" + done.stdout[-2000:]))
        return done.stdout

    def identifier(self) -> str | None:
        """Return the repository's own id; None where there is no repository. ``BackupError``."""
        done = self.ask("cat", "config", "--no-lock", seconds=ANSWER_SECONDS)
        if done.returncode == 0:
            return str(json.loads(done.stdout)["id"])
        if is_absent(done.stderr):
            return None
        raise BackupError(explain(done.stderr))

    def snapshots(self) -> list[dict[str, Any]]:
        """Return all snapshots, of whatever node and kind, oldest first."""
        found = json.loads(self.run("snapshots", "--json", "--no-lock") or "[]") or []
        return sorted(found, key=lambda each: parse_time(str(each["time"])))

    def open(self, write: bool, adopt: bool = False) -> list[dict[str, Any]]:
        """Make sure that this is the repository it should be, and return its snapshots.

        A repository is made where this machine has never used one. One that has vanished, was
        exchanged,
        or holds data of the other kind or of a node that this machine never was, is refused.

        Args:
            write: a backup follows. Only then is a repository made, and noted as this machine's:
                what merely reads must not let an empty machine write, and so forget, later.
            adopt: whether to go on with backups that this machine was not restored from.
        """
        noted = self._noted
        known = noted.read_text().split() if noted.exists() else []
        same_place = known[1:] == [hashlib.sha256(self.repository.encode()).hexdigest()]
        there = self.identifier()
        if there is None:
            if not write or (known and same_place):
                raise BackupError(
                    f"There is no repository at {self.repository}"
                    + (", where this machine's backups were" if known else "")
                    + ". Is the disk or the share mounted there? Nothing was made in its place."
                )
            say(f"making the repository {self.repository}")
            self.run("init")
            there = self.identifier()
        if known and same_place and there != known[0]:
            raise BackupError(
                f"The repository at {self.repository} is not the one that this machine used "
                f"before. Put that one back, or remove {noted} when the exchange is meant."
            )
        listed = self.snapshots()
        other = next(each for each in KINDS if each != self.kind)
        if any(other in (each.get("tags") or []) for each in listed):
            raise BackupError(
                f"The repository {self.repository} holds {other} data. Identifiable and "
                f"de-identified data never share one: give backup_{self.kind}_repository a place "
                "of its own."
            )
        mine = of_node(listed, self.node, self.kind)
        if write and mine and (not known or not same_place) and not adopt:
            raise BackupError(
                f"The repository {self.repository} holds backups of {self.node}, which this "
                "machine was not restored from. Restore them (playbooks/restore.yml), or go on "
                f"without them: playbooks/backup.yml -e backup_adopt={self.node}. Until then "
                "nothing is written there, so that the old ones are not forgotten in favour of an "
                "empty node."
            )
        self._there = str(there)
        if write:
            self.unlock()
            self.remember()
        return listed

    def unlock(self) -> None:
        """Remove locks of processes that have ended: no other run of this machine is under way."""
        self.run("unlock")

    def remember(self) -> None:
        """Note the repository that was opened as the one of this machine, which may write there:
        its backups are this machine's, or it holds what was restored from them."""
        digest = hashlib.sha256(self.repository.encode()).hexdigest()
        write_file(self._noted, f"{self._there} {digest}\n")

    @property
    def _noted(self) -> Path:
        return STATE / f"{self.kind}.repository"


def parse_time(text: str) -> datetime:
    """Read the time of a snapshot, of a tag, or of an operator (UTC where no zone is given).

    Raises:
        BackupError: it is none.
    """
    with contextlib.suppress(ValueError):
        return datetime.strptime(text, TIME).replace(tzinfo=timezone.utc)
    # restic gives nanoseconds, Python 3.9 reads microseconds.
    plain = re.sub(r"(\.\d{6})\d+", r"\1", text.strip()).replace("Z", "+00:00").replace(" ", "T", 1)
    plain = re.sub(r"\.(\d{1,5})(?=[+-]|$)", lambda found: f".{found[1]:0<6}", plain)
    try:
        found = datetime.fromisoformat(plain)
    except ValueError:
        raise BackupError(
            f"{text!r} is no time. Accepted: 2026-01-31T18:00:00, UTC unless it ends in +HH:MM."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def of_node(
    snapshots: Iterable[Mapping[str, Any]], node: str, kind: str
) -> list[Mapping[str, Any]]:
    """Return the complete snapshots of a node and a kind."""
    return [
        each
        for each in snapshots
        if each.get("hostname") == node and {kind, "complete"} <= set(each.get("tags") or [])
    ]


def taken(snapshot: Mapping[str, Any], part: str) -> datetime | None:
    """Return when a part of a snapshot was taken; None when it is not in it."""
    for tag in snapshot.get("tags") or []:
        name, _, stamp = str(tag).partition(".")
        if name == part and stamp:
            return parse_time(stamp)
    return None


def choose(
    snapshots: Iterable[Mapping[str, Any]],
    part: str,
    which: str = "latest",
    not_after: datetime | None = None,
) -> Mapping[str, Any]:
    """Choose the snapshot that a part is restored from.

    Args:
        snapshots: complete ones of one node and kind, oldest first.
        part: ctp, keydb or orthanc.
        which: ``latest``, the beginning of an id, or a time: the newest that was taken by then.
        not_after: the part was taken no later than this.

    Raises:
        BackupError: there is none.
    """
    having = [each for each in snapshots if taken(each, part)]
    if not having:
        raise BackupError(f"The repository holds no complete backup of {part}.")
    if which != "latest" and re.fullmatch(r"[0-9a-f]{8,64}", which):
        fitting = [each for each in having if str(each["id"]).startswith(which)]
    elif which != "latest":
        limit = parse_time(which)
        fitting = [each for each in having if (taken(each, part) or limit) <= limit]
    else:
        fitting = having
    if not fitting:
        listed = ", ".join(
            f"{each['id'][:8]} ({taken(each, part):%Y-%m-%d %H:%M}Z)" for each in having[-10:]
        )
        raise BackupError(
            f"restore_snapshot is {which}. Accepted: latest, a time, or one of {listed}."
        )
    earlier = [
        each for each in fitting if not not_after or (taken(each, part) or not_after) <= not_after
    ]
    # Better one that is too new than none: the caller compares and says what that means.
    return (earlier or fitting[:1])[-1]


# --- Docker ---------------------------------------------------------------------------------------


def docker(*arguments: str, stdin: str | None = None, what: str = "") -> str:
    """Run the docker command and return its trimmed output. Raises ``BackupError``."""
    done = subprocess.run(
        ["docker", *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise BackupError(
            f"{what or 'docker ' + arguments[0]} failed: "
            f"{(done.stderr or done.stdout).strip()[-500:]}"
        )
    return done.stdout.strip()


def container_of(service: str) -> str | None:
    """Return the running container of a Swarm service."""
    label = f"label=com.docker.swarm.service.name={service}"
    ids = docker("ps", "--quiet", "--no-trunc", "--filter", label, "--filter", "status=running")
    return next(iter(ids.split()), None)


def paused(containers: str) -> list[str]:
    """Return the paused containers of a Swarm service."""
    label = f"label=com.docker.swarm.service.name={containers}"
    return docker(
        "ps", "--quiet", "--no-trunc", "--filter", label, "--filter", "status=paused"
    ).split()


def hold(container: str, service: str) -> None:
    """Pause a container. The kernel refuses while a process of it cannot be frozen at that moment.

    Raises:
        BackupError: it refused each time; the container goes on.
    """
    for attempt in range(1, PAUSE_ATTEMPTS + 1):
        try:
            docker("pause", container, what=f"Pausing {service}")
            return
        except BackupError:
            if attempt == PAUSE_ATTEMPTS:
                raise
        time.sleep(0.5 * attempt)


@contextlib.contextmanager
def pause(service: str) -> Iterator[Callable[[], bool]]:
    """Hold a service still, and let it go on whatever becomes of this process.

    Gives a function that tells whether it was held all the while; a service that does not run is.
    """
    container = container_of(service)
    if container is None:
        yield lambda: container_of(service) is None
        return
    # It waits for the end of its standard input, which comes when this process ends in any way.
    with subprocess.Popen(
        [
            "sh",
            "-c",
            'trap "" INT TERM; read -r _; exec docker unpause "$1" >/dev/null',
            "sh",
            container,
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as guard:
        try:
            hold(container, service)
            yield lambda: container in paused(service)
        finally:
            assert guard.stdin is not None
            guard.stdin.close()
            guard.wait()


# --- Files ----------------------------------------------------------------------------------------


def write_file(path: Path, text: str) -> None:
    """Write a file for root alone, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def remove_tree(path: Path) -> None:
    """Remove a directory of this program, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def is_ours(name: str) -> bool:
    """Tell whether an entry of a service's directory was put there by this program."""
    return name in (STAGE, SCRATCH, RESTORING) or name.startswith(ASIDE)


def link_tree(source: Path, target: Path, deadline: float) -> int:
    """Make a second tree of the same files without copying objects; return how many there are.

    What CTP keeps beside its directories it rewrites in place, so that is copied. Objects are only
    ever
    moved, replaced and deleted.

    Raises:
        BackupError: the deadline (seconds of time.monotonic()) has passed.
    """
    count = 0

    def walk(directory: Path, copy: Path, top: bool) -> None:
        nonlocal count
        stat = directory.stat()
        copy.mkdir(mode=0o700)
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name in CTP_LEFT_OUT or (top and is_ours(entry.name)):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    walk(Path(entry.path), copy / entry.name, False)
                elif entry.is_file(follow_symlinks=False):
                    if top:
                        shutil.copy2(entry.path, copy / entry.name)
                        held = entry.stat(follow_symlinks=False)
                        os.chown(copy / entry.name, held.st_uid, held.st_gid)
                    else:
                        os.link(entry.path, copy / entry.name)
                    count += 1
                    if count % 1000 == 0 and time.monotonic() > deadline:
                        raise BackupError(
                            f"More than {count} files lie in {source}, too many to note within "
                            f"{PAUSE_SECONDS:g} s while CTP is held. Is Orthanc away for long, or "
                            "a quarantine full? Empty them first."
                        )
        os.chown(copy, stat.st_uid, stat.st_gid)
        copy.chmod(stat.st_mode & 0o7777)

    walk(source, target, True)
    return count


def copy_tree(source: Path, target: Path, deadline: float) -> int:
    """Copy a tree with its owners and modes; return how many files there are.

    Raises:
        BackupError: the deadline (seconds of time.monotonic()) has passed, or the disk has no room.
    """
    entries = [path for path in source.rglob("*") if not is_ours(path.relative_to(source).parts[0])]
    files = [path for path in entries if path.is_file() and not path.is_symlink()]
    needs_space(source, sum(path.stat().st_size for path in files))
    target.mkdir(mode=0o700)
    for path in [source, *entries]:
        copy = target / path.relative_to(source)
        if path.is_symlink():
            copy.symlink_to(path.readlink())
        elif path.is_dir():
            copy.mkdir(mode=0o700, exist_ok=True)
        elif path.is_file():
            shutil.copy2(path, copy)
        else:
            continue
        held = path.lstat()
        os.chown(copy, held.st_uid, held.st_gid, follow_symlinks=False)
        if not path.is_symlink():
            copy.chmod(held.st_mode & 0o7777)
        if time.monotonic() > deadline:
            raise BackupError(
                f"{source} could not be copied within {PAUSE_SECONDS:g} s while its service is "
                "held."
            )
    return len(files)


def needs_space(directory: Path, wanted: int) -> None:
    """Raise ``BackupError`` unless so many bytes are free, and a tenth more."""
    free = os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize
    if free < wanted * 1.1:
        raise BackupError(
            f"{directory} has {free / 1e9:.1f} GB free, and {wanted * 1.1 / 1e9:.1f} GB are "
            "needed. Make room, or enlarge the volume (docs/volumes.md)."
        )


# --- The parts: how each is taken, put back and tried ---------------------------------------------


class Part:
    """A service's data: ``name``, ``directory`` (on the host), ``service`` (its name in Swarm).

    ``form`` says how it is taken, ``title`` what people call the service.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take the settings that the role renders."""
        self.name = str(settings["name"])
        self.form = str(settings["form"])
        self.title = str(settings.get("title") or self.name)
        self.settings = settings
        self.directory = Path(settings["directory"])
        self.service = str(settings["service"])
        self.stage = self.directory / STAGE / self.name
        self.when = ""
        self.seconds = 0.0

    def paths(self) -> list[str]:
        """What restic takes."""
        return [str(self.stage)]

    def excludes(self) -> list[str]:
        """What restic leaves out."""
        return []

    def take(self) -> dict[str, Any]:
        """Put a consistent copy, or what it needs, into the stage; return what is in it."""
        raise NotImplementedError

    def unstable(self) -> int:
        """Return how much of what was taken is no longer there, so that it must be taken again."""
        return 0

    def put(self, restored: Path, target: Path, manifest: Mapping[str, Any]) -> None:
        """Move what restic restored to ``target``, a directory on the same file system."""
        raise NotImplementedError

    def check(self, target: Path, manifest: Mapping[str, Any], logins: Mapping[str, str]) -> str:
        """Compare what lies in ``target`` with the manifest; return it in words."""
        raise NotImplementedError

    def random_logins(self) -> dict[str, str]:
        """Return the secrets of a database that is made to be tried: file to content."""
        return {}

    def image(self) -> str:
        """Return the image that is deployed, or that the inventory wants."""
        with contextlib.suppress(BackupError):
            form = "{{.Spec.TaskTemplate.ContainerSpec.Image}}"
            return docker("service", "inspect", "--format", form, self.service)
        return str(self.settings["image"])

    def is_empty(self) -> bool:
        """Whether the directory holds nothing but what this program made."""
        try:
            names = [path.name for path in self.directory.iterdir()]
        except FileNotFoundError:
            return True
        return all(is_ours(name) or name == "lost+found" for name in names)


class Files(Part):
    """A directory as it is while its service is held."""

    def copy(self, deadline: float) -> int:
        """Copy the files into the stage; return how many. They may be written to afterwards."""
        return copy_tree(self.directory, self.stage / "files", deadline)

    def take(self) -> dict[str, Any]:
        """Copy all files while the service is held: each is in exactly one place then."""
        for _ in range(3):
            remove_tree(self.stage)
            self.stage.mkdir(mode=0o700)
            began = time.monotonic()
            with pause(self.service) as held:
                self.when = datetime.now(timezone.utc).strftime(TIME)
                count = self.copy(began + PAUSE_SECONDS)
                whole = held()
            self.seconds = time.monotonic() - began
            if whole:
                return {f"{self.name}_files": count}
            say(f"{self.title} was restarted meanwhile: once more")
        raise BackupError(
            f"{self.title} was restarted each time it was to be held. Wait until it runs."
        )

    def put(self, restored: Path, target: Path, manifest: Mapping[str, Any]) -> None:
        """Move all entries of the copy."""
        for entry in sorted((restored / "files").iterdir()):
            entry.rename(target / entry.name)

    def check(self, target: Path, manifest: Mapping[str, Any], logins: Mapping[str, str]) -> str:
        """Count the files."""
        count = sum(
            path.is_file() and not path.is_symlink()
            for path in target.rglob("*")
            if not is_ours(path.relative_to(target).parts[0])
        )
        wanted = manifest["counts"][f"{self.name}_files"]
        if count != wanted:
            raise BackupError(f"{self.title}'s directories have {count} files and not {wanted}.")
        return f"{count} files of {self.title}"


class Ctp(Files):
    """CTP's queues, quarantines, key of the UIDs and counters."""

    def copy(self, deadline: float) -> int:
        """Note the files and copy no object."""
        return link_tree(self.directory, self.stage / "files", deadline)

    def check(self, target: Path, manifest: Mapping[str, Any], logins: Mapping[str, str]) -> str:
        """Compare the key of the UIDs with its seal, too."""
        words = super().check(target, manifest, logins)
        key, seal = target / "uid.key", target / "uid.key.sha256"
        if key.exists() and seal.exists():
            digest = hashlib.sha256(b"uid.key\n" + key.read_bytes()).hexdigest()
            if seal.read_text().strip() != digest:
                raise BackupError("CTP's uid.key is not the one that its seal names.")
        return words + (", key of the UIDs" if key.exists() else "")


class Database(Part):
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
        container = container_of(self.service)
        if container is None:
            raise BackupError(
                f"{self.service} does not run, so it cannot be dumped. Start it first."
            )
        self.stage.mkdir(mode=0o700, exist_ok=True)
        self.when = datetime.now(timezone.utc).strftime(TIME)
        database = str(self.settings["database"])
        began = time.monotonic()
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
                raise BackupError(f"{self.title} could not be dumped: {said}")
        self.seconds = time.monotonic() - began
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
            assert process.stdout is not None
            table = ""
            for line in process.stdout:
                if table and line == b"\\.\n":
                    table = ""
                elif table:
                    rows[table] += 1
                elif line.startswith(b"COPY "):
                    table = line.split()[1].decode()
                    rows[table] = 0
        if process.returncode:
            raise BackupError(f"The dump of {self.title} cannot be read back.")
        return rows

    def put(self, restored: Path, target: Path, manifest: Mapping[str, Any]) -> None:
        """Keep the dump beside the database until it is loaded."""
        (restored / self.dump).rename(target / RESTORING / self.dump)
        (restored / "globals.sql").rename(target / RESTORING / "globals.sql")

    def check(self, target: Path, manifest: Mapping[str, Any], logins: Mapping[str, str]) -> str:
        """Let the image make a database, load the dump, and count the rows of each table."""
        source = target / RESTORING
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
                raise BackupError(f"The dump of {self.title} could not be loaded: {said.strip()}")
            database = str(self.settings["database"])
            rows = manifest["counts"][f"{self.name}_rows"]
            for table, wanted in rows.items():
                count = self._psql(container, user, f"SELECT count(*) FROM {table};", database)
                if int(count) != wanted:
                    raise BackupError(
                        f"{table} has {count} rows in the restored {self.title} and not {wanted}."
                    )
        if self.settings["table"]:
            return f"{manifest['counts']['key_pairs']} key pairs"
        return f"{sum(rows.values())} rows of {self.title}"

    def _psql(self, container: str, user: str, statements: str, database: str = "postgres") -> str:
        return docker(
            "exec", "--interactive", container, "psql", "--no-psqlrc", "--quiet", "--no-align",
            "--tuples-only", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse", f"--username={user}",
            f"--dbname={database}", "--file=-", stdin=statements, what="psql",
        )  # fmt: skip

    @contextlib.contextmanager
    def _server(self, target: Path, logins: Mapping[str, str]) -> Iterator[str]:
        owner, group = int(self.settings["owner"]), int(self.settings["group"])
        outer = Path(tempfile.mkdtemp(prefix="auscat-backup-", dir=RUN))
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
            docker(
                "run", "--detach", f"--name={name}", f"--label={LABEL}",
                "--network=none",
                # Its health check would hold the database that pg_restore replaces.
                "--no-healthcheck", "--stop-signal=SIGINT", *environment,
                f"--volume={inner}:/run/secrets:ro",
                f"--volume={target}:{self.settings['target']}", self.image(),
                what=f"Starting {self.title}",
            )  # fmt: skip
            # Over TCP: while a database is made, the image's server listens on its socket only.
            wait_until(
                f"{self.title} is ready",
                lambda: subprocess.run(
                    ["docker", "exec", name, "pg_isready", "--quiet", "--host=127.0.0.1"],
                    capture_output=True, check=False,
                ).returncode == 0,
                name, 180,
            )  # fmt: skip
            yield name
            docker("stop", "--time", "60", name)
        finally:
            remove_container(name)
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


class Orthanc(Part):
    """Orthanc's index, and its storage, in which each file is written once."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """See ``Part``."""
        super().__init__(settings)
        self._files: list[str] = []
        self._lacking: set[str] = set()

    def paths(self) -> list[str]:
        """The storage where it is; the stage lies in it."""
        return [str(self.directory)]

    def excludes(self) -> list[str]:
        """The index that Orthanc writes to."""
        return [
            *(f"{self.directory}/{name}" for name in INDEX_FILES),
            *(f"{self.directory}/{name}" for name in (SCRATCH, RESTORING, f"{ASIDE}*")),
        ]

    def take(self) -> dict[str, Any]:
        """Copy the index while Orthanc is held.

        Orthanc locks it, so SQLite cannot be asked for a copy;
        with its log it is what a killed Orthanc would leave, which SQLite puts in order."""
        source = self.directory / "index"
        if not source.exists():
            raise BackupError(
                f"{source} is not there: this Orthanc keeps no SQLite index, which alone is "
                f"backed up."
            )
        sizes = [
            path.stat().st_size
            for name in INDEX_FILES[:2]
            if (path := self.directory / name).exists()
        ]
        needs_space(self.directory, 2 * sum(sizes))
        for _ in range(3):
            remove_tree(self.stage)
            self.stage.mkdir(mode=0o700)
            # Read once before, so that the copy comes from memory.
            with source.open("rb") as warm:
                while warm.read(1 << 22):
                    pass
            began = time.monotonic()
            with pause(self.service) as held:
                self.when = datetime.now(timezone.utc).strftime(TIME)
                for name in INDEX_FILES[:2]:
                    if (self.directory / name).exists():
                        shutil.copyfile(self.directory / name, self.stage / name)
                whole = held()
            self.seconds = time.monotonic() - began
            if whole:
                break
            say("Orthanc was restarted meanwhile: once more")
        else:
            raise BackupError(
                "Orthanc was restarted each time it was to be held. Wait until it runs."
            )
        counts = self._settle(self.stage / "index")
        self._lacking = self._missing(self.directory)
        return {**counts, "missing": len(self._lacking)}

    def _settle(self, index: Path) -> dict[str, int]:
        with contextlib.closing(sqlite3.connect(index)) as database:
            database.execute("PRAGMA journal_mode = DELETE")
            (verdict,) = database.execute("PRAGMA quick_check").fetchone()
            if verdict != "ok":
                raise BackupError(f"Orthanc's index is damaged: {verdict[:200]}")
            self._files = [row[0] for row in database.execute("SELECT uuid FROM AttachedFiles")]
            (instances,) = database.execute(
                "SELECT count(*) FROM Resources WHERE resourceType = 4"
            ).fetchone()
            (studies,) = database.execute(
                "SELECT count(*) FROM Resources WHERE resourceType = 2"
            ).fetchone()
        index.chmod(0o600)
        return {"studies": studies, "instances": instances, "files": len(self._files)}

    def _missing(self, storage: Path) -> set[str]:
        return {
            uuid for uuid in self._files if not (storage / uuid[:2] / uuid[2:4] / uuid).is_file()
        }

    def unstable(self) -> int:
        """Files that were deleted while restic read: a file is written once, so one that is still
        there
        was there all the while."""
        return len(self._missing(self.directory) - self._lacking)

    def put(self, restored: Path, target: Path, manifest: Mapping[str, Any]) -> None:
        """Move the storage and the index, without files that the index does not know."""
        stage = restored / STAGE / self.name
        owner, group = int(self.settings["owner"]), int(self.settings["group"])
        self._settle(stage / "index")
        known = set(self._files)
        for entry in sorted(restored.iterdir()):
            if is_ours(entry.name):
                continue
            for directory, _, files in os.walk(entry):
                for name in files:
                    # Names of Orthanc's storage area; anything else is kept.
                    if (
                        re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name)
                        and name not in known
                    ):
                        (Path(directory) / name).unlink()
            entry.rename(target / entry.name)
        os.chown(stage / "index", owner, group)
        (stage / "index").chmod(0o600)
        (stage / "index").rename(target / "index")

    def check(self, target: Path, manifest: Mapping[str, Any], logins: Mapping[str, str]) -> str:
        """Start Orthanc on it, without a network, and let it compare the MD5 of each object."""
        name = f"auscat-{target.name.strip('.')}-orthanc-{os.getpid()}"
        outer = Path(tempfile.mkdtemp(prefix="auscat-backup-", dir=RUN))
        wanted = manifest["counts"]
        try:
            settings = outer / "orthanc.json"
            settings.write_text(
                json.dumps(
                    {"Name": "check", "AuthenticationEnabled": False, "RemoteAccessAllowed": False}
                )
            )
            settings.chmod(0o444)
            docker(
                "run", "--detach", f"--name={name}", f"--label={LABEL}",
                "--network=none",
                f"--volume={settings}:/run/secrets/orthanc.json:ro",
                f"--volume={target}:{self.settings['target']}", self.image(),
                what="Starting Orthanc",
            )  # fmt: skip
            process = docker("inspect", "--format", "{{.State.Pid}}", name)
            inside = [
                "nsenter",
                f"--net=/proc/{process}/ns/net",
                sys.executable,
                __file__,
                "ask-orthanc",
            ]
            done = subprocess.run(inside, capture_output=True, text=True, check=False)
            if done.returncode:
                log = docker("logs", "--tail", "5", name)
                raise BackupError(
                    f"Orthanc does not answer on the restored data: {done.stderr[-300:]} {log}"
                )
            found = json.loads(done.stdout)
            docker("stop", "--time", "90", name)
        finally:
            remove_container(name)
            shutil.rmtree(outer)
        for key in ("studies", "instances"):
            if found[key] != wanted[key]:
                raise BackupError(f"Orthanc has {found[key]} {key} and not {wanted[key]}.")
        if found["wrong"] > wanted["missing"]:
            raise BackupError(
                f"Orthanc finds {found['wrong']} of {found['instances']} objects damaged or "
                f"missing: {', '.join(found['examples'])}."
            )
        return f"{found['studies']} studies, {found['instances']} objects, each with its MD5"


def ask_orthanc(port: int = 8042, seconds: float = 300) -> dict[str, Any]:
    """Count what Orthanc on this machine's loopback has, and let it verify the MD5 of each
    object."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            connection.request("GET", "/statistics")
            statistics = json.load(connection.getresponse())
            break
        except OSError:
            if time.monotonic() > deadline:
                raise BackupError(f"Orthanc did not answer within {seconds:g} s") from None
            time.sleep(0.3)
    wrong: list[str] = []
    since = 0
    while True:
        connection.request("GET", f"/instances?since={since}&limit=500")
        page = json.load(connection.getresponse())
        for instance in page:
            connection.request(
                "POST", f"/instances/{instance}/attachments/dicom/verify-md5", body=""
            )
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                wrong.append(instance)
        since += len(page)
        if len(page) < 500:
            break
    return {
        "studies": int(statistics["CountStudies"]),
        "instances": int(statistics["CountInstances"]),
        "verified": since - len(wrong),
        "wrong": len(wrong),
        "examples": wrong[:3],
    }


def wait_until(what: str, condition: Callable[[], bool], container: str, seconds: float) -> None:
    """Poll until a container is ready. Raises ``BackupError`` with its last words."""
    deadline = time.monotonic() + seconds
    while not condition():
        state = docker("inspect", "--format", "{{.State.Running}}", container)
        if state != "true" or time.monotonic() > deadline:
            done = subprocess.run(
                ["docker", "logs", "--tail", "5", container],
                capture_output=True,
                text=True,
                check=False,
            )
            raise BackupError(f"Waited until {what}: {(done.stdout + done.stderr).strip()[-500:]}")
        time.sleep(0.3)


def remove_container(name: str) -> None:
    """Remove a container of this program, whether it is there or not."""
    subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)


def remove_leftovers() -> None:
    """Remove what a run that was killed left running, and the passwords it was given."""
    for container in docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split():
        remove_container(container)
    for path in RUN.glob("auscat-backup-*"):
        remove_tree(path)


#: Form, which a service declares, to how it is done.
PARTS: dict[str, type[Part]] = {
    "ctp": Ctp,
    "postgresql": Database,
    "orthanc": Orthanc,
    "files": Files,
}


# --- The runs -------------------------------------------------------------------------------------


class Run:
    """What is done for one kind of data."""

    def __init__(self, settings: Mapping[str, Any], kind: str) -> None:
        """Raises ``BackupError`` when the kind has no repository on this machine."""
        if kind not in settings["kinds"]:
            raise BackupError(
                f"This machine has no backup of the kind {kind}. Set backup_{kind}_repository, "
                "then run site.yml."
            )
        self.kind = kind
        self.node = str(settings["node"])
        self.config_root = Path(settings["config_root"])
        self.settings = settings["kinds"][kind]
        self.restic = Restic(kind, self.settings, self.node)
        # CTP before all else: what has left its queues by then is found in Orthanc later.
        order = list(PARTS)
        self.parts = [
            PARTS[each["form"]](each)
            for each in sorted(self.settings["parts"], key=lambda each: order.index(each["form"]))
        ]

    # Backing up

    def backup(self, adopt: bool) -> dict[str, Any]:
        """Take a snapshot, and forget those that are due. Raises ``BackupError``."""
        began = time.monotonic()
        for part in self.parts:
            if (part.directory / RESTORING).exists():
                raise BackupError(
                    f"A restore of {part.name} was begun and not finished. Run "
                    f"playbooks/restore.yml again."
                )
        self.cleanup()
        listed = self.restic.open(write=True, adopt=adopt)
        try:
            for attempt in range(1, TAKES + 1):
                manifest = self._take()
                snapshot, added = self._store()
                unstable = sum(part.unstable() for part in self.parts)
                if not unstable:
                    break
                say(f"{unstable} files were deleted in Orthanc meanwhile: taken again")
                self.restic.run("forget", snapshot)
                if attempt == TAKES:
                    raise BackupError(
                        f"Objects were deleted in Orthanc during each of {TAKES} attempts, so that "
                        "index and storage do not belong together. Run it again when nobody "
                        "deletes."
                    )
        finally:
            self.cleanup()
        snapshot = self._complete(snapshot)
        say(f"{snapshot} is complete; forgetting what is due")
        self._forget(listed)
        missing = manifest["counts"].get("missing", 0)
        return {
            "snapshot": snapshot,
            "bytes_added": added,
            "seconds": round(time.monotonic() - began, 1),
            "counts": manifest["counts"],
            "held_seconds": {part.name: round(part.seconds, 2) for part in self.parts},
            "error": (
                f"{missing} files that Orthanc's index names were missing from its storage before "
                "the backup began. The rest is saved. Look at Orthanc's disk."
                if missing
                else None
            ),
        }

    def _take(self) -> dict[str, Any]:
        manifest: dict[str, Any] = {
            "node": self.node,
            "kind": self.kind,
            "taken": {},
            "images": {},
            "counts": {},
        }
        for part in self.parts:
            part.stage.parent.mkdir(mode=0o700, exist_ok=True)
            say(f"taking {part.name}")
            manifest["counts"].update(part.take())
            manifest["taken"][part.name] = part.when
            manifest["images"][part.name] = part.image()
        for part in self.parts:
            beside = part.stage / "node"
            beside.mkdir(mode=0o700)
            write_file(beside / "manifest.json", json.dumps(manifest, indent=2) + "\n")
            # What was deployed, for a person to compare. Neither secrets nor keys lie in these
            # files.
            for file in (
                *self.config_root.glob("stack-*.json"),
                *self.config_root.glob("firewall*.nft"),
            ):
                shutil.copyfile(file, beside / file.name)
        return manifest

    def _store(self) -> tuple[str, int]:
        tags = [
            "auscat",
            self.kind,
            "unchecked",
            *(f"{part.name}.{part.when}" for part in self.parts),
        ]
        arguments = ["backup", "--json", "--host", self.node]
        arguments += [word for tag in tags for word in ("--tag", tag)]
        arguments += [f"--exclude={each}" for part in self.parts for each in part.excludes()]
        say(f"storing in {self.restic.repository}")
        done = self.restic.ask(*arguments, *(path for part in self.parts for path in part.paths()))
        summary = summary_of(done.stdout)
        # 3: something could not be read. What Orthanc has deleted since is looked at by the caller.
        if done.returncode not in (0, 3) or summary is None:
            raise BackupError(explain(done.stderr + "\n" + done.stdout[-2000:]))
        if done.returncode == 3:
            unread = [
                line for line in (done.stderr + done.stdout).splitlines()
                if '"error"' in line and "no such file or directory" not in line.lower()
            ]  # fmt: skip
            if unread or self.kind == "identifiable":
                raise BackupError(
                    f"Files could not be read: {(unread or [done.stderr[-300:]])[0][:300]}"
                )
        return str(summary["snapshot_id"]), int(summary["data_added"])

    def _complete(self, snapshot: str) -> str:
        self.restic.run("tag", "--remove", "unchecked", "--add", "complete", snapshot)
        # A snapshot with other tags is another snapshot. The newest is this one: the lock is ours.
        newest = of_node(self.restic.snapshots(), self.node, self.kind)[-1]
        return str(newest["id"])[:8]

    def _forget(self, before: Iterable[Mapping[str, Any]]) -> None:
        left = [
            str(each["id"]) for each in before
            if each.get("hostname") == self.node and "unchecked" in (each.get("tags") or [])
        ]  # fmt: skip
        if left:
            self.restic.run("forget", *left)
        keep = self.settings["keep"]
        self.restic.run(
            "forget", "--prune", "--host", self.node, "--tag", f"{self.kind},complete",
            "--group-by", "host",
            "--keep-within", "2d", *(f"--keep-{period}={keep[period]}" for period in keep),
        )  # fmt: skip

    # Restoring

    def chosen(self, which: str, not_after: str | None) -> dict[str, Mapping[str, Any]]:
        """Return the snapshot of each part. CTP's is the newest that is not newer than
        Orthanc's."""
        mine = of_node(self.restic.open(write=False), self.node, self.kind)
        limit = parse_time(not_after) if not_after else None
        return {
            part.name: choose(mine, part.name, which, limit if part.name == "ctp" else None)
            for part in self.parts
        }

    def restore(
        self,
        which: str,
        not_after: str | None,
        logins: Mapping[str, Mapping[str, str]],
        replace: bool,
    ) -> dict[str, Any]:
        """Put the data of this kind into the directories of the services. Raises
        ``BackupError``.

        Each keeps its mark until ``finish``: whatever interrupts a restore of several parts, all of
        them
        are restored anew, and never one beside another of an earlier try.
        """
        remove_leftovers()
        for part in self.parts:
            if container_of(part.service) or paused(part.service):
                raise BackupError(
                    f"{part.service} runs. Remove the stack first: nothing was changed."
                )
            if not part.is_empty() and not (part.directory / RESTORING).exists() and not replace:
                raise BackupError(
                    f"{part.directory} holds data. Nothing was changed. To put it aside and "
                    f"restore: -e restore_replace={self.node}."
                )
        chosen = self.chosen(which, not_after)
        done: dict[str, Any] = {"parts": {}, "warnings": []}
        for part in self.parts:
            snapshot = chosen[part.name]
            manifest, words = self._restore_part(part, snapshot, logins.get(part.name, {}))
            done["parts"][part.name] = {
                "snapshot": str(snapshot["id"])[:8],
                "taken": manifest["taken"][part.name],
                "result": words,
                "counts": manifest["counts"],
            }
        # Until finish, the marks in the data forbid a backup still.
        self.restic.remember()
        moment = taken(chosen["ctp"], "ctp") if "ctp" in chosen else None
        if moment and not_after and moment > parse_time(not_after):
            done["warnings"].append(
                f"CTP's data is of {moment:%Y-%m-%d %H:%M:%S}Z and Orthanc's of {not_after}, and "
                "no older one of CTP is there. What reached Orthanc between the two is in "
                "neither: send again what came in then."
            )
        return done

    def _restore_part(
        self, part: Part, snapshot: Mapping[str, Any], logins: Mapping[str, str]
    ) -> tuple[dict[str, Any], str]:
        marker = part.directory / RESTORING
        if marker.exists():
            say(f"an earlier restore of {part.name} was interrupted: beginning anew")
            empty(part.directory)
        elif not part.is_empty():
            aside = part.directory / f"{ASIDE}{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}"
            say(f"putting what is there into {aside}")
            aside.mkdir(mode=0o700)
            for entry in list(part.directory.iterdir()):
                if not is_ours(entry.name) and entry.name != "lost+found":
                    entry.rename(aside / entry.name)
        marker.mkdir(mode=0o700)
        say(f"restoring {part.name} from {str(snapshot['id'])[:8]}")
        manifest = self._fetch(part, snapshot, part.directory)
        say(f"checking {part.name}")
        words = part.check(part.directory, manifest, logins)
        empty(marker)
        return manifest, words

    def finish(self) -> None:
        """Take the marks of a restore away: services may run on the data."""
        for part in self.parts:
            remove_tree(part.directory / RESTORING)

    def _fetch(self, part: Part, snapshot: Mapping[str, Any], target: Path) -> dict[str, Any]:
        """Restore one part of a snapshot into ``target``, which holds the directory RESTORING."""
        path = path_of(snapshot, part.name)
        size = json.loads(
            self.restic.run(
                "stats", "--json", "--no-lock", "--mode", "restore-size", str(snapshot["id"])
            )
        )["total_size"]
        needs_space(target, int(size))
        marker = target / RESTORING
        self.restic.run(
            "restore",
            "--no-lock",
            str(snapshot["id"]),
            "--target",
            str(marker / "tree"),
            "--include",
            path,
        )
        restored = marker / "tree" / path.lstrip("/")
        stage = restored / STAGE / part.name if part.form == "orthanc" else restored
        manifest: dict[str, Any] = json.loads((stage / "node" / "manifest.json").read_text())
        part.put(restored, target, manifest)
        return manifest

    # Trying

    def verify(self) -> str:
        """Restore the newest snapshot beside the data, try it, and remove it. Raises
        ``BackupError``."""
        self.cleanup()
        say(f"checking the repository of {self.kind} data")
        self.restic.open(write=False)
        self.restic.unlock()
        self.restic.run("check")
        words = []
        try:
            for part in self.parts:
                snapshot = self.chosen("latest", None)[part.name]
                scratch = part.directory / SCRATCH
                scratch.mkdir(mode=0o700)
                (scratch / RESTORING).mkdir(mode=0o700)
                os.chown(scratch, int(part.settings["owner"]), int(part.settings["group"]))
                say(f"restoring {part.name} from {str(snapshot['id'])[:8]} into {scratch}")
                manifest = self._fetch(part, snapshot, scratch)
                words.append(part.check(scratch, manifest, part.random_logins()))
        finally:
            self.cleanup()
        return "; ".join(words)

    def cleanup(self) -> None:
        """Remove what this or an earlier run left, and let go what it held."""
        remove_leftovers()
        for part in self.parts:
            for container in paused(part.service):
                docker("unpause", container)
            for name in (STAGE, SCRATCH):
                remove_tree(part.directory / name)


def empty(directory: Path) -> None:
    """Remove all that a restore put into a directory; what was put aside stays."""
    for path in list(directory.iterdir()):
        if path.name.startswith(ASIDE) or path.name == "lost+found":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def path_of(snapshot: Mapping[str, Any], part: str) -> str:
    """Return the path that a snapshot holds a part under, on the machine that it was taken on."""
    paths = [str(each) for each in snapshot["paths"]]
    for path in paths:
        if path.endswith(f"/{STAGE}/{part}"):
            return path
    whole = [path for path in paths if f"/{STAGE}/" not in path]
    if part == "orthanc" and len(whole) == 1:
        return whole[0]
    raise BackupError(f"The snapshot {snapshot['id']} holds no {part}.")


def summary_of(output: str) -> dict[str, Any] | None:
    """Return the summary among the JSON lines of `restic backup`."""
    for line in reversed(output.splitlines()):
        with contextlib.suppress(ValueError):
            document = json.loads(line)
            if isinstance(document, dict) and document.get("message_type") == "summary":
                return document
    return None


def note(kind: str, result: Mapping[str, Any], max_age_hours: int) -> None:
    """Write how a backup went, for the status. The last good snapshot stays known."""
    path = STATE / f"{kind}.json"
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(path.read_text())
    finished = now()
    ok = not result.get("error")
    snapshot = result.get("snapshot") or before.get("snapshot")
    state = {
        "finished": finished,
        "ok": ok,
        "error": result.get("error"),
        "snapshot": snapshot,
        "bytes_added": int(result.get("bytes_added") or 0),
        "max_age_hours": max_age_hours,
        "last_ok": finished if result.get("snapshot") and ok else before.get("last_ok"),
        "seconds": result.get("seconds"),
        "counts": result.get("counts") or before.get("counts"),
        "held_seconds": result.get("held_seconds"),
    }
    write_file(path, json.dumps(state, indent=2) + "\n")


@contextlib.contextmanager
def locked(seconds: float) -> Iterator[None]:
    """Exclude other runs on this machine. Raises ``BackupError`` after that time."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BusyError(
                        "Another backup, restore or verification runs on this machine. Wait for "
                        "it: nothing was done."
                    ) from None
                time.sleep(0.5)
        yield
    finally:
        os.close(descriptor)


class BusyError(BackupError):
    """Another run is under way; its result counts."""


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "command",
        choices=["backup", "verify", "list", "restore", "finish", "cleanup", "ask-orthanc"],
    )
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS])
    parser.add_argument("--wait", type=float, default=0)
    parser.add_argument("--adopt", action="store_true")
    parser.add_argument("--snapshot", default="latest")
    parser.add_argument("--not-after")
    parser.add_argument("--replace", action="store_true")
    options = parser.parse_args(arguments)

    def stop(*_: object) -> None:
        raise StoppedError

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    os.umask(0o077)
    try:
        if options.command == "ask-orthanc":
            result = ask_orthanc()
        else:
            settings = json.loads(SETTINGS.read_text())
            kinds = options.kinds or sorted(settings["kinds"], reverse=True)
            result = dispatch(options, settings, kinds)
    except StoppedError:
        result = {"error": "The run was stopped before its end. Run it again."}
    except (BackupError, OSError, sqlite3.Error, ValueError, KeyError) as error:
        text = str(error) if isinstance(error, BackupError) else f"{type(error).__name__}: {error}"
        result = {"error": text}
    print(json.dumps(result))
    return 1 if result.get("error") else 0


def dispatch(
    options: argparse.Namespace, settings: Mapping[str, Any], kinds: Sequence[str]
) -> dict[str, Any]:
    """Run one command; a failed backup or verification is noted for the status."""
    runs = [Run(settings, kind) for kind in kinds]
    if options.command == "list":
        (run,) = runs
        mine = of_node(run.restic.open(write=False), run.node, run.kind)
        return {
            "snapshots": [
                {
                    "id": str(each["id"])[:8],
                    "taken": {
                        part.name: moment.strftime(TIME)
                        for part in run.parts
                        if (moment := taken(each, part.name))
                    },
                }
                for each in mine
            ],
            "chosen": {
                part: taken(snapshot, part).strftime(TIME)  # type: ignore[union-attr]
                for part, snapshot in run.chosen(options.snapshot, options.not_after).items()
            },
        }
    try:
        with locked(options.wait):
            return _locked_dispatch(options, runs)
    except BusyError:
        if options.command == "cleanup":
            return {}
        raise


def _locked_dispatch(options: argparse.Namespace, runs: Sequence[Run]) -> dict[str, Any]:
    if options.command == "cleanup":
        for run in runs:
            run.cleanup()
        return {}
    if options.command == "finish":
        for run in runs:
            run.finish()
        return {}
    if options.command == "restore":
        (run,) = runs
        text = "" if sys.stdin.isatty() else sys.stdin.read()
        logins = json.loads(text or "{}")
        restored = run.restore(options.snapshot, options.not_after, logins, options.replace)
        return {"kind": run.kind, **restored}
    if options.command == "verify":
        words: list[str] = []
        error: str | None = "The run was stopped before its end. Run it again."
        try:
            for run in runs:
                words.append(f"{run.kind}: {run.verify()}")
            error = None
        except (BackupError, OSError, sqlite3.Error, ValueError, KeyError) as problem:
            error = str(problem) or type(problem).__name__
        finally:
            state = {"finished": now(), "ok": not error, "error": error, "result": words}
            write_file(STATE / "verify.json", json.dumps(state, indent=2) + "\n")
        return {"error": error, "result": words}
    (run,) = runs
    result: dict[str, Any] = {"error": "The run was stopped before its end. Run it again."}
    try:
        result = run.backup(options.adopt)
    except (BackupError, OSError, sqlite3.Error, ValueError, KeyError) as problem:
        text = (
            str(problem)
            if isinstance(problem, BackupError)
            else f"{type(problem).__name__}: {problem}"
        )
        result = {"error": text}
    finally:
        note(run.kind, result, int(run.settings["max_age_hours"]))
    return {"kind": run.kind, **result}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
