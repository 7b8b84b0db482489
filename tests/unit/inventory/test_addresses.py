"""Names among the sources become addresses, or a problem that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import addresses as a
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import definitions as d

REPOSITORY = Path(__file__).resolve().parents[3]
GROUPS = {
    "keyvm": ["kv"],
    "catvm": ["cat"],
    "researchers": ["ws1", "ws2"],
    "empty": [],
    "lost": ["ws1", "gone"],
}
HOSTVARS: dict[str, dict[str, Any]] = {
    "kv": {"auscat_address": ["10.0.0.1", "2001:db8::1"], "ansible_host": "192.0.2.1"},
    "cat": {"ansible_host": "cat.example"},
    "ws1": {"ansible_host": "10.0.1.1"},
    "ws2": {},
    "gone": {"ansible_host": "gone.example"},
    "own": {"auscat_address": "own.example"},
}
DNS = {
    "cat.example": ["2001:db8::2", "10.0.0.2", "10.0.0.2"],
    "ws2": ["10.0.1.2"],
    "pacs.example": ["10.0.2.9", "10.0.2.10"],
    "own.example": ["127.0.1.1"],
    "six.example": ["fe80::1%eth0", "2001:db8::6"],
}


def look_up(name: str) -> list[str]:
    if name not in DNS:
        raise OSError(-2, "Name or service not known")
    return DNS[name]


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("kv", ["10.0.0.1", "2001:db8::1"]),
        ("keyvm", ["10.0.0.1", "2001:db8::1"]),
        ("cat", ["10.0.0.2", "2001:db8::2"]),
        ("researchers", ["10.0.1.1", "10.0.1.2"]),
        ("pacs.example", ["10.0.2.9", "10.0.2.10"]),
        ("six.example", ["2001:db8::6"]),
    ],
)
def test_names(source: str, meant: list[str]) -> None:
    assert a.source_addresses(source, GROUPS, HOSTVARS, look_up=look_up) == meant


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("reserchers", ["no host and no group", "cannot look up (Name or service not known)"]),
        ("gone", ["host gone", "'gone.example' (ansible_host)", "Set auscat_address of gone"]),
        ("lost", ["The host gone of the inventory"]),
        ("empty", ["The group empty of the inventory has no hosts"]),
        ("own", ["'own.example' (auscat_address)", "means 127.0.1.1", "no other machine"]),
    ],
)
def test_names_without_an_address(source: str, words: list[str]) -> None:
    with pytest.raises(a.AddressError) as error:
        a.source_addresses(source, GROUPS, HOSTVARS, look_up=look_up)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("10.0.0.1", False),
        ("10.0.0.0/8", False),
        ("2001:db8::/32", False),
        ("010.1.1.1", False),
        ("10.1.2.3 } drop", False),
        ("", False),
        (5, False),
        ("keyvm", True),
        ("pacs-1.hospital.example", True),
    ],
)
def test_what_is_a_name(source: Any, name: bool) -> None:
    assert a.is_name(source, GROUPS, HOSTVARS) is name


def port(sources: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "published": 8042,
        "target": 8042,
        "sources": sources,
        "sources_variable": "orthanc_web_sources",
    }


def resolved(sources: Any, here: str = "") -> dict[str, Any]:
    definition = {"name": "orthanc", "title": "Orthanc", "image": "o:1", "ports": [port(sources)]}
    (found,) = a.with_addresses([definition], GROUPS, HOSTVARS, here, look_up)
    return found


def test_definitions_get_addresses_and_keep_the_names() -> None:
    (found,) = resolved(["researchers", "10.9.0.0/16", "ws1"])["ports"]
    assert found["sources"] == ["10.0.1.1", "10.0.1.2", "10.9.0.0/16"]
    assert found["source_names"] == {"10.0.1.1": "researchers", "10.0.1.2": "researchers"}
    assert d.definition_problems([resolved(["researchers", "10.9.0.0/16"])]) == []


def test_all_names_without_an_address_are_told_together_with_the_variable() -> None:
    problems = d.definition_problems([resolved(["gone", "kv", "nosuch", "10.0.0.1/8"])])
    assert len(problems) == 3
    assert problems[0].startswith("orthanc_web_sources[0] is 'gone'. Accepted: an address")
    assert "orthanc_web_sources[2] is 'nosuch'" in problems[1]
    assert "is '10.0.0.1/8'" in problems[2]


def test_this_machine_is_left_out_of_its_sources() -> None:
    (found,) = resolved(["lost"], here="gone")["ports"]
    assert found["sources"] == ["10.0.1.1"]


@pytest.mark.parametrize("sources", [None, "kv", {"kv": None}], ids=repr)
def test_sources_that_are_no_list_are_left_to_their_check(sources: Any) -> None:
    definition = resolved(sources)
    assert definition["ports"][0]["sources"] == sources
    assert d.definition_problems([definition])


def test_service_hosts() -> None:
    services = {"ctp": "keyvm", "orthanc": "catvm", "other": "nosuch"}
    found = a.service_hosts(services, GROUPS)
    assert found == {"ctp": ["kv"], "orthanc": ["cat"], "other": []}


@pytest.mark.parametrize(
    ("host", "shown"),
    [("kv", ["10.0.0.1", "2001:db8::1"]), ("gone", ["gone.example"]), ("own", ["own.example"])],
)
def test_a_table_shows_the_name_of_what_has_no_address(host: str, shown: list[str]) -> None:
    assert a.shown_addresses(host, HOSTVARS, look_up) == shown


def test_hosts_without_an_address_are_named_with_the_reason() -> None:
    found = a.nameless_hosts(["kv", "gone"], HOSTVARS, look_up)
    assert list(found) == ["gone"]
    assert found["gone"].startswith("The host gone of the inventory has the address 'gone.example'")
    assert found["gone"].endswith(
        "Set auscat_address of gone to the address by which the other machines know it."
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", None),
        ("10.1.2.3", None),
        ("2001:db8::6", None),
        ("::ffff:10.1.2.3", None),
        ("kv", None),
        ("researchers", None),
        ("pacs.example", None),
        ("nowhere.example", "but a name which this machine cannot look up"),
        ("gone", "The host gone of the inventory has the address 'gone.example' (ansible_host)"),
        ("empty", "The group empty of the inventory has no hosts."),
        ("own.example", "which here means 127.0.1.1, where no other machine can be reached"),
        ("127.0.0.1", "It is an address which here means 127.0.0.1, where no other machine"),
        ("::1", "It is an address which here means ::1, where no other machine"),
        ("::ffff:127.0.0.1", "It is an address which here means 127.0.0.1"),
        ("10.0.0.0/8", "It is none of these."),
        ("a machine", "It is none of these."),
    ],
)
def test_a_variable_that_names_a_machine(value: str, reason: str | None) -> None:
    found = a.machine_problems({"troubleshoot_sender": value}, GROUPS, HOSTVARS, look_up)
    if reason is None:
        assert not found
        return
    (text,) = found
    assert text.startswith(f"troubleshoot_sender is {value!r}. Accepted: an address, a host or")
    assert reason in text


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("kv", ["10.0.0.1", "192.0.2.1", "2001:db8::1"]),
        ("cat", ["10.0.0.2", "2001:db8::2"]),
        ("ws2", ["10.0.1.2"]),
        ("gone", []),
        ("own", []),
    ],
)
def test_all_addresses_that_are_known(host: str, known: list[str]) -> None:
    assert a.known_addresses(host, HOSTVARS, look_up) == known


def to(host: str, **values: Any) -> dict[str, Any]:
    return {"host": host, "port": 104, "protocol": "tcp", "variable": "v", **values}


@pytest.mark.parametrize(
    ("host", "networks", "is_name"),
    [
        ("10.1.2.3", ["10.1.2.3/32"], False),
        ("10.1.2.0/24", ["10.1.2.0/24"], False),
        ("0.0.0.0/0", ["0.0.0.0/0"], False),
        ("pacs.example", ["10.0.2.9/32", "10.0.2.10/32"], True),
        # Of both families IPv4 counts, and this machine is one like others.
        ("kv", ["10.0.0.1/32"], True),
        ("cat", ["10.0.0.2/32"], True),
        # A group may have the name of a machine, and a modality's Host be that name.
        ("researchers", ["10.0.1.1/32", "10.0.1.2/32"], True),
    ],
)
def test_whom_a_service_may_connect_to(host: str, networks: list[str], is_name: bool) -> None:
    given = [{"name": "orthanc", "outgoing": [to(host)]}]
    (definition,) = a.with_addresses(given, GROUPS, HOSTVARS, "kv", look_up)
    assert definition["outgoing"] == [to(host, networks=networks, is_name=is_name)]


def test_what_a_name_means_is_the_same_for_a_whole_run() -> None:
    """Of a provider's many addresses DNS gives others a minute later; the rules have the first."""
    given = [
        {
            "name": "front",
            "outgoing": [to("login.example")],
            "ports": [{"published": 443, "sources": ["login.example"]}],
        }
    ]
    answers = iter((["192.0.2.7", "192.0.2.9"], ["192.0.2.8"]))
    known: dict[str, list[str]] = {}

    def noting(name: str) -> list[str]:
        if name not in known:
            known[name] = next(answers)
        return known[name]

    loaded = a.with_addresses(given, GROUPS, HOSTVARS, "kv", noting)
    deployed = a.with_addresses(given, GROUPS, HOSTVARS, "kv", lambda _: next(answers), known=known)
    assert deployed == loaded
    assert deployed[0]["outgoing"][0]["networks"] == ["192.0.2.7/32", "192.0.2.9/32"]


def test_the_run_takes_what_the_preflight_has_looked_up() -> None:
    own = yaml.safe_load((REPOSITORY / "roles/auscat/vars/main.yml").read_text())
    assert "__preflight_result" in own["__auscat_looked_up"]
    assert "looked_up" in own["__auscat_looked_up"]
    for name in ("__auscat_definitions", "__auscat_outgoing_of_others"):
        assert "known=__auscat_looked_up" in own[name]
    assert 'result["looked_up"]' in (REPOSITORY / "plugins/action/preflight.py").read_text()


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("nowhere.example", "It is no host and no group of the inventory, but a name"),
        ("gone", "Set auscat_address of gone"),
        ("empty", "has no hosts"),
        ("six.example", "It has IPv6 alone, and containers have IPv4."),
        ("2001:db8::7", "It has IPv6 alone"),
        ("10.1.2.3/24", "It is none of these (10.1.2.3/24 has host bits set)"),
        ("a machine", "It is none of these"),
    ],
)
def test_whom_nobody_could_connect_to(host: str, words: str) -> None:
    given = [{"name": "orthanc", "title": "x", "image": "x", "outgoing": [to(host)]}]
    (definition,) = a.with_addresses(given, GROUPS, HOSTVARS, "kv", look_up)
    (problem,) = d.definition_problems([definition])
    assert problem.startswith(f"v is {host!r}. Accepted: an IPv4 address or network, a host or")
    assert words in problem


def test_where_nothing_is_limited_nothing_is_looked_up() -> None:
    given = [{"name": "ctp", "outside": True, "outgoing": [to("nowhere.example")]}, {"name": "x"}]
    found = a.with_addresses(given, GROUPS, HOSTVARS, "kv", look_up, limited=False)
    assert found == [{"name": "ctp", "outside": True, "outgoing": None}, {"name": "x"}]
