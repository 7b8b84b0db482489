"""CTP and Orthanc that disagree on the marks: nothing is lost, and what is held back says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cohort, passwords
from shared.machines import Node, Scenario, wait_for
from shared.streams import Rest
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
    return Rest(f"http://{node.address}:9090", "admin", node.variables["ctp_admin_password"])


@pytest.fixture(scope="module")
def disagreement(scenario: Scenario) -> Iterator[None]:
    """Orthanc wants pseudonyms that CTP does not give."""
    extra = {"verify_enabled": False}
    outcome = scenario.play("site.yml", extra={**extra, "orthanc_required_marks": OTHER_MARKS})
    assert outcome.returncode == 0, outcome.errors
    yield
    scenario.play("site.yml", extra=extra)


@pytest.mark.usefixtures("disagreement")
def test_what_orthanc_refuses_waits_with_its_reason_and_is_released(
    scenario: Scenario, node: Node, ctp: Rest, cohort: Cohort, tmp_path: Path
) -> None:
    patient = cohort.treatments[0]
    made = make_study(tmp_path / "study", patient.patient_id, patient.pseudonym, OBJECTS)
    orthanc = Rest(f"http://{node.address}:8042", "admin", passwords(node)["admin"])

    def held_back() -> int:
        reasons = Counter(each["reason"] for each in ctp.ask("/api/status")["quarantine"])
        return reasons["refused-by-orthanc"]

    def mine() -> dict[str, str]:
        return {"PatientID": patient.pseudonym}

    def stored() -> int:
        return len(orthanc.ask("/tools/find", {"Level": "Instance", "Query": mine()}))

    before = stored()
    study = Study(patient.patient_id, patient.pseudonym, made.directory, OBJECTS)
    code, said = send(study, scenario.client("pacs"), node)
    assert code == 0, said
    wait_for("CTP has held them back", lambda: held_back() == OBJECTS, 300)
    assert stored() == before
    assert "(0010,0020) is no pseudonym of this node" in node.shell(
        "docker service logs auscat_orthanc 2>&1"
    )
    agreed = scenario.play("site.yml", extra={"verify_enabled": False})
    assert agreed.returncode == 0, agreed.errors
    released = scenario.play("playbooks/release_quarantine.yml")
    assert released.returncode == 0, released.errors
    wait_for("they have arrived", lambda: stored() == before + OBJECTS, 300)
    assert held_back() == 0
    # The other tests, where they run again on this node, count what their patients have.
    for study_id in orthanc.ask("/tools/find", {"Level": "Study", "Query": mine()}):
        if len(orthanc.ask(f"/studies/{study_id}/instances")) == OBJECTS:
            orthanc.ask(f"/studies/{study_id}", method="DELETE")
