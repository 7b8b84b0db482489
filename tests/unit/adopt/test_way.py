"""What of a machine is taken over, and where its data go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from adopt.by_hand import (
    HOST_PATH,
    KEYDB_SEEN,
    PAGE_ORTHANC,
    look,
    others,
    page_keydb,
    service,
    whole,
)
from ansible_collections.auscat.imaging.plugins.module_utils.adopt import (
    findings,
    take_over,
    way,
)
from ansible_collections.auscat.imaging.plugins.module_utils.adopt.look import as_before
from ansible_collections.auscat.imaging.plugins.module_utils.host.command import CommandError

#: As the roles declare their directories.
DEFINITIONS: list[dict[str, Any]] = [
    {
        "name": "orthanc",
        "directories": [
            {"path": "orthanc", "target": "/var/lib/orthanc/db"},
            {"path": "orthanc_temporary", "target": "/tmp"},
        ],
    },
    {"name": "front", "directories": [{"path": "front/logs", "target": "/logs"}]},
    {
        "name": "ctp",
        "directories": [
            {"path": "ctp/logs", "target": "/logs"},
            {"path": "ctp/temp", "target": "/ctp_temp"},
        ],
    },
    {
        "name": "keydb",
        "directories": [{"path": "keydb", "target": "/var/lib/postgresql/data"}],
    },
    {"name": "ctp_gate"},
]
VOLUMES = "/var/lib/docker/volumes"
REPOSITORY = Path(__file__).resolve().parents[3]


def test_each_directory_gets_the_place_of_its_own() -> None:
    assert way.moves(whole(), DEFINITIONS, "/data/auscat") == [
        {"source": HOST_PATH, "destination": "/data/auscat/orthanc"},
        {"source": f"{VOLUMES}/pacs_ctp-logs/_data", "destination": "/data/auscat/ctp/logs"},
        {"source": f"{VOLUMES}/pacs_ctp-customized/_data", "destination": "/data/auscat/ctp/temp"},
        {"source": f"{VOLUMES}/pacs_key-pgdata/_data", "destination": "/data/auscat/keydb"},
    ]


def test_a_database_in_the_mount_itself_gets_a_directory() -> None:
    seen = look(page_keydb())
    seen["data"]["keydb"]["/var/lib/postgresql/data"]["database"] = True
    (move,) = way.moves(seen, DEFINITIONS, "/data/auscat")
    assert move["destination"] == "/data/auscat/keydb/pgdata"


def test_what_is_where_it_shall_be_stays() -> None:
    seen = look(PAGE_ORTHANC)
    seen["data"]["orthanc"]["/var/lib/orthanc/db"]["path"] = "/data/auscat/orthanc"
    assert way.moves(seen, DEFINITIONS, "/data/auscat") == []


def test_the_services_that_are_replaced() -> None:
    assert way.parts(whole()) == {
        "orthanc": {"name": "pacs_orthanc", "stack": "pacs", "data": HOST_PATH},
        "ctp": {"name": "pacs_ctp_customized", "stack": "pacs"},
        "keydb": {"name": "pacs_keydb_server", "stack": "pacs", "user": "key_admin"},
    }
    assert way.parts(look(page_keydb()), "root")["keydb"]["user"] == "root"


def test_the_ports_that_swarm_keeps_for_a_service_without_a_task() -> None:
    assert take_over.mesh_ports(PAGE_ORTHANC) == [
        {"published": 4242, "target": 4242, "protocol": "tcp"},
        {"published": 8042, "target": 8042, "protocol": "tcp"},
    ]
    of_the_machine = service("x", "x:1", {8042: 8042})
    of_the_machine["Spec"]["EndpointSpec"]["Ports"][1]["PublishMode"] = "host"
    of_the_machine["Endpoint"]["Ports"][0]["PublishMode"] = "host"
    assert take_over.mesh_ports(of_the_machine) == []
    # Given up: the endpoint of a service without a task may still name them.
    given_up = service("x", "x:1", {8042: 8042})
    given_up["Spec"]["EndpointSpec"]["Ports"] = []
    assert take_over.mesh_ports(given_up) == []


def test_the_ports_that_will_be_free_are_theirs_alone() -> None:
    assert way.freed_ports(whole()) == ["4242/tcp", "5433/tcp", "8042/tcp", "8104/tcp", "9090/tcp"]


def test_what_is_in_the_way_of_a_machine() -> None:
    services = ("keydb", "ctp", "orthanc")
    assert findings.obstacles({"node01": whole()}, services) == []
    (missing,) = findings.obstacles({"node01": look(*others())}, services)
    assert "no Orthanc, CTP or KeyDB stands there" in missing
    seen = look(PAGE_ORTHANC, page_keydb(), keydb=KEYDB_SEEN)
    (elsewhere,) = findings.obstacles({"cv01": seen}, ["orthanc"])
    assert "KeyDB stands there, and the inventory does not place it there" in elsewhere


def test_the_checks_are_told_what_will_be_gone() -> None:
    """Ports in use and others on the bridge of the Swarm are refused, but for the old services."""
    tasks = yaml.safe_load((REPOSITORY / "roles/adopt/tasks/look.yml").read_text())
    told = {name for task in tasks for name in task.get("ansible.builtin.set_fact", {})}
    assert told == {"__adopt_freed_ports", "__adopt_replaced"}
    checks = (REPOSITORY / "plugins/action/preflight.py").read_text()
    assert all(f'self._quietly("{name}")' in checks for name in told)


@pytest.mark.parametrize("before", [False, True])
def test_rules_that_an_interrupted_run_has_loaded_are_not_those_of_before(
    tmp_path: Path, before: bool
) -> None:
    """Left behind, they would cut the old services off from whom they connect to."""
    begun = take_over.TakeOver(tmp_path / "note.json", tmp_path / "copies", 1)
    seen = whole()
    seen["firewall"]["ours"] = before
    assert as_before(seen, begun.noted()) == seen
    begun.take({}, [], {}, limited=before)
    # The next run sees the rules that the first one has loaded.
    seen["firewall"]["ours"] = True
    again = as_before(seen, begun.noted())
    assert again["firewall"]["ours"] is before
    begun.take({}, [], {}, limited=True)
    assert as_before(seen, begun.noted()) == again


def test_the_role_has_noted_and_looks_at_what_was_before() -> None:
    tasks = {
        name: yaml.safe_load((REPOSITORY / f"roles/adopt/tasks/{name}.yml").read_text())
        for name in ("look", "take")
    }
    assert tasks["look"][0]["auscat.imaging.adopt_look"]["note"] == "{{ __adopt_note }}"
    assert "firewall.ours" in tasks["take"][0]["auscat.imaging.adopt_take_over"]["limited"]


def test_nothing_that_is_checked_is_in_the_way_back() -> None:
    (play,) = yaml.safe_load((REPOSITORY / "playbooks/take_over.yml").read_text())
    (checks,) = [each for each in play["roles"] if each["role"].endswith(".preflight")]
    assert checks["when"] == "not adopt_give_back | bool"


def test_a_machine_that_cannot_go_back_keeps_no_other_from_it() -> None:
    """The play ends at the first error of a machine, and between two machines a stack is halved."""
    (play,) = yaml.safe_load((REPOSITORY / "playbooks/take_over.yml").read_text())
    steps = [
        step for task in play["tasks"] for step in (*task.get("block", []), *task.get("rescue", []))
    ]
    back = [
        step["ansible.builtin.include_role"]
        for step in steps
        if step.get("ansible.builtin.include_role", {}).get("tasks_from") == "give_back"
    ]
    assert play["any_errors_fatal"] and len(back) == 2
    assert all(each["apply"] == {"any_errors_fatal": False} for each in back)


def test_from_the_first_removal_on_there_is_no_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next run stops services that are gone, and puts the index of before back."""
    begun = take_over.TakeOver(tmp_path / "note.json", tmp_path / "copies", 1)
    begun.take({}, [], {})
    # An engine that does not answer, in the middle of it.
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises((CommandError, OSError)):
        begun.settle()
    noted = begun.noted()
    assert noted["settled"]
    with pytest.raises(take_over.TakeOverError, match="no way back"):
        begun.give_back()
    noted["services"] = {"pacs_orthanc": {"part": "orthanc", "stack": "pacs", "mesh": []}}
    begun.note.write_text(json.dumps(noted))
    assert begun.take({}, [], {}) == noted
    first = yaml.safe_load((REPOSITORY / "roles/adopt/tasks/give_back.yml").read_text())[0]
    assert "ansible.builtin.fail" in first and first["when"] == "__adopt_found.settled"


def test_a_teardown_leaves_the_note_of_a_take_over() -> None:
    tasks = yaml.safe_load((REPOSITORY / "roles/teardown/tasks/main.yml").read_text())
    names = [task["name"] for task in tasks]
    looks, refuses = (
        names.index("Look whether a take-over was begun"),
        names.index("Refuse while the services of a node made by hand can still be brought back"),
    )
    assert looks < refuses < names.index("Remove the node")
    note = yaml.safe_load((REPOSITORY / "roles/adopt/vars/main.yml").read_text())["__adopt_note"]
    assert tasks[looks]["ansible.builtin.stat"]["path"] == note
    assert tasks[refuses]["when"] == f"{tasks[looks]['register']}.stat.exists"
