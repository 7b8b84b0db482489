"""What counts as the same definition in a service and in its task."""

from __future__ import annotations

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.stack_state import _filled


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
