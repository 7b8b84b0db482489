"""The node with stock CTP (or the stand-in in its place), and what looks at it from outside."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from shared.documented import command
from shared.machines import Machine, Node, Scenario, wait_for
from shared.streams import Rest, ct_slices, page


@dataclass(frozen=True)
class Patient:
    """A patient and the pseudonym that KeyDB holds, or is about to hold, for them."""

    patient_id: str
    pseudonym: str
    issuer: str = ""


@pytest.fixture(scope="session")
def node(scenario: Scenario) -> Node:
    """The single VM, in both groups."""
    return scenario.node("node")


@pytest.fixture(scope="session")
def pacs(scenario: Scenario) -> Machine:
    """The neighbour that the inventory allows to send."""
    return scenario.client("pacs")


@pytest.fixture(scope="session")
def orthanc(node: Node) -> Rest:
    """Orthanc's REST API."""
    password = node.variables["orthanc_registered_users"]["admin"]
    return page(node, 8042, "admin", password)


@pytest.fixture(scope="session")
def ctp(node: Node) -> Rest:
    """What the supervisor tells on CTP's web port."""
    return page(node, 9090, "admin", node.variables["ctp_admin_password"])


@pytest.fixture(scope="session")
def quarantined(ctp: Rest) -> Callable[[], set[str]]:
    """Ask for the SOP Instance UIDs of all objects in quarantine.

    A copy that broke off is no object: who sends it was told so, or heard nothing, and sends again.
    """
    return lambda: {
        each["sop_instance_uid"]
        for each in ctp.ask("/api/status")["quarantine"]
        if each["reason"] != "unreadable"
    }


@pytest.fixture(scope="session")
def load(
    scenario: Scenario, ctp: Rest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., None]:
    """Load patients into KeyDB, as an operator does, and wait until CTP knows them."""
    directory: Path = tmp_path_factory.mktemp("keys")

    def load_keys(*patients: Patient) -> None:
        keys = directory / f"{uuid.uuid4().hex}.csv"
        rows = "".join(f"{each.patient_id},{each.issuer},{each.pseudonym}\n" for each in patients)
        keys.write_text(f"patient_id,issuer,pseudonym\n{rows}")
        own = {"late.csv": str(keys)}
        outcome = scenario.play(*command("docs/ctp.md", "playbooks/load_keys.yml", own))
        assert outcome.returncode == 0, outcome.errors
        loaded = time.monotonic()

        # CTP reads a table that changed no sooner than a second later.
        def known() -> bool:
            try:
                age = status(ctp)["keydb"]["age_seconds"]
            except OSError:  # restarted meanwhile
                return False
            return age is not None and 1.5 < age < time.monotonic() - loaded

        wait_for("CTP knows the patients", known, 60)

    return load_keys


@pytest.fixture(scope="session")
def known_patient(load: Callable[..., None]) -> Callable[[], Patient]:
    """Give a patient whom KeyDB and CTP know, another each time. Twenty are loaded at once."""
    waiting: list[Patient] = []

    def give() -> Patient:
        if not waiting:
            waiting.extend(new_patient() for _ in range(20))
            load(*waiting)
        return waiting.pop()

    return give


@pytest.fixture
def patient() -> Patient:
    """A patient whom KeyDB does not know yet."""
    return new_patient()


def new_patient() -> Patient:
    """Make up a patient; the identifier holds what properties files must escape."""
    token = uuid.uuid4().hex[:10]
    return Patient(f"HOSP:{token} A=1", f"ANON-{token}")


def send_small(
    pacs: Machine,
    node: Node,
    patients: Sequence[Patient],
    scratch: Path,
    slices: int = 1,
    called: str = "CTP",
    calling: str = "PACS",
) -> int:
    """Send a small CT study of each patient; return what dcmsend ends with."""
    directory = scratch / "studies"
    directory.mkdir(exist_ok=True)
    for one, each in enumerate(patients):
        for two, image in enumerate(ct_slices(each.patient_id, slices, side=16)):
            image.save_as(directory / f"{one:04d}-{two:04d}.dcm", enforce_file_format=True)
    pacs.run("rm", "-rf", "/root/studies")
    pacs.put(directory, "/root/studies")
    return pacs.run(
        *("dcmsend", "--timeout", "5", "--aetitle", calling, "--call", called),
        *("--scan-directories", node.address, "8104", "/root/studies"),
        check=False,
    ).returncode


def logs(node: Node) -> str:
    """All that the containers of CTP and of the gate logged, the ended ones too."""
    containers = "docker ps --all --quiet --filter=name=auscat_ctp"
    return node.shell(f"for id in $({containers}); do docker logs $id 2>&1; done")


def status(ctp: Rest) -> dict[str, Any]:
    """What the supervisor says of itself."""
    answer: dict[str, Any] = ctp.ask("/api/status")
    return answer
