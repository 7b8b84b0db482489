from __future__ import annotations

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import placement

SERVICES = {"keydb": "keyvm", "ctp": "keyvm", "orthanc": "catvm"}
GROUPS = {"keyvm": ["kv01"], "catvm": ["cv01"], "pacsvm": ["pv01"], "children": ["cv01"]}


@pytest.mark.parametrize(
    ("services", "played", "limited", "is_refused"),
    [
        (SERVICES, ["kv01", "cv01"], False, False),
        ({**SERVICES, "notes": "pacsvm"}, ["kv01", "cv01"], False, True),
        ({**SERVICES, "notes": "children"}, ["kv01", "cv01"], False, False),
        # Half of the node; and plays of somebody else, which name their own machines.
        ({**SERVICES, "notes": "pacsvm"}, ["kv01"], True, False),
        ({"notes": "pacsvm"}, ["pv01"], False, False),
        ({**SERVICES, "notes": "pacsvm"}, ["kv01", "cv01", "pv01"], False, False),
    ],
)
def test_machines_that_no_playbook_touches(
    services: dict[str, str], played: list[str], limited: bool, is_refused: bool
) -> None:
    problems = placement.outside_problems(services, GROUPS, played, limited)
    assert len(problems) == is_refused
    for problem in problems:
        assert "places notes in the group 'pacsvm', whose pv01 is in none of keyvm" in problem
        assert "hosts.yml" in problem


def test_a_second_machine_gets_nothing() -> None:
    assert placement.single_problems(SERVICES, GROUPS, "cv01") == []
    two = {**GROUPS, "catvm": ["cv01", "cv02"]}
    assert placement.single_problems(SERVICES, two, "kv01") == []
    for host in two["catvm"]:
        (problem,) = placement.single_problems(SERVICES, two, host)
        assert "The group catvm has cv01, cv02. Accepted: one machine for orthanc" in problem
        assert "Take cv02 out of the group" in problem
    (problem,) = placement.single_problems(SERVICES, {**GROUPS, "keyvm": ["a", "b"]}, "a")
    assert "one machine for ctp and keydb" in problem
    # A service of the site's own may be on many, and so may one that is used alone.
    assert placement.single_problems({"orthanc": "catvm"}, two, "cv02") == []
    assert placement.single_problems({"notes": "catvm"}, two, "cv02") == []


@pytest.mark.parametrize(
    ("pair", "refused"),
    [
        ({"kv01": ["10.0.0.1"], "cv01": ["10.0.0.2"]}, []),
        ({"kv01": ["10.0.0.1", "fd00::1"], "cv01": ["10.0.0.2"]}, []),
        ({"kv01": ["fd00::1"], "cv01": ["fd00::2"]}, ["kv01", "cv01"]),
        ({"kv01": ["fd00::1", "fd00::3"], "cv01": ["10.0.0.2"]}, ["kv01"]),
        ({"kv01": [], "cv01": ["10.0.0.2"]}, []),
    ],
)
def test_pairs_of_ipv6_alone(pair: dict[str, list[str]], refused: list[str]) -> None:
    problems = placement.family_problems(pair)
    assert [problem.split()[0] for problem in problems] == refused
    assert all("Accepted: at least one IPv4 address" in problem for problem in problems)


@pytest.mark.parametrize("stack", ["auscat", "a", "AusCAT-2", "a_b--c", "1", "x" * 50])
def test_names_of_stacks(stack: str) -> None:
    assert placement.stack_name_problems(stack, ["orthanc", "ctp_export"]) == []


@pytest.mark.parametrize(
    "stack", ["", "aus.cat", "auscat_", "-auscat", "aus cat", "käse", "a/b", "a\n", "x" * 53]
)
def test_names_that_swarm_refuses(stack: str) -> None:
    (problem,) = placement.stack_name_problems(stack, ["orthanc", "ctp_export"])
    assert problem.startswith(f"auscat_stack_name is {stack!r}. Accepted: ")
    # 63 characters, with the longest service's name.
    assert "at most 52 characters" in problem
