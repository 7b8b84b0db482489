"""The way of a study: from the PACS through CTP, under its pseudonym, to a researcher."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shared.https import given, url
from shared.machines import Machine, Node, Scenario, wait_for
from shared.studies import Orthanc, Study, make_study, send


def psql(client: Machine, node: Node, user: str, password: str, statement: str) -> str:
    """Run a statement in KeyDB from a client; raises AssertionError when it is refused."""
    address = f"host={node.address} port=5433 dbname=key_db user={user} connect_timeout=30"
    # The password file is read from standard input: no password on a command line.
    script = (
        "umask 077; cat > /root/.pgpass; trap 'rm -f /root/.pgpass' EXIT;"
        ' psql --no-password --tuples-only --no-align --command="$1" "$2"'
    )
    pgpass = f"*:*:*:{user}:{password}\n"
    return client.output("bash", "-euc", script, "psql", statement, address, stdin=pgpass)


def test_study_arrives_under_its_pseudonym(study: Study, orthanc: Orthanc) -> None:
    assert len(orthanc.hashes(study.pseudonym)) == study.instances
    patients = {
        orthanc.request(f"/patients/{patient}")["MainDicomTags"]["PatientID"]
        for patient in orthanc.request("/patients")
    }
    assert study.pseudonym in patients
    assert study.patient_id not in patients


def test_researcher_sees_it_too(
    study: Study, node: Node, allowed: Machine, orthanc: Orthanc
) -> None:
    password = node.variables["orthanc_registered_users"]["researcher"]
    own = Orthanc(allowed, node, "researcher", password)
    assert own.hashes(study.pseudonym) == orthanc.hashes(study.pseudonym)


@pytest.mark.parametrize("user", ["admin:wrong", "researcher:admin", "nobody:admin", ":"])
def test_wrong_login_is_refused(node: Node, allowed: Machine, user: str) -> None:
    arguments = ("--silent", "--output", "/dev/null", "--write-out", "%{http_code}")
    asked = ("--cacert", given(node, allowed), "--user", user, f"{url(node, 8042)}/system")
    assert allowed.output("curl", *arguments, *asked) == "401"


def test_no_object_in_orthanc_names_the_patient(
    study: Study, node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    """Looked for in the bytes of the stored files, with grep, on the node."""
    marks = [study.patient_id, "Identifiable", "19400102", "ACC-4711", "Referring"]
    for mark in marks:
        found = node.run("grep", "-rlaF", mark, "/srv/auscat/orthanc", check=False)
        assert found.returncode == 1, f"{mark}: {found.stdout}{found.stderr}"


def test_stranger_cannot_send(study: Study, stranger: Machine, node: Node) -> None:
    code, said = send(study, stranger, node, connect_seconds=5)
    assert code != 0, said


def test_unknown_patient_stays_in_quarantine(
    node: Node, allowed: Machine, orthanc: Orthanc, tmp_path: Path
) -> None:
    before = set(orthanc.request("/instances"))
    unknown = make_study(tmp_path / "unknown", "NOT-IN-KEYDB-1", "", instances=1)
    code, said = send(unknown, allowed, node)
    assert code == 0, said
    password = node.variables["ctp_admin_password"]
    arguments = ("--silent", "--fail", "--max-time", "10", "--user", f"admin:{password}")
    asked = ("--cacert", given(node, allowed), f"{url(node, 9090)}/api/status")

    def quarantined() -> bool:
        status = json.loads(allowed.output("curl", *arguments, *asked))
        return bool(status["quarantine"])

    wait_for("the object is in CTP's quarantine", quarantined, 120)
    assert set(orthanc.request("/instances")) == before


def test_patient_without_a_pseudonym_got_one(study: Study, node: Node, allowed: Machine) -> None:
    password = node.variables["keydb_password"]
    statement = f"SELECT pseudonym FROM patient WHERE patient_id = '{study.patient_id}-2'"
    pseudonym = psql(allowed, node, "key_admin", password, statement)
    assert pseudonym.startswith("ANON-")
    assert len(pseudonym) >= len("ANON-") + 16


def test_role_of_ctp_reads_what_it_needs_and_nothing_else(
    study: Study, node: Node, allowed: Machine
) -> None:
    login = (allowed, node, "ctp_key_db_select", node.variables["keydb_ctp_password"])
    statement = f"SELECT pseudonym FROM ctp_patient WHERE patient_id = '{study.patient_id}'"
    assert psql(*login, statement) == study.pseudonym
    for forbidden in ("SELECT added_by FROM patient", "DELETE FROM ctp_patient"):
        with pytest.raises(AssertionError, match=r"permission denied|read-only transaction"):
            psql(*login, forbidden)
    with pytest.raises(AssertionError, match="authentication failed"):
        psql(*login[:3], "wrong", "SELECT 1")


def test_patient_has_a_date_shift_for_ever(study: Study, node: Node, allowed: Machine) -> None:
    patient = f"WHERE patient_id = '{study.patient_id}'"
    role = (allowed, node, "ctp_key_db_select", node.variables["keydb_ctp_password"])
    days = int(psql(*role, f"SELECT date_shift_days FROM ctp_patient {patient}"))
    assert -3650 <= days <= -30
    custodian = (allowed, node, "key_admin", node.variables["keydb_password"])
    with pytest.raises(AssertionError, match="is kept for ever"):
        psql(*custodian, f"UPDATE patient SET date_shift_days = {days - 1} {patient}")


def test_loading_the_same_patients_again_changes_nothing(scenario: Scenario, study: Study) -> None:
    keys = study.directory.parent / "patients.csv"
    outcome = scenario.play("playbooks/load_keys.yml", extra={"keys_file": str(keys)})
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed == 0
