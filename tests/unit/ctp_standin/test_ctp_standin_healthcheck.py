"""The health check finds what does not answer as a DICOM server; pynetdicom's does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from ctp_standin import healthcheck
from ports import free_port
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

REJECT = bytes.fromhex("03 00 00000004 00 01 01 07")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.mark.parametrize(
    "answer", [b"", REJECT, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x02\x00\xff\xff\xff\xff"]
)
def test_what_opens_no_association(listener: socket.socket, answer: bytes) -> None:
    def serve() -> None:
        with listener.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    found = healthcheck._problem_of_port(port, "CTP")
    thread.join()
    assert found == f"Port {port} accepts no DICOM association."


def test_where_nobody_listens() -> None:
    port = free_port()
    found = healthcheck._problem_of_port(port, "CTP")
    assert found == f"Port {port} accepts no DICOM association."


@pytest.mark.parametrize(("status", "is_well"), [(0x0000, True), (0x0122, False)])
def test_the_status_of_the_answer_counts(status: int, is_well: bool) -> None:
    asked = []

    def echo(event: evt.Event) -> int:
        requestor = event.assoc.requestor
        assert requestor.primitive is not None
        asked.append((requestor.ae_title, requestor.primitive.called_ae_title))
        return status

    ae = AE(ae_title="CTP")
    ae.add_supported_context(Verification)
    ae.require_called_aet = True
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, echo)])
    assert server is not None
    try:
        port = server.server_address[1]
        found = healthcheck._problem_of_port(port, "CTP")
    finally:
        server.shutdown()
    assert asked == [("HEALTHCHECK", "CTP")]
    wrong = f"C-ECHO on port {port} was not answered with Success."
    assert found == ("" if is_well else wrong)
