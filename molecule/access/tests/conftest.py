"""The machines of this scenario, the certificates that they trust, and a study on its way."""

from __future__ import annotations

import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from people import People, set_up
from shared.machines import Machine, Node, Scenario
from shared.studies import Study, make_study
from shared.two_machines import cat, kv, pacs

__all__ = ["cat", "kv", "pacs"]

CA_ON_A_NODE = "/etc/auscat/tls/ca.pem"
CA_ON_A_CLIENT = "/root/ca.pem"


@pytest.fixture(scope="session")
def ca(kv: Node, cat: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate that an operator gives to all who use the node."""
    text = kv.output("cat", CA_ON_A_NODE)
    assert cat.output("cat", CA_ON_A_NODE) == text
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    file.write_text(text + "\n")
    return file


@pytest.fixture(scope="session", autouse=True)
def clients(scenario: Scenario, ca: Path) -> dict[str, Machine]:
    """The neighbours, which have been given the certificate."""
    machines = {
        name: scenario.client(name) for name in ("pacs", "people", "researcher", "stranger")
    }
    for machine in machines.values():
        machine.put(ca, CA_ON_A_CLIENT)
    return machines


@pytest.fixture(scope="session")
def passwords(kv: Node, cat: Node) -> dict[str, str]:
    """Every password of the node, by who has it."""
    found = {user["name"]: user["password"] for user in cat.variables["orthanc_users"]}
    found |= cat.variables["orthanc_registered_users"]
    for name in ("keydb_password", "keydb_ctp_password", "ctp_admin_password"):
        found[name] = kv.variables[name]
    return found


@pytest.fixture(scope="session")
def study(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of a patient whom load_keys.yml made known; nobody has sent it yet."""
    directory = tmp_path_factory.mktemp("pacs")
    patient = f"HOSPITAL-{uuid.uuid4().hex[:12]}"
    pseudonym = f"ANON-TRIAL-{uuid.uuid4().hex[:12]}"
    keys = directory / "patients.csv"
    keys.write_text(f"patient_id,pseudonym\n{patient},{pseudonym}\n")
    loaded = scenario.play("playbooks/load_keys.yml", extra={"keys_file": str(keys)})
    assert loaded.returncode == 0, loaded.errors
    return make_study(directory / patient, patient, pseudonym)


def curl(machine: Machine, url: str, *arguments: str, login: str = "") -> tuple[int, str]:
    """Ask with curl, which trusts the site's certificate alone.

    Args:
        machine: who asks.
        url: what for.
        arguments: further ones of curl.
        login: ``user:password``; given on standard input, as a person should.

    Returns:
        The HTTP status, 0 where there was none, and the body or curl's complaint.
    """
    result = machine.run(
        *("curl", "--silent", "--show-error", "--max-time", "60", "--cacert", CA_ON_A_CLIENT),
        *("--write-out", "\n%{http_code}", *(("--config", "-") if login else ()), *arguments, url),
        check=False,
        stdin=f'user = "{login}"\n' if login else None,
    )
    body, _, status = result.stdout.rpartition("\n")
    return int(status or 0), body + result.stderr


def status_from_here(cat: Node, ca: Path, login: str) -> str:
    """Ask Orthanc's machine for a page from this machine, whose address is another one.

    Args:
        cat: Orthanc's machine.
        ca: the file with the certificate that is trusted.
        login: ``user:password``.

    Returns:
        The HTTP status.
    """
    asked = subprocess.run(
        ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]
        + ["--cacert", str(ca), "--config", "-", f"https://{cat.address}:8042/system"],
        input=f'user = "{login}"\n',
        capture_output=True,
        text=True,
        check=True,
    )
    return asked.stdout


def psql(
    machine: Machine, kv: Node, mode: str, statement: str, ca: str = CA_ON_A_CLIENT
) -> subprocess.CompletedProcess[str]:
    """Ask KeyDB from a machine with psql, as its superuser.

    Args:
        machine: who asks.
        kv: KeyDB's machine.
        mode: libpq's ``sslmode``.
        statement: SQL.
        ca: the file with the certificate that is trusted.
    """
    target = (
        f"host={kv.address} port=5433 dbname=key_db user=key_admin "
        f"connect_timeout=10 sslmode={mode} sslrootcert={ca}"
    )
    script = 'read -r PGPASSWORD; export PGPASSWORD; exec psql -At -c "$2" "$1"'
    return machine.run(
        *("bash", "-c", script, "psql", target, statement),
        check=False,
        stdin=kv.variables["keydb_password"] + "\n",
    )


@dataclass(frozen=True)
class Front:
    """The web server in front of Orthanc's page.

    Attributes:
        node: its machine.
        url: of the page.
        trusted: a file on the researcher's machine with the CAs of the node and the hospital.
        ca: a file on this machine with the CA of the node.
    """

    node: Node
    url: str
    trusted: str
    ca: Path

    def log(self) -> str:
        """Who did what."""
        return self.node.shell("cat /srv/auscat/front/logs/access-*.log")

    def journal(self) -> str:
        """What it writes for the engine."""
        return self.node.shell("docker service logs --raw auscat_front 2>&1")

    def status_elsewhere(self, login: str) -> str:
        """Ask for a page from another machine than the researcher's; return the status."""
        return status_from_here(self.node, self.ca, login)


@pytest.fixture(scope="session")
def people(
    scenario: Scenario,
    cat: Node,
    clients: dict[str, Machine],
    tmp_path_factory: pytest.TempPathFactory,
) -> People:
    """The hospital's directory and login page, which the site has been told of."""
    made = set_up(
        clients["people"], tmp_path_factory.mktemp("people"), f"https://{cat.address}:8042"
    )
    deployed = scenario.play("site.yml", extra=made.variables())
    assert deployed.returncode == 0, deployed.errors
    return made


@pytest.fixture(scope="session")
def front(people: People, cat: Node, ca: Path, clients: dict[str, Machine]) -> Front:
    """The web server in front of Orthanc's page, which knows the directory."""
    trusted = "/root/node-and-hospital.pem"
    clients["researcher"].run(
        *("dd", f"of={trusted}", "status=none"), stdin=ca.read_text() + people.ca.read_text()
    )
    return Front(cat, people.page, trusted, ca)
