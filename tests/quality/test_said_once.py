"""What has one place stands there, and nowhere else."""

from __future__ import annotations

import ast
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


def parts(path: str, *names: str) -> list[str]:
    """The code of these classes and functions, without their own names and what they say."""
    found = {}
    for node in ast.parse((REPOSITORY / path).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name in names:
            plain = [
                each for each in ast.walk(node) if isinstance(each, (ast.ClassDef, ast.FunctionDef))
            ]
            for each in plain:
                each.body = each.body[1:] if ast.get_docstring(each) else each.body
            found[node.name] = "\n".join(map(ast.unparse, node.body))
    return [found[name] for name in names]


def test_who_is_trusted_is_the_same_for_the_program_that_looks_at_a_machine() -> None:
    """It is installed on the machine, and imports nothing of the collection."""
    ours = parts("plugins/module_utils/host/http.py", "_Context", "trusting")
    observed = "plugins/module_utils/status/node_status/observe.py"
    assert parts(observed, "_Context", "_trusting") == ours
    assert "server_hostname" in ours[0] and "TLSv1_2" in ours[1]
