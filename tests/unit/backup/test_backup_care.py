"""Nothing is lost by care: who may write into a repository; with a real restic."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import (
    base,
    engine,
    forms,
    parts,
    running,
)
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import (
    restic as repository_client,
)

pytestmark = pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")
STAMP = "20260101T000000.000000Z"


class Counted(parts.Part):
    """A part that holds as many studies as its file says."""

    def take(self) -> dict[str, Any]:
        if (self.directory / "broken").exists():
            raise base.BackupError("it cannot be held")
        self.stage.mkdir(mode=0o700)
        self.when = STAMP
        shutil.copy(self.directory / "studies", self.stage / "studies")
        return {"studies": int((self.stage / "studies").read_text())}

    def put(self, restored: Path, target: Path, manifest: Any) -> None:
        (restored / "studies").rename(target / "studies")

    def check(self, target: Path, manifest: Any, logins: Any) -> str:
        return f"{(target / 'studies').read_text()} studies"

    def image(self) -> str:
        return ""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The program's own directories below a temporary one, and no engine."""
    monkeypatch.setattr(base, "STATE", tmp_path / "state")
    monkeypatch.setattr(base, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(forms, "PARTS", {"counted": Counted})
    monkeypatch.setattr(engine, "remove_leftovers", lambda: None)
    monkeypatch.setattr(engine, "container_of", lambda _: None)
    monkeypatch.setattr(engine, "paused", lambda _: [])
    (tmp_path / "password").write_text("a-password-for-the-test\n")
    yield tmp_path


def node(home: Path, studies: int, repository: str = "repository") -> running.Run:
    """A machine called cv01 with so many studies."""
    directory = home / "orthanc"
    directory.mkdir(exist_ok=True)
    (directory / "studies").write_text(str(studies))
    kind = {
        "repository": str(home / repository),
        "password_file": str(home / "password"),
        "parts": [
            {
                **{"name": "orthanc", "form": "counted", "service": "s"},
                **{"directory": directory, "owner": 0, "group": 0},
            }
        ],
        "keep": {"daily": 1, "weekly": 1, "monthly": 1},
    }
    settings = {"node": "cv01", "config_root": home, "kinds": {"deidentified": kind}}
    return running.Run(settings, "deidentified")


def noted(home: Path) -> str:
    path = home / "state/deidentified.repository"
    return path.read_text() if path.exists() else ""


def listed(run: running.Run) -> list[dict[str, Any]]:
    return run.restic.snapshots()


def test_a_run_that_wrote_nothing_notes_nothing(home: Path) -> None:
    run = node(home, 5)
    run.restic.run("init")
    (run.parts[0].directory / "broken").touch()
    with pytest.raises(base.BackupError, match="cannot be held"):
        run.backup(adopt=False)
    assert not noted(home)
    (run.parts[0].directory / "broken").unlink()
    run.backup(adopt=False)
    assert noted(home)


def test_a_run_that_failed_lets_no_empty_machine_write(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The empty one was there first, and wrote nothing; then the other machine of this name did."""
    full = node(home, 5)
    full.restic.run("init")
    monkeypatch.setattr(base, "STATE", home / "empty-machine")
    empty = node(home, 0)
    (empty.parts[0].directory / "broken").touch()
    with pytest.raises(base.BackupError, match="cannot be held"):
        empty.backup(adopt=False)
    (empty.parts[0].directory / "broken").unlink()
    monkeypatch.setattr(base, "STATE", home / "state")
    node(home, 5).backup(adopt=False)
    monkeypatch.setattr(base, "STATE", home / "empty-machine")
    with pytest.raises(base.BackupError, match="holds backups of cv01"):
        node(home, 0).backup(adopt=False)
    # Told to, it goes on; that is noted even where the run fails.
    (empty.parts[0].directory / "broken").touch()
    with pytest.raises(base.BackupError, match="cannot be held"):
        node(home, 0).backup(adopt=True)
    (empty.parts[0].directory / "broken").unlink()
    node(home, 0).backup(adopt=False)


def test_a_second_repository_is_noted_once_something_is_in_it(home: Path) -> None:
    node(home, 5).backup(adopt=False)
    first = noted(home)
    second = node(home, 5, "second")
    second.restic.run("init")
    (second.parts[0].directory / "broken").touch()
    with pytest.raises(base.BackupError, match="cannot be held"):
        second.backup(adopt=False)
    assert noted(home) == first
    (second.parts[0].directory / "broken").unlink()
    second.backup(adopt=False)
    assert noted(home) != first
    # The first holds backups of a time that this note says nothing of.
    with pytest.raises(base.BackupError, match="holds backups of cv01"):
        node(home, 5).backup(adopt=False)


def test_an_empty_disk_below_a_machine_that_was_noted_writes_nothing(home: Path) -> None:
    run = node(home, 5)
    run.backup(adopt=False)
    before = listed(run)
    with pytest.raises(base.BackupError, match=r"holds no studies, and the last backup held 5"):
        node(home, 0).backup(adopt=False)
    assert listed(run) == before
    assert not (run.parts[0].directory / base.STAGE).exists()
    # Fewer are no reason; none after all were removed on purpose are none either.
    node(home, 1).backup(adopt=False)
    node(home, 0).backup(adopt=True)
    node(home, 0).backup(adopt=False)


def test_what_was_restored_counts_as_what_was_held(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node(home, 5).backup(adopt=False)
    monkeypatch.setattr(base, "STATE", home / "new-machine")
    run = node(home, 0)
    (run.parts[0].directory / "studies").unlink()
    run.restore("latest", None, {}, replace=False)
    run.finish()
    assert (run.parts[0].directory / "studies").read_text() == "5"
    # The disk of the data is lost before the first backup of the new machine.
    with pytest.raises(base.BackupError, match="the last backup held 5"):
        node(home, 0).backup(adopt=False)
    node(home, 5).backup(adopt=False)


@pytest.mark.parametrize("look", ["list", "verify", "cleanup", "finish"])
def test_a_look_notes_neither_the_repository_nor_what_it_holds(
    home: Path, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    node(home, 5).backup(adopt=False)
    monkeypatch.setattr(base, "STATE", home / "empty-machine")
    run = node(home, 0)
    if look == "list":
        repository_client.of_node(run.restic.open(write=False), "cv01", "deidentified")
    else:
        getattr(run, look)()
    left = home / "empty-machine"
    assert not left.exists() or not any(path.suffix == ".repository" for path in left.iterdir())
    assert not (left / "deidentified.counts.json").exists()
    with pytest.raises(base.BackupError, match="holds backups of cv01"):
        node(home, 0).backup(adopt=False)


def test_nothing_that_a_patient_is_known_by_is_noted(home: Path) -> None:
    node(home, 5).backup(adopt=False)
    assert json.loads((home / "state/deidentified.counts.json").read_text()) == {"studies": 5}


def at(moment: datetime) -> str:
    return moment.strftime(base.TIME)


def shift(monkeypatch: pytest.MonkeyPatch, hours: float) -> datetime:
    """Let the machine's clock be ahead by so much; return what it says."""
    moment = datetime.now(timezone.utc) + timedelta(hours=hours)

    class Clock(datetime):
        @classmethod
        def now(cls, _: Any = None) -> Clock:
            return cls.fromtimestamp(moment.timestamp(), timezone.utc)

    monkeypatch.setattr(running, "datetime", Clock)
    monkeypatch.setitem(globals(), "STAMP", at(moment))
    return moment


def store(monkeypatch: pytest.MonkeyPatch, run: running.Run, hours: float) -> dict[str, Any]:
    """Back up while the clock is ahead by so much; restic's own too."""
    moment = shift(monkeypatch, hours)
    ask = repository_client.Restic.ask

    def on_that_day(restic: Any, *arguments: str, **kept: Any) -> Any:
        if arguments[0] == "backup":
            arguments = (*arguments, "--time", moment.strftime("%Y-%m-%d %H:%M:%S"))
        return ask(restic, *arguments, **kept)

    with monkeypatch.context() as patch:
        patch.setattr(repository_client.Restic, "ask", on_that_day)
        return run.backup(adopt=False)


def test_a_snapshot_of_a_clock_ahead_is_not_the_newest_and_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = store(monkeypatch, node(home, 5), -30)
    false = store(monkeypatch, node(home, 4), 24 * 40)
    # The clock is right again: two of these on one day, of which restic keeps one beyond two days.
    for studies in (6, 7):
        last = store(monkeypatch, node(home, studies), -0.1 + studies / 100)
        assert last["ahead"] == 1
        assert last["snapshot"] != false["snapshot"]
        (warning,) = last["warnings"]
        assert false["snapshot"] in warning and "nothing is forgotten" in warning
    run = node(home, 7)
    assert len(listed(run)) == 4, "nothing is forgotten for one of a time to come"
    assert run.chosen("latest", None)["orthanc"]["id"].startswith(last["snapshot"])
    assert false["snapshot"] in run.still_to_come and right["snapshot"] not in run.still_to_come
    assert run.chosen(false["snapshot"], None)["orthanc"]["id"].startswith(false["snapshot"])
    tried = run.verify()
    assert tried.startswith("7 studies; ") and false["snapshot"] in tried

    # On a new machine, and when that time has passed: it is still not the newest.
    monkeypatch.setattr(base, "STATE", home / "new-machine")
    shift(monkeypatch, 24 * 41)
    new = node(home, 0)
    (new.parts[0].directory / "studies").unlink()
    done = new.restore("latest", None, {}, replace=False)
    assert (new.parts[0].directory / "studies").read_text() == "7"
    assert false["snapshot"] in done["warnings"][0]


def test_where_all_are_of_a_time_to_come_none_is_chosen(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = store(monkeypatch, node(home, 5), 24)
    shift(monkeypatch, 0)
    run = node(home, 5)
    with pytest.raises(base.BackupError, match=r"All backups of orthanc bear a time .*timedatectl"):
        run.chosen("latest", None)
    assert run.chosen(there["snapshot"], None)["orthanc"]["id"].startswith(there["snapshot"])


def test_a_clock_that_is_a_little_apart_is_none_that_ran_ahead(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = store(monkeypatch, node(home, 5), 0.05)
    shift(monkeypatch, 0)
    run = node(home, 5)
    assert run.chosen("latest", None)["orthanc"]["id"].startswith(there["snapshot"])
    assert not run.still_to_come


def test_an_id_that_reads_as_a_date_is_no_time() -> None:
    tags = ["deidentified", "complete", "orthanc.20260101T000000.000000Z", "ahead.20990101"]
    one = {"id": "a" * 64, "time": "2026-01-01T00:00:00.123456789Z", "tags": tags}
    assert repository_client.ahead([one], datetime(2026, 2, 1, tzinfo=timezone.utc)) == []
