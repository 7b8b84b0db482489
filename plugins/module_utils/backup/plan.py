"""What is backed up where: from the inventory to the settings of backup_run.py, and what is
refused.

Everything here is pure.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import (
    base,
    forms,
    restic,
)

PASSWORD_LENGTH = 16
REMOTE = re.compile(r"(sftp|s3|rest|b2|azure|gs|swift|rclone):")


def backup_parts(
    definitions: Iterable[Mapping[str, Any]], data_root: str, stack: str
) -> dict[str, list[dict[str, Any]]]:
    """Return the data of this machine's services by kind, as backup_run.py takes it.

    Args:
        definitions: of the services, companions among them. What is backed up of one is in its
            ``backup``: kind, form (of `forms.PARTS`), path (of one of its directories), and
            of a database its name, the superuser (user) and the table of key pairs (key_pairs).
        data_root: auscat_data_root.
        stack: auscat_stack_name.
    """
    parts: dict[str, list[dict[str, Any]]] = {}
    for definition in definitions:
        wished = definition.get("backup")
        if not wished:
            continue
        name = str(definition["name"])
        (directory,) = (
            each for each in definition["directories"] if each["path"] == wished["path"]
        )
        part = {
            "name": name,
            "title": str(definition["title"]).partition(",")[0],
            "form": str(wished["form"]),
            "service": f"{stack}_{name}",
            "directory": posixpath.join(data_root, str(directory["path"])),
            "target": str(directory["target"]),
            "owner": int(directory["owner"]),
            "group": int(directory["group"]),
            "image": str(definition["image"]),
        }
        if wished["form"] == "postgresql":
            part.update(
                environment=dict(definition.get("environment") or {}),
                database=str(wished["database"]),
                table=str(wished.get("key_pairs") or ""),
                user=str(wished["user"]),
                secrets=[_secret_file(each) for each in definition.get("secrets") or []],
            )
        parts.setdefault(str(wished["kind"]), []).append(part)
    return parts


def backup_logins(definitions: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the secrets that a restored database is made with: service to file to content."""
    return {
        str(definition["name"]): {
            _secret_file(each): str(each["content"]) for each in definition.get("secrets") or []
        }
        for definition in definitions
        if (definition.get("backup") or {}).get("form") == "postgresql"
    }


def backup_kinds(definitions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the kinds of data that the services of a machine have, and evaluate nothing else."""
    found = {(definition.get("backup") or {}).get("kind") for definition in definitions}
    return [kind for kind in base.KINDS if kind in found]


def declaration_problems(definitions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong with the services' ``backup``, in the words of the preflight."""
    problems: list[str] = []
    for definition in definitions:
        wished = definition.get("backup")
        if not wished:
            continue
        paths = [str(each["path"]) for each in definition.get("directories") or []]
        accepted: dict[str, Iterable[str]] = {
            "kind": base.KINDS,
            "form": forms.PARTS,
            "path": paths,
        }
        problems += [
            f"{definition['name']}_service: {key} of its backup is {wished.get(key)!r}. Accepted: "
            f"{', '.join(values) or 'nothing, since it has no directories'}."
            for key, values in accepted.items()
            if wished.get(key) not in values
        ]
        if wished.get("form") == "postgresql":
            problems += [
                f"{definition['name']}_service: its backup has no {key}. Accepted: the name of "
                f"{meaning}."
                for key, meaning in (("database", "the database"), ("user", "its superuser"))
                if not wished.get(key)
            ]
    return problems


def _secret_file(secret: Mapping[str, Any]) -> str:
    return str(secret.get("target", secret["name"]))


def backup_settings(
    wished: Mapping[str, Mapping[str, Any]],
    kinds: Sequence[str],
    parts: Mapping[str, Sequence[Mapping[str, Any]]],
    common: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the settings of backup_run.py, and the files beside them that hold secrets.

    Args:
        wished: kind to repository, password, schedule.
        kinds: that this machine has data and a repository of.
        parts: as `backup_parts` returns them.
        common: node, config_root, directory, max_age_hours, keep, sftp_private_key,
            sftp_known_hosts, s3_access_key_id, s3_secret_access_key.
    """
    directory = str(common["directory"])
    files: dict[str, str] = {}
    settings: dict[str, Any] = {
        "node": common["node"],
        "config_root": common["config_root"],
        "kinds": {},
    }
    for kind in kinds:
        repository = str(wished[kind]["repository"])
        files[f"{kind}.password"] = f"{wished[kind]['password']}\n"
        entry: dict[str, Any] = {
            "repository": repository,
            "password_file": f"{directory}/{kind}.password",
            "environment": {},
            "sftp_command": "",
            "max_age_hours": int(common["max_age_hours"]),
            "keep": {period: int(count) for period, count in common["keep"].items()},
            "parts": list(parts[kind]),
        }
        if repository.startswith("sftp:"):
            files["sftp.key"] = str(common["sftp_private_key"]).rstrip("\n") + "\n"
            files["known_hosts"] = str(common["sftp_known_hosts"]).rstrip("\n") + "\n"
            entry["sftp_command"] = restic.sftp_command(
                repository, f"{directory}/sftp.key", f"{directory}/known_hosts"
            )
        if repository.startswith("s3:"):
            entry["environment"] = {
                "AWS_ACCESS_KEY_ID": str(common["s3_access_key_id"]),
                "AWS_SECRET_ACCESS_KEY": str(common["s3_secret_access_key"]),
            }
        settings["kinds"][kind] = entry
    return {"settings": settings, "files": files}


def normal(repository: str) -> str:
    """Return a repository so that two spellings of one place are one text."""
    text = repository.strip()
    if not REMOTE.match(text):
        return posixpath.normpath(text.removeprefix("local:"))
    scheme, _, rest = text.partition(":")
    if scheme == "sftp":
        # sftp:user@host:/path and sftp://user@host:port//path: another user sees the same disk.
        url = re.fullmatch(r"//(?:[^@/]*@)?([^/:]+)(?::\d+)?/(.*)", rest)
        plain = re.fullmatch(r"(?:[^@]*@)?([^:]+):(.*)", rest)
        found = url or plain
        if found:
            return f"sftp:{found[1].lower()}:{posixpath.normpath(found[2] or '.')}"
    return f"{scheme}:{rest.rstrip('/').replace('s3.amazonaws.com:', '').lower()}"


def is_within(one: str, other: str) -> bool:
    """Tell whether a normal repository is another one, or lies in it."""
    return one == other or one.startswith(other.rstrip("/") + "/")


def backup_problems(variables: Mapping[str, Any], data_root: str) -> list[str]:
    """Return what is wrong with the variables of the role backup, in the words of the preflight.

    Args:
        variables: of the role, by their names.
        data_root: auscat_data_root.
    """
    problems: list[str] = []
    places = {}
    for kind in base.KINDS:
        name = f"backup_{kind}_repository"
        repository = str(variables.get(name) or "").strip()
        if not repository:
            continue
        places[kind] = normal(repository)
        problems += _place_problems(name, repository, data_root)
        password = str(variables.get(f"backup_{kind}_password") or "")
        if len(password) < PASSWORD_LENGTH:
            problems.append(
                f"backup_{kind}_password has {len(password)} characters. Accepted: at least "
                f"{PASSWORD_LENGTH}, since it alone keeps the backups of {kind} data shut. Set it "
                f"to vault_backup_{kind}_password and run playbooks/init_secrets.yml."
            )
        if repository.startswith("sftp:"):
            for needed in ("backup_sftp_private_key", "backup_sftp_known_hosts"):
                if not str(variables.get(needed) or "").strip():
                    problems.append(
                        f"{needed} is empty and {name} is on an SFTP server. Accepted: the key to "
                        "log in with, and the server's line of known_hosts (docs/backup.md)."
                    )
        if repository.startswith("s3:"):
            for needed in ("backup_s3_access_key_id", "backup_s3_secret_access_key"):
                if not str(variables.get(needed) or "").strip():
                    problems.append(
                        f"{needed} is empty and {name} is in an object store. Accepted: the access "
                        "key and its secret (docs/backup.md)."
                    )
    if len(places) == 2:
        one, other = places.values()
        if is_within(one, other) or is_within(other, one):
            problems.append(
                "backup_identifiable_repository and backup_deidentified_repository are one and the "
                "same place, or one lies in the other. Accepted: two places. Who may read one must "
                "not get the other with it."
            )
        first, second = (str(variables.get(f"backup_{kind}_password")) for kind in places)
        if first == second:
            problems.append(
                "backup_identifiable_password and backup_deidentified_password are one and the "
                "same. Accepted: two passwords. Who has one must not open the other repository "
                "with it."
            )
    for period in ("daily", "weekly", "monthly"):
        name = f"backup_keep_{period}"
        if not _is_positive(variables.get(name)):
            problems.append(
                f"{name} is {variables.get(name)}. Accepted: a whole number of at least 1."
            )
    if not _is_positive(variables.get("backup_max_age_hours")):
        problems.append(
            f"backup_max_age_hours is {variables.get('backup_max_age_hours')}. Accepted: at least "
            "1, and more than there is between two backups."
        )
    return problems


def _is_positive(value: Any) -> bool:
    try:
        return int(value) >= 1
    except (TypeError, ValueError):
        return False


def _place_problems(name: str, repository: str, data_root: str) -> list[str]:
    if re.search(r"[\s\x00-\x1f]", repository):
        return [
            f"{name} holds a space or a control character. Accepted: a directory, "
            "sftp:USER@HOST:/PATH or s3:https://HOST/BUCKET/PATH."
        ]
    if REMOTE.match(repository):
        if re.search(r"//[^/@]*:.*@", repository):
            return [
                f"{name} holds a password, and the address stands in tables and messages. Accepted:"
                " an address without one. The keys for S3 are backup_s3_access_key_id and "
                "backup_s3_secret_access_key, that for SFTP is backup_sftp_private_key; change the "
                "password if anybody could read it."
            ]
        if repository.startswith("sftp:"):
            try:
                restic.sftp_command(repository, "", "")
            except base.BackupError as error:
                return [f"{name}: {error}"]
        elif not repository.startswith("s3:"):
            return [f"{name} is {repository!r}. Accepted: a directory, sftp:… or s3:…."]
        return []
    if not posixpath.isabs(repository) or posixpath.normpath(repository) in ("/", "//"):
        return [
            f"{name} is {repository!r}. Accepted: an absolute directory below /, "
            "sftp:USER@HOST:/PATH or s3:https://HOST/BUCKET/PATH."
        ]
    if is_within(normal(repository), posixpath.normpath(data_root)):
        return [
            f"{name} is {repository}, which lies in auscat_data_root ({data_root}). Accepted: a "
            "place outside of the data, best on another machine."
        ]
    return []


def place_problems(
    facts: Sequence[Mapping[str, Any]], data: Mapping[str, Any], allow_data_disk: bool
) -> list[str]:
    """Return what is wrong with repositories in directories, as the host sees them.

    Args:
        facts: name (of the variable), path, real (the path without symbolic links), device.
        data: real and device of auscat_data_root.
        allow_data_disk: backup_allow_data_disk.
    """
    problems = []
    for each in facts:
        if is_within(str(each["real"]), str(data["real"])):
            problems.append(
                f"{each['name']} is {each['path']}, which leads to {each['real']}, in "
                "auscat_data_root. Accepted: a place outside of the data, best on another machine."
            )
        elif each["device"] == data["device"] and not allow_data_disk:
            problems.append(
                f"{each['name']} is {each['path']}, which is on the disk that the data itself lies "
                "on: it would be lost with it. Accepted: another disk or machine, or "
                "backup_allow_data_disk: true for trying out. Is the backup's disk not mounted?"
            )
    for index, each in enumerate(facts):
        for other in facts[index + 1 :]:
            one, two = str(each["real"]), str(other["real"])
            if is_within(one, two) or is_within(two, one):
                problems.append(
                    f"{each['name']} and {other['name']} lead to one and the same place ({one}, "
                    f"{two}). Accepted: two places. Who may read one must not get the other with "
                    "it."
                )
    return problems


UNIT = """\
# Made by the role backup.
[Unit]
Description={title}
After=docker.service network-online.target
Wants=network-online.target

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 {program} {arguments} --wait 21600
# What a run that was killed leaves behind.
ExecStopPost=/usr/bin/python3 {program} cleanup {kinds}
UMask=0077
Nice=10
IOSchedulingClass=idle
"""

TIMER = """\
# Made by the role backup.
[Unit]
Description={title}

[Timer]
OnCalendar={schedule}
Persistent=true
Unit=auscat-backup-{name}.service

[Install]
WantedBy=timers.target
"""


def units(program: str, schedules: Mapping[str, str]) -> dict[str, str]:
    """Return the files of systemd by name.

    Args:
        program: path of backup_run.py.
        schedules: kind, or ``verify``, to its OnCalendar.
    """
    found = {}
    kinds = " ".join(sorted(set(schedules) - {"verify"}, reverse=True))
    for name, schedule in schedules.items():
        title = {
            "identifiable": "Backup of the identifiable data",
            "deidentified": "Backup of the de-identified data",
            "verify": "Restore of the newest backups into a scratch place",
        }[name]
        tried = f"verify {kinds}" if name == "verify" else f"backup {name}"
        found[f"auscat-backup-{name}.service"] = UNIT.format(
            title=title,
            program=program,
            arguments=tried,
            kinds=kinds if name == "verify" else name,
        )
        found[f"auscat-backup-{name}.timer"] = TIMER.format(
            title=title, schedule=schedule, name=name
        )
    return found


def digest(text: str, salt: bytes) -> str:
    """Return a short salted scrypt digest, to tell in a diff that something secret changes.

    Nobody can try passwords on it in a hurry, nor compare it with that of another run or machine.
    """
    return hashlib.scrypt(text.encode(), salt=salt, n=2**14, r=8, p=1, dklen=6).hex()
