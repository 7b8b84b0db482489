"""Which scenarios share hosts, what each is made of, and which a change needs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.testrun import scenarios
from tools.testrun.scenarios import PLACED, STOCK_CTP, USUAL

NETWORK = "all:\n  vars:\n    testhost_network: {}\n"


def inventory(scenario: Path, network: str, file: str = "hosts.yml") -> None:
    place = scenario / "inventory" / file
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(NETWORK.format(network))


def test_networks_are_read_from_the_inventory(tmp_path: Path) -> None:
    inventory(tmp_path / "a", "net-a")
    inventory(tmp_path / "a", "net-b", "group_vars/all.yml")
    assert scenarios.networks(tmp_path / "a") == {"net-a", "net-b"}


def test_a_linked_inventory_shares_its_network(tmp_path: Path) -> None:
    inventory(tmp_path / "a", "net")
    inventory(tmp_path / "a", "other", "group_vars/all.yml")
    (tmp_path / "b" / "inventory").mkdir(parents=True)
    for name in ("hosts.yml", "group_vars"):
        (tmp_path / "b" / "inventory" / name).symlink_to(f"../../a/inventory/{name}")
    assert scenarios.networks(tmp_path / "b") == {"net", "other"}


def test_own_paths_follow_links(tmp_path: Path) -> None:
    (tmp_path / "molecule/a/tests").mkdir(parents=True)
    (tmp_path / "molecule/b").mkdir()
    (tmp_path / "molecule/b/tests").symlink_to("../a/tests")
    own = scenarios.own_paths(tmp_path / "molecule/b", tmp_path)
    assert own == {"molecule/b", "molecule/a/tests"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("molecule/volume/tests/test_10.py", {"volume"}),
        ("docs/decisions/0001-x.md", set()),
        ("docs/clients.md", {"clients"}),
        ("roles/orthanc/README.md", set()),
        ("playbooks/upgrade.yml", {"backup", "upgrade"}),
        ("roles/teardown/tasks/main.yml", {"fourth_service", "rotation"}),
        ("roles/teardown/defaults/main.yml", set(PLACED)),
        ("roles/orthanc/tasks/main.yml", set(PLACED) - {"guardrails", "hosts", "volume"}),
        ("images/keydb/schema.sql", set(PLACED) - {"guardrails", "hosts", "volume"}),
        ("plugins/modules/swarm_stack.py", set(PLACED)),
        ("molecule/shared/machines.py", set(PLACED)),
        ("a/path/that/nobody/knows", set(PLACED)),
    ],
)
def test_a_path_concerns(path: str, expected: set[str]) -> None:
    own = {name: frozenset({f"molecule/{name}"}) for name in PLACED}
    assert scenarios.concerned(path, own)[0] == expected


def test_a_change_of_the_whole_node_leaves_long_ones_out_and_says_so() -> None:
    selection = scenarios.select(["plugins/modules/swarm_stack.py"], long=False)
    assert set(selection.scenarios) == {*USUAL, *STOCK_CTP}
    assert "--all runs it" in selection.left_out["upgrade"]
    assert selection.units == "plugins/modules/swarm_stack.py"


def test_with_all_it_does_not() -> None:
    selection = scenarios.select(["plugins/modules/swarm_stack.py"], long=True)
    assert set(selection.scenarios) == set(PLACED)
    assert not selection.left_out


def test_a_long_one_runs_for_what_is_its_own() -> None:
    selection = scenarios.select(["roles/upgrade/tasks/main.yml"], long=False)
    assert selection.scenarios == {"upgrade": "roles/upgrade/tasks/main.yml"}
    assert selection.left_out["default"] == "nothing that it is made of has changed"


def test_documents_need_no_unit_tests() -> None:
    selection = scenarios.select(["docs/guide.md", "README.md"], long=False)
    assert not selection.scenarios and not selection.units


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
        subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True
        )

    git("init", "--initial-branch=main")
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        git("add", ".")
        git("commit", "-m", name)
    git("checkout", "-b", "work")
    (tmp_path / "two").rename(tmp_path / "moved")
    git("add", "--all")
    git("commit", "-m", "three")
    (tmp_path / "one").write_text("not committed")
    (tmp_path / "new file").write_text("not known to git")
    return tmp_path


def test_a_branch_begins_where_it_left_main(repository: Path) -> None:
    start = scenarios.start_of_change(repository)
    assert scenarios.changed_paths(start, repository) == {"one", "two", "moved", "new file"}


def test_on_main_the_change_is_the_last_commit(repository: Path) -> None:
    subprocess.run(["git", "branch", "--force", "main", "HEAD"], cwd=repository, check=True)
    listed = scenarios.changed_paths(scenarios.start_of_change(repository), repository)
    assert listed == {"one", "two", "moved", "new file"}


def test_a_commit_that_does_not_exist_is_an_error(repository: Path) -> None:
    with pytest.raises(scenarios.ChangeError, match="no-such-commit"):
        scenarios.changed_paths("no-such-commit", repository)
