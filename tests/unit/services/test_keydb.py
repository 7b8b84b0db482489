from __future__ import annotations

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.services.key_list import Key, Problem
from ansible_collections.auscat.imaging.plugins.module_utils.services.keydb import (
    KeydbAbsentError,
    KeydbError,
    copy_field,
    identifier,
    literal,
    table_problem,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services.scram import verifier
from ansible_collections.auscat.imaging.plugins.modules.keydb_load import (
    CONFLICTS,
    SHOWN,
    explanation,
    refusal,
    statements,
)
from ansible_collections.auscat.imaging.plugins.modules.keydb_passwords import differing


@pytest.mark.parametrize(
    ("text", "quoted"), [("a", "'a'"), ("o'b", "'o''b'"), ("a\\b", "'a\\b'"), ("", "''")]
)
def test_literal(text: str, quoted: str) -> None:
    assert literal(text) == quoted


def test_identifier() -> None:
    assert identifier('a"b') == '"a""b"'


@pytest.mark.parametrize(
    ("text", "field"),
    [("12", "12"), ("\\N", "\\\\N"), ("\\.", "\\\\."), ("a\tb", "a\\tb"), ("a\r\nb", "a\\r\\nb")],
)
def test_copy_field(text: str, field: str) -> None:
    assert copy_field(text) == field


def test_every_row_is_one_line_of_copy() -> None:
    keys = [Key(2, "12", "HOSP", ""), Key(3, "13", "", "ANON-1")]
    data = statements(keys, "ANON-", check_only=False).split("COPY wanted FROM STDIN;\n")[1]
    rows = [line.split("\t") for line in data.split("\n\\.\n")[0].splitlines()]
    assert [row[:4] for row in rows] == [["2", "12", "HOSP", ""], ["3", "13", "", "ANON-1"]]
    assert rows[0][4].startswith("ANON-")
    assert rows[1][4] == ""


@pytest.mark.parametrize(("check_only", "inserts"), [(True, 0), (False, 1)])
def test_check_mode_inserts_nothing(check_only: bool, inserts: int) -> None:
    text = statements([Key(2, "12", "", "")], "ANON-", check_only=check_only)
    assert text.count('INSERT INTO "patient"') == inserts


def test_the_table_of_another_schema() -> None:
    text = statements([Key(2, "12", "", "")], "ANON-", check_only=False, table="keys.pairs")
    assert 'INSERT INTO "keys"."pairs" (' in text
    assert '"patient"' not in text
    assert "@table@" not in text


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a.b.c", '"a"', "1a"])
def test_names_that_are_no_table(name: str) -> None:
    assert f"keydb_table is {name!r}" in table_problem(name)


def test_names_of_tables() -> None:
    assert table_problem("patient") == table_problem("keys.pairs_2") == ""


@pytest.mark.parametrize(("column", "message"), CONFLICTS.values(), ids=CONFLICTS)
def test_refusal_names_line_and_column(column: str, message: str) -> None:
    result = refusal([Problem(7, column, message)])
    assert result["problems"] == [f"line 7: {column} {message}"]
    assert str(result["msg"]).startswith(
        f"The file was refused; nothing was loaded. line 7: {column}"
    )


def test_refusal_lists_all_and_shows_some() -> None:
    result = refusal(Problem(line, "", f"message {line}") for line in range(1, 101))
    assert len(list(result["problems"])) == 100
    assert f"line {SHOWN}: " in str(result["msg"])
    assert f"line {SHOWN + 1}: " not in str(result["msg"])
    assert "and 80 more" in str(result["msg"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeydbAbsentError("No container."), "Bring the service up (site.yml)"),
        (KeydbError('ERROR:  relation "patient" does not exist'), "images/keydb/schema.sql"),
        (KeydbError("ERROR:  canceling statement due to lock timeout"), "Another session"),
        (
            KeydbError(
                'ERROR:  new row for relation "patient" violates check "patient_id_dicom_lo"'
            ),
            "schema is older than 3",
        ),
        (KeydbError("something else"), "something else"),
    ],
)
def test_explanation(error: KeydbError, words: str) -> None:
    assert words in explanation(error, "key_db")


def test_only_differing_passwords_are_changed() -> None:
    stored = {"a": verifier("one"), "b": verifier("two"), "c": None, "other": None}
    assert differing({"a": "one", "b": "new", "c": "three"}, stored, "s") == ["b", "c"]


def test_a_role_that_does_not_exist_is_named() -> None:
    with pytest.raises(KeydbError, match=r"stack_keydb has no role b\. .* Nothing was changed"):
        differing({"a": "one", "b": "two"}, {"a": None}, "stack_keydb")
