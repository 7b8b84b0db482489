"""What CTP was given of each object, kept until the object has left.

CTP anonymizes in place: once it has, nobody can tell any more what came. So the data set in front
of the pixel data is kept as CTP gets it, in a file of the data directory, with a sum over the
pixels. It identifies a patient, has mode 0600 as CTP's queues have, and goes when Orthanc has the
object, when it is deleted from quarantine, or when no file of CTP is of that object any more.

A file is there before CTP has the last byte of its object, or CTP never gets it: so CTP has no
object of which nothing is known here. It is on disk before the sender gets an answer, because that
waits until all of the file system is (``GroupSync``).

Its name tells which object it is of, by the SOP Instance UID that will leave, and when it came.
Content and then a line of JSON with its length behind it: one that was cut short has no such end.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from ctp_rules import encoded
from ctp_rules.anonymizer import Anonymizer, QuarantineError
from ctp_rules.encoded import Encoded
from ctp_rules.names import Named

from ..data_set.rewrite import hidden as hidden_in
from ..dicom.encapsulated import ENCAPSULATED
from ..dicom.encoding import EXPLICIT, IMPLICIT, LONG, SEQUENCE_END, UNDEFINED, Bytes
from ..dicom.part10 import begin_data_set
from ..lookup.order import Order

LOG = logging.getLogger(__name__)


MEMORY_BYTES = 256 * 1024
"""A longer data set in front of the pixel data is not held in memory."""
YOUNG_NS = 60_000_000_000
"""CTP may not have written its own file before."""
_SOP_INSTANCE_UID = 0x00080018
_PIXEL_DATA = 0x7FE00010
_END = struct.Struct("<I4s")
_MAGIC = b"CAME"
_PART = ".part"
_HEAD_BYTES = 64 * 1024


class Pixels:
    """A sum over the values from (7FE0,0001) to the pixel data, in whatever pieces they come.

    It does not depend on how the elements are encoded, nor on the byte that pads an odd length. It
    is one against accidents: what is in the pixels is nothing that anybody would forge here.
    """

    def __init__(self, implicit: bool) -> None:
        self._implicit = implicit
        self._rest = b""
        self._left = 0
        self._odd = self._fragments = self._behind = False
        self._sum = self._size = 0

    def feed(self, data: Bytes) -> None:
        """Take the next piece."""
        view = memoryview(data)
        while len(view) and not self._behind:
            if self._left:
                piece = view[: self._left]
                view = view[self._left :]
                self._left -= len(piece)
                self._add(piece)
                if not self._left and self._odd:
                    self._add(b"\0")
                continue
            needed = self._needed() - len(self._rest)
            self._rest += bytes(view[:needed])
            view = view[needed:]
            if len(self._rest) == self._needed():
                head, self._rest = self._rest, b""
                self._begin(head)

    def sum(self) -> str:
        """What to compare; not complete where a value is not. Empty where there was none."""
        part = f"+{self._left}" if self._left or self._rest else ""
        return f"{self._sum:08x}/{self._size}{part}" if self._size or part else ""

    def _needed(self) -> int:
        has_long = len(self._rest) >= 8 and not self._implicit and not self._fragments
        return 12 if has_long and self._rest[4:6] in LONG else 8

    def _begin(self, head: bytes) -> None:
        group, element, length = struct.unpack_from("<HHI", head)
        tag = group << 16 | element
        if self._fragments:
            self._fragments = tag != SEQUENCE_END
        elif tag > _PIXEL_DATA:
            self._behind = True
            return
        elif not self._implicit:
            length = struct.unpack_from("<I", head, 8)[0] if len(head) == 12 else length >> 16
        if length == UNDEFINED:
            self._fragments = True
            self._add(struct.pack("<II", tag, length))
            return
        self._odd = bool(length % 2)
        self._left = length
        self._add(struct.pack("<II", tag, length + self._odd))

    def _add(self, piece: Bytes) -> None:
        self._sum = zlib.crc32(piece, self._sum)
        self._size += len(piece)


class Split:
    """One data set as it streams by: what is in front of the pixel data, and their sum."""

    def __init__(self, implicit: bool, directory: Path) -> None:
        """``directory``: where what is too long for the memory goes, into a file."""
        self.implicit = implicit
        self.size = 0
        self._directory = directory
        self._buffer = bytearray()
        self._file: IO[bytes] | None = None
        self._pixels: Pixels | None = None

    def feed(self, data: Bytes) -> None:
        """Take the next piece. Raises ``OSError``."""
        self.size += len(data)
        if self._pixels is not None:
            self._pixels.feed(data)
            return
        if self._file is None and len(self._buffer) + len(data) > MEMORY_BYTES:
            self._file = self._opened()
            self._file.write(self._buffer)
            # What tells the object apart stands at the beginning.
            self._buffer += data[: max(0, _HEAD_BYTES - len(self._buffer))]
        if self._file is None:
            self._buffer += data
        else:
            self._file.write(data)

    def take(self, data: Bytes, pixels_at: int | None) -> None:
        """Take the next piece. ``pixels_at``: where the pixel data begins, if that is known.

        Raises ``OSError``.
        """
        if pixels_at is None or self._pixels is not None:
            self.feed(data)
            return
        before = max(0, pixels_at - self.size)
        if before:
            self.feed(memoryview(data)[:before])
        self.cut(pixels_at)
        self.feed(memoryview(data)[before:])

    def cut(self, at: int) -> None:
        """The pixel data began there. Raises ``OSError``."""
        if self._pixels is not None:
            return
        self._pixels = Pixels(self.implicit)
        if self._file is None:
            self._pixels.feed(self._buffer[at:])
            del self._buffer[at:]
            return
        self._file.seek(at)
        self._pixels.feed(self._file.read())
        self._file.truncate(at)
        self._file.seek(at)

    def pixels(self) -> str:
        """The sum over the pixel data; empty without any."""
        return self._pixels.sum() if self._pixels is not None else ""

    def begin(self) -> Bytes:
        """The beginning of it, or all."""
        return self._buffer

    @contextmanager
    def header(self) -> Iterator[Encoded]:
        """What is in front of the pixel data. Raises ``OSError``."""
        if self._file is None:
            yield Encoded(bytes(self._buffer), self.implicit)
            return
        self._file.flush()
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield Encoded(mapped, self.implicit)

    def close(self) -> None:
        """Forget it."""
        if self._file is not None:
            with suppress(OSError):  # what could not be written is tried once more
                self._file.close()
        self._buffer = bytearray()

    def _opened(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._directory)


class _Kept(Split):
    """One whose file becomes what is kept of it."""

    path: Path | None = None

    def _opened(self) -> IO[bytes]:
        descriptor, name = tempfile.mkstemp(_PART, dir=self._directory)
        self.path = Path(name)
        return os.fdopen(descriptor, "w+b")

    def save(self, path: Path, end: bytes) -> None:
        """Write it as this file. Raises ``OSError``."""
        if self._file is not None:
            assert self.path is not None
            self._file.write(end)
            self._file.flush()
            self.path.rename(path)
            self.path = None
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            data = memoryview(bytes(self._buffer) + end)
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def close(self) -> None:
        super().close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class Arrival:
    """One object on its way to CTP."""

    def __init__(self, arrivals: Arrivals, implicit: bool) -> None:
        self._arrivals = arrivals
        self._split = _Kept(implicit, arrivals.directory)
        self._is_readable = True

    def feed(self, pieces: Sequence[Bytes], cut: int | None, readable: bool) -> None:
        """CTP is about to be given these. Raises ``OSError``.

        ``cut``: with which of them the pixel data begins, if it does. ``readable``: not, from
        where on nobody can tell what is an element; then CTP's judgement is all there is.
        """
        if not self._is_readable:
            return
        self._is_readable = readable
        at = self._split.size
        for number, piece in enumerate(pieces):
            if number == cut:
                self._split.cut(at)
            self._split.feed(piece)
            at += len(piece)
        if cut == len(pieces):
            self._split.cut(at)

    def keep(self, hidden: str = "") -> None:
        """Before CTP is given the last byte. ``hidden``: as ``Came`` has it. Raises ``OSError``."""
        self._arrivals.keep(self._split, self._is_readable, hidden=hidden)

    def drop(self) -> None:
        """CTP is not given the rest of it, or has been given it."""
        self._split.close()


@dataclass(frozen=True)
class Record:
    """What is kept of one object."""

    path: Path
    came: int
    """When, in nanoseconds since 1970 (``Order``)."""
    content: str
    """The same for the same content."""
    names: tuple[Named, ...] = field(default=(), compare=False)
    """Of its structures, those that leave under another, once that is known."""

    @contextmanager
    def opened(self) -> Iterator[Came | None]:
        """What is in it; ``None``: it is gone, or was cut short.

        Raises ``OSError``: it cannot be read now, such as for want of file descriptors.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            yield None
            return
        with file:
            found = _read(file)
            if found is None:
                yield None
                return
            more, size = found
            if size <= MEMORY_BYTES:
                file.seek(0)
                yield Came(Encoded(file.read(size), more.get("implicit", False)), **more)
                return
            with view(file, 0, size) as seen:
                yield Came(Encoded(seen, more.get("implicit", False)), **more)


@dataclass(frozen=True)
class Came:
    """The content of a record."""

    header: Encoded
    uid: str
    """SOP Instance UID, as it came."""
    pixels: str | None
    """``None``: it was not looked at."""
    implicit: bool = False
    readable: bool = True
    hidden: str = ""
    """Why nobody can tell what stands beside its image (``beside``); empty: nothing does."""
    waived: bool = False
    """It was anonymized before anything was kept here."""


_FIELDS = frozenset(each.name for each in fields(Came)) - {"header"}


def _read(file: IO[bytes]) -> tuple[dict[str, Any], int] | None:
    """The line of JSON, and how long the data set is in front of it."""
    size = os.fstat(file.fileno()).st_size
    if size < _END.size:
        return None
    file.seek(size - _END.size)
    length, magic = _END.unpack(file.read(_END.size))
    start = size - _END.size - length
    if magic != _MAGIC or start < 0:
        return None
    file.seek(start)
    try:
        found = json.loads(file.read(length))
        return {name: found[name] for name in _FIELDS if name in found}, start
    except (ValueError, TypeError):
        return None


class Arrivals:
    """What is kept for one pipeline."""

    def __init__(self, directory: Path, anonymizer: Anonymizer, order: Order) -> None:
        """Read what there is. ``anonymizer`` says under which UID an object will leave.

        Raises ``OSError``.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self._anonymizer = anonymizer
        self._mapping = threading.Lock()
        self._lock = threading.Lock()
        self._records: dict[str, list[Record]] = {}
        self._order = order
        self._missed: frozenset[str] = frozenset()
        for path in sorted(directory.iterdir()):
            if path.suffix == _PART:
                path.unlink(missing_ok=True)
                continue
            parts = path.name.split("-")
            if len(parts) == 3 and path.is_file():
                record = Record(path, int(parts[1]), parts[2])
                self._records.setdefault(parts[0], []).append(record)

    def __len__(self) -> int:
        return sum(map(len, self._records.values()))

    def begin(self, implicit: bool) -> Arrival:
        """An object comes. Implicit, or explicit, little endian."""
        return Arrival(self, implicit)

    def keep(self, split: _Kept, readable: bool, pixels: bool = True, hidden: str = "") -> None:
        """Keep what came of an object. Raises ``OSError``.

        Nothing is kept of one without a SOP Instance UID that can be read: it cannot leave.
        """
        came, leaves = self._uids(Encoded(bytes(split.begin()), split.implicit))
        if not leaves:
            return
        more: dict[str, Any] = {"uid": came, "pixels": split.pixels() if pixels else None}
        more["implicit"] = split.implicit
        if not readable:
            more["readable"] = False
        if hidden:
            more["hidden"] = hidden
        self._save(_key(leaves), split, more)

    def take_up(self, path: Path) -> bool:
        """Keep what came of an object that CTP has not anonymized yet, from its own file.

        False where it was kept, or cannot leave. Raises ``OSError``.
        """
        split = _Kept(False, self.directory)
        try:
            with path.open("rb") as file:
                syntax = begin(file)
                split.implicit = syntax == IMPLICIT
                start = file.tell()
                if not path.stat().st_size > start:
                    return False
                with view(file, start) as data:
                    if self._knows(Encoded(data[:_HEAD_BYTES], split.implicit)):
                        return False
                    try:
                        at = encoded.pixels_at(Encoded(data, split.implicit))
                    except encoded.UnreadableError:
                        at = -1
                    split.feed(data[: at if at >= 0 else _HEAD_BYTES])
                    beside = hidden_in(data, split.implicit, syntax) if at >= 0 else ""
            self.keep(split, at >= 0, pixels=False, hidden=beside)
        except (ValueError, EOFError, struct.error):
            return False  # nothing that could leave
        finally:
            split.close()
        return True

    def waive(self, path: Path) -> None:
        """Let an object go that was anonymized before anything was kept. Raises ``OSError``."""
        uid = next(iter(self._uids_of(path)), "")
        if uid and not self.of(uid):
            more = {"uid": uid, "pixels": None, "waived": True}
            self._save(_key(uid), _Kept(False, self.directory), more)

    def of(self, uid: str) -> list[Record]:
        """What is kept of an object that leaves under this UID, oldest first."""
        with self._lock:
            return list(self._records.get(_key(uid), ()))

    def find(self, header: Encoded) -> Record | None:
        """What is kept of the oldest object that came with this in front of its pixel data.

        Raises ``OSError``.
        """
        for record in self.of(self._uids(header)[1]):
            with record.opened() as came:
                if came is not None and bytes(came.header.data) == bytes(header.data):
                    return record
        return None

    def gone(self, record: Record) -> None:
        """Its object has left."""
        with self._lock:
            self._remove(record)

    def oldest(self) -> int:
        """When the oldest came, in nanoseconds since 1970; now, where there is none."""
        with self._lock:
            times = [each.came for group in self._records.values() for each in group]
        return min(times, default=time.time_ns())

    def sweep(self, files: Callable[[], Iterator[Path]]) -> int:
        """Remove what is of no object that CTP has any more; return how many.

        ``files``: all files of CTP, in the order in which an object passes them. What is missed
        once is looked for again: an object may be on its way back while it is asked.
        """
        with self._lock:
            before = {each.path.name for group in self._records.values() for each in group}
        if not before:
            return 0
        present = {_key(uid) for path in files() for uid in self._uids_of(path) if uid}
        missed = {name for name in before if name.partition("-")[0] not in present}
        with self._lock:
            gone = [
                each
                for group in self._records.values()
                for each in group
                if each.path.name in missed & self._missed and not _is_young(each.path)
            ]
            for record in gone:
                self._remove(record)
        self._missed = frozenset(missed)
        return len(gone)

    def _remove(self, record: Record) -> None:
        key = record.path.name.partition("-")[0]
        left = [each for each in self._records.get(key, ()) if each != record]
        if left:
            self._records[key] = left
        else:
            self._records.pop(key, None)
        try:
            record.path.unlink(missing_ok=True)
        except OSError as error:
            LOG.error("%s cannot be removed (%s)", record.path, type(error).__name__)

    def _uids(self, came: Encoded) -> tuple[str, str]:
        try:
            with self._mapping:
                return encoded.mapped(
                    self._anonymizer, came, _SOP_INSTANCE_UID, lambda _kind, _key: None
                )
        except (encoded.UnreadableError, QuarantineError):
            return "", ""

    def _knows(self, came: Encoded) -> bool:
        _, leaves = self._uids(came)
        return not leaves or any(_is_whole(record) for record in self.of(leaves))

    def _uids_of(self, path: Path) -> tuple[str, str]:
        """Under which UID an object came or leaves, and under which it leaves if it only came."""
        try:
            with path.open("rb") as file:
                implicit = begin(file) == IMPLICIT
                return self._uids(Encoded(file.read(_HEAD_BYTES), implicit))
        except (OSError, ValueError, EOFError, struct.error):
            return "", ""

    def _save(self, key: str, split: _Kept, more: dict[str, Any]) -> None:
        line = json.dumps(more).encode()
        with split.header() as header:
            content = f"{zlib.crc32(line, zlib.crc32(header.data)):08x}"
        came = self._order.next()
        path = self.directory / f"{key}-{came}-{content}"
        try:
            split.save(path, line + _END.pack(len(line), _MAGIC))
        except OSError as error:
            LOG.error("What came cannot be kept, so CTP does not get it (%s)", error.strerror)
            raise
        with self._lock:
            self._records.setdefault(key, []).append(Record(path, came, content))


@contextmanager
def view(file: IO[bytes], start: int, end: int | None = None) -> Iterator[memoryview]:
    """That part of a file, which is not read before it is looked at."""
    with (
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped)[start:end] as seen,
    ):
        yield seen


def begin(file: IO[bytes]) -> str:
    """Go to where the data set of a DICOM file begins; return its transfer syntax.

    Raises ``ValueError``, ``EOFError``, ``struct.error`` for what cannot leave.
    """
    syntax = begin_data_set(file)  # type: ignore[arg-type]
    if syntax not in (IMPLICIT, EXPLICIT) and syntax not in ENCAPSULATED:
        raise ValueError("another transfer syntax")
    return syntax


def _is_whole(record: Record) -> bool:
    try:
        with record.opened() as came:
            return came is not None
    except OSError:
        return False


def _is_young(path: Path) -> bool:
    """Not: one that comes from the future, from before the clock was set back."""
    try:
        return abs(time.time_ns() - path.stat().st_mtime_ns) < YOUNG_NS
    except OSError:
        return False


def _key(uid: str) -> str:
    return hashlib.blake2b(uid.encode(), digest_size=16).hexdigest()
