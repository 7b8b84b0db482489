"""Action plugin: deploy the stack, and say every ten seconds how far its services are.

The module does all the work and knows nothing of this. A process beside it asks the engine over a
connection of its own, so that neither waits for the other; what it cannot ask is not shown.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.auscat.imaging.plugins.module_utils.stack import progress

MODULE = "auscat.imaging.swarm_stack"
EVERY = 10.0  # seconds from one line to the next; a run with nothing to do ends before the first
WAITS = ("present", "rolled_back")  # states in which services are started


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the module, and show how far it is where it may take long."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._task.check_mode or arguments.get("state", "present") not in WAITS:
            return {**result, **self._execute_module(MODULE, arguments, task_vars=task_vars)}
        host = (task_vars or {}).get("inventory_hostname", "this machine")
        with shown(self, str(host), str(arguments.get("name", ""))):
            return {**result, **self._execute_module(MODULE, arguments, task_vars=task_vars)}


@contextmanager
def shown(action: ActionBase, host: str, stack: str) -> Iterator[None]:
    """Show how far the services of a stack are for as long as the block takes."""
    reading, writing = os.pipe()
    worker, queue = os.getpid(), getattr(Display(), "_final_q", None)
    watching = os.fork()
    if not watching:
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.close(reading)
            # It is ended at any moment, and must not hold the queue of the run then. By its writers
            # the lock of the machine knows that a run lives (the action plugin machine_lock).
            if queue is not None:
                queue._writer.close()
            Display()._final_q = None
            Display().verbosity = 0
            _watch(action, host, stack, writing, worker)
        finally:
            os._exit(0)
    os.close(writing)
    showing = threading.Thread(target=_show, args=(reading,), daemon=True)
    showing.start()
    try:
        yield
    finally:
        # Before it has a session of its own, it has no process beside itself either.
        for end in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                end(watching, signal.SIGKILL)
        os.waitpid(watching, 0)
        showing.join(1)


def _show(reading: int) -> None:
    """Display each line that comes, until nobody can write any more."""
    with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            Display().display(line.rstrip("\n"))


def _watch(action: ActionBase, host: str, stack: str, writing: int, worker: int) -> None:
    """Ask every ten seconds, and write a line for each answer, while the task's process lives."""
    began = time.monotonic()
    while True:
        time.sleep(EVERY)
        if os.getppid() != worker:
            return
        # What goes wrong once, as while the engine is busy, may be right the next time.
        with suppress(Exception):
            answer = action._low_level_execute_command(progress.question(stack))
            if answer["rc"] == 0:
                said = progress.told(stack, answer["stdout"].replace("\r\n", "\n"))
                line = f"{host}: {said} (after {time.monotonic() - began:.0f} s)\n"
                os.write(writing, line.encode())
