"""An installed collection is packed as it was, or not at all."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.images import artifact

FILES = {"README.md": "# Read\n", "tools/run.sh": "#!/bin/sh\n", "roles/a/tasks/main.yml": "---\n"}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def installed(place: Path, further: tuple[dict[str, Any], ...] = ()) -> Path:
    """An installed collection, with its two lists as Galaxy's format 1 has them."""
    entries: list[dict[str, Any]] = [
        {"name": name, "ftype": "dir", "chksum_sha256": None}
        for name in (".", "tools", "roles", "roles/a", "roles/a/tasks")
    ]
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
        entries.append({"name": name, "ftype": "file", "chksum_sha256": digest(text)})
    (place / "tools/run.sh").chmod(0o755)
    files = json.dumps({"files": [*entries, *further], "format": 1})
    (place / "FILES.json").write_text(files)
    manifest = {
        "collection_info": {"namespace": "auscat", "name": "imaging", "version": "1.2.3"},
        "file_manifest_file": {"name": "FILES.json", "chksum_sha256": digest(files)},
    }
    (place / "MANIFEST.json").write_text(json.dumps(manifest))
    return place


def test_what_is_listed_is_packed_and_nothing_else(tmp_path: Path) -> None:
    place = installed(tmp_path / "imaging")
    for name in ("patients.csv", "tools/vault.yml", "roles/a/vars/main.yml"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text("PATIENT")
    made = artifact.pack(place, tmp_path)
    assert made == tmp_path / "auscat-imaging-1.2.3.tar.gz"
    with tarfile.open(made) as archive:
        modes = {member.name: member.mode for member in archive if member.isfile()}
        for name, text in FILES.items():
            file = archive.extractfile(name)
            assert file is not None and file.read().decode() == text
    assert set(modes) == {*FILES, "MANIFEST.json", "FILES.json"}
    assert (modes["tools/run.sh"], modes["README.md"]) == (0o755, 0o644)


def test_a_checkout_is_told_by_its_galaxy_yml(tmp_path: Path) -> None:
    assert not artifact.is_checkout(installed(tmp_path))
    (tmp_path / "galaxy.yml").write_text("namespace: auscat\n")
    assert artifact.is_checkout(tmp_path)


@pytest.mark.parametrize("name", ["README.md", "FILES.json"])
def test_a_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    place = installed(tmp_path)
    with (place / name).open("a") as file:
        file.write("PATIENT")
    with pytest.raises(artifact.ArtifactError, match=f"{name} is not what it was") as error:
        artifact.pack(place, tmp_path)
    assert "ansible-galaxy collection install --force" in str(error.value)


@pytest.mark.parametrize("name", ["tools/run.sh", "MANIFEST.json"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    place = installed(tmp_path)
    (place / name).unlink()
    with pytest.raises(artifact.ArtifactError, match=name):
        artifact.pack(place, tmp_path)


def test_a_link_in_a_file_s_place_takes_nothing_along(tmp_path: Path) -> None:
    place = installed(tmp_path / "imaging")
    (tmp_path / "patients.csv").write_text("PATIENT")
    (place / "README.md").unlink()
    (place / "README.md").symlink_to("../patients.csv")
    with pytest.raises(artifact.ArtifactError, match=r"README\.md is not what it was"):
        artifact.pack(place, tmp_path)


@pytest.mark.parametrize("name", ["../patients.csv", "/etc/hostname"])
def test_a_list_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "patients.csv").write_text("PATIENT")
    entry = {"name": name, "ftype": "file", "chksum_sha256": digest("PATIENT")}
    place = installed(tmp_path / "imaging", (entry,))
    with pytest.raises(artifact.ArtifactError, match="outside"):
        artifact.pack(place, tmp_path)
