"""Each fault is caused for real, and named by the first line; and looking for it changes nothing.

The faults are those of shared/known_faults.py. What ends or is killed at the end of them is told
for 15 minutes: a second run against the same machines has to wait for as long.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from shared.ctp_node import status
from shared.diagnoses import diagnosis, look, missing_of, record, tried
from shared.documented import command, script
from shared.known_faults import Fault, Site, empty_quarantine, of
from shared.machines import Node, Scenario
from shared.streams import Rest

HERE = "troubleshoot"
FIRST: dict[str, str] = {}


def test_a_healthy_node_is_found_healthy_and_stays_as_it_is(
    scenario: Scenario, node: Node, ctp: Rest, orthanc: Rest, tmp_path: Path
) -> None:
    empty_quarantine(scenario, ctp)
    before = node.fingerprint(), orthanc.ask("/statistics"), status(ctp)["received"]
    extra = {"troubleshoot_bundle_directory": str(tmp_path), "troubleshoot_since": "45s"}
    documented = command("docs/troubleshooting.md", "playbooks/troubleshoot.yml")
    outcome = scenario.play(*documented, extra=extra)
    text = diagnosis(outcome)
    print(text)
    assert (outcome.returncode, outcome.changed) == (0, 0)
    # As somebody looks who does without the playbook.
    assert "auscat_ctp " in node.shell(script("docs/resilience.md", "docker service ls"))
    assert node.shell(script("docs/resilience.md", "docker service logs --tail 50") + " 2>&1")
    assert "Diagnosis: nothing wrong found. What was checked is listed above." in text
    assert "could not be checked" not in text
    # The phantom went in and out: Orthanc's own count of what ever came tells that it was there.
    assert "Orthanc alone takes a phantom, finds it, and it is removed" in text
    assert (node.fingerprint(), orthanc.ask("/statistics"), status(ctp)["received"]) == before


def test_a_declared_sender_is_let_in(site: Site) -> None:
    said = look(site.scenario, site.scratch, troubleshoot_sender="pacs")
    assert "nothing wrong found" in said


@pytest.mark.parametrize("fault", of(HERE), ids=lambda fault: str(fault.name))
def test_the_first_line_names_the_fault(fault: Fault, site: Site) -> None:
    FIRST[fault.name] = tried(fault, site)


def test_what_was_said_is_recorded() -> None:
    missing = missing_of(HERE, FIRST)
    if missing:
        pytest.skip(f"Not all faults were tried: {', '.join(missing)}")
    record(HERE, FIRST)
