"""Memory limits that follow from the largest object, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.inventory.memory_limits import (
    LEAST_MIB,
    REST_MIB,
    inventory_problems,
    largest_object,
    machine_problems,
    orthanc_mib,
)
from jinja2 import Environment

ROLES = Path(__file__).resolve().parents[3] / "roles"


def default(role: str, name: str) -> object:
    return yaml.safe_load((ROLES / role / "defaults/main.yml").read_text())[name]


@pytest.mark.parametrize("largest", [LEAST_MIB, 136, 137, 200, 600])
def test_the_role_has_the_same_arithmetic(largest: int) -> None:
    text = str(default("orthanc", "orthanc_memory_mib"))
    rendered = Environment().from_string(text).render(auscat_largest_object_mib=largest)
    assert int(rendered) == orthanc_mib(largest)


def test_the_smallest_machine_bears_the_default() -> None:
    largest = default("auscat", "auscat_largest_object_mib")
    machine = default("preflight", "preflight_memory_mib")
    assert isinstance(largest, int) and isinstance(machine, int)
    assert not inventory_problems(largest, orthanc_mib(largest))
    assert not machine_problems(machine, largest, orthanc_mib(largest))


@pytest.mark.parametrize(
    ("largest", "limit", "words"),
    [
        (200, 1279, ["orthanc_memory_mib is 1279", "at least 1280 MiB", "at most 199 MiB"]),
        (600, 1024, ["auscat_largest_object_mib 600", "at least 2880 MiB", "at most 136 MiB"]),
        (15, 1024, ["auscat_largest_object_mib is 15", "16 to 65536"]),
        (65537, None, ["auscat_largest_object_mib is 65537", "16 to 65536"]),
    ],
)
def test_what_the_inventory_may_not_say(largest: int, limit: int | None, words: list[str]) -> None:
    (problem,) = inventory_problems(largest, limit)
    assert all(word in problem for word in words), problem


@pytest.mark.parametrize(("largest", "limit"), [(200, 1280), (100, 900), (600, None)])
def test_what_it_may_say(largest: int, limit: int | None) -> None:
    assert not inventory_problems(largest, limit)


def test_a_machine_that_is_too_small() -> None:
    (problem,) = machine_problems(2048, 600, orthanc_mib(600))
    assert "has 2048 MiB" in problem and "auscat_largest_object_mib 600" in problem
    assert f"at least {2880 + REST_MIB} MiB of memory" in problem
    assert f"at most {largest_object(2048 - REST_MIB)}" in problem
    assert not machine_problems(2048, 600, None), "Orthanc runs on another machine"
    assert not machine_problems(2880 + REST_MIB, 600, 2880)


def test_a_machine_of_2_gib_shows_less_and_is_accepted() -> None:
    """1967 MiB, as QEMU gives a guest of 2 GiB; docs/guide.md asks for no more."""
    least = yaml.safe_load((ROLES / "preflight/defaults/main.yml").read_text())
    largest = yaml.safe_load((ROLES / "auscat/defaults/main.yml").read_text())
    mib = largest["auscat_largest_object_mib"]
    assert least["preflight_memory_mib"] <= 1967
    assert not machine_problems(1967, mib, orthanc_mib(mib))
