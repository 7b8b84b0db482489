"""What of galaxy-importer's output counts, and when the step runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.testrun import __main__ as runner
from tools.testrun import galaxy
from tools.testrun.distribution import Distribution
from tools.testrun.history import History
from tools.testrun.plan import Plan


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
