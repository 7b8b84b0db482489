"""The gate alone as a process, with the stand-in in the other container's place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ctp_standin_doubles import GatewayProcess, ReceivingScpDouble, send, wait_until
from ctp_standin_study import encode, read, study
from ports import free_port
from pydicom.dataset import Dataset
from shared.rude import rejection

REPOSITORY = Path(__file__).resolve().parents[3]


def objects(number: int = 1) -> list[Dataset]:
    found = study(number=number, marked=False).objects
    return [read(encode(dataset)) for dataset in found]


class GateProcess:
    def __init__(
        self,
        directory: Path,
        ctp_port: int,
        called_aets: Any = (),
        calling_aets: Any = (),
        **changes: object,
    ) -> None:
        self.port = free_port()
        self.data = directory / "data"
        self.spool = directory / "spool"
        for each in (self.data, self.spool):
            each.mkdir()
        self.log = directory / "gate.log"
        self.file = directory / "gate.json"
        self.settings = {
            "dicom_port": self.port,
            "ctp_host": "localhost",
            "ctp_port": ctp_port,
            "pipelines": [
                {"called_aets": called_aets, "calling_aets": calling_aets, "parallel": 1}
            ],
            "data": str(self.data),
            "spool": str(self.spool),
            "hold_seconds": 0,
            "minimum_free_mib": 1,
            "largest_object_mib": 16,
            "sync_before_acknowledge": True,
            "stop_seconds": 2,
            "tls": "none",
            "tls_required_for": [],
            "tls_clients": "",
            **changes,
        }
        self.file.write_text(json.dumps(self.settings))
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                str(REPOSITORY / "images" / each) for each in ("ctp_rsna/src", "shared")
            ),
            "CTP_CONFIGURATION_DIRECTORY": str(directory),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ctp_supervisor.gate", *arguments],
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            timeout=30,
        )

    def start(self, *program: str) -> GateProcess:
        """``program``: another one than the gate."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(program or ("-m", "ctp_supervisor.gate"))],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        wait_until("the gate listens", lambda: "DICOM on port" in self.log.read_text())
        return self

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    receiver = ReceivingScpDouble().start()
    process = GatewayProcess(tmp_path / "ctp", receiver.port)
    process.know(PROOF_1947="PROOF-PSEUDONYM")
    process.start()
    yield process
    process.end()
    receiver.stop()


@pytest.fixture
def gates() -> Iterator[list[GateProcess]]:
    started: list[GateProcess] = []
    yield started
    for gate in started:
        gate.end()


def refusal(port: int, called: str, calling: str) -> tuple[int, ...]:
    """Result, source and reason of the A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return rejection("127.0.0.1", port, called, calling)


def test_what_is_accepted_reaches_ctp(
    tmp_path: Path, gateway: GatewayProcess, gates: list[GateProcess]
) -> None:
    gate = GateProcess(
        tmp_path, gateway.dicom_port, called_aets=["CTP", "ANY"], calling_aets=["SENDER"]
    )
    gates.append(gate)
    gate.start()
    assert send(gate.port, objects()) == [0x0000] * 5
    wait_until("all were forwarded", lambda: gateway.status()["forwarded"] == 5)
    assert refusal(gate.port, "OTHER", "SENDER") == (1, 1, 7)
    assert refusal(gate.port, "CTP", "OTHER") == (1, 1, 3)
    assert gate.run("healthcheck").returncode == 0
    assert gate.process is not None
    began = time.monotonic()
    gate.process.send_signal(signal.SIGTERM)
    assert gate.process.wait(10) == 0 and time.monotonic() - began < 5
    assert gate.run("healthcheck").returncode == 1
    for secret in ("PROOF-", "SENDER", "OTHER"):
        assert secret not in gate.log.read_text()


def test_below_the_floor_nobody_comes_in(
    tmp_path: Path, gateway: GatewayProcess, gates: list[GateProcess]
) -> None:
    gate = GateProcess(tmp_path, gateway.dicom_port, minimum_free_mib=1048576 * 16)
    gates.append(gate)
    gate.start()
    assert refusal(gate.port, "CTP", "SENDER") == (2, 3, 1)  # transient: try again later
    assert gateway.status()["received"] == 0
    assert gate.run("healthcheck").returncode == 0  # it does what it should


def test_ctp_away_is_refused_and_not_healthy(tmp_path: Path, gates: list[GateProcess]) -> None:
    gate = GateProcess(tmp_path, free_port())
    gates.append(gate)
    gate.start()
    assert refusal(gate.port, "CTP", "SENDER") == (2, 3, 1)
    found = gate.run("healthcheck")
    assert found.returncode == 1 and "refuses the association" in found.stdout


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dicom_port", "8104", "dicom_port has to be a whole number from 1 to 65535"),
        ("called_aets", "CTP", "called_aets has to be a list of texts"),
        ("data", "/nowhere/at/all", "the directory /nowhere/at/all readable"),
        ("spool", "/nowhere/at/all", "/nowhere/at/all writable"),
    ],
)
def test_settings_that_are_wrong_are_named(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    found = GateProcess(tmp_path, free_port(), **{key: value}).run()
    assert found.returncode == 2 and message in found.stderr


FAULTY = """
import os, sys
from ctp_supervisor.gate import __main__
from ctp_supervisor.machine import disk
usual = disk.SpaceGuard.check
def check(self):
    if os.path.exists({trigger!r}):
        raise ValueError("Doe^Jane")
    return usual(self)
disk.SpaceGuard.check = check
status = __main__.main([])
sys.stdout.flush()
os._exit(status)
"""


def test_it_ends_when_a_part_of_it_does(tmp_path: Path, gates: list[GateProcess]) -> None:
    """Without its guard of the disk it would fill it: Swarm starts it again."""
    trigger = tmp_path / "now"
    gate = GateProcess(tmp_path, free_port())
    gates.append(gate)
    gate.start("-c", FAULTY.format(trigger=str(trigger)))
    assert gate.process is not None
    trigger.touch()
    assert gate.process.wait(30) == 1
    log = gate.log.read_text()
    assert "The thread disk ended by a fault of this program: ValueError in" in log
    assert "Doe" not in log and "Traceback" not in log


def test_it_needs_nothing_that_reads_data_sets() -> None:
    """A start of it is what senders wait for, and its memory is its own container's."""
    path = os.pathsep.join(str(REPOSITORY / "images" / each) for each in ("ctp_rsna/src", "shared"))
    run = subprocess.run(
        [sys.executable, "-c", "import ctp_supervisor.gate.standalone, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    found = {each.partition(".")[0] for each in run.stdout.split()}
    assert "ctp_supervisor" in found
    assert not found & {"pydicom", "pynetdicom", "ctp_rules", "study_account", "sqlite3"}
