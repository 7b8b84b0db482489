from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils import host_facts


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
        ({"names": ["no-such-host.invalid"]}, ["no-such-host.invalid", "/etc/hosts"]),
    ],
)
def test_each_fact_is_checked(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    (problem,) = host_facts.host_problems(wished(tmp_path, **changes), FACTS)
    for word in words:
        assert word in problem


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
