"""What counts as the same definition in a service and in its task, and what is there meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.host import command
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError
from ansible_collections.auscat.imaging.plugins.module_utils.host.engine import Engine
from ansible_collections.auscat.imaging.plugins.module_utils.stack import state as stack_state
from ansible_collections.auscat.imaging.plugins.module_utils.stack.deployment import (
    reasons_to_deploy,
)
from ansible_collections.auscat.imaging.plugins.module_utils.stack.state import _filled, read_stack
from stack_engine import engine_double


@pytest.mark.parametrize(
    ("task", "service"),
    [
        ({"Image": "a"}, {"Image": "a", "Healthcheck": None, "Env": [], "Hosts": {}}),
        # A Docker command that is newer than the engine knows settings that the task does not have.
        ({"Privileges": {"Seccomp": None}}, {"Privileges": {"NoNewPrivileges": False}}),
        ({"Mounts": [{"Source": "/a"}]}, {"Mounts": [{"Source": "/a", "ReadOnly": False}]}),
        (None, {}),
        (None, 0),
    ],
)
def test_unset_settings_make_no_difference(task: object, service: object) -> None:
    assert _filled(task) == _filled(service)


@pytest.mark.parametrize(
    ("task", "service"),
    [
        ({"Image": "a"}, {"Image": "b"}),
        ({"Privileges": {}}, {"Privileges": {"NoNewPrivileges": True}}),
        ({"Mounts": [{"Source": "/a"}]}, {"Mounts": [{"Source": "/a"}, {"Source": "/b"}]}),
    ],
)
def test_set_settings_do(task: object, service: object) -> None:
    assert _filled(task) != _filled(service)


@pytest.mark.parametrize("kind", ["service", "container", "task"])
def test_what_goes_while_it_is_looked_at_is_there_or_not(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")

    def running(goes: tuple[str, int] = ("", -1)) -> tuple[dict[str, int], int]:
        with engine_double(tmp_path) as engine:
            engine.goes = goes
            found = read_stack("node")
            return {name: state.running for name, state in found.items()}, engine.asked

    before, questions = running()
    assert before == {"one": 1, "two": 1}
    after = {"one": 1} if kind == "service" else {"one": 1, "two": 0}
    found = [running((f"{kind}-two", at))[0] for at in range(questions)]
    assert found[0] == after
    assert all(each in (before, after) for each in found)


def test_what_cannot_be_looked_at_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with engine_double(tmp_path) as engine:
        engine.ill = "the engine is ill"
        with pytest.raises(CommandError, match=r"^The Docker engine says: the engine is ill$"):
            read_stack("node")
    with pytest.raises(CommandError, match=r"^The Docker engine "):
        read_stack("node")


def test_tasks_of_a_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with engine_double(tmp_path) as double:
        engine = Engine()
        assert stack_state.task_ids(engine, "node", "one") == {"task-one", "task-two"}
        assert stack_state.task_ids(engine, "node", "three") == set()
        assert stack_state.unfinished_tasks(engine, "node", "one") == 2
        double.objects["task"]["task-two"]["Status"]["State"] = "failed"
        assert stack_state.unfinished_tasks(engine, "node", "one") == 1
        assert stack_state.failed_tasks(engine, "node", "one", set()) == 1
        assert stack_state.failed_tasks(engine, "node", "one", {"task-two"}) == 0


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(CommandError, match="Install python3-docker"):
        Engine()


@pytest.mark.parametrize(
    ("last", "reasons"),
    [
        ({"one": f"{stack_state.DIGEST_OF}abc"}, []),
        ({"one": f"{stack_state.DIGEST_OF}def"}, ["the service one was changed outside Ansible"]),
        ({"one": "abc"}, ["the service one was deployed by an earlier version of the role"]),
        ({}, ["the last deployment of the service one did not finish"]),
    ],
)
def test_what_was_deployed_is_known_by_its_digest(last: dict[str, str], reasons: list[str]) -> None:
    states = {
        "one": stack_state.ServiceState(name="one", spec_digest=f"{stack_state.DIGEST_OF}abc")
    }
    assert reasons_to_deploy({"one"}, states, "text", "text", last) == reasons


def test_a_list_of_the_docker_command_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def broken(arguments: Sequence[str], **_: Any) -> str:
        asked.append(arguments[2])
        if arguments[2] == "ls":
            return "service-one\n"
        raise CommandError("docker service inspect ended with code 1: the engine is ill")

    monkeypatch.setattr(command, "run", broken)
    with pytest.raises(CommandError, match="is ill"):
        command.docker_objects("service", [])
    assert asked == ["ls", "inspect"] * command.LOOKS
