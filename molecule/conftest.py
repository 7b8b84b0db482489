"""Fixtures for the tests of every scenario, and a diagnosis with every failure."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from shared.machines import REPOSITORY, Scenario

# What a test needs of the collection's own Python, it imports from the checkout.
_AnsibleCollectionFinder(paths=[str(REPOSITORY / ".collections")])._install()


def scenario_of(path: Path) -> Scenario:
    """Find the scenario that a test belongs to: molecule/<scenario>/tests/test_*.py."""
    return Scenario(path.parents[1])


@pytest.fixture(scope="session")
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """The scenario whose tests run; Molecule runs one at a time."""
    directory = os.environ.get("MOLECULE_SCENARIO_DIRECTORY")
    return Scenario(Path(directory)) if directory else scenario_of(request.session.items[0].path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add each service's tasks and last log lines to the report of a failed test."""
    report = yield
    if report.failed:
        for node in scenario_of(item.path).nodes():
            try:
                report.sections.append((f"{node.name}: services", node.diagnosis()))
            except Exception as error:  # a diagnosis that fails must not hide what it is for
                report.sections.append((f"{node.name}: services", f"not to be had: {error}"))
    return report
