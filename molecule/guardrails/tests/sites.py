"""The sample inventories, filled in as an operator does, for the two machines of this scenario."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from shared.documented import command, script
from shared.machines import REPOSITORY, Machine, Outcome, Scenario

# Who may connect, on each inventory's own terms, and which CTP: the stand-in.
MUST_BE_SET = {
    "ctp_distribution": "standin",
    "ctp_dicom_sources": ["10.213.81.0/24"],
    "ctp_web_sources": ["10.213.81.40"],
    "keydb_sources": ["10.213.81.41"],
    "orthanc_web_sources": ["10.213.81.0/24", "fd00:a5ca:81::/64"],
}
# A test host has no second disk to name or to encrypt.
DISK = "host_volume_device"
ACCEPTED = {"auscat_rehearsal": True, "host_volume_allow_system_disk": True}
SMALL = {"orthanc_free_gib": 1, "keydb_free_gib": 1, "ctp_free_gib": 1}
VAULT = "group_vars/all/vault.yml"

# What the system itself writes now and then.
VOLATILE = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/root/.ansible", "/var/log"),
    *("/var/cache", "/var/lib/apt", "/var/lib/systemd", "/var/lib/docker", "/var/lib/containerd"),
)


@dataclass(frozen=True)
class Site:
    """A copy of a sample inventory, and the machines that it is filled in for."""

    scenario: Scenario
    password_file: Path
    machines: dict[str, Machine]

    @property
    def inventory(self) -> Path:
        """The directory that an operator gives to -i."""
        return self.scenario.inventory

    def play(self, *arguments: str, playbook: str = "site.yml", **extra: Any) -> Outcome:
        """Run a playbook against the site, with its vault password and extra variables."""
        secret = ("--vault-password-file", str(self.password_file))
        return self.scenario.play(playbook, *secret, *arguments, extra=extra)

    def vault(self, action: str) -> str:
        """Run `ansible-vault view` and the like on the site's vault."""
        command = ("ansible-vault", action, "--vault-password-file", str(self.password_file))
        return subprocess.run(
            [*command, str(self.inventory / VAULT)], check=True, capture_output=True, text=True
        ).stdout

    def fingerprints(self) -> dict[str, str]:
        """Describe every file of the machines, and their engines, by machine."""
        return {name: fingerprint(machine) for name, machine in self.machines.items()}

    def variant(self, directory: Path) -> Site:
        """Return a copy that a test may change."""
        shutil.copytree(self.inventory, directory / "inventory")
        return Site(Scenario(directory), self.password_file, self.machines)


def fingerprint(machine: Machine) -> str:
    """Describe all files (mode, owner, size, time), the services, engine and packet filter."""
    pruned = " -o ".join(f"-path {path}" for path in (*VOLATILE, "*/__pycache__"))
    return machine.shell(
        rf"""
        find / \( {pruned} \) -prune -o -type d -printf '%p %m %u %g\n' \
          -o -printf '%p %m %u %g %s %T@ %l\n' | sort
        systemctl list-units --type service --state active --plain --no-legend | cut -d ' ' -f 1 |
          grep -v -e ^systemd- -e ^apt-daily -e ^dpkg-db-backup -e ^e2scrub || true
        # The node's own table. Docker writes rules too, some time after a change of its networks.
        if command -v nft > /dev/null; then
          nft --stateless list table inet auscat 2> /dev/null || echo no table
        fi
        if command -v docker > /dev/null; then
          docker info --format '{{{{.Swarm.NodeID}}}} {{{{.Swarm.Nodes}}}} {{{{.Images}}}}'
        fi
        """
    )


def edit(file: Path, **values: Any) -> None:
    """Give variables of an inventory's file other values, as an operator does."""
    document = yaml.safe_load(file.read_text())
    unknown = values.keys() - document.keys()
    assert not unknown, f"{file} does not ask for {unknown}"
    file.write_text(yaml.safe_dump({**document, **values}, sort_keys=False))


def sample(name: str, directory: Path, hosts: dict[str, Machine]) -> Path:
    """Copy a sample inventory and fill in what it says must be set, the vault excepted."""
    inventory = directory / "inventory"
    shutil.copytree(REPOSITORY / "inventories" / name, inventory)
    listed = yaml.safe_load((inventory / "hosts.yml").read_text())
    for group in [listed["all"], *listed["all"]["children"].values()]:
        for host in group.get("hosts") or {}:
            # A host that stands in several groups has its variables in one of them.
            if group["hosts"][host] is not None:
                assert group["hosts"][host] == {"ansible_host": ""}, "what else must be set?"
                group["hosts"][host]["ansible_host"] = hosts[host].container
    (inventory / "hosts.yml").write_text(yaml.safe_dump(listed, sort_keys=False))
    asked = {}
    for file in sorted((inventory / "group_vars").rglob("*.yml")):
        empty = [
            key for key, value in (yaml.safe_load(file.read_text()) or {}).items() if not value
        ]
        asked.update(dict.fromkeys(empty, file))
    assert sorted(asked.keys() - {DISK}) == sorted(MUST_BE_SET), "what else must be set?"
    for variable, file in asked.items():
        if variable != DISK:
            edit(file, **{variable: MUST_BE_SET[variable]})
    if DISK in asked:
        edit(inventory / "group_vars/keyvm.yml", host_volume_encryption=False)
    # How test hosts are reached, in the place of SSH.
    (inventory / "group_vars/all/testhost.yml").write_text(
        yaml.safe_dump(
            {
                "ansible_connection": "community.docker.docker",
                "ansible_user": "root",
                **ACCEPTED,
                **SMALL,
            }
        )
    )
    (inventory / "host_vars").mkdir()
    for host, machine in hosts.items():
        (inventory / f"host_vars/{host}.yml").write_text(f"auscat_address: {machine.address}\n")
    return inventory


def make_site(name: str, directory: Path, hosts: dict[str, Machine]) -> Site:
    """Fill a sample inventory in and let init_secrets.yml make its vault."""
    sample(name, directory, hosts)
    password_file = directory / "vault-password"
    own = {"~/.auscat-vault": str(password_file)}
    subprocess.run(["bash", "-euc", script("docs/secrets.md", "umask 077", own)], check=True)
    site = Site(Scenario(directory), password_file, hosts)
    made = site.scenario.play(*command("docs/secrets.md", "playbooks/init_secrets.yml", own))
    assert made.returncode == 0, made.errors
    return site


def assert_refused(outcome: Outcome, says: list[str]) -> None:
    """Assert that a run failed with these texts (regular expressions) and changed nothing."""
    assert outcome.returncode != 0, "it was accepted"
    for text in says:
        assert re.search(text, outcome.errors), f"{text!r} is not in: {outcome.errors}"
    assert "Nothing was changed on" in outcome.errors
    assert "Traceback" not in outcome.text
    assert outcome.changed_tasks == []
