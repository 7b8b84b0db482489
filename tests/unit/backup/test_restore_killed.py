"""A restore that ends in the midst of moving or removing files is known as half done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import (
    base,
    engine,
    forms,
    parts,
    running,
)
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import (
    restic as repository_client,
)

OLD = {f"old{number}" for number in range(5)}


class PowerCut(BaseException):
    """Nothing catches it, as nothing goes on after a kill."""


class Part(parts.Part):
    def check(self, *_: Any) -> str:
        return "checked"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "ctp"
    made.mkdir()
    return made


@pytest.fixture
def run(tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> running.Run:
    def fetch(_: Any, part: parts.Part, __: Any, target: Path) -> dict[str, Any]:
        for name in OLD:
            (target / name).write_text("restored")
        return {"taken": {part.name: ""}, "counts": {}}

    monkeypatch.setattr(base, "RUN", tmp_path / "run")
    monkeypatch.setattr(base, "STATE", tmp_path / "state")
    monkeypatch.setattr(engine, "docker", lambda *_: "")
    monkeypatch.setattr(forms, "PARTS", {"ctp": Part})
    monkeypatch.setattr(running.Run, "_fetch", fetch)
    monkeypatch.setattr(running.Run, "chosen", lambda *_: {"ctp": {"id": "0123"}})
    monkeypatch.setattr(repository_client.Restic, "remember", lambda _: None)
    part = {"name": "ctp", "form": "ctp", "directory": directory, "service": "ctp"}
    kinds = {"identifiable": {"repository": "", "password_file": "", "parts": [part]}}
    settings = {"node": "kv01", "config_root": tmp_path, "kinds": kinds}
    return running.Run(settings, "identifiable")


def cut_after(context: pytest.MonkeyPatch, name: str, count: int) -> None:
    """Have the power go when a method of Path is called for the files once more than this."""
    act, left = getattr(Path, name), [count]

    def method(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name in OLD:
            if not left[0]:
                raise PowerCut
            left[0] -= 1
        return act(path, *arguments, **options)

    context.setattr(Path, name, method)


def known_as_half_done(run: running.Run) -> None:
    with pytest.raises(base.BackupError, match="begun and not finished"):
        run.backup(adopt=False)


@pytest.mark.parametrize("count", range(len(OLD)))
def test_what_was_there_is_kept_wherever_moving_it_ended(
    run: running.Run, directory: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    for name in OLD:
        (directory / name).write_text("old")
    with monkeypatch.context() as context:
        cut_after(context, "rename", count)
        with pytest.raises(PowerCut):
            run.restore("latest", None, {}, replace=True)
    known_as_half_done(run)
    # The word that let them be put aside is not needed again.
    run.restore("latest", None, {}, replace=False)
    run.finish()
    (aside,) = directory.glob(f"{base.ASIDE}*")
    assert {each.name: each.read_text() for each in aside.iterdir()} == dict.fromkeys(OLD, "old")
    there = {each.name: each.read_text() for each in directory.iterdir() if each != aside}
    assert there == dict.fromkeys(OLD, "restored")


@pytest.mark.parametrize("count", range(len(OLD)))
def test_starting_over_leaves_the_mark_wherever_it_ended(
    run: running.Run, directory: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    run.restore("latest", None, {}, replace=False)
    with monkeypatch.context() as context:
        cut_after(context, "unlink", count)
        with pytest.raises(PowerCut):
            run.restore("latest", None, {}, replace=False)
    known_as_half_done(run)
    run.restore("latest", None, {}, replace=False)
    run.finish()
    assert {each.name for each in directory.iterdir()} == OLD
