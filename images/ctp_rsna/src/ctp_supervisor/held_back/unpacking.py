"""Compressed images of which regions are to be blanked: decompressed, and sent round again.

The script holds them back, since nothing is blanked in what is compressed. Here they are taken from
the quarantine, one after the other, decompressed by a process that can do nothing else
(``unpack``), and put in their own place there, by rename. CTP then takes each as one that is
released. What is kept of what came (``arrivals``) is kept of the decompressed object, too, so that
what leaves is compared with that.

The data set in front of the pixel data stays as it is, to the byte, but for how the pixels are
encoded, and for (0028,2110) where nothing but the transfer syntax said that the image is lossy.

What came before the script that is in force waits for a release, as everything that it would let
leave now: CTP then holds it back anew, and so it is due. What cannot be decompressed stays, and
says why.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ctp_rules import encoded
from ctp_rules.anonymizer import QuarantineError
from ctp_rules.encoded import Encoded, UnreadableError

from ..completeness import arrivals
from ..completeness.arrivals import Arrivals
from ..data_set import blanking, image_pixel
from ..data_set.rewrite import Rewriter
from ..data_set.rules import Rules
from ..dicom.encoding import EXPLICIT, LONG, UNDEFINED
from ..dicom.marks import UNPACKED
from ..dicom.part10 import PREAMBLE
from ..machine.disk import MIB
from ..settings import Declared
from .unpack import (
    BROKEN,
    JPEG_2000,
    JPEG_EXTENDED,
    JPEG_LOSSY,
    JPEG_LS,
    LENGTH,
    PROBLEMS,
    RLE,
    SYNTAXES,
    TRAILER_BYTES,
    Request,
    Unpacked,
)

LOG = logging.getLogger(__name__)

LEAST_SECONDS = 30
BYTES_A_SECOND = 2 * MIB
"""Slower than the slowest decoder, that of RLE, on a busy machine."""
MOST_HEADER_BYTES = 16 * MIB
"""In front of the pixel data."""
_WAIT = 3
"""So many times as long as the processor time a process may take in all."""
_CHUNK = MIB
_HEAD = struct.Struct("<HH2sHI")
_PHOTOMETRIC, _PLANAR, _LOSSY, _PIXELS = 0x00280004, 0x00280006, 0x00282110, 0x7FE00010
_META_LENGTH, _META_SYNTAX, _META_VERSION = 0x00020000, 0x00020010, 0x00020013
_FULL = {"YBR_FULL_422": "YBR_FULL"}
"""What a decoder makes of it: each pixel has all of its samples."""
_BY_JPEG_2000 = {**_FULL, "YBR_RCT": "RGB", "YBR_ICT": "RGB"}
_MAY_BE = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL"})


class ProblemError(Exception):
    """Why an image cannot be decompressed; never a value."""


@dataclass(frozen=True)
class Plan:
    """What is to be done with a file.

    Attributes:
        start: where its data set begins.
        pixels: where its pixel data begins, in the file.
    """

    request: Request
    start: int
    pixels: int


class Unpacker:
    """Of one pipeline."""

    def __init__(
        self,
        kept: Arrivals,
        rules: Rules,
        declared: Sequence[Declared],
        largest_bytes: int,
        since: int = 0,
    ) -> None:
        """``largest_bytes``: of an object. ``since``: when the script came into force, in
        nanoseconds since 1970."""
        self._arrivals = kept
        self._rules = rules
        self._declared = tuple(declared)
        self._largest = largest_bytes
        self.since = since / 1e9
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def plan(self, path: Path) -> Plan:
        """Look at a file. Raises ``ProblemError``, or ``OSError`` where it cannot be read now."""
        try:
            with path.open("rb") as file:
                syntax = arrivals.begin(file)
                start = file.tell()
                if syntax not in SYNTAXES:
                    raise ProblemError("its transfer syntax is none that is decompressed")
                with arrivals.view(file, start) as data:
                    at = encoded.pixels_at(Encoded(data, False))
                    if at > MOST_HEADER_BYTES:
                        raise ProblemError("what is in front of its pixel data is too long")
                    header = Encoded(bytes(data[:at]), False)
                    _look_at_pixels(bytes(data[at : at + _HEAD.size]))
        except (ValueError, EOFError, struct.error, UnreadableError):
            raise ProblemError("it cannot be read") from None
        return Plan(self._request(header, syntax, start + at + _HEAD.size), start, start + at)

    def _request(self, header: Encoded, syntax: str, offset: int) -> Request:
        values = _values(header)
        image = image_pixel.image({tag: value for tag, value in values.items() if value})
        if image is None:
            raise ProblemError("it does not say how its image is encoded")
        if image.signed and syntax in JPEG_LS | JPEG_2000 and not image.is_full:
            raise ProblemError("its samples are signed, and of less bits than are allocated")
        if syntax == JPEG_EXTENDED and image.stored != 8:
            raise ProblemError("it is JPEG Extended of more than 8 bits, which nothing here reads")
        if image.allocated not in (8, 16):
            raise ProblemError(f"it has {image.allocated} bits for a sample")
        photometric = image.photometric.decode("ascii", "replace")
        known = _BY_JPEG_2000 if syntax in JPEG_2000 else _FULL if syntax in JPEG_LOSSY else {}
        colours = known.get(photometric, photometric)
        planar = int(syntax == RLE and image.samples > 1)
        self._task(_edited(header, Unpacked(colours, planar), syntax))
        size = image.rows * image.columns * image.samples * image.frames * (image.allocated // 8)
        if size > self._largest:
            raise ProblemError(
                f"decompressed it has {-(-size // MIB)} MiB, and auscat_largest_object_mib is"
                f" {self._largest // MIB}"
            )
        return Request(
            syntax,
            offset,
            photometric,
            image.rows,
            image.columns,
            image.samples,
            image.frames,
            image.allocated,
            image.stored,
            image.signed,
            LEAST_SECONDS + size // BYTES_A_SECOND,
        )

    def _task(self, header: bytes) -> blanking.Task:
        """What is to be blanked in it. Raises ``ProblemError``."""
        wanted = blanking.task(Encoded(header, False), self._declared)
        if wanted is None:
            raise ProblemError("nothing of it is declared to be blanked")
        if wanted.problem:
            raise ProblemError(wanted.problem)
        return wanted

    def unpack(self, path: Path, plan: Plan, on_disk: Callable[[], None]) -> None:
        """Put the decompressed object in the place of a file.

        ``on_disk`` returns when all that was written is. Raises ``ProblemError``, ``OSError``.
        """
        directory = self._arrivals.directory
        with path.open("rb") as source, tempfile.TemporaryFile(dir=directory) as frames:
            found = self._run(plan.request, source, frames)
            source.seek(0)
            before = source.read(plan.start)
            came = Encoded(source.read(plan.pixels - plan.start), False)
            kept = self._arrivals.find(came)
            if kept is not None:
                with kept.opened() as record:
                    if record is None or record.hidden:
                        raise ProblemError("what is beside its image cannot be told")
            header = _edited(came, found, plan.request.syntax)
            if self._task(header).size != plan.request.size:
                raise ProblemError(PROBLEMS[LENGTH])
            # Arrivals removes what is left of it.
            descriptor, name = tempfile.mkstemp(".part", dir=directory)
            target = Path(name)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_meta(before))
                    self._write(file, header, frames, plan.request)
                    file.flush()
                on_disk()
                if path.exists():  # nobody has removed it meanwhile
                    target.rename(path)
                    if kept is not None:
                        self._arrivals.gone(kept)
            finally:
                target.unlink(missing_ok=True)

    def _write(self, file: IO[bytes], header: bytes, frames: IO[bytes], request: Request) -> None:
        """Write the data set as CTP would be given it, and keep what CTP is given."""
        rewriter = Rewriter(False, False, self._rules, True, EXPLICIT)
        arrival = self._arrivals.begin(False)
        size = request.size
        vr = b"OW" if request.allocated > 8 else b"OB"
        frames.seek(0)

        def pieces() -> Iterator[bytes]:
            yield header + _HEAD.pack(_PIXELS >> 16, _PIXELS & 0xFFFF, vr, 0, size + size % 2)
            left = size
            while left:
                piece = frames.read(min(left, _CHUNK))
                if not piece:
                    raise ProblemError(PROBLEMS[LENGTH])
                left -= len(piece)
                yield piece
            yield bytes(size % 2)

        try:
            for piece in pieces():
                out = rewriter.feed(piece)
                arrival.feed(out, rewriter.cut, rewriter.readable)
                file.writelines(out)
            out = rewriter.finish()
            arrival.feed(out, rewriter.cut, rewriter.readable)
            file.writelines(out)
            if not rewriter.readable or rewriter.problem or rewriter.hidden:
                raise ProblemError("decompressed it is no whole object")
            arrival.keep(rewriter.hidden)
        finally:
            arrival.drop()

    def _run(self, request: Request, source: IO[bytes], frames: IO[bytes]) -> Unpacked:
        """Have the frames written. Raises ``ProblemError``, ``OSError``."""
        with self._lock:
            if self._stopped:
                raise InterruptedError
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.unpack", request.argument()],
                stdin=source,
                stdout=frames,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={
                    name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ
                },
            )
        try:
            status = process.wait(request.seconds * _WAIT)
        except subprocess.TimeoutExpired:
            raise ProblemError("its frames take too long") from None
        finally:
            process.kill()
            process.wait()
            with self._lock:
                self._process = None
        if self._stopped:
            raise InterruptedError
        if status:
            raise ProblemError(PROBLEMS.get(status, PROBLEMS[BROKEN]))
        frames.seek(request.size)
        try:
            said = json.loads(frames.read(TRAILER_BYTES))
            found = Unpacked(str(said["photometric"]), int(said["planar"]))
        except (ValueError, TypeError, KeyError):
            raise ProblemError(PROBLEMS[BROKEN]) from None
        found = Unpacked(_FULL.get(found.photometric, found.photometric), found.planar)
        if found.photometric not in _MAY_BE or found.planar not in (0, 1):
            raise ProblemError("its colours are encoded in a way that is not known here")
        return found

    def stop(self) -> None:
        """End what is under way, and begin with nothing more."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                with contextlib.suppress(OSError):
                    self._process.kill()


def _look_at_pixels(head: bytes) -> None:
    group, element, vr, _, length = _HEAD.unpack(head)
    if group << 16 | element != _PIXELS or vr not in (b"OB", b"OW") or length != UNDEFINED:
        raise ProblemError("it has no compressed pixel data")


def _values(header: Encoded) -> Mapping[int, bytes]:
    """The elements that describe the image. Raises ``ProblemError``."""
    wanted: Collection[int] = {*image_pixel.WANTED, _LOSSY, _PLANAR}
    try:
        level = encoded.root(header)
        if level.doubled & set(wanted):
            raise ProblemError("it says twice how its image is encoded, and not the same")
        found = {tag: level.get(tag) for tag in wanted}
    except (UnreadableError, QuarantineError):
        raise ProblemError("it cannot be read") from None
    return {tag: each.raw or b"" for tag, each in found.items() if each is not None}


def _edited(header: Encoded, found: Unpacked, syntax: str) -> bytes:
    """The data set in front of the pixel data, as it is with decompressed frames.

    Raises ``ProblemError``.
    """
    values = _values(header)
    colour = values.get(0x00280002, b"") != b"\1\0"
    changes = {_PHOTOMETRIC: _element(_PHOTOMETRIC, b"CS", found.photometric.encode())}
    if colour:
        changes[_PLANAR] = _element(_PLANAR, b"US", struct.pack("<H", found.planar))
    if syntax in JPEG_LOSSY and values.get(_LOSSY, b"").strip(b" \0") != b"01":
        changes[_LOSSY] = _element(_LOSSY, b"CS", b"01")
    level = encoded.root(header)
    data = header.data
    pieces: list[bytes] = []
    done = 0
    # In the order in which they stand; what was added to the level has no place.
    for tag, (vr, start, after, _) in sorted(level.places.items(), key=lambda each: each[1][1]):
        if not after:
            continue
        begin = start - (8 if (vr or "").encode() not in LONG else 12)
        for new in sorted(changes):
            if new <= tag:
                pieces += [data[done:begin], changes.pop(new)]
                done = after if new == tag else begin
    return b"".join([*pieces, data[done:], *(changes[new] for new in sorted(changes))])


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def _meta(before: bytes) -> bytes:
    """Preamble and file meta information of the decompressed object (PS3.10 7.1)."""
    found: dict[int, bytes] = {}
    at = PREAMBLE
    while at + 8 <= len(before):
        group, element, vr, length = struct.unpack_from("<HH2sH", before, at)
        size = 8
        if vr in LONG:
            size = 12
            (length,) = struct.unpack_from("<I", before, at + 8)
        found[group << 16 | element] = before[at : at + size + length]
        at += size + length
    found.pop(_META_LENGTH, None)
    syntax = EXPLICIT.encode()
    found[_META_SYNTAX] = struct.pack("<HH2sH", 2, 0x10, b"UI", 20) + syntax.ljust(20, b"\0")
    found[_META_VERSION] = _element(_META_VERSION, b"SH", UNPACKED.encode())
    body = b"".join(found[tag] for tag in sorted(found))
    return before[:PREAMBLE] + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body)) + body
