"""A process for a test, which does not outlive it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def ended(command: Sequence[str | Path], **how: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a process, and kill it at the end of the block if it still runs.

    ``with subprocess.Popen(...)`` waits for the process there. A test that failed before it had
    ended it would then wait for ever, and nobody would learn that it failed.

    Args:
        command: the program and its arguments.
        how: as for ``subprocess.Popen``.
    """
    with subprocess.Popen(command, **how) as process:
        try:
            yield process
        finally:
            process.kill()
