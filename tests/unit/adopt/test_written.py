"""Where the inventory may be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.modules import adopt_inventory


def test_an_empty_or_new_directory(tmp_path: Path) -> None:
    assert adopt_inventory.directory_problem(tmp_path) == ""
    assert adopt_inventory.directory_problem(tmp_path / "new/site") == ""


@pytest.mark.parametrize("what", ["file", "link", "full"])
def test_nothing_of_the_operators_is_overwritten(tmp_path: Path, what: str) -> None:
    place = tmp_path / "site"
    if what == "file":
        place.write_text("mine")
    elif what == "link":
        place.symlink_to(tmp_path)
    else:
        place.mkdir()
        (place / ".hidden").write_text("mine")
    problem = adopt_inventory.directory_problem(place)
    assert f"adopt_directory is {place}" in problem
    assert "Nothing was written." in problem
