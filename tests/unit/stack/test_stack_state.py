"""What counts as the same definition in a service and in its task, and what is there meanwhile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.host import command
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError
from ansible_collections.auscat.imaging.plugins.module_utils.stack import state as stack_state
from ansible_collections.auscat.imaging.plugins.module_utils.stack.state import _filled, read_stack


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


class EngineDouble:
    """A double of the docker command with two services, and no engine.

    Its ``inspect`` fails as a whole when one object is not there, as that of the docker command.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {"service": {}, "container": {}, "task": {}}
        for name in ("one", "two"):
            spec = {"ContainerSpec": {"Image": name}, "ForceUpdate": 0}
            labels = {
                "com.docker.swarm.task.id": f"task-{name}",
                "com.docker.swarm.service.name": f"node_{name}",
            }
            self.objects["service"][f"service-{name}"] = {
                "Spec": {"Name": f"node_{name}", "TaskTemplate": spec, "Mode": {"Replicated": {}}}
            }
            self.objects["container"][f"container-{name}"] = {
                "Config": {"Labels": labels},
                "State": {"Health": {"Status": "healthy"}},
            }
            self.objects["task"][f"task-{name}"] = {
                "ID": f"task-{name}",
                "Spec": spec,
                "Status": {"State": "running"},
                "DesiredState": "running",
            }
        self.asked = 0
        self.goes: tuple[str, int] = ("", -1)
        """An object, and before which question it goes."""

    def __call__(self, arguments: Sequence[str], **_: Any) -> str:
        name, at = self.goes
        if self.asked == at:
            del self.objects[name.partition("-")[0]][name]
        self.asked += 1
        if arguments[2] == "ls":
            return "".join(f"{each}\n" for each in self.objects[arguments[1]])
        kind, names = arguments[1], arguments[3:]
        if kind == "inspect":
            assert arguments[2] == "--type"
            kind, names = arguments[3], arguments[4:]
        try:
            return json.dumps([self.objects[kind][each] for each in names])
        except KeyError as error:
            raise CommandError(f"docker ended with code 1: no such object: {error}") from error


@pytest.mark.parametrize("kind", ["service", "container", "task"])
def test_what_goes_while_it_is_looked_at_is_there_or_not(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def running(goes: tuple[str, int] = ("", -1)) -> tuple[dict[str, int], int]:
        engine = EngineDouble()
        engine.goes = goes
        for each in (command, stack_state):
            monkeypatch.setattr(each, "run", engine)
        return {name: state.running for name, state in read_stack("node").items()}, engine.asked

    before, questions = running()
    assert before == {"one": 1, "two": 1}
    after = {"one": 1} if kind == "service" else {"one": 1, "two": 0}
    found = [running((f"{kind}-two", at))[0] for at in range(questions)]
    assert found[0] == after
    assert all(each in (before, after) for each in found)


def test_what_cannot_be_looked_at_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def broken(arguments: Sequence[str], **_: Any) -> str:
        asked.append(arguments[2])
        if arguments[2] == "ls":
            return "service-one\n"
        raise CommandError("docker service inspect ended with code 1: the engine is ill")

    monkeypatch.setattr(command, "run", broken)
    with pytest.raises(CommandError, match="is ill"):
        read_stack("node")
    assert asked == ["ls", "inspect"] * command.LOOKS
