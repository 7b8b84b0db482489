"""Nodes made by hand, as ``docker service inspect`` tells of them and as they are looked at.

Written after the YAML of AusCAT's pages: the Orthanc page of the reference, word by word, and the
public pages of KeyDB and CTP (repository auscatverse: services keydb_server and ctp_customized,
named volumes, the secrets keydb_user, keydb_pass, keydb_ctp_pass, ctp_admin_pass).
"""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.auscat.imaging.plugins.module_utils.adopt import standing

DIGEST = "sha256:" + "ab" * 32
HOST_PATH = "/path/to/host/filesystem"
#: The page's second YAML, deployed with ``docker stack deploy`` as the stack pacs (Docker 20.10).
PAGE_ORTHANC: dict[str, Any] = {
    "ID": "kx2m9o7b8e0h3n5v6c1q4w8e9",
    "Version": {"Index": 21},
    "CreatedAt": "2024-03-01T01:02:03.123456789Z",
    "UpdatedAt": "2024-03-01T01:02:04.123456789Z",
    "Spec": {
        "Name": "pacs_orthanc",
        "Labels": {
            "com.docker.stack.image": "auscat/orthanc:latest",
            "com.docker.stack.namespace": "pacs",
        },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": f"auscat/orthanc:latest@{DIGEST}",
                "Labels": {"com.docker.stack.namespace": "pacs"},
                "Privileges": {"CredentialSpec": None, "SELinuxContext": None},
                "Mounts": [{"Type": "bind", "Source": HOST_PATH, "Target": "/var/lib/orthanc/db"}],
                "StopGracePeriod": 10000000000,
                "DNSConfig": {},
                "Secrets": [
                    {
                        "File": {"Name": "orthanc.json", "UID": "0", "GID": "0", "Mode": 292},
                        "SecretID": "w3d0c5v6b7n8m9q1w2e3r4t5y",
                        "SecretName": "orthanc.json",
                    }
                ],
                "Isolation": "default",
            },
            "Resources": {},
            "RestartPolicy": {"Condition": "any", "Delay": 5000000000, "MaxAttempts": 0},
            "Placement": {"Platforms": [{"Architecture": "amd64", "OS": "linux"}]},
            "Networks": [{"Target": "n4e5t6w7o8r9k", "Aliases": ["orthanc"]}],
            "ForceUpdate": 0,
            "Runtime": "container",
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "UpdateConfig": {"Parallelism": 1, "FailureAction": "pause", "Order": "stop-first"},
        "EndpointSpec": {
            "Mode": "vip",
            "Ports": [
                {
                    "Protocol": "tcp",
                    "TargetPort": 4242,
                    "PublishedPort": 4242,
                    "PublishMode": "ingress",
                },
                {
                    "Protocol": "tcp",
                    "TargetPort": 8042,
                    "PublishedPort": 8042,
                    "PublishMode": "ingress",
                },
            ],
        },
    },
    "Endpoint": {
        "Spec": {"Mode": "vip"},
        "Ports": [
            {
                "Protocol": "tcp",
                "TargetPort": 4242,
                "PublishedPort": 4242,
                "PublishMode": "ingress",
            },
            {
                "Protocol": "tcp",
                "TargetPort": 8042,
                "PublishedPort": 8042,
                "PublishMode": "ingress",
            },
        ],
        "VirtualIPs": [{"NetworkID": "n4e5t6w7o8r9k", "Addr": "10.0.1.2/24"}],
    },
}


def service(
    name: str,
    image: str,
    ports: dict[int, int] | None = None,
    mounts: dict[str, str] | None = None,
    environment: list[str] | None = None,
    secrets: tuple[str, ...] = (),
    stack: str = "pacs",
) -> dict[str, Any]:
    """Give a service as the engine tells of it.

    Args:
        name: within its stack; the whole name where there is no stack.
        image: with tag and digest, as Swarm has it.
        ports: published to target.
        mounts: target to source; a source without a slash is a named volume.
        environment: KEY=value.
        secrets: names; each is a file of its name.
        stack: empty for none.
    """
    made = copy.deepcopy(PAGE_ORTHANC)
    specification = made["Spec"]
    specification["Name"] = f"{stack}_{name}" if stack else name
    specification["Labels"] = {"com.docker.stack.namespace": stack} if stack else {}
    container = specification["TaskTemplate"]["ContainerSpec"]
    container["Image"] = image
    container["Mounts"] = [
        {"Type": "bind" if "/" in source else "volume", "Source": source, "Target": target}
        for target, source in (mounts or {}).items()
    ]
    container["Env"] = environment or []
    container["Secrets"] = [
        {"File": {"Name": each}, "SecretID": "0", "SecretName": each} for each in secrets
    ]
    made["Endpoint"]["Ports"] = [
        {
            "Protocol": "tcp",
            "TargetPort": target,
            "PublishedPort": published,
            "PublishMode": "ingress",
        }
        for published, target in (ports or {}).items()
    ]
    return made


def page_keydb(**changes: Any) -> dict[str, Any]:
    """Give the public page's keydb_server."""
    return service(
        **{
            "name": "keydb_server",
            "image": f"auscat/keydb_schema:latest@{DIGEST}",
            "ports": {5433: 5432},
            "mounts": {"/var/lib/postgresql/data/": "pacs_key-pgdata"},
            "environment": [
                "POSTGRES_USER_FILE=/run/secrets/keydb_user",
                "POSTGRES_PASSWORD_FILE=/run/secrets/keydb_pass",
                "POSTGRES_HOST=localhost",
                "PGDATA=/var/lib/postgresql/data/pgdata",
                "TZ=Australia/Sydney",
            ],
            "secrets": ("keydb_user", "keydb_pass", "keydb_ctp_pass"),
            **changes,
        }
    )


def page_ctp(**changes: Any) -> dict[str, Any]:
    """Give the public page's ctp_customized."""
    return service(
        **{
            "name": "ctp_customized",
            "image": f"auscat/customized_ctp:latest@{DIGEST}",
            "ports": {9090: 9090, 8104: 8104},
            "mounts": {"/logs": "pacs_ctp-logs", "/ctp_temp": "pacs_ctp-customized"},
            "environment": ["ORTHANC_HOSTNAME=orthanc", "ORTHANC_PORT=4242"],
            "secrets": ("keydb_user", "keydb_pass", "ctp_admin_pass"),
            **changes,
        }
    )


def others() -> list[dict[str, Any]]:
    """Give what the public page of the simulation has beside the three."""
    return [
        service(
            "catdb_server",
            f"auscat/catdb_schema:mosaiq@{DIGEST}",
            {5434: 5432},
            {"/var/lib/postgresql/data/": "pacs_cat-pgdata"},
            ["POSTGRES_USER_FILE=/run/secrets/catdb_user"],
        ),
        service(
            "etl",
            f"auscat/etl:sim@{DIGEST}",
            {5678: 5678},
            environment=[
                "KEYDB_HOST=keydb_server",
                "KEYDB_PASSWORD=orthanc",
                "CATDB_HOST=catdb_server",
                "CTP_HOST=ctp_customized",
            ],
        ),
    ]


def place(path: str, **changes: Any) -> dict[str, Any]:
    """Give a directory on the machine's second disk, mounted at /data."""
    return {
        "path": path,
        "source": path,
        "exists": True,
        "link": False,
        "owner": 0,
        "group": 0,
        "mode": "0755",
        "device": 2049,
        "mount": "/data",
        "used_bytes": 10**9,
        "free_bytes": 10**12,
        "system_disk": False,
        **changes,
    }


def look(*services: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Give what is seen of a machine with these services, and nothing read of them."""
    listed = standing.described(services)
    parts, problems = standing.parts(listed)
    by_name = {each["name"]: each for each in listed}
    return {
        "system": {"os": "Ubuntu 22.04"},
        "address": "10.1.1.1",
        "engine": "24.0.5",
        "foreign": [],
        "swarm": {"state": "active", "manager": True, "nodes": 1, "autolock": False},
        "services": listed,
        "parts": parts,
        "problems": problems,
        "containers": [],
        "data": {
            part: {
                target: {**place(mount["path"]), "source": mount["source"]}
                for target, mount in standing.data_of(part, by_name[name]).items()
            }
            for part, name in parts.items()
        },
        "orthanc": {"running": True, "configuration": None, "archive": {}},
        "ctp": {"running": True, "exports": [], "held": None},
        "keydb": {"running": True, "user": "", "databases": []},
        "default_passwords": [],
        "firewall": {
            "ufw": False,
            "ufw_sources": {},
            "firewalld": False,
            "docker_user": 0,
            "ours": False,
        },
        **changes,
    }


ORTHANC_SEEN = {
    "running": True,
    "configuration": {
        "name": "Our PACS",
        "aet": "PACS",
        "authentication": True,
        "remote_access": True,
        "users": ["admin", "dr.who"],
        "options": {"DicomAlwaysAllowStore": True, "StableAge": 30},
        "other_settings": ["DicomModalities"],
    },
    "archive": {
        "answers": True,
        "login": True,
        "told": True,
        "version": "1.12.3",
        "index": "SQLite",
        "patients": 2,
        "studies": 3,
        "series": 7,
        "instances": 1204,
        "bytes": 5,
    },
}
CTP_SEEN = {
    "running": True,
    "exports": [{"called": "PACS", "calling": "CTPOUT", "host": "orthanc", "port": 4242}],
    "held": 12,
}
KEYDB_SEEN = {
    "running": True,
    "user": "key_admin",
    "server": {
        "version": "15.3",
        "number": 150003,
        "data": "/var/lib/postgresql/data/pgdata",
        "superuser": True,
        "roles": ["ctp_key_db_select", "key_admin"],
        "databases": ["key_db"],
    },
    "files": {"path": "/data/pgdata", "owner": 999, "group": 999},
    "databases": [
        {
            "name": "key_db",
            "tables": [
                {
                    "schema": "public",
                    "name": "patient",
                    "kind": "BASE TABLE",
                    "columns": [
                        {"name": "mrn", "type": "character varying"},
                        {"name": "anon_id", "type": "character varying"},
                    ],
                    "rows": 42,
                    "read_by_ctp": True,
                }
            ],
        }
    ],
}


def whole(**changes: Any) -> dict[str, Any]:
    """Give a machine with the node of the public pages, read to its end."""
    found = look(PAGE_ORTHANC, page_ctp(), page_keydb(), *others())
    return {**found, "orthanc": ORTHANC_SEEN, "ctp": CTP_SEEN, "keydb": KEYDB_SEEN, **changes}
