"""What the collection says of itself in several places agrees."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = sorted((REPOSITORY / "plugins" / "modules").glob("*.py"))
NUMBER = re.compile(r"\d+\.\d+\.\d+")


def read(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / name).read_text())


def stated(plugin: Path, name: str = "DOCUMENTATION") -> dict[str, Any]:
    (text,) = re.findall(rf'^ *{name} = r"""(.*?)"""', plugin.read_text(), re.S | re.M)
    documented: dict[str, Any] = yaml.safe_load(text)
    return documented


def documentation(plugin: Path) -> dict[str, Any]:
    """Return a plugin's documentation with the options of its fragments."""
    documented = stated(plugin)
    for fragment in documented.get("extends_documentation_fragment", []):
        file, _, part = fragment.removeprefix("auscat.imaging.").partition(".")
        shared = stated(
            REPOSITORY / "plugins" / "doc_fragments" / f"{file}.py",
            part.upper() or "DOCUMENTATION",
        )
        documented["options"] = {**documented.get("options", {}), **shared["options"]}
    return documented


def parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


GALAXY = read("galaxy.yml")
VERSION = GALAXY["version"]
FRAGMENTS = sorted((REPOSITORY / "changelogs" / "fragments").glob("*.yml"))
CORE = re.findall(r"^ansible-core==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.M)


def test_nothing_was_added_in_a_version_that_is_to_come() -> None:
    plugins = [*MODULES, *(REPOSITORY / "plugins" / "lookup").glob("*.py")]
    added = {each.stem: str(documentation(each)["version_added"]) for each in plugins}
    for file in (REPOSITORY / "plugins" / "filter").glob("*.yml"):
        added[file.stem] = str(yaml.safe_load(file.read_text())["DOCUMENTATION"]["version_added"])
    assert not {name: each for name, each in added.items() if parts(each) > parts(VERSION)}


def test_the_changelog_ends_at_the_version() -> None:
    made = REPOSITORY / "changelogs" / "changelog.yaml"
    released = list(read(str(made))["releases"]) if made.exists() else []
    assert all(NUMBER.fullmatch(each) for each in released)
    assert not released or max(released, key=parts) == VERSION


@pytest.mark.parametrize("file", FRAGMENTS, ids=lambda file: file.stem)
def test_a_fragment_of_the_changelog_is_no_markdown(file: Path) -> None:
    """antsibull-changelog takes code between single backticks for a title, and a link for text."""
    text = "\n".join(itertools.chain.from_iterable(read(str(file)).values()))
    assert not re.findall(r"(?<!`)`(?!`)[^`]*`?|\]\([^)]*\)", re.sub(r"``.+?``", "", text))


def test_documents_name_the_archive_by_the_version() -> None:
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    named = {
        (page.name, found)
        for page in pages
        for found in re.findall(r"auscat-imaging-(\d[\w.]*)\.tar\.gz", page.read_text())
    }
    assert {found for _, found in named} <= {VERSION}, named


def test_the_archive_depends_on_what_the_checkout_installs() -> None:
    wanted = {each["name"]: each["version"] for each in read("requirements.yml")["collections"]}
    assert wanted == GALAXY["dependencies"]


def test_one_least_version_of_ansible() -> None:
    least = read("meta/runtime.yml")["requires_ansible"]
    assert NUMBER.fullmatch(least.removeprefix(">="))
    assert parts(least.removeprefix(">=")) <= min(parts(each) for each in CORE)
    roles = {
        meta.parts[-3]: yaml.safe_load(meta.read_text())["galaxy_info"]["min_ansible_version"]
        for meta in (REPOSITORY / "roles").glob("*/meta/main.yml")
    }
    assert set(roles.values()) == {least.removeprefix(">=").removesuffix(".0")}, roles


def test_the_same_ansible_judges_the_collection_as_runs_it() -> None:
    def lines(name: str) -> set[str]:
        return set(
            re.findall(r"^(?:ansible-core|distlib)==.*$", (REPOSITORY / name).read_text(), re.M)
        )

    assert lines("requirements-galaxy.txt") == lines("requirements.txt")


def test_one_licence() -> None:
    licences = {
        yaml.safe_load(meta.read_text())["galaxy_info"]["license"]
        for meta in (REPOSITORY / "roles").glob("*/meta/main.yml")
    }
    assert licences == {"Apache-2.0"}
    assert "Apache License" in (REPOSITORY / GALAXY["license_file"]).read_text()[:200]


def test_each_ansible_has_a_list_of_what_is_ignored_with_reasons() -> None:
    files = {file.name: file.read_text() for file in (REPOSITORY / "tests/sanity").iterdir()}
    assert set(files) == {f"ignore-{each.rpartition('.')[0]}.txt" for each in CORE}
    for name, text in files.items():
        bare = [line for line in text.splitlines() if not re.fullmatch(r"\S+ \S+ # \S.*", line)]
        assert not bare, f"{name}: say why, behind #: {bare}"


@pytest.mark.parametrize("group", read("meta/runtime.yml")["action_groups"])
def test_the_modules_of_a_group_share_options(group: str) -> None:
    members = read("meta/runtime.yml")["action_groups"][group]
    modules = {each.stem: each for each in MODULES}
    assert set(members) <= set(modules)
    assert set.intersection(*(set(documentation(modules[each])["options"]) for each in members))


@pytest.mark.parametrize("kind", ["module", "role"])
def test_ansible_doc_lists_each(kind: str) -> None:
    done = subprocess.run(
        ["ansible-doc", "--json", "--list", "--type", kind, "auscat.imaging"],
        cwd=REPOSITORY,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    roles = [each.name for each in (REPOSITORY / "roles").iterdir()]
    names = roles if kind == "role" else [each.stem for each in MODULES]
    assert set(json.loads(done.stdout)) == {f"auscat.imaging.{name}" for name in names}
