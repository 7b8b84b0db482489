"""A copy of the tree with one service more: its role, which lies in tests/services, and its lines
of an inventory."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
from pathlib import Path

from shared.machines import REPOSITORY

SERVICE = "notes"
#: What an operator adds to the inventory: where it runs, who may reach it, and its passwords.
PLACED_BEFORE = "  orthanc: catvm\n"
PLACED = f"{PLACED_BEFORE}  {SERVICE}: catvm\n"
VARIABLES = """
notes_sources: [10.213.97.11]
notes_password: "{{ vault_notes_password }}"
notes_reader_password: "{{ vault_notes_reader_password }}"
"""


def project_files(tree: Path = REPOSITORY) -> list[str]:
    """Return what belongs to the project: in the index, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=tree, capture_output=True, check=True, text=True)
    return [name for name in listed.stdout.splitlines() if (tree / name).is_file()]


def tree_with_service(tree: Path) -> Path:
    """Make the copy below a directory that does not exist yet; its role is all that it has more."""
    for name in project_files():
        if name.startswith(("tests/unit/", "docs/", "benchmarks/", "molecule/")):
            continue
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, tree / name)
    collection = tree / ".collections/ansible_collections/auscat"
    collection.mkdir(parents=True, exist_ok=True)
    if not (collection / "imaging").exists():
        (collection / "imaging").symlink_to("../../..")
    shutil.copytree(REPOSITORY / "tests/services" / SERVICE, tree / "roles" / SERVICE)
    return tree


def differing(tree: Path) -> set[str]:
    """Return the files of a copy that the tree itself has not, or has otherwise."""
    return {
        name
        for path in tree.rglob("*")
        if path.is_file() and ".collections" not in path.relative_to(tree).parts
        for name in [path.relative_to(tree).as_posix()]
        if not (REPOSITORY / name).is_file()
        or not filecmp.cmp(path, REPOSITORY / name, shallow=False)
    }


def place(inventory: Path) -> None:
    """Add the service to an inventory of group_vars/all/main.yml, as an operator does."""
    file = inventory / "group_vars/all/main.yml"
    text = file.read_text()
    assert text.count(PLACED_BEFORE) == 1
    file.write_text(text.replace(PLACED_BEFORE, PLACED) + VARIABLES)
