"""The account with a real SQLite file: what each object becomes, and what is said of its study."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine import (
    NEXT_STEPS,
    RELEASE_CURES,
)
from ansible_collections.auscat.imaging.plugins.module_utils.ctp.script import (
    UID_KEY_PLACEHOLDER,
    ScriptOptions,
    anonymizer_script,
)
from ctp_rules import script
from ctp_rules.anonymizer import Anonymizer
from ctp_rules.names import Named
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from study_account import account as account_module
from study_account import uids, verdict
from study_account.account import Account, Quarantined, Sender
from study_account.identity import Identity
from study_account.ledger import HELD, Ledger, SeriesRow

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


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    found = Node(tmp_path / "account.sqlite")
    yield found
    found.account.stop()


@pytest.mark.parametrize(
    "uid",
    ["1.2.3", "1.2.840.113619.2.55.3.604688119.971.1276243321.9", "1.2.840.10008.7.7", "no UID"],
)
def test_uids_are_those_that_the_script_makes(uid: str) -> None:
    """Beside the reading of the whole script that the stand-in carries out."""
    source = Dataset()
    source.SOPClassUID, source.Modality = CTImageStorage, "CT"
    source.PatientID = PATIENT
    source.SOPInstanceUID = source.StudyInstanceUID = source.SeriesInstanceUID = uid
    made = Anonymizer(script.parse(SCRIPT)).run(source, lambda kind, key: "TRIAL-1").dataset
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        assert LEAVING.of(uid) == str(made.get(keyword) or ""), keyword
    if uid == "1.2.3":
        assert LEAVING.of(uid) == mapped(uid)
    assert LEAVING.of("") == ""


@pytest.mark.parametrize(
    ("changed", "to"),
    [
        (HASHES, b"@keep()"),
        (HASHES, HASHES.replace(b"this", b"PatientID")),
        (b't="0020000d"', b't="0020000f"'),
        (b"<script>", b"<script"),
    ],
)
def test_a_script_that_does_not_hash_uids_is_refused(changed: bytes, to: bytes) -> None:
    assert changed in SCRIPT
    with pytest.raises(uids.RuleError, match="script"):
        uids.read(SCRIPT.replace(changed, to))


def test_a_study_is_complete_when_all_of_it_left_and_nobody_sends(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(1, 2)
    assert node.counts() == {"received": 2, "waiting": 2}
    node.leave(1, 2)
    study = node.study()
    assert (study["state"], study["complete"], study["pseudonyms"]) == (
        "arriving",
        False,
        ["TRIAL-1"],
    )
    node.later(monkeypatch)
    study = node.study()
    assert (study["state"], study["complete"], study["missing"]) == ("complete", True, [])
    assert study["study"] == mapped(STUDY)
    assert [each["uid"] for each in study["series"]] == [mapped(SERIES)]


def test_an_open_association_keeps_its_series_arriving(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = node.account.sender()
    node.one(sender, 1)
    node.leave(1)
    node.later(monkeypatch, 100_000)
    assert node.study()["state"] == "arriving"
    sender.ended(None, released=True)
    assert node.study()["state"] == "complete"


@pytest.mark.parametrize("cut", ["in an object", "between two", "unanswered"])
def test_what_broke_off_is_not_complete_until_it_is_sent_again(
    node: Node, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = node.account.sender()
    node.one(sender, 1)
    if cut == "unanswered":
        sender.came(2, node.of(2))
    sender.ended(node.of(2) if cut == "in an object" else None, released=False)
    node.leave(1)
    node.later(monkeypatch, 100_000)
    study = node.study()
    (missing,) = study["series"][0]["missing"]
    assert study["state"] == "broken off" and "send" in missing["todo"]
    assert missing["what"] == ("perhaps more objects" if cut == "between two" else "1 object")
    assert study["received"] == 1
    node.send(1, 2)
    node.leave(1, 2)
    node.later(monkeypatch)
    assert node.study()["complete"]
    assert node.counts() == {"received": 2, "left": 2}


def test_an_object_that_broke_off_before_its_series_was_known_leaves_a_doubt(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = node.account.sender()
    node.one(sender, 1)
    sender.ended(Identity("9.9.2"), released=False)
    node.leave(1)
    node.later(monkeypatch)
    assert node.study()["state"] == "broken off"
    node.send(1, 2)
    node.leave(1, 2)
    node.later(monkeypatch)
    assert node.study()["complete"]


def test_an_end_in_order_says_nothing_of_another_association(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some send one series over several at a time."""
    first, second = node.account.sender(), node.account.sender()
    node.one(first, 1)
    node.one(second, 2)
    second.ended(None, released=False)
    node.one(first, 3)
    first.ended(None, released=True)
    node.leave(1, 2, 3)
    node.later(monkeypatch)
    assert node.study()["state"] == "broken off"
    third, fourth = node.account.sender(), node.account.sender()
    node.one(third, 1)
    node.one(fourth, 2)
    third.ended(None, released=True)
    node.later(monkeypatch)
    assert node.study()["state"] == "arriving"
    fourth.ended(None, released=True)
    node.leave(1, 2)
    node.later(monkeypatch)
    assert node.study()["complete"]


def test_what_is_sent_again_beside_an_older_association_is_whole(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, cut = node.account.sender(), node.account.sender()
    node.one(older, 1)
    node.one(cut, 2)
    cut.ended(None, released=False)
    node.send(1, 2)
    older.ended(None, released=True)
    node.leave(1, 2)
    node.later(monkeypatch)
    assert node.study()["complete"]


def test_a_kill_while_another_association_is_open_leaves_a_doubt(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = node.account.sender(), node.account.sender()
    node.one(first, 1)
    node.one(second, 2)
    first.ended(None, released=True)
    node.account.flush()
    node.open()  # the one before never learns of the end of the second
    node.leave(1, 2)
    node.later(monkeypatch)
    assert node.study()["state"] == "broken off"


def test_an_object_whose_sender_was_told_no_is_missing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(1)
    node.send(2, status=0xC001)
    node.leave(1)
    node.later(monkeypatch)
    assert node.study()["state"] == "broken off"
    assert node.counts() == {"received": 1, "left": 1, "broken": 1}


def test_held_released_and_held_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.send(1, 2, 3)
    node.leave(1)
    node.hold("unknown-patient", 2)
    node.hold("incomplete", 3)
    assert node.counts() == {
        "received": 3,
        "left": 1,
        "held": {"incomplete": 1, "unknown-patient": 1},
    }
    study = node.study()
    assert study["state"] == "held back"
    assert [each["why"] for each in study["series"][0]["missing"]] == [
        "in quarantine: incomplete",
        "in quarantine: unknown-patient",
    ]
    node.hold("known-patient", 2)  # loaded meanwhile: the same file for another reason
    assert node.counts()["held"] == {"incomplete": 1, "known-patient": 1}
    del node.in_quarantine[2]  # released
    node.look()
    assert node.counts() == {"received": 3, "left": 1, "waiting": 1, "held": {"incomplete": 1}}
    node.later(monkeypatch, 10)
    node.hold("known-patient", 2)
    assert node.counts()["held"] == {"incomplete": 1, "known-patient": 1}
    del node.in_quarantine[2]
    node.look()
    node.leave(2)
    assert node.counts() == {"received": 3, "left": 2, "held": {"incomplete": 1}}


def test_a_later_copy_that_left_counts_and_the_older_one_does_not(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(1)
    node.hold("unknown-patient", 1)
    node.later(monkeypatch, 60)
    node.send(1)
    node.leave(1)
    node.look()
    assert node.counts() == {"received": 1, "left": 1}
    node.account.stop()
    node.open()  # and the file is still there
    node.look()
    assert node.counts() == {"received": 1, "left": 1}
    node.later(monkeypatch, 60)
    node.send(1)  # a third one, which is held back again
    node.hold("other-issuer", 1)
    assert node.counts() == {"received": 1, "held": {"other-issuer": 1}}


def test_removed_from_quarantine_is_said_and_is_nobodys_task(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(1, 2, 3)
    node.leave(1)
    node.hold("incomplete", 2, 3)
    file = node.file(2)
    node.account.removing(file)
    del node.in_quarantine[2]
    node.look()  # in the moment before the removal is noted
    node.account.removed(file)
    node.account.removing(node.file(3))  # on CTP's own page
    del node.in_quarantine[3]
    node.look()
    node.later(monkeypatch)
    assert node.counts() == {"received": 3, "left": 1, "deleted": 2}
    study = node.study()
    assert (study["state"], study["complete"]) == ("deleted", False)
    for _ in range(2):
        summary = node.account.summary()
        assert {
            name: summary[name] for name in ("studies", "complete", "deleted", "incomplete")
        } == {
            "studies": 1,
            "complete": 0,
            "deleted": 1,
            "incomplete": 0,
        }
        node.account.care()
        node.account._shown = None


def test_seen_in_quarantine_before_its_sender_was_told(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = node.account.sender()
    sender.came(1, node.of(1))
    node.hold("burned-in-annotation", 1)
    sender.answered(1, 0)
    sender.ended(None, released=True)
    node.look()
    assert node.counts() == {"received": 1, "held": {"burned-in-annotation": 1}}
    file = node.file(1)
    del node.in_quarantine[1]
    node.later(monkeypatch, 5)
    node.account.removed(file)
    node.look()
    node.idle = True
    node.later(monkeypatch)
    assert node.counts() == {"received": 1, "deleted": 1}


def test_what_lies_in_quarantine_is_not_called_removed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(1, 2)
    node.hold("incomplete", 1, 2)
    # There are two files of the first, since it was sent twice: one is removed.
    looked = time.monotonic()
    node.account.removed(node.file(1))
    node.account.flush()
    node.look(looked=looked)  # as it was seen before
    node.account.quarantine([], looked=looked - 1)  # and by another thread before that
    assert node.counts() == {"received": 2, "held": {"incomplete": 1}, "deleted": 1}
    node.later(monkeypatch, 10)
    node.hold("incomplete", 1)  # as it is seen with the other file
    assert node.counts() == {"received": 2, "held": {"incomplete": 2}}
    # About to be removed on CTP's page, but released, and back again.
    node.account.removing(node.file(2))
    node.account.released(node.file(2))
    del node.in_quarantine[2]
    node.look()
    assert node.counts() == {"received": 2, "held": {"incomplete": 1}, "waiting": 1}
    node.later(monkeypatch, 10)
    node.hold("other-issuer", 2)
    assert node.counts() == {"received": 2, "held": {"incomplete": 1, "other-issuer": 1}}
    assert node.study()["state"] == "held back"


def test_one_uid_in_two_studies_is_two_objects(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites move objects to another study and send them again under the same UID."""
    other, series = "1.2.3.9", "1.2.3.9.1"

    def state(study: str) -> tuple[str, int, int]:
        (found,) = node.account.ask(identifier=study)["studies"]
        return found["state"], found["received"], found["left"]

    def look() -> None:
        node.account.quarantine(
            [Quarantined("9.9.1", *each, "incomplete", time.time()) for each in held]
        )

    held = [(STUDY, SERIES)]
    node.send(1, 2)
    node.leave(2)
    look()
    sender = node.account.sender()
    sender.came(1, Identity("9.9.1", other, series, PATIENT))
    sender.answered(1, 0)
    sender.ended(None, released=True)
    node.account.left(mapped("9.9.1"), mapped(other), mapped(series), "TRIAL-1")
    node.later(monkeypatch)
    look()
    assert (state(STUDY), state(other)) == (("held back", 2, 1), ("complete", 1, 1))
    node.account.stop()
    node.open()
    look()
    assert (state(STUDY), state(other)) == (("held back", 2, 1), ("complete", 1, 1))
    # The first one is corrected, and the other comes again and is held back.
    held = [(other, series)]
    node.leave(1)
    sender = node.account.sender()
    sender.came(1, Identity("9.9.1", other, series, PATIENT))
    sender.answered(1, 0)
    sender.ended(None, released=True)
    node.later(monkeypatch)
    look()
    assert (state(STUDY), state(other)) == (("complete", 2, 2), ("held back", 1, 0))
    node.account.removed(Quarantined("9.9.1", other, series, "incomplete", time.time()))
    held = []
    look()
    node.later(monkeypatch)
    assert (state(STUDY), state(other)) == (("complete", 2, 2), ("deleted", 1, 0))


def test_what_could_not_be_placed_is_placed_later(node: Node) -> None:
    sender = node.account.sender()
    sender.came(1, Identity("9.9.1"))
    sender.ended(None, released=False)
    assert node.account.summary()["unplaced"] == 1
    node.send(1)
    assert node.counts() == {"received": 1, "waiting": 1}
    sender = node.account.sender()
    sender.ended(Identity("9.9.1"), released=False)  # and again less is known of it
    node.account.left(mapped("9.9.1"), "", "", "TRIAL-1")
    assert node.counts() == {"received": 1, "left": 1}
    assert node.study()["identifiers"] == 1
    node.account.removed(Quarantined("9.9.7", "1.2.7", "1.2.7.1", "x", 0.0))  # never heard of
    sender = node.account.sender()
    sender.ended(Identity("9.9.8", STUDY, "", PATIENT), released=False)
    node.send(8)
    (series,) = node.study()["series"]
    assert (series["uid"], series["received"]) == (mapped(SERIES), 2)
    node.account._shown = None
    summary = node.account.summary()
    assert (summary["unplaced"], summary["studies"]) == (0, 1)


def test_what_is_left_of_an_object_that_broke_off_is_no_object(node: Node) -> None:
    node.send(1)
    sender = node.account.sender()
    sender.ended(node.of(2), released=False)
    node.account.flush()
    node.hold("unreadable", 1, 2)
    assert node.counts() == {"received": 1, "held": {"unreadable": 1}, "broken": 1}


def test_what_is_nowhere_is_said_to_be_missing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.send(1, 2)
    node.leave(1)
    node.later(monkeypatch)
    assert node.study()["state"] == "waiting"
    node.idle = True
    study = node.study()
    assert study["state"] == "not found" and study["gone"] == 1
    assert "neither in Orthanc nor in quarantine" in study["series"][0]["missing"][0]["why"]
    node.leave(2)
    assert node.study()["complete"]


def test_a_clock_that_was_set_back(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came is later then than what is made of it."""
    node.send(1, 2, 3)
    node.account.flush()
    node.later(monkeypatch, -3600)
    node.leave(1)
    node.hold("incomplete", 2)
    node.idle = True
    study = node.study()
    assert (study["state"], study["left"], study["gone"]) == ("held back", 1, 1)
    assert study["held"] == {"incomplete": 1}
    node.leave(2, 3)
    assert node.study()["complete"]


def test_it_may_leave_before_its_sender_is_told(node: Node) -> None:
    sender = node.account.sender()
    sender.came(1, node.of(1))
    node.leave(1)
    sender.answered(1, 0)
    assert node.counts() == {"received": 1, "left": 1}
    sender.ended(None, released=True)


def test_what_the_sender_says_of_its_series(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.send(1, told=3)
    node.leave(1)
    node.later(monkeypatch)
    study = node.study()
    assert study["state"] == "announced"
    assert study["series"][0]["missing"][0]["what"] == "2 objects"


def test_an_object_whose_study_could_not_be_read_is_counted_apart(node: Node) -> None:
    sender = node.account.sender()
    sender.came(1, Identity("9.9.1"))
    sender.answered(1, 0)
    sender.ended(None, released=True)
    assert node.account.summary()["unplaced"] == 1
    assert node.account.summary()["studies"] == 0
    node.leave(1)
    assert node.counts() == {"received": 1, "left": 1}


def test_asked_by_identifier_and_by_pseudonym(node: Node) -> None:
    node.send(1)
    node.send(2, patient="HOSP:UNKNOWN", series="1.2.3.1.2")
    questions: list[dict[str, Any]] = [
        {"identifier": STUDY},
        {"study": mapped(STUDY)},
        {"identifier": PATIENT},
        {"identifier": "HOSP:UNKNOWN"},
        {"pseudonym": "TRIAL-1"},
    ]
    for question in questions:
        answer = node.account.ask(**question)
        assert [each["study"] for each in answer["studies"]] == [mapped(STUDY)], question
        assert "HOSP" not in str(answer) and "1.2.3" not in str(answer)
    for question in ({"identifier": "1.2.4"}, {"study": STUDY}, {"still": True}):
        assert node.account.ask(**question)["studies"] == []
    assert node.account.ask(pseudonym="TRIAL")["studies"] == []
    study = node.study()
    assert study["identifiers"] == 2 and "several identifiers" in study["missing"][0]["why"]
    assert node.account.summary()["mixed"] == 1


def test_another_pseudonym_is_not_called_another_identifier(node: Node) -> None:
    node.send(1)
    node.account.flush()
    node.known = {(PATIENT, ""): "TRIAL-2"}  # changed in KeyDB
    node.send(2)
    study = node.study()
    assert (study["identifiers"], study["pseudonyms"]) == (1, ["TRIAL-1", "TRIAL-2"])
    assert "several pseudonyms" in study["missing"][0]["why"]
    assert node.account.summary()["mixed"] == 0


def test_nothing_in_the_file_names_a_patient(node: Node) -> None:
    node.send(1)
    node.in_quarantine[1] = "unknown-patient", time.time()
    node.account.removing(node.file(1))
    events = b"".join(each.read_bytes() for each in node.path.parent.glob("*.events-*"))
    assert events and b"HOSP" not in events and STUDY.encode() not in events
    node.look()
    node.account.stop()
    written = b"".join(each.read_bytes() for each in node.path.parent.iterdir())
    for secret in (b"HOSP", b"4711", STUDY.encode(), SERIES.encode(), b"9.9.1", KEY.encode()):
        assert secret not in written
    assert b"TRIAL-1" in written and mapped(STUDY).encode() in written
    assert {stat.S_IMODE(each.stat().st_mode) for each in node.path.parent.iterdir()} == {0o600}
    node.open()


def renamed(*names: tuple[str, str, str]) -> list[Named]:
    return [Named((0x30060020, place, 0x30060026), *each) for place, each in enumerate(names)]


def test_the_custodian_sees_which_name_became_which(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(1, 2)
    names = renamed(("3", "Doe's node", "ROI 3"), ("9", "Körper", "ROI 9"))
    place = mapped("9.9.1"), mapped(STUDY), mapped(SERIES), "TRIAL-1"
    node.account.left(*place, renamed(("3", "an older name", "ROI 3")))
    node.account.left(*place, names)
    node.leave(2)
    told = [
        {"number": "3", "was": "Doe's node", "is": "ROI 3"},
        {"number": "9", "was": "Körper", "is": "ROI 9"},
    ]
    expected = {"series": mapped(SERIES), "object": mapped("9.9.1"), "names": told}
    for question in (
        *({"identifier": STUDY}, {"identifier": PATIENT}, {"pseudonym": "TRIAL-1"}),
        {"study": mapped(STUDY)},
    ):
        answer = node.account.names(**question)
        (study,) = answer["studies"]
        assert study["objects"] == [expected], question
        assert (study["pseudonyms"], answer["problem"], answer["more"]) == (["TRIAL-1"], "", 0)
    assert node.account.names(identifier="1.2.4")["studies"] == []
    shown = str(node.account.ask(identifier=STUDY)) + str(node.account.summary())
    assert "Doe" not in shown and "Körper" not in shown
    # A restart keeps them; they go with their study, and out of the file.
    node.account.stop()
    node.open()
    assert node.account.names(study=mapped(STUDY))["studies"][0]["objects"] == [expected]
    node.later(monkeypatch)
    node.account.care()
    node.later(monkeypatch, 91 * 86400)
    node.account.care()
    assert node.account.names(study=mapped(STUDY))["studies"] == []
    node.account.stop()
    assert stat.S_IMODE(node.path.stat().st_mode) == 0o600
    assert b"Doe's node" not in node.path.read_bytes()


def test_a_ledger_of_before_takes_names(node: Node) -> None:
    node.send(1)
    node.account.stop()
    with sqlite3.connect(node.path) as db:
        db.execute("DROP TABLE structures")
    db.close()
    node.open()
    place = mapped("9.9.1"), mapped(STUDY), mapped(SERIES), "TRIAL-1"
    node.account.left(*place, renamed(("3", "Doe", "ROI 3")))
    (study,) = node.account.names(identifier=STUDY)["studies"]
    assert [each["is"] for each in study["objects"][0]["names"]] == ["ROI 3"]
    assert node.account.problem() == ""


def test_a_restart_keeps_it_and_a_kill_is_no_end_in_order(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(1)
    sender = node.account.sender()
    node.one(sender, 2)
    node.account.flush()
    node.open()  # the one before never learns of its end
    node.leave(1, 2)
    node.later(monkeypatch)
    study = node.study()
    assert node.counts() == {"received": 2, "left": 2}
    assert study["state"] == "broken off"
    assert "this node ended" in study["series"][0]["missing"][0]["why"]
    node.send(2)
    node.leave(2)
    node.later(monkeypatch)
    assert node.study()["complete"]


def test_a_kill_before_it_is_written_loses_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or what left a moment before would be sought for ever."""
    place = mapped("9.9.1"), mapped(STUDY), mapped(SERIES), "TRIAL-1"
    node.send(1, 2)
    node.account.left(*place, renamed(("3", "Doe's node", "ROI 3")))
    node.open()
    names = node.account.names(study=mapped(STUDY))
    assert [each["names"][0]["was"] for each in names["studies"][0]["objects"]] == ["Doe's node"]
    assert node.counts() == {"received": 2, "left": 1, "waiting": 1}
    sender = node.account.sender()
    node.one(sender, 3, series="1.2.3.1.2")
    node.open()  # within the first second of the association
    node.open()  # and once more, with nothing new
    node.leave(2)
    node.leave(3, series="1.2.3.1.2")
    node.later(monkeypatch)
    study = node.study()
    assert {each["uid"]: each["state"] for each in study["series"]} == {
        mapped(SERIES): "complete",
        mapped("1.2.3.1.2"): "broken off",
    }
    node.account.stop()
    assert list(node.path.parent.glob("*.events-*")) == []
    node.open()


def test_what_is_kept_for_a_kill_may_be_spoiled(node: Node) -> None:
    node.send(1)
    (events,) = node.path.parent.glob("*.events-*")
    whole = events.read_bytes()
    events.write_bytes(b"\0\xff[1, {}]\n[2]\n" + whole + whole[: len(whole) // 2])
    node.open()
    assert node.counts() == {"received": 1, "waiting": 1}
    assert node.account.problem() == ""


@pytest.mark.parametrize(
    "line",
    [
        b'[1e999, {"Ended": [{"tuple": []}, ""]}]',
        b"[" * 100_000,
        b'[9223372036854775808, {"Ended": [{"tuple": []}, ""]}]',
    ],
)
def test_what_is_kept_for_a_kill_and_is_spoiled_costs_nothing_else(node: Node, line: bytes) -> None:
    node.send(1)
    (events,) = node.path.parent.glob("*.events-*")
    events.write_bytes(line + b"\n" + events.read_bytes())
    node.open()
    node.send(2)
    node.account.flush()
    node.open()
    assert node.counts() == {"received": 2, "waiting": 2}
    assert node.account.problem() == ""


@pytest.mark.parametrize(
    "event",
    [
        b'{"Later": [1]}',
        b'{"Came": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}',
        b'{"Came": [{"bytes": "00"}, "1.2", null, 1.5]}',
        b'{"Came": [{"bytes": "00"}, "1.2", "1.2.3", {"tuple": []}]}',
        b'{"Ended": [{"tuple": [1, 2]}, ""]}',
        b"null",
    ],
)
def test_an_event_of_another_version_is_said_to_be_missing(node: Node, event: bytes) -> None:
    """The version before or behind may have left it, when it was killed."""
    node.send(1)
    (events,) = node.path.parent.glob("*.events-*")
    events.write_bytes(events.read_bytes() + b"\n[77, " + event + b"]\n")
    node.open()
    node.send(2)
    assert node.counts() == {"received": 2, "waiting": 2}
    assert node.account.problem().startswith("1 events could not be noted")
    node.open()
    assert node.account.problem() == ""


def test_events_that_cannot_be_read_are_said_to_be_missing(node: Node) -> None:
    node.send(1)
    (events,) = node.path.parent.glob("*.events-*")
    events.unlink()
    events.mkdir()
    node.open()
    node.send(2)
    assert node.counts() == {"received": 1, "waiting": 1}
    assert "before CTP was started could not be read" in node.account.summary()["problem"]
    node.account.stop()  # and what cannot be removed stops nobody
    events.rmdir()


@pytest.mark.parametrize("error", [sqlite3.OperationalError, sqlite3.DatabaseError])
def test_events_are_kept_where_the_ledger_does_not_tell_which_it_has(
    node: Node, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    node.send(1, 2)

    def written(_: Ledger) -> int:
        raise error("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "written", written)
        node.open()
    node.send(3)
    assert node.counts() == {"received": 3, "waiting": 3}


def test_a_value_that_cannot_be_written_costs_no_other_event(node: Node) -> None:
    place = mapped("9.9.1"), mapped(STUDY), mapped(SERIES), "TRIAL-1"
    node.send(1, 2)
    node.account.left(*place, renamed(("3", "\udc80", "ROI 3")))
    node.leave(2)
    node.account.flush()
    assert node.counts() == {"received": 2, "left": 1, "waiting": 1}
    assert node.account.problem().startswith("1 events could not be noted")
    node.send(3)
    assert node.counts() == {"received": 3, "left": 1, "waiting": 2}


def test_a_line_that_the_disk_took_half_of_is_said_to_fail(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
        node.send(1)
    assert "events-" in caplog.text and "cannot be written" in caplog.text
    node.send(2)
    node.open()
    assert node.counts() == {"received": 1, "waiting": 1}


def test_a_kill_in_the_middle_of_a_removal(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.send(1, 2)
    node.hold("incomplete", 1, 2)
    for number in (1, 2):
        node.account.removing(node.file(number))
    del node.in_quarantine[1]
    node.open()
    node.look()
    assert node.counts() == {"received": 2, "held": {"incomplete": 1}, "deleted": 1}
    # The other was not removed, and is later released on CTP's page by somebody else.
    del node.in_quarantine[2]
    node.look()
    assert node.counts() == {"received": 2, "waiting": 1, "deleted": 1}


def test_removed_before_a_look_has_shown_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many objects in quarantine there are minutes between two looks."""
    node.send(1)
    node.later(monkeypatch, 5)
    node.in_quarantine[1] = "incomplete", time.time()
    file = node.file(1)
    node.account.removing(file)
    node.in_quarantine.clear()
    node.account.removed(file)
    node.look()
    node.idle = True
    node.later(monkeypatch)
    assert node.counts() == {"received": 1, "deleted": 1}


def test_released_and_back_before_the_look_is_over(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at very many files takes its time."""
    node.send(1)
    node.hold("incomplete", 1)
    looked = time.monotonic()
    now = time.time() + 20
    monkeypatch.setattr(time, "time", lambda: now)
    run = time.monotonic() + 20
    monkeypatch.setattr(time, "monotonic", lambda: run)
    node.account.quarantine([], looked)  # it was on its way, and came back 5 s before now
    node.in_quarantine[1] = "other-issuer", now - 5
    node.look()
    assert node.counts() == {"received": 1, "held": {"other-issuer": 1}}


def test_a_new_ledger_learns_from_what_leaves_and_what_is_held(node: Node) -> None:
    node.leave(1)
    node.hold("incomplete", 2)
    assert node.counts() == {"received": 2, "left": 1, "held": {"incomplete": 1}}


@pytest.mark.parametrize("moment", ["before it is opened", "while it is open"])
def test_a_file_that_cannot_be_read_is_put_aside(node: Node, moment: str) -> None:
    node.send(*range(1, 50))
    node.account.stop()
    spoiled = b"not a database" * 1000
    if moment == "before it is opened":
        node.path.write_bytes(spoiled)
        node.open()
    else:
        node.open()
        node.path.write_bytes(spoiled)
    for _ in range(3):  # the first may only find out
        node.send(77)
        node.account.flush()
    assert node.counts()["received"] >= 1
    assert "began anew" in node.account.problem()
    assert "began anew" in node.account.summary()["problem"]
    assert node.path.with_name("account.sqlite.unreadable").read_bytes()[:3] == b"not"


def test_a_file_that_cannot_be_read_on_a_full_disk(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(*range(1, 50))
    node.account.stop()
    ledger = node.open()._ledger
    assert ledger is not None
    node.path.write_bytes(b"not a database" * 1000)

    def full() -> sqlite3.Connection:
        node.path.touch()
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "_open", full)
        for number in range(100, 105):
            node.send(number)
            node.account.flush()
        assert "cannot be written" in node.account.problem()
        assert node.account.ask(identifier=STUDY) == {
            "problem": node.account.problem(),
            "studies": [],
            "more": 0,
        }
    node.account.flush()
    assert node.counts()["received"] >= 5
    assert "began anew" in node.account.problem()
    assert node.path.with_name("account.sqlite.unreadable").read_bytes()[:3] == b"not"


def test_a_ledger_that_cannot_be_written_costs_nothing_but_itself(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_module, "MOST_KEPT", 8)
    node.account.flush()
    other = sqlite3.connect(node.path, isolation_level=None)
    kept = node.account._ledger
    assert kept is not None
    kept._db.execute("PRAGMA busy_timeout = 10")
    other.execute("BEGIN EXCLUSIVE")
    node.send(1, 2)
    node.account.flush()
    assert "cannot be written" in node.account.problem()
    other.execute("ROLLBACK")
    node.account.flush()
    assert node.account.problem() == ""
    assert node.counts()["received"] == 2
    node.send(*range(10, 30))
    assert "could not be noted" in node.account.problem()


def test_an_event_that_cannot_be_written_stops_no_other(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(node.account, "_event", lambda event: [][0])
        node.send(1)
    node.send(2)
    node.account.flush()
    assert node.counts() == {"received": 1, "waiting": 1}
    assert "could not be noted" in node.account.problem()


def test_a_question_that_fails_is_not_answered_with_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(1)
    ledger = node.account._ledger
    assert ledger is not None
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "_studies", lambda *arguments: [][0])
        answer = node.account.ask(identifier=STUDY)
        assert answer["problem"] and "since" not in answer
        assert node.account.summary() == {"problem": answer["problem"]}
    node.account._shown = None
    assert node.account.summary()["problem"] == ""
    assert node.counts() == {"received": 1, "waiting": 1}


def test_what_comes_after_the_end_changes_nothing(node: Node) -> None:
    node.send(1)
    ledger = node.account._ledger
    assert ledger is not None
    node.account.stop()
    node.send(2)
    node.account._ledger = ledger  # for a thread that was about to ask
    assert node.account.ask(identifier=STUDY)["problem"]
    node.account._ledger = None
    node.account.flush()
    node.account.care()
    node.look()
    assert node.account.ask(identifier=STUDY)["studies"] == []
    assert [each.name for each in node.path.parent.iterdir()] == ["account.sqlite"]
    node.open()
    assert node.counts() == {"received": 1, "waiting": 1}


def test_no_ledger_at_all(tmp_path: Path) -> None:
    (tmp_path / "account.sqlite").mkdir()
    node = Node(tmp_path / "account.sqlite")
    node.send(1)
    node.leave(1)
    node.look()
    assert "cannot be opened" in node.account.summary()["problem"]
    assert node.account.ask(identifier=STUDY)["studies"] == []
    node.account.stop()


def test_complete_studies_go_after_their_time(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def send_all() -> None:
        node.send(1, 2)
        node.leave(1, 2)

    send_all()
    node.later(monkeypatch)
    node.account.care()
    summary = node.account.summary()
    assert (summary["studies"], summary["complete"]) == (1, 1)
    node.later(monkeypatch, 80 * 86400)
    send_all()  # again after months: looked at anew
    assert node.study()["state"] == "arriving"
    node.later(monkeypatch)
    node.account.care()
    node.later(monkeypatch, 80 * 86400)
    node.account.care()
    assert node.study()["complete"]
    node.later(monkeypatch, 11 * 86400)
    node.account.care()
    assert node.account.ask(identifier=STUDY)["studies"] == []
    with sqlite3.connect(node.path) as db:
        for table in ("studies", "series", "objects", "names", "identities"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_incomplete_studies_stay_for_a_year_and_held_ones_for_ever(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(1)
    node.hold("incomplete", 1)
    node.later(monkeypatch, 400 * 86400)
    node.account.care()
    assert node.counts() == {"received": 1, "held": {"incomplete": 1}}
    node.in_quarantine.clear()
    node.look()
    node.later(monkeypatch, 365 * 86400)
    node.account.care()
    assert node.counts() == {"received": 1, "waiting": 1}
    node.later(monkeypatch, 2 * 86400)
    node.account.care()
    assert node.account.ask(identifier=STUDY)["studies"] == []


def test_a_complete_study_stays_while_a_copy_lies_in_quarantine(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what left of it, that copy would be all there is to tell."""
    node.send(1)
    node.hold("incomplete", 1)
    node.later(monkeypatch, 60)
    node.send(1)
    node.leave(1)
    for _ in range(3):
        node.later(monkeypatch, 91 * 86400)
        node.account.care()
    monkeypatch.setattr(account_module, "MOST_BYTES", 1)
    node.account.care()
    node.open()
    node.look()
    assert node.counts() == {"received": 1, "left": 1} and node.study()["complete"]
    node.in_quarantine.clear()
    node.look()
    node.account.care()
    assert node.account.ask(identifier=STUDY)["studies"] == []


def test_the_file_has_a_bound(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.send(1)
    node.leave(1)
    node.later(monkeypatch)
    node.account.care()
    monkeypatch.setattr(account_module, "MOST_BYTES", 1)
    node.account.care()
    assert node.account.summary()["studies"] == 0


def test_the_summary_has_who_is_known_and_counts_who_is_not(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(1)
    node.hold("incomplete", 1)
    other = node.account.sender()
    other.came(1, Identity("9.8.1", "1.2.5", "1.2.5.1", "HOSP:UNKNOWN"))
    other.answered(1, 0)
    other.ended(None, released=True)
    node.account.quarantine(
        [
            Quarantined("9.9.1", STUDY, SERIES, "incomplete", time.time()),
            Quarantined("9.8.1", "1.2.5", "1.2.5.1", "unknown-patient", time.time()),
        ]
    )
    node.later(monkeypatch)
    summary = node.account.summary()
    assert (summary["incomplete"], summary["unknown"], summary["arriving"]) == (1, 1, 0)
    asked = node.account.ask(still=True)["studies"]
    assert sorted(each["pseudonyms"] for each in asked) == [[], ["TRIAL-1"]]
    (row,) = summary["rows"]
    assert (row["pseudonyms"], row["held"]) == (["TRIAL-1"], {"incomplete": 1})
    assert "HOSP" not in str(summary)


def test_what_waits_for_orthanc_is_no_study_to_look_at(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.send(1)
    node.later(monkeypatch)
    summary = node.account.summary()
    assert (summary["waiting"], summary["incomplete"], summary["rows"]) == (1, 0, [])
    (asked,) = node.account.ask(still=True)["studies"]
    assert asked["state"] == "waiting"


def test_many_threads(node: Node) -> None:
    def work(start: int) -> None:
        for number in range(start, start + 200):
            node.send(number)
            node.leave(number)

    threads = [threading.Thread(target=work, args=(n * 1000,)) for n in range(4)]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        node.account.flush()
        node.account.summary()
    assert node.counts() == {"received": 800, "left": 800}


def test_what_is_to_be_done_about_a_reason_is_what_the_list_says() -> None:
    """A release is advised where it cures, and nowhere else."""
    for reason in NEXT_STEPS:
        row = SeriesRow(SERIES, 0.0, 0, "", {HELD: 1}, {reason: 1})
        ((missing,),) = [verdict.series(STUDY, row, verdict.Now(1e9, 300)).missing]
        advised = re.search("[Rr]elease the quarantine|then release", missing.todo)
        assert not advised or reason in RELEASE_CURES, reason
        assert "None by a release" not in missing.todo or reason not in RELEASE_CURES, reason
        # Where the list has the element corrected and sent again, a purge is not all there is.
        corrected = "correct it where it comes from" in NEXT_STEPS[reason]
        assert not corrected or "orrect" in missing.todo or "quarantine.yml" in missing.todo, reason
