"""A distribution that is not the declared one is refused, and nothing is changed."""

from __future__ import annotations

from shared.machines import Node, Scenario
from shared.refusals import Case, Refusals

CASE = Case(
    "another checksum",
    {"ctp_distribution_checksum": "0" * 64},
    ["ctp_distribution_checksum is 0000"],
)


def test_another_distribution_is_refused(scenario: Scenario, node: Node) -> None:
    site = Refusals(
        [CASE], lambda variables: scenario.play("site.yml", extra=variables), node.fingerprint
    )
    site.check(CASE)
