"""The lookup table: what is in it, how Java reads it, how CTP comes to know of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ctp_supervisor.lookup.keydb import (
    LookupUpdater,
    Patients,
    TableFile,
    UnavailableError,
    escape,
    read_pseudonyms,
    table,
)
from ctp_supervisor_site import Site

STRANGE = [
    "a b",
    " lead",
    "k:v",
    "k=v",
    "#1",
    "!1",
    "Ärzte",
    "患者",
    "\U0001f600",
    "tab\tx",
    "x/y",
    "'\"%",
]


def test_one_line_for_each_patient() -> None:
    made = table(
        [("12 3", "", "ANON-1", 5), ("1", "HOSP:A", "ANON-2", -7)], ("ANON-",), date_shift=True
    )
    assert made.properties().splitlines()[1:] == [
        r"PatientID/12\ 3|=ANON-1",
        r"PatientID/1|HOSP\:A=ANON-2",
        "DateShift/1=-7",
        r"DateShift/12\ 3=5",
    ]


@pytest.mark.parametrize(
    ("rows", "excluded"),
    [
        ([("1", "", "ANON-1"), ("1", "", "ANON-2")], {"ambiguous": 1}),
        ([("1", "", "ANON-1"), ("1 ", " ", "ANON-2")], {"ambiguous": 1}),
        ([("1", "A", "ANON-1"), ("1", "A ", "ANON-2")], {"ambiguous": 1}),
        ([("1", "", "X-1"), ("2", "", None), ("3", "", "")], {"prefix": 3}),
        ([("1", "", "ANON-1\nPatientID/2=A"), ("2", "", "ANON-" + "x" * 60)], {"prefix": 2}),
        ([("", "", "ANON-1"), (None, None, "ANON-1")], {"empty": 1}),
        ([("1|", "", "ANON-1"), ("1", "|", "ANON-2")], {"separator": 2}),
    ],
)
def test_what_is_left_out(rows: list[tuple[Any, ...]], excluded: dict[str, int]) -> None:
    made = table([*rows, ("9", "", "ANON-9"), ("9", None, "ANON-9")], ("ANON-",), date_shift=False)
    assert made.pseudonyms == {"9|": "ANON-9"}
    assert made.excluded == excluded


@pytest.mark.parametrize(
    ("issuers", "known"),
    [
        (("",), {"1|": "ANON-1", "1|A": "ANON-2", "1|B": "ANON-3", "2|": "ANON-4"}),
        (
            ("", "A", "C"),
            {
                **{"1|": "ANON-1", "1|A": "ANON-2", "1|B": "ANON-3", "1|C": "ANON-1"},
                **{"2|": "ANON-4", "2|A": "ANON-4", "2|C": "ANON-4"},
            },
        ),
        (("C",), {"1|A": "ANON-2", "1|B": "ANON-3", "1|C": "ANON-1", "2|C": "ANON-4"}),
    ],
)
def test_a_patient_is_known_by_the_issuer(issuers: tuple[str, ...], known: dict[str, str]) -> None:
    rows = [
        ("1", "", "ANON-1"),
        ("1", "A", "ANON-2"),
        ("1", "B", "ANON-3"),
        ("2", "", "ANON-4"),
    ]
    made = table(rows, ("ANON-",), date_shift=False, issuers=issuers)
    assert made.pseudonyms == known and made.excluded == {}
    assert len(Patients(made.pseudonyms)) == 4


def test_one_that_is_left_out_is_not_taken_for_the_one_without_an_issuer() -> None:
    rows = [("1", "", "ANON-1"), ("1", "A", "no-prefix")]
    assert table(rows, ("ANON-",), False, ("", "A")).pseudonyms == {"1|": "ANON-1"}


def test_states() -> None:
    patients = Patients({"1|A": "ANON-1"})
    assert patients.state("1", "A") == "known"
    for issuer in ("", "a", "B", "A\\B"):
        assert patients.state("1", issuer) == "other-issuer"
    assert patients.state("2", "A") == "unknown"


def test_days_are_looked_up_by_the_patient_id_alone() -> None:
    rows = [("1", "A", "ANON-1", 5), ("1", "B", "ANON-2", 6), ("2", "A", "ANON-3", 7)]
    made = table(rows, ("ANON-",), date_shift=True)
    assert made.pseudonyms == {"2|A": "ANON-3"} and made.excluded == {"ambiguous": 2}


def test_a_table_of_before_issuers_knows_nobody() -> None:
    assert read_pseudonyms("PatientID/1=ANON-1\nPatientID/2|=ANON-2\n") == {"2|": "ANON-2"}


def test_no_patient_without_a_shift_where_dates_shift() -> None:
    made = table([("1", "", "ANON-1", None), ("2", "", "ANON-2", 0)], ("ANON-",), date_shift=True)
    assert made.pseudonyms == {"2|": "ANON-2"} and made.excluded == {"date_shift": 1}
    assert "DateShift/2=0\n" in made.properties()


def test_what_is_written_is_read_again() -> None:
    rows = [(name, "", f"ANON-{i}") for i, name in enumerate(STRANGE)]
    text = table(rows, ("ANON-",), date_shift=False).properties()
    assert text.isascii()
    assert read_pseudonyms(text) == {f"{name.strip()}|": pseudonym for name, _, pseudonym in rows}


@pytest.mark.skipif(not shutil.which("java"), reason="no Java on this machine")
def test_java_reads_what_is_meant(tmp_path: Path) -> None:
    source = tmp_path / "Read.java"
    source.write_text(
        "import java.io.*; import java.util.*; class Read { public static void main(String[] a)"
        " throws Exception { Properties p = new Properties(); p.load(new InputStreamReader("
        'new FileInputStream(a[0]), "UTF-8")); PrintStream o = new PrintStream(System.out, true,'
        ' "UTF-8"); for (String k : new TreeSet<>(p.stringPropertyNames()))'
        ' o.print(k + "\\0" + p.getProperty(k) + "\\n\\n"); } }'
    )
    table_file = tmp_path / "lookup.properties"
    rows = [(name, "", f"ANON-{i}") for i, name in enumerate(STRANGE)]
    table_file.write_text(table(rows, ("ANON-",), date_shift=False).properties())
    run = subprocess.run(["java", str(source), str(table_file)], capture_output=True)
    if run.returncode:
        pytest.skip("a Java without its compiler")
    found = dict(line.split("\0") for line in run.stdout.decode().split("\n\n") if line)
    assert found == {f"PatientID/{name.strip()}|": pseudonym for name, _, pseudonym in rows}


def test_escapes() -> None:
    assert escape("a b:c=d#e!f\\g") == r"a\ b\:c\=d\#e\!f\\g"
    assert escape("é\U0001f600\n") == r"\u00E9\uD83D\uDE00\u000A"


def test_each_table_is_newer_than_the_last_and_old_enough(tmp_path: Path) -> None:
    file = TableFile(tmp_path / "lookup.properties")
    assert file.ensure().startswith("#")
    times = []
    for number in range(50):
        file.write(f"PatientID/{number}=ANON-1\n")
        times.append(file.path.stat().st_mtime_ns // 1_000_000)
        file.settle()
        times.append(file.path.stat().st_mtime_ns // 1_000_000)
    assert all(later > earlier for earlier, later in zip(times, times[1:]))
    assert file.path.stat().st_mode & 0o777 == 0o600
    settled = file.path.stat().st_mtime_ns
    file.settle()
    assert file.path.stat().st_mtime_ns == settled
    time.sleep(0.3)
    file.write("x=1\n")
    # CTP reads at the next object what is a second old.
    assert time.time() - file.path.stat().st_mtime > 0.8


def test_keydb_away_leaves_the_last_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Site(tmp_path).settings()
    answers: list[Any] = [
        [("SECRET-ID", "", "ANON-1")],
        None,
        None,
        [("SECRET-ID", "", "ANON-2")],
    ]

    def keydb_double() -> list[tuple[Any, ...]]:
        answer = answers.pop(0)
        if answer is None:
            raise UnavailableError("double")
        return list(answer)

    updater = LookupUpdater(settings, keydb_double)
    assert updater.state()["age_seconds"] is None and updater.problem
    updater.update()
    first = settings.lookup_table.read_text()
    assert "ANON-1" in first and updater.state()["state"] == "ok"
    updater.update()
    updater.update()
    assert settings.lookup_table.read_text() == first
    assert updater.state()["state"] == "away (double)" and len(updater.patients) == 1
    # Another start, with KeyDB still away.
    assert LookupUpdater(settings, keydb_double).patients.pseudonyms == {"SECRET-ID|": "ANON-1"}
    updater.update()
    assert "ANON-2" in settings.lookup_table.read_text()
    assert "SECRET-ID" not in caplog.text and "ANON-" not in caplog.text


def ahead(file: Path, seconds: float) -> None:
    """Leave the file as it is when the clock is set back by that much."""
    when = time.time() + seconds
    os.utime(file, (when, when))


@pytest.mark.parametrize(("seconds", "readable"), [(-3600, True), (5, True), (7200, False)])
def test_a_clock_that_was_set_back_is_noticed(
    tmp_path: Path, seconds: float, readable: bool
) -> None:
    file = TableFile(tmp_path / "lookup.properties")
    file.write("PatientID/1=ANON-1\n")
    ahead(file.path, seconds)
    assert file.write("PatientID/1=ANON-2\n") is readable
    # Whoever starts now reads it at once, except where the clock catches up within seconds.
    assert time.time() - file.path.stat().st_mtime > (0.8 if seconds < 0 or not readable else -6)
    assert file.write("PatientID/1=ANON-3\n") is True


def test_a_table_of_the_future_is_there_for_a_ctp_that_starts(tmp_path: Path) -> None:
    file = TableFile(tmp_path / "lookup.properties")
    file.write("PatientID/1=ANON-1\n")
    ahead(file.path, 7200)
    assert TableFile(file.path).ensure() == "PatientID/1=ANON-1\n"
    assert time.time() - file.path.stat().st_mtime > 0.8


def test_ctp_is_restarted_for_a_table_that_it_could_not_read(tmp_path: Path) -> None:
    settings = Site(tmp_path).settings()
    told: list[int] = []
    rows: list[tuple[Any, ...]] = [("1", "", "ANON-1")]
    updater = LookupUpdater(settings, lambda: rows, unreadable=lambda: told.append(1))
    updater.update()
    ahead(settings.lookup_table, 7200)
    updater.update()
    assert told == [], "nothing is new"
    rows.append(("2", "", "ANON-2"))
    updater.update()
    updater.update()
    assert told == [1]
