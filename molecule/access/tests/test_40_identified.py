"""An identified object does not get into the archive, whatever the way and whoever brings it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from conftest import curl
from shared.machines import Machine, Node
from shared.studies import Study


def instances(researcher: Machine, cat: Node, passwords: dict[str, str]) -> str:
    """What Orthanc holds, as its own list."""
    status, text = curl(
        researcher, f"https://{cat.address}:8042/instances", login=f"steward:{passwords['steward']}"
    )
    assert status == 200, text
    return text


@pytest.fixture
def researcher(clients: dict[str, Machine]) -> Machine:
    """Who may reach Orthanc's page."""
    return clients["researcher"]


@pytest.mark.parametrize("way", ["instance", "zip", "stow"])
def test_over_http(
    researcher: Machine,
    cat: Node,
    study: Study,
    passwords: dict[str, str],
    tmp_path: Path,
    way: str,
) -> None:
    before = instances(researcher, cat, passwords)
    first = sorted(study.directory.iterdir())[0].read_bytes()
    path, kind, body = "/instances", "application/dicom", first
    if way == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for file in sorted(study.directory.iterdir()):
                archive.write(file, file.name)
        kind, body = "application/zip", packed.getvalue()
    elif way == "stow":
        path, kind = "/dicom-web/studies", 'multipart/related; type="application/dicom"; boundary=B'
        head = b"--B\r\nContent-Type: application/dicom\r\n\r\n"
        body = head + first + b"\r\n--B--\r\n"
    file = tmp_path / "body"
    file.write_bytes(body)
    researcher.put(file, "/root/body")
    curl(
        researcher,
        f"https://{cat.address}:8042{path}",
        *("--header", f"Content-Type: {kind}", "--header", "Accept: application/dicom+json"),
        *("--data-binary", "@/root/body"),
        login=f"steward:{passwords['steward']}",
    )
    assert instances(researcher, cat, passwords) == before
    found = cat.run("grep", "-rlaF", study.patient_id, "/srv/auscat/orthanc", check=False)
    assert found.returncode == 1, found.stdout + found.stderr


@pytest.mark.parametrize("user", ["reader", "curator"])
def test_nobody_but_an_administrator_may_try(
    researcher: Machine, cat: Node, study: Study, passwords: dict[str, str], user: str
) -> None:
    researcher.put(sorted(study.directory.iterdir())[0], "/root/body")
    status, text = curl(
        researcher,
        f"https://{cat.address}:8042/instances",
        *("--data-binary", "@/root/body"),
        login=f"{user}:{passwords[user]}",
    )
    assert status == 403, text
