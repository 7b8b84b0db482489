"""The commands that the pages show: found, with a test's own places in them, for a test to run."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = tuple(
    str(file.relative_to(REPOSITORY))
    for file in (
        *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        *sorted((REPOSITORY / "docs").glob("*.md")),
    )
)
SHELL = ("sh", "bash", "shell", "console")
_BLOCK = re.compile(
    r"^(?:<!-- example: (?P<example>[\w.]+) -->\n)?"
    r"(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
# Of a test, its own inventory stands in the place of the page's.
_PLAY = re.compile(r"^ansible-playbook -i (\S+) ")


class NotDocumentedError(LookupError):
    """A page has no such command, or several, or the command has not what is to be replaced."""


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the shell blocks of a page.

    Args:
        page: path below the repository: ``docs/backup.md``.

    Returns:
        For each the name that a comment ``<!-- example: name -->`` gives it, or "", and its text.
    """
    found = _BLOCK.finditer((REPOSITORY / page).read_text(encoding="utf-8"))
    return [
        (block["example"] or "", textwrap.dedent(block["text"]))
        for block in found
        if block["language"] in SHELL
    ]


def lines(text: str) -> list[str]:
    """Return the commands of a block, one for each line, without comments."""
    whole = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    bare = (re.sub(r"(^|\s+)#\s.*$", "", line.removeprefix("$ ")) for line in whole)
    return [" ".join(line.split()) for line in bare if line]


@cache
def commands(page: str) -> tuple[str, ...]:
    """Return the commands of a page's shell blocks, each once, in their order."""
    return tuple(dict.fromkeys(line for _, text in blocks(page) for line in lines(text)))


def shortened(line: str) -> str:
    """Return a command without its inventory, by which commands of two pages are the same.

    A playbook of the installed collection is the one of that name in the checkout.
    """
    bare = _PLAY.sub("ansible-playbook ", line)
    bare = bare.replace(" auscat.imaging.site", " site.yml")
    return re.sub(r"(?<=^ansible-playbook) auscat\.imaging\.(\w+)", r" playbooks/\1.yml", bare)


def found(page: str, text: str) -> str:
    """Return the one command of a page that is this text or, where none is, has it in it.

    Args:
        page: path below the repository.
        text: of the command; of one of ansible-playbook, what follows the inventory.

    Raises:
        NotDocumentedError: there is none, or there are several.
    """
    there = commands(page)
    same = [line for line in there if text in (line, _PLAY.sub("", line))]
    matching = same or [line for line in there if text in line]
    if len(matching) != 1:
        what = "no command" if not matching else f"{len(matching)} commands ({matching})"
        raise NotDocumentedError(
            f"{page} has {what} with {text!r}. Accepted: a part of one command of a shell block, or"
            " all that follows its inventory. Where the page has changed, change the test that"
            " takes the command."
        )
    return matching[0]


def script(page: str, text: str, replaced: Mapping[str, str] | None = None) -> str:
    """Return a command of a page for a shell, with what the test has in the page's places.

    Args:
        page: as `found` has it.
        text: as `found` has it.
        replaced: what stands in the page (a host, a file), and what the test has there, which is
            quoted for the shell.

    Raises:
        NotDocumentedError: there is not one such command, or it has not what is to be replaced.
    """
    line = found(page, text)
    for old, new in (replaced or {}).items():
        if old not in line:
            raise NotDocumentedError(
                f"{page} shows {line!r}, and that has no {old!r}, which a test replaces by its own."
            )
        line = line.replace(old, shlex.quote(new))
    return line


def command(page: str, text: str, replaced: Mapping[str, str] | None = None) -> list[str]:
    """Return a command of a page as arguments; raises `NotDocumentedError` as `script` does.

    Of ansible-playbook, what follows the program and the inventory, which are the scenario's:
    ``scenario.play(*command("docs/backup.md", "playbooks/backup.yml"))``.
    """
    words = shlex.split(script(page, text, replaced))
    return words[3:] if words[:2] == ["ansible-playbook", "-i"] else words
