"""auscat_notify: what is refused in which words, what is installed, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.filter.status import FilterModule
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import (
    certificates,
    guardrails,
    vault_values,
)
from ansible_collections.auscat.imaging.plugins.module_utils.status import notify_settings
from ansible_collections.auscat.imaging.plugins.module_utils.status.notify_report import (
    maintenance_minutes,
    maintenance_report,
    notify_report,
)

REPOSITORY = Path(__file__).resolve().parents[3]
SETTINGS = FilterModule().filters()["notify_settings"]
PASSWORD, TOKEN = "relay-4b1f9d27c6", "Bearer hook-7d03ce5518"
HEADERS = {"Authorization": TOKEN}
MAIL: dict[str, Any] = {
    "host": "mail.hospital.example",
    "from": "node@hospital.example",
    "to": ["duty@hospital.example"],
}
HOOK = {"url": "https://hooks.hospital.example/a/secret-5b20"}


def found(given: Any, password: Any = "", headers: Any = None) -> list[str]:
    return notify_settings.problems(
        given, password, {} if headers is None else headers, lambda path: Path(path).read_text()
    )


@pytest.mark.parametrize(
    ("given", "password", "headers"),
    [
        ({}, "", {}),
        ({"command": ["/usr/local/sbin/page", "--duty", "a b"]}, "", {}),
        ({"command": ["/usr/local/sbin/page"], "repeat_hours": 0.5}, "", {}),
        ({"mail": MAIL}, "", {}),
        ({"mail": {**MAIL, "tls": "none"}}, "", {}),
        ({"mail": {**MAIL, "user": "node", "port": 587}}, PASSWORD, {}),
        ({"mail": {**MAIL, "host": "10.1.2.3", "tls": "tls"}}, "", {}),
        ({"webhook": HOOK, "mail": MAIL, "repeat_hours": 0}, "", HEADERS),
    ],
)
def test_what_is_sound_is_accepted(given: Any, password: str, headers: Any) -> None:
    assert found(given, password, headers) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("mail", "auscat_notify is of the type str. Accepted: a mapping; {} for off."),
        (None, "auscat_notify is of the type NoneType. Accepted: a mapping; {} for off."),
        ({"mial": MAIL}, "auscat_notify has 'mial'. Accepted: repeat_hours, command, mail, web"),
        ({"repeat_hours": 4}, "auscat_notify names no way. Accepted: at least one of command, m"),
        ({"mail": MAIL, "repeat_hours": "4"}, "auscat_notify.repeat_hours is '4'. Accepted: hours"),
        ({"mail": MAIL, "repeat_hours": 169}, "auscat_notify.repeat_hours is 169. Accepted: hours"),
        ({"mail": MAIL, "repeat_hours": True}, "auscat_notify.repeat_hours is True. Accepted: ho"),
        ({"command": "/bin/page duty"}, "auscat_notify.command is of the type str. Accepted: a l"),
        ({"command": []}, "auscat_notify.command is of the type list. Accepted: a list of texts"),
        ({"command": ["/bin/page", 4]}, "auscat_notify.command is of the type list. Accepted: a"),
        ({"command": ["page"]}, "auscat_notify.command, its program, is 'page'. Accepted: the ab"),
        ({"command": ["/bin/../x"]}, "auscat_notify.command, its program, is '/bin/../x'. Accep"),
        ({"command": ["/root/x"]}, "not below /root, which the sampler's service does not see."),
        ({"command": ["/home/x/page"]}, "not below /home, which the sampler's service does not"),
        ({"mail": ["a@b"]}, "auscat_notify.mail is of the type list. Accepted: a mapping with"),
        ({"mail": {"host": "m"}}, "auscat_notify.mail lacks to. Accepted: a mapping with host"),
        ({"mail": {**MAIL, "cc": 1}}, "auscat_notify.mail has 'cc'. Accepted: host, from, to, po"),
        ({"mail": {**MAIL, "host": "m:25"}}, "auscat_notify.mail.host is 'm:25'. Accepted: name"),
        ({"mail": {**MAIL, "host": ""}}, "auscat_notify.mail.host is ''. Accepted: name or addr"),
        ({"mail": {**MAIL, "port": 70000}}, "auscat_notify.mail.port is 70000. Accepted: 1 to 6"),
        ({"mail": {**MAIL, "port": True}}, "auscat_notify.mail.port is True. Accepted: 1 to 655"),
        ({"mail": {**MAIL, "tls": "ssl"}}, "auscat_notify.mail.tls is 'ssl'. Accepted: starttls"),
        ({"mail": {**MAIL, "tls": []}}, "auscat_notify.mail.tls is []. Accepted: starttls, tls"),
        ({"mail": {**MAIL, "from": "Node <a@b.c>"}}, "auscat_notify.mail.from is 'Node <a@b.c>'"),
        ({"mail": {**MAIL, "to": "a@b.c"}}, "auscat_notify.mail.to is 'a@b.c'. Accepted: a list"),
        ({"mail": {**MAIL, "to": ["a@b.c\nBcc: x@y.z"]}}, "auscat_notify.mail.to is ['a@b.c"),
        ({"mail": {**MAIL, "to": []}}, "auscat_notify.mail.to is []. Accepted: a list of addres"),
        ({"mail": {**MAIL, "user": 4}}, "auscat_notify.mail.user is 4. Accepted: a text"),
        ({"mail": {**MAIL, "user": "n"}}, "auscat_notify.mail.user is set and auscat_notify_mai"),
        ({"mail": {**MAIL, "ca_file": "/none"}}, "auscat_notify.mail.ca_file is '/none', which c"),
        ({"mail": {**MAIL, "ca_file": 4}}, "auscat_notify.mail.ca_file is 4. Accepted: a file of"),
        ({"mail": {**MAIL, "ca_file": __file__}}, "auscat_notify.mail.ca_file holds a text witho"),
        ({"webhook": "https://x"}, "auscat_notify.webhook is of the type str. Accepted: a mappi"),
        ({"webhook": {}}, "auscat_notify.webhook lacks url. Accepted: a mapping with url. Add it"),
        ({"webhook": {"url": "http://a/secret-5b20"}}, "auscat_notify.webhook.url begins with ht"),
        ({"webhook": {"url": "a/secret-5b20"}}, "auscat_notify.webhook.url begins with no scheme"),
        ({"webhook": {"url": "https:///secret-5b20"}}, "auscat_notify.webhook.url has no host"),
        ({"webhook": {"url": "https://a b/"}}, "auscat_notify.webhook.url is no URL, or has whit"),
        ({"webhook": {"url": "https://a:99999/"}}, "auscat_notify.webhook.url is no URL."),
        ({"webhook": {"url": "https://u:secret-5b20@a/"}}, "auscat_notify.webhook.url holds a lo"),
        ({"webhook": {**HOOK, "token": "x"}}, "auscat_notify.webhook has 'token'. Accepted: url"),
    ],
)
def test_what_is_refused_says_how_it_should_be(given: Any, says: str) -> None:
    problems = found(given)
    assert [each for each in problems if says in each], problems
    assert not [each for each in problems if "secret-5b20" in each]
    # Variable, what it was, what is accepted, what to do.
    assert all(each.startswith("auscat_notify") and "Accepted: " in each for each in problems)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        (["x"], "auscat_notify_webhook_headers is of the type list. Accepted: a mapping of name"),
        ({"A b": TOKEN}, "auscat_notify_webhook_headers, a name in it, is 'A b'. Accepted: name"),
        ({"host": TOKEN}, "auscat_notify_webhook_headers, a name in it, is 'host'. Accepted: na"),
        ({"X": 4711}, "auscat_notify_webhook_headers['X'] is no text of ASCII. Accepted: such a"),
        ({"X": "ü4711"}, "auscat_notify_webhook_headers['X'] is no text of ASCII. Accepted: suc"),
    ],
)
def test_headers_that_are_refused_are_not_shown(headers: Any, says: str) -> None:
    (problem,) = found({"webhook": HOOK}, headers=headers)
    assert says in problem and TOKEN not in problem and "4711" not in problem


def test_a_login_is_whole_and_encrypted() -> None:
    (problem,) = found({"mail": MAIL}, PASSWORD)
    assert "auscat_notify_mail_password is set and auscat_notify.mail.user is not" in problem
    (problem,) = found({"mail": {**MAIL, "user": "node", "tls": "none"}}, PASSWORD)
    assert "auscat_notify.mail.tls is 'none', with a login. Accepted: starttls or tls" in problem
    assert PASSWORD not in problem


def test_nobody_is_to_be_told_without_a_sampler() -> None:
    (problem,) = notify_settings.timer_problems({"mail": MAIL}, timer=False)
    assert problem.startswith("status_timer is False, and auscat_notify is set")
    assert notify_settings.timer_problems({"mail": MAIL}, timer=True) == []
    assert notify_settings.timer_problems({}, timer=False) == []


def test_a_private_key_is_no_ca(tmp_path: Path) -> None:
    made = certificates.make_authority()
    (tmp_path / "ca.pem").write_text(made["certificate"] + made["key"])
    (problem,) = found({"mail": {**MAIL, "ca_file": str(tmp_path / "ca.pem")}})
    assert "auscat_notify.mail.ca_file holds a private key" in problem


def test_what_the_program_gets(tmp_path: Path) -> None:
    ca = certificates.make_authority()["certificate"]
    (tmp_path / "ca.pem").write_text(ca)
    given = {
        "command": ["/usr/local/sbin/page"],
        "mail": {**MAIL, "user": "node", "tls": "tls", "ca_file": str(tmp_path / "ca.pem")},
        "webhook": HOOK,
    }
    proxy = "http://proxy.hospital.example:3128"
    made = json.loads(SETTINGS(given, PASSWORD, HEADERS, proxy, ["hospital.example"]))
    assert made == {
        "repeat_hours": 4,
        "ways": {
            "command": {"arguments": ["/usr/local/sbin/page"]},
            "mail": {
                **{"host": "mail.hospital.example", "port": 465, "tls": "tls", "ca": ca},
                **{"user": "node", "password": PASSWORD},
                **{"from": "node@hospital.example", "to": ["duty@hospital.example"]},
            },
            "webhook": {
                **{"url": HOOK["url"], "headers": HEADERS, "ca": "", "proxy": proxy},
                "no_proxy": ["hospital.example"],
            },
        },
    }
    assert json.loads(SETTINGS({"mail": MAIL}, "", {}))["ways"]["mail"]["port"] == 25


def test_off_installs_nothing() -> None:
    defaults = yaml.safe_load((REPOSITORY / "roles/auscat/defaults/main.yml").read_text())
    assert defaults["auscat_notify"] == {}
    assert SETTINGS(*(defaults[f"auscat_notify{each}"] for each in ("", *SECRETS))) == ""


SECRETS = ("_mail_password", "_webhook_headers")


def test_the_password_of_a_relay_is_not_invented() -> None:
    assert not vault_values.INVENTED.search("vault_auscat_notify_mail_password")
    assert not guardrails.PASSWORD_OPTION.match("auscat_notify_mail_password")


def test_a_role_alone_refuses_too() -> None:
    with pytest.raises(AnsibleFilterError, match="auscat_notify has 'mial'"):
        SETTINGS({"mial": {}}, "", {})


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90m", 90), ("2h", 120), ("3d", 4320), ("14d", 20160), ("end", 0)],
)
def test_a_maintenance_is_announced_in_words(text: str, minutes: int) -> None:
    assert maintenance_minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "0h", "2", "15d", "2 h", "-1h", "1.5h", "99999d", "END", 2])
def test_a_maintenance_without_an_end_is_refused(text: Any) -> None:
    with pytest.raises(
        AnsibleFilterError, match=r"maintenance is .* Accepted: .*-e maintenance=2h"
    ):
        FilterModule().filters()["maintenance_minutes"](text)


def test_what_an_operator_is_told() -> None:
    assert maintenance_report(
        {
            "kv": {"rc": 0, "stdout": '{"until": 1795000000.0}'},
            "cat": {"rc": 0, "stdout": '{"until": null}'},
            "old": {"rc": 1, "stdout": ""},
            "away": {"unreachable": True},
            "look": {"skipped": True},
        }
    ) == {
        "done": [
            "kv: no messages of alerts until 2026-11-18 11:06 UTC",
            "cat: no maintenance is announced; messages are sent as always",
            "look: nothing was done in check mode",
        ],
        "failed": [
            "old: its program did not do that. Run site.yml --tags status first, which installs "
            "the program that sends.",
            "away: the machine cannot be reached.",
        ],
    }
    report = notify_report(
        {
            "kv": {"rc": 0, "stdout": '{"mail": "", "webhook": "the receiver answers HTTP 403"}'},
            "cat": {"rc": 0, "stdout": "{}"},
            "away": {},
            "some": {"rc": 0, "stdout": '{"mail": "partly: 1 of 2 refused"}'},
        }
    )
    assert report["done"] == ["kv: a test message was sent, mail"]
    assert report["failed"] == [
        "kv: the test message did not get through, webhook: the receiver answers HTTP 403",
        "cat: nobody is told of alerts there. Set auscat_notify (docs/status.md), and run site.yml "
        "--tags status.",
        "away: the machine cannot be reached.",
        "some: a test message was sent, mail, not to all: 1 of 2 refused",
    ]
