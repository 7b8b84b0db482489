"""The supervisor as a process, with the stand-in or stock CTP behind it: the account of a study.

KeyDB is not there: the lookup table of before is used, as in production. What stores is a real
DICOM implementation (pynetdicom), but it is not Orthanc.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.care.studies import (
    names_report,
    study_report,
)
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import config as ctp_config
from ports import free_port
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RTStructureSetStorage,
    generate_uid,
)
from pynetdicom import AE, build_context, evt

IMAGES = Path(__file__).resolve().parents[3] / "images"
DISTRIBUTION = Path(os.environ.get("CTP_DISTRIBUTION") or "/nonexistent") / "CTP"
PASSWORD = "a-password-for-tests"
PATIENT, PSEUDONYM = "HOSP-4711", "ANON-0815"
# What it waits for KeyDB, and what it takes an object for lost, are not what is tested.
START = """
import os, sys
from ctp_supervisor import __main__, supervisor
supervisor.FIRST_TABLE_SECONDS = 0.1
status = __main__.main([])
sys.stdout.flush()
os._exit(status)
"""


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return found


class Node:
    """The files of a node with one pipeline, and its processes."""

    def __init__(self, directory: Path, engine: str) -> None:
        self.directory, self.engine = directory, engine
        self.data, self.log = directory / "data", directory / "log"
        self.arrived: set[str] = set()
        self.names: list[list[str]] = []
        """ROI names of each structure set that arrived."""
        for name in ("data", "etc", "secrets", "shm"):
            (directory / name).mkdir()
        self.distribution = DISTRIBUTION
        if engine == "standin":
            self.distribution = directory / "ctp"
            self.distribution.mkdir()
            parts = (
                "ctp_standin/src/ctp_standin",
                "shared/ctp_rules",
                "shared/whole_files",
                "shared/program_settings",
            )
            for package in parts:
                source = IMAGES / package
                (self.distribution / source.name).symlink_to(source)
        for name, value in (
            ("keydb_user", "ctp"),
            ("keydb_pass", "none"),
            ("ctp_admin_pass", PASSWORD),
        ):
            (directory / "secrets" / name).write_text(value)
        self.store = self._store()
        self.port, self.web = free_port(), free_port()
        self._render()
        self.process: subprocess.Popen[bytes] | None = None
        self.latest = ""

    def _store(self) -> Any:
        def stored(event: evt.Event) -> int:
            request: Any = event.request
            self.arrived.add(str(request.AffectedSOPInstanceUID))
            if request.AffectedSOPClassUID == RTStructureSetStorage:
                rois = event.dataset.StructureSetROISequence
                self.names.append([str(each.ROIName) for each in rois])
            return 0

        syntaxes: list[Any] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        return AE("ORTHANC").start_server(
            ("127.0.0.1", 0),
            block=False,
            contexts=[
                build_context(each, syntaxes) for each in (CTImageStorage, RTStructureSetStorage)
            ],
            evt_handlers=[(evt.EVT_C_STORE, stored)],
        )

    def _render(self) -> None:
        files = ctp_config.files(
            {
                "ctp_distribution": self.engine,
                "ctp_pipelines": [{"name": "orthanc"}],
                "ctp_deidentification": {},
                "ctp_pixel_rules": [],
                "ctp_pseudonym_prefixes": ["ANON-"],
                "ctp_issuers": [""],
                "ctp_heap_mib": 256,
                "ctp_memory_mib": 1024,
                "ctp_minimum_free_mib": 1,
                "auscat_largest_object_mib": 200,
                "ctp_account_days": 90,
                "ctp_account_quiet_minutes": 1,
                "ctp_sync_before_acknowledge": True,
                "ctp_forwarded": False,
                "ctp_stop_seconds": 20,
                "ctp_orthanc_hostname": "127.0.0.1",
                "ctp_orthanc_port": self.store.server_address[1],
                "ctp_orthanc_aet": "ORTHANC",
                "ctp_aet": "CTP",
                "ctp_keydb_query": "",
                "ctp_admin_password_has_colon": False,
            }
        )
        ports = {"8104": self.port, "9090": self.web}
        ports |= {each: free_port() for each in ("9080", "8201", "8301")}
        for name, text in files.items():
            text = text.replace("/ctp_temp", str(self.data))
            if name in ("config.xml", "supervisor.json"):
                # In one pass: one of the new ports may hold an old one.
                text = re.sub("|".join(ports), lambda found: str(ports[found[0]]), text)
            if name == "supervisor.json":
                rendered = json.loads(text)
                rendered["keydb"].update(host="127.0.0.1", port=1)
                text = json.dumps(rendered)
            (self.directory / "etc" / name).write_text(text)
        table = Path(
            json.loads((self.directory / "etc/supervisor.json").read_text())["lookup_table"]
        )
        table.write_text(f"PatientID/{PATIENT}|={PSEUDONYM}\n")

    def start(self) -> Node:
        path = os.pathsep.join([str(IMAGES / "ctp_rsna/src"), str(IMAGES / "shared")])
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START],
                env={
                    **{"PATH": "/usr/bin:/bin", "HOME": str(self.directory), "PYTHONPATH": path},
                    "CTP_CONFIGURATION_DIRECTORY": str(self.directory / "etc"),
                    "CTP_DISTRIBUTION_DIRECTORY": str(self.distribution),
                    "CTP_SECRETS_DIRECTORY": str(self.directory / "secrets"),
                    "CTP_MEMORY_DIRECTORY": str(self.directory / "shm"),
                    "CTP_BIND_ADDRESS": "127.0.0.1",
                },
                stdout=log,
                stderr=log,
            )
        wait_for("reception is open", self._open, 120)
        return self

    def _open(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(self.ask("/api/status")[1]["reception"] == "open")
        except OSError:
            return False

    def end(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)

    def ask(self, path: str, body: Any = None, method: str = "GET") -> tuple[int, Any]:
        login = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.web}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method if body is None else "POST",
            headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def study(self, **question: Any) -> dict[str, Any]:
        code, answer = self.ask("/api/study", question)
        assert code == 200, answer
        assert len(answer["studies"]) == 1, answer
        assert answer["problem"] == ""
        found: dict[str, Any] = answer["studies"][0]
        return found

    def associate(self) -> Any:
        ae = AE("PACS")
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        ae.add_requested_context(RTStructureSetStorage, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", self.port, ae_title="CTP")
        assert association.is_established
        return association

    def send(self, *objects: Dataset) -> None:
        association = self.associate()
        for each in objects:
            assert association.send_c_store(each).Status == 0
        association.release()

    def break_off(self, whole: Dataset, broken: Dataset) -> None:
        """Send one object, and of another about a half."""
        association = self.associate()
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


def image(study: str, series: str, **more: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientID, dataset.PatientName = PATIENT, "Doe^Jane"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = 512
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = bytes(512 * 512 * 2)
    dataset["PixelData"].VR = "OW"
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return dataset


def structure_set(study: str, *names: tuple[str, str]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    dataset.Modality, dataset.PatientID, dataset.PatientName = "RTSTRUCT", PATIENT, "Doe^Jane"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, generate_uid()
    dataset.StructureSetROISequence = []
    for number, name in names:
        item = Dataset()
        item.ROINumber, item.ROIName = number, name
        dataset.StructureSetROISequence.append(item)
    return dataset


@pytest.fixture(
    params=[
        "standin",
        pytest.param(
            "ctp",
            marks=[
                pytest.mark.stock_ctp,
                pytest.mark.skipif(
                    not DISTRIBUTION.is_dir() or not shutil.which("java"),
                    reason="no CTP distribution that is a directory, or no Java",
                ),
            ],
        ),
    ]
)
def node(tmp_path: Path, request: Any) -> Iterator[Node]:
    found = Node(tmp_path, request.param)
    found.start()
    yield found
    found.end()
    found.store.shutdown()


def test_three_series_one_held_back_one_broken_off_one_complete(node: Node) -> None:
    study, whole, held, broken = (generate_uid() for _ in range(4))
    good = [image(study, whole) for _ in range(3)]
    bad = image(study, held, BurnedInAnnotation="YES")
    cut = [image(study, broken), image(study, broken, Rows=2048, PixelData=bytes(2 * 2048 * 512))]
    node.send(*good, image(study, held), bad)
    node.break_off(*cut)

    def where() -> list[tuple[str, int, int, dict[str, int], int]]:
        return sorted(
            (each["state"], each["received"], each["left"], each["held"], each["broken"])
            for each in node.study(identifier=study)["series"]
        )

    reason = "burned-in-annotation"
    expected = [
        ("arriving", 3, 3, {}, 0),
        ("broken off", 1, 1, {}, 1),
        ("held back", 2, 1, {reason: 1}, 0),
    ]
    try:
        wait_for("all are where they belong", lambda: where() == expected)
    except AssertionError:
        raise AssertionError(f"{where()}\n{node.log.read_text()}") from None
    answer = node.study(identifier=study)
    assert answer["pseudonyms"] == [PSEUDONYM] and not answer["complete"]
    for question in ({"identifier": PATIENT}, {"pseudonym": PSEUDONYM}, {"study": answer["study"]}):
        assert node.study(**question)["study"] == answer["study"], question
    assert len(node.arrived) == 5

    text = study_report([node.ask("/api/study", {"identifier": study})[1]])
    assert "NOT COMPLETE" in text
    assert "MISSING  series " in text and "-> Have the sender send the series again." in text
    for secret in (study, whole, PATIENT, "Doe", bad.SOPInstanceUID):
        assert secret not in text + node.log.read_text()

    # CTP's own rules hold that one back: no release gets it further, so none is tried.
    lies = [each["id"] for each in node.ask("/api/status")[1]["quarantine"]]
    assert node.ask("/api/quarantine/release", {}) == (200, {"released": 0, "left": {reason: 1}})
    (detail,) = node.ask("/api/quarantine")[1]["quarantine"]
    assert ([detail["id"]], detail["reason"], detail["why"], detail["releasable"]) == (
        *(lies, reason, "(0028,0301)", False),
    )
    assert (node.data / detail["file"]).is_file()

    # Killed, and started again: nothing of it is forgotten.
    node.end()
    node.start()
    wait_for(
        "the account is as before", lambda: [e[1:] for e in where()] == [e[1:] for e in expected]
    )
    database = node.data / "account.sqlite"
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    for path in node.data.glob("account.*"):
        for secret in (study, whole, PATIENT, "Doe", bad.SOPInstanceUID):
            assert secret.encode() not in path.read_bytes(), path

    # Sent again, and removed from quarantine: nothing is to be done any more.
    node.send(*cut)
    # Stock CTP that was killed leaves half of what broke off, which the start puts in quarantine.
    listed = node.ask("/api/status")[1]["quarantine"]
    (object_id,) = [each["id"] for each in listed if each["reason"] != "unreadable"]
    assert node.ask(f"/api/quarantine/{object_id}", method="DELETE")[0] == 200
    settled = [(2, 1, 1, 0), (2, 2, 0, 0), (3, 3, 0, 0)]

    def counted() -> bool:
        found = sorted(
            (each["received"], each["left"], each["deleted"], each["broken"])
            for each in node.study(identifier=study)["series"]
        )
        node.latest = f"{found}\n{node.log.read_text()}"
        return found == settled

    try:
        wait_for("what was cut has left", counted)
    except AssertionError:
        raise AssertionError(node.latest) from None
    # A connection that is just closed may have been meant to bring more.
    single = image(generate_uid(), generate_uid())
    association = node.associate()
    assert association.send_c_store(single).Status == 0
    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)

    def unfinished() -> bool:
        found = node.study(identifier=str(single.StudyInstanceUID))
        return bool(found["state"] == "broken off" and found["left"] == found["received"] == 1)

    wait_for("it is not called complete", unfinished)
    node.send(single)

    def all_arriving() -> bool:
        shown = node.ask("/api/status")[1]
        told = shown["studies"]
        return (told["arriving"], told["incomplete"], shown["mixed_studies"]) == (2, 0, 0)

    wait_for("both have what was missing", all_arriving)
    node.send(image(study, whole, PatientID="HOSP-OTHER"))
    wait_for("it is mixed", lambda: node.ask("/api/status")[1]["mixed_studies"] == 1)


def test_questions_and_names_of_structures(node: Node) -> None:
    """One start for both, since each takes seconds."""
    questions_that_cannot_be_are_refused(node)
    study = generate_uid()
    own = ("1", "Heart"), ("2", "Doe's node"), ("3", "Körper"), ("4", "PTV_5040"), ("5", "ROI 2")
    node.send(structure_set(study, *own), structure_set(study, ("7", "Doe"), ("7", "Roe")))
    wait_for("one is held back", lambda: node.study(identifier=study)["held"])
    wait_for("the other has left", lambda: node.study(identifier=study)["left"])
    assert node.names == [["Heart", "ROI 2", "ROI 3", "PTV_5040", "ROI 5"]]
    assert node.study(identifier=study)["held"] == {"incomplete": 1}

    code, answer = node.ask("/api/names", {"identifier": study})
    assert code == 200
    (shown,) = answer["studies"]
    (told,) = shown["objects"]
    assert [(each["was"], each["is"]) for each in told["names"]] == [
        *(("Doe's node", "ROI 2"), ("Körper", "ROI 3"), ("ROI 2", "ROI 5"))
    ]
    assert {told["object"]} == node.arrived
    text = names_report([answer])
    assert "Doe's node" in text and PSEUDONYM in text and told["object"] in text
    assert node.ask("/api/names", {"identifier": PATIENT})[1]["studies"] == answer["studies"]
    for secret in ("Doe", "Roe", "rper", study, PATIENT):
        assert secret not in node.log.read_text()
        for path in ("/api/status", "/api/quarantine"):
            assert secret not in json.dumps(node.ask(path)[1])


def questions_that_cannot_be_are_refused(node: Node) -> None:
    bodies: list[Any] = [None, [], "x", {}, {"identifier": ""}, {"identifier": 4711}]
    bodies += [{"still": "yes"}, {"identifier": "a", "study": "b"}, {"patient": "4711"}]
    for body in bodies:
        code, text = node.ask("/api/study", body, method="POST")
        assert code == 400 and "4711" not in text, body
    assert node.ask("/api/study")[0] == 404
    assert node.ask("/api/study", {"still": True})[1]["studies"] == []
    assert node.ask("/api/study", {"identifier": "1.2.3"})[1]["studies"] == []
