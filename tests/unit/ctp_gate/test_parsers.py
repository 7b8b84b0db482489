"""The parsers of what the network brings, fed with what nobody means.

Inputs come from a generator with a fixed seed, so that each run is the same: bytes at random, and
valid messages with bytes changed, cut out, doubled or moved. Whatever comes, a parser says so by
its own exception or takes it; it says the same in whatever pieces it comes; and it keeps no more
than its bounds.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from ctp_supervisor.dicom import dimse, part10, pdu, scan
from ctp_supervisor.export import egress
from ctp_supervisor.export.outgoing import Outgoing
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID as Uid
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from shared.rude import echo_request, p_data, request

SEED = 20260101
INPUTS = 3000
UID = "1.2.826.0.1.3680043.8.498.1"
CLASS = str(CTImageStorage)


def _command(field: int, data_set: bool = True) -> bytes:
    uid = f"{CLASS}\0".encode()[: len(CLASS) + len(CLASS) % 2]
    instance = UID.encode() + b"\0" * (len(UID) % 2)
    command = struct.pack("<HHI", 0, 2, len(uid)) + uid
    for element, value in ((0x0100, field), (0x0110, 7), (0x0800, 0 if data_set else 0x0101)):
        command += struct.pack("<HHIH", 0, element, 2, value)
    if field & 0x8000:
        command += struct.pack("<HHIH", 0, 0x0900, 2, 0xA700)
    command += struct.pack("<HHI", 0, 0x1000, len(instance)) + instance
    return struct.pack("<HHII", 0, 0, 4, len(command)) + command


def _data_set(implicit: bool) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CLASS, UID
    dataset.PatientName, dataset.PatientID = "ANON-1", "ANON-1"
    dataset.PatientIdentityRemoved = "YES"
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "DCM", "x"
    inner = Dataset()
    inner.ConceptCodeSequence = [item]
    dataset.ContentSequence = [inner, inner]
    dataset.Rows = dataset.Columns = 4
    dataset.BitsAllocated = 16
    dataset.PixelData = bytes(32)
    dataset["PixelData"].VR = "OW"
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, implicit
    write_dataset(file, dataset)
    return file.getvalue()


def _accept(syntax: str) -> bytes:
    def item(kind: int, value: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(value)) + value

    body = struct.pack(">Hxx", 1) + b"CTP".ljust(16) + b"PACS".ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    body += item(0x21, b"\x01\0\0\0" + item(0x40, syntax.encode()))
    body += item(0x50, item(0x51, struct.pack(">I", 16384)))
    return struct.pack(">BxI", 2, len(body)) + body


EXPLICIT, IMPLICIT = (_data_set(implicit) for implicit in (False, True))
STORE = (
    p_data(_command(1)[:20], 1)
    + p_data(_command(1)[20:])
    + p_data(EXPLICIT[:50], 0)
    + p_data(EXPLICIT[50:], 2)
)
ACCEPT = _accept(str(ExplicitVRLittleEndian))
RESPONSE = p_data(_command(0x8001, data_set=False))
MESSAGES = [request(), ACCEPT, STORE, RESPONSE, echo_request(), pdu.abort(), pdu.release_request()]


def _spoiled(chance: random.Random, valid: list[bytes]) -> bytes:
    data = bytearray(chance.choice(valid))
    for _ in range(chance.choice([0, 1, 1, 1, 2, 5])):
        where = chance.randrange(len(data) + 1)
        kind = chance.randrange(7)
        if kind == 0 and data:
            data[where % len(data)] = chance.randrange(256)
        elif kind == 1:
            del data[where:]
        elif kind == 2:
            del data[where : where + chance.randrange(1, 9)]
        elif kind == 3:
            data[where:where] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 4:
            data[where:where] = data[: chance.randrange(1, 99)]
        elif kind == 5:
            length = chance.choice([0, 1, 2, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
            data[where : where + 4] = struct.pack(chance.choice("<>") + "I", length)
        else:
            data += chance.choice(valid)
    return bytes(data)


def _inputs(valid: list[bytes], number: int = INPUTS) -> list[bytes]:
    chance = random.Random(SEED)
    found = [chance.randbytes(chance.randrange(300)) for _ in range(number // 10)]
    return found + [_spoiled(chance, valid) for _ in range(number - len(found))]


def _pieces(data: bytes, chance: random.Random) -> list[bytes]:
    pieces, position = [], 0
    most = chance.choice([1, 3, 17, 200])
    while position < len(data):
        count = chance.randrange(1, most + 1)
        pieces.append(data[position : position + count])
        position += count
    return pieces


@pytest.mark.parametrize(
    "parse", [pdu.parse_request, pdu.negotiated, pdu.accepted_syntaxes], ids=lambda f: f.__name__
)
def test_proposals_and_answers(parse: Callable[[bytes], object]) -> None:
    taken = 0
    for data in _inputs([request(), ACCEPT]):
        try:
            parse(data)
            taken += 1
        except pdu.ProtocolError:
            pass
    assert taken > INPUTS / 20, "some of them are valid, or this tries nothing"


def test_a_title_is_text_or_nothing() -> None:
    chance = random.Random(SEED)
    for _ in range(INPUTS):
        found = pdu.parse_request(request(chance.randbytes(16), chance.randbytes(16)))
        for title in (found.called_aet, found.calling_aet):
            assert title.isascii() and title.isprintable() and "\\" not in title
            assert title == title.strip() and len(title) <= 16
        raw = pdu.with_titles(request(), found)
        assert pdu.parse_request(raw) == pdu.parse_request(pdu.with_titles(raw, found))


def test_commands() -> None:
    for data in _inputs([_command(1), _command(0x8001, False)]):
        dimse.parse(data)  # takes what it can


Scanned = tuple[str, int, int, bool, int]


def _scan(pieces: list[bytes]) -> Scanned:
    scanner = scan.MessageScanner()
    consumed = 0
    try:
        for piece in pieces:
            if scanner.ended:
                break
            consumed += scanner.feed(memoryview(piece))
    except pdu.ProtocolError as error:
        return str(error), 0, 0, False, 0
    field = -1 if scanner.command is None else scanner.command.field
    return "", consumed, field, scanner.ended, scanner.data_bytes


def test_messages_in_any_pieces() -> None:
    chance = random.Random(SEED)
    ended = 0
    for data in _inputs(MESSAGES):
        whole = _scan([data])
        assert _scan(_pieces(data, chance)) == whole
        ended += whole[3]
    assert ended > INPUTS / 20


def _read(pieces: list[bytes]) -> tuple[str, list[bytes]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def send() -> None:
            # The reader ends at what it refuses, and the rest has nowhere to go.
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    theirs.sendall(piece)
                theirs.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        reader, found = scan.PduReader(ours, largest=64 * 1024), []
        try:
            while (each := reader.read()) is not None:
                found.append(each)
        except pdu.ProtocolError as error:
            return str(error), found
        finally:
            sender.join(10)
        return "", found


def test_whole_pdus_in_any_pieces() -> None:
    chance = random.Random(SEED)
    for data in _inputs(MESSAGES, INPUTS // 10):
        assert _read(_pieces(data, chance)) == _read([data])


def test_responses() -> None:
    found = 0
    for data in _inputs([RESPONSE, echo_request(), STORE]):
        scanner = scan.ResponseScanner()
        try:
            for _ in range(2):
                if data:
                    found += len(scanner.feed(data))
        except pdu.ProtocolError:
            pass
    assert found > INPUTS / 20


def _checked(pieces: list[bytes], syntax: str) -> str:
    checker = egress.Checker(syntax, ("ANON-",), UID)
    try:
        for piece in pieces:
            checker.feed(piece)
        checker.finish()
    except egress.Violation as violation:
        return str(violation)
    return ""


@pytest.mark.parametrize(
    ("syntax", "valid"),
    [(ExplicitVRLittleEndian, EXPLICIT), (ImplicitVRLittleEndian, IMPLICIT)],
    ids=["explicit", "implicit"],
)
def test_data_sets_in_any_pieces(syntax: str, valid: bytes) -> None:
    chance = random.Random(SEED)
    assert _checked([valid], syntax) == ""
    for data in _inputs([valid]):
        whole = _checked([data], syntax)
        assert bool(_checked(_pieces(data, chance), syntax)) == bool(whole), whole


def test_what_leaves() -> None:
    """Over an association: nothing but ``ProtocolError`` comes out, and a refusal stays one."""
    for data in _inputs([STORE], INPUTS // 3):
        outgoing = Outgoing(("ANON-",))
        outgoing.accepted(ACCEPT)
        reader = _read([data])[1]
        refused = False
        try:
            for each in reader:
                may = outgoing.may_leave(each)
                assert not (refused and may)
                refused = refused or not may
        except pdu.ProtocolError:
            pass


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.filterwarnings("ignore")  # the library's, about these values
def test_files(tmp_path: Path, implicit: bool) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, Uid(UID)
    stream = DicomBytesIO()
    Dataset.save_as(_with_meta(meta), stream, enforce_file_format=True)
    valid = stream.getvalue()[: -len(_only_uid())] + (IMPLICIT if implicit else EXPLICIT)
    path = tmp_path / "object.dcm"
    path.write_bytes(valid)
    assert not part10.is_truncated(path)
    for data in _inputs([valid], INPUTS // 3):
        path.write_bytes(data)
        part10.is_truncated(path)
        part10.read_header(path)
        with (
            path.open("rb") as file,
            contextlib.suppress(ValueError, EOFError, struct.error),
        ):
            part10.begin_data_set(file)


def test_what_is_wrong_with_a_value_does_not_stand_in_the_log(tmp_path: Path) -> None:
    """The library warns with the value, and standard error is the container's log."""
    dataset = _with_meta(FileMetaDataset())
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = Uid(UID)
    path = tmp_path / "object.dcm"
    dataset.PatientID, dataset.SOPInstanceUID = "SECRET-" * 20, "SECRET"
    dataset.save_as(path, enforce_file_format=True)
    program = (
        "import sys; from pathlib import Path;"
        " from ctp_supervisor.dicom.part10 import read_header;"
        " print(read_header(Path(sys.argv[1])).sop_instance_uid)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(part10.__file__).parents[2])},
    )
    assert (run.stdout, run.stderr) == ("SECRET\n", "")


def _with_meta(meta: FileMetaDataset) -> Dataset:
    dataset = Dataset()
    dataset.SOPInstanceUID = UID
    dataset.file_meta = meta
    return dataset


def _only_uid() -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, True
    dataset = Dataset()
    dataset.SOPInstanceUID = UID
    write_dataset(stream, dataset)
    return stream.getvalue()


@pytest.mark.parametrize(
    "begins",
    [
        b"\x04\0\xff\xff\xff\xff\xff\xff\xff\xf0\x01\0",  # a fragment of a data set of 4 GiB
        p_data(_command(1)) + b"\x04\0\xff\xff\xff\xff\xff\xff\xff\xf0\x01\0",
        b"\x04\0\xff\xff\xff\xff\xff\xff\xff\xf0\x01\x01",  # of a command
        b"\x05\0\xff\xff\xff\xff",
    ],
)
def test_lengths_that_are_claimed_take_no_memory(begins: bytes) -> None:
    scanner = scan.MessageScanner()
    block = memoryview(bytes(1024 * 1024))
    tracemalloc.start()
    try:
        scanner.feed(memoryview(begins))
        for _ in range(64):
            scanner.feed(block)
    except pdu.ProtocolError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 3 * pdu.LARGEST_REQUEST + len(block)
