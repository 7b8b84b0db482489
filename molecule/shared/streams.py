"""Many senders at once, and what became of each object: acknowledged, arrived, lost, doubled."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from shared.https import trusting, url
from shared.machines import Node, wait_for

SUCCESS = 0x0000


def ct_slices(patient_id: str, count: int, side: int = 512) -> list[Dataset]:
    """Build CT slices of one patient, numbered from 1 (InstanceNumber), with `side` rows."""
    return list(itertools.islice(ct_series(patient_id, side), count))


def ct_series(patient_id: str, side: int = 512, numbers: Iterable[int] = ()) -> Iterator[Dataset]:
    """Build CT slices of one patient, as `ct_slices` does, with these numbers or without end."""
    study, series, frame = (generate_uid() for _ in range(3))
    for number in numbers or itertools.count(1):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = CTImageStorage
        image.SOPInstanceUID = generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.FrameOfReferenceUID = frame
        image.PatientID = patient_id
        image.PatientName = "Stream^Identifiable"
        image.Modality = "CT"
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.SeriesNumber, image.InstanceNumber = 1, number
        image.ImagePositionPatient = [0, 0, number]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.PixelSpacing = [1, 1]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.Rows = image.Columns = side
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 0
        image.RescaleIntercept, image.RescaleSlope = -1024, 1
        image.PixelData = number.to_bytes(2, "little") * (side * side)
        yield image


@dataclass
class Stream:
    """Senders that, like a PACS, offer each object again until it is acknowledged.

    Attributes:
        objects: what is sent; each has an InstanceNumber of its own.
        pace: least seconds from one object to the next, over all senders.
        patience: seconds for which a sender waits for an answer; 60 are usual for a PACS.
        offered: SOP Instance UID and InstanceNumber of each object that was sent at least once.
        acknowledged: InstanceNumber of the objects that the node answered with Success.
        refusals: associations that were rejected or aborted, and other answers than Success.
    """

    node: Node
    objects: Iterable[Dataset]
    senders: int = 16
    pace: float = 0
    patience: float = 60
    called: str = "CTP"
    calling: str = "PACS"
    port: int = 8104
    offered: dict[str, int] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)
    refusals: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._next: Iterator[Dataset] = iter(self.objects)
        self._stop = threading.Event()
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, daemon=True) for _ in range(self.senders)
        ]

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def wait(self, count: int, seconds: float = 300) -> None:
        """Wait until this many objects are acknowledged."""
        wait_for(
            f"{count} objects are acknowledged",
            lambda: len(self.acknowledged) >= count,
            seconds,
        )

    def finish(self, seconds: float = 300) -> None:
        """Send nothing that is new, and wait until all that was sent is acknowledged."""
        self._enough.set()
        for thread in self._threads:
            thread.join(seconds)
        missing = set(self.offered.values()) - self.acknowledged
        assert not missing, f"Not acknowledged after {seconds:g} s: {len(missing)} objects"

    def _take(self) -> Dataset | None:
        with self._turn:
            if self._enough.is_set():
                return None
            image = next(self._next, None)
            if image is not None:
                self.offered[str(image.SOPInstanceUID)] = int(image.InstanceNumber)
                self._enough.wait(self.pace)
            return image

    def _send(self) -> None:
        association: Any = None
        while not self._stop.is_set():
            image = self._take()
            if image is None:
                break
            while not self._stop.is_set():
                if association is None or not association.is_established:
                    association = self._associate()
                if association is not None and self._store(association, image):
                    break
                with self._lock:
                    self.refusals += 1
                self._stop.wait(0.3)
        if association is not None and association.is_established:
            association.release()

    def _associate(self) -> Any:
        ae = AE(ae_title=self.calling)
        # As patient as a PACS: 30 s for an association is usual.
        ae.connection_timeout, ae.acse_timeout = 5, 30
        ae.dimse_timeout = ae.network_timeout = self.patience
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = ae.associate(self.node.address, self.port, ae_title=self.called)
        return association if association.is_established else None

    def _store(self, association: Any, image: Dataset) -> bool:
        try:
            answer = association.send_c_store(image)
        except (RuntimeError, ValueError, AttributeError):
            return False
        if "Status" not in answer or answer.Status != SUCCESS:
            return False
        with self._lock:
            self.acknowledged.add(int(image.InstanceNumber))
        return True


_serve_request = Association._serve_request


def _keep_answers(self: Association, message: Any, context: int) -> None:
    """Give back an answer that pynetdicom's own thread took from who waits for it.

    The thread says that it is paused just before it looks (``Association._run_reactor``, 3.0), and
    on a busy machine looks when the answer is there. It would drop it, and the sender time out.
    """
    if message.is_valid_response:
        self.dimse.msg_queue.put((context, message))
    else:
        _serve_request(self, message, context)


# For every sender of these tests.
Association._serve_request = _keep_answers  # type: ignore[assignment, method-assign]


@dataclass(frozen=True)
class Balance:
    """What became of the acknowledged objects."""

    acknowledged: int
    arrived: int
    doubled: int
    quarantined: int
    lost: int

    def __str__(self) -> str:
        return (
            f"acknowledged {self.acknowledged}, arrived {self.arrived}, doubled {self.doubled}, "
            f"quarantined {self.quarantined}, lost {self.lost}"
        )


@dataclass(frozen=True)
class Rest:
    """An HTTP API with a login, as this machine sees it.

    Attributes:
        node: whose CAs are trusted; None for one in clear.
    """

    url: str
    user: str
    password: str
    node: Node | None = None

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """Return the JSON that a path answers with."""
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers=self.headers(),
        )
        with self.open(request, 30) as answer:
            return json.load(answer)

    def open(self, request: urllib.request.Request, timeout: float = 60) -> Any:
        """Send a request to this API and return its answer."""
        context = trusting(self.node) if self.node else None
        return urllib.request.urlopen(request, timeout=timeout, context=context)

    def headers(self) -> dict[str, str]:
        """Return the login, and what a browser would not send for a foreign page."""
        login = b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {login}", "X-Requested-With": "auscat"}


def page(node: Node, port: int, user: str, password: str) -> Rest:
    """Return a page of a node."""
    return Rest(url(node, port), user, password, node)


def arrived(orthanc: Rest, pseudonym: str) -> Counter[int]:
    """Return how often each InstanceNumber of a patient is in Orthanc."""
    query = {"Level": "Instance", "Query": {"PatientID": pseudonym}, "Expand": True}
    query["RequestedTags"] = ["InstanceNumber"]
    found: Counter[int] = Counter()
    for since in itertools.count(0, 100):
        page = orthanc.ask("/tools/find", {**query, "Since": since, "Limit": 100})
        found.update(int(each["MainDicomTags"]["InstanceNumber"]) for each in page)
        if len(page) < 100:
            return found
    raise AssertionError("unreachable")


def balance(
    orthanc: Rest,
    pseudonym: str,
    stream: Stream,
    quarantined: Callable[[], set[str]],
    seconds: float = 180,
    settled: Callable[[], bool] = lambda: True,
) -> Balance:
    """Wait until every acknowledged object has arrived or lies in quarantine, and count.

    Args:
        quarantined: asks for the SOP Instance UIDs in CTP's quarantines.
        seconds: after which what is missing counts as lost, and what is in both places as doubled.
        settled: whether nothing is on its way any more, which is waited for as long.
    """
    number_of = stream.offered
    deadline = time.monotonic() + seconds
    while True:
        try:
            there = arrived(orthanc, pseudonym)
            held = {number_of[uid] for uid in quarantined() if uid in number_of}
            done = settled()
        except (OSError, HTTPException, ValueError):  # not up again yet
            assert time.monotonic() < deadline, "Orthanc or CTP's page does not answer"
            time.sleep(1)
            continue
        missing = stream.acknowledged - set(there) - held
        both = held & set(there)
        if (done and not missing and not both) or time.monotonic() > deadline:
            return Balance(
                len(stream.acknowledged),
                len(set(there) & stream.acknowledged),
                sum(count - 1 for count in there.values()) + len(both),
                len((held - set(there)) & stream.acknowledged),
                len(missing),
            )
        time.sleep(1)
