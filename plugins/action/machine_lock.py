"""Action plugin: hold a machine for as long as this run of ansible-playbook lives.

The module takes the lock. What keeps it is a process of the controller for each machine: it lets
the machine know that the run lives, and frees it when ansible-playbook and what it had begun have
ended, however they did. Where the controller itself is gone, the lock ends by itself
(`machine_lock.SILENT_SECONDS`).
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import select
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.auscat.imaging.plugins.module_utils.backup.program import machine_lock

RUN = re.compile(r"(?P<controller>[0-9a-f]{12})x(?P<pid>[0-9]+)x(?P<started>[0-9A-Za-z]+)")
#: How long to wait for the last step of a run of this controller whose ansible-playbook has ended.
ENDED_SECONDS = machine_lock.SILENT_SECONDS + machine_lock.BEAT_SECONDS
#: How long to wait in any case: for the end of what takes a moment, such as a run that has ended.
SHORT_SECONDS = 5
ASK_SECONDS = 1


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    _VALID_ARGS = frozenset({"wait", "kind", "beside_backup"})
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Take the lock, or fail with who holds it; in check mode do nothing."""
        result = super().run(tmp, task_vars)
        if self._task.check_mode:
            return {**result, "changed": False, "run": ""}
        wished = arguments(task_vars or {}, self._task.args)
        answer = attempt(self, task_vars, wished)
        if answer.get("failed"):
            return {**result, **answer}
        busy, said = settle(self, task_vars, wished, answer.pop("lock"), self._task.args)
        host = (task_vars or {})["inventory_hostname"]
        if busy:
            return {**result, "failed": True, "msg": f"{busy} Nothing was changed on {host}."}
        return {**result, "changed": False, **said}


def attempt(
    action: ActionBase, task_vars: dict[str, Any] | None, wished: Mapping[str, Any]
) -> dict[str, Any]:
    """Run the module that takes the lock, once, and return its answer."""
    answer: dict[str, Any] = action._execute_module(
        module_name="auscat.imaging.machine_lock", module_args=dict(wished), task_vars=task_vars
    )
    return answer


def arguments(task_vars: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the module is told of this run: its record, and whether to break another's."""
    named = re.split(r"[\s,]+", str(task_vars.get("break_lock", "")))
    return {
        "record": {
            "run": this_run(),
            "what": " ".join(str(each) for each in context.CLIARGS.get("args") or ["a playbook"]),
            "who": f"{_user()}@{socket.gethostname()}",
            "kind": given.get("kind", "change"),
            "since": machine_lock.now(),
            "inventory": ", ".join(str(each) for each in context.CLIARGS.get("inventory") or []),
            "processes": [],
        },
        "broken": task_vars["inventory_hostname"] in named,
    }


def _user() -> str:
    """Return the login of whoever runs this; in a container it may be a number without a name."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def settle(
    action: ActionBase,
    task_vars: dict[str, Any] | None,
    wished: Mapping[str, Any],
    lock: dict[str, Any],
    given: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
    """Wait for another holder where that is asked for, and keep the lock once it is ours.

    Args:
        wished: as `arguments` returns it.
        lock: what the first attempt gave.
        given: of the module's options.

    Returns:
        What is wrong, and else ``run`` and ``warnings`` for the result of the task.
    """
    host = (task_vars or {})["inventory_hostname"]
    began, wait = time.monotonic(), max(SHORT_SECONDS, float(given.get("wait") or 0))
    told = False
    while holder := lock["holder"]:
        if given.get("beside_backup") and holder["kind"] == "backup":
            return "", {"run": "", "warnings": []}
        ended = has_ended(holder["run"])
        if time.monotonic() - began >= (max(wait, ENDED_SECONDS) if ended else wait):
            return problem(host, holder, ended), {}
        if not told and (ended or wait > SHORT_SECONDS):
            Display().display(f"{host}: waiting for {machine_lock.described(holder)}")
            told = True
        time.sleep(ASK_SECONDS)
        answer = attempt(action, task_vars, wished)
        if answer.get("failed"):
            return str(answer.get("msg")), {}
        lock = answer["lock"]
    run = wished["record"]["run"]
    if not lock["joined"]:
        keep(action, run)
    return "", {"run": run, "warnings": warnings(host, lock["before"], wished["broken"])}


def problem(host: str, holder: Mapping[str, Any], ended: bool) -> str:
    """Return who holds a machine, since when, and what to do."""
    words = [
        f"{host} is being changed by {machine_lock.described(holder)}. Accepted: one run at a time "
        "on a machine. Wait until it is over."
    ]
    if ended:
        words.append(
            "Its ansible-playbook on this controller has ended; what it had begun has not."
        )
    if holder["kind"] == "backup":
        words.append(
            f"To end a backup or verification of a timer: systemctl stop 'auscat-backup-*.service' "
            f"on {host}."
        )
    if holder.get("silent") is not None:
        words.append(
            f"If its controller is gone, {host} is free {machine_lock.SILENT_SECONDS // 60} "
            "minutes after it was last heard of."
        )
    words.append(
        f"To take the lock from it: -e break_lock={host}. What still works of that run then works "
        "beside yours: one may put back what the other has changed, and a copy of data may be of "
        "two states. End it first."
    )
    return " ".join(words)


def warnings(host: str, before: Mapping[str, Any] | None, broken: bool) -> list[str]:
    """Return what to tell of the run whose place this one took."""
    if not before:
        return []
    was = f"The lock of {host} was held by {machine_lock.described(before)}"
    if broken:
        return [f"{was}. It was broken. What still works of that run works beside this one."]
    return [f"{was}, which ended without a word. What it left half done, running it again repairs."]


def this_run() -> str:
    """Return what this run of ansible-playbook is known by: letters and digits.

    A task is carried out by a child of it, which may outlive it: ask once in a task, early.
    """
    main = os.getppid()
    return f"{_controller()}x{main}x{_started(main)}"


def has_ended(run: str) -> bool:
    """Tell whether a run was of this controller, and its ansible-playbook is no more."""
    found = RUN.fullmatch(run)
    return (
        found is not None
        and found["controller"] == _controller()
        and _started(int(found["pid"])) != found["started"]
    )


def _controller() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    name = boot.read_text() if boot.exists() else str(uuid.getnode())
    return hashlib.sha256(f"{socket.gethostname()} {name}".encode()).hexdigest()[:12]


def _started(pid: int) -> str:
    """Return when a process of the controller was started, as letters and digits; 0: it is none."""
    if Path("/proc/self/stat").exists():
        return str(machine_lock.started(pid))
    asked = ["ps", "-o", "lstart=", "-p", str(pid)]
    said = subprocess.run(asked, capture_output=True, encoding="utf-8", check=False).stdout
    return re.sub("[^0-9A-Za-z]", "", said) or "0"


def keep(action: ActionBase, run: str) -> None:
    """Start the process that keeps the lock of the action's machine until the run ends."""
    queue: Any = Display()._final_q
    reading, writing = queue._reader, queue._writer
    if os.fork():
        return
    try:
        # In a session of its own, it is spared by what ends a task.
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        # All processes of the run can write to the queue of results, and they alone: when none of
        # them is left, its reading end says so.
        writing.close()
        ended = select.poll()
        ended.register(reading.fileno(), 0)
        # What would be shown from here has no reader.
        Display()._final_q = None
        _keep(action, run, ended)
    finally:
        os._exit(0)


def _keep(action: ActionBase, run: str, ended: select.poll) -> None:
    """Let the machine know that the run lives, and free the machine when it has ended."""
    while not ended.poll(machine_lock.BEAT_SECONDS * 1000):
        # What goes wrong once may be right the next time.
        with suppress(Exception):
            if _told(action, machine_lock.beat_command(run)) == machine_lock.NOT_HELD:
                return
    _told(action, machine_lock.release_command(run))


def _told(action: ActionBase, command: str) -> int:
    """Run a command on the machine and return what it ended with.

    Raises:
        TimeoutError: it has not ended within two beats, as over a connection that died.
    """

    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(2 * machine_lock.BEAT_SECONDS)
    try:
        return int(action._low_level_execute_command(command)["rc"])
    finally:
        signal.alarm(0)
