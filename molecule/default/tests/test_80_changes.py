"""A changed variable changes exactly what follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from shared.https import given, url
from shared.machines import Machine, Node, Scenario

MIB = 1024 * 1024
NEW_PASSWORD = "orthanc-new-27d9f1c05be84a63"
CHANGED = {
    "orthanc_memory_mib": 1500,
    "orthanc_registered_users": {"admin": "admin", "researcher": NEW_PASSWORD},
}


def containers(node: Node) -> dict[str, str]:
    """Each service's container: another one means that the service was interrupted."""
    return {name: node.tasks(name)[0]["Id"] for name in node.services()}


@pytest.fixture(scope="module")
def changed_node(scenario: Scenario, node: Node) -> dict[str, Any]:
    """The node after a run with changed variables; test_90 deploys it as the inventory has it."""
    before = {"containers": containers(node), "fingerprint": node.fingerprint()}
    outcome = scenario.play("site.yml", "--skip-tags", "verify", extra=CHANGED)
    assert outcome.returncode == 0, outcome.errors
    return {**before, "outcome": outcome}


def test_only_the_service_concerned_was_replaced(changed_node: dict[str, Any], node: Node) -> None:
    before, after = changed_node["containers"], containers(node)
    assert {name for name in before if before[name] != after[name]} == {"auscat_orthanc"}


def test_nothing_else_was_touched(changed_node: dict[str, Any], node: Node) -> None:
    before, after = changed_node["fingerprint"], node.fingerprint()
    untouched = ["firewall", "directories", "packages", "images"]
    assert {part: after[part] for part in untouched} == {part: before[part] for part in untouched}


def test_memory_limit_follows(changed_node: dict[str, Any], node: Node) -> None:
    (task,) = node.tasks("auscat_orthanc")
    assert task["HostConfig"]["Memory"] == 1500 * MIB


def test_password_follows(changed_node: dict[str, Any], node: Node, allowed: Machine) -> None:
    def status(user: str) -> str:
        arguments = ("--silent", "--output", "/dev/null", "--write-out", "%{http_code}")
        asked = ("--cacert", given(node, allowed), "--user", user, f"{url(node, 8042)}/system")
        return allowed.output("curl", *arguments, *asked, check=False)

    assert status(f"researcher:{NEW_PASSWORD}") == "200"
    old_password = node.variables["orthanc_registered_users"]["researcher"]
    assert status(f"researcher:{old_password}") == "401"


def test_superseded_secret_is_gone(changed_node: dict[str, Any], node: Node) -> None:
    names = node.output("docker", "secret", "ls", "--format={{.Name}}").split()
    assert sorted(name.rpartition("_v")[0] for name in names) == [
        "auscat_ctp_admin_pass",
        "auscat_front_certificate",
        "auscat_front_key",
        "auscat_keydb_ctp_pass",
        "auscat_keydb_ctp_user",
        "auscat_keydb_pass",
        "auscat_keydb_tls_cert",
        "auscat_keydb_tls_key",
        "auscat_keydb_user",
        "auscat_orthanc.json",
    ]


VIEWS = """
    CREATE VIEW site_pairs AS SELECT patient_id, issuer, pseudonym FROM patient;
    CREATE VIEW site_codes AS SELECT patient_id AS mrn, pseudonym AS code FROM patient;
    GRANT SELECT ON site_codes TO ctp_key_db_select;
"""


def test_a_database_of_another_schema(
    changed_node: dict[str, Any], scenario: Scenario, node: Node
) -> None:
    """The proof writes to the table that is named, and CTP looks up with the site's query."""
    (task,) = node.tasks("auscat_keydb")
    psql = ("docker", "exec", task["Id"], "psql", "--username=key_admin", "--dbname=key_db")
    node.run(*psql, "--command", VIEWS)
    query = "SELECT mrn AS patient_id, code AS pseudonym FROM site_codes WHERE mrn LIKE '%'"
    other = {**CHANGED, "keydb_table": "public.site_pairs", "ctp_keydb_query": query}
    outcome = scenario.play("site.yml", extra=other)
    assert outcome.returncode == 0, outcome.errors
    (ctp,) = node.tasks("auscat_ctp")
    assert f"KEYDB_QUERY={query}" in ctp["Config"]["Env"]
    # Without the view nobody is known, so the proof above has gone through it.
    node.run(*psql, "--command", "DROP VIEW site_pairs, site_codes")
    outcome = scenario.play("playbooks/verify.yml", extra=other)
    assert outcome.returncode != 0
    assert 'relation "public.site_pairs" does not exist' in outcome.errors
    # The cause is known before anything is sent, so nobody waits for a study that cannot arrive.
    assert "No study was sent, since none could have arrived." in outcome.errors
    sent = [result for name, result in outcome.results if "Send the studies" in name]
    assert sent
    assert all(result.get("skipped") for result in sent)
