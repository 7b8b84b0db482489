"""ansible-lint, unless it has passed on the very same files before.

It takes minutes of processor time and keeps nothing of what it found. What it depends on is every
file of the tree that it does not leave out, and the environment. A run that passed leaves a mark in
the cache directory, named after all of that.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import yaml

from .distribution import cache
from .scenarios import REPOSITORY

COMMAND = ("ansible-lint", "--offline")
ENVIRONMENT = {"ANSIBLE_INVENTORY": "inventories/simulation"}
"""It has playbooks checked without -i, which ansible.cfg refuses."""
SETTINGS = ".ansible-lint"
KEPT = 64
"""Marks; the oldest go."""


def inputs(repository: Path = REPOSITORY) -> list[Path]:
    """Return the files that it may read: tracked or new, and not left out by its settings."""
    settings = yaml.safe_load((repository / SETTINGS).read_text(encoding="utf-8"))
    excluded = tuple(str(path) for path in settings["exclude_paths"])
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        check=True,
        encoding="utf-8",
    ).stdout
    names = sorted({name for name in listed.split("\0") if name})
    return [repository / name for name in names if not name.startswith(excluded)]


def key(repository: Path = REPOSITORY, environment: str = sys.prefix) -> str:
    """Return what stands for these files in this environment."""
    found = hashlib.sha256(environment.encode())
    for path in inputs(repository):
        content = path.read_bytes() if path.is_file() else str(path.is_symlink()).encode()
        name = str(path.relative_to(repository)).encode()
        found.update(b"%d %s %d\n" % (len(name), name, len(content)) + content)
    return found.hexdigest()


def main() -> int:
    """Run it, or say that it need not run; return its exit code."""
    marks = cache() / "ansible-lint"
    mark = marks / key()
    if mark.exists():
        print(f"ansible-lint passed on these files before ({mark}); nothing that it reads changed.")
        return 0
    code = subprocess.run(
        COMMAND, cwd=REPOSITORY, env={**os.environ, **ENVIRONMENT}, check=False
    ).returncode
    # The files may have changed meanwhile.
    if code == 0 and mark == marks / key():
        marks.mkdir(parents=True, exist_ok=True)
        mark.touch()
        for old in sorted(marks.iterdir(), key=lambda each: each.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
