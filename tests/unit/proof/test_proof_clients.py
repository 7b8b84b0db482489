"""The clients of the proof, and what its clean-up may delete, over real sockets where possible."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import ClientError, Http
from ansible_collections.auscat.imaging.plugins.module_utils.proof import dcmtk, phantom, studies
from ansible_collections.auscat.imaging.plugins.module_utils.proof import names as proof_names
from ansible_collections.auscat.imaging.plugins.module_utils.proof.checks import Report
from ansible_collections.auscat.imaging.plugins.module_utils.proof.ctp import (
    AuscatCtp,
    Quarantined,
    StatusPageCtp,
    open_ctp,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.orthanc import Orthanc
from ansible_collections.auscat.imaging.plugins.module_utils.proof.patients import (
    REMOVE_PROOFS,
    KeyDb,
)
from ansible_collections.auscat.imaging.plugins.modules import proof_arrival, proof_quarantine

TOKEN = "1234567890"

PAGES = {
    "/system": {"Version": "1.12.7"},
    "/api/status": {
        "standin": True,
        "received": 9,
        "forwarded": 1,
        "queued": 0,
        "quarantined": 2,
        "quarantine": [
            {
                "id": "a-1",
                "sop_instance_uid": proof_names.UID_ROOT + "1",
                "reason": "unknown-patient",
            },
            {"id": "b-2", "sop_instance_uid": "1.2.3", "reason": "unreadable"},
            {"id": "c-3", "sop_instance_uid": None, "reason": "unreadable"},
        ],
    },
}


class Server(ThreadingHTTPServer):
    asks_for_login = True
    deleted: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        login = "Basic " + base64.b64encode(b"admin:s3cret \xc3\xa4").decode()
        if self.server.asks_for_login and self.headers.get("Authorization") != login:
            return self.answer(401, {})
        page = PAGES.get(self.path)
        return self.answer(200 if page else 404, page or {})

    def do_DELETE(self) -> None:
        self.server.deleted.append(self.path)
        self.answer(200, {})

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.deleted = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def orthanc(server: Server) -> Orthanc:
    return Orthanc(url_of(server), "admin", "s3cret \u00e4")


def test_logins_that_are_refused(orthanc: Orthanc) -> None:
    assert orthanc.login_problems("/system") == []
    assert orthanc.version() == "1.12.7"


def test_a_server_that_lets_everybody_in(server: Server, orthanc: Orthanc) -> None:
    server.asks_for_login = False
    assert orthanc.login_problems("/system") == [
        "a wrong password was answered with status 200 instead of 401",
        "no password was answered with status 200 instead of 401",
    ]


def test_a_password_that_is_refused(server: Server) -> None:
    with pytest.raises(ClientError, match="refuses the password of admin"):
        Orthanc(url_of(server), "admin", "other").version()


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy for the way out must not be asked for a neighbour.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ClientError, match=f"{url} does not answer: .*refused") as caught:
        Http(url, "admin", "x").get("/")
    assert "docker service ls" in caught.value.remedy


def test_an_environment_with_a_proxy(orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert orthanc.version() == "1.12.7"


def test_only_objects_of_proofs_leave_the_quarantine(server: Server, orthanc: Orthanc) -> None:
    ctp = StatusPageCtp(orthanc)
    problems, seen = proof_quarantine.clean(ctp)
    assert problems == []
    assert seen.startswith("objects of proofs removed: 1;")
    assert server.deleted == ["/api/quarantine/a-1"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Quarantined("x", "1.2.3", "unknown-patient"), "not of a proof"),
        (
            Quarantined("../orthanc", proof_names.UID_ROOT + "1", "unknown-patient"),
            "odd identifier",
        ),
    ],
)
def test_what_may_not_be_removed(
    server: Server, orthanc: Orthanc, entry: Quarantined, words: str
) -> None:
    with pytest.raises(ClientError, match=words):
        StatusPageCtp(orthanc).remove(entry)
    assert server.deleted == []


def test_a_page_of_something_else(orthanc: Orthanc) -> None:
    page = StatusPageCtp(orthanc)
    page.STATUS = "/system"
    with pytest.raises(ClientError, match="is not the page of this flavour of CTP"):
        page.quarantine()


@pytest.mark.parametrize("flavour", ["standin", "rsna"])
def test_flavours_with_a_status_page(orthanc: Orthanc, flavour: str) -> None:
    assert isinstance(open_ctp(flavour, orthanc), StatusPageCtp)


class Table(StatusPageCtp):
    """A page of a CTP that reads KeyDB whenever it is looked at for the n-th time."""

    def __init__(self, answers: list[dict[str, Any] | None]) -> None:
        self.answers = answers

    def _status(self) -> dict[str, Any]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return {"quarantine": []} if answer is None else {"quarantine": [], "keydb": answer}


AGE = "age_seconds"


@pytest.mark.parametrize(
    ("answers", "passed"),
    [
        ([None], []),  # it asks KeyDB for each object: nothing to wait for, no row
        ([{AGE: 4.0}, {AGE: 5.0}, {AGE: 0.0}], [True]),
        ([{AGE: None}, {AGE: None}, {AGE: 0.0}], [True]),
        # What was read before the patient was entered does not hold the patient.
        ([{AGE: 9.0}], [False]),
        ([{AGE: None}], [False]),
    ],
)
def test_the_study_is_sent_when_ctp_can_know_the_patient(
    answers: list[dict[str, Any] | None], passed: list[bool]
) -> None:
    report = Report("cat01")
    proof_quarantine.wait_for_table(Table(answers), report, timeout=1)
    assert [check.passed for check in report.checks] == passed


class Held(Table):
    """A page with these objects in quarantine, and a login."""

    def __init__(self, held: list[Quarantined]) -> None:
        super().__init__([None])
        self.held = held

    def quarantine(self) -> list[Quarantined]:
        return self.held

    def counts(self) -> str:
        return ""

    def login_problems(self) -> list[str]:
        return []


@pytest.mark.parametrize(
    ("reason", "passed"), [("pixels-not-declared", True), ("known-patient", False), ("", False)]
)
def test_images_with_a_name_must_be_held_back_for_their_pixels(
    known: studies.Study, unknown: studies.Study, reason: str, passed: bool
) -> None:
    capture, ultrasound = known.captures
    held = [Quarantined(uid, uid, "unknown-patient") for uid in unknown.sop_instance_uids]
    uid = ultrasound.sop_instance_uid
    held.append(Quarantined(uid, uid, "pixels-not-declared"))
    if reason:
        uid = capture.sop_instance_uid
        held.append(Quarantined(uid, uid, reason))
    report = Report("cat01")
    proof_quarantine.check(Held(held), report, [known, unknown], timeout=1)
    assert [row.passed for row in report.checks] == [True, True, passed, True]
    assert unknown.captures == []
    studies = {str(each.dataset.StudyInstanceUID) for each in known.captures}
    assert len(studies | {str(known.datasets[0].StudyInstanceUID)}) == 3


@pytest.mark.parametrize(
    ("blanks", "reason", "passed"),
    [
        (True, "", [True, True]),
        (True, "pixels-not-declared", [True, False]),
        (False, "pixels-not-blanked", [True, True]),
        (False, "pixels-not-declared", [False, True]),
        (False, "", [False, True]),
    ],
)
def test_what_is_declared_to_be_blanked_is_held_back_where_nothing_blanks(
    unknown: studies.Study, blanks: bool, reason: str, passed: list[bool]
) -> None:
    region = {"x": 0, "y": 0, "width": 400, "height": 40}
    rule = {"manufacturer": "ACME", "model": "Echo", "rows": 99, "columns": 400}
    rules = [{**rule, "action": "blank", "regions": [region]}]
    known = phantom.make_study(TOKEN, True, pixel_rules=rules, blanks=blanks)
    held = [Quarantined(uid, uid, "unknown-patient") for uid in unknown.sop_instance_uids]
    uids = [each.sop_instance_uid for each in known.captures]
    held += [Quarantined(uid, uid, "pixels-not-declared") for uid in uids]
    if reason:
        uid = known.declared[0].sop_instance_uid
        held.append(Quarantined(uid, uid, reason))
    report = Report("cat01")
    proof_quarantine.check(Held(held), report, [known, unknown], timeout=0)
    assert [row.passed for row in report.checks][2:] == passed


def test_a_quarantine_that_nobody_can_look_into(server: Server, orthanc: Orthanc) -> None:
    ctp = open_ctp("auscat", orthanc)
    assert isinstance(ctp, AuscatCtp)
    report = Report("cat01")
    proof_quarantine.check_from_outside(ctp, report)
    (row,) = report.checks
    assert (row.check, row.passed) == ("CTP's page answers", True)
    assert "status 404; its quarantine cannot be looked into from outside" in row.detail
    assert server.deleted == []


def test_no_answer_of_a_page_that_nobody_can_look_into() -> None:
    report = Report("cat01")
    gone = AuscatCtp(Http("http://127.0.0.1:1", "admin", "x"))
    proof_quarantine.check_from_outside(gone, report)
    assert [row.passed for row in report.checks] == [False]


@pytest.mark.parametrize(
    ("patient_id", "pseudonym"),
    [
        ("12345", "PROOF-ANON-0123456789AB"),
        ("PROOF-1234567890-KNOWN", "ANON-1"),
        ("PROOF-1234567890-KNOWN", "ANON-'; --PROOF-ANON-0123456789AB"),
        ("PROOF-1234567890-KNOWN'; --", "PROOF-ANON-0123456789AB"),
    ],
)
def test_keydb_takes_no_other_patient(patient_id: str, pseudonym: str) -> None:
    keydb = object.__new__(KeyDb)  # no container is needed for a refusal
    with pytest.raises(ClientError, match="is no identifier of a proof"):
        keydb.add(patient_id, pseudonym)


def test_keydb_takes_the_patient_of_a_proof_under_any_prefix() -> None:
    said: list[str] = []
    keydb = object.__new__(KeyDb)
    keydb._table = '"patient"'
    keydb._run = lambda sql: said.append(sql) or []  # type: ignore[func-returns-value]
    for prefix in ("", "ANON-"):
        keydb.add(
            proof_names.patient_identifier(TOKEN, True), proof_names.pseudonym_of(TOKEN, prefix)
        )
    keydb.remove_all()
    assert [sql.split()[0] for sql in said] == ["INSERT", "INSERT", "DELETE"]
    assert said[2] == REMOVE_PROOFS.format(table='"patient"')


class Archive(Orthanc):
    """Orthanc with a few instances in memory."""

    def __init__(self, files: dict[str, bytes], patients: dict[str, str]) -> None:
        super().__init__("http://archive.invalid", "admin", "x")
        self.files = files
        self.patients = patients
        self.studies = {name: name.partition("-")[0] for name in files}
        self.new = [name for name in files if not name.endswith("old")]
        self.deleted: list[str] = []

    def find(self, level: str, query: dict[str, str]) -> list[str]:
        # It matches too much, as a server with another idea of wildcards would.
        return list(self.patients) if level == "Patient" else []

    def resource(self, collection: str, identifier: str) -> dict[str, Any] | None:
        if collection == "patients":
            return {"MainDicomTags": {"PatientID": self.patients[identifier]}}
        return {"FileSize": len(self.files[identifier])}

    def new_instances(self, since: int) -> list[str]:
        return self.new

    def instance_file(self, identifier: str) -> bytes | None:
        return self.files[identifier]

    def send(self, method: str, path: str, *_: Any, **__: Any) -> tuple[int, bytes]:
        if method == "DELETE":
            self.deleted.append(path)
            return 200, b""
        study = self.studies[path.split("/")[2]]
        return 200, json.dumps({"ID": study}).encode()

    def get(self, path: str) -> bytes:
        study = path.split("/")[2]
        return json.dumps([{"ID": n} for n, s in self.studies.items() if s == study]).encode()


@pytest.mark.parametrize(
    ("names", "deleted"),
    [
        (["s1-other"], []),
        # The images show whose study it is; what came with them goes with them.
        (["s1-image", "s1-other"], ["/studies/s1"]),
        # Somebody's older study is not deleted because an image of the proof strayed into it.
        (["s1-image", "s1-old"], ["/instances/s1-image"]),
    ],
)
def test_strays_are_deleted_and_nothing_else(
    known: studies.Study, unknown: studies.Study, names: list[str], deleted: list[str]
) -> None:
    image = b"header" + bytes(unknown.datasets[0].PixelData) + b"trailer"
    files = {name: image if name.endswith("image") else b"somebody else's" for name in names}
    archive = Archive(files, patients={})
    proof_arrival.clean(archive, [known, unknown], since=0)
    assert archive.deleted == deleted


def test_a_stray_of_a_large_declared_image_is_found() -> None:
    size = {"rows": 2100, "columns": 2000}
    banner = {"x": 0, "y": 0, "width": 2000, "height": 48}
    rule = {"manufacturer": "ACME", "model": "Echo", "action": "blank", "regions": [banner], **size}
    study = phantom.make_study(TOKEN, True, pixel_rules=[rule])
    image = b"header" + bytes(study.declared[0].dataset.PixelData)
    archive = Archive({"s1-image": image, "s2-other": b"somebody else's"}, patients={})
    assert proof_arrival.find_strays(archive, 0, [study], []) == (["s1-image"], 2, 2)


def test_only_patients_of_proofs_are_deleted(known: studies.Study, unknown: studies.Study) -> None:
    patients = {
        "p1": "PROOF-1234567890-UNKNOWN",  # a gateway that lets everything through
        "p2": known.pseudonym,
        "p3": proof_names.pseudonym_of("1987654321", "TRIAL-7."),  # of an earlier proof
        "q1": "ANON-PROOF-1",
        "q2": "",
        # Made by KeyDB where the prefix is an odd one.
        "q3": "PROOF-9Z3M4N5P6Q7R8S2T",
        "q4": "PROOF-ANON-9Z3M4N5P6Q7R8S2T",
    }
    archive = Archive({}, patients=patients)
    assert proof_arrival.clean(archive, [known, unknown], since=-1)[0] == []
    assert archive.deleted == ["/patients/p1", "/patients/p2", "/patients/p3"]


needs_dcmtk = pytest.mark.skipif(
    shutil.which("dcmsend", path=dcmtk.SYSTEM_PATH) is None
    or shutil.which("storescp", path=dcmtk.SYSTEM_PATH) is None,
    reason="dcmtk is not installed",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@needs_dcmtk
def test_dcmtk_delivers_the_study(known: studies.Study, tmp_path: Path) -> None:
    sent, received = tmp_path / "sent", tmp_path / "received"
    sent.mkdir()
    received.mkdir()
    phantom.write_study(known, sent)
    port = free_port()
    storescp = shutil.which("storescp", path=dcmtk.SYSTEM_PATH)
    with subprocess.Popen([str(storescp), "-od", str(received), str(port)]) as receiver:
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, "storescp did not listen within 10 s"
                    time.sleep(0.05)
            assert dcmtk.send_files("127.0.0.1", port, "PROOF", "CTP", sent) == 8
        finally:
            receiver.terminate()
    assert sorted(file.name.partition(".")[2] for file in received.iterdir()) == sorted(
        known.sop_instance_uids
    )
    assert sorted(tmp_path.iterdir()) == [received, sent], "dcmsend's report was left behind"


@needs_dcmtk
def test_a_receiver_that_is_not_there(known: studies.Study, tmp_path: Path) -> None:
    phantom.write_object(known.datasets[0], tmp_path / "1.dcm")
    with pytest.raises(ClientError, match="Connection refused"):
        dcmtk.send_files("127.0.0.1", free_port(), "PROOF", "CTP", tmp_path)


def test_a_program_that_is_not_installed() -> None:
    with pytest.raises(ClientError, match="is not installed on this host"):
        dcmtk.tool("no-such-program")
