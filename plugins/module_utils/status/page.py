"""The status of all nodes as one HTML file: no script, nothing from elsewhere, no identifier."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.status import report
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import (
    rules,
    samples,
)
from ansible_collections.auscat.imaging.plugins.module_utils.status.plot import Line, plot, rates

WEEK, MONTH = 7 * rules.DAY, 35 * rules.DAY

# Colours: text and marks have a contrast of at least 4.5:1 on their ground in both schemes, lines
# of at least 3:1; blue, vermilion, purple and grey stay apart for eyes that do not tell red from
# green (Okabe and Ito). A state is always said by a sign and a word too.
STYLE = """
:root { color-scheme: light dark;
  --bg: #f4f5f7; --card: #ffffff; --text: #16191d; --soft: #505861; --edge: #d5d9de;
  --crit: #a3142d; --crit-bg: #fdebed; --warn: #7a4b00; --warn-bg: #fff3da; --ok: #00588f;
  --ok-bg: #e7f2fa; --unk: #505861; --unk-bg: #eceef1;
  --s0: #0067a8; --s1: #b84a00; --s2: #8b3f86; --s3: #4a5159; }
@media (prefers-color-scheme: dark) { :root {
  --bg: #121519; --card: #1c2026; --text: #eceff2; --soft: #adb5bf; --edge: #3a414b;
  --crit: #ff9aa5; --crit-bg: #43171e; --warn: #ffc873; --warn-bg: #3b2b0c; --ok: #86c8f7;
  --ok-bg: #14303f; --unk: #b9c0c9; --unk-bg: #2a3038;
  --s0: #6bb8f0; --s1: #f39a5c; --s2: #dc9bd8; --s3: #c0c7cf; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--text);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 76rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.25rem; }
h1 { font-size: 1.35rem; margin: 0; line-height: 1.25; }
h2 { font-size: 1.1rem; margin: 1.75rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.1rem 0 .4rem; }
p { margin: .25rem 0; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .88em;
  overflow-wrap: anywhere; }
.soft, footer { color: var(--soft); font-size: .9rem; }
footer { padding-top: 1.5rem; padding-bottom: 2rem; }
.tiles { display: grid; gap: .75rem; margin: 1rem 0 0; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 9rem), 1fr)); }
.tile, .card { background: var(--card); border: 1px solid var(--edge); border-radius: .6rem; }
.tile { padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.card { padding: 1rem; margin: 0 0 1rem; }
.state { display: inline-block; border-radius: 1rem; padding: .05rem .6rem; font-size: .85rem;
  font-weight: 650; white-space: nowrap; border: 1px solid currentColor; }
.critical { color: var(--crit); background: var(--crit-bg); }
.warning { color: var(--warn); background: var(--warn-bg); }
.ok { color: var(--ok); background: var(--ok-bg); }
.unknown { color: var(--unk); background: var(--unk-bg); }
.alerts { list-style: none; margin: 0; padding: 0; display: grid; gap: .6rem; }
.alerts li { background: var(--card); border: 1px solid var(--edge); border-left: .4rem solid;
  border-radius: .6rem; padding: .7rem .9rem; }
.alerts li.is-critical { border-left-color: var(--crit); }
.alerts li.is-warning { border-left-color: var(--warn); border-left-style: double; }
.alerts li.is-ok { border-left-color: var(--ok); }
.alerts .what { font-weight: 650; overflow-wrap: anywhere; }
.next::before { content: "Next: "; font-weight: 650; }
.plots { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 650; font-size: .95rem; margin-bottom: .25rem; }
figure > svg { display: block; width: 100%; height: auto; max-width: 34rem; }
.grid { stroke: var(--edge); stroke-width: 1; }
.limit { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 4; }
.axis { fill: var(--soft); font-size: 12px; }
.l { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
.m { fill: currentColor; }
.s0 { color: var(--s0); } .s1 { color: var(--s1); } .s2 { color: var(--s2); }
.s3 { color: var(--s3); }
.s1 .l { stroke-dasharray: 7 3; } .s2 .l { stroke-dasharray: 2 3; }
.s3 .l { stroke-dasharray: 9 3 2 3; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: .25rem 0 0;
  padding: 0; font-size: .9rem; }
.legend li { display: flex; align-items: center; gap: .4rem; }
.legend span { color: var(--text); overflow-wrap: anywhere; }
.key { width: 30px; height: 12px; flex: none; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0;
  border-top: 1px solid var(--edge); overflow-wrap: anywhere; }
thead th { border-top: 0; color: var(--soft); font-weight: 500; }
tbody th { font-weight: 500; width: 15rem; }
td.how { width: 8.5rem; }
.head { display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: baseline; }
.head h2 { margin: 0; }
.tables { display: grid; gap: 0 1rem; align-items: start; }
@media (min-width: 64rem) { .tables { grid-template-columns: 1fr 1fr; } tbody th { width: 10.5rem; }
  td.how { width: 7.5rem; } }
@media (max-width: 40rem) {
  thead { position: absolute; clip-path: inset(50%); height: 1px; width: 1px; overflow: hidden; }
  table, tbody { display: block; }
  tr { display: grid; grid-template-columns: 1fr auto; gap: .1rem .5rem; padding: .5rem 0;
    border-top: 1px solid var(--edge); }
  tbody tr:first-child { border-top: 0; }
  th, td { border: 0; padding: 0; }
  tbody th, td.how { width: auto; }
  td:last-child { grid-column: 1 / -1; }
}
@media print { body { background: #fff; } .card, .tile { break-inside: avoid; } }
"""

SIGNS = {"critical": "✖", "warning": "▲", "ok": "✔", "unknown": "?"}
SAID = {"critical": "Critical", "warning": "Warning", "ok": "OK", "unknown": "Unknown"}


def esc(text: object) -> str:
    """Return a text as it may stand in HTML."""
    return html.escape(str(text), quote=True)


def chip(severity: str) -> str:
    """Return a state as sign and word."""
    return f'<span class="state {severity}">{SIGNS[severity]} {SAID[severity]}</span>'


def remedy(text: str) -> str:
    """Return a text whose `code` is set as such."""
    parts = esc(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))


def status_page(
    results: Mapping[str, Mapping[str, Any]], now: float, title: str = "", studies: bool = True
) -> str:
    """Return the status of all machines as a page of HTML that needs nothing beside it.

    Args:
        results: as `report.nodes` takes them.
        now: seconds since 1970.
        title: name of the site.
        studies: whether studies that are not complete are named, by their pseudonyms.
    """
    listed = report.nodes(results)
    alerts = report.attention(listed)
    heading = f"Status of {title}" if title else "Status of the imaging nodes"
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    worst = alerts[0]["severity"] if alerts else "ok"
    simulated = any(node["state"].get("environment") == "simulation" for node in listed)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        # What the page may do, for whoever serves it and for a browser that opens the file.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">',
        f"<title>{SIGNS[worst]} {esc(heading)}: {esc(report.verdict(listed))}</title>",
        f"<style>{STYLE}</style></head><body>",
        f'<header><div class="head"><h1>{esc(heading)}</h1>{chip(worst)}</div>',
        f'<p class="soft">As of {report.stamp(now)}, {esc(report.verdict(listed))}.'
        f"{' A simulation: for trying out, never for patients.' if simulated else ''}</p>",
        _tiles(listed),
        "</header><main>",
        _attention(alerts),
    ]
    parts += [_node(node, now, studies) for node in listed]
    parts += [
        "</main><footer>Written by playbooks/status.yml. It shows one moment: run it again for "
        "another. It holds counts, ages, versions and pseudonyms, and no identifier of a patient. "
        "All times are UTC.</footer></body></html>\n",
    ]
    return "\n".join(parts)


def _tiles(listed: Sequence[Mapping[str, Any]]) -> str:
    states = [node["state"] for node in listed if node["state"]]
    found = []
    services = [each for state in states for each in state["services"].values()]
    good = sum(
        each["running"] >= each["desired"] and each["health"] in ("healthy", "none")
        for each in services
    )
    # An engine that does not answer tells of no service.
    told_of = states and all(state["engine"] for state in states)
    found.append(
        (f"{good} of {len(services)}" if told_of else "not known", "services run and are healthy")
    )
    told = {
        name: [s[name] for s in states if (s.get(name) or {}).get("answers")]
        for name in ("ctp", "orthanc")
    }
    if told["ctp"]:
        for key, single, several in (
            ("queued", "object waits in CTP", "objects wait in CTP"),
            ("quarantined", "object in quarantine", "objects in quarantine"),
        ):
            number = _sum(each[key] for each in told["ctp"])
            found.append((report.count(number), single if number == 1 else several))
    if told["orthanc"]:
        studies = _sum(each["studies"] for each in told["orthanc"])
        size = rules.gib(_sum(each["bytes"] for each in told["orthanc"]))
        word = "study" if studies == 1 else "studies"
        found.append((report.count(studies), f"{word} in Orthanc, {size}"))
    volumes = [
        (v["free"] / v["size"], v["mount"]) for s in states for v in s["volumes"] if v["size"]
    ]
    if volumes:
        share, mount = min(volumes)
        found.append((f"{100 * share:.0f} %", f"free on the fullest disk, {mount}"))
    tiles = "".join(
        f'<li class="tile"><b>{esc(number)}</b>{esc(text)}</li>' for number, text in found
    )
    return f'<ul class="tiles">{tiles}</ul>'


def _sum(numbers: Iterable[int | None]) -> int | None:
    """Return the sum; None where one of them is not known."""
    known = list(numbers)
    return None if None in known else sum(each for each in known if each is not None)


def _attention(alerts: Sequence[Mapping[str, str]]) -> str:
    rows = "".join(
        f'<li class="is-{each["severity"]}"><p>{chip(each["severity"])} '
        f'<span class="what">{esc(each["node"])}: {esc(each["alert"].replace("_", " "))} '
        f"({esc(each['subject'])})</span></p><p>{esc(each['text'])}</p>"
        f'<p class="next soft">{remedy(each["next"])}</p></li>'
        for each in alerts
    )
    rows = rows or f'<li class="is-ok"><p>{chip("ok")} Nothing needs attention.</p></li>'
    return (
        '<section aria-labelledby="attention"><h2 id="attention">What needs attention first</h2>'
        f'<ul class="alerts">{rows}</ul></section>'
    )


def _node(node: Mapping[str, Any], now: float, studies: bool) -> str:
    name = esc(node["name"])
    worst = node["alerts"][0]["severity"] if node["alerts"] else "ok"
    rows = report.rows(node, studies)
    # What it does, and what keeps it safe.
    split = next((n for n, row in enumerate(rows) if row[0].startswith("disk ")), len(rows))
    tables = "".join(_table(part) for part in (rows[:split], rows[split:]) if part)
    return (
        f'<section aria-labelledby="node-{name}"><h2 id="node-{name}">{name} {chip(worst)}</h2>'
        f'{_plots(node, now)}<div class="tables">{tables}</div></section>'
    )


def _table(rows: Sequence[tuple[str, str, str]]) -> str:
    body = "".join(
        f'<tr><th scope="row">{esc(what)}</th><td class="how">{chip(severity)}</td>'
        f"<td>{esc(text)}</td></tr>"
        for what, severity, text in rows
    )
    return (
        '<div class="card"><table><thead><tr><th scope="col">What</th><th scope="col">State</th>'
        f'<th scope="col">Figures</th></tr></thead><tbody>{body}</tbody></table></div>'
    )


def _plots(node: Mapping[str, Any], now: float) -> str:
    state = node["state"]
    if not state:
        return ""
    past = [each for each in node["history"] if not rules.is_to_come(each["time"], now)]
    past.append(samples.compact(state, []))
    if len(past) < 3:
        sampler = state["sampler"]
        text = "No plots yet: they need samples"
        text += (
            f", of which one is taken every {sampler['interval_minutes']:g} min."
            if sampler["expected"]
            else ", and status_timer is false."
        )
        return f'<div class="card"><p class="soft">{text}</p></div>'
    oldest = past[0]["time"]
    week, month = max(now - WEEK, oldest), max(now - MONTH, oldest)
    week, month = min(week, now - rules.HOUR), min(month, now - rules.HOUR)

    def series(key: str, since: float) -> list[tuple[float, float]]:
        return [(s["time"], s[key]) for s in past if key in s and s["time"] >= since]

    found = []
    flows = [("received", "received"), ("forwarded", "sent on to Orthanc")]
    if state.get("orthanc") and not state.get("ctp"):
        flows = [("instances", "stored in Orthanc")]
    drawn = []
    for key, name in flows:
        points = rates(series(key, 0), week, now)
        if points:
            drawn.append(Line(name, points, f"{points[-1][1]:,.0f}/h".replace(",", " ")))
    if drawn:
        found.append(plot(f"Objects an hour, {_period(now - week)}", drawn, week, now))
    drawn = []
    for key, name in (("queued", "waiting"), ("quarantined", "in quarantine")):
        points = series(key, week)
        if points:
            drawn.append(Line(name, points, report.count(points[-1][1])))
    if drawn:
        found.append(plot(f"Objects held by CTP, {_period(now - week)}", drawn, week, now))
    drawn = []
    mounts = sorted(
        ((v["free"] / v["size"], v["mount"]) for v in state["volumes"] if v["size"]),
    )[:4]
    for _, mount in sorted(mounts, key=lambda each: each[1]):
        points = [
            (s["time"], 100 - 100 * s["volumes"][mount][1] / s["volumes"][mount][0])
            for s in past
            if s["time"] >= month and (s.get("volumes") or {}).get(mount, [0])[0]
        ]
        if points:
            drawn.append(Line(mount, points, f"{points[-1][1]:.0f} %"))
    if drawn:
        found.append(
            plot(f"Disk used, {_period(now - month)}", drawn, month, now, top=100, unit="%")
        )
    points = series("instances", month)
    if points:
        line = Line("instances", points, report.count(points[-1][1]))
        found.append(plot(f"Stored in Orthanc, {_period(now - month)}", [line], month, now))
    return f'<div class="card plots">{"".join(found)}</div>'


def _period(span: float) -> str:
    if span >= 2 * rules.DAY:
        return f"{span / rules.DAY:.0f} days"
    return f"{span / rules.HOUR:.0f} h" if span >= 1.5 * rules.HOUR else "the last hour"
