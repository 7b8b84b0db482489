"""What the account keeps through restarts, kills and files that are spoiled, and for how long."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine import (
    NEXT_STEPS,
    RELEASE_CURES,
)
from study_account import account as account_module
from study_account import verdict
from study_account.account import Quarantined
from study_account.identity import Identity
from study_account.ledger import HELD, Ledger, SeriesRow
from study_account_node import SERIES, STUDY, Node, mapped, renamed


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
