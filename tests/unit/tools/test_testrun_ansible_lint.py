"""When ansible-lint has to run again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.testrun import ansible_lint


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".ansible-lint").write_text("exclude_paths: [docs/]\n")
    (tmp_path / ".gitignore").write_text("left/\n")
    for name in ("site.yml", "docs/page.md", "left/vault.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "is_read"),
    [
        ("site.yml", True),
        ("roles/new.yml", True),
        (".ansible-lint", True),
        ("docs/page.md", False),
        ("left/vault.yml", False),
    ],
)
def test_a_change_of_what_it_reads_counts(repository: Path, name: str, is_read: bool) -> None:
    before = ansible_lint.key(repository)
    path = repository / name
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write("\n# changed\n")
    assert (ansible_lint.key(repository) != before) is is_read


def test_a_file_that_goes_or_another_environment_counts(repository: Path) -> None:
    before = ansible_lint.key(repository)
    assert ansible_lint.key(repository, "/another") != before
    (repository / "site.yml").unlink()
    assert ansible_lint.key(repository) != before


@pytest.mark.parametrize("code", [0, 2])
def test_only_what_passed_is_not_run_again(
    code: int, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "left/runs"
    command = ("bash", "-c", f"echo run >> {runs}; exit {code}")
    monkeypatch.setattr(ansible_lint, "COMMAND", command)
    monkeypatch.setattr(ansible_lint, "REPOSITORY", repository)
    monkeypatch.setattr(ansible_lint.key, "__defaults__", (repository, "environment"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "left"))
    assert [ansible_lint.main(), ansible_lint.main()] == [code, code]
    assert len(runs.read_text().split()) == (1 if code == 0 else 2)
