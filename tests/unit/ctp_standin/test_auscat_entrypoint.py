"""The wrapper around an image that is not ours, with the stand-in as that image's own command."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ctp_standin_as_ctp import CtpDirectory, mapped
from ctp_standin_doubles import (
    GatewayProcess,
    Process,
    ReceivingScpDouble,
    SteadySender,
    free_port,
    send,
    wait_until,
)
from ctp_standin_study import encode, read, study
from pydicom.dataset import Dataset

WRAPPER = Path(__file__).resolve().parents[3] / "roles" / "ctp" / "files" / "auscat_entrypoint.sh"
TOOLS = ["curl", "wget", "bash", ""]
NEEDED = ["sh", "sleep", "mv", "cat"]


@pytest.fixture
def receiver() -> Iterator[ReceivingScpDouble]:
    double = ReceivingScpDouble().start()
    yield double
    double.stop()


@pytest.fixture
def ctp(tmp_path: Path, receiver: ReceivingScpDouble) -> CtpDirectory:
    directory = CtpDirectory(tmp_path, receiver.port)
    directory.know("PatientID/PROOF-1947|=PROOF-PSEUDONYM\n")
    return directory


@pytest.fixture
def running() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the wrapper and what it started
        process.end()


def wrapped(process: Process, data: Path, path: str | None = None, **variables: str) -> Process:
    process.command = ["/bin/sh", str(WRAPPER), *process.command]
    process.environment |= {
        "CTP_DATA_DIRECTORY": str(data),
        "CTP_WEB_PORT": str(process.web_port),
        **variables,
        **({"PATH": path} if path else {}),
    }
    return process


def path_with(directory: Path, *names: str) -> str:
    """A PATH that holds what every image has, and these programs."""
    directory.mkdir()
    for name in [*NEEDED, *filter(None, names)]:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not on this machine")
        (directory / name).symlink_to(found)
    return str(directory)


def objects(number: int = 1, slices: int = 3) -> list[Dataset]:
    return [
        read(encode(dataset))
        for dataset in study(slices=slices, number=number, marked=False).objects
    ]


def counted(process: Process, **expected: int) -> Callable[[], bool]:
    return lambda: expected.items() <= process.status().items()


@pytest.mark.parametrize("tool", TOOLS)
def test_sigterm_drains_with_whatever_the_image_has(
    tmp_path: Path,
    ctp: CtpDirectory,
    receiver: ReceivingScpDouble,
    running: list[Process],
    tool: str,
) -> None:
    path = path_with(tmp_path / "bin", tool)
    process = wrapped(ctp.process(), ctp.data, path)
    running.append(process)
    process.start()
    sent = [ds for number in range(1, 4) for ds in objects(number, slices=8)]
    senders = [SteadySender(ctp.dicom_ports[0], sent[part::3]) for part in range(3)]
    for sender in senders:
        sender.start()
    wait_until("some were forwarded", lambda: len(receiver.objects) >= 5)
    began = time.monotonic()
    assert process.terminate(seconds=20) == 0
    assert time.monotonic() - began < 15
    log = process.log.read_text()
    if tool:
        assert "A shutdown was requested on the page" in log and "stopped by itself" in log
        assert "SIGTERM" not in log
    else:
        assert "has no curl, wget or bash" in log and "it gets SIGTERM" in log
    process.start()
    for sender in senders:
        sender.join(30)
        assert not sender.is_alive()
    wait_until("the queue is empty", counted(process, queued=0, quarantined=0))
    acknowledged = {uid for sender in senders for uid in sender.acknowledged}
    assert len(acknowledged) == len(sent)
    assert set(receiver.objects) == {mapped(uid) for uid in acknowledged}
    assert process.terminate(seconds=20) == 0


def test_what_a_kill_left_in_temp_is_delivered(
    ctp: CtpDirectory, receiver: ReceivingScpDouble, running: list[Process]
) -> None:
    temp, active = (ctp.root("import") / name for name in ("temp", "active"))
    elsewhere = ctp.data / "roots" / "other" / "temp"
    for directory in (temp, active, elsewhere):
        directory.mkdir(parents=True)
    slices = [encode(dataset) for dataset in study(slices=4, marked=False).slices]
    (temp / "TMP-1.dcm").write_bytes(slices[0])
    (temp / "TMP-2.dcm").write_bytes(slices[1])
    (active / "TMP-2.dcm").write_bytes(slices[2])  # is not written over
    (temp / "TMP-3.dcm").write_bytes(b"")
    (temp / "TMP-4.dcm").symlink_to(ctp.work / "config.xml")
    (temp / "notes.txt").write_text("")
    (elsewhere / "TMP-5.dcm").write_bytes(slices[3])  # no "active" beside it
    process = wrapped(ctp.process(), ctp.data)
    running.append(process)
    process.start()
    wait_until("all were delivered", counted(process, received=3, forwarded=3))
    assert len(receiver.objects) == 3
    assert sorted(path.name for path in temp.iterdir()) == ["TMP-3.dcm", "TMP-4.dcm", "notes.txt"]
    assert (elsewhere / "TMP-5.dcm").exists()
    assert f"2 objects of an earlier run go back to {active}" in process.log.read_text()
    assert process.terminate(seconds=20) == 0


def test_the_contract_of_the_auscat_image(
    tmp_path: Path, receiver: ReceivingScpDouble, running: list[Process]
) -> None:
    """Environment and secrets instead of files: what the flavour auscat deploys."""
    gateway = GatewayProcess(tmp_path, receiver.port)
    gateway.know(PROOF_1947="PROOF-PSEUDONYM")
    wrapped(gateway, gateway.spool)
    running.append(gateway)
    gateway.start()
    assert send(gateway.dicom_port, objects()) == [0x0000] * 5
    assert gateway.terminate(seconds=20) == 0
    log = gateway.log.read_text()
    assert "A shutdown was requested on the page" in log and "SIGTERM" not in log
    gateway.start()
    wait_until("all were forwarded", counted(gateway, received=5, forwarded=5))
    assert len(receiver.objects) == 5
    assert gateway.terminate(seconds=20) == 0


@pytest.mark.parametrize("tool", TOOLS)
def test_health(tmp_path: Path, ctp: CtpDirectory, running: list[Process], tool: str) -> None:
    path = path_with(tmp_path / "bin", tool)
    process = wrapped(ctp.process(), ctp.data)
    running.append(process)

    def health(port: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(WRAPPER), "health"],
            env={"PATH": path, "CTP_WEB_PORT": str(port)},
            capture_output=True,
            encoding="utf-8",
            timeout=20,
        )

    process.start()
    assert health(process.web_port).returncode == 0
    away = health(free_port())
    assert away.returncode == 1 and "does not answer" in away.stdout
    assert process.terminate(seconds=20) == 0


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(WRAPPER), *command], capture_output=True, encoding="utf-8", timeout=20
    )


def test_the_command_is_run_as_it_is() -> None:
    found = run("/bin/sh", "-c", 'printf "%s|" "$@"; exit 7', "name", "a b", "$HOME", "")
    assert (found.returncode, found.stdout) == (7, "a b|$HOME||")


def test_no_command_is_an_error() -> None:
    found = run()
    assert found.returncode == 2 and "are needed as arguments" in found.stderr


def test_a_command_that_takes_no_shutdown_gets_sigterm() -> None:
    process = subprocess.Popen(
        ["/bin/sh", str(WRAPPER), "/bin/sh", "-c", "echo up; exec sleep 60"],
        env={"PATH": "/usr/bin:/bin", "CTP_WEB_PORT": str(free_port())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    process.terminate()
    _, log = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "did not take the shutdown: it gets SIGTERM" in log


def started(command: str, **variables: str) -> subprocess.Popen[str]:
    """The wrapper around a command that says "up"."""
    process = subprocess.Popen(
        ["/bin/sh", str(WRAPPER), "/bin/sh", "-c", f"echo up; {command}"],
        env={"PATH": "/usr/bin:/bin", "CTP_WEB_PORT": str(free_port()), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ctp_that_ends_by_itself_just_then_keeps_its_status(number: signal.Signals) -> None:
    """Both wait for the wrapper at once; which of them it sees first is not the same each time."""
    for _ in range(4):
        process = started("sleep 0.3; exit 7")
        process.send_signal(signal.SIGSTOP)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        stat = [Path(f"/proc/{child}/stat") for child in children.read_text().split()]
        wait_until("it has ended", lambda stat=stat: all(") Z" in p.read_text() for p in stat))
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=20)
        assert process.returncode == 7


def test_more_than_one_signal_asks_once() -> None:
    process = started("trap 'exit 5' TERM; while :; do sleep 0.1; done")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
        time.sleep(0.2)  # they come apart, not within one turn of the shell
    _, log = process.communicate(timeout=20)
    assert process.returncode == 5
    assert log.count("by its own shutdown") == log.count("it gets SIGTERM") == 1


def test_it_waits_for_ctp_that_takes_no_notice() -> None:
    """Who kills it is the engine, after the grace period: only then what is in hand is cut off."""
    process = started("trap '' TERM; while :; do sleep 0.1; done", CTP_STOP_SECONDS="1")
    process.terminate()
    assert process.stderr is not None
    while "it gets SIGTERM" not in (line := process.stderr.readline()):
        assert line
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    assert process.wait(20) == 128 + signal.SIGKILL


def test_a_signal_during_recovery_starts_no_ctp(tmp_path: Path) -> None:
    """All of it is done first: half of it would be nothing worse, but nothing is gained."""
    temp, active = tmp_path / "temp", tmp_path / "active"
    for directory in (temp, active):
        directory.mkdir()
    for number in range(300):
        (temp / f"TMP-{number}.dcm").write_bytes(b"object")
    process = subprocess.Popen(
        ["/bin/sh", str(WRAPPER), "/bin/sh", "-c", "echo up"],
        env={"PATH": "/usr/bin:/bin", "CTP_DATA_DIRECTORY": str(tmp_path)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    wait_until("it has begun", lambda: any(active.iterdir()))
    process.terminate()
    shown, _ = process.communicate(timeout=30)
    assert (process.returncode, shown) == (143, "")
    assert not list(temp.iterdir()) and len(list(active.iterdir())) == 300
