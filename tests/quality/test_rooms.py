"""What may know what: which rooms of a package may import which others, and no circle anywhere.

A room is a folder of a package, or a module beside the folders.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LONGEST = 900

#: The supervisor of CTP, from the ground up. ``gate`` is a program of its own.
SUPERVISOR: dict[str, set[str]] = {
    "reading": set(),
    "machine": set(),
    "dicom": set(),
    "settings": {"reading"},
    "data_set": {"dicom", "settings"},
    "gate": {"dicom", "machine", "reading"},
    "lookup": {"reading", "settings"},
    "engine": {"data_set", "dicom", "machine", "reading", "settings"},
    "completeness": {"data_set", "dicom", "engine", "lookup", "machine", "settings"},
    "entrance": {"completeness", "data_set", "dicom", "gate", "machine"},
    "export": {"completeness", "dicom", "machine", "settings"},
    "held_back": {"completeness", "data_set", "dicom", "engine", "export", "lookup", "machine"}
    | {"settings"},
    "front": {"dicom", "engine", "machine", "settings"},
}


@dataclass(frozen=True)
class Package:
    """A package, the name that it is imported by, and what its rooms may know.

    ``wires``: modules that put the rooms together, and may know all of them. No ``rooms``: modules
    lie side by side in it, and only circles and long files are looked for.
    """

    path: Path
    name: str
    rooms: Mapping[str, Set[str]] | None = None
    wires: Set[str] = frozenset()


PACKAGES = {
    "supervisor": Package(
        REPOSITORY / "images/ctp_rsna/src/ctp_supervisor",
        "ctp_supervisor",
        SUPERVISOR,
        {"supervisor", "account", "__main__"},
    ),
    "stand-in": Package(REPOSITORY / "images/ctp_standin/src/ctp_standin", "ctp_standin"),
    "rules": Package(REPOSITORY / "images/shared/ctp_rules", "ctp_rules"),
    "account": Package(REPOSITORY / "images/shared/study_account", "study_account"),
}


def modules(package: Package) -> dict[str, Path]:
    """Its files by their dotted names below it; a folder's ``__init__`` has the folder's name."""
    found = {}
    for path in sorted(package.path.rglob("*.py")):
        parts = path.relative_to(package.path).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows(package: Package) -> dict[str, set[str]]:
    """What each of its modules imports of the others, wherever in the file."""
    known = modules(package)
    found = {}
    for module, path in known.items():
        folder = [*package.name.split("."), *module.split(".")]
        if path.name != "__init__.py":
            folder.pop()
        names = {
            name[len(package.name) + 1 :]
            for name in _imported(path, folder)
            if name.startswith(f"{package.name}.")
        }
        # Of ``from room import name`` the name may be a module, or of one.
        modules_of = {name if name in known else name.rpartition(".")[0] for name in names}
        found[module] = (modules_of & set(known)) - {module, ""}
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
    for module, others in arrows(package).items():
        if module:
            found.setdefault(room(module), set()).update(map(room, others - {""}))
    return {each: others - {each} for each, others in found.items()}


def strangers(package: Package) -> list[str]:
    """The arrows that nobody has allowed."""
    assert package.rooms is not None
    return [
        f"{module} -> {other}"
        for module, others in sorted(arrows(package).items())
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
    assert not circle(arrows(PACKAGES[name]))


@pytest.mark.parametrize("name", [each for each, found in PACKAGES.items() if found.rooms])
def test_rooms_know_what_they_may_and_no_more_is_allowed(name: str) -> None:
    package = PACKAGES[name]
    assert package.rooms is not None
    assert not strangers(package)
    found = between_rooms(package)
    assert set(found) == {*package.rooms, *package.wires}
    assert {each: found[each] for each in package.rooms} == package.rooms
    assert not circle(found)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_room_says_what_it_is_for_and_no_file_is_long(name: str) -> None:
    for module, path in modules(PACKAGES[name]).items():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= LONGEST, path
        if module and path.name == "__init__.py":
            (said,) = ast.parse(text).body
            assert isinstance(said, ast.Expr) and len(text.splitlines()) == 1, path


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
    assert arrows(made_up)["above.roof"] == {"ground.floor", "cellar"}
    assert strangers(made_up) == ["above.roof -> cellar", "cellar -> above.attic"]
    assert circle(arrows(made_up)) == ["above.attic", "above.roof", "cellar", "above.attic"]
    assert between_rooms(made_up)["above"] == {"ground", "cellar"}
