"""The node is taken over while studies come in, and given back where that fails."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from conftest import PASSWORD, Site
from shared.ctp_node import Patient
from shared.documented import command
from shared.machines import Node, Scenario, wait_for
from shared.saved import pairs, verified
from shared.streams import Rest, Stream, arrived, balance, ct_series, page

OLD = {"pacs_orthanc", "pacs_keydb_server", "pacs_deid"}


def sent(node: Node, patient: Patient) -> Stream:
    # Numbers that no object has which is there already: by them doubled ones are found.
    series = ct_series(patient.patient_id, 64, itertools.count(1001))
    return Stream(node, series, senders=2, pace=0.3, patience=150)


@pytest.fixture(scope="module", autouse=True)
def completed(scenario: Scenario, site: Site) -> None:
    site.complete(scenario)


def replicas(node: Node) -> dict[str, int]:
    return {
        name: service["Spec"]["Mode"]["Replicated"]["Replicas"]
        for name, service in node.services().items()
    }


def definitions(node: Node) -> dict[str, Any]:
    found = {name: service["Spec"]["TaskTemplate"] for name, service in node.services().items()}
    for template in found.values():
        # "docker service update" leaves them in another order.
        template["ContainerSpec"].get("Mounts", []).sort(key=lambda mount: str(mount["Target"]))
    return found


def data_of(node: Node) -> str:
    """Path, owner and size of each file; no size of an index, which changes by itself."""
    return node.shell(
        r"""
        find /path /srv/hospital* -name pgdata -prune -o \
            \( -name 'index*' -printf '%p %U %G\n' -o -printf '%p %U %G %s\n' \) | sort
        """
    )


def test_what_fails_is_given_back(
    node: Node, site: Site, old_orthanc: Rest, known: Patient
) -> None:
    before, there = definitions(node), arrived(old_orthanc, known.pseudonym)
    places = data_of(node)
    # All is healthy, and CTP's AE title is none that Orthanc accepts.
    outcome = site.play("playbooks/take_over.yml", verify_timeout=5, orthanc_ctp_aet="NOBODY")
    assert outcome.returncode != 0
    assert "What stood runs again" in outcome.errors
    assert definitions(node) == before
    assert set(replicas(node).values()) == {1}
    wait_for("Orthanc answers", lambda: arrived(old_orthanc, known.pseudonym) == there, 60)
    assert data_of(node) == places


def test_a_check_changes_nothing(node: Node, site: Site) -> None:
    before, running = definitions(node), node.shell("docker ps --quiet | sort")
    outcome = site.play(*command("docs/adopt.md", "playbooks/take_over.yml --check"))
    assert outcome.returncode == 0, outcome.errors
    assert (definitions(node), node.shell("docker ps --quiet | sort")) == (before, running)


def test_it_is_taken_over_while_studies_come_in(
    node: Node, site: Site, old_orthanc: Rest, known: Patient
) -> None:
    (notes,) = node.tasks("pacs_notes")
    before = arrived(old_orthanc, known.pseudonym)
    with sent(node, known) as stream:
        stream.wait(20)
        outcome = site.play(*command("docs/adopt.md", "playbooks/take_over.yml"))
        assert outcome.returncode == 0, outcome.errors
        stream.wait(len(stream.acknowledged) + 10)
        stream.finish()
    orthanc = page(node, 8042, "admin", PASSWORD)
    ctp = page(node, 9090, "admin", node.variables["ctp_admin_password"])

    def held() -> set[str]:
        return {each["sop_instance_uid"] for each in ctp.ask("/api/status")["quarantine"]}

    result = balance(orthanc, known.pseudonym, stream, held)
    assert (result.doubled, result.lost) == (0, 0), result
    assert not set(before) - set(arrived(orthanc, known.pseudonym))
    assert verified(orthanc)
    assert OLD.isdisjoint(node.services())
    assert [each["Id"] for each in node.tasks("pacs_notes")] == [notes["Id"]]
    assert known.pseudonym in pairs(node)


def test_the_site_has_nothing_to_do(site: Site) -> None:
    outcome = site.play("site.yml")
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []
