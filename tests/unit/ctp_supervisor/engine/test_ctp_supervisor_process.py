"""A thread of another process that ends, as one of CTP's pipelines does."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from ctp_supervisor.engine.process import Threads
from processes import ended

# The kernel keeps 15 bytes of a name: the two long ones are one to it.
NAMES = ["orthanc-1", "radiotherapy-north-1", "radiotherapy-north-2"]
PROGRAM = """
import ctypes, sys, threading
lines = {}
def run(name, go):
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
    go.wait()
for name in sys.argv[1:]:
    lines[name] = threading.Event()
    threading.Thread(target=run, args=(name, lines[name]), daemon=True).start()
for line in sys.stdin:
    lines[line.strip()].set()
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, *NAMES, "another"]
    with ended(command, stdin=subprocess.PIPE, text=True) as found:
        yield found


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_thread_that_ends_is_lost(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    threads = Threads(process.pid, [*NAMES, "never there"])
    wait_for(lambda: threads.lost() == [] and len(threads._seen) == 2)

    def end(name: str) -> None:
        assert process.stdin is not None
        process.stdin.write(f"{name}\n")
        process.stdin.flush()

    end("another")
    end("radiotherapy-north-2")
    wait_for(lambda: threads.lost() == ["radiotherapy-no"])
    end("orthanc-1")
    wait_for(lambda: threads.lost() == ["orthanc-1", "radiotherapy-no"])
    process.kill()
    process.wait()
    assert threads.lost() == []
