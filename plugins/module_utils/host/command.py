"""Run a program on the host and read what it says. Used by the modules of this collection."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

#: What the engine says to whoever asks for anything of a locked Swarm.
LOCKED = "Swarm is encrypted and needs to be unlocked"
#: How often a list is asked for anew of which something was removed before it was looked at.
LOOKS = 3


class CommandError(RuntimeError):
    """A program ended with an error; the text holds its name, its exit code and its last words."""


def plain(words: str) -> str:
    """Return an engine's error with what to do, where its Swarm is locked."""
    if LOCKED not in words:
        return words
    return (
        "The Swarm on this machine is locked, so none of its services runs: its engine was "
        "started, and with autolock on it asks for a key then. Run site.yml, which gives it the "
        "key of the vault; where the vault has none, run `docker swarm unlock` on the machine "
        "(docs/secrets.md). Then run this again."
    )


def run(arguments: Sequence[str], stdin: str | None = None, timeout: float = 120) -> str:
    """Run a program without a shell and return its standard output.

    Args:
        arguments: the program and its arguments. Never a secret: every user can see them.
        stdin: text for its standard input; the place for secrets.
        timeout: seconds after which the program is killed.

    Raises:
        CommandError: it is missing, ended with another code than 0, or took too long.
    """
    program = " ".join(arguments[:3])
    try:
        done = subprocess.run(
            list(arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{arguments[0]} is not installed on this host.") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{program} did not end within {timeout:.0f} s.") from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-2000:]
        raise CommandError(f"{program} ended with code {done.returncode}: {plain(words)}")
    return done.stdout


def run_json(arguments: Sequence[str], timeout: float = 120) -> Any:
    """Run a program that prints one JSON document and return it.

    Raises:
        CommandError: as `run`.
    """
    return json.loads(run(arguments, timeout=timeout))


def docker_objects(kind: str, filters: Sequence[str]) -> list[dict[str, Any]]:
    """Return what ``docker <kind> inspect`` tells of the objects that match the filters.

    Args:
        kind: service, secret, container, network, image …, as the docker command names them.
        filters: such as ``label=com.docker.stack.namespace=auscat``.

    What was removed between the list and the look at it is left out.

    Raises:
        CommandError: the engine does not answer.
    """
    arguments = ["docker", kind, "ls", "-q"]
    for condition in filters:
        arguments += ["--filter", condition]
    names = run(arguments).split()
    for _ in range(LOOKS - 1):
        try:
            return _inspected(kind, names)
        except CommandError:
            names = run(arguments).split()
    return _inspected(kind, names)


def _inspected(kind: str, names: list[str]) -> list[dict[str, Any]]:
    # The docker command fails for all of them when one is not there.
    return list(run_json(["docker", kind, "inspect", *names])) if names else []


def manages_a_swarm() -> bool:
    """Tell whether there is an engine on this host that manages a Swarm.

    Raises:
        CommandError: there is an engine, and it does not answer, or its Swarm is locked: what that
            holds nobody can tell.
    """
    if shutil.which("docker") is None:
        return False
    form = "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}"
    state, _, managed = run(["docker", "info", "--format", form]).strip().partition(" ")
    if state == "locked":
        raise CommandError(plain(LOCKED))
    return managed == "true"
