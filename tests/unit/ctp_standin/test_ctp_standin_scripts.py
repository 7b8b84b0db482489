"""CTP's filter expression and lookup table, as CTP reads them, and closed where it fails open."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ctp_rules.filter_script import FilterError, parse
from ctp_standin.lookup import OtherIssuerError
from ctp_standin.lookup_table import MalformedTableError, TableLookup, parse_properties
from pydicom.dataset import Dataset
from pydicom.tag import Tag

BOTH = 'PatientIdentityRemoved.equals("YES") * PatientID.startsWith("ANON-")'


def dataset(patient_id: str = "ANON-1", removed: str = "YES") -> Dataset:
    found = Dataset()
    found.PatientID = patient_id
    found.PatientIdentityRemoved = removed
    found.DeidentificationMethod = "M"
    return found


@pytest.mark.parametrize(
    "expression",
    [
        BOTH,
        f"// why\n ( {BOTH} )\n",
        '[0012,0062].equals("YES")*[0010,0020].startsWith("ANON-")',
        '[00120062].equals("YES")\n* [00120063].equals("M") * [00100020].startsWith("ANON-")',
        'PatientIdentityRemoved.equals("YES") * (PatientID.startsWith("ANON-")'
        ' + PatientID.startsWith("TRIAL-"))',
        f'{BOTH} * !PatientID.contains(" ")',
        f"{BOTH} * true.",
    ],
)
def test_a_sound_filter(expression: str) -> None:
    found = parse(expression)
    assert found.prefixes[0] == "ANON-"
    assert found.lets_through(dataset())
    other = dataset()
    other.DeidentificationMethod = "another"
    assert found.lets_through(other) == (Tag("DeidentificationMethod") not in found.tags)
    assert found.lets_through(dataset("TRIAL-1")) == ("TRIAL-" in found.prefixes)
    for refused in (
        dataset("0012345"),
        dataset(""),
        dataset(removed="NO"),
        dataset(removed=""),
        dataset("anon-1"),
        Dataset(),
    ):
        assert not found.lets_through(refused)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "it is empty"),
        ("// nothing", "it is empty"),
        ("true.", "does not ask for the prefix"),
        ('PatientIdentityRemoved.equals("YES")', "does not ask for the prefix"),
        ('PatientID.startsWith("ANON-")', "lets through an object that is not de-identified"),
        (BOTH.replace("*", "+"), "lets through an object without a pseudonym"),
        (BOTH.replace("ANON-", ""), "does not ask for the prefix"),
        (
            f'{BOTH} + [00120063].equals("M") * PatientID.startsWith("ANON-")',
            "lets through an object that is not de-identified",
        ),
        (f"!({BOTH})", "lets through an object"),
        (f"({BOTH}", "a parenthesis is not closed"),
        (f"{BOTH})", "goes on behind its end"),
        (f"{BOTH} *", "a condition is missing"),
        (f"* {BOTH}", "a condition is missing"),
        (f"{BOTH} {BOTH}", "goes on behind its end"),
        (BOTH.replace("PatientID", "PatientId"), "an element that DICOM does not have"),
        (f'{BOTH} * !PatientID.contians(" ")', "a method that is not understood"),
        (f'{BOTH} * PatientID.matches("x")', "a method that is not understood"),
        (BOTH.replace("*", "&&"), "not understood at character"),
        (BOTH.replace('"', "'"), "not understood at character 1"),
        (
            'PatientIdentityRemoved.equals("YES") * '
            '(PatientID.startsWith("ANON-") + PatientID.equals(""))',
            "lets through an object without a PatientID",
        ),
    ],
)
def test_a_filter_that_is_not_sound(expression: str, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        parse(expression)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("PatientID/1=A", "PatientID/1", "A"),
        ("PatientID/1 = A", "PatientID/1", "A"),
        ("  PatientID/1:A ", "PatientID/1", "A "),
        ("PatientID/1 A", "PatientID/1", "A"),
        (r"PatientID/1\ 2=A", "PatientID/1 2", "A"),
        (r"PatientID/a\=b\:c=A=B", "PatientID/a=b:c", "A=B"),
        (r"PatientID/a\\b=A", "PatientID/a\\b", "A"),
        (r"PatientID/\u00e4\uD83D\uDE00=A", "PatientID/ä😀", "A"),
        ("PatientID/ä=A", "PatientID/ä", "A"),
        ("PatientID/1=\\\n   A", "PatientID/1", "A"),
        (r"PatientID/\#1=A", "PatientID/#1", "A"),
        ("PatientID/1", "PatientID/1", ""),
    ],
)
def test_properties(line: str, key: str, value: str) -> None:
    assert parse_properties(f"# c=d\n\n! e=f\n{line}\nlast=x") == {key: value, "last": "x"}


def test_a_malformed_table_keeps_what_stood_before() -> None:
    with pytest.raises(MalformedTableError) as found:
        parse_properties("a=1\nb=\\u00g0\nc=3")
    assert found.value.entries == {"a": "1"}


@pytest.mark.parametrize("blank", ["\u00a0", "\u0085", "\u3000", "\u2028"])
def test_a_blank_that_java_does_not_trim_makes_another_patient(tmp_path: Path, blank: str) -> None:
    table = tmp_path / "lookup.properties"
    table.write_text("PatientID/PAT-1|=ANON-1\nDateShift/PAT-1=-9\n")
    lookup = TableLookup(table)
    for patient_id in (f"PAT-1{blank}", f"{blank}PAT-1"):
        assert lookup.pseudonym(patient_id, "") is None
        assert lookup.date_shift(patient_id, "") is None


def test_the_table_is_read_again_when_it_has_settled(tmp_path: Path) -> None:
    table = tmp_path / "lookup.properties"
    lookup = TableLookup(table)
    assert lookup.pseudonym("1", "") is None  # no table: nobody is known

    def write(text: str, age: float) -> None:
        table.write_text(text)
        os.utime(table, (time.time() - age,) * 2)

    write(
        "PatientID/1|=ANON-1\nPatientID/ab|=ANON-2\nPatientID/r|=@PatientID/1|\nDateShift/1=-9\n", 0
    )
    assert lookup.pseudonym("1", "") == "ANON-1"  # the first time at any age
    with pytest.raises(OtherIssuerError):
        lookup.pseudonym("1", "ANY-ISSUER")
    assert lookup.pseudonym(" 1 ", "") == "ANON-1" and lookup.pseudonym("01", "") is None
    assert lookup.pseudonym("a\\b", "") == "ANON-2" and lookup.pseudonym("AB", "") is None
    with pytest.raises(OtherIssuerError):
        lookup.pseudonym("r", "")
    assert lookup.date_shift("1", "") == "-9" and lookup.date_shift("ab", "") is None
    write("PatientID/1|=ANON-9\n", -1)
    assert lookup.pseudonym("1", "") == "ANON-1"  # too young
    os.utime(table, (time.time() + 60,) * 2)
    assert lookup.pseudonym("1", "") == "ANON-1"  # from the future: still too young
    table.unlink()
    assert lookup.pseudonym("1", "") == "ANON-1"  # gone: the last good one
    later = TableLookup(table)
    write("PatientID/1|=ANON-1\n", 100)
    assert later.pseudonym("1", "") == "ANON-1"
    write("PatientID/1|=ANON-9\n", 50)
    assert later.pseudonym("1", "") == "ANON-9"
    write("PatientID/1|=ANON-5\n", 80)
    assert later.pseudonym("1", "") == "ANON-9"  # older than what was read
