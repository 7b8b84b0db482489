"""What is backed up where, and what the preflight refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.backup import plan as backup_plan

SOUND: dict[str, Any] = {
    "backup_identifiable_repository": "sftp:keys@backup.example:/srv/keys",
    "backup_deidentified_repository": "s3:https://s3.example/bucket/studies",
    "backup_identifiable_password": "a-password-of-25-characters",
    "backup_deidentified_password": "b-password-of-25-characters",
    "backup_sftp_private_key": "key",
    "backup_sftp_known_hosts": "backup.example ssh-ed25519 AAAA",
    "backup_s3_access_key_id": "id",
    "backup_s3_secret_access_key": "secret",
    "backup_max_age_hours": 30,
    "backup_keep_daily": 14,
    "backup_keep_weekly": 8,
    "backup_keep_monthly": 12,
}


def problems(**changes: Any) -> list[str]:
    return backup_plan.backup_problems({**SOUND, **changes}, "/srv/auscat")


def test_sound_variables_have_no_problem() -> None:
    assert problems() == []


def test_without_a_repository_nothing_is_asked_for() -> None:
    off = {name: "" for name in SOUND if "repository" in name or "pass" in name or "_s3_" in name}
    assert problems(**off, backup_sftp_private_key="", backup_sftp_known_hosts="") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"backup_identifiable_repository": "relative/path"},
            "is 'relative/path'. Accepted: an abs",
        ),
        ({"backup_identifiable_repository": "/"}, "is '/'. Accepted"),
        ({"backup_identifiable_repository": "/mnt/a b"}, "a space or a control character"),
        ({"backup_identifiable_repository": "/srv/auscat"}, "lies in auscat_data_root"),
        ({"backup_identifiable_repository": "/srv/auscat/x"}, "lies in auscat_data_root"),
        ({"backup_identifiable_repository": "/srv/x/../auscat/x"}, "lies in auscat_data_root"),
        *(
            ({"backup_identifiable_repository": address}, "holds a password")
            for address in (
                "rest:https://me:hunter2@host/",
                "sftp://me:hunter/2@host//a",
                "s3:https://k:hunter2@h/b",
            )
        ),
        ({"backup_identifiable_repository": "rest:https://host/"}, "Accepted: a directory, sftp"),
        ({"backup_identifiable_repository": "sftp:/path"}, "names no SFTP server"),
        ({"backup_identifiable_repository": "sftp:a;b@host:/p"}, "names no SFTP server"),
        ({"backup_identifiable_password": ""}, "has 0 characters"),
        ({"backup_identifiable_password": "fifteen--------"}, "has 15 characters"),
        (
            {"backup_deidentified_password": SOUND["backup_identifiable_password"]},
            "one and the same",
        ),
        ({"backup_sftp_private_key": ""}, "backup_sftp_private_key is empty"),
        ({"backup_sftp_known_hosts": " "}, "backup_sftp_known_hosts is empty"),
        ({"backup_s3_access_key_id": ""}, "backup_s3_access_key_id is empty"),
        ({"backup_s3_secret_access_key": ""}, "backup_s3_secret_access_key is empty"),
        ({"backup_keep_daily": 0}, "backup_keep_daily is 0"),
        ({"backup_keep_monthly": "x"}, "backup_keep_monthly is x"),
        ({"backup_max_age_hours": -1}, "backup_max_age_hours is -1"),
    ],
)
def test_each_problem_is_named_once(changes: dict[str, Any], said: str) -> None:
    (problem,) = problems(**changes)
    assert said in problem
    assert "hunter" not in problem
    for password in (name for name in SOUND if "password" in name):
        value = str(changes.get(password) or SOUND[password])
        assert value not in problem


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/mnt/backup", "/mnt/backup", True),
        ("/mnt/backup", "/mnt/backup/", True),
        ("/mnt/backup", "local:/mnt/x/../backup", True),
        ("/mnt/backup", "/mnt/backup/inner", True),
        ("/mnt/backup", "/mnt/backup2", False),
        ("sftp:a@host:/p", "sftp:b@host:/p", True),
        ("sftp:a@host:/p", "sftp://a@host:22//p", True),
        ("sftp:a@host:/p", "sftp:a@HOST:/p/", True),
        ("sftp:a@host:/p", "sftp:a@host:/p/q", True),
        ("sftp:a@host:/p", "sftp:a@host:/q", False),
        ("s3:https://s3.example/bucket/a", "s3:https://s3.example/bucket/a/", True),
        ("s3:https://s3.example/bucket", "s3:https://s3.example/bucket/a", True),
        ("s3:https://s3.example/bucket/a", "s3:https://s3.example/bucket/b", False),
        ("/mnt/a", "sftp:a@host:/mnt/a", False),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_one_place_for_both_kinds_is_refused(
    one: str, other: str, same: bool, swapped: bool
) -> None:
    one, other = (other, one) if swapped else (one, other)
    found = problems(backup_identifiable_repository=one, backup_deidentified_repository=other)
    assert any("one and the same place" in each for each in found) == same, found


@pytest.mark.parametrize(
    ("real", "device", "allowed", "said"),
    [
        ("/mnt/a", "8:2", False, ""),
        ("/mnt/a", "8:1", False, "on the disk that the data itself lies on"),
        ("/mnt/a", "8:1", True, ""),
        ("/data/auscat/a", "8:2", True, "in auscat_data_root"),
    ],
)
def test_where_a_directory_leads_is_looked_at(
    real: str, device: str, allowed: bool, said: str
) -> None:
    fact = {
        "name": "backup_identifiable_repository",
        "path": "/mnt/a",
        "real": real,
        "device": device,
    }
    data = {"real": "/data/auscat", "device": "8:1"}
    found = backup_plan.place_problems([fact], data, allowed)
    assert (said in found[0]) if said else not found


def test_two_names_of_one_directory_are_found() -> None:
    facts = [
        {"name": "one", "path": "/mnt/a", "real": "/disk/x", "device": "8:2"},
        {"name": "two", "path": "/mnt/b", "real": "/disk/x/y", "device": "8:2"},
    ]
    (problem,) = backup_plan.place_problems(facts, {"real": "/srv", "device": "8:1"}, False)
    assert "lead to one and the same place" in problem


DEFINITIONS: list[dict[str, Any]] = [
    {
        "name": "keydb",
        "title": "KeyDB, patient identifiers and pseudonyms",
        "image": "keydb:1",
        "backup": {
            **{"kind": "identifiable", "form": "postgresql", "path": "keydb"},
            **{"database": "key_db", "user": "key_admin", "key_pairs": "patient"},
        },
        "secrets": [
            {"name": "keydb_user", "content": "key_admin"},
            {"name": "keydb_own_pass", "target": "keydb_pass", "content": "not in the settings"},
        ],
        "environment": {"POSTGRES_DB": "key_db", "PGDATA": "/var/lib/postgresql/data/pgdata"},
        "directories": [
            {
                "path": "keydb",
                "target": "/var/lib/postgresql/data",
                "owner": "64432",
                "group": 64432,
            }
        ],
    },
    {
        "name": "ctp",
        "title": "CTP, receives and de-identifies",
        "backup": {"kind": "identifiable", "form": "ctp", "path": "ctp/temp"},
        "image": "ctp:1",
        "directories": [
            {"path": "ctp/logs", "target": "/logs", "owner": 1, "group": 2},
            {"path": "ctp/temp", "target": "/ctp_temp", "owner": 1, "group": 2},
        ],
    },
    {
        "name": "orthanc",
        "title": "Orthanc",
        "backup": {"kind": "deidentified", "form": "orthanc", "path": "orthanc"},
        "image": "orthanc:1",
        "directories": [
            {"path": "orthanc", "target": "/var/lib/orthanc/db", "owner": 3, "group": 4}
        ],
    },
    {
        "name": "portainer",
        "image": "p",
        "directories": [{"path": "p", "target": "/data", "owner": 0}],
    },
]


def test_each_service_belongs_to_one_kind() -> None:
    parts = backup_plan.backup_parts(DEFINITIONS, "/srv/auscat", "auscat")
    found = {kind: [(p["name"], p["directory"]) for p in each] for kind, each in parts.items()}
    assert found == {
        "identifiable": [("keydb", "/srv/auscat/keydb"), ("ctp", "/srv/auscat/ctp/temp")],
        "deidentified": [("orthanc", "/srv/auscat/orthanc")],
    }


def test_a_database_is_made_anew_with_its_own_secrets() -> None:
    ((database, _),) = (
        parts
        for kind, parts in backup_plan.backup_parts(DEFINITIONS, "/srv", "auscat").items()
        if kind == "identifiable"
    )
    assert database["secrets"] == ["keydb_user", "keydb_pass"]
    assert (database["title"], database["table"]) == ("KeyDB", "patient")
    assert backup_plan.backup_logins(DEFINITIONS) == {
        "keydb": {"keydb_user": "key_admin", "keydb_pass": "not in the settings"}
    }


def test_kinds_are_those_of_the_services_of_a_machine() -> None:
    assert backup_plan.backup_kinds(DEFINITIONS) == ["identifiable", "deidentified"]
    assert backup_plan.backup_kinds(DEFINITIONS[2:]) == ["deidentified"]
    assert backup_plan.backup_kinds(DEFINITIONS[3:]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"kind": "private"}, "kind of its backup is 'private'. Accepted: identifiable, deident"),
        ({"form": "sql"}, "form of its backup is 'sql'. Accepted: ctp, postgresql, orthanc, files"),
        ({"path": "elsewhere"}, "path of its backup is 'elsewhere'. Accepted: keydb."),
        ({"database": ""}, "its backup has no database"),
        ({"user": None}, "its backup has no user. Accepted: the name of its superuser"),
    ],
)
def test_what_cannot_be_backed_up_as_declared_is_refused(change: dict[str, Any], said: str) -> None:
    changed = {**DEFINITIONS[0], "backup": {**DEFINITIONS[0]["backup"], **change}}
    found = backup_plan.declaration_problems([changed, *DEFINITIONS[1:]])
    assert [said in each for each in found] == ([True] if said else []), found


def settings(**changes: Any) -> dict[str, Any]:
    parts = backup_plan.backup_parts(DEFINITIONS, "/srv/auscat", "auscat")
    wished = {
        kind: {
            "repository": SOUND[f"backup_{kind}_repository"],
            "password": SOUND[f"backup_{kind}_password"],
        }
        for kind in ("identifiable", "deidentified")
    }
    common = {
        "node": "kv01",
        "config_root": "/etc/auscat",
        "directory": "/etc/auscat/backup",
        "max_age_hours": 30,
        "keep": {"daily": 14},
        "sftp_private_key": "-----KEY-----\n",
        "sftp_known_hosts": "host ssh-ed25519 AAAA",
        "s3_access_key_id": "id",
        "s3_secret_access_key": "secret",
        **changes.pop("common", {}),
    }
    return backup_plan.backup_settings(
        wished, changes.get("kinds", ["identifiable", "deidentified"]), parts, common
    )


def test_no_password_and_no_key_stands_in_the_settings() -> None:
    text = json.dumps(settings()["settings"])
    assert SOUND["backup_identifiable_password"] not in text
    assert "-----KEY-----" not in text
    # restic takes these from its environment alone: the file is for root.
    assert settings()["settings"]["kinds"]["deidentified"]["environment"] == {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


def test_a_machine_has_the_secrets_of_its_own_kind_only() -> None:
    assert set(settings(kinds=["deidentified"])["files"]) == {"deidentified.password"}
    assert set(settings(kinds=["identifiable"])["files"]) == {
        "identifiable.password",
        "sftp.key",
        "known_hosts",
    }
    assert settings(kinds=[]) == {
        "settings": {"node": "kv01", "config_root": "/etc/auscat", "kinds": {}},
        "files": {},
    }


def test_units_name_no_secret_and_clean_up_after_a_kill() -> None:
    found = backup_plan.units("/usr/local/lib/x.py", {"identifiable": "daily", "verify": "weekly"})
    assert set(found) == {
        "auscat-backup-identifiable.service",
        "auscat-backup-identifiable.timer",
        "auscat-backup-verify.service",
        "auscat-backup-verify.timer",
    }
    service = found["auscat-backup-verify.service"]
    assert "ExecStart=/usr/bin/python3 /usr/local/lib/x.py verify identifiable --wait" in service
    assert "ExecStopPost=/usr/bin/python3 /usr/local/lib/x.py cleanup identifiable\n" in service
    assert "OnCalendar=daily\n" in found["auscat-backup-identifiable.timer"]
