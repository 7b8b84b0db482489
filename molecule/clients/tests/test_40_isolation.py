"""playbooks/test_orthanc.yml: Orthanc without CTP, with a phantom, leaving nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from shared.documented import command
from shared.machines import REPOSITORY, Machine, Node, Outcome, Scenario, wait_for
from shared.streams import Rest, page
from shared.studies import make_study

PLAYBOOK = "playbooks/test_orthanc.yml"
FILES = "/root/phantoms"
WRITE_PHANTOM = """
import pathlib, sys
from ansible_collections.auscat.imaging.plugins.module_utils.proof import phantom
phantom.write_study(phantom.make_study("1234567890", known=True), pathlib.Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def orthanc(node: Node, password: str) -> Rest:
    """Orthanc as a researcher sees it."""
    return page(node, 8042, "researcher", password)


@pytest.fixture
def phantoms(tmp_path: Path) -> Path:
    """A directory with the eight files of a phantom of this project."""
    directory = tmp_path / "phantoms"
    directory.mkdir()
    subprocess.run(
        [sys.executable, "-c", WRITE_PHANTOM, directory],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")},
        check=True,
    )
    return directory


def state(node: Node, orthanc: Rest) -> dict[str, Any]:
    """All that the test must leave as it was."""
    return {
        "orthanc": {
            level: sorted(orthanc.ask("/tools/find", {"Level": level, "Query": {}}))
            for level in ("Patient", "Study", "Series", "Instance")
        },
        # What a kept file or an opened port would change. Health checks have files of the engine's.
        "files": node.shell(
            "find /tmp /root/.ansible -type f ! -name 'runc-process*' | sort", check=False
        ),
        "ports": node.shell("ss --listening --numeric --tcp --no-header | awk '{print $4}' | sort"),
        **node.fingerprint(),
    }


class Watch:
    """Somebody who looks at Orthanc all the time, and remembers the most objects that it held.

    Its log of changes tells nothing afterwards: what is deleted leaves it too.
    """

    def __init__(self, orthanc: Rest) -> None:
        self._orthanc = orthanc
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.before = self.most = self._count()

    def _count(self) -> int:
        return int(self._orthanc.ask("/statistics")["CountInstances"])

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.most = max(self.most, self._count())

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    """The rows that the modules returned."""
    return [row for _, result in outcome.results for row in result.get("checks", [])]


def words(outcome: Outcome) -> str:
    """What the operator reads at the end, without line breaks."""
    told = [str(result.get("msg", "")) for name, result in outcome.results if "outcome" in name]
    return " ".join(" ".join(told).split())


def test_phantom_arrives_and_nothing_of_it_stays(
    scenario: Scenario, node: Node, orthanc: Rest, researcher: Machine
) -> None:
    before = state(node, orthanc)
    with Watch(orthanc) as watch:
        outcome = scenario.play(*command("docs/test-orthanc.md", "playbooks/test_orthanc.yml"))
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed == 0
    assert [row["passed"] for row in rows(outcome)] == [True] * 4
    assert "all 4 checks passed" in words(outcome)
    assert "the issue is with CTP communicating with Orthanc" in words(outcome)
    assert state(node, orthanc) == before
    assert watch.most == watch.before + 8
    assert not researcher.connects(node.address, 4242)


def test_phantoms_that_are_named_are_sent(
    scenario: Scenario, node: Node, orthanc: Rest, phantoms: Path
) -> None:
    before = state(node, orthanc)
    node.put(phantoms, FILES)
    try:
        outcome = scenario.play(PLAYBOOK, extra={"test_orthanc_files": FILES})
        kept = node.shell(f"ls {FILES} | wc -l")
    finally:
        node.run("rm", "--recursive", "--force", FILES)
    assert outcome.returncode == 0, outcome.errors
    assert rows(outcome)[0]["detail"].startswith("8 of 8 objects acknowledged")
    assert kept == "8"
    assert state(node, orthanc) == before


@pytest.mark.parametrize("what", ["a patient's study", "a patient's study called a phantom"])
def test_anything_but_a_phantom_is_refused(
    scenario: Scenario, node: Node, orthanc: Rest, phantoms: Path, what: str
) -> None:
    """One foreign file among phantoms, and nothing is sent."""
    foreign = make_study(phantoms / "more", "HOSPITAL-4711-A", "", instances=1)
    if "called" in what:
        for path in foreign.directory.rglob("*.dcm"):
            dataset = pydicom.dcmread(path)
            dataset.PatientID = "PROOF-1234567890-KNOWN"
            dataset.save_as(path)
    before = state(node, orthanc)
    node.put(phantoms, FILES)
    try:
        with Watch(orthanc) as watch:
            outcome = scenario.play(PLAYBOOK, extra={"test_orthanc_files": FILES})
    finally:
        node.run("rm", "--recursive", "--force", FILES)
    assert outcome.returncode != 0
    assert f"test_orthanc_files is {FILES}: 1 of 9 files are no phantom" in outcome.errors
    assert "Nothing was sent." in outcome.errors
    assert "HOSPITAL" not in outcome.text
    assert not rows(outcome)
    assert watch.most == watch.before
    assert state(node, orthanc) == before


@pytest.fixture
def stopped(node: Node, orthanc: Rest) -> Iterator[None]:
    """Orthanc's service without a task; afterwards it runs again."""
    scale = ("docker", "service", "update", "--detach", "--quiet", "auscat_orthanc")
    node.run(*scale, "--replicas=0")
    wait_for("Orthanc is gone", lambda: not node.tasks("auscat_orthanc"), 120)
    yield
    node.run(*scale, "--replicas=1")
    node.wait_until_healthy(5)


@pytest.mark.usefixtures("stopped")
def test_orthanc_that_does_not_run_is_diagnosed(scenario: Scenario) -> None:
    outcome = scenario.play(PLAYBOOK)
    assert outcome.returncode != 0
    assert "The phantom did NOT arrive in Orthanc, and CTP had no part in it" in outcome.errors
    assert "no container of service auscat_orthanc runs on this host" in outcome.errors
    assert "check the network configuration" in outcome.errors
    assert "Last log lines of auscat_orthanc" in outcome.errors
    assert not any(row["passed"] for row in rows(outcome))


def test_sender_that_orthanc_does_not_accept_is_diagnosed(
    scenario: Scenario, node: Node, orthanc: Rest
) -> None:
    before = state(node, orthanc)
    outcome = scenario.play(PLAYBOOK, extra={"orthanc_ctp_aet": "STRANGER"})
    assert outcome.returncode != 0
    assert "The phantom did NOT arrive in Orthanc" in outcome.errors
    assert "DicomModalities" in outcome.errors
    assert "Orthanc took the phantom" not in outcome.errors
    assert state(node, orthanc) == before
