"""What stands in front of the pages: TLS, foreign pages, wrong logins, the log, its services."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Cohort, passwords
from shared.https import given, url
from shared.machines import Machine, Node, wait_for
from shared.streams import Rest, page

LOGS = "/srv/auscat/front/logs"
STATUS = ("--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "30")
PORTS = pytest.mark.parametrize("port", [8042, 9090])


@pytest.fixture(scope="module")
def orthanc(node: Node, password: str) -> Rest:
    return page(node, 8042, "researcher", password)


class Asker:
    """curl on the researcher's machine, which trusts the node's CA."""

    def __init__(self, node: Node, machine: Machine) -> None:
        self.node, self.machine = node, machine
        self.ca = given(node, machine)

    def status(self, path: str, *arguments: str) -> str:
        """Ask Orthanc's page and return the status."""
        asked = ("--cacert", self.ca, *arguments, f"{url(self.node, 8042)}{path}")
        return self.machine.output("curl", *STATUS, *asked)


@pytest.fixture(scope="module")
def ask(node: Node, researcher: Machine) -> Asker:
    return Asker(node, researcher)


def handshake(node: Node, trusted: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"{node.address}:8042", "-verify_return_error"]
        + ["-CAfile", str(trusted), "-verify_ip", node.address, *arguments],
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_modern_tls_is_spoken_and_the_certificate_holds(
    node: Node, trusted: Path, version: str
) -> None:
    shaken = handshake(node, trusted, version)
    assert shaken.returncode == 0, shaken.stderr
    assert "Verify return code: 0 (ok)" in shaken.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "AES128-GCM-SHA256"),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"),
    ],
    ids=["tls-1.1", "no-forward-secrecy", "no-aead"],
)
def test_older_tls_and_weak_ciphers_are_refused(
    node: Node, trusted: Path, arguments: tuple[str, ...]
) -> None:
    assert "alert" in handshake(node, trusted, *arguments).stderr


@PORTS
def test_plain_http_is_refused(node: Node, port: int) -> None:
    login = "admin:" + node.variables["ctp_admin_password"]
    answer = subprocess.run(
        ["curl", "--silent", "--include", "--user", login, f"http://{node.address}:{port}/system"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert answer.startswith("HTTP/1.1 400 ")
    assert "DicomAet" not in answer


@PORTS
def test_headers_say_https_alone_and_no_version(node: Node, trusted: Path, port: int) -> None:
    answer = subprocess.run(
        ["curl", "--silent", "--head", "--cacert", str(trusted), f"{url(node, port)}/"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Strict-Transport-Security: max-age=31536000" in answer
    assert re.search(r"^Server: \w*\s*$", answer, re.MULTILINE), answer


def test_no_service_publishes_its_page_itself(node: Node) -> None:
    published = {
        name: {port["PublishedPort"] for port in service["Endpoint"].get("Ports", [])}
        for name, service in node.services().items()
    }
    assert published["auscat_front"] == {8042, 9090}
    assert not {8042, 9090} & published["auscat_orthanc"]
    assert not {8042, 9090} & published["auscat_ctp"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], "403"),
        (["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors"], "403"),
        (["Origin: https://other.example"], "403"),
        (["Origin: null"], "403"),
        (["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"], "200"),
        (["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"], "200"),
    ],
)
def test_a_foreign_page_sends_nothing(
    ask: Asker, password: str, headers: list[str], expected: str
) -> None:
    arguments = [part for header in headers for part in ("--header", header)]
    login = ("--user", f"researcher:{password}")
    assert ask.status("/system", *login, *arguments) == expected
    if expected == "200" and "navigate" in headers[-1]:
        # Of what a form of it sends.
        assert ask.status("/tools/lookup", *login, *arguments, "--data", "1.2") == "403"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?_method=DELETE", []),
        ("?x=1&_METHOD=delete", []),
        ("?%5fmethod=DELETE", []),
        ("", ["--header", "X-HTTP-Method-Override: DELETE"]),
    ],
)
def test_no_link_deletes(
    ask: Asker, orthanc: Rest, node: Node, cohort: Cohort, query: str, headers: list[str]
) -> None:
    """Orthanc would follow them; a browser does follow a link of a foreign page, login and all."""
    question = {"Level": "Study", "Query": {"PatientID": cohort.pseudonyms[0]}}
    (study,) = orthanc.ask("/tools/find", question)
    login = ("--user", f"admin:{passwords(node)['admin']}")
    followed = ("--header", "Sec-Fetch-Site: cross-site", "--header", "Sec-Fetch-Mode: navigate")
    assert ask.status(f"/studies/{study}{query}", *login, *followed, *headers) == "405"
    assert orthanc.ask("/tools/find", question) == [study]


def test_a_foreign_page_shows_none_of_these(node: Node, ask: Asker, password: str) -> None:
    asked = ("--cacert", ask.ca, "--user", f"researcher:{password}", "--output", "/dev/null")
    page_of = f"{url(node, 8042)}/app/explorer.html"
    head = ask.machine.output("curl", "--silent", "--dump-header", "-", *asked, page_of)
    assert head.startswith("HTTP/1.1 200 ")
    assert re.search(r"^X-Frame-Options: SAMEORIGIN\s*$", head, re.IGNORECASE | re.MULTILINE), head


def test_too_much_and_of_unknown_length_is_refused(ask: Asker, password: str) -> None:
    login = ("--user", f"researcher:{password}", "--header", "Expect:", "--request", "POST")
    length = ("--header", "Content-Length: 99999999999")
    assert ask.status("/instances", *login, *length) == "413"
    chunked = ("--header", "Transfer-Encoding: chunked", "--data", "x")
    assert ask.status("/instances", *login, *chunked) == "411"


def test_dicomweb_makes_its_links_with_https(orthanc: Rest, node: Node, cohort: Cohort) -> None:
    found = orthanc.ask(f"/dicom-web/studies?PatientID={cohort.pseudonyms[0]}")
    (link,) = {value for each in found for value in each["00081190"]["Value"]}
    assert link.startswith(f"{url(node, 8042)}/dicom-web/studies/")


@pytest.fixture
def away(node: Node, orthanc: Rest) -> Iterator[None]:
    """Orthanc is away, and comes back."""
    update = ("docker", "service", "update", "--quiet", "--replicas")
    node.run(*update, "0", "auscat_orthanc", timeout=180)
    yield
    node.run(*update, "1", "auscat_orthanc", timeout=180)
    wait_for("Orthanc answers", lambda: answers(orthanc), 60)


def answers(orthanc: Rest) -> bool:
    try:
        return bool(orthanc.ask("/system"))
    except OSError:
        return False


def test_a_service_that_is_away_is_said_and_the_front_stays(
    away: None, node: Node, ask: Asker, password: str
) -> None:
    (before,) = node.tasks("auscat_front")
    asked = ("--cacert", ask.ca, "--user", f"researcher:{password}", f"{url(node, 8042)}/system")
    answer = ask.machine.output("curl", "--silent", "--include", "--max-time", "20", *asked)
    assert answer.startswith("HTTP/1.1 503 ")
    assert "content-type: text/plain" in answer.lower()
    assert "does not answer now" in answer
    (after,) = node.tasks("auscat_front")
    assert after["Id"] == before["Id"]
    assert after["State"]["Health"]["Status"] == "healthy"


def test_the_next_request_after_a_restart_works(orthanc: Rest, node: Node) -> None:
    """Orthanc has another address then."""

    def address() -> str:
        (task,) = node.tasks("auscat_orthanc")
        networks = task["NetworkSettings"]["Networks"].values()
        return str(next(each["IPAddress"] for each in networks))

    assert orthanc.ask("/system")
    before = address()
    node.run("docker", "service", "update", "--force", "--quiet", "auscat_orthanc", timeout=180)
    node.wait_until_healthy(5)
    assert orthanc.ask("/system")
    if address() == before:
        pytest.skip("Orthanc got the address that it had before")


def test_wrong_logins_stop_the_one_and_nobody_else(
    ask: Asker, node: Node, researcher: Machine, password: str, orthanc: Rest
) -> None:
    """1,000 of them, four at once; of the same user from here, and of others from there."""
    with ThreadPoolExecutor(4) as several:
        wrong = ("--user", "steward:wrong")
        config = "\n".join([f'url = "{url(node, 8042)}/system"\noutput = /dev/null'] * 250)

        def many(_: int) -> str:
            return researcher.output(
                *("curl", "--silent", "--cacert", ask.ca, *wrong, "--config", "-"),
                *("--write-out", "%{http_code}\\n"),
                stdin=config,
                timeout=300,
            )

        counted = Counter(" ".join(several.map(many, range(4))).split())
    # Those that are under way while the tenth is counted pass too, and some are counted as one. At
    # fifty the address would be stopped, and with it the others there.
    assert 10 <= counted["401"] < 50
    assert counted["401"] + counted["429"] == 1000
    assert ask.status("/system", "--user", f"researcher:{password}") == "200"
    assert orthanc.ask("/system")
    log = node.shell("docker service logs --raw auscat_front 2>&1")
    assert log.count(f"wrong login at orthanc from {researcher.address}") >= 10


def test_what_asks_for_no_login_does_not_begin_anew(node: Node, trusted: Path) -> None:
    """Between two wrong logins, something is asked for that anybody gets."""
    wrong = ("--cacert", str(trusted), "--path-as-is", "--user", "guesser:wrong")

    def status(port: int, path: str) -> str:
        asked = ["curl", *STATUS, *wrong, f"{url(node, port)}{path}"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout

    free = [(8042, "/.front/health"), (9090, "/healthz"), (9090, "/x/../%68ealthz?x")]
    between = []
    for each in range(10):
        assert status(8042, "/system") == "401"
        between.append(status(*free[each % 3]))
    assert status(8042, "/system") == "429"
    # The last of them came when there were ten already.
    assert between[:9] == ["204", "200", "200"] * 3


def test_the_log_says_who_did_what_and_holds_nothing_else(
    node: Node, ask: Asker, orthanc: Rest, cohort: Cohort, password: str
) -> None:
    pseudonym = cohort.pseudonyms[0]
    (study,) = orthanc.ask("/tools/find", {"Level": "Study", "Query": {"PatientID": pseudonym}})
    login = ("--user", f"researcher:{password}")
    assert ask.status(f"/studies/{study}/archive", *login) == "200"
    assert ask.status("/patients/Smith-John?x=Smith", *login) == "403"
    assert (
        ask.status("/dicom-web/studies?PatientName=Smith&StudyInstanceUID=1.2.3", *login) == "200"
    )
    assert ask.status("/system", "--user", f"{password}:oops") == "401"
    lines = [line.split("\t") for line in node.shell(f"cat {LOGS}/access-*.log").splitlines()]
    here = [line[1:4] + line[4:6] + line[8:] for line in lines if line[2] == ask.machine.address]
    who = ["orthanc", ask.machine.address]
    for wanted in (
        [*who, "researcher", "GET", "200", f"/studies/{study}/archive", "-"],
        [*who, "researcher", "GET", "403", "/patients/...", "-"],
        [*who, "researcher", "GET", "200", "/dicom-web/studies", "study=1.2.3"],
        [*who, "(unknown)", "GET", "401", "/system", "-"],
    ):
        assert wanted in here
    downloaded = max(int(line[7]) for line in lines if line[8] == f"/studies/{study}/archive")
    assert downloaded > 100_000
    text = str(lines)
    assert "Smith" not in text and password not in text
    assert node.output("stat", "--format=%a %u", LOGS) == "700 64080"
    modes = node.shell(f"stat --format=%a {LOGS}/*").split()
    assert set(modes) == {"600"}
