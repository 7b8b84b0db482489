"""A copy of a service's data on real files: shared, put back, and what has come since."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.stack.data_copy import (
    DataCopy,
    DataCopyError,
)


@pytest.fixture
def data(tmp_path: Path) -> DataCopy:
    source = tmp_path / "orthanc"
    for name, content in (("index", "old index"), ("ab/cd/one", "1"), ("ab/cd/two", "2")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(content)
    return DataCopy("orthanc", source, tmp_path / ".upgrade", ("[0-9a-f][0-9a-f]",))


def content(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def take(data: DataCopy) -> None:
    data.prepare()
    data.take()


def test_rewritten_files_are_copied_and_the_others_shared(data: DataCopy) -> None:
    take(data)
    assert content(data.path) == content(data.source)
    assert (data.path / "ab/cd/one").samefile(data.source / "ab/cd/one")
    assert not (data.path / "index").samefile(data.source / "index")
    assert data.copies.stat().st_mode & 0o777 == 0o700


def test_what_changes_until_the_service_has_stopped_is_followed(data: DataCopy) -> None:
    data.prepare()
    assert not data.is_whole
    (data.source / "ab/cd/one").unlink()
    (data.source / "ef").mkdir()
    (data.source / "ef/three").write_text("3")
    (data.source / "index").write_text("later index")
    data.take()
    assert content(data.path) == content(data.source)


def test_a_damaged_directory_is_put_back_and_what_came_since_is_named(data: DataCopy) -> None:
    before = content(data.source)
    take(data)
    (data.source / "index").write_text("version 99")
    (data.source / "index-wal").write_text("junk")
    (data.source / "ab/cd/one").unlink()
    (data.source / "ab/cd/new").write_text("acknowledged")
    assert data.restore() == [Path("ab/cd/new")]
    assert content(data.source) == {**before, "ab/cd/new": "acknowledged"}
    assert content(data.failed) == {"index": "version 99", "index-wal": "junk"}
    data.drop()
    assert not data.copies.exists()
    assert content(data.source) == {**before, "ab/cd/new": "acknowledged"}


def test_an_interrupted_restoration_is_done_again(data: DataCopy) -> None:
    before = content(data.source)
    take(data)
    data.failed.mkdir()
    (data.failed / "index").write_text("version 99")
    (data.source / "index").write_text("half a cop")
    assert data.restore() == []
    assert content(data.source) == before
    assert content(data.failed) == {"index": "version 99"}


def test_what_ran_again_is_not_put_back_a_second_time(data: DataCopy) -> None:
    take(data)
    (data.source / "ab/cd/new").write_text("acknowledged")
    assert data.restore() == [Path("ab/cd/new")]
    (data.source / "index").write_text("the old version ran on")
    assert data.restore() == [Path("ab/cd/new")]
    assert content(data.source)["index"] == "the old version ran on"
    data.begin_again()
    data.restore()
    assert content(data.source)["index"] == "old index"


def test_the_copy_of_an_interrupted_upgrade_is_kept(data: DataCopy) -> None:
    before = content(data.source)
    take(data)
    (data.source / "index").write_text("migrated")
    take(data)
    assert content(data.path) == before


def test_without_space_nothing_is_copied(data: DataCopy) -> None:
    size = data.size()
    assert (size.linked, size.copied > 0) == (2, True)
    with pytest.raises(DataCopyError, match=r"MiB free|MiB are free.*Nothing was changed"):
        data.require_space(reserve=2**62)
    assert not data.copies.exists()
    data.require_space(reserve=0)


def test_what_could_not_be_read_is_kept_under_another_name(data: DataCopy) -> None:
    take(data)
    data.restore()
    kept = data.set_aside()
    data.drop()
    assert kept.is_dir()
    assert kept.name.startswith("orthanc.unread-")
