"""The inventory of a node made by hand, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from adopt.by_hand import (
    DIGEST,
    HOST_PATH,
    KEYDB_SEEN,
    ORTHANC_SEEN,
    PAGE_ORTHANC,
    look,
    others,
    page_ctp,
    page_keydb,
    place,
    service,
    whole,
)
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager
from ansible_collections.auscat.imaging.plugins.action import known_variables
from ansible_collections.auscat.imaging.plugins.module_utils.adopt import describe, findings

CONNECTION = {"ansible_host": "10.1.1.1", "ansible_user": "auscat", "ansible_port": ""}


def written(tmp_path: Path, looks: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Write an inventory and let Ansible read it; give the variables of each host."""
    for name, text in describe.files(looks, dict.fromkeys(looks, CONNECTION)).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "ADOPTING.md").write_text(findings.report(looks))
    loader = DataLoader()
    hosts = InventoryManager(loader, sources=[str(tmp_path)])
    variables = VariableManager(loader, hosts)
    return {
        host.name: variables.get_vars(host=host, include_hostvars=False)
        for host in hosts.get_hosts()
    }


def said(looks: dict[str, Any], heading: str) -> str:
    return "\n".join(findings.findings(looks).get(heading, []))


def test_one_machine_as_ansible_reads_it(tmp_path: Path) -> None:
    found = written(tmp_path, {"node01": whole()})["node01"]
    assert sorted(found["group_names"]) == ["catvm", "keyvm"]
    assert (found["ansible_host"], found["ansible_user"]) == ("10.1.1.1", "auscat")
    assert "ansible_port" not in found
    expected = {
        "auscat_environment": "production",
        "auscat_timezone": "Australia/Sydney",
        "auscat_data_root": "/data/auscat",
        "ctp_flavour": "auscat",
        "ctp_image": f"auscat/customized_ctp@{DIGEST}",
        "ctp_dicom_sources": [],
        "keydb_image": f"auscat/keydb_schema@{DIGEST}",
        "keydb_user": "key_admin",
        "keydb_uid": 999,
        "keydb_gid": 999,
        "keydb_table": "auscat_pairs",
        "keydb_password": "{{ vault_keydb_password }}",
        "orthanc_name": "Our PACS",
        "orthanc_aet": "PACS",
        "orthanc_ctp_aet": "CTPOUT",
        "orthanc_registered_users": {
            "admin": "{{ vault_orthanc_admin_password }}",
            "dr.who": "{{ vault_orthanc_dr_who_password }}",
        },
        "orthanc_web_sources": [],
        "adopt_services": {
            "ctp": "pacs_ctp_customized",
            "keydb": "pacs_keydb_server",
            "orthanc": "pacs_orthanc",
        },
    }
    assert {name: found[name] for name in expected} == expected
    # Ours is built, and ports are as by default.
    assert not {"orthanc_image", "orthanc_web_port", "auscat_services", "auscat_stack_name"} & set(
        found
    )


def test_no_name_of_it_is_a_slip(tmp_path: Path) -> None:
    for variables in written(tmp_path, {"node01": whole()}).values():
        assert known_variables.findings(variables, {}) == ([], [])


def test_what_would_open_orthanc_stays_a_comment(tmp_path: Path) -> None:
    written(tmp_path, {"node01": whole()})
    text = (tmp_path / "group_vars/all/main.yml").read_text()
    assert "#   DicomAlwaysAllowStore: true" in text
    assert "orthanc_options" not in yaml.safe_load(text)


def test_two_machines(tmp_path: Path) -> None:
    key = look(page_ctp(), page_keydb(), keydb=KEYDB_SEEN)
    cat = look(PAGE_ORTHANC, orthanc=ORTHANC_SEEN)
    cat["data"]["orthanc"]["/var/lib/orthanc/db"].update(mount="/", system_disk=True)
    found = written(tmp_path, {"kv01": key, "cv01": cat})
    assert found["kv01"]["group_names"] == ["keyvm"]
    assert found["cv01"]["group_names"] == ["catvm"]
    assert found["kv01"]["auscat_data_root"] == "/data/auscat"
    assert found["cv01"]["auscat_data_root"] == "/srv/auscat"
    assert found["cv01"]["host_volume_allow_system_disk"] is True
    assert "host_volume_allow_system_disk" not in found["kv01"]
    assert "keydb_password" not in found["cv01"]
    assert "orthanc_registered_users" not in found["kv01"]
    # Each machine knows its own services alone.
    assert sorted(found["kv01"]["adopt_services"]) == ["ctp", "keydb"]
    assert list(found["cv01"]["adopt_services"]) == ["orthanc"]


def test_the_pages_orthanc_alone(tmp_path: Path) -> None:
    found = written(tmp_path, {"cv01": look(PAGE_ORTHANC)})["cv01"]
    assert found["auscat_services"] == {"orthanc": "catvm"}
    assert found["verify_enabled"] is False
    assert list(found["orthanc_registered_users"]) == ["admin"]
    assert found["group_names"] == ["catvm"]


def test_an_engine_of_docker_stays(tmp_path: Path) -> None:
    foreign = ["the package containerd.io", "the package docker-ce"]
    looks = {"node01": whole(foreign=foreign)}
    found = written(tmp_path, looks)["node01"]
    assert found["docker_engine_packages"][:2] == ["containerd.io", "docker-ce"]
    assert "docker.io" not in found["docker_engine_packages"]
    assert "its engine (the package containerd.io" in said(looks, "stays")
    assert "which no package has brought" in said(
        {"node01": whole(foreign=["the snap docker"])}, "obstacles"
    )


def test_ports_and_sources_as_they_were(tmp_path: Path) -> None:
    moved = service(
        "orthanc", "auscat/orthanc:1", {80: 8042, 104: 4242}, {"/var/lib/orthanc/db": HOST_PATH}
    )
    seen = look(moved)
    seen["firewall"]["ufw_sources"] = {"80/tcp": ["0.0.0.0/0", "10.2.0.0/16"]}
    found = written(tmp_path, {"cv01": seen})["cv01"]
    assert (found["orthanc_web_port"], found["orthanc_dicom_port"]) == (80, 104)
    assert found["orthanc_web_sources"] == ["10.2.0.0/16"]


@pytest.mark.parametrize(
    ("stacks", "name"),
    [(["pacs"], None), (["auscat"], "auscat_node"), (["auscat", "auscat_node"], "auscat_node2")],
)
def test_no_stack_of_theirs_is_taken_for_ours(stacks: list[str], name: str | None) -> None:
    """A deployment under its name would remove what it does not know."""
    services = [service("other", "x:1", stack=stack) for stack in stacks]
    looks = {"cv01": look(PAGE_ORTHANC, *services)}
    assert describe.variables(looks)["all"].get("auscat_stack_name") == name
    assert ("is called" in said(looks, "changes")) == (name is not None)


def test_a_database_with_our_columns_is_taken_as_it_is() -> None:
    columns = [{"name": name, "type": "text"} for name in ("patient_id", "issuer", "pseudonym")]
    table = {
        "schema": "keys",
        "name": "pairs",
        "kind": "VIEW",
        "columns": columns,
        "rows": 1,
        "read_by_ctp": False,
    }
    keydb = {**KEYDB_SEEN, "databases": [{"name": "key_db", "tables": [table]}]}
    looks = {"kv01": whole(keydb=keydb)}
    assert describe.variables(looks)["all"]["keydb_table"] == "keys.pairs"
    assert findings.view(looks) == ""
    assert "which table holds the pairs" not in said(looks, "fill_in")
    assert "which may not read keys.pairs" in said(looks, "changes")


@pytest.mark.parametrize(
    ("looks", "words"),
    [
        ({"a": look(*others())}, "No Orthanc, CTP or KeyDB made by hand was found on a"),
        ({"a": look(containers=["orthanc_1"])}, "cannot be taken over as such: orthanc_1"),
        ({"a": look(PAGE_ORTHANC), "b": look(PAGE_ORTHANC)}, "orthanc runs on a and b"),
        ({"a": look(page_ctp()), "b": look(page_keydb())}, "CTP runs on a and KeyDB on b"),
    ],
)
def test_what_is_no_node(looks: dict[str, Any], words: str) -> None:
    with pytest.raises(describe.AdoptError, match=words):
        describe.files(looks, {})


# What is said


def test_what_is_said_of_a_whole_node() -> None:
    looks = {"node01": whole(default_passwords=["user admin of Orthanc", "secret keydb_pass"])}
    found = findings.findings(looks)
    assert "obstacles" not in found
    unsafe = said(looks, "unsafe")
    for words in (
        "user admin of Orthanc has the default password of AusCAT's pages",
        "secret keydb_pass has the default password",
        "pacs_orthanc runs auscat/orthanc:latest, with the tag latest",
        "4242/tcp, 8042/tcp (pacs_orthanc): open to every machine",
        "8042 is plain HTTP",
        "KeyDB's port takes clear text",
    ):
        assert words in unsafe
    stays = said(looks, "stays")
    for words in (
        "its 3 studies, 1 204 instances",
        "pacs_catdb_server (auscat/catdb_schema:mosaiq) is left alone",
        "pacs_etl (auscat/etl:sim) is left alone",
        "public.patient (42 rows): mrn, anon_id",
        "12 files",
        "CTP calls Orthanc PACS and itself CTPOUT",
    ):
        assert words in stays
    changes = said(looks, "changes")
    assert "pacs_etl asks CTP and KeyDB by name" in changes
    # The rules let no container of the Swarm in at a published port (firewall/port_rules.py).
    assert "no container of the Swarm gets in at a port that the node publishes" in changes
    assert f"({HOST_PATH}) is renamed to a directory of /data/auscat" in changes
    assert "ingress mesh" in changes
    missing = said(looks, "fill_in")
    assert "passwords of Orthanc (admin, dr.who)" in missing
    assert "DicomAlwaysAllowStore, DicomModalities, StableAge" in missing
    # Whom nothing but the operator knows, and the node would cut off (decision 68).
    assert "pacs that are left alone connect to outside: firewall_outgoing_of" in missing
    assert "ctp_outgoing" in missing and "Its config.xml names orthanc:4242." in missing
    assert "INSTEAD OF INSERT" in findings.report(looks)


def test_a_swarm_that_will_ask_for_a_key_is_named() -> None:
    """No vault has it, and the engine may be restarted before anything can be given back."""
    seen = whole()
    assert "docker swarm unlock" not in said({"node01": seen}, "changes")
    seen["swarm"]["autolock"] = True
    assert "docker swarm unlock" in said({"node01": seen}, "changes")


def test_data_on_another_disk_are_copied() -> None:
    seen = whole()
    directory = "/var/lib/postgresql/data"
    seen["data"]["keydb"][directory] = place("/var/lib/docker/x", device=1, mount="/")
    assert "KeyDB's /var/lib/postgresql/data (/var/lib/docker/x) lies on another file system" in (
        said({"node01": seen}, "changes")
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"swarm": {"state": "active", "manager": True, "nodes": 2, "autolock": False}},
            "its Swarm has 2 machines",
        ),
        ({"problems": ["a and b could each be KeyDB."]}, "a and b could each be KeyDB."),
        ({"data": {}}, "nothing of the host is mounted at /var/lib/orthanc/db"),
        ({"data": {}}, "nothing of the host is mounted at /ctp_temp"),
        ({"data": {}}, "nothing of the host is mounted where KeyDB has its data"),
        (
            {"orthanc": {**ORTHANC_SEEN, "archive": {"told": True, "studies": 1, "instances": 1,
                                                     "index": "PostgreSQL"}}},
            "Orthanc keeps its index in a PostgreSQL of its own",
        ),
        (
            {"keydb": {**KEYDB_SEEN, "server": {**KEYDB_SEEN["server"], "databases": ["keys"]}}},
            "KeyDB has no database key_db, but keys",
        ),
        (
            {"keydb": {**KEYDB_SEEN, "server": {**KEYDB_SEEN["server"], "roles": ["key_admin"]}}},
            "KeyDB has no role ctp_key_db_select",
        ),
        (
            {"data": {"orthanc": {"/var/lib/orthanc/db": place(HOST_PATH, link=True)}}},
            "is a symbolic link",
        ),
        (
            {"data": {"orthanc": {"/var/lib/orthanc/db": {"path": "/x", "exists": False}}}},
            "(/x) is not there",
        ),
    ],
)  # fmt: skip
def test_what_is_in_the_way(change: dict[str, Any], words: str) -> None:
    assert words in said({"node01": whole(**change)}, "obstacles")


@pytest.mark.parametrize(
    ("wall", "heading", "words"),
    [
        ({"docker_user": None}, "fill_in", "could not be seen"),
        ({"docker_user": 3}, "fill_in", "rules of the site's own"),
        ({"ufw": True}, "unsafe", "ufw is on, and does not limit what Docker publishes"),
        ({"firewalld": True}, "unsafe", "firewalld is on, and does not limit it either"),
    ],
)
def test_what_is_said_of_the_firewall(wall: dict[str, Any], heading: str, words: str) -> None:
    seen = whole()
    seen["firewall"].update(wall)
    assert words in said({"node01": seen}, heading)


def test_what_was_not_read_is_not_said_to_be_so() -> None:
    looks = {"node01": look(PAGE_ORTHANC, page_ctp(), page_keydb())}
    missing = said(looks, "fill_in")
    for words in (
        "how many studies Orthanc holds could not be asked",
        "orthanc.json could not be read",
        "CTP's AE titles toward Orthanc could not be read",
        "KeyDB's tables could not be read",
    ):
        assert words in missing
    assert findings.view(looks) == ""


def test_what_else_is_mounted_is_named() -> None:
    mounts = {"/var/lib/orthanc/db": HOST_PATH, "/etc/orthanc": "/etc/orthanc"}
    looks = {"cv01": look(service("orthanc", "auscat/orthanc:1", {8042: 8042}, mounts))}
    assert "also has /etc/orthanc mounted at /etc/orthanc" in said(looks, "fill_in")
    later = look(page_keydb(mounts={"/var/lib/postgresql": "/data/pg"}))
    assert "images of PostgreSQL 18" in said({"kv01": later}, "obstacles")


def test_a_machine_without_anything_is_named() -> None:
    looks = {"node01": whole(), "spare": look()}
    assert "spare: nothing of the node was found there" in said(looks, "stays")
    assert "spare" not in describe.files(looks, {})["hosts.yml"]
