"""The checkout, packed as the collection auscat.imaging: what is in it, and that it runs."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = (
    "changelogs",
    "docs",
    "images",
    "inventories",
    "meta",
    "playbooks",
    "plugins",
    "roles",
    "tools",
)
"""Directories of which all that the project itself has is packed."""
SHIPPED_FILES = (
    "LICENSE",
    "README.md",
    "ansible.cfg",
    "site.yml",
    "requirements.txt",
    "requirements-hashed.txt",
    "constraints.txt",
)
MADE = {"MANIFEST.json", "FILES.json"}

MARK = "PATIENT-OF-A-SITE"
PLANTED = (
    *(
        "patients.csv",
        "missing.csv",
        "keys.xlsx",
        "site.retry",
        ".vault_pass",
        "vault_pass.txt",
        ".env",
    ),
    *(
        "patients.yml",
        "notes.md",
        "hosts.yml",
        "vault.yml",
        "auscat-imaging-0.0.9.tar.gz",
        "export.dcm",
    ),
    *(
        "group_vars/all/vault.yml",
        "host_vars/kv01.yml",
        "collections/keys.csv",
        "backup/keydb.dump",
    ),
    *("inventories/hospital/hosts.yml", "inventories/hospital/group_vars/all/vault.yml"),
    *("inventories/production/group_vars/all/vault.yml", "inventories/production/patients.csv"),
    *(
        "inventories/production/group_vars/all/zz_site.yml",
        "inventories/production/host_vars/kv01.yml",
    ),
    *(
        "playbooks/hospital.yml",
        "playbooks/group_vars/all.yml",
        "playbooks/vault.yml",
        "playbooks/k.csv",
    ),
    *(
        "docs/export.csv",
        "docs/decisions/export.csv",
        "docs/images/screen.png",
        "docs/site/notes.md",
    ),
    *("roles/ctp/files/keys.csv", "roles/ctp/vars/vault.yml", "roles/ctp/vars/site/keys.yml"),
    *(
        "roles/ctp/templates/patients.j2",
        "roles/ctp/defaults/site.yml",
        "roles/hospital/vars/main.yml",
    ),
    *(
        "roles/orthanc/tasks/keys.csv",
        "roles/keydb/meta/vault.yml",
        "roles/keydb/files/.vault_pass",
    ),
    *(
        "plugins/keys.csv",
        "plugins/modules/keys.json",
        "plugins/module_utils/status/node_status/history.jsonl",
    ),
    *(
        "images/keydb/patients.sql",
        "images/keydb/migrations/patients.csv",
        "images/site/Dockerfile",
    ),
    *("images/ctp_rsna/src/ctp_supervisor/lookup.properties", "images/orthanc/orthanc.json.bak"),
    *("tools/release.token", "meta/patients.yml", "tests/patients.csv", "molecule/patients.csv"),
    *("changelogs/patients.csv", "changelogs/vault.yml", "changelogs/fragments/export.csv"),
    *("nested/.git/config", "nested/roles/x/vars/main.yml", "roles/ctp/.git/config", ".git/keys"),
    *(
        "README.md~",
        ".README.md.swp",
        "site.yml.orig",
        "quarantine-export/000001.dcm",
        ".cache/keys",
    ),
)


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return {**kept, **more}


def run(*command: str, directory: Path, collections: Path) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment(ANSIBLE_COLLECTIONS_PATH=str(collections)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def project_files() -> list[str]:
    """What the project has; links and what a site adds are no part of it."""
    done = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("no git checkout")
    return [each for each in done.stdout.splitlines() if not (REPOSITORY / each).is_symlink()]


def build(source: Path, target: Path) -> Path:
    galaxy = ("ansible-galaxy", "collection", "build", "--output-path", str(target), str(source))
    run(*galaxy, directory=target, collections=target / "none")
    (archive,) = target.glob("auscat-imaging-*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which a site has worked for years."""
    copy = tmp_path_factory.mktemp("checkout") / "auscat-imaging"
    for name in project_files():
        if (REPOSITORY / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, copy / name)
    for name in PLANTED:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        assert not (copy / name).exists()
        (copy / name).write_text(MARK)
    outside = copy.parent / "patients.csv"
    outside.write_text(MARK)
    (copy / "docs/link.md").symlink_to(outside)
    (copy / "roles/ctp/tasks/link.yml").symlink_to(outside)
    (copy / "plugins/link.py").symlink_to("../patients.csv")
    (copy / "plugins/elsewhere").symlink_to(copy.parent)
    return copy


@pytest.fixture(scope="module")
def packed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes | None]:
    """Content of each file of the archive, by name; ``None``: no regular file."""
    with tarfile.open(build(checkout, tmp_path_factory.mktemp("archive"))) as archive:
        found: dict[str, bytes | None] = {}
        for member in archive.getmembers():
            if not member.isdir():
                file = archive.extractfile(member) if member.isreg() else None
                found[member.name] = file.read() if file else None
        return found


def test_nothing_of_a_site_is_packed(packed: dict[str, bytes | None]) -> None:
    assert not [name for name in packed if name in PLANTED]
    assert not [
        name for name, content in packed.items() if content is None or MARK.encode() in content
    ]
    assert not set(packed) - set(project_files()) - MADE


def test_all_that_is_needed_is_packed(packed: dict[str, bytes | None]) -> None:
    needed = [name for name in project_files() if name.split("/")[0] in SHIPPED]
    missing = sorted({*needed, *SHIPPED_FILES} - set(packed))
    assert not missing, f"name them in galaxy.yml: {missing}"


def install(archive: Path, collections: Path) -> Path:
    """Install an archive into an empty directory; returns where it is then."""
    arguments = ("install", "--no-deps", "--offline", "-p", str(collections), str(archive))
    galaxy = ("ansible-galaxy", "collection", *arguments)
    run(*galaxy, directory=archive.parent, collections=collections)
    return collections / "ansible_collections" / "auscat" / "imaging"


def content(archive: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of each file of an archive."""
    with tarfile.open(archive) as opened:
        files = {member.name: (member.mode, opened.extractfile(member)) for member in opened}
        return {name: (mode, file.read()) for name, (mode, file) in files.items() if file}


def test_the_installed_collection_is_packed_as_it_was(tmp_path: Path) -> None:
    """The bundle ships it so, where a site has worked in the installed collection for years."""
    built = build(REPOSITORY, tmp_path)
    place = install(built, tmp_path / "collections")
    for name in PLANTED:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(MARK)
    (tmp_path / "again").mkdir()
    file = place / "plugins/module_utils/images/artifact.py"
    again = Path(str(runpy.run_path(str(file))["pack"](place, tmp_path / "again")))
    assert again.name == built.name
    assert content(again) == content(built)
    install(again, tmp_path / "elsewhere")


def test_the_built_collection_runs_its_playbook(tmp_path: Path) -> None:
    collections, elsewhere = tmp_path / "collections", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install(build(REPOSITORY, tmp_path), collections)
    inventory = str(REPOSITORY / "inventories" / "simulation")
    listed = run(
        *("ansible-playbook", "-i", inventory, "auscat.imaging.site", "--list-tasks"),
        directory=elsewhere,
        collections=collections,
    )
    assert "Deploy the stack and wait until every service is healthy" in listed
