"""The timer goes and comes back with its variable."""

from __future__ import annotations

from conftest import METRICS, sample
from shared.machines import Node, Scenario


def test_timer_is_removed_and_installed_again(scenario: Scenario, cat: Node) -> None:
    def deploy(timer: bool) -> None:
        outcome = scenario.play(
            *("playbooks/site.yml", "--tags", "status", "--limit", "cat"),
            extra={"status_timer": timer},
        )
        assert outcome.returncode == 0, outcome.errors

    deploy(False)
    units = ("auscat-status.service", "auscat-status.timer")
    for path in (METRICS, *(f"/etc/systemd/system/{unit}" for unit in units)):
        assert not cat.host.file(path).exists
    assert cat.run("systemctl", "is-active", units[1], check=False).stdout.strip() != "active"
    assert cat.host.file("/var/lib/auscat/status/history.jsonl").exists
    shown = scenario.play("playbooks/status.yml", "--limit", "cat", extra={"status_timer": False})
    assert "none: status_timer is false" in shown.text
    deploy(True)
    assert cat.output("systemctl", "is-active", units[1]) == "active"
    assert sample(cat)
