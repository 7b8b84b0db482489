"""The image's health check: C-ECHO as a sender would, and the worker through the page.

C-ECHO is spoken here byte by byte (PS3.8 9.3, PS3.7 9.3.5): to import the DICOM library costs half
a second of processor time, and this runs every few seconds.
"""

from __future__ import annotations

import http.client
import socket
import struct

from .settings import Settings

SECONDS = 5
_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
_VERIFICATION = b"1.2.840.10008.1.1"
_IMPLICIT_LITTLE_ENDIAN = b"1.2.840.10008.1.2"
_IMPLEMENTATION = b"2.25.50907731.1"
_ASSOCIATE_RQ, _ASSOCIATE_AC, _DATA, _RELEASE_RQ = 0x01, 0x02, 0x04, 0x05
_COMMAND_FIELD, _STATUS = 0x0100, 0x0900
_C_ECHO_RSP = 0x8030


def _pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _associate(called: str) -> bytes:
    context = struct.pack(">Bxxx", 1) + _item(0x30, _VERIFICATION)
    context += _item(0x40, _IMPLICIT_LITTLE_ENDIAN)
    user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, _IMPLEMENTATION)
    titles = called.encode().ljust(16) + b"HEALTHCHECK".ljust(16)
    items = _item(0x10, _APPLICATION_CONTEXT) + _item(0x20, context) + _item(0x50, user)
    return _pdu(_ASSOCIATE_RQ, struct.pack(">Hxx", 1) + titles + bytes(32) + items)


def _echo() -> bytes:
    command = struct.pack("<HHI", 0, 0x0002, 18) + _VERIFICATION + b"\0"
    for element, value in ((_COMMAND_FIELD, 0x0030), (0x0110, 1), (0x0800, 0x0101)):
        command += struct.pack("<HHIH", 0, element, 2, value)
    command = struct.pack("<HHII", 0, 0, 4, len(command)) + command
    # Presentation context 1; the last fragment of a command.
    return _pdu(_DATA, struct.pack(">IBB", len(command) + 2, 1, 3) + command)


def _exactly(connection: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        more = connection.recv(length - len(found))
        if not more:
            raise ConnectionError("closed")
        found += more
    return found


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    kind, length = struct.unpack(">BxI", _exactly(connection, 6))
    if length > 16384:
        raise ConnectionError("no DICOM")
    return kind, _exactly(connection, length)


def _numbers(command: bytes) -> dict[int, int]:
    """Return the elements of a command that are a US, by element number."""
    found = {}
    while len(command) >= 8:
        group, element, length = struct.unpack_from("<HHI", command)
        if group == 0 and length == 2 and len(command) >= 10:
            found[element] = struct.unpack_from("<H", command, 8)[0]
        command = command[8 + length :]
    return found


def _problem_of_port(port: int, called: str) -> str:
    unopened = f"Port {port} accepts no DICOM association."
    unanswered = f"C-ECHO on port {port} was not answered with Success."
    problem = unopened
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
            connection.sendall(_associate(called))
            if _answer(connection)[0] != _ASSOCIATE_AC:
                return unopened
            problem = unanswered
            connection.sendall(_echo())
            kind, body = _answer(connection)
            numbers = _numbers(body[6:])
            wanted = (_DATA, _C_ECHO_RSP, 0)
            if (kind, numbers.get(_COMMAND_FIELD), numbers.get(_STATUS)) != wanted:
                return unanswered
            connection.sendall(_pdu(_RELEASE_RQ, bytes(4)))
            _answer(connection)
    except (OSError, struct.error):
        return problem
    return ""


def check(settings: Settings) -> str:
    """What is wrong, in one sentence; empty when all is well."""
    problem = _problem_of_port(settings.dicom_port, settings.aet)
    if problem:
        return problem
    connection = http.client.HTTPConnection("127.0.0.1", settings.web_port, timeout=SECONDS)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            return f"The page answers {response.status}: {response.read(200).decode().strip()}."
    except OSError as error:
        return f"Port {settings.web_port} does not answer HTTP ({type(error).__name__})."
    finally:
        connection.close()
    return ""
