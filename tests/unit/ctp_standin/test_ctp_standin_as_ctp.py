"""In CTP's place: the files that are rendered for stock CTP, and CTP's own addresses."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ctp_standin.ctp_files import digest, read_login, read_plan
from ctp_standin_as_ctp import KEY, SCRIPT, CtpDirectory, mapped, pipeline, server
from ctp_standin_doubles import (
    PASSWORD,
    Process,
    ReceivingScpDouble,
    SteadySender,
    free_port,
    send,
    wait_until,
)
from ctp_standin_study import encode, marked_study, read, study
from program_settings import SettingsError
from pydicom.dataset import Dataset

KNOWN = "PatientID/PROOF-1947|=PROOF-PSEUDONYM\n"


@pytest.fixture
def receiver() -> Iterator[ReceivingScpDouble]:
    double = ReceivingScpDouble()
    yield double
    double.stop()


@pytest.fixture
def ctp(tmp_path: Path, receiver: ReceivingScpDouble) -> CtpDirectory:
    directory = CtpDirectory(tmp_path, receiver.port)
    directory.know(KNOWN)
    return directory


@pytest.fixture
def process(ctp: CtpDirectory) -> Iterator[Process]:
    running = ctp.process()
    yield running
    running.end()


def objects(patient_id: str = "PROOF-1947", number: int = 1, slices: int = 3) -> list[Dataset]:
    found = study(patient_id, slices=slices, number=number, marked=False)
    return [read(encode(dataset)) for dataset in found.objects]


def counted(process: Process, **expected: int) -> Callable[[], bool]:
    return lambda: expected.items() <= process.status().items()


def test_a_study_passes_and_an_unknown_patient_stays(
    ctp: CtpDirectory, process: Process, receiver: ReceivingScpDouble
) -> None:
    receiver.start()
    process.start()
    known = [read(encode(dataset)) for dataset in marked_study().objects]
    for dataset in known:
        dataset.IssuerOfPatientID = ""  # it is in KeyDB without one
    unknown = objects("PROOF-UNKNOWN", 2)
    port = ctp.dicom_ports[0]
    assert send(port, [*known, *unknown]) == [0x0000] * 8
    wait_until("all are where they belong", counted(process, forwarded=3, quarantined=5, queued=0))
    assert {ds.PatientID for ds in receiver.objects.values()} == {"PROOF-PSEUDONYM"}
    # The key is that of CTP's script, so that parallel pipelines agree.
    assert set(receiver.objects) == {mapped(ds.SOPInstanceUID) for ds in known}
    quarantine = ctp.quarantine("anonymizer")
    files = sorted(quarantine.iterdir())
    assert len(files) == 5 and all(".unknown-patient.dcm" in path.name for path in files)
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(quarantine.stat().st_mode) == 0o700
    code, page = process.request("GET", "/")
    assert code == 200 and "STAND-IN" in page and str(quarantine) in page
    assert process.request("GET", "/ping", None)[0] == 200
    assert not process.request("GET", "/ping", None)[1][0].isdigit()
    assert process.request("GET", "/ping")[1][0].isdigit()
    listed = process.request("GET", "/quarantines")[1]
    assert re.findall(r"\?p=(\d)&amp;s=(\d)", listed) == [("0", s) for s in "0123"]
    for login in (None, "admin:wrong", "nobody:x", f"king:{PASSWORD}", "admin"):
        assert process.request("GET", "/", login)[0] == 401
        assert process.request("GET", "/quarantines/queueAll?p=0&s=1", login)[0] == 401
    assert process.request("GET", "/quarantines/queueAll?p=0&s=1", f"guest:{PASSWORD}")[0] == 403
    for query in ("p=1&s=1", "p=0&s=7", "p=0", "p=-1&s=-1"):
        assert process.request("GET", f"/quarantines/queueAll?{query}")[0] == 404

    one = f"/quarantines/deleteFile?p=0&s=1&filename={files[0].name}"
    for name in ("Referer", "Origin", "Cookie", "Sec-Fetch-Site", "Accept-Language"):
        assert process.request("GET", one, headers={name: "http://other.example/"})[0] == 403
    assert process.request("HEAD", one)[0] == 403
    assert process.request("POST", one)[0] == 501
    assert counted(process, quarantined=5)() and files[0].exists()

    assert process.request("GET", "/quarantines/queueAll?p=0&s=2")[0] == 200  # another stage
    assert counted(process, quarantined=5)()
    assert process.request("GET", one)[0] == 200
    assert counted(process, quarantined=4, deleted=1)() and not files[0].exists()
    ctp.know(KNOWN + "PatientID/PROOF-UNKNOWN| = PROOF-OTHER\n")
    one = f"/quarantines/queueFile?p=0&s=1&filename={files[1].name}"
    assert process.request("GET", one)[0] == 200
    wait_until("one was released", counted(process, forwarded=4, quarantined=3))
    assert process.request("GET", "/quarantines/queueAll?p=0&s=1")[0] == 200
    wait_until("all were released", counted(process, forwarded=7, quarantined=0, received=8))
    # What was cut short is put there by who recovers for CTP.
    cut = ctp.quarantine("import") / "TQ-00000000000000000001.dcm"
    cut.write_bytes(b"x")
    one = f"/quarantines/deleteFile?p=0&s=0&filename={cut.name}"
    assert process.request("GET", one)[0] == 200
    assert counted(process, deleted=2)() and not cut.exists()

    assert process.terminate() == 0
    log = process.log.read_text()
    for secret in ("PROOF-", "Doe", "1.2.826", PASSWORD, KEY):
        assert secret not in log
    process.start()  # counters outlive the process
    assert counted(process, received=9, forwarded=7, deleted=2)()


def test_two_pipelines_are_one_node(tmp_path: Path, receiver: ReceivingScpDouble) -> None:
    ctp = CtpDirectory(tmp_path, receiver.port, pipelines=2)
    ctp.know(KNOWN)
    receiver.start()
    process = ctp.process().start()
    try:
        sent = objects()
        send(ctp.dicom_ports[0], sent[:2])
        send(ctp.dicom_ports[1], [*sent[2:], *objects("PROOF-UNKNOWN", 2)])
        wait_until("both worked", counted(process, received=10, forwarded=5, quarantined=5))
        assert set(receiver.objects) == {mapped(ds.SOPInstanceUID) for ds in sent}
        process.request("GET", "/quarantines/queueAll?p=0&s=1")
        assert len(list(ctp.quarantine("anonymizer", "orthanc-2").iterdir())) == 5
        assert "2 entries" not in process.log.read_text()
    finally:
        process.end()


def test_a_shutdown_as_ctp_takes_it(
    ctp: CtpDirectory, process: Process, receiver: ReceivingScpDouble
) -> None:
    receiver.start()
    process.start()
    sent = [ds for number in range(1, 5) for ds in objects(number=number, slices=8)]
    senders = [SteadySender(ctp.dicom_ports[0], sent[part::4]) for part in range(4)]
    assert process.request("GET", "/shutdown", None)[0] == 401  # without the header
    for sender in senders:
        sender.start()
    for goal in (5, 15):
        wait_until("some were forwarded", lambda goal=goal: len(receiver.objects) >= goal)
        began = time.monotonic()
        answer = process.request("GET", "/shutdown", None, {"servicemanager": "exit"})
        assert answer == (200, "Goodbye.\n")
        assert process.wait() == 0
        assert time.monotonic() - began < 10
        process.start()
    for sender in senders:
        sender.join(30)
        assert not sender.is_alive()
    wait_until("the queue is empty", counted(process, queued=0, quarantined=0))
    acknowledged = {uid for sender in senders for uid in sender.acknowledged}
    assert len(acknowledged) == len(sent) == 40
    assert set(receiver.objects) == {mapped(uid) for uid in acknowledged}


@pytest.mark.parametrize(
    "broken",
    ["", "<script>", "<script/>", '<script><e en="F" t="00100020">x</e></script>', "@@UID_KEY@@"],
)
def test_a_script_that_breaks_lets_nothing_through(
    ctp: CtpDirectory, process: Process, receiver: ReceivingScpDouble, broken: str
) -> None:
    receiver.start()
    process.start()
    text = SCRIPT.replace(KEY, broken) if "@@" in broken else broken
    (ctp.work / "a.script").write_text(text)
    sent = objects(slices=1)
    send(ctp.dicom_ports[0], sent)
    wait_until("all are kept", counted(process, quarantined=3, queued=0))
    assert receiver.objects == {} and len(list(ctp.quarantine("anonymizer").iterdir())) == 3
    (ctp.work / "a.script").write_text(SCRIPT)
    process.request("GET", "/quarantines/queueAll?p=0&s=1")
    wait_until("all pass", counted(process, forwarded=3, quarantined=0))


@pytest.mark.parametrize(
    "broken", ["", "true.", "PatientID.startsWith(", 'PatientID.startsWith("OTHER-")']
)
def test_a_filter_that_breaks_lets_nothing_through(
    ctp: CtpDirectory, process: Process, receiver: ReceivingScpDouble, broken: str
) -> None:
    receiver.start()
    process.start()
    (ctp.work / "f.script").write_text(broken)
    send(ctp.dicom_ports[0], objects(slices=1))
    wait_until("all are kept", counted(process, quarantined=3, queued=0))
    assert receiver.objects == {} and len(list(ctp.quarantine("filter").iterdir())) == 3


def test_what_was_left_in_active_is_taken_up(
    ctp: CtpDirectory, process: Process, receiver: ReceivingScpDouble
) -> None:
    active, temp = (ctp.root("import") / name for name in ("active", "temp"))
    active.mkdir(parents=True)
    temp.mkdir()
    whole = encode(study(marked=False).slices[0])
    (active / "TMP-1.dcm").write_bytes(whole)
    (active / "TMP-2.dcm").write_bytes(whole[:300])
    (temp / "TMP-3.dcm").write_bytes(whole)  # CTP's own: not this program's to judge
    recovered = ctp.root("import") / "queue" / "!recovered"
    recovered.mkdir(parents=True)
    slices = [encode(dataset) for dataset in study(marked=False).slices[1:]]
    (recovered / "QR-1.dcm").write_bytes(slices[0])
    receiver.start()
    process.start()
    wait_until("all are decided", counted(process, forwarded=2, quarantined=1, queued=0))
    assert list(active.iterdir()) == [] and (temp / "TMP-3.dcm").exists()
    (recovered / "QR-2.dcm").write_bytes(slices[1])  # while it runs, as CTP would serve it
    wait_until("that one too", counted(process, forwarded=3, received=4))
    assert len(receiver.objects) == 3


def test_ae_titles_are_refused_so_that_the_sender_sees_it(
    ctp: CtpDirectory, process: Process, receiver: ReceivingScpDouble
) -> None:
    accept = '<accept calledAET="CTP"/><accept calledAET="OTHER"/>'
    port = ctp.dicom_ports[0]
    ctp.config(server(ctp.web_port), pipeline("orthanc-1", ctp.data, port, receiver.port, accept))
    receiver.start()
    process.start()
    sent = objects(slices=1)
    assert send(port, sent, called_aet="WRONG") == [0x0124] * 3
    assert send(port, sent, called_aet="OTHER") == [0x0000] * 3
    wait_until("they are forwarded", counted(process, received=3, forwarded=3))


def refused(ctp: CtpDirectory) -> str:
    with pytest.raises(SettingsError) as found:
        read_plan(ctp.work)
    return str(found.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('requireAuthentication="yes"', ""), "its pages would be open"),
        (("<Server", "<Other"), "it has no Server"),
        (('script="a.script"', ""), "the anonymizer of orthanc-1 has no script"),
        (('script="a.script"', 'script="absent"'), "absent is no anonymizer script"),
        (('script="a.script"', 'script="a.script" dicomScript="x"'), "dicomScript"),
        (('script="f.script"', ""), "the filter of orthanc-1 has no script"),
        (('script="f.script"', 'script="absent"'), "absent is no safety filter"),
        (("dicom://ORTHANC:CTP@", "dicom://ORTHANC@"), "is not dicom://CALLED:CALLING@host:port"),
        (("stdstages.DicomFilter", "stdstages.IDMap"), "'IDMap', which is unknown"),
        (("quarantine=", "other="), "the import stage of orthanc-1 has no quarantine"),
        (("root=", "other="), "the import stage of orthanc-1 has no root"),
        (('ip="127.0.0.1" port="', 'port="x'), "is no port"),
        (("</Configuration>", ""), "cannot be read as XML"),
        (
            ("</DicomImportService>", '<reject calledAET="X"/></DicomImportService>'),
            "the import has reject with ['calledAET']",
        ),
    ],
)
def test_a_configuration_that_ctp_would_fail_open_on_is_refused(
    ctp: CtpDirectory, change: tuple[str, str], message: str
) -> None:
    config = ctp.work / "config.xml"
    before = config.read_text()
    assert change[0] in before
    config.write_text(before.replace(*change))
    assert message in refused(ctp)


def test_no_pipeline_and_no_users_are_refused(ctp: CtpDirectory) -> None:
    ctp.config(server(free_port()))
    assert "it has no Pipeline" in refused(ctp)
    (ctp.work / "users.xml").unlink()
    with pytest.raises(SettingsError, match=r"users\.xml cannot be read"):
        read_login(ctp.work / "users.xml")
    (ctp.work / "users.xml").write_text('<users><user username="x" password="y"/></users>')
    with pytest.raises(SettingsError, match="no user with the role admin or qadmin"):
        read_login(ctp.work / "users.xml")


def test_a_start_that_is_refused_touches_nothing(ctp: CtpDirectory, process: Process) -> None:
    (ctp.work / "f.script").write_text("true.")
    process.launch()
    assert process.wait() == 2
    assert "cannot start" in process.log.read_text()
    assert sorted(path.name for path in ctp.data.iterdir()) == ["t"]


def test_users_as_ctp_knows_them(tmp_path: Path) -> None:
    # The decimal number is that of "password", computed by hand from its well-known MD5.
    assert digest("password") == str(int("5f4dcc3b5aa765d61d8327deb882cf99", 16))
    path = tmp_path / "users.xml"
    path.write_text(
        '<users><user username="admin" password="a:b"><role>admin</role></user>'
        '<user username="q" password="plain"><role>qadmin</role></user></users>'
    )
    login = read_login(path)
    assert login("q", "plain") == {"qadmin"} and login("q", "") is None
    assert login("admin", "a:b") is None  # as in CTP
