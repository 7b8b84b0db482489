"""Images out of the engine and into it, gigabytes at a time: through a pipe, and not in memory."""

from __future__ import annotations

import contextlib
import gzip
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError
from ansible_collections.auscat.imaging.plugins.module_utils.images import bundle


def save(names: Sequence[str], target: Path) -> None:
    """Write images of the engine to a gzipped archive.

    Raises:
        CommandError: the engine fails.
        OSError: the archive cannot be written.
    """
    with subprocess.Popen(["docker", "save", *names], stdout=subprocess.PIPE) as engine:
        saved = cast("IO[bytes]", engine.stdout)
        # Little is gained by a higher level, and much time lost.
        with gzip.GzipFile(str(target), "wb", compresslevel=1, mtime=0) as compressed:
            bundle.copy(saved, compressed)
    if engine.returncode != 0:
        raise CommandError(f"docker save {' '.join(names)} ended with code {engine.returncode}.")


def load(source: IO[bytes]) -> None:
    """Give an archive of images to the engine.

    Raises:
        CommandError: the engine fails.
    """
    with subprocess.Popen(
        ["docker", "load", "--quiet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as engine:
        given = cast("IO[bytes]", engine.stdin)
        # An engine that gives up closes the pipe; what it said is reported below.
        with contextlib.suppress(BrokenPipeError):
            bundle.copy(source, given)
        with contextlib.suppress(BrokenPipeError):
            given.close()
        said = cast("IO[bytes]", engine.stdout).read().decode(errors="replace")
    if engine.returncode != 0:
        raise CommandError(f"docker load ended with code {engine.returncode}: {said.strip()}")
