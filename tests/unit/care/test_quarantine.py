"""What is listed, chosen and exported of CTP's quarantine."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.care.quarantine import (
    DAY_SECONDS,
    NEXT_STEPS,
    NOT_PRINTABLE,
    RELEASE_CURES,
    Device,
    Held,
    chosen,
    devices,
    keys_file,
    manifest,
    missing_patients,
    quarantine_report,
    release_report,
    safe_cell,
    seconds_of,
    shown,
    summary,
)
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import layouts, pixels
from ansible_collections.auscat.imaging.plugins.module_utils.services import key_list
from ansible_collections.auscat.imaging.plugins.module_utils.status.node_status import observe

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


def test_of_an_image_at_fault_no_script_is_to_be_corrected() -> None:
    whys = ("(0010,0010): no pseudonym", "(7FE0,0010): not blanked: it has no pixel data")
    each = [Held("i", "residual-identifier", why, False, NOW, "/x") for why in whys]
    script, image = summary(each)
    assert script["next"].startswith("correct the script of CTP, send the study again")
    assert image["next"].startswith("nothing is wrong with the script of CTP: send it again")
    text = quarantine_report("kv", [script, image])
    assert script["next"] in text and image["next"] in text


ECHO = Device("1.2.840.10008.5.1.4.1.1.6.1", "ACME", 'Echo "3": #1', 600, 800)


def waiting(*found: Device) -> list[Held]:
    return [
        Held(f"{number}", "pixels-not-declared", "", False, NOW, "/x", device=device)
        for number, device in enumerate(found)
    ]


def test_devices_that_wait_are_counted_with_the_rule_to_paste() -> None:
    found = devices([*ALL, *waiting(ECHO, Device("1.2.3", "B", "C", 1, 1), ECHO)])
    assert [row["objects"] for row in found] == [2, 1]
    text = quarantine_report("kv", summary(waiting(ECHO, ECHO)), "", found)
    row = next(line for line in text.splitlines() if line.startswith("UltrasoundImageStorage"))
    assert row.split()[1] == "ACME" and row.rstrip().endswith("800 x 600  2")
    (pasted,) = yaml.safe_load(found[0]["rule"])
    assert pixels.problems([pasted]) == []
    assert pasted["model"] == ECHO.model and (pasted["rows"], pasted["columns"]) == (600, 800)
    assert found[0]["rule"] in text.splitlines()


def test_known_regions_are_proposed_and_what_says_yes_is_blanked_or_nothing() -> None:
    known = Device(ECHO.sop_class, "Philips Medical Systems", "iU22", 600, 800)
    says_yes, face = (
        [dataclasses.replace(each, reason="burned-in-annotation", why=why)]
        for each, why in zip(waiting(ECHO, ECHO), ("(0028,0301)", "(0028,0302)"))
    )
    found = devices([*waiting(known), *says_yes, *face])
    assert [row["objects"] for row in found] == [1, 1]
    rows = {row["manufacturer"]: row for row in found}
    (pasted,) = yaml.safe_load(rows["Philips Medical Systems"]["layout"])
    assert pixels.problems([pasted]) == []
    assert pasted["regions"] == [{"x": 0, "y": 0, "width": 800, "height": 60}]
    assert (rows["ACME"]["says"], rows["ACME"]["rule"], rows["ACME"]["layout"]) == ("YES", "", "")
    text = quarantine_report("kv", summary(says_yes), "", found)
    assert rows["Philips Medical Systems"]["layout"] in text.splitlines()
    assert "says YES itself: action blank" in text and "nothing declares it" not in text


def test_every_known_layout_can_be_declared() -> None:
    for line in layouts.LAYOUTS.strip().splitlines():
        maker, model, size, *places = line.split()
        columns, rows = map(int, size.split("x"))
        device = Device(ECHO.sop_class, maker.title(), model.replace("_", " "), rows, columns)
        (row,) = devices(waiting(device))
        (pasted,) = yaml.safe_load(row["layout"])
        assert pixels.problems([pasted]) == []
        assert len(pasted["regions"]) == len(places)
        for other in (
            dataclasses.replace(device, rows=rows - 1),
            dataclasses.replace(device, manufacturer="Other"),
            dataclasses.replace(device, sop_class="1.2.840.10008.5.1.4.1.1.7"),
        ):
            assert devices(waiting(other))[0]["layout"] == ""


@pytest.mark.parametrize(
    "device",
    [
        Device("1.2.840.10008.5.1.4.1.1.7", "", "C", 1, 1),
        Device("1.2.840.10008.5.1.4.1.1.7", "B", NOT_PRINTABLE, 1, 1),
        Device("1.2.840.10008.5.1.4.1.1.7", "B", "C", 0, 0),
        Device("1.2.3", "B", "C", 1, 1),
    ],
)
def test_what_nothing_can_declare_has_no_rule(device: Device) -> None:
    found = devices(waiting(device))
    assert found[0]["rule"] == ""
    assert "nothing declares it" in quarantine_report("kv", summary(waiting(device)), "", found)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("ACME", "ACME"),
        (" ACME 3 ", "ACME 3"),
        (None, ""),
        ("A\nB", NOT_PRINTABLE),
        ("M\u00fcller", NOT_PRINTABLE),
        ("x" * 65, NOT_PRINTABLE),
        ("\x1b[31mred", NOT_PRINTABLE),
    ],
)
def test_a_text_of_a_header_is_shown_when_it_can_be_printed(value: str | None, seen: str) -> None:
    assert shown(value) == seen


def test_the_manifest_says_which_device_a_file_is_of() -> None:
    (row,) = csv.DictReader(io.StringIO(manifest([("000001.dcm", waiting(ECHO)[0])])))
    assert row["why"] == '1.2.840.10008.5.1.4.1.1.6.1, ACME, Echo "3": #1, 800 x 600'


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


FORMULAS = {
    "=1+1": "'=1+1",
    '=HYPERLINK("x")': '\'=HYPERLINK("x")',
    "@SUM(A1)": "'@SUM(A1)",
    "+1|cmd": "'+1|cmd",
    "-1+cmd|' /C calc'!A0": "'-1+cmd|' /C calc'!A0",
    "\t=1": "\t'=1",
    " =1": " '=1",
    "\uff1d1": "'\uff1d1",
    "x;=1": "x;'=1",
    'x,"=1"': 'x,"\'=1"',
    "x\n=1": "x\n'=1",
    "x|@y": "x|'@y",
    ";-1": ";'-1",
    "-12345": "-12345",
    "+12345": "+12345",
    "0012345": "0012345",
    "A-1=2": "A-1=2",
    "O'Brien": "O'Brien",
    "": "",
}


@pytest.mark.parametrize(("text", "cell"), FORMULAS.items())
def test_no_cell_is_a_formula(text: str, cell: str) -> None:
    assert safe_cell(text) == cell
    held = replace(ALL[2], patient_id=text, issuer=text, why=text)
    (row,) = csv.DictReader(io.StringIO(manifest([("000001.dcm", held)]), newline=""))
    assert (row["patient_id"], row["issuer"]) == (cell, cell)
    assert row["why"] == cell or not text
    (_, identifier) = csv.reader(io.StringIO(keys_file([text]), newline="")) if text else ("", [""])
    assert identifier == [cell]


def test_a_list_with_what_could_be_a_formula_is_refused_with_the_way_round() -> None:
    _, problems = key_list.read(keys_file(["@home-1"]))
    assert "apostrophe" in problems[0].message
    assert key_list.read("patient_id\n@home-1\n")[1] == []


def test_the_list_of_patients_is_told_from_other_encodings() -> None:
    assert keys_file(["M\u00fcller"]).encode().startswith(b"\xef\xbb\xbfpatient_id\n")


def test_the_manifest_says_which_file_is_whose() -> None:
    (row,) = csv.DictReader(
        io.StringIO(manifest([("000001.dcm", replace(ALL[2], issuer="HOSP, B"))]))
    )
    assert (row["file"], row["patient_id"]) == ("000001.dcm", "SECRET, 2")
    assert (row["issuer"], row["study_instance_uid"]) == ("HOSP, B", "1.2")


# Every reason that CTP's supervisor and the stand-in can give, from where they say it.
SUPERVISOR = (IMAGES / "ctp_rsna/src/ctp_supervisor/held_back/quarantine.py").read_text()
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
    assert set(observe.REASONS) >= REASONS
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
