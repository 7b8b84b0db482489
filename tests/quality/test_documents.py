"""What a person reads agrees with what is there."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from ansible.cli.playbook import PlaybookCLI
from ansible.cli.vault import VaultCLI

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "molecule"))

from shared.documented import script  # noqa: E402

DOCUMENTS = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "molecule").glob("*.md"),
        *(REPOSITORY / "images").glob("*.md"),
        *(REPOSITORY / "roles").glob("*/*.md"),
    ]
)
PLAYBOOKS = [REPOSITORY / "site.yml", *sorted((REPOSITORY / "playbooks").glob("*.yml"))]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
COMMENT = re.compile(r"^# +(ansible-playbook .*)", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SHELL = ("sh", "bash", "shell", "console")
COMMANDS = ("ansible-playbook", "ansible-vault", "make", "molecule", "pytest")
"""Programs that are looked for in text, too; and whatever lies in tools/."""
ELLIPSIS = "…"
"""Stands where a reader puts something of his own."""


class Shown(NamedTuple):
    """A command that a file shows to a person."""

    file: Path
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.file.relative_to(REPOSITORY)}: {' '.join(self.words)}"


def words_of(line: str) -> tuple[str, ...]:
    """Split a command line; variables of the environment before it are left out."""
    words = shlex.split(line.removeprefix("$ "), comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    return tuple(words)


def is_ours(line: str) -> bool:
    return line.startswith("tools/") or line.split(" ")[0] in COMMANDS


def lines_of(file: Path) -> Iterator[str]:
    """Give what a file shows as commands."""
    text = file.read_text()
    if file.suffix != ".md":
        yield from (line.replace("[", "").replace("]", "") for line in COMMENT.findall(text))
        return
    for _, language, block in BLOCK.findall(text):
        for line in textwrap.dedent(block).replace("\\\n", " ").splitlines():
            if language in SHELL or (not language and is_ours(line)):
                yield line
    for span in SPAN.findall(BLOCK.sub("", text)):
        line = " ".join(span.split())
        if is_ours(line) and " " in line:
            yield line


@cache
def shown() -> tuple[Shown, ...]:
    files = (*DOCUMENTS, *PLAYBOOKS)
    found = (Shown(file, words_of(line)) for file in files for line in lines_of(file))
    return tuple(each for each in found if each.words)


def of(program: str) -> list[Shown]:
    """Give the commands of a program; a history tells what was, not what to type."""
    return [
        each
        for each in shown()
        if each.words[0] == program
        and each.file.name != "CHANGELOG.md"
        and each.file.parent.name != "decisions"
        and not any(ELLIPSIS in word for word in each.words)
    ]


@pytest.mark.parametrize("name", ["variables_table.py", "filter_documentation.py"])
def test_what_is_written_from_the_code_is_current(name: str) -> None:
    program = REPOSITORY / "tools" / name
    result = subprocess.run(
        [sys.executable, program, "--check"], capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stderr


# --- Commands of Ansible ------------------------------------------------------------------


def playbook_options(each: Shown) -> dict[str, object]:
    """Read the arguments as ansible-playbook itself does; empty where it would refuse them."""
    cli = PlaybookCLI(list(each.words))
    cli.init_parser()
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        return vars(cli.parser.parse_args(list(each.words[1:])))
    return {}


def inventory_problems(each: Shown, options: dict[str, object]) -> Iterator[str]:
    inventories = options["inventory"]
    if not isinstance(inventories, list) or not inventories:
        yield "names no inventory: add -i inventories/production or the one that is meant"
        return
    for name in inventories:
        # INVENTORY is the reader's own; a comma makes it a list of hosts.
        if name != "INVENTORY" and "," not in name and not (REPOSITORY / name).is_dir():
            yield f"the inventory {name} does not exist"


def playbook_problems(options: dict[str, object]) -> Iterator[str]:
    names = options["args"]
    assert isinstance(names, list)
    for name in names:
        short = name.removeprefix("auscat.imaging.")
        file = REPOSITORY / (name if short == name else f"playbooks/{short}.yml")
        if file not in PLAYBOOKS and file != REPOSITORY / "tests" / "machine.yml":
            yield f"the playbook {name} does not exist"


@cache
def known_variables() -> str:
    """All texts in which a variable that is given with -e can be declared."""
    specifications = (REPOSITORY / "roles").glob("*/meta/argument_specs.yml")
    inventories = (REPOSITORY / "inventories").rglob("*.yml")
    return "\n".join(file.read_text() for file in (*PLAYBOOKS, *specifications, *inventories))


def variable_problems(options: dict[str, object]) -> Iterator[str]:
    given = options["extra_vars"]
    assert isinstance(given, (list, tuple))
    for text in given:
        names = yaml.safe_load(text) if text.startswith("{") else [text.split("=")[0]]
        for name in names:
            if not re.search(rf"(?<!\w){name}(?!\w)", known_variables()):
                yield f"no role and no playbook knows the variable {name}"


def tag_problems(options: dict[str, object]) -> Iterator[str]:
    tags = {tag for role in roles_of_the_site() for tag in role["tags"]}
    given = [*(options["tags"] or []), *(options["skip_tags"] or [])]  # type: ignore[misc]
    for tag in ",".join(given).split(",") if given else ():
        if tag not in {*tags, "all", "never", "always"}:
            yield f"no role of site.yml has the tag {tag}"


def test_commands_of_playbooks_name_an_inventory_and_what_exists() -> None:
    wrong = []
    for each in of("ansible-playbook"):
        options = playbook_options(each)
        if not options:
            wrong.append(f"{each.text}: ansible-playbook does not know these options")
            continue
        problems = [*inventory_problems(each, options), *playbook_problems(options)]
        problems += [*variable_problems(options), *tag_problems(options)]
        wrong += [f"{each.text}: {problem}" for problem in problems]
    assert not wrong, "\n".join(wrong)


def test_the_commands_are_found() -> None:
    """The test above would pass over documents that it cannot read."""
    playbooks = {name.rsplit("/", 1)[-1] for each in of("ansible-playbook") for name in each.words}
    assert {file.name for file in PLAYBOOKS} <= playbooks
    assert len(of("make")) >= 5
    assert len(of("molecule")) >= 5


def test_commands_of_the_vault_exist() -> None:
    for each in of("ansible-vault"):
        VaultCLI(list(each.words)).init_parser()
        assert each.words[1] in ("view", "edit", "encrypt", "create", "rekey"), each.text


def test_without_an_inventory_no_playbook_starts() -> None:
    """Every playbook: nobody proves, rotates or removes another node by leaving -i out."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    names = [str(file.relative_to(REPOSITORY)) for file in PLAYBOOKS]
    done = subprocess.run(
        # Lists, and nothing more, where the guard is broken.
        ["ansible-playbook", "--list-tasks", *names],
        cwd=REPOSITORY,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "NO INVENTORY WAS NAMED. ADD -i inventories/production" in printed
    assert "playbook:" not in done.stdout


def test_an_empty_inventory_runs_no_program_of_the_directory(tmp_path: Path) -> None:
    """As `ANSIBLE_INVENTORY= ansible-playbook ...` names it, which is the working directory."""
    shutil.copy(REPOSITORY / "ansible.cfg", tmp_path)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/it_ran\necho '{{}}'\n")
    program.chmod(0o755)
    environment = {**os.environ, "ANSIBLE_INVENTORY": ""}
    subprocess.run(
        ["ansible-inventory", "--list"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert not (tmp_path / "it_ran").exists()


def test_a_misspelt_inventory_is_an_error() -> None:
    done = subprocess.run(
        ["ansible-playbook", "--list-hosts", "-i", "inventories/prodution", "site.yml"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "inventories/prodution" in done.stdout + done.stderr


# --- Commands of the project ------------------------------------------------------------------


def makefile() -> str:
    return (REPOSITORY / "Makefile").read_text()


def make_targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):(?!=)", makefile(), re.MULTILINE))


def make(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    search = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
    return subprocess.run(
        command, cwd=REPOSITORY, env=search, capture_output=True, text=True, check=False
    )


def test_targets_of_make_exist() -> None:
    variables = {*re.findall(r"\$\((\w+)\)", makefile()), "PYTHON"}
    wrong = []
    for each in of("make"):
        names = [word for word in each.words[1:] if word[0] != "-"]
        wrong += [each.text for name in names if "=" not in name and name not in make_targets()]
        wrong += [
            each.text for name in names if "=" in name and name.split("=")[0] not in variables
        ]
    assert not wrong


def test_the_simulation_is_named_and_a_proof_asks_for_a_name() -> None:
    planned = make("--dry-run", "simulation").stdout
    assert "ansible-playbook -i inventories/simulation site.yml" in planned
    refused = make("--assume-old=environment", "verify")
    assert refused.returncode != 0
    assert "INVENTORY=" in refused.stderr
    assert "Nothing was proved" in refused.stderr


def test_an_ordinary_user_is_told_to_be_root(tmp_path: Path) -> None:
    """A double of id(1) says that the user is not root: who runs the tests is."""
    (tmp_path / "id").write_text('#!/bin/sh\n[ "$1" = -u ] && echo 1000 || echo operator\n')
    (tmp_path / "id").chmod(0o755)
    refused = make("simulation", path=str(tmp_path))
    assert refused.returncode != 0
    assert "You are operator" in refused.stderr
    assert "sudo make simulation" in refused.stderr
    assert "ansible-playbook" not in refused.stdout


def test_scenarios_and_programs_exist() -> None:
    wrong = []
    for each in of("molecule"):
        for option, value in zip(each.words, each.words[1:]):
            scenario = REPOSITORY / "molecule" / value / "molecule.yml"
            named = option in ("-s", "--scenario-name") and value != "SCENARIO"
            if named and not scenario.exists():
                wrong.append(each.text)
    for each in shown():
        program, *arguments = each.words
        if "/" in program and program[0] not in "/~" and ELLIPSIS not in program:
            wrong += [] if (REPOSITORY / program).exists() else [each.text]
        if program == "pytest":
            places = [word for word in arguments if word.startswith(("tests/", "molecule/"))]
            known = [
                word for word in places if word.endswith("/ROOM") or (REPOSITORY / word).exists()
            ]
            wrong += [each.text] if known != places else []
    assert not wrong


# --- Links, examples and tables ------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_between_documents_resolve(document: Path) -> None:
    targets = [link.split("#")[0] for link in LINK.findall(document.read_text())]
    local = [target for target in targets if target and not re.match(r"\w+:", target)]
    assert not [target for target in local if not (document.parent / target).exists()]


@cache
def anchors(document: Path) -> frozenset[str]:
    """The anchors of a document's headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)", BLOCK.sub("", document.read_text()), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return frozenset(heading.strip().replace(" ", "-") for heading in plain)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_to_headings(document: Path) -> None:
    missing = []
    for link in LINK.findall(document.read_text()):
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if anchor and target.suffix == ".md" and not re.match(r"\w+:", link):
            missing += [] if anchor in anchors(target) else [link]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_yaml_of_documents_can_be_read(document: Path) -> None:
    for _, language, block in BLOCK.findall(document.read_text()):
        if language == "yaml":
            assert yaml.safe_load(textwrap.dedent(block)) is not None


def test_the_index_lists_every_page() -> None:
    index = REPOSITORY / "docs" / "README.md"
    linked = {link.split("#")[0] for link in LINK.findall(index.read_text())}
    pages = {file.name for file in (REPOSITORY / "docs").glob("*.md")} - {index.name}
    assert pages <= linked, f"not in docs/README.md: {sorted(pages - linked)}"


def roles_of_the_site() -> list[dict[str, list[str]]]:
    (play,) = yaml.safe_load((REPOSITORY / "playbooks" / "site.yml").read_text())
    # The first one, without a tag, only makes the services' variables known.
    return [role for role in play["roles"] if "tags" in role]


def test_the_guide_lists_the_steps_of_the_site_in_order() -> None:
    guide = (REPOSITORY / "docs" / "guide.md").read_text()
    table = re.findall(r"^\| [^|]+ \| `(\w+)` \| [^|]+ \|$", guide, re.MULTILINE)
    roles = roles_of_the_site()
    unnamed = [role for role in roles if not set(role["tags"]) & set(table)]
    assert not unnamed, f"steps that docs/guide.md does not list: {unnamed}"
    # Each by its last tag: the ones before are those of a group of roles.
    order = [role["tags"][-1] for role in roles]
    steps = [tag for tag in order if tag in table]
    assert steps == [tag for tag in table if tag in order]
    assert set(table) <= {tag for role in roles for tag in role["tags"]}


def test_the_sample_lists_what_must_be_set() -> None:
    sample = REPOSITORY / "inventories" / "production"
    listed = (sample / "group_vars" / "all" / "main.yml").read_text().split("Everything else")[0]
    for group in ("keyvm", "catvm"):
        values = yaml.safe_load((sample / "group_vars" / f"{group}.yml").read_text())
        for name in (name for name, value in values.items() if value in ("", [])):
            assert name in listed, f"{name} of {group}.yml is not in the list of all/main.yml"


def as_documented(line: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a page in the checkout."""
    command = ["bash", "-euc", line]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_the_two_machines_of_the_page_have_its_port_table(tmp_path: Path) -> None:
    """Its files, laid over the sample, are an inventory that prints what the page shows."""
    page = (REPOSITORY / "docs" / "two-machines.md").read_text()
    inventory = tmp_path / "production"
    shutil.copytree(REPOSITORY / "inventories" / "production", inventory)
    files = re.findall(
        r"^`inventories/production/(\S+)`:\n\n```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL
    )
    assert len(files) == 3
    for name, content in files:
        assert (inventory / name).exists()
        (inventory / name).write_text(content)
    own = {"inventories/production": str(inventory)}
    done = as_documented(script("docs/two-machines.md", "playbooks/port_table.yml", own))
    assert done.returncode == 0, done.stdout + done.stderr
    (shown_table,) = (block for _, _, block in BLOCK.findall(page) if block.startswith("from "))
    printed = textwrap.dedent(done.stdout.split("msg: |-\n")[1].split("\n\n")[0]).strip()
    assert printed.splitlines() == shown_table.strip().splitlines()
    own["ports.csv"] = str(tmp_path / "ports.csv")
    done = as_documented(script("docs/two-machines.md", "-e port_table_file=", own))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = list(csv.reader((tmp_path / "ports.csv").open(encoding="utf-8")))
    assert len(rows) == len(shown_table.strip().splitlines()) - 1


def test_the_list_of_decisions_has_each_once_in_order() -> None:
    page = (REPOSITORY / "docs/decisions/README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[\d+\]\((\d{4}-[\w-]+\.md)\)", page, re.MULTILINE)
    there = sorted(each.name for each in (REPOSITORY / "docs/decisions").glob("[0-9]*.md"))
    assert listed == there
