"""Objects that Orthanc ends at, with a double in its place that can end, and one in CTP's."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ctp_supervisor.dicom import sockets
from ctp_supervisor.export import lanes, relay
from ctp_supervisor.export.lanes import Lanes
from ctp_supervisor.export.refusals import Refusals
from ctp_supervisor.export.suspects import TRIES, TRIES_AT_MOST, Suspects
from ctp_supervisor.held_back.quarantine import Quarantines
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]
from test_ctp_supervisor_egress_relay import (
    REFUSED,
    ClientDouble,
    Node,
    Orthanc,
    encoded,
    forward,
    free_port,
    image,
    quarantined,
    send,
    wait_until,
)

POISON, SOUND = "2.25.666", "2.25.1"


class MortalOrthanc(Orthanc):
    """A double that ends, with all of its connections, at what is ``deadly`` to it, and is started
    again at once; or that breaks the association off, or says nothing for ever."""

    def __init__(self) -> None:
        super().__init__(0)
        self.behind: int = self.port
        self.port: int = free_port()
        self.deadly: set[str] = set()
        self.deaths = 0
        self.breaks_off = False
        self.silent = False
        self.closing = threading.Event()
        self.begun = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._connections: list[socket.socket] = []
        self._listen()

    def _listen(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, args=(self.listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.behind))
                self._connections += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    def die(self) -> None:
        self.deaths += 1
        connections, self._connections = self._connections, []
        for each in connections:
            sockets.reset(each)

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.begun.set()
        assert self.may_answer.wait(20)
        if uid in self.deadly:
            if self.breaks_off:
                self.deaths += 1
                event.assoc.abort()
            elif self.silent:
                self.deaths += 1
                self.closing.wait(60)
            else:
                self.die()
            return 0x0110
        return super()._store(event)


def pass_on(source: socket.socket, target: socket.socket) -> None:
    forward(source, target)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    orthanc = MortalOrthanc()
    found = Node(tmp_path, 0, orthanc)
    yield found
    found.relay.stop()
    orthanc.closing.set()
    orthanc.server.shutdown()


def offer(node: Node, uid: str) -> int | None:
    """As CTP offers it: once, over an association of its own; ``None``: it has to come again."""
    number = int(uid.rpartition(".")[2])
    wait_until("the relay listens", lambda: node.relay._listener)
    association = node.associate()
    try:
        return send(association, uid, encoded(image(number), ExplicitVRLittleEndian))
    finally:
        association.release() if association.is_established else association.abort()
        wait_until("the relay has ended it", lambda: not node.relay._open)


def test_it_is_held_back_after_three_tries(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    orthanc: Any = node.orthanc
    orthanc.deadly = {POISON}
    assert offer(node, POISON) is None
    assert offer(node, SOUND) == 0, "what stands behind it goes on"
    assert offer(node, POISON) is None
    assert offer(node, POISON) == REFUSED
    assert orthanc.deaths == TRIES
    held = Suspects(node.directory).held(POISON)
    assert held is not None and held.whole and held.size > 200_000
    assert held.why().startswith("Orthanc ended, 3 times; 0 MiB, SOP class 1.2.840.10008.5.1.4")
    # Another start of this program, and CTP has found it in its directories again.
    assert offer(node, POISON) == REFUSED
    assert orthanc.deaths == TRIES, "Orthanc does not see it again"
    assert POISON not in node.refusals, "it names nobody"
    assert offer(node, "2.25.2") == 0
    assert "2.25." not in caplog.text


def test_an_innocent_one_is_forgotten(node: Node) -> None:
    """Orthanc is restarted three times, each time with other objects on their way."""
    orthanc: Any = node.orthanc
    for number in range(3):
        orthanc.begun.clear()
        orthanc.may_answer.clear()
        answers: list[int | None] = []
        sender = threading.Thread(target=lambda: answers.append(offer(node, SOUND)), daemon=True)  # noqa: B023
        sender.start()
        assert orthanc.begun.wait(20)
        orthanc.die()
        orthanc.may_answer.set()
        sender.join(20)
        assert answers == [None]
        assert node.suspects.held(SOUND) is None
        assert offer(node, SOUND) == 0, number
        assert SOUND not in node.suspects
    assert not Suspects(node.directory).all_held()


def test_those_in_company_are_tried_alone(node: Node) -> None:
    orthanc: Any = node.orthanc
    orthanc.deadly = {POISON}
    orthanc.may_answer.clear()
    answers: dict[str, list[int | None]] = {POISON: [], SOUND: []}
    first = threading.Thread(target=lambda: answers[POISON].append(offer(node, POISON)))
    second = threading.Thread(target=lambda: answers[SOUND].append(offer(node, SOUND)))
    first.start()
    assert orthanc.begun.wait(20)
    second.start()
    wait_until("both are on their way", lambda: len(node.relay._lanes._under_way) == 2)
    orthanc.may_answer.set()
    for each in (first, second):
        each.join(20)
    assert answers[POISON] == [None]
    suspects = Suspects(node.directory)
    assert POISON in suspects and suspects._suspects[POISON].alone == 0
    assert offer(node, SOUND) == 0 and SOUND not in node.suspects
    assert offer(node, POISON) is None
    assert offer(node, POISON) == REFUSED
    assert node.suspects.held(SOUND) is None


def test_an_orthanc_that_is_away_blames_nobody(node: Node) -> None:
    orthanc: Any = node.orthanc
    orthanc.begun.clear()
    sockets.reset(orthanc.listener)
    with contextlib.suppress(AssertionError):
        node.associate()
    assert not node.suspects._suspects


@pytest.mark.parametrize("stays_away", [False, True])
def test_an_association_that_orthanc_breaks_off(
    node: Node, stays_away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PROBE_SECONDS", 0.05)
    orthanc: Any = node.orthanc
    orthanc.deadly, orthanc.breaks_off = {POISON}, True
    if stays_away:
        # As when it stops: it takes no connection any more, and breaks off what it has.
        wait_until("the relay listens", lambda: node.relay._listener)
        association = node.associate()
        sockets.reset(orthanc.listener)
        data = encoded(image(666), ExplicitVRLittleEndian)
        assert send(association, POISON, data) is None
        wait_until("the relay has ended it", lambda: not node.relay._open)
        assert not node.suspects._suspects
        return
    assert [offer(node, POISON) for _ in range(TRIES)] == [None, None, REFUSED]
    held = node.suspects.held(POISON)
    assert held is not None and "broke off" in held.why()


def test_an_orthanc_that_never_answers(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "ANSWER_SECONDS", 0.2)
    orthanc: Any = node.orthanc
    orthanc.deadly, orthanc.silent = {POISON}, True
    assert [offer(node, POISON) for _ in range(TRIES)] == [None, None, REFUSED]
    held = node.suspects.held(POISON)
    assert held is not None and "did nothing for" in held.why()


def test_a_ctp_that_ends_blames_nobody(node: Node) -> None:
    orthanc: Any = node.orthanc
    orthanc.may_answer.clear()
    association = node.associate()
    ended = threading.Thread(
        target=send, args=(association, SOUND, encoded(image(1), ExplicitVRLittleEndian))
    )
    ended.start()
    assert orthanc.begun.wait(20)
    association.abort()
    wait_until("the relay has ended it", lambda: not node.relay._open)
    orthanc.may_answer.set()
    assert not node.suspects._suspects


def broke(suspects: Suspects, uid: str, alone: bool = True, size: int = 1) -> bool:
    return suspects.broke(uid, str(CTImageStorage), size, True, "Orthanc ended", alone)


def test_who_is_held_back(tmp_path: Path) -> None:
    found = Suspects(tmp_path)
    assert [broke(found, "a", alone) for alone in (False, True, True)] == [False, False, True]
    assert [broke(found, "b", alone) for alone in (False, False, True)] == [False] * 3
    assert broke(found, "b")
    assert len(found.all_held()) == 2


def test_an_orthanc_that_ends_at_everything_holds_back_late(tmp_path: Path) -> None:
    found = Suspects(tmp_path)
    for attempt in range(1, TRIES_AT_MOST):
        assert not broke(found, "a"), attempt
        assert not broke(found, "b"), attempt
    assert broke(Suspects(tmp_path), "a"), "but not never: it may be two of them"


def test_another_one_that_is_stored_clears_orthanc(tmp_path: Path) -> None:
    found = Suspects(tmp_path)
    for _ in range(2):
        assert not broke(found, "a") and not broke(found, "b")
    found.answered("c", stored=True)
    assert broke(found, "a") and broke(found, "b")


def test_an_answer_ends_the_suspicion(tmp_path: Path) -> None:
    found = Suspects(tmp_path)
    broke(found, "a")
    found.answered("a", stored=False)
    assert "a" not in found and "a" not in Suspects(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": {}}', "\xff"])
def test_a_broken_record_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / "export-suspects.json").write_text(content, encoding="latin-1")
    found = Suspects(tmp_path)
    assert not broke(found, "b") and "b" in Suspects(tmp_path)


def held(directory: Path, size: int, largest_mib: int) -> Suspects:
    found = Suspects(directory, largest_mib)
    while not broke(found, POISON, size=size):
        pass
    return found


def listing(node: Node, client: Any, largest_mib: int) -> Quarantines:
    return Quarantines(
        [node.pipeline],
        node.directory,
        dict,
        client,
        Refusals(node.directory),
        (),
        Suspects(node.directory, largest_mib),
    )


def test_its_quarantine_says_why_and_keeps_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    held(node.directory, 300 * 1024 * 1024, 200)
    quarantined(node.pipeline.stage("export").quarantine / "TQ-1.dcm", POISON)
    client: Any = ClientDouble()
    found = listing(node, client, 200)
    (row,) = found.listed()
    assert row["reason"] == "refused-by-orthanc"
    assert row["held_back"] == f"Orthanc ended, 3 times; 300 MiB, SOP class {CTImageStorage}"
    (row,) = found.detailed()
    assert row["why"].startswith("Orthanc ended") and row["releasable"] is False
    monkeypatch.setattr("ctp_supervisor.held_back.quarantine._PAUSES", (0.0, 0.0, 0.0))
    assert found.repeat_exports(lambda _: True) == 0
    assert found.release()["left"] == {"refused-by-orthanc": 1}
    # Not enough room, and enough.
    assert listing(node, client, 299).release()["left"] == {"refused-by-orthanc": 1}
    assert not client.asked
    listing(node, client, 300).release()
    assert client.asked == [("queueFile", 0, 3, "TQ-1.dcm")]
    assert POISON not in Suspects(node.directory)


def test_the_stand_in_keeps_it_under_another_uid(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(node.directory, 1, 200)
    directory = node.pipeline.stage("export").quarantine
    quarantined(directory / "TQ-1.dcm", "2.25.99")
    client: Any = ClientDouble()
    found = listing(node, client, 200)
    monkeypatch.setattr("ctp_supervisor.held_back.quarantine._PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr("ctp_supervisor.export.suspects._KEEP_SECONDS", -1.0)
    assert found.repeat_exports(lambda _: True) == 0 and not client.asked
    assert found.release()["left"] == {"refused-by-orthanc": 1} and not client.asked
    listing(node, client, 201).release()
    assert client.asked == [("queueFile", 0, 3, "TQ-1.dcm")]
    assert not Suspects(node.directory).all_held()
    held(node.directory, 1, 200)
    (directory / "TQ-1.dcm").unlink()
    found.repeat_exports(lambda _: True)
    assert POISON not in Suspects(node.directory), "purged, so it is forgotten"


@pytest.mark.parametrize(
    ("path", "again"),
    [
        ("/quarantines/queueFile?p=0&s=3&filename=TQ-1.dcm", True),
        ("/quarantines/queueAll?p=0&s=3", True),
        ("//quarantines/queueStudy?p=0&s=3&studyUID=1.2", True),
        ("/quarantines/queueSeries?p=0&s=3&seriesUID=1.3", True),
        ("/quarantines/queueFile?p=0&s=3&filename=TQ-2.dcm", False),
        ("/quarantines/queueAll?p=0&s=2", False),
        ("/quarantines/files?p=0&s=3", False),
        ("/status", False),
    ],
)
def test_a_person_may_send_it_again(node: Node, path: str, again: bool) -> None:
    held(node.directory, 1, 200)
    quarantined(node.pipeline.stage("export").quarantine / "TQ-1.dcm", POISON)
    listing(node, ClientDouble(), 200).by_hand(path)
    assert (POISON not in Suspects(node.directory)) == again


def in_background(function: Callable[[], bool]) -> tuple[threading.Thread, list[bool]]:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    return thread, found


def test_a_suspect_goes_alone() -> None:
    found = Lanes()
    assert found.enter("a", alone=False)
    assert found.was_alone("a")
    waiting, entered = in_background(lambda: found.enter("s", alone=True))
    assert found.enter("b", alone=False), "it lets the others pass"
    assert not found.was_alone("a") and not found.was_alone("b")
    found.leave("a")
    assert waiting.is_alive()
    found.leave("b")
    waiting.join(20)
    assert entered == [True] and found.was_alone("s")
    behind, entered = in_background(lambda: found.enter("c", alone=False))
    assert not entered
    found.leave("s")
    behind.join(20)
    assert entered == [True] and found.was_alone("c")


def test_of_the_large_ones_one_goes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Lanes()
    for each in ("a", "b", "c"):
        assert found.enter(each, alone=False)
    assert found.grows_large("a") and found.grows_large("a")
    waiting, passed = in_background(lambda: found.grows_large("b"))
    assert not passed
    found.leave("a")
    waiting.join(20)
    assert passed == [True]
    monkeypatch.setattr(lanes, "WAIT_SECONDS", 0)
    assert not found.grows_large("c") and not found.enter("s", alone=True)
