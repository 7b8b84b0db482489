"""Back up this machine's part of the node, restore it, and try a backup in a scratch place.

The role ``backup`` copies this package to the host, where the timers and the playbooks run it as
root, by its launcher backup_run.py. It needs nothing but Python 3.9, restic and the docker command.
Two kinds of data, each with a repository and a password of its own: ``identifiable`` (CTP, KeyDB)
and ``deidentified`` (Orthanc).

    backup_run.py backup KIND [--wait SECONDS] [--adopt]
    backup_run.py verify KIND… [--wait SECONDS]    restore the newest snapshot to a scratch place
                                                   and try it
    backup_run.py list KIND                        the snapshots, as JSON
    backup_run.py restore KIND --snapshot WHICH    secrets of new databases as JSON on standard
                                                   input: service to file to content
    backup_run.py finish KIND…                     after all: until then, restore begins anew
    backup_run.py cleanup KIND                     remove what a run that was killed left

The last line of standard output is a JSON object; exit status 0: done, 1: an error, in ``error``.

Snapshots carry the tag ``unchecked`` until all that their index names is known to be in them; only
those tagged ``complete`` are ever restored. A tag such as ``ctp.20260102T030405.678901Z`` says when
that part was taken.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import base, orthanc, restic, running, trees


@contextlib.contextmanager
def locked(seconds: float) -> Iterator[None]:
    """Exclude other runs on this machine. Raises ``BackupError`` after that time."""
    base.LOCK.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(base.LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BusyError(
                        "Another backup, restore or verification runs on this machine. Wait for "
                        "it: nothing was done."
                    ) from None
                time.sleep(0.5)
        yield
    finally:
        os.close(descriptor)


class BusyError(base.BackupError):
    """Another run is under way; its result counts."""


def main(arguments: Sequence[str], settings_file: str) -> int:
    """Do what the command line says, as the settings have it; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "command",
        choices=["backup", "verify", "list", "restore", "finish", "cleanup", "ask-orthanc"],
    )
    parser.add_argument("kinds", nargs="*", choices=[[], *base.KINDS])
    parser.add_argument("--wait", type=float, default=0)
    parser.add_argument("--adopt", action="store_true")
    parser.add_argument("--snapshot", default="latest")
    parser.add_argument("--not-after")
    parser.add_argument("--replace", action="store_true")
    options = parser.parse_args(arguments)

    def stop(*_: object) -> None:
        raise base.StoppedError

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    os.umask(0o077)
    try:
        if options.command == "ask-orthanc":
            result = orthanc.ask_orthanc()
        else:
            settings = json.loads(Path(settings_file).read_text())
            kinds = options.kinds or sorted(settings["kinds"], reverse=True)
            result = dispatch(options, settings, kinds)
    except base.StoppedError:
        result = {"error": "The run was stopped before its end. Run it again."}
    except (base.BackupError, OSError, sqlite3.Error, ValueError, KeyError) as error:
        text = (
            str(error)
            if isinstance(error, base.BackupError)
            else f"{type(error).__name__}: {error}"
        )
        result = {"error": text}
    print(json.dumps(result))
    return 1 if result.get("error") else 0


def dispatch(
    options: argparse.Namespace, settings: Mapping[str, Any], kinds: Sequence[str]
) -> dict[str, Any]:
    """Run one command; a failed backup or verification is noted for the status."""
    runs = [running.Run(settings, kind) for kind in kinds]
    if options.command == "list":
        (run,) = runs
        mine = restic.of_node(run.restic.open(write=False), run.node, run.kind)
        chosen = run.chosen(options.snapshot, options.not_after)
        return {
            "snapshots": [
                {
                    "id": str(each["id"])[:8],
                    "taken": {
                        part.name: moment.strftime(base.TIME)
                        for part in run.parts
                        if (moment := restic.taken(each, part.name))
                    },
                }
                for each in mine
            ],
            "chosen": {
                part: restic.taken(snapshot, part).strftime(base.TIME)  # type: ignore[union-attr]
                for part, snapshot in chosen.items()
            },
            "warnings": [run.still_to_come] if run.still_to_come else [],
        }
    try:
        with locked(options.wait):
            return _locked_dispatch(options, runs)
    except BusyError:
        if options.command == "cleanup":
            return {}
        raise


def _locked_dispatch(options: argparse.Namespace, runs: Sequence[running.Run]) -> dict[str, Any]:
    if options.command == "cleanup":
        for run in runs:
            run.cleanup()
        return {}
    if options.command == "finish":
        for run in runs:
            run.finish()
        return {}
    if options.command == "restore":
        (run,) = runs
        text = "" if sys.stdin.isatty() else sys.stdin.read()
        logins = json.loads(text or "{}")
        restored = run.restore(options.snapshot, options.not_after, logins, options.replace)
        return {"kind": run.kind, **restored}
    if options.command == "verify":
        words: list[str] = []
        error: str | None = "The run was stopped before its end. Run it again."
        try:
            for run in runs:
                words.append(f"{run.kind}: {run.verify()}")
            error = None
        except (base.BackupError, OSError, sqlite3.Error, ValueError, KeyError) as problem:
            error = str(problem) or type(problem).__name__
        finally:
            state = {"finished": base.now(), "ok": not error, "error": error, "result": words}
            trees.write_file(base.STATE / "verify.json", json.dumps(state, indent=2) + "\n")
        return {"error": error, "result": words}
    (run,) = runs
    result: dict[str, Any] = {"error": "The run was stopped before its end. Run it again."}
    try:
        result = run.backup(options.adopt)
    except (base.BackupError, OSError, sqlite3.Error, ValueError, KeyError) as problem:
        text = (
            str(problem)
            if isinstance(problem, base.BackupError)
            else f"{type(problem).__name__}: {problem}"
        )
        result = {"error": text}
    finally:
        running.note(run.kind, result, int(run.settings["max_age_hours"]))
    return {"kind": run.kind, **result}
