"""Style and types of everything, and the unit tests with --units: tools/lint.sh, make check.

The tools run side by side; the whole output of one that fails is printed. Exit code 1 when one did.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from . import report
from .distribution import cache
from .jobs import Job, Result, Run
from .scenarios import REPOSITORY

#: Seconds of work, which decide the order: the longest first.
TOOLS = (
    Job("ansible-lint", (sys.executable, "-m", "tools.testrun.ansible_lint"), expected=100),
    Job("mypy", ("mypy",), expected=20),
    Job("tests of quality", ("pytest", "-q", "tests/quality"), expected=15),
    Job("yamllint", ("yamllint", "--strict", "."), expected=3),
    Job("ruff check", ("ruff", "check", "."), expected=1),
    Job("ruff format", ("ruff", "format", "--check", "."), expected=1),
)
UNITS = Job("unit tests", ("tools/unit.sh",), expected=150)


def main(arguments: list[str]) -> int:
    """Run the tools and say what they found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--units", action="store_true", help="the unit tests too")
    options = parser.parse_args(arguments)
    os.chdir(REPOSITORY)

    def ended(result: Result) -> None:
        print(f"{result.outcome:8}{report.clock(result.seconds):>6}  {result.job.name}", flush=True)
        if not result.passed and result.log:
            print(result.log.read_bytes().decode(errors="replace").rstrip(), flush=True)

    start = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        run = Run(
            (*TOOLS, UNITS) if options.units else TOOLS,
            places=max(2, os.cpu_count() or 2),
            directory=Path(directory),
            environment={"MYPY_CACHE_DIR": str(cache() / "mypy"), **os.environ},
            ended=ended,
        )
        results = asyncio.run(run.until_signalled())
    print(f"{report.counts(results)} in {report.clock(time.monotonic() - start)}")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
