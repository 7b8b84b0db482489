"""When a prepared test host is made anew, and which ones go."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

HOSTS = Path(__file__).resolve().parents[2] / "hosts"


@pytest.fixture
def snapshots(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(HOSTS))
    import snapshots

    yield snapshots
    sys.modules.pop("snapshots", None)


def snapshot(module: Any, **changed: Any) -> Any:
    given = {
        "suite": "bookworm",
        "base": "auscat-imaging-test/host:bookworm-0123456789ab",
        "packages": ("docker.io", "nftables"),
        "archives": ("keydb-111111111111.tar", "orthanc-222222222222.tar"),
        "options": ("--cap-add=ALL",),
    }
    return module.Snapshot(**{**given, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"base": "auscat-imaging-test/host:bookworm-ba9876543210"},
        {"packages": ("docker.io", "nftables", "dcmtk")},
        {"packages": ("docker.io",)},
        {"archives": ("keydb-111111111111.tar", "orthanc-333333333333.tar")},
        {"archives": ()},
        {"options": ("--cap-add=ALL", "--cap-drop=SYS_RESOURCE")},
    ],
)
def test_a_changed_input_gives_another_key(snapshots: Any, changed: dict[str, Any]) -> None:
    first, second = snapshot(snapshots), snapshot(snapshots, **changed)
    assert first.key != second.key
    assert first.image != second.image
    assert not set(first.volumes.values()) & set(second.volumes.values())


@pytest.mark.parametrize("recipe", ["PREPARE", "FORGET"])
def test_a_changed_recipe_gives_another_key(
    snapshots: Any, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(snapshots).key
    monkeypatch.setattr(snapshots, recipe, getattr(snapshots, recipe) + "true\n")
    assert snapshot(snapshots).key != before


def test_the_order_of_packages_and_archives_decides_nothing(snapshots: Any) -> None:
    given = snapshot(snapshots)
    turned = dataclasses.replace(
        given,
        packages=("nftables", "docker.io", "nftables"),
        archives=tuple(reversed(given.archives)),
    )
    assert turned.key == given.key


def test_the_directories_of_an_engine_have_a_volume_each(snapshots: Any) -> None:
    volumes = snapshot(snapshots).volumes
    assert set(volumes) == {"/var/lib/docker", "/var/lib/containerd"}
    assert len(set(volumes.values())) == 2
    for name in volumes.values():
        assert not set("/:") & set(name), "the engine refuses such a name"


@pytest.mark.parametrize(
    ("last_used", "gone"),
    [
        ({"new": 9}, []),
        ({"new": 9, "a": 1}, []),
        ({"new": 9, "a": 1, "b": 2}, ["a"]),
        ({"new": 0, "a": 1, "b": 2, "c": 3}, ["b", "a"]),
        ({"a": 1, "b": 2}, ["a"]),
    ],
)
def test_the_wanted_and_the_one_that_was_used_last_stay(
    snapshots: Any, last_used: dict[str, int], gone: list[str]
) -> None:
    assert snapshots.outdated(list(last_used), "new", last_used.__getitem__) == gone


def test_one_makes_and_the_others_wait(
    snapshots: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The locks are real; the engine is replaced by a set of what is there."""
    there: set[str] = set()
    starts: list[str] = []
    monkeypatch.setattr(snapshots, "is_current", lambda wanted: wanted.image in there)
    monkeypatch.setattr(snapshots, "docker", lambda *_, **__: "")
    monkeypatch.setattr(snapshots, "take", lambda wanted, _: there.add(wanted.image))
    all_ask = threading.Barrier(4)

    def make(container: str) -> None:
        starts.append(container)

    def ask(_: int) -> bool:
        all_ask.wait(timeout=30)
        return bool(snapshots.ensure(snapshot(snapshots), tmp_path, make))

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(ask, range(4)))
    assert sorted(made) == [False, False, False, True]
    assert len(starts) == 1
