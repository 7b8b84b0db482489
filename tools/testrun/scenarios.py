"""The Molecule scenarios: where each belongs, which share hosts, and what each is made of."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]

#: Where a scenario belongs, and about how long it takes (seconds, on 2 cores), which decides the
#: order on a machine that has not run it yet. USUAL ones run each time; STOCK_CTP ones do where a
#: distribution of CTP is at hand; LONG ones run with --all, and one in turn in each run of CI.
USUAL = {
    "airgap": 380,
    "auscat_ctp": 210,
    "clients": 260,
    "default": 740,
    "guardrails": 240,
    "hosts": 120,
    "rsna_standin": 450,
    "status": 460,
    "two_vm": 380,
    "volume": 160,
}
STOCK_CTP = {"rsna_ctp": 600}
LONG = {
    "access": 900,
    "adopt": 900,
    "backup": 900,
    "collection": 900,
    "fourth_service": 480,
    "resilience": 2400,
    "restore_one": 900,
    "rotation": 2100,
    "troubleshoot": 1800,
    "upgrade": 900,
    "vm": 1400,
}
PLACED = {**USUAL, **STOCK_CTP, **LONG}

_ALL = tuple(PLACED)
_NONE: tuple[str, ...] = ()
#: Those in which the node is deployed.
_DEPLOYED = tuple(name for name in PLACED if name not in ("guardrails", "hosts", "volume"))

#: Which scenarios a path concerns, beside the one in whose directory it lies. The first pattern
#: that matches counts, and "*" stands for "/" too. A path that none matches concerns all of them.
INPUTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # Read by people; style and links are looked at with the style.
    ("docs/clients.md", ("clients",)),
    ("docs/collection.md", ("collection",)),
    ("docs/roles-alone.md", ("collection",)),
    ("docs/*", _NONE),
    ("*.md", _NONE),
    ("changelogs/*", _NONE),
    ("LICENSE", _NONE),
    (".yamllint", _NONE),
    (".ansible-lint", _NONE),
    (".gitignore", _NONE),
    ("Makefile", _NONE),
    (".ci/*", _NONE),
    ("benchmarks/*", _NONE),
    # A change of the runner is proved by its unit tests, and by the cheapest scenario.
    ("tools/testrun/*", ("guardrails",)),
    ("tools/test.sh", ("guardrails",)),
    ("tools/lint.sh", _NONE),
    ("tools/unit.sh", _NONE),
    ("tools/other_line.sh", _NONE),
    ("tools/screenshots.sh", ("clients", "status")),
    ("tools/distributions.py", _NONE),
    ("tools/variables_table.py", _NONE),
    ("tools/filter_documentation.py", _NONE),
    ("plugins/filter/*.yml", _NONE),
    ("tools/galaxy_environment.sh", _NONE),
    ("requirements-galaxy.txt", _NONE),
    ("tests/sanity/*", _NONE),
    ("tools/pydicer_environment.sh", ("clients",)),
    ("tools/viewer_archive.sh", ("clients",)),
    ("images/front_ohif/*", ("clients",)),
    ("requirements-pydicer.txt", ("clients",)),
    ("tests/unit/*", _NONE),
    ("tests/quality/*", _NONE),
    ("tests/marks/*", ("rsna_ctp", "rsna_standin")),
    ("tests/services/*", ("fourth_service",)),
    ("tests/hosts/testvm.py", ("vm",)),
    ("tests/hosts/testdisks.py", ("collection", "volume")),
    ("molecule/shared/diagnoses.py", ("troubleshoot", "two_vm", "vm")),
    ("molecule/shared/known_faults.*", ("troubleshoot", "two_vm", "vm")),
    ("molecule/shared/nifti.py", ("clients",)),
    ("playbooks/adopt.yml", ("adopt",)),
    ("playbooks/take_over.yml", ("adopt",)),
    ("playbooks/backup*.yml", ("backup", "fourth_service", "restore_one")),
    ("playbooks/bundle.yml", ("airgap", "collection")),
    ("playbooks/init_secrets.yml", ("fourth_service", "guardrails")),
    ("playbooks/quarantine.yml", ("auscat_ctp", "troubleshoot")),
    ("playbooks/release_quarantine.yml", ("backup", "clients", "rsna_ctp", "rsna_standin")),
    ("playbooks/restore.yml", ("backup", "fourth_service", "restore_one")),
    (
        "playbooks/rotate_secrets.yml",
        ("backup", "fourth_service", "guardrails", "rotation", "two_vm"),
    ),
    ("playbooks/status.yml", ("auscat_ctp", "backup", "fourth_service", "restore_one", "status")),
    ("playbooks/teardown.yml", ("fourth_service", "guardrails", "rotation")),
    ("playbooks/test_orthanc.yml", ("clients",)),
    (
        "playbooks/troubleshoot.yml",
        (
            *("fourth_service", "rsna_ctp", "rsna_standin", "status"),
            *("troubleshoot", "two_vm", "vm"),
        ),
    ),
    ("playbooks/upgrade.yml", ("backup", "upgrade")),
    # What a role declares is seen by every play that lists it.
    ("roles/*/defaults/*", _ALL),
    ("roles/*/meta/*", _ALL),
    ("roles/*/vars/*", _ALL),
    ("roles/adopt/*", ("adopt",)),
    ("roles/bundle/*", ("airgap", "collection")),
    ("roles/rotation/*", ("fourth_service", "guardrails", "rotation", "two_vm")),
    ("roles/teardown/*", ("fourth_service", "rotation")),
    ("roles/upgrade/*", ("upgrade",)),
    ("roles/docker_engine/*", _ALL),
    ("roles/host_volume/*", _ALL),
    ("roles/preflight/*", _ALL),
    ("roles/swarm/*", _ALL),
    ("roles/*", _DEPLOYED),
    ("images/*", _DEPLOYED),
)

#: A change of nothing else needs no unit tests.
NOT_TESTED_BY_UNITS = ("docs/*", "*.md", "LICENSE", "molecule/*", "tests/quality/*", ".ci/*")


@dataclass
class Selection:
    """What a change needs."""

    #: Scenario to the path for which it runs.
    scenarios: dict[str, str] = field(default_factory=dict)
    #: Scenario to the reason for which it does not run.
    left_out: dict[str, str] = field(default_factory=dict)
    #: Path for which the unit tests run; empty: none.
    units: str = ""


def found(molecule: Path = REPOSITORY / "molecule") -> dict[str, Path]:
    """Return the scenarios that exist, by name."""
    return {file.parent.name: file.parent for file in sorted(molecule.glob("*/molecule.yml"))}


def networks(directory: Path) -> frozenset[str]:
    """Return the networks of a scenario's test hosts, wherever its inventory names them.

    Two scenarios with a network in common share container names and addresses: only one of them
    can have its hosts at a time.
    """
    names: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "testhost_network":
                    names.add(str(inner))
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    # rglob does not follow links to directories, which inventories use.
    for place in (directory / "inventory").iterdir():
        files = place.resolve().rglob("*.yml") if place.is_dir() else [place]
        for file in files:
            if file.suffix == ".yml":
                collect(yaml.safe_load(file.read_text()))
    return frozenset(names)


def own_paths(directory: Path, repository: Path = REPOSITORY) -> frozenset[str]:
    """Return what a scenario's directory is made of: itself and what its links lead to."""
    paths = {directory.relative_to(repository).as_posix()}
    for place in directory.rglob("*"):
        if place.is_symlink():
            paths.add(place.resolve().relative_to(repository.resolve()).as_posix())
    return frozenset(paths)


def concerned(path: str, own: dict[str, frozenset[str]]) -> tuple[set[str], bool]:
    """Tell which scenarios a path concerns, and whether it was named as theirs.

    Args:
        path: below the repository, with "/".
        own: scenario to its own paths.

    Returns:
        The scenarios, and False where they are all those that any part of the node concerns.
    """
    theirs = {
        name
        for name, roots in own.items()
        if any(path == root or path.startswith(root + "/") for root in roots)
    }
    if theirs:
        return theirs, True
    for pattern, names in INPUTS:
        if fnmatchcase(path, pattern):
            return set(names), names not in (_ALL, _DEPLOYED)
    return set(own), False


def select(paths: Iterable[str], long: bool) -> Selection:
    """Select what a change of these paths needs.

    A long scenario runs for what is its own (its directory, its playbook); for a path that concerns
    the whole node it is left out unless ``long``.

    Args:
        paths: what has changed, below the repository.
        long: whether long ones run for a change of the whole node.
    """
    own = {name: own_paths(directory) for name, directory in found().items()}
    selection = Selection()
    skipped: dict[str, str] = {}
    for path in sorted(paths):
        names, narrow = concerned(path, own)
        for name in names:
            if name in LONG and not narrow and not long:
                skipped.setdefault(
                    name, f"long, and {path} concerns the whole node (--all runs it)"
                )
            else:
                selection.scenarios.setdefault(name, path)
        if not any(fnmatchcase(path, pattern) for pattern in NOT_TESTED_BY_UNITS):
            selection.units = selection.units or path
    for name in own:
        if name not in selection.scenarios:
            selection.left_out[name] = skipped.get(name, "nothing that it is made of has changed")
    return selection


class ChangeError(ValueError):
    """What has changed cannot be told; the text says why."""


def _git(*arguments: str, repository: Path) -> str:
    result = subprocess.run(
        ["git", *arguments], cwd=repository, capture_output=True, encoding="utf-8", check=False
    )
    if result.returncode:
        raise ChangeError(f"git {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def start_of_change(repository: Path = REPOSITORY) -> str:
    """Return the commit since which a developer has worked.

    It is where the branch left main (that of origin, or else the local one); on main itself the
    commit before the last. Raises ChangeError.
    """
    head = _git("rev-parse", "HEAD", repository=repository).strip()
    for main in ("origin/main", "main"):
        try:
            base = _git("merge-base", "HEAD", main, repository=repository).strip()
        except ChangeError:
            continue
        if base != head:
            return base
    return _git("rev-parse", "HEAD~1", repository=repository).strip()


def changed_paths(commit: str, repository: Path = REPOSITORY) -> set[str]:
    """Return what differs from a commit, what is not committed yet included. Raises ChangeError."""
    listed = _git("diff", "--name-only", "--no-renames", "-z", commit, "--", repository=repository)
    listed += _git("ls-files", "--others", "--exclude-standard", "-z", repository=repository)
    return {path for path in listed.split("\0") if path}
