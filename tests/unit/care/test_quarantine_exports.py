"""What was exported out of the quarantine is found, and removed with nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine import manifest
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine_exports import (
    exports_in,
    note,
    noted,
    remove,
)
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine_removal import (
    QuarantineError,
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "exports"
    for name in ("20260101T000000Z", "20260201T000000Z"):
        (directory / name).mkdir(parents=True)
        (directory / name / "manifest.csv").write_text(manifest([]))
        for number in (1, 2, 3):
            (directory / name / f"{number:06d}.dcm").write_bytes(bytes(2**19))
    half = directory / "20260301T000000Z.partial"
    half.mkdir()
    (half / "000001.dcm").write_bytes(b"1")
    return directory


@pytest.fixture
def foreign(place: Path) -> list[Path]:
    """What no export has made, whatever it looks like."""
    outside = place.parent / "outside"
    outside.mkdir()
    (outside / "manifest.csv").write_text(manifest([]))
    (place / "link").symlink_to(outside)
    (place / "note.txt").touch()
    (place / "mine").mkdir()
    (place / "mine" / "000001.dcm").touch()
    (place / "list").mkdir()
    (place / "list" / "manifest.csv").write_text("name,size\n")
    (place / "odd" / "manifest.csv").mkdir(parents=True)
    (place / "films.partial").mkdir()
    (place / "films.partial" / "film.mp4").touch()
    return [outside / "manifest.csv", *(each for each in place.iterdir() if each.name[0] != "2")]


def test_they_are_told_with_their_size(place: Path, foreign: list[Path]) -> None:
    (place / "20260201T000000Z" / "overlay.png").write_bytes(bytes(2**19))
    assert [str(each) for each in exports_in([place, place.parent / "none"])] == [
        f"{place}/20260101T000000Z (3 objects, 1.5 MiB)",
        f"{place}/20260201T000000Z (3 objects, 2.0 MiB)",
        f"{place}/20260301T000000Z.partial (1 object, 0.0 MiB, of an export that broke off)",
    ]


def test_they_are_removed_and_nothing_else(place: Path, foreign: list[Path]) -> None:
    remove(exports_in([place]), [place])
    assert exports_in([place]) == []
    assert sorted(place.iterdir()) == sorted(foreign[1:])
    assert all(each.exists() for each in foreign)


def test_an_empty_directory_goes_with_them(place: Path) -> None:
    remove(exports_in([place]), [place])
    assert not place.exists()
    remove(exports_in([place]), [place])


def test_a_directory_elsewhere_is_noted_once(place: Path, tmp_path: Path) -> None:
    record = tmp_path / "state" / "exports.jsonl"
    assert noted(record) == []
    for directory in (place, Path("/mnt/disk"), place):
        note(record, directory)
    assert noted(record) == [place, Path("/mnt/disk")]
    assert record.stat().st_mode & 0o777 == 0o600
    assert len(exports_in([place, *noted(record)])) == 3, "each once"


@pytest.mark.parametrize("text", ["", "\0", '{"dir', "[]\n1\n", '{"directory": "relative"}\n'])
def test_a_damaged_note_names_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "record").write_text(text)
    assert noted(tmp_path / "record") == []


def test_a_note_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(QuarantineError, match="Nothing was copied"):
        note(tmp_path / "state" / "record", tmp_path)
