"""What the program on the host decides; with a real restic where Docker is not needed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import (
    base,
    cli,
    engine,
    forms,
    machine_lock,
    parts,
    postgresql,
    running,
    trees,
)
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import (
    orthanc as orthanc_part,
)
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import (
    restic as repository_client,
)
from ansible_collections.auscat.imaging.plugins.module_utils.backup.report import (
    backup_table,
    restore_table,
    run_result,
)

REPOSITORY = Path(__file__).resolve().parents[3]
needs_restic = pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("Fatal: wrong password or no key found", "does not open the repository"),
        ("Save(<data/1>) returned error: write /b/1: no space left on device", "no space left"),
        ('sftp: "Failure" (SSH_FX_FAILURE)', "no space left"),
        ("subprocess ssh: Host key verification failed.", "backup_sftp_known_hosts"),
        ("subprocess ssh: x@y: Permission denied (publickey).", "backup_sftp_private_key"),
        ("ssh: connect to host 10.0.0.1 port 22: Connection refused", "cannot be reached"),
        ("ssh: Could not resolve hostname nas: Name or service not known", "cannot be reached"),
        ("Fatal: unable to create lock: repository is already locked by PID 1", "Another machine"),
        ("The Access Key Id you provided: InvalidAccessKeyId", "backup_s3_access_key_id"),
        (
            "Stat: The request signature we calculated does not match the signature you provided.",
            "backup_s3_secret_access_key",
        ),
        (
            "The AWS Access Key Id you provided does not exist in our records.",
            "backup_s3_access_key_id",
        ),
        ("mkdir /mnt/x: permission denied", "may not be written"),
        ("Fatal: something new", "restic failed: Fatal: something new"),
        ("", "it said nothing"),
    ],
)
def test_errors_are_told_in_plain_words(said: str, meaning: str) -> None:
    assert meaning in repository_client.explain(said)


@pytest.mark.parametrize(
    ("repository", "command"),
    [
        ("/mnt/x", ""),
        ("s3:https://h/b", ""),
        ("sftp:u@h:/p", "-o ServerAliveInterval=30 u@h -s sftp"),
        ("sftp://u@h:2222//p", "-p 2222 u@h -s sftp"),
        ("sftp://u@h//p", "-o ServerAliveInterval=30 u@h -s sftp"),
    ],
)
def test_sftp_is_reached_with_the_sites_key_and_no_other(repository: str, command: str) -> None:
    found = repository_client.sftp_command(repository, "/k", "/h")
    assert found.endswith(command)
    if command:
        assert "ssh -F none -i /k -o IdentitiesOnly=yes -o UserKnownHostsFile=/h" in found
        assert "StrictHostKeyChecking=yes" in found


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T18:00:00", datetime(2026, 1, 31, 18, tzinfo=timezone.utc)),
        ("2026-01-31 18:00", datetime(2026, 1, 31, 18, tzinfo=timezone.utc)),
        ("2026-01-31T18:00:00+02:00", datetime(2026, 1, 31, 16, tzinfo=timezone.utc)),
        ("20260131T180000.000001Z", datetime(2026, 1, 31, 18, 0, 0, 1, tzinfo=timezone.utc)),
        ("2026-01-31T18:00:00.123456789Z", datetime(2026, 1, 31, 18, 0, 0, 123456, timezone.utc)),
        ("2026-01-31T18:00:00.5Z", datetime(2026, 1, 31, 18, 0, 0, 500000, timezone.utc)),
    ],
)
def test_times_are_read(text: str, moment: datetime) -> None:
    assert repository_client.parse_time(text) == moment


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(base.BackupError, match=r"is no time. Accepted: 2026-01-31T18:00:00"):
        repository_client.parse_time("yesterday")


def snapshot(number: int, *hours: tuple[str, int]) -> dict[str, Any]:
    tags = ["auscat", "complete", *(f"{part}.202601{hour // 24 + 1:02d}T{hour % 24:02d}0000.000000Z"
                                    for part, hour in hours)]  # fmt: skip
    return {"id": f"{number:08x}" * 8, "tags": tags}


def test_a_tag_of_a_person_is_no_time() -> None:
    """restic takes any: ``restic tag --add keep.2026``."""
    given = snapshot(1, ("ctp", 1), ("keydb", 7))
    given["tags"] += ["keep.2026", "legal.hold", "ahead.1a2b3c4d"]
    assert repository_client.stamped(given) == datetime(2026, 1, 1, 7, tzinfo=timezone.utc)
    assert repository_client.ahead([given], datetime(2026, 1, 2, tzinfo=timezone.utc)) == []


LISTED = [
    snapshot(1, ("ctp", 1), ("keydb", 1)),
    snapshot(2, ("ctp", 7), ("keydb", 7)),
    snapshot(3, ("ctp", 13), ("keydb", 13)),
]


@pytest.mark.parametrize(
    ("part", "which", "orthanc", "expected"),
    [
        ("keydb", "latest", None, 3),
        ("keydb", "00000002", None, 2),
        ("keydb", "2026-01-01T12:00:00", None, 2),
        ("keydb", "2026-01-01T07:00:00", None, 2),
        ("ctp", "latest", None, 3),
        # CTP's no newer than Orthanc's: what has left the queues by then is in Orthanc's.
        ("ctp", "latest", "2026-01-01T12:00:00", 2),
        ("ctp", "latest", "2026-01-01T07:00:00", 2),
        ("ctp", "latest", "2026-01-01T06:59:59", 1),
        # None is old enough: the oldest, whose gap is the smallest.
        ("ctp", "latest", "2025-12-31T00:00:00", 1),
        ("ctp", "00000003", "2026-01-01T12:00:00", 3),
    ],
)
def test_the_snapshot_of_each_part(
    part: str, which: str, orthanc: str | None, expected: int
) -> None:
    limit = repository_client.parse_time(orthanc) if orthanc else None
    assert repository_client.choose(LISTED, part, which, limit) == LISTED[expected - 1]


@pytest.mark.parametrize(
    ("part", "which", "said"),
    [
        ("orthanc", "latest", "no complete backup of orthanc"),
        (
            "keydb",
            "deadbeef",
            "restore_snapshot is deadbeef. Accepted: latest, a time, or one of 0000",
        ),
        ("keydb", "2025-01-01", "restore_snapshot is 2025-01-01"),
    ],
)
def test_a_snapshot_that_is_not_there(part: str, which: str, said: str) -> None:
    with pytest.raises(base.BackupError, match=said):
        repository_client.choose(LISTED, part, which)


def test_only_complete_snapshots_of_the_node_and_kind_count() -> None:
    listed = [
        {"hostname": "a", "tags": ["identifiable", "complete"]},
        {"hostname": "a", "tags": ["identifiable", "unchecked"]},
        {"hostname": "b", "tags": ["identifiable", "complete"]},
        {"hostname": "a", "tags": ["deidentified", "complete"]},
        {"hostname": "a", "tags": None},
    ]
    assert repository_client.of_node(listed, "a", "identifiable") == listed[:1]


def test_roles_that_exist_keep_the_inventorys_passwords() -> None:
    text = (
        "CREATE ROLE key_admin;\nALTER ROLE key_admin WITH SUPERUSER PASSWORD 'SCRAM-1';\n"
        "CREATE ROLE custodian;\nALTER ROLE custodian WITH LOGIN PASSWORD 'SCRAM-2';\n"
        'CREATE ROLE "Dr. Who";\nALTER ROLE "Dr. Who" WITH LOGIN;\n'
        "CREATE ROLE key_admin2;\nGRANT pg_read_all_data TO custodian GRANTED BY key_admin;\n"
    )
    assert postgresql.without_roles(text, ["key_admin", "Dr. Who"]) == (
        "CREATE ROLE custodian;\nALTER ROLE custodian WITH LOGIN PASSWORD 'SCRAM-2';\n"
        "CREATE ROLE key_admin2;\nGRANT pg_read_all_data TO custodian GRANTED BY key_admin;\n"
    )


def test_a_tree_is_noted_without_copying_objects(tmp_path: Path) -> None:
    source = tmp_path / "temp"
    (source / "roots/queue").mkdir(parents=True)
    (source / "quarantines/..index").mkdir(parents=True)
    (source / base.STAGE).mkdir()
    (source / "roots/queue/1.dcm").write_text("object")
    (source / "quarantines/..index/data").write_text("index")
    (source / base.STAGE / "old").write_text("old")
    (source / "counters.json").write_text("{}")
    (source / "uid.key").write_text("key")
    (source / "clean-stop").touch()
    target = tmp_path / "stage"
    assert trees.link_tree(source, target, time.monotonic() + 5) == 3
    found = sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file())
    assert found == ["counters.json", "roots/queue/1.dcm", "uid.key"]
    assert (target / "roots/queue/1.dcm").samefile(source / "roots/queue/1.dcm")
    # CTP writes its counters again in the same file.
    assert not (target / "counters.json").samefile(source / "counters.json")


def test_too_many_files_are_said_so(tmp_path: Path) -> None:
    (tmp_path / "temp/queue").mkdir(parents=True)
    for number in range(1001):
        (tmp_path / "temp/queue" / str(number)).touch()
    with pytest.raises(base.BackupError, match="too many to note"):
        trees.link_tree(tmp_path / "temp", tmp_path / "stage", time.monotonic() - 1)


def test_a_directory_is_copied_put_back_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "container_of", lambda _: None)
    directory = tmp_path / "portainer"
    (directory / "certs").mkdir(parents=True)
    (directory / "certs/key.pem").write_text("key")
    (directory / "certs/key.pem").chmod(0o600)
    (directory / "current").symlink_to("certs")
    (directory / "portainer.db").write_text("as it was")
    (directory / ".before-restore-1").mkdir()
    (directory / ".before-restore-1/portainer.db").touch()
    (directory / base.STAGE).mkdir()
    part = parts.Files(
        {
            **{"name": "portainer", "title": "Portainer", "form": "files", "service": "s"},
            **{"directory": directory, "owner": 0, "group": 0},
        }
    )
    counts = part.take()
    assert counts == {"portainer_files": 2}
    # Written to again in the same file.
    (directory / "portainer.db").write_text("later")

    target = tmp_path / "target"
    target.mkdir()
    part.put(part.stage, target, {})
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*")) == [
        *("certs", "certs/key.pem", "current", "portainer.db")
    ]
    assert (target / "portainer.db").read_text() == "as it was"
    assert (target / "certs/key.pem").stat().st_mode & 0o777 == 0o600
    assert (target / "current").readlink() == Path("certs")
    assert part.check(target, {"counts": counts}, {}) == "2 files of Portainer"
    (target / "certs/key.pem").unlink()
    with pytest.raises(base.BackupError, match="Portainer's directories have 1 file and no"):
        part.check(target, {"counts": counts}, {})


def test_a_copy_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").touch()
    with pytest.raises(base.BackupError, match="could not be copied within 30 s"):
        trees.copy_tree(tmp_path / "data", tmp_path / "stage", time.monotonic() - 1)


UUIDS = [f"{n:08x}-0000-0000-0000-000000000000" for n in (0xAABB0001, 0xAABB0002, 0xCCDD0003)]


@pytest.fixture
def orthanc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> orthanc_part.Orthanc:
    """A storage as Orthanc makes it, and an index with the tables that are asked."""
    monkeypatch.setattr(engine, "container_of", lambda _: None)
    directory = tmp_path / "orthanc"
    directory.mkdir()
    with sqlite3.connect(directory / "index") as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE AttachedFiles (uuid TEXT)")
        database.execute("CREATE TABLE Resources (internalId INTEGER, resourceType INTEGER)")
        database.executemany("INSERT INTO AttachedFiles VALUES (?)", [(uuid,) for uuid in UUIDS])
        database.executemany(
            "INSERT INTO Resources VALUES (?, ?)", [(1, 1), (2, 2), (3, 3), (4, 4)]
        )
    for uuid in UUIDS:
        path = directory / uuid[:2] / uuid[2:4] / uuid
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid)
    part = orthanc_part.Orthanc(
        {
            **{"name": "orthanc", "form": "orthanc", "service": "s"},
            **{"directory": directory, "owner": 0, "group": 0},
        }
    )
    part.stage.parent.mkdir()
    return part


def test_what_is_deleted_while_restic_reads_is_found(orthanc: orthanc_part.Orthanc) -> None:
    counts = orthanc.take()
    assert counts == {"studies": 1, "instances": 1, "files": 3, "missing": 0}
    assert orthanc.unstable() == 0
    (orthanc.directory / "aa/bb" / UUIDS[0]).unlink()
    assert orthanc.unstable() == 1


def test_what_was_missing_before_is_counted_and_no_reason_to_take_it_again(
    orthanc: orthanc_part.Orthanc,
) -> None:
    (orthanc.directory / "aa/bb" / UUIDS[0]).unlink()
    assert orthanc.take()["missing"] == 1
    assert orthanc.unstable() == 0


def test_another_index_than_sqlite_is_refused(orthanc: orthanc_part.Orthanc) -> None:
    (orthanc.directory / "index").unlink()
    with pytest.raises(base.BackupError, match="keeps no SQLite index"):
        orthanc.take()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The program's own directories below a temporary one."""
    monkeypatch.setattr(base, "STATE", tmp_path / "state")
    monkeypatch.setattr(base, "CACHE", tmp_path / "cache")
    yield tmp_path


def restic(home: Path, kind: str, repository: str = "repository") -> repository_client.Restic:
    (home / "password").write_text("a-password-for-the-test\n")
    return repository_client.Restic(
        kind, {"repository": str(home / repository), "password_file": home / "password"}, "kv01"
    )


@needs_restic
def test_a_repository_is_made_once_and_never_in_the_place_of_a_lost_one(home: Path) -> None:
    with pytest.raises(base.BackupError, match="There is no repository at"):
        restic(home, "identifiable").open(write=False)
    assert restic(home, "identifiable").open(write=True) == []
    shutil.move(home / "repository", home / "elsewhere")
    with pytest.raises(base.BackupError, match="Nothing was made in its place"):
        restic(home, "identifiable").open(write=True)
    assert not (home / "repository").exists()
    restic(home, "deidentified").open(write=True)  # another kind has another memory: it makes one
    with pytest.raises(base.BackupError, match="is not the one that this machine used before"):
        restic(home, "identifiable").open(write=True)


@needs_restic
def test_what_belongs_to_others_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = restic(home, "identifiable")
    mine.open(write=True)
    (home / "file").write_text("x")
    mine.run(
        "backup", "--host", "kv01", "--tag", "identifiable", "--tag", "complete", str(home / "file")
    )
    with pytest.raises(base.BackupError, match="holds identifiable data"):
        restic(home, "deidentified").open(write=True)
    # A new machine that was not restored from it.
    monkeypatch.setattr(base, "STATE", home / "new-machine")
    with pytest.raises(base.BackupError, match="holds backups of kv01"):
        mine.open(write=True)
    assert len(mine.open(write=True, adopt=True)) == 1
    assert len(mine.open(write=True)) == 1


class NoPart(parts.Part):
    """A part without a service or data, for what asks the repository only."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__({"owner": 0, "group": 0, **settings})


def program(home: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """Run the program as its command line does, on the repository of ``restic`` above."""
    settings = {
        "node": "kv01",
        "config_root": str(home),
        "kinds": {
            "identifiable": {
                "repository": str(home / "repository"),
                "password_file": str(home / "password"),
                "parts": [
                    {
                        **{"name": "ctp", "form": "ctp", "service": "ctp"},
                        "directory": str(home / "ctp"),
                    }
                ],
                "max_age_hours": 30,
                "keep": {"daily": 1, "weekly": 1, "monthly": 1},
            }
        },
    }
    (home / "settings.json").write_text(json.dumps(settings))
    monkeypatch.setattr(machine_lock, "DIRECTORY", home / "lock")
    monkeypatch.setattr(forms, "PARTS", {"ctp": NoPart})
    monkeypatch.setattr(engine, "remove_leftovers", lambda: None)
    monkeypatch.setattr(engine, "container_of", lambda _: "")
    monkeypatch.setattr(engine, "paused", lambda _: [])
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    (home / "ctp").mkdir(exist_ok=True)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        cli.main([*arguments], str(home / "settings.json"))
    answer: dict[str, Any] = json.loads(shown.getvalue().splitlines()[-1])
    return answer


@needs_restic
@pytest.mark.parametrize(
    "command",
    [
        ["list", "identifiable"],
        ["list", "identifiable", "--snapshot", "2020-01-01"],
        ["verify", "identifiable"],
        ["restore", "identifiable", "--snapshot", "2020-01-01"],
        ["restore", "identifiable"],
        ["finish", "identifiable"],
        ["cleanup", "identifiable"],
    ],
)
def test_what_only_reads_lets_nobody_write(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    mine = restic(home, "identifiable")
    mine.open(write=True)
    (home / "file").write_text("x")
    mine.run(
        "backup", "--host", "kv01", "--tag", "identifiable", "--tag", "complete", str(home / "file")
    )
    before = mine.snapshots()
    monkeypatch.setattr(base, "STATE", home / "empty-machine")
    program(home, monkeypatch, *command)
    assert not (home / "empty-machine/identifiable.repository").exists()
    refused = program(home, monkeypatch, "backup", "identifiable")
    assert "holds backups of kv01" in refused["error"]
    assert mine.snapshots() == before


@needs_restic
@pytest.mark.parametrize("command", ["list", "verify", "restore"])
def test_what_only_reads_makes_no_repository(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    restic(home, "identifiable")
    assert "There is no repository" in str(program(home, monkeypatch, command, "identifiable"))
    assert not (home / "repository").exists()
    assert not (home / "state/identifiable.repository").exists()


@needs_restic
def test_a_machine_that_was_restored_goes_on_with_its_backups(home: Path) -> None:
    mine = restic(home, "identifiable")
    mine.open(write=True)
    (home / "file").write_text("x")
    mine.run(
        "backup", "--host", "kv01", "--tag", "identifiable", "--tag", "complete", str(home / "file")
    )
    (home / "state/identifiable.repository").unlink()
    again = restic(home, "identifiable")
    again.open(write=False)
    again.remember()
    assert len(restic(home, "identifiable").open(write=True)) == 1


def test_a_bucket_that_is_still_to_be_made_is_no_error(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A double of restic 0.18, which goes on trying; the scenario restore_one has the real one.
    double = tmp_path / "bin/restic"
    double.parent.mkdir()
    double.write_text(
        "#!/bin/sh\necho 'Stat(<config/>) returned error, retrying after 1s: "
        "Stat: The specified bucket does not exist.' >&2\nexec sleep 60\n"
    )
    double.chmod(0o755)
    monkeypatch.setenv("PATH", f"{double.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(base, "ANSWER_SECONDS", 1.0)
    assert restic(home, "deidentified").identifier() is None


@needs_restic
def test_a_server_that_is_silent_does_not_hold_a_run(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "ANSWER_SECONDS", 2.0)
    (home / "password").write_text("a-password-for-the-test\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {
            "repository": f"s3:http://127.0.0.1:{silent.getsockname()[1]}/bucket",
            "password_file": home / "password",
            "environment": {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
        }
        asked = repository_client.Restic("identifiable", settings, "kv01")
        with pytest.raises(base.BackupError, match="did not answer within 2 s"):
            asked.identifier()


@needs_restic
def test_a_wrong_password_is_told(home: Path) -> None:
    restic(home, "identifiable").open(write=True)
    one = restic(home, "identifiable")
    (home / "password").write_text("another\n")
    with pytest.raises(base.BackupError, match="does not open the repository"):
        one.open(write=True)


def test_a_failed_run_keeps_the_last_good_snapshot_known(home: Path) -> None:
    running.note("identifiable", {"snapshot": "abc", "bytes_added": 5}, 30)
    good = json.loads((home / "state/identifiable.json").read_text())
    assert (good["ok"], good["error"], good["snapshot"]) == (True, None, "abc")
    running.note("identifiable", {"error": "no space"}, 30)
    failed = json.loads((home / "state/identifiable.json").read_text())
    assert (failed["ok"], failed["error"], failed["snapshot"]) == (False, "no space", "abc")
    assert failed["last_ok"] == good["last_ok"]
    assert (home / "state/identifiable.json").stat().st_mode & 0o777 == 0o600


def test_the_summary_is_found_among_restics_lines() -> None:
    lines = '{"message_type":"status"}\nnoise\n{"message_type":"summary","snapshot_id":"a"}\n'
    assert repository_client.summary_of(lines) == {"message_type": "summary", "snapshot_id": "a"}
    assert repository_client.summary_of("noise") is None


def test_tables() -> None:
    text = backup_table(
        [
            {
                "host": "kv01", "kind": "identifiable", "snapshot": "abc", "bytes_added": 1234567,
                "seconds": 3.2, "held_seconds": {"ctp": 0.41, "keydb": 2}, "error": None,
                "counts": {"key_pairs": 7, "ctp_files": 3},
            },
            {"host": "cv01", "kind": "deidentified", "error": "no space"},
        ]
    )  # fmt: skip
    assert "ok      kv01     identifiable  abc       1.2 MB  3 s   ctp 0.41 s" in text
    assert "7 key pairs, 3 files of CTP" in text
    assert "FAILED  cv01" in text
    assert text.endswith("cv01, deidentified: no space")
    parts = {"orthanc": {"snapshot": "a", "taken": "t", "result": "2 studies"}}
    assert "2 studies" in restore_table([{"host": "cv01", "parts": parts, "warnings": ["gap"]}])


@pytest.mark.parametrize(
    ("run", "error"),
    [
        ({"stdout": '{"error": null}'}, None),
        ({"stdout": 'x\n{"error": "e"}\n'}, "e"),
        ({"stdout": "", "stderr": "Traceback"}, "ended without a result and said: Traceback"),
        ({"msg": "no python3"}, "no python3"),
    ],
)
def test_a_run_without_a_result_is_an_error(run: dict[str, Any], error: str | None) -> None:
    found = run_result(run)["error"]
    assert (found is None) if error is None else error in found


@pytest.mark.parametrize(("refusals", "held"), [(0, True), (7, True), (8, False)])
def test_a_service_that_cannot_be_frozen_is_tried_again(
    refusals: int, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def docker(*arguments: str, what: str) -> str:
        asked.append(arguments[0])
        if len(asked) <= refusals:
            raise base.BackupError(f"{what} failed: unable to freeze")
        return ""

    monkeypatch.setattr(engine, "docker", docker)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    if held:
        engine.hold("container", "auscat_ctp")
    else:
        with pytest.raises(base.BackupError, match="Pausing auscat_ctp failed: unable to fr"):
            engine.hold("container", "auscat_ctp")
    assert asked == ["pause"] * min(refusals + 1, engine.PAUSE_ATTEMPTS)


def test_a_restore_that_was_interrupted_begins_anew_with_all_parts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "RUN", home / "run")
    monkeypatch.setattr(engine, "docker", lambda *_: "")
    interrupted = [True]

    class Fake(parts.Part):
        def check(self, target: Path, *_: Any) -> str:
            if self.name == "keydb" and interrupted.pop():
                raise base.BackupError("interrupted")
            return "checked"

    def fetch(_: Any, part: parts.Part, __: Any, target: Path) -> dict[str, Any]:
        (target / base.RESTORING / "tree").mkdir()
        (target / "restored").touch(exist_ok=False)
        return {"taken": {part.name: ""}, "counts": {}}

    remembered: list[str] = []
    monkeypatch.setattr(
        repository_client.Restic, "remember", lambda restic: remembered.append(restic.kind)
    )
    monkeypatch.setattr(forms, "PARTS", {"ctp": Fake, "keydb": Fake})
    monkeypatch.setattr(running.Run, "_fetch", fetch)
    monkeypatch.setattr(
        running.Run, "chosen", lambda *_: {name: {"id": "0123"} for name in ("ctp", "keydb")}
    )
    both = [
        {"name": name, "form": name, "directory": home / name, "service": name}
        for name in ("ctp", "keydb")
    ]
    kind = {"repository": "", "password_file": "", "parts": both}
    run = running.Run(
        {"node": "kv01", "config_root": home, "kinds": {"identifiable": kind}}, "identifiable"
    )
    for part in run.parts:
        part.directory.mkdir()

    (home / "ctp" / "old").touch()
    with pytest.raises(base.BackupError, match="holds data"):
        run.restore("latest", None, {}, replace=False)
    with pytest.raises(base.BackupError, match="interrupted"):
        run.restore("latest", None, {}, replace=True)
    assert not remembered
    interrupted[:] = [False, False]
    # CTP was complete already; the word that let the old data be put aside is not needed again.
    for _ in range(2):
        run.restore("latest", None, {}, replace=False)
        with pytest.raises(base.BackupError, match="begun and not finished"):
            run.backup(adopt=False)
    assert remembered == ["identifiable"] * 2
    (aside,) = (home / "ctp").glob(f"{base.ASIDE}*/old")
    run.finish()
    assert sorted(path.name for path in (home / "ctp").iterdir()) == [aside.parent.name, "restored"]
    assert [path.name for path in (home / "keydb").iterdir()] == ["restored"]
    with pytest.raises(base.BackupError, match="holds data"):
        run.restore("latest", None, {}, replace=False)


def test_the_program_keeps_what_it_knows_where_the_node_does() -> None:
    roots = yaml.safe_load((REPOSITORY / "roles/auscat/vars/main.yml").read_text())
    assert str(base.STATE) == f"{roots['__auscat_state_root']}/backup"
    assert str(base.CACHE) == f"{roots['__auscat_cache_root']}/restic"


def launcher(directory: Path) -> str:
    """As the role renders it where settings.json lies in that directory."""
    template = REPOSITORY / "roles/backup/templates/backup_run.py.j2"
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["to_json"] = json.dumps
    text = environment.from_string(template.read_text())
    return text.render(__backup_directory=str(directory))


@needs_restic
def test_the_launcher_reads_the_settings_of_another_config_root(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site's own auscat_config_root; the program is run as systemd and the playbooks run it."""
    mine = restic(home, "identifiable")
    mine.open(write=True)
    (home / "file").write_text("x")
    moment = "20260102T030405.678901Z"
    tags = ("--tag", "identifiable", "--tag", "complete", "--tag", f"ctp.{moment}")
    mine.run("backup", "--host", "kv01", *tags, str(home / "file"))
    there = program(home, monkeypatch, "list", "identifiable")
    assert there["chosen"] == {"ctp": moment}
    directory = home / "site's own/backup"
    directory.mkdir(parents=True)
    (home / "settings.json").rename(directory / "settings.json")
    shutil.copytree(Path(base.__file__).parent, home / "installed/backup_program")
    (home / "installed/backup_run.py").write_text(launcher(directory))
    asked = subprocess.run(
        [sys.executable, home / "installed/backup_run.py", "list", "identifiable"],
        cwd="/", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(asked.stdout) == there


def test_the_launcher_is_found_from_the_installed_package(tmp_path: Path) -> None:
    """As the role installs them: the launcher is what tries Orthanc's backup elsewhere."""
    shutil.copytree(Path(base.__file__).parent, tmp_path / "backup_program")
    (tmp_path / "backup_run.py").write_text(launcher(tmp_path / "site's own"))
    code = "from backup_program import base; print(base.LAUNCHER)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert found == str(tmp_path / "backup_run.py")
    shown = subprocess.run(
        [sys.executable, found, "--help"], cwd="/", capture_output=True, text=True, check=True
    ).stdout
    assert "ask-orthanc" in shown
