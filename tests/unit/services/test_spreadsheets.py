# ruff: noqa: RUF001 characters that can be taken for others are its subject
"""Lists of patients as spreadsheets, data frames and databases write them."""

from __future__ import annotations

import codecs
import datetime
import io
import unicodedata
import zipfile

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.services.key_list import (
    formats_problem,
    read,
    remarks,
    report,
)

NO_BREAK = "\u00a0"

MADE = {
    "scientific notation": [
        "1.23457E+11", "1,23457E+11", "1.23457e+11", "1E+12", "1.0E+05", "-1.2E+10",
        "1.2345E11", "1,2E11", "1.23457e+011", "12.3E+09", "1.00E-05", "1e-05", "1.23×10^11",
        f"{123456789012:.5E}", f"{1e22}", "0.00E+00",
    ],
    'begins with "="': ['="0012345"', '=""0012345""', "=A1", "=0012345", "=TEXT(A1;0)"],
    "apostrophe": ["'0012345", "’0012345", "`0012345", "'0012345'"],
    "quotation marks around": ['"0012345"'],
    "error of a spreadsheet": [
        "#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#NV",
        "#n/a",
        "#BEZUG!", "#WERT!", "#NOM?", "#¡REF!", "#¿NOMBRE?", "#####", "#", "Err:502", "#N/D",
        "#GETTING_DATA", "#ERROR!", "#ЗНАЧ!", "Error 2042",
    ],
    "where there is nothing": [
        "NULL", "null", "(null)", "<null>", "[NULL]", "nan", "NaN", "NAN", "-nan", "None", "none",
        "N/A",
        "n/a", "NA", "<NA>", "NaT", "nil", "undefined", "\\N", "-", "--", ".", "?", "----------",
        "_",
        "inf", "-Infinity", "Loading...", "1.#QNAN", "DBNull",
    ],
    "TRUE or FALSE": ["TRUE", "FALSE", "True", "false", "WAHR", "FAUX", "VERDADERO", "ИСТИНА"],
    "decimal point": ["12345.0", "67890.00", "12345,0", "0012345.0", "-12345.0", "12345.", "0.0"],
    "thousands separators": [
        "1,234,567", "1.234.567", "1'234'567", "1’234’567", f"1{NO_BREAK}234{NO_BREAK}567",
        "1\u202f234\u202f567", "12,345", "12.345", "1,234.00", "$1,234.00", "1.234,00 €",
        "12,34,567",
        "50%", "12.5 %", f"{1234567:,}", "12,000",
    ],
    "more than 15 digits": ["1234567890123450", "123456789012345000", "10000000000000000"],
    "date or a time": [
        "1-Jan", "01-Jan", "Jan-03", "1-Jan-03", "01-JAN-03", "01-MAR-2003", "01MAR2003",
        "2-Sept", "1. Jan", "01. Mrz", "1-févr", "déc-03", "Mär 03", "jan/03", "ene-03", "2 mei",
        "Jan 1, 2003", "January 1, 2003", "Saturday, 1 February 2003", "1 de enero de 2003",
        "Sep-2003",
        "01/02/2003", "1/2/2003", "2/1/03", "13/12/2003", "12/13/2003", "01.02.2003", "1.2.03",
        "01-02-2003",
        "2003-02-01", "2003/02/01", "2003.02.01", "2003. 2. 1.", "2003年2月1日", "01-02-03",
        "99-12-31",
        "2003-02-01 00:00:00", "2003-02-01T00:00:00Z", "2003-02-01T00:00:00.000+10:00",
        "1/02/2003 0:00",
        "2/1/2003 12:00:00 AM", "12:30", "12:30:00", "1:05 PM", "00:12:34.0",
        str(datetime.date(2003, 2, 1)), str(datetime.datetime(2003, 2, 1)), "05-Aug",
    ],
    "other digits": ["００１２３４５", "０012345", "٠٠١٢٣٤٥", "ＰＡＴ－1", "12³"],
    "word processor": ["12–34", "12—34", "12‑34", "12−34", "PAT…1", "say “A”"],
    "no-break space": [f"12{NO_BREAK}34", "12\u202f34a", "12\u300034", "12\u200934a"],
    "wrong encoding": ["M\u00c3\u00bcller", "M\ufffdller", "M\u00e2\u20ac\u201c1"],
    "accents as characters of their own": [
        unicodedata.normalize("NFD", each) for each in ("Ä123", "Nguyễn")
    ],
    "look like the Latin": ["А12B", "PАT-1", "Αlpha1"],
    "delimiters": ["12;34", "12|34", "0012345;;"],
    "HL7 components": ["0012345^^^HOSP-A", "0012345^^^HOSP&1.2.36&ISO^MR"],
    "cannot be seen": [
        "12\u200b34", "\u00c3\u0084123", "\ufeff0012345", "12\u00ad34", "12\u202e34", "12\x0034",
        "12\u206034", "12\u202834", "12\x0c34", "12\x8534", "0012345\u200e",
    ],
    "number of rows": ["(2 rows)", "2 rows affected", "(1 row affected)", "25 rows selected."],
    "backslash": ["PAT\\1"],
    "more than 64 characters": ["P" * 65],
}  # fmt: skip

SOUND = [
    "0012345", "12345", "12E4", "1E5", "12E04A", "E12", "1E-4", "12-34-56", "PAT-1", "MAR-03",
    "DEC-12",
    "MAR1", "1-MAR", "Mary-03", "Mar-1", "2003-02-01-A", "2003-99-01", "P.2003.02.01",
    "99/99/2003", "2003-02",
    "123/2003", "1/2", "20030201", "37653", "010203-1234", "756.1234.5678.97", "943 476 5919",
    "123 456",
    "12.345.678-9", "1234.56", "1.2.840.10008.1", "123456789012345", "1234567890123456",
    "Müller-1",
    "M\u00fcller 2", "山田-1", "ﾔﾏﾀﾞ", "Иванов-1", "Ωmega", "O'Brien", "A=B", "#12345", "A#",
    "NAN-12",
    "Nullmeier", "NONE-1", "TRUEMAN", "N/A-1", "HOSP:12", "12:99", "1,2", 'say "A"', "PAT_1",
    "A  B", "x@y", "(12)", "+12", "50-1", "Err", "E+12", "1.5E", "Müller", "P" * 64, "00.123",
    "0,5",
]  # fmt: skip


def quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


@pytest.mark.parametrize(
    ("words", "value"),
    [(words, value) for words, values in MADE.items() for value in values],
    ids=[f"{words}-{n}" for words, values in MADE.items() for n in range(len(values))],
)
def test_what_a_program_made_is_refused_by_line(words: str, value: str) -> None:
    keys, problems = read(f"patient_id,issuer\nPAT-9,\n{quoted(value)},\n")
    assert [key.patient_id for key in keys] == ["PAT-9"]
    assert [problem[:2] for problem in problems] == [(3, "patient_id")]
    assert words in problems[0].message
    assert not any(each in problems[0].message for each in ("12345", "67890", "2003", "PAT"))


@pytest.mark.parametrize("value", SOUND)
def test_what_no_program_made_is_loaded(value: str) -> None:
    keys, problems = read(f"patient_id\n{quoted(value)}\n")
    assert problems == []
    assert keys[0].patient_id == value


def test_sound_ones_stand_together() -> None:
    keys, problems = read("patient_id\n" + "\n".join(map(quoted, SOUND)))
    assert problems == []
    assert [key.patient_id for key in keys] == SOUND


@pytest.mark.parametrize("column", ["issuer", "pseudonym"])
@pytest.mark.parametrize("value", ["nan", "101.0", "#N/A", "1.2E+10", "1-Jan", "'A", "TRUE"])
def test_the_other_columns_are_judged_too(column: str, value: str) -> None:
    _, problems = read(f"patient_id,{column}\nPAT-1,{value}\n")
    assert [problem[:2] for problem in problems] == [(2, column)]


@pytest.mark.parametrize("values", [
    ["01-02-03", "12-34-56"], ["1.001", "0.045"], ["123.0", "123.4"],
    ["1234567890123450", "1234567890123456"], ["2003-02-01", "2003-45-01"], ["12:30", "45:99"],
])  # fmt: skip
def test_one_that_can_be_nothing_else_vouches_for_those_of_its_shape(values: list[str]) -> None:
    assert read("patient_id\n" + "\n".join(values))[1] == []
    assert [p.line for p in read(f"patient_id\n{values[0]}\n")[1]] == [2]


def test_formats_say_how_identifiers_look() -> None:
    text = "patient_id,issuer\n2003-02-01,A.0\n12345.0,\n0012345,101.0\n12345,A.0\n"
    formats = {"patient_id": ["[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{7}"], "issuer": [".*"]}
    keys, problems = read(text, formats=formats)
    assert [key.patient_id for key in keys] == ["2003-02-01", "0012345"]
    assert [problem[:2] for problem in problems] == [(3, "patient_id"), (5, "patient_id")]
    assert "decimal point" in problems[0].message
    assert "leading zero may be lost" in problems[1].message
    assert "[0-9]{7} (keydb_formats)" in problems[1].message


def test_formats_fit_the_whole_value() -> None:
    assert read("patient_id\n12345678\n", formats={"patient_id": ["[0-9]{7}"]})[1]
    assert read("patient_id\n12345678\n", formats={"patient_id": []})[1] == []


@pytest.mark.parametrize("value", ["12\\3", "12\x003", "1" * 65])
def test_formats_do_not_let_in_what_dicom_cannot_carry(value: str) -> None:
    assert len(read(f"patient_id\n{value}\n", formats={"patient_id": ["(?s).*"]})[1]) == 1


@pytest.mark.parametrize(
    ("formats", "words"),
    [
        ({"id": ["x"]}, "has the key 'id'"),
        ({"patient_id": "x"}, "has for patient_id 'x'"),
        ({"patient_id": [7]}, "has for patient_id [7]"),
        ({"patient_id": [""]}, "has for patient_id ['']"),
        ({"issuer": ["[0-9"]}, "'[0-9', which is no regular expression"),
    ],
)
def test_formats_that_say_nothing(formats: dict[str, object], words: str) -> None:
    problem = formats_problem(formats)
    assert problem is not None
    assert problem.startswith("keydb_formats has ")
    assert words in problem
    assert "Accepted: a mapping of patient_id, issuer, pseudonym to lists" in problem


def test_formats_accepted() -> None:
    assert formats_problem({}) is formats_problem({"patient_id": ["[0-9]{7}", "A.*"]}) is None


TWINS = [
    ("abc-1", "ABC-1"), ("PAT 1", "PAT  1"), ("Ö12", "ö12"), ("0012345", f"0012345{NO_BREAK}"),
    ("ﾔ1", "ヤ1"), ("АВ1", "AB1"), ("straße", "STRASSE"),
]  # fmt: skip


@pytest.mark.parametrize("pair", TWINS)
def test_one_identifier_in_two_spellings(pair: tuple[str, str]) -> None:
    for one, other in (pair, pair[::-1]):
        _, problems = read(f"patient_id,issuer\n{one},\nx,\n{other},\n")
        assert {problem[1] for problem in problems} == {"patient_id"}
        assert problems, pair
        if "АВ1" not in pair:
            assert [problem.line for problem in problems] == [4]
            assert "is that of line 2, spelled in another way" in problems[0].message


def test_nfc_and_nfd_twins() -> None:
    nfd, nfc = (unicodedata.normalize(form, "Ä123") for form in ("NFD", "NFC"))
    assert [p.line for p in read(f"patient_id\n{nfd}\n{nfc}\n")[1]] == [2]


def test_an_issuer_in_two_spellings() -> None:
    _, problems = read("patient_id,issuer\n12,HOSP-A\n13,Hosp-A\n12,Hosp-A\n")
    assert [problem[:2] for problem in problems] == [(4, "issuer")]


def test_two_spellings_that_the_formats_allow() -> None:
    text = "patient_id\nab1\nAB1\n"
    assert [p.line for p in read(text)[1]] == [3]
    assert read(text, formats={"patient_id": ["[A-Za-z]+[0-9]"]})[1] == []


def test_pseudonyms_that_differ_in_case_alone() -> None:
    _, problems = read("patient_id,pseudonym\n1,ANON-a\n2,ANON-A\n3,ANON-a \n")
    assert [problem[:2] for problem in problems] == [(3, "pseudonym"), (4, "pseudonym")]
    assert "in case or blanks alone" in problems[0].message
    assert "another patient in line 2" in problems[1].message


def test_a_no_break_space_at_the_end_is_loaded_and_told() -> None:
    text = (
        f"patient_id,issuer\n0012345{NO_BREAK},\n \t0012346 ,\n{NO_BREAK},\n0012347,{NO_BREAK}H\n"
    )
    keys, problems = read(text)
    assert problems == []
    found = [(key.patient_id, key.issuer) for key in keys]
    assert found == [(f"0012345{NO_BREAK}", ""), ("0012346", ""), ("0012347", f"{NO_BREAK}H")]
    told = remarks(keys)
    assert [each.partition(" begins or ends with a no-break space")[0] for each in told] == [
        "line 2: patient_id", "line 5: issuer",
    ]  # fmt: skip
    assert "0012345" not in repr(told)


@pytest.mark.parametrize("text", [
    "patient_id,issuer,pseudonym\n0012345,,\n,,\n,,\n",
    ",,\npatient_id,issuer,pseudonym\n0012345,,\n",
    "patient_id;issuer\n0012345;\n;\n ; \n", "patient_id\tissuer\n0012345\t\n\t\n",
    "patient_id|issuer\n0012345|\n|\n", f"patient_id,issuer\n0012345,\n{NO_BREAK},{NO_BREAK}\n",
    'patient_id,issuer\n0012345,\n"",""\n', "patient_id,,,\n0012345,,,\n,,,\n",
    "patient_id,\n0012345\n",
    "patient_id\r0012345\r", "patient_id,issuer\r\n0012345,\r\n,\r\n",
    "\ufeffpatient_id\r\n0012345\r\n",
    "sep=;\r\npatient_id;issuer\r\n0012345;\r\n", "sep=,\npatient_id\n0012345\n",
    '"sep=;"\npatient_id;issuer\n0012345;\n', "sep=\t\npatient_id\tissuer\n0012345\t\n",
    "Patient_ID,ISSUER\n0012345,\n", f" patient_id{NO_BREAK},issuer\n0012345,\n",
])  # fmt: skip
def test_what_spreadsheets_write_around_the_patients(text: str) -> None:
    keys, problems = read(text)
    assert problems == []
    assert [key[1:] for key in keys] == [("0012345", "", "")]


def test_line_numbers_with_what_does_not_count() -> None:
    text = "sep=;\r\npatient_id;issuer\r\n;\r\n\r\n1.2E+10;\r\n"
    assert [problem.line for problem in read(text)[1]] == [5]


@pytest.mark.parametrize(("text", "line", "words"), [
    ("0012345\n0012346\n", 1, "patient_id is missing"),
    ("MRN;Name\n1;A\n", 1, "name of column 1 is unknown"),
    (",patient_id\n0,0012345\n", 1, "column 1 has no name"),
    ("patient_id,issuer\n1,\nPatient_ID,Issuer\n2,\n", 3, "names the columns once more"),
    ("patient_id,issuer\n1;,\n", 2, "delimiters"),
    ('patient_id\n1\n"2\n', 3, "is not CSV"),
    ("patient_id,pseudonym\n1,A\n1,B\n", 3, "same patient in line 2"),
    ("patient_id,pseudonym\n1,A\n2,A\n", 3, "another patient in line 2"),
    ("patient_id,issuer\n12,345,\n", 2, "has 3 values"),
])  # fmt: skip
def test_what_is_wrong_around_the_patients(text: str, line: int, words: str) -> None:
    _, problems = read(text)
    assert problems[-1].line == line
    assert any(words in problem.message for problem in problems)


def as_lookup_reads(data: bytes) -> str:
    """What Ansible gives to the module."""
    return data.decode("utf-8", "surrogateescape")


def workbook() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", "<worksheet/>")
    return stream.getvalue()


LIST = "patient_id\r\n0012345\r\n"
FILES = {
    "UTF-16, by Excel": (LIST.encode("utf-16"), "UTF-16"),
    "UTF-16 LE": (codecs.BOM_UTF16_LE + LIST.encode("utf-16-le"), "UTF-16"),
    "UTF-16 BE": (codecs.BOM_UTF16_BE + LIST.encode("utf-16-be"), "UTF-16"),
    "UTF-16 LE without mark": (LIST.encode("utf-16-le"), "UTF-16"),
    "UTF-16 BE without mark": (LIST.encode("utf-16-be"), "UTF-16"),
    "UTF-32": (LIST.encode("utf-32"), "UTF-32"),
    "workbook": (workbook(), "workbook (.xlsx, .ods"),
    "old workbook": (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(8) + b"\xff" * 500, ".xls"),
    "HTML": (b"\r\n<HTML><table><tr><td>0012345", "HTML"),
    "XML": (b'<?xml version="1.0"?><Workbook>', "XML"),
    "PDF": (b"%PDF-1.7\n", "PDF"),
    "gzip": (b"\x1f\x8b\x08\x00abc", "gzip"),
}


@pytest.mark.parametrize(("data", "words"), FILES.values(), ids=FILES)
def test_files_that_are_no_csv_are_named(data: bytes, words: str) -> None:
    keys, problems = read(as_lookup_reads(data))
    assert keys == []
    (text,) = report(problems)
    assert text.startswith("the file: is ")
    assert words in text
    assert "0012345" not in text


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_other_encodings_of_one_byte_are_named_by_line(encoding: str) -> None:
    _, problems = read(as_lookup_reads("patient_id\n1\nMüller-1\n".encode(encoding)))
    assert [problem[:2] for problem in problems] == [(3, "patient_id")]
    assert "is not UTF-8" in problems[0].message


def test_utf_8_with_and_without_mark_is_the_same() -> None:
    for encoding in ("utf-8", "utf-8-sig"):
        keys, problems = read(as_lookup_reads("patient_id\nMüller-1\n".encode(encoding)))
        assert ([key.patient_id for key in keys], problems) == (["Müller-1"], [])
