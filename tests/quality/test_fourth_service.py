"""A service is added by its role and by lines of an inventory, and all playbooks know it.

Nothing is deployed here, which the scenario fourth_service does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "molecule"))

from shared.fourth import SERVICE, differing, place, tree_with_service  # noqa: E402

#: What is asked of the copy: expression by name, in the terms of the platform roles.
ASKED = {
    "stack": "__stack_document",
    "order": "__stack_way_back.order",
    "copied": "__stack_way_back.data | map(attribute='service')",
    "kept": "__stack_way_back.kept_secrets",
    "directories": "__auscat_directories | map(attribute='path')",
    "secrets": "__auscat_secrets | map(attribute='name')",
    "guarded": "__auscat_guarded_ports | map(attribute='published')",
    "images": "__images_used",
    "logins": "__rotation_logins | map(attribute='variable')",
    "declared": "__auscat_declared | auscat.imaging.declared_secrets | map(attribute='variable')",
    "backup": "__backup_parts",
    "timers": "__backup_schedules",
    "restored with": "__backup_restore_logins",
    "status": "__status_settings.services",
    "backups in the status": "__status_settings.backup_kinds",
    "prepared": "__services_here",
    "removed": "'roles' | auscat.imaging.service_roles('tasks/absent.yml')",
}
PASSWORDS = {"vault_notes_password": "notes-4be1", "vault_notes_reader_password": "notes-77d0"}


def play(tree: Path, inventory: Path, task: str, playbook: str, *arguments: str) -> dict[str, Any]:
    """Run a playbook of the copy that contacts no machine; return what a task of it gave."""
    done = subprocess.run(
        [*("ansible-playbook", "-i", str(inventory), playbook, *arguments)],
        cwd=tree,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(tree / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    document = json.loads(done.stdout[done.stdout.index("{\n") :])
    (result,) = (
        each["hosts"]["node"]
        for play in document["plays"]
        for each in play["tasks"]
        if each["task"]["name"] == task
    )
    found: dict[str, Any] = result
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree_with_service(tmp_path_factory.mktemp("fourth") / "tree")


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fourth") / "inventory"
    shutil.copytree(REPOSITORY / "molecule/fourth_service/inventory", made)
    place(made)
    (made / "group_vars/all/vault.yml").write_text(yaml.safe_dump(PASSWORDS))
    return made


@pytest.fixture(scope="module")
def known(tree: Path, inventory: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the platform roles know of the services, from the copy and the inventory."""
    platform = ["host_volume", "docker_engine", "swarm", "firewall", "images", "stack", "status"]
    platform += ["backup", "rotation", "verify"]
    names = "(__auscat_secrets | map(attribute='name'))"
    probe = {
        "hosts": "node",
        "gather_facts": False,
        "vars": {
            "role_path": str(tree / "roles/services"),
            # As other roles would find them on the machine.
            "__docker_secrets_versions": f"{{{{ dict({names} | zip({names})) }}}}",
            "__preflight_host": {"service_manager": "systemd", "address": "10.213.97.10"},
        },
        "roles": [
            {"role": "auscat.imaging.services"},
            *({"role": f"auscat.imaging.{role}", "when": False} for role in platform),
        ],
        "tasks": [
            {
                "name": "Say what is known",
                "ansible.builtin.debug": {
                    "msg": {name: f"{{{{ {value} }}}}" for name, value in ASKED.items()}
                },
            }
        ],
    }
    playbook = tmp_path_factory.mktemp("fourth") / "probe.yml"
    playbook.write_text(yaml.safe_dump([probe]))
    found: dict[str, Any] = play(tree, inventory, "Say what is known", str(playbook))["msg"]
    return found


def test_nothing_else_is_touched(tree: Path, inventory: Path) -> None:
    touched = differing(tree)
    assert touched
    assert all(name.startswith(f"roles/{SERVICE}/") for name in touched), touched
    own = REPOSITORY / "molecule/fourth_service/inventory"
    assert {
        path.relative_to(inventory).as_posix()
        for path in inventory.rglob("*")
        if path.is_file()
        and path.name != "vault.yml"
        and path.read_bytes() != (own / path.relative_to(inventory)).read_bytes()
    } == {"group_vars/all/main.yml"}


def test_it_is_deployed(known: dict[str, Any]) -> None:
    service = known["stack"]["services"][SERVICE]
    assert set(known["stack"]["services"]) == {
        *("keydb", "ctp", "ctp_export", "orthanc", "front"),
        SERVICE,
    }
    assert service["ports"] == [
        {"target": 5432, "published": 5434, "protocol": "tcp", "mode": "host"}
    ]
    assert [each["target"] for each in service["secrets"]] == ["notes_pass", "reader_pass"]
    assert "/srv/auscat/notes" in {each.get("source") for each in service["volumes"]}
    assert service["image"] == known["stack"]["services"]["keydb"]["image"]
    assert service["image"] in known["images"]
    assert "/srv/auscat/notes" in known["directories"]
    assert {"notes_pass", "notes_reader_pass"} <= set(known["secrets"])
    assert 5434 in known["guarded"]
    assert known["prepared"] == ["keydb", "ctp", "orthanc", SERVICE]
    assert known["order"] == ["keydb", "orthanc", "ctp_export", "ctp"]


def test_it_is_upgraded_and_rotated(known: dict[str, Any]) -> None:
    assert SERVICE in known["copied"]
    assert {"notes_pass", "notes_reader_pass"} <= set(known["kept"])
    assert {"notes_password", "notes_reader_password"} <= set(known["logins"])
    assert {"notes_password", "notes_reader_password"} <= set(known["declared"])


def test_it_is_backed_up(known: dict[str, Any]) -> None:
    kinds = {kind: [each["name"] for each in parts] for kind, parts in known["backup"].items()}
    assert kinds == {"identifiable": ["ctp", "keydb"], "deidentified": [SERVICE, "orthanc"]}
    (part,) = (each for each in known["backup"]["deidentified"] if each["name"] == SERVICE)
    assert (part["form"], part["database"], part["user"]) == ("postgresql", "notes", "notes_admin")
    assert part["directory"] == "/srv/auscat/notes"
    assert not set(PASSWORDS.values()) & set(json.dumps(part).split('"'))
    assert known["restored with"][SERVICE] == {
        "notes_pass": PASSWORDS["vault_notes_password"],
        "reader_pass": PASSWORDS["vault_notes_reader_password"],
    }
    assert set(known["timers"]) == {"identifiable", "deidentified", "verify"}


def test_it_is_seen_and_removed(known: dict[str, Any]) -> None:
    assert SERVICE in known["status"]
    assert known["backups in the status"] == ["identifiable", "deidentified", "verify"]
    assert known["removed"] == ["ctp", SERVICE]


def test_the_hospitals_firewall_is_told(tree: Path, inventory: Path) -> None:
    arguments = ("playbooks/port_table.yml", "-e", "port_table_format=csv")
    rows = play(tree, inventory, "Print the port table", *arguments)["msg"]
    (row,) = (row for row in rows.splitlines() if "Notes, for who writes them" in row)
    assert "10.213.97.11" in row
    assert "5434" in row


def test_the_bundle_has_its_image(tree: Path, inventory: Path, known: dict[str, Any]) -> None:
    # The first half of it, which asks the inventory; the second makes the file on this machine.
    arguments = ("playbooks/bundle.yml", "--limit", "node")
    facts = play(tree, inventory, "Name the images and the packages", *arguments)["ansible_facts"]
    assert known["stack"]["services"][SERVICE]["image"] in facts["__bundle_images"]
    assert len(set(facts["__bundle_images"])) == 4
