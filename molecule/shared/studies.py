"""A small study, how it is sent, and what Orthanc says about it: through clients from outside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from shared.https import given, url
from shared.machines import Machine, Node, wait_for


@dataclass(frozen=True)
class Study:
    """A CT study of one patient, as files on the controller."""

    patient_id: str
    pseudonym: str
    directory: Path
    instances: int


def make_study(directory: Path, patient_id: str, pseudonym: str, instances: int = 3) -> Study:
    """Write CT slices of 16 x 16 pixels for a patient.

    Args:
        directory: where the files go; made here.
        patient_id: PatientID (0010,0020) as the clinical system sends it.
        pseudonym: what KeyDB holds for this patient, for the reader of the result.
        instances: number of slices.
    """
    directory.mkdir(parents=True)
    study_uid, series_uid, frame_uid = (generate_uid() for _ in range(3))
    for number in range(1, instances + 1):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID = meta.MediaStorageSOPClassUID
        image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID = study_uid
        image.SeriesInstanceUID = series_uid
        image.FrameOfReferenceUID = frame_uid
        image.PatientID = patient_id
        image.PatientName = "Molecule^Identifiable"
        image.PatientBirthDate = "19400102"
        image.PatientSex = "O"
        image.StudyDate = image.SeriesDate = image.ContentDate = "20260102"
        image.StudyTime = image.ContentTime = "101500"
        image.AccessionNumber = "ACC-4711"
        image.StudyID = "1"
        image.SeriesNumber = 1
        image.InstanceNumber = number
        image.Modality = "CT"
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.ReferringPhysicianName = "Referring^Physician"
        image.PatientPosition = "HFS"
        image.ImagePositionPatient = [0, 0, 3 * number]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.PixelSpacing = [2, 2]
        image.SliceThickness = 3
        image.KVP = 120
        image.AcquisitionNumber = 1
        image.PositionReferenceIndicator = ""
        image.SamplesPerPixel = 1
        image.PhotometricInterpretation = "MONOCHROME2"
        image.Rows = image.Columns = 16
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit = 15
        image.PixelRepresentation = 0
        image.RescaleIntercept = -1024
        image.RescaleSlope = 1
        image.PixelData = bytes(range(256)) * 2
        image.save_as(directory / f"{number:04d}.dcm", enforce_file_format=True)
    return Study(patient_id, pseudonym, directory, instances)


def send(
    study: Study, client: Machine, node: Node, port: int = 8104, connect_seconds: int = 30
) -> tuple[int, str]:
    """Send a study with dcmsend from a client.

    Args:
        study: what is sent.
        client: who sends.
        node: where to.
        port: CTP's.
        connect_seconds: how long the client waits for a connection; a refused one waits as long.

    Returns:
        dcmsend's exit code (0: every instance was acknowledged) and what it said.
    """
    target = f"/root/{study.directory.name}"
    client.run("rm", "-rf", target)
    client.put(study.directory, target)
    result = client.run(
        *(
            "dcmsend",
            "--verbose",
            "--timeout",
            str(connect_seconds),
            "--aetitle",
            "PACS",
            "--call",
            "CTP",
        ),
        *("--scan-directories", node.address, str(port), target),
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


@dataclass(frozen=True)
class Orthanc:
    """Orthanc's REST API through curl on a client, as a researcher sees it."""

    client: Machine
    node: Node
    user: str = "admin"
    password: str = "admin"

    def text(self, path: str, *arguments: str) -> str:
        """Ask for a path and return the answer; raises AssertionError unless it is a success."""
        return self.client.output(
            *("curl", "--silent", "--show-error", "--fail", "--max-time", "60"),
            *("--user", f"{self.user}:{self.password}", *arguments),
            *("--cacert", given(self.node, self.client), f"{url(self.node, 8042)}{path}"),
        )

    def request(self, path: str, *arguments: str) -> Any:
        """Ask for a path and return the JSON; raises AssertionError on any other answer."""
        return json.loads(self.text(path, *arguments))

    def hashes(self, patient_id: str) -> dict[str, str]:
        """Give the SOP Instance UID and the MD5 of the stored file of a patient's instances."""
        query = {"Level": "Instance", "Query": {"PatientID": patient_id}}
        found = {}
        for instance in self.request("/tools/find", "--data", json.dumps(query)):
            tags = self.request(f"/instances/{instance}")["MainDicomTags"]
            path = f"/instances/{instance}/attachments/dicom/md5"
            found[tags["SOPInstanceUID"]] = self.text(path)
        return found

    def wait_for(self, patient_id: str, instances: int, seconds: float = 60) -> dict[str, str]:
        """Wait until a patient has this many instances and return their hashes."""

        def complete() -> dict[str, str]:
            found = self.hashes(patient_id)
            assert len(found) == instances, f"{len(found)} of {instances} instances"
            return found

        return wait_for(f"Orthanc has the study of {patient_id}", complete, seconds)
