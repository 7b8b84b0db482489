from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.action import known_variables
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import spelling

KNOWN = known_variables.known_variables()
ROLES = known_variables.role_names()


def found(name: str, typed: bool = False) -> tuple[str, bool]:
    """Give the name that a refusal proposes, and whether there is a warning instead."""
    refused, said = spelling.variable_findings([name], KNOWN, ROLES, [name] if typed else [])
    assert len(refused) + len(said) <= 1
    for text in refused + said:
        assert text.startswith(f"{name} is set {'on the command line' if typed else 'in the inv'}")
    near = refused[0].split("The nearest is ")[1].split(". ")[0] if refused else ""
    return near, bool(said)


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("orthanc_web_prt", "orthanc_web_port"),
        ("orthanc_port", "orthanc_web_port"),
        ("Orthanc_Web_Port", "orthanc_web_port"),
        ("orthanc-web-port", "orthanc_web_port"),
        ("ortanc_web_port", "orthanc_web_port"),
        ("ctp_flavor", "ctp_flavour"),
        ("ctp_dicom_source", "ctp_dicom_sources"),
        ("auscat_time_zone", "auscat_timezone"),
        ("keydb_passwort", "keydb_password"),
        ("host_volume_devise", "host_volume_device"),
        ("backup_identifiable_repositry", "backup_identifiable_repository"),
        ("firewall_port", "firewall_ports"),
        ("docker_address_pools", "auscat_docker_address_pools"),
    ],
)
def test_a_slip_is_refused_with_the_nearest_name(slip: str, meant: str) -> None:
    assert slip not in KNOWN
    assert found(slip) == found(slip, typed=True) == (meant, False)


@pytest.mark.parametrize(
    "name", ["status_page_url", "backup_repository", "backup_media", "orthanc_url", "auscat_notes"]
)
def test_what_may_be_somebody_elses_is_said(name: str) -> None:
    assert found(name) == ("", True)


@pytest.mark.parametrize(
    "name", ["key_file", "release_date", "nginx_port", "studies", "timezone", "pacs", "awx_job_id"]
)
def test_what_is_not_ours_is_left_alone(name: str) -> None:
    assert found(name) == ("", False)


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("key_file", "keys_file"),
        ("keyfile", "keys_file"),
        ("purge_older_then_days", "purge_older_than_days"),
        ("relase", "release"),
        ("studdy", "study"),
        ("renewed", "renew"),
    ],
)
def test_what_was_typed_is_compared_with_what_playbooks_ask_for(slip: str, meant: str) -> None:
    assert found(slip, typed=True) == (meant, False)


def test_only_names_of_people_are_looked_at() -> None:
    names = ["ansible_hots", "__orthanc_web_prt", "vault_orthanc_admin", "orthanc_aet", "x"]
    assert spelling.candidates(names, KNOWN) == ["x"]


SITE: dict[str, Any] = {
    "orthanc_web_sources": ["10.1.0.0/16"],
    "keydb_password": "{{ vault_keydb_password }}",
    "vault_keydb_password": "s3cret-of-the-tests",
    "ansible_host": "192.0.2.1",
}


def test_a_sound_site_raises_no_alarm() -> None:
    assert known_variables.findings(SITE, {}) == ([], [])


def test_no_value_is_shown() -> None:
    refused, said = known_variables.findings({**SITE, "keydb_passwort": "hunter2"}, {})
    assert len(refused) == 1 and not said
    assert "hunter2" not in refused[0]


def test_a_variable_that_another_takes_is_no_slip() -> None:
    own = {**SITE, "orthanc_web_sources_extra": ["10.2.0.1"]}
    assert known_variables.findings(own, {})[0]
    used = {**own, "orthanc_web_sources": "{{ ['10.1.0.0/16'] + orthanc_web_sources_extra }}"}
    assert known_variables.findings(used, {}) == ([], [])


class HostVars(dict[str, Any]):
    def raw_get(self, host: str) -> Any:
        return self[host]


def test_nor_is_one_that_another_host_takes() -> None:
    own = {**SITE, "orthanc_web_sources_extra": ["10.2.0.1"]}
    other = {"keydb_sources": "{{ hostvars['cv01'].orthanc_web_sources_extra }}"}
    hostvars = HostVars(cv01=own, kv01=other)
    assert known_variables.findings({**own, "hostvars": hostvars}, {}) == ([], [])


@pytest.mark.parametrize(
    ("variables", "renamed"),
    [
        ({"vault_keydb_pasword": "x"}, "vault_keydb_password"),
        ({"vault_keydb_password": "x"}, ""),
        # Taken, and what it is near to is there.
        ({"vault_keydb_password": "x", "vault_keydb_pasword": "x"}, ""),
        # Another password, whose variable stands on another machine.
        ({"vault_orthanc_admin_password": "x"}, ""),
        ({"vault_token_of_something": "x"}, ""),
        ({}, ""),
    ],
)
def test_a_slip_in_the_vault(variables: dict[str, str], renamed: str) -> None:
    site = {"keydb_password": "{{ vault_keydb_password }}", **variables}
    refused, said = known_variables.findings(site, {})
    assert not said
    assert [each for each in refused if f"Rename it to {renamed} in the vault" in each] == refused
    assert bool(refused) == bool(renamed)


def test_a_missing_secret_is_not_another_one_that_is_there() -> None:
    """Else somebody would rename the password of another service."""
    site = HostVars(
        cv01={"orthanc_registered_users": {"admin": "{{ vault_orthanc_admin_password }}"}},
        kv01={"ctp_admin_password": "{{ vault_ctp_admin_password }}"},
    )
    here = {**site["cv01"], "vault_ctp_admin_password": "x", "hostvars": site}
    assert known_variables.findings(here, {}) == ([], [])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([{"published": 80, "sources": []}], []),
        ([{"publised": 80, "sources": []}], ["firewall_ports[0]", "'publised'", "is published."]),
        ([{"published": 80}, {"ports": 1}], ["firewall_ports[1]", "'ports'"]),
        ("nonsense", []),
        (None, []),
    ],
)
def test_unknown_keys(value: Any, words: list[str]) -> None:
    problems = spelling.key_problems("firewall_ports", value, spelling.KEYS["firewall_ports"])
    assert len(problems) == bool(words)
    for word in words:
        assert word in problems[0]


def test_settings_of_the_engine() -> None:
    assert spelling.engine_settings_findings({"log-driver": "x", "bip": "y"}) == ([], [])
    (refused,), (said,) = spelling.engine_settings_findings({"log_drivr": "x", "wholly-new": 1})
    assert "'log_drivr'" in refused and "The nearest is log-driver." in refused
    assert "'wholly-new'" in said
    assert spelling.engine_settings_findings(["a"]) == ([], [])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"g/catvm.yml": "catvm", "g/all": "all"}, []),
        ({"g/catwm.yml": "catwm"}, ["g/catwm.yml", "'catwm'", "The nearest is catvm."]),
        # Of another project in the same directory.
        ({"g/webservers.yml": "webservers"}, []),
    ],
)
def test_files_that_nobody_reads(files: dict[str, str], words: list[str]) -> None:
    problems = spelling.file_findings(files, {"all", "keyvm", "catvm"}, "group")
    assert len(problems) == bool(words)
    for word in words:
        assert word in problems[0]
