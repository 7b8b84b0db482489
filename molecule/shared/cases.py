"""Objects as hospitals send them, in bytes: libraries do not write what is wrong on purpose.

Each is synthetic and made here; its InstanceNumber says which one it is, also when it has left.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RTStructureSetStorage,
    generate_uid,
)
from pynetdicom import AE, _config
from shared.machines import Node, wait_for
from shared.streams import Rest

SENT = Path("sent.dcm")
CONTOUR = [number / 8 for number in range(15_000)]
"""5,000 points: over 64 KiB as text."""


@dataclass
class Case:
    """One object.

    Attributes:
        values: elements by keyword, over those of a CT slice or a structure set.
        behind: encoded elements with higher tags than all others.
        sop_class: its storage class.
        syntax: explicit or implicit little endian.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    behind: bytes = b""
    sop_class: str = CTImageStorage
    syntax: str = ExplicitVRLittleEndian
    sop_instance_uid: str = field(default_factory=generate_uid)

    def encoded(self, patient_id: str, number: int) -> bytes:
        """The data set of patient ``patient_id``, with ``number`` as its InstanceNumber."""
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = self.sop_class, self.sop_instance_uid
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.PatientID, dataset.PatientName = patient_id, "Case^Identifiable"
        dataset.Modality = "CT" if self.sop_class == CTImageStorage else "RTSTRUCT"
        dataset.InstanceNumber = number
        for keyword, value in self.values.items():
            setattr(dataset, keyword, value)
        stream = DicomBytesIO()
        stream.is_little_endian = True
        stream.is_implicit_VR = self.syntax == ImplicitVRLittleEndian
        write_dataset(stream, dataset)
        return stream.getvalue() + self.behind


def unknown(tag: int, value: bytes, undefined: bool = False) -> bytes:
    """An element of value representation UN, explicit (PS3.5 6.2.2)."""
    value += b" " * (len(value) % 2)
    head = struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"UN", 0)
    if undefined:
        return head + b"\xff\xff\xff\xff" + value + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return head + struct.pack("<I", len(value)) + value


def bare(tag: int, value: bytes) -> bytes:
    """An element, implicit."""
    value += b" " * (len(value) % 2)
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def item(body: bytes) -> bytes:
    """An item of a sequence."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body


def contours() -> bytes:
    """The items of an ROIContourSequence with ``CONTOUR``, implicit."""
    points = b"\\".join(b"%.3f" % each for each in CONTOUR)
    contour = bare(0x30060042, b"CLOSED_PLANAR") + bare(0x30060050, points)
    return item(bare(0x30060040, item(contour)) + bare(0x30060084, b"1"))


def structure_set(behind: bytes, syntax: str = ExplicitVRLittleEndian, **values: Any) -> Case:
    """A structure set with what stands behind its header."""
    return Case(values, behind, RTStructureSetStorage, syntax)


def send(node: Node, cases: Sequence[Case], patient_id: str, directory: Path) -> None:
    """Send each; the node acknowledges all of them."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    ae = AE("PACS")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
    for sop_class, syntax in sorted({(each.sop_class, each.syntax) for each in cases}):
        ae.add_requested_context(sop_class, syntax)
    association = ae.associate(node.address, 8104, ae_title="CTP")
    assert association.is_established
    for number, case in enumerate(cases, 1):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID(case.sop_class)
        meta.MediaStorageSOPInstanceUID = UID(case.sop_instance_uid)
        meta.TransferSyntaxUID = UID(case.syntax)
        head = DicomBytesIO()
        pydicom.dcmwrite(head, _with(meta), enforce_file_format=True)
        path = directory / SENT
        path.write_bytes(head.getvalue() + case.encoded(patient_id, number))
        assert association.send_c_store(path).Status == 0, number
    association.release()


def _with(meta: FileMetaDataset) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = meta
    return dataset


def outcomes(
    orthanc: Rest, ctp: Rest, pseudonym: str, cases: Sequence[Case]
) -> dict[int, Dataset | str]:
    """Wait until each has arrived or is held back; by number, the object or the reason."""

    def found() -> dict[int, Dataset | str]:
        held = {
            each["sop_instance_uid"]: each["reason"]
            for each in ctp.ask("/api/status")["quarantine"]
        }
        known: dict[int, Dataset | str] = {
            number: held[case.sop_instance_uid]
            for number, case in enumerate(cases, 1)
            if case.sop_instance_uid in held
        }
        query = {"Level": "Instance", "Query": {"PatientID": pseudonym}}
        return known | _read(orthanc, orthanc.ask("/tools/find", query))

    def all_of_them() -> dict[int, Dataset | str]:
        now = found()
        assert len(now) == len(cases), f"not there: {set(range(1, len(cases) + 1)) - set(now)}"
        return now

    return wait_for(f"{len(cases)} objects have arrived or are held back", all_of_them, 240)


def _read(orthanc: Rest, identifiers: Iterable[str]) -> dict[int, Dataset | str]:
    arrived: dict[int, Dataset | str] = {}
    for identifier in identifiers:
        url = f"{orthanc.url}/instances/{identifier}/file"
        with orthanc.open(Request(url, headers=orthanc.headers())) as answer:
            dataset = pydicom.dcmread(io.BytesIO(answer.read()))
        arrived[int(dataset.InstanceNumber)] = dataset
    return arrived
