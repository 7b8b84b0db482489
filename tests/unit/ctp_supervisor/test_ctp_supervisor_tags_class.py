"""dcm4che's dictionary: what is read from it, and the form that remembers."""

from __future__ import annotations

from pathlib import Path

import pytest
from ctp_supervisor import tags_class
from ctp_supervisor_java import archive, java_class

NAMES = {0x00100020: "PatientID", 0x00100010: "PatientName", 0xFFFEE000: "Item"}


def test_names_are_those_of_the_distribution(tmp_path: Path) -> None:
    constants = {name: tag for tag, name in NAMES.items()}
    content = java_class({**constants, "$no_name": 5})
    archive(tmp_path / "CTP.jar", None)
    archive(tmp_path / "deep" / "dcm4che.jar", content)
    assert tags_class.class_constants(content) == {**constants, "$no_name": 5}
    assert tags_class.names(tags_class.dictionary(tmp_path)) == NAMES


def test_the_one_that_remembers_has_the_same_constants() -> None:
    """That it answers as the other does is shown with Java, in test_whole_in_stock_ctp.py."""
    constants = {"Item": 0xFFFEE000, "PatientName": 0x00100010, "PatientID": 0x00100020}
    content = java_class(constants)
    found = tags_class.remembering(content)
    assert found != content and tags_class.class_constants(found) == constants


@pytest.mark.parametrize("case", ["no method", "an instance's", "newer", "cut", "no class"])
def test_another_class_is_left_as_it_is(case: str) -> None:
    content = {
        "no method": java_class({}, look_up="forTag"),
        "an instance's": java_class({}, access=0x0001),
        "newer": java_class({}, version=50),
        "cut": java_class({})[:-20],
    }.get(case, b"no class")
    assert tags_class.remembering(content) == b""


@pytest.mark.parametrize("case", ["none", "two", "no class", "cut", "no archive"])
def test_no_names_where_they_are_not_clear(tmp_path: Path, case: str) -> None:
    content = java_class({"PatientID": 0x00100020})
    if case == "two":
        archive(tmp_path / "a.jar", content)
        archive(tmp_path / "b.jar", content)
    elif case != "none":
        archive(tmp_path / "a.jar", {"cut": content[: len(content) // 2]}.get(case, b"no class"))
    if case == "no archive":
        (tmp_path / "a.jar").write_bytes(b"no archive")
    assert tags_class.names(tags_class.dictionary(tmp_path)) == {}
