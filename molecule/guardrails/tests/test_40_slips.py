"""Names that nobody reads, and machines that a node cannot be on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from shared.machines import Machine
from sites import Site, assert_refused

SLIP = ["orthanc_web_prt is set", "The nearest is orthanc_web_port"]


def test_a_slip_is_an_error_in_check_mode(single_vm: Site) -> None:
    before = single_vm.fingerprints()
    outcome = single_vm.play("--check", orthanc_web_prt=70)
    assert_refused(outcome, [*SLIP, "on the command line"])
    assert single_vm.fingerprints() == before


@pytest.mark.parametrize("file", ["group_vars/catvm.yml", "host_vars/cv01.yml"])
def test_a_slip_in_the_inventory(production: Site, tmp_path: Path, file: str) -> None:
    site = production.variant(tmp_path)
    path = site.inventory / file
    path.write_text(path.read_text() + "orthanc_web_prt: 70\n")
    assert_refused(site.play("--tags", "preflight"), [*SLIP, "in the inventory"])


def test_a_slip_in_the_name_of_a_file(production: Site, tmp_path: Path) -> None:
    site = production.variant(tmp_path)
    (site.inventory / "group_vars/catwm.yml").write_text("orthanc_aet: ARCHIVE\n")
    says = ["group_vars/catwm.yml is for the group 'catwm'", "The nearest is catvm"]
    assert_refused(site.play("--tags", "preflight"), says)


def test_what_may_be_meant_otherwise_is_said(production: Site, tmp_path: Path) -> None:
    """A variable of somebody else's, a setting that Orthanc may not know, and one that is used."""
    site = production.variant(tmp_path)
    path = site.inventory / "group_vars/catvm.yml"
    values = yaml.safe_load(path.read_text())
    values.update(
        status_of_the_lift="out of order",
        orthanc_options={"StableAg": 30},
        orthanc_web_sources_more=["10.213.81.42"],
        orthanc_web_sources="{{ ['10.213.81.0/24'] + orthanc_web_sources_more }}",
    )
    path.write_text(yaml.safe_dump(values))
    outcome = site.play("--tags", "preflight")
    assert outcome.returncode == 0, outcome.errors
    text = " ".join(outcome.text.split())
    assert "status_of_the_lift is set in the inventory, and no role or playbook reads it" in text
    assert "orthanc_options.StableAg is not among the settings" in text
    assert "The nearest is StableAge." in text
    assert "orthanc_web_sources_more" not in text


def test_other_playbooks_refuse_what_was_typed(production: Site) -> None:
    outcome = production.play(playbook="playbooks/init_secrets.yml", purge_older_then_days=30)
    assert outcome.returncode != 0
    assert "The nearest is purge_older_than_days" in outcome.errors
    assert outcome.changed_tasks == []


def test_a_service_on_a_machine_that_no_playbook_touches(production: Site, tmp_path: Path) -> None:
    site = production.variant(tmp_path)
    hosts = site.inventory / "hosts.yml"
    listed = yaml.safe_load(hosts.read_text())
    listed["all"]["children"]["pacsvm"] = {"hosts": {"pv01": {}}}
    hosts.write_text(yaml.safe_dump(listed))
    services = {"keydb": "keyvm", "ctp": "keyvm", "orthanc": "catvm", "portainer": "pacsvm"}
    outcome = site.play("--tags", "preflight", auscat_services=services)
    says = ["places portainer in the group 'pacsvm', whose pv01 is in none of keyvm and catvm"]
    assert_refused(outcome, says)


def test_a_second_machine_for_orthanc(production: Site, tmp_path: Path) -> None:
    site = production.variant(tmp_path)
    hosts = site.inventory / "hosts.yml"
    listed = yaml.safe_load(hosts.read_text())
    listed["all"]["children"]["catvm"]["hosts"]["cv02"] = {"ansible_host": "no-such-container"}
    hosts.write_text(yaml.safe_dump(listed))
    outcome = site.play("--tags", "preflight", "--limit", "cv01")
    assert_refused(outcome, ["The group catvm has cv01, cv02", "one machine for orthanc"])


def test_a_pair_of_ipv6_alone(production: Site) -> None:
    outcome = production.play("--tags", "preflight", auscat_address="2001:db8::7")
    assert_refused(outcome, ["kv01 has 2001:db8::7, IPv6 alone", "at least one IPv4 address"])


@contextmanager
def prepared(machine: Machine, script: str, undo: str) -> Iterator[None]:
    """Run a script on a machine, and another one in the end."""
    machine.shell(script)
    try:
        yield
    finally:
        machine.shell(undo)


@pytest.mark.parametrize(
    ("script", "undo", "says"),
    [
        (
            """mkdir -p /etc/docker; echo '{"iptables": false}' > /etc/docker/daemon.json""",
            "rm -r /etc/docker",
            ["iptables of /etc/docker/daemon.json is false", "Accepted: true"],
        ),
        (
            "touch /usr/local/bin/dockerd",
            "rm /usr/local/bin/dockerd",
            ["/usr/local/bin/dockerd, beside which Debian's docker.io cannot be installed"],
        ),
        (
            "ip route add 10.0.0.0/24 dev eth0",
            "ip route delete 10.0.0.0/24 dev eth0",
            [r"The machine has a route to 10.0.0.0/24 \(eth0\), which lies in 10.0.0.0/24"],
        ),
        (
            "ip route show default > /run/way-out; ip route delete default;"
            " ip route add unreachable default",
            "ip route delete unreachable default; ip route add $(cat /run/way-out)",
            ["no default route that leads anywhere", "Set swarm_advertise_address"],
        ),
    ],
    ids=["daemon.json", "another Docker", "route", "no way out"],
)
def test_machines_that_are_refused(
    production: Site, machines: dict[str, Machine], script: str, undo: str, says: list[str]
) -> None:
    with prepared(machines["kv01"], script, undo):
        before = production.fingerprints()
        outcome = production.play("--tags", "preflight", "--limit", "kv01")
        assert_refused(outcome, says)
        assert production.fingerprints() == before


def test_several_next_hops_and_an_unreachable_route_beside_are_accepted(
    production: Site, machines: dict[str, Machine]
) -> None:
    script = """
    ip route show default > /run/way-out
    gateway=$(sed -E 's/.*via ([^ ]+).*/\\1/' /run/way-out)
    device=$(sed -E 's/.*dev ([^ ]+).*/\\1/' /run/way-out)
    ip route delete default
    ip route add default nexthop via "$gateway" dev "$device" nexthop via 10.213.81.20 dev "$device"
    ip route add unreachable default metric 4278198272
    """
    undo = """
    ip route delete unreachable default metric 4278198272
    ip route delete default
    ip route add $(cat /run/way-out)
    """
    with prepared(machines["kv01"], script, undo):
        outcome = production.play("--tags", "preflight", "--limit", "kv01")
    assert outcome.returncode == 0, outcome.errors
