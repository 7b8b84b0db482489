"""What is wrong is refused by name, and nothing is changed. No CTP is asked before that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from shared.machines import Node, Scenario
from shared.refusals import Case, Refusals

CASES = [
    # CTP's files are put together by filters, which stop at the first thing that is wrong.
    replace(case, alone=True)
    for case in (
        Case(
            "no distribution",
            {"ctp_distribution": ""},
            ["ctp_distribution is ''.*Accepted: the installer of CTP"],
        ),
        Case(
            "distribution that is not there",
            {"ctp_distribution": "/nowhere/CTP.jar"},
            ["ctp_distribution is '/nowhere/CTP.jar'"],
        ),
        Case(
            "no pipeline", {"ctp_pipelines": []}, [r"ctp_pipelines is \[\]. Accepted: a list of at"]
        ),
        Case(
            "name of a pipeline",
            {"ctp_pipelines": [{"name": "A B"}]},
            [r"ctp_pipelines\[0\].name is 'A B'. Accepted: a lower-case letter"],
        ),
        Case(
            "long AE title",
            {"ctp_pipelines": [{"name": "a", "called_aets": ["SEVENTEEN-LETTERS"]}]},
            [r"ctp_pipelines\[0\].called_aets contains 'SEVENTEEN-LETTERS'"],
        ),
        Case(
            "pipelines that cannot be told apart",
            {"ctp_pipelines": [{"name": "a"}, {"name": "b"}]},
            ["The pipeline 'a' of ctp_pipelines has no called_aets"],
        ),
        Case(
            "unknown way with dates",
            {"ctp_deidentification": {"longitudinal": "some"}},
            ["ctp_deidentification.longitudinal is 'some'. Accepted: none, full, shifted"],
        ),
        Case(
            "unknown option",
            {"ctp_deidentification": {"retain_everything": True}},
            ["ctp_deidentification has the unknown option 'retain_everything'"],
        ),
        Case("no prefix", {"ctp_pseudonym_prefixes": []}, [r"ctp_pseudonym_prefixes is \[\]"]),
        Case(
            "long hold",
            {"ctp_hold_seconds": 3601},
            ["ctp_hold_seconds is 3601. Accepted: 0 to 3600"],
        ),
        Case(
            "heap beyond the memory",
            {"ctp_heap_mib": 1000},
            ["ctp_heap_mib is 1000 and ctp_memory_mib 1024"],
        ),
        Case(
            "colon in the password",
            {"ctp_admin_password": "with:colon-0123456789"},
            ["ctp_admin_password contains a colon"],
        ),
    )
]


@pytest.fixture(scope="module")
def refusals(scenario: Scenario, node: Node) -> Refusals:
    """The runs of site.yml with these cases, several to a run."""
    return Refusals(
        CASES, lambda variables: scenario.play("site.yml", extra=variables), node.fingerprint
    )


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_refused(refusals: Refusals, case: Case) -> None:
    refusals.check(case)
