"""Names in pixels: written into the images of a proof, and looked for by OCR in what arrived.

Tesseract reads, as a program: pixels go in as PGM on its standard input, and lie in no file. Names
are written in DejaVu Sans, since OCR misreads drawn block letters, by Pillow, which also arranges
what is read. Its letters may differ by a shade from release to release, so that nothing compares
them between two machines.

A name has two words of three syllables each that follow from the proof's token. Letters that are
easily read for others (I for an exclamation mark) are not among them. White on a dark bar over the
full width, each of 50 names was read at 16, 20, 24 and at 28 pixels, in images of 512 x 128,
640 x 480 and of 1024 x 768 (tesseract 5.3.0; 0.16 to 0.33 s of processor time each). At 12 pixels
not all were, and none at 16 in the largest of these images while all around was noise.

Needs Debian's packages tesseract-ocr, tesseract-ocr-eng, fonts-dejavu-core and python3-pil.
"""

from __future__ import annotations

import array
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

try:
    from PIL import Image, ImageDraw, ImageFont

    PILLOW_ERROR = ""
except ImportError as error:
    PILLOW_ERROR = str(error)

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
SIZES = (28, 24, 20, 16)
"""Of letters, in pixels, that tesseract reads for sure; the largest for which there is room."""
_MARGIN = 4

# Behind letters, of letters, and of all around, where noise would keep OCR busy. Nothing that is
# sent is 0, so that what is blanked differs everywhere from what was there.
BAR, INK, _GROUND = 48, 255, 64

_CONSONANTS, _VOWELS = "BDKLMNPRST", "AEOU"
_SYLLABLES = 3
_TRACE = 5
"""Letters in a row that are taken for a trace of a name. By chance, OCR of noise would have to give
them in the right order: one in twelve million for each letter that it gives."""

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT = 120.0
_SMALL, _LARGER = 256, 3
"""Images up to this many pixels wide and high are enlarged this many times before they are read: a
name in them has few pixels."""
_GAP = 24
_WIDEST, _HIGHEST = 320, 80
"""No text that is written into a region is larger, with its margins."""
_CONTROL_SIZE, _CONTROL_COLUMNS, _CONTROL_ROWS = 12, 72, 24

Region = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


@dataclass(frozen=True)
class Picture:
    """An image in grey.

    Attributes:
        columns: pixels of a row.
        rows: of pixels.
        pixels: ``rows`` x ``columns`` bytes, 0 black and 255 white.
    """

    columns: int
    rows: int
    pixels: bytes


def name_of(token: str) -> tuple[str, str]:
    """Return the name that a proof writes into pixels: family and given name, in capitals."""
    digest = hashlib.sha256(f"name {token}".encode()).digest()
    syllables = [
        _CONSONANTS[byte % len(_CONSONANTS)] + _VOWELS[byte // len(_CONSONANTS) % len(_VOWELS)]
        for byte in digest[: 2 * _SYLLABLES]
    ]
    return "".join(syllables[:_SYLLABLES]), "".join(syllables[_SYLLABLES:])


def control_of(token: str) -> str:
    """Return the word of `read_together`, of which no two letters in a row stand in the name.

    With four letters of the name, one more that OCR makes of an image would be taken for a trace.
    """
    name = name_of(token)
    number = 0
    while True:
        word = name_of(f"{token} {number}")[0]
        if not _in_a_row(word, name, 2):
            return word
        number += 1


def _needs_pillow() -> None:
    if PILLOW_ERROR:
        raise RuntimeError(f"Pillow is missing on this host ({PILLOW_ERROR}). Install python3-pil.")


def _noise(seed: str, count: int) -> bytes:
    """Return so many bytes that no other seed has, none of them 0."""
    return bytes(byte or 1 for byte in hashlib.shake_256(seed.encode()).digest(count))


def own_row(rows: int, regions: Sequence[Region]) -> int:
    """Return the number of the last row through which no region passes; -1: there is none."""
    free = set(range(rows))
    for _, top, _, height in regions:
        free.difference_update(range(top, top + height))
    return max(free, default=-1)


def write_name(
    seed: str, columns: int, rows: int, regions: Sequence[Region], name: tuple[str, str]
) -> tuple[bytes, tuple[str, ...]]:
    """Write a name into regions of an image, which is even elsewhere, but for `own_row`.

    Args:
        seed: of the image, whose own row is of noise that no other image has.
        columns: pixels of a row.
        rows: of pixels.
        regions: they may overlap. One without room for a word is filled with noise, none of it 0.
        name: both words, as of `name_of`.

    Returns:
        ``rows`` x ``columns`` bytes, and the words that can be read in it: both, the first, or none
        where no region had room.

    Raises:
        RuntimeError: Pillow or the font is missing on this host.
    """
    _needs_pillow()
    picture = Image.new("L", (columns, rows), _GROUND)
    own = own_row(rows, regions)
    if own >= 0:
        picture.paste(Image.frombytes("L", (columns, 1), _noise(seed, columns)), (0, own))
    written: tuple[str, ...] = ()
    taken: list[Region] = []
    for number, region in enumerate(regions):
        left, top, width, height = region
        if any(_meet(region, other) for other in taken):
            continue
        fitting = _fitting(name, width, height)
        if fitting is None:
            noise = _noise(f"{seed} {number}", width * height)
            picture.paste(Image.frombytes("L", (width, height), noise), (left, top))
            continue
        taken.append(region)
        text, font, words = fitting
        picture.paste(BAR, (left, top, left + width, top + height))
        place = (left + _MARGIN, top + _MARGIN)
        ImageDraw.Draw(picture).multiline_text(place, text, fill=INK, font=font)
        if len(words) > len(written):
            written = words
    return picture.tobytes(), written


def _meet(one: Region, other: Region) -> bool:
    return all(
        one[side] < other[side] + other[side + 2] and other[side] < one[side] + one[side + 2]
        for side in (0, 1)
    )


def _fitting(
    name: tuple[str, str], width: int, height: int
) -> tuple[str, Any, tuple[str, ...]] | None:
    """Return the text to write in a region, with its font and words; None: it has no room."""
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))
    for words, text in ((name, " ".join(name)), (name, "\n".join(name)), (name[:1], name[0])):
        for size in SIZES:
            font = _font(size)
            box = measure.multiline_textbbox((0, 0), text, font=font)
            if box[2] + 2 * _MARGIN <= width and box[3] + 2 * _MARGIN <= height:
                return text, font, words
    return None


def _font(size: int) -> Any:
    try:
        return ImageFont.truetype(FONT, size)
    except OSError as error:
        raise RuntimeError(
            f"The font {FONT} is missing on this host ({error}). Install fonts-dejavu-core."
        ) from error


def pictures(dataset: Any) -> list[Picture]:
    """Return the frames of an image in grey, each from its darkest value to its brightest.

    Args:
        dataset: with Pixel Data; uncompressed, little endian, one sample of 8, 16 or 32 bits.

    Raises:
        ValueError: it is encoded in another way, or its pixel data are too short.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    kind = {8: "B", 16: "H", 32: "I"}.get(int(dataset.get("BitsAllocated") or 0))
    if syntax.is_compressed or not syntax.is_little_endian or kind is None:
        raise ValueError(f"it arrived as {syntax.name}, which is not read")
    if int(dataset.get("SamplesPerPixel") or 0) != 1:
        raise ValueError("it has colours, which are not read")
    if int(dataset.get("PixelRepresentation") or 0):
        kind = kind.lower()
    columns, rows = int(dataset.Columns), int(dataset.Rows)
    frames = int(dataset.get("NumberOfFrames") or 1)
    step = columns * rows * array.array(kind).itemsize
    data = bytes(dataset.PixelData)
    if not step or len(data) < frames * step:
        raise ValueError("its pixel data are shorter than its image")
    return [
        Picture(columns, rows, _grey(kind, data[start : start + step]))
        for start in range(0, frames * step, step)
    ]


def _grey(kind: str, data: bytes) -> bytes:
    values = array.array(kind, data)
    if sys.byteorder == "big":
        values.byteswap()
    least, most = min(values), max(values)
    if kind == "B" or least == most:
        return data if kind == "B" else bytes(len(values))
    return bytes((value - least) * 255 // (most - least) for value in values)


def _smoothly() -> Any:
    """Return what Pillow calls its bicubic filter; before 9.1 it had another name."""
    return getattr(Image, "Resampling", Image).BICUBIC


def _tile(part: Picture) -> Any:
    tile = Image.frombytes("L", (part.columns, part.rows), part.pixels)
    if max(tile.size) <= _SMALL:
        tile = tile.resize((tile.width * _LARGER, tile.height * _LARGER), _smoothly())
    return tile


def _control(word: str) -> Picture:
    """Return a word in letters as small as they can be in a small image."""
    # On black as the sheet: on a bar that is lighter than it, among images without any contrast, it
    # is not read.
    tile = Image.new("L", (_CONTROL_COLUMNS, _CONTROL_ROWS))
    place = (_MARGIN, _MARGIN)
    ImageDraw.Draw(tile).text(place, word, fill=INK, font=_font(_CONTROL_SIZE))
    return Picture(tile.width, tile.height, tile.tobytes())


def _sheet(tiles: Sequence[Any], ground: int) -> Any:
    """Return images side by side."""
    across = max(1, round(len(tiles) ** 0.5))
    wide = max(tile.width for tile in tiles) + _GAP
    high = max(tile.height for tile in tiles) + _GAP
    size = (across * wide + _GAP, -(-len(tiles) // across) * high + _GAP)
    whole = Image.new("L", size, ground)
    for number, tile in enumerate(tiles):
        whole.paste(tile, (_GAP + number % across * wide, _GAP + number // across * high))
    return whole


def read_together(parts: Sequence[Picture], control: str) -> str:
    """Return the text that tesseract reads in several images, which are arranged on one sheet.

    Args:
        parts: the images; they lie side by side on black, the small ones enlarged.
        control: a word that is written on the sheet too, beside them. Where it is not read, nor
            would be a name.

    Raises:
        ValueError: the control is not read.
        RuntimeError: as `read`, or Pillow or the font is missing on this host.
    """
    _needs_pillow()
    tiles = [_tile(part) for part in (*parts, _control(control))]
    text = _read(_sheet(tiles, 0))
    if missing(text, [control]):
        raise ValueError("OCR does not read the word that was written beside them")
    return text


def read(picture: Picture) -> str:
    """Return the text that tesseract reads in an image, which is enlarged where it is small.

    Raises:
        RuntimeError: it is missing on this host, ended with an error, or took too long; or Pillow
            is missing.
    """
    _needs_pillow()
    return _read(_tile(picture))


def read_regions(picture: Picture, regions: Sequence[Region]) -> str:
    """Return the text that tesseract reads where `write_name` would write into regions.

    Cut out, and on the ground that a name has: in an image of 1920 x 1080, letters of 16 pixels in
    a corner are not always read, nor are those of five banners over the width of 2560 pixels.

    Raises:
        RuntimeError: as `read`.
    """
    _needs_pillow()
    whole = Image.frombytes("L", (picture.columns, picture.rows), picture.pixels)
    parts = [
        whole.crop((left, top, left + min(width, _WIDEST), top + min(height, _HIGHEST)))
        for left, top, width, height in regions
    ]
    sheet = _sheet(parts, BAR)
    return read(Picture(sheet.width, sheet.height, sheet.tobytes()))


def _read(image: Any) -> str:
    header = f"P5\n{image.width} {image.height}\n255\n".encode()
    return _tesseract(["stdin", "stdout", "--psm", "11", "-l", "eng"], header + image.tobytes())


def version() -> str:
    """Return what tesseract calls itself, such as ``tesseract 5.3.0``.

    Raises:
        RuntimeError: as `read`.
    """
    return _tesseract(["--version"], b"").partition("\n")[0].strip()


def _tesseract(arguments: Sequence[str], stdin: bytes) -> str:
    path = shutil.which("tesseract", path=_SYSTEM_PATH)
    if path is None:
        raise RuntimeError(
            "tesseract is not installed on this host. Install tesseract-ocr and tesseract-ocr-eng."
        )
    try:
        done = subprocess.run(
            [path, *arguments],
            input=stdin,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
            # Its threads wait for each other longer than they save. Nothing of the host's: a
            # TESSDATA_PREFIX of another program would leave it without its letters.
            env={"PATH": _SYSTEM_PATH, "LANG": "C.UTF-8", "OMP_THREAD_LIMIT": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"tesseract did not end within {_TIMEOUT:.0f} s.") from error
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise RuntimeError(f"tesseract ended with code {done.returncode}: {words}")
    return done.stdout.decode("utf-8", "replace")


def _letters(text: str) -> str:
    return re.sub("[^A-Z]", "", text.upper().replace("0", "O"))


def missing(text: str, words: Sequence[str]) -> list[str]:
    """Return the words that do not stand in what was read."""
    letters = _letters(text)
    return [word for word in words if word not in letters]


def traces(text: str, words: Sequence[str]) -> list[str]:
    """Return the words of which five letters in a row stand in what was read."""
    return _in_a_row(text, words, _TRACE)


def _in_a_row(text: str, words: Sequence[str], count: int) -> list[str]:
    letters = _letters(text)
    return [
        word
        for word in words
        if any(word[start : start + count] in letters for start in range(len(word) - count + 1))
    ]
