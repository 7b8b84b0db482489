"""What differs between two stack files, and the way from one to the other."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.stack.changes import (
    changed_services,
    differences,
    going_back,
    resolved,
    steps,
)


def document(**services: dict[str, Any]) -> dict[str, Any]:
    """Return a stack file of services with an image, and secrets as name to version."""
    built, secrets = {}, {}
    for name, service in services.items():
        used = service.pop("secrets", {})
        built[name] = {"image": f"{name}:1", "secrets": [], **service}
        for secret, version in used.items():
            built[name]["secrets"].append({"source": secret, "target": secret})
            secrets[secret] = {"external": True, "name": f"stack_{secret}_v{version}"}
    return {"version": "3.8", "services": built, "networks": {"node": {}}, "secrets": secrets}


@pytest.mark.parametrize(
    ("after", "changed"),
    [
        (document(a={}, b={"secrets": {"s": 1}}), []),
        (document(a={"image": "a:2"}, b={"secrets": {"s": 1}}), ["a"]),
        (document(a={}, b={"secrets": {"s": 2}}), ["b"]),
        (document(a={"image": "a:2"}, b={"secrets": {"s": 2}}), ["b", "a"]),
        (document(a={}, b={"secrets": {"s": 1}}, c={}), ["c"]),
        (document(b={"secrets": {"s": 1}}), []),
    ],
)
def test_changed_services(after: dict[str, Any], changed: list[str]) -> None:
    before = document(a={}, b={"secrets": {"s": 1}})
    assert changed_services(before, after, ["b"]) == changed


def test_each_step_changes_one_service_and_keeps_what_the_others_use() -> None:
    before = document(a={"secrets": {"s": 1}}, b={"secrets": {"s": 1}}, gone={})
    after = document(a={"secrets": {"s": 2}}, b={"secrets": {"s": 2}}, new={})
    way = steps(before, after, ["a", "b", "new"])
    assert [names for names, _ in way] == [["a"], ["b"], ["new"]]
    assert [sorted(step["services"]) for _, step in way] == [
        ["a", "b", "gone"],
        ["a", "b", "gone"],
        ["a", "b", "gone", "new"],
    ]
    sources = [
        [step["services"][name]["secrets"][0]["source"] for name in ("a", "b")] for _, step in way
    ]
    assert sources == [["stack_s_v2", "stack_s_v1"]] + [["stack_s_v2", "stack_s_v2"]] * 2
    assert [sorted(step["secrets"]) for _, step in way] == [
        ["stack_s_v1", "stack_s_v2"],
        ["stack_s_v2"],
        ["stack_s_v2"],
    ]


def test_a_port_that_moves_moves_in_one_step() -> None:
    port = {"ports": [{"published": 104, "target": 104, "protocol": "tcp"}]}
    assert [
        names
        for names, _ in steps(document(a={**port}, b={}), document(a={}, b={**port}), ["a", "b"])
    ] == [["a"], ["b"]]
    ((names, step),) = steps(document(a={**port}, b={}), document(c={**port}, b={}), ["c"])
    assert (names, sorted(step["services"])) == (["c"], ["b", "c"])


def test_a_service_is_the_same_with_its_secrets_under_their_swarm_names() -> None:
    before = document(a={"secrets": {"s": 1}})
    untouched = copy.deepcopy(before)
    assert changed_services(before, resolved(before)) == []
    assert before == untouched


def test_going_back_keeps_what_is_in_force() -> None:
    before = document(a={"secrets": {"password": 1, "options": 1}})
    after = document(a={"image": "a:2", "secrets": {"password": 2, "options": 2}})
    names = going_back(before, after, ["password", "absent"])
    assert {key: entry["name"] for key, entry in names["secrets"].items()} == {
        "password": "stack_password_v2",
        "options": "stack_options_v1",
    }
    assert names["services"] == before["services"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"image": "a:1"}, {"image": "a:2"}, []),
        ({"environment": {"A": "1", "B": "2"}}, {"environment": {"A": "9"}}, ["A", "B"]),
        ({"secrets": {"s": 1}}, {"secrets": {"s": 2}}, ["secret s"]),
        ({"secrets": {}}, {"secrets": {"s": 1}}, ["secret s"]),
        ({"command": ["x"]}, {}, ["command"]),
        (
            {"stop_grace_period": "30s"},
            {"stop_grace_period": "9s"},
            ["stop_grace_period 30s -> 9s"],
        ),
        (
            {"deploy": {"resources": {"limits": {"memory": "1M"}}, "replicas": 1}},
            {"deploy": {"resources": {"limits": {"memory": "2M"}}, "replicas": 1}},
            ["resources.limits.memory 1M -> 2M"],
        ),
        (
            {"ports": [{"target": 1, "published": 2, "protocol": "tcp"}]},
            {},
            ["ports 2/tcp -> none"],
        ),
        (
            {"volumes": [{"target": "/a", "source": "/1"}]},
            {"volumes": [{"target": "/a", "source": "/2"}]},
            ["mount /a"],
        ),
    ],
)
def test_differences(before: dict[str, Any], after: dict[str, Any], words: list[str]) -> None:
    found = differences(document(a=before), document(a=after), "a")
    assert [each.removeprefix("environment ") for each in found] == words


def test_a_service_that_comes_or_goes() -> None:
    assert differences(document(), document(a={}), "a") == ["new service"]
    assert differences(document(a={}), document(), "a") == ["is removed"]
