"""CTP and Orthanc that disagree on the marks: what is refused waits, and blocks nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cohort, passwords
from shared.machines import Node, Scenario, wait_for
from shared.streams import Rest, page
from shared.studies import Study, make_study, send

OBJECTS = 3
OTHER_MARKS = {
    "identity_removed": True,
    "methods": ["AusCAT imaging: "],
    "codes": ["113100"],
    "pseudonym_prefixes": ["ELSEWHERE-"],
}


@pytest.fixture(scope="module")
def ctp(node: Node) -> Rest:
    """CTP's page."""
    return page(node, 9090, "admin", node.variables["ctp_admin_password"])


@pytest.fixture(scope="module")
def disagreement(scenario: Scenario) -> Iterator[None]:
    """Orthanc wants pseudonyms that CTP does not give."""
    extra = {"verify_enabled": False}
    outcome = scenario.play("site.yml", extra={**extra, "orthanc_required_marks": OTHER_MARKS})
    assert outcome.returncode == 0, outcome.errors
    yield
    scenario.play("site.yml", extra=extra)


@pytest.mark.usefixtures("disagreement")
def test_what_orthanc_refuses_waits_with_its_reason(
    scenario: Scenario, node: Node, ctp: Rest, cohort: Cohort, tmp_path: Path
) -> None:
    patient = cohort.treatments[0]
    made = make_study(tmp_path / "study", patient.patient_id, patient.pseudonym, OBJECTS)
    orthanc = page(node, 8042, "admin", passwords(node)["admin"])

    def held_back() -> int:
        reasons = Counter(each["reason"] for each in ctp.ask("/api/status")["quarantine"])
        return reasons["refused-by-orthanc"]

    def stored() -> int:
        query = {"Level": "Instance", "Query": {"PatientID": patient.pseudonym}}
        return len(orthanc.ask("/tools/find", query))

    # Of an earlier run on the same node, some are held back already.
    before, earlier = stored(), held_back()
    study = Study(patient.patient_id, patient.pseudonym, made.directory, OBJECTS)
    code, said = send(study, scenario.client("pacs"), node)
    assert code == 0, said
    wait_for("CTP has held them back", lambda: held_back() == earlier + OBJECTS, 300)
    assert ctp.ask("/api/status")["queued"] == 0
    assert stored() == before
    assert "(0010,0020) is no pseudonym of this node" in node.shell(
        "docker service logs auscat_orthanc 2>&1"
    )
