"""A C-STORE SCP (pynetdicom) as a process in CTP's place, which can be killed at a chosen moment.

It is no CTP: it takes CT images, writes one line of what it took, and answers Success.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

P_DATA = 4


class Scp:
    """Starts, kills and restarts it; reads what it wrote."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self.book = directory / f"taken-{port}"
        self.book.touch()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Options: as of this program."""
        lines = len(self.lines("ready"))
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.port), str(self.book), *options]
        )
        wait_until("the SCP listens", lambda: len(self.lines("ready")) > lines)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def lines(self, kind: str) -> list[list[str]]:
        """What it wrote: ready; association N CALLING; object N UID SHA-256-of-pixels; closed."""
        found = [line.split() for line in self.book.read_text().splitlines()]
        return [line[1:] for line in found if line[0] == kind]


def main() -> None:
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("book", type=Path)
    parser.add_argument("--die-unanswered", type=int, default=0, help="killed over this object")
    parser.add_argument("--die-in-pdu", type=int, default=0, help="killed at this P-DATA-TF")
    parser.add_argument("--abort-objects", action="store_true", help="A-ABORT for each object")
    parser.add_argument("--implicit-only", action="store_true")
    parser.add_argument("--require", default="", help="called AE title")
    parser.add_argument("--close-on", default="", help="calling AE title that gets no answer")
    given = parser.parse_args()
    numbers: dict[Any, int] = {}
    counts = {"objects": 0, "pdus": 0}

    def write(*words: object) -> None:
        with given.book.open("a") as book:
            book.write(" ".join(map(str, words)) + "\n")

    def accepted(event: evt.Event) -> None:
        if event.assoc.requestor.ae_title == "HEALTHCHECK":
            write("asked")  # by the gate itself, whether it is there
            return
        numbers[event.assoc] = len(numbers) + 1
        write("association", numbers[event.assoc], event.assoc.requestor.ae_title)

    def requested(event: evt.Event) -> None:
        # As stock CTP does with a blank one.
        asked = event.assoc.requestor.primitive
        if given.close_on and asked is not None and asked.calling_ae_title == given.close_on:
            write("closed")
            assert event.assoc.dul.socket is not None
            event.assoc.dul.socket.close()

    def store(event: evt.Event) -> int:
        if given.abort_objects:
            write("aborted")
            event.assoc.abort()
            return 0
        counts["objects"] += 1
        pixels = hashlib.sha256(event.dataset.PixelData).hexdigest()
        write("object", numbers[event.assoc], event.dataset.SOPInstanceUID, pixels)
        if counts["objects"] == given.die_unanswered:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def received(event: evt.Event) -> None:
        counts["pdus"] += event.data[0] == P_DATA
        if given.die_in_pdu and counts["pdus"] == given.die_in_pdu:
            os.kill(os.getpid(), signal.SIGKILL)

    ae = AE(ae_title=given.require or "ANY")
    ae.maximum_associations = 100
    ae.require_called_aet = bool(given.require)
    syntaxes = [ImplicitVRLittleEndian]
    if not given.implicit_only:
        syntaxes.insert(0, ExplicitVRLittleEndian)
    ae.add_supported_context(CTImageStorage, syntaxes)
    ae.add_supported_context(Verification)
    server = ae.start_server(
        ("127.0.0.1", given.port),
        block=False,
        evt_handlers=[
            (evt.EVT_ACCEPTED, accepted),
            (evt.EVT_REQUESTED, requested),
            (evt.EVT_C_STORE, store),
            (evt.EVT_DATA_RECV, received),
        ],
    )
    assert server is not None
    write("ready")
    signal.pause()


if __name__ == "__main__":
    main()
else:
    from ctp_standin_doubles import wait_until
