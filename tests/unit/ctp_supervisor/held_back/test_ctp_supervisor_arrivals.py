"""How long an object lies in quarantine, whatever is done to its file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from ctp_supervisor.export.refusals import Refusals
from ctp_supervisor.held_back.quarantine import Quarantines
from ctp_supervisor.lookup.keydb import Patients
from ctp_supervisor_site import Site, dicom


class Place:
    """A quarantine, and a supervisor that looks at it, made anew for each look."""

    def __init__(self, directory: Path) -> None:
        self.settings = Site(directory).settings()
        stages = {stage.kind: stage.quarantine for stage in self.settings.pipelines[0].stages}
        self.quarantine = stages["anonymizer"]
        self.quarantine.mkdir(parents=True)
        self.file = self.settings.data / "quarantine-arrivals.jsonl"

    def add(self, name: str) -> Path:
        dicom(self.quarantine / name, "1")
        # It was received long before it came here.
        os.utime(self.quarantine / name, (1.0, 1.0))
        return self.quarantine / name

    def started(self) -> Quarantines:
        data = self.settings.data
        client: Any = None
        return Quarantines(
            self.settings.pipelines, data, lambda: Patients({}), client, Refusals(data)
        )

    def came(self, quarantines: Quarantines | None = None) -> dict[str, float]:
        return {each.path.name: each.arrived for each in (quarantines or self.started()).scan()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def touched(path: Path) -> float:
    """Do to a file what a backup does; return the time of its status."""
    before = path.stat().st_ctime
    while path.stat().st_ctime == before:
        copy = path.parents[1] / "copy"
        os.link(path, copy)
        copy.unlink()
    return path.stat().st_ctime


def test_a_backup_makes_nothing_younger(place: Place) -> None:
    path = place.add("TQ-1.dcm")
    came = place.came()
    assert came == {"TQ-1.dcm": path.stat().st_ctime}
    assert touched(path) > came["TQ-1.dcm"]
    assert place.came() == came


def test_a_restored_file_is_as_old_as_it_was(place: Place) -> None:
    path = place.add("TQ-1.dcm")
    came = place.came()
    shutil.copy2(path, path.parents[1] / "copy")
    (path.parents[1] / "copy").rename(path)
    assert path.stat().st_ctime > came["TQ-1.dcm"]
    assert place.came() == came


def test_another_object_of_the_same_name_is_new(place: Place) -> None:
    path = place.add("TQ-1.dcm")
    first = place.came()["TQ-1.dcm"]
    touched(path)
    os.utime(path, (2.0, 2.0))
    assert place.came()["TQ-1.dcm"] == path.stat().st_ctime > first


def test_one_that_comes_back_is_new(place: Place) -> None:
    path = place.add("TQ-1.dcm")
    quarantines = place.started()
    first = place.came(quarantines)["TQ-1.dcm"]
    elsewhere = path.parents[1] / "queued"
    path.rename(elsewhere)
    assert place.came(quarantines) == {}
    touched(elsewhere)
    elsewhere.rename(path)
    second = place.came(quarantines)["TQ-1.dcm"]
    assert second == path.stat().st_ctime > first
    assert place.came()["TQ-1.dcm"] == second


def test_a_clock_that_ran_ahead(place: Place) -> None:
    path = place.add("TQ-1.dcm")
    status = path.stat()
    key = f'["0-1-TQ-1.dcm {status.st_mtime_ns} {status.st_size}", {status.st_ctime + 9e8}]\n'
    place.file.write_text(key)
    assert place.came() == {"TQ-1.dcm": status.st_ctime}


@pytest.mark.parametrize("text", ["\0\0", '["0-1-TQ-1.dcm 1', "[]\n7\n", '["a", "b"]\n{"a": 1}\n'])
def test_a_damaged_file_costs_nothing_else(place: Place, text: str) -> None:
    path = place.add("TQ-1.dcm")
    place.file.write_text(text)
    came = place.came()
    assert came == {"TQ-1.dcm": path.stat().st_ctime}
    touched(path)
    assert place.came() == came


def test_what_is_gone_does_not_stay_in_the_file(place: Place) -> None:
    quarantines = place.started()
    for number in range(30):
        paths = [place.add(f"TQ-{number}-{n}.dcm") for n in range(50)]
        quarantines.scan()
        for path in paths:
            path.unlink()
    kept = place.add("TQ-kept.dcm")
    came = place.came(quarantines)
    assert len(place.file.read_text().splitlines()) < 1200
    touched(kept)
    assert place.came() == came


def test_a_file_that_cannot_be_written_is_told(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.add("TQ-1.dcm")
    place.file.mkdir()
    assert set(place.came()) == {"TQ-1.dcm"}
    assert "quarantine-arrivals.jsonl cannot be written" in caplog.text
