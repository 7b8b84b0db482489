"""People of a hospital's directory (slapd) and login page (glewlwyd) at Orthanc's page.

Off in the tests before; here the site turns it on, as an operator does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from conftest import Front
from people import Browser, People, password
from shared.machines import Machine

STUDY = "2445444f-3a3fbb26-0347ac5d-16d984d8-0cfa94d7"
# What one of the roles may ask, and what it is answered when it may: there is no such study.
MAY = {
    ("GET", "/system"): ("200", {"reader", "curator", "admin"}),
    ("PUT", f"/studies/{STUDY}/labels/seen"): ("404", {"curator", "admin"}),
    ("GET", "/jobs"): ("200", {"admin"}),
}
IN_LDAP = [("lena", "reader"), ("nils", "reader"), ("lars", "curator"), ("lotte", "admin")]
AT_THE_PROVIDER = [("olga", "reader"), ("otto", "curator"), ("ora", "admin")]
FORGED = [
    "X-Remote-User: steward",
    "X-Forwarded-User: steward",
    "Remote-User: steward",
    "OIDC_CLAIM_groups: imaging.admins",
    "OIDC-CLAIM-groups: imaging.admins",
    "OIDC_CLAIM_preferred_username: ora",
    "GROUP_admin_UID: lena",
    "role: admin",
    "Cookie: role=admin; by_ldap=",
]


def expected(role: str) -> dict[tuple[str, str], str]:
    """The status of each of `MAY` for a role."""
    return {asked: status if role in roles else "403" for asked, (status, roles) in MAY.items()}


class Asker:
    """curl, as a program of a researcher uses it: with a login and without cookies."""

    def __init__(self, front: Front, machine: Machine) -> None:
        self.front, self.machine = front, machine

    def status(self, login: str, path: str, *arguments: str, method: str = "GET") -> str:
        """Ask and return the status; the login is not in the command line."""
        return self.machine.output(
            *("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"),
            *("--max-time", "60", "--cacert", self.front.trusted, "--request", method),
            *(("--config", "-") if login else ()),
            *arguments,
            f"{self.front.url}{path}",
            stdin=f'user = "{login}"\n' if login else None,
        )


@pytest.fixture(scope="module")
def ask(front: Front, clients: dict[str, Machine]) -> Asker:
    return Asker(front, clients["researcher"])


@pytest.fixture
def browser(front: Front, clients: dict[str, Machine], people: People) -> Browser:
    return Browser(clients["researcher"], front.trusted, people)


@pytest.mark.parametrize(("name", "role"), IN_LDAP)
def test_a_person_of_ldap_has_the_highest_role_of_her_groups(
    ask: Asker, people: People, name: str, role: str
) -> None:
    """Lotte is in two groups, nils in one that is in one."""
    login = f"{name}:{password(name)}"
    found = {(method, path): ask.status(login, path, method=method) for method, path in MAY}
    assert found == expected(role)


@pytest.mark.parametrize(("name", "role"), AT_THE_PROVIDER)
def test_a_person_of_the_provider_has_the_highest_role_of_her_groups(
    browser: Browser, name: str, role: str
) -> None:
    said = browser.log_in(name)
    cookie = next(
        line for line in said.splitlines() if line.lower().startswith("set-cookie: __host-front")
    )
    attributes = {each.strip() for each in cookie.split(";")[1:]}
    assert attributes >= {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"}, cookie
    found = {
        (method, path): str(browser.fetch(path, "--request", method)[0]) for method, path in MAY
    }
    assert found == expected(role)


def test_who_is_in_no_group_is_told_and_written_down(
    ask: Asker, browser: Browser, front: Front
) -> None:
    """Ole is in groups whose names only look like those that may."""
    assert ask.status(f"leo:{password('leo')}", "/system") == "403"
    browser.log_in("ole")
    status, _, text = browser.fetch("/system")
    assert status == 403 and "none of your groups" in text
    assert "a person of the directory without a role was refused at orthanc" in front.journal()
    rows = [line.split("\t")[3:6] for line in front.log().splitlines()]
    assert ["leo", "GET", "403"] in rows and ["ole", "GET", "403"] in rows


def test_users_of_orthanc_go_on_as_before(ask: Asker, passwords: dict[str, str]) -> None:
    for name, role in (("reader", "reader"), ("curator", "curator"), ("steward", "admin")):
        login = f"{name}:{passwords[name]}"
        found = {(method, path): ask.status(login, path, method=method) for method, path in MAY}
        assert found == expected(role)
    # Programs are asked for a password, and not sent to a login page.
    asked = ask.machine.output(
        *("curl", "--silent", "--head", "--cacert", ask.front.trusted, f"{ask.front.url}/system")
    )
    assert asked.startswith("HTTP/1.1 401 ")
    assert "www-authenticate: basic" in asked.lower()


def test_a_person_with_the_name_of_a_user_is_not_that_user(
    ask: Asker, browser: Browser, people: People
) -> None:
    assert ask.status(f"steward:{password('steward')}", "/system") == "401"
    assert ask.status(f"STEWARD:{password('steward')}", "/system") == "401"
    assert people.binds_of("steward") == 0
    browser.log_in("steward")
    assert browser.fetch("/system")[0] == 403


def test_nobody_else_logs_in_as_an_account_of_the_front(ask: Asker, people: People) -> None:
    known = people.variables()["orthanc_directory_password"]
    for name in ("directory-reader", "directory-curator", "directory-admin", "Directory-Admin"):
        assert ask.status(f"{name}:{known}", "/system") == "401"


@pytest.mark.parametrize("header", FORGED)
def test_headers_and_cookies_are_no_identity(ask: Asker, browser: Browser, header: str) -> None:
    forged = ("--header", header)
    assert ask.status("", "/system", *forged) == "401"
    assert ask.status(f"lena:{password('lena')}", "/jobs", *forged) == "403"
    status, _, text = browser.fetch("/system", *forged)
    assert status == 401, text


def test_a_session_that_is_made_up_is_none(browser: Browser) -> None:
    made_up = ("--cookie", "__Host-front_session=534a3f99dcfd430a94851e3e76423ed59c08a6d7")
    assert browser.fetch("/system", *made_up)[0] == 401
    browser.log_in("olga")
    # Who changes it is nobody.
    browser.machine.shell(f"sed -i '/front_session/s/.$/x/' {browser.jar}")
    assert browser.fetch("/system")[0] == 401


def test_a_browser_may_use_a_password_of_orthanc(
    browser: Browser, ask: Asker, passwords: dict[str, str]
) -> None:
    status, _, text = browser.open("/.password")
    assert status == 401 and "www-authenticate: basic" in text.lower()
    assert ask.status(f"reader:{passwords['reader']}", "/.password") == "302"


@pytest.fixture
def away(people: People) -> Iterator[None]:
    """slapd is away, and comes back."""
    people.stop_ldap()
    yield
    people.start_ldap()


def test_the_directory_is_away_and_others_go_on(
    browser: Browser, ask: Asker, passwords: dict[str, str], front: Front, away: None
) -> None:
    browser.log_in("olga")
    assert ask.status(f"lone:{password('lone')}", "/system") == "503"
    assert ask.status(f"reader:{passwords['reader']}", "/system") == "200"
    assert browser.fetch("/system")[0] == 200
    assert "the LDAP directory does not answer" in front.journal()


def test_the_directory_is_back(ask: Asker) -> None:
    assert ask.status(f"lone:{password('lone')}", "/system") == "200"


def test_wrong_logins_stop_before_the_directory_would_lock_the_person(
    ask: Asker, people: People, front: Front
) -> None:
    before = people.binds_of("lone")
    program = r"""
for number in $(seq 100); do
    printf 'user = "lone:guess-%s"\n' "$number" |
        curl --silent --output /dev/null --write-out '%{http_code}\n' --cacert "$1" --config - "$2"
done | sort | uniq -c
"""
    said = ask.machine.output("bash", "-c", program, "-", front.trusted, f"{front.url}/system")
    counted = {status: int(count) for count, status in map(str.split, said.splitlines())}
    assert counted.keys() == {"401", "429"} and counted["401"] == 4, counted
    assert people.binds_of("lone") - before == 4
    # In other letters and from elsewhere it is the same person, right or wrong.
    right = f"LONE:{password('lone')}"
    assert ask.status(right, "/system") == "429"
    assert front.status_elsewhere(right) == "429"
    assert people.binds_of("lone") - before == 4
    # Others are not concerned, nor is whoever logs in at the provider.
    assert ask.status(f"lars:{password('lars')}", "/system") == "200"
    assert "guess-" not in front.log() + front.journal()


def test_the_log_has_the_persons_names(front: Front) -> None:
    rows = [line.split("\t") for line in front.log().splitlines()]
    names = {row[3] for row in rows if row[5] == "200" and row[8] == "/system"}
    assert {"lena", "nils", "lars", "lotte", "olga", "otto", "ora"} <= names
    assert not [name for name in names if name.startswith("directory-")]
    text = json.dumps(rows) + front.journal()
    assert not re.search("-of-the-hospital|secret-of-the-client|bind-of-the-node", text)
