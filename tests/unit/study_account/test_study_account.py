"""The account with a real SQLite file: what each object becomes, and what is said of its study."""

from __future__ import annotations

import sqlite3
import stat
import time
from typing import Any

import pytest
from ctp_rules import script
from ctp_rules.anonymizer import Anonymizer
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from study_account import uids
from study_account.account import Quarantined
from study_account.identity import Identity
from study_account_node import (
    HASHES,
    KEY,
    LEAVING,
    PATIENT,
    SCRIPT,
    SERIES,
    STUDY,
    Node,
    mapped,
    renamed,
)


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
