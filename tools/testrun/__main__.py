"""All tests, side by side; tools/test.sh runs this.

Needs root and the Python environment. What the tests need of the machine (a Docker engine, a few
Debian packages) they install, through the project's own roles. The last line counts the steps, and
the exit code is 0 when all passed, 1 when one did not, 2 when the request cannot be carried out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import plan, report, scenarios
from .distribution import DistributionError, cache, find, find_viewer
from .history import History, next_in_turn
from .jobs import Job, Result, Run
from .scenarios import LONG, PLACED, REPOSITORY, STOCK_CTP

#: CI ends at 90 minutes. After this no further step starts, and what still runs is ended in time
#: for the report (jobs.GRACE).
CI_BOUND_MINUTES = 78
#: Outputs of so many runs are kept.
KEPT = 5

INSTALL = "Install what the tests call on this machine"
STYLE = "Style and types"
GALAXY = "Galaxy and ansible-test"
UNITS = "Unit tests"
STOCK_UNITS = "Unit tests that run stock CTP"
OTHER_LINE = "The other supported ansible-core"
# Beside other steps, more processes than cores only wait for each other.
UNITS_COMMAND = ("tools/unit.sh", "--numprocesses=logical")
STOCK_UNITS_COMMAND = ("tools/unit.sh", "--stock-ctp", "--numprocesses=logical")
ENGINE = "Engine and images"
HOST_IMAGES = (("host", "bookworm"), ("host", "trixie"), ("client", "bookworm"))


def say(text: str) -> None:
    """Print at once: what follows may come from another process."""
    print(text, flush=True)


def scenario_step(name: str) -> str:
    """Name the step of a scenario."""
    return f"Scenario {name}"


def places(text: str) -> int:
    """Read a number of places."""
    if not text.isdigit() or not 1 <= int(text) <= 16:
        raise argparse.ArgumentTypeError(f"{text!r}. Accepted: a number from 1 to 16")
    return int(text)


def minutes(text: str) -> float:
    """Read a positive number of minutes."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r}. Accepted: a number of minutes above 0")
    return value


def default_places() -> int:
    """Three on two cores: scenarios wait more than they work."""
    return max(2, (os.cpu_count() or 2) * 3 // 2)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="tools/test.sh", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--all", action="store_true", help="the long scenarios too")
    parser.add_argument(
        "--changed",
        nargs="?",
        const="",
        metavar="COMMIT",
        help="only what the change since COMMIT needs, what is not committed included "
        "(default: where the branch left main; on main the commit before the last)",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        metavar="NAME",
        help="only this scenario, without style and unit tests; may be repeated",
    )
    parser.add_argument(
        "--ci",
        action="store_true",
        default=os.environ.get("CI", "").lower() not in ("", "0", "false"),
        help="one long scenario in turn too, within a bound (default where CI is set)",
    )
    parser.add_argument(
        "--no-turn",
        action="store_true",
        help="with --ci: leave the long scenario in turn out",
    )
    parser.add_argument(
        "--places",
        type=places,
        default=os.environ.get("TEST_PLACES") or str(default_places()),
        metavar="N",
        help="how many steps run side by side (default: TEST_PLACES, or 3 on 2 cores)",
    )
    parser.add_argument(
        "--bound",
        type=minutes,
        metavar="MINUTES",
        help="after which no further step starts, and the run fails "
        f"(default with --ci: {CI_BOUND_MINUTES})",
    )
    options = parser.parse_args(arguments)
    if options.bound is None and options.ci:
        options.bound = float(CI_BOUND_MINUTES)
    unknown = sorted(set(options.scenario or ()) - set(PLACED))
    if unknown:
        parser.error(f"--scenario {', '.join(unknown)}. Accepted: {', '.join(sorted(PLACED))}")
    if options.scenario and options.changed is not None:
        parser.error("--scenario and --changed exclude each other")
    return options


def preparation() -> list[Job]:
    """Give the steps that every scenario needs."""
    jobs = [
        Job(
            ENGINE,
            (
                "ansible-playbook",
                "--inventory",
                "molecule/default/inventory",
                "molecule/shared/engine.yml",
            ),
            after=(INSTALL,),
            rank=0,
        )
    ]
    for kind, suite in HOST_IMAGES:
        jobs.append(
            Job(
                f"Test hosts: {kind} {suite}",
                (sys.executable, "tests/hosts/testhosts.py", "image", kind, "--suite", suite),
                after=(ENGINE,),
                rank=0,
            )
        )
    return jobs


def steps(chosen: plan.Plan, history: History) -> list[Job]:
    """Give all steps of a run. The long scenario in turn starts before the other scenarios."""
    jobs = []
    if chosen.scenarios or chosen.units or chosen.style:
        jobs.append(
            Job(INSTALL, ("ansible-playbook", "-i", "localhost,", "tests/machine.yml"), rank=0)
        )
    if chosen.style:
        jobs.append(Job(STYLE, ("tools/lint.sh",), rank=1))
        command = (sys.executable, "-m", "tools.testrun.galaxy")
        jobs.append(Job(GALAXY, command, after=(INSTALL,), rank=1))
    if chosen.units:
        jobs.append(Job(UNITS, UNITS_COMMAND, after=(INSTALL,), rank=1))
        jobs.append(Job(OTHER_LINE, ("tools/other_line.sh",), rank=1))
        if chosen.stock.path:
            jobs.append(Job(STOCK_UNITS, STOCK_UNITS_COMMAND, after=(INSTALL,), rank=1))
    shared = preparation() if chosen.scenarios else []
    jobs += shared
    directories = scenarios.found()
    for name in chosen.scenarios:
        expected = history.seconds(scenario_step(name)) or PLACED[name]
        jobs.append(
            Job(
                scenario_step(name),
                ("molecule", "test", "--scenario-name", name),
                after=(INSTALL, *(job.name for job in shared)),
                holds=scenarios.networks(directories[name]),
                expected=expected,
                rank=2 if name == chosen.turn else 3,
                remedy=f"molecule destroy --scenario-name {name}",
            )
        )
    return jobs


def in_turn(history: History) -> str:
    """Choose the long scenario of this run."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=REPOSITORY,
        capture_output=True,
        encoding="utf-8",
        check=False,
    ).stdout.strip()
    ended = {
        name: history.entries[scenario_step(name)].ended
        for name in LONG
        if scenario_step(name) in history.entries
    }
    return next_in_turn(LONG, ended, commit or time.strftime("%F"))


def directory_for_outputs() -> Path:
    """Make the directory of this run's outputs, and remove those of runs long past."""
    parent = cache() / "test-runs"
    directory = parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    directory.mkdir(parents=True)
    for old in sorted(each for each in parent.iterdir() if each.is_dir())[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return directory


def print_output(result: Result, before: float) -> None:
    """Print the whole output of a step that has ended, between two lines that name it."""
    earlier = f", {report.clock(before)} before" if before else ""
    note = f" ({result.note})" if result.note else ""
    heading = f"{result.job.name}: {result.outcome}{note}, {report.clock(result.seconds)}{earlier}"
    if result.log is None:
        say(f"\n=== {heading}")
        return
    say(f"\n{'=' * 100}\n=== {heading}\n{'=' * 100}")
    say(result.log.read_bytes().decode(errors="replace").rstrip())
    say(f"=== End of: {heading}\n")


def requested(options: argparse.Namespace) -> plan.Request:
    """Find out what the command line asks for. Raises scenarios.ChangeError."""
    since, changed = "", None
    if options.changed is not None:
        since = options.changed or scenarios.start_of_change()
        changed = scenarios.changed_paths(since)
    turn = options.ci and not options.no_turn
    return plan.Request(options.all, turn, changed, since, tuple(options.scenario or ()))


def main(arguments: list[str]) -> int:
    """Choose, say, run, and report."""
    options = parse(arguments)
    if os.getuid():
        print(
            "The tests start a Docker engine and test hosts. Accepted: root. Run: sudo make test",
            file=sys.stderr,
        )
        return 2
    try:
        stock = find()
        viewer = find_viewer()
        request = requested(options)
    except (DistributionError, scenarios.ChangeError) as error:
        print(error, file=sys.stderr)
        return 2
    history = History(cache() / "test-times.json")
    chosen = plan.make(request, stock, lambda: in_turn(history))
    chosen.viewer = viewer
    lacking = sorted(set(chosen.scenarios) & set(STOCK_CTP)) if not stock.path else []
    if lacking:
        print(f"Scenario {', '.join(lacking)} needs stock CTP: {stock.where}.", file=sys.stderr)
        return 2
    os.chdir(REPOSITORY)
    directory = directory_for_outputs()
    jobs = steps(chosen, history)
    before = {job.name: history.seconds(job.name) for job in jobs}
    environment = {**os.environ}
    if stock.path:
        environment["CTP_DISTRIBUTION"] = str(stock.path)
    if viewer.path:
        environment["OHIF_ARCHIVE"] = str(viewer.path)
    say("\n".join(chosen.facts()))
    say(f"{len(jobs)} steps in {options.places} places; their outputs: {directory}")

    def started(job: Job, running: int) -> None:
        about = f", {report.clock(before[job.name])} before" if before[job.name] else ""
        say(f"--- {time.strftime('%H:%M:%S')} {job.name} starts ({running} run{about})")

    def ended(result: Result) -> None:
        print_output(result, before[result.job.name])
        if result.outcome in ("passed", "FAILED"):
            history.note(result.job.name, result.seconds, result.passed)
            history.write()

    start = time.monotonic()
    run = Run(
        jobs,
        options.places,
        directory,
        environment,
        started,
        ended,
        bound=options.bound * 60 if options.bound else None,
    )
    results = asyncio.run(run.until_signalled())
    spent = time.monotonic() - start
    one_by_one = sum(result.seconds for result in results)
    say(f"\n{report.table(results, before)}")
    say(f"\n{report.clock(spent)} in all, {report.clock(one_by_one)} one after the other.")
    for line in report.left_behind(results):
        say(line)
    failed = [result for result in results if not result.passed]
    for result in failed:
        say(f"{result.outcome}: {result.job.name}" + (f" ({result.log})" if result.log else ""))
    ran = {name for name in chosen.scenarios if run.results[scenario_step(name)].seconds}
    ran -= {name for name in ran if run.results[scenario_step(name)].outcome == "ENDED"}
    say("\n".join(chosen.facts(ran)))
    say(report.counts(results))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
