"""The spool: acknowledged means on disk, and in one place, whenever the process ends."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ctp_standin.spool import DiskFullError, Layout, Reason, Spool, SpoolError
from ctp_standin.uid_key import load_key
from ctp_standin_study import encode, study


@pytest.fixture
def content() -> bytes:
    return encode(study(marked=False).slices[0])


def files(directory: Path) -> list[str]:
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


def test_an_object_passes_through_its_states(tmp_path: Path, content: bytes) -> None:
    spool = Spool(tmp_path)
    first, second = spool.add(content), spool.add(content)
    assert [p.read_bytes() for p in sorted((tmp_path / "incoming").iterdir())] == [content] * 2
    entry = spool.take(0)
    assert entry is not None and entry.id == first
    spool.forwarded(entry)
    entry = spool.take(0)
    assert entry is not None and entry.id == second
    spool.quarantine(entry, Reason.UNKNOWN_PATIENT)
    assert (tmp_path / "quarantine" / "unknown-patient" / f"{second}.dcm").read_bytes() == content
    (found,) = spool.quarantined()
    assert found.reason == "unknown-patient"
    assert found.sop_instance_uid == study(marked=False).slices[0].SOPInstanceUID
    counts = spool.counts()
    assert (counts.received, counts.forwarded, counts.queued, counts.quarantined) == (2, 1, 0, 1)
    assert spool.delete_quarantined(second) is not None
    assert spool.delete_quarantined(second) is None
    assert spool.delete_quarantined("../../uid.key") is None
    assert spool.counts().received == 2 and spool.counts().quarantined == 0


def test_what_lies_under_a_former_name_of_its_reason_is_kept(
    tmp_path: Path, content: bytes
) -> None:
    own, shared = tmp_path / "own", tmp_path / "shared"
    layouts = {
        own: None,
        shared: Layout(
            *(shared / "temp", shared / "queue"), dict.fromkeys(Reason, shared / "quarantine")
        ),
    }
    for directory, layout in layouts.items():
        spool = Spool(directory, layout=layout)
        object_id = spool.add(content)
        entry = spool.take(0)
        assert entry is not None
        spool.quarantine(entry, Reason.SOP_CLASS_NOT_ACCEPTED)
        spool.release()
        (path,) = directory.glob(f"quarantine/**/{object_id}*")
        if layout is None:
            (directory / "quarantine/unsupported-content").mkdir()
            path.rename(directory / f"quarantine/unsupported-content/{object_id}.dcm")
        else:
            path.rename(path.with_name(f"{object_id}.unsupported-content.dcm"))
        (found,) = Spool(directory, layout=layout).quarantined()
        assert found.reason == "sop-class-not-accepted" and found.path == path
        assert found.path.read_bytes() == content


def test_what_is_in_hand_lies_where_ctp_has_it(tmp_path: Path, content: bytes) -> None:
    """So who supervises it finds there what it ended at."""
    layout = Layout(
        tmp_path / "temp",
        tmp_path / "queue",
        dict.fromkeys(Reason, tmp_path / "quarantine"),
        left_over=tmp_path / "active",
    )
    spool = Spool(tmp_path, layout=layout)
    first, second, third = (spool.add(content) for _ in range(3))
    entry = spool.take(0)
    assert entry is not None and (tmp_path / "active" / f"{first}.dcm").read_bytes() == content
    spool.defer(entry, 0)
    assert not list((tmp_path / "active").iterdir()) and spool.counts().queued == 3
    entry = spool.take(0)
    assert entry is not None
    spool.quarantine(entry, Reason.UNKNOWN_PATIENT)
    entry = spool.take(0)
    assert entry is not None
    in_hand = entry.path.read_bytes()
    spool.forwarded(entry)
    gone = entry.path
    gone.write_bytes(in_hand)  # had the process ended between counting and removing
    entry = spool.take(0)
    assert entry is not None
    before = spool.counts()
    spool.release()
    again = Spool(tmp_path, layout=layout)
    assert not gone.exists() and again.counts() == before
    taken = again.take(0)
    assert taken is not None and taken.id == entry.id
    assert {entry.id} < {first, second, third}
    assert files(tmp_path / "active") == [f"{entry.id}.dcm"] and not files(tmp_path / "queue")


def test_a_new_process_takes_everything_up(tmp_path: Path, content: bytes) -> None:
    spool = Spool(tmp_path)
    ids = [spool.add(content) for _ in range(4)]
    for action in (spool.forwarded, lambda e: spool.quarantine(e, Reason.UNREADABLE)):
        entry = spool.take(0)
        assert entry is not None
        action(entry)
    assert spool.take(0) is not None  # in hand while the process ends
    (tmp_path / "receiving" / "x.part").write_bytes(b"half an object")
    before = spool.counts()
    spool.release()
    again = Spool(tmp_path)
    assert again.counts() == before
    entry = again.take(0)
    assert entry is not None and entry.id == ids[2]
    assert not any((tmp_path / "receiving").iterdir())


def test_killed_between_counting_and_removing(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    spool.add(content)
    entry = spool.take(0)
    assert entry is not None
    with monkeypatch.context() as killed:
        killed.setattr(Path, "unlink", lambda *_args, **_kw: (_ for _ in ()).throw(OSError()))
        with pytest.raises(OSError):
            spool.forwarded(entry)
    spool.release()
    counts = Spool(tmp_path).counts()
    assert (counts.received, counts.forwarded, counts.queued) == (1, 1, 0)


@pytest.mark.parametrize("failing", ["fsync", "rename", "write"])
def test_what_cannot_be_stored_leaves_nothing(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    spool = Spool(tmp_path)
    before = files(tmp_path)

    def fail(*_args: object, **_keywords: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif failing == "rename":
        monkeypatch.setattr(Path, "rename", fail)
    else:
        monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(OSError):
        spool.add(content)
    monkeypatch.undo()
    assert files(tmp_path) == before
    assert spool.counts().received == 0


def test_below_the_floor_nothing_is_taken(tmp_path: Path, content: bytes) -> None:
    spool = Spool(tmp_path, min_free_bytes=2**60)
    with pytest.raises(DiskFullError):
        spool.add(content)
    assert spool.counts().received == 0


def test_a_deferred_object_lets_others_pass(tmp_path: Path, content: bytes) -> None:
    spool = Spool(tmp_path)
    first, second = spool.add(content), spool.add(content)
    entry = spool.take(0)
    assert entry is not None and entry.id == first
    spool.defer(entry, 0.1)
    entry = spool.take(0)
    assert entry is not None and entry.id == second
    assert spool.take(0) is None
    later = spool.take(5)
    assert later is not None and later.id == first


def test_two_processes_cannot_share_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(SpoolError, match="in use by another process"):
        Spool(tmp_path)
    spool.release()
    Spool(tmp_path)


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"file cannot be used by user \d+ \(.*Create it"):
        Spool(tmp_path / "file")


def test_damaged_counters_do_not_stop_it(tmp_path: Path, content: bytes) -> None:
    Spool(tmp_path).release()
    (tmp_path / "counters.json").write_text("{")
    spool = Spool(tmp_path)
    spool.add(content)
    assert spool.counts().received == 1


def test_the_uid_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "uid.key"
    key = load_key(path, may_create=True)
    assert len(key) == 32 and path.stat().st_mode & 0o777 == 0o600
    assert load_key(path, may_create=False) == key
    path.unlink()
    with pytest.raises(SpoolError, match="missing, but this spool has received objects"):
        load_key(path, may_create=False)
    path.write_bytes(b"short")
    with pytest.raises(SpoolError, match="has 5 bytes, not 32"):
        load_key(path, may_create=True)
