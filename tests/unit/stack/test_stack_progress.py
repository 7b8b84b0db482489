"""What a deployment shows while it waits, and that showing it disturbs nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.utils.display import Display
from ansible_collections.auscat.imaging.plugins.action import swarm_stack as action
from ansible_collections.auscat.imaging.plugins.module_utils.stack import progress


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("--\n", "no service yet"),
        ("auscat_keydb 1/1\nauscat_ctp 1/1 (max 1 per node)\n--\n", "2 of 2 services run"),
        (
            "auscat_keydb 1/1\nauscat_ctp 0/1\nauscat_orthanc 0/1\nauscat_front 0/0\n--\n"
            "auscat_ctp Up 12 seconds (health: starting)\nauscat_keydb Up 2 hours (healthy)\n",
            "1 of 4 services run; ctp: starting for 12 seconds; front: stopped; "
            "orthanc: no container yet",
        ),
        (
            "auscat_ctp 0/1\n--\nauscat_ctp Up 5 minutes (unhealthy)\n",
            "0 of 1 services run; ctp: Up 5 minutes (unhealthy)",
        ),
    ],
    ids=["none", "all", "some", "unhealthy"],
)
def test_how_far_the_services_are(printed: str, expected: str) -> None:
    assert progress.told("auscat", printed) == expected


def test_the_question_is_one_that_a_shell_reads() -> None:
    """The engine's answer stands in for it: each word of the command comes as it was meant."""
    script = f"docker() {{ printf '<%s>' \"$@\"; echo; }}; {progress.question('a b')}"
    printed = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    services, between, containers = printed.stdout.splitlines()
    label = "<--filter><label=com.docker.stack.namespace=a b><--format>"
    assert services == f"<service><ls>{label}<{{{{.Name}}}} {{{{.Replicas}}}}>"
    assert between == "--"
    assert containers == (
        f'<ps>{label}<{{{{.Label "com.docker.swarm.service.name"}}}} {{{{.Status}}}}>'
    )


class Connected:
    """An action whose machine answers with what a shell prints here."""

    def __init__(self, script: str) -> None:
        self.script = script

    def _low_level_execute_command(self, command: str) -> dict[str, Any]:
        done = subprocess.run(
            ["sh", "-c", self.script], capture_output=True, text=True, check=False
        )
        return {"rc": done.returncode, "stdout": done.stdout}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is displayed."""
    found: list[str] = []
    monkeypatch.setattr(action, "EVERY", 0.1)
    monkeypatch.setattr(Display, "display", lambda self, text, **more: found.append(text))
    return found


def wait_until(lines: list[str], count: int) -> None:
    deadline = time.monotonic() + 20
    while len(lines) < count:
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)


def test_lines_come_while_it_works_and_none_after_it(lines: list[str]) -> None:
    asked: Any = Connected("printf 'auscat_ctp 0/1\\n--\\n'")
    with action.shown(asked, "kv01", "auscat"):
        wait_until(lines, 2)
    shown = list(lines)
    assert shown[0].startswith("kv01: 0 of 1 services run; ctp: no container yet (after ")
    time.sleep(0.5)
    assert lines == shown


def test_what_is_over_at_once_shows_nothing_and_costs_nothing(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action, "EVERY", 10.0)
    asked: Any = Connected("printf 'auscat_ctp 1/1\\n--\\n'")
    began = time.monotonic()
    with action.shown(asked, "kv01", "auscat"):
        pass
    assert time.monotonic() - began < 2
    assert lines == []


@pytest.mark.parametrize("script", ["exit 1", "sleep 600"], ids=["fails", "hangs"])
def test_a_machine_that_does_not_answer_disturbs_nothing(lines: list[str], script: str) -> None:
    asked: Any = Connected(script)
    began = time.monotonic()
    with action.shown(asked, "kv01", "auscat"):
        time.sleep(0.5)
    assert time.monotonic() - began < 3
    assert lines == []


def test_what_fails_in_it_is_passed_on(lines: list[str]) -> None:
    asked: Any = Connected("exit 1")
    with pytest.raises(ValueError, match="of the module"), action.shown(asked, "kv01", "auscat"):
        raise ValueError("of the module")


def test_it_ends_when_the_task_was_killed(lines: list[str], tmp_path: Path) -> None:
    """Nobody is left to end it then, and it holds nothing by which the run would seem to live."""
    asked: Any = Connected(f"echo >> {tmp_path / 'asked'}; exit 1")
    task = os.fork()
    if not task:
        with action.shown(asked, "kv01", "auscat"):
            time.sleep(600)
        os._exit(1)
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "asked").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.kill(task, signal.SIGKILL)
        os.waitpid(task, 0)
    time.sleep(0.5)
    asked_by_then = (tmp_path / "asked").read_text()
    time.sleep(0.5)
    assert (tmp_path / "asked").read_text() == asked_by_then
