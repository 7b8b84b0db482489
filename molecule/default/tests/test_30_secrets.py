"""Secrets are where they belong and nowhere else."""

from __future__ import annotations

import json

import pytest
from shared.machines import Node

FILES = [
    ("auscat_orthanc", ["orthanc.json"]),
    ("auscat_keydb", ["keydb_ctp_pass", "keydb_pass", "keydb_user", "tls.crt", "tls.key"]),
    ("auscat_ctp", ["ctp_admin_pass", "keydb_pass", "keydb_user"]),
    ("auscat_front", ["tls.crt", "tls.key"]),
]


def values(node: Node) -> list[str]:
    """The secret values of this scenario's inventory; admin/admin is too short to look for."""
    users = node.variables["orthanc_registered_users"]
    return [
        users["researcher"],
        node.variables["keydb_password"],
        node.variables["keydb_ctp_password"],
        node.variables["ctp_admin_password"],
    ]


@pytest.mark.parametrize(("service", "names"), FILES)
def test_secret_files_carry_plain_names(node: Node, service: str, names: list[str]) -> None:
    (task,) = node.tasks(service)
    listed = node.output("docker", "exec", task["Id"], "ls", "/run/secrets").split()
    assert sorted(listed) == names


@pytest.mark.parametrize(("service", "names"), FILES)
def test_secret_files_are_for_the_service_alone(node: Node, service: str, names: list[str]) -> None:
    (task,) = node.tasks(service)
    owner = task["Config"]["User"].split(":")[0]
    files = [f"/run/secrets/{name}" for name in names]
    shown = node.output("docker", "exec", task["Id"], "stat", "--format=%u %a", *files)
    assert set(shown.splitlines()) == {f"{owner} 400"}
    for file in files:
        reader = ("docker", "exec", "--user=65534:65534", task["Id"], "cat", file)
        assert "Permission denied" in node.run(*reader, check=False).stderr


def test_orthanc_json_is_what_the_page_describes(node: Node) -> None:
    (task,) = node.tasks("auscat_orthanc")
    text = node.output("docker", "exec", task["Id"], "cat", "/run/secrets/orthanc.json")
    configuration = json.loads(text)
    assert {"Name", "RemoteAccessAllowed", "AuthenticationEnabled"} <= configuration.keys()
    assert configuration["AuthenticationEnabled"] is True
    assert configuration["RegisteredUsers"] == node.variables["orthanc_registered_users"]


def test_swarm_secrets_are_versioned(node: Node) -> None:
    names = node.output("docker", "secret", "ls", "--format={{.Name}}").split()
    assert names
    assert all(name.startswith("auscat_") and name.rpartition("_v")[2].isdigit() for name in names)


@pytest.mark.parametrize(
    "command",
    [
        "docker ps --all --quiet | xargs docker inspect",
        "docker service ls --quiet | xargs docker service inspect",
        "docker secret ls --quiet | xargs docker secret inspect",
        # What is in them, which whoever may use the engine can read.
        "docker config ls --quiet | xargs --max-args=1 docker config inspect --pretty",
        "docker images --quiet | xargs docker image inspect",
        "docker images --quiet | sort --unique | xargs --max-args=1 docker history --no-trunc",
        "for service in $(docker service ls --format '{{.Name}}'); do"
        " timeout 60 docker service logs --raw $service 2>&1; done",
        # Environment and command line of every process, those in the containers included.
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' || true",
        "journalctl --no-pager --output=cat",
        # A file may go away meanwhile.
        "find /etc /var/log /root /tmp -xdev -type f -exec cat {} + 2>/dev/null || true",
        # On disk: Swarm keeps the mounted secrets in a tmpfs below, which only root can enter.
        "find /var/lib/docker/containers /var/lib/docker/image -xdev -type f -exec cat {} +"
        " 2>/dev/null || true",
    ],
    ids=[
        "containers", "services", "secrets", "configs", "images", "image history", "logs",
        "processes", "journal", "files of the host", "files of the engine",
    ],
)  # fmt: skip
def test_no_secret_value_is_in(node: Node, command: str) -> None:
    shown = node.shell(command, timeout=180)
    assert shown
    assert not [value for value in values(node) if value in shown]
