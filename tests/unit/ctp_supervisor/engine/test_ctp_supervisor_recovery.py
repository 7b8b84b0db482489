"""What kills leave in the directories of CTP, state by state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ctp_supervisor.dicom import part10
from ctp_supervisor.engine.recovery import Marks, Recovered, holds_objects, mark_active, recover
from ctp_supervisor.machine.files import files_below
from ctp_supervisor.settings import Pipeline
from ctp_supervisor_site import METHOD, Site, dicom

MARKS = Marks(("ANON-", "B-"), METHOD)


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    """As after a start of CTP: what is made in its active directory can be told."""
    before = os.umask(0o077)
    found = Site(tmp_path).settings().pipelines[0]
    if not mark_active(found):
        pytest.skip("the file system has no ACL")
    yield found
    os.umask(before)


def moved(path: Path, data: bytes) -> Path:
    """Put a file where CTP moved it: from its queue into its active directory."""
    return put(path.parents[1] / "queue/0000000000/000/moving", data).rename(path)


def contents(directory: Path) -> list[bytes]:
    return sorted(Path(entry.path).read_bytes() for entry in files_below(directory))


def part(pipeline: Pipeline, kind: str, name: str) -> Path:
    return pipeline.stage(kind).root / name


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_an_acknowledged_object_goes_back_into_the_queue(pipeline: Pipeline) -> None:
    data = dicom(part(pipeline, "import", "temp") / "TMP-1.dcm")
    assert recover(pipeline, MARKS, clean=False) == Recovered(imported=1)
    assert contents(part(pipeline, "import", "queue")) == [data]
    assert contents(part(pipeline, "import", "temp")) == []
    assert recover(pipeline, MARKS, clean=False) == Recovered()
    assert contents(part(pipeline, "import", "queue")) == [data]


@pytest.mark.parametrize("length", [1, 100, 140, 400, -1])
def test_half_an_object_is_held_back(pipeline: Pipeline, length: int) -> None:
    path = part(pipeline, "import", "temp") / "TMP-1.dcm"
    data = dicom(path)[:length]
    put(path, data)
    assert recover(pipeline, MARKS, clean=False) == Recovered(incomplete=1)
    assert contents(pipeline.stage("import").root) == []
    assert contents(pipeline.stage("import").quarantine) == [data]
    assert recover(pipeline, MARKS, clean=False) == Recovered()
    assert contents(pipeline.stage("import").quarantine) == [data]


BEHIND = {
    "one NUL": b"\0",
    "an even number of NUL": bytes(512),
    "a long padding": bytes(200_001),
    "one blank": b" ",
    "seven bytes": b"trailer",
    "eight bytes": b"a traile",
    "text": b"a trailer of some kind, written by a gateway",
    "the beginning of an element": b"\x40\x00\x45\xa0LO\xff\x00x",
    "NUL and then text": bytes(16) + b"text",
    "a delimiter": b"\xfe\xff\x0d\xe0\0\0\0\0and more",
    "ones": b"\xff" * 100,
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("place", ["temp", "active"])
def test_an_object_with_bytes_behind_its_last_element_is_kept(
    pipeline: Pipeline, behind: bytes, place: str
) -> None:
    path = part(pipeline, "import", place) / "QF-1.dcm"
    data = dicom(path) + behind
    path.unlink()
    moved(path, data)
    found = recover(pipeline, MARKS, clean=False)
    queued = contents(part(pipeline, "import", "queue"))
    held = contents(pipeline.stage("import").quarantine)
    assert queued + held == [data]
    assert (found.imported, found.incomplete) == (len(queued), len(held))
    if behind.count(0) == len(behind):
        assert queued == [data], "padding is no reason to hold it back"


def test_a_second_file_behind_the_first_is_kept(pipeline: Pipeline) -> None:
    path = part(pipeline, "import", "temp") / "TMP-1.dcm"
    data = dicom(path) + dicom(path)
    put(path, data)
    recover(pipeline, MARKS, clean=False)
    assert contents(pipeline.stage("import").root) + contents(
        pipeline.stage("import").quarantine
    ) == [data]


@pytest.mark.parametrize("length", [1, 100, 140, 600, -1])
@pytest.mark.parametrize("place", ["temp", "queue/0000000000/000", "quarantine"])
def test_half_an_object_goes_where_the_whole_one_is(
    pipeline: Pipeline, length: int, place: str
) -> None:
    path = part(pipeline, "import", "temp") / "TMP-1.dcm"
    data = dicom(path, pixels=2000)
    put(path, data[:length])
    if place == "quarantine":
        put(pipeline.stage("anonymizer").quarantine / "TQ-1.dcm", data)
    else:
        put(part(pipeline, "import", place) / "000", data)
    recover(pipeline, MARKS, clean=False)
    held = contents(pipeline.stage("import").quarantine)
    # Where its SOP Instance UID is cut off, nobody can say whose beginning it is.
    assert held == ([data[:length]] if length in (1, 100, 140) else [])
    everywhere = contents(part(pipeline, "import", "queue")) + contents(
        pipeline.stage("anonymizer").quarantine
    )
    assert everywhere == [data]


def test_half_an_object_is_not_the_beginning_of_another(pipeline: Pipeline) -> None:
    path = part(pipeline, "import", "temp") / "TMP-1.dcm"
    cut = dicom(path, pixels=200)[:-50]
    put(path, cut)
    other = dicom(part(pipeline, "import", "queue") / "0000000000/000/000", pixels=2000)
    longer = put(part(pipeline, "import", "queue") / "0000000000/000/001", cut + b"\xff")
    recover(pipeline, MARKS, clean=False)
    assert contents(pipeline.stage("import").quarantine) == [cut]
    assert contents(part(pipeline, "import", "queue")) == sorted([other, longer.read_bytes()])


@pytest.mark.parametrize("length", [0, 1, 500, None])
def test_a_copy_in_the_queue_is_not_a_second_object(pipeline: Pipeline, length: int | None) -> None:
    data = dicom(part(pipeline, "import", "temp") / "TMP-1.dcm")
    other = dicom(part(pipeline, "import", "queue") / "0000000000/000/000")
    put(part(pipeline, "import", "queue") / "0000000000/000/001", data[:length])
    assert recover(pipeline, MARKS, clean=False) == Recovered(imported=1, copies=1)
    assert contents(part(pipeline, "import", "queue")) == sorted([data, other])


def test_an_object_not_yet_anonymized(pipeline: Pipeline) -> None:
    active = part(pipeline, "import", "active")
    data = dicom(active / "x")
    moved(active / "QF-1.dcm", data)
    # Cut short, and whole: the original is there, so it is done again.
    for length in (300, None):
        put(active / "DCMtemp-1.anon", dicom(active / "x", "ANON-1", done=True)[:length])
        (active / "x").unlink()
        put(active / "QF-2", b"")
        found = recover(pipeline, MARKS, clean=False)
        assert found == Recovered(imported=1, copies=1)
        assert contents(part(pipeline, "import", "queue")) == [data]
        assert contents(active) == []
        for entry in list(files_below(part(pipeline, "import", "queue"))):
            Path(entry.path).rename(active / "QF-1.dcm")


@pytest.mark.parametrize("name", ["QF-1.dcm", "DCMtemp-1.anon"])
def test_an_anonymized_object_goes_to_the_export(pipeline: Pipeline, name: str) -> None:
    data = dicom(part(pipeline, "import", "active") / name, "ANON-1", done=True)
    # Kill in the middle of CTP's copy into the export queue.
    put(part(pipeline, "export", "queue") / "0000000000/000/000", data[:700])
    assert recover(pipeline, MARKS, clean=False) == Recovered(exported=1, copies=1)
    assert contents(part(pipeline, "export", "queue")) == [data]
    assert contents(part(pipeline, "import", "queue")) == []


@pytest.mark.parametrize("name", ["QF-1.dcm", "QF-1.anon", "DCMtemp-1.dcm"])
def test_what_a_sender_marked_as_anonymized_goes_through_the_anonymizer(
    pipeline: Pipeline, name: str
) -> None:
    path = part(pipeline, "import", "active") / name
    data = dicom(path, "ANON-1", done=True)
    path.unlink()
    moved(path, data)
    assert recover(pipeline, MARKS, clean=False) == Recovered(imported=1)
    assert contents(part(pipeline, "import", "queue")) == [data]
    assert contents(part(pipeline, "export", "queue")) == []


@pytest.mark.parametrize("name", ["QF-1.dcm", "DCMtemp-1.anon"])
@pytest.mark.parametrize("state", ["no ACL", "cut short"])
def test_what_nobody_knows_of_is_held_back(pipeline: Pipeline, name: str, state: str) -> None:
    active = part(pipeline, "import", "active")
    data = dicom(active / name, "ANON-1", done=True)
    if state == "no ACL":
        os.removexattr(active, "system.posix_acl_default")
    else:
        data = data[:-1]
        (active / name).write_bytes(data)
    assert recover(pipeline, MARKS, clean=False) == Recovered(doubtful=1)
    assert contents(pipeline.stage("filter").quarantine) == [data]
    assert contents(part(pipeline, "import", "queue")) == []
    assert contents(part(pipeline, "export", "queue")) == []


def test_a_half_written_file_goes_only_beside_its_one_original(pipeline: Pipeline) -> None:
    active = part(pipeline, "import", "active")
    halves = [
        put(active / f"DCMtemp-{number}.anon", dicom(active / "x")[:300]).read_bytes()
        for number in range(2)
    ]
    (active / "x").unlink()
    assert recover(pipeline, MARKS, clean=False) == Recovered(doubtful=2)
    assert contents(pipeline.stage("filter").quarantine) == sorted(halves)


@pytest.mark.parametrize("patient", ["1", "ANON-1"])
def test_what_only_looks_anonymized_goes_through_the_anonymizer(
    pipeline: Pipeline, patient: str
) -> None:
    path = part(pipeline, "import", "active") / "QF-1.dcm"
    data = dicom(path, patient, done=patient == "1")
    assert recover(pipeline, MARKS, clean=False) == Recovered(imported=1)
    assert contents(part(pipeline, "import", "queue")) == [data]
    assert contents(part(pipeline, "export", "queue")) == []


def test_an_object_on_its_way_to_orthanc(pipeline: Pipeline) -> None:
    data = dicom(part(pipeline, "export", "active") / "QF-1", "ANON-1", done=True)
    put(part(pipeline, "export", "queue") / "0000000000/000/005", data)
    assert recover(pipeline, MARKS, clean=False) == Recovered(exported=1, copies=1)
    assert contents(part(pipeline, "export", "queue")) == [data]
    assert contents(part(pipeline, "export", "active")) == []


@pytest.mark.parametrize("exports", [1, 2])
def test_the_same_object_in_both_stages_is_exported_once(pipeline: Pipeline, exports: int) -> None:
    data = dicom(part(pipeline, "export", "active") / "QF-1", "ANON-1", done=True)
    if exports == 2:
        put(part(pipeline, "export", "active") / "QF-2", data)
    put(part(pipeline, "import", "active") / "QF-7.dcm", data)
    assert recover(pipeline, MARKS, clean=False) == Recovered(exported=exports, copies=1)
    assert contents(part(pipeline, "export", "queue")) == [data] * exports


def test_a_kill_while_a_quarantined_object_is_queued_again(pipeline: Pipeline) -> None:
    quarantine = pipeline.stage("anonymizer").quarantine
    data = dicom(quarantine / "TQ-1.dcm")
    put(part(pipeline, "import", "queue") / "0000000000/000/000", data[:900])
    assert recover(pipeline, MARKS, clean=False) == Recovered(copies=1)
    assert contents(quarantine) == [data]
    assert contents(part(pipeline, "import", "queue")) == []


def test_the_index_of_a_quarantine_is_made_anew_after_a_kill(pipeline: Pipeline) -> None:
    for stage in pipeline.stages:
        put(stage.quarantine / "..index/QuarantineIndex.db", b"x")
    recover(pipeline, MARKS, clean=True)
    assert all((stage.quarantine / "..index").exists() for stage in pipeline.stages)
    recover(pipeline, MARKS, clean=False)
    assert not any((stage.quarantine / "..index").exists() for stage in pipeline.stages)


def test_what_met_a_changed_script_does_not_leave(pipeline: Pipeline) -> None:
    queue = part(pipeline, "export", "queue")
    data = dicom(queue / "0000000000/000/000", "ANON-1", done=True)
    since = (queue / "0000000000/000/000").stat().st_mtime
    assert recover(pipeline, MARKS, False, since + 100) == Recovered()
    assert recover(pipeline, MARKS, False, since) == Recovered(doubtful=1)
    assert contents(queue) == []
    assert contents(pipeline.stage("filter").quarantine) == [data]


def test_objects_are_found_wherever_they_are(pipeline: Pipeline) -> None:
    assert not holds_objects([pipeline])
    put(pipeline.stage("filter").quarantine / "..index/QuarantineIndex.db", b"x")
    assert not holds_objects([pipeline])
    dicom(pipeline.stage("filter").quarantine / "TQ-1.dcm")
    assert holds_objects([pipeline])


@pytest.mark.parametrize("step", [1, 7])
def test_truncated_everywhere(tmp_path: Path, step: int) -> None:
    """Cut within an element: truncated. Cut between two: not to be told from a whole one."""
    path = tmp_path / "a.dcm"
    data = dicom(path, pixels=200)
    assert not part10.is_truncated(path)
    whole = []
    for length in range(0, len(data), step):
        path.write_bytes(data[:length])
        if not part10.is_truncated(path):
            whole.append(length)
    # Six elements in front of the pixel data: as many places between two.
    assert len(whole) <= 6
    path.write_bytes(b"no DICOM at all".ljust(500))
    assert not part10.is_truncated(path)
