"""Data that are renamed to another directory, and back, with their owners."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.adopt import moving


def archive(path: Path) -> Path:
    (path / "ab/cd").mkdir(parents=True)
    (path / "index").write_text("index")
    (path / "ab/cd/object").write_text("object")
    return path


def tree(path: Path) -> dict[str, tuple[int, int]]:
    return {
        str(each.relative_to(path)): (each.lstat().st_uid, each.lstat().st_gid)
        for each in path.rglob("*")
    }


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Give an archive below a path with a blank, and where it shall lie."""
    source = archive(tmp_path / "the old data")
    destination = tmp_path / "auscat/orthanc"
    destination.mkdir(parents=True, mode=0o750)
    return source, destination


def test_it_is_renamed_and_back(places: tuple[Path, Path]) -> None:
    source, destination = places
    number = (source / "ab/cd/object").stat().st_ino
    before = tree(source)
    move = moving.planned(*places)
    assert not move["copied"]
    moving.take(move)
    assert (destination / "ab/cd/object").stat().st_ino == number
    assert source.is_dir() and not list(source.iterdir())
    (destination / "new").write_text("came since")
    moving.give_back(move)
    assert (source / "new").read_text() == "came since"
    (source / "new").unlink()
    assert tree(source) == before
    assert list(destination.iterdir()) == []


def test_each_has_its_owner_again(places: tuple[Path, Path]) -> None:
    source, destination = places
    os.chown(source / "ab/cd/object", 1234, 4321)
    (source / "link").symlink_to("/nowhere")
    before = tree(source)
    move = moving.planned(*places)
    assert move["differing"] == {"ab/cd/object": [1234, 4321]}
    os.chown(destination, 64042, 64042)
    moving.take(move)
    assert set(tree(destination).values()) == {(64042, 64042)}
    moving.give_back(move)
    assert tree(source) == before


@pytest.mark.parametrize("done", [1, 2, 3])
def test_an_interrupted_move_goes_on_or_back(
    places: tuple[Path, Path], done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = places
    (source / "z").write_text("z")
    before = tree(source)
    move = moving.planned(*places)
    renamed = Path.rename
    count = 0

    def ends(path: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == done:
            raise KeyboardInterrupt
        return renamed(path, target)

    monkeypatch.setattr(Path, "rename", ends)
    with pytest.raises(KeyboardInterrupt):
        moving.take(move)
    monkeypatch.undo()
    assert len(tree(source)) + len(tree(destination)) == len(before)
    if done % 2:
        moving.take(move)
        assert tree(destination) == before
    moving.give_back(move)
    assert tree(source) == before


def test_a_disk_of_its_own_keeps_what_is_its_own(tmp_path: Path) -> None:
    """The new place lies below the old one, where the archive is the root of a disk."""
    source = archive(tmp_path / "disk")
    (source / "lost+found").mkdir()
    destination = source / "auscat/orthanc"
    destination.mkdir(parents=True)
    move = moving.planned(source, destination)
    moving.take(move)
    assert sorted(each.name for each in source.iterdir()) == ["auscat", "lost+found"]
    assert sorted(each.name for each in destination.iterdir()) == ["ab", "index"]
    moving.give_back(move)
    assert sorted(each.name for each in source.iterdir()) == ["ab", "auscat", "index", "lost+found"]


def another_disk(move: dict[str, Any]) -> dict[str, Any]:
    return {**move, "copied": True}


def test_from_another_disk_it_is_copied_and_goes_back_as_it_has_become(
    places: tuple[Path, Path],
) -> None:
    source, destination = places
    os.chown(source / "ab/cd/object", 1234, 4321)
    before = tree(source)
    move = another_disk(moving.planned(*places))
    os.chown(destination, 64104, 64104)
    moving.take(move)
    assert tree(source) == before
    (destination / "index").unlink()
    (destination / "new").write_text("came since")
    moving.give_back(move)
    assert sorted(tree(source)) == ["ab", "ab/cd", "ab/cd/object", "new"]
    assert {name: owner for name, owner in tree(source).items() if name in before} == {
        name: owner for name, owner in before.items() if name != "index"
    }
    assert list(destination.iterdir()) == []
    moving.give_back(move)
    assert (source / "new").read_text() == "came since"


@pytest.mark.parametrize("done", range(1, 12))
def test_a_return_that_was_interrupted_goes_on(
    places: tuple[Path, Path], done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = places
    move = another_disk(moving.planned(*places))
    moving.take(move)
    (destination / "ab/cd/object").write_text("as it has become")
    wished = tree(destination)
    count = 0

    def ends(step: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == done:
                raise KeyboardInterrupt
            return step(*arguments)

        return counted

    for name in ("rename", "rmdir"):
        monkeypatch.setattr(Path, name, ends(getattr(Path, name)))
    monkeypatch.setattr(moving, "_remove", ends(moving._remove))
    with pytest.raises(KeyboardInterrupt):
        moving.give_back(move)
    monkeypatch.undo()
    moving.give_back(move)
    assert tree(source) == wished
    assert (source / "ab/cd/object").read_text() == "as it has become"


def test_a_copy_that_was_interrupted_is_begun_again(places: tuple[Path, Path]) -> None:
    _, destination = places
    move = another_disk(moving.planned(*places))
    (destination / ".ab.partial").mkdir()
    moving.take(move)
    assert sorted(each.name for each in destination.iterdir()) == ["ab", "index"]


@pytest.mark.parametrize("copied", [False, True])
def test_an_empty_directory_of_ours_stays_as_it_is(places: tuple[Path, Path], copied: bool) -> None:
    source, destination = places
    before = tree(source)
    (destination / ".free-space").mkdir()
    move = {**moving.planned(*places), "copied": copied}
    os.chown(destination, 64104, 64104)
    moving.take(move)
    assert (destination / ".free-space").stat().st_uid == 0
    moving.give_back(move)
    assert tree(source) == before
    assert [each.name for each in destination.iterdir()] == [".free-space"]


def test_a_place_below_the_new_one_is_made(tmp_path: Path) -> None:
    source = archive(tmp_path / "old")
    (tmp_path / "keydb").mkdir()
    os.chown(tmp_path / "keydb", 999, 999)
    move = moving.planned(source, tmp_path / "keydb/pgdata")
    moving.take(move)
    status = (tmp_path / "keydb/pgdata").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (999, 0o700)
    assert (tmp_path / "keydb/pgdata/index").stat().st_uid == 999


def test_what_cannot_be_moved(places: tuple[Path, Path], tmp_path: Path) -> None:
    source, destination = places
    with pytest.raises(moving.MoveError, match="is no directory"):
        moving.planned(tmp_path / "nowhere", destination)
    (destination / "x").write_text("x")
    with pytest.raises(moving.MoveError, match="is not an empty directory"):
        moving.planned(source, destination)
    assert (source / "index").read_text() == "index"


def test_a_copy_has_to_fit(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = places
    other = "/dev/shm"
    if Path(other).stat().st_dev == source.stat().st_dev:
        pytest.fail("this machine has one file system alone")
    place = Path(other, f"auscat-test-{os.getpid()}")
    place.mkdir()
    try:
        assert moving.planned(source, place)["copied"]
        monkeypatch.setattr(moving, "RESERVE", 1 << 60)
        with pytest.raises(moving.MoveError, match="MiB are free"):
            moving.planned(source, place)
    finally:
        place.rmdir()
