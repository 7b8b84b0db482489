"""The space that is left is watched."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import apply
from shared.machines import Scenario


def rows(scenario: Scenario, **wished: Any) -> list[dict[str, Any]]:
    outcome = apply(scenario, **wished)
    assert outcome.returncode == 0, outcome.errors
    results = [result for _, result in outcome.results if "checks" in result]
    found: list[dict[str, Any]] = results[0]["checks"]
    return found


@pytest.mark.parametrize(
    ("percent", "gib", "passed"), [(5, 0, True), (99, 0, False), (0, 3, False)]
)
def test_row_of_the_proof(scenario: Scenario, percent: int, gib: int, passed: bool) -> None:
    volume, space = rows(
        scenario, host_volume_free_warning_percent=percent, host_volume_free_warning_gib=gib
    )
    assert volume["passed"], volume
    assert space["passed"] is passed, space
    assert bool(space["remedy"]) is not passed
