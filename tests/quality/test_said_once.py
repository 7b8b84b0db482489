"""What has one place stands there, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
#: A word that only the place itself has, the folders that are looked at, and what may have it.
PLACES: dict[str, tuple[list[str], set[str]]] = {
    # The programs that are installed on a machine cannot import from the collection.
    "--no-psqlrc": (
        ["plugins", "roles"],
        {
            "plugins/module_utils/services/psql.py",
            "plugins/module_utils/backup/program/postgresql.py",
            "plugins/module_utils/status/node_status/observe.py",
        },
    ),
}


@pytest.mark.parametrize("word", PLACES)
def test_it_is_said_in_one_place(word: str) -> None:
    folders, places = PLACES[word]
    files = (each for folder in folders for each in (REPOSITORY / folder).rglob("*"))
    found = {
        str(each.relative_to(REPOSITORY))
        for each in files
        if each.suffix in (".py", ".yml", ".j2", ".sh") and word in each.read_text(encoding="utf-8")
    }
    assert found == places
