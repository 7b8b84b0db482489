"""What a run would do: nothing on a node that is as declared, else exactly what follows."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from shared.documented import command
from shared.machines import Node, Outcome, Scenario

NEVER_SHOWN = "never-shown-0a7c61f4e2b94d58"


@dataclass(frozen=True)
class Announced:
    """A run in check mode, and the node before and after it."""

    outcome: Outcome
    before: dict[str, str]
    after: dict[str, str]


def test_check_mode_finds_nothing_to_do(scenario: Scenario, node: Node) -> None:
    before = node.fingerprint()
    outcome = scenario.play(*command("docs/guide.md", "site.yml --check --diff"))
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []
    assert node.fingerprint() == before


@pytest.fixture(scope="module")
def announced(scenario: Scenario, node: Node) -> Announced:
    """One run that would change a limit, a port's sources and a password, told in all detail."""
    before = node.fingerprint()
    extra = {
        "orthanc_memory_mib": 1111,
        "ctp_web_sources": ["10.213.77.12"],
        "ctp_admin_password": NEVER_SHOWN,
    }
    outcome = scenario.play("site.yml", "--check", "--diff", "-vv", extra=extra)
    assert outcome.returncode == 0, outcome.errors
    return Announced(outcome, before, node.fingerprint())


def test_check_mode_announces_a_change_and_makes_none(announced: Announced) -> None:
    assert announced.outcome.changed >= 3
    differences = str([result.get("diff") for _, result in announced.outcome.results])
    assert "1111M" in differences
    assert "10.213.77.12" in differences
    assert announced.after == announced.before


def test_differences_show_no_secret(announced: Announced, node: Node) -> None:
    changed = [name for name in announced.outcome.changed_tasks if "secret" in name.lower()]
    assert changed, announced.outcome.changed_tasks
    # Ansible's own records of a no_log task are what a log server would get.
    for secret in (NEVER_SHOWN, node.variables["keydb_password"]):
        assert secret not in announced.outcome.text
