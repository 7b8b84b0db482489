"""The whole way: from the PACS through both machines to the researcher, under the pseudonym."""

from __future__ import annotations

import pytest
from conftest import Site
from shared.machines import Node
from shared.studies import Orthanc, Study, send

IDENTIFYING = ["Identifiable", "19400102", "ACC-4711", "Referring"]


def test_study_arrives_under_its_pseudonym(study: Study, orthanc: Orthanc) -> None:
    assert len(orthanc.hashes(study.pseudonym)) == study.instances
    patients = {
        orthanc.request(f"/patients/{patient}")["MainDicomTags"]["PatientID"]
        for patient in orthanc.request("/patients")
    }
    assert study.pseudonym in patients
    assert study.patient_id not in patients


@pytest.mark.parametrize("mark", ["patient", *IDENTIFYING])
def test_nothing_identifying_is_on_the_side_of_research(study: Study, cat: Node, mark: str) -> None:
    """Looked for in the bytes of all that Orthanc keeps, with grep."""
    text = study.patient_id if mark == "patient" else mark
    found = cat.run("grep", "-rlaF", text, "/srv/auscat", check=False)
    assert found.returncode == 1, f"{found.stdout}{found.stderr}"


def test_each_machine_runs_its_own_services(kv: Node, cat: Node) -> None:
    assert sorted(kv.services()) == [
        *("auscat_ctp", "auscat_ctp_outlet", "auscat_front", "auscat_keydb")
    ]
    assert sorted(cat.services()) == ["auscat_front", "auscat_orthanc"]


def test_each_machine_is_a_swarm_of_its_own(kv: Node, cat: Node) -> None:
    clusters = {
        node.output("docker", "info", "--format={{.Swarm.Cluster.ID}}") for node in (kv, cat)
    }
    assert len(clusters) == 2


def test_stranger_cannot_send(study: Study, site: Site, kv: Node) -> None:
    code, said = send(study, site.machine("stranger"), kv, connect_seconds=5)
    assert code != 0, said
