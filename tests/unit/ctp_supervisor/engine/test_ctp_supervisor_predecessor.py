"""What the stand-in that worked alone has left: the supervisor takes it over, whole and once.

What there is, is made by the spool of the stand-in itself.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script
from ctp_supervisor.engine import predecessor
from ctp_supervisor.front.status import Counters
from ctp_supervisor_node import IMAGES, Node
from ctp_supervisor_site import Site, dicom


@pytest.fixture
def spool(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    monkeypatch.setattr(sys, "path", [*sys.path, str(IMAGES / "ctp_standin/src")])
    from ctp_standin.spool import Spool

    return Spool


def leave(spool: Any, contents: list[bytes]) -> None:
    """Of six: one forwarded, one deleted, two in quarantine, two queued."""
    from ctp_standin.spool import Reason

    for content in contents:
        spool.add(content)
    entries = [spool.take(1) for _ in contents]
    spool.forwarded(entries[0])
    for entry, reason in zip(
        entries[1:4], (Reason.UNKNOWN_PATIENT, Reason.INCOMPLETE, Reason.UNREADABLE)
    ):
        spool.quarantine(entry, reason)
    spool.delete_quarantined(entries[1].id)
    for entry in entries[4:]:
        spool.defer(entry, 0)
    assert vars(spool.counts()) == {
        **{"received": 6, "forwarded": 1, "queued": 2, "quarantined": 2, "deleted": 1}
    }
    spool.release()


def queued(site: Site) -> list[bytes]:
    root = site.data / "roots/orthanc-1/import/queue"
    return [path.read_bytes() for path in sorted(root.rglob("*.dcm"))]


def test_all_are_queued_in_their_order_and_counted(
    tmp_path: Path, spool: Callable[[Path], Any]
) -> None:
    site = Site(tmp_path, pipelines=2)
    contents = [b"object %d" % number for number in range(6)]
    leave(spool(site.data), contents)
    (site.data / "receiving" / "unfinished.part").write_bytes(b"half")
    (site.data / "quarantine" / "notes.txt").write_text("an operator's own")
    settings = site.settings()
    assert predecessor.take_over(settings) == 4
    assert queued(site) == contents[2:]
    expected = {"received": 6, "forwarded": 1, "deleted": 1}
    assert Counters(site.data / "counters.json").all() == expected
    assert not (site.data / "incoming").exists() and not (site.data / "receiving").exists()
    assert [path.name for path in (site.data / "quarantine").iterdir()] == ["notes.txt"]
    assert predecessor.take_over(settings) == 0
    assert Counters(site.data / "counters.json").all() == expected


def test_broken_off_anywhere_it_loses_and_doubles_nothing(
    tmp_path: Path, spool: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [b"object %d" % number for number in range(6)]
    for steps in range(8):
        site = Site(tmp_path / str(steps))
        leave(spool(site.data), contents)
        settings, left = site.settings(), [steps]
        rename = Path.rename

        def counted(path: Path, target: Any, left: list[int] = left, to: Any = rename) -> Path:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            moved: Path = to(path, target)
            return moved

        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", counted)
            try:
                predecessor.take_over(settings)
            except KeyboardInterrupt:
                assert steps < 5
            else:
                assert steps >= 5
        predecessor.take_over(settings)
        assert sorted(queued(site)) == contents[2:], steps
        counts = Counters(site.data / "counters.json").all()
        assert counts == {"received": 6, "forwarded": 1, "deleted": 1}, steps


def test_what_was_counted_and_is_still_there_does_not_come_back(
    tmp_path: Path, spool: Callable[[Path], Any]
) -> None:
    """A kill between the count and the removal: somebody had deleted it."""
    from ctp_standin.spool import Reason

    site = Site(tmp_path)
    first = spool(site.data)
    first.add(b"deleted")
    entry = first.take(1)
    first.quarantine(entry, Reason.UNKNOWN_PATIENT)
    (path,) = (site.data / "quarantine").rglob("*.dcm")
    first.delete_quarantined(entry.id)
    path.write_bytes(b"deleted")
    first.release()
    assert predecessor.take_over(site.settings()) == 0
    assert not queued(site) and not path.exists()
    assert Counters(site.data / "counters.json").all()["received"] == 1


def test_a_full_disk_puts_it_off(
    tmp_path: Path, spool: Callable[[Path], Any], caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path)
    leave(spool(site.data), [b"object %d" % number for number in range(6)])
    settings, before = site.settings(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
    try:
        assert predecessor.take_over(settings) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "cannot be taken over (File too large); the next start does" in caplog.text
    assert not queued(site)
    assert predecessor.take_over(settings) == 4
    assert Counters(site.data / "counters.json").all()["received"] == 6


@pytest.mark.parametrize("content", ["", "{", "[]", '{"forwarded": "x", "deleted": 0, "last": ""}'])
def test_counts_that_cannot_be_read_keep_no_object(tmp_path: Path, content: str) -> None:
    site = Site(tmp_path)
    incoming = site.data / "incoming"
    incoming.mkdir()
    (incoming / "20260101T000000.000000Z-0123abcd.dcm").write_bytes(b"object")
    (incoming / "another's.dcm").write_bytes(b"no object")
    (site.data / "counters.json").write_text(content)
    assert predecessor.take_over(site.settings()) == 1
    assert queued(site) == [b"object"]
    assert [path.name for path in incoming.iterdir()] == ["another's.dcm"]
    assert Counters(site.data / "counters.json").all()["received"] is None


def test_a_supervisor_that_never_had_one_before_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    counts = {"received": 5, "forwarded": 3, "deleted": 1}
    (site.data / "counters.json").write_text(json.dumps(counts))
    assert predecessor.take_over(site.settings()) == 0
    assert json.loads((site.data / "counters.json").read_text()) == counts


def test_who_is_known_leaves_and_the_others_are_held_back(
    tmp_path: Path, spool: Callable[[Path], Any]
) -> None:
    """As a process, with the stand-in in CTP's place."""
    table = {"PatientID/PAT-1|": "ANON-1"}
    node = Node(tmp_path, table, script.ScriptOptions(), "standin")
    key = node.site.data / "uid.key"
    key.write_bytes(b"\x17" * 32)
    names = ["PAT-1", "PAT-1", "PAT-1", "NOBODY", "PAT-1", "NOBODY"]
    leave(
        spool(node.site.data),
        [dicom(tmp_path / f"{number}.dcm", patient_id=name) for number, name in enumerate(names)],
    )

    def is_settled() -> bool:
        now = node.status_now()
        return now["received"] == now["forwarded"] + now["quarantined"] + now["deleted"]

    with node:
        node.wait(is_settled, "all has left or is held back")
        assert [each["reason"] for each in node.quarantine()] == ["unknown-patient"] * 2
        assert len(node.arrived) == 2
        now = node.status_now()
        assert (now["received"], now["forwarded"], now["deleted"]) == (6, 3, 1)
        assert key.read_bytes() == b"\x17" * 32
        assert "has left 4 objects" in node.log.read_text()
