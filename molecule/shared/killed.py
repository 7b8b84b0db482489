"""A playbook killed at each of its steps, one after the other, and run again after each.

What is killed is all that a run has on the controller: `ansible-playbook`, its workers and what
these have started, wherever in the tree of processes (a worker has a session of its own, so that
the group of the first process is not all of it). It is as with a controller that lost its power: a
module that is at work on the machine may live on there, beside the run that follows. The process
that keeps the machine's lock has left the tree once the lock is taken; it frees the machine, as
after every `kill -9`. Where it is killed too, in the midst of the task that takes the lock, the
next run waits until the machine has not been heard of for long enough.

A run begins from the start each time and finds what is done done. So one way through all the steps
kills at each: what the kill at one step left is where the run begins that is killed at the next.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CALLBACKS = Path(__file__).with_name("callbacks")
#: Actions that change nothing anywhere.
HARMLESS = frozenset(
    "ansible.builtin." + name
    for name in (
        *("add_host", "assert", "debug", "fail", "find", "gather_facts", "group_by", "import_role"),
        *("import_tasks", "include_role", "include_tasks", "include_vars", "meta", "pause", "ping"),
        *("set_fact", "set_stats", "setup", "slurp", "stat", "validate_argument_spec", "wait_for"),
        *("wait_for_connection",),
    )
)
#: The longest that a run may take.
RUN_SECONDS = 1800
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Step:
    """A task of a run, known by its name and how often the name has come until then.

    Attributes:
        seconds: how long it took where it was recorded; no part of what it is known by.
    """

    name: str
    occurrence: int = 1
    seconds: float = field(default=0, compare=False)

    def __str__(self) -> str:
        often = f" (time {self.occurrence})" if self.occurrence > 1 else ""
        return f"{self.name.removeprefix('auscat.imaging.')}{often}"


@dataclass
class Task:
    """What a run noted of a task."""

    step: Step
    action: str
    check: bool
    silent: bool
    ran: bool = False
    changed: bool = False


@dataclass(frozen=True)
class Run:
    """How a run went.

    Attributes:
        ended: ``before`` (killed before the step began), ``amid`` (killed while it was at work),
            ``after`` (killed right after it: it was over before the moment that was wished for) or
            ``whole`` (not killed: the step did not come).
        returncode: of a run that was not killed.
        tasks: in order; of those that came.
        text: what it printed.
    """

    ended: str
    returncode: int
    tasks: list[Task]
    text: str

    @property
    def changed(self) -> list[Step]:
        """The steps of which it is known that they changed something."""
        return [task.step for task in self.tasks if task.changed]


@dataclass(frozen=True)
class Playbook:
    """A command that runs a playbook, from a directory, with an environment."""

    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str]

    def run(
        self,
        step: Step | None = None,
        share: float = 0,
        until: Callable[[], bool] | None = None,
    ) -> Run:
        """Run it whole, or kill it at a step.

        Args:
            step: where; None for a whole run.
            share: of the time that the step took when it was recorded, after which it is killed; 0
                for a moment before it begins.
            until: asked while the step is at work; it is killed when this is so, in the place of
                ``share``.

        Raises:
            AssertionError: neither the step came nor the end, or a process could not be killed.
        """
        with tempfile.TemporaryDirectory() as scratch:
            marks, printed = Path(scratch, "marks"), Path(scratch, "printed")
            marks.touch()
            environment = {
                **self.environment,
                "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
                # The one that ansible.cfg names, too.
                "ANSIBLE_CALLBACKS_ENABLED": "auscat.imaging.filters_once,step_marks",
                "ANSIBLE_NOCOLOR": "true",
                "STEP_MARKS": str(marks),
            }
            before = not share and until is None
            if step:
                halt = {"name": step.name, "occurrence": step.occurrence, "before": before}
                environment["STEP_HALT"] = json.dumps(halt)
            with (
                printed.open("wb") as output,
                subprocess.Popen(
                    self.command,
                    cwd=self.directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                ) as process,
            ):
                try:
                    ended = _follow(process, marks, step, share, until)
                finally:
                    if process.poll() is None:
                        kill_tree(process.pid)
                    process.wait(60)
            lines = _lines(marks)
            text = printed.read_text(encoding="utf-8", errors="replace")
            if ended == "halted":
                ended = "before" if before else "after"
            return Run(ended, process.returncode, tasks_of(lines), text)


def _follow(
    process: subprocess.Popen[bytes],
    marks: Path,
    step: Step | None,
    share: float,
    until: Callable[[], bool] | None,
) -> str:
    """Wait for the moment at which a run is to be killed, or its end.

    Returns:
        ``halted``, ``amid`` or ``whole``.
    """
    deadline = time.monotonic() + RUN_SECONDS
    began: float | None = None
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        lines = _lines(marks)
        if any(line["event"] == "halted" for line in lines):
            assert process.poll() is None, "it ended although it had halted"
            return "halted"
        if ended:
            return "whole"
        if step and began is None and any(_is(line, step) for line in lines):
            began = time.monotonic()
        if began is not None and step:
            now = until() if until else time.monotonic() - began >= share * step.seconds
            # It may have ended, or halted, while this was asked.
            if now and process.poll() is None and not _halted(marks):
                return "amid"
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"Neither {step or 'its end'} nor its end came within {RUN_SECONDS} s")


def _halted(marks: Path) -> bool:
    return any(line["event"] == "halted" for line in _lines(marks))


def _is(line: Mapping[str, Any], step: Step) -> bool:
    return line["event"] == "began" and Step(line["name"], line["occurrence"]) == step


def _lines(marks: Path) -> list[dict[str, Any]]:
    # Each is written at once, and the last one may not be whole yet for who reads it.
    return [
        json.loads(line)
        for line in marks.read_text(encoding="utf-8").splitlines(keepends=True)
        if line.endswith("\n")
    ]


def tasks_of(lines: Sequence[Mapping[str, Any]]) -> list[Task]:
    """Return the tasks that a run noted, each with its seconds until the next one."""
    tasks: list[Task] = []
    for number, line in enumerate(lines):
        if line["event"] == "began":
            rest = (each["time"] for each in lines[number + 1 :] if each["event"] != "result")
            step = Step(line["name"], line["occurrence"], next(rest, line["time"]) - line["time"])
            tasks.append(Task(step, line["action"], line["check"], line["silent"]))
        elif line["event"] == "result" and tasks:
            tasks[-1].ran |= line["outcome"] != "skipped"
            tasks[-1].changed |= line["changed"]
    return tasks


def steps_of(run: Run, also: Collection[str] = (), only_look: Collection[str] = ()) -> list[Step]:
    """Return the steps of a whole run at which a kill may leave something half done.

    These are the tasks that changed something, and those that cannot say whether they did: they
    say that they never do (``changed_when: false``), and are none of `HARMLESS`.

    Args:
        also: ends of the names of others that change something and do not say so.
        only_look: ends of the names of those that say "never", and it is so.

    Raises:
        AssertionError: the run failed, a name of ``also`` did not come, or nothing is left.
    """
    assert run.returncode == 0, run.text[-3000:]
    for end in also:
        assert any(task.step.name.endswith(end) and task.ran for task in run.tasks), (
            f"{end} is to be killed and did not come: {[str(task.step) for task in run.tasks]}"
        )
    found = [
        task.step
        for task in run.tasks
        if task.ran and not task.check and task.action not in HARMLESS
        and (
            task.changed
            or task.step.name.endswith(tuple(also))
            or (task.silent and not task.step.name.endswith(tuple(only_look)))
        )
    ]  # fmt: skip
    assert found, "No step of the run changes anything"
    return found


def descendants(root: int) -> list[int]:
    """Return the processes below one, whatever their group or session."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, ValueError):
                # The name, in brackets, may hold anything.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def kill_tree(root: int) -> list[int]:
    """Kill a process and all below it, and return them. It must be a child of this one.

    They are stopped first, so that none starts another while they are looked for.
    """
    stopped: list[int] = []
    new = [root]
    while new:
        for process in new:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
        stopped += new
        new = [each for each in descendants(root) if each not in stopped]
    for process in stopped:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while alive := [each for each in stopped if _lives(each)]:
        assert time.monotonic() < deadline, f"Killed, and alive 30 s later: {alive}"
        time.sleep(POLL_SECONDS)
    return stopped


def _lives(process: int) -> bool:
    """Tell whether a process still does anything; an ended one may wait for its parent."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@dataclass(frozen=True)
class Kill:
    """A run of the enumeration: at which step, at which share of it, and how it ended."""

    step: Step
    share: float
    ended: str

    def __str__(self) -> str:
        return f"{self.ended} {self.step}"


def killed_at_each(
    playbook: Playbook,
    steps: Sequence[Step],
    check: Callable[[Kill], None],
    shares: Sequence[float] = (0, 0.5),
    until: Mapping[str, Callable[[], bool]] | None = None,
    most: int = 80,
) -> list[Kill]:
    """Kill a playbook at each of these steps in order, and look after each kill.

    A step that changes something in one of these runs and is not among those given is one of them
    from then on, right after the one that was killed.

    Args:
        check: what must be so after a kill; it raises AssertionError where it is not.
        shares: of a step's recorded time at which it is killed; 0 for before it begins.
        until: for ends of names, what is waited for in the place of a share.
        most: runs.

    Returns:
        What was done, in order. Each of the given steps was killed before it began, or at work.

    Raises:
        AssertionError: with the step, where a check fails, a run fails by itself, a step never
            came, or ``most`` is reached.
    """
    left, known = list(steps), set(steps)
    done: list[Kill] = []
    while left:
        step = left.pop(0)
        for share in shares:
            assert len(done) < most, f"{most} runs, and not yet killed: {[str(s) for s in left]}"
            conditions = [now for end, now in (until or {}).items() if step.name.endswith(end)]
            asked = conditions[0] if share and conditions else None
            run = playbook.run(step, share, asked)
            kill = Kill(step, share, run.ended)
            done.append(kill)
            print(f"{len(done)}. {kill}", flush=True)
            assert run.ended != "whole" or run.returncode == 0, (
                f"The run that was to be killed at {step} failed by itself. Before it: "
                f"{done[-2] if done[1:] else 'nothing'}.\n{run.text[-3000:]}"
            )
            try:
                check(kill)
            except Exception as error:
                raise AssertionError(f"Killed {kill} (run {len(done)}): {error}") from error
            new = [each for each in run.changed if each not in known]
            left[:0] = new
            known.update(new)
    for step in steps:
        assert any(kill.step == step and kill.ended in ("before", "amid") for kill in done), (
            f"{step} never came: {[str(kill) for kill in done]}"
        )
    return done
