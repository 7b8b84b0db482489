"""The collection as strangers get it: built, imported as by Galaxy, and judged by ansible-test.

antsibull-changelog reads the fragments of the changelog. The archive is built as for a release.
galaxy-importer reads it, and what it refuses or complains about fails, with one exception: that
``tests/sanity/ignore-*.txt`` exists. Then ``ansible-test sanity`` runs on what the archive holds,
without containers. `UNCHECKED` is what is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .scenarios import REPOSITORY

COLLECTION = ("auscat", "imaging")
#: Each with the reason for which it does not run.
UNCHECKED = {
    "pylint": "a minute of processor time; ruff and mypy look at all Python (make lint)",
    "pep8": "ruff looks at the same (make lint)",
}
#: ansible-lint has looked at the same roles and playbooks with the same profile (make lint), and
#: ansible-test runs below: the importer would start it in a container.
IMPORTER = """\
[galaxy-importer]
check_changelog = True
run_ansible_doc = True
run_ansible_lint = False
run_ansible_test = False
run_flake8 = False
local_image_docker = False
"""
ACCEPTED = "WARNING: Ignore files skip ansible-test sanity tests"


def complaints(said: str) -> list[str]:
    """Return the lines of galaxy-importer's output that say that something is wrong."""
    return [
        line
        for line in said.splitlines()
        if line.startswith(("WARNING:", "ERROR:", "CRITICAL:")) and not line.startswith(ACCEPTED)
    ]


def environment() -> dict[str, str]:
    """Make the environment of both programs where it is missing; return the variables for it."""
    place = subprocess.run(
        ["tools/galaxy_environment.sh"],
        cwd=REPOSITORY,
        # The same Python as here: that of which the environment of the tests was made.
        env={**os.environ, "PYTHON": getattr(sys, "_base_executable", sys.executable)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    ).stdout.strip()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANSIBLE_", "GALAXY_IMPORTER_", "PYTHON", "VIRTUAL_ENV"))
    }
    return {**kept, "HOME": place, "PATH": f"{place}/bin{os.pathsep}{kept['PATH']}"}


def build(place: Path, variables: dict[str, str]) -> Path:
    """Build the archive. Raises subprocess.CalledProcessError."""
    subprocess.run(
        ["ansible-galaxy", "collection", "build", "--output-path", str(place), str(REPOSITORY)],
        cwd=place,
        env=variables,
        check=True,
    )
    (archive,) = place.glob(f"{'-'.join(COLLECTION)}-*.tar.gz")
    return archive


def changelog(checkout: Path, variables: dict[str, str]) -> bool:
    """Have antsibull-changelog read the fragments; tell whether it accepts them."""
    command = ["antsibull-changelog", "lint"]
    wrong = subprocess.run(command, cwd=checkout, env=variables, check=False).returncode
    if wrong:
        print("antsibull-changelog refuses fragments. CONTRIBUTING.md shows how one is written.")
    else:
        print("antsibull-changelog accepts the fragments of the changelog.")
    return not wrong


def importer(archive: Path, variables: dict[str, str]) -> bool:
    """Have galaxy-importer read an archive; tell whether it has nothing to complain about."""
    settings = archive.with_name("galaxy-importer.cfg")
    settings.write_text(IMPORTER, encoding="utf-8")
    done = subprocess.run(
        ["python", "-m", "galaxy_importer.main", str(archive)],
        cwd=archive.parent,
        env={**variables, "GALAXY_IMPORTER_CONFIG": str(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    wrong = complaints(done.stdout)
    if done.returncode or wrong:
        print(done.stdout)
        print(f"galaxy-importer ended with code {done.returncode} and complains of {len(wrong)}:")
        print("\n".join(wrong))
    else:
        print(f"galaxy-importer accepts {archive.name}.")
    return not done.returncode and not wrong


def sanity(archive: Path, variables: dict[str, str]) -> bool:
    """Run ansible-test on what an archive holds; tell whether it has found nothing."""
    install = ["ansible-galaxy", "collection", "install", "--offline", "--no-deps", "-p"]
    subprocess.run(
        [*install, str(archive.parent), str(archive)],
        cwd=archive.parent,
        env={**variables, "ANSIBLE_COLLECTIONS_PATH": str(archive.parent)},
        check=True,
    )
    root = archive.parent.joinpath("ansible_collections", *COLLECTION)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    left_out = [word for name in UNCHECKED for word in ("--skip-test", name)]
    print("Not run:", "; ".join(f"{name} ({why})" for name, why in UNCHECKED.items()), flush=True)
    command = ["ansible-test", "sanity", "--python", version, "--color", "no", *left_out]
    return not subprocess.run(command, cwd=root, env=variables, check=False).returncode


def main() -> int:
    """Build, import and judge; return 1 where anything is wrong."""
    if not shutil.which("shellcheck"):
        # ansible-test would leave it out, and pass.
        print("shellcheck is missing. Run: ansible-playbook tests/machine.yml", file=sys.stderr)
        return 1
    variables = environment()
    with tempfile.TemporaryDirectory(prefix="auscat-galaxy-") as directory:
        archive = build(Path(directory), variables)
        # All, so that one run shows all that is wrong.
        passed = [changelog(REPOSITORY, variables)]
        sys.stdout.flush()
        passed += [importer(archive, variables), sanity(archive, variables)]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
