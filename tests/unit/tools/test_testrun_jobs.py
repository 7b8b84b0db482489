"""Steps side by side: real processes, whose meeting or not meeting is seen in files."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tools.testrun.jobs import Job, Result, Run

# Says that it is there and waits for another, at most a minute: passes only beside it.
MEET = """
import pathlib, sys, time
here, there = map(pathlib.Path, sys.argv[1:])
here.touch()
for _ in range(1200):
    if there.exists(): sys.exit(0)
    time.sleep(0.05)
sys.exit(1)
"""


def python(name: str, program: str, *arguments: object, **options: object) -> Job:
    command = (sys.executable, "-c", program, *map(str, arguments))
    return Job(name, command, **options)  # type: ignore[arg-type]


def run(jobs: Iterable[Job], directory: Path, places: int = 2, **options: object) -> Run:
    return Run(jobs, places, directory, os.environ, **options)  # type: ignore[arg-type]


def outcomes(results: list[Result]) -> dict[str, str]:
    return {result.job.name: result.outcome for result in results}


def test_two_places_hold_two_at_once(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    jobs = [python("a", MEET, a, b), python("b", MEET, b, a)]
    results = asyncio.run(run(jobs, tmp_path).execute())
    assert outcomes(results) == {"a": "passed", "b": "passed"}


def test_never_more_at_once_than_places(tmp_path: Path) -> None:
    seen: list[int] = []
    jobs = [python(str(number), "") for number in range(5)]
    this = run(jobs, tmp_path, 2, started=lambda job, running: seen.append(running))
    assert set(outcomes(asyncio.run(this.execute())).values()) == {"passed"}
    assert len(seen) == 5 and max(seen) == 2


def order(jobs: list[Job], directory: Path, places: int) -> list[str]:
    events: list[str] = []
    this = run(
        jobs,
        directory,
        places,
        started=lambda job, running: events.append(f"+{job.name}"),
        ended=lambda result: events.append(f"-{result.job.name}"),
    )
    asyncio.run(this.execute())
    return events


def test_what_shares_hosts_never_runs_at_once(tmp_path: Path) -> None:
    hosts = frozenset({"net"})
    jobs = [python(name, "", holds=hosts) for name in ("a", "b", "c")]
    assert order(jobs, tmp_path, 3) == ["+a", "-a", "+b", "-b", "+c", "-c"]


def test_the_longest_starts_first_and_rank_goes_before(tmp_path: Path) -> None:
    jobs = [
        python("short", "", expected=1),
        python("long", "", expected=100),
        python("first", "", expected=2, rank=0),
    ]
    started = [event for event in order(jobs, tmp_path, 1) if event[0] == "+"]
    assert started == ["+first", "+long", "+short"]


def test_a_failure_stops_only_what_needs_it(tmp_path: Path) -> None:
    jobs = [
        python("bad", "raise SystemExit(3)"),
        python("needs bad", "", after=("bad",)),
        python("needs that", "", after=("needs bad",)),
        python("other", ""),
    ]
    results = asyncio.run(run(jobs, tmp_path).execute())
    assert outcomes(results) == {
        "bad": "FAILED",
        "needs bad": "NOT STARTED",
        "needs that": "NOT STARTED",
        "other": "passed",
    }
    assert {result.job.name: result.note for result in results}["needs bad"] == "needs: bad"


def test_output_is_kept_whole_and_apart(tmp_path: Path) -> None:
    program = "import sys; print('x' * 200000); print('error', file=sys.stderr)"
    results = asyncio.run(run([python("A b", program), python("c", "")], tmp_path).execute())
    logs = {result.job.name: result.log for result in results}
    assert logs["A b"] and logs["A b"].read_text() == "x" * 200000 + "\nerror\n"
    assert logs["c"] and logs["c"].read_text() == ""


def test_a_missing_program_is_a_failure(tmp_path: Path) -> None:
    results = asyncio.run(run([Job("a", ("/nowhere/program",))], tmp_path).execute())
    assert outcomes(results) == {"a": "FAILED"}


def test_a_step_that_does_not_exist_cannot_be_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such step: b"):
        asyncio.run(run([python("a", "", after=("b",))], tmp_path).execute())


# Starts a child that would live for ten minutes, says which, and does so itself.
FAMILY = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
child.wait()
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not so within {seconds} s"
        time.sleep(0.02)


def test_an_interruption_ends_children_and_starts_nothing_more(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    this = run([python("family", FAMILY, pid, rank=0), python("next", "")], tmp_path, 1)

    async def interrupted() -> list[Result]:
        running = asyncio.create_task(this.execute())
        while not (pid.exists() and pid.read_text()):
            assert not running.done()
            await asyncio.sleep(0.02)
        this.interrupt("interrupted by a test")
        return await running

    results = asyncio.run(interrupted())
    assert outcomes(results) == {"family": "ENDED", "next": "NOT STARTED"}
    assert {result.note for result in results} == {"interrupted by a test"}
    # A killed grandchild ends when the machine gets to it.
    wait_until(lambda: not alive(int(pid.read_text())))


def test_after_the_bound_nothing_starts_and_later_nothing_runs(tmp_path: Path) -> None:
    jobs = [
        python("endless", "import time; time.sleep(600)", rank=0),
        python("too late", ""),
    ]
    results = asyncio.run(run(jobs, tmp_path, 1, bound=0.1, grace=0.1).execute())
    assert outcomes(results) == {"endless": "ENDED", "too late": "NOT STARTED"}
    assert not any(result.passed for result in results)
