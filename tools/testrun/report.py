"""What a run says at its end: a table of its steps, slowest first, and its result in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .jobs import Result


def clock(seconds: float) -> str:
    """Write a time as minutes and seconds: 75 s is ``1:15``."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def table(results: Sequence[Result], before: Mapping[str, float]) -> str:
    """Write the table of the steps.

    Args:
        results: what became of each step.
        before: how long each took when it last passed on this machine (seconds; 0 or missing:
            never).
    """
    rows = [("now", "before", "deploying", "waiting", "asserting", "", "step")]
    for result in sorted(results, key=lambda each: -each.seconds):
        earlier = before.get(result.job.name, 0.0)
        parts = ["", "", ""]
        if result.shares and result.seconds:
            spent = (result.shares.deploying, result.shares.waiting, result.shares.asserting)
            parts = [f"{100 * part / result.seconds:.0f} %" for part in spent]
        note = f" ({result.note})" if result.note else ""
        rows.append(
            (
                clock(result.seconds),
                clock(earlier) if earlier else "-",
                parts[0],
                parts[1],
                parts[2],
                result.outcome,
                result.job.name + note,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    lines = []
    for row in rows:
        figures = [text.rjust(width) for text, width in zip(row[:5], widths)]
        lines.append("  ".join([*figures, row[5].ljust(widths[5]), row[6]]).rstrip())
    return "\n".join(lines)


def left_behind(results: Sequence[Result]) -> list[str]:
    """Say what steps that were ended in their midst may have left, and how to remove it."""
    return [
        f"{result.job.name} was ended in its midst. What it left is removed by: {result.job.remedy}"
        for result in results
        if result.outcome == "ENDED" and result.job.remedy
    ]


def counts(results: Sequence[Result]) -> str:
    """Count the steps: ``12 passed, 1 failed``. One that was not run has not passed: it failed."""
    passed = sum(result.passed for result in results)
    return f"{passed} passed, {len(results) - passed} failed"
