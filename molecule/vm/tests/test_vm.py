"""The node on an encrypted volume: proved by site.yml before, then through boots and growth.

The order counts: each test finds the machine as the one before has left it.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network

import pytest
from conftest import VirtualMachine
from shared.machines import Scenario, wait_for

MOUNTED = "/srv/auscat"
MARK = "AUSCAT-VM-MARK-2d1f8c0b7e"
SERVICES = ["auscat_ctp", "auscat_ctp_export", "auscat_front", "auscat_keydb", "auscat_orthanc"]
MIB = 1024**2
# The role host_volume without those of the services, whose directories are there already.
ROLE_ALONE: dict[str, dict[str, str]] = {"auscat_services": {}}


def engine(node: VirtualMachine) -> str:
    return node.run("systemctl", "is-active", "docker", check=False).stdout.strip()


def healthy(node: VirtualMachine) -> None:
    node.wait_until_healthy(len(SERVICES), seconds=1200)


def test_the_kernel_is_its_own(node: VirtualMachine) -> None:
    assert node.output("systemd-detect-virt") == "qemu"


def test_the_whole_node_runs(node: VirtualMachine) -> None:
    assert sorted(node.services()) == SERVICES
    healthy(node)


def test_docker_takes_no_network_of_the_site(node: VirtualMachine) -> None:
    """Half of the pools for bridges, half for the Swarm, and the machine's own in neither."""
    form = "{{.Driver}}{{range .IPAM.Config}} {{.Subnet}}{{end}}"
    networks = node.output("docker", "network", "ls", "--quiet").split()
    listed = node.output("docker", "network", "inspect", f"--format={form}", *networks)
    found = [line.split() for line in listed.splitlines() if len(line.split()) == 2]
    halves = {"bridge": "10.199.0.0/17", "overlay": "10.199.128.0/17"}
    assert {driver for driver, _ in found} == set(halves), listed
    for driver, subnet in found:
        assert IPv4Network(subnet).subnet_of(IPv4Network(halves[driver])), listed
    shown = node.output("ip", "-4", "-oneline", "address", "show", "docker0").split()
    assert IPv4Interface(shown[3]).ip in IPv4Network(halves["bridge"]), shown


def test_the_data_lies_on_an_encrypted_volume(node: VirtualMachine) -> None:
    source = node.output("findmnt", "--noheadings", "--output=SOURCE", MOUNTED)
    assert source == "/dev/mapper/auscat"
    status = node.output("cryptsetup", "status", "auscat")
    assert "type:    LUKS2" in status
    assert node.output("stat", "--format=%u %a", "/etc/auscat/volume.key") == "0 400"


def test_the_disk_tells_nothing(node: VirtualMachine) -> None:
    """Read from outside, as whoever takes the disk away would."""
    node.shell(f"echo {MARK} > {MOUNTED}/mark; sync")
    with (node.directory / "data.img").open("rb") as disk:
        assert disk.read(6) == b"LUKS\xba\xbe"
        disk.seek(0)
        tail = b""
        while block := disk.read(16 * MIB):
            assert MARK.encode() not in tail + block
            tail = block[-64:]


def test_lvm_is_refused(node: VirtualMachine, scenario: Scenario) -> None:
    """A physical volume, behind a loop device."""
    before = node.shell(
        "truncate -s 200M /var/tmp/pv; losetup /dev/loop7 /var/tmp/pv; pvcreate -q /dev/loop7;"
        " sha256sum < /var/tmp/pv"
    ).splitlines()[-1]
    try:
        outcome = scenario.play(
            "molecule/volume/volume.yml",
            extra={
                **ROLE_ALONE,
                "auscat_data_root": "/srv/second",
                "host_volume_device": "/dev/loop7",
                "host_volume_encryption": False,
            },
        )
        assert outcome.returncode != 0
        assert "physical volume of LVM" in outcome.errors
        assert node.shell("sha256sum < /var/tmp/pv") == before
    finally:
        node.shell("losetup -d /dev/loop7; rm /var/tmp/pv")


def test_all_comes_back_after_a_reboot(node: VirtualMachine) -> None:
    node.do("stop")
    node.do("start")
    assert node.output("cat", f"{MOUNTED}/mark") == MARK
    healthy(node)


@pytest.fixture(scope="module")
def without_disk(node: VirtualMachine) -> None:
    """The machine, booted without its data disk."""
    node.do("stop")
    node.do("start", "--without-data")


def test_nothing_runs_without_the_disk(node: VirtualMachine, without_disk: None) -> None:
    assert engine(node) in ("inactive", "failed")
    assert node.run("systemctl", "start", "docker", check=False).returncode != 0
    assert not node.shell("pgrep --exact dockerd || true")


def test_nothing_is_written_beneath(node: VirtualMachine, without_disk: None) -> None:
    assert node.output("ls", "--almost-all", MOUNTED) == ""
    attempt = node.run("mkdir", f"{MOUNTED}/orthanc", check=False)
    assert "Operation not permitted" in attempt.stderr


def test_the_machine_says_so(node: VirtualMachine, without_disk: None) -> None:
    """Also while somebody waits for the engine, which systemd then starts again and again."""
    node.run("timeout", "5", "docker", "ps", check=False)
    node.run("timeout", "100", "systemctl", "start", "auscat-status.service")
    written = node.output("cat", "/var/lib/auscat-metrics/auscat.prom")
    assert 'auscat_alert{alert="engine_down",severity="critical"} 1' in written


def test_the_disk_comes_back(node: VirtualMachine, without_disk: None) -> None:
    node.do("stop")
    node.do("start")
    wait_for("the engine runs", lambda: engine(node) == "active", seconds=300)
    assert node.output("cat", f"{MOUNTED}/mark") == MARK
    healthy(node)


def test_encrypted_ext4_grows_while_it_is_used(node: VirtualMachine, scenario: Scenario) -> None:
    size = ("findmnt", "--noheadings", "--bytes", "--output=SIZE", MOUNTED)
    before = int(node.output(*size))
    node.do("grow", "--size=3G")
    outcome = scenario.play("molecule/volume/volume.yml", extra=ROLE_ALONE)
    assert outcome.returncode == 0, outcome.errors
    grown = [name.rpartition(" | ")[2] for name in outcome.changed_tasks]
    assert grown == ["Grow the encrypted volume", "Grow the file system"]
    assert int(node.output(*size)) > before + 900 * MIB
    assert node.output("cat", f"{MOUNTED}/mark") == MARK
    assert scenario.play("molecule/volume/volume.yml", extra=ROLE_ALONE).changed == 0
