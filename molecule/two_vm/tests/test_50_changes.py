"""A port that leaves the inventory is closed, here and in ufw and firewalld; nothing else moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import ATTEMPTS, Attempt, Site
from shared.machines import Node, Scenario

NEW_PORT = 9191
CHANGES = {
    "ctp_web_port": NEW_PORT,
    "orthanc_web_sources": ["stranger"],
}
BY_HAND = "10.213.78.99"


def rules(node: Node) -> str:
    """What the machine's own firewall holds."""
    if node.name == "kv":
        # All of them let somebody in, so that their order means nothing.
        return "\n".join(sorted(node.output("ufw", "show", "added").splitlines()))
    return node.shell("firewall-cmd --list-all; firewall-cmd --permanent --list-all")


@pytest.fixture(scope="module")
def changed(scenario: Scenario, site: Site, kv: Node, cat: Node) -> Iterator[dict[str, str]]:
    """The node with another port and another source, and afterwards as the inventory has it."""
    before = {node.name: rules(node) for node in (kv, cat)}
    outcome = scenario.play("site.yml", "--skip-tags", "verify", extra=CHANGES)
    assert outcome.returncode == 0, outcome.errors
    yield before
    outcome = scenario.play("site.yml", "--tags", "firewall,images,services,stack,status")
    assert outcome.returncode == 0, outcome.errors
    assert {node.name: rules(node) for node in (kv, cat)} == before
    site.wait_until_as_declared("the change was taken back")


def test_the_old_port_is_closed(changed: dict[str, str], site: Site) -> None:
    old = [each for each in ATTEMPTS if (each.target, each.port) == ("kv", 9090)]
    assert old
    assert not any(site.attempt(old).values())


def test_the_new_port_is_open_to_the_same(changed: dict[str, str], site: Site) -> None:
    new = [
        Attempt("kv", NEW_PORT, each.family, each.source)
        for each in ATTEMPTS
        if (each.target, each.port) == ("kv", 9090)
    ]
    found = {(each.source, each.family) for each, open_ in site.attempt(new).items() if open_}
    itself = {("kv", "IPv4"), ("kv", "IPv6")}
    assert found - itself == {("pacs", "IPv4"), ("pacs", "IPv6"), ("researcher", "IPv4")}


def test_another_source_counts(changed: dict[str, str], site: Site) -> None:
    web = [
        Attempt("cat", 8042, family, source)
        for family in ("IPv4", "IPv6")
        for source in ("researcher", "stranger")
    ]
    found = {each.source for each, open_ in site.attempt(web).items() if open_}
    assert found == {"stranger"}


def test_the_host_firewalls_follow(changed: dict[str, str], kv: Node, cat: Node) -> None:
    assert "9090" not in rules(kv)
    assert str(NEW_PORT) in rules(kv)
    assert site_rule(cat, "10.213.78.33") == 2
    assert site_rule(cat, "10.213.78.32") == 0


def site_rule(node: Node, source: str) -> int:
    """How often a source stands in firewalld: at run time and permanently."""
    return rules(node).count(f'address="{source}" port port="8042"')


def test_rules_of_the_administrator_are_kept(changed: dict[str, str], kv: Node, cat: Node) -> None:
    assert f"ufw allow from {BY_HAND} to any port 8104 proto tcp comment 'by hand'" in rules(kv)
    assert site_rule(cat, BY_HAND) == 2


def test_nothing_is_kept_closed_in_vain(changed: dict[str, str], kv: Node) -> None:
    """The old port was guarded until its container had gone, and is nobody's now."""
    assert "9090" not in kv.output("nft", "list", "table", "inet", "auscat")


def test_the_same_again_changes_nothing(changed: dict[str, str], scenario: Scenario) -> None:
    outcome = scenario.play("site.yml", "--tags", "firewall", extra=CHANGES)
    assert outcome.returncode == 0, outcome.errors
    assert outcome.changed_tasks == []


def test_a_moved_data_path_is_refused(
    changed: dict[str, str], scenario: Scenario, kv: Node, cat: Node
) -> None:
    """The services would start empty while their data lies at the old path."""
    containers = [node.output("docker", "ps", "--quiet", "--no-trunc") for node in (kv, cat)]
    outcome = scenario.play("site.yml", extra={**CHANGES, "auscat_data_root": "/srv/elsewhere"})
    assert outcome.returncode != 0
    for service in ("keydb", "ctp", "orthanc"):
        assert f"puts the data of {service} at /srv/elsewhere/{service}" in outcome.errors
    assert "which is not empty: the service would start without its data" in outcome.errors
    assert outcome.changed_tasks == []
    for node in (kv, cat):
        assert node.run("ls", "/srv/elsewhere", check=False).returncode != 0
    assert [
        node.output("docker", "ps", "--quiet", "--no-trunc") for node in (kv, cat)
    ] == containers
