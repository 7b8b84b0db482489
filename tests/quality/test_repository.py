"""Nothing in the repository depends on the machine or the network that it was written on."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# Where packages come from is the business of the machine's own configuration: a hospital has
# mirrors and proxies of its own. Debian's package "docker.io" is no host.
REGISTRY_HOST = re.compile(
    r"(?<![\w.])(?:pypi|(?:registry(?:-\d)?|index|deb|security|archive|mirrors?|ports|snapshot"
    r"|files)\.[a-z0-9-]+)\.(?:org|io|com|net)\b"
)


#: Lines of a file, at most.
LONGEST = 900
CODE = (".c", ".conf", ".j2", ".java", ".js", ".py", ".sh", ".sql", ".yml")


@cache
def texts() -> dict[str, str]:
    """Give all text files that are, or are about to be, under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    ).stdout.decode()
    found = {}
    for name in listed.split("\0"):
        path = REPOSITORY / name
        if name and path.is_file():
            data = path.read_bytes()
            if b"\0" not in data:
                found[name] = data.decode()
    return found


def test_no_file_names_a_registry() -> None:
    found = {name: REGISTRY_HOST.findall(text) for name, text in texts().items()}
    assert not {name: hosts for name, hosts in found.items() if hosts}


def test_no_file_names_a_path_of_this_machine() -> None:
    own = [f"{REPOSITORY}/", f"{sys.prefix}/"]
    assert not {name for name, text in texts().items() if any(path in text for path in own)}


def test_no_file_holds_a_private_key() -> None:
    key = re.compile(r"^-----BEGIN [A-Z ]*PRIVATE KEY-----", re.MULTILINE)
    assert not {name for name, text in texts().items() if key.search(text)}


def test_no_file_of_code_is_long() -> None:
    code = {name: text for name, text in texts().items() if name.endswith(CODE)}
    assert len(code) > 800
    assert not [name for name, text in code.items() if len(text.splitlines()) > LONGEST]
