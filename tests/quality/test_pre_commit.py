"""What pre-commit runs is what `make lint` runs."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tools.testrun import check  # noqa: E402


def test_pre_commit_runs_the_lints_of_make_lint() -> None:
    """One list of lints; what differs is only that some look at the changed files alone."""
    configuration = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in configuration["repos"] for hook in repository["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    entries = {hook["name"]: hook["entry"].split() for hook in hooks}
    assert set(entries) == {job.name for job in check.TOOLS}
    for job in check.TOOLS:
        program = ["python" if word == sys.executable else word for word in job.command]
        wanted = [word for word in program if word != "."]
        assert [word for word in entries[job.name] if word in wanted] == wanted
