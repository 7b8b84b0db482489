"""Who is told of alerts: Exim from Debian and a receiver of webhooks on a neighbour, a program."""

from __future__ import annotations

import email
import email.policy
import json
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.inventory import certificates
from shared.machines import Machine, Node, wait_for

FILES = Path(__file__).resolve().parents[1] / "inbox"
THERE = "/srv/inbox"
PAGES = "/srv/pages"
PROGRAM = "/usr/local/sbin/page-duty"
PEOPLE = ["duty@hospital.example", "second@hospital.example"]
PASSWORD, TOKEN = "relay-of-the-hospital-4b1f9d27", "hook-of-the-hospital-7d03ce55"


@dataclass(frozen=True)
class Inbox:
    """Three receivers: on `machine` mail and webhooks, on `node` the program that it runs."""

    machine: Machine
    node: Node
    ca: Path

    def variables(self) -> dict[str, Any]:
        """What an inventory says to have these people told."""
        return {
            "auscat_notify": {
                "command": [PROGRAM, "of the night"],
                "mail": {
                    **{"host": self.machine.address, "port": 587, "user": "node"},
                    **{"from": "node@hospital.example", "to": PEOPLE, "ca_file": str(self.ca)},
                },
                "webhook": {
                    "url": f"https://{self.machine.address}:8443/alerts",
                    "ca_file": str(self.ca),
                },
            },
            "auscat_notify_mail_password": PASSWORD,
            "auscat_notify_webhook_headers": {"Authorization": f"Bearer {TOKEN}"},
        }

    def letters(self) -> list[EmailMessage]:
        """The mails that came, one for each message."""
        text = self.machine.shell(
            f"find {THERE}/mail/new -type f | sort | while read -r each; do "
            'cat "$each"; printf "\\0"; done'
        )
        found = []
        for each in text.split("\0"):
            if each.strip():
                letter = email.message_from_string(each.lstrip(), policy=email.policy.default)
                assert isinstance(letter, EmailMessage)
                found.append(letter)
        return found

    def hooks(self) -> list[dict[str, Any]]:
        """The webhooks that came: path, headers, body."""
        return self._files(self.machine, f"{THERE}/hook")

    def pages(self) -> list[dict[str, Any]]:
        """What the program was given on standard input."""
        return self._files(self.node, PAGES)

    def _files(self, machine: Machine, directory: str) -> list[dict[str, Any]]:
        script = f"cd {directory}; for each in $(ls | sort); do cat $each; echo; done"
        return [json.loads(line) for line in machine.shell(script).splitlines() if line.strip()]

    def empty(self) -> None:
        """Throw away what came."""
        self.machine.shell(f"rm -rf {THERE}/mail/new/* {THERE}/hook/*")
        self.node.shell(f"rm -f {PAGES}/*")

    def start_mail(self) -> None:
        """Start Exim as it was set up."""
        self.machine.run("exim4", "-bd")
        wait_for("Exim listens", lambda: self.machine.connects("127.0.0.1", 587))

    def stop_mail(self) -> None:
        """End Exim."""
        self.machine.run("pkill", "-x", "exim4")
        wait_for("Exim is away", lambda: not self.machine.connects("127.0.0.1", 587))


def set_up(machine: Machine, node: Node, directory: Path) -> Inbox:
    """Make a machine the hospital's relay and receiver of webhooks.

    Args:
        machine: a Debian; its packages are installed.
        node: where the program is put that alerts are handed to.
        directory: an empty one of this machine.
    """
    if machine.run("test", "-e", "/usr/sbin/exim4", check=False).returncode:
        machine.shell(
            r"""
            printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
            chmod 0755 /usr/sbin/policy-rc.d
            apt-get update -qq
            DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
                exim4-daemon-light
            rm /usr/sbin/policy-rc.d
            """,
            timeout=600,
        )
    authority = certificates.make_authority()
    pair = certificates.issue(authority, (machine.address,))
    for name, text in (
        ("ca.pem", authority["certificate"]),
        ("tls.crt", pair["certificate"]),
        ("tls.key", pair["key"]),
        ("password", PASSWORD),
        ("answer", "200"),
    ):
        (directory / name).write_text(text)
    machine.shell(
        f"""
        [ ! -e {THERE}/pid ] || kill $(cat {THERE}/pid) || true
        rm -rf {THERE}
        mkdir -p {THERE}/hook {THERE}/mail/new {THERE}/mail/cur {THERE}/mail/tmp
        """
    )
    for name in ("tls.crt", "tls.key", "password", "answer"):
        machine.put(directory / name, THERE)
    machine.put(FILES / "hook.py", THERE)
    machine.put(FILES / "exim4.conf", "/etc/exim4/exim4.conf")
    machine.shell(
        f"""
        chown -R root:Debian-exim {THERE}; chmod 0640 {THERE}/tls.key {THERE}/password
        chown -R Debian-exim {THERE}/mail
        chown root:root /etc/exim4/exim4.conf; chmod 0644 /etc/exim4/exim4.conf
        pkill -x exim4 || true
        setsid python3 {THERE}/hook.py > {THERE}/hook.log 2>&1 < /dev/null &
        """
    )
    node.shell(
        f"""
        mkdir -p {PAGES}
        cat > {PROGRAM}; chmod 0755 {PROGRAM}
        """,
        stdin=f'#!/bin/sh\n[ "$1" = "of the night" ] && cat > {PAGES}/$(date +%s%N)\n',
    )
    inbox = Inbox(machine, node, directory / "ca.pem")
    inbox.start_mail()
    wait_for("the receiver of webhooks listens", lambda: machine.connects("127.0.0.1", 8443))
    return inbox
