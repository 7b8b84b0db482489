"""Decompresses the frames of one image, in a process of its own.

Decoders are large programs in C, and what they read comes from anybody. So this process is given
two open files, the compressed one and one for the frames, and then takes from itself what it needs
no more: it can open no file and no connection, start no program, and has limits of memory, time and
length. When memory runs out in the container, it is the first to go.

It is started as ``python3 -m ctp_supervisor.held_back.unpack``. The only argument is a JSON object
of numbers and UIDs (``Request``); no value of it identifies anybody. Behind the frames, the output
has a JSON object: how they are encoded. The exit status is 0, or says what went wrong
(``PROBLEMS``).

Decoders: GDCM for JPEG, JPEG-LS and JPEG 2000, pydicom for RLE. Colours are not converted, but that
JPEG 2000 undoes its own transformation (ITU-T T.800, annex G).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
import struct
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

RLE = "1.2.840.10008.1.2.5"
JPEG_LS = frozenset({"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"})
JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSY = frozenset({"1.2.840.10008.1.2.4.50", JPEG_EXTENDED})
JPEG_LOSSLESS = frozenset({"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"})
SYNTAXES = JPEG_LOSSY | JPEG_LOSSLESS | JPEG_LS | JPEG_2000 | {RLE}

BROKEN, COUNT, MEMORY, LENGTH, CHANGES, STREAM = 3, 4, 5, 6, 7, 8
PROBLEMS = {
    BROKEN: "its frames cannot be decompressed",
    COUNT: "it has another number of frames than it says",
    MEMORY: "its frames need too much memory",
    LENGTH: "its frames are not as large as it says",
    CHANGES: "its frames are encoded in different ways",
    STREAM: "its frames have another size, depth or number of colours than it says",
}

MEMORY_BYTES = 512 * 1024 * 1024
"""Of addresses, of which what the libraries map is a third."""
TRAILER_BYTES = 4096
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
"""Markers (ITU-T T.81 B.1.1.3; T.87 C.1.1)."""
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


@dataclass(frozen=True)
class Request:
    """What is to be decompressed.

    Attributes:
        offset: where the value of the pixel data begins in the compressed file.
        seconds: of processor time.
    """

    syntax: str
    offset: int
    photometric: str
    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    signed: bool
    seconds: int

    @property
    def size(self) -> int:
        """Bytes of all frames, decompressed."""
        return self.rows * self.columns * self.samples * self.frames * (self.allocated // 8)

    def argument(self) -> str:
        """As it is given to the process."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Unpacked:
    """How the frames are encoded now."""

    photometric: str
    planar: int


class _Problem(Exception):
    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


def main(argument: str) -> int:
    """Decompress from standard input to standard output, both files; return the exit status."""
    request = Request(**json.loads(argument))
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # it quotes values
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    from pydicom.encaps import generate_frames  # before the limits, and only here
    from pydicom.pixels.decoders.base import get_decoder

    decoder = get_decoder(request.syntax)
    plugin = "pydicom" if request.syntax == RLE else "gdcm"
    if plugin not in decoder.available_plugins:
        return BROKEN
    _confine(request)
    try:
        with (
            open(0, "rb", closefd=False) as source,
            open(1, "wb", closefd=False) as target,
        ):
            if request.syntax in JPEG_LOSSY | JPEG_LOSSLESS | JPEG_LS:
                source.seek(request.offset)
                for coded in generate_frames(source, number_of_frames=request.frames):
                    _compare(coded, request)
            source.seek(request.offset)
            found = None
            count = 0
            for frame, properties in decoder.iter_buffer(
                source,
                decoding_plugin=plugin,
                rows=request.rows,
                columns=request.columns,
                samples_per_pixel=request.samples,
                photometric_interpretation=request.photometric,
                number_of_frames=request.frames,
                bits_allocated=request.allocated,
                bits_stored=request.stored,
                pixel_representation=int(request.signed),
                planar_configuration=0,
            ):
                count += 1
                if count > request.frames:
                    raise _Problem(COUNT)
                if len(frame) != request.size // request.frames:
                    raise _Problem(LENGTH)
                if properties["bits_allocated"] != request.allocated:
                    raise _Problem(LENGTH)
                seen = Unpacked(
                    str(properties["photometric_interpretation"]),
                    int(properties.get("planar_configuration", 0)),
                )
                if found is not None and found != seen:
                    raise _Problem(CHANGES)
                found = seen
                target.write(frame)
            if count != request.frames or found is None:
                raise _Problem(COUNT)
            target.write(json.dumps(asdict(found)).encode())
    except _Problem as problem:
        return problem.status
    except MemoryError:
        return MEMORY
    except Exception:  # whatever a broken image leads to
        return BROKEN
    return 0


def _compare(coded: bytes, request: Request) -> None:
    """Compare a JPEG or JPEG-LS frame with what the object says of it (ITU-T T.81 B.2.2).

    The decoder cuts off what is too much, and the rows would stand elsewhere. Raises ``_Problem``.
    """
    at = 2
    while at + 10 <= len(coded) and coded[at] == 0xFF:
        marker = coded[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _FRAME_HEADERS:
            depth, *size = struct.unpack_from(">BHHB", coded, at + 4)
            said = [request.rows, request.columns, request.samples]
            if size != said or (depth > 8) != (request.allocated > 8):
                raise _Problem(STREAM)
            return
        else:
            at += 2 + int.from_bytes(coded[at + 2 : at + 4], "big")
    raise _Problem(BROKEN)


def _confine(request: Request) -> None:
    """Give up what is not needed any more. Raises ``OSError``, ``ValueError``."""
    os.nice(10)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, request.seconds),
        (resource.RLIMIT_FSIZE, request.size + TRAILER_BYTES),
    ):
        _, most = resource.getrlimit(limit)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    # The interpreter's own end would look for files, and is not needed.
    os._exit(main(sys.argv[1]))
