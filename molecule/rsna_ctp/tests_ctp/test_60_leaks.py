"""Stock CTP alone: what it lets through, also when somebody breaks its files while it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pynetdicom._config
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context
from shared.ctp_node import Patient, logs, new_patient, status
from shared.machines import REPOSITORY, Node, wait_for
from shared.streams import Rest, Stream, arrived, ct_slices

FLOOD = REPOSITORY / "tests" / "marks" / "flood.py"


def send(node: Node, files: list[Path]) -> None:
    """Send files byte for byte; each must be acknowledged."""
    pynetdicom._config.STORE_SEND_CHUNKED_DATASET = True
    classes = {
        str(
            dcmread(
                file, stop_before_pixels=True, specific_tags=[]
            ).file_meta.MediaStorageSOPClassUID
        )
        for file in files
    }
    ae = AE(ae_title="PACS")
    contexts = [
        build_context(sop_class, syntax)
        for sop_class in sorted(classes)
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    ]
    association = ae.associate(node.address, 8104, ae_title="CTP", contexts=contexts)
    assert association.is_established
    for file in files:
        assert association.send_c_store(file).Status == 0, file.name
    association.release()


def flood(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FLOOD), command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_mark_of_any_element_arrives_and_every_reference_resolves(
    node: Node, orthanc: Rest, load: Callable[..., None], tmp_path: Path
) -> None:
    sent, there = tmp_path / "sent", tmp_path / "arrived"
    sent.mkdir()
    there.mkdir()
    assert flood("write", sent).returncode == 0
    summary = json.loads((sent / "summary.json").read_text())
    summary["pseudonym"] = new_patient().pseudonym
    (sent / "summary.json").write_text(json.dumps(summary))
    load(Patient(summary["patient_id"], summary["pseudonym"], summary["issuer"]))
    files = sorted(sent.glob("*.dcm"))
    send(node, files)

    query = {"Level": "Instance", "Query": {"PatientID": summary["pseudonym"]}}

    def complete() -> list[str]:
        found: list[str] = orthanc.ask("/tools/find", query)
        assert len(found) == len(files), f"{len(found)} of {len(files)} objects"
        return found

    for instance in wait_for("the study is in Orthanc", complete, 180):
        login = b64encode(f"{orthanc.user}:{orthanc.password}".encode()).decode()
        request = Request(
            f"{orthanc.url}/instances/{instance}/file", headers={"Authorization": f"Basic {login}"}
        )
        with urlopen(request, timeout=60) as answer:
            (there / f"{instance}.dcm").write_bytes(answer.read())
    judged = flood("check", sent, there)
    print(judged.stdout[-2000:])
    assert judged.returncode == 0, judged.stdout[-4000:] + judged.stderr
    assert judged.stdout.rstrip().endswith("0 problems")


def test_the_script_names_its_elements_as_this_ctp_does(node: Node) -> None:
    """It is quicker so (docs/ctp.md). Counted only, as the script holds the key of the UIDs."""
    (task,) = node.tasks("auscat_ctp")

    def count(pattern: str) -> int:
        script = "/dev/shm/ctp-8104/orthanc.anonymizer.script"
        return int(node.shell(f"docker exec {task['Id']} grep -c '^set.{pattern}' {script}"))

    assert count(r"\[PatientID\]=@always()") == 1
    assert count(r"\[[0-9a-f]*,") < 0.1 * count(r"\[")


# What opens stock CTP: an object passes as it came when its script is empty or no XML.
EDITS = {
    "empty script": ("orthanc.anonymizer.script", ""),
    "script that is no XML": ("orthanc.anonymizer.script", "<script><e en='T'"),
    "script that keeps all": ("orthanc.anonymizer.script", "<script></script>"),
    "script that is gone": ("orthanc.anonymizer.script", None),
    "filter that lets all through": ("orthanc.filter.script", "true."),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_the_live_files_lets_nothing_through(
    edit: str,
    node: Node,
    orthanc: Rest,
    ctp: Rest,
    known_patient: Callable[[], Patient],
) -> None:
    """What was under way in that second is doubtful: it is held back, and nothing is lost."""

    def held() -> set[str]:
        return {
            each["sop_instance_uid"]
            for each in status(ctp)["quarantine"]
            if each["reason"] == "residual-identifier"
        }

    def in_orthanc() -> set[str]:
        query = {"Level": "Instance", "Query": {"PatientID": patient.pseudonym}, "Expand": True}
        found = orthanc.ask("/tools/find", query)
        return {each["MainDicomTags"]["SOPInstanceUID"] for each in found}

    file, content = EDITS[edit]
    patient = known_patient()
    before = held()
    (task,) = node.tasks("auscat_ctp")
    path = f"/dev/shm/ctp-8104/{file}"
    change = f"rm -f {path}" if content is None else f"chmod u+w {path}; cat > {path}"
    with Stream(node, ct_slices(patient.patient_id, 150), senders=4) as stream:
        stream.wait(10)
        node.run(
            *("docker", "exec", "--interactive", "--user", "0", task["Id"], "sh", "-c", change),
            stdin=content or "",
            check=False,
        )
        stream.wait(150)
    node.wait_until_healthy(4)
    assert node.tasks("auscat_ctp")[0]["Id"] != task["Id"], "CTP ran on with the changed file"
    assert file in logs(node)

    def accounted() -> bool:
        """What was held back without an answer to its sender came again, and counts once."""
        there = arrived(orthanc, patient.pseudonym)
        assert max(there.values()) == 1
        doubtful = held() - before
        kept = {stream.offered[uid] for uid in doubtful if uid in stream.offered}
        others = {uid for uid in doubtful if uid not in stream.offered}
        return len(set(there) | kept) + len(others - in_orthanc()) == 150

    wait_for("each object is in Orthanc or held back", accounted)
    for mark in (patient.patient_id, "Stream^Identifiable"):
        found = node.run("grep", "-rlaF", mark, "/srv/auscat/orthanc", check=False)
        assert found.returncode == 1, f"{mark}: {found.stdout}{found.stderr}"


def test_an_object_without_name_and_id_stays_in_quarantine(
    node: Node, ctp: Rest, quarantined: Callable[[], set[str]]
) -> None:
    (image,) = ct_slices("", 1)
    del image.PatientName, image.PatientID
    with Stream(node, [image], senders=1) as stream:
        stream.wait(1)
    wait_for("it lies in quarantine", lambda: str(image.SOPInstanceUID) in quarantined())
    (held,) = (
        each
        for each in ctp.ask("/api/status")["quarantine"]
        if each["sop_instance_uid"] == str(image.SOPInstanceUID)
    )
    assert held["reason"] == "missing-patient-id"


@pytest.mark.parametrize("path", ["/environment", "/server", "/system", "/status", "/summary"])
def test_no_page_shows_a_secret(node: Node, path: str) -> None:
    password: Any = node.variables["ctp_admin_password"]
    headers = {"Authorization": "Basic " + b64encode(f"admin:{password}".encode()).decode()}
    request = Request(f"http://{node.address}:9090{path}", headers=headers)
    with urlopen(request, timeout=30) as answer:
        page = answer.read().decode("utf-8", "replace")
    assert page
    for name in ("ctp_admin_password", "keydb_ctp_password", "keydb_password"):
        assert node.variables[name] not in page, name
