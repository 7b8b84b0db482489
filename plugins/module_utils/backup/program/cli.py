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

It holds the machine while it works (`machine_lock`), and waits for whoever else changes it. With
--wait, that it waited in vain is told by the status, too.

Snapshots carry the tag ``unchecked`` until all that their index names is known to be in them; only
those tagged ``complete`` are ever restored. A tag such as ``ctp.20260102T030405.678901Z`` says when
that part was taken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import base, machine_lock, orthanc, restic, running, trees


@contextlib.contextmanager
def locked(what: str, seconds: float) -> Iterator[None]:
    """Exclude all else that changes this machine. Raises ``BusyError`` after that time.

    Args:
        what: the command and its kinds of data.
        seconds: for which it waits for another holder.
    """
    # Whatever else writes data goes on beside a backup, and not beside a restore.
    kind = "change" if what.split()[0] in ("restore", "finish") else "backup"

    def tell(holder: Mapping[str, Any]) -> None:
        base.say(f"waiting for {machine_lock.described(holder)}")

    try:
        with machine_lock.held(what, seconds, tell, kind):
            yield
    except machine_lock.HeldError as error:
        raise BusyError(
            f"This machine was being changed all the {seconds:.0f} s that were waited for, by "
            f"{error}. Run it again when that is over: nothing was done."
        ) from None


class BusyError(base.BackupError):
    """Somebody else changes this machine."""


def main(arguments: Sequence[str], settings_file: str) -> int:
    """Do what the command line says, as the settings have it; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "command",
        choices=["backup", "verify", "list", "restore", "finish", "cleanup", "ask-orthanc"],
    )
    parser.add_argument("kinds", nargs="*", choices=[[], *base.KINDS])
    parser.add_argument("--wait", type=float)
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
            result = dispatch(options, Path(settings_file))
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


def dispatch(options: argparse.Namespace, settings_file: Path) -> dict[str, Any]:
    """Run one command; a failed backup or verification is noted for the status."""
    kinds = options.kinds or sorted(json.loads(settings_file.read_text())["kinds"], reverse=True)

    def runs_of() -> list[running.Run]:
        settings = json.loads(settings_file.read_text())
        return [running.Run(settings, kind) for kind in kinds]

    runs = runs_of()
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
    # A playbook that has just ended frees the machine a moment later.
    seconds = options.wait if options.wait is not None else 30.0
    is_cleanup = options.command == "cleanup"
    try:
        with locked(" ".join([options.command, *kinds]), 0 if is_cleanup else seconds):
            # Whoever was waited for may have changed them.
            return _locked_dispatch(options, runs_of())
    except BusyError as error:
        if is_cleanup:
            return {}
        # Whoever runs it by hand sees it. Of a timer, the status has to tell.
        if options.wait is not None and options.command == "backup":
            running.note(kinds[0], {"error": str(error)}, int(runs[0].settings["max_age_hours"]))
        if options.wait is not None and options.command == "verify":
            _note_verify(str(error), [])
        raise


def _note_verify(error: str | None, words: Sequence[str]) -> None:
    """Write how a verification went, for the status."""
    state = {"finished": base.now(), "ok": not error, "error": error, "result": list(words)}
    trees.write_file(base.STATE / "verify.json", json.dumps(state, indent=2) + "\n")


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
            _note_verify(error, words)
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
