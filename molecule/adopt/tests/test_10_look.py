"""A look at the node changes nothing, and describes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import Site
from shared.ctp_node import Patient
from shared.documented import command
from shared.machines import Node, Scenario, wait_for
from shared.streams import Rest, Stream, arrived, ct_slices

OBJECTS = 30


def test_it_takes_studies(node: Node, old_orthanc: Rest, known: Patient) -> None:
    wait_for("the old CTP listens", lambda: node.connects(node.address, 8104), 120)
    with Stream(node, ct_slices(known.patient_id, OBJECTS, side=64), senders=2) as stream:
        stream.wait(OBJECTS)
    wait_for("they arrived", lambda: len(arrived(old_orthanc, known.pseudonym)) == OBJECTS, 120)


def test_looking_changes_nothing(
    scenario: Scenario, node: Node, site: Site, known: Patient
) -> None:
    before = node.services(), node.shell("docker ps --quiet | sort")
    own = {"inventories/site": str(site.directory)}
    documented = command("docs/adopt.md", "-i node01, playbooks/adopt.yml", own)
    outcome = scenario.play(*documented, "--limit", "node")
    assert outcome.returncode == 0, outcome.errors
    (changed,) = outcome.changed_tasks
    assert changed.endswith("Write the inventory that describes it")
    assert (node.services(), node.shell("docker ps --quiet | sort")) == before
    said = (site.directory / "ADOPTING.md").read_text()
    for words in (
        "pacs_orthanc runs auscat/orthanc:latest, with the tag latest",
        "secret keydb_pass has the default password",
        "secret ctp_admin_pass has the default password",
        "the service pacs_notes (auscat/keydb_schema:latest) is left alone",
        "pacs_notes asks KeyDB by name",
        f"{OBJECTS} instances",
        "public.patient (1 row)",
        "8042 is plain HTTP",
    ):
        assert words in said
    for secret in ("a-very-secure-password", "hunter2", known.patient_id):
        assert secret not in said + outcome.text


@pytest.fixture(scope="module")
def variables(site: Site) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(
        (site.directory / "group_vars/all/main.yml").read_text()
    )
    return found


def test_the_inventory_describes_it(variables: dict[str, object]) -> None:
    expected = {
        "auscat_timezone": "Australia/Sydney",
        "auscat_data_root": "/srv/auscat",
        "keydb_user": "key_admin",
        "keydb_uid": 64432,
        "keydb_table": "patient",
        "ctp_flavour": "auscat",
        "orthanc_registered_users": {"admin": "{{ vault_orthanc_admin_password }}"},
    }
    assert {name: variables.get(name) for name in expected} == expected


def test_a_second_look_overwrites_nothing(scenario: Scenario, site: Site) -> None:
    outcome = scenario.play(
        "playbooks/adopt.yml", "--limit", "node", extra={"adopt_directory": str(site.directory)}
    )
    assert outcome.returncode != 0
    assert "which holds something" in outcome.errors


def test_ansible_reads_it(site: Site) -> None:
    listed = subprocess.run(
        ["ansible-inventory", "--inventory", str(site.directory), "--graph"],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parent,
    ).stdout
    assert listed.count("node") == 2, listed
