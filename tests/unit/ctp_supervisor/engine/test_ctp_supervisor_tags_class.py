"""dcm4che's dictionary: what is read from it, and the form that remembers."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from pathlib import Path

from ctp_supervisor.engine import tags_class
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


def test_another_class_is_left_as_it_is() -> None:
    good = java_class({"PatientID": 0x00100020})
    for case, content in {
        "no method": java_class({}, look_up="forTag"),
        "an instance's": java_class({}, access=0x0001),
        "newer": java_class({}, version=50),
        "cut": java_class({})[:-20],
        "cut in its last attribute": good[:-2] + b"\0\1",
        "longer than it says": good + b"\0",
        "no class": b"no class",
        "of another name": java_class({}, name="org/dcm4che/dict/Other"),
        "remembers already": tags_class.remembering(good),
        # On the boot class path it would find none of these.
        "asks for a logger": java_class({}, names="org/apache/log4j/Logger"),
        "asks for an array": java_class({}, names="[Lorg/dcm4che/dict/Tag;"),
        "asks for a database": java_class({}, names="java/sql/Driver"),
        # There its own package is not let in.
        "shares with its package": java_class({}, hidden=0x0018),
        "is its package's": java_class({}, of=0x0020),
    }.items():
        assert tags_class.remembering(content) == b"", case
    assert tags_class.remembering(good)


def test_no_names_where_they_are_not_clear(tmp_path: Path) -> None:
    content = java_class({"PatientID": 0x00100020})
    jar = tmp_path / "a.jar"

    def found() -> dict[int, str]:
        return tags_class.names(tags_class.dictionary(tmp_path))

    assert found() == {}
    archive(jar, content)
    whole = jar.read_bytes()
    assert found() == {0x00100020: "PatientID"}
    for case, damaged in {"no class": b"no class", "cut": content[: len(content) // 2]}.items():
        archive(jar, damaged)
        assert found() == {}, case
    for case, at, damaged in DAMAGE:
        jar.write_bytes(_with(whole, at, damaged))
        assert found() == {}, case
    jar.write_bytes(b"no archive")
    assert found() == {}
    archive(jar, content)
    archive(tmp_path / "b.jar", content)
    assert found() == {}, "two"
    (tmp_path / "b.jar").unlink()
    with zipfile.ZipFile(jar, "a") as both:
        both.writestr(f"META-INF/versions/9/{tags_class.TAGS_CLASS}", content)
    assert found() == {}, "another one for a newer Java"


def test_what_is_no_archive_is_none_of_them(tmp_path: Path) -> None:
    archive(tmp_path / "a.jar", java_class({"PatientID": 0x00100020}))
    (tmp_path / "b.jar").mkdir()
    (tmp_path / "c.jar").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "d.jar")
    assert tags_class.names(tags_class.dictionary(tmp_path)) == {0x00100020: "PatientID"}


def test_no_more_is_read_than_a_class_can_have(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.jar", "w", zipfile.ZIP_DEFLATED) as jar:
        jar.writestr(tags_class.TAGS_CLASS, java_class({}) + bytes(32 * 1024 * 1024))
    tracemalloc.start()
    assert tags_class.remembering(tags_class.dictionary(tmp_path)) == b""
    assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    tracemalloc.stop()


#: In the directory of an archive (APPNOTE.TXT 4.3.12), by the distance from where an entry begins.
DAMAGE = [
    ("a newer kind of archive", 6, b"\xff"),
    ("encrypted", 8, b"\x01"),
    ("patches", 8, b"\x20"),
    ("a method that is not known", 10, b"\x63"),
    ("LZMA", 10, b"\x0e"),
    ("bzip2", 10, b"\x0c"),
    ("deflated, and it is not", 10, b"\x08"),
    ("another checksum", 16, b"\x00\x00\x00\x00"),
    ("longer than it is", 20, b"\xff\xff"),
    ("no name", 46, b"\xff\xfe"),
    ("elsewhere", 42, b"\xff\xff"),
]


def _with(data: bytes, at: int, damage: bytes) -> bytes:
    """The archive with this in the last entry of its directory, and in the entry's own header."""
    begin = data.rindex(b"PK\x01\x02")
    changed = bytearray(data)
    if damage and at == 46:
        changed[begin + 9] |= 0x08  # its name is UTF-8
    changed[begin + at : begin + at + len(damage)] = damage
    if at in (8, 10):
        own = int.from_bytes(data[begin + 42 : begin + 46], "little")
        changed[own + at - 2 : own + at - 2 + len(damage)] = damage
    return bytes(changed)
