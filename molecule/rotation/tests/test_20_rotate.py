"""playbooks/rotate_secrets.yml makes new passwords, and nobody who sends a study notices."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import (
    LEFT_ALONE,
    ONE_VERSION_EACH,
    ROTATED,
    Site,
    all_are,
    load,
    logins,
    secret_versions,
)
from shared.ctp_node import new_patient
from shared.documented import command
from shared.machines import Node
from shared.streams import Stream, balance, ct_series, page

PLAYBOOK = "playbooks/rotate_secrets.yml"


def containers(node: Node) -> dict[str, str]:
    return {name: node.tasks(name)[0]["Id"] for name in node.services()}


def state(site: Site, node: Node) -> tuple[Any, ...]:
    return site.vault.read_bytes(), site.record.exists(), containers(node), secret_versions(node)


def test_a_check_shows_it_and_does_nothing(site: Site, node: Node) -> None:
    before = state(site, node)
    outcome = site.play(*command("docs/secrets.md", "playbooks/rotate_secrets.yml --check"))
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed == 0
    assert state(site, node) == before
    for name in ROTATED:
        assert re.search(rf"{name} .*gets a new value", outcome.text), name
    for name in LEFT_ALONE:
        assert f"{name}: " in outcome.text


@pytest.mark.parametrize(
    ("arguments", "extra", "says"),
    [
        ((), {"rotate": "site_token"}, "rotate names site_token, and it cannot be made up"),
        (
            (),
            {"rotate": "keydb_password,host_volume_encryption_key"},
            "host_volume_encryption_key, and .* would stay closed to a new value",
        ),
        (
            (),
            {"rotate": "keydb_pasword"},
            "rotate names keydb_pasword, which the vault .* Accepted",
        ),
        (("--limit", "node"), {}, "--limit is node. Accepted: a run on all machines"),
        ((), {"orthanc_memory_mib": 1400}, "is not what the inventory says: .* Run site.yml"),
        (
            (),
            {"vault_keydb_password": "keydb-from-elsewhere-5f0e2c7b"},
            "(is not what the inventory says|is set in a second place)",
        ),
    ],
    ids=["token", "key of a disk", "unknown", "limit", "other changes", "a second place"],
)
def test_what_is_refused_changes_nothing(
    site: Site, node: Node, arguments: tuple[str, ...], extra: dict[str, Any], says: str
) -> None:
    before = state(site, node)
    outcome = site.play(PLAYBOOK, *arguments, **extra)
    assert outcome.returncode != 0
    assert re.search(says, outcome.errors), outcome.errors
    assert "Nothing was changed" in outcome.errors
    assert "Traceback" not in outcome.text
    assert state(site, node) == before


def test_new_passwords_while_studies_come_in(site: Site, node: Node, record_property: Any) -> None:
    """16 senders all the while: what they send is queued, not refused and not lost."""
    before, patient = site.values(), new_patient()
    load(site, node, patient)
    with Stream(node, ct_series(patient.patient_id, side=128), pace=0.2) as stream:
        stream.wait(50)
        # The proof's study would wait behind all that is sent.
        documented = command("docs/secrets.md", "playbooks/rotate_secrets.yml")
        outcome = site.play(*documented, "--skip-tags", "verify")
        during = len(stream.acknowledged)
        stream.wait(during + 50)
        stream.finish()
    assert outcome.returncode == 0, outcome.errors

    after = site.values()
    assert logins(node, before) == all_are("refused")
    assert logins(node, after) == all_are("accepted")
    assert {name: after[name] for name in LEFT_ALONE} == {name: before[name] for name in LEFT_ALONE}
    assert secret_versions(node) == ONE_VERSION_EACH
    assert site.vault.read_text().startswith("$ANSIBLE_VAULT;")
    assert site.vault.stat().st_mode & 0o777 == 0o600
    assert not site.record.exists()
    for value in {*before.values(), *after.values()}:
        assert value not in outcome.text
    for row in (
        r"ctp_admin_password, user admin +ctp +refused +accepted +auscat_ctp_admin_pass_v\d",
        r"keydb_ctp_password, user ctp_key_db_select +ctp, keydb +refused +accepted +auscat_key",
        r"keydb_password, user key_admin +keydb +refused +accepted +auscat_keydb_pass_v\d",
        r"orthanc_registered_users, user admin +orthanc +refused +accepted +auscat_orth",
        r"orthanc_registered_users, user researcher +orthanc +refused +accepted +auscat_orthanc",
    ):
        assert re.search(row, outcome.text), row

    orthanc = page(node, 8042, "admin", after["vault_orthanc_admin_password"])
    ctp = page(node, 9090, "admin", after["vault_ctp_admin_password"])

    def quarantined() -> set[str]:
        return {each["sop_instance_uid"] for each in ctp.ask("/api/status")["quarantine"]}

    result = balance(orthanc, patient.pseudonym, stream, quarantined)
    record_property("balance", f"{result}; refused {stream.refusals}")
    print(f"{result}; refused or aborted {stream.refusals}")
    assert result.arrived == result.acknowledged == len(stream.offered), result
    assert (result.doubled, result.quarantined, result.lost) == (0, 0, 0), result
    assert stream.refusals == 0


def test_two_of_them_alone(site: Site, node: Node) -> None:
    """What `-e rotate=` names gets a new value, and nothing else does."""
    before = site.values()
    documented = command("docs/secrets.md", "-e rotate=keydb_password,ctp_admin_password")
    outcome = site.play(*documented, "--skip-tags", "verify")
    assert outcome.returncode == 0, outcome.errors
    after = site.values()
    named = {"vault_keydb_password", "vault_ctp_admin_password"}
    assert {name for name in after if after[name] != before[name]} == named
    assert logins(node, before) == {
        name: "refused" if name in named else "accepted" for name in ROTATED
    }
    assert logins(node, after) == all_are("accepted")
    assert secret_versions(node) == ONE_VERSION_EACH
    assert not site.record.exists()
