"""What is kept of what came, and what is made of it when an object leaves.

CTP's part is played by the interpreter, which carries out the same script; what it makes of an
object is spoiled here where something shall be found.
"""

from __future__ import annotations

import errno
import io
import json
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ctp_rules import reading
from ctp_rules.anonymizer import Anonymizer
from ctp_rules.script import parse
from ctp_supervisor.completeness import arrivals as arrivals_module
from ctp_supervisor.completeness.arrivals import Pixels, Record
from ctp_supervisor.completeness.net import Net
from ctp_supervisor.completeness.whole import Finding
from ctp_supervisor.data_set.rules import NO_RULES
from ctp_supervisor.dicom import pdu
from ctp_supervisor.engine.process import Client
from ctp_supervisor.entrance.incoming import Incoming
from ctp_supervisor.export.outgoing import Outgoing
from ctp_supervisor.export.refusals import Refusals
from ctp_supervisor.held_back.quarantine import INCOMPLETE, RESIDUAL_IDENTIFIER, Quarantines
from ctp_supervisor.lookup import tables
from ctp_supervisor.lookup.keydb import LookupUpdater, Patients, read_values
from ctp_supervisor.lookup.tables import Tables
from ctp_supervisor_site import Site
from program_settings import SettingsError
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

CONTEXT = 1
KEY = bytes(range(32))
TABLE = {"PatientID/PAT-1|": "ANON-1", "DateShift/PAT-1": "-17"}
SCRIPT = """<script>
  <p t="UIDROOT">2.25</p>
  <e en="T" t="0012fff0" n="UidKey">@@UID_KEY@@@remove()</e>
  <e en="T" t="00080016" n="SOPClassUID">@keep()</e>
  <e en="T" t="00080018" n="SOPInstanceUID">@hashuid(@UIDROOT,this,0012fff0)</e>
  <e en="T" t="00080020" n="StudyDate">@incrementdate(this,PatientID,DateShift)</e>
  <e en="T" t="00080060" n="Modality">@keep()</e>
  <e en="T" t="00081140" n="ReferencedImageSequence">@process()</e>
  <e en="T" t="00081155" n="ReferencedSOPInstanceUID">@hashuid(@UIDROOT,this,0012fff0)</e>
  <e en="T" t="00100010" n="PatientName">@always()@lookup(PatientID|IssuerOfPatientID,PatientID)</e>
  <e en="T" t="00100020" n="PatientID">@always()@lookup(PatientID|IssuerOfPatientID,PatientID)</e>
  <e en="T" t="00120062" n="PatientIdentityRemoved">@always()YES</e>
  <r en="T" t="privategroups"/>
  <r en="T" t="unspecifiedelements"/>
</script>
"""


class Node:
    """The net, with the gate's way in and the relay's way out."""

    def __init__(self, directory: Path, script: str = SCRIPT) -> None:
        self.site = Site(directory)
        self.tables = Tables(self.site.data, TABLE)
        self.settings = self.site.settings()
        self.script = script

    def open(self, script: str = SCRIPT) -> None:
        """As when the program is started."""
        self.tables = Tables(self.site.data, self.tables.current)
        files = {self.settings.pipelines[0].script: script.encode()}
        self.net = Net(self.settings, files, KEY, self.tables)
        self.net.take_up()
        self.whole = self.net.wholes[0]
        self.script = script

    @property
    def kept(self) -> list[Path]:
        return sorted((self.site.data / "arrivals/orthanc-1/objects").iterdir())

    def come(
        self, dataset: Dataset, piece: int = 5000, change: Callable[[bytes], bytes] = bytes
    ) -> bytes:
        """Send an object in; return what CTP was given. ``change``: what its bytes become first."""
        incoming = Incoming(NO_RULES, arrivals=self.whole.arrivals)
        syntax = dataset.file_meta.TransferSyntaxUID
        incoming._from, incoming._to = {CONTEXT: syntax}, {CONTEXT: syntax}
        given = b""
        for sent in pdus(change(body(dataset)), piece):
            given += b"".join(map(bytes, incoming.feed(sent)))
        incoming.close()
        return given

    def ctp(self, dataset: Dataset) -> Dataset:
        """What the script makes of it, with the table of now."""
        text = self.script.replace("@@UID_KEY@@", KEY.hex())
        source = reading.read(io.BytesIO(file(dataset)))
        current = self.tables.current
        run = Anonymizer(parse(text)).run(source, lambda k, v: current.get(f"{k}/{v}"))
        run.dataset.file_meta = dataset.file_meta
        return run.dataset

    def leave(self, left: Dataset, piece: int = 5000) -> Record | Finding:
        """Send an object out; return what is found. ``sent``: what of it may go on."""
        self.sent = b""
        outgoing = Outgoing(["ANON-"], self.whole)
        outgoing._syntaxes = {CONTEXT: str(left.file_meta.TransferSyntaxUID)}
        for sent in pdus(body(left), piece, str(left.SOPInstanceUID)):
            if outgoing.may_leave(sent):
                assert len(outgoing.leaving) == len(sent)
                self.sent += outgoing.leaving[12:]
        if outgoing.refused is None:
            assert outgoing.arrival is not None
            assert outgoing.passed == left.SOPInstanceUID
            return outgoing.arrival
        assert not outgoing.passed
        assert outgoing.refused.finding is not None, outgoing.refused.why
        return outgoing.refused.finding


def body(dataset: Dataset) -> bytes:
    content = file(dataset)
    (length,) = struct.unpack_from("<I", content, 140)
    return content[144 + length :]


def file(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def pdus(data: bytes, piece: int, uid: str = "1.2.3") -> Iterator[bytes]:
    """A C-STORE-RQ and its data set, as P-DATA-TF PDUs."""
    value = uid.encode() + b"\0" * (len(uid) % 2)
    sop_class = str(CTImageStorage).encode() + b"\0"
    command = b""
    for element, part in (
        (0x0002, sop_class),
        (0x0100, struct.pack("<H", 1)),
        (0x0110, struct.pack("<H", 1)),
        (0x0800, struct.pack("<H", 1)),
        (0x1000, value),
    ):
        command += struct.pack("<HHI", 0, element, len(part)) + part
    command = struct.pack("<HHII", 0, 0, 4, len(command)) + command
    for control, content in ((1, command), (0, data)):
        for start in range(0, len(content), piece):
            part = content[start : start + piece]
            last = 2 if start + piece >= len(content) else 0
            yield (
                struct.pack(
                    ">BxIIBB", pdu.P_DATA, len(part) + 6, len(part) + 2, CONTEXT, control | last
                )
                + part
            )


def image(uid: str = "1.2.3", syntax: Any = ExplicitVRLittleEndian, **values: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, uid
    dataset.PatientID, dataset.PatientName = "PAT-1", "Doe^Jane"
    dataset.StudyDate, dataset.Modality = "20240301", "CT"
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3.9"
    dataset.ReferencedImageSequence = [item]
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored = 100, 150, 16, 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = os.urandom(30_000)
    dataset["PixelData"].VR = "OW"
    if syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    return dataset


@pytest.fixture
def node(tmp_path: Path) -> Node:
    found = Node(tmp_path)
    found.open()
    return found


SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("piece", [7, 1000, 40_000])
def test_what_is_whole_leaves_and_is_forgotten(node: Node, syntax: Any, piece: int) -> None:
    came = image(syntax=syntax)
    node.come(came, piece)
    (kept,) = node.kept
    assert kept.stat().st_mode & 0o777 == 0o600
    assert b"Doe^Jane" in kept.read_bytes()
    found = node.leave(node.ctp(came), piece)
    assert isinstance(found, Record)
    node.whole.arrivals.gone(found)
    assert not node.kept


WITH_NAMES = SCRIPT.replace(
    '  <r en="T" t="privategroups"/>',
    """  <p t="KNOWN">Heart|Lung_L</p>
  <p t="NUMBER">[0-9]+</p>
  <e en="T" t="30060020" n="StructureSetROISequence">@process()</e>
  <e en="T" t="30060022" n="ROINumber">@keep()</e>
  <e en="T" t="30060026" n="ROIName">@if(this,matches,@KNOWN){@keep()}
    {@if(30060022,matches,@NUMBER){ROI @contents(30060022)}{ROI}}</e>
  <r en="T" t="privategroups"/>""",
)


def structures(*names: tuple[str, str]) -> list[Dataset]:
    found = []
    for number, name in names:
        item = Dataset()
        if number:
            item.ROINumber = number
        item.ROIName = name
        found.append(item)
    return found


def test_which_name_became_which_is_told(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.open(WITH_NAMES)
    names = ("1", "Heart"), ("7", "Doe"), ("8", "Doe"), ("", "Roe"), ("9", "Lung_L")
    came = image(StructureSetROISequence=structures(*names))
    node.come(came)
    found = node.leave(node.ctp(came))
    assert isinstance(found, Record)
    told = [(each.number, each.came, each.left) for each in found.names]
    assert told == [("7", "Doe", "ROI 7"), ("8", "Doe", "ROI 8"), ("", "Roe", "ROI")]
    node.whole.arrivals.gone(found)
    assert not node.kept


@pytest.mark.parametrize(
    "names",
    [
        [("3", "Doe"), ("4", "Heart"), ("3", "Roe")],
        [("", "Doe"), ("1", "Heart"), ("", "Roe")],
    ],
)
def test_two_names_that_became_one_are_held_back(
    tmp_path: Path, names: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(tmp_path)
    node.open(WITH_NAMES)
    came = image(StructureSetROISequence=structures(*names))
    node.come(came)
    found = node.leave(node.ctp(came))
    assert isinstance(found, Finding) and found.incomplete
    assert found.why.startswith("(3006,0020) has structures that would leave under one name")
    assert "Doe" not in found.why + caplog.text
    assert node.kept


def less(dataset: Dataset) -> None:
    del dataset.Modality


def less_inside(dataset: Dataset) -> None:
    del dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID


def fewer(dataset: Dataset) -> None:
    dataset.ReferencedImageSequence = []


def another_day(dataset: Dataset) -> None:
    dataset.StudyDate = "20240302"


def fewer_pixels(dataset: Dataset) -> None:
    dataset.PixelData = bytes(dataset.PixelData[:-2]) + b"\0\1"


def without_pixels(dataset: Dataset) -> None:
    del dataset.PixelData


def more(dataset: Dataset) -> None:
    dataset.StudyDescription = "Jane's head"


@pytest.mark.parametrize(
    ("spoil", "why", "incomplete"),
    [
        (less, "(0008,0060) is missing", True),
        (less_inside, "(0008,1140)[0]/(0008,1155) is missing", True),
        (fewer, "(0008,1140) has another value", True),
        (another_day, "(0008,0020) has another value", True),
        (fewer_pixels, "(7FE0,0010): not as it came", True),
        (without_pixels, "(7FE0,0010): not as it came", True),
        (more, "(0008,1030) should not be there", False),
    ],
)
def test_what_is_not_so_is_held_back(
    node: Node, spoil: Callable[[Dataset], None], why: str, incomplete: bool
) -> None:
    came = image()
    node.come(came)
    left = node.ctp(came)
    spoil(left)
    assert node.leave(left) == Finding(why, "1.2.3", incomplete)
    assert node.kept, "it is still there to be judged once more"


@pytest.mark.parametrize("piece", [1000, 40_000])
def test_what_cannot_be_read_does_not_leave(node: Node, piece: int) -> None:
    came = image()
    given = node.come(came, piece, lambda data: data + b"junkjunkjunk")
    assert b"junk" not in given
    assert node.leave(node.ctp(came)) == Finding("what came cannot be read", "1.2.3")


def test_an_object_out_of_order_is_found_again(node: Node) -> None:
    def behind(data: bytes) -> bytes:
        at, end = data.index(b"\x08\0\x18\0"), data.index(b"\x08\0\x20\0")
        modality = data.index(b"\x08\0\x40\x11")
        return data[:at] + data[end:modality] + data[at:end] + data[modality:]

    came = image()
    node.come(came, change=behind)
    assert isinstance(node.leave(node.ctp(came)), Record)


def test_what_nobody_knows_of_does_not_leave(node: Node) -> None:
    assert node.leave(node.ctp(image())) == Finding("nothing is known of what came")


def test_a_record_that_was_cut_short_says_nothing(node: Node) -> None:
    came = image()
    node.come(came)
    (kept,) = node.kept
    kept.write_bytes(kept.read_bytes()[:-5])
    node.open()
    assert node.leave(node.ctp(came)) == Finding("nothing is known of what came")


def test_a_record_that_was_cut_short_hides_no_whole_one(node: Node) -> None:
    """A kill while it was written, and the sender sent the object again."""
    came = image()
    node.come(came)
    (kept,) = node.kept
    kept.write_bytes(kept.read_bytes()[:-5])
    node.open()
    node.come(came)
    assert isinstance(node.leave(node.ctp(came)), Record)


class _FaultyFile(io.FileIO):
    """A file on a disk that reports an error."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
def test_what_cannot_be_read_now_says_nothing_of_the_object(
    node: Node, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It is neither passed nor held back for good: CTP is to send it again."""
    came = image()
    node.come(came)
    usual = Path.open

    def failing(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self not in kept:
            return usual(self, *args, **kwargs)
        if number == errno.EIO:
            return _FaultyFile(str(self))
        raise OSError(number, os.strerror(number))

    kept = node.kept
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing)
        with pytest.raises(OSError, match=os.strerror(number)):
            node.leave(node.ctp(came))
    assert isinstance(node.leave(node.ctp(came)), Record)
    # Sent twice, and one of the two records is enough.
    other = image(Modality="MR")
    node.come(other)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing)
        assert isinstance(node.leave(node.ctp(other)), Record)


def test_what_a_power_cut_left_of_a_record_is_read_off_ctp_s_file(node: Node) -> None:
    came = image()
    node.come(came)
    (kept,) = node.kept
    kept.write_bytes(b"")
    path = node.settings.pipelines[0].stage("import").root / "queue/0/a.dcm"
    path.parent.mkdir(parents=True)
    path.write_bytes(file(came))
    for _ in range(2):
        node.open()
        left = node.ctp(came)
        assert isinstance(node.leave(left), Record)
    less(left)
    assert isinstance(node.leave(left), Finding)
    assert len(node.kept) == 2


def test_what_cannot_be_told_from_the_image_is_held_back(node: Node) -> None:
    came = image()
    del came.Rows
    node.come(came)
    assert node.leave(node.ctp(came)) == Finding(
        "(7FE0,0010): what is beside the image cannot be told: it does not say how large its"
        " image is",
        "1.2.3",
        incomplete=False,
    )


DEVICE = {"Manufacturer": "ACME", "ManufacturerModelName": "Echo 3"}
REGIONS = {
    "sop_class": "",
    "manufacturer": "ACME",
    "model": "Echo 3",
    "rows": 100,
    "columns": 150,
    "regions": [{"x": 0, "y": 0, "width": 150, "height": 10}],
}
CLAIMS = SCRIPT.replace(
    "  <r", '  <e en="T" t="00120064" n="Codes">@always()reset/113100/113101</e>\n  <r', 1
)


@pytest.mark.parametrize("syntax", SYNTAXES[:2])
@pytest.mark.parametrize("piece", [1000, 29_999, 40_000])
def test_what_is_declared_leaves_blank(node: Node, syntax: Any, piece: int) -> None:
    node.site.supervisor["pixel_regions"] = [REGIONS]
    node.settings = node.site.settings()
    node.open(CLAIMS)
    came = image(syntax=syntax, **DEVICE)
    node.come(came)
    left = node.ctp(came)
    assert isinstance(node.leave(left, piece), Record)
    # A row has 300 bytes.
    assert node.sent.endswith(bytes(3000) + came.PixelData[3000:])
    assert came.PixelData[:8] not in node.sent
    # What CTP changed is found, also where nothing of it would leave.
    for at in (0, 29_999):
        spoiled = bytearray(came.PixelData)
        spoiled[at] ^= 1
        left.PixelData = bytes(spoiled)
        found = node.leave(left, piece)
        assert found == Finding("(7FE0,0010): not as it came", "1.2.3")


NOT_BLANKED = "(7FE0,0010): not blanked: "


@pytest.mark.parametrize(
    ("script", "declared", "syntax", "why"),
    [
        (SCRIPT, [REGIONS], ExplicitVRLittleEndian, "it is declared to be blanked, and was"),
        (CLAIMS, [], ExplicitVRLittleEndian, "it says that it is blanked, and nothing"),
        (
            CLAIMS,
            [{**REGIONS, "model": "Echo 4"}],
            ExplicitVRLittleEndian,
            "it says that it is blanked, and nothing",
        ),
        (CLAIMS, [REGIONS], RLELossless, "its pixel data are compressed"),
    ],
)
def test_what_is_not_blanked_and_should_be_is_held_back(
    node: Node, script: str, declared: list[Any], syntax: Any, why: str
) -> None:
    node.site.supervisor["pixel_regions"] = declared
    node.settings = node.site.settings()
    node.open(script)
    came = image(syntax=syntax, **DEVICE)
    node.come(came)
    found = node.leave(node.ctp(came))
    assert isinstance(found, Finding)
    assert found.why.startswith(NOT_BLANKED + why)
    assert (found.uid, found.incomplete) == ("1.2.3", False)


def test_two_devices_under_one_uid_are_held_back(node: Node) -> None:
    """Nobody can tell which of them leaves before all of it has."""
    node.site.supervisor["pixel_regions"] = [REGIONS]
    node.settings = node.site.settings()
    node.open(CLAIMS)
    first, second = image(**DEVICE), image()
    second.PixelData = first.PixelData
    node.come(first)
    node.come(second)
    found = node.leave(node.ctp(second))
    assert isinstance(found, Finding)
    assert found.why.startswith(NOT_BLANKED + "what came under its UID is declared")


@pytest.mark.parametrize(
    ("keyword", "value", "why"),
    [
        ("PhotometricInterpretation", "YBR_RCT", "its colours are encoded in a way"),
        ("NumberOfFrames", 2, "its pixel data are not as long as its image"),
    ],
)
@pytest.mark.parametrize("piece", [7, 1000, 40_000])
def test_what_is_sent_again_leaves_while_what_cannot_be_blanked_waits(
    node: Node, keyword: str, value: Any, why: str, piece: int
) -> None:
    """As an operator is told: have it sent uncompressed, then purge."""
    node.site.supervisor["pixel_regions"] = [REGIONS]
    node.settings = node.site.settings()
    node.open(CLAIMS)
    first, second = image(**DEVICE), image(**DEVICE)
    setattr(first, keyword, value)
    second.PixelData = first.PixelData
    node.come(first)
    node.come(second)
    assert isinstance(node.leave(node.ctp(second), piece), Record)
    assert node.sent.endswith(bytes(3000) + second.PixelData[3000:])
    # Should CTP let the first one through all the same, it does not leave as if it were the second.
    found = node.leave(node.ctp(first), piece)
    assert isinstance(found, Finding)
    assert found.why.startswith(NOT_BLANKED + why)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 0}, "rows has to be a whole number"),
        ({"regions": [{"x": 150, "y": 0, "width": 1, "height": 1}]}, "x has to be"),
        ({"regions": [{"x": 149, "y": 0, "width": 2, "height": 1}]}, "width has to be"),
        ({"model": ""}, "model has to be a text"),
    ],
)
def test_regions_that_are_none_are_refused(node: Node, change: dict[str, Any], said: str) -> None:
    node.site.supervisor["pixel_regions"] = [{**REGIONS, **change}]
    with pytest.raises(SettingsError, match=said):
        node.site.settings()


def test_what_stands_beside_the_image_in_ctp_s_file_is_held_back(node: Node) -> None:
    """It was received before anything was cleared here."""
    came = image()
    came.PixelData += b"DOE^JANE"
    path = node.settings.pipelines[0].stage("import").root / "queue/0/a.dcm"
    path.parent.mkdir(parents=True)
    path.write_bytes(file(came))
    node.open()
    found = node.leave(node.ctp(came))
    assert isinstance(found, Finding) and not found.incomplete
    assert found.why.endswith("cannot be told: bytes behind frames")


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, RLELossless])
def test_a_compressed_object_is_read_off_ctp_s_file(node: Node, syntax: Any) -> None:
    came = image()
    came.file_meta.TransferSyntaxUID = syntax
    came.PixelData = encapsulate([b"\xff\xd8\xff\xd9" * 40])
    came["PixelData"].is_undefined_length = True
    path = node.settings.pipelines[0].stage("import").root / "queue/0/a.dcm"
    path.parent.mkdir(parents=True)
    path.write_bytes(file(came))
    node.open()
    assert len(node.kept) == 1


def test_it_is_kept_before_ctp_has_the_last_byte(node: Node) -> None:
    incoming = Incoming(NO_RULES, arrivals=node.whole.arrivals)
    incoming._from = incoming._to = {CONTEXT: ExplicitVRLittleEndian}
    sent = list(pdus(body(image()), 10_000))
    for each in sent[:-1]:
        list(incoming.feed(each))
        assert not node.kept
    given = incoming.feed(sent[-1])
    next(given)
    assert len(node.kept) == 1
    incoming.close()
    assert len(node.kept) == 1


def test_what_breaks_off_is_not_kept(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals_module, "MEMORY_BYTES", 1000)
    incoming = Incoming(NO_RULES, arrivals=node.whole.arrivals)
    incoming._from = incoming._to = {CONTEXT: ExplicitVRLittleEndian}
    long = image(ImageComments="x" * 5000)
    for each in list(pdus(body(long), 3000))[:-1]:
        list(incoming.feed(each))
    assert [path.suffix for path in node.kept] == [".part"]
    incoming.close()
    assert not node.kept


def test_ctp_does_not_get_what_cannot_be_kept(node: Node) -> None:
    """The disk is full, or like here gone: the association breaks off, and the sender knows."""
    directory = node.whole.arrivals.directory
    directory.rmdir()
    incoming = Incoming(NO_RULES, arrivals=node.whole.arrivals)
    incoming._from = incoming._to = {CONTEXT: ExplicitVRLittleEndian}
    *first, last = pdus(body(image()), 10_000)
    for each in first:
        list(incoming.feed(each))
    with pytest.raises(OSError, match="No such file"):
        list(incoming.feed(last))


def test_a_full_disk_does_not_fill_with_what_broke_off(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals_module, "MEMORY_BYTES", 1000)
    directory = node.whole.arrivals.directory
    kept = arrivals_module._Kept(False, directory)
    kept.feed(bytes(5000))
    assert [path.suffix for path in node.kept] == [".part"]
    with Path("/dev/full").open("w+b", buffering=0) as full:
        kept._file = io.BufferedWriter(full)
        with pytest.raises(OSError, match="No space left"):
            kept.save(directory / "kept", b"end")
        kept.close()
    assert not node.kept


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_long_header_lies_in_a_file(
    node: Node, syntax: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals_module, "MEMORY_BYTES", 1000)
    came = image(syntax=syntax, ImageComments="x" * 9000)
    for piece in (100, 5000):
        node.come(came, piece)
        left = node.ctp(came)
        for out in (100, 5000):
            assert isinstance(node.leave(left, out), Record)
        less(left)
        assert node.leave(left) == Finding("(0008,0060) is missing", "1.2.3")


def test_after_a_restart_it_still_leaves(node: Node) -> None:
    came = image()
    node.come(came)
    node.open()
    assert isinstance(node.leave(node.ctp(came)), Record)


def test_one_that_came_twice_leaves_twice(node: Node) -> None:
    first, second = image(), image(Modality="MR")
    for came in (first, second, first):
        node.come(came)
    assert len(node.kept) == 3
    for came in (first, second, first):
        found = node.leave(node.ctp(came))
        assert isinstance(found, Record)
        node.whole.arrivals.gone(found)
    assert not node.kept


def test_another_script_since_it_came(node: Node) -> None:
    """What CTP anonymized before the script was changed is as the one before has it."""
    came = image()
    node.come(came)
    before = node.ctp(came)
    stricter = SCRIPT.replace('n="Modality">@keep()', 'n="Modality">@remove()')
    node.open(stricter)
    assert isinstance(node.leave(before), Record)
    assert isinstance(node.leave(node.ctp(came)), Record)
    late = image("1.2.4")
    node.come(late)
    node.script = SCRIPT
    found = node.leave(node.ctp(late))
    assert found == Finding("(0008,0060) should not be there", "1.2.4", False)
    for record in [*node.whole.arrivals.of(str(before.SOPInstanceUID))]:
        node.whole.arrivals.gone(record)
    node.net.sweep()
    scripts = node.site.data / "arrivals/orthanc-1/scripts"
    assert len(list(scripts.glob("*.script"))) == 1
    assert KEY.hex() not in next(iter(scripts.iterdir())).read_text()


def test_another_table_since_it_came(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PARALLEL_NS", 0)
    came = image()
    node.come(came)
    before = node.ctp(came)
    new = TABLE | {"PatientID/PAT-1|": "ANON-7", "DateShift/PAT-1": "-3"}
    node.tables.announce(new)
    node.tables.current = new
    after = node.ctp(came)
    node.tables.announce({})
    node.tables.current = {}
    node.open()
    for left in (before, after):
        assert isinstance(node.leave(left), Record)
    mixed = Dataset(before)
    mixed.file_meta = before.file_meta
    mixed.set_original_encoding(*before.original_encoding)
    mixed.StudyDate = after.StudyDate
    found = node.leave(mixed)
    assert isinstance(found, Finding)
    assert "(0008,0020) has another value" in found.why


def test_the_table_that_is_replaced_is_on_disk_first(tmp_path: Path) -> None:
    site = Site(tmp_path)
    rows = [("PAT-1", "", "ANON-1")]
    updater = LookupUpdater(site.settings(), lambda: rows)
    updater.update()
    assert updater.tables.current == {"PatientID/PAT-1|": "ANON-1"}
    rows[0] = ("PAT-1", "", "ANON-2")
    updater.update()
    path = site.data / "lookup-replaced.jsonl"
    (row,) = map(json.loads, filter(None, path.read_text().splitlines()))
    assert row[1:] == ["PatientID/PAT-1|", "ANON-1"]
    again = Tables(site.data, read_values((site.data / "lookup.properties").read_text()))
    assert len(list(again.since(row[0]))) == 1, "what nobody asked for is not another table"
    found = [lookup("PatientID", "PAT-1|") for lookup in again.since(row[0])]
    assert found == ["ANON-2", "ANON-1"]
    late = row[0] + tables.PARALLEL_NS + 1
    assert [lookup("PatientID", "PAT-1|") for lookup in again.since(late)] == ["ANON-2"]
    again.forget(late)
    assert not path.read_text()


def test_a_clock_that_was_set_back_hides_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came before another script and another table still is as they were then."""
    monkeypatch.setattr(tables, "PARALLEL_NS", 0)
    came = image()
    node.come(came)
    before = node.ctp(came)
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 3600 * 10**9)
    stricter = SCRIPT.replace('n="Modality">@keep()', 'n="Modality">@remove()')
    node.open(stricter)
    new = TABLE | {"PatientID/PAT-1|": "ANON-7"}
    node.tables.announce(new)
    node.tables.current = new
    after = node.ctp(came)
    for _ in range(2):
        for left in (before, after):
            assert isinstance(node.leave(left), Record)
        node.net.sweep()
        node.open(stricter)


@pytest.mark.parametrize("damage", [b"\xff\x80", b"\0" * 50, b"[1, \n", b"[[], 1, 2]\n", b"7\n"])
def test_damage_to_one_row_that_was_replaced_costs_no_other(tmp_path: Path, damage: bytes) -> None:
    site = Site(tmp_path)
    site.settings()
    found = Tables(site.data, {"PatientID/A|": "ANON-1", "PatientID/B|": "ANON-2"})
    for new in ({"PatientID/B|": "ANON-2"}, {}):
        found.announce(new)
        found.current = new
    path = site.data / "lookup-replaced.jsonl"
    path.write_bytes(damage + path.read_bytes() + damage)
    again = Tables(site.data, {})
    again.announce({})
    for patient_id, pseudonym in (("A|", "ANON-1"), ("B|", "ANON-2")):
        known = [lookup("PatientID", patient_id) for lookup in Tables(site.data, {}).since(0)]
        assert known == [None, pseudonym]


def test_a_sweep_removes_what_ctp_has_not(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals_module, "YOUNG_NS", 0)
    waiting, held, gone = (image(f"1.2.{number}") for number in (5, 6, 7))
    for came in (waiting, held, gone):
        node.come(came)
    pipeline = node.settings.pipelines[0]
    places = {
        pipeline.stage("import").root / "queue/0/1/a.dcm": waiting,
        pipeline.stage("export").quarantine / "b.dcm": node.ctp(held),
    }
    for path, dataset in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file(dataset))
    node.net.sweep()
    assert len(node.kept) == 3, "what is missed once is looked for again"
    node.net.sweep()
    assert len(node.kept) == 2
    for came in (waiting, held):
        assert isinstance(node.leave(node.ctp(came)), Record)


def test_what_came_before_there_was_a_net(tmp_path: Path) -> None:
    node = Node(tmp_path)
    pipeline = node.settings.pipelines[0]
    queued, quarantined, done = (image(f"1.2.{number}") for number in (5, 6, 7))
    places = {
        pipeline.stage("import").root / "queue/0/a.dcm": file(queued),
        pipeline.stage("anonymizer").quarantine / "b.dcm": file(quarantined),
        pipeline.stage("export").root / "queue/0/c.dcm": file(node.ctp(done)),
    }
    for path, content in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    node.open()
    for came in (queued, quarantined):
        left = node.ctp(came)
        assert isinstance(node.leave(left), Record)
        less(left)
        assert isinstance(node.leave(left), Finding)
    left = node.ctp(done)
    less(left)
    assert isinstance(node.leave(left), Record), "nobody knows what came"
    node.open()
    later = node.ctp(image("1.2.8"))
    (pipeline.stage("export").root / "queue/0/d.dcm").write_bytes(file(later))
    node.open()
    assert isinstance(node.leave(later), Finding), "only once is anything let through so"


def test_sums_do_not_depend_on_pieces_or_encoding() -> None:
    explicit = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 5) + b"abcde"
    implicit = struct.pack("<HHI", 0x7FE0, 0x10, 6) + b"abcde\0"
    sums = set()
    for is_implicit, data in ((False, explicit), (True, implicit)):
        for size in (1, 3, 7, 100):
            pixels = Pixels(is_implicit)
            for start in range(0, len(data), size):
                pixels.feed(data[start : start + size])
            sums.add(pixels.sum())
    assert len(sums) == 1
    shorter = Pixels(False)
    shorter.feed(explicit[:-1])
    assert shorter.sum() not in sums


def test_the_quarantine_names_the_element(node: Node) -> None:
    came = image()
    node.come(came)
    left = node.ctp(came)
    refusals = Refusals(node.site.data)
    pipeline = node.settings.pipelines[0]
    path = pipeline.stage("export").quarantine / "TQ-1.dcm"
    path.parent.mkdir(parents=True)
    path.write_bytes(file(left))
    for incomplete, reason in ((True, INCOMPLETE), (False, RESIDUAL_IDENTIFIER)):
        refusals.add(str(left.SOPInstanceUID), "(0008,0060) is missing", incomplete)
        for known in (refusals, Refusals(node.site.data)):
            quarantines = Quarantines(
                node.settings.pipelines,
                node.site.data,
                lambda: Patients({}),
                Client(0, ""),
                known,
                ["ANON-"],
            )
            (found,) = quarantines.detailed()
            assert (found["reason"], found["why"]) == (reason, "(0008,0060) is missing")
            assert not found["releasable"]
