"""A second look changes nothing. With stock CTP Molecule's own second run shows the same."""

from __future__ import annotations

from shared.machines import Scenario


def test_check_mode_finds_nothing_to_do(scenario: Scenario) -> None:
    outcome = scenario.play("site.yml", "--check", "--diff")
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []
