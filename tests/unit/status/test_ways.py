"""A message leaves by each way, and what keeps it is said without quoting anybody."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import (
    notify,
    rules,
    ways,
)
from receivers import PASSWORD, USER, Hook, RelayDouble, serving

NOW = 1_795_000_000.0
MESSAGE = notify.message(
    *("kv01", "production", NOW),
    [
        {
            **rules.alert("service_down", "critical", "orthanc", "0 of 1 containers run."),
            **{"change": "began", "since": NOW},
        }
    ],
    None,
)
TOKEN = "Bearer hook-7d03ce5518"
PEOPLE = ["duty@hospital.example", "second@hospital.example"]


@pytest.fixture
def ca(tmp_path: Path) -> str:
    made = certificates.make_authority()
    pair = certificates.issue(made, ("127.0.0.1",))
    (tmp_path / "pair.pem").write_text(pair["certificate"] + pair["key"])
    return str(made["certificate"])


@pytest.fixture
def hook(ca: str, tmp_path: Path) -> Iterator[Hook]:
    server = Hook(tmp_path / "pair.pem")
    with serving(server):
        yield server


def relay_of(relay: RelayDouble, **other: Any) -> dict[str, Any]:
    return {
        **{"host": "127.0.0.1", "port": relay.port, "tls": "none", "ca": "", "user": ""},
        **{"password": "", "from": "node@hospital.example", "to": PEOPLE},
        **other,
    }


def hook_of(hook: Hook, ca: str, **other: Any) -> dict[str, Any]:
    return {
        **{"url": f"{hook.url}/alerts", "headers": {"Authorization": TOKEN}, "ca": ca},
        **{"proxy": "", "no_proxy": []},
        **other,
    }


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_mail_reaches_the_relay_encrypted_and_with_a_login(ca: str, tmp_path: Path) -> None:
    relay = RelayDouble(tmp_path / "pair.pem", login=True)
    with serving(relay):
        ways.mail(
            relay_of(relay, tls="starttls", ca=ca, user=USER, password=PASSWORD),
            MESSAGE,
        )
    ((people, letter),) = relay.taken
    assert people == PEOPLE
    assert letter["Subject"] == "[kv01] CRITICAL: service_down (orthanc)"
    assert letter["To"] == ", ".join(PEOPLE)
    assert letter["From"] == "node@hospital.example"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Date"] and letter["Message-ID"].endswith("@hospital.example>")
    text = letter.get_content()
    assert "0 of 1 containers run." in text and "docker service ps" in text
    assert [each for each in relay.in_clear if not each.upper().startswith("EHLO")] == ["STARTTLS"]


def test_mail_without_tls_and_login(tmp_path: Path) -> None:
    relay = RelayDouble()
    with serving(relay):
        ways.mail(relay_of(relay), MESSAGE)
    assert len(relay.taken) == 1


def test_mail_never_goes_in_clear_where_tls_is_wished(tmp_path: Path) -> None:
    relay = RelayDouble(login=True)
    with serving(relay), pytest.raises(ways.WayError, match="offers no STARTTLS"):
        ways.mail(relay_of(relay, tls="starttls", user=USER, password=PASSWORD), MESSAGE)
    assert not relay.taken and not [each for each in relay.in_clear if "AUTH" in each.upper()]


def test_mail_is_not_handed_to_a_relay_of_another_ca(ca: str, tmp_path: Path) -> None:
    relay = RelayDouble(tmp_path / "pair.pem", login=True)
    other = certificates.make_authority()["certificate"]
    with serving(relay), pytest.raises(ways.WayError, match="certificate does not hold"):
        ways.mail(relay_of(relay, tls="starttls", ca=other, user=USER, password=PASSWORD), MESSAGE)
    assert not relay.taken and not [each for each in relay.in_clear if "AUTH" in each.upper()]


def test_what_a_relay_refuses_is_said() -> None:
    relay = RelayDouble()
    with serving(relay):
        relay.refused = set(PEOPLE)
        with pytest.raises(ways.WayError, match=r"\Athe relay refuses every recipient \(550\)\Z"):
            ways.mail(relay_of(relay), MESSAGE)
        assert not relay.taken
        relay.refused = {PEOPLE[1]}
        with pytest.raises(ways.WayError, match=r"\Apartly: the relay refused 1 of 2 recipients"):
            ways.mail(relay_of(relay), MESSAGE)
        assert [people for people, _ in relay.taken] == [[PEOPLE[0]]]
    with pytest.raises(ways.WayError, match=r"\Athe relay: connection refused\Z"):
        ways.mail(relay_of(relay), MESSAGE)


def test_a_wrong_password_is_said_without_it(ca: str, tmp_path: Path) -> None:
    relay = RelayDouble(tmp_path / "pair.pem", login=True)
    settings = relay_of(relay, tls="starttls", ca=ca, user=USER, password="wrong-5b20")
    with serving(relay), pytest.raises(ways.WayError) as error:
        ways.mail(settings, MESSAGE)
    assert str(error.value) == "the relay refuses the login"


def test_webhook_gets_the_alert_and_its_token(hook: Hook, ca: str) -> None:
    ways.webhook(hook_of(hook, ca), MESSAGE)
    ((path, headers, body),) = hook.taken
    assert path == "/alerts" and headers["Authorization"] == TOKEN
    assert headers["Content-Type"] == "application/json"
    assert body == MESSAGE
    (alert,) = body["alerts"]
    assert (alert["change"], alert["alert"], alert["severity"]) == (
        *("began", "service_down"),
        "critical",
    )


@pytest.mark.parametrize("status", [400, 401, 500])
def test_webhook_that_is_refused_is_said(hook: Hook, ca: str, status: int) -> None:
    hook.status = status
    with pytest.raises(ways.WayError, match=rf"\Athe receiver answers HTTP {status}\Z"):
        ways.webhook(hook_of(hook, ca), MESSAGE)


def test_webhook_takes_its_token_nowhere_else(hook: Hook, ca: str) -> None:
    hook.status, hook.elsewhere = 307, f"{hook.url}/elsewhere"
    with pytest.raises(ways.WayError, match="HTTP 307"):
        ways.webhook(hook_of(hook, ca), MESSAGE)
    assert [path for path, _, _ in hook.taken] == ["/alerts"]


def test_webhook_of_another_ca_gets_nothing(hook: Hook) -> None:
    other = str(certificates.make_authority()["certificate"])
    with pytest.raises(ways.WayError, match="certificate does not hold"):
        ways.webhook(hook_of(hook, other), MESSAGE)
    assert not hook.taken


def test_webhook_goes_by_the_sites_proxy_or_past_it(hook: Hook, ca: str) -> None:
    proxy = {"proxy": "http://user:secret@127.0.0.1:9"}
    with pytest.raises(ways.WayError, match=r"\Athe receiver: connection refused\Z"):
        ways.webhook(hook_of(hook, ca, **proxy), MESSAGE)
    assert not hook.taken
    ways.webhook(hook_of(hook, ca, **proxy, no_proxy=["127.0.0.0/8"]), MESSAGE)
    assert len(hook.taken) == 1


@pytest.mark.parametrize(
    ("host", "names", "direct"),
    [
        ("hook.hospital.example", [".hospital.example"], True),
        ("hook.hospital.example", ["hospital.example"], True),
        ("HOOK.hospital.example", ["hook.HOSPITAL.example"], True),
        ("otherhospital.example", ["hospital.example"], False),
        ("10.1.2.3", ["10.1.0.0/16"], True),
        ("10.2.2.3", ["10.1.0.0/16", "hospital.example"], False),
        ("hook.example", ["*"], True),
        ("hook.example", [], False),
    ],
)
def test_who_is_reached_without_the_proxy(host: str, names: list[str], direct: bool) -> None:
    assert ways.without_proxy(host, names) is direct


def test_command_gets_the_alert_on_standard_input(tmp_path: Path) -> None:
    got = tmp_path / "got.json"
    page = program(tmp_path / "page", f'echo "$1" > {tmp_path}/argument; cat > {got}')
    ways.command({"arguments": [page, "a b; $HOME"]}, MESSAGE)
    assert json.loads(got.read_text()) == MESSAGE
    assert (tmp_path / "argument").read_text() == "a b; $HOME\n"


def test_command_that_fails_is_said_and_its_words_are_not(tmp_path: Path) -> None:
    page = program(tmp_path / "page", "echo DOE^JANE; echo DOE^JANE >&2; exit 3")
    with pytest.raises(ways.WayError, match=r"\Athe program ended with code 3\Z"):
        ways.command({"arguments": [page]}, MESSAGE)
    missing = r"\Athe program cannot be started \(No such file or directory\)\Z"
    with pytest.raises(ways.WayError, match=missing):
        ways.command({"arguments": [str(tmp_path / "none")]}, MESSAGE)


def test_all_ways_are_tried_by_processes_that_hold_no_secret(
    hook: Hook, ca: str, tmp_path: Path
) -> None:
    """The command, which runs beside them, sees what everybody on the machine may see."""
    look = "cat > /dev/null; sleep 0.3; cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    page = program(tmp_path / "page", f"({look}) > {tmp_path}/seen 2>/dev/null; exit 0")
    relay = RelayDouble(tmp_path / "pair.pem", login=True)
    relay.silent.set()
    mail = relay_of(relay, tls="starttls", ca=ca, user=USER, password=PASSWORD)
    with serving(relay):
        outcome = notify.send(
            {
                "command": ({"arguments": [page]}, MESSAGE),
                "mail": (mail, MESSAGE),
                "webhook": (hook_of(hook, ca), MESSAGE),
            }
        )
    assert (outcome["command"], outcome["webhook"]) == ("", "")
    assert outcome["mail"] == "the relay does not speak SMTP, or broke off"
    seen = (tmp_path / "seen").read_text(errors="replace")
    assert "node_status.ways" in seen
    assert not [each for each in (PASSWORD, TOKEN, "hook-7d03ce5518", hook.url) if each in seen]


def test_a_way_that_hangs_is_ended_with_all_that_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(notify, "WAY_SECONDS", 1.5)
    page = program(tmp_path / "page", f"sleep 61 & echo $! > {tmp_path}/child; wait")
    began = time.monotonic()
    outcome = notify.send({"command": ({"arguments": [page]}, MESSAGE)})
    assert outcome["command"].startswith("no end within")
    assert time.monotonic() - began < 20
    child = Path("/proc") / (tmp_path / "child").read_text().strip()
    deadline = time.monotonic() + 10
    while child.exists() and "Z (" not in (child / "status").read_text():
        assert time.monotonic() < deadline, "the command's child still runs"
        time.sleep(0.05)
