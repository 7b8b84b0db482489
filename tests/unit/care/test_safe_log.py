"""Nothing of a log is passed on but what is known to be safe."""

from __future__ import annotations

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.care import safe_log

STAMP = "2026-11-24T17:40:27.400123456Z "
MARK = "SMITH^JOHN"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            "supervisor: WARNING Refused an association from 10.1.2.3: called AE title not"
            " recognized",
            "supervisor WARNING Refused an association from 10.1.2.3: called AE title not"
            " recognized",
        ),
        (
            "supervisor: INFO  The lookup table has 12 patients; left out: {'prefix': 2}",
            "supervisor INFO The lookup table has 12 patients; left out: {'prefix': 2}",
        ),
        (
            "supervisor: WARNING Orthanc cannot be reached at orthanc:4242"
            " (ConnectionRefusedError);"
            " what is for it stays queued",
            "supervisor WARNING Orthanc cannot be reached at orthanc:4242 (ConnectionRefusedError);"
            " what is for it stays queued",
        ),
        (
            "supervisor: INFO  Reception is open on port 8104, for 1 pipelines; recovered: 0"
            " imported, 0 exported, 0 copies, 0 incomplete, 0 doubtful",
            "supervisor INFO Reception is open on port 8104, for 1 pipelines; recovered: 0"
            " imported, 0 exported, 0 copies, 0 incomplete, 0 doubtful",
        ),
        (
            "one_way: WARNING orthanc_archive:4242 cannot be reached (gaierror): port 4242 is"
            " closed",
            "one_way WARNING orthanc_archive:4242 cannot be reached (gaierror): port 4242 is"
            " closed",
        ),
        (
            "W1124 17:40:10.440025             MAIN main.cpp:946] Orthanc has started",
            "orthanc W Orthanc has started",
        ),
        (
            "2026-11-24 17:40:11.532 UTC [7] LOG:  database system is ready to accept connections",
            "postgresql LOG database system is ready to accept connections",
        ),
        (
            "2026-11-24 17:40:11.532 UTC [9] ctp_key_db_select@key_db from 10.0.1.4 FATAL: "
            " password"
            ' authentication failed for user "ctp_key_db_select"',
            'postgresql FATAL password authentication failed for user "ctp_key_db_select"',
        ),
        (
            "2026-11-24 17:40:11.5 UTC [7] PANIC:  could not write to file"
            f' "{MARK}": No space left on device',
            "postgresql PANIC could not write to file …: No space left on device",
        ),
    ],
)
def test_known_forms_are_passed_on(line: str, shown: str) -> None:
    assert safe_log.passed_on([STAMP + line]) == f"2026-11-24T17:40:27Z {shown}\n"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"supervisor: INFO  Object 0-1-{MARK}.dcm was deleted", "supervisor INFO (text withheld)"),
        (
            f"supervisor: WARNING Refused an association from {MARK}: called AE title not"
            " recognized",
            "supervisor WARNING (text withheld)",
        ),
        (
            f"supervisor: WARNING Refused an association from 10.1.2.3: {MARK}",
            "supervisor WARNING (text withheld)",
        ),
        (
            f"supervisor: WARNING KeyDB does not answer ({MARK}); the last lookup table stays",
            "supervisor WARNING (text withheld)",
        ),
        (
            f"E1124 17:40:10.440025 DICOM-3 MainDicom.cpp:99] Cannot store {MARK}",
            "orthanc E (text withheld)",
        ),
        (f"W1124 17:40:10.4 MAIN main.cpp:1] Orthanc has started {MARK}", None),
        (
            f"2026-11-24 17:40:11.532 UTC [7] {MARK}@key_db from 10.0.1.4 ERROR:  column {MARK}",
            "postgresql ERROR (text withheld)",
        ),
        (
            "2026-11-24 17:40:11.532 UTC [7] FATAL:  password authentication failed for user"
            f' "{MARK}"',
            "postgresql FATAL (text withheld)",
        ),
        (f"ctp: WARN  [Lookup] missing key (PatientID/{MARK})", None),
        (
            f"2026-11-24T17:40:27.400Z INFO    Object {MARK} was received",
            "standin INFO (text withheld)",
        ),
        (MARK, None),
        ("", None),
        (f"supervisor: INFO  Stopping\v{MARK}", "supervisor INFO (text withheld)"),
    ],
)
def test_of_all_else_only_that_it_was_there(line: str, shown: str | None) -> None:
    text = safe_log.passed_on([STAMP + line])
    assert "SMITH" not in text and "JOHN" not in text
    assert text == (f"2026-11-24T17:40:27Z {shown}\n" if shown else "  (1 lines withheld)\n")


def test_a_line_without_the_engines_time_is_withheld() -> None:
    assert safe_log.passed_on(["supervisor: INFO  Stopping", MARK]) == "  (2 lines withheld)\n"
    assert safe_log.passed_on([]) == "\n"


@pytest.mark.parametrize("source", ["supervisor", "gate"])
def test_who_was_refused(source: str) -> None:
    form = source + ": WARNING Refused an association from {}: {}"
    lines = [
        STAMP + form.format("10.1.2.3", "called AE title not recognized"),
        STAMP.replace("17:", "18:") + form.format("10.1.2.3", "called AE title not recognized"),
        STAMP + form.format("10.1.2.4", MARK),
        STAMP + form.format(MARK, "called AE title not recognized"),
    ]
    assert safe_log.refusals(lines) == [
        {
            "peer": "10.1.2.3",
            "why": "called AE title not recognized",
            "count": 2,
            "last": "2026-11-24T18:40:27",
        }
    ]
