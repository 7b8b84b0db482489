"""The gateway as a process: real associations, real files, and kill -9."""

from __future__ import annotations

import os
import random
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ctp_standin.healthcheck import check
from ctp_standin.settings import Settings
from ctp_standin_as_ctp import mapped
from ctp_standin_doubles import (
    PASSWORD,
    GatewayProcess,
    ReceivingScpDouble,
    SteadySender,
    send,
    wait_until,
)
from ctp_standin_study import encode, marked_study, read, study
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EncapsulatedPDFStorage, ImplicitVRLittleEndian
from pynetdicom import build_context

KNOWN = {"PROOF_1947": "PROOF-PSEUDONYM"}


@pytest.fixture
def receiver() -> Iterator[ReceivingScpDouble]:
    double = ReceivingScpDouble()
    yield double
    double.stop()


@pytest.fixture
def gateway(tmp_path: Path, receiver: ReceivingScpDouble) -> Iterator[GatewayProcess]:
    process = GatewayProcess(tmp_path, receiver.port)
    process.know(**KNOWN)
    yield process
    process.end()


def objects(**keywords: object) -> list[Dataset]:
    return [read(encode(dataset)) for dataset in study(**keywords).objects]


def counted(process: GatewayProcess, **expected: int) -> Callable[[], bool]:
    return lambda: expected.items() <= process.status().items()


def test_known_and_unknown_patients(gateway: GatewayProcess, receiver: ReceivingScpDouble) -> None:
    receiver.start()
    gateway.start()
    known = [read(encode(dataset)) for dataset in marked_study().objects]
    unknown = objects(patient_id="PROOF-UNKNOWN", number=2, marked=False)
    assert send(gateway.dicom_port, [*known, *unknown]) == [0x0000] * 8
    wait_until("all are where they belong", counted(gateway, forwarded=3, quarantined=5, queued=0))
    status = gateway.status()
    assert status["standin"] is True and status["received"] == 8
    assert {ds.PatientID for ds in receiver.objects.values()} == {"PROOF-PSEUDONYM"}
    assert receiver.calling_versions == {"CTP CTPSTANDIN_01"}
    assert receiver.associations <= 3  # one, and one for each new presentation context
    key = (gateway.spool / "uid.key").read_bytes().hex()
    assert set(receiver.objects) == {mapped(ds.SOPInstanceUID, key) for ds in known}
    quarantine = status["quarantine"]
    assert {q["sop_instance_uid"] for q in quarantine} == {ds.SOPInstanceUID for ds in unknown}
    assert {q["reason"] for q in quarantine} == {"unknown-patient"}
    assert all(re.match(r"\d{4}-\d\d-\d\dT.*\+00:00$", q["received_at"]) for q in quarantine)

    code, page = gateway.request("GET", "/")
    assert code == 200 and "STAND-IN — simulation and tests only, not RSNA CTP" in page
    assert quarantine[0]["sop_instance_uid"] in page and "unknown-patient" in page
    for login in (None, "admin:wrong", f"other:{PASSWORD}", "admin", "admin:"):
        assert gateway.request("GET", "/api/status", login)[0] == 401
        assert gateway.request("DELETE", f"/api/quarantine/{quarantine[0]['id']}", login)[0] == 401
    assert gateway.request("DELETE", f"/api/quarantine/{quarantine[0]['id']}")[0] == 200
    assert gateway.request("DELETE", f"/api/quarantine/{quarantine[0]['id']}")[0] == 404
    assert gateway.request("DELETE", "/api/quarantine/../uid.key")[0] == 404
    assert gateway.status()["quarantined"] == 4 and gateway.status()["received"] == 8

    settings = Settings(dicom_port=gateway.dicom_port, web_port=gateway.web_port)
    assert check(settings) == ""
    assert gateway.terminate() == 0
    assert "accepts no DICOM association" in check(settings)
    log = gateway.log.read_text()
    assert "STAND-IN" in log and "CTPSTANDIN_01" in log
    for secret in ("PROOF-", "Doe", "1.2.826", PASSWORD):
        assert secret not in log
    assert stat.S_IMODE((gateway.spool / "uid.key").stat().st_mode) == 0o600

    gateway.start()  # counters and quarantine outlive the process
    assert counted(gateway, received=8, forwarded=3, quarantined=4, deleted=1)()


def test_kill_9_loses_nothing_and_doubles_nothing(
    gateway: GatewayProcess, receiver: ReceivingScpDouble
) -> None:
    receiver.start()
    sent = [
        dataset
        for number in range(1, 5)
        for dataset in objects(number=number, slices=13, marked=False)
    ]
    gateway.start()
    senders = [SteadySender(gateway.dicom_port, sent[part::3]) for part in range(3)]
    for sender in senders:
        sender.start()
    chance = random.Random(1947)
    for kill in range(1, 4):
        goal = kill * 12 + chance.randrange(10)
        wait_until("some were forwarded", lambda goal=goal: len(receiver.objects) >= goal)
        gateway.kill()
        gateway.start()
    for sender in senders:
        sender.join(30)
        assert not sender.is_alive()
    wait_until("the queue is empty", lambda: gateway.status()["queued"] == 0)
    key = (gateway.spool / "uid.key").read_bytes().hex()
    acknowledged = {uid for sender in senders for uid in sender.acknowledged}
    assert len(acknowledged) == len(sent) == 60
    assert set(receiver.objects) == {mapped(uid, key) for uid in acknowledged}
    status = gateway.status()
    assert status["quarantined"] == 0
    assert status["received"] == status["forwarded"] >= len(sent)
    assert [path.name for path in (gateway.spool / "incoming").iterdir()] == []


def test_neighbours_that_are_away(gateway: GatewayProcess, receiver: ReceivingScpDouble) -> None:
    gateway.keys.unlink()
    gateway.start()
    sent = objects(marked=False)
    assert send(gateway.dicom_port, sent) == [0x0000] * 5
    wait_until("it waits for KeyDB", lambda: gateway.status()["waiting_for"] == "KeyDB")
    gateway.know(**KNOWN)
    wait_until("it waits for Orthanc", lambda: gateway.status()["waiting_for"] == "Orthanc")
    assert counted(gateway, queued=5, forwarded=0, healthy=True)()
    assert "Waiting for Orthanc" in gateway.request("GET", "/")[1]
    receiver.start()
    wait_until("all were forwarded", counted(gateway, forwarded=5, queued=0))
    receiver.stop()
    send(gateway.dicom_port, objects(number=2, marked=False))
    receiver.start()
    wait_until("the others too", counted(gateway, forwarded=10, queued=0, quarantined=0))
    assert len(receiver.objects) == 10
    assert gateway.terminate() == 0


def test_answers_of_orthanc(gateway: GatewayProcess, receiver: ReceivingScpDouble) -> None:
    """Refused for good goes to quarantine, refused for now is tried again."""
    tries: list[str] = []

    def answer(dataset: Dataset) -> int:
        if dataset.InstanceNumber == 1:
            return 0xC000
        if dataset.InstanceNumber == 2:
            tries.append(str(dataset.SOPInstanceUID))
            return 0xA700 if len(tries) < 3 else 0x0000
        return 0x0000

    receiver.answer = answer
    receiver.start([build_context(CTImageStorage)])
    gateway.start()
    sent = objects(marked=False)
    assert send(gateway.dicom_port, sent) == [0x0000] * 5
    wait_until("all are decided", counted(gateway, forwarded=2, quarantined=3, queued=0))
    assert len(tries) == 3
    refused = {q["sop_instance_uid"]: q["reason"] for q in gateway.status()["quarantine"]}
    assert set(refused.values()) == {"refused-by-orthanc"}
    assert set(refused) == {sent[i].SOPInstanceUID for i in (0, 3, 4)}  # 3, 4: no context


def test_an_object_that_orthanc_ends_at(
    gateway: GatewayProcess, receiver: ReceivingScpDouble
) -> None:
    receiver.ends_at = lambda dataset: dataset.get("InstanceNumber") == 1
    receiver.start()
    gateway.start()
    sent = objects(marked=False)
    assert send(gateway.dicom_port, sent) == [0x0000] * 5
    wait_until("all are decided", counted(gateway, forwarded=4, quarantined=1, queued=0))
    assert receiver.ends == 3
    (held,) = gateway.status()["quarantine"]
    assert (held["sop_instance_uid"], held["reason"]) == (
        sent[0].SOPInstanceUID,
        "refused-by-orthanc",
    )


def test_an_orthanc_that_ends_at_everything(
    gateway: GatewayProcess, receiver: ReceivingScpDouble
) -> None:
    receiver.ends_at = lambda _dataset: True
    receiver.start()
    gateway.start()
    send(gateway.dicom_port, objects(marked=False))
    wait_until("it waits for Orthanc", lambda: gateway.status()["waiting_for"] == "Orthanc")
    assert counted(gateway, queued=5, quarantined=0)()
    receiver.ends_at = lambda _dataset: False
    wait_until("all were forwarded", counted(gateway, forwarded=5, queued=0))


def test_a_full_orthanc_is_not_hurried(
    gateway: GatewayProcess, receiver: ReceivingScpDouble
) -> None:
    receiver.answer = lambda _dataset: 0xA700
    receiver.start()
    gateway.start()
    send(gateway.dicom_port, objects(marked=False, slices=5))
    wait_until("it waits for Orthanc", lambda: gateway.status()["waiting_for"] == "Orthanc")
    assert counted(gateway, queued=7, quarantined=0)()
    receiver.answer = lambda _dataset: 0x0000
    wait_until("all were forwarded", counted(gateway, forwarded=7, queued=0))


def test_quarantine_reasons(gateway: GatewayProcess, receiver: ReceivingScpDouble) -> None:
    receiver.start()
    gateway.know(**KNOWN, PROOF_BAD="a\\b")
    gateway.start()
    cases: dict[str, Dataset] = {}
    for number, reason in enumerate(
        (
            "missing-patient-id",
            "ambiguous-patient-id",
            "burned-in-annotation",
            "sop-class-not-accepted",
            "invalid-pseudonym",
            "unknown-patient",
        ),
        1,
    ):
        dataset = study(number=number, slices=1, marked=False).objects[0]
        cases[reason] = dataset
        if reason == "missing-patient-id":
            dataset.PatientID = " "
        elif reason == "ambiguous-patient-id":
            dataset.PatientID = ["PROOF-1947", "OTHER"]
        elif reason == "burned-in-annotation":
            dataset.BurnedInAnnotation = "YES"
        elif reason == "sop-class-not-accepted":
            dataset.SOPClassUID = EncapsulatedPDFStorage
        elif reason == "invalid-pseudonym":
            dataset.PatientID = "PROOF-BAD"
        else:
            dataset.PatientID = "PROOF-1948"
    send(gateway.dicom_port, [read(encode(dataset)) for dataset in cases.values()])
    wait_until("all are in quarantine", counted(gateway, quarantined=len(cases), queued=0))
    found = {q["reason"]: q["sop_instance_uid"] for q in gateway.status()["quarantine"]}
    assert found == {reason: str(ds.SOPInstanceUID) for reason, ds in cases.items()}
    for reason, dataset in cases.items():
        (path,) = (gateway.spool / "quarantine" / reason).iterdir()
        assert read(path.read_bytes()).SOPInstanceUID == dataset.SOPInstanceUID
    assert receiver.objects == {}


def test_without_space_nothing_is_acknowledged(
    tmp_path: Path, receiver: ReceivingScpDouble
) -> None:
    process = GatewayProcess(tmp_path, receiver.port, CTP_MIN_FREE_MIB="1048576")
    process.know(**KNOWN)
    if os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize >= 2**40:
        pytest.skip("more than 1 TiB is free here")
    process.start()
    try:
        statuses = send(process.dicom_port, objects(marked=False))
        assert statuses == [0xA700] * 5
        assert process.status()["received"] == 0
    finally:
        process.end()


def test_implicit_little_endian_arrives(
    gateway: GatewayProcess, receiver: ReceivingScpDouble
) -> None:
    receiver.start()
    gateway.start()
    sent = [read(encode(ds, ImplicitVRLittleEndian)) for ds in study(marked=False).objects]
    assert send(gateway.dicom_port, sent, called_aet="WHATEVER") == [0x0000] * 5
    wait_until("all were forwarded", counted(gateway, forwarded=5))
