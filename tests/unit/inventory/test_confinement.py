"""What a container may do, and which services it may connect to."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import confinement as c
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import definitions as d
from ansible_collections.auscat.imaging.plugins.module_utils.stack.confined import BITS


def service(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "title": name, "image": "x:1", **values}


PORT = {"name": "web", "target": 80, "published": 8080, "sources": []}


def rendered(**values: Any) -> dict[str, Any]:
    document = d.stack_document([service("one", **values)], "/srv", {})
    return dict(document["services"]["one"])


def test_who_says_nothing_has_nothing() -> None:
    one = rendered()
    assert one["cap_drop"] == ["ALL"]
    assert "cap_add" not in one
    assert one["read_only"] is True
    assert "volumes" not in one
    assert one["deploy"]["resources"]["limits"] == {"pids": 256}
    assert one["ulimits"] == {"nofile": {"soft": 1024, "hard": 1024}}
    # Not even a way out of the machine.
    document = d.stack_document([service("one")], "/srv", {})
    assert document["networks"] == {"one_nowhere": {"driver": "overlay", "internal": True}}
    assert document["version"] == "3.9"


def test_what_is_said_is_rendered() -> None:
    one = rendered(
        confinement={
            "capabilities": ["SETUID", "CHOWN"],
            "read_only": False,
            "writable": [{"path": "/run/x", "size_mib": 2}],
            "processes": 12,
            "open_files": "77",
        },
        directories=[{"path": "a", "target": "/a", "owner": 0, "group": 0, "mode": "0700"}],
        memory_mib=64,
    )
    assert one["cap_add"] == ["CHOWN", "SETUID"]
    assert "read_only" not in one
    assert [volume["type"] for volume in one["volumes"]] == ["tmpfs", "bind"]
    assert one["volumes"][0] == {
        "type": "tmpfs",
        "target": "/run/x",
        "tmpfs": {"size": 2 * 1024 * 1024},
    }
    assert one["deploy"]["resources"]["limits"] == {"pids": 12, "memory": "64M"}
    assert one["ulimits"] == {"nofile": {"soft": 77, "hard": 77}}


@pytest.mark.parametrize(
    ("image", "foreign"),
    [
        ("", False),
        ("auscat-imaging/keydb:0a1b2c", False),
        ("registry.hospital.example:5000/auscat-imaging/keydb@sha256:" + "0" * 64, False),
        ("postgres:17", True),
        ("registry.hospital.example/not-auscat-imaging/keydb:1", True),
        ("auscat/customized_ctp", True),
    ],
)
def test_an_image_of_others_gets_what_its_entrypoint_needs(image: str, foreign: bool) -> None:
    found = c.confinement({"writable": ["x"], "processes": 12}, image)
    assert found["writable"] == ["x"]
    assert (found["processes"] == 12) is not foreign
    assert ("SETUID" in found.get("capabilities", ())) is foreign
    assert found.get("read_only", True) is not foreign


def test_the_site_has_the_last_word_on_its_image() -> None:
    found = c.confinement({}, "postgres:17", {"capabilities": [], "read_only": True})
    assert not found["capabilities"]
    assert found["read_only"] is True
    assert found["processes"] == c.FOREIGN["processes"]


def test_each_capability_can_be_recognised_in_the_kernel() -> None:
    assert set(BITS) == set(c.CAPABILITIES)
    assert set(c.FOREIGN["capabilities"]) <= c.CAPABILITIES


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"confinement": {"capabilities": ["SYS_ADMIN"]}}, "capabilities are ['SYS_ADMIN']"),
        ({"confinement": {"capabilities": ["NET_RAW"]}}, "capabilities are ['NET_RAW']"),
        ({"confinement": {"capabilities": "CHOWN"}}, "capabilities are 'CHOWN'"),
        ({"confinement": {"privileged": True}}, "unknown keys ['privileged']"),
        ({"confinement": []}, None),
        ({"confinement": "strict"}, "confinement is 'strict'"),
        ({"confinement": {"read_only": "no"}}, "read_only is 'no'"),
        ({"confinement": {"processes": 0}}, "processes is 0"),
        ({"confinement": {"processes": True}}, "processes is True"),
        ({"confinement": {"open_files": -1}}, "open_files is -1"),
        ({"confinement": {"writable": "/tmp"}}, "writable is '/tmp'"),
        ({"confinement": {"writable": [{"path": "/tmp"}]}}, "entry of writable"),
        ({"confinement": {"writable": [{"path": "tmp", "size_mib": 1}]}}, "entry of writable"),
        ({"confinement": {"writable": [{"path": "/a/../b", "size_mib": 1}]}}, "entry of writable"),
        ({"confinement": {"writable": [{"path": "/", "size_mib": 1}]}}, "entry of writable"),
        ({"confinement": {"writable": [{"path": "/a", "size_mib": 0}]}}, "entry of writable"),
        ({"reaches": "keydb"}, "reaches is 'keydb'"),
        ({"reached_by": [{"name": "ctp"}]}, "reached_by is"),
        ({"reaches": ["one"]}, "names the service itself"),
        ({"outside": "yes"}, "outside is 'yes'"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], text: str | None) -> None:
    found = d.definition_problems([service("one", **values)])
    if text is None:
        assert found == []
        return
    (problem,) = found
    assert problem.startswith("one_service: ")
    assert text in problem
    assert "Accepted" in problem


@pytest.mark.parametrize("later", [{"ports": [PORT]}, {"outside": True}])
def test_a_way_out_that_comes_later_is_another_network(later: dict[str, Any]) -> None:
    """The engine leaves a network as it was made, whatever a stack file says of it later."""
    before = c.networks([service("one")])[1]
    after = c.networks([service("one", **later)])[1]
    assert not before.keys() & after.keys()


def test_networks_by_need() -> None:
    definitions = [
        service("gate", ports=[PORT], reaches=["ctp"]),
        service("ctp", reaches=["keydb", "export", "elsewhere"], outside=True),
        service("export", aliases=["orthanc"], reaches=["orthanc"]),
        service("orthanc", aliases=["archive"], ports=[PORT]),
        service("keydb"),
        service("notes", reached_by=["ctp", "nobody"]),
    ]
    of_service, of_stack = c.networks(definitions)
    members = {
        network: sorted(name for name, joined in of_service.items() if network in joined)
        for network in of_stack
    }
    assert members == {
        "gate_to_ctp": ["ctp", "gate"],
        "ctp_to_keydb": ["ctp", "keydb"],
        "ctp_to_export": ["ctp", "export"],
        "ctp_to_notes": ["ctp", "notes"],
        "export_to_orthanc": ["export", "orthanc"],
        "gate_alone": ["gate"],
        "ctp_alone": ["ctp"],
        "orthanc_alone": ["orthanc"],
    }
    # Only a network with one member leads out of the machine.
    assert {name for name, each in of_stack.items() if not each.get("internal")} == {
        "gate_alone",
        "ctp_alone",
        "orthanc_alone",
    }
    # A name means who is asked, and only to who asks.
    assert of_service["export"]["ctp_to_export"] == {"aliases": ["export", "orthanc"]}
    assert of_service["ctp"]["ctp_to_export"] == {}
    assert of_service["orthanc"]["export_to_orthanc"] == {"aliases": ["orthanc", "archive"]}
    assert of_service["export"]["export_to_orthanc"] == {}


def entry(host: str, port: int, *networks: str, is_name: bool = False) -> dict[str, Any]:
    return {
        "host": host,
        "port": port,
        "protocol": "tcp" if port else "",
        "variable": "v",
        "networks": list(networks),
        "is_name": is_name,
    }


TO = entry("10.1.2.3", 104, "10.1.2.3/32")


def test_who_connects_to_nobody_is_not_connected_to_the_host() -> None:
    definitions = [
        service("gate", ports=[PORT], outgoing=[]),
        service("orthanc", outgoing=[TO]),
        # What it is without a limit does not count beside it.
        service("quiet", outside=True, outgoing=[]),
        service("free", outside=True, outgoing=None),
        service("as_before", ports=[PORT]),
    ]
    of_service, of_stack = c.networks(definitions)
    assert of_stack == {
        "gate_alone": {"driver": "overlay"},
        "orthanc_alone": {"driver": "overlay"},
        "quiet_nowhere": {"driver": "overlay", "internal": True},
        "free_alone": {"driver": "overlay"},
        "as_before_alone": {"driver": "overlay"},
    }
    assert all(len(each) == 1 for each in of_service.values())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ports": [PORT]}, None),
        ({"outside": True}, None),
        ({"outgoing": []}, None),
        (
            {"outgoing": [TO]},
            {"net.ipv4.ip_local_port_range": "1024 4095", "net.ipv4.tcp_tw_reuse": "1"},
        ),
        (
            {"ports": [{**PORT, "target": 8042}], "outgoing": []},
            {"net.ipv4.ip_unprivileged_port_start": "4096"},
        ),
        # Where it listens itself.
        ({"ports": [PORT], "outgoing": []}, {"net.ipv4.ip_unprivileged_port_start": "80"}),
    ],
)
def test_connections_are_known_by_their_ports(values: Any, expected: Any) -> None:
    assert rendered(**values).get("sysctls") == expected


def test_who_has_not_said_whom_it_connects_to() -> None:
    definitions = [
        service("silent", ports=[PORT]),
        service("named", ports=[PORT]),
        service("inside"),
        service("says", ports=[PORT], outgoing=[]),
    ]
    (problem,) = c.undeclared_problems(definitions, ["named"])
    assert problem.startswith("silent_service has no outgoing, and firewall_outgoing is named")
    assert "Accepted: outgoing in the definition" in problem
    (said,) = c.neighbour_findings(["shop", "monitoring"], ["shop", "other"], "kv01")
    assert said.startswith("monitoring on kv01 is not of this node")
    assert "{monitoring: []} for nobody" in said


def test_a_container_knows_the_names_that_it_may_connect_to() -> None:
    entries = [
        entry("pacs.example", 104, "10.1.2.3/32", "10.1.2.4/32", is_name=True),
        entry("pacs.example", 105, "10.1.2.3/32", "10.1.2.4/32", is_name=True),
        entry("researchers", 104, "10.1.3.0/32"),
        entry("10.1.2.9", 0, "10.1.2.9/32"),
    ]
    hosts = ["pacs.example:10.1.2.3", "pacs.example:10.1.2.4"]
    one = rendered(outgoing=entries)
    assert one["extra_hosts"] == hosts
    # For others it does not wait long, since nobody will answer.
    assert one["dns_search"] == ["."]
    assert one["environment"] == {"TZ": "Etc/UTC", "RES_OPTIONS": "timeout:1 attempts:2"}
    assert "extra_hosts" not in rendered(outgoing=[])
    # One that may ask a DNS server looks them up itself, as one does that says nothing.
    dns = entry("10.1.1.1", 53, "10.1.1.1/32")
    for values in ({"outgoing": [*entries, dns]}, {}):
        other = rendered(**values)
        assert not {"extra_hosts", "dns_search"} & other.keys()
        assert other["environment"] == {"TZ": "Etc/UTC"}


@pytest.mark.parametrize("value", ["pacs", {"host": "pacs"}, ["pacs"], [{"host": "pacs"}], True])
def test_what_is_no_list_of_destinations_is_refused(value: Any) -> None:
    (problem,) = d.definition_problems([service("one", outgoing=value)])
    assert problem.startswith(f"one_service: outgoing is {value!r}. Accepted")
