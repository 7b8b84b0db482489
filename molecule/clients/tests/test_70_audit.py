"""`audit.yml`: who had a study, also after it was deleted. The last of the files: a study goes."""

from __future__ import annotations

import re

import pytest
from conftest import Cohort
from shared.documented import command
from shared.https import given, url
from shared.machines import Machine, Node, Scenario, wait_for
from shared.streams import Rest, page

INDEX = "/var/lib/auscat/archive.jsonl"


@pytest.fixture(scope="module")
def orthanc(node: Node) -> Rest:
    return page(node, 8042, "admin", node.variables["orthanc_registered_users"]["admin"])


def told(scenario: Scenario, study: str) -> str:
    outcome = scenario.play(*command("docs/https.md", "playbooks/audit.yml", {"1.2.3.4": study}))
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed == 0
    return str(outcome.text)


def test_who_had_a_study_is_told_while_it_is_there_and_when_it_is_gone(
    scenario: Scenario,
    node: Node,
    researcher: Machine,
    cohort: Cohort,
    password: str,
    orthanc: Rest,
) -> None:
    pseudonym = cohort.pseudonyms[-1]
    query = {"Level": "Study", "Query": {"PatientID": pseudonym}, "Expand": True}
    (study,) = orthanc.ask("/tools/find", query)
    uid = study["MainDicomTags"]["StudyInstanceUID"]
    series = study["Series"][0]
    (instance, *_) = orthanc.ask(f"/series/{series}")["Instances"]

    asked = ("--cacert", given(node, researcher), "--user", f"researcher:{password}")
    for path in (f"/series/{series}/archive", f"/instances/{instance}/file"):
        researcher.run("curl", "--silent", "--fail", "--output", "/dev/null", *asked,
                       f"{url(node, 8042)}{path}")  # fmt: skip
    downloaded = rf"researcher +{re.escape(researcher.address)} +downloaded +\S+ +\S+ +\d+ +\d+"
    for question in (uid, pseudonym, study["ID"], series):
        text = told(scenario, question)
        assert re.search(downloaded, text), text
        assert f"study {uid} of {pseudonym}" in text
    # Another's is none of it.
    assert not re.search(downloaded, told(scenario, "ANON-NOBODY"))

    def indexed() -> bool:
        node.run("systemctl", "start", "auscat-status.service")
        return instance.replace("-", "")[:12] in node.output("cat", INDEX)

    wait_for("the sampler knows the study", indexed, 120)
    assert node.output("stat", "--format=%a %u", INDEX) == "600 0"
    orthanc.ask(f"/studies/{study['ID']}", method="DELETE")
    for question in (uid, pseudonym, study["ID"], series, instance):
        text = told(scenario, question)
        assert "not in Orthanc now" in text
        assert re.search(downloaded, text), text
        assert re.search(r"admin +\S+ +deleted ", text), text


def test_what_is_no_study_is_refused(scenario: Scenario) -> None:
    outcome = scenario.play("playbooks/audit.yml", extra={"study": "a b"})
    assert outcome.returncode != 0
    assert "StudyInstanceUID" in outcome.errors
