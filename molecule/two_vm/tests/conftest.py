"""The five machines of this scenario, and what each may reach."""

from __future__ import annotations

import os
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from shared.machines import REPOSITORY, Machine, Node, Scenario, wait_for
from shared.reach import Attempt as Connection
from shared.reach import connections
from shared.studies import Orthanc, Study, make_study, send
from shared.two_machines import cat, kv, pacs

__all__ = ["cat", "kv", "pacs"]

MACHINES = ("kv", "cat", "pacs", "researcher", "stranger")
FAMILIES = ("IPv4", "IPv6")

# Written out by hand, not read from the roles: who is let in, by (machine, port) and family. The
# machine itself always is. SSH shows that every machine reaches every other.
ALLOWED: dict[tuple[str, int], dict[str, tuple[str, ...]]] = {
    ("kv", 8104): {"pacs": FAMILIES},
    ("kv", 9090): {"pacs": FAMILIES, "researcher": ("IPv4",)},
    ("kv", 5433): {"pacs": FAMILIES},
    ("cat", 4242): {"kv": FAMILIES},
    ("cat", 8042): {"researcher": FAMILIES},
    ("kv", 22): dict.fromkeys(MACHINES, FAMILIES),
    ("cat", 22): dict.fromkeys(MACHINES, FAMILIES),
    # Nothing listens there, or nothing may be reached there.
    ("kv", 4242): {},
    ("kv", 5432): {},
    ("cat", 8104): {},
    ("cat", 5433): {},
}


@dataclass(frozen=True, order=True)
class Attempt:
    """A connection from one machine to a port of another."""

    target: str
    port: int
    family: str
    source: str

    @property
    def expected(self) -> bool:
        """What the inventory declares."""
        allowed = ALLOWED[self.target, self.port]
        itself = self.source == self.target and bool(allowed)
        return itself or self.family in allowed.get(self.source, ())


ATTEMPTS = [
    Attempt(target, port, family, source)
    for target, port in ALLOWED
    for family in FAMILIES
    for source in MACHINES
]

# Ports that are not the node's are the administrator's business.
OWN_ATTEMPTS = [attempt for attempt in ATTEMPTS if attempt.port != 22]


@dataclass(frozen=True)
class Site:
    """The machines, and the attempts that each can make."""

    scenario: Scenario

    def machine(self, name: str) -> Machine:
        """One of MACHINES."""
        if name in ("kv", "cat"):
            return self.scenario.node(name)
        return self.scenario.client(name)

    def address(self, name: str, family: str = "IPv4") -> str:
        """The address of a machine."""
        both: list[str] = self.machine(name).variables["auscat_address"]
        return both[FAMILIES.index(family)]

    def attempt(self, attempts: list[Attempt], patient: bool = False) -> dict[Attempt, bool]:
        """Make the attempts, each from its machine, and tell which connected.

        Args:
            attempts: what is tried, all at once.
            patient: wait as long as it takes for those that are to connect, and not only for SSH.
        """
        sources = {attempt.source for attempt in attempts}
        ssh = [each for each in ATTEMPTS if each.port == 22 and each.source in sources]
        tried = [*attempts, *(each for each in ssh if each not in attempts)]
        found = connections(
            Connection(
                self.machine(each.source),
                self.address(each.target, each.family),
                each.port,
                control=each.port == 22 or (patient and each.expected),
            )
            for each in tried
        )
        results = dict(zip(tried, found))
        return {each: results[each] for each in attempts}

    def differences(self) -> list[str]:
        """Say which port of the node is not as declared."""
        return [
            f"{each.source} -> {each.target}:{each.port} over {each.family}: "
            f"{'connected' if connected else 'refused'}"
            for each, connected in sorted(self.attempt(OWN_ATTEMPTS).items())
            if connected is not each.expected
        ]

    def wait_until_as_declared(self, what: str, seconds: float = 60) -> None:
        """Wait until every attempt ends as declared. What is refused must be from the start."""

        def as_declared() -> bool:
            differences = self.differences()
            opened = [text for text in differences if text.endswith("connected")]
            if opened:
                pytest.fail(f"Open after {what}, and should not be: {opened}")
            assert not differences, differences
            return True

        wait_for(f"everything is as declared after {what}", as_declared, seconds)


@pytest.fixture(scope="session")
def site(scenario: Scenario) -> Site:
    """All machines."""
    return Site(scenario)


@pytest.fixture(scope="session")
def researcher(scenario: Scenario) -> Machine:
    """A workstation that looks at the studies."""
    return scenario.client("researcher")


@pytest.fixture(scope="session")
def orthanc(cat: Node, researcher: Machine) -> Orthanc:
    """Orthanc as the researcher sees it."""
    password = cat.variables["orthanc_registered_users"]["researcher"]
    return Orthanc(researcher, cat, "researcher", password)


@pytest.fixture(scope="session")
def study(
    scenario: Scenario,
    kv: Node,
    pacs: Machine,
    orthanc: Orthanc,
    tmp_path_factory: pytest.TempPathFactory,
) -> Study:
    """A study that the PACS has sent, for a patient whom load_keys.yml made known."""
    directory = tmp_path_factory.mktemp("pacs")
    patient = f"HOSPITAL-{uuid.uuid4().hex[:12]}"
    pseudonym = f"ANON-TRIAL-{uuid.uuid4().hex[:12]}"
    keys = directory / "patients.csv"
    keys.write_text(f"patient_id,pseudonym\n{patient},{pseudonym}\n")
    loaded = scenario.play("playbooks/load_keys.yml", extra={"keys_file": str(keys)})
    assert loaded.returncode == 0, loaded.errors
    made = make_study(directory / patient, patient, pseudonym)
    code, said = send(made, pacs, kv)
    assert code == 0, said
    orthanc.wait_for(pseudonym, made.instances)
    return made


def ephemeral_directory() -> Path:
    """Where Molecule keeps what belongs to this run of the scenario."""
    given = os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY")
    directory = Path(given) if given else REPOSITORY / ".cache" / "two_vm"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def reboot(node: Node) -> None:
    """Restart a machine and wait until systemd has started everything."""
    restart = ["docker", "restart", "--time", "90", node.container]
    subprocess.run(restart, check=True, capture_output=True)
    wait_for(
        f"systemd on {node.name} has started everything",
        lambda: node.run("systemctl", "is-system-running", check=False).stdout.strip() == "running",
        seconds=120,
    )
