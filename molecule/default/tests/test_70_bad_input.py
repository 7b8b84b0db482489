"""Bad input is refused with an error that helps, and the node stays as it was."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from shared.machines import Node, Outcome, Scenario
from shared.refusals import Case, Refusals
from shared.studies import Study

SERVICES = {
    "auscat_services": {"keydb": "keyvm", "ctp": "keyvm", "orthanc": "catvn", "orthank": "catvm"}
}

SITE = [
    Case(
        "unknown service",
        SERVICES,
        ["auscat_services", "'orthank'", "Accepted: .*orthanc"],
        alone=True,
    ),
    Case(
        "service in an unknown group",
        SERVICES,
        ["auscat_services", "'catvn'", "group of the inventory"],
        alone=True,
    ),
    Case(
        "port out of range",
        {"orthanc_web_port": 80420},
        ["orthanc_web_port is 80420", "1 to 65535"],
    ),
    Case("port of zero", {"ctp_dicom_port": 0}, ["ctp_dicom_port is 0", "1 to 65535"]),
    Case(
        "port that is a word",
        {"keydb_port": "postgresql"},
        ["keydb_port is '?postgresql", "whole number|1 to 65535"],
    ),
    Case(
        "port claimed twice",
        {"ctp_web_port": 8042},
        ["8042", "ctp_web_port", "orthanc_web_port"],
        apart=["orthanc_web_port"],
    ),
    Case(
        "source that is no network",
        {"ctp_dicom_sources": ["10.0.0.0/8", "pacs room"]},
        ["ctp_dicom_sources", "pacs room", "Accepted: .*network"],
    ),
    Case(
        "source with bits beyond its mask",
        {"orthanc_web_sources": ["10.1.2.3/8"]},
        ["orthanc_web_sources", re.escape("10.1.2.3/8")],
    ),
    Case(
        "sources that are no list",
        {"keydb_sources": "10.0.0.0/8"},
        ["keydb_sources", "list"],
    ),
    Case(
        "relative data path",
        {"auscat_data_root": "srv/auscat"},
        ["auscat_data_root is 'srv/auscat'", "absolute path"],
    ),
    Case(
        "data path that is a file",
        {"auscat_data_root": "/etc/hostname"},
        ["auscat_data_root is /etc/hostname", "file", "directory"],
    ),
    Case(
        "data path below a file",
        {"auscat_data_root": "/etc/hostname/auscat"},
        ["auscat_data_root is /etc/hostname/auscat", "/etc/hostname is a file"],
    ),
    Case(
        "not enough free space",
        # A place of its own: what a running node's data takes is not counted against it.
        {"auscat_data_root": "/srv/elsewhere", "orthanc_free_gib": 9000000},
        ["GiB free", "9e\\+06|9000000", "orthanc", "free_gib"],
    ),
    Case(
        "Orthanc options that are no mapping",
        {"orthanc_options": "HttpPort"},
        ["orthanc_options", "mapping"],
    ),
    Case(
        "Orthanc options that switch authentication off",
        {"orthanc_options": {"AuthenticationEnabled": False}},
        ["orthanc_options", "AuthenticationEnabled"],
    ),
    Case("empty password", {"ctp_admin_password": ""}, ["ctp_admin_password is empty"]),
    Case("blank password", {"keydb_password": "   "}, ["keydb_password is empty"]),
    Case("empty password of CTP", {"keydb_ctp_password": None}, ["keydb_ctp_password"]),
    Case(
        "user without a password",
        {"orthanc_registered_users": {"admin": ""}},
        ["orthanc_registered_users", "admin"],
    ),
    Case("no users", {"orthanc_registered_users": {}}, ["orthanc_registered_users"]),
    Case(
        "unsupported distribution",
        {"preflight_distributions": ["debian 9", "ubuntu 16.04"]},
        ["distribution is debian 12", "debian 9, ubuntu 16.04"],
    ),
    Case(
        "name that does not resolve",
        {"preflight_resolve_names": ["pacs.invalid"]},
        ["pacs.invalid", "no address"],
    ),
    Case(
        "unknown environment",
        {"auscat_environment": "prod"},
        ["auscat_environment", "prod", "production, simulation"],
        alone=True,
    ),
    Case(
        "password that is not set",
        {"ctp_admin_password": "{{ undefined_variable }}"},
        ["ctp_admin_password"],
    ),
]

KEYS = [
    ("missing column", "patient,pseudonym\nA-1,ANON-P-1\n", ["line 1", "patient_id is missing"]),
    (
        "all conflicts are named",
        "patient_id,pseudonym\nA-1,ANON-P-1\nA-2,ANON-P-1\nA-1,ANON-P-3\n,ANON-P-4\nA-3,ANON-P-3\n",
        [
            "line 3: pseudonym .*another patient in line 2",
            "line 4: pseudonym .*same patient in line 2",
            "line 5: patient_id is empty",
        ],
    ),
    ("no patient", "patient_id,pseudonym\n", ["names no patient"]),
    (
        "what a spreadsheet made",
        'patient_id,issuer\n1.23457E+11,\n,\n="0012345",\nA-1,101.0\n',
        [
            "line 2: patient_id is a number in scientific notation",
            "line 4: patient_id begins with",
            "line 5: issuer is a number with a decimal point",
        ],
    ),
]


@pytest.fixture(scope="module")
def refusals(scenario: Scenario, node: Node) -> Refusals:
    """The runs of site.yml with the cases of SITE, several to a run."""
    return Refusals(
        SITE, lambda variables: scenario.play("site.yml", extra=variables), node.fingerprint
    )


@pytest.mark.parametrize("case", SITE, ids=[case.name for case in SITE])
def test_site(refusals: Refusals, node: Node, case: Case) -> None:
    outcome = refusals.check(case)
    if "auscat_environment" not in case.variables:
        assert f"Nothing was changed on {node.name}" in outcome.errors


def test_all_problems_are_reported_together(refusals: Refusals) -> None:
    """Of the inventory and of the machine: an operator mends them in one go."""
    names = ("port out of range", "unsupported distribution", "empty password")
    outcomes = [refusals.check(case) for case in SITE if case.name in names]
    assert len(outcomes) == len(names)
    assert all(outcome is outcomes[0] for outcome in outcomes)


def assert_refused(outcome: Outcome, says: list[str]) -> None:
    assert outcome.returncode != 0, "the bad input was accepted"
    for text in says:
        assert re.search(text, outcome.errors), f"{text!r} is not in: {outcome.errors}"
    assert "Traceback" not in outcome.text
    assert outcome.changed_tasks == []


@pytest.mark.parametrize(
    "part", [("--tags", "stack"), ("--skip-tags", "firewall,verify")], ids=["stack", "no-firewall"]
)
def test_a_part_of_the_playbook_publishes_no_port_that_is_not_limited(
    scenario: Scenario, node: Node, part: tuple[str, str]
) -> None:
    before = node.fingerprint()
    outcome = scenario.play("site.yml", *part, extra={"orthanc_web_port": 18042})
    assert_refused(outcome, ["18042/tcp", "--tags firewall", "The stack was not changed"])
    assert node.fingerprint() == before


@pytest.mark.parametrize("source", ["198.51.100.7", "0.0.0.0/0"])
def test_a_part_of_the_playbook_deploys_nothing_while_others_are_let_in(
    scenario: Scenario, node: Node, source: str
) -> None:
    element = ("element", "inet", "auscat", "tcp_8042_ipv4", f"{{ {source} }}")
    node.run("nft", "add", *element)
    try:
        before = node.fingerprint()
        outcome = scenario.play("site.yml", "--tags", "stack", extra={"orthanc_memory_mib": 901})
        says = ["let in more than the inventory: 8042/tcp from", "--tags firewall", "not changed"]
        assert_refused(outcome, says)
        assert node.fingerprint() == before
    finally:
        node.run("nft", "--file", "/etc/auscat/firewall.nft")


def pairs(node: Node) -> str:
    """The patient list, read inside the container as its superuser."""
    (task,) = node.tasks("auscat_keydb")
    statement = "SELECT * FROM patient ORDER BY patient_id"
    psql = ("psql", "--username=key_admin", "--dbname=key_db", "--command", statement)
    return node.output("docker", "exec", task["Id"], *psql)


@pytest.mark.parametrize(("text", "says"), [case[1:] for case in KEYS], ids=[k[0] for k in KEYS])
def test_load_keys(
    scenario: Scenario, node: Node, tmp_path: Path, text: str, says: list[str]
) -> None:
    keys = tmp_path / "patients.csv"
    keys.write_text(text)
    before = pairs(node)
    outcome = scenario.play("playbooks/load_keys.yml", extra={"keys_file": str(keys)})
    assert_refused(outcome, says)
    assert pairs(node) == before


def test_load_keys_conflict_with_what_is_there(
    scenario: Scenario, node: Node, study: Study, tmp_path: Path
) -> None:
    keys = tmp_path / "patients.csv"
    keys.write_text(f"patient_id,pseudonym\nNEW-1,ANON-NEW-1\n{study.patient_id},ANON-OTHER-1\n")
    before = pairs(node)
    outcome = scenario.play("playbooks/load_keys.yml", extra={"keys_file": str(keys)})
    assert_refused(outcome, ["line 3"])
    assert study.patient_id not in outcome.errors, "the error names a patient"
    assert pairs(node) == before


def test_load_keys_without_a_file(scenario: Scenario, node: Node) -> None:
    outcome = scenario.play("playbooks/load_keys.yml", extra={"keys_file": "/nowhere/keys.csv"})
    assert_refused(outcome, ["keys_file is /nowhere/keys.csv", "Nothing was loaded"])
