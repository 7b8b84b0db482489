from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.template import Templar, trust_as_template
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import definitions as d

REPOSITORY = Path(__file__).resolve().parents[3]


def service(**changes: Any) -> dict[str, Any]:
    """A sound definition, with changes."""
    definition: dict[str, Any] = {
        "name": "orthanc",
        "title": "Orthanc",
        "image": "orthanc:1",
        "ports": [
            {
                "name": "web",
                "target": 8042,
                "published": "8042",
                "protocol": "tcp",
                "sources": ["192.0.2.0/24"],
                "variable": "orthanc_web_port",
                "sources_variable": "orthanc_web_sources",
            }
        ],
        "directories": [
            {"path": "orthanc", "target": "/db", "owner": "64042", "group": 64042, "mode": "0750"}
        ],
        "secrets": [{"name": "orthanc.json", "content": "{}", "owner": 64042, "group": 64042}],
        "memory_mib": "512",
    }
    definition.update(changes)
    return definition


def test_a_sound_definition_has_no_problems() -> None:
    assert d.definition_problems([service()]) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": None, "name": "Big Name"}, ["Big Name", "Accepted: a lower-case letter"]),
        ({"name": "orthanc-"}, ["'orthanc-'", "the last no - or _"]),
        ({"colour": "red"}, ["orthanc_service", "unknown keys", "colour"]),
        (
            {"directories": [{"path": "a", "ower": 1}]},
            ["orthanc_service: directories", "'ower'", "nearest is owner"],
        ),
        (
            {"ports": [{"published": 80, "sources": [], "soruces": []}]},
            ["orthanc_service: ports", "'soruces'", "nearest is sources"],
        ),
        ({"backup": {"knd": "x", "form": "files"}}, ["backup", "'knd'", "nearest is kind"]),
        (
            {"ports": [{"name": "web", "published": 70000, "variable": "orthanc_web_port"}]},
            ["orthanc_web_port is 70000", "from 1 to 65535"],
        ),
        (
            {"ports": [{"name": "web", "published": 0, "variable": "orthanc_web_port"}]},
            ["orthanc_web_port is 0", "from 1 to 65535"],
        ),
        (
            {"ports": [{"name": "web", "published": True, "variable": "orthanc_web_port"}]},
            ["orthanc_web_port is True"],
        ),
        (
            {
                "ports": [
                    {
                        "name": "web",
                        "published": 8042,
                        "sources": ["the clinic"],
                        "sources_variable": "orthanc_web_sources",
                    }
                ]
            },
            ["orthanc_web_sources[0] is 'the clinic'", "Accepted: an address or a network"],
        ),
        (
            {
                "ports": [
                    {
                        "name": "web",
                        "published": 8042,
                        "sources": "192.0.2.0/24",
                        "sources_variable": "orthanc_web_sources",
                    }
                ]
            },
            ["orthanc_web_sources is '192.0.2.0/24'", "a list"],
        ),
        ({"directories": [{"path": "/etc"}]}, ["'/etc'", "relative to auscat_data_root"]),
        ({"directories": [{"path": "a/../../etc"}]}, ["without '..'"]),
        (
            {"secrets": [{"name": "keydb_pass", "content": "", "variable": "keydb_password"}]},
            ["keydb_password is empty", "vault"],
        ),
        (
            {"secrets": [{"name": "keydb_pass", "content": None, "variable": "keydb_password"}]},
            ["keydb_password is empty"],
        ),
    ],
)
def test_problems_name_variable_value_and_remedy(changes: dict[str, Any], words: list[str]) -> None:
    problems = d.definition_problems([service(**changes)])
    assert problems
    for word in words:
        assert word in "\n".join(problems)


def test_a_port_claimed_twice_names_both_variables() -> None:
    other = service(name="ctp", ports=[{**service()["ports"][0], "variable": "ctp_web_port"}])
    (problem,) = d.definition_problems([service(), other])
    assert "ctp_web_port is 8042" in problem
    assert "claimed by orthanc_web_port already" in problem


def test_a_port_of_the_site_is_compared_with_those_of_services() -> None:
    own = {**service()["ports"][0], "variable": "firewall_ports[0].published"}
    (problem,) = d.definition_problems([service()], [own])
    assert "firewall_ports[0].published is 8042" in problem
    assert d.definition_problems([service()], [{**own, "published": 8888}]) == []


def test_a_page_that_the_web_server_publishes_is_not_claimed_twice() -> None:
    (page,) = service()["ports"]
    dicom = {**page, "name": "dicom", "published": 4242, "variable": "orthanc_dicom_port"}
    broken = {**service(), "ports": [dicom, page]}
    front = service(name="front", ports=[page], directories=[], secrets=[])
    found = d.without_repeated_ports([front, broken], {"orthanc"})
    assert d.definition_problems(found) == []
    assert [port["published"] for port in d.published_ports(found)] == [4242, 8042]
    (alone,) = d.without_repeated_ports([broken], {"orthanc"})
    assert alone["ports"] == [dicom, page]
    assert d.definition_problems(d.without_repeated_ports([front, broken], set()))


def test_the_same_number_for_tcp_and_udp_is_fine() -> None:
    udp = {**service()["ports"][0], "protocol": "udp", "variable": "other"}
    assert d.definition_problems([service(), service(name="ctp", ports=[udp])]) == []


def test_no_problem_text_carries_a_secret() -> None:
    broken = service(secrets=[{"name": "x", "content": 12345678}])
    assert "12345678" not in "\n".join(d.definition_problems([broken]))


def test_published_ports_are_numbers_in_order() -> None:
    first = {"name": "dicom", "target": 4242, "published": "4242"}
    ports = d.published_ports([service(ports=[*service()["ports"], first])])
    assert [(port["published"], port["service"], port["sources"]) for port in ports] == [
        (4242, "orthanc", []),
        (8042, "orthanc", ["192.0.2.0/24"]),
    ]


def test_directories_come_with_their_parents() -> None:
    nested = [
        {"path": "ctp/logs", "target": "/logs", "owner": 1, "group": 2, "mode": "0700"},
        {"path": "ctp/temp", "target": "/t", "owner": 1, "group": 2, "mode": "0700", "free_gib": 3},
    ]
    found = d.host_directories([service(name="ctp", directories=nested)], "/srv/auscat")
    assert [(each["path"], each["owner"], each["free_gib"]) for each in found] == [
        ("/srv/auscat/ctp", 1, 0.0),
        ("/srv/auscat/ctp/logs", 1, 0.0),
        ("/srv/auscat/ctp/temp", 1, 3.0),
    ]


def test_mounts_stand_as_a_forced_restart_leaves_them() -> None:
    """docker service update sorts them by source, then target."""
    owned = {"owner": 1, "group": 2, "mode": "0700"}
    paths = {"ctp/temp/.free": "/free", "ctp/gate": "/spool", "ctp": "/a"}
    document = d.stack_document(
        [
            service(
                directories=[
                    {"path": path, "target": target, **owned} for path, target in paths.items()
                ]
            )
        ],
        "/srv/auscat",
        {"orthanc.json": "v1"},
    )
    mounts = document["services"]["orthanc"]["volumes"]
    assert [mount["target"] for mount in mounts] == ["/a", "/spool", "/free"]


def test_directory_that_the_service_only_reads() -> None:
    only_read = {**service()["directories"][0], "read_only": True}
    document = d.stack_document(
        [service(directories=[only_read])], "/srv/auscat", {"orthanc.json": "v1"}
    )
    (volume,) = document["services"]["orthanc"]["volumes"]
    assert volume["read_only"] is True


def test_one_secret_with_two_contents_is_refused() -> None:
    other = service(name="ctp", secrets=[{"name": "orthanc.json", "content": "{ }"}])
    with pytest.raises(d.DefinitionError, match=r"orthanc.json is declared twice .* ctp"):
        d.secret_values([service(), other])


def test_stack_document() -> None:
    document = d.stack_document(
        [service(aliases=["pacs"], environment={"PORT": 4242})],
        "/srv/auscat",
        {"orthanc.json": "auscat_orthanc.json_v3"},
        "Australia/Sydney",
    )
    orthanc = document["services"]["orthanc"]
    assert orthanc["ports"] == [
        {"target": 8042, "published": 8042, "protocol": "tcp", "mode": "host"}
    ]
    assert orthanc["deploy"]["endpoint_mode"] == "dnsrr"
    assert orthanc["environment"] == {"TZ": "Australia/Sydney", "PORT": "4242"}
    # Nobody asks it, so it has no name anywhere; it publishes a port.
    assert orthanc["networks"] == {"orthanc_alone": {}}
    assert document["networks"] == {"orthanc_alone": {"driver": "overlay"}}
    assert orthanc["volumes"] == [
        {"type": "bind", "source": "/srv/auscat/orthanc", "target": "/db"}
    ]
    assert orthanc["secrets"] == [
        {
            "source": "orthanc.json",
            "target": "orthanc.json",
            "uid": "64042",
            "gid": "64042",
            "mode": 0o400,
        }
    ]
    assert orthanc["deploy"]["resources"] == {"limits": {"memory": "512M", "pids": 256}}
    assert document["secrets"] == {
        "orthanc.json": {"external": True, "name": "auscat_orthanc.json_v3"}
    }


def test_the_pace_of_the_health_checks() -> None:
    own = service(name="slow", secrets=[], healthcheck={"timeout": "60s"})
    pace = {"start_period": "300s", "timeout": "30s"}
    usual = service(secrets=[])
    document = d.stack_document([usual, own], "/srv/auscat", {}, health=pace)
    assert document["services"]["orthanc"]["healthcheck"] == pace
    assert document["services"]["slow"]["healthcheck"] == {**pace, "timeout": "60s"}
    assert "healthcheck" not in d.stack_document([usual], "/srv/auscat", {})["services"]["orthanc"]


def test_the_stack_document_holds_no_secret() -> None:
    definition = service(secrets=[{"name": "keydb_pass", "content": "very-secret-text"}])
    document = d.stack_document([definition], "/srv", {"keydb_pass": "auscat_keydb_pass_v1"})
    assert "very-secret-text" not in repr(document)


def test_a_file_becomes_a_config_whose_name_changes_with_its_content() -> None:
    file = {"name": "settings", "target": "/etc/x/settings.json", "content": "{}"}
    one = d.stack_document([service(secrets=[], configs=[file])], "/srv", {})
    (config,) = one["services"]["orthanc"]["configs"]
    assert config["target"] == "/etc/x/settings.json"
    assert config["mode"] == 0o444
    name = one["configs"][config["source"]]["name"]
    assert name.startswith("orthanc_settings_")
    changed = [service(configs=[{**file, "content": "{} "}])]
    assert d.config_files(changed)[0]["name"] != name
    assert d.config_files([service(configs=[file])]) == [{"name": name, "content": "{}"}]


def test_a_file_that_swarm_cannot_take_is_refused() -> None:
    file = {"name": "x", "target": "/etc/x", "content": "x" * (d.CONFIG_BYTES + 1)}
    (problem,) = d.definition_problems([service(configs=[file])])
    assert "/etc/x has 512001 bytes" in problem


def test_mounts_are_read_only_and_absolute() -> None:
    mounts = [{"source": "/opt/auscat/ctp", "target": "/opt/ctp"}]
    document = d.stack_document([service(secrets=[], directories=[], mounts=mounts)], "/srv", {})
    (volume,) = document["services"]["orthanc"]["volumes"]
    assert volume == {**mounts[0], "type": "bind", "read_only": True}
    (problem,) = d.definition_problems([service(mounts=[{"source": "ctp", "target": "/x"}])])
    assert "'ctp'" in problem
    assert "an absolute path" in problem


def test_companions_are_services_of_their_own() -> None:
    gate = service(name="gate")
    flat = d.with_companions([service(companions=[gate]), service(name="keydb")])
    assert [each["name"] for each in flat] == ["orthanc", "gate", "keydb"]
    assert all("companions" not in each for each in flat)
    with_gate = service(companions=[service(name="gate", image="gate:1")])
    assert d.declared_images([with_gate]) == [service()["image"], "gate:1"]


def test_companion_of_several_services_is_there_once() -> None:
    shared = service(name="front", ports=[])
    here = [service(companions=[shared]), service(name="ctp", ports=[], companions=[shared])]
    assert [each["name"] for each in d.with_companions(here)] == ["orthanc", "front", "ctp"]
    assert [each["name"] for each in d.port_declarations(here)] == ["orthanc", "front", "ctp"]
    assert len(d.declared_images(here)) == 3


def test_what_is_not_asked_for_is_not_rendered() -> None:
    """Through the filters that make __auscat_definitions, with Ansible's own templates."""
    here = service(
        image=trust_as_template("{{ 'orthanc:' ~ 1 }}"),
        configs=trust_as_template("{{ 1 / 0 }}"),
        companions=[service(name="gate", command=trust_as_template("{{ 1 / 0 }}"))],
    )
    variables = {
        "here": here,
        "declared": trust_as_template("{{ [here] | auscat.imaging.with_companions }}"),
        "definitions": trust_as_template(
            "{{ declared | auscat.imaging.with_addresses({}, {}, 'node')"
            " | auscat.imaging.runnable_images('build') }}"
        ),
    }
    templar = Templar(loader=None, variables=variables)
    asked = trust_as_template(
        "{{ definitions | auscat.imaging.published_ports | map(attribute='service') }}"
    )
    assert templar.template(asked) == ["orthanc", "gate"]
    asked = trust_as_template("{{ definitions | map(attribute='image') | list }}")
    assert templar.template(asked) == ["orthanc:1", "orthanc:1"]
    with pytest.raises(AnsibleError, match="division by zero"):
        templar.template(trust_as_template("{{ definitions | auscat.imaging.config_files }}"))


@pytest.mark.parametrize(
    ("definitions", "limits", "outgoing"),
    [
        ([service(outgoing=[])], True, []),
        ([service(outgoing=[])], False, None),
        # Of the role swarm or firewall alone: there is nobody of ours to limit.
        ([], True, None),
    ],
)
def test_whom_containers_connect_to_is_limited_where_services_are(
    definitions: list[Any], limits: bool, outgoing: list[Any] | None
) -> None:
    own = yaml.safe_load((REPOSITORY / "roles/auscat/vars/main.yml").read_text())
    variables = {
        "__auscat_definitions": definitions,
        "__auscat_limits_outgoing": limits,
        "__auscat_outgoing_of_others": [],
    }
    templar = Templar(loader=None, variables=variables)
    assert templar.template(trust_as_template(own["__auscat_outgoing"])) == outgoing


class Unready(dict):
    """A definition whose passwords and images nobody has yet."""

    def __getitem__(self, key: str) -> Any:
        assert key in ("name", "title", "ports"), key
        return super().__getitem__(key)


def test_ports_are_declared_without_evaluating_anything_else() -> None:
    gate = Unready(name="gate", title="Gate", image="?", ports=[{"published": 8104}])
    ctp = Unready(name="ctp", title="CTP", image="?", secrets="?", companions=[gate])
    assert d.port_declarations([ctp]) == [
        {"name": "ctp", "title": "CTP"},
        {"name": "gate", "title": "Gate", "ports": [{"published": 8104}]},
    ]


def test_logins_name_their_service() -> None:
    login = {"variable": "orthanc_registered_users", "kind": "http", "user": "admin"}
    assert d.service_logins([service(logins=[login]), service(name="keydb")]) == [
        {"service": "orthanc", **login}
    ]


def test_each_that_others_wait_for_is_named_once() -> None:
    waiting = [
        service(name="viewer", after=["orthanc"]),
        service(name="ctp", after=["keydb", "orthanc"]),
    ]
    assert d.waited_for([service(), *waiting]) == ["orthanc", "keydb"]


def test_what_a_service_waits_for_stands_behind_what_that_waits_for() -> None:
    first = service(name="alpha", after=["ctp"])
    second = service(name="ctp", after=["keydb", "orthanc"])
    assert d.waited_for([first, second, service()]) == ["keydb", "orthanc", "ctp"]
    one, other = service(name="one", after=["other"]), service(name="other", after=["one"])
    assert d.waited_for([one, other]) == ["other", "one"]


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (["orthank"], "notes_service: after names 'orthank'. Accepted: another service (ctp, gate"),
        (["keydb", "notes"], "notes_service: after names 'notes'. Accepted: another service (ctp,"),
        ("keydb", "notes_service: after is 'keydb'. Accepted: a list of services (ctp, gate, key"),
    ],
)
def test_a_service_that_waits_for_nobody_is_refused(after: Any, words: str) -> None:
    here = d.with_companions([service(name="notes", after=after, companions=[{"name": "gate"}])])
    (problem,) = d.after_problems(here, ["ctp", "keydb", "notes", "orthanc"])
    assert problem.startswith(words)


def test_a_service_may_wait_for_one_of_another_machine_and_for_a_companion() -> None:
    here = d.with_companions(
        [service(name="notes", after=["orthanc", "gate"], companions=[{"name": "gate"}])]
    )
    assert d.after_problems(here, ["keydb", "notes", "orthanc"]) == []
    assert d.after_problems([service()], []) == []
