"""A researcher looks at a CT and its structures in OHIF, which asks nobody but the node.

What the page asks for is read from Chromium's own log of its network, workers included. Chromium
runs in the network of the researcher's machine: on this one, networks of other test hosts come and
go, and each time it drops what it is loading.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import Cohort
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from shared.https import trusting, url
from shared.machines import Machine, Node, wait_for
from shared.streams import page
from shared.treatment import CT_ORIGIN, CT_SPACING, MARKS, Treatment

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
SIZE = {"width": 1280, "height": 720}
#: Nobody.
ELSEWHERE = "https://elsewhere.invalid"
#: How many pixels of the image there are of each grey, and how many that are coloured.
COUNT = """() => {
    const canvas = document.querySelector("canvas.cornerstone-canvas");
    const shown = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const greys = {};
    let coloured = 0;
    for (let at = 0; at < shown.length; at += 4) {
        const [red, green, blue] = shown.subarray(at, at + 3);
        if (red === green && green === blue) greys[red] = (greys[red] || 0) + 1;
        else coloured += 1;
    }
    const drawn = document.querySelectorAll("svg.svg-layer path, svg.svg-layer polyline").length;
    return {greys, coloured, drawn};
}"""


@dataclass
class Look:
    """What a researcher saw, and what the browser did for it.

    Attributes:
        texts: text of the page at each step, by name.
        image: what `COUNT` found in the CT before its structures were asked for.
        structures: the same, with them.
        target: the same, in the middle of the target.
        violations: what the page was kept from asking for, in a try.
        answers: status and body of each answer, by method and address.
        complaints: what the page wrote as an error.
        asked: addresses that the network was asked for on behalf of a page, from Chromium's log.
    """

    texts: dict[str, str] = field(default_factory=dict)
    image: dict[str, Any] = field(default_factory=dict)
    structures: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    answers: list[tuple[str, str, int, bytes]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def treatment(cohort: Cohort) -> Treatment:
    """The patient whom the researcher looks at."""
    return cohort.treatments[0]


@pytest.fixture(scope="module")
def chromium(researcher: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What starts Chromium on the researcher's machine."""
    shown = subprocess.run(
        ["docker", "inspect", "--format", "{{.State.Pid}}", researcher.container],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    program = tmp_path_factory.mktemp("chromium") / "chromium"
    enter = f"nsenter --net --target {shown.stdout.strip()} -- /usr/bin/chromium"
    program.write_text(f'#!/bin/sh\nexec {enter} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture(scope="module")
def study(node: Node, password: str, treatment: Treatment) -> str:
    """Its Study Instance UID in the archive."""
    query = {"Level": "Study", "Expand": True, "Query": {"PatientID": treatment.pseudonym}}
    [found] = page(node, 8042, "researcher", password).ask("/tools/find", query)
    uid: str = found["MainDicomTags"]["StudyInstanceUID"]
    return uid


def window(browser: Browser, login: tuple[str, str]) -> BrowserContext:
    """Open a window for somebody."""
    return browser.new_context(
        http_credentials={"username": login[0], "password": login[1]},
        viewport=SIZE,  # type: ignore[arg-type]
    )


def keep_answers(context: BrowserContext, look: Look) -> None:
    """Write down what each request of a window was answered with."""

    def keep(request: Any) -> None:
        answer = request.response()
        if answer is not None and urlsplit(request.url).scheme.startswith("http"):
            body = b"" if 300 <= answer.status < 400 or answer.status == 204 else answer.body()
            look.answers.append((request.method, request.url, answer.status, body))

    context.on("requestfinished", keep)


def asked_by_pages(log: Path) -> list[str]:
    """Return the addresses of Chromium's log of its network that a page or a worker asked for.

    What the browser asks for itself has no origin there ("not an origin").
    """
    events = json.loads(log.read_text())["events"]
    parameters = [event.get("params", {}) for event in events]
    return [
        each["url"]
        for each in parameters
        if "url" in each and str(each.get("initiator", "")).startswith("http")
    ]


@pytest.fixture(scope="module")
def look(
    node: Node,
    password: str,
    treatment: Treatment,
    study: str,
    chromium: Path,
    home: Path,
    pictures: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Look:
    """From the list of studies to the CT, and to its structures drawn into it."""
    seen = Look()
    log = tmp_path_factory.mktemp("network") / "log.json"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[*ARGUMENTS, f"--log-net-log={log}"],
            env={**os.environ, "HOME": str(home)},
        )
        context = window(browser, ("researcher", password))
        keep_answers(context, seen)
        tab = context.new_page()
        tab.set_default_timeout(120_000)
        tab.on("console", lambda said: seen.complaints.extend([said.text][: said.type == "error"]))
        tab.on("pageerror", lambda error: seen.complaints.append(str(error)))
        expect.set_options(timeout=120_000)

        tab.goto(f"{url(node, 8042)}/ohif/")
        tab.get_by_role("button", name="Confirm and hide").click()
        expect(tab.get_by_text(treatment.pseudonym)).to_be_visible()
        seen.texts["list"] = tab.inner_text("body")
        tab.screenshot(path=pictures / "viewer-studies.png", animations="disabled")

        tab.goto(f"{url(node, 8042)}/ohif/viewer?StudyInstanceUIDs={study}")
        tab.get_by_text("Skip all").click()
        expect(tab.get_by_text(f"(1/{treatment.slices})")).to_be_visible()
        seen.image = shown(tab, lambda found: len(common(found)) >= 4)
        seen.texts["study"] = tab.inner_text("body")

        tab.get_by_text("RTSTRUCT", exact=True).last.dblclick()
        tab.get_by_role("button", name="Yes").click()
        seen.structures = shown(tab, lambda found: found["coloured"] or found["drawn"])
        open_structures(tab)
        scroll(tab, treatment)
        seen.target = shown(tab, lambda found: len(common(found)) >= 6)
        seen.texts["structures"] = tab.inner_text("body")
        tab.screenshot(path=pictures / "viewer.png", animations="disabled")

        complaints = list(seen.complaints)
        seen.violations = tab.evaluate(
            """async (address) => {
                const found = [];
                document.addEventListener("securitypolicyviolation", (event) =>
                    found.push(`${event.effectiveDirective} ${event.blockedURI}`));
                await fetch(`${address}/fetched`).catch(() => {});
                await new Promise((done) => {
                    const image = new Image();
                    image.onerror = done;
                    image.src = `${address}/image.png`;
                });
                return found;
            }""",
            ELSEWHERE,
        )
        seen.complaints = complaints
        context.close()
        browser.close()
    seen.asked = asked_by_pages(log)
    return seen


def shown(tab: Page, enough: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Return what `COUNT` finds, as soon as it is enough."""

    def find() -> dict[str, Any]:
        tab.wait_for_timeout(500)
        found: dict[str, Any] = tab.evaluate(COUNT)
        assert enough(found), found
        return found

    return wait_for("the image is drawn", find, 120)


def common(found: dict[str, Any]) -> set[int]:
    """Return the greys that cover more than a few pixels."""
    total = sum(found["greys"].values())
    return {int(grey) for grey, count in found["greys"].items() if count > total / 1000}


def open_structures(tab: Page) -> None:
    """Unfold the list of structures beside the image."""
    tab.locator(
        "[data-cy='panelSegmentationWithToolsContour-btn'], "
        "[data-cy='panelSegmentationWithTools-btn'], "
        "[data-cy='panelSegmentation-btn']"
    ).first.click()
    expect(tab.get_by_text("Heart", exact=True)).to_be_visible()


def scroll(tab: Page, treatment: Treatment) -> None:
    """Turn the wheel from the uppermost slice to that through the middle of the target."""
    bottom = round((treatment.target[2] - CT_ORIGIN[2]) / CT_SPACING[2])
    wanted = treatment.slices - bottom
    tab.locator("canvas.cornerstone-canvas").hover()
    for number in range(2, wanted + 1):
        tab.mouse.wheel(0, 100)
        expect(tab.get_by_text(f"({number}/{treatment.slices})")).to_be_visible()


def grey(hounsfield: float) -> int:
    """Return what the window of the phantom (centre -200, width 1400) makes of a value."""
    return round(max(0.0, min(1.0, (hounsfield + 200) / 1400 + 0.5)) * 255)


def test_list_has_every_patient(look: Look, cohort: Cohort) -> None:
    for pseudonym in cohort.pseudonyms:
        assert pseudonym in look.texts["list"]


@pytest.mark.parametrize(
    ("slice_of", "shapes"),
    [
        ("image", {"Lung_R", "Body", "SpinalCord"}),
        ("target", {"Lung_R", "Body", "SpinalCord", "Heart", "PTV"}),
    ],
)
def test_image_has_the_greys_of_the_phantom(
    look: Look, treatment: Treatment, slice_of: str, shapes: set[str]
) -> None:
    """The uppermost slice, and that through the target: each shape as bright as it was painted."""
    values = {shape.name: shape.hounsfield for shape in treatment.shapes}
    expected = {grey(-1000), *(grey(values[name]) for name in shapes)}
    assert len(expected) == len(shapes) + 1
    seen = getattr(look, slice_of)
    missing = [each for each in expected if not any(abs(each - one) <= 2 for one in common(seen))]
    assert not missing, seen["greys"]


def test_structure_set_is_listed_and_drawn(look: Look, treatment: Treatment) -> None:
    assert "RTSTRUCT" in look.texts["study"]
    assert not look.image["coloured"] and not look.image["drawn"]
    assert look.structures["coloured"] or look.structures["drawn"]
    for shape in treatment.shapes:
        assert shape.name in look.texts["structures"], shape.name


def test_nothing_is_asked_of_anybody_else(look: Look, node: Node) -> None:
    """A page that did ask somebody else would stand in Chromium's log with that address."""
    assert len(set(look.asked)) > 50
    assert any("/frames/" in address for address in look.asked)
    assert {urlsplit(address).netloc for address in look.asked} == {f"{node.address}:8042"}


def test_browser_keeps_the_page_from_asking_elsewhere(look: Look) -> None:
    assert look.violations == [
        f"connect-src {ELSEWHERE}/fetched",
        f"img-src {ELSEWHERE}/image.png",
    ]


def test_a_reader_needs_no_more(look: Look) -> None:
    """The role is enough for everything that the viewer asks for, and it only reads."""
    assert {method for method, *_ in look.answers} == {"GET"}
    refused = [(status, address) for _, address, status, _ in look.answers if status >= 400]
    # Whoever has sent no login yet is asked for it.
    assert not [each for each in refused if each[0] != 401]
    assert not look.complaints


def test_no_page_names_the_patient(look: Look, treatment: Treatment) -> None:
    words = [*MARKS, treatment.patient_id, *treatment.uids]
    for name, text in look.texts.items():
        assert not [word for word in words if word in text], name
    for _, address, _, body in look.answers:
        if "/ohif/" not in address:
            assert not [word for word in words if word.encode() in body], address


@pytest.fixture(scope="module")
def stranger(chromium: Path, home: Path) -> Iterator[Page]:
    """Somebody whose login the node does not have. Without one the browser waits for a person."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=ARGUMENTS, env={**os.environ, "HOME": str(home)}
        )
        context = window(browser, ("stranger", "wrong"))
        yield context.new_page()
        context.close()
        browser.close()


def test_without_a_login_no_study_is_shown(
    node: Node, stranger: Page, cohort: Cohort, study: str
) -> None:
    for path in ("/ohif/", f"/ohif/viewer?StudyInstanceUIDs={study}"):
        with stranger.expect_response(
            lambda answer: "/dicom-web/" in answer.url, timeout=120_000
        ) as one:
            stranger.goto(f"{url(node, 8042)}{path}")
        assert one.value.status == 401
        stranger.wait_for_load_state("networkidle")
        text = stranger.inner_text("body") + stranger.content()
        assert not [word for word in (*cohort.pseudonyms, "RTSTRUCT") if word in text]


def test_licence_is_served_with_it(node: Node) -> None:
    with urllib.request.urlopen(
        f"{url(node, 8042)}/ohif/LICENSE", context=trusting(node), timeout=30
    ) as answer:
        text = answer.read().decode()
    assert "MIT License" in text
    assert "Open Health Imaging Foundation" in text
