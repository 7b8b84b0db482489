"""What may know what: which rooms of a package may import which others, and no circle anywhere.

A room is a folder of a package, or a module beside the folders. docs/architecture.md says which may
know which.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs/architecture.md"


@dataclass(frozen=True)
class Package:
    """A package, the name that it is imported by, and what its rooms may know.

    ``wires``: modules that put the rooms together, and may know all of them. No ``rooms``: modules
    lie side by side in it, and only circles and long files are looked for.
    """

    path: Path
    name: str
    rooms: Mapping[str, Set[str]] = field(default_factory=dict)
    wires: Set[str] = frozenset()


def on_the_page(folder: str, name: str) -> Package:
    """The package with the rooms that ``docs/architecture.md`` has under its name."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n### {folder}\n")[2]
    rows = re.findall(r"^\| (`.+?) \|.*\| (.*?) ?\|$", re.split(r"\n##", section)[0], re.MULTILINE)
    allowed = {each: may for rooms, may in rows for each in re.findall(r"`(\w+)`", rooms)}
    return Package(
        REPOSITORY / folder,
        name,
        {room: set(re.findall(r"`(\w+)`", may)) for room, may in allowed.items() if may != "all"},
        {room for room, may in allowed.items() if may == "all"},
    )


PACKAGES = {
    "module_utils": on_the_page(
        "plugins/module_utils", "ansible_collections.auscat.imaging.plugins.module_utils"
    ),
    "supervisor": on_the_page("images/ctp_rsna/src/ctp_supervisor", "ctp_supervisor"),
    "stand-in": Package(REPOSITORY / "images/ctp_standin/src/ctp_standin", "ctp_standin"),
    "rules": Package(REPOSITORY / "images/shared/ctp_rules", "ctp_rules"),
    "guard": Package(REPOSITORY / "images/orthanc/src/orthanc_guard", "orthanc_guard"),
    "forwarder": Package(REPOSITORY / "images/shared/one_way", "one_way"),
    "account": Package(REPOSITORY / "images/shared/study_account", "study_account"),
}


@cache
def modules(path: Path) -> dict[str, Path]:
    """The files of a package by their dotted names below it; a folder's own has the folder's."""
    found = {}
    for each in sorted(path.rglob("*.py")):
        parts = each.relative_to(path).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = each
    return found


@cache
def arrows(path: Path, name: str) -> dict[str, frozenset[str]]:
    """What each module of a package imports of the others, wherever in the file."""
    known = modules(path)
    found = {}
    for module, file in known.items():
        folder = [*name.split("."), *module.split(".")]
        if file.name != "__init__.py":
            folder.pop()
        imported = {
            each[len(name) + 1 :] for each in _imported(file, folder) if each.startswith(f"{name}.")
        }
        # Of ``from room import name`` the name may be a module, or of one.
        others = {each if each in known else each.rpartition(".")[0] for each in imported}
        found[module] = frozenset(others & set(known)) - {module, ""}
    return found


def _imported(path: Path, folder: list[str]) -> Iterator[str]:
    """The full names that a module in that folder imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            start = folder[: len(folder) + 1 - node.level] if node.level else []
            base = [*start, *([node.module] if node.module else [])]
            yield from (".".join([*base, each.name]) for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def room(module: str) -> str:
    return module.partition(".")[0]


def between_rooms(package: Package) -> dict[str, set[str]]:
    """What each room imports of the others."""
    found: dict[str, set[str]] = {}
    for module, others in arrows(package.path, package.name).items():
        if module:
            found.setdefault(room(module), set()).update(map(room, others - {""}))
    return {each: others - {each} for each, others in found.items()}


def strangers(package: Package) -> list[str]:
    """The arrows that nobody has allowed."""
    return [
        f"{module} -> {other}"
        for module, others in sorted(arrows(package.path, package.name).items())
        for other in sorted(others)
        if module
        and room(module) not in package.wires
        and room(other) not in {room(module), *package.rooms.get(room(module), ())}
    ]


def circle(graph: Mapping[str, Set[str]]) -> list[str]:
    """One way that leads back to where it began; empty without any."""
    done: set[str] = set()

    def walk(way: list[str]) -> list[str]:
        for other in sorted(graph.get(way[-1], ())):
            if other in way:
                return [*way[way.index(other) :], other]
            if other not in done and (found := walk([*way, other])):
                return found
        done.add(way[-1])
        return []

    return next((found for each in sorted(graph) if (found := walk([each]))), [])


@pytest.mark.parametrize("name", PACKAGES)
def test_no_module_knows_one_that_knows_it(name: str) -> None:
    assert not circle(arrows(PACKAGES[name].path, PACKAGES[name].name))


@pytest.mark.parametrize("name", ["module_utils", "supervisor"])
def test_rooms_know_what_they_may_and_no_more_is_allowed(name: str) -> None:
    package = PACKAGES[name]
    assert not strangers(package)
    found = between_rooms(package)
    assert set(found) == {*package.rooms, *package.wires}
    assert {each: found[each] for each in package.rooms} == package.rooms
    assert not circle(found)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_room_says_what_it_is_for(name: str) -> None:
    for module, path in modules(PACKAGES[name].path).items():
        text = path.read_text(encoding="utf-8")
        named = str(path.relative_to(REPOSITORY))
        if module and "." not in module and path.name == "__init__.py":
            (said,) = ast.parse(text).body
            assert isinstance(said, ast.Expr) and len(text.splitlines()) == 1, named


@pytest.fixture
def made_up(tmp_path: Path) -> Package:
    """A package with an arrow too many, and a circle of three modules through a function."""
    for path, text in {
        "house/__init__.py": "",
        "house/ground/__init__.py": "",
        "house/ground/floor.py": "import json",
        "house/above/__init__.py": "",
        "house/above/roof.py": "from house.ground import floor\nfrom .. import cellar",
        "house/above/attic.py": "def look():\n    from .roof import tiles",
        "house/cellar.py": "import house.above.attic",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return Package(tmp_path / "house", "house", {"ground": set(), "above": {"ground"}})


def test_arrows_and_circles_are_found(made_up: Package) -> None:
    found = arrows(made_up.path, made_up.name)
    assert found["above.roof"] == {"ground.floor", "cellar"}
    assert strangers(made_up) == ["above.roof -> cellar", "cellar -> above.attic"]
    assert circle(found) == ["above.attic", "above.roof", "cellar", "above.attic"]
    assert between_rooms(made_up)["above"] == {"ground", "cellar"}
