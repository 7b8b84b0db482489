"""How the programs in containers of their own begin, wait, are asked and end: gate and outlet.

Exit status of each: 0 stopped as told, or healthy; 1 a part of it failed, or not healthy; 2 cannot
run with these settings.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn, Protocol, TypeVar

from program_settings import SettingsError

SettingsT = TypeVar("SettingsT")


class Part(Protocol):
    """What a program consists of. It has its port when it is made."""

    def start(self) -> None:
        """Work from now on."""

    def stop(self) -> None:
        """End in order."""


def run(
    name: str,
    arguments: list[str],
    load: Callable[[Mapping[str, str]], SettingsT],
    make: Callable[[SettingsT], Part],
) -> int:
    """Run until told to stop; return the exit status.

    Args:
        name: of the program, as it stands in its log.
        arguments: none are accepted.
        load: reads the settings. Raises ``SettingsError``.
        make: raises ``SettingsError`` and ``OSError``.
    """
    # Imported here: the health check needs none of it.
    import logging
    import signal
    import threading

    from .machine import threads

    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format=f"{name}: %(levelname)-7s %(message)s"
    )
    try:
        settings = load(os.environ)
        if arguments:
            raise SettingsError(f"Unknown argument {arguments[0]}: give none, or healthcheck.")
        part = make(settings)
    except (SettingsError, OSError) as error:
        return _cannot_start(name, error)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        stop.set()

    threads.watch(fail)
    part.start()
    # Not without end: a signal that comes just before the wait begins does not end it.
    while not stop.wait(1):
        pass
    part.stop()
    return 1 if failed.is_set() else 0


def healthcheck(
    name: str,
    load: Callable[[Mapping[str, str]], SettingsT],
    check: Callable[[SettingsT], str],
) -> int:
    """Ask the program that runs here; return the exit status.

    Args:
        name: of the program.
        load: reads the settings. Raises ``SettingsError``.
        check: says what is wrong, in one sentence; empty when all is well.
    """
    try:
        problem = check(load(os.environ))
    except SettingsError as error:
        return _cannot_start(name, error)
    print(problem or "ok")
    return 1 if problem else 0


def end(status: int) -> NoReturn:
    """End the process, whatever its threads do: associations may still wait for a peer."""
    sys.stdout.flush()
    os._exit(status)


def _cannot_start(name: str, error: Exception) -> int:
    print(f"The {name} cannot start: {error}", file=sys.stderr, flush=True)
    return 2
