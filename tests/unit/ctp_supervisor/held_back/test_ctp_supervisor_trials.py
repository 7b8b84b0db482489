"""Objects that CTP ends at. CTP is played by moving files as it does; nothing of it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ctp_supervisor.engine import recovery
from ctp_supervisor.export.refusals import Refusals
from ctp_supervisor.held_back import trials
from ctp_supervisor.held_back.quarantine import Quarantines
from ctp_supervisor.held_back.trials import TRIES, Trials
from ctp_supervisor.machine import files
from ctp_supervisor.settings import Pipeline
from ctp_supervisor_site import METHOD, Site, dicom

MARKS = recovery.Marks(("ANON-",), METHOD)


class Place:
    """A site of two pipelines, and CTP's hands."""

    def __init__(self, directory: Path) -> None:
        self.settings = Site(directory, pipelines=2).settings()
        self.pipelines = self.settings.pipelines
        self.number = 0
        for pipeline in self.pipelines:
            for stage in pipeline.stages:
                stage.quarantine.mkdir(parents=True)
            recovery.mark_active(pipeline)

    @property
    def trials(self) -> Trials:
        """Made anew, as at each start."""
        return Trials(self.pipelines, self.settings.data)

    def part(self, index: int, kind: str, part: str) -> Path:
        return self.pipelines[index].stage(kind).root / part

    def takes(self, index: int, kind: str = "import") -> bool:
        """Let CTP take the next object of a queue in hand; whether there was one."""
        waiting = sorted(Path(e.path) for e in files.files_below(self.part(index, kind, "queue")))
        if waiting:
            self.number += 1
            target = self.part(index, kind, "active") / f"QF-{self.number}"
            target.parent.mkdir(parents=True, exist_ok=True)
            waiting[0].rename(target)
        return bool(waiting)

    def ends(self) -> None:
        """CTP ends by itself, and is started again."""
        self.trials.ctp_ended()
        self.starts()

    def starts(self) -> None:
        self.trials.arrest(lambda _, path: recovery.may_be_anonymized(path, MARKS))
        for pipeline in self.pipelines:
            recovery.recover(pipeline, MARKS, clean=False)

    def passes(self, index: int, kind: str = "import") -> None:
        for path in files.files_in(self.part(index, kind, "active")):
            path.unlink()

    def goes_on(self, busy: bool = False) -> None:
        def is_empty(pipeline: Pipeline, kind: str) -> bool:
            below = pipeline.stage(kind).root / "queue"
            return not busy and next(files.files_below(below), None) is None

        self.trials.go_on(is_empty)

    def held(self) -> list[str]:
        return [
            path.name
            for pipeline in self.pipelines
            for stage in pipeline.stages
            for path in files.files_in(stage.quarantine)
        ]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("kind", ["import", "export"])
def test_the_culprit_is_held_back_and_the_innocent_one_goes_on(place: Place, kind: str) -> None:
    done = kind == "export"
    dicom(place.part(0, kind, "queue") / "a", "ANON-1" if done else "1", done)
    dicom(place.part(1, kind, "queue") / "b", "ANON-2" if done else "2", done, pixels=40_000)
    assert place.takes(0, kind) and place.takes(1, kind)
    (place.part(1, kind, "active") / "DCMtemp-1.anon").write_bytes(b"half of it")
    place.ends()
    assert not place.takes(0, kind) and not place.takes(1, kind), "both stand outside"
    assert place.trials.waiting() == 2
    place.goes_on(busy=True)
    assert place.trials.waiting() == 2, "the others first"
    for _ in range(TRIES):
        place.goes_on()
        assert place.takes(0, kind) != place.takes(1, kind), "one at a time"
        if files.files_in(place.part(0, kind, "active")):
            place.passes(0, kind)
        else:
            place.ends()
    assert place.trials.waiting() == 0
    assert not place.held(), "CTP would read it there at its next start"
    client: Any = None

    def quarantines(heap_mib: int) -> Quarantines:
        return Quarantines(
            place.pipelines,
            place.settings.data,
            dict,
            client,
            Refusals(place.settings.data),
            trials=Trials(place.pipelines, place.settings.data, heap_mib),
        )

    found = quarantines(0)
    (row,) = found.listed()
    assert row["reason"] == "ended-ctp"
    assert row["held_back"].startswith("CTP ended, 3 times; 0 MiB, SOP class 1.2.840.10008.5")
    assert found.detailed()[0]["releasable"] is False
    assert found.release() == {"released": 0, "left": {"ended-ctp": 1}}
    assert quarantines(1).release() == {"released": 1, "left": {}}
    assert place.takes(1, kind) and not found.listed()
    for _ in range(TRIES):
        place.ends()
        place.goes_on()
        place.takes(1, kind)
    assert found.delete([each["id"] for each in found.listed()]) == 1 and not found.listed()


def test_another_end_counts_nothing(place: Place) -> None:
    """A stop, a kill of all, a restart of the machine: the supervisor has not seen CTP end."""
    dicom(place.part(0, "import", "queue") / "a")
    for _ in range(TRIES + 1):
        assert place.takes(0)
        place.starts()
    assert not place.trials.held() and place.trials.waiting() == 0


def test_one_that_passed_begins_anew(place: Place) -> None:
    dicom(place.part(0, "import", "queue") / "a")
    for _ in range(TRIES):
        assert place.takes(0)
        place.ends()
        place.goes_on()
        assert place.takes(0)
        path = files.files_in(place.part(0, "import", "active"))[0]
        content = path.read_bytes()
        path.unlink()
        # CTP ends at another one, which was sent meanwhile.
        dicom(place.part(0, "import", "active") / "QF-x", pixels=3000)
        place.ends()
        files.files_in(place.settings.data / "suspects" / "0" / "import")[0].unlink()
        (place.part(0, "import", "queue") / "again").parent.mkdir(parents=True, exist_ok=True)
        (place.part(0, "import", "queue") / "again").write_bytes(content)
    assert not place.trials.held()


def test_what_is_anonymized_goes_on(place: Place) -> None:
    dicom(place.part(0, "import", "active") / "QF-1", "ANON-1", done=True)
    place.ends()
    assert place.trials.waiting() == 0 and place.takes(0, "export")


def test_who_says_to_be_anonymized_and_is_not_gets_no_further_try(place: Place) -> None:
    """A sender can write the marks; then CTP took the file in hand, and made none there."""
    path = place.part(0, "import", "queue") / "a"
    dicom(path, "ANON-1", done=True)
    path.chmod(0o600)
    for _ in range(TRIES):
        assert place.takes(0)
        place.ends()
        place.goes_on()
    assert len(place.trials.held()) == 1


def test_a_queue_that_is_never_empty(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom(place.part(0, "import", "active") / "QF-1")
    place.ends()
    monkeypatch.setattr(trials, "PATIENCE_SECONDS", -1.0)
    place.goes_on(busy=True)
    assert place.trials.waiting() == 0 and place.takes(0)


@pytest.mark.parametrize("content", ["", "[]", '{"a": "b"}', "\xff"])
def test_counts_that_cannot_be_read(place: Place, content: str) -> None:
    (place.settings.data / "import-suspects.json").write_text(content, encoding="latin-1")
    dicom(place.part(0, "import", "active") / "QF-1")
    place.ends()
    assert place.trials.waiting() == 1
