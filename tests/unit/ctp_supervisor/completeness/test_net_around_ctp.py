"""The net for completeness, with the supervisor as a program and CTP or the stand-in in it.

Stock CTP is run where ``CTP_DISTRIBUTION`` names a directory that holds ``CTP/``, and Java is
installed.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script as ctp_script
from ansible_collections.auscat.imaging.plugins.module_utils.proof import phantom
from ctp_supervisor_node import BANNER, DECLARED, DISTRIBUTION, EXPLICIT, IMPLICIT, RULES, Node
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filereader import read_dataset
from pydicom.uid import (
    CTImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    generate_uid,
)

WHEEL = Path(pydicom.__file__).parent / "data/test_files"
TABLE = {"PatientID/PAT-1|": "ANON-1", "DateShift/PAT-1": "-17"}
OPTIONS = ctp_script.ScriptOptions(longitudinal="shifted", retain_patient_characteristics=True)
STOCK = [
    pytest.mark.stock_ctp,
    pytest.mark.skipif(
        not DISTRIBUTION.is_dir() or not shutil.which("java"),
        reason="no CTP distribution that is a directory, or no Java",
    ),
]
engines = pytest.mark.parametrize("engine", [pytest.param("ctp", marks=STOCK), "standin"])
DEVICE = {"Manufacturer": "AusCAT", "ManufacturerModelName": "Tests"}
BANNER_DEVICE = {"Manufacturer": "AusCAT", "ManufacturerModelName": "Banner"}
NO_IMAGE = {"JPEG2000-embedded-sequence-delimiter.dcm"}
"""In whose compressed image somebody wrote over the number of rows."""
NAME = b"DOE^JANE"
COORDINATE = 0.71803
"""Which no time in a log can be taken for."""


def content(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def header(sop_class: str, **values: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = EXPLICIT
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.PatientID, dataset.PatientName = "PAT-1", "Doe^Jane"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.StudyDate = "20240301"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def image(**values: Any) -> Dataset:
    dataset = header(CTImageStorage, Modality="CT", BitsAllocated=16, **values)
    dataset.Rows = dataset.Columns = 160
    dataset.PixelData = bytes(range(256)) * 200
    dataset["PixelData"].VR = "OW"
    return dataset


def structures() -> Dataset:
    """One contour longer than an explicit element can be, and a short one."""
    dataset = header(RTStructureSetStorage, Modality="RTSTRUCT")
    contours = []
    for count in (12_000, 3):
        contour = Dataset()
        contour.ContourGeometricType = "POINT"
        contour.ContourData = [COORDINATE] * (3 * count)
        contours.append(contour)
    roi = Dataset()
    roi.ReferencedROINumber = 1
    roi.ContourSequence = contours
    dataset.ROIContourSequence = [roi]
    dataset.file_meta.TransferSyntaxUID = IMPLICIT
    return dataset


def leaves_as(node: Node, dataset: Dataset) -> str:
    """The UID that the site's key gives (the script's ``@hashuid``)."""
    key = (node.site.data / "uid.key").read_bytes().hex()
    digest = hashlib.md5(f"{dataset.SOPInstanceUID}{key}@remove()".encode()).hexdigest()
    number = str(int(digest, 16))
    return f"2.25.{'9' if number.startswith('0') else ''}{number}"


def real_files(directory: Path) -> Iterator[bytes]:
    """Those of pydicom's wheel that can come over the network, of a known patient, each with a
    UID of its own; and a phantom."""
    for path in sorted(WHEEL.rglob("*.dcm")):
        if path.read_bytes()[128:132] != b"DICM":
            continue
        try:
            dataset = pydicom.dcmread(path)
            syntax = dataset.file_meta.TransferSyntaxUID
            if "SOPClassUID" not in dataset or path.name in NO_IMAGE:
                continue
            if dataset.original_encoding[0] != syntax.is_implicit_VR or syntax.is_deflated:
                continue  # it is not what it says, or the gate cannot read it: it is held back
            dataset.PatientID, dataset.SOPInstanceUID = "PAT-1", generate_uid()
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.pop("IssuerOfPatientID", None)
            # Many are captures, which their makers do not let out.
            dataset.Manufacturer, dataset.ManufacturerModelName = "AusCAT", "Tests"
            yield content(dataset)
        except Exception:
            continue  # the library cannot write what it reads
    study = phantom.make_study("1234567890", True, ct_instances=4, issuer="")
    for path in phantom.write_study(study, directory):
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "PAT-1"
        yield content(dataset)


@engines
def test_nothing_that_is_whole_is_held_back(engine: str, tmp_path: Path) -> None:
    with Node(tmp_path, TABLE, OPTIONS, engine) as node:
        nothing_is_held_back(node, tmp_path)


def beside_the_image() -> list[Dataset]:
    """Images that say a name beside what a viewer shows."""
    behind = image(SOPInstanceUID="1.2.3.1")
    behind.PixelData += NAME
    bits = image(SOPInstanceUID="1.2.3.2", BitsStored=8, HighBit=7, PixelRepresentation=0)
    hidden = bytes(byte for letter in NAME for byte in (7, letter))
    bits.PixelData = hidden + bytes(51_200 - len(hidden))
    bits.Rows = bits.Columns = 160
    comment = b"\xff\xfe" + (len(NAME) + 2).to_bytes(2, "big") + NAME
    jpeg = pydicom.dcmread(WHEEL / "SC_rgb_jpeg_dcmtk.dcm")
    j2k = pydicom.dcmread(WHEEL / "JPEG2000.dcm")
    for number, (each, before, more) in enumerate(
        (
            (jpeg, b"\xff\xdb", comment),
            (j2k, b"\xff\x52", comment.replace(b"\xff\xfe", b"\xff\x64")),
        )
    ):
        frame = next(generate_frames(each.PixelData, number_of_frames=1))
        each.PixelData = encapsulate([frame.replace(before, more + before, 1)])
        each.PatientID, each.SOPInstanceUID = "PAT-1", f"1.2.3.{3 + number}"
        each.file_meta.MediaStorageSOPInstanceUID = each.SOPInstanceUID
        each.Manufacturer, each.ManufacturerModelName = "AusCAT", "Tests"
        each.pop("IssuerOfPatientID", None)
    return [behind, bits, jpeg, j2k]


def with_a_banner() -> list[tuple[Dataset, bytes]]:
    """Images that show a name in regions that are declared, and their pixels without it."""
    found = []
    for number, (kind, samples, by_plane, frames, said, syntax) in enumerate(
        (
            ("MONOCHROME2", 1, None, 1, "YES", EXPLICIT),
            ("RGB", 3, 0, 2, None, EXPLICIT),
            ("YBR_FULL", 3, 1, 1, "NO", IMPLICIT),
        )
    ):
        each = image(
            SOPClassUID=UltrasoundImageStorage,
            SOPInstanceUID=f"1.2.4.{number}",
            PhotometricInterpretation=kind,
            SamplesPerPixel=samples,
            NumberOfFrames=frames,
            PixelRepresentation=0,
            **BANNER_DEVICE,
        )
        each.BitsAllocated = each.BitsStored = 16 if samples == 1 else 8
        each.HighBit = each.BitsStored - 1
        each.file_meta.TransferSyntaxUID = syntax
        if by_plane is not None:
            each.PlanarConfiguration = by_plane
        if said:
            each.BurnedInAnnotation = said
        size = each.BitsAllocated // 8
        came = bytearray(b"\x55" * (160 * 160 * samples * size * frames))
        clean = bytearray(came)
        for frame, (left, top, width, height), row, sample in itertools.product(
            range(frames), BANNER, range(160), range(samples)
        ):
            if not top <= row < top + height:
                continue
            for x in range(left, left + width):
                at = ((frame * 160 + row) * 160 + x) * samples + sample
                if by_plane:
                    at = ((frame * samples + sample) * 160 + row) * 160 + x
                black = 128 if kind == "YBR_FULL" and sample else 0
                came[at * size : (at + 1) * size] = bytes([NAME[x % len(NAME)]]) * size
                clean[at * size : (at + 1) * size] = black.to_bytes(size, "little")
        each.PixelData = bytes(came)
        each["PixelData"].VR = "OW"
        found.append((each, bytes(clean)))
    return found


def arrived(node: Node, dataset: Dataset) -> Dataset:
    """What left of an object."""
    uid = leaves_as(node, dataset)
    return read_dataset(
        io.BytesIO(node.arrived[uid]), node.syntax_of[uid] == IMPLICIT, is_little_endian=True
    )


def compressed(uid: str = "1.2.4.9") -> Dataset:
    """One that is to be blanked, and is compressed."""
    each = pydicom.dcmread(WHEEL / "SC_rgb_jpeg_dcmtk.dcm")
    each.PatientID, each.SOPInstanceUID = "PAT-1", uid
    each.file_meta.MediaStorageSOPInstanceUID = each.SOPInstanceUID
    each.pop("IssuerOfPatientID", None)
    each.Manufacturer, each.ManufacturerModelName = BANNER_DEVICE.values()
    return each


def torn() -> Dataset:
    """Another one, of which not all can be decompressed."""
    each = compressed("1.2.4.10")
    frame = next(generate_frames(each.PixelData, number_of_frames=1))
    scan = frame.index(b"\xff\xda")
    each.PixelData = encapsulate([frame[:scan] + b"\xff\xd9"])
    return each


def decompressed(dataset: Dataset, directory: Path) -> bytes:
    """What has to arrive of it, by another program than the one that decompresses: dcmtk."""
    before, after = directory / "compressed.dcm", directory / "decompressed.dcm"
    before.write_bytes(content(dataset))
    command = ["dcmdjpeg", "--conv-never", "--color-by-pixel", str(before), str(after)]
    subprocess.run(command, check=True, capture_output=True)
    pixels = bytearray(pydicom.dcmread(after).PixelData)
    black = bytes((0, 128, 128)) * 1000
    assert len(pixels) == 30_000
    assert pixels[: len(black)] != black
    pixels[: len(black)] = black
    return bytes(pixels)


def is_decompressed(node: Node, dataset: Dataset, directory: Path) -> None:
    left = arrived(node, dataset)
    assert node.syntax_of[leaves_as(node, dataset)] == EXPLICIT
    assert (left.PhotometricInterpretation, left.LossyImageCompression) == ("YBR_FULL", "01")
    assert left.PixelData == decompressed(dataset, directory)
    assert left.BurnedInAnnotation == "NO"
    assert "113101" in [code.CodeValue for code in left.DeidentificationMethodCodeSequence]


def nothing_is_held_back(node: Node, directory_of_files: Path) -> None:
    taken = sum(node.send(each) == 0 for each in real_files(directory_of_files))
    assert taken > 40
    vague = image(NumberOfFrames=2)
    vague.PixelData *= 3
    banners = with_a_banner()
    packed = [compressed(), torn()]
    for each in [*beside_the_image(), vague, *packed, *(each for each, _ in banners)]:
        assert node.send(content(each)) == 0
    held = node.settled()
    found = [each["why"] for each in held if each["stage"] in ("filter", "export")]
    told = "(7FE0,0010): what is beside the image cannot be told: more frames than it says"
    assert found == [told], node.log.read_text()[-5000:]
    assert [each["reason"] for each in held if each["why"] == told] == ["residual-identifier"]
    (left,) = (each for each in held if each["reason"] == "pixels-not-blanked")
    assert (left["why"], left["releasable"]) == ("its frames cannot be decompressed", False)
    is_decompressed(node, packed[0], directory_of_files)
    for each, clean in banners:
        assert any(NAME in each.PixelData[::step] for step in (1, 2, 3))
        left = arrived(node, each)
        assert left.PixelData == clean, each.PhotometricInterpretation
        assert left.BurnedInAnnotation == "NO"
        assert "113101" in [code.CodeValue for code in left.DeidentificationMethodCodeSequence]
    assert sum(b"113101" in each for each in node.arrived.values()) == len(banners) + 1
    assert len(node.arrived) > 40
    for each in beside_the_image():
        assert NAME in each.PixelData or NAME in each.PixelData[1::2]
        found = node.arrived[leaves_as(node, each)]
        assert NAME not in found and NAME not in found[::2] and NAME not in found[1::2]
    directory = node.site.data / "arrivals/orthanc-1/objects"
    # Also of one that CTP could not read the beginning is kept, while it lies there.
    node.wait(lambda: len(list(directory.iterdir())) <= len(held) + 1, "what has left is forgotten")


@engines
def test_what_another_script_takes_away_is_held_back(engine: str, tmp_path: Path) -> None:
    """CTP is given one ``@remove()`` more than the script that was judged: of contour data."""
    script = ctp_script.anonymizer_script(OPTIONS, DECLARED)
    (line,) = (each for each in script.splitlines() if 't="30060050"' in each)
    start, end = line.index(">") + 1, line.rindex("<")
    told = [(line.encode(), (line[:start] + "@remove()" + line[end:]).encode())]
    with Node(tmp_path, TABLE, OPTIONS, engine, told) as node:
        whole, lacking = image(), structures()
        waiting = image(SOPClassUID=UltrasoundImageStorage, Manufacturer="AusCAT")
        shown = image(SOPClassUID=SecondaryCaptureImageStorage, BurnedInAnnotation="yes ", **DEVICE)
        declared = image(SOPClassUID=UltrasoundImageStorage, **DEVICE)
        for each in (whole, lacking, waiting, shown, declared):
            assert node.send(content(each)) == 0
        found = {each["reason"]: each for each in node.settled()}
        held = found.pop("incomplete")
        # Their pixels are held back as they came, and a release cannot change it.
        assert set(found) == {"pixels-not-declared", "burned-in-annotation"}
        assert {each["stage"] for each in found.values()} == {"anonymizer"}
        assert not any(each["releasable"] for each in found.values())
        assert set(node.arrived) == {leaves_as(node, whole), leaves_as(node, declared)}
        assert (held["reason"], held["stage"]) == ("incomplete", "export")
        assert held["why"] == (
            "(3006,0039)[0]/(3006,0040)[0]/(3006,0050) is missing,"
            " (3006,0039)[0]/(3006,0040)[1]/(3006,0050) is missing"
        )
        assert not held["releasable"]
        assert str(COORDINATE) not in node.log.read_text()


@engines
def test_what_came_before_a_kill_leaves_after_it(engine: str, tmp_path: Path) -> None:
    """And what waits for a declaration leaves blank when it has one, and was released.

    What waits for Orthanc meanwhile, anonymized before, is held back: nobody wrote into it that it
    is blanked. The stand-in anonymizes it afterwards.
    """
    waiting, clean = with_a_banner()[1]
    waiting.ManufacturerModelName = "Not known yet"
    packed = compressed()
    packed.ManufacturerModelName = "Not known yet"
    shown, blank = with_a_banner()[2]
    shown.ManufacturerModelName = DEVICE["ManufacturerModelName"]
    with Node(tmp_path, TABLE, OPTIONS, engine) as node:
        for each in (waiting, packed):
            assert node.send(content(each)) == 0
        assert [each["reason"] for each in node.settled()] == ["pixels-not-declared"] * 2
        node.close_store()
        sent = [shown, image(), structures(), image()]
        assert node.send(content(shown)) == 0
        if engine == "ctp":
            # It goes back and forth between two directories of CTP's while Orthanc is away.
            exports = node.site.data / "roots/orthanc-1/export"
            queues = [exports / "queue", exports / "active"]
            node.wait(
                lambda: [each for queue in queues for each in queue.rglob("*") if each.is_file()],
                "it is anonymized",
            )
        for each in sent[1:3]:
            assert node.send(content(each)) == 0
        node.kill()
        node.declare(
            [
                *RULES,
                *({**RULES[1], "model": model} for model in ("Not known yet", "Tests")),
                {**RULES[2], "model": "Not known yet"},
            ]
        )
        node.start()
        assert node.send(content(sent[3])) == 0
        node.open_store()
        held = [each for each in node.quarantine() if each["stage"] == "anonymizer"]
        assert [(each["reason"], each["releasable"]) for each in held] == [
            ("known-patient", True)
        ] * 2
        assert node.release()["released"] == 2
        sent += [waiting, packed]
        node.wait(lambda: len(node.arrived) + len(node.quarantine()) == len(sent), "all arrive")
        if engine == "ctp":
            (late,) = node.quarantine()
            assert (late["reason"], late["stage"], late["releasable"]) == (
                "residual-identifier",
                "export",
                False,
            )
            assert late["why"] == (
                "(7FE0,0010): not blanked: it is declared to be blanked, and was anonymized before"
                " it was"
            )
            sent.remove(shown)
        else:
            assert node.quarantine() == []
            assert arrived(node, shown).PixelData == blank
        assert set(node.arrived) == {leaves_as(node, each) for each in sent}
        assert arrived(node, waiting).PixelData == clean
        is_decompressed(node, packed, tmp_path)
