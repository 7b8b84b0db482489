"""Replacing a file: the old content or the new one, whatever fails."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import whole_files


@pytest.mark.parametrize("durable", [True, False])
def test_it_is_the_new_one_for_its_owner_alone(tmp_path: Path, durable: bool) -> None:
    path, stamped = tmp_path / "counts.json", []
    path.write_bytes(b"old")
    path.chmod(0o644)
    whole_files.replace(path, "nüw", durable, lambda new: stamped.append(new.read_bytes()))
    assert path.read_bytes() == "nüw".encode() and path.stat().st_mode & 0o777 == 0o600
    assert stamped == [path.read_bytes()] and [*tmp_path.iterdir()] == [path]


def test_the_old_one_stays_where_the_new_one_has_no_room(tmp_path: Path) -> None:
    path, before = tmp_path / "counts.json", resource.getrlimit(resource.RLIMIT_FSIZE)
    path.write_bytes(b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            whole_files.replace(path, bytes(9))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    whole_files.replace(path, b"new")
    assert path.read_bytes() == b"new" and [*tmp_path.iterdir()] == [path]
