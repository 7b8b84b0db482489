"""What a person reads agrees with what is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "molecule").glob("*.md"),
        *(REPOSITORY / "images").glob("*.md"),
    ]
)
SHELL_BLOCK = re.compile(r"^```(?:sh|bash|shell|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def commands(document: Path) -> Iterator[list[str]]:
    """Give the commands of a document's shell blocks, split into words."""
    for block in SHELL_BLOCK.findall(document.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words:
                yield words


def make_targets() -> set[str]:
    makefile = REPOSITORY / "Makefile"
    text = makefile.read_text() if makefile.exists() else ""
    return set(re.findall(r"^([\w-]+):(?!=)", text, re.MULTILINE))


def test_variable_reference_is_current() -> None:
    program = REPOSITORY / "tools" / "variables_table.py"
    result = subprocess.run(
        [sys.executable, program, "--check"], capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(document: Path) -> None:
    missing = []
    for words in commands(document):
        program, *arguments = words
        if program == "make":
            targets = [word for word in arguments if "=" not in word and word[0] != "-"]
            missing += [f"make {target}" for target in targets if target not in make_targets()]
        elif program == "ansible-playbook":
            playbooks = [word for word in arguments if word.endswith((".yml", ".yaml"))]
            missing += [word for word in playbooks if not (REPOSITORY / word).exists()]
            inventories = [
                value
                for option, value in zip(arguments, arguments[1:])
                if option in ("-i", "--inventory")
            ]
            missing += [word for word in inventories if not (REPOSITORY / word).exists()]
        elif program == "molecule" and "-s" in arguments:
            scenario = arguments[arguments.index("-s") + 1]
            if not (REPOSITORY / "molecule" / scenario / "molecule.yml").exists():
                missing.append(f"molecule scenario {scenario}")
        elif "/" in program and not program.startswith("/"):
            missing += [] if (REPOSITORY / program).exists() else [program]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_resolve(document: Path) -> None:
    targets = [link.split("#")[0] for link in LINK.findall(document.read_text())]
    local = [target for target in targets if target and not re.match(r"\w+:", target)]
    assert not [target for target in local if not (document.parent / target).exists()]
