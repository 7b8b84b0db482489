"""The unlock key of a Swarm, kept on its machine so that only the vault can read it."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.host import swarm_lock
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import (
    CommandError,
    plain,
    run,
)

KEY = "SWMKEY-1-WuIu3FuEwZ+wrXH+WpSH+WUPJs0noU8kN2ghViZppPo"
#: As Docker 20.10 and 26.1 say it.
SAYS = (
    "Error response from daemon: Swarm is encrypted and needs to be unlocked before it can be used."
    ' Please use "docker swarm unlock" to unlock it.'
)


def seal() -> str:
    return secrets.token_hex(swarm_lock.SEAL_BYTES)


def test_a_sealed_key_comes_back_by_its_seal_alone() -> None:
    first, second = seal(), seal()
    kept = swarm_lock.sealed(KEY, first)
    assert swarm_lock.unsealed(kept, first) == KEY
    assert swarm_lock.unsealed(kept, second) == ""
    # Neither the key nor how long it is can be seen.
    assert KEY.encode().hex() not in kept
    assert len(kept) == len(swarm_lock.sealed("SWMKEY-1-short", first)) == len(first)


@pytest.mark.parametrize("content", ["", "00" * swarm_lock.SEAL_BYTES, "not hexadecimal", "0a"])
def test_what_is_no_sealed_key_gives_none(tmp_path: Path, content: str) -> None:
    """Zeros are what lies there before there is a key."""
    (tmp_path / swarm_lock.SEALED_FILE).write_text(content)
    assert swarm_lock.kept(tmp_path, seal()) == ""


def test_without_a_file_or_a_seal_there_is_none(tmp_path: Path) -> None:
    assert swarm_lock.kept(tmp_path, seal()) == ""
    used = seal()
    (tmp_path / swarm_lock.SEALED_FILE).write_text(swarm_lock.sealed(KEY, used))
    assert swarm_lock.kept(tmp_path, "") == ""
    assert swarm_lock.kept(tmp_path, used) == KEY
    swarm_lock.forget(tmp_path)
    assert swarm_lock.kept(tmp_path, used) == ""
    swarm_lock.forget(tmp_path)


def test_a_key_that_does_not_fit_is_refused() -> None:
    with pytest.raises(CommandError):
        swarm_lock.sealed("x" * (swarm_lock.SEAL_BYTES + 1), seal())


def test_whoever_asks_a_locked_swarm_is_told_what_to_do() -> None:
    with pytest.raises(CommandError) as error:
        run(["sh", "-c", 'echo "$1" >&2; exit 1', "sh", SAYS])
    assert "is locked" in str(error.value) and "Run site.yml" in str(error.value)
    assert plain("another error") == "another error"


ROLES = Path(__file__).resolve().parents[3] / "roles"


@pytest.mark.parametrize("role", ["docker_secrets", "rotation", "upgrade"])
def test_a_locked_swarm_is_said_before_a_task_that_hides_its_errors(role: str) -> None:
    """Those that compare secrets have no_log, and the answer of the engine is gone with it."""
    first = yaml.safe_load((ROLES / role / "tasks/main.yml").read_text())[0]
    included = first["ansible.builtin.include_role"]
    assert (included["name"], included["tasks_from"]) == ("auscat.imaging.swarm", "unlocked")
    assert "swarm_state == 'locked'" in str(first["when"])
