"""Callback plugin of the tests: a line for each step of a run, and a halt at one of them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: step_marks
type: aggregate
author: The AusCAT imaging node project (!UNKNOWN)
short_description: Write down each task of a run, and halt the run where a test is to kill it
description:
  - Writes lines of JSON to the file that STEP_MARKS names, for molecule/shared/killed.py.
  - STEP_HALT, a JSON object with C(name), C(occurrence) and C(before), names a task. With
    C(before) the run does not go on when this task is about to begin; without, when it is over.
    It stands still until somebody kills it.
  - Only the tests load it, by ANSIBLE_CALLBACK_PLUGINS and ANSIBLE_CALLBACKS_ENABLED.
"""

import json
import os
import time
from collections import Counter
from typing import Any

from ansible.plugins.callback import CallbackBase

#: After which a halted run that nobody kills ends by itself, with `FORGOTTEN`.
PATIENCE_SECONDS = 600
FORGOTTEN = 97


class CallbackModule(CallbackBase):
    """Notes when each task begins and what it does; all in the first process of the run."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "step_marks"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._marks = os.open(os.environ["STEP_MARKS"], flags, 0o600)
        self._halt: dict[str, Any] = json.loads(os.environ.get("STEP_HALT", "{}"))
        self._seen: Counter[str] = Counter()
        self._at_halt = False

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Note a task, and halt where that is asked for."""
        self._begin(task)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Note a handler: what it does is a step like any other."""
        self._begin(task)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Note the end of the run."""
        self._over()
        self._mark("end")

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note a result."""
        self._result(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Note a failure; what had been changed until then is changed."""
        self._result(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Note a machine that could not be reached."""
        self._result(result, "unreachable")

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Note a task that did nothing."""
        self._result(result, "skipped")

    def _begin(self, task: Any) -> None:
        self._over()
        name = str(task.get_name()).strip()
        self._seen[name] += 1
        step = {"name": name, "occurrence": self._seen[name]}
        wished = {key: self._halt.get(key) for key in step} == step
        if wished and self._halt["before"]:
            self._mark("halted", **step)
            _stand_still()
        self._at_halt = wished
        self._mark(
            "began",
            **step,
            action=str(task.resolved_action or task.action),
            check=bool(task.check_mode),
            # It says "not changed" whatever it does.
            silent=any(str(each).lower() == "false" for each in task.changed_when or ()),
        )

    def _over(self) -> None:
        """Halt when the task is over that was to be killed at work: the next one is another."""
        if self._at_halt:
            self._mark("halted")
            _stand_still()

    def _result(self, result: Any, outcome: str) -> None:
        found = result._result
        self._mark(
            "result",
            host=result._host.get_name(),
            outcome=outcome,
            changed=bool(found.get("changed", False)),
        )

    def _mark(self, event: str, **what: Any) -> None:
        line = json.dumps({"event": event, "time": time.time(), **what})
        os.write(self._marks, line.encode() + b"\n")


def _stand_still() -> None:
    time.sleep(PATIENCE_SECONDS)
    os._exit(FORGOTTEN)
