"""Alerts reach a person by each way, and wait while a maintenance is announced."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest
from conftest import Sent, Shown, cleared, raised, sample
from inbox import PAGES, PASSWORD, PEOPLE, TOKEN, Inbox, set_up
from shared.documented import command
from shared.machines import Machine, Node, Scenario, wait_for

SETTINGS = "/etc/auscat/notify.json"
DEPLOY = ("playbooks/site.yml", "--tags", "status", "--limit", "kv")


@pytest.fixture(scope="module")
def inbox(
    scenario: Scenario,
    pacs: Machine,
    kv: Node,
    sent: Sent,
    tmp_path_factory: pytest.TempPathFactory,
) -> Inbox:
    """The receivers, of whom the machine knows, and who have heard of the quarantine."""
    made = set_up(pacs, kv, tmp_path_factory.mktemp("inbox"))
    outcome = scenario.play(*DEPLOY, extra=made.variables())
    assert outcome.returncode == 0, outcome.errors
    assert not [each for each in (PASSWORD, TOKEN) if each in outcome.text]
    sample(kv)
    wait_for("each has heard", lambda: made.letters() and made.hooks() and made.pages())
    made.empty()
    return made


def unguard(kv: Node) -> None:
    """Cause an alert: the table of the firewall, on a network of test hosts."""
    kv.run("nft", "delete", "table", "inet", "auscat")
    raised(kv, "firewall_missing", "critical")


def guard(kv: Node) -> None:
    kv.run("nft", "--file", "/etc/auscat/firewall.nft")
    cleared(kv, "firewall_missing", "critical")
    # Once is not the end of an alert.
    sample(kv)


def became(messages: list[dict[str, Any]], name: str = "firewall_missing") -> list[str]:
    """What messages say that became of an alert."""
    return [each["change"] for text in messages for each in text["alerts"] if each["alert"] == name]


def letters(inbox: Inbox, name: str = "firewall_missing") -> list[EmailMessage]:
    """The mails that speak of an alert."""
    return [each for each in inbox.letters() if name in each.get_content()]


def bodies(inbox: Inbox) -> list[dict[str, Any]]:
    return [json.loads(each["body"]) for each in inbox.hooks()]


def test_what_is_secret_is_for_root_alone(inbox: Inbox, kv: Node, scenario: Scenario) -> None:
    assert kv.output("stat", "--format=%a %U", SETTINGS) == "600 root"
    given = kv.json("cat", SETTINGS)["ways"]
    assert given["mail"]["password"] == PASSWORD
    # What is looked for comes by standard input, so that it stands in no command line itself.
    script = f"""
        umask 077; cat > {SETTINGS}.sought
        (cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'
         find /etc /run /var/lib/auscat /var/lib/auscat-metrics /usr/local -type f -size -4096 \\
             ! -path '{SETTINGS}*' -exec cat {{}} + 2>/dev/null
         journalctl --no-pager) | grep -a -c -F -f {SETTINGS}.sought || true
        rm {SETTINGS}.sought
        """
    assert kv.shell(script, stdin=f"{PASSWORD}\n{TOKEN}\n") == "0"
    # And what is sought would be found.
    assert kv.shell(f"grep -c -F {SETTINGS} /etc/auscat/status.json") == "1"
    again = scenario.play(*DEPLOY, extra=inbox.variables())
    assert (again.returncode, again.changed) == (0, 0), again.changed_tasks


def test_a_test_message_reaches_each(inbox: Inbox, show: Callable[..., Shown]) -> None:
    # cat has nobody to tell, which is said.
    shown = show(status_notify_test=True, **inbox.variables())
    for way in ("command", "mail", "webhook"):
        assert f"kv: a test message was sent, {way}" in shown.text
    assert shown.returncode != 0 and "cat: nobody is told of alerts there" in shown.errors
    (letter,) = wait_for("the mail is there", inbox.letters)
    assert letter["Subject"] == "[kv (simulation)] a test message"
    assert letter["From"] == "node@hospital.example" and letter["To"] == ", ".join(PEOPLE)
    (hook,) = inbox.hooks()
    assert (hook["path"], hook["headers"]["Authorization"]) == ("/alerts", f"Bearer {TOKEN}")
    assert [json.loads(hook["body"])["kind"], inbox.pages()[0]["kind"]] == ["test", "test"]
    assert not [each for each in (PASSWORD, TOKEN) if each in shown.text]
    inbox.empty()


def test_people_are_told_once_that_it_began_and_ended(inbox: Inbox, kv: Node) -> None:
    unguard(kv)
    (letter,) = wait_for("the mail is there", lambda: letters(inbox))
    assert "CRITICAL" in letter["Subject"]
    assert "The table inet auscat is not loaded." in letter.get_content()
    assert "site.yml --tags firewall" in letter.get_content()
    for _ in range(3):
        sample(kv)
    assert became(bodies(inbox)) == became(inbox.pages()) == ["began"]
    assert len(letters(inbox)) == 1
    guard(kv)
    for _ in range(2):
        sample(kv)
    assert became(bodies(inbox)) == became(inbox.pages()) == ["began", "ended"]
    wait_for("the second mail is there", lambda: len(letters(inbox)) == 2)
    inbox.empty()


def test_a_way_that_fails_is_told_by_the_others(inbox: Inbox, kv: Node, scenario: Scenario) -> None:
    inbox.stop_mail()
    unguard(kv)
    raised(kv, "notify_failed", "warning")
    wait_for("the others are told", lambda: sample(kv) and became(bodies(inbox), "notify_failed"))
    assert became(bodies(inbox)) == became(inbox.pages()) == ["began"]
    tries = "journalctl --no-pager -u auscat-status -o cat | grep -c 'notify: mail: failed' || true"
    before = int(kv.shell(tries))
    for _ in range(4):
        sample(kv)
    # Not at each sample: five minutes have to pass, then ever more.
    assert int(kv.shell(tries)) - before <= 1
    inbox.start_mail()
    # As an operator does who has set it right.
    sent = scenario.play(
        *("playbooks/status.yml", "--limit", "kv"),
        extra={"status_notify_test": True, **inbox.variables()},
    )
    assert sent.returncode == 0, sent.errors
    cleared(kv, "notify_failed", "warning")
    (late,) = wait_for("the mail is there", lambda: letters(inbox))
    assert "no message got through by this way" in late.get_content()
    guard(kv)
    wait_for("they are told of its end", lambda: sample(kv) and "ended" in became(bodies(inbox)))
    inbox.empty()


def test_maintenance_is_silent_until_its_end(
    inbox: Inbox, kv: Node, scenario: Scenario, show: Callable[..., Shown]
) -> None:
    announced = scenario.play(*command("docs/status.md", "-e maintenance=2h"))
    assert (announced.returncode, announced.changed) == (0, 0), announced.errors
    assert "kv: no messages of alerts until 20" in announced.text
    inbox.empty()
    unguard(kv)
    sample(kv)
    assert inbox.letters() == inbox.hooks() == inbox.pages() == []
    for node in ("kv", "cat"):
        row = rf"(?m)^{node} +maintenance +ok +announced until 20\d\d-"
        assert re.search(row, show(**inbox.variables()).table)
    over = scenario.play(*command("docs/status.md", "-e maintenance=end"))
    assert over.returncode == 0, over.errors
    sample(kv)
    assert became(bodies(inbox)) == became(inbox.pages()) == ["began"]
    wait_for("the mail is there", lambda: letters(inbox))
    guard(kv)


def test_maintenance_of_one_machine_is_no_other_ones(
    scenario: Scenario,
) -> None:
    documented = command("docs/status.md", "-e maintenance=90m", {"kv01": "kv"})
    announced = scenario.play(*documented)
    assert (announced.returncode, announced.changed) == (0, 0), announced.errors
    assert "kv: no messages of alerts until 20" in announced.text
    assert "cat: no messages of alerts" not in announced.text
    over = scenario.play("playbooks/maintenance.yml", "--limit", "kv", extra={"maintenance": "end"})
    assert over.returncode == 0, over.errors


@pytest.mark.parametrize("maintenance", ["tomorrow", "15d"])
def test_maintenance_without_an_end_is_refused(scenario: Scenario, maintenance: str) -> None:
    outcome = scenario.play("playbooks/maintenance.yml", extra={"maintenance": maintenance})
    assert outcome.returncode != 0 and outcome.changed == 0
    assert f"maintenance is '{maintenance}'. Accepted: a time from now on" in outcome.errors


def test_no_message_identifies_anybody(inbox: Inbox, kv: Node, sent: Sent) -> None:
    """With objects in quarantine, and all that is raised told anew."""
    kv.run("rm", "-f", "/var/lib/auscat/status/notify.json")
    inbox.empty()
    sample(kv)
    wait_for("the mail is there", inbox.letters)
    assert "quarantine_not_empty" in str(bodies(inbox))
    passwords = [
        *kv.variables["orthanc_registered_users"].values(),
        *(kv.variables[f"{name}_password"] for name in ("keydb", "keydb_ctp", "ctp_admin")),
        *(PASSWORD, TOKEN),
    ]
    texts = [
        *(each.as_string() + each.get_content() for each in inbox.letters()),
        *(each["body"] for each in inbox.hooks()),
        kv.shell(f"cat {PAGES}/* /var/lib/auscat/status/notify.json"),
        kv.output("journalctl", "--no-pager", "--unit=auscat-status", "--output=cat"),
    ]
    words = [*sent.marks(), *passwords]
    assert not [(word, text) for text in texts for word in words if word in text]


def test_off_takes_the_secrets_away(inbox: Inbox, kv: Node, scenario: Scenario) -> None:
    outcome = scenario.play(*DEPLOY)
    assert outcome.returncode == 0, outcome.errors
    assert not kv.host.file(SETTINGS).exists
    inbox.empty()
    sample(kv)
    assert inbox.letters() == inbox.hooks() == inbox.pages() == []
