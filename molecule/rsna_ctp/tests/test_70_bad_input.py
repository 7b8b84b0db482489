"""What is wrong is refused by name, and nothing is changed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from shared.machines import Node, Scenario


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"ctp_distribution": ""}, "ctp_distribution is ''.*Accepted: the installer of CTP"),
        ({"ctp_distribution": "/nowhere/CTP.jar"}, "ctp_distribution is '/nowhere/CTP.jar'"),
        ({"ctp_distribution_checksum": "0" * 64}, "ctp_distribution_checksum is 0000"),
        ({"ctp_pipelines": []}, r"ctp_pipelines is \[\]. Accepted: a list of at least one"),
        (
            {"ctp_pipelines": [{"name": "A B"}]},
            r"ctp_pipelines\[0\].name is 'A B'. Accepted: a lower-case letter",
        ),
        (
            {"ctp_pipelines": [{"name": "a", "called_aets": ["SEVENTEEN-LETTERS"]}]},
            r"ctp_pipelines\[0\].called_aets contains 'SEVENTEEN-LETTERS'",
        ),
        (
            {"ctp_pipelines": [{"name": "a"}, {"name": "b"}]},
            "The pipeline 'a' of ctp_pipelines has no called_aets",
        ),
        (
            {"ctp_deidentification": {"longitudinal": "some"}},
            "ctp_deidentification.longitudinal is 'some'. Accepted: none, full, shifted",
        ),
        (
            {"ctp_deidentification": {"retain_everything": True}},
            "ctp_deidentification has the unknown option 'retain_everything'",
        ),
        ({"ctp_pseudonym_prefixes": []}, r"ctp_pseudonym_prefixes is \[\]"),
        ({"ctp_hold_seconds": 3601}, "ctp_hold_seconds is 3601. Accepted: 0 to 3600"),
        ({"ctp_heap_mib": 1000}, "ctp_heap_mib is 1000 and ctp_memory_mib 1024"),
        ({"ctp_admin_password": "with:colon-0123456789"}, "ctp_admin_password contains a colon"),
    ],
)
def test_refused(scenario: Scenario, node: Node, variables: dict[str, Any], says: str) -> None:
    before = node.fingerprint()
    outcome = scenario.play("site.yml", extra=variables)
    assert outcome.returncode != 0
    assert re.search(says, outcome.errors), outcome.errors
    assert outcome.changed_tasks == []
    assert node.fingerprint() == before
