from __future__ import annotations

import re

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.services.key_list import (
    Key,
    Problem,
    foreign_prefix_problem,
    new_pseudonym,
    prefix_problem,
    read,
    report,
)

ACCEPTED = {
    "identifiers alone": ("patient_id\n12\n13\n", [("12", "", ""), ("13", "", "")]),
    "all columns": (
        "patient_id,issuer,pseudonym\n12,HOSP,ANON-1\n13,,\n",
        [("12", "HOSP", "ANON-1"), ("13", "", "")],
    ),
    "another order and case": ("Pseudonym,PATIENT_ID\nANON-1,12\n", [("12", "", "ANON-1")]),
    "semicolons": ("patient_id;issuer\n12;HOSP, north\n", [("12", "HOSP, north", "")]),
    "byte order mark": ("\ufeffpatient_id\n12\n", [("12", "", "")]),
    "Windows line ends": ("patient_id,issuer\r\n12,A\r\n", [("12", "A", "")]),
    "no last line end": ("patient_id\n12", [("12", "", "")]),
    "quoted values": ('"patient_id","issuer"\n"1,2","say ""A"""\n', [("1,2", 'say "A"', "")]),
    "white space around": (" patient_id , issuer \n\t12 , A \n", [("12", "A", "")]),
    "lines of delimiters": ("patient_id,issuer\n,\n12,\n , \n", [("12", "", "")]),
    "white space within": ("patient_id\nA  B\n", [("A  B", "", "")]),
    "leading zeros": ("patient_id\n0012\n12\n", [("0012", "", ""), ("12", "", "")]),
    "empty lines": ("\n\npatient_id\n\n12\n  \n\n", [("12", "", "")]),
    "letters outside ASCII": ("patient_id\nM\u00fcller-1\n", [("M\u00fcller-1", "", "")]),
    "64 characters": (f"patient_id\n{'1' * 64}\n", [("1" * 64, "", "")]),
    "one patient twice": ("patient_id\n12\n12\n", [("12", "", "")]),
    "one pair twice": (
        "patient_id,pseudonym\n12,ANON-1\n12,ANON-1\n",
        [("12", "", "ANON-1")],
    ),
    "the pseudonym only the second time": (
        "patient_id,pseudonym\n12,\n12,ANON-1\n12,\n",
        [("12", "", "ANON-1")],
    ),
    "one identifier of two issuers": (
        "patient_id,issuer\n12,A\n12,B\n",
        [("12", "A", ""), ("12", "B", "")],
    ),
}


@pytest.mark.parametrize(("text", "patients"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(text: str, patients: list[tuple[str, str, str]]) -> None:
    keys, problems = read(text)
    assert problems == []
    assert [key[1:] for key in keys] == patients


HEADER = "patient_id,issuer,pseudonym\n"
REFUSED = {
    "empty file": ("", [(0, "", "names no patient")]),
    "white space": (" \n\n", [(0, "", "names no patient")]),
    "first line alone": (HEADER, [(0, "", "names no patient")]),
    "no patient_id": ("issuer\nA\n", [(1, "", "column patient_id is missing")]),
    "unknown column": ("patient_id,name\n1,A\n", [(1, "", "column 2 is unknown")]),
    "column twice": ("patient_id,issuer,Issuer\n", [(1, "", "names the column issuer twice")]),
    "empty identifier": (
        HEADER + ",,ANON-2\n  ,A,ANON-1\n",
        [(2, "patient_id", "is empty")] + [(3, "patient_id", "is empty")],
    ),
    "too few values": (HEADER + "12,A\n", [(2, "", "has 2 values, the first line names 3")]),
    "too many values": ("patient_id\n12,A\n", [(2, "", "has 2 values, the first line names 1")]),
    "65 characters": (f"patient_id\n{'1' * 65}\n", [(2, "patient_id", "more than 64")]),
    "long issuer": (HEADER + f"1,{'A' * 65},\n", [(2, "issuer", "more than 64")]),
    "long pseudonym": (HEADER + f"1,,{'A' * 65}\n", [(2, "pseudonym", "more than 64")]),
    "backslash": (
        HEADER + "1\\2,A\\B,C\\D\n",
        [(2, column, "backslash") for column in ("issuer", "patient_id", "pseudonym")],
    ),
    "control character": (HEADER + "1\t2,,\n", [(2, "patient_id", "control character")]),
    "line feed in quotes": ('patient_id\n1\n"2\n3"\n4\n', [(3, "patient_id", "line feed")]),
    "line number after one": (
        'patient_id,issuer\n"2\n3",\n,A\n',
        [(2, "patient_id", "line feed"), (4, "patient_id", "is empty")],
    ),
    "no-break space within": ("patient_id\n1\u00a02\n", [(2, "patient_id", "no-break space")]),
    "zero width space": ("patient_id\n12\u200b\n", [(2, "patient_id", "cannot be seen")]),
    "not UTF-8": ("patient_id\nM\udcfcller\n", [(2, "patient_id", "is not UTF-8")]),
    "pseudonym outside ASCII": (HEADER + "1,,\u00c4\n", [(2, "pseudonym", "outside ASCII")]),
    "open quotation mark": ('patient_id\n1\n"2\n3\n', [(3, "", "is not CSV")]),
    "two pseudonyms": (
        HEADER + "12,,ANON-1\n13,,\n12,,ANON-2\n",
        [(4, "pseudonym", "same patient in line 2")],
    ),
    "one pseudonym for two": (
        HEADER + "12,,ANON-1\n13,,ANON-1\n",
        [(3, "pseudonym", "another patient in line 2")],
    ),
    "one pseudonym for two issuers": (
        HEADER + "12,A,ANON-1\n12,B,ANON-1\n",
        [(3, "pseudonym", "another patient in line 2")],
    ),
    "pseudonym is its identifier": (
        HEADER + "12,,12\n",
        [(2, "pseudonym", "patient_id of the same line")],
    ),
    "pseudonym is another's identifier": (
        HEADER + "12,,13\n13,,\n",
        [(2, "pseudonym", "patient_id of line 3")],
    ),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, expected: list[tuple[int, str, str]]) -> None:
    _, problems = read(text)
    assert [problem[:2] for problem in problems] == [place[:2] for place in expected]
    for problem, (_, _, words) in zip(problems, expected):
        assert words in problem.message


@pytest.mark.parametrize("template", [
    "{}\n{}\n", "patient_id,{}\n1,2\n", "patient_id\n{}\\\n", "patient_id\n{0}\t{0}\n",
    "patient_id,pseudonym\n{0},{0}\n", 'patient_id\n"{}\n', "patient_id\n{0},{0}\n",
    "patient_id,pseudonym\n{0},A\n{0},B\n", "patient_id,pseudonym\n1,{0}\n2,{0}\n",
])  # fmt: skip
def test_no_problem_repeats_a_value(template: str) -> None:
    _, problems = read(template.format("MARY^SECRET", "MARY^SECRET"))
    assert problems
    assert "SECRET" not in repr(problems).upper().replace("IDENTIFIER", "")


def test_all_problems_are_told_together() -> None:
    _, problems = read(HEADER + ",A,\n1\n2,,A\n3,,A\n2,,B\n")
    assert [problem.line for problem in problems] == [2, 3, 5, 6]


def test_line_of_a_patient_is_its_first() -> None:
    keys, _ = read(HEADER + "\n12,,\n12,,ANON-1\n")
    assert keys == [Key(3, "12", "", "ANON-1")]


def test_report_puts_equal_problems_together() -> None:
    problems = [Problem(line, "patient_id", "is empty") for line in (9, 2, 3, 4, 7)]
    problems.append(Problem(3, "", "has 1 value"))
    problems.append(Problem(0, "", "is late"))
    assert report(problems) == [
        "the file: is late",
        "line 2-4, 7, 9: patient_id is empty",
        "line 3: has 1 value",
    ]


def test_new_pseudonym_is_a_dicom_lo_of_80_random_bits() -> None:
    made = {new_pseudonym("ANON-") for _ in range(2000)}
    assert len(made) == 2000
    assert all(re.fullmatch(r"ANON-[2-9A-HJ-NP-Z]{16}", pseudonym) for pseudonym in made)
    # Every one of the 32 symbols occurs: none is lost in the translation of the alphabet.
    assert len(set("".join(pseudonym[5:] for pseudonym in made))) == 32
    assert len(new_pseudonym("A" * 32)) <= 64


@pytest.mark.parametrize("prefix", ["ANON-", "PROOF-", "a", "0", "Site.7_", "A" * 32])
def test_prefix_accepted(prefix: str) -> None:
    assert prefix_problem(prefix) is None


@pytest.mark.parametrize(
    "prefix", ["", " ", "-A", ".", "A B", "A\\", "A'", "\u00c4", "A\n", "A" * 33, "A^B", "A*"]
)
def test_prefix_refused(prefix: str) -> None:
    problem = prefix_problem(prefix)
    assert problem is not None
    assert problem.startswith(f"keydb_pseudonym_prefix is {prefix!r}. Accepted: ")


def test_own_pseudonyms_under_another_prefix_are_refused() -> None:
    text = HEADER + "1,,ANON-1\n2,,TRIAL-2\n3,,OTHER-3\n4,,\n3,,anon-3\n"
    keys, problems = read(text, ["ANON-", "TRIAL-"])
    assert [key.patient_id for key in keys] == ["1", "2", "4"]
    assert report(problems) == [
        "line 4, 6: pseudonym begins with none of ANON-, TRIAL- (ctp_pseudonym_prefixes), so CTP "
        "would let nothing of this patient out. Give it one of them, or leave it empty and one is "
        "made"
    ]
    assert read(text)[0][2].pseudonym == "OTHER-3"


@pytest.mark.parametrize(
    ("prefix", "prefixes", "accepted"),
    [
        ("ANON-", [], True),
        ("ANON-", ["TRIAL-", "ANON-"], True),
        ("ANON-7-", ["ANON-"], True),
        ("ANON", ["ANON-"], False),
        ("TRIAL-", ["ANON-"], False),
    ],
)
def test_prefixes_that_ctp_lets_out(prefix: str, prefixes: list[str], accepted: bool) -> None:
    problem = foreign_prefix_problem(prefix, prefixes)
    assert (problem is None) is accepted
    if problem:
        assert f"keydb_pseudonym_prefix is {prefix!r}" in problem
        assert "ctp_pseudonym_prefixes" in problem
