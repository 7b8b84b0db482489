"""C-ECHO as a sender would: what the health checks ask, and the gate of CTP."""

from __future__ import annotations

import socket

from .dimse import C_ECHO_RSP, echo_request
from .pdu import (
    ASSOCIATE_AC,
    VERIFICATION,
    ProtocolError,
    associate_request,
    is_rejection,
    release_request,
)
from .scan import PduReader, ResponseScanner
from .sockets import prepare

HEALTHCHECK_AET = "HEALTHCHECK"
"""What a health check calls itself: it gets in where senders do not."""


def echo(host: str, port: int, called: str, calling: str, seconds: float) -> str:
    """C-ECHO as a sender would; what is wrong in a few words, empty when all is well."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            prepare(connection)
            reader = PduReader(connection)
            connection.sendall(associate_request(called, calling, VERIFICATION))
            answer = reader.read()
            if answer is None or answer[0] != ASSOCIATE_AC:
                if answer is not None and is_rejection(answer):
                    code = "/".join(map(str, answer[7:10]))
                    return f"refuses the association (A-ASSOCIATE-RJ {code})"
                return "does not accept the association"
            connection.sendall(echo_request(1))
            answer = reader.read()
            if answer is None or ResponseScanner().feed(answer) != [(C_ECHO_RSP, 0)]:
                return "does not answer C-ECHO with Success"
            connection.sendall(release_request())
            reader.read()
    except (OSError, ProtocolError) as error:
        return f"does not answer ({type(error).__name__})"
    return ""
