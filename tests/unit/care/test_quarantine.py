"""What is listed, chosen and exported of CTP's quarantine."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils import key_list
from ansible_collections.auscat.imaging.plugins.module_utils.node_status import collect
from ansible_collections.auscat.imaging.plugins.module_utils.quarantine import (
    DAY_SECONDS,
    NEXT_STEPS,
    RELEASE_CURES,
    Held,
    chosen,
    keys_file,
    manifest,
    missing_patients,
    quarantine_report,
    release_report,
    seconds_of,
    summary,
)

IMAGES = Path(__file__).resolve().parents[3] / "images"
NOW = 1_800_000_000.0


def held(reason: str, days: float = 1, patient: str = "P", study: str = "1.2") -> Held:
    identifier = f"{reason}-{patient}-{days}"
    return Held(identifier, reason, "", False, NOW - days * DAY_SECONDS, "/x", patient, study, 10)


ALL = [
    held("unknown-patient", 40, "SECRET-1", "1.1"),
    held("unknown-patient", 40, "SECRET-1", "1.1"),
    held("unknown-patient", 1, "SECRET, 2", "1.2"),
    held("unreadable", 31, "", ""),
    held("known-patient", 2, "SECRET-3", "1.3"),
]


def test_rows_count_and_name_nobody() -> None:
    rows = {row["reason"]: row for row in summary(ALL)}
    unknown = rows["unknown-patient"]
    assert (unknown["objects"], unknown["studies"], unknown["patients"]) == (3, 2, 2)
    assert unknown["oldest"] == NOW - 40 * DAY_SECONDS
    assert "SECRET" not in json.dumps(list(rows.values()))
    text = quarantine_report("kv", list(rows.values()), "the last line")
    assert "5 objects" in text and "SECRET" not in text and text.endswith("the last line")
    assert quarantine_report("kv", []) == "CTP's quarantine on kv: empty"


def test_what_was_found_is_told_by_its_tag() -> None:
    each = Held("i", "residual-identifier", "(0010,0010): no pseudonym", False, NOW, "/x")
    assert "found in 1: (0010,0010): no pseudonym" in quarantine_report("kv", summary([each]))


@pytest.mark.parametrize(
    ("reasons", "days", "count"),
    [
        ([], 0, 5),
        ([], 30, 3),
        ([], 40.1, 0),
        (["unreadable"], 0, 1),
        (["unreadable"], 30, 1),
        (["unreadable"], 32, 0),
        (["unknown-patient", "known-patient"], 1.5, 3),
        (["nothing"], 0, 0),
    ],
)
def test_nothing_younger_is_ever_chosen(reasons: list[str], days: float, count: int) -> None:
    found = chosen(ALL, reasons, days, NOW)
    assert len(found) == count
    assert not days or all(NOW - each.received > days * DAY_SECONDS for each in found)


def test_the_list_of_missing_patients_can_be_loaded() -> None:
    missing = missing_patients(ALL)
    assert missing == ["SECRET, 2", "SECRET-1"]
    keys, problems = key_list.read(keys_file(missing))
    assert not problems and [key.patient_id for key in keys] == missing


def test_the_manifest_says_which_file_is_whose() -> None:
    (row,) = csv.DictReader(
        io.StringIO(manifest([("000001.dcm", replace(ALL[2], issuer="HOSP, B"))]))
    )
    assert (row["file"], row["patient_id"]) == ("000001.dcm", "SECRET, 2")
    assert (row["issuer"], row["study_instance_uid"]) == ("HOSP, B", "1.2")


# Every reason that CTP's supervisor and the stand-in can give, from where they say it.
SUPERVISOR = (IMAGES / "ctp_rsna/src/ctp_supervisor/quarantine.py").read_text()
SHARED = (IMAGES / "shared/ctp_rules/refusals.py").read_text()
REASONS = set(
    re.findall(
        r'^[A-Z_]+ = "([a-z]+(?:-[a-z]+)+|unreadable|incomplete)"$',
        SUPERVISOR + SHARED,
        re.MULTILINE,
    )
)


def test_every_reason_has_its_remedy_and_its_place_in_the_status_and_the_guide() -> None:
    assert len(REASONS) >= 13
    assert set(NEXT_STEPS) >= REASONS
    assert set(collect.REASONS) >= REASONS
    guide = (IMAGES.parent / "docs/quarantine.md").read_text()
    assert not [each for each in REASONS if f"| `{each}` |" not in guide]


def test_a_release_says_what_it_left_and_why() -> None:
    assert release_report(200, {}) == "200 objects released; 0 left"
    text = release_report(0, {"unknown-patient": 2, "burned-in-annotation": 3})
    first, burned, unknown, last = text.splitlines()
    assert first == "0 objects released; 5 left: burned-in-annotation 3, unknown-patient 2"
    assert burned.startswith("burned-in-annotation: no release cures it")
    assert unknown.startswith("unknown-patient: load the patients")
    assert last.startswith("3 of them stay whatever is released")
    assert "whatever" not in release_report(1, {"known-patient": 1, "ended-ctp": 1})


def test_what_no_release_cures_says_so_in_its_remedy() -> None:
    for reason in ("burned-in-annotation", "sop-class-not-accepted", "refused-by-profile"):
        assert reason not in RELEASE_CURES and "no release cures it" in NEXT_STEPS[reason]
        assert not re.search("release_quarantine|then release", NEXT_STEPS[reason])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-24T17:40:27+00:00", 1795542027.0),
        ("2026-11-24T17:40:27Z", 1795542027.0),
        ("2026-11-24T17:40:27", 1795542027.0),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
