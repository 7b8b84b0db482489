"""A changed option reaches CTP, is proved, and touches nothing else."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from shared.machines import Node, Scenario


@pytest.fixture
def put_back(scenario: Scenario) -> Generator[None]:
    yield
    outcome = scenario.play("site.yml")
    assert outcome.returncode == 0, outcome.errors


def test_shifted_dates_and_patient_characteristics(
    scenario: Scenario, node: Node, put_back: None
) -> None:
    before = {name: tasks[0]["Id"] for name in node.services() if (tasks := node.tasks(name))}
    options = {
        "longitudinal": "shifted",
        "retain_patient_characteristics": True,
        "retain_device_identity": True,
        "clean_descriptors": True,
    }
    outcome = scenario.play("site.yml", "--diff", extra={"ctp_deidentification": options})
    assert outcome.returncode == 0, outcome.errors
    after = {name: tasks[0]["Id"] for name in node.services() if (tasks := node.tasks(name))}
    assert {name for name in after if after[name] != before[name]} == {"auscat_ctp"}
    configs = node.output("docker", "config", "ls", "--format", "{{.Name}}").split()
    assert len([name for name in configs if name.startswith("ctp_config_xml")]) == 1
