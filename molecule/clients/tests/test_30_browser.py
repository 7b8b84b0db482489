"""A person with a browser: Debian's Chromium, on the pages of Orthanc and of CTP.

The pictures of it illustrate the documents (tools/screenshots.sh): they go to the directory that
CLIENTS_SCREENSHOTS names, otherwise to a temporary one.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import UNKNOWN, Cohort, run
from playwright.sync_api import Browser, Error, Page, Response, expect, sync_playwright
from shared.https import url
from shared.machines import Node, wait_for
from shared.treatment import COLUMNS, CT_ORIGIN, CT_SPACING, MARKS, ROWS, Treatment

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
SIZE = {"width": 1280, "height": 720}


@pytest.fixture(scope="module")
def chromium(home: Path) -> Iterator[Browser]:
    """One browser; each person has a session of their own in it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS, env={**os.environ, "HOME": str(home)}
        )
        yield browser
        browser.close()


class Person:
    """Somebody in front of a browser, and all that the browser showed and loaded.

    Attributes:
        page: the browser's only tab.
        seen: text and source of each page that `look` was called on, by name.
        answers: what each address answered that the pages loaded.
    """

    def __init__(self, browser: Browser, pictures: Path, login: tuple[str, str] | None) -> None:
        credentials = {"username": login[0], "password": login[1]} if login else None
        self._context = browser.new_context(
            http_credentials=credentials,  # type: ignore[arg-type]
            viewport=SIZE,  # type: ignore[arg-type]
        )
        self._pictures = pictures
        self.page: Page = self._context.new_page()
        self.seen: dict[str, str] = {}
        self.answers: dict[str, bytes] = {}
        self.page.on("requestfinished", lambda request: self._keep(request.response()))

    def _keep(self, response: Response | None) -> None:
        if response is not None and not 300 <= response.status < 400:
            self.answers[response.url] = response.body()

    def look(self, name: str) -> None:
        """Wait until the page is complete, remember it and take a picture of it."""
        self.page.wait_for_load_state("networkidle")
        # Orthanc's pages slide in and unfold.
        expect(self.page.locator(".ui-mobile-viewport-transitioning")).to_have_count(0)
        self.page.wait_for_function("!window.jQuery || jQuery(':animated').length === 0")
        self.seen[name] = self.page.inner_text("body") + self.page.content()
        self.page.screenshot(path=self._pictures / f"{name}.png", animations="disabled")

    def leave(self) -> None:
        """Close the tab."""
        self._context.close()


@pytest.fixture(scope="module")
def visit(node: Node, chromium: Browser, pictures: Path) -> Iterator[Callable[..., Person]]:
    """Let people sit down, and see them off when the tests are done."""
    people: list[Person] = []

    def sit_down(login: tuple[str, str] | None) -> Person:
        people.append(Person(chromium, pictures, login))
        return people[-1]

    yield sit_down
    for person in people:
        person.leave()


@pytest.fixture(scope="module")
def treatment(cohort: Cohort) -> Treatment:
    """The patient whom the person looks for."""
    return cohort.treatments[0]


@pytest.fixture(scope="module")
def tour(node: Node, visit: Callable[..., Person], password: str, treatment: Treatment) -> Person:
    """A researcher goes from the first page to an image of the phantom."""
    person = visit(("researcher", password))
    page = person.page
    page.goto(f"{url(node, 8042)}/")
    person.look("orthanc-lookup")

    page.fill("#lookup-patient-id", treatment.pseudonym)
    page.get_by_role("button", name="Do lookup").click()
    expect(page.locator("#lookup-result ul a:visible")).to_have_count(1)
    page.locator("#lookup-result").scroll_into_view_if_needed()
    person.look("orthanc-found")

    page.get_by_role("link", name="All patients").first.click()
    expect(page.locator("#all-patients li:visible")).to_have_count(3)
    person.look("orthanc-patients")

    page.locator("#find-patients").get_by_placeholder("Filter items").fill(treatment.pseudonym[5:])
    page.keyboard.press("Tab")
    expect(page.locator("#all-patients li:visible")).to_have_count(1)
    follow(page, "patient", treatment.pseudonym)
    person.look("orthanc-patient")
    follow(page, "study", "StudyInstanceUID")
    person.look("orthanc-study")
    follow(page, "series", re.compile(r"^\s*Modality: CT\s*$"))
    person.look("orthanc-series")
    number = round((treatment.target[2] - CT_ORIGIN[2]) / CT_SPACING[2]) + 1
    follow(page, "instance", re.compile(rf"^\s*Instance: {number}\s*$"))
    person.look("orthanc-instance")
    page.get_by_text("Preview the instance").click()
    page.wait_for_function("document.querySelector('#lbImage').style.backgroundImage")
    expect(page.locator("#lbBottomContainer")).to_be_visible()
    page.wait_for_function("document.querySelector('#lbBottom').offsetHeight > 0")
    person.look("orthanc-image")
    return person


def follow(page: Page, kind: str, line: str | re.Pattern[str]) -> None:
    """Click on what leads to a patient, study, series or instance, and wait for its page.

    Args:
        kind: what Orthanc calls it in its addresses.
        line: text of a line of the link.
    """
    link = page.locator(f".ui-page-active a[href^='#{kind}?uuid']:visible")
    link.filter(has=page.locator("h3, p", has_text=line)).click()
    expect(page.locator(f"#{kind}.ui-page-active")).to_be_visible()


def log_in(person: Person, asked_for: str, login: tuple[str, str] | None) -> list[dict[str, str]]:
    """Open a page; when the browser asks for a login give it once, and cancel when it asks again.

    Returns:
        what the server asked for, each time: `scheme` and `realm`.
    """
    asked: list[dict[str, str]] = []
    session = person.page.context.new_cdp_session(person.page)

    def proceed(event: dict[str, str]) -> None:
        session.send("Fetch.continueRequest", {"requestId": event["requestId"]})

    def answer(event: dict[str, Any]) -> None:
        asked.append(event["authChallenge"])
        reply = {"response": "CancelAuth"}
        if login and len(asked) == 1:
            user, password = login
            reply = {"response": "ProvideCredentials", "username": user, "password": password}
        given = {"requestId": event["requestId"], "authChallengeResponse": reply}
        session.send("Fetch.continueWithAuth", given)

    session.on("Fetch.requestPaused", proceed)
    session.on("Fetch.authRequired", answer)
    session.send("Fetch.enable", {"handleAuthRequests": True})
    with suppress(Error):  # Chromium's own error page, where the refusal has no text
        person.page.goto(asked_for)
    return asked


def source(page: Page) -> str:
    """Give a page's source, also while Chromium puts its own error page there."""

    def there() -> str:
        try:
            return page.content()
        except Error:
            return ""

    return wait_for("the page is there", there, 60)


@pytest.mark.parametrize("port", [8042, 9090])
@pytest.mark.parametrize("login", [None, ("admin", "wrong"), ("researcher", "wrong"), ("", "")])
def test_without_the_right_password_nothing_is_shown(
    node: Node,
    visit: Callable[..., Person],
    cohort: Cohort,
    port: int,
    login: tuple[str, str] | None,
) -> None:
    person = visit(None)
    asked = log_in(person, f"{url(node, port)}/", login)
    assert [challenge["scheme"] for challenge in asked] == ["basic"] * (2 if login else 1)
    content = source(person.page) + str(person.answers)
    words = (*cohort.pseudonyms, *MARKS, "Orthanc Explorer", "Quarantine")
    assert not [word for word in words if word in content]


def test_with_the_right_password_orthanc_asks_once(
    node: Node, visit: Callable[..., Person], password: str
) -> None:
    person = visit(None)
    asked = log_in(person, f"{url(node, 8042)}/", ("researcher", password))
    assert len(asked) == 1
    assert person.page.title() == "Orthanc Explorer"


def test_with_the_right_password_ctp_asks_once(node: Node, visit: Callable[..., Person]) -> None:
    person = visit(None)
    login = ("admin", node.variables["ctp_admin_password"])
    asked = log_in(person, f"{url(node, 9090)}/", login)
    assert len(asked) == 1
    assert "CTP" in person.page.inner_text("body")


def test_all_patients_are_listed(tour: Person, cohort: Cohort) -> None:
    for pseudonym in cohort.pseudonyms:
        assert pseudonym in tour.seen["orthanc-patients"]


def test_lookup_finds_the_one(tour: Person, treatment: Treatment, cohort: Cohort) -> None:
    text = tour.seen["orthanc-found"]
    assert treatment.pseudonym in text
    assert not [other for other in cohort.pseudonyms[1:] if other in text]


def test_patient_study_and_series_are_complete(tour: Person, treatment: Treatment) -> None:
    assert treatment.pseudonym in tour.seen["orthanc-patient"]
    for modality in ("CT", "RTSTRUCT", "RTPLAN", "RTDOSE"):
        assert f"Modality: {modality}\n" in tour.seen["orthanc-study"]
    for number in range(1, treatment.slices + 1):
        assert f"Instance: {number}\n" in tour.seen["orthanc-series"]


def test_image_shows_the_phantom(tour: Person, treatment: Treatment) -> None:
    """Pixels of what the page shows are as bright as what was painted there."""
    points = {shape.name: shape.centre for shape in treatment.shapes}
    points["air"] = (-190.0, -140.0, 0.0)
    pixels = {
        name: [round((p - o) / s) for p, o, s in zip(point[:2], CT_ORIGIN, CT_SPACING)]
        for name, point in points.items()
    }
    size, found = tour.page.evaluate(
        """async (pixels) => {
            const shown = document.querySelector("#lbImage").style.backgroundImage;
            const image = new Image();
            image.src = shown.slice(5, -2);
            await image.decode();
            const canvas = document.createElement("canvas");
            canvas.width = image.naturalWidth;
            canvas.height = image.naturalHeight;
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const read = ([x, y]) => context.getImageData(x, y, 1, 1).data[0];
            const found = Object.entries(pixels).map(([name, place]) => [name, read(place)]);
            return [[canvas.width, canvas.height], Object.fromEntries(found)];
        }""",
        pixels,
    )
    assert size == [COLUMNS, ROWS]
    assert found["air"] <= found["Lung_R"] < found["Heart"] < found["PTV"] < found["SpinalCord"]


def test_no_page_of_orthanc_names_the_patient(tour: Person, treatment: Treatment) -> None:
    assert len(tour.seen) == 8
    assert len(tour.answers) > 20
    words = [*MARKS, treatment.patient_id, *treatment.uids]
    for name, text in tour.seen.items():
        assert not [word for word in words if word in text], name
    for asked, content in tour.answers.items():
        assert not [word for word in words if word.encode() in content], asked


@pytest.fixture(scope="module")
def ctp_tour(node: Node, visit: Callable[..., Person], cohort: Cohort) -> Person:
    """The data custodian looks at CTP's page."""
    person = visit(("admin", node.variables["ctp_admin_password"]))
    for name, path in (("ctp-page", "/"), ("ctp-status", "/api/status")):
        answer = person.page.goto(f"{url(node, 9090)}{path}")
        assert answer is not None
        assert answer.status == 200
        person.look(name)
    person.page.go_back()
    return person


def test_ctp_page_says_what_lies_in_quarantine(ctp_tour: Person) -> None:
    assert "unknown-patient" in ctp_tour.seen["ctp-status"]
    # Stock CTP's own first page says nothing of it.
    if "CTP stand-in" in ctp_tour.seen["ctp-page"]:
        assert "unknown-patient" in ctp_tour.seen["ctp-page"]


def test_ctp_page_fits_into_the_window(ctp_tour: Person) -> None:
    width = ctp_tour.page.evaluate("document.documentElement.scrollWidth")
    assert width <= SIZE["width"]


def test_no_page_of_ctp_names_a_patient(ctp_tour: Person, cohort: Cohort) -> None:
    words = [*MARKS, UNKNOWN, *(each.patient_id for each in cohort.treatments)]
    texts = [*ctp_tour.seen.values(), *(str(each) for each in ctp_tour.answers.values())]
    assert len(texts) >= 2
    for text in texts:
        assert not [word for word in words if word in text]


def test_example_in_a_browser(
    treatment: Treatment,
    told: dict[str, str],
    example: Callable[[str], str],
    home: Path,
    tmp_path: Path,
) -> None:
    told = {**told, "HOME": str(home)}
    run([sys.executable, "-"], example("browser.py"), told, tmp_path)
    assert (tmp_path / "patient.png").read_bytes().startswith(b"\x89PNG")
