"""The way of a study, and of one whose patient is loaded too late."""

from __future__ import annotations

from collections.abc import Callable

from shared.ctp_node import Patient, logs, new_patient, status
from shared.documented import command
from shared.machines import Node, Scenario, wait_for
from shared.streams import Rest, Stream, arrived, balance, ct_slices


def test_a_loaded_patient_is_known_within_ten_seconds(
    node: Node, orthanc: Rest, ctp: Rest, patient: Patient, load: Callable[..., None]
) -> None:
    before = status(ctp)["keydb"]["patients"]
    load(patient)  # which fails when it takes longer
    assert status(ctp)["keydb"]["patients"] == before + 1
    with Stream(node, ct_slices(patient.patient_id, 3), senders=1) as stream:
        stream.wait(3)
    wait_for("the study is in Orthanc", lambda: len(arrived(orthanc, patient.pseudonym)) == 3)


def test_one_sender_uses_all_pipelines(node: Node, ctp: Rest) -> None:
    """Seen by where the objects of a patient whom nobody knows are held."""

    def held() -> list[int]:
        return [each["quarantine"]["anonymizer"] for each in status(ctp)["pipelines"]]

    before = held()
    with Stream(node, ct_slices(new_patient().patient_id, 6, side=16), senders=1) as stream:
        stream.wait(6)
    wait_for(
        "each pipeline holds half of them", lambda: held() == [each + 3 for each in before], 120
    )


def test_an_unknown_patient_waits_and_is_released_by_one_command(
    scenario: Scenario, node: Node, orthanc: Rest, ctp: Rest, load: Callable[..., None]
) -> None:
    late = new_patient()
    slices = ct_slices(late.patient_id, 5)
    mine = {str(image.SOPInstanceUID) for image in slices}

    def reasons() -> list[str]:
        held = status(ctp)["quarantine"]
        return [each["reason"] for each in held if each["sop_instance_uid"] in mine]

    with Stream(node, slices, senders=2) as stream:
        stream.wait(5)
    wait_for("they lie in quarantine", lambda: reasons() == ["unknown-patient"] * 5)

    early = scenario.play("playbooks/release_quarantine.yml")
    assert early.returncode == 0, early.errors
    assert reasons() == ["unknown-patient"] * 5

    load(late)
    wait_for("CTP knows the patient", lambda: set(reasons()) == {"known-patient"}, 60)
    outcome = scenario.play(*command("docs/quarantine.md", "playbooks/release_quarantine.yml"))
    assert outcome.returncode == 0, outcome.errors
    result = balance(
        orthanc,
        late.pseudonym,
        stream,
        lambda: {str(each["sop_instance_uid"]) for each in status(ctp)["quarantine"]},
    )
    assert (result.arrived, result.doubled, result.lost) == (5, 0, 0), result


def test_nothing_that_arrived_names_the_patient(node: Node) -> None:
    """Looked for in the bytes of the stored files, with grep, on the node."""
    for mark in ("HOSP:", "Stream^Identifiable"):
        found = node.run("grep", "-rlaF", mark, "/srv/auscat/orthanc", check=False)
        assert found.returncode == 1, f"{mark}: {found.stdout}{found.stderr}"


def test_no_log_names_the_patient(node: Node) -> None:
    log = logs(node)
    assert log
    for mark in ("HOSP:", "Identifiable"):
        assert mark not in log
