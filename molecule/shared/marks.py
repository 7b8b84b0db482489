"""A study with a mark in every element of the dictionary, sent through a node and judged behind it.

The study and the judge are those of ``tests/marks/flood.py``, in processes of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from base64 import b64encode
from collections.abc import Collection
from pathlib import Path
from urllib.request import Request

import pynetdicom._config
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context
from shared.ctp_node import Patient, new_patient
from shared.machines import REPOSITORY, Node, wait_for
from shared.streams import Rest


def _flood(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, REPOSITORY / "tests/marks/flood.py", command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


class Flood:
    """The study, in a directory, and its patient. With 12 slices it has every sequence, too."""

    def __init__(self, directory: Path, slices: int = 12) -> None:
        self._sent = directory / "sent"
        # Another patient each time, and a pseudonym that no other test has.
        token = f"1{uuid.uuid4().int % 10**9:09d}"
        written = _flood("write", self._sent, "--slices", slices, "--token", token)
        assert written.returncode == 0, written.stderr
        summary = self._sent / "summary.json"
        said = json.loads(summary.read_text())
        said["pseudonym"] = new_patient().pseudonym
        summary.write_text(json.dumps(said))
        self.patient = Patient(said["patient_id"], said["pseudonym"], said["issuer"])
        self._files = sorted(self._sent.glob("*.dcm"))
        self._directory = directory

    def send(self, node: Node, called: str) -> None:
        """Send all files, byte for byte, to one AE title of the node; each must be acknowledged."""
        pynetdicom._config.STORE_SEND_CHUNKED_DATASET = True
        classes = {
            str(
                dcmread(
                    file, stop_before_pixels=True, specific_tags=[]
                ).file_meta.MediaStorageSOPClassUID
            )
            for file in self._files
        }
        contexts = [
            build_context(sop_class, syntax)
            for sop_class in sorted(classes)
            for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
        ]
        ae = AE(ae_title="PACS")
        association = ae.associate(node.address, 8104, ae_title=called, contexts=contexts)
        assert association.is_established
        for file in self._files:
            assert association.send_c_store(file).Status == 0, file.name
        association.release()

    def fetch(self, orthanc: Rest, name: str) -> list[Path]:
        """Wait until the whole study is in Orthanc, fetch its files, and remove it from there.

        Args:
            name: of the directory of the files, another one each time.
        """
        query = {"Level": "Instance", "Query": {"PatientID": self.patient.pseudonym}}

        def complete() -> list[str]:
            found: list[str] = orthanc.ask("/tools/find", query)
            assert len(found) == len(self._files), f"{len(found)} of {len(self._files)} objects"
            return found

        there = self._directory / name
        there.mkdir()
        login = b64encode(f"{orthanc.user}:{orthanc.password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}"}
        for instance in wait_for("the study is in Orthanc", complete, 180):
            url = f"{orthanc.url}/instances/{instance}"
            with orthanc.open(Request(f"{url}/file", headers=headers)) as answer:
                (there / f"{instance}.dcm").write_bytes(answer.read())
            with orthanc.open(Request(url, headers=headers, method="DELETE")):
                pass
        return sorted(there.iterdir())

    def judge(self, arrived: Collection[Path], options: Collection[str] = ()) -> dict[str, int]:
        """Check that no mark is left, and that references and geometry are as sent.

        Args:
            arrived: the files, of one directory.
            options: what the node was told to keep, as ``flood.py check`` calls it.

        Returns:
            What was counted, by what the judge calls it.
        """
        (directory,) = {path.parent for path in arrived}
        said = [word for option in options for word in ("--option", option)]
        judged = _flood("check", self._sent, directory, *said)
        print(judged.stdout[-2000:])
        assert judged.returncode == 0, judged.stdout[-4000:] + judged.stderr
        *lines, last = judged.stdout.splitlines()
        assert last == "0 problems"
        counts = (line.rpartition(": ") for line in lines)
        return {name: int(count) for name, _, count in counts}


def methods(arrived: Collection[Path]) -> set[str]:
    """Return what the files say of their de-identification, (0012,0063)."""
    objects: list[Dataset] = [dcmread(path, stop_before_pixels=True) for path in arrived]
    return {str(each.DeidentificationMethod) for each in objects}
