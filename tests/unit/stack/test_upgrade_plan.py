"""The preview's texts, and the objects in Orthanc's storage."""

from __future__ import annotations

import subprocess
import zlib

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.stack.carry_over import dicom_object
from ansible_collections.auscat.imaging.plugins.module_utils.stack.upgrade_plan import (
    PROBE,
    database_problem,
    version_text,
    versions,
)

OBJECT = bytes(128) + b"DICM" + b"content"


def test_the_probe_prints_versions_on_this_machine() -> None:
    printed = subprocess.run(["sh", "-c", PROBE], capture_output=True, text=True, check=True).stdout
    assert versions(printed).keys() >= {"debian"} or versions(printed)


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"Orthanc": "1"}, {"Orthanc": "2"}, ["Orthanc 1 -> 2"]),
        (
            {"Orthanc": "1", "debian": "13.1"},
            {"debian": "13.1"},
            ["Orthanc 1 -> none", "debian 13.1"],
        ),
        ({}, {"label": "3"}, ["label none -> 3"]),
    ],
)
def test_version_text(before: dict[str, str], after: dict[str, str], lines: list[str]) -> None:
    assert version_text(before, after) == lines


@pytest.mark.parametrize(
    ("data", "wanted", "refused"),
    [
        ("17", {"PostgreSQL": "17.6"}, False),
        ("15", {"PostgreSQL": "17.6"}, True),
        ("17", {"PostgreSQL": "15.1"}, True),
        ("", {"PostgreSQL": "17.6"}, False),
        ("17", {"Orthanc": "1.12.7"}, False),
    ],
)
def test_database_problem(data: str, wanted: dict[str, str], refused: bool) -> None:
    problem = database_problem("keydb", data, wanted)
    assert bool(problem) is refused
    assert not refused or ("keydb_image" in problem and f"PostgreSQL {data}" in problem)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (OBJECT, OBJECT),
        (len(OBJECT).to_bytes(8, "little") + zlib.compress(OBJECT), OBJECT),
        (b'{"a": 1}', None),
        (len(b"x" * 200).to_bytes(8, "little") + zlib.compress(b"x" * 200), None),
        (b"", None),
    ],
)
def test_dicom_object(content: bytes, found: bytes | None) -> None:
    assert dicom_object(content) == found
