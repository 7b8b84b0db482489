"""From an empty directory, with the archive alone: a node, its bundle, and its documentation."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
from conftest import Place, Site, examples
from shared.documented import command, script
from shared.machines import REPOSITORY, Machine, wait_for
from shared.studies import Orthanc, make_study

MARK = b"PATIENT-OF-A-SITE"
# What a site has in the directory where it works, and where it should not have it.
PLANTED = (
    "patients.csv",
    "inventories/production/group_vars/all/vault.yml",
    "collections/patients.csv",
    "collections/ansible_collections/auscat/imaging/patients.csv",
    "collections/ansible_collections/auscat/imaging/.vault_password",
    "collections/ansible_collections/auscat/imaging/inventories/hospital/hosts.yml",
    "collections/ansible_collections/auscat/imaging/inventories/hospital/group_vars/all/vault.yml",
    "collections/ansible_collections/auscat/imaging/roles/ctp/files/keys.csv",
    "collections/ansible_collections/auscat/imaging/playbooks/group_vars/all.yml",
)


def test_the_archive_is_all_that_was_there(place: Place) -> None:
    archives = {each.name for each in place.path.glob("auscat-imaging-*.tar.gz")}
    assert len(archives) == 1
    here = {each.name for each in place.path.iterdir()}
    assert here == {"ansible", "collections", "inventories", "requirements-hashed.txt"} | archives
    assert not (place.installed / "galaxy.yml").exists()
    # Not the checkout under another name.
    assert not place.installed.is_symlink()
    assert REPOSITORY not in place.installed.resolve().parents


def test_an_operator_installs_nothing_of_the_tests(place: Place) -> None:
    frozen = place.shell("command -v ansible-playbook; pip freeze")
    assert frozen.startswith(str(place.path / "ansible"))
    for name in ("ansible-core==", "distlib=="):
        assert f"\n{name}" in frozen
    for name in ("pytest", "molecule", "playwright", "pydicom", "ruff"):
        assert f"\n{name}==" not in frozen


def test_the_simulation_comes_up_and_is_proved(site: Site, workstation: Machine) -> None:
    said = site.said
    (recap,) = [
        line for line in said.splitlines() if line.startswith("simulation ") and "ok=" in line
    ]
    assert "failed=0" in recap and "unreachable=0" in recap
    # The closing table of the proof, and how to log in.
    assert "Show the proof and how to log in" in said
    assert re.search(r"Proof: all \d\d checks passed", said)
    # The gate in front of CTP is one of its own.
    site.node.wait_until_healthy(5)
    system = Orthanc(workstation, site.node).request("/system")
    assert system["DicomAet"] == "ORTHANC"


def test_nobody_else_reaches_it(site: Site, workstation: Machine, stranger: Machine) -> None:
    assert site.said
    assert workstation.connects(site.node.address, 8042)
    assert not stranger.connects(site.node.address, 8042)


def test_a_first_study_as_the_readme_sends_it(site: Site, tmp_path: Path) -> None:
    """On the node itself, which is the machine of the README's reader."""
    assert site.said
    place, node = site.place, site.node
    node.shell(script("README.md", "apt-get update"), timeout=300)

    def patients() -> set[str]:
        there = json.loads(node.output(*command("README.md", "curl --cacert")))
        return {each["MainDicomTags"]["PatientID"] for each in there}

    before = patients()
    place.shell(script("README.md", "> patients.csv"))
    installed = {"playbooks/load_keys.yml": "auscat.imaging.load_keys"}
    place.shell(script("README.md", "playbooks/load_keys.yml", installed))
    make_study(tmp_path / "study", "PAT-1", "")
    node.put(tmp_path / "study", "/root/your-study")
    place.shell(script("README.md", "sleep 10"))
    node.shell(f"cd /root; {script('README.md', 'dcmsend 127.0.0.1')}")
    wait_for("its patient is in Orthanc", lambda: len(patients() - before) == 1)
    assert "PAT-1" not in patients()


def test_the_status_and_the_checks_as_the_guide_asks_for_them(
    site: Site, workstation: Machine
) -> None:
    assert site.said
    own = {"INVENTORY": "inventories/simulation"}
    assert "Status on " in site.place.shell(script("docs/guide.md", "auscat.imaging.status", own))
    checked = script(
        "docs/guide.md",
        "simulation_sources",
        {
            "site.yml": "auscat.imaging.site",
            "192.0.2.0/24": workstation.address,
            "192.0.2.10": site.node.address,
        },
    )
    # The whole of it would deploy the same once more.
    assert " failed=0 " in site.place.shell(f"{checked} --tags preflight")


def test_every_module_filter_and_lookup_is_shown(place: Place) -> None:
    listed = place.shell(examples("collection.md")["doc"])
    assert "UNDOCUMENTED" not in listed
    for room, kind in (("modules", "module"), ("lookup", "lookup")):
        files = (place.installed / "plugins" / room).glob("[a-z]*.py")
        names = [f"auscat.imaging.{file.stem}" for file in files]
        shown = json.loads(place.shell(f"ansible-doc --json --type {kind} {' '.join(names)}"))
        for name in names:
            assert f"{name} " in listed
            assert shown[name]["doc"]["short_description"]
    for role in (place.installed / "roles").iterdir():
        assert f"auscat.imaging.{role.name}:" in listed, role


@pytest.fixture(scope="module")
def bundle(site: Site) -> Path:
    """The bundle, from a directory in which a site has worked for years."""
    assert site.said
    for name in PLANTED:
        file = site.place.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not name.startswith("inventories/production"):
            file.write_bytes(b"patient: " + MARK + b"\n")
    # Debian's packages are those of the scenario airgap: they take minutes.
    command = examples("collection.md")["bundle"].strip()
    shown = site.place.shell(f"""{command} --extra-vars '{{"bundle_suites": []}}'""")
    assert "images_archive_checksum: " in shown
    return site.place.path / "auscat-imaging-bundle.tar"


def members(bundle: Path) -> dict[str, bytes]:
    """What is in the bundle, Python's packages and the images apart."""
    with tarfile.open(bundle) as archive:
        return {
            member.name: file.read()
            for member in archive
            if member.size < 50_000_000 and (file := archive.extractfile(member))
        }


def test_the_bundle_is_made_from_the_installed_collection(
    bundle: Path, place: Place, archive: Path
) -> None:
    found = members(bundle)
    manifest = json.loads(found["manifest.json"])
    version = json.loads((place.installed / "MANIFEST.json").read_text())["collection_info"][
        "version"
    ]
    assert manifest["project"] == version
    assert {each["name"].split(":")[0] for each in manifest["images"]} == {
        "auscat-imaging/front",
        "auscat-imaging/keydb",
        "auscat-imaging/orthanc",
        "auscat-imaging/ctp_rsna",
    }
    packed = found[f"controller/{archive.name}"]
    listed = {each["file"]: each["sha256"] for each in manifest["controller"]}
    assert listed[archive.name] == hashlib.sha256(packed).hexdigest()
    assert files_of(packed) == files_of(archive.read_bytes())


def files_of(archive: bytes) -> dict[str, bytes]:
    """Content of each file of a collection's archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {each.name: file.read() for each in opened if (file := opened.extractfile(each))}


def test_nothing_of_the_site_is_in_the_bundle(bundle: Path) -> None:
    """In no member, and in no file of an archive within it."""
    with bundle.open("rb") as file:
        assert not any(MARK in block for block in iter(lambda: file.read(1 << 24), b""))
    for name, content in members(bundle).items():
        if name.endswith(".tar.gz"):
            inner = files_of(content)
            assert not [each for each, text in inner.items() if MARK in text]


def test_a_controller_installs_what_is_in_the_bundle(
    bundle: Path, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / archive.name).write_bytes(members(bundle)[f"controller/{archive.name}"])
    elsewhere = Place(tmp_path)
    elsewhere.shell(
        script("docs/guide.md", "ansible-galaxy collection install --offline"),
        ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "collections"),
    )
    listed = elsewhere.shell("ansible-doc --list auscat.imaging")
    assert "auscat.imaging.swarm_stack " in listed


def test_a_controller_without_a_network_is_made_of_the_bundle(bundle: Path, tmp_path: Path) -> None:
    """As docs/air-gapped.md says, from a directory that has nothing but the bundle."""
    (tmp_path / "auscat-imaging-bundle.tar").symlink_to(bundle)
    controller = Place(tmp_path)
    controller.shell(script("docs/air-gapped.md", "tar -xf"))
    controller.shell(script("docs/air-gapped.md", "python3 -m venv"))
    # From here on with its own programs, as after the page's next line.
    controller.shell(script("docs/air-gapped.md", "pip install --no-index"))
    collections = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections")}
    install = script("docs/air-gapped.md", "ansible-galaxy collection install")
    controller.shell(install, **collections)
    found = controller.shell("command -v ansible-playbook; ansible-doc --list auscat.imaging")
    assert found.startswith(str(tmp_path / "ansible"))
    assert "auscat.imaging.swarm_stack " in found


def test_a_changed_file_is_not_passed_on(bundle: Path, place: Place) -> None:
    """Cheap: the whole playbook would save the images again."""
    file = place.installed / "docs" / "guide.md"
    before = file.read_bytes()
    file.write_bytes(before + MARK)
    program = (
        "import pathlib, runpy, sys\n"
        "pack = runpy.run_path(sys.argv[1])['pack']\n"
        "pack(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))\n"
    )
    module = str(place.installed / "plugins/module_utils/images/artifact.py")
    done = subprocess.run(
        ["python3", "-c", program, module, str(place.installed), str(bundle.parent)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    file.write_bytes(before)
    assert done.returncode != 0
    assert "docs/guide.md is not what it was" in done.stderr
