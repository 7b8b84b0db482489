"""Compressed images that are to be blanked become the same images without compression.

Where the compression loses nothing, the oracle is the image before it. Where it does, it is what
dcmtk makes of the same file; it shares no decoder with what is tested. What compresses is dcmtk and
OpenJPEG.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctp_supervisor
import ctp_supervisor_site
import pydicom
import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import pixels as ctp_pixels
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script as ctp_script
from ctp_rules import script
from ctp_rules.anonymizer import Anonymizer
from ctp_rules.script import Script
from ctp_supervisor.completeness.arrivals import Arrivals
from ctp_supervisor.data_set.rules import NO_RULES
from ctp_supervisor.engine.process import Client
from ctp_supervisor.export.refusals import Refusals
from ctp_supervisor.held_back import unpacking
from ctp_supervisor.held_back.profile import Profile
from ctp_supervisor.held_back.quarantine import Quarantines
from ctp_supervisor.held_back.unpacking import ProblemError, Unpacker
from ctp_supervisor.lookup.keydb import Patients
from ctp_supervisor.lookup.order import Order
from ctp_supervisor.machine.disk import MIB
from ctp_supervisor.settings import Declared, Region
from ctp_supervisor_compressed import GREY, PALETTE, RGB, WORDS, YBR, by_dcmtk, by_openjpeg
from ctp_supervisor_pages import PASSWORD, CtpPagesDouble
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    MPEG2MPML,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    UltrasoundImageStorage,
)

ROWS, COLUMNS = 61, 83
DECLARED = Declared("", "AusCAT", "Banner", ROWS, COLUMNS, (Region(0, 0, COLUMNS, 10),))
IMAGES = Path(ctp_supervisor.__file__).parents[3]
UID = pydicom.uid.UID("1.2.3.4")
PIXELS = Tag(0x7FE00010)


@pytest.fixture(autouse=True)
def path_of_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the process that decompresses."""
    monkeypatch.setenv("PYTHONPATH", f"{IMAGES / 'ctp_rsna/src'}:{IMAGES / 'shared'}")


def made(encoding: dict[str, Any] = GREY, frames: int = 1, **values: Any) -> Dataset:
    """An image with other samples in each place, before it is compressed."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPInstanceUID = UID
    dataset.SOPClassUID, dataset.SOPInstanceUID = UltrasoundImageStorage, UID
    dataset.PatientID, dataset.PatientName = "PAT-1", "Doe^Jane"
    dataset.Manufacturer, dataset.ManufacturerModelName = "AusCAT", "Banner"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = ROWS, COLUMNS, frames
    region = Dataset()
    region.RegionSpatialFormat = 1
    dataset.SequenceOfUltrasoundRegions = Sequence([region])
    for keyword, value in {**encoding, **values}.items():
        setattr(dataset, keyword, value)
    if encoding is PALETTE:
        for colour in ("Red", "Green", "Blue"):
            setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(dataset, f"{colour}PaletteColorLookupTableData", bytes(512))
    count = ROWS * COLUMNS * dataset.SamplesPerPixel * frames
    most = 1 << dataset.BitsStored
    least = -most // 2 if dataset.PixelRepresentation else 0
    numbers = [least + (number * 7 // 3 + number // 500) % most for number in range(count)]
    dataset.PixelData = b"".join(
        number.to_bytes(dataset.BitsAllocated // 8, "little", signed=bool(least))
        for number in numbers
    )
    dataset.PixelData += bytes(len(dataset.PixelData) % 2)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated == 16 else "OB"
    return dataset


class Place:
    """A file in quarantine, and what is kept of what came."""

    def __init__(self, directory: Path, largest: int = 100 * MIB) -> None:
        self.path = directory / "quarantined.dcm"
        self.kept = Arrivals(directory / "objects", Anonymizer(_script()), Order())
        self.unpacker = Unpacker(self.kept, NO_RULES, [DECLARED], largest)
        self.synced = 0

    def put(self, dataset: Dataset) -> bytes:
        dataset.save_as(self.path, enforce_file_format=True)
        self.kept.take_up(self.path)
        return self.path.read_bytes()

    def unpack(self) -> Dataset:
        plan = self.unpacker.plan(self.path)
        self.unpacker.unpack(self.path, plan, self._on_disk)
        return dcmread(self.path)

    def _on_disk(self) -> None:
        self.synced += 1


def _script() -> Script:
    return script.parse('<script><e en="T" t="00080018" n="U">@keep()</e></script>')


def by_pixel(dataset: Dataset) -> bytes:
    """Its samples, all of a pixel together, without padding (PS3.3 C.7.6.3.1.3)."""
    size = ROWS * COLUMNS * dataset.BitsAllocated // 8
    count = dataset.NumberOfFrames * dataset.SamplesPerPixel
    data = dataset.PixelData[: size * count]
    if not dataset.get("PlanarConfiguration"):
        return bytes(data)
    planes = [data[at : at + size] for at in range(0, len(data), size)]
    frames = [planes[at : at + 3] for at in range(0, count, 3)]
    return b"".join(bytes(sum(zip(*frame), ())) for frame in frames)


LOSSLESS: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "JPEG": (RGB, 2, ("dcmcjpeg", "+e1")),
    "JPEG of 12 bits": (WORDS, 2, ("dcmcjpeg", "+el")),
    "JPEG, YBR": (YBR, 1, ("dcmcjpeg", "+e1")),
    "JPEG, palette": (PALETTE, 1, ("dcmcjpeg", "+e1")),
    "JPEG-LS": (RGB, 2, ("dcmcjpls",)),
    "JPEG-LS of 12 bits": (WORDS, 1, ("dcmcjpls",)),
    "RLE": (RGB, 2, ("dcmcrle",)),
    "RLE, signed": ({**WORDS, "PixelRepresentation": 1}, 1, ("dcmcrle",)),
    "JPEG 2000": (RGB, 2, ()),
    "JPEG 2000 of 12 bits": (WORDS, 1, ()),
}
LOSSY: dict[str, tuple[dict[str, Any], int, tuple[str, ...], tuple[str, ...]]] = {
    "grey": (GREY, 2, ("dcmcjpeg", "+un", "+eb"), ("dcmdjpeg",)),
    "half of the colours": (RGB, 2, ("dcmcjpeg", "+un", "+eb", "+s2"), ("dcmdjpeg", "+cn", "+px")),
    "all of the colours": (RGB, 1, ("dcmcjpeg", "+un", "+eb", "+s4"), ("dcmdjpeg", "+cn", "+px")),
    "as RGB": (RGB, 1, ("dcmcjpeg", "+un", "+eb", "+cr"), ("dcmdjpeg", "+cn", "+px")),
    "extended": (GREY, 1, ("dcmcjpeg", "+un", "+ee"), ("dcmdjpeg",)),
    "JPEG-LS": (GREY, 1, ("dcmcjpls", "+un", "+en"), ("dcmdjpls",)),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_what_lost_nothing_is_the_image_before(name: str, tmp_path: Path) -> None:
    encoding, frames, command = LOSSLESS[name]
    before = made(encoding, frames)
    right, colours = by_pixel(before), before.PhotometricInterpretation
    sent = by_dcmtk(before, tmp_path, *command) if command else by_openjpeg(before)
    assert sent.file_meta.TransferSyntaxUID.is_compressed
    place = Place(tmp_path)
    place.put(sent)
    found = place.unpack()
    assert by_pixel(found) == right
    assert found.PhotometricInterpretation == colours
    is_as_sent(found, place, sent)


@pytest.mark.parametrize("name", LOSSY)
def test_what_lost_something_is_what_another_program_makes_of_it(name: str, tmp_path: Path) -> None:
    encoding, frames, compress, decompress = LOSSY[name]
    sent = by_dcmtk(made(encoding, frames), tmp_path, *compress)
    place = Place(tmp_path)
    place.put(sent)
    other = tmp_path / "other.dcm"
    subprocess.run([*decompress, str(place.path), str(other)], check=True, capture_output=True)
    found, second = place.unpack(), dcmread(other)
    assert found.PhotometricInterpretation == second.PhotometricInterpretation
    pairs = list(zip(by_pixel(found), by_pixel(second)))
    assert len(pairs) == ROWS * COLUMNS * found.SamplesPerPixel * frames
    assert max(abs(one - two) for one, two in pairs) <= 2
    is_as_sent(found, place, sent)


def is_as_sent(found: Dataset, place: Place, sent: Dataset) -> None:
    """But for the pixels, and how they are encoded."""
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert found.file_meta.MediaStorageSOPInstanceUID == UID
    changed = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration"}
    for one, two in ((found, sent), (sent, found)):
        for each in one:
            if each.keyword not in changed:
                assert two[each.tag] == each
    assert (place.path.stat().st_mode & 0o777) == 0o600
    assert place.synced == 1
    (record,) = place.kept.of(UID)
    with record.opened() as came:
        assert came is not None
        assert came.readable and not came.hidden and not came.implicit
        assert came.pixels
        data = place.path.read_bytes()
        assert bytes(came.header.data) in data
    assert sorted(place.kept.directory.iterdir()) == [record.path]


def test_an_image_that_only_its_transfer_syntax_calls_lossy_says_so(tmp_path: Path) -> None:
    sent = by_dcmtk(made(), tmp_path, "dcmcjpeg", "+un", "+eb")
    del sent.LossyImageCompression
    place = Place(tmp_path)
    place.put(sent)
    assert place.unpack().LossyImageCompression == "01"


def with_frames(dataset: Dataset, *frames: bytes) -> Dataset:
    dataset.PixelData = encapsulate(list(frames))
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return dataset


def broken(dataset: Dataset) -> Dataset:
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    return with_frames(dataset, frame[: len(frame) // 3])


def as_syntax(dataset: Dataset, uid: str) -> Dataset:
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(uid)
    return dataset


def jpeg(directory: Path, **values: Any) -> Dataset:
    sent = by_dcmtk(made(), directory, "dcmcjpeg", "+eb")
    for keyword, value in values.items():
        setattr(sent, keyword, value)
    return sent


def rle(directory: Path, **values: Any) -> Dataset:
    sent = by_dcmtk(made(frames=2), directory, "dcmcrle")
    for keyword, value in values.items():
        setattr(sent, keyword, value)
    return sent


REFUSED: dict[str, tuple[Callable[[Path], Dataset], str]] = {
    "not compressed": (lambda _: made(), "transfer syntax"),
    "a film": (lambda at: as_syntax(jpeg(at), MPEG2MPML), "transfer syntax"),
    "12 bits": (
        lambda at: by_dcmtk(made(WORDS), at, "dcmcjpeg", "+ee"),
        "JPEG Extended of more than 8 bits",
    ),
    "colours": (lambda at: jpeg(at, PhotometricInterpretation="HSV"), "its colours"),
    "another device": (lambda at: jpeg(at, ManufacturerModelName="Other"), "nothing of it"),
    "no rows": (lambda at: jpeg(at, Rows=None), "does not say"),
    "bits": (lambda at: jpeg(at, BitsAllocated=32, BitsStored=32, HighBit=31), "32 bits"),
    "too many frames": (lambda at: rle(at, NumberOfFrames=200_000), "auscat_largest_object_mib is"),
    "cut short": (lambda at: broken(rle(at)), "frames"),
    "fewer frames": (lambda at: rle(at, NumberOfFrames=3), "frames"),
    "more frames": (lambda at: rle(at, NumberOfFrames=1), "frames"),
    "no image": (lambda at: with_frames(jpeg(at), b"\xff\xd8Doe^Jane"), "cannot be decompressed"),
    "no frames": (lambda at: rle(at, PixelData=b"\xfe\xff\0\xe0" + bytes(4)), "frames"),
    "another size": (
        lambda at: with_frames(rle(at), struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0"),
        "frames",
    ),
    "another syntax": (lambda at: as_syntax(rle(at), JPEGBaseline8Bit), "cannot be decompressed"),
    "another codec": (lambda at: as_syntax(jpeg(at), RLELossless), "cannot be decompressed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_decompressed_stays_as_it_is(name: str, tmp_path: Path) -> None:
    make, why = REFUSED[name]
    place = Place(tmp_path)
    before = place.put(make(tmp_path))
    with pytest.raises(ProblemError, match=why) as found:
        place.unpack()
    assert "Doe" not in str(found.value)
    assert place.path.read_bytes() == before
    assert len(list(place.kept.directory.iterdir())) <= 1


@pytest.mark.parametrize(
    ("encoding", "command", "says"),
    [
        (
            RGB,
            ("dcmcjpeg", "+eb"),
            {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"},
        ),
        (RGB, ("dcmcjpls",), {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}),
        (GREY, ("dcmcjpls",), {"Rows": COLUMNS, "Columns": ROWS}),
        (WORDS, ("dcmcjpeg", "+e1"), {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
        (GREY, ("dcmcjpeg", "+e1"), {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}),
    ],
)
def test_frames_that_are_not_as_the_header_says_stay_as_they_are(
    encoding: dict[str, Any], command: tuple[str, ...], says: dict[str, Any], tmp_path: Path
) -> None:
    """Decoded all the same, their rows would stand elsewhere, and a name beside the regions."""
    rows, columns = (COLUMNS, ROWS) if "Rows" in says else (ROWS, COLUMNS)
    dataset = by_dcmtk(made({**encoding, "Rows": rows, "Columns": columns}), tmp_path, *command)
    for keyword, value in {**says, "Rows": ROWS, "Columns": COLUMNS}.items():
        setattr(dataset, keyword, value)
    place = Place(tmp_path)
    before = place.put(dataset)
    for record in place.kept.of(UID):
        place.kept.gone(record)  # by the frames alone, and not by what was noticed when they came
    with pytest.raises(ProblemError, match="another size, depth or number of colours"):
        place.unpack()
    assert place.path.read_bytes() == before


def test_what_was_noticed_beside_the_image_is_not_forgotten(tmp_path: Path) -> None:
    dataset = by_openjpeg(made())
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    at = frame.index(b"\xff\x52")
    dataset.PixelData = encapsulate([frame[:at] + b"\xff\x64\0\x0a\0\1Jane^D" + frame[at:]])
    dataset["PixelData"].is_undefined_length = True
    place = Place(tmp_path)
    before = place.put(dataset)
    with pytest.raises(ProblemError, match="what is beside its image cannot be told"):
        place.unpack()
    assert place.path.read_bytes() == before


def test_what_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    before = place.put(rle(tmp_path))
    monkeypatch.setattr(unpacking, "LEAST_SECONDS", 0)
    with pytest.raises(ProblemError, match="take too long"):
        place.unpack()
    assert place.path.read_bytes() == before


def test_what_was_removed_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.put(rle(tmp_path))
    plan = place.unpacker.plan(place.path)
    place.unpacker.unpack(place.path, plan, place.path.unlink)
    assert not place.path.exists()
    assert not [each for each in place.kept.directory.iterdir() if each.suffix == ".part"]


def test_nothing_begins_after_the_end(tmp_path: Path) -> None:
    place = Place(tmp_path)
    before = place.put(rle(tmp_path))
    place.unpacker.stop()
    with pytest.raises(InterruptedError):
        place.unpack()
    assert place.path.read_bytes() == before


CONFINED = """
import os, socket
from ctp_supervisor.held_back.unpack import MEMORY_BYTES, Request, _confine
_confine(Request("", 0, "", 1, 1, 1, 1, 8, 8, False, 60))

def program():
    # Without its libraries, which it cannot open.
    if os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1]:
        raise OSError

for name, act in (
    ("file", lambda: open("/etc/hostname")),
    ("connection", lambda: socket.socket()),
    ("program", program),
    ("memory", lambda: bytearray(MEMORY_BYTES)),
):
    try:
        act()
    except (OSError, MemoryError):
        continue
    os.write(1, name.encode())
os._exit(0)
"""


def test_a_process_that_decompresses_can_do_nothing_else() -> None:
    found = subprocess.run([sys.executable, "-c", CONFINED], capture_output=True, check=True)
    assert found.stdout == b""


REGION = {"x": 0, "y": 0, "width": COLUMNS, "height": 10}
RULE = {"manufacturer": "AusCAT", "model": "Banner", "rows": ROWS, "columns": COLUMNS}
DEVICES = ctp_pixels.rules([{**RULE, "action": "blank", "regions": [REGION]}])


class Site(Place):
    """A quarantine of CTP with one compressed image in it."""

    def __init__(self, directory: Path, since: int = 0) -> None:
        super().__init__(directory)
        self.settings = ctp_supervisor_site.Site(directory / "site").settings()
        stage = self.settings.pipelines[0].stage("anonymizer").quarantine
        stage.mkdir(parents=True)
        self.path = stage / "packed.dcm"
        self.double = CtpPagesDouble(self.settings)
        self.start(since)

    def start(self, since: int = 0) -> None:
        """As the supervisor does."""
        text = ctp_script.anonymizer_script(ctp_script.ScriptOptions(), DEVICES)
        text = text.replace(ctp_script.UID_KEY_PLACEHOLDER, "ab" * 32)
        self.quarantines = Quarantines(
            self.settings.pipelines,
            self.settings.data,
            lambda: Patients({"PAT-1|": "ANON-1"}),
            Client(self.double.port, PASSWORD),
            Refusals(self.settings.data),
            profiles=[Profile(script.parse(text))],
            unpackers=[Unpacker(self.kept, NO_RULES, [DECLARED], 100 * MIB, since)],
        )

    def shown(self) -> list[tuple[str, str, bool]]:
        """Reason, why, and whether a release takes it along."""
        found = self.quarantines.detailed()
        assert [each["reason"] for each in self.quarantines.listed()] == [
            each["reason"] for each in found
        ]
        return [(each["reason"], each["why"], each["releasable"]) for each in found]

    def work(self) -> None:
        for each in self.quarantines.on_their_way():
            self.quarantines.send_on(each, self._on_disk)


def test_what_is_on_its_way_is_not_in_quarantine(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.put(rle(tmp_path))
    assert site.shown() == []
    assert site.quarantines.release() == {"released": 0, "left": {}}
    (each,) = site.quarantines.on_their_way()
    assert site.quarantines.room_for(each) > 2 * 2 * ROWS * COLUMNS
    site.work()
    assert not site.path.exists()
    assert [path for _, path, *_ in site.double.asked] == [
        "/quarantines/queueFile?p=0&s=1&filename=packed.dcm"
    ]
    assert site.synced == 1


def test_no_study_waits_for_all_of_another(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for number, study in enumerate(("1.1", "1.1", "1.1", "1.2", "1.2")):
        packed = rle(tmp_path, StudyInstanceUID=study)
        site.path = site.path.with_name(f"{number}.dcm")
        site.put(packed)
    due = site.quarantines.on_their_way()
    assert [each.study for each in due] == ["1.1", "1.2", "1.1", "1.1", "1.2"]
    assert [each.path.stem for each in due] == ["0", "3", "1", "2", "4"]


def test_what_waited_before_the_script_waits_for_a_release(tmp_path: Path) -> None:
    site = Site(tmp_path, since=time.time_ns() + 10**12)
    before = site.put(rle(tmp_path))
    assert site.shown() == [("known-patient", "", True)]
    site.work()
    assert site.path.read_bytes() == before


def test_what_cannot_be_decompressed_says_why_and_is_tried_once(tmp_path: Path) -> None:
    site = Site(tmp_path)
    before = site.put(broken(rle(tmp_path)))
    site.work()
    (found,) = site.shown()
    assert found[0] == "pixels-not-blanked"
    assert "frames" in found[1]
    assert not found[2]
    assert site.quarantines.on_their_way() == []
    assert site.path.read_bytes() == before
    assert site.quarantines.release() == {"released": 0, "left": {"pixels-not-blanked": 1}}


def test_what_was_decompressed_before_a_kill_is_sent_on_after_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.put(rle(tmp_path))
    site.unpack()
    site.start()
    assert site.shown() == []
    site.work()
    assert not site.path.exists()


def test_what_ctp_does_not_take_is_shown_and_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    site.put(rle(tmp_path))
    monkeypatch.setattr(site.double, "quarantine", lambda *_: None)
    site.work()
    assert site.quarantines.on_their_way() == []
    assert site.shown() == [("known-patient", "", True)]
