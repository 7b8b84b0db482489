"""Stock CTP alone: what it lets through, also when somebody breaks its files while it runs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

import pytest
from shared.ctp_node import Patient, logs, status
from shared.https import trusting, url
from shared.machines import Node, wait_for
from shared.streams import Rest, Stream, arrived, ct_slices


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
        # As CTP's own user: root in this container has no capability, so less than that.
        node.run(
            *("docker", "exec", "--interactive", task["Id"], "sh", "-c", change),
            stdin=content or "",
        )
        stream.wait(150)
    node.wait_until_healthy(6)
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
    request = Request(f"{url(node, 9090)}{path}", headers=headers)
    with urlopen(request, timeout=30, context=trusting(node)) as answer:
        page = answer.read().decode("utf-8", "replace")
    assert page
    for name in ("ctp_admin_password", "keydb_ctp_password", "keydb_password"):
        assert node.variables[name] not in page, name
