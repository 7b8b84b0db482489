"""A service counts as stopped when nothing of it runs and nothing of it will be started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError
from ansible_collections.auscat.imaging.plugins.module_utils.stack import deployment
from ansible_collections.auscat.imaging.plugins.module_utils.stack import state as stack_state

GONE = "gone"  # a task that is removed between the two questions


class Engine:
    """Answers with one state of the service after the other: the tasks', by container or not."""

    def __init__(self, *looks: list[str]) -> None:
        self.looks: Iterator[list[str]] = iter(looks)
        self.now: list[str] = []
        self.asked = 0
        self.scaled = False

    def run(self, arguments: list[str], **_: object) -> str:
        command = tuple(arguments[1:3])
        if command == ("service", "update"):
            self.scaled = True
            return ""
        if command == ("ps", "--quiet"):
            self.now = next(self.looks, self.now)
            self.asked += 1
            return "container\n" * self.now.count("running")
        if command == ("service", "ps"):
            return "".join(f"task{number}\n" for number, _ in enumerate(self.now))
        if command == ("inspect", "--type"):
            if GONE in self.now:
                raise CommandError("no such task")
            return json.dumps([{"Status": {"State": state}} for state in self.now])
        raise AssertionError(arguments)


def stop(monkeypatch: pytest.MonkeyPatch, engine: Engine, timeout: int = 60) -> None:
    for module in (deployment, stack_state):
        monkeypatch.setattr(module, "run", engine.run)
    monkeypatch.setattr(deployment, "read_stack", lambda _: {"keydb": object()})
    monkeypatch.setattr(deployment, "POLL_INTERVAL", 0.0)
    parameters = {"name": "auscat", "timeout": timeout, "order": [], "kept_secrets": []}
    directories = {"directory": Path("/nowhere"), "copies": "/nowhere", "data": []}
    deployment.Stack({**parameters, **directories}).stop("keydb")
    assert engine.scaled


@pytest.mark.parametrize("state", ["new", "pending", "assigned", "ready", "starting"])
def test_a_task_that_waits_for_its_start_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Its data would be put back under a container that comes up a moment later."""
    ended = ["failed", "failed"]
    engine = Engine(
        [*ended, state], [*ended, state], [*ended, "running"], [*ended, "shutdown"], ended
    )
    stop(monkeypatch, engine)
    assert engine.asked == 5


def test_one_quiet_look_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    # The engine has not made the next task yet; a task is removed while it is asked about.
    engine = Engine(["failed"], ["failed", "ready"], ["failed", GONE], ["failed"], ["failed"])
    stop(monkeypatch, engine)
    assert engine.asked == 5


def test_no_task_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(["running"], [])
    stop(monkeypatch, engine)
    assert engine.asked == 3


def test_a_service_that_does_not_stop_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(deployment.StackError, match="keydb did not stop within 0 s"):
        stop(monkeypatch, Engine(["ready"]), timeout=0)
