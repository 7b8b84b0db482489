"""What the declarations of published ports mean, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.firewall.port_rules import (
    PortRuleError,
    normalise,
    problems,
    render,
)


def port(**changes: Any) -> dict[str, Any]:
    return {
        "service": "orthanc",
        "name": "web",
        "published": 8042,
        "protocol": "tcp",
        "sources": ["10.20.0.0/16"],
        "purpose": "Web interface",
        **changes,
    }


@pytest.mark.parametrize(
    ("sources", "meant"),
    [
        ([], []),
        (["10.20.30.40"], ["10.20.30.40/32"]),
        ([" 10.20.0.0/16 "], ["10.20.0.0/16"]),
        (["0.0.0.0/0", "::/0"], ["0.0.0.0/0", "::/0"]),
        (["2001:DB8:0:0::5"], ["2001:db8::5/128"]),
        (["2001:db8::/32", "10.0.0.0/8"], ["10.0.0.0/8", "2001:db8::/32"]),
        (["10.1.0.0/16", "10.0.0.0/8", "10.1.2.3", "10.1.2.3"], ["10.0.0.0/8"]),
        (["192.168.1.0/24", "192.168.0.0/24"], ["192.168.0.0/23"]),
        (["127.0.0.1", "::1"], ["127.0.0.1/32", "::1/128"]),
    ],
)
def test_sources_in_canonical_form(sources: list[str], meant: list[str]) -> None:
    (rule,) = normalise([port(sources=sources)])
    assert rule.sources == meant


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("10.20.30.40/16", 'Write "10.20.0.0/16" for the whole network, or "10.20.30.40"'),
        ("2001:db8::5/64", 'Write "2001:db8::/64" for the whole network, or "2001:db8::5"'),
        ("pacs.hospital.example", "Names are not accepted"),
        ("", "Accepted: an address or a network"),
        ("10.20.0.0/33", "0 to 32"),
        ("10.20.0.0/", "0 to 32"),
        ("2001:db8::/129", "0 to 128"),
        ("10.20.0.0/-1", "0 to 32"),
        ("10.20.0.0/255.255.0.0", "the number of network bits"),
        ("10.20.0.0/١٦", "the number of network bits"),
        ("10.20.0.0-10.20.0.9", "Accepted: an address or a network"),
        ("010.1.1.1", "Accepted: an address or a network"),
        ("fe80::1%eth0", "bound to an interface"),
        ("::ffff:10.1.2.3", 'Write "10.1.2.3"'),
        ("10.1.2.3 } drop", "Accepted: an address or a network"),
        (167772161, "a int"),
        (None, "a NoneType"),
        (["10.0.0.0/8"], "a list"),
    ],
)
def test_no_source(source: Any, says: str) -> None:
    (problem,) = problems([port(sources=["10.1.1.1", source])])
    assert problem.startswith(f"orthanc_service: sources of port 'web'[1] is {source!r}")
    assert says in problem


@pytest.mark.parametrize(
    "sources", ["10.0.0.0/8", None, {"10.0.0.0/8": None}, 5, b"10.0.0.0/8"], ids=repr
)
def test_sources_are_a_list(sources: Any) -> None:
    (problem,) = problems([port(sources=sources)])
    assert f"is {sources!r}. Accepted: a list of addresses and networks" in problem


def test_missing_sources_are_not_taken_for_everybody_or_nobody() -> None:
    declaration = port()
    del declaration["sources"]
    (problem,) = problems([declaration])
    assert "sources of port 'web' is None. Accepted: a list" in problem


@pytest.mark.parametrize(("value", "meant"), [(1, 1), (65535, 65535), ("8042", 8042)])
def test_published(value: Any, meant: int) -> None:
    (rule,) = normalise([port(published=value)])
    assert rule.published == meant


@pytest.mark.parametrize(
    "value", [0, -1, 65536, 70000, "0", "80a", "", "8042-8050", "+80", 80.0, None, True, [80]]
)
def test_no_port(value: Any) -> None:
    (problem,) = problems([port(published=value)])
    assert f"is {value!r}." in problem or f"is {value}." in problem
    assert "Accepted: a whole number from 1 to 65535." in problem


@pytest.mark.parametrize("protocol", ["TCP", "sctp", "", None, 6, ["tcp"]])
def test_no_protocol(protocol: Any) -> None:
    (problem,) = problems([port(protocol=protocol)])
    assert f"protocol of port 'web' is {protocol!r}. Accepted: tcp or udp." in problem


def test_the_same_port_twice() -> None:
    (problem,) = problems([port(), port(service="ctp", name="admin")])
    assert problem == (
        "ctp_service: published of port 'admin' is 8042, and tcp port 8042 is claimed by "
        "orthanc_service: published of port 'web' already. Accepted: a port that nothing else on "
        "this host publishes. Give one of the two another number."
    )


def test_the_same_number_for_tcp_and_udp() -> None:
    assert problems([port(), port(name="syslog", protocol="udp")]) == []


def test_a_port_with_bad_sources_still_claims_its_number() -> None:
    found = problems([port(sources=["nonsense"]), port(service="ctp")])
    assert len(found) == 2
    assert "is claimed by orthanc_service" in found[1]


def test_every_problem_is_reported() -> None:
    found = problems([port(published=0, protocol="icmp", sources=["a", "10.0.0.1/8"]), "8042"])
    assert len(found) == 5


def test_an_error_names_the_variable_behind_the_declaration() -> None:
    variables = {"variable": "orthanc_web_port", "sources_variable": "orthanc_web_sources"}
    found = problems([port(**variables, published=0, sources=["a"])])
    assert found[0].startswith("orthanc_web_port is 0.")
    assert found[1].startswith("orthanc_web_sources[0] is 'a'.")


@pytest.mark.parametrize("ports", [None, "8042", {"published": 8042}, 8042])
def test_the_declarations_are_a_list(ports: Any) -> None:
    (problem,) = problems(ports)
    assert problem.startswith(f"The published ports are {ports!r}. Accepted: a list")


def test_normalise_raises_with_all_problems() -> None:
    with pytest.raises(PortRuleError) as error:
        normalise([port(published=0), port(sources=["a"])])
    assert len(error.value.problems) == 2
    assert str(error.value).splitlines() == error.value.problems


def test_keys_of_a_service_definition_that_mean_nothing_here_are_ignored() -> None:
    assert problems([port(target=8042, title="Orthanc", scheme="http")]) == []


def test_order_does_not_change_the_text() -> None:
    one = [port(), port(published=104, sources=["10.2.0.0/16", "10.1.1.1"])]
    other = [port(published=104, sources=["10.1.1.1", "10.2.0.0/16"]), port()]
    assert render(normalise(one)) == render(normalise(other))


def test_the_file_replaces_only_its_own_table() -> None:
    lines = render(normalise([port()])).splitlines()
    statements = [line for line in lines if line and not line.startswith(("#", "\t"))]
    assert statements == [
        "add table inet auscat",
        "delete table inet auscat",
        "table inet auscat {",
        "}",
    ]


@pytest.mark.parametrize(
    ("purpose", "comment"),
    [
        ("Web interface", "orthanc web: Web interface"),
        (None, "orthanc web"),
        ('a "quoted" \\ purpose', "orthanc web: a 'quoted' / purpose"),
        ("two\nlines\t}", "orthanc web: two lines }"),
        ("Übersicht", "orthanc web: bersicht"),
        ("x" * 300, "orthanc web: " + "x" * 107),
    ],
)
def test_purpose_becomes_a_comment(purpose: Any, comment: str) -> None:
    text = render(normalise([port(purpose=purpose)]))
    assert f'\t\tcounter drop comment "{comment}"\n' in text
    assert f"\t# {comment}\n" in text


def test_a_port_of_a_service_is_shut_to_containers_whatever_its_sources() -> None:
    everybody = ["0.0.0.0/0", "::/0"]
    text = render(normalise([port(target=8042, sources=everybody)]))
    chain = text.partition("chain tcp_8042 {")[2].partition("}")[0].strip().splitlines()
    assert chain[0].strip().startswith('iifname "docker_gwbridge" counter drop')
    assert chain[1].strip() == "ip saddr @tcp_8042_ipv4 accept"
    # What a site lists itself is not behind the Swarm.
    own = render(normalise([port(sources=everybody)]))
    assert "iifname" not in own.partition("chain tcp_8042 {")[2].partition("}")[0]
    # Past the published ports there is no way for anybody, containers included.
    (around,) = [line for line in text.splitlines() if "routed past" in line]
    assert "iifname" not in around
