"""An account with a clock and a KeyDB of the test's own, and what happens to objects."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import (
    UID_KEY_PLACEHOLDER,
    ScriptOptions,
    anonymizer_script,
)
from ctp_rules.names import Named
from study_account import uids
from study_account.account import Account, Quarantined, Sender
from study_account.identity import Identity

KEY = "5a" * 32
HASHES = b"@hashuid(2.25,this,0012FFF0)"
SCRIPT = anonymizer_script(ScriptOptions()).replace(UID_KEY_PLACEHOLDER, KEY).encode()
LEAVING = uids.read(SCRIPT)
PATIENT, STUDY, SERIES = "HOSP:4711", "1.2.3.1", "1.2.3.1.1"


def mapped(uid: str) -> str:
    """What CTP makes of a UID: the decimal MD5 of it and of what the key's script gives."""
    digest = hashlib.md5(f"{uid}{KEY}@remove()".encode(), usedforsecurity=False).hexdigest()
    return f"2.25.{int(digest, 16)}"


class Node:
    """An account with a clock and a KeyDB of the test's own; what happens to objects, by number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = {(PATIENT, ""): "TRIAL-1"}
        self.idle = False
        self.account = self.open()
        self.in_quarantine: dict[int, tuple[str, float]] = {}

    def open(self, days: float = 90) -> Account:
        self.account = Account(
            self.path,
            LEAVING,
            bytes.fromhex(KEY),
            lambda patient, issuer: self.known.get((patient, issuer), ""),
            lambda patient: [name for key, name in self.known.items() if key[0] == patient],
            lambda: self.idle,
            quiet_seconds=300,
            keep_seconds=days * 86400,
        )
        return self.account

    def of(
        self, number: int, series: str = SERIES, patient: str = PATIENT, **more: Any
    ) -> Identity:
        return Identity(f"9.9.{number}", STUDY, series, patient, **more)

    def send(self, *numbers: int, status: int = 0, **more: Any) -> None:
        """One association, from its beginning to an end in order."""
        sender = self.account.sender()
        for number in numbers:
            self.one(sender, number, status, **more)
        sender.ended(None, released=True)

    def one(self, sender: Sender, number: int, status: int = 0, **more: Any) -> None:
        sender.came(number, self.of(number, **more))
        sender.answered(number, status)

    def leave(self, *numbers: int, series: str = SERIES, pseudonym: str = "TRIAL-1") -> None:
        for number in numbers:
            self.account.left(mapped(f"9.9.{number}"), mapped(STUDY), mapped(series), pseudonym)

    def hold(self, reason: str, *numbers: int, series: str = SERIES) -> None:
        self.in_quarantine |= {number: (reason, time.time()) for number in numbers}
        self.look(series=series)

    def look(self, series: str = SERIES, looked: float | None = None) -> None:
        self.account.quarantine(
            [self.file(number, series) for number in self.in_quarantine], looked
        )

    def file(self, number: int, series: str = SERIES) -> Quarantined:
        reason, arrived = self.in_quarantine[number]
        return Quarantined(f"9.9.{number}", STUDY, series, reason, arrived)

    def later(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 400) -> None:
        now = time.time() + seconds
        monkeypatch.setattr(time, "time", lambda: now)

    def study(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = self.account.ask(identifier=STUDY)["studies"]
        assert len(found) == 1
        return found[0]

    def counts(self) -> dict[str, Any]:
        study = self.study()
        names = ("received", "left", "waiting", "held", "broken", "deleted", "gone")
        return {name: study[name] for name in names if study[name]}


def renamed(*names: tuple[str, str, str]) -> list[Named]:
    return [Named((0x30060020, place, 0x30060026), *each) for place, each in enumerate(names)]
