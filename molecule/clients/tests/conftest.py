"""A node with several treated patients, and what the programs of a researcher are told about it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from shared.https import kept
from shared.machines import REPOSITORY, Machine, Node, Scenario, wait_for
from shared.streams import page
from shared.studies import Study, make_study, send
from shared.treatment import Treatment

# A node without OHIF's build has no viewer; the run says so in its first and last lines.
collect_ignore = [] if os.environ.get("OHIF_ARCHIVE") else ["test_37_viewer.py"]

EXAMPLE = re.compile(r"^<!-- example: ([\w.]+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Patient, pseudonym, CT slices, centre of the target. The second study has more instances than
# Orthanc's usual limit of a search. What they are called is fixed, for the sake of the screenshots.
PATIENTS = (
    ("HOSPITAL-4711-A", "ANON-2F6C91", 40, (52.0, -22.0, -9.0)),
    ("HOSPITAL-4712-B", "ANON-B83D07", 112, (-60.0, 15.0, 81.0)),
    ("HOSPITAL-4713-C", "ANON-E45A1C", 28, (30.0, 35.0, -24.0)),
)
UNKNOWN = "HOSPITAL-NOT-LOADED"


@dataclass(frozen=True)
class Cohort:
    """The patients whose studies are in Orthanc, and one whom KeyDB does not know."""

    treatments: list[Treatment]
    unknown: Study

    @property
    def pseudonyms(self) -> list[str]:
        """How the patients are called in Orthanc."""
        return [treatment.pseudonym for treatment in self.treatments]


@pytest.fixture(scope="session")
def node(scenario: Scenario) -> Node:
    """The single VM, in both groups."""
    return scenario.node("node")


@pytest.fixture(scope="session")
def researcher(scenario: Scenario) -> Machine:
    """A researcher's machine, which reaches Orthanc's page and nothing else."""
    return scenario.client("researcher")


@pytest.fixture(scope="session")
def password(node: Node) -> str:
    """The password of Orthanc's user "researcher"."""
    return passwords(node)["researcher"]


def passwords(node: Node) -> dict[str, str]:
    """The passwords of Orthanc's users."""
    registered: dict[str, str] = node.variables["orthanc_registered_users"]
    further = {user["name"]: user["password"] for user in node.variables["orthanc_users"]}
    return {**registered, **further}


@pytest.fixture(scope="session")
def cohort(
    scenario: Scenario, node: Node, password: str, tmp_path_factory: pytest.TempPathFactory
) -> Cohort:
    """Studies that came in from the PACS, for patients whom load_keys.yml made known."""
    directory = tmp_path_factory.mktemp("pacs")
    treatments = [
        Treatment(patient, pseudonym, directory / pseudonym, slices, target)
        for patient, pseudonym, slices, target in PATIENTS
    ]
    keys = directory / "patients.csv"
    rows = "".join(f"{each.patient_id},{each.pseudonym}\n" for each in treatments)
    keys.write_text(f"patient_id,pseudonym\n{rows}")
    loaded = scenario.play("playbooks/load_keys.yml", extra={"keys_file": str(keys)})
    assert loaded.returncode == 0, loaded.errors
    unknown = make_study(directory / "unknown", UNKNOWN, "", instances=1)
    studies = [unknown]
    for each in treatments:
        each.write()
        studies.append(Study(each.patient_id, each.pseudonym, each.directory, each.instances))
    for study in studies:
        code, said = send(study, scenario.client("pacs"), node)
        assert code == 0, said
    orthanc = page(node, 8042, "researcher", password)

    def missing() -> dict[str, int]:
        left = {}
        for each in treatments:
            query = {"Level": "Instance", "Query": {"PatientID": each.pseudonym}}
            left[each.pseudonym] = each.instances - len(orthanc.ask("/tools/find", query))
        return left

    def complete() -> bool:
        left = missing()
        assert not any(left.values()), f"instances that are missing: {left}"
        return True

    wait_for("all studies are in Orthanc", complete, 120)
    return Cohort(treatments, unknown)


@pytest.fixture(scope="session")
def trusted(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The node's CA, as its operator hands it out."""
    return kept(node, tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the screenshots go."""
    wanted = os.environ.get("CLIENTS_SCREENSHOTS")
    directory = Path(wanted) if wanted else tmp_path_factory.mktemp("pictures")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def home(trusted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose browsers trust the node's CA, as docs/certificates.md says."""
    directory = tmp_path_factory.mktemp("home")
    known = directory / ".pki/nssdb"
    known.mkdir(parents=True)
    database = ("certutil", "-d", f"sql:{known}")
    for arguments in (
        ("-N", "--empty-password"),
        ("-A", "-t", "C,,", "-n", "auscat", "-i", trusted),
    ):
        subprocess.run([*database, *map(str, arguments)], check=True, capture_output=True)
    return directory


@pytest.fixture(scope="session")
def told(node: Node, cohort: Cohort, password: str, trusted: Path) -> dict[str, str]:
    """The environment variables that docs/clients.md asks its reader to set."""
    return {
        "ORTHANC_HOST": node.address,
        "ORTHANC_USER": "researcher",
        "ORTHANC_PASSWORD": password,
        "PATIENT": cohort.pseudonyms[0],
        **dict.fromkeys(("CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(trusted)),
    }


@pytest.fixture(scope="session")
def example() -> Callable[[str], str]:
    """Look up an example of docs/clients.md by the name that a comment gives it."""
    found = dict(EXAMPLE.findall((REPOSITORY / "docs" / "clients.md").read_text()))

    def look_up(name: str) -> str:
        return found[name]

    return look_up


@pytest.fixture(scope="session")
def pydicer() -> list[str]:
    """PyDicer's own Python, made as the documentation says."""
    made = subprocess.run(
        [REPOSITORY / "tools" / "pydicer_environment.sh"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return [f"{made.stdout.strip()}/bin/python", "-"]


def run(
    command: list[str], text: str, told: Mapping[str, str], directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run an example in a directory of its own, as its reader would; it must end well."""
    outcome = attempt(command, text, told, directory)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome


def attempt(
    command: list[str], text: str, told: Mapping[str, str], directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run an example, however it ends."""
    directory.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        command,
        input=text,
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), **told},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
