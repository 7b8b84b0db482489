"""Is the study complete, and if not, what is missing and why: through the gate of the node."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from shared.ctp_node import Patient, logs, new_patient, status
from shared.documented import command
from shared.machines import Node, Scenario, wait_for
from shared.streams import Rest, arrived, ct_slices


def associate(node: Node) -> Any:
    ae = AE("PACS")
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate(node.address, 8104, ae_title="CTP")
    assert association.is_established
    return association


def send(node: Node, *objects: Dataset) -> None:
    association = associate(node)
    for each in objects:
        assert association.send_c_store(each).Status == 0
    association.release()


def break_off(node: Node, whole: Dataset, broken: Dataset) -> None:
    """Send one object, and of another, of several MiB, the beginning."""
    association = associate(node)
    assert association.send_c_store(whole).Status == 0
    sent = 0

    def cut(event: evt.Event) -> None:
        nonlocal sent
        sent += 1
        if sent > 3:
            association.dul.socket.socket.shutdown(socket.SHUT_RDWR)

    association.bind(evt.EVT_PDU_SENT, cut)
    with contextlib.suppress(RuntimeError):
        assert association.send_c_store(broken).get("Status") is None


def asked(ctp: Rest, **question: str) -> dict[str, Any]:
    """What CTP's page answers of the one study that is meant."""
    (study,) = ctp.ask("/api/study", body=question)["studies"]
    found: dict[str, Any] = study
    return found


class Sent:
    """A study of three series: complete, with an object that is held back, broken off."""

    def __init__(self, patient: Patient) -> None:
        self.patient = patient
        self.objects = ct_slices(patient.patient_id, 7)
        self.study = str(self.objects[0].StudyInstanceUID)
        large = ct_slices(patient.patient_id, 1, side=2048)[0]
        self.objects[6].Rows = self.objects[6].Columns = 2048
        self.objects[6].PixelData = large.PixelData
        self.series = [str(generate_uid()) for _ in range(3)]
        for number, image in enumerate(self.objects):
            image.SeriesInstanceUID = self.series[0 if number < 3 else 1 if number < 5 else 2]
        self.objects[4].BurnedInAnnotation = "YES"

    def marks(self) -> list[str]:
        uids = [str(each.SOPInstanceUID) for each in self.objects]
        return [self.patient.patient_id, self.study, *self.series, *uids]


@pytest.fixture(scope="module")
def sent(node: Node, known_patient: Callable[[], Patient]) -> Sent:
    found = Sent(known_patient())
    send(node, *found.objects[:5])
    break_off(node, *found.objects[5:])
    return found


def counted(ctp: Rest, sent: Sent) -> list[tuple[int, int, int, int]]:
    """Received, left, held back and broken off, of each series."""
    return sorted(
        (each["received"], each["left"], sum(each["held"].values()), each["broken"])
        for each in asked(ctp, identifier=sent.study)["series"]
    )


def test_each_series_is_what_it_is(sent: Sent, ctp: Rest, orthanc: Rest) -> None:
    expected = [(1, 1, 0, 1), (2, 1, 1, 0), (3, 3, 0, 0)]
    wait_for("all are where they belong", lambda: counted(ctp, sent) == expected, 120)
    study = asked(ctp, identifier=sent.study)
    assert not study["complete"] and study["pseudonyms"] == [sent.patient.pseudonym]
    for question in (
        {"identifier": sent.patient.patient_id},
        {"pseudonym": sent.patient.pseudonym},
        {"study": study["study"]},
    ):
        assert asked(ctp, **question)["study"] == study["study"], question
    # Orthanc has what the account says has left, under the UIDs that it says.
    assert sum(arrived(orthanc, sent.patient.pseudonym).values()) == study["left"] == 5
    query = {"Level": "Series", "Query": {"PatientID": sent.patient.pseudonym}, "Expand": True}
    there = {e["MainDicomTags"]["SeriesInstanceUID"] for e in orthanc.ask("/tools/find", query)}
    assert there == {each["uid"] for each in study["series"]}


def test_the_command_says_what_is_missing_and_names_nobody(
    sent: Sent, scenario: Scenario, node: Node, tmp_path: Path
) -> None:
    file = tmp_path / "ask.txt"
    file.write_text(f"{sent.study}\n{sent.patient.patient_id}\n")
    documented = command("docs/studies.md", "playbooks/study.yml")
    shown = scenario.play(*documented, extra={"study_file": str(file)})
    assert shown.returncode == 0, shown.errors
    assert "Question 2: NOT COMPLETE" in shown.text
    for words in ("broken off", "held back", "-> Have the sender send the series again."):
        assert words in shown.text
    journal = node.output("journalctl", "--no-pager", "--since=-10min")
    for where, text in (("run", shown.text), ("logs", logs(node)), ("journal", journal)):
        assert not [mark for mark in sent.marks() if mark in text], where


def test_the_ledger_names_nobody(sent: Sent, node: Node) -> None:
    where = "/srv/auscat/ctp/temp/account.sqlite"
    assert node.output("stat", "-c", "%a", where).strip() == "600"
    for mark in sent.marks():
        found = node.run("sh", "-c", f"cat {where}* | grep -caF '{mark}'", check=False)
        assert found.stdout.strip() == "0", mark


def test_sent_again_and_released_it_becomes_complete(sent: Sent, node: Node, ctp: Rest) -> None:
    """But for the object that cannot leave, which a person removes."""
    send(node, *sent.objects[5:])
    expected = [(2, 1, 1, 0), (2, 2, 0, 0), (3, 3, 0, 0)]
    wait_for("what was cut has left", lambda: counted(ctp, sent) == expected, 120)
    held = str(sent.objects[4].SOPInstanceUID)
    for each in status(ctp)["quarantine"]:
        if each["sop_instance_uid"] == held:
            ctp.ask(f"/api/quarantine/{each['id']}", method="DELETE")
    wait_for("it was removed", lambda: asked(ctp, identifier=sent.study)["deleted"] == 1, 60)

    def settled() -> bool:
        study = asked(ctp, identifier=sent.study)
        assert not study["complete"]
        states = sorted(each["state"] for each in study["series"])
        return states == ["complete", "complete", "deleted"] and study["state"] == "deleted"

    wait_for("nothing came for ctp_account_quiet_minutes", settled, 180)


def test_a_study_under_two_identifiers_is_reported(
    node: Node, ctp: Rest, known_patient: Callable[[], Patient]
) -> None:
    before = status(ctp)["studies"]["mixed"]
    objects = ct_slices(known_patient().patient_id, 2, side=16)
    objects[1].PatientID = new_patient().patient_id
    send(node, *objects)
    wait_for("it is reported", lambda: status(ctp)["studies"]["mixed"] == before + 1, 60)
    study = asked(ctp, identifier=str(objects[0].StudyInstanceUID))
    assert study["identifiers"] == 2
