"""The module port_guard, run on real nftables in a network namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import ended

COLLECTIONS = str(Path(__file__).resolve().parents[3] / ".collections")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare"))),
    reason="needs root, nft, ip and unshare",
)

PORTS = [
    {"service": "orthanc", "name": "web", "published": 8042, "sources": ["192.0.2.0/24"]},
    {"service": "ctp", "name": "dicom", "published": 8104, "sources": []},
]


RUN_MODULE = """
import json, sys
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
_AnsibleCollectionFinder(paths=[sys.argv[1]])._install()
from ansible.module_utils.testing import patch_module_args
from ansible_collections.auscat.imaging.plugins.modules import port_guard
from ansible_collections.auscat.imaging.plugins.module_utils.firewall import at_boot
# A namespace has no files of its own: what the node of this machine has there is left alone.
for name in ("UNIT", "NFTABLES_DROP_IN", "DOCKER_DROP_IN", "INIT_SCRIPT"):
    path = getattr(at_boot, name)
    setattr(at_boot, name, path.__class__(sys.argv[3]) / path.relative_to("/"))
at_boot.rc_links = list
with patch_module_args(json.loads(sys.argv[2])):
    port_guard.main()
"""


class Host:
    """A network namespace and a directory, in place of a host."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.file = directory / "etc" / "firewall.nft"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            text=True,
            capture_output=True,
            check=False,
        )

    def nft(self, *arguments: str) -> str:
        result = self.run("nft", *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def guard(self, *, check: bool = False, **parameters: Any) -> dict[str, Any]:
        """Run the module; return its result."""
        arguments = {
            "path": str(self.file),
            "boot": False,
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            **parameters,
        }
        given = (COLLECTIONS, json.dumps(arguments), str(self.file.parents[1]))
        result = self.run(sys.executable, "-c", RUN_MODULE, *given)
        assert result.stdout, result.stderr
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    name = f"auscat-test-{os.getpid()}-guard"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield Host(name, tmp_path)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_load_keep_change_and_remove(host: Host) -> None:
    first = host.guard(ports=PORTS)
    assert first["changes"] == [f"Write {host.file}", "Load the table inet auscat"]
    assert first["ports"][0] == {
        "published": 8042,
        "protocol": "tcp",
        "sources": ["192.0.2.0/24"],
    }
    assert host.file.stat().st_mode & 0o777 == 0o600

    again = host.guard(ports=list(reversed(PORTS)))
    assert (again["changed"], again["changes"]) == (False, [])

    assert host.guard(ports=PORTS[:1])["changed"] is True
    assert "8104" not in host.nft("list", "table", "inet", "auscat")

    removed = host.guard(state="absent")
    assert removed["changes"] == ["Delete the table inet auscat", f"Remove {host.file}"]
    assert not host.file.exists()
    assert host.nft("list", "tables") == ""
    assert host.guard(state="absent")["changed"] is False


@pytest.mark.parametrize(
    "damage",
    [
        "flush ruleset",
        "delete table inet auscat",
        "add element inet auscat tcp_8042_ipv4 { 198.51.100.7 }",
        "flush chain inet auscat incoming",
        "insert rule inet auscat tcp_8104 accept",
        "add chain inet auscat mine",
    ],
)
def test_what_somebody_did_to_the_loaded_rules_is_undone(host: Host, damage: str) -> None:
    host.guard(ports=PORTS)
    whole = host.nft("--stateless", "list", "table", "inet", "auscat")
    host.nft(damage)

    healed = host.guard(ports=PORTS)
    assert healed["changes"] == ["Load the table inet auscat"]
    assert [part["before_header"] for part in healed["diff"]] == ["nft list table inet auscat"]
    assert host.nft("--stateless", "list", "table", "inet", "auscat") == whole
    assert host.guard(ports=PORTS)["changed"] is False


def test_rules_of_others_are_kept(host: Host) -> None:
    host.nft("add table ip nat; add chain ip nat DOCKER; add table inet firewalld")
    host.guard(ports=PORTS)
    host.guard(ports=[])
    host.guard(state="absent")
    assert host.nft("list", "tables").splitlines() == ["table ip nat", "table inet firewalld"]


def test_check_mode_tells_and_changes_nothing(host: Host) -> None:
    told = host.guard(check=True, ports=PORTS)
    assert told["changed"] is True
    assert "tcp dport 8042" in told["diff"][0]["after"]
    assert not host.file.parent.exists()
    assert host.nft("list", "tables") == ""

    host.guard(ports=PORTS)
    assert host.guard(check=True, state="absent")["changed"] is True
    assert host.guard(check=True, ports=[])["changed"] is True
    assert host.guard(check=True, ports=PORTS)["changed"] is False
    assert host.file.exists()


def test_a_bad_list_changes_nothing(host: Host) -> None:
    host.guard(ports=PORTS)
    before = host.nft("list", "table", "inet", "auscat"), host.file.read_bytes()
    bad = [{**PORTS[0], "sources": ["192.0.2.1/24"]}, PORTS[1], {**PORTS[1], "service": "other"}]
    answer = host.guard(ports=bad)
    assert answer["failed"] is True
    assert answer["changed"] is False
    assert 'Write "192.0.2.0/24" for the whole network' in answer["msg"]
    assert "8104 is claimed by ctp_service" in answer["msg"]
    assert answer["msg"].endswith("Nothing was changed.")
    assert (host.nft("list", "table", "inet", "auscat"), host.file.read_bytes()) == before


def test_a_file_that_somebody_damaged_is_written_again(host: Host) -> None:
    host.guard(ports=PORTS)
    text = host.file.read_bytes()
    host.file.write_bytes(b"flush ruleset \xff")
    host.file.chmod(0o666)
    assert host.guard(ports=PORTS)["changes"] == [f"Write {host.file}"]
    assert host.file.read_bytes() == text
    assert host.file.stat().st_mode & 0o777 == 0o600


def test_a_directory_in_the_place_of_the_file(host: Host) -> None:
    host.file.mkdir(parents=True)
    answer = host.guard(ports=PORTS)
    assert f"{host.file} cannot be read: Is a directory." in answer["msg"]
    assert answer["msg"].endswith("Nothing was changed.")
    assert host.nft("list", "tables") == ""


def test_a_port_that_is_still_served_stays_closed_until_it_is_not(host: Host) -> None:
    """The firewall changes before the container goes; in between nobody may get in."""
    host.guard(ports=PORTS)
    program = "import socket; s = socket.create_server(('', 8104)); print('up', flush=True)\n"
    with ended(
        ["ip", "netns", "exec", host.name, sys.executable, "-c", program + "s.accept()"],
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout and server.stdout.readline()
        kept = host.guard(ports=PORTS[:1])
        assert kept["retired"] == ["tcp 8104"]
        chain = host.nft("list", "chain", "inet", "auscat", "tcp_8104")
        assert "drop" in chain
        assert host.guard(ports=PORTS[:1])["changed"] is False
        server.kill()
    gone = host.guard(ports=PORTS[:1])
    assert (gone["changed"], gone["retired"]) == (True, [])
    assert "8104" not in host.nft("list", "table", "inet", "auscat")


TO = [{"network": "198.51.100.7/32", "protocol": "tcp", "port": 104}]


def limits_outgoing(host: Host) -> bool:
    return "chain outgoing {" in host.nft("list", "table", "inet", "auscat")


def test_whom_containers_connect_to_is_limited_at_once_where_none_runs_yet(host: Host) -> None:
    host.guard(ports=PORTS, outgoing=TO, outgoing_later=True)
    assert "198.51.100.7" in host.nft("list", "chain", "inet", "auscat", "outgoing")
    # And is put back at once, whatever somebody did to what is loaded.
    host.nft("flush", "ruleset")
    host.guard(ports=PORTS, outgoing=[], outgoing_later=True)
    assert limits_outgoing(host)
    assert "198.51.100.7" not in host.nft("list", "chain", "inet", "auscat", "outgoing")
    # Where a site wants no limit, it goes.
    host.guard(ports=PORTS)
    assert not limits_outgoing(host)


def test_containers_of_before_are_limited_after_they_were_deployed_anew(host: Host) -> None:
    host.guard(ports=PORTS)
    again = host.guard(ports=PORTS, outgoing=TO, outgoing_later=True)
    assert (again["changed"], limits_outgoing(host)) == (False, False)
    assert host.guard(ports=PORTS, outgoing=TO)["changed"] is True
    assert limits_outgoing(host)
    assert host.guard(ports=PORTS, outgoing=TO, outgoing_later=True)["changed"] is False


def test_a_destination_that_is_none_changes_nothing(host: Host) -> None:
    answer = host.guard(ports=PORTS, outgoing=[{"network": "pacs"}])
    assert "The destinations of services hold what is none" in answer["msg"]
    assert host.nft("list", "tables") == ""
