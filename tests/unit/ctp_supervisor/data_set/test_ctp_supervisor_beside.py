"""What stands beside the image goes, and the image stays: decoded by dcmtk and OpenJPEG."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from ctp_supervisor.data_set.image_pixel import Image, without_unused
from ctp_supervisor.data_set.rewrite import Rewriter
from ctp_supervisor.data_set.rules import NO_RULES
from ctp_supervisor.dicom.part10 import begin_data_set
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

WHEEL = Path(pydicom.__file__).parent / "data/test_files"
NAME = b"DOE^JANE 19650101 "
JPEGS = (*(f"1.2.840.10008.1.2.4.{number}" for number in range(50, 71)),)
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
J2K = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
TOOLS = {**dict.fromkeys(JPEGS, "dcmdjpeg"), **dict.fromkeys(JPEG_LS, "dcmdjpls")} | {
    str(RLELossless): "dcmdrle"
}


def needed(tool: str) -> str:
    found = shutil.which(tool)
    assert found, f"{tool} is not installed: make machine"
    return found


def file_of(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def rewritten(content: bytes) -> tuple[bytes, str, set[str]]:
    """A file as CTP gets it, whatever the pieces were; why it is held back; what was cleared."""
    stream = io.BytesIO(content)
    syntax = begin_data_set(stream)
    start = stream.tell()
    data, implicit = content[start:], syntax == ImplicitVRLittleEndian
    found = []
    for size in (1, 7, 4096, len(data)) if len(data) < 20_000 else (1001, len(data)):
        rewriter = Rewriter(implicit, implicit, NO_RULES, syntax=syntax)
        out = []
        for at in range(0, len(data), size):
            out += [bytes(each) for each in rewriter.feed(data[at : at + size])]
        out += [bytes(each) for each in rewriter.finish()]
        found.append((content[:start] + b"".join(out), rewriter.hidden, rewriter.cleared))
    # What is held back may have been cleared up to where that was found out.
    told = [each[1] or each for each in found]
    assert all(each == told[0] for each in told)
    return found[0]


def pixels(content: bytes, directory: Path) -> list[bytes]:
    """The image, decoded by somebody else; empty where nobody can."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    syntax = dataset.file_meta.TransferSyntaxUID
    path, out = directory / "in.dcm", directory / "out.raw"
    if syntax in J2K:
        found = []
        for frame in generate_frames(
            dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", 1))
        ):
            coded = directory / ("in.jp2" if frame[4:8] == b"jP  " else "in.j2k")
            coded.write_bytes(frame)
            out.unlink(missing_ok=True)
            command = [needed("opj_decompress"), "-i", str(coded), "-o", str(out)]
            run = subprocess.run(command, capture_output=True, check=False)
            if run.returncode:
                return []
            found.append(out.read_bytes())
        return found
    if syntax not in TOOLS:
        return [bytes(dataset.PixelData)]
    path.write_bytes(content)
    command = [needed(TOOLS[syntax]), str(path), str(out)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return []
    return [bytes(pydicom.dcmread(out).PixelData)]


def image(
    frames: list[bytes] | bytes, syntax: Any = ExplicitVRLittleEndian, **values: Any
) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = 4, 6
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = frames if isinstance(frames, bytes) else encapsulate(frames)
    dataset["PixelData"].VR = "OW" if isinstance(frames, bytes) else "OB"
    dataset["PixelData"].is_undefined_length = not isinstance(frames, bytes)
    return dataset


def real(name: str) -> tuple[Dataset, bytes]:
    """A file of pydicom's wheel, and its first frame."""
    dataset = pydicom.dcmread(WHEEL / name)
    return dataset, next(
        generate_frames(
            dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", None) or 1)
        )
    )


def with_frames(dataset: Dataset, frames: list[bytes], has_table: bool = True) -> bytes:
    dataset.PixelData = encapsulate(frames, has_bot=has_table)
    dataset["PixelData"].is_undefined_length = True
    return file_of(dataset)


def size(content: bytes) -> int:
    """Bytes of pixel data."""
    return len(pydicom.dcmread(io.BytesIO(content)).PixelData)


def test_real_images_stay_as_they_are(tmp_path: Path) -> None:
    """Each compressed file of the wheel that anybody decodes."""
    compared: dict[str, int] = {}
    for path in sorted(WHEEL.glob("*.dcm")):
        try:
            content = file_of(pydicom.dcmread(path))
            syntax = pydicom.dcmread(path).file_meta.TransferSyntaxUID
        except Exception:
            continue  # none that the library can write
        if syntax not in (*TOOLS, *J2K) or "sequence-delimiter" in path.name:
            continue
        if "PixelData" not in pydicom.dcmread(path):
            continue
        left, problem, _ = rewritten(content)
        assert not problem, path.name
        before = pixels(content, tmp_path)
        if before:
            assert pixels(left, tmp_path) == before, path.name
            kind = TOOLS.get(syntax, "opj_decompress")
            compared[kind] = compared.get(kind, 0) + 1
    assert compared["dcmdjpeg"] >= 10 and compared["dcmdrle"] >= 7, compared
    assert compared["dcmdjpls"] >= 3 and compared["opj_decompress"] >= 5, compared


def segment(code: int, content: bytes) -> bytes:
    return bytes([0xFF, code]) + struct.pack(">H", len(content) + 2) + content


THUMBNAIL = b"\xff\xd8" + segment(0xFE, NAME) + b"\xff\xd9"
JFIF = b"JFIF\0\1\2\1\0\x48\0\x48"
BESIDE = {
    "comment": segment(0xFE, NAME),
    "empty comment": segment(0xFE, b""),
    "Exif with a thumbnail": segment(0xE1, b"Exif\0\0" + NAME + THUMBNAIL),
    "XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + NAME),
    "ICC profile": segment(0xE2, b"ICC_PROFILE\0\1\1" + NAME),
    "Photoshop": segment(0xED, b"Photoshop 3.0\0" + NAME),
    "JFIF with a thumbnail": segment(0xE0, JFIF + b"\2\3" + NAME),
    "JFIF extension": segment(0xE0, b"JFXX\0\x10" + THUMBNAIL),
    "no JFIF": segment(0xE0, b"JFI" + NAME),
    "reserved": segment(0xF3, NAME),
    "another APP8": segment(0xE8, NAME),
    "after fill bytes": b"\xff\xff" + segment(0xFE, NAME),
    "between segments": NAME,
}


@pytest.mark.parametrize("kind", BESIDE)
@pytest.mark.parametrize("name", ["SC_rgb_jpeg_dcmtk.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_what_a_jpeg_says_beside_its_image_goes(kind: str, name: str, tmp_path: Path) -> None:
    dataset, frame = real(name)
    before = pixels(file_of(dataset), tmp_path)
    scan = frame.index(b"\xff\xda")
    more = BESIDE[kind]
    spoiled = frame[:2] + more + frame[2:scan] + more + frame[scan:]
    content = with_frames(dataset, [spoiled + b"\0" * (len(spoiled) % 2)])
    left, problem, cleared = rewritten(content)
    assert not problem and size(left) == size(content)
    assert b"JANE" in content or kind == "empty comment"
    assert b"JANE" not in left and b"Photoshop" not in left
    assert ("comments" in cleared) == (b"JANE" in content)
    # Not every reader takes everything that the standard allows, here and there.
    able = pixels(content, tmp_path)
    assert before and able in (before, []) and (able or "comment" not in kind)
    assert pixels(left, tmp_path) == able


def test_what_decoding_a_jpeg_needs_stays() -> None:
    dataset, frame = real("SC_rgb_jpeg_dcmtk.dcm")
    adobe, colours = b"Adobe\0\x64\0\0\0\0\1", b"mrfx\1"
    more = segment(0xEE, adobe) + segment(0xEE, adobe + NAME) + segment(0xE8, colours)
    more += segment(0xE0, JFIF + b"\0\0")
    left, problem, _ = rewritten(with_frames(dataset, [frame[:2] + more + frame[2:]]))
    assert not problem
    for each in (adobe, colours, JFIF):
        assert left.count(each) >= more.count(each)
    assert b"JANE" not in left


COMMENT = b"\xff\x64" + struct.pack(">HH", len(NAME) + 4, 1) + NAME


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def boxed(codestream: bytes, *, more: bytes = b"", last: bytes = b"") -> bytes:
    """A JP2 file (T.800 annex I) around a codestream; ``more``: boxes of its header."""
    height, width = struct.unpack_from(">II", codestream, 8)[::-1]
    components = int.from_bytes(codestream[40:42], "big")
    depth = codestream[42]
    header = box(b"ihdr", struct.pack(">IIHBBBB", height, width, components, depth, 7, 0, 0))
    header += box(b"colr", struct.pack(">BBBI", 1, 0, 0, 17 if components == 1 else 16))
    header += more + box(b"res ", box(b"resc", NAME))
    return (
        box(b"jP  ", b"\r\n\x87\n")
        + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
        + box(b"jp2h", header)
        + box(b"xml ", b"<name>" + NAME + b"</name>")
        + box(b"jp2c", codestream)
        + box(b"uuid", b"\7" * 16 + NAME)
        + last
    )


def tile_length(codestream: bytes, more: int) -> bytes:
    """The codestream with a longer first tile, which has its length at that place."""
    at = codestream.index(b"\xff\x90") + 6
    (length,) = struct.unpack_from(">I", codestream, at)
    return (
        codestream[:at] + struct.pack(">I", length + more if length else 0) + codestream[at + 4 :]
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda code: code.replace(b"\xff\x52", COMMENT + b"\xff\x52", 1),
        lambda code: tile_length(code, len(COMMENT)).replace(b"\xff\x93", COMMENT + b"\xff\x93", 1),
        lambda code: code.rstrip(b"\0") + NAME,
        lambda code: boxed(code.rstrip(b"\0")),
        lambda code: boxed(code.rstrip(b"\0"), last=struct.pack(">I", 0) + b"xml " + NAME),
    ],
    ids=["main header", "tile header", "behind", "boxes", "last box"],
)
@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_jp2klossless.dcm"])
def test_what_a_jpeg_2000_says_beside_its_image_goes(
    spoil: Callable[[bytes], bytes], name: str, tmp_path: Path
) -> None:
    dataset, frame = real(name)
    frame = frame[: frame.rindex(b"\xff\xd9") + 2]
    before = pixels(file_of(dataset), tmp_path)
    spoiled = spoil(frame)
    content = with_frames(dataset, [spoiled + b"\0" * (len(spoiled) % 2)])
    left, problem, cleared = rewritten(content)
    assert not problem and size(left) == size(content)
    assert b"JANE" in content and b"JANE" not in left and cleared
    assert before and pixels(left, tmp_path) == before


DEFINED = struct.pack(">4H", 1, 0, 0, 1)
PALETTE = box(b"pclr", struct.pack(">HBB", 6, 3, 7) + b"\7\7" + NAME)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda code: boxed(code, more=box(b"bpcc", code[42:43])), ""),
        (lambda code: boxed(code, more=box(b"cdef", DEFINED)), ""),
        (lambda code: boxed(code, more=box(b"bpcc", code[42:43] + NAME)), "a box with more"),
        (lambda code: boxed(code, more=box(b"bpcc", b"J")), "a box with more"),
        (lambda code: boxed(code, more=box(b"cdef", DEFINED + NAME)), "a box with more"),
        (lambda code: boxed(code, more=box(b"cdef", b"\0\1DOE^JA")), "a box with more"),
        (lambda code: boxed(code, more=box(b"cdef", b"\0\3" + NAME)), "a box with more"),
        (lambda code: boxed(code, more=box(b"colr", b"\1\0\0JANE")), "a box with more"),
        (lambda code: boxed(code).replace(b"jp2 \0\0\0\0", b"jp2 JANE"), "a box with more"),
        (lambda code: boxed(code).replace(b"\r\n\x87\n", b"JANE"), "a box with more"),
        (lambda code: boxed(code, more=PALETTE), "a palette"),
        (lambda code: boxed(code, more=box(b"cmap", b"\0\0\1\0" + NAME)), "a palette"),
        (lambda code: code.replace(b"\xff\x52", segment(0x60, NAME) + b"\xff\x52", 1), "a segment"),
        (lambda code: code.replace(b"\xff\x93", segment(0x61, NAME) + b"\xff\x93", 1), "a segment"),
    ],
)
def test_what_a_jpeg_2000_says_of_its_colours_is_that_or_is_held_back(
    spoil: Callable[[bytes], bytes], why: str, tmp_path: Path
) -> None:
    """What each channel is, and its bits; palettes and headers of packets no clinical image has."""
    dataset, frame = real("JPEG2000.dcm")
    before = pixels(file_of(dataset), tmp_path)
    spoiled = spoil(frame[: frame.rindex(b"\xff\xd9") + 2])
    content = with_frames(dataset, [spoiled + b"\0" * (len(spoiled) % 2)])
    left, problem, _ = rewritten(content)
    assert problem.startswith(why) and bool(problem) == bool(why)
    if not why:
        assert b"JANE" in content and b"JANE" not in left
        assert before and pixels(content, tmp_path) == before == pixels(left, tmp_path)


def test_bytes_behind_a_frame_go_and_frames_stay_where_they_are(tmp_path: Path) -> None:
    dataset, frame = real("SC_rgb_jpeg_dcmtk.dcm")
    dataset.NumberOfFrames = 2
    spoiled = frame.rstrip(b"\0") + NAME
    content = with_frames(dataset, [spoiled + b"\0" * (len(spoiled) % 2)] * 2)
    left, problem, cleared = rewritten(content)
    assert (problem, cleared, size(left)) == ("", {"bytes behind frames"}, size(content))
    assert b"JANE" not in left
    clean = pixels(with_frames(dataset, [frame] * 2), tmp_path)
    assert clean and pixels(left, tmp_path) == clean


def fragments(dataset: Dataset, table: bytes, parts: list[bytes]) -> bytes:
    """A file with these for the basic offset table and the fragments."""
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(p)) + p for p in [table, *parts])
    dataset.PixelData = items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    dataset["PixelData"].is_undefined_length = True
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_a_fragment_of_no_frame_goes(tmp_path: Path) -> None:
    for name in ("SC_rgb_jpeg_dcmtk.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm"):
        dataset, frame = real(name)
        before = pixels(file_of(dataset), tmp_path)
        left, problem, cleared = rewritten(fragments(dataset, b"", [frame, NAME]))
        assert (problem, b"JANE" in left) == ("", False)
        assert "bytes behind frames" in cleared
        assert pydicom.dcmread(io.BytesIO(left)).PixelData.count(b"\xfe\xff\x00\xe0") == 2
        assert before and pixels(left, tmp_path) == before


def test_a_frame_may_be_in_several_fragments(tmp_path: Path) -> None:
    dataset, frame = real("SC_rgb_jpeg_dcmtk.dcm")
    more = segment(0xFE, NAME)
    frame = frame[:2] + more + frame[2:]
    parts = [frame[:6], frame[6:10], frame[10:1200], frame[1200:]]
    size = sum(8 + len(each) for each in parts)
    dataset.NumberOfFrames = 2
    left, problem, _ = rewritten(fragments(dataset, struct.pack("<II", 0, size), parts * 2))
    assert (problem, b"JANE" in left) == ("", False)
    assert struct.pack("<II", 0, size) in left


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (NAME, ""),
        (b"DOE^", ""),
        (struct.pack("<II", 0, 0), ""),
        (struct.pack("<II", 0, int.from_bytes(b"JANE", "little")), "an offset table that"),
    ],
)
def test_an_offset_table_that_is_none_goes(table: bytes, problem: str) -> None:
    dataset, frame = real("SC_rgb_jpeg_dcmtk.dcm")
    dataset.NumberOfFrames = 2
    left, why, cleared = rewritten(fragments(dataset, table, [frame, frame]))
    assert why.startswith(problem) and bool(why) == bool(problem)
    if not problem:
        assert cleared == {"offset tables"}
        found = pydicom.dcmread(io.BytesIO(left)).PixelData
        assert found.startswith(struct.pack("<HHI", 0xFFFE, 0xE000, 0))
        assert found.count(frame) == 2


def rle(planes: list[bytes], gap: bytes = b"", behind: bytes = b"", header: bytes = b"") -> bytes:
    """A frame of literal runs (PS3.5 G.3)."""
    parts = []
    for plane in planes:
        runs = [plane[at : at + 128] for at in range(0, len(plane), 128)]
        parts.append(b"".join(bytes([len(run) - 1]) + run for run in runs) + behind)
    starts = [64 + len(gap) + sum(map(len, parts[:number])) for number in range(len(parts))]
    head = struct.pack("<I", len(parts)) + struct.pack(f"<{len(parts)}I", *starts)
    return (head + header).ljust(64, b"\0")[:64] + gap + b"".join(parts)


@pytest.mark.parametrize("spoil", ["gap", "behind", "header"])
def test_what_a_frame_of_rle_has_beside_its_image_goes(spoil: str, tmp_path: Path) -> None:
    planes = [bytes(range(1, 13)) * 2, bytes(range(24))]
    spoiled: dict[str, Any] = {spoil: NAME}
    content = file_of(image([rle(planes, **spoiled)], RLELossless, BitsStored=16, HighBit=15))
    left, problem, cleared = rewritten(content)
    assert (problem, cleared) == ("", {"bytes behind frames"})
    assert b"JANE" in content and b"JANE" not in left and len(left) == len(content)
    expected = bytes(byte for pair in zip(planes[1], planes[0]) for byte in pair)
    assert pixels(left, tmp_path) == [expected]


def test_unused_bits_of_rle_are_cleared(tmp_path: Path) -> None:
    """Runs of both kinds; a signed image has its sign there."""
    low = bytes(range(24))
    for signed, high, wanted in (
        (0, b"\xf3" * 12 + b"\x4f" * 12, b"\x03" * 12 + b"\x0f" * 12),
        (1, b"\xf3" * 12 + b"\x8f" * 12, b"\x03" * 12 + b"\xff" * 12),
    ):
        most = bytes([257 - 12, high[0], 11]) + high[12:] + b"\0"
        frame = struct.pack("<III", 2, 64, 64 + len(most)).ljust(64, b"\0")
        frame += most + bytes([23]) + low + b"\0"
        sent = image([frame], RLELossless, PixelRepresentation=signed)
        left, problem, cleared = rewritten(file_of(sent))
        assert (problem, cleared) == ("", {"unused bits"})
        expected = bytes(byte for pair in zip(low, wanted) for byte in pair)
        assert pixels(left, tmp_path) == [expected]


def test_a_large_frame_of_rle_comes_out_as_it_was(tmp_path: Path) -> None:
    planes = [bytes((each * each) % 16 for each in range(300 * 200)), bytes(range(200)) * 300]
    sent = file_of(image([rle(planes)], RLELossless, Rows=300, Columns=200))
    left, problem, cleared = rewritten(sent)
    assert (left, problem, cleared) == (sent, "", set())


# allocated, stored, high, signed, padding value
LAYOUTS = [
    (16, 12, 11, 0, None),
    (16, 12, 11, 1, None),
    (16, 12, 15, 0, None),
    (16, 10, 12, 0, None),
    (16, 10, 12, 1, None),
    (16, 8, 7, 0, None),
    (16, 7, 6, 1, None),
    (16, 15, 14, 1, None),
    (16, 16, 15, 1, None),
    (16, 12, 11, 0, 0xF830),
    (8, 6, 5, 0, None),
    (8, 7, 6, 1, None),
    (32, 24, 23, 1, None),
    (64, 40, 39, 0, None),
]


def stored_value(sample: int, allocated: int, stored: int, high: int, signed: int) -> int:
    """The number that a sample stands for (PS3.5 8.1.1), by its text in binary."""
    bits = format(sample, f"0{allocated}b")[allocated - 1 - high :][:stored]
    return int(bits, 2) - ((1 << stored) if signed and bits[0] == "1" else 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_unused_bits_are_cleared_and_no_number_changes(layout: tuple[Any, ...]) -> None:
    allocated, stored, high, signed, padding = layout
    values = Image(1, 1, 1, b"", 1, allocated, stored, high, bool(signed), padding)
    code = {8: "B", 16: "H", 32: "I", 64: "Q"}[allocated]
    step = max(1, (1 << allocated) // 9973)
    samples = list(range(0, 1 << allocated, step))
    count = len(samples)
    data = struct.pack(f"<{count}{code}", *samples)
    found = struct.unpack(f"<{count}{code}", without_unused(values, data))
    for before, after in zip(samples, found):
        value = stored_value(after, allocated, stored, high, signed)
        assert value == stored_value(before, allocated, stored, high, signed)
        if before == padding:
            assert after == padding
            continue
        # Whatever else might have been there, there is one form of each number.
        wanted = value << (high - stored + 1)
        assert after == wanted % (1 << allocated)
    again = struct.pack(f"<{count}{code}", *found)
    assert without_unused(values, again) == again


def test_text_in_unused_bits_goes_and_a_padding_value_stays(tmp_path: Path) -> None:
    clean = struct.pack("<24H", *range(100, 124))
    drawn = struct.pack("<24H", *((number | 0x8000 * (number % 2)) for number in range(100, 124)))
    for values in ({}, {"OverlayOff": None}):
        sent = image(drawn)
        if values:
            sent.add_new(0x60000102, "US", 15)
        left, problem, cleared = rewritten(file_of(sent))
        assert (problem, cleared) == ("", {"unused bits"})
        assert pixels(left, tmp_path) == [clean]
    padded = struct.pack("<24H", *([63536] * 3), *range(21))
    # Old CT: -2000 in 16 bits stored; and in an image that says 12.
    for more in (
        {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1},
        {"PixelPaddingValue": 63536},
        {"PixelRepresentation": 1},
    ):
        sent = image(padded, **more)
        left, problem, cleared = rewritten(file_of(sent))
        assert (problem, cleared) == ("", set())
        assert pixels(left, tmp_path) == [padded]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_bytes_behind_the_last_frame_go(syntax: UID, tmp_path: Path) -> None:
    whole = bytes(range(16)) * 3
    eight: dict[str, Any] = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    colour = eight | {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422"}
    bits: dict[str, Any] = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "Rows": 3}
    for sent, wanted in (
        (image(whole + NAME, syntax), whole),
        (image(whole, syntax, Rows=8), whole),
        (image(whole + NAME, syntax, **eight, NumberOfFrames=2), whole),
        (image(whole[:15] + b"J", syntax, **eight, Rows=3, Columns=5), whole[:15] + b"\0"),
        (image(whole[:15] + NAME[:7], syntax, **eight, Rows=3, Columns=5), whole[:15] + b"\0"),
        (image(whole + NAME, syntax, **colour), whole),
        (image(b"\xff\xff\xff\xff", syntax, **bits), b"\xff\xff\x03\0"),
        (image(b"\xff\xff\3\0", syntax, **bits, Columns=3, NumberOfFrames=2), b"\xff\xff\3\0"),
    ):
        left, problem, cleared = rewritten(file_of(sent))
        assert problem == ""
        assert pixels(left, tmp_path) == [wanted]
        assert bool(cleared) == (wanted != sent.PixelData)


def test_bytes_behind_floating_point_pixels_go() -> None:
    for keyword, bits, size in (("FloatPixelData", 32, 96), ("DoubleFloatPixelData", 64, 192)):
        sent = image(b"")
        del sent.PixelData, sent.BitsStored, sent.HighBit
        sent.BitsAllocated = bits
        setattr(sent, keyword, bytes(size) + NAME)
        left, problem, _ = rewritten(file_of(sent))
        found = pydicom.dcmread(io.BytesIO(left))
        assert (problem, found[keyword].value) == ("", bytes(size))


def without(dataset: Dataset, keyword: str) -> Dataset:
    delattr(dataset, keyword)
    return dataset


def held_back() -> Iterator[tuple[str, bytes, str]]:
    jpeg, frame = real("SC_rgb_jpeg_dcmtk.dcm")
    j2k, code = real("JPEG2000.dcm")
    whole = bytes(48)
    yield "no size", file_of(without(image(whole), "Rows")), "does not say how large"
    yield "more frames", file_of(image(whole * 3)), "more frames than it says"
    yield (
        "too much colour",
        file_of(
            image(
                bytes(72),
                BitsAllocated=8,
                BitsStored=8,
                HighBit=7,
                SamplesPerPixel=3,
                PhotometricInterpretation="YBR_FULL_422",
            )
        ),
        "too many for 4 x 6 of YBR_FULL_422",
    )
    low = struct.pack("<24H", *range(100, 124))
    yield "low bits", file_of(image(low, HighBit=15)), "bits below the 12 that are stored"
    bits: dict[str, Any] = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "Rows": 3}
    bits |= {"Columns": 3, "NumberOfFrames": 16}
    yield "whole bytes", file_of(image(b"\xff\1" * 16, **bits)), "begin at whole bytes"
    yield "no such bits", file_of(image(whole, HighBit=3)), "12 bits stored below bit 3 of 16"
    yield "video", file_of(image([b"\0\0\1\xb3"], "1.2.840.10008.1.2.4.100")), "not looked into"
    yield "no JPEG", file_of(image([NAME], JPEGBaseline8Bit)), "no JPEG"
    yield "no JPEG-LS", file_of(image([NAME], JPEGLSLossless)), "no JPEG"
    yield "no JPEG 2000", file_of(image([NAME], JPEG2000Lossless)), "no JPEG 2000"
    yield "no RLE", file_of(image([NAME * 4], RLELossless)), "segments of RLE"
    yield "a frame more", with_frames(jpeg, [frame, frame]), "more frames than it says"
    jpeg.Rows -= 1
    yield "a row more", with_frames(jpeg, [frame]), "compressed are 100 x 100, not 99 x 100"
    jpeg.Rows += 1
    jpeg.SamplesPerPixel = 1
    yield "a colour more", with_frames(jpeg, [frame]), "3 components where 1 are the image"
    jpeg.SamplesPerPixel = 3
    size = frame.index(b"\xff\xdb") + 2
    long = struct.pack(">H", int.from_bytes(frame[size : size + 2], "big") + len(NAME))
    table = frame[:size] + long + NAME + frame[size + 2 :]
    yield "a long table", with_frames(jpeg, [table]), "more in it than its table"
    unknown = code.replace(b"\xff\x52", b"\xff\x6f\0\x14" + NAME + b"\xff\x52", 1)
    yield "unknown segment", with_frames(j2k, [unknown]), "FF6F of JPEG 2000"
    for marker in (b"\xff\x52", b"\xff\x5c"):
        end = code.index(marker) + 2
        end += int.from_bytes(code[end : end + 2], "big")
        length = struct.pack(">H", end - code.index(marker) - 2 + len(NAME))
        table = code[: code.index(marker) + 2] + length + code[code.index(marker) + 4 : end]
        yield f"a long {marker.hex()}", with_frames(j2k, [table + NAME + code[end:]]), "more in it"
    j2k.BitsStored, j2k.HighBit = 10, 9
    j2k.add_new(0x60000102, "US", 15)
    yield "an overlay in it", with_frames(j2k, [code]), "an overlay in unused bits"
    planes = [bytes(24), bytes(24)]
    yield "long run", file_of(image([rle([*planes[:1], bytes(25)])], RLELossless)), "longer than"
    yield "segments", file_of(image([rle([*planes, planes[0]])], RLELossless)), "3 segments of RLE"


HELD = {name: (content, why) for name, content, why in held_back()}


@pytest.mark.parametrize("kind", HELD)
def test_what_cannot_be_told_is_held_back_as_it_came(kind: str) -> None:
    content, why = HELD[kind]
    left, problem, _ = rewritten(content)
    assert why in problem
    assert "DOE" not in problem and "JANE" not in problem
    came, goes = (pydicom.dcmread(io.BytesIO(each)).PixelData for each in (content, left))
    assert came[-48:] == goes[-48:]


def test_lengths_within_jpeg_2000_have_to_be_lengths(tmp_path: Path) -> None:
    """Of tiles (TLM) and packets (PLT): decoders pass over them, and they could be any text."""
    source, coded = tmp_path / "in.raw", tmp_path / "out.j2k"
    samples = bytes((x * y) % 251 for x in range(100) for y in range(100))
    source.write_bytes(samples)
    command = [needed("opj_compress"), "-i", str(source), "-o", str(coded)]
    command += ["-F", "100,100,1,8,u", "-t", "64,64", "-PLT", "-TLM", "-n", "3"]
    subprocess.run(command, capture_output=True, check=True)
    code = coded.read_bytes()
    sizes: dict[str, Any] = {"Rows": 100, "Columns": 100, "BitsAllocated": 8}
    sizes |= {"BitsStored": 8, "HighBit": 7}
    left, problem, _ = rewritten(file_of(image([code], JPEG2000Lossless, **sizes)))
    assert problem == "" and pixels(left, tmp_path) == [samples]
    for marker, header, why in (
        (b"\xff\x55", 6, "tiles of other lengths"),
        (b"\xff\x58", 5, "a tile of another length"),
    ):
        at = code.index(marker) + header
        spoiled = code[:at] + b"JANE" + code[at + 4 :]
        _, problem, _ = rewritten(file_of(image([spoiled], JPEG2000Lossless, **sizes)))
        assert why in problem
