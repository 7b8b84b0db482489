"""The page as a person sees it: Debian's Chromium, wide and narrow, light and dark, offline.

Two pages: the one that playbooks/status.yml wrote, and one of a busy site, which is what the same
machines told with a month of made-up figures. The pictures are of the second; they go to the
directory that STATUS_SCREENSHOTS names (tools/screenshots.sh).
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import (
    rules,
    samples,
)
from ansible_collections.auscat.imaging.plugins.module_utils.status.page import status_page
from conftest import Sent, Shown, sample
from playwright.sync_api import Browser, Page, sync_playwright
from shared.machines import Node

DEFAULTS = Path(__file__).resolve().parents[3] / "roles/status/defaults/main.yml"
LIMITS = {
    name: yaml.safe_load(DEFAULTS.read_text())[f"status_{name}"] for name in sorted(rules.LIMITS)
}
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
WIDTHS = {"desktop": (1280, 800), "phone": (360, 740)}
GIB = 1024**3

# Every text and its colours as they are drawn, with the ground behind it.
TEXTS = """() => {
  const ground = element => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (!/, 0\\)$/.test(colour) && colour !== 'transparent') return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), parent = walker.currentNode.parentElement;
    if (!text) continue;
    const style = getComputedStyle(parent);
    const colour = parent.closest('svg') ? style.fill : style.color;
    found.push([text.slice(0, 40), colour, ground(parent)]);
  }
  return found;
}"""
LINES = """() => [...document.querySelectorAll('polyline.l, .m')].map(each => {
  const style = getComputedStyle(each);
  return [style.color, getComputedStyle(each.closest('.card')).backgroundColor];
})"""


def made_up(kv: bool) -> str:
    """A month of a busy site: nights are quiet, Orthanc was away for three hours of one day."""
    chance = random.Random(4)
    now, lines = time.time(), []
    received = forwarded = quarantined = 0
    instances, stored = 210_000, 108 * GIB
    for step in range(35 * 48, 0, -1):
        at = now - 1800 * (step - 0.9)
        hour, day = (at / 3600) % 24, int(at / 86400) % 7
        busy = max(0.0, math.sin((hour - 6) / 13 * math.pi)) * (0.15 if day in (2, 3) else 1)
        came = int(busy * chance.uniform(300, 900))
        received += came
        away = int(now / 86400) - int(at / 86400) == 4 and 10 <= hour < 13
        went = 0 if away else min(received - quarantined - forwarded, came + 2500)
        forwarded += went
        instances += went
        stored += went * 530_000
        if step % 211 == 0:
            quarantined += chance.randint(1, 9)
        if step == 400:
            quarantined = 2
        queued = received - quarantined - forwarded
        record: dict[str, Any] = {"time": at, "alerts": []}
        if kv:
            record |= {
                "received": received,
                "forwarded": forwarded,
                "queued": max(0, queued),
                "quarantined": quarantined,
                "patients": 412,
                "volumes": {
                    "/": [252 * GIB, int((120 - step % 9) * GIB)],
                    "/srv/auscat/ctp/temp": [365 * 2**20, int((361 - queued / 90) * 2**20)],
                },
            }
        else:
            record |= {
                "instances": instances,
                "bytes": stored,
                "volumes": {
                    "/": [252 * GIB, int((66 + step % 7 / 4) * GIB)],
                    "/var/lib/docker": [252 * GIB, int(252 * GIB - 36 * GIB - stored * 0.62)],
                },
            }
        lines.append(json.dumps(record))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def pages(
    sent: Sent,
    kv: Node,
    cat: Node,
    show: Callable[..., Shown],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """The page of the two machines, and that of a busy site."""
    directory = tmp_path_factory.mktemp("status")
    files = {name: directory / f"{name}.html" for name in ("own", "busy")}
    for node in (kv, cat):
        for _ in range(2):
            sample(node)
    shown = show(status_page=str(files["own"]), status_title="an example site")
    assert shown.returncode == 0, shown.errors
    results = {name: busy(shown.seen[name], name == "kv") for name in ("kv", "cat")}
    files["busy"].write_text(status_page(results, time.time(), "an example site"))
    return files


def busy(seen: dict[str, Any], kv: bool) -> dict[str, Any]:
    """What a machine told, with a month of made-up figures."""
    history = [json.loads(line) for line in made_up(kv).splitlines()]
    state, last = json.loads(json.dumps(seen["state"])), history[-1]
    if kv:
        state["ctp"] |= {key: last[key] for key in ("received", "forwarded", "queued")}
        state["ctp"] |= {"quarantined": last["quarantined"], "keydb_patients": last["patients"]}
        state["ctp"]["quarantine"] = {"unknown-patient": last["quarantined"] - 2, "unreadable": 2}
        state["keydb"]["patients"] = last["patients"]
    else:
        state["orthanc"] |= {key: last[key] for key in ("instances", "bytes")}
        state["orthanc"] |= {"studies": 1204, "series": 5120, "patients": 398}
    state["volumes"] = [
        {"mount": mount, "size": size, "free": free, "inodes": 0, "inodes_free": 0}
        for mount, (size, free) in last["volumes"].items()
    ]
    alerts = rules.evaluate(state, history, LIMITS | {"backup_required": 1})
    return {"state": state, "alerts": alerts, "history": samples.thinned(history, state["time"])}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(
    scope="module",
    params=[(p, w, s) for p in ("own", "busy") for w in WIDTHS for s in ("light", "dark")],
    ids="-".join,
)
def page(
    request: pytest.FixtureRequest, chromium: Browser, pages: dict[str, Path], pictures: Path
) -> Iterator[Page]:
    """A page in one window; nothing but the file itself can be reached."""
    which, window, scheme = request.param
    width, height = WIDTHS[window]
    context = chromium.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=2 if window == "phone" else 1,
        color_scheme=scheme,
        offline=True,
    )
    opened = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    opened.on("request", lambda each: asked.append(each.url))
    opened.on("console", lambda each: said.append(each.text))
    opened.goto(pages[which].as_uri())
    opened.asked, opened.said = asked, said  # type: ignore[attr-defined]
    if which == "busy":
        name = f"status-{window}" + ("-dark" if scheme == "dark" else "")
        opened.screenshot(path=pictures / f"{name}.png", full_page=True, clip=clip(opened, width))
    yield opened
    context.close()


def clip(page: Page, width: int) -> Any:
    """The upper part, with the first machine; on a phone up to the end of its plots."""
    end = ".plots" if width < 600 else ".tables"
    height = page.evaluate(f"document.querySelector('{end}').getBoundingClientRect().bottom + 8")
    return {"x": 0, "y": 0, "width": width, "height": math.ceil(height)}


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance of rgb(…)."""
    numbers = [float(each) / 255 for each in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    parts = [n / 12.92 if n <= 0.04045 else ((n + 0.055) / 1.055) ** 2.4 for n in numbers]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio of two colours."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_computed_as_wcag_says() -> None:
    assert round(contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)"), 1) == 21
    assert round(contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)"), 2) == 4.48


def test_no_line_is_longer_than_the_window(page: Page) -> None:
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]
    beyond = page.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right"
        " > innerWidth + 1 && !e.closest('thead')).map(e => e.tagName + e.textContent.slice(0, 30))"
    )
    assert not beyond


def test_every_text_stands_out_from_its_ground(page: Page) -> None:
    texts = page.evaluate(TEXTS)
    assert len(texts) > 80
    poor = [(text, round(contrast(a, b), 2)) for text, a, b in texts if contrast(a, b) < 4.5]
    assert not poor
    lines = page.evaluate(LINES)
    assert len(lines) >= 12
    assert not [each for each in lines if contrast(*each) < 3]


def test_it_follows_the_scheme_of_the_desktop(page: Page, request: pytest.FixtureRequest) -> None:
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (luminance(ground) < 0.1) is dark


def test_a_state_is_never_told_by_colour_alone(page: Page) -> None:
    states = page.locator(".state").all_inner_texts()
    assert len(states) > 20
    assert {each.split()[1] for each in states} <= {"OK", "Warning", "Critical", "Unknown"}
    signs = {each.split()[1]: each.split()[0] for each in states}
    assert len(set(signs.values())) == len(signs)
    # Lines of one plot differ in dashes and in the mark at their end too.
    for figure in page.locator("figure").all():
        kinds = figure.locator("ul .l").evaluate_all(
            "lines => lines.map(l => getComputedStyle(l).strokeDasharray)"
        )
        assert len(set(kinds)) == len(kinds)
        assert figure.locator("svg[role=img]").get_attribute("aria-label")


def test_nothing_is_fetched_and_nothing_is_refused(page: Page) -> None:
    assert page.asked == [page.url]  # type: ignore[attr-defined]
    # The browser would say here what the page's own policy forbids.
    assert page.said == []  # type: ignore[attr-defined]
    assert page.locator("script").count() == 0
    assert page.locator("[style], [onclick], [onload]").count() == 0


def test_it_says_what_wants_attention_first(page: Page) -> None:
    first = page.locator("main section").first.inner_text()
    assert first.startswith("What needs attention first")
    assert "kv: quarantine not empty (ctp)" in first
    assert "unknown-patient" in first
    assert "playbooks/load_keys.yml" in first
    for node, plots in (("kv", 3), ("cat", 3)):
        assert page.locator(f"section[aria-labelledby=node-{node}] figure").count() == plots


def test_it_is_read_without_a_script(chromium: Browser, pages: dict[str, Path]) -> None:
    context = chromium.new_context(java_script_enabled=False, offline=True)
    opened = context.new_page()
    opened.goto(pages["own"].as_uri())
    assert "services run and are healthy" in opened.inner_text("body")
    context.close()
