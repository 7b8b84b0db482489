"""Nothing identified gets into the archive, whatever the way; and an Orthanc without guard ends."""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from conftest import Cohort, passwords
from pydicom.dataset import Dataset
from shared.https import trusting
from shared.machines import Node, wait_for
from shared.streams import Rest, page
from shared.studies import make_study

CODES = ("113100", "113104")
PREFIX = "ANON-"


@pytest.fixture(scope="module")
def orthanc(node: Node, cohort: Cohort) -> Rest:
    """Orthanc as its admin sees it, with studies in it."""
    return page(node, 8042, "admin", passwords(node)["admin"])


def marked(dataset: Dataset) -> None:
    """Give an object the marks that CTP gives."""
    dataset.PatientID = dataset.PatientName = f"{PREFIX}MARKED"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "AusCAT imaging: PS3.15 Basic Profile, only listed values kept"
    items = []
    for code in CODES:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", "x"
        items.append(item)
    dataset.DeidentificationMethodCodeSequence = items


def without(*keywords: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        marked(dataset)
        for keyword in keywords:
            delattr(dataset, keyword)

    return change


def but(**values: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        marked(dataset)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


IDENTIFIED: dict[str, Callable[[Dataset], None]] = {
    "as it comes from a PACS": lambda dataset: None,
    "without (0012,0062)": without("PatientIdentityRemoved"),
    "with (0012,0062) NO": but(PatientIdentityRemoved="NO"),
    "without (0012,0063)": without("DeidentificationMethod"),
    "with somebody else's method": but(DeidentificationMethod="Basic"),
    "without (0012,0064)": without("DeidentificationMethodCodeSequence"),
    "with another PatientID": but(PatientID="4711"),
    "with a name": but(PatientName="Molecule^Identifiable"),
}


@pytest.fixture
def made(tmp_path: Path) -> Callable[[Callable[[Dataset], None]], bytes]:
    """Make an object, changed as told."""

    def make(change: Callable[[Dataset], None]) -> bytes:
        study = make_study(tmp_path / "study", "HOSPITAL-4799-Z", "", instances=1)
        [path] = study.directory.rglob("*.dcm")
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)
        return path.read_bytes()

    return make


@pytest.fixture
def closed(orthanc: Rest) -> Iterator[None]:
    """Nothing got in meanwhile."""
    before = sorted(orthanc.ask("/instances"))
    yield
    assert sorted(orthanc.ask("/instances")) == before


def ask(
    node: Node, method: str, path: str, body: bytes, kind: str = "application/octet-stream"
) -> tuple[int, bytes]:
    """Ask as the admin, who may upload."""
    login = base64.b64encode(f"admin:{passwords(node)['admin']}".encode()).decode()
    connection = http.client.HTTPSConnection(node.address, 8042, timeout=60, context=trusting(node))
    headers = {"Authorization": f"Basic {login}", "Content-Type": kind}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def send(node: Node, content: bytes) -> str:
    """Send an object from Orthanc's own network under CTP's AE title; return the answer."""
    pid = node.tasks("auscat_orthanc")[0]["State"]["Pid"]
    given = base64.b64encode(content).decode()
    return node.shell(
        f"""
        set -e
        rm -rf /root/sent && mkdir /root/sent && base64 --decode > /root/sent/1.dcm <<'END'
{given}
END
        nsenter --target {pid} --net /usr/bin/dcmsend -aet CTP -aec ORTHANC \\
            --scan-directories --create-report-file /root/sent.report 127.0.0.1 4242 /root/sent
        grep 'DIMSE Status' /root/sent.report
        rm -rf /root/sent /root/sent.report
        """
    )


def stow(content: bytes) -> tuple[bytes, str]:
    """Body and type of a STOW-RS request (PS3.18)."""
    body = b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--edge--\r\n"
    return body, 'multipart/related; type="application/dicom"; boundary=edge'


def zipped(*contents: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"{number}.dcm", content)
    return buffer.getvalue()


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("what", sorted(IDENTIFIED))
def test_identified_object_is_refused_and_the_sender_is_told(
    node: Node, made: Callable[[Any], bytes], what: str
) -> None:
    content = made(IDENTIFIED[what])
    assert "0xc002" in send(node, content).lower()
    status, _ = ask(node, "POST", "/instances", content)
    assert status == 400
    status, said = ask(node, "POST", "/dicom-web/studies", *stow(content))
    assert status == 400
    assert b"00081198" in said  # Failed SOP Sequence
    form = b'--edge\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
    body = form + content + b"\r\n--edge--\r\n"
    status, _ = ask(node, "POST", "/instances", body, "multipart/form-data; boundary=edge")
    assert status == 400


@pytest.mark.usefixtures("closed")
def test_identified_object_in_a_zip_is_left_out(node: Node, made: Callable[[Any], bytes]) -> None:
    status, said = ask(node, "POST", "/instances", zipped(made(IDENTIFIED["with a name"])))
    assert (status, json.loads(said)) == (200, [])


@pytest.mark.usefixtures("closed")
def test_webdav_takes_nothing_identified(
    node: Node, orthanc: Rest, made: Callable[[Any], bytes]
) -> None:
    """It acknowledges first and looks afterwards."""
    pid = "An object was refused"
    before = node.shell(
        "docker service logs auscat_orthanc 2>&1 | grep -c 'WEBDAV.*refused' || true"
    )
    ask(node, "PUT", "/webdav/uploads/x.dcm", made(IDENTIFIED["with a name"]))
    command = f"docker service logs auscat_orthanc 2>&1 | grep -c 'WEBDAV.*{pid}' || true"
    wait_for("the upload is refused", lambda: int(node.shell(command)) > int(before), 60)


@pytest.mark.usefixtures("closed")
def test_studies_of_the_archive_are_not_made_identified(
    node: Node, orthanc: Rest, cohort: Cohort
) -> None:
    query = {"Level": "Study", "Query": {"PatientID": cohort.pseudonyms[0]}}
    [study] = orthanc.ask("/tools/find", query)
    change = {"Replace": {"PatientID": "4711"}, "Force": True, "KeepSource": False}
    for verb in ("modify", "anonymize"):
        body = json.dumps({**change, "Synchronous": True}).encode()
        status, _ = ask(node, "POST", f"/studies/{study}/{verb}", body)
        assert status == 400
    status, _ = ask(
        node, "POST", "/tools/create-dicom", b'{"Tags": {"PatientID": "4711", "Modality": "CT"}}'
    )
    assert status == 400


def test_marked_object_is_stored_by_every_way(
    node: Node, orthanc: Rest, made: Callable[[Any], bytes]
) -> None:
    content = made(marked)
    ways: list[Callable[[], Any]] = [
        lambda: send(node, content),
        lambda: ask(node, "POST", "/instances", content),
        lambda: ask(node, "POST", "/instances", zipped(content)),
        lambda: ask(node, "POST", "/dicom-web/studies", *stow(content)),
    ]
    for way in ways:
        way()
        [found] = orthanc.ask(
            "/tools/find", {"Level": "Instance", "Query": {"PatientID": f"{PREFIX}MARKED"}}
        )
        status, _ = ask(node, "DELETE", f"/instances/{found}", b"")
        assert status == 200


@pytest.fixture(scope="module")
def image(node: Node) -> str:
    """The image that Orthanc runs from."""
    found: str = node.tasks("auscat_orthanc")[0]["Config"]["Image"]
    return found


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no section": ({"NodeGuard": None}, "NodeGuard is missing"),
    "no marks": ({"NodeGuard": {"Roles": {"admin": "admin"}}}, "not exactly the keys"),
    "a user without role": ({"RegisteredUsers": {"admin": "x", "eve": "y"}}, "other users"),
    "no login": ({"AuthenticationEnabled": False}, "AuthenticationEnabled is not true"),
    "another script": ({"PythonScript": "/tmp/x.py"}, "names PythonScript"),
    "no plugins": ({"Plugins": []}, "names Plugins"),
}


@pytest.mark.parametrize("what", sorted(WRONG))
def test_orthanc_does_not_start_unguarded(node: Node, image: str, what: str) -> None:
    changes, said = WRONG[what]
    text = node.shell(f"docker run --rm --entrypoint cat {image} /etc/orthanc/orthanc.json")
    configuration = {**json.loads(text), **changes}
    configuration = {key: value for key, value in configuration.items() if value is not None}
    ended = node.shell(
        f"""
        cat > /root/wrong.json <<'END'
{json.dumps(configuration, indent=1)}
END
        chmod 644 /root/wrong.json
        timeout 60 docker run --rm --network=none \\
            --volume /root/wrong.json:/run/secrets/orthanc.json:ro {image} 2>&1 || code=$?
        echo "ended with ${{code:-0}}"
        rm /root/wrong.json
        """
    )
    assert re.search(r"ended with (1|255)$", ended), ended
    assert said in ended
    assert "Orthanc has started" not in ended


def test_health_check_notices_that_the_guard_is_not_loaded(node: Node, image: str) -> None:
    name = "auscat-test-guard"
    check = f"docker exec {name} bash /usr/local/bin/healthcheck.sh"
    node.shell(f"docker run --detach --name {name} --network=none {image}")
    try:
        wait_for("it is healthy", lambda: node.shell(f"{check} && echo yes || true") == "yes", 60)
        node.shell(f"docker exec {name} rm /run/orthanc/guard")
        assert "not loaded" in node.shell(f"{check} || true")
    finally:
        node.shell(f"docker rm --force {name}")
