from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.host.directories import differences


def wished(path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "path": str(path),
        "owner": os.getuid(),
        "group": os.getgid(),
        "mode": "0750",
        **changes,
    }


def test_directory_as_wished_is_no_difference(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    assert differences([wished(tmp_path)]) == []


def test_each_difference_says_what_is_and_what_should_be(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    owner = f"{os.getuid()}:{os.getgid()}"
    found = differences([wished(tmp_path), wished(tmp_path / "new")])
    assert [(before, after) for _, before, after in found] == [
        (f"{owner} 0700", f"{owner} 0750"),
        ("absent", f"{owner} 0750"),
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text("a file"), "is not a directory"),
        (lambda path: path.symlink_to("/tmp"), "is not a directory"),
    ],
    ids=["file", "symbolic link"],
)
def test_what_is_no_directory_is_refused(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path / "data")
    with pytest.raises(ValueError, match=words):
        differences([wished(tmp_path), wished(tmp_path / "data")])


def test_relative_path_is_refused() -> None:
    with pytest.raises(ValueError, match="not absolute"):
        differences([wished(Path("data"))])
