"""Where things lie, what kinds of data there are, and how a run ends that cannot go on."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path

#: As installed: the package lies beside it, and none of its files can be run by itself.
LAUNCHER = Path(__file__).resolve().parent.with_name("backup_run.py")
STATE = Path("/var/lib/auscat/backup")
RUN = Path("/run")
CACHE = Path("/var/cache/auscat/restic")
# A server that is there and silent must not hold a run, and its lock, for ever.
ANSWER_SECONDS = 60.0

STAGE, SCRATCH, RESTORING, ASIDE = (
    ".auscat-backup",
    ".auscat-verify",
    ".auscat-restore",
    ".before-restore-",
)
"""Directories of this program inside a service's directory, so on that service's disk."""
BEGINNING = ".auscat-restoring"
"""The mark ``RESTORING`` before it has its name: nothing has been moved yet."""
MOVING = "moving"
"""In the mark while what a directory held is put aside: the name of the directory it goes to."""
FREE_SPACE = ".free-space"
"""The empty directory by which the gate sees how much is free there (roles/ctp/vars/main.yml)."""
LABEL = "auscat.backup=scratch"
"""Of the containers in which data is tried."""
KINDS = ("identifiable", "deidentified")
#: CTP makes the index of a quarantine anew; that one ended in order is not true of a copy.
CTP_LEFT_OUT = ("..index", "clean-stop", "supervisor.lock", ".lock")
PAUSE_SECONDS = 30.0
TAKES = 4
#: Clocks of a node and of its successor differ by less.
CLOCKS_DIFFER_SECONDS = 300.0
TIME = "%Y%m%dT%H%M%S.%fZ"


class BackupError(Exception):
    """What could not be done; the text says what, why, and what to do."""


class StoppedError(Exception):
    """Somebody told this run to end."""


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number of things in words: "1 file", "2 files" (as the room host has it)."""
    return f"{number:,}".replace(",", " ") + f" {one if number == 1 else many or one + 's'}"


def now() -> str:
    """Return the present time, ISO 8601 in UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def say(text: str) -> None:
    """Tell how far the run is."""
    print(f"backup: {text}", file=sys.stderr, flush=True)
