"""The sample inventories say what is missing, and pass once it is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from shared.documented import command
from shared.machines import REPOSITORY, Scenario
from sites import Site


def rendered(inventory: Path) -> dict[str, list[str]]:
    """Give the groups of an inventory as ansible-inventory sees them."""
    listed = subprocess.run(
        ["ansible-inventory", "--inventory", str(inventory), "--list"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    document = json.loads(listed.stdout)
    return {group: document[group]["hosts"] for group in ("keyvm", "catvm")}


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("production", {"keyvm": ["kv01"], "catvm": ["cv01"]}),
        ("single_vm", {"keyvm": ["node01"], "catvm": ["node01"]}),
    ],
)
def test_groups(name: str, groups: dict[str, list[str]]) -> None:
    assert rendered(REPOSITORY / "inventories" / name) == groups


@pytest.mark.parametrize(
    ("name", "hosts"), [("production", ["kv01", "cv01"]), ("single_vm", ["node01"])]
)
def test_as_shipped_each_empty_value_is_named_at_once(
    name: str, hosts: list[str], tmp_path: Path
) -> None:
    shutil.copytree(REPOSITORY / "inventories" / name, tmp_path / "inventory")
    outcome = Scenario(tmp_path).play("site.yml")
    assert outcome.returncode != 0
    for host in hosts:
        assert f"ansible_host of {host} is empty" in outcome.errors
        assert f"Nothing was changed on {host}" in outcome.errors
    for variable in (
        *("ctp_dicom_sources", "ctp_web_sources", "keydb_sources", "orthanc_web_sources"),
    ):
        assert f"{variable} is empty" in outcome.errors
    assert "ctp_distribution is ''" in outcome.errors
    for variable, secret in (
        ("orthanc_registered_users", "vault_orthanc_admin_password"),
        ("keydb_password", "vault_keydb_password"),
        ("keydb_ctp_password", "vault_keydb_ctp_password"),
        ("ctp_admin_password", "vault_ctp_admin_password"),
    ):
        assert f"{variable} is to be {secret}, which is not set" in outcome.errors
    assert "playbooks/init_secrets.yml" in outcome.errors
    assert "Traceback" not in outcome.text
    assert outcome.changed_tasks == []


@pytest.mark.parametrize("name", ["production", "single_vm"])
def test_filled_in_the_preflight_passes(name: str, request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(name)
    before = site.fingerprints()
    playbook, *arguments = command("docs/two-machines.md", "site.yml --tags preflight")
    outcome = site.play(*arguments, playbook=playbook)
    assert outcome.returncode == 0, outcome.errors
    assert "REHEARSAL (auscat_rehearsal: true)" in outcome.text
    assert outcome.changed_tasks == []
    assert site.fingerprints() == before


def test_a_check_of_a_bare_machine_ends_with_what_a_run_would_do(single_vm: Site) -> None:
    before = single_vm.fingerprints()
    outcome = single_vm.play("--check")
    assert outcome.returncode != 0
    assert re.search(
        r"There is no Docker engine on node01: .*would install .*docker\.io.*, limit the ports .*,"
        r" make a Swarm, get the images, and deploy ctp, .*orthanc\. Nothing was changed on node01",
        outcome.errors,
    ), outcome.errors
    assert "Traceback" not in outcome.text
    assert single_vm.fingerprints() == before


def test_one_side_alone(production: Site) -> None:
    """--limit keyvm asks nothing of the other machine, and says that it proves nothing."""
    outcome = production.play("--limit", "keyvm", "--tags", "verify")
    assert outcome.returncode == 0, outcome.errors
    assert list(outcome.document["stats"]) == ["kv01"]
    said = " ".join(str(result.get("msg", "")) for _, result in outcome.results)
    assert re.search("Nothing is proved: with --limit keyvm, no machine .* orthanc", said)


def test_a_machine_that_cannot_be_reached_hides_no_problem(production: Site) -> None:
    variables = {"ansible_host": "no-such-container", "keydb_password": "short"}
    outcome = production.play("--limit", "keyvm", **variables)
    assert outcome.returncode != 0
    assert "keydb_password is shorter than 16 characters" in outcome.errors
    assert "could not be inspected" in outcome.errors


def test_passwords_from_elsewhere(production: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYDB_PASSWORD", "from-the-environment-7d1f")
    template = "{{ lookup('ansible.builtin.env', 'KEYDB_PASSWORD') }}"
    passes = ("--limit", "keyvm", "--tags", "preflight")
    outcome = production.play(*passes, keydb_password=template)
    assert outcome.returncode == 0, outcome.errors
    monkeypatch.delenv("KEYDB_PASSWORD")
    outcome = production.play(*passes, keydb_password=template)
    assert "keydb_password is empty" in outcome.errors
