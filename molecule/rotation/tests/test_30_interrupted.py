"""A rotation that is killed is finished by running it again, wherever it was."""

from __future__ import annotations

from conftest import ONE_VERSION_EACH, ROTATED, Site, logins, secret_versions
from shared.killed import Kill, killed_at_each, steps_of
from shared.machines import Node, wait_for

PLAYBOOK = "playbooks/rotate_secrets.yml"
# Two of the five, in two services; CTP reads one of them at KeyDB.
NAMES = ("vault_keydb_ctp_password", "vault_orthanc_researcher_password")
ARGUMENTS = ("--skip-tags", "verify", "-e", "rotate=keydb_ctp_password,orthanc_researcher_password")

KEYDB = "Set the inventory's passwords in the running KeyDB"
SECRETS = "Install the Docker secrets"
DEPLOY = "Deploy the stack and wait until every service is healthy"
SUPERSEDED = "Remove superseded versions of the secrets"
VAULT = "replace | Write the new values to the vault, and the old ones beside it"
FORGET = "prove | Delete the old values"
# They say "not changed", and take the machine's lock and remove the copies.
ALSO = ("Check the inventory and the machine", "Remove what was kept for going back")
# Of the image of CTP.
LOOKS = ("inspect | Read what the image of CTP runs",)


def newest(node: Node, service: str) -> set[str]:
    """Names of the secrets that a service's present definition asks for."""
    spec = node.services()[service]["Spec"]["TaskTemplate"]["ContainerSpec"]
    return {secret["SecretName"] for secret in spec["Secrets"]}


class Rotation:
    """What must be so after each kill. It goes through the steps once, from old to new values."""

    def __init__(self, site: Site, node: Node) -> None:
        self.site, self.node = site, node
        self.old = site.values()
        self.new: dict[str, str] = {}
        self.forgotten = False
        self.ctp_before = newest(node, "auscat_ctp")

    def ctp_is_deployed(self) -> bool:
        """Swarm has taken the new definition of CTP and is at work."""
        return newest(self.node, "auscat_ctp") != self.ctp_before

    def which(self, values: dict[str, str]) -> dict[str, str]:
        """What came of logging in with the two that are replaced."""
        return {name: login for name, login in logins(self.node, values).items() if name in NAMES}

    def one_each(self) -> bool:
        """Each service accepts exactly one of its two values; none of them is starting now."""
        logged_in = self.which(self.old), self.which(self.new)
        for name in NAMES:
            assert sorted(each[name] for each in logged_in) == ["accepted", "refused"], logged_in
        return True

    def check(self, kill: Kill) -> None:
        """Look after a kill: no value is nowhere, and no service without one."""
        vault, step = self.site.values(), kill.step.name
        if not self.new and all(vault[name] == self.old[name] for name in NAMES):
            # Not before it is written; at most the old ones lie beside it already.
            assert vault == self.old
            assert step.endswith((VAULT, ALSO[0])), "the vault should have the new values by now"
            assert not self.site.record.exists() or self.recorded()
            assert self.which(self.old) == dict.fromkeys(NAMES, "accepted")
            return
        if not self.new:
            # Where the kill came before they were written, the next run did it on its way.
            assert not step.endswith(ALSO[0]), "nothing is written yet"
            assert not (step.endswith(VAULT) and kill.ended == "before"), "nothing is written yet"
            self.new = vault
        assert vault == self.new
        assert {name for name in vault if vault[name] != self.old[name]} == set(NAMES)
        if not self.site.record.exists():
            assert step.endswith(FORGET) and kill.ended in ("amid", "after")
            self.forgotten = True
            self.is_new()
            return
        assert not self.forgotten
        assert self.recorded()
        wait_for("each service accepts one value", self.one_each, 240)
        if kill.ended == "before":
            self.check_before(step)

    def recorded(self) -> bool:
        """The old values lie beside the vault."""
        return self.site.values(self.site.record) == {name: self.old[name] for name in NAMES}

    def check_before(self, step: str) -> None:
        """What is done, and what is not, when a step has not begun."""
        keydb, orthanc = NAMES
        if step.endswith(KEYDB):
            assert self.which(self.old) == dict.fromkeys(NAMES, "accepted")
        if step.endswith(SECRETS):
            assert self.which(self.old) == {keydb: "refused", orthanc: "accepted"}
            assert self.which(self.new) == {keydb: "accepted", orthanc: "refused"}
        if step.endswith(DEPLOY):
            # They are made, and nobody uses them.
            assert len(secret_versions(self.node)) == len(ONE_VERSION_EACH) + len(NAMES)
            assert newest(self.node, "auscat_ctp") == self.ctp_before
        if step.endswith(SUPERSEDED):
            assert newest(self.node, "auscat_ctp") != self.ctp_before
            assert len(secret_versions(self.node)) == len(ONE_VERSION_EACH) + len(NAMES)
        if step.endswith((SUPERSEDED, FORGET)):
            self.is_new()

    def is_new(self) -> None:
        """Every service accepts the new values alone."""
        assert self.which(self.old) == dict.fromkeys(NAMES, "refused")
        assert self.which(self.new) == dict.fromkeys(NAMES, "accepted")


def test_killed_at_each_step_and_run_again(site: Site, node: Node) -> None:
    playbook = site.playbook(PLAYBOOK, *ARGUMENTS)
    steps = steps_of(playbook.run(), ALSO, LOOKS)
    print("\n".join(map(str, steps)))
    for end in (VAULT, KEYDB, SECRETS, DEPLOY, SUPERSEDED, FORGET):
        assert [step for step in steps if step.name.endswith(end)], f"{end} is not among the steps"
    assert steps[-1].name.endswith(FORGET)
    node.wait_until_healthy(6)

    rotation = Rotation(site, node)
    done = killed_at_each(
        playbook, steps, rotation.check, until={DEPLOY: rotation.ctp_is_deployed}, most=40
    )
    assert "amid" in {kill.ended for kill in done if kill.step.name.endswith(DEPLOY)}

    new, old = rotation.new, rotation.old
    if not rotation.forgotten:
        outcome = site.play(PLAYBOOK, *ARGUMENTS[2:])
        assert outcome.returncode == 0, outcome.errors
        assert "An earlier rotation was not finished" in outcome.text
    assert site.values() == new
    assert not site.record.exists()
    assert rotation.which(old) == dict.fromkeys(NAMES, "refused")
    assert logins(node, new) == dict.fromkeys(ROTATED, "accepted")
    assert secret_versions(node) == ONE_VERSION_EACH
    node.wait_until_healthy(6)
    site_again = site.play("site.yml", "--skip-tags", "verify")
    assert site_again.returncode == 0, site_again.errors
    assert site_again.changed_tasks == []
