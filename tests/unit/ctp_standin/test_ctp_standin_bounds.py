"""Rude senders at the receiver that nothing stands in front of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ctp_standin import bounds
from ctp_standin.receiver import Receiver
from ctp_standin.settings import Settings
from ctp_standin.spool import Spool
from ctp_standin_doubles import wait_until
from ports import free_port
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "molecule"))
from shared.rude import HALF, Rude, request


def echo(port: int) -> bool:
    ae = AE("PACS")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
    ae.add_requested_context(Verification)
    association = ae.associate("127.0.0.1", port)
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool(status and status.Status == 0)


@pytest.fixture
def port(tmp_path: Path) -> int:
    found = free_port()
    settings = Settings(dicom_port=found, bind_address="127.0.0.1", spool_directory=tmp_path)
    Receiver(Spool(tmp_path), settings).start()
    return found


def test_half_requests(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    held = []
    for number in range(100):
        held.append(Rude(port, f"127.0.0.{2 + number % 20}"))
        try:
            held[-1].send(HALF + bytes(10_000))
        except ConnectionError:
            continue
        if number % 25 == 24:
            assert echo(port)
    assert sum(not each.has_ended() for each in held) <= bounds.MOST_WAITING
    monkeypatch.setattr(bounds, "REQUEST_SECONDS", 0.5)
    wait_until("they have ended", lambda: all(each.has_ended() for each in held))
    # What ended is seen here before the receiver has counted it off.
    wait_until("it takes others again", lambda: echo(port))
    for each in held:
        each.socket.close()


def test_a_pdu_that_is_too_long(port: int) -> None:
    with Rude(port) as rude:
        rude.send(b"\x01\0\x7f\xff\xff\xff" + bytes(1000))
        assert rude.answer() in (b"", b"\x07\0\0\0\0\x04\0\0\0\0")
    assert echo(port)


@pytest.mark.parametrize("calling", [b"", bytes(16), b"\xe4\xf6"])
def test_an_ae_title_that_is_none_ends_only_itself(port: int, calling: bytes) -> None:
    with Rude(port) as rude:
        rude.send(request(calling=calling))
        rude.answer()
    assert echo(port)
