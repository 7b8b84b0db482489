"""Orthanc and KeyDB away, and back again."""

from __future__ import annotations

from collections.abc import Callable

from shared.ctp_node import Patient, status
from shared.faults import kill_container, scale
from shared.machines import Node, wait_for
from shared.streams import Rest, Stream, arrived, balance, ct_slices


def test_orthanc_away(
    node: Node,
    orthanc: Rest,
    ctp: Rest,
    known_patient: Callable[[], Patient],
    quarantined: Callable[[], set[str]],
) -> None:
    patient = known_patient()
    scale(node, "auscat_orthanc", 0)
    try:
        with Stream(node, ct_slices(patient.patient_id, 50)) as stream:
            stream.wait(50)
        wait_for("the objects are queued", lambda: status(ctp)["queued"] >= 50)
        assert status(ctp)["healthy"] is True
    finally:
        scale(node, "auscat_orthanc", 1)
    node.wait_until_healthy(6)
    result = balance(orthanc, patient.pseudonym, stream, quarantined)
    assert (result.arrived, result.doubled, result.lost) == (50, 0, 0), result


def test_orthanc_restarted_under_load(
    node: Node,
    orthanc: Rest,
    known_patient: Callable[[], Patient],
    quarantined: Callable[[], set[str]],
) -> None:
    patient = known_patient()
    with Stream(node, ct_slices(patient.patient_id, 100)) as stream:
        stream.wait(25)
        kill_container(node, "auscat_orthanc")
        stream.wait(100)
    node.wait_until_healthy(6)
    result = balance(orthanc, patient.pseudonym, stream, quarantined)
    assert (result.arrived, result.doubled, result.lost) == (100, 0, 0), result


def test_keydb_away_leaves_the_last_table(
    node: Node, orthanc: Rest, ctp: Rest, known_patient: Callable[[], Patient]
) -> None:
    patient = known_patient()
    known = status(ctp)["keydb"]["patients"]
    wait_for("CTP knows the patient", lambda: status(ctp)["keydb"]["state"] == "ok")
    scale(node, "auscat_keydb", 0)
    try:
        wait_for("its absence is reported", lambda: status(ctp)["keydb"]["state"] != "ok", 120)
        assert status(ctp)["keydb"]["patients"] >= known
        with Stream(node, ct_slices(patient.patient_id, 3), senders=1) as stream:
            stream.wait(3)
        wait_for("the study is in Orthanc", lambda: len(arrived(orthanc, patient.pseudonym)) == 3)
    finally:
        scale(node, "auscat_keydb", 1)
    node.wait_until_healthy(6)
    wait_for("it is there again", lambda: status(ctp)["keydb"]["state"] == "ok", 120)
