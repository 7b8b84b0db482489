"""Small line plots as SVG: for eyes of every kind, in light and dark, without a script or a font.

Lines differ by colour, dashes and a mark at their end, and are named below the plot with their last
value. Colours come from the page's style sheet (classes s0, s1, …), which knows light and dark.
"""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 24
MARKS = ("circle", "square", "triangle", "diamond")
DAY, HOUR = 86400.0, 3600.0


@dataclass(frozen=True)
class Line:
    """A line of a plot: its name, (seconds since 1970, value) in order, and how its last reads."""

    name: str
    points: Sequence[tuple[float, float]]
    last: str


def nice_top(value: float) -> float:
    """Return the smallest of 1, 2, 4, 5, 10, 20 … that is not below a value."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(power * step for step in (1, 2, 4, 5, 10) if power * step >= value - 1e-9)


def short(value: float) -> str:
    """Return a number for an axis."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def mark(kind: int, x: float, y: float) -> str:
    """Return a small mark, another for each line."""
    r = 4.0
    shape = MARKS[kind % len(MARKS)]
    if shape == "circle":
        return f'<circle class="m" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    corners = {
        "square": ((-r, -r), (r, -r), (r, r), (-r, r)),
        "triangle": ((0, -r - 1), (r + 1, r), (-r - 1, r)),
        "diamond": ((0, -r - 1.5), (r + 1.5, 0), (0, r + 1.5), (-r - 1.5, 0)),
    }[shape]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="m" points="{points}"/>'


def _times(start: float, end: float) -> list[tuple[float, str]]:
    span = end - start
    form = "%H:%M" if span <= 2 * DAY else "%d %b"
    found = []
    for part in range(4):
        at = start + span * (part + 0.0) / 3
        found.append((at, time.strftime(form, time.gmtime(at))))
    return found


def plot(
    title: str,
    lines: Sequence[Line],
    start: float,
    end: float,
    top: float | None = None,
    unit: str = "",
    limits: Sequence[tuple[float, str]] = (),
) -> str:
    """Return a figure with its plot and its legend as HTML.

    Args:
        title: above it.
        lines: at most four; a gap of the samples is drawn as a straight line.
        start: left end of the axis of time, seconds since 1970.
        end: right end.
        top: upper end of the axis; what fits the values where it is not given.
        unit: behind the numbers of the axis.
        limits: values with a name that get a dashed line across.
    """
    values = [value for line in lines for _, value in line.points]
    ceiling = top or nice_top(max(values, default=0))
    span = max(end - start, 1.0)
    inner_w, inner_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(at: float) -> float:
        return LEFT + inner_w * min(max((at - start) / span, 0), 1)

    def y(value: float) -> float:
        return TOP + inner_h * (1 - min(max(value / ceiling, 0), 1))

    said = "; ".join(f"{line.name}: {line.last}" for line in lines)
    drawn = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="'
        f'{html.escape(f"{title}. {said}.", quote=True)}">'
    ]
    for part in range(5):
        value = ceiling * part / 4
        if ceiling < 4 and unit == "" and value != int(value):
            continue
        drawn.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/><text class="axis" x="{LEFT - 6}" y="{y(value) + 4:.1f}" '
            f'text-anchor="end">{short(value)}{html.escape(unit)}</text>'
        )
    times = _times(start, end)
    for position, (at, text) in enumerate(times):
        anchor = "start" if position == 0 else "end" if position == len(times) - 1 else "middle"
        drawn.append(
            f'<text class="axis" x="{x(at):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
            f"{html.escape(text)}</text>"
        )
    for value, name in limits:
        drawn.append(
            f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/><text class="axis" x="{LEFT + 4}" y="{y(value) - 4:.1f}">'
            f"{html.escape(name)}</text>"
        )
    for number, line in enumerate(lines):
        if not line.points:
            continue
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in line.points)
        at, value = line.points[-1]
        drawn.append(
            f'<g class="s{number}"><polyline class="l" points="{path}"/>'
            f"{mark(number, x(at), y(value))}</g>"
        )
    drawn.append("</svg>")
    legend = "".join(
        f'<li class="s{number}"><svg class="key" viewBox="0 0 30 12" aria-hidden="true">'
        f'<line class="l" x1="0" y1="6" x2="22" y2="6"/>{mark(number, 24, 6)}</svg>'
        f"<span>{html.escape(line.name)} <b>{html.escape(line.last)}</b></span></li>"
        for number, line in enumerate(lines)
    )
    return (
        f"<figure><figcaption>{html.escape(title)}</figcaption>{''.join(drawn)}"
        f'<ul class="legend">{legend}</ul></figure>'
    )


def rates(
    samples: Sequence[tuple[float, float]], start: float, end: float, buckets: int = 56
) -> list[tuple[float, float]]:
    """Return what a counter rose by, an hour, in each of equal parts of the time.

    A counter that fell was set to nothing before it counted on. A part without a sample has no
    value of its own: what was counted over it lies in the next that has one.
    """
    if len(samples) < 2 or end <= start:
        return []
    width = (end - start) / buckets
    grown: dict[int, float] = {}
    for (_, before), (at, value) in zip(samples, samples[1:]):
        if at < start:
            continue
        bucket = min(int((at - start) / width), buckets - 1)
        grown[bucket] = grown.get(bucket, 0.0) + (value - before if value >= before else value)
    if not grown:
        return []
    found = []
    previous = min(grown) - 1
    for bucket in sorted(grown):
        hours = (bucket - previous) * width / HOUR
        found.append((start + (bucket + 0.5) * width, grown[bucket] / hours))
        previous = bucket
    return found
