"""What a run would do: nothing on a node that is as declared, else exactly what follows."""

from __future__ import annotations

from shared.machines import Node, Scenario


def test_check_mode_finds_nothing_to_do(scenario: Scenario, node: Node) -> None:
    before = node.fingerprint()
    outcome = scenario.play("site.yml", "--check", "--diff")
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []
    assert node.fingerprint() == before


def test_check_mode_announces_a_change_and_makes_none(scenario: Scenario, node: Node) -> None:
    before = node.fingerprint()
    extra = {"orthanc_memory_mib": 1111, "ctp_web_sources": ["10.213.77.12"]}
    outcome = scenario.play("site.yml", "--check", "--diff", extra=extra)
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed >= 2
    differences = str([result.get("diff") for _, result in outcome.results])
    assert "1111M" in differences
    assert "10.213.77.12" in differences
    assert node.fingerprint() == before


def test_differences_show_no_secret(scenario: Scenario, node: Node) -> None:
    extra = {"ctp_admin_password": "never-shown-0a7c61f4e2b94d58"}
    outcome = scenario.play("site.yml", "--check", "--diff", "-vv", extra=extra)
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed > 0
    secrets = [*extra.values(), node.variables["keydb_password"]]
    # Ansible's own records of a no_log task are what a log server would get.
    assert not [secret for secret in secrets if secret in outcome.text]
