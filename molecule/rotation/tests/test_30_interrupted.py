"""A rotation that is killed is finished by running it again, wherever it was."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from conftest import ONE_VERSION_EACH, ROTATED, Site, logins, secret_versions
from shared.machines import Node, wait_for

PLAYBOOK = "playbooks/rotate_secrets.yml"
# Two of the five, in two services; CTP reads one of them at KeyDB.
NAMES = ("vault_keydb_ctp_password", "vault_orthanc_researcher_password")
ARGUMENTS = ("--skip-tags", "verify", "-e", "rotate=keydb_ctp_password,orthanc_researcher_password")


def kill_at(site: Site, task: str, condition: Callable[[], bool] = lambda: True) -> None:
    """Run the playbook and kill it, and all that it has started, when this task begins.

    Args:
        condition: waited for before the kill, once the task has begun.
    """
    process = site.start(PLAYBOOK, *ARGUMENTS)
    assert process.stdout
    read = []
    try:
        for line in process.stdout:
            read.append(line)
            if line.startswith(f"TASK [auscat.imaging.{task}"):
                wait_for(f"the condition of {task}", condition, 120)
                assert process.poll() is None, "it had ended already"
                return
        raise AssertionError(f"{task} never began:\n{''.join(read)}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def newest(node: Node, service: str) -> set[str]:
    """Names of the secrets that a service's present definition asks for."""
    spec = node.services()[service]["Spec"]["TaskTemplate"]["ContainerSpec"]
    return {secret["SecretName"] for secret in spec["Secrets"]}


def test_killed_at_each_step_and_run_again(site: Site, node: Node) -> None:
    old = site.values()

    def which(values: dict[str, str]) -> dict[str, str]:
        return {name: login for name, login in logins(node, values).items() if name in NAMES}

    def both_are(keydb: str, orthanc: str) -> dict[str, str]:
        return dict(zip(NAMES, (keydb, orthanc)))

    # The new values are in the vault, the old ones beside it, and nothing else has happened.
    kill_at(site, "keydb : Validating")
    new = site.values()
    assert {name for name in new if new[name] != old[name]} == set(NAMES)
    assert site.values(site.record) == {name: old[name] for name in NAMES}
    assert which(old) == both_are("accepted", "accepted")

    # KeyDB has its role's new password.
    kill_at(site, "docker_secrets : Validating")
    assert site.values() == new
    assert which(old) == both_are("refused", "accepted")
    assert which(new) == both_are("accepted", "refused")

    # The secrets are made, and nobody uses them.
    kill_at(site, "stack : Validating")
    assert site.values() == new
    assert len(secret_versions(node)) == len(ONE_VERSION_EACH) + len(NAMES)
    before = newest(node, "auscat_ctp")

    # Swarm has taken the new definition of CTP and is at work.
    kill_at(site, "stack : Deploy", lambda: newest(node, "auscat_ctp") != before)

    # All services are updated; what nothing uses is still there.
    kill_at(site, "stack : Remove superseded")
    assert site.values() == new
    assert site.values(site.record) == {name: old[name] for name in NAMES}

    # Everything is done, and the old values are not yet forgotten.
    kill_at(site, "rotation : prove | Show")
    assert site.record.exists()

    outcome = site.play(PLAYBOOK, *ARGUMENTS[2:])
    assert outcome.returncode == 0, outcome.errors
    assert "An earlier rotation was not finished" in outcome.text
    assert site.values() == new
    assert not site.record.exists()
    assert which(old) == both_are("refused", "refused")
    assert logins(node, new) == dict.fromkeys(ROTATED, "accepted")
    assert secret_versions(node) == ONE_VERSION_EACH
    node.wait_until_healthy(6)
    site_again = site.play("site.yml", "--skip-tags", "verify")
    assert site_again.returncode == 0, site_again.errors
    assert site_again.changed_tasks == []
