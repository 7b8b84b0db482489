"""The checkout, packed as the collection auscat.imaging, runs by its full name elsewhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_built_collection_runs_its_playbook(tmp_path: Path) -> None:
    collections, elsewhere = tmp_path / "collections", tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
    }

    def run(*command: str, directory: Path) -> str:
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    galaxy = ("ansible-galaxy", "collection")
    run(*galaxy, "build", "--output-path", str(tmp_path), directory=REPOSITORY)
    (archive,) = tmp_path.glob("auscat-imaging-*.tar.gz")
    install = ("install", "--no-deps", "--offline", "-p", str(collections), str(archive))
    run(*galaxy, *install, directory=elsewhere)
    inventory = str(REPOSITORY / "inventories" / "simulation")
    listed = run(
        *("ansible-playbook", "-i", inventory, "auscat.imaging.site", "--list-tasks"),
        directory=elsewhere,
    )
    assert "Deploy the stack and wait until every service is healthy" in listed
