"""What of galaxy-importer's output counts, and when the step runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.testrun import __main__ as runner
from tools.testrun import galaxy
from tools.testrun.distribution import Distribution
from tools.testrun.history import History
from tools.testrun.plan import Plan
from tools.testrun.scenarios import REPOSITORY


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("Importing with galaxy-importer 0.4.44", False),
        ("Loading module error_report", False),
        (
            "WARNING: Ignore files skip ansible-test sanity tests, found ignore-2.19.txt with 4",
            False,
        ),
        ("WARNING: No changelog found.", True),
        ("ERROR: Error running ansible-doc: cmd=…", True),
        ("ERROR: The import failed for the following reason: No role readme found.", True),
    ],
)
def test_what_the_importer_complains_about_counts(line: str, counts: bool) -> None:
    said = f"Getting doc strings via ansible-doc\n{line}\nCollection loading complete\n"
    assert galaxy.complaints(said) == ([line] if counts else [])


@pytest.mark.parametrize("style", [True, False])
def test_the_step_runs_with_the_style(tmp_path: Path, style: bool) -> None:
    plan = Plan(Distribution(None, "none"), style=style, units=False)
    jobs = {job.name: job for job in runner.steps(plan, History(tmp_path / "times.json"))}
    assert (runner.GALAXY in jobs) is style
    assert all(name in jobs for job in jobs.values() for name in job.after)


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """The environment with antsibull-changelog, which is made where it is missing."""
    return galaxy.environment()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What antsibull-changelog reads of the checkout, to plant something there."""
    shutil.copytree(REPOSITORY / "changelogs", tmp_path / "changelogs")
    shutil.copy(REPOSITORY / "galaxy.yml", tmp_path)
    return tmp_path


def test_the_fragments_of_the_changelog_are_accepted(
    checkout: Path, variables: dict[str, str]
) -> None:
    (checkout / "changelogs/fragments/planted.yml").write_text("bugfixes:\n  - It does ``so``.\n")
    assert galaxy.changelog(checkout, variables)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("planted.yml", "fixed:\n  - It does so.\n", "invalid section: fixed"),
        ("planted.yml", "bugfixes: It does so.\n", "must be type list"),
        ("planted.yml", "bugfixes:\n  - ports: 80\n", "must be type str"),
        ("planted.yml", "bugfixes:\n  - It ``does so.\n", "without end-string"),
        ("planted.yml", "bugfixes: [\n", "yaml parsing error"),
        ("planted", "- It does so.\n", "must be a mapping"),
    ],
)
def test_a_wrong_fragment_of_the_changelog_fails(
    checkout: Path,
    variables: dict[str, str],
    capfd: pytest.CaptureFixture[str],
    name: str,
    text: str,
    said: str,
) -> None:
    (checkout / "changelogs/fragments" / name).write_text(text)
    assert not galaxy.changelog(checkout, variables)
    out = capfd.readouterr().out
    assert said in out
    assert f"fragments/{name}" in out
