"""Runs steps side by side in a bounded number of places, each with a file for its output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import spans

#: What runs this long after the bound is ended, so that there is a report (seconds).
GRACE = 480.0
#: How long a step that is told to end may take (seconds).
ENDING = 20.0


@dataclass(frozen=True)
class Job:
    """One step.

    Attributes:
        name: what the report calls it.
        command: the program and its arguments.
        after: names of the steps that must have passed before.
        holds: what only one step at a time may have, such as a network of test hosts.
        expected: about how long it takes (seconds): longest first.
        rank: lower ones first, whatever they take.
        remedy: how to remove what an interrupted step leaves; empty: it leaves nothing.
    """

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    holds: frozenset[str] = frozenset()
    expected: float = 0.0
    rank: int = 1
    remedy: str = ""


@dataclass
class Result:
    """What became of a step: ``outcome`` is passed, FAILED, ENDED or NOT STARTED."""

    job: Job
    outcome: str
    seconds: float = 0.0
    shares: spans.Shares | None = None
    note: str = ""
    log: Path | None = None

    @property
    def passed(self) -> bool:
        """Whether it ran to its end without a failure."""
        return self.outcome == "passed"


@dataclass
class Run:
    """One run.

    Attributes:
        jobs: the steps.
        places: how many run at once.
        directory: where their outputs go.
        environment: theirs.
        started, ended: called when a step starts and ends.
        bound: seconds after which no further step starts; None: no bound.
        grace: seconds after the bound when what still runs is ended.
    """

    jobs: Iterable[Job]
    places: int
    directory: Path
    environment: Mapping[str, str]
    started: Callable[[Job, int], None] = lambda job, running: None
    ended: Callable[[Result], None] = lambda result: None
    bound: float | None = None
    grace: float = GRACE
    results: dict[str, Result] = field(default_factory=dict)
    _interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    _processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _stopped: set[str] = field(default_factory=set)
    _reason: str = ""

    def interrupt(self, reason: str) -> None:
        """End what runs and start nothing more."""
        self._reason = self._reason or reason
        self._interrupted.set()

    async def until_signalled(self) -> list[Result]:
        """Run all steps; Ctrl-C and SIGTERM end them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.interrupt, f"interrupted by {number.name}")
        return await self.execute()

    async def execute(self) -> list[Result]:
        """Run all steps; a failed one stops only those that need it.

        Raises:
            ValueError: a step needs one that is not among them.
        """
        start = time.monotonic()
        waiting = sorted(self.jobs, key=lambda job: (job.rank, -job.expected, job.name))
        unknown = {name for job in waiting for name in job.after} - {job.name for job in waiting}
        if unknown:
            raise ValueError(f"No such step: {', '.join(sorted(unknown))}")
        running: dict[asyncio.Task[Result], Job] = {}
        interrupted = asyncio.create_task(self._interrupted.wait())
        while waiting or running:
            elapsed = time.monotonic() - start
            if self.bound is not None and elapsed > self.bound:
                for job in waiting:
                    self._end(Result(job, "NOT STARTED", note=f"{self.bound / 60:g} min were over"))
                waiting = []
                if elapsed > self.bound + self.grace:
                    self.interrupt(f"{(self.bound + self.grace) / 60:g} min were over")
            if self._interrupted.is_set():
                for job in waiting:
                    self._end(Result(job, "NOT STARTED", note=self._reason))
                waiting = []
                await asyncio.gather(*(self._stop(name) for name in list(self._processes)))
            for job in [job for job in waiting if self._blocked(job)]:
                waiting.remove(job)
                self._end(Result(job, "NOT STARTED", note=f"needs: {self._blocked(job)}"))
            for job in list(waiting):
                if len(running) == self.places:
                    break
                held = frozenset().union(*(other.holds for other in running.values()))
                ready = all(self._passed(name) for name in job.after)
                if ready and not job.holds & held:
                    waiting.remove(job)
                    task = asyncio.create_task(self._run(job))
                    running[task] = job
                    self.started(job, len(running))
            if not running:
                continue
            until: set[asyncio.Task] = {*running}
            if not self._interrupted.is_set():
                until.add(interrupted)
            left = self._seconds_left(time.monotonic() - start)
            done, _ = await asyncio.wait(until, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in running if task in done]:
                del running[task]
                self._end(task.result())
        interrupted.cancel()
        return list(self.results.values())

    def _seconds_left(self, elapsed: float) -> float | None:
        """Seconds until the bound, or the end after it, has to be looked at."""
        if self.bound is None:
            return None
        ahead = [mark for mark in (self.bound, self.bound + self.grace) if mark >= elapsed]
        return min(ahead) - elapsed + 0.01 if ahead else None

    def _passed(self, name: str) -> bool:
        return name in self.results and self.results[name].passed

    def _blocked(self, job: Job) -> str:
        """Name the steps that it needs and that did not pass."""
        return ", ".join(
            name for name in job.after if name in self.results and not self._passed(name)
        )

    def _end(self, result: Result) -> None:
        self.results[result.job.name] = result
        self.ended(result)

    async def _run(self, job: Job) -> Result:
        stem = re.sub(r"[^\w]+", "-", job.name).strip("-").lower()
        log = self.directory / f"{stem}.log"
        times = self.directory / f"{stem}.times"
        stages: list[tuple[str, float]] = []
        start, began = time.time(), time.monotonic()
        try:
            process = await asyncio.create_subprocess_exec(
                *job.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={**self.environment, spans.TIMES: str(times)},
                # Its own process group: it can be ended with all that it has started.
                start_new_session=True,
            )
        except OSError as error:
            log.write_text(f"{job.command[0]}: {error}\n")
            return Result(job, "FAILED", log=log, note=str(error))
        self._processes[job.name] = process
        if self._interrupted.is_set():
            await self._stop(job.name)
        reader = asyncio.create_task(_copy(process, log, stages))
        code = await process.wait()
        self._processes.pop(job.name, None)
        # A daemon that it leaves behind may hold the pipe open for ever.
        await asyncio.wait({reader}, timeout=2)
        reader.cancel()
        seconds = time.monotonic() - began
        outcome = "ENDED" if job.name in self._stopped else "FAILED" if code else "passed"
        return Result(
            job,
            outcome,
            seconds,
            spans.shares(stages, start, start + seconds, times),
            note=self._reason if outcome == "ENDED" else "",
            log=log,
        )

    async def _stop(self, name: str) -> None:
        process = self._processes.get(name)
        if process is None or process.returncode is not None:
            return
        self._stopped.add(name)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), ENDING)
                break
        # What the leader left behind in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def _copy(
    process: asyncio.subprocess.Process, log: Path, stages: list[tuple[str, float]]
) -> None:
    """Copy a process's output to its file, and note when Molecule's stages begin."""
    assert process.stdout is not None
    rest = b""
    with log.open("wb", buffering=0) as file:
        while piece := await process.stdout.read(65536):
            file.write(piece)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                stage = spans.stage_of(line.decode(errors="replace"))
                if stage:
                    stages.append((stage, time.time()))
