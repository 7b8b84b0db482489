"""Ask the programs of this host, and systemd, without changing anything."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class UnknownError(Exception):
    """Something that cannot be read now; `code` is the exit code of what was run, if it ended."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


def run(*arguments: str, stdin: str | None = None, timeout: float = 15) -> str:
    """Run a program and return what it prints; never with a secret among its arguments.

    Raises:
        UnknownError: it is missing, failed or took too long.
    """
    try:
        done = subprocess.run(
            arguments,
            input=stdin if stdin is not None else "",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={"PATH": PATH, "LC_ALL": "C", "HOME": "/root"},
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnknownError(f"{arguments[0]}: {type(error).__name__}") from error
    if done.returncode:
        raise UnknownError(
            f"{' '.join(arguments[:3])} ended with code {done.returncode}", done.returncode
        )
    return done.stdout


def known(read: Callable[[], Any], otherwise: Any) -> Any:
    """Return what is read, or the second where that fails."""
    try:
        return read()
    except (UnknownError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return otherwise


def systemd() -> bool:
    """Tell whether systemd is PID 1."""
    return Path("/run/systemd/system").is_dir()


def is_active(unit: str) -> bool:
    """Tell whether systemd runs a unit. Whoever asked what it serves instead could start it."""
    return systemd() and known(lambda: bool(run("systemctl", "is-active", unit)), False)
