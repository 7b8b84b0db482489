"""The node that was made by hand, and what looks at it from outside."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from shared.ctp_node import Patient, node, pacs
from shared.machines import Node, Outcome, Scenario, wait_for
from shared.streams import Rest

__all__ = ["node", "pacs"]

PASSWORD = "a-very-secure-password"


@dataclass(frozen=True)
class Site:
    """The inventory that adopt.yml writes, and an operator completes."""

    directory: Path
    machine: dict[str, object]

    def complete(self, scenario: Scenario) -> None:
        """Add what could not be seen, and how the test host is reached."""
        main = scenario.inventory / "group_vars/all/main.yml"
        values = {**yaml.safe_load(main.read_text()), **self.machine}
        values["keydb_image"] = ""  # the same image, under its own name
        target = self.directory / "group_vars/all/of_the_tests.yml"
        target.write_text(yaml.safe_dump(values))

    def play(self, playbook: str, *arguments: str, **extra: object) -> Outcome:
        """Run a playbook on this inventory."""
        made = Scenario(self.directory.parent)
        made.inventory = self.directory
        return made.play(playbook, *arguments, extra=extra)


@pytest.fixture(scope="session")
def site(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Where the inventory lies; it outlives the session where Molecule keeps its state."""
    kept = os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY")
    root = Path(kept) / "adopt" if kept else tmp_path_factory.mktemp("adopt")
    root.mkdir(exist_ok=True)
    names = ("ansible_connection", "testhost_address")
    return Site(root / "site", {name: node.variables[name] for name in names})


@pytest.fixture(scope="session")
def old_orthanc(node: Node) -> Rest:
    """The page of Orthanc as it was, which is plain HTTP."""
    return Rest(f"http://{node.address}:8042", "admin", PASSWORD)


@pytest.fixture(scope="session")
def known(node: Node) -> Patient:
    """A patient whom the old KeyDB knows."""
    token = uuid.uuid4().hex[:10]
    patient = Patient(f"HOSP-{token}", f"ANON-{token}")

    def inserted() -> bool:
        containers = node.tasks("pacs_keydb_server")
        assert len(containers) == 1, containers
        node.run(
            *("docker", "exec", "--interactive", containers[0]["Id"]),
            *("psql", "--username=key_admin", "--dbname=key_db", "--set=ON_ERROR_STOP=1"),
            stdin="INSERT INTO patient (patient_id, pseudonym) VALUES "
            f"('{patient.patient_id}', '{patient.pseudonym}');",
        )
        return True

    # It has just been started for the first time.
    wait_for("the old KeyDB takes patients", inserted, 120)
    return patient
