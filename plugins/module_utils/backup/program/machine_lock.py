"""Who changes this machine now: one at a time, whether a playbook or a timer.

A playbook is many short processes, so a lock that one of them holds would end with it. What is
held is a record in /run, which a restart of the machine clears. It counts while

- its run was heard of within ``SILENT_SECONDS``: the controller writes every ``BEAT_SECONDS``, as
  long as the playbook lives, how long the machine had been up (its clock may be set meanwhile), or
- one of the processes lives on this machine that have joined it: a backup or a restore goes on
  when its playbook was killed.

It needs nothing but Python 3.9, as all of this program.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

DIRECTORY = Path("/run/auscat-lock")
UPTIME = Path("/proc/uptime")
BEAT_SECONDS = 30
SILENT_SECONDS = 300
#: What the controller's commands end with where their run holds nothing.
NOT_HELD = 3
#: In the environment of what a playbook starts here: its run, which holds the machine already.
RUN = "AUSCAT_RUN"

Record = dict[str, Any]
KEYS = frozenset(("boot", "inventory", "kind", "processes", "run", "since", "what", "who"))


class HeldError(Exception):
    """Somebody else changes this machine.

    Attributes:
        record: of the holder, with ``silent``: seconds since it was last heard of, None where only
            processes hold it.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(described(record))
        self.record = record


def take(mine: Mapping[str, Any], broken: bool = False) -> dict[str, Any]:
    """Hold the machine for a run, or join what this run holds already.

    Args:
        mine: ``run`` (its identity), ``what`` (a playbook or a command), ``who``, ``kind``
            (change or backup), ``since`` (as of `now`), ``inventory`` (may be empty), and
            ``processes``: pid and start of those that hold it on this machine. None: a playbook,
            which has to be heard of.
        broken: replace the holder, whoever it is.

    Returns:
        ``joined``: whether this run held it already; ``before``: the record of another one that it
        took the place of, since that had ended without a word or was broken. None: it was free.

    Raises:
        HeldError: somebody else holds it.
        OSError: the record cannot be written.
    """
    with _guarded():
        held = _read()
        counts = held is not None and _counts(held)
        if held and held["run"] == mine["run"]:
            processes = [*held["processes"], *mine["processes"]]
            _write({**held, "processes": processes}, heard=not mine["processes"])
            return {"joined": True, "before": None}
        if held and counts and not broken:
            raise HeldError(held)
        (DIRECTORY / "heard").unlink(missing_ok=True)
        _write({**mine, "boot": _boot()}, heard=not mine["processes"])
        return {"joined": False, "before": held}


def attempt(mine: Mapping[str, Any], broken: bool = False) -> dict[str, Any]:
    """Do as `take`, and return the record of another holder as ``holder`` instead of raising."""
    try:
        return {**take(mine, broken), "holder": None}
    except HeldError as error:
        return {"joined": False, "before": None, "holder": error.record}


def leave(run: str, process: Mapping[str, int]) -> None:
    """Let a process of a run go; the last one frees the machine, unless its playbook holds it."""
    with _guarded():
        held = _read()
        if not held or held["run"] != run:
            return
        processes = [each for each in _living(held) if each != process]
        if processes or (DIRECTORY / "heard").exists():
            _write({**held, "processes": processes}, heard=False)
        else:
            (DIRECTORY / "record.json").unlink(missing_ok=True)


def holder() -> Record | None:
    """Return the record of who holds the machine now, None where nobody does."""
    if not DIRECTORY.is_dir():
        return None
    with _guarded():
        held = _read()
        return held if held and _counts(held) else None


@contextlib.contextmanager
def held(
    what: str, seconds: float, wait: Callable[[Record], None], kind: str = "backup"
) -> Iterator[None]:
    """Hold the machine for this process, within the run of the playbook that started it if any.

    Args:
        what: this process does, for whoever is kept waiting.
        seconds: for which it waits for another holder.
        wait: called once with the record of whom it waits for.
        kind: change or backup, beside which others may go on.

    Raises:
        HeldError: somebody else held it all the time.
    """
    process = {"pid": os.getpid(), "started": started(os.getpid())}
    run = os.environ.get(RUN) or f"{process['pid']}-{process['started']}"
    by_timer = "INVOCATION_ID" in os.environ
    mine = {
        "run": run,
        "what": what,
        "who": "its timer" if by_timer else _user(),
        "kind": kind,
        "since": now(),
        "inventory": "",
        "processes": [process],
    }
    deadline = time.monotonic() + seconds
    told = False
    while True:
        try:
            take(mine)
            break
        except HeldError as error:
            if time.monotonic() >= deadline:
                raise
            if not told:
                wait(error.record)
            told = True
            time.sleep(1)
    try:
        yield
    finally:
        leave(run, process)


def described(record: Mapping[str, Any]) -> str:
    """Return who holds the machine and since when, for a person."""
    words = f"{record['what']}, started by {record['who']} on {record['since']} UTC"
    if record.get("inventory"):
        words += f" with the inventory {record['inventory']}"
    if record.get("silent") is not None:
        words += f", last heard of {record['silent']:.0f} s ago"
    if record.get("processes"):
        numbers = ", ".join(str(each["pid"]) for each in record["processes"])
        words += f", at work in process {numbers} of this machine"
    return words


def now() -> str:
    """Return the present time in UTC, to the second, as a person writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def started(pid: int) -> int:
    """Return when a process of this machine was started, in ticks since the boot; 0: it is none.

    A number is used again; number and start together are not.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    state, *rest = fields.rpartition(")")[2].split()
    return 0 if state in ("Z", "X") else int(rest[18])


def _user() -> str:
    return os.environ.get("SUDO_USER") or getpass.getuser()


def _living(record: Mapping[str, Any]) -> list[dict[str, int]]:
    return [each for each in record["processes"] if started(each["pid"]) == each["started"]]


def _counts(record: Record) -> bool:
    """Tell whether a record still counts, and write into it why."""
    record["processes"] = _living(record)
    record["silent"] = None
    if record["boot"] != _boot():
        return False
    # Neither a timer's nor that of a playbook that has ended has such a file.
    with contextlib.suppress(OSError, ValueError):
        record["silent"] = _uptime() - float((DIRECTORY / "heard").read_text())
    return bool(record["processes"]) or (
        record["silent"] is not None and record["silent"] < SILENT_SECONDS
    )


def _uptime() -> float:
    return float(UPTIME.read_text().split()[0])


def _boot() -> str:
    """Return what tells one start of a machine from another, of a container too."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {started(1)}"


def _read() -> Record | None:
    try:
        found: Record = json.loads((DIRECTORY / "record.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    # Half a record, or another version's, holds nothing.
    return found if isinstance(found, dict) and found.keys() >= KEYS else None


def _write(record: Mapping[str, Any], heard: bool) -> None:
    """Write a record; ``heard``: and that its playbook was heard of now."""
    if heard:
        _replace("heard", f"{_uptime()}\n")
    _replace("record.json", json.dumps({key: record[key] for key in sorted(KEYS)}) + "\n")


def _replace(name: str, text: str) -> None:
    new = DIRECTORY / f"{name}.new"
    new.write_text(text, encoding="utf-8")
    new.replace(DIRECTORY / name)


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    """Keep others from reading and writing the record for the moment that this takes."""
    DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(DIRECTORY / "guard", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def beat_command(run: str) -> str:
    """Return the shell command that says that a run lives; it may end with ``NOT_HELD``.

    Args:
        run: letters and digits.
    """
    return _if_held(run, "cut -d ' ' -f 1 /proc/uptime > heard.new && mv heard.new heard")


def release_command(run: str) -> str:
    """Return the shell command that frees the machine at the end of a run.

    What processes of the run still work there hold it until they end.
    """
    free = "grep -q '\"processes\": \\[\\]' record.json && rm -f record.json; rm -f heard"
    return _if_held(run, free)


def _if_held(run: str, command: str) -> str:
    """Return a shell command that runs another one, guarded, where a run holds the machine."""
    inner = f'grep -qs \'"run": "{run}"\' record.json || exit 3; {command}'
    quoted = inner.replace("'", "'\\''")
    return f"cd {DIRECTORY} 2>/dev/null || exit {NOT_HELD}; flock guard sh -c '{quoted}'"
