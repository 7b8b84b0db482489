"""Who holds a machine, for how long, and who waits. With real processes and the real clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.action import machine_lock as action
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import (
    cli,
    machine_lock,
)
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import collect
from processes import ended


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of the test's own."""
    found = tmp_path / "lock"
    monkeypatch.setattr(machine_lock, "DIRECTORY", found)
    monkeypatch.setattr(collect, "LOCK", found)
    monkeypatch.delenv(machine_lock.RUN, raising=False)
    return found


def playbook(run: str = "a1", **changes: Any) -> dict[str, Any]:
    return {
        "run": run,
        "what": "playbooks/site.yml",
        "who": "anna@controller",
        "kind": "change",
        "since": "2026-01-31 18:00:00",
        "inventory": "inventories/production",
        "processes": [],
        **changes,
    }


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until the test ends it."""
    with ended(["sleep", "600"]) as process:
        yield process


def process_of(sleeper: subprocess.Popen[bytes]) -> dict[str, int]:
    return {"pid": sleeper.pid, "started": machine_lock.started(sleeper.pid)}


def silent_for(directory: Path, seconds: float) -> None:
    """As if the playbook had not been heard of for so long."""
    up = float(Path("/proc/uptime").read_text().split()[0])
    (directory / "heard").write_text(f"{up - seconds}\n")


def test_a_second_run_is_told_who_and_since_when() -> None:
    machine_lock.take(playbook())
    with pytest.raises(machine_lock.HeldError) as refused:
        machine_lock.take(playbook("b2"))
    assert str(refused.value).startswith(
        "playbooks/site.yml, started by anna@controller on 2026-01-31 18:00:00 UTC with the "
        "inventory inventories/production, last heard of "
    )


def test_the_same_run_keeps_it() -> None:
    assert machine_lock.take(playbook()) == {"joined": False, "before": None}
    assert machine_lock.take(playbook()) == {"joined": True, "before": None}


@pytest.mark.parametrize(("seconds", "counts"), [(0, True), (290, True), (310, False)])
def test_a_run_that_is_not_heard_of_any_more_holds_nothing(
    directory: Path, seconds: float, counts: bool
) -> None:
    machine_lock.take(playbook())
    silent_for(directory, seconds)
    assert (machine_lock.holder() is not None) == counts
    assert (collect.holder() is not None) == counts
    if counts:
        with pytest.raises(machine_lock.HeldError):
            machine_lock.take(playbook("b2"))
    else:
        before = machine_lock.take(playbook("b2"))["before"]
        assert before["run"] == "a1"
        assert before["silent"] >= seconds


def test_what_a_killed_playbook_left_at_work_holds_it_still(
    directory: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    machine_lock.take(playbook())
    machine_lock.take(playbook(kind="backup", processes=[process_of(sleeper)]))
    silent_for(directory, 9999)
    with pytest.raises(machine_lock.HeldError, match=f"process {sleeper.pid} of this machine"):
        machine_lock.take(playbook("b2"))
    assert collect.holder()
    sleeper.kill()
    sleeper.wait()
    assert machine_lock.take(playbook("b2"))["before"]["run"] == "a1"


def test_a_number_that_is_used_again_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    gone = {**process_of(sleeper), "started": 1}
    machine_lock.take(playbook(processes=[gone]))
    assert machine_lock.holder() is None


def test_a_restart_of_the_machine_frees_it(directory: Path) -> None:
    machine_lock.take(playbook())
    record = json.loads((directory / "record.json").read_text())
    (directory / "record.json").write_text(json.dumps({**record, "boot": "another"}))
    assert machine_lock.holder() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "a1"}'])
def test_half_a_record_holds_nothing(directory: Path, text: str) -> None:
    directory.mkdir()
    (directory / "record.json").write_text(text)
    assert machine_lock.holder() is None
    assert collect.holder() is None
    assert machine_lock.take(playbook()) == {"joined": False, "before": None}


def test_a_broken_lock_is_the_other_runs_and_tells_whose_it_was() -> None:
    machine_lock.take(playbook())
    taken = machine_lock.take(playbook("b2"), broken=True)
    assert taken["before"]["who"] == "anna@controller"
    with pytest.raises(machine_lock.HeldError):
        machine_lock.take(playbook("a1"))


def shell(command: str) -> int:
    return subprocess.run(["/bin/sh", "-c", command], check=False).returncode


def test_the_controllers_commands_beat_and_release(directory: Path) -> None:
    machine_lock.take(playbook())
    silent_for(directory, 200)
    assert shell(machine_lock.beat_command("a1")) == 0
    held = machine_lock.holder()
    assert held
    assert held["silent"] < 60
    # Of a run that holds nothing, they change nothing and say so.
    assert shell(machine_lock.beat_command("b2")) == 3
    assert shell(machine_lock.release_command("b2")) == 3
    assert machine_lock.holder()
    shell(machine_lock.release_command("a1"))
    assert machine_lock.holder() is None
    assert machine_lock.take(playbook("b2")) == {"joined": False, "before": None}


def test_a_release_leaves_it_to_what_is_at_work(
    directory: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    machine_lock.take(playbook())
    machine_lock.take(playbook(processes=[process_of(sleeper)]))
    shell(machine_lock.release_command("a1"))
    assert machine_lock.holder()
    machine_lock.leave("a1", process_of(sleeper))
    assert not (directory / "record.json").exists()


def test_a_program_of_a_playbook_works_within_its_run(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    machine_lock.take(playbook())
    monkeypatch.setenv(machine_lock.RUN, "a1")
    with cli.locked("restore identifiable", 0):
        held = machine_lock.holder()
        assert held
        assert [each["pid"] for each in held["processes"]] == [os.getpid()]
        assert held["what"] == "playbooks/site.yml"
    held = machine_lock.holder()
    assert held
    assert held["processes"] == []


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("backup identifiable", "backup"),
        ("verify identifiable deidentified", "backup"),
        ("restore identifiable", "change"),
        ("finish identifiable", "change"),
    ],
)
def test_patients_are_loaded_beside_a_backup_and_not_beside_a_restore(what: str, kind: str) -> None:
    with cli.locked(what, 0):
        held = machine_lock.holder()
        assert held
        assert held["kind"] == kind


def test_a_program_waits_as_long_as_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    machine_lock.take(playbook())
    with pytest.raises(cli.BusyError, match="anna@controller"), cli.locked("backup", 1.5):
        pytest.fail("it does not get there")
    # Said once, for the journal.
    said = capsys.readouterr().err
    assert said.count("backup: waiting for playbooks/site.yml, started by anna@controller") == 1


def test_two_programs_exclude_each_other_and_a_killed_one_holds_nothing(directory: Path) -> None:
    package = Path(machine_lock.__file__).resolve().parents[1]
    code = (
        f"import sys; sys.path.insert(0, {str(package)!r})\n"
        "from pathlib import Path\nfrom program import cli, machine_lock\n"
        f"machine_lock.DIRECTORY = Path({str(directory)!r})\n"
        "with cli.locked('backup identifiable', 0):\n    print('held', flush=True); input()\n"
    )
    with ended(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(cli.BusyError, match="backup identifiable"), cli.locked("verify", 0):
            pytest.fail("it does not get there")
        other.kill()
        other.wait()
        with cli.locked("verify", 0):
            held = machine_lock.holder()
            assert held
            assert held["what"] == "verify"
    assert machine_lock.holder() is None


def run_of(controller: str, process: subprocess.Popen[bytes]) -> str:
    return f"{controller}x{process.pid}x{machine_lock.started(process.pid)}"


def test_a_run_has_ended_when_its_process_on_this_controller_has(
    sleeper: subprocess.Popen[bytes],
) -> None:
    controller = action.this_run().partition("x")[0]
    mine, others = run_of(controller, sleeper), run_of("0123456789ab", sleeper)
    assert not action.has_ended(mine)
    sleeper.kill()
    # Whoever started it has not asked yet how it ended.
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert action.has_ended(mine)
    sleeper.wait()
    assert action.has_ended(mine)
    assert not action.has_ended(others)
    assert not action.has_ended("4711-42")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"silent": 7.0}, ["last heard of 7 s ago", "free 5 minutes after it was last heard of"]),
        ({"kind": "backup"}, ["systemctl stop 'auscat-backup-*.service' on kv01"]),
        (
            {},
            ["-e break_lock=kv01", "works beside yours", "anna@controller on 2026-01-31"],
        ),
    ],
)
def test_who_is_refused_is_told_what_to_do(changes: dict[str, Any], words: list[str]) -> None:
    said = action.problem("kv01", playbook(**changes), False)
    assert said.startswith("kv01 is being changed by playbooks/site.yml, started by ")
    assert [word for word in words if word not in said] == []


def test_a_controller_whose_user_has_no_name_says_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SUDO_USER", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1000650000)
    who = action.arguments({"inventory_hostname": "kv01"}, {})["record"]["who"]
    assert who.startswith("1000650000@")
