"""What has one place stands there, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("plugins", "roles")
KINDS = (".py", ".yml", ".j2", ".sh")
#: A pattern of what has one place, and the files that may have it.
PLACES = {
    # The programs that are installed on a machine cannot import from the collection.
    r"--no-psqlrc": {
        "plugins/module_utils/services/psql.py",
        "plugins/module_utils/backup/program/postgresql.py",
        "plugins/module_utils/status/node_status/observe.py",
    },
    # The role's default, what a table says of it, and what an error has for an example.
    r"/etc/auscat\b(?!/tls/ca\.pem)": {
        "roles/auscat/defaults/main.yml",
        "roles/auscat/meta/argument_specs.yml",
        "plugins/module_utils/host/removal.py",
    },
    # The same path inside containers: where it is put, and who looks for it there.
    r"/etc/auscat/tls/ca\.pem": {
        "roles/auscat/vars/main.yml",
        "plugins/module_utils/services/orthanc.py",
        "plugins/module_utils/proof/dcmtk.py",
    },
    # tests/unit/backup compares the two.
    r"/var/lib/auscat\b(?!-)": {
        "roles/auscat/vars/main.yml",
        "plugins/module_utils/backup/program/base.py",
    },
    r"/var/cache/auscat\b(?!-)": {
        "roles/auscat/vars/main.yml",
        "plugins/module_utils/backup/program/base.py",
    },
    r"/usr/local/lib/auscat\b": {"roles/auscat/vars/main.yml"},
}


@pytest.mark.parametrize("pattern", PLACES)
def test_it_is_said_in_one_place(pattern: str) -> None:
    files = (each for folder in FOLDERS for each in (REPOSITORY / folder).rglob("*"))
    found = {
        str(each.relative_to(REPOSITORY))
        for each in files
        if each.suffix in KINDS and re.search(pattern, each.read_text(encoding="utf-8"))
    }
    assert found == PLACES[pattern]
