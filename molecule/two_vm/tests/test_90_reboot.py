"""Both machines restart. Last, because it takes things away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conftest import Site, reboot
from shared.machines import Machine, Node, Scenario
from shared.studies import Orthanc, Study, make_study, send


def test_everything_is_as_declared_after_a_reboot(site: Site, kv: Node, cat: Node) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(reboot, (kv, cat)))
    kv.wait_until_healthy(4)
    cat.wait_until_healthy(2)
    site.wait_until_as_declared("the reboot")


def test_studies_still_come_in(
    kv: Node, pacs: Machine, study: Study, orthanc: Orthanc, tmp_path: Path
) -> None:
    more = make_study(tmp_path / "later", study.patient_id, study.pseudonym, instances=2)
    code, said = send(more, pacs, kv)
    assert code == 0, said
    orthanc.wait_for(study.pseudonym, study.instances + more.instances)


def test_nothing_is_left_to_do_and_the_node_is_proved(scenario: Scenario) -> None:
    outcome = scenario.play("site.yml")
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []
