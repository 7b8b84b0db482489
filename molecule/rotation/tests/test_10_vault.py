"""A value that is changed in the vault is the node's with the next run of site.yml."""

from __future__ import annotations

from conftest import ONE_VERSION_EACH, ROTATED, Site, all_are, logins, secret_versions
from shared.machines import Node


def test_a_change_in_the_vault_is_a_rotation(site: Site, node: Node) -> None:
    before = site.values()
    assert logins(node, before) == all_are("accepted")
    site.change(**{name: f"changed-by-hand-{before[name][-16:]}" for name in ROTATED})
    outcome = site.play("site.yml", "--skip-tags", "verify")
    assert outcome.returncode == 0, outcome.errors
    assert logins(node, before) == all_are("refused")
    assert logins(node, site.values()) == all_are("accepted")
    assert secret_versions(node) == ONE_VERSION_EACH
    for value in {**before, **site.values()}.values():
        assert value not in outcome.text
