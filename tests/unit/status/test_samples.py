from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import samples
from test_rules import NOW, WELL

DAY = 86400.0


def test_what_is_kept_holds_counts_only(tmp_path: Path) -> None:
    kept = samples.compact(WELL, [{"alert": "disk_low", "severity": "warning"}])
    assert kept["alerts"] == ["disk_low:warning"]
    assert kept["received"] == 10
    assert kept["instances"] == 4
    assert kept["volumes"] == {"/": [100, 50]}
    file = tmp_path / "status" / "history.jsonl"
    samples.append(file, kept, 35)
    assert samples.read(file) == [kept]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text('{"time": 1, "queued": 5}\n{"time": 2, "qu')
    samples.append(file, {"time": 3.0}, 35)
    assert [each["time"] for each in samples.read(file)] == [1, 3]


def test_the_file_stays_bounded(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    for hour in range(24 * 12):
        samples.append(file, {"time": NOW + 3600 * hour}, 5)
    times = [each["time"] for each in samples.read(file)]
    assert times[-1] == NOW + 3600 * (24 * 12 - 1)
    assert 5 * 24 <= len(times) <= 6 * 24 + 2
    assert times == sorted(times)


def test_thinned_keeps_the_last_day_whole() -> None:
    records = [{"time": NOW - 300.0 * n} for n in reversed(range(35 * 288))]
    kept = samples.thinned(records, NOW)
    assert [r for r in kept if r["time"] > NOW - DAY] == records[-288:]
    assert 300 <= len(kept) - 288 <= 402
    assert samples.thinned([], NOW) == []


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    file = tmp_path / "auscat.prom"
    file.write_text("old")
    samples.write(file, json.dumps({"new": 1}), 0o644)
    assert json.loads(file.read_text()) == {"new": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["auscat.prom"]
