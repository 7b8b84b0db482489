"""What CTP keeps of objects whose transfer broke off goes; nothing else does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ctp_supervisor.entrance.broken_off import QUIET_SECONDS, BrokenOff
from ctp_supervisor_site import dicom

UID = "1.2.3"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """An object of ``UID``, of which nothing was written for a while."""
    path = tmp_path / "TMP-1.dcm"
    dicom(path, uid=UID, pixels=4000)
    aged(path, 2 * QUIET_SECONDS)
    return path


def aged(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time() + 1.5 * QUIET_SECONDS
    monkeypatch.setattr(time, "time", lambda: now)


def broken(given: int, monkeypatch: pytest.MonkeyPatch) -> BrokenOff:
    found = BrokenOff()
    found.begins(UID)
    found.ends(UID, given)
    later(monkeypatch)
    return found


def remove(found: BrokenOff, path: Path, *in_use: Path) -> bool:
    found.remove([path.parent], set(in_use))
    return not path.exists()


def test_what_is_no_larger_than_what_was_given_goes(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = broken(kept.stat().st_size, monkeypatch)
    assert not remove(found, kept, kept), "CTP has it open"
    assert remove(found, kept)


def test_a_larger_one_is_another(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept.open("ab") as file:
        file.write(bytes(10_000))
    aged(kept, 2 * QUIET_SECONDS)
    assert not remove(broken(10, monkeypatch), kept)


def test_one_that_is_written_stays(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = broken(10_000, monkeypatch)
    os.utime(kept, (time.time(),) * 2)
    assert not remove(found, kept)


@pytest.mark.parametrize("how", ["whole", "begun again", "on its way twice", "of another"])
def test_what_may_be_acknowledged_stays(
    how: str, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = BrokenOff()
    found.begins("1.2.4" if how == "of another" else UID)
    if how == "on its way twice":
        found.begins(UID)
    found.ends("1.2.4" if how == "of another" else UID, -1 if how == "whole" else 10_000)
    if how == "begun again":
        found.begins(UID)
    later(monkeypatch)
    assert not remove(found, kept)
