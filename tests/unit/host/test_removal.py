from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.host.removal import (
    RemovalError,
    removable,
    remove_tree,
    teardown_report,
)


@pytest.mark.parametrize(
    "path", ["/", "/etc", "/etc/", "//", "/var/lib", "etc/auscat", "/etc/auscat/.."]
)
def test_what_other_programs_need_is_refused(path: str) -> None:
    with pytest.raises(RemovalError, match="Accepted"):
        removable(path)


@pytest.mark.parametrize("path", ["/etc/auscat", "/srv/auscat/orthanc", "/var/lib/auscat/"])
def test_what_the_node_has_for_itself_is_removed(path: str) -> None:
    assert removable(path) == Path(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/key").touch()
    (root / "a/other").touch()
    (root / "link").symlink_to(tmp_path / "outside")
    return root


def test_a_tree_is_removed_and_no_link_followed(tree: Path) -> None:
    assert remove_tree(tree, [], check=True) == ([str(tree)], [])
    assert (tree / "a/b/key").exists()
    assert remove_tree(tree, [], check=False) == ([str(tree)], [])
    assert not tree.exists()
    assert (tree.parent / "outside/file").exists()
    assert remove_tree(tree, [], check=False) == ([], [])


@pytest.mark.parametrize("check", [True, False])
def test_what_is_kept_stays_with_what_is_above_it(tree: Path, check: bool) -> None:
    removed, kept = remove_tree(tree, [tree / "a/b/key"], check)
    assert removed == [str(tree / "a/other"), str(tree / "link")]
    assert kept == [str(tree / "a/b/key")]
    assert (tree / "a/b/key").exists()
    assert (tree / "a/other").exists() == check


def test_what_is_kept_and_is_not_there_keeps_nothing(tree: Path) -> None:
    assert remove_tree(tree, [tree / "a/none"], check=False) == ([str(tree)], [])


def test_a_link_is_removed_itself(tree: Path) -> None:
    link = tree / "link"
    assert remove_tree(link, [], check=False) == ([str(link)], [])
    assert (tree.parent / "outside/file").exists()


def test_the_table() -> None:
    shown = teardown_report("kv", {"stack": ["service x"], "data": []}, ["Data: all."], done=False)
    assert "To be removed from kv: 1" in shown
    assert "stack  service x" in shown
    assert shown.endswith("Data: all.")
    assert "Removed from kv: nothing" in teardown_report("kv", {}, [], done=True)
