"""The process that takes the samples where PID 1 is not systemd: started, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import keeper


def start(directory: Path, settings: str, lock: Path) -> None:
    """Start the process that takes the samples, and wait until it holds its lock.

    Raises:
        CommandError: it ended at once.
    """
    process = subprocess.Popen(
        ["/usr/bin/python3", "-m", "node_status.keeper", settings, str(lock)],
        cwd="/",
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": str(directory.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while keeper.holder(lock) != process.pid:
        if process.poll() is not None or time.monotonic() > deadline:
            raise CommandError(f"python3 -m node_status.keeper does not run ({process.poll()})")
        time.sleep(0.1)


def end(running: int, lock: Path) -> None:
    """End the process that takes the samples, and one that it takes just now.

    Raises:
        CommandError: it still runs.
    """
    with contextlib.suppress(ProcessLookupError):
        # The leader of its session, as `start` has made it.
        os.killpg(running, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while keeper.holder(lock):
        if time.monotonic() > deadline:
            raise CommandError(f"process {running}, which takes the samples, does not end")
        time.sleep(0.1)
