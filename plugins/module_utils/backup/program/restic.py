"""The repository: what restic is asked and what its answers mean."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from . import base, trees

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
        raise base.BackupError(
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
            "RESTIC_CACHE_DIR": str(base.CACHE),
        }

    def ask(
        self, *arguments: str, seconds: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run restic and return what it did, whatever that was.

        Where it has not ended within `seconds`, it is ended, and what it said until then returned.

        Raises:
            BackupError: it is not installed, or said nothing in that time.
        """
        base.CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
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
            raise base.BackupError(
                f"The repository cannot be reached: it did not answer within {seconds:g} s. Look "
                "whether the server works, and a firewall is in the way."
            ) from None
        except FileNotFoundError:
            raise base.BackupError(
                "restic is not installed. Run site.yml, which installs it."
            ) from None

    def run(self, *arguments: str) -> str:
        """Run restic and return its standard output. Raises ``BackupError`` in plain words."""
        done = self.ask(*arguments)
        if done.returncode:
            raise base.BackupError(explain(done.stderr + "\n" + done.stdout[-2000:]))
        return done.stdout

    def identifier(self) -> str | None:
        """Return the repository's own id; None where there is no repository. ``BackupError``."""
        done = self.ask("cat", "config", "--no-lock", seconds=base.ANSWER_SECONDS)
        if done.returncode == 0:
            return str(json.loads(done.stdout)["id"])
        if is_absent(done.stderr):
            return None
        raise base.BackupError(explain(done.stderr))

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
            write: a backup follows. Only then is a repository made. It is noted as this machine's
                where it was made or adopted, otherwise by the caller once a backup is in it
                (`remember`): what reads, or fails, must not let an empty machine write, and so
                forget, later.
            adopt: whether to go on with backups that this machine was not restored from.
        """
        noted = self._noted
        known = noted.read_text().split() if noted.exists() else []
        same_place = known[1:] == [hashlib.sha256(self.repository.encode()).hexdigest()]
        there = self.identifier()
        made = there is None
        if there is None:
            if not write or (known and same_place):
                raise base.BackupError(
                    f"There is no repository at {self.repository}"
                    + (", where this machine's backups were" if known else "")
                    + ". Is the disk or the share mounted there? Nothing was made in its place."
                )
            base.say(f"making the repository {self.repository}")
            self.run("init")
            there = self.identifier()
        if known and same_place and there != known[0]:
            raise base.BackupError(
                f"The repository at {self.repository} is not the one that this machine used "
                f"before. Put that one back, or remove {noted} when the exchange is meant."
            )
        listed = self.snapshots()
        other = next(each for each in base.KINDS if each != self.kind)
        if any(other in (each.get("tags") or []) for each in listed):
            raise base.BackupError(
                f"The repository {self.repository} holds {other} data. Identifiable and "
                f"de-identified data never share one: give backup_{self.kind}_repository a place "
                "of its own."
            )
        mine = of_node(listed, self.node, self.kind)
        if write and mine and (not known or not same_place) and not adopt:
            raise base.BackupError(
                f"The repository {self.repository} holds backups of {self.node}, which this "
                "machine was not restored from. Restore them (playbooks/restore.yml), or go on "
                f"without them: playbooks/backup.yml -e backup_adopt={self.node}. Until then "
                "nothing is written there, so that the old ones are not forgotten in favour of an "
                "empty node."
            )
        self._there = str(there)
        if write:
            self.unlock()
            if made or adopt:
                self.remember()
        return listed

    def unlock(self) -> None:
        """Remove locks of processes that have ended: no other run of this machine is under way."""
        self.run("unlock")

    def remember(self) -> None:
        """Note the repository that was opened as the one of this machine, which may write there:
        its backups are this machine's, or it holds what was restored from them."""
        digest = hashlib.sha256(self.repository.encode()).hexdigest()
        trees.write_file(self._noted, f"{self._there} {digest}\n")

    @property
    def _noted(self) -> Path:
        return base.STATE / f"{self.kind}.repository"


def parse_time(text: str) -> datetime:
    """Read the time of a snapshot, of a tag, or of an operator (UTC where no zone is given).

    Raises:
        BackupError: it is none.
    """
    with contextlib.suppress(ValueError):
        return datetime.strptime(text, base.TIME).replace(tzinfo=timezone.utc)
    # restic gives nanoseconds, Python 3.9 reads microseconds.
    plain = re.sub(r"(\.\d{6})\d+", r"\1", text.strip()).replace("Z", "+00:00").replace(" ", "T", 1)
    plain = re.sub(r"\.(\d{1,5})(?=[+-]|$)", lambda found: f".{found[1]:0<6}", plain)
    try:
        found = datetime.fromisoformat(plain)
    except ValueError:
        raise base.BackupError(
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


AHEAD = "ahead"
"""Tag of a snapshot, with a dot and the id of another: that one bore a later time already."""


def stamped(snapshot: Mapping[str, Any]) -> datetime | None:
    """Return the latest time that a snapshot bears, restic's or that of a part; None without."""
    found = [parse_time(str(snapshot["time"]))] if snapshot.get("time") else []
    for tag in snapshot.get("tags") or []:
        # Some are of people, such as "keep.for_the_audit".
        with contextlib.suppress(ValueError):
            moment = datetime.strptime(str(tag).partition(".")[2], base.TIME)
            found.append(moment.replace(tzinfo=timezone.utc))
    return max(found, default=None)


def to_come(snapshots: Iterable[Mapping[str, Any]], moment: datetime) -> list[Mapping[str, Any]]:
    """Return the snapshots whose time is still to come."""
    limit = moment + timedelta(seconds=base.CLOCKS_DIFFER_SECONDS)
    return [each for each in snapshots if (stamp := stamped(each)) and stamp > limit]


def ahead(snapshots: Iterable[Mapping[str, Any]], moment: datetime) -> list[Mapping[str, Any]]:
    """Return the snapshots of a clock that ran ahead: however they sort, they are not the newest.

    Their time is still to come, or was so when a later one was taken, which says so in a tag.

    Args:
        snapshots: complete ones of one node and kind.
        moment: the present.
    """
    listed = list(snapshots)
    later = to_come(listed, moment)
    named = {
        identifier
        for each in listed
        for tag in each.get("tags") or []
        for name, _, identifier in [str(tag).partition(".")]
        if name == AHEAD
    }
    return [each for each in listed if each in later or str(each["id"])[:8] in named]


def still_to_come(snapshots: Iterable[Mapping[str, Any]], moment: datetime) -> str:
    """Return in words which snapshots are of a clock that ran ahead; empty where none is."""
    found = ahead(snapshots, moment)
    if not found:
        return ""
    listed = ", ".join(
        f"{str(each['id'])[:8]} (it says {stamp:%Y-%m-%d %H:%M}Z)"
        for each in found
        if (stamp := stamped(each))
    )
    return (
        f"The clock of this machine was ahead when these snapshots were taken, or is behind now: "
        f"{listed}. None of them is taken for the newest, and one is restored where it is named "
        "alone: restore_snapshot=ID."
    )


def choose(
    snapshots: Iterable[Mapping[str, Any]],
    part: str,
    which: str = "latest",
    not_after: datetime | None = None,
    moment: datetime | None = None,
) -> Mapping[str, Any]:
    """Choose the snapshot that a part is restored from.

    Args:
        snapshots: complete ones of one node and kind, oldest first.
        part: ctp, keydb or orthanc.
        which: ``latest``, the beginning of an id, or a time: the newest that was taken by then.
        not_after: the part was taken no later than this.
        moment: the present. Where it is given, a snapshot of a clock that ran ahead (`ahead`) is
            chosen by its id alone.

    Raises:
        BackupError: there is none.
    """
    snapshots = list(snapshots)
    having = [each for each in snapshots if taken(each, part)]
    if not having:
        raise base.BackupError(
            f"The repository holds no complete backup of {part}. Where the service was added after "
            "the last backup, take it out of auscat_services, restore, and add it again."
        )
    if which != "latest" and re.fullmatch(r"[0-9a-f]{8,64}", which):
        fitting = [each for each in having if str(each["id"]).startswith(which)]
    else:
        false = {str(each["id"]) for each in ahead(snapshots, moment)} if moment else set()
        fitting = [each for each in having if str(each["id"]) not in false]
        if not fitting and moment:
            raise base.BackupError(
                f"All backups of {part} bear a time that is still to come. "
                f"{still_to_come(having, moment)} Set the clock (timedatectl), or name one."
            )
        if which != "latest":
            limit = parse_time(which)
            fitting = [each for each in fitting if (taken(each, part) or limit) <= limit]
    if not fitting:
        listed = ", ".join(
            f"{each['id'][:8]} ({taken(each, part):%Y-%m-%d %H:%M}Z)" for each in having[-10:]
        )
        raise base.BackupError(
            f"restore_snapshot is {which}. Accepted: latest, a time, or one of {listed}."
        )
    earlier = [
        each for each in fitting if not not_after or (taken(each, part) or not_after) <= not_after
    ]
    # Better one that is too new than none: the caller compares and says what that means.
    return (earlier or fitting[:1])[-1]


def path_of(snapshot: Mapping[str, Any], part: str) -> str:
    """Return the path that a snapshot holds a part under, on the machine that it was taken on."""
    paths = [str(each) for each in snapshot["paths"]]
    for path in paths:
        if path.endswith(f"/{base.STAGE}/{part}"):
            return path
    whole = [path for path in paths if f"/{base.STAGE}/" not in path]
    if part == "orthanc" and len(whole) == 1:
        return whole[0]
    raise base.BackupError(f"The snapshot {snapshot['id']} holds no {part}.")


def summary_of(output: str) -> dict[str, Any] | None:
    """Return the summary among the JSON lines of `restic backup`."""
    for line in reversed(output.splitlines()):
        with contextlib.suppress(ValueError):
            document = json.loads(line)
            if isinstance(document, dict) and document.get("message_type") == "summary":
                return document
    return None
