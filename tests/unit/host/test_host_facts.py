from __future__ import annotations

import json
import pwd
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.host import facts as host_facts
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError


def wished(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "distributions": ["debian 12"],
        "architectures": ["x86_64"],
        "memory_mib": 1024,
        "data_root": str(tmp_path / "data"),
        "directories": [],
        "ports": [],
        "stack": "no-such-stack",
        "names": [],
        **changes,
    }


FACTS = {
    "os": {"id": "debian", "version": "12", "codename": "bookworm"},
    "architecture": "x86_64",
    "memory_mib": 2048,
}


def test_a_sound_host_has_no_problems(tmp_path: Path) -> None:
    assert host_facts.host_problems(wished(tmp_path), FACTS) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"distributions": ["debian 13"]}, ["debian 12", "preflight_distributions", "debian 13"]),
        ({"architectures": ["riscv64"]}, ["x86_64", "riscv64"]),
        ({"memory_mib": 4096}, ["2048 MiB", "at least 4096 MiB", "preflight_memory_mib"]),
        ({"device": "/dev/no-such-disk"}, ["host_volume_device", "/dev/no-such-disk", "Accepted"]),
        ({"names": ["no-such-host.invalid"]}, ["no-such-host.invalid", "/etc/hosts"]),
    ],
)
def test_each_fact_is_checked(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    (problem,) = host_facts.host_problems(wished(tmp_path, **changes), FACTS)
    for word in words:
        assert word in problem


def test_who_is_not_root_is_told_how_to_be() -> None:
    assert not host_facts.user_problem(0)
    problem = host_facts.user_problem(pwd.getpwnam("nobody").pw_uid)
    assert "the user nobody" in problem
    assert "Accepted: root" in problem
    assert "sudo make simulation" in problem
    assert "ansible_become" in problem
    assert "number 4294967000" in host_facts.user_problem(4294967000)


def test_a_file_in_the_place_of_the_data_root(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    (problem,) = host_facts.host_problems(wished(tmp_path), FACTS)
    assert "auscat_data_root is" in problem
    assert "is a file" in problem


def test_too_little_space_is_summed_over_the_services(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free / host_facts.GIB
    directories = [
        {"path": str(tmp_path / "data" / name), "free_gib": free * 0.6, "service": name}
        for name in ("orthanc", "keydb")
    ]
    (problem,) = host_facts.host_problems(wished(tmp_path, directories=directories), FACTS)
    assert "GiB free" in problem
    assert "orthanc" in problem
    assert "keydb" in problem


def test_space_no_longer_counts_once_the_service_has_data(tmp_path: Path) -> None:
    (tmp_path / "data" / "orthanc").mkdir(parents=True)
    (tmp_path / "data" / "orthanc" / "index").write_text("data")
    directories = [
        {"path": str(tmp_path / "data" / "orthanc"), "free_gib": 10**9, "service": "orthanc"}
    ]
    assert host_facts.host_problems(wished(tmp_path, directories=directories), FACTS) == []


def test_a_port_in_use_names_the_program_that_holds_it(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        ports = [{"published": port, "protocol": "tcp", "service": "orthanc"}]
        (problem,) = host_facts.host_problems(wished(tmp_path, ports=ports), FACTS)
    assert f"Port {port}/tcp" in problem
    assert "PID" in problem
    assert host_facts.host_problems(wished(tmp_path, ports=ports), FACTS) == []


def test_operating_system() -> None:
    text = 'PRETTY_NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n'
    assert host_facts.operating_system(text) == {
        "id": "ubuntu",
        "version": "24.04",
        "codename": "noble",
    }


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw
41 22 8:17 / /srv rw,relatime shared:9 - ext4 /dev/sdb1 rw
42 41 8:1 /var/data /srv/bound rw,relatime shared:1 - ext4 /dev/sda1 rw
43 22 8:33 / /mnt/with\\040space rw shared:3 - xfs /dev/sdc1 rw
44 22 8:49 / /over rw shared:4 - ext4 /dev/sdd1 rw
45 44 8:65 / /over rw shared:5 - ext4 /dev/sde1 rw
"""


@pytest.mark.parametrize(
    ("path", "device"),
    [
        ("/", "8:1"),
        ("/var/lib", "8:1"),
        ("/srv", "8:17"),
        ("/srv/auscat", "8:17"),
        # Not below /srv although its name begins so.
        ("/srvother", "8:1"),
        # A bind mount of the system's file system is the system's file system.
        ("/srv/bound/auscat", "8:1"),
        ("/mnt/with space/auscat", "8:33"),
        # Of two mounts on one point the later one is seen.
        ("/over/auscat", "8:65"),
    ],
)
def test_device_of(path: str, device: str) -> None:
    assert host_facts.device_of(path, MOUNTS) == device


def test_the_file_system_of_the_root_is_the_system_disk() -> None:
    assert host_facts.is_on_system_disk(Path("/no/such/directory"))
    assert not host_facts.is_on_system_disk(Path("/proc/self"))


def deployed(directory: Path, sources: dict[str, Path]) -> None:
    """Write a stack file as the role stack renders it."""
    services = {
        name: {"volumes": [{"type": "bind", "source": str(source), "target": f"/{name}"}]}
        for name, source in sources.items()
    }
    document = {"version": "3.8", "services": {**services, "web": {"image": "web"}}}
    (directory / "stack-auscat.json").write_text(json.dumps(document))


def test_only_directories_with_something_in_them_hold_data(tmp_path: Path) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.mkdir()
    empty.mkdir()
    (full / "index").write_text("data")
    deployed(tmp_path, {"orthanc": full, "keydb": empty, "ctp": tmp_path / "missing"})
    assert host_facts.held_data(tmp_path, "auscat") == [
        {"service": "orthanc", "source": str(full), "target": "/orthanc"}
    ]


def test_nothing_is_deployed(tmp_path: Path) -> None:
    assert host_facts.held_data(tmp_path, "auscat") == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"services": {"orthanc": {"volumes": [1]}}}'])
def test_a_stack_file_that_cannot_be_read_is_no_answer(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack-auscat.json").write_text(text)
    with pytest.raises(CommandError, match=r"stack-auscat\.json is not the stack file"):
        host_facts.held_data(tmp_path, "auscat")
