"""What goes to Orthanc past CTP: sent over DICOM or uploaded, refused, found, removed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.host.containers import (
    container_of,
    containers_of,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.dcmtk import (
    send_for_answers,
    tls_of,
    tool,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.isolation import (
    Phantom,
    made_identified,
    write_marked,
)
from ansible_collections.auscat.imaging.plugins.module_utils.proof.orthanc import Orthanc

#: Problems, and what was seen.
Seen = tuple[list[str], str]


@dataclass(frozen=True)
class Way:
    """How Orthanc's DICOM port is reached.

    ``address``: of Orthanc's machine; empty for its container on this one. ``service``: of Orthanc
    in the stack. ``scratch``: a directory for files that are sent.
    """

    service: str
    address: str
    port: int
    calling: str
    called: str
    scratch: str

    @classmethod
    def of(cls, parameters: Mapping[str, Any], scratch: str) -> Way:
        """Return the one that the options of a module name."""
        return cls(
            parameters["service"],
            parameters["address"],
            parameters["port"],
            parameters["calling_ae_title"],
            parameters["called_ae_title"],
            scratch,
        )

    def answers(self, directory: Path) -> tuple[list[int], str]:
        """Send the files of a directory; return the status of each answer, and where it is."""
        address, enter = self.address, []
        if not address:
            # The container's own network: no port is published for it, and nobody else gets in.
            pid = str(container_of(self.service)["State"]["Pid"])
            address, enter = "127.0.0.1", [tool("nsenter"), "--target", pid, "--net"]
            lenders = [self.service]
        else:
            # CTP's machine, of whose containers one sends to Orthanc.
            stack = self.service.rpartition("_")[0]
            lenders = [f"{stack}_ctp", f"{stack}_ctp_outlet"]
        with tls_of(containers_of(lenders)) as tls:
            answers = send_for_answers(
                address, self.port, self.calling, self.called, directory, enter, tls
            )
        return answers, f"port {self.port} {'in its container' if enter else f'at {address}'}"


def send(way: Way, phantoms: Sequence[Phantom], marks: Mapping[str, Any]) -> Seen:
    """Send phantoms, with the marks of de-identification where there are any."""
    with tempfile.TemporaryDirectory(dir=way.scratch) as directory:
        # The bytes that were checked, and not the files once more.
        for number, phantom in enumerate(phantoms, start=1):
            path = Path(directory, f"{number:05d}.dcm")
            if marks:
                write_marked(phantom, marks, path)
            else:
                path.write_bytes(phantom.raw)
        answers, place = way.answers(Path(directory))
    acknowledged = answers.count(0)
    seen = f"{acknowledged} of {len(phantoms)} objects acknowledged by {place}"
    return ([] if acknowledged == len(phantoms) else [seen]), seen


def refused_over_dicom(way: Way, token: str) -> Seen:
    """Send an identified object, which has to be refused."""
    with tempfile.TemporaryDirectory(dir=way.scratch) as directory:
        made_identified(token, Path(directory))
        answers, place = way.answers(Path(directory))
    if len(answers) != 1:
        return [f"{len(answers)} answers of {place}"], ""
    seen = f"{place} answered with status 0x{answers[0]:04X}"
    return ([f"{seen}, Success"] if answers[0] == 0 else []), seen


def refused_over_rest(orthanc: Orthanc, token: str, scratch: str) -> Seen:
    """Upload an identified object, which has to be refused."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        phantom = made_identified(token, Path(directory))
    status = orthanc.upload(phantom.raw)
    problems = []
    if status != 400:
        problems.append(f"{orthanc.url}/instances answered with status {status}")
    if instances(orthanc, [phantom.sop_instance_uid]):
        problems.append("the object is in the archive")
    return problems, f"{orthanc.url}/instances answered with status {status}"


def instances(orthanc: Orthanc, uids: Sequence[str]) -> list[str]:
    """Return Orthanc's identifiers of the phantom's objects."""
    # A search for nothing would find everything.
    return orthanc.find("Instance", {"SOPInstanceUID": "\\".join(uids)}) if uids else []


def remove(orthanc: Orthanc, uids: Sequence[str]) -> Seen:
    """Delete the phantom's objects and nothing else."""
    there = instances(orthanc, uids)
    for identifier in there:
        orthanc.delete("Instance", identifier)
    left = len(instances(orthanc, uids))
    return ([f"{left} objects are left"] if left else []), f"{len(there)} objects removed"
