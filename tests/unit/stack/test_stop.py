"""A service counts as stopped when nothing of it runs and nothing of it will be started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.stack import deployment


class Engine:
    """A double of the engine with one state of the service after the other: those of its tasks."""

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
        raise AssertionError(arguments)

    def tasks_of(self, _: str) -> list[dict[str, Any]]:
        return [
            {"ID": f"task{number}", "Status": {"State": state}}
            for number, state in enumerate(self.now)
        ]


def stop(monkeypatch: pytest.MonkeyPatch, engine: Engine, timeout: int = 60) -> None:
    monkeypatch.setattr(deployment, "run", engine.run)
    monkeypatch.setattr(deployment, "Engine", lambda: engine)
    monkeypatch.setattr(deployment, "read_stack", lambda *_: {"keydb": object()})
    monkeypatch.setattr(deployment, "POLL_INTERVAL", 0.0)
    parameters = {"name": "auscat", "timeout": timeout, "order": [], "kept_secrets": []}
    parameters["limited"] = True
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
    # The engine has not made the next task yet.
    engine = Engine(["failed"], ["failed", "ready"], ["failed"], ["failed"])
    stop(monkeypatch, engine)
    assert engine.asked == 4


def test_no_task_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(["running"], [])
    stop(monkeypatch, engine)
    assert engine.asked == 3


def test_a_service_that_does_not_stop_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(deployment.StackError, match="keydb did not stop within 0 s"):
        stop(monkeypatch, Engine(["ready"]), timeout=0)
