"""Whatever transfer syntax somebody asks for, Orthanc answers and goes on running."""

from __future__ import annotations

import base64
import io
import json
import struct
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pydicom
import pytest
from conftest import passwords
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, JPEG2000Lossless, SecondaryCaptureImageStorage, generate_uid
from shared.https import trusting, url
from shared.machines import Node
from shared.streams import Rest, ct_slices, page
from test_36_archive import marked

SIDE = 64
# PS3.6 A-1: uncompressed, JPEG, JPEG-LS, JPEG 2000 with Part 2, MPEG, HTJ2K, RLE; and none at all.
UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
BY_DCMTK = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80")
OTHERS = (
    *(f"1.2.840.10008.1.2.{number}" for number in ("1.99", "2", "5")),
    *(
        f"1.2.840.10008.1.2.4.{number}"
        for number in (50, 57, 81, 90, 91, 92, 93, 94, 100, 107, 201)
    ),
    "1.2.3",
)
SYNTAXES = (*UNCOMPRESSED, *BY_DCMTK, *OTHERS)


@dataclass(frozen=True)
class Stored:
    """An object in the archive: Orthanc's numbers of it and of its study, and its UIDs."""

    instance: str
    study: str
    uids: tuple[str, str, str]


def grey() -> Dataset:
    """A CT slice with 12 bits that differ from pixel to pixel."""
    [image] = ct_slices("", 1, SIDE)
    image.BitsStored, image.HighBit = 12, 11
    count = SIDE * SIDE
    image.PixelData = struct.pack(f"<{count}H", *(at * 7 % 4096 for at in range(count)))
    return image


def colours() -> Dataset:
    """A photograph, as it were."""
    [image] = ct_slices("", 1, SIDE)
    image.SOPClassUID, image.Modality = SecondaryCaptureImageStorage, "OT"
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
    image.PixelData = bytes(at % 251 for at in range(3 * SIDE * SIDE))
    return image


def compressed(image: Dataset) -> Dataset:
    """The CT slice as JPEG 2000, by OpenJPEG."""
    out = io.BytesIO()
    Image.frombytes("I;16", (SIDE, SIDE), image.PixelData).save(out, "JPEG2000", no_jp2=True)
    image.PixelData = encapsulate([out.getvalue()])
    image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
    image.file_meta.TransferSyntaxUID = JPEG2000Lossless
    image.BitsStored, image.HighBit = 16, 15
    return image


MADE = {"grey": grey, "colours": colours, "JPEG 2000": lambda: compressed(grey())}


def ask(
    node: Node, user: str, path: str, body: bytes | None = None, accept: str = "*/*"
) -> tuple[int, bytes]:
    """Ask Orthanc as one of its users."""
    login = base64.b64encode(f"{user}:{passwords(node)[user]}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Accept": accept}
    request = urllib.request.Request(f"{url(node, 8042)}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60, context=trusting(node)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture(scope="module")
def stored(node: Node) -> Iterator[Mapping[str, Stored]]:
    """One object of each kind; they are taken away again."""
    admin: Rest = page(node, 8042, "admin", passwords(node)["admin"])
    found = {}
    for name, make in MADE.items():
        image = make()
        marked(image)
        image.SOPInstanceUID = generate_uid()
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        content = io.BytesIO()
        image.save_as(content, enforce_file_format=True)
        status, said = ask(node, "admin", "/instances", content.getvalue())
        assert status == 200, said
        answer = json.loads(said)
        uids = (image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID)
        found[name] = Stored(answer["ID"], answer["ParentStudy"], uids)
    yield found
    for each in found.values():
        admin.ask(f"/studies/{each.study}", method="DELETE")


@pytest.fixture
def running(node: Node) -> Iterator[None]:
    """Orthanc is the same process afterwards, and answers."""

    def process() -> tuple[int, str]:
        state = node.tasks("auscat_orthanc")[0]["State"]
        return state["Pid"], state["StartedAt"]

    before = process()
    yield
    assert process() == before
    assert ask(node, "researcher", "/system")[0] == 200


def ways(each: Stored, syntax: str) -> Iterator[tuple[str, str, Any, str]]:
    """Every way to ask for a syntax: user, path, question in the body, Accept."""
    study, series, instance = each.uids
    of = f"/dicom-web/studies/{study}"
    one = f"{of}/series/{series}/instances/{instance}"
    objects = f'multipart/related; type="application/dicom"; transfer-syntax={syntax}'
    yield "researcher", of, None, objects
    yield "researcher", one, None, objects
    frames = f'multipart/related; type="application/octet-stream"; transfer-syntax={syntax}'
    yield "researcher", f"{one}/frames/1", None, frames
    yield "researcher", f"/instances/{each.instance}/file?transcode={syntax}", None, "*/*"
    query = f"requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"
    query += f"&contentType=application/dicom&transferSyntax={syntax}"
    yield "researcher", f"/wado?{query}", None, "*/*"
    for kind in ("archive", "media"):
        yield "researcher", f"/studies/{each.study}/{kind}?transcode={syntax}", None, "*/*"
        question: dict[str, Any] = {"Transcode": syntax}
        yield "researcher", f"/studies/{each.study}/{kind}", question, "*/*"
        question = {"Resources": [each.study], "Transcode": syntax}
        yield "researcher", f"/tools/create-{kind}", question, "*/*"
    change = {"Transcode": syntax, "Keep": ["SOPInstanceUID"], "Force": True}
    yield "admin", f"/instances/{each.instance}/modify", change, "*/*"


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("kind", sorted(MADE))
def test_asking_for_a_transfer_syntax_is_answered(
    node: Node, stored: Mapping[str, Stored], kind: str, syntax: str
) -> None:
    for user, path, question, accept in ways(stored[kind], syntax):
        body = None if question is None else json.dumps(question).encode()
        status, said = ask(node, user, path, body, accept)
        # What Orthanc cannot do it says itself; 502 and 503 are Apache's word for nobody there.
        assert status in {200, 400, 404, 406, 500}, (path, status, said[:200])


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        *((kind, syntax) for kind in sorted(MADE) for syntax in UNCOMPRESSED),
        *(("grey", syntax) for syntax in BY_DCMTK),
    ],
)
def test_what_orthanc_can_read_and_write_is_transcoded(
    node: Node, stored: Mapping[str, Stored], kind: str, syntax: str
) -> None:
    path = f"/instances/{stored[kind].instance}/file?transcode={syntax}"
    status, content = ask(node, "researcher", path)
    assert status == 200, content
    image = pydicom.dcmread(io.BytesIO(content))
    assert image.file_meta.TransferSyntaxUID == syntax
    if kind != "colours" and syntax in UNCOMPRESSED:
        assert image.SOPClassUID == CTImageStorage
        assert image.PixelData == grey().PixelData


@pytest.mark.parametrize("kind", sorted(MADE))
def test_previews_are_shown(node: Node, stored: Mapping[str, Stored], kind: str) -> None:
    status, content = ask(node, "researcher", f"/instances/{stored[kind].instance}/preview")
    assert status == 200, content
    assert Image.open(io.BytesIO(content)).size == (SIDE, SIDE)
