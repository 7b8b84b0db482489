"""What CTP is started with: settings, verification, the working directory."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from ctp_supervisor.engine import workdir
from ctp_supervisor.engine.verify import LOOKUP, VerificationError, verify
from ctp_supervisor_site import METHOD, SCRIPT, Site
from program_settings import SettingsError

PATIENT = f'<e en="T" t="00100020" n="PatientID">@always(){LOOKUP}</e>'


def test_what_is_rendered_is_accepted(tmp_path: Path) -> None:
    verified = verify(Site(tmp_path, pipelines=2).settings())
    assert verified.methods == {"orthanc.anonymizer.script": METHOD}
    assert sorted(verified.files) == [
        "config.xml",
        "log4j.properties",
        "orthanc.anonymizer.script",
        "orthanc.filter.script",
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("config.xml", "</Configuration>", "", "not well-formed"),
        ("config.xml", "<Configuration>", "<!DOCTYPE a><Configuration>", "document type"),
        ("config.xml", "</Configuration>", '<Plugin class="A"/></Configuration>', "not known here"),
        ("config.xml", 'requireAuthentication="yes"', "", "requireAuthentication"),
        ("config.xml", 'port="9080"', 'port="80"', "port="),
        ("config.xml", 'name="orthanc-1"', 'name="other"', "other pipelines"),
        ("config.xml", 'name="orthanc-1"', 'name="orthanc-1" enabled="no"', "besides its name"),
        ("config.xml", "stdstages.DicomFilter", "stdstages.DicomCorrector", "in this order"),
        ("config.xml", 'ip="127.0.0.1"', "", "ip is None"),
        ("config.xml", '/filter" script', '/other" script', "quarantine is"),
        ("config.xml", ' script="orthanc.anonymizer.script"', "", "script is None"),
        ("config.xml", 'script="orthanc.anonymizer.script"', 'script=""', "script is ''"),
        ("config.xml", "lookupTable", 'dicomScript="x" lookupTable', "not accepted"),
        ("config.xml", "@127.0.0.1:8301", "@orthanc:4242", "the relay"),
        ("config.xml", 'url="', 'quarantineTimeDepth="1" url="', "not accepted"),
        ("orthanc.anonymizer.script", "</script>", "", "not well-formed"),
        ("orthanc.anonymizer.script", SCRIPT, " \n", "is empty"),
        ("orthanc.anonymizer.script", 't="unspecifiedelements"', 't="curves"', "unspecified"),
        ("orthanc.anonymizer.script", '<r en="T" t="priv', '<r en="F" t="priv', "privategroups"),
        ("orthanc.anonymizer.script", "@@UID_KEY@@", "", "exactly once"),
        ("orthanc.anonymizer.script", "@always()YES", "@skip()", "@skip"),
        ("orthanc.anonymizer.script", "@always()@if(Pat", "@if(Pat", "without @always"),
        ("orthanc.anonymizer.script", "|IssuerOfPatientID,", ",", "and issuer alone"),
        ("orthanc.anonymizer.script", PATIENT, PATIENT.replace('"T"', '"F"'), "and issuer alone"),
        ("orthanc.anonymizer.script", "[^\\\\]*", ".*", "ONE_VALUE"),
        ("orthanc.anonymizer.script", METHOD, "another", "does not write"),
        ("orthanc.filter.script", '.equals("YES")', '.equals("NO")', "IdentityRemoved"),
        ("orthanc.filter.script", "B-", "", "pseudonym prefix"),
        ("orthanc.filter.script", "\n* [00120063]", "\n+ [00120063]", "product"),
        ("orthanc.filter.script", "[00120062]", "true. + [00120062]", "product"),
        ("orthanc.filter.script", METHOD, "", "method"),
    ],
)
def test_a_file_that_is_not_as_it_has_to_be(
    tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    site = Site(tmp_path)
    assert old in site.files[name]
    site.files[name] = site.files[name].replace(old, new)
    with pytest.raises(VerificationError, match=message):
        verify(site.settings())


def test_a_missing_file(tmp_path: Path) -> None:
    site = Site(tmp_path)
    settings = site.settings()
    (site.configuration / "orthanc.filter.script").unlink()
    with pytest.raises(VerificationError, match=r"orthanc\.filter\.script cannot be read"):
        verify(settings)
    site.settings()
    (site.distribution / "libraries/CTP.jar").unlink()
    with pytest.raises(VerificationError, match="mount the directory CTP"):
        verify(settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": "other"}, "engine is 'other'"),
        ({"dicom_port": "104"}, "dicom_port has to be a whole number"),
        ({"dicom_port": True}, "dicom_port has to be a whole number"),
        ({"web_port": 104}, "two ports are the same"),
        ({"pseudonym_prefixes": []}, "at least one entry"),
        ({"pipelines": []}, "at least one entry"),
        ({"lookup_table": "lookup.properties"}, "absolute"),
        ({"keydb": {}}, "keydb: host is missing"),
    ],
)
def test_settings_that_are_not_accepted(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    site = Site(tmp_path)
    site.supervisor.update(change)
    with pytest.raises(SettingsError, match=message):
        site.settings()


def test_shared_directories_are_not_accepted(tmp_path: Path) -> None:
    site = Site(tmp_path, pipelines=2)
    first, second = (pipeline["stages"][1] for pipeline in site.supervisor["pipelines"])
    second["quarantine"] = first["quarantine"]
    with pytest.raises(SettingsError, match="share a directory"):
        site.settings()
    second["quarantine"] = "/elsewhere"
    with pytest.raises(SettingsError, match="does not lie under"):
        site.settings()


def test_the_working_directory(tmp_path: Path) -> None:
    site = Site(tmp_path)
    settings = site.settings()
    working = workdir.make(settings, verify(settings), b"\xab" * 32, "sésame")
    path = working.path
    assert path.stat().st_mode & 0o777 == 0o700
    script = (path / "orthanc.anonymizer.script").read_text()
    assert f"={'ab' * 32}@remove()\n" in script and "@@UID_KEY@@" not in script
    assert {each.stat().st_mode & 0o777 for each in working.signatures} == {0o400}
    assert (path / "libraries/CTP.jar").read_bytes() == b"no CTP"
    # What CTP would copy into the place of a missing script is not there.
    assert not (path / "examples").exists()
    users = (path / "users.xml").read_text()
    assert users.count("<user ") == 1 and "sésame" not in users and "king" not in users
    assert "<role>qadmin</role>" in users and users.count("<role>") == 1
    # The decimal MD5 of "sésame", by md5sum and bc.
    assert 'password="214816191614834820608175975955069343800"' in users
    assert working.intact()
    again = workdir.make(settings, verify(settings), b"\xab" * 32, "x")
    assert again.path == path and again.intact()
    workdir.remove(path)
    assert not path.exists()


def test_a_full_memory_is_named_and_nothing_of_the_key_stays(tmp_path: Path) -> None:
    settings = Site(tmp_path).settings()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    verified = verify(settings)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(SettingsError, match=r"shm has to have some MiB of free space"):
            workdir.make(settings, verified, b"\xab" * 32, "x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(settings.memory.iterdir())
    settings.memory.rmdir()
    settings.memory.touch()
    with pytest.raises(SettingsError, match="Not a directory"):
        workdir.make(settings, verified, b"\xab" * 32, "x")


@pytest.mark.parametrize("way", ["write", "same bytes, old time", "replace", "delete"])
def test_every_change_is_seen(tmp_path: Path, way: str) -> None:
    settings = Site(tmp_path).settings()
    working = workdir.make(settings, verify(settings), bytes(32), "x")
    file = working.path / "orthanc.anonymizer.script"
    before = file.stat()
    time.sleep(0.01)
    if way == "delete":
        file.unlink()
    elif way == "replace":
        other = file.with_name("other")
        other.write_bytes(file.read_bytes())
        other.rename(file)
    else:
        content = file.read_bytes()
        file.chmod(0o600)
        file.write_bytes(content if way.startswith("same") else b"<script/>")
        file.chmod(0o400)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert working.changed() == [file]


def test_a_password_that_ctp_cannot_take() -> None:
    workdir.check_password("without one")
    with pytest.raises(SettingsError, match="ctp_admin_pass contains a colon"):
        workdir.check_password("with:one")


def test_the_uid_key_is_made_once(tmp_path: Path) -> None:
    settings = Site(tmp_path).settings()
    key = workdir.uid_key(settings, was_used=False)
    path = settings.data / "uid.key"
    assert len(key) == 32 and path.read_bytes() == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert workdir.uid_key(settings, was_used=True) == key
    path.write_bytes(bytes(32))
    with pytest.raises(SettingsError, match="not the key that was used here"):
        workdir.uid_key(settings, was_used=True)
    path.write_bytes(key[:-1])
    with pytest.raises(SettingsError, match="31 bytes"):
        workdir.uid_key(settings, was_used=True)
    path.unlink()
    for used in (True, False):
        with pytest.raises(SettingsError, match="Restore it from the backup"):
            workdir.uid_key(settings, was_used=used)


def test_no_new_key_where_objects_were_received(tmp_path: Path) -> None:
    settings = Site(tmp_path).settings()
    with pytest.raises(SettingsError, match="Restore it from the backup"):
        workdir.uid_key(settings, was_used=True)
    assert not (settings.data / "uid.key").exists()
