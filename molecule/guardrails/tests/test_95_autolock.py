"""Swarm's autolock, with its key in the vault: on, unlocked, interrupted, rotated, lost, off."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from shared.documented import command
from shared.machines import REPOSITORY, Machine, Outcome, wait_for
from sites import VAULT, Site

KEYS, SEALS = "vault_swarm_unlock_keys", "vault_swarm_unlock_seals"
SEALED = "/var/lib/auscat/swarm-unlock-key.sealed"
PARTS = ("--tags", "docker_engine,swarm")
OFF = {"swarm_autolock": False}
WRONG = "SWMKEY-1-" + 43 * "A"


@pytest.fixture(scope="module")
def site(production: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The sample inventory of two machines, with autolock, and their Swarms."""
    made = production.variant(tmp_path_factory.mktemp("autolock"))
    file = made.inventory / "group_vars/all/testhost.yml"
    file.write_text(file.read_text() + "swarm_autolock: true\n")
    outcome = made.play(*PARTS)
    assert outcome.returncode == 0, outcome.errors
    for key in vault(made)[KEYS].values():
        assert key not in outcome.text
    yield made
    for machine in made.machines.values():
        machine.run("docker", "swarm", "leave", "--force", check=False)


@pytest.fixture
def node(site: Site) -> Machine:
    """One of the two."""
    return site.machines["kv01"]


def vault(site: Site) -> dict[str, Any]:
    return yaml.safe_load(site.vault("view"))


def change(site: Site, **values: Any) -> None:
    """Change the vault as `ansible-vault edit` does."""
    text = yaml.safe_dump({**vault(site), **values})
    (site.inventory / VAULT).write_text(text)
    site.vault("encrypt")


def state(machine: Machine) -> str:
    return machine.output("docker", "info", "--format", "{{.Swarm.LocalNodeState}}")


def key_of(machine: Machine) -> str:
    """The key as the engine tells it; none where autolock is off."""
    return machine.run("docker", "swarm", "unlock-key", "--quiet", check=False).stdout.strip()


def restart(machine: Machine) -> None:
    machine.run("systemctl", "reset-failed", "docker.service")
    machine.run("systemctl", "restart", "docker.service")


def play(site: Site, *arguments: str, **extra: Any) -> Outcome:
    """Run the parts on the one machine, and find no key in what is printed."""
    before = vault(site).get(KEYS, {})
    outcome = site.play(*PARTS, "--limit", "kv01", *arguments, **extra)
    for key in {*before.values(), *vault(site).get(KEYS, {}).values()} - {WRONG}:
        assert key not in outcome.text
    return outcome


def refused(outcome: Outcome, *says: str) -> None:
    assert outcome.returncode != 0, "it was accepted"
    for text in says:
        assert text in outcome.errors
    assert outcome.changed_tasks == []


def test_each_machine_has_a_key_that_the_vault_has(site: Site) -> None:
    kept = vault(site)
    for name, machine in site.machines.items():
        assert key_of(machine).startswith("SWMKEY-1-")
        assert kept[KEYS][name] == key_of(machine)
        assert machine.run("test", "-e", SEALED, check=False).returncode == 1
    assert len(set(kept[KEYS].values())) == 2
    assert SEALS not in kept
    # What was there before is there now.
    assert kept["vault_keydb_password"] and kept["vault_auscat_ca"]


def test_a_second_run_changes_nothing_and_nothing_logs_a_key(site: Site) -> None:
    before = site.vault("view")
    outcome = site.play(*PARTS, "-vvvv", "--diff")
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []
    assert site.vault("view") == before
    for name, machine in site.machines.items():
        key = vault(site)[KEYS][name]
        assert key not in outcome.text
        assert key not in machine.output("journalctl", "--no-pager", "--quiet")
        assert not machine.run("grep", "-rlF", key, "/etc", "/var/lib/auscat", check=False).stdout


def test_it_is_unlocked_after_a_start_of_the_engine(site: Site, node: Machine) -> None:
    before = site.vault("view")
    restart(node)
    assert state(node) == "locked"
    refused(play(site, "--check"), "The Swarm on kv01 is locked", "Check mode unlocks nothing")
    assert state(node) == "locked"
    outcome = play(site)
    assert outcome.returncode == 0, outcome.errors
    assert state(node) == "active"
    assert site.vault("view") == before


def test_a_locked_one_stays_as_it_is_without_its_key(site: Site, node: Machine) -> None:
    before = vault(site)
    restart(node)
    for kept, what in (({}, "is not there"), ({"kv01": WRONG}, "is another key")):
        change(site, **{KEYS: kept})
        written = (site.inventory / VAULT).read_bytes()
        outcome = play(site)
        refused(outcome, "The Swarm on kv01 is locked", "vault_swarm_unlock_keys[kv01] in ", what)
        refused(outcome, "docker swarm unlock", "docker swarm leave --force", "left as it was")
        assert state(node) == "locked"
        assert (site.inventory / VAULT).read_bytes() == written
    # The removal too, which could otherwise take a node's services for gone.
    for playbook in ("playbooks/teardown.yml", "playbooks/rotate_secrets.yml"):
        outcome = site.play("--limit", "kv01", playbook=playbook)
        refused(outcome, "is locked", "Run site.yml")
    refused(site.play("--limit", "kv01", "--tags", "secrets"), "is locked", "Run site.yml")
    assert state(node) == "locked"
    # By hand, as the messages say.
    node.run("docker", "swarm", "unlock", stdin=before[KEYS]["kv01"] + "\n")
    wait_for("the Swarm is managed", lambda: key_of(node))
    outcome = play(site)
    assert outcome.returncode == 0, outcome.errors
    assert vault(site)[KEYS]["kv01"] == before[KEYS]["kv01"]
    change(site, **before)


def interrupted(site: Site, node: Machine, playbook: str, *arguments: str) -> None:
    """Kill a run at the moment at which the machine has a new key, and the vault has not."""
    node.run("rm", "--force", SEALED)
    command = ["ansible-playbook", "-i", str(site.inventory), playbook, "--limit", "kv01"]
    command += ["--vault-password-file", str(site.password_file), *arguments]
    run = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Of zeros until there is a key.
    script = f"until grep -q '[1-9a-f]' {SEALED} 2> /dev/null; do sleep 0.02; done"
    node.run("timeout", "180", "sh", "-c", script, timeout=200)
    # Its workers have sessions of their own.
    workers = subprocess.run(
        ["pgrep", "--parent", str(run.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    for process in (*map(int, workers), run.pid):
        os.kill(process, signal.SIGKILL)
    run.wait()
    assert vault(site).get(SEALS, {}).get("kv01"), "it was killed too late"


def test_interrupted_while_it_is_turned_on(site: Site, node: Machine) -> None:
    assert play(site, **OFF).returncode == 0
    assert key_of(node) == ""
    interrupted(site, node, "site.yml", *PARTS)
    assert "kv01" not in vault(site)[KEYS]
    chosen = wait_for("the engine has a key", lambda: key_of(node))
    assert chosen not in node.output("cat", SEALED)
    restart(node)
    assert state(node) == "locked"
    playbook, *arguments = command("docs/secrets.md", "site.yml --tags swarm")
    outcome = site.play(*arguments, "--limit", "kv01", playbook=playbook)
    assert outcome.returncode == 0, outcome.errors
    assert chosen not in outcome.text
    assert state(node) == "active"
    assert vault(site)[KEYS]["kv01"] == key_of(node) == chosen
    assert SEALS not in vault(site)
    assert node.run("test", "-e", SEALED, check=False).returncode == 1


def rotate(site: Site, *arguments: str) -> Outcome:
    return site.play(*arguments, playbook="playbooks/rotate_secrets.yml", rotate="swarm_unlock_key")


def test_rotation(site: Site, node: Machine) -> None:
    before = vault(site)
    shown = rotate(site, "--check")
    assert shown.returncode == 0, shown.errors
    assert vault(site) == before
    outcome = rotate(site)
    assert outcome.returncode == 0, outcome.errors
    after = vault(site)
    assert {name for name in after if after[name] != before[name]} == {KEYS}
    for name, machine in site.machines.items():
        assert after[KEYS][name] == key_of(machine) != before[KEYS][name]
        assert after[KEYS][name] not in outcome.text
    restart(node)
    old = node.run("docker", "swarm", "unlock", stdin=before[KEYS]["kv01"] + "\n", check=False)
    assert old.returncode != 0
    node.run("docker", "swarm", "unlock", stdin=after[KEYS]["kv01"] + "\n")


def test_interrupted_while_it_is_rotated(site: Site, node: Machine) -> None:
    before = vault(site)[KEYS]["kv01"]
    interrupted(site, node, "playbooks/rotate_secrets.yml", "-e", "rotate=swarm_unlock_key")
    assert vault(site)[KEYS]["kv01"] == before
    restart(node)
    outcome = play(site)
    assert outcome.returncode == 0, outcome.errors
    assert vault(site)[KEYS]["kv01"] == key_of(node) != before


def test_a_key_that_nobody_has_costs_the_swarm_and_no_more(site: Site, node: Machine) -> None:
    lost = vault(site)[KEYS]["kv01"]
    restart(node)
    node.run("docker", "swarm", "leave", "--force")
    outcome = play(site)
    assert outcome.returncode == 0, outcome.errors
    assert vault(site)[KEYS]["kv01"] == key_of(node) != lost


def test_turned_off(site: Site, node: Machine) -> None:
    outcome = play(site, "--check", **OFF)
    assert outcome.returncode == 0, outcome.errors
    assert vault(site)[KEYS]["kv01"] == key_of(node)
    outcome = play(site, **OFF)
    assert outcome.returncode == 0, outcome.errors
    assert list(vault(site)[KEYS]) == ["cv01"]
    restart(node)
    assert state(node) == "active"
    assert play(site, **OFF).changed_tasks == []


def test_what_somebody_locked_by_hand_stays_theirs(site: Site, node: Machine) -> None:
    node.run("docker", "swarm", "update", "--autolock=true")
    key = key_of(node)
    outcome = play(site, **OFF)
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []
    assert key_of(node) == key
    restart(node)
    refused(play(site, **OFF), "The Swarm on kv01 is locked", "docker swarm unlock")
    node.run("docker", "swarm", "unlock", stdin=key + "\n")


def test_it_needs_a_password_of_the_vault(site: Site, node: Machine, tmp_path: Path) -> None:
    """Nothing is locked where the key could not be kept."""
    bare = site.variant(tmp_path)
    # Read without a password: what the variables need comes from elsewhere.
    (bare.inventory / VAULT).write_text(site.vault("view"))
    node.run("docker", "swarm", "update", "--autolock=false")
    outcome = bare.scenario.play("site.yml", *PARTS, "--limit", "kv01", extra={})
    refused(outcome, "swarm_autolock is true", "There is no vault password", "Nothing was changed")
    assert key_of(node) == ""
