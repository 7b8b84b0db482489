"""The check of variables' names knows all that are read, and raises no false alarm."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from ansible.vars.manager import VariableManager

REPOSITORY = Path(__file__).resolve().parents[2]
_AnsibleCollectionFinder(paths=[str(REPOSITORY / ".collections")])._install()

from ansible_collections.auscat.imaging.plugins.action import known_variables  # noqa: E402
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import spelling  # noqa: E402

PLAYBOOKS = [REPOSITORY / "site.yml", *sorted((REPOSITORY / "playbooks").glob("*.yml"))]
INVENTORIES = [
    *sorted((REPOSITORY / "inventories").iterdir()),
    *sorted((REPOSITORY / "molecule").glob("*/inventory")),
]


NAMES = "auscat.imaging.known_variables"
#: What scenarios have for themselves, which begins as a role's variables do.
OF_TESTS = {"status_disk", "status_disk_size"}
#: What scenarios write to see it refused.
SLIPS = {"orthanc_web_prt", "purge_older_then_days"}


def raw_variables(inventory: Path) -> Iterator[dict[str, Any]]:
    """Give the variables of each host as a task gets them, untemplated. Vaults do not exist."""
    loader = DataLoader()
    hosts = InventoryManager(loader, sources=[str(inventory)])
    variables = VariableManager(loader, hosts)
    for host in hosts.get_hosts():
        yield variables.get_vars(host=host, include_hostvars=False)


@pytest.mark.parametrize(
    "inventory", INVENTORIES, ids=[str(each.relative_to(REPOSITORY)) for each in INVENTORIES]
)
def test_no_inventory_of_ours_raises_an_alarm(inventory: Path) -> None:
    listed = list(raw_variables(inventory))
    assert listed
    for variables in listed:
        refused, said = known_variables.findings(variables, {})
        assert refused == []
        assert {each.split()[0] for each in said} <= OF_TESTS


def names_in_tests() -> set[str]:
    """Give the names with a role's prefix that scenarios hand to a playbook, by -e or in a dict."""
    names = set()
    prefixes = tuple(f"{role}_" for role in known_variables.role_names())
    for file in (REPOSITORY / "molecule").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "play":
                names |= {each.arg for each in node.keywords if each.arg}
            elif isinstance(node, ast.Dict):
                names |= {str(getattr(key, "value", "")) for key in node.keys}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names |= set(re.findall(r"\A([a-z_]+)=", node.value))
    return {name for name in names if name.startswith(prefixes)}


def test_what_scenarios_hand_over_raises_no_alarm() -> None:
    names = names_in_tests()
    assert len(names) > 30
    known = known_variables.known_variables()
    suspects = set(spelling.candidates(names, known)) - SLIPS - {"ctp_export"}  # a container
    roles = known_variables.role_names()
    refused, _ = spelling.variable_findings(suspects, known, roles, suspects)
    assert refused == []


def test_what_the_documents_hand_to_playbooks_is_known() -> None:
    files = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md"), *PLAYBOOKS]
    named = {
        name
        for file in files
        for name in re.findall(r"(?:-e|--extra-vars) ['\"]?([A-Za-z_]\w*)=", file.read_text())
    }
    assert len(named) > 25
    assert named - known_variables.known_variables() == set()


def test_variables_of_plays_are_known() -> None:
    """And whatever a playbook itself reads with a default."""
    named = set()
    for file in PLAYBOOKS:
        for play in yaml.safe_load(file.read_text()):
            named |= set(play.get("vars") or {})
        named |= set(re.findall(r"\{\{ (\w+) \| default", file.read_text()))
    ours = {each for each in named if not each.startswith(("_", "ansible_"))}
    assert ours
    assert ours - known_variables.known_variables() == set()


def test_each_playbook_looks_at_the_names() -> None:
    for file in PLAYBOOKS:
        plays = yaml.safe_load(file.read_text())
        first = plays[0]
        roles = [each["role"] for each in first.get("roles") or []]
        checks = [task for task in first.get("pre_tasks") or [] if NAMES in task]
        assert (
            checks
            or "auscat.imaging.preflight" in roles
            or "ansible.builtin.import_playbook" in first
        ), f"{file.name} begins without {NAMES} or the role preflight"
        assert all(task["tags"] == ["always"] for task in checks)


def test_playbook_variables_are_read_somewhere() -> None:
    text = "\n".join(
        file.read_text()
        for file in [*PLAYBOOKS, *(REPOSITORY / "roles").rglob("*.yml")]
        if "argument_specs" not in file.name
    )
    for name in spelling.PLAYBOOK_VARIABLES:
        assert re.search(rf"\b{name}\b", text), name


def test_the_collection_itself_is_no_inventory() -> None:
    for source in (REPOSITORY, REPOSITORY.parent):
        assert f"The inventory is {source}, " in known_variables.named_as_nothing([str(source)])
    usual = [str(each) for each in INVENTORIES]
    assert not known_variables.named_as_nothing([*usual, "localhost,", "/etc/ansible/hosts"])
