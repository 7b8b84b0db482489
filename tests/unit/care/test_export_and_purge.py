"""What is purged after an export: what was copied and verified, and nothing else."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.care import (
    quarantine_listing,
    quarantine_removal,
)
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine import Device, chosen
from ansible_collections.auscat.imaging.plugins.module_utils.host.http import Http
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

REASON = "unreadable"


class PageDouble:
    """CTP's page, as far as the module asks it; it has nothing but a directory of files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.before_delete: Callable[[], None] = lambda: None
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer({"quarantine": double.listed()})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                double.before_delete()
                there = {each["id"]: each["file"] for each in double.listed()}
                gone = [identifier for identifier in body["ids"] if identifier in there]
                for identifier in gone:
                    (double.root / there[identifier]).unlink()
                self.answer({"deleted": len(gone)})

            def answer(self, content: Any) -> None:
                data = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def listed(self) -> list[dict[str, Any]]:
        return [
            {"id": path.name, "reason": REASON, "received_at": came(path), "file": path.name}
            for path in sorted(self.root.iterdir())
        ]


def came(path: Path) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(path.stat().st_mtime))


class Node:
    """A quarantine of three objects that came 40 days ago."""

    def __init__(self, directory: Path) -> None:
        self.quarantine = directory / "quarantine"
        self.quarantine.mkdir()
        self.destination = directory / "export" / "now"
        self.record = directory / "purges.jsonl"
        for number in range(3):
            self.add(f"TQ-{number}.dcm")
        self.page = PageDouble(self.quarantine)
        self.http = Http(f"http://127.0.0.1:{self.page.server.server_address[1]}", "admin", "x")

    def add(self, name: str, content: bytes | None = None, days: float = 40) -> Path:
        path = self.quarantine / name
        path.write_bytes(content or f"the content of {name}".encode())
        then = time.time() - days * 86400
        os.utime(path, (then, then))
        return path

    def chosen(self) -> list[Any]:
        return chosen(
            quarantine_listing.listed("rsna", self.quarantine, self.http), [], 30, time.time()
        )

    def export(self) -> int:
        return quarantine_removal.export(self.destination, self.chosen())

    def purge(self) -> tuple[int, int]:
        """As the module does it; return what was removed, and what was not copied."""
        copies = quarantine_removal.copies_in(self.destination)
        aged = self.chosen()
        picked = [each for each in aged if each.id in copies]
        done = quarantine_removal.purge("rsna", self.http, picked, copies)
        quarantine_removal.note(self.record, done, 30)
        assert done.left == 0
        return done.removed, len(aged) - len(picked) + done.differing

    def names(self) -> list[str]:
        return sorted(path.name for path in self.quarantine.iterdir())


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    found = Node(tmp_path)
    yield found
    found.page.server.shutdown()
    found.page.server.server_close()


def test_what_was_copied_is_removed(node: Node) -> None:
    contents = {path.name: path.read_bytes() for path in node.quarantine.iterdir()}
    assert node.export() == 0
    assert not (node.destination.parent / "now.partial").exists()
    manifest = list(csv.DictReader((node.destination / "manifest.csv").open()))
    copies = {row["id"]: (node.destination / row["file"]).read_bytes() for row in manifest}
    assert copies == contents
    assert all(re.fullmatch("[0-9a-f]{64}", row["sha256"]) for row in manifest)
    assert node.purge() == (3, 0)
    assert node.names() == []
    assert json.loads(node.record.read_text())["reasons"] == {REASON: 3}


def of_age_meanwhile(node: Node) -> list[str]:
    node.add("TQ-3.dcm")
    return ["TQ-3.dcm"]


def written_again(node: Node) -> list[str]:
    node.add("TQ-1.dcm", b"another object under the name of one that was copied")
    return ["TQ-1.dcm"]


def written_again_with_size_and_time_of_the_old(node: Node) -> list[str]:
    path = node.quarantine / "TQ-1.dcm"
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return ["TQ-1.dcm"]


def renamed(node: Node) -> list[str]:
    (node.quarantine / "TQ-1.dcm").rename(node.quarantine / "TQ-9.dcm")
    return ["TQ-9.dcm"]


def names_exchanged(node: Node) -> list[str]:
    one, other = node.quarantine / "TQ-1.dcm", node.quarantine / "TQ-2.dcm"
    data = one.read_bytes(), other.read_bytes()
    for path, content in zip((other, one), data):
        node.add(path.name, content)
    return ["TQ-1.dcm", "TQ-2.dcm"]


def made_a_link(node: Node) -> list[str]:
    path = node.quarantine / "TQ-1.dcm"
    target = node.quarantine.parent / "elsewhere"
    path.rename(target)
    path.symlink_to(target)
    return ["TQ-1.dcm"]


def copy_removed(node: Node) -> list[str]:
    (node.destination / "000002.dcm").unlink()
    return ["TQ-1.dcm"]


def copy_damaged(node: Node) -> list[str]:
    path = node.destination / "000002.dcm"
    path.write_bytes(path.read_bytes()[:-1])
    return ["TQ-1.dcm"]


def export_gone(node: Node) -> list[str]:
    node.destination.rename(node.destination.with_name("moved"))
    return ["TQ-0.dcm", "TQ-1.dcm", "TQ-2.dcm"]


@pytest.mark.parametrize(
    "happens",
    [
        of_age_meanwhile,
        written_again,
        written_again_with_size_and_time_of_the_old,
        renamed,
        names_exchanged,
        made_a_link,
        copy_removed,
        copy_damaged,
        export_gone,
    ],
)
def test_what_happens_after_the_copy_stays(
    node: Node, happens: Callable[[Node], list[str]]
) -> None:
    node.export()
    stays = happens(node)
    assert node.purge()[1] == len(stays)
    assert node.names() == stays


def test_what_changes_right_before_it_is_removed_stays(node: Node) -> None:
    """In parts of 50: while the first is removed, one of the second is written again."""
    for number in range(3, 60):
        node.add(f"TQ-{number:02d}.dcm")
    node.export()
    last = node.names()[-1]

    def write_again() -> None:
        (node.quarantine / last).write_bytes(b"new")

    node.page.before_delete = write_again
    removed, not_copied = node.purge()
    assert (removed, not_copied) == (59, 1)
    assert node.names() == [last]


@pytest.mark.parametrize("moment", ["while it is read", "gone"])
def test_what_changes_while_it_is_copied_is_not_in_the_export(
    node: Node, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = node.quarantine / "TQ-1.dcm"
    real = os.write

    def write(descriptor: int, data: Any) -> int:
        if bytes(data).endswith(b"TQ-1.dcm"):
            path.write_bytes(b"it is written to")
        return real(descriptor, data)

    held = node.chosen()
    if moment == "gone":
        path.unlink()
    else:
        monkeypatch.setattr(quarantine_removal.os, "write", write)
    assert quarantine_removal.export(node.destination, held) == 1
    monkeypatch.undo()
    ids = [row["id"] for row in csv.DictReader((node.destination / "manifest.csv").open())]
    assert ids == ["TQ-0.dcm", "TQ-2.dcm"]
    assert len(list(node.destination.iterdir())) == 3
    if moment != "gone":
        node.add("TQ-1.dcm", path.read_bytes())
    node.purge()
    assert node.names() == ([] if moment == "gone" else ["TQ-1.dcm"])


@pytest.mark.parametrize("call", ["write", "fsync", "mkdir"])
def test_a_full_disk_ends_the_export_and_nothing_is_removed(
    node: Node, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    count = 0
    real = getattr(os, call)

    def full(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **kwargs)

    monkeypatch.setattr(quarantine_removal.os, call, full)
    with pytest.raises(quarantine_removal.QuarantineError, match="broke off: No space left"):
        node.export()
    monkeypatch.undo()
    assert not node.destination.exists()
    assert not (node.destination.parent / "now.partial").exists()
    assert node.purge() == (0, 3) and len(node.names()) == 3


def test_a_copy_that_the_disk_spoils_ends_the_export(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(
        quarantine_removal.os, "write", lambda fd, data: real(fd, b"x" * len(bytes(data)))
    )
    with pytest.raises(quarantine_removal.QuarantineError, match="does not hold what was written"):
        node.export()
    assert not node.destination.exists()


def test_an_interrupted_export_is_no_export(node: Node) -> None:
    node.export()
    node.destination.rename(node.destination.with_name("now.partial"))
    assert node.purge() == (0, 3) and len(node.names()) == 3


@pytest.mark.parametrize("text", ["", "file,reason\n000001.dcm,x\n", "file,id,sha256\n../x,1,2\n"])
def test_what_is_no_export_of_this_version_is_refused(node: Node, text: str) -> None:
    node.export()
    (node.destination / "manifest.csv").write_text(text)
    if text:
        with pytest.raises(quarantine_removal.QuarantineError, match="Nothing was removed"):
            node.purge()
    else:
        assert node.purge() == (0, 3)
    assert len(node.names()) == 3


def test_the_way_to_an_export_is_on_the_disk_before_anything_is_purged(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory's name is on the disk when the directory above it is."""
    synced: list[Path] = []
    real = quarantine_removal.sync

    def sync(directory: Path) -> None:
        synced.append(directory)
        real(directory)

    monkeypatch.setattr(quarantine_removal, "sync", sync)
    top = node.destination.parent
    node.destination = top / "a" / "b" / "now"
    node.export()
    assert synced[:3] == [top.parent, top, top / "a"]
    assert synced[-1] == top / "a" / "b"


def test_an_export_overwrites_nothing(node: Node) -> None:
    node.destination.parent.mkdir()
    node.destination.symlink_to("/nowhere")
    with pytest.raises(quarantine_removal.QuarantineError, match="does not exist yet"):
        node.export()


def test_whose_it_is_as_ctp_looks_it_up(tmp_path: Path) -> None:
    def made(**values: Any) -> dict[str, Any]:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3"
        dataset.StudyInstanceUID = "1.2.9"
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.save_as(tmp_path / "x", enforce_file_format=True)
        return quarantine_listing.whose(tmp_path / "x")

    universal = Dataset()
    universal.UniversalEntityID = "1.2.36"
    found = made(PatientID=" P-1 ", IssuerOfPatientID="HOSP-A ")
    assert (found["patient_id"], found["issuer"], found["study"]) == ("P-1", "HOSP-A", "1.2.9")
    assert found["size"] == (tmp_path / "x").stat().st_size
    sequence = {"IssuerOfPatientIDQualifiersSequence": [universal]}
    assert made(PatientID=" P-1\u00a0 ", SpecificCharacterSet="ISO_IR 192")["patient_id"] == (
        "P-1\u00a0"
    )
    assert made(PatientID="P-1", IssuerOfPatientID="", **sequence)["issuer"] == "1.2.36"
    assert made(PatientID="P-1", IssuerOfPatientID="A", **sequence)["issuer"] == "A"
    assert made(PatientID="P-1", IssuerOfPatientID=["A", "B"])["issuer"] == "A\\B"
    assert made(PatientID="P-1")["issuer"] == ""
    (tmp_path / "x").write_bytes(b"no DICOM")
    nobody = {"patient_id": "", "study": "", "size": 8, "issuer": "", "device": Device()}
    assert quarantine_listing.whose(tmp_path / "x") == nobody
    assert quarantine_listing.whose(tmp_path / "none") == {**nobody, "size": 0}
