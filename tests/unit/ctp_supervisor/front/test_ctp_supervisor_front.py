"""The web front, the quarantine and the counters."""

from __future__ import annotations

import base64
import html
import http.client
import json
import logging
import os
import re
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import pixels
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script as ctp_script
from ctp_rules import script
from ctp_supervisor.dicom.marks import MARK
from ctp_supervisor.engine.process import NOT_STORED, Client, command, environment
from ctp_supervisor.engine.verify import verify
from ctp_supervisor.engine.workdir import make
from ctp_supervisor.export.refusals import Refusals
from ctp_supervisor.front.status import Counters, Queues
from ctp_supervisor.front.web import Front
from ctp_supervisor.held_back.profile import Profile
from ctp_supervisor.held_back.quarantine import AUTOMATIC_ATTEMPTS, Quarantined, Quarantines
from ctp_supervisor.lookup.keydb import Patients
from ctp_supervisor.settings import Settings
from ctp_supervisor_pages import PASSWORD, CtpPagesDouble
from ctp_supervisor_site import Site, dicom
from pydicom import dcmread

SC = "1.2.840.10008.5.1.4.1.1.7"


class SiteDouble:
    def __init__(self) -> None:
        self.healthy = True
        self.changes: list[str] = []

    def health(self) -> tuple[bool, str]:
        return self.healthy, "text\n"

    def status(self) -> dict[str, Any]:
        return {"received": 1}

    def quarantine(self) -> list[dict[str, Any]]:
        return [{"id": "0-1-TQ-1.dcm", "reason": "unknown-patient"}]

    def delete(self, object_ids: Container[str]) -> int:
        self.changes.append("delete")
        return int("0-1-TQ-1.dcm" in object_ids)

    def names(self, question: dict[str, Any]) -> dict[str, Any]:
        return {"asked": question}

    def passes_on(self, path: str) -> None:
        pass

    def release(self) -> dict[str, Any]:
        self.changes.append("release")
        return {"released": 2, "left": {"unreadable": 1}}


class Client2:
    """A client of the front."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(
        self,
        method: str,
        path: str,
        login: str | None = f"admin:{PASSWORD}",
        sent_body: bytes = b"a=b",
        **headers: str,
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if login is not None:
            sent["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        body = sent_body if method == "POST" else None
        connection.request(method, path, headers=sent, body=body)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, answer, {k.lower(): v for k, v in response.getheaders()}


@pytest.fixture
def pages() -> Iterator[CtpPagesDouble]:
    double = CtpPagesDouble()
    yield double
    double.server.shutdown()
    double.server.server_close()


@pytest.fixture
def site() -> SiteDouble:
    return SiteDouble()


@pytest.fixture
def ask(pages: CtpPagesDouble, site: SiteDouble) -> Iterator[Client2]:
    front = Front(("127.0.0.1", 0), PASSWORD, site, pages.port)
    front.start()
    yield Client2(int(front._server.server_address[1]))
    front.stop()


@pytest.mark.parametrize("path", ["/", "/api/status", "/ping", "/api/nothing", "/shutdown"])
@pytest.mark.parametrize("login", [None, "admin:wrong", f"king:{PASSWORD}", "admin", ""])
def test_no_page_without_the_login(
    ask: Client2, pages: CtpPagesDouble, path: str, login: str | None
) -> None:
    for method in ("GET", "POST", "DELETE", "HEAD"):
        status, body, headers = ask(method, path, login=login)
        assert status == 401 and headers["www-authenticate"].startswith("Basic")
        assert b"html" not in body
    assert not pages.asked


def test_health_needs_no_login(ask: Client2, site: SiteDouble) -> None:
    assert ask("GET", "/healthz", login=None)[:2] == (200, b"text\n")
    site.healthy = False
    assert ask("GET", "/healthz", login=None)[0] == 503


def test_the_api(ask: Client2) -> None:
    status, body, headers = ask("GET", "/api/status")
    assert status == 200 and json.loads(body) == {"received": 1}
    assert headers["cache-control"] == "no-store" and headers["x-frame-options"] == "DENY"
    assert ask("DELETE", "/api/quarantine/0-1-TQ-1.dcm")[0] == 200
    assert ask("DELETE", "/api/quarantine/0-1-TQ-2.dcm")[0] == 404
    assert ask("DELETE", "/elsewhere/0-1-TQ-1.dcm")[0] == 404
    released = ask("POST", "/api/quarantine/release", X_Requested_With="auscat")
    assert json.loads(released[1])["released"] == 2
    assert json.loads(ask("GET", "/api/quarantine")[1])["quarantine"][0]["id"] == "0-1-TQ-1.dcm"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"ids": ["0-1-TQ-1.dcm", "0-1-TQ-2.dcm"]}', 200),
        (b'{"ids": []}', 200),
        (b'{"ids": [1]}', 400),
        (b'{"ids": 1}', 400),
        (b"{}", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
    ],
)
def test_several_are_deleted_at_once(ask: Client2, body: bytes, status: int) -> None:
    json_type = {"Content_Type": "application/json; charset=utf-8"}
    found, answer, _ = ask("POST", "/api/quarantine/delete", sent_body=body, **json_type)
    assert found == status
    if status == 200:
        assert json.loads(answer) == {"deleted": int(b"TQ-1" in body)}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"identifier": "\\ud800"}',
        b'{"pseudonym": "A\\udfff"}',
    ],
)
@pytest.mark.parametrize("path", ["/api/study", "/api/names"])
def test_a_question_that_cannot_be_asked(ask: Client2, body: bytes, path: str) -> None:
    found, answer, _ = ask("POST", path, sent_body=body, Content_Type="application/json")
    assert (found, "The body has to hold" in json.loads(answer)["error"]) == (400, True)


def test_names_are_for_whoever_logs_in_and_asks_for_a_study(ask: Client2) -> None:
    json_type = {"Content_Type": "application/json"}
    question = b'{"study": "2.25.1"}'
    status, answer, _ = ask("POST", "/api/names", sent_body=question, **json_type)
    assert (status, json.loads(answer)) == (200, {"asked": {"study": "2.25.1"}})
    assert ask("POST", "/api/names", sent_body=b'{"still": true}', **json_type)[0] == 400
    assert ask("POST", "/api/names", login=None, sent_body=question, **json_type)[0] == 401
    assert ask("POST", "/api/names", sent_body=question)[0] == 403
    assert ask("GET", "/api/names")[0] == 404


def test_ctps_own_pages(ask: Client2, pages: CtpPagesDouble) -> None:
    status, body, headers = ask("GET", "/quarantines?p=0&s=1", servicemanager="exit", RSNA="a:b")
    assert status == 200 and len(body) == 100_006
    assert headers["x-content-type-options"] == "nosniff"
    method, path, sent, _ = pages.asked[0]
    assert (method, path) == ("GET", "/quarantines?p=0&s=1")
    assert sent["Authorization"].startswith("Basic ")
    assert not {"servicemanager", "rsna"} & {name.lower() for name in sent}
    pages.asked.clear()
    for path in READING:
        assert ask("GET", path)[0] == 200
        assert ask("HEAD", path)[0] == 200
    assert len(pages.asked) == 2 * len(READING)
    # Where CTP sends a browser on, it is to this front.
    status, _, headers = confirm(ask, "/moved")
    assert status == 302 and headers["location"] == "/there?a=1"


@pytest.mark.parametrize(
    "path",
    [
        "/shutdown",
        "//shutdown",
        "/Shutdown/",
        "/ping/../shutdown",
        "/%73hutdown",
        "/./users",
        "/script?p=0",
        "/daconfig",
        "/lookup",
        "/level",
        "/user;x",
    ],
)
def test_closed_pages(ask: Client2, pages: CtpPagesDouble, path: str) -> None:
    assert ask("GET", path)[0] == 403
    assert ask("POST", path)[0] == 403
    assert not pages.asked


READING = (
    "/",
    "/index.html",
    "/BaseStyles.css",
    "/icons/closebox.gif",
    "/status",
    "/summary?p=0",
    "/logs/ctp.log",
    "/quarantines",
    "/quarantines/?p=0&s=1",
    "/quarantines/series?p=0&s=1&studyUID=1.2",
    "/quarantines/files?p=0&s=1&seriesUID=1.2",
    "/quarantines/displayFile?p=0&s=1&filename=TQ-1.dcm",
    "/quarantines/listFile?p=0&s=1&filename=TQ-1.dcm",
    "/quarantines/downloadFile?p=0&s=1&filename=TQ-1.dcm",
)
CHANGING = (
    *(
        f"/quarantines/{command}?p=0&s=1&filename=TQ-1.dcm"
        for command in (
            *("queueAll", "queueStudy", "queueSeries", "queueFile", "rebuildIndex"),
            *("deleteAll", "deleteStudy", "deleteSeries", "deleteFile", "deletefile", "more"),
        )
    ),
    "/quarantines/deleteAll/status?p=0&s=1",
    "/quarantines/deleteAll/x.css?p=0&s=1",
    "//quarantines/deleteAll?p=0&s=1",
    "http://other.example/quarantines/deleteAll?p=0&s=1",
    "/idmap",
    "/objecttracker",
    "/plugin-of-tomorrow/x.css",
)
FORGED: tuple[dict[str, str], ...] = (
    # What browsers send over plain HTTP: with a link, and with one whose page suppresses Referer.
    {"Referer": "http://other.example/"},
    {},
    {"Origin": "null"},
    {"Origin": "http://other.example"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "navigate"},
    {"X_HTTP_Method_Override": "DELETE"},
    {"Referer": "http://127.0.0.1/"},
    {"Cookie": "auscat_ctp_confirm=" + "a" * 43},
)


def form_of(answer: tuple[int, bytes, dict[str, str]]) -> tuple[str, str, dict[str, str]]:
    """Target and body of the form in a page, and the headers of a browser that sends it."""
    status, page, headers = answer
    assert status == 403 and headers["content-type"].startswith("text/html")
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    target = re.search(rb'<form method="post" action="([^"]*)"', page)
    token = re.search(rb'name="confirm" value="([^"]*)"', page)
    assert target and token
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    sent = {"Cookie": cookie, "Content_Type": "application/x-www-form-urlencoded"}
    return (
        html.unescape(target[1].decode()),
        urlencode({"confirm": html.unescape(token[1].decode())}),
        sent,
    )


def confirm(ask: Client2, path: str) -> tuple[int, bytes, dict[str, str]]:
    """What an operator does who clicks a link of CTP's page and then the button."""
    target, body, headers = form_of(ask("GET", path))
    return ask("POST", target, sent_body=body.encode(), **headers)


@pytest.mark.parametrize("path", CHANGING)
@pytest.mark.parametrize("headers", FORGED)
def test_nothing_that_may_change_something_is_forwarded_without_the_form(
    ask: Client2, pages: CtpPagesDouble, path: str, headers: dict[str, str]
) -> None:
    for method in ("GET", "HEAD", "POST"):
        assert ask(method, path, sent_body=b"a=b", **headers)[0] == 403
    assert ask("DELETE", path, sent_body=b"", **headers)[0] in (403, 404)
    assert not pages.asked


def test_an_operator_confirms_what_he_does_on_ctps_page(
    ask: Client2, pages: CtpPagesDouble
) -> None:
    path = "/quarantines/deleteStudy?p=0&s=1&studyUID=1.2%2e3"
    status, body, _ = confirm(ask, path)
    assert status == 200 and body.startswith(b"<html>")
    assert [(method, found) for method, found, _, _ in pages.asked] == [("GET", path)]


def test_a_form_counts_once_for_its_own_link_and_browser(
    ask: Client2, pages: CtpPagesDouble
) -> None:
    path = "/quarantines/deleteFile?p=0&s=1&filename=TQ-1.dcm"
    target, body, headers = form_of(ask("GET", path))
    other = form_of(ask("GET", path))[2]
    for changed_target, changed_body, changed_headers in (
        (target.replace("TQ-1", "TQ-2"), body, headers),
        (target.replace("deleteFile", "deleteAll"), body, headers),
        (target, body[:-1], headers),
        (target, body + "&confirm=1", headers),
        (target, "", headers),
        (target, body, other),
        (target, body, {**headers, "Cookie": ""}),
        (target, body, {**headers, "Content_Type": "text/plain"}),
        (target, body, {**headers, "Origin": "http://other.example"}),
    ):
        sent = changed_body.encode()
        assert ask("POST", changed_target, sent_body=sent, **changed_headers)[0] == 403
    assert not pages.asked
    assert ask("POST", target, sent_body=body.encode(), **headers)[0] == 200
    assert ask("POST", target, sent_body=body.encode(), **headers)[0] == 403
    assert len(pages.asked) == 1


def test_a_form_is_not_kept_for_ever(
    ask: Client2, pages: CtpPagesDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, body, headers = form_of(ask("GET", "/quarantines/queueAll?p=0&s=1"))
    later = time.monotonic() + 601
    monkeypatch.setattr("ctp_supervisor.front.confirm.time.monotonic", lambda: later)
    assert ask("POST", target, sent_body=body.encode(), **headers)[0] == 403
    assert not pages.asked


@pytest.mark.parametrize("path", ["/api/quarantine/release", "/api/quarantine/delete"])
@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "text/plain; application/json",
        "application/jsonx",
    ],
)
def test_no_form_of_a_foreign_page_calls_the_api(
    ask: Client2, site: SiteDouble, path: str, media_type: str | None
) -> None:
    headers = {} if media_type is None else {"Content_Type": media_type}
    body = b'{"ids": ["0-1-TQ-1.dcm"]}'
    assert ask("POST", path, sent_body=body, **headers)[0] == 403
    assert not site.changes
    # The browser asks first whether it may send what the API wants, and is not told that it may.
    _, _, answer = ask("OPTIONS", path, Origin="http://other.example")
    assert not any(name.startswith("access-control") for name in answer)


def test_a_link_of_another_site_does_nothing(ask: Client2, pages: CtpPagesDouble) -> None:
    path = "/quarantines?p=0&s=1"
    assert ask("GET", path, Sec_Fetch_Site="cross-site")[0] == 403
    assert ask("DELETE", "/api/quarantine/0-1-TQ-1.dcm", Origin="http://other.example")[0] == 403
    assert not pages.asked
    assert ask("GET", path, Sec_Fetch_Site="same-origin")[0] == 200


def test_ctp_that_does_not_answer(ask: Client2, pages: CtpPagesDouble) -> None:
    pages.server.shutdown()
    pages.server.server_close()
    assert ask("GET", "/status")[0] == 503


def quarantines(
    tmp_path: Path, known: dict[str, str]
) -> tuple[Settings, Quarantines, CtpPagesDouble]:
    settings = Site(tmp_path).settings()
    double = CtpPagesDouble(settings)
    return settings, made_quarantines(settings, known, double), double


def made_quarantines(
    settings: Settings, known: dict[str, str], double: CtpPagesDouble
) -> Quarantines:
    return Quarantines(
        settings.pipelines,
        settings.data,
        lambda: Patients(known),
        Client(double.port, PASSWORD),
        Refusals(settings.data),
    )


def test_reasons_and_release(tmp_path: Path) -> None:
    known: dict[str, str] = {}
    settings, found, double = quarantines(tmp_path, known)
    stages = {stage.kind: stage.quarantine for stage in settings.pipelines[0].stages}
    dicom(stages["anonymizer"] / "TQ-1.dcm", "1")
    dicom(stages["anonymizer"] / "TQ-2.dcm", "2 ")
    dicom(stages["anonymizer"] / "TQ-3.dcm", "")
    (stages["import"]).mkdir(parents=True)
    (stages["import"] / "TQ-4").write_bytes(b"no DICOM")
    for name, uid, end in (("TQ-7.dcm", "1.2.7", -1), ("TQ-8.dcm", "1.2.8", 400)):
        whole = dicom(stages["anonymizer"] / name, "1", uid=uid)
        (stages["anonymizer"] / name).write_bytes(whole[:end])
    dicom(stages["filter"] / "TQ-5.dcm", "ANON-5")
    dicom(stages["export"] / "TQ-6.dcm", "ANON-6", done=True)
    (stages["export"] / "..index").mkdir()

    def reasons() -> dict[str, str]:
        return {each["id"]: each["reason"] for each in found.listed()}

    expected = {
        "0-1-TQ-1.dcm": "unknown-patient",
        "0-1-TQ-2.dcm": "unknown-patient",
        "0-1-TQ-3.dcm": "missing-patient-id",
        "0-0-TQ-4": "unreadable",
        "0-1-TQ-7.dcm": "unreadable",
        "0-1-TQ-8.dcm": "unreadable",
        "0-2-TQ-5.dcm": "residual-identifier",
        "0-3-TQ-6.dcm": "refused-by-orthanc",
    }
    assert reasons() == expected
    # The account of studies knows which object it is, broken or not.
    uids = {each.path.name: each.sop_instance_uid for each, _ in found.with_reasons()}
    assert (uids["TQ-7.dcm"], uids["TQ-8.dcm"], uids["TQ-4"]) == ("1.2.7", "1.2.8", "")
    # No identifier leaves with the list.
    assert all(
        set(each) == {"id", "sop_instance_uid", "reason", "received_at"} for each in found.listed()
    )
    known["2|HOSP-A"] = "ANON-2"
    assert reasons()["0-1-TQ-2.dcm"] == "other-issuer"
    assert found.release()["left"]["other-issuer"] == 1
    known["2|"] = "ANON-3"
    assert reasons()["0-1-TQ-2.dcm"] == "known-patient"
    assert found.release() == {
        "released": 1,
        "left": {
            "unknown-patient": 1,
            "missing-patient-id": 1,
            "unreadable": 3,
            "residual-identifier": 1,
        },
    }
    assert not {"0-1-TQ-2.dcm", "0-3-TQ-6.dcm"} & set(reasons())
    assert found.delete({"0-1-TQ-1.dcm"}) == 1 and not found.delete({"0-1-TQ-1.dcm"})
    double.server.shutdown()


def test_what_no_release_can_cure_says_so(tmp_path: Path) -> None:
    """Two patients in one identifier, and what the gate marked."""
    settings, found, double = quarantines(tmp_path, {"1|": "ANON-1", "PAT-1|": "ANON-2"})
    stage = settings.pipelines[0].stages[1].quarantine
    dicom(stage / "TQ-1.dcm", "PAT\\-1")
    dicom(stage / "TQ-2.dcm", "1\t2")
    for name, text in (("TQ-3", "wrong-value (0028,0030) DS"), ("TQ-4", "Doe^Jane")):
        dicom(stage / f"{name}.dcm", "1")
        dataset = dcmread(stage / f"{name}.dcm")
        dataset.add_new(MARK, "LO", text)
        dataset.save_as(stage / f"{name}.dcm")
    assert {each["id"]: (each["reason"], each["why"]) for each in found.detailed()} == {
        "0-1-TQ-1.dcm": ("ambiguous-patient-id", ""),
        "0-1-TQ-2.dcm": ("ambiguous-patient-id", ""),
        "0-1-TQ-3.dcm": ("incomplete", "wrong-value (0028,0030) DS"),
        # Nobody but the gate writes there; whoever else did may have named somebody.
        "0-1-TQ-4.dcm": ("known-patient", ""),
    }
    assert found.release()["left"] == {"ambiguous-patient-id": 2, "incomplete": 1}
    double.server.shutdown()


def test_why_pixels_are_not_trusted_and_when_they_are(tmp_path: Path) -> None:
    """The reason follows the script that CTP runs, and so does the release."""
    settings, _, double = quarantines(tmp_path, {"1|": "ANON-1"})
    stage = settings.pipelines[0].stages[1].quarantine
    for number, values in enumerate(
        (
            {"SOPClassUID": SC, "Manufacturer": "ACME", "ManufacturerModelName": "Grab"},
            {"SOPClassUID": SC},
            {"SOPClassUID": SC, "BurnedInAnnotation": "yes"},
            {"RecognizableVisualFeatures": "YES"},
            {},
        ),
        start=1,
    ):
        path = stage / f"TQ-{number}.dcm"
        dicom(path, "1", uid=f"1.2.{number}")
        dataset = dcmread(path)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)

    def reasons(rules: list[dict[str, str]]) -> tuple[list[str], dict[str, int]]:
        text = ctp_script.anonymizer_script(ctp_script.ScriptOptions(), pixels.rules(rules))
        rendered = script.parse(text.replace("@@UID_KEY@@", "ab" * 32))
        found = Quarantines(
            settings.pipelines,
            settings.data,
            lambda: Patients({"1|": "ANON-1"}),
            Client(double.port, PASSWORD),
            Refusals(settings.data),
            profiles=[Profile(rendered)] * len(settings.pipelines),
        )
        listed = [each["reason"] for each in sorted(found.listed(), key=lambda e: e["id"])]
        return listed, found.release()["left"]

    waiting = ["pixels-not-declared"] * 2 + ["burned-in-annotation"] * 2
    assert reasons([]) == (
        [*waiting, "known-patient"],
        {"pixels-not-declared": 2, "burned-in-annotation": 2},
    )
    declared = [{"manufacturer": "ACME", "model": "Grab", "action": "clean"}]
    assert reasons(declared) == (
        ["known-patient", *waiting[1:]],
        {"pixels-not-declared": 1, "burned-in-annotation": 2},
    )
    assert not (stage / "TQ-1.dcm").exists() and (stage / "TQ-2.dcm").exists()
    double.server.shutdown()


class Noted:
    """What is told of files in quarantine, by name; a removal only begins where it is not seen."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def removing(self, each: Quarantined, reason: str) -> None:
        self.events.append((f"removing {reason}", each.path.name))

    def removed(self, each: Quarantined) -> None:
        self.events.append(("removed", each.path.name))

    def released(self, each: Quarantined) -> None:
        self.events.append(("released", each.path.name))


def test_the_account_is_told_before_anything_is_done(tmp_path: Path) -> None:
    settings, _, double = quarantines(tmp_path, {})
    noted = Noted()
    client = Client(double.port, PASSWORD)
    found = Quarantines(
        settings.pipelines,
        settings.data,
        lambda: Patients({"1|": "ANON-1"}),
        client,
        Refusals(settings.data),
        notes=noted,
    )
    stage = settings.pipelines[0].stage("anonymizer").quarantine
    for number in (1, 2, 3):
        path = stage / f"TQ-{number}.dcm"
        dicom(path, str(number), uid=f"1.2.{number}")
        dataset = dcmread(path)
        dataset.StudyInstanceUID = "1.8"
        dataset.save_as(path)
    assert found.delete({"0-1-TQ-2.dcm"}) == 1
    assert noted.events == [
        ("removing unknown-patient", "TQ-2.dcm"),
        ("removed", "TQ-2.dcm"),
    ]
    noted.events.clear()
    assert found.release()["released"] == 1
    assert noted.events == [("released", "TQ-1.dcm")]
    noted.events.clear()
    for page in (
        "/quarantines/files?p=0&s=1",
        "/quarantines/deleteAll?p=0&s=2",
        "/quarantines/deleteStudy?p=0&s=1&studyUID=1.9",
        "/quarantines/deleteFile?p=0&s=1&filename=TQ-4.dcm",
        "/quarantines",
        "/x/deleteAll?p=0&s=1",
    ):
        found.by_hand(page)
    assert noted.events == []
    for page in ("//quarantines/deleteAll?p=0&s=1", "/quarantines/queueAll/?p=0&s=1"):
        found.by_hand(page)
    found.by_hand("/quarantines/deleteStudy?p=0&s=1&studyUID=1.8")
    assert noted.events == [
        ("removing unknown-patient", "TQ-3.dcm"),
        ("released", "TQ-3.dcm"),
        ("removing unknown-patient", "TQ-3.dcm"),
    ]
    noted.events.clear()
    double.server.shutdown()
    double.server.server_close()
    with pytest.raises(OSError):
        found.delete({"0-1-TQ-3.dcm"})
    assert noted.events == [("removing unknown-patient", "TQ-3.dcm")], "CTP may remove it yet"


def test_what_ctp_could_not_queue_is_left(tmp_path: Path) -> None:
    """On a full disk, for instance: CTP copies, and answers all the same."""
    settings, found, double = quarantines(tmp_path, {"1|": "ANON-1"})
    stage = settings.pipelines[0].stage("anonymizer").quarantine
    for number in (1, 2):
        dicom(stage / f"TQ-{number}.dcm", "1", uid=f"1.2.{number}")
    double.settings = None
    assert found.release() == {"released": 0, "left": {"known-patient": 2}}
    double.settings = settings
    assert found.release() == {"released": 2, "left": {}}
    double.server.shutdown()


def test_details_name_elements_and_no_patient(tmp_path: Path) -> None:
    settings, _, double = quarantines(tmp_path, {})
    prefixes = ("ANON-",)
    client = Client(double.port, PASSWORD)
    refusals = Refusals(settings.data)
    found = Quarantines(
        settings.pipelines, settings.data, lambda: Patients({}), client, refusals, prefixes
    )
    stages = {stage.kind: stage.quarantine for stage in settings.pipelines[0].stages}
    dicom(stages["anonymizer"] / "TQ-1.dcm", "SECRET-1")
    dicom(stages["filter"] / "TQ-2.dcm", "SECRET-2")
    (stages["filter"] / "TQ-3.dcm").write_bytes(b"no DICOM")
    details = {each["id"]: each for each in found.detailed()}
    assert details["0-1-TQ-1.dcm"]["why"] == ""
    assert details["0-1-TQ-1.dcm"]["file"] == "quarantines/orthanc-1/anonymizer/TQ-1.dcm"
    assert details["0-2-TQ-2.dcm"]["why"] == "(0010,0020): no pseudonym"
    assert details["0-2-TQ-2.dcm"]["reason"] == "residual-identifier"
    assert details["0-2-TQ-3.dcm"]["why"] == "it cannot be read"
    assert not any(each["releasable"] for each in details.values())
    assert "SECRET" not in json.dumps(list(details.values()))
    double.server.shutdown()


def test_exports_are_repeated_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, found, double = quarantines(tmp_path, {})
    monkeypatch.setattr("ctp_supervisor.held_back.quarantine._PAUSES", (0.0, 0.0, 0.0))
    path = settings.pipelines[0].stage("export").quarantine / "TQ-1.dcm"
    data = dicom(path, "ANON-1", done=True)
    assert found.repeat_exports(lambda _: False) == 0
    counts = []
    for _ in range(AUTOMATIC_ATTEMPTS + 2):
        path.write_bytes(data)
        # Each time as after a restart: the count is on disk.
        again = made_quarantines(settings, {}, double)
        counts.append(again.repeat_exports(lambda _: True))
    assert counts == [1] * AUTOMATIC_ATTEMPTS + [0, 0]
    assert path.exists()
    double.server.shutdown()


def test_a_clock_that_was_set_back_does_not_keep_exports_from_being_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, found, double = quarantines(tmp_path, {})
    path = settings.pipelines[0].stage("export").quarantine / "TQ-1.dcm"
    dicom(path, "ANON-1", done=True)
    assert found.repeat_exports(lambda _: True) == 0, "it has only just come"
    hours_ago = time.time() - 7200
    monkeypatch.setattr("ctp_supervisor.held_back.quarantine.time.time", lambda: hours_ago)
    assert found.repeat_exports(lambda _: True) == 1
    double.server.shutdown()


def test_counters_outlive_a_restart_and_are_never_made_up(tmp_path: Path) -> None:
    path = tmp_path / "counters.json"
    counters = Counters(path)
    counters.add("received", 3)
    counters.save()
    again = Counters(path)
    again.add("received", 1)
    assert again.all() == {"received": 4, "forwarded": 0, "deleted": 0}
    path.write_text("{broken")
    unknown = Counters(path)
    unknown.add("received", 1)
    unknown.save()
    assert set(unknown.all().values()) == {None}
    assert path.read_text() == "{broken"


def test_a_queue_that_does_not_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Site(tmp_path).settings().pipelines[0]
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    queues = Queues(pipeline)
    queue = pipeline.stage("import").root / "queue/0000000000/000"
    for name in ("000", "001"):
        dicom(queue / name)
    queues.look(excused=False)
    assert queues.imports == 2 and queues.oldest is not None
    now += 299
    queues.look(excused=False)
    assert not queues.stuck
    now += 2
    # More that comes in is no movement.
    dicom(queue / "002")
    queues.look(excused=False)
    assert queues.stuck
    (queue / "000").unlink()
    queues.look(excused=False)
    assert not queues.stuck
    now += 400
    queues.look(excused=True)
    assert not queues.stuck


def test_a_retry_makes_no_object_younger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be sent, CTP copies to the end of its queue, and removes the file it was."""
    pipeline = Site(tmp_path).settings().pipelines[0]
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    queues = Queues(pipeline)
    root = pipeline.stage("export").root

    def age() -> int:
        queues.look(excused=False)
        found = queues.shown({})["oldest_seconds"]
        assert isinstance(found, int)
        return found

    def retried(path: Path, number: int) -> Path:
        target = root / f"queue/0000000000/{number:03d}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        path.unlink()
        return target

    path = root / "active/000"
    dicom(path, done=True)
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))
    assert 3600 <= age() < 3700
    for number in range(3):
        now += 60
        path = retried(path, number)
        assert path.stat().st_mtime > hour_ago + 3000, "else nothing is proved"
        assert 3600 <= age() < 3700
    # Another object is as old as it is, and does not make this one younger.
    dicom(root / "queue/0000000000/010", done=True)
    assert 3600 <= age() < 3700
    # For a moment it is in no queue.
    content = path.read_bytes()
    path.unlink()
    assert age() < 100
    now += 5
    path.write_bytes(content)
    assert 3600 <= age() < 3700
    # Once it has left, the same object that comes again is another.
    path.unlink()
    assert age() < 100
    now += 11
    assert age() < 100
    path.write_bytes(content)
    assert age() < 100


def test_what_cannot_be_read_is_as_old_as_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctp_supervisor.front.status._READ_AT_ONCE", 1)
    pipeline = Site(tmp_path).settings().pipelines[0]
    queues = Queues(pipeline)
    oldest = [queues.oldest]
    queues.look(excused=False)
    assert [*oldest, queues.oldest] == [None, None]
    queue = pipeline.stage("export").root / "queue/0000000000"
    queue.mkdir(parents=True)
    for number, content in enumerate([b"no DICOM", b"nor this", b""]):
        path = queue / f"{number:03d}"
        path.write_bytes(content)
        os.utime(path, (1e9 + number, 1e9 + number))
    for _ in range(3):
        queues.look(excused=False)
        assert (queues.exports, queues.oldest) == (2, 1e9)


def test_ctp_finds_nothing_secret_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "secret")
    settings = Site(tmp_path).settings()
    working = make(settings, verify(settings), bytes(32), "a-password")
    found = environment(settings, working)
    assert set(found) <= {"PATH", "LANG", "HOME", "TZ"}
    line = command(settings, working)
    assert f"-Xmx{settings.heap_mib}m" in line and "a-password" not in " ".join(line)


@pytest.mark.parametrize(
    ("line", "alarming"),
    [
        ("java.io.IOException: No space left on device", True),
        ("java.io.FileNotFoundException: /x (Read-only file system)", True),
        ("java.net.SocketException: Connection reset", False),
        ("ctp: WARN  [DicomStorageSCP] Unable to store a received file.", False),
    ],
)
def test_what_a_failed_write_looks_like(line: str, alarming: bool) -> None:
    assert bool(NOT_STORED.search(line)) == alarming


def test_nothing_is_logged_of_a_request(ask: Client2, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ask("GET", "/secret-path")
    assert "secret-path" not in caplog.text
