"""What is read of a machine, where it is only text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.auscat.imaging.plugins.module_utils.adopt import look

#: Word by word from the page.
PAGE = """{
"Name": "AusCAT ORTHANC server",
"RemoteAccessAllowed": true,
"AuthenticationEnabled": true,
"RegisteredUsers": {
"admin": "a-very-secure-password"
}
}"""


def test_the_pages_configuration() -> None:
    found, defaults = look.configuration(PAGE)
    assert found == {
        "name": "AusCAT ORTHANC server",
        "aet": "ORTHANC",
        "authentication": True,
        "remote_access": True,
        "users": ["admin"],
        "options": {},
        "other_settings": [],
    }
    assert defaults == []


def test_no_password_is_returned() -> None:
    text = PAGE.replace(
        '"Name"',
        '// http://comment\n"PostgreSQL": {"Password": "a-very-secure-password"}, "Key": "secret"'
        ', "StableAge": 30, /* "x" */ "HttpPort": 8042, "Name"',
    )
    found, _ = look.configuration(text)
    assert found["other_settings"] == ["Key", "PostgreSQL"]
    assert found["options"] == {"StableAge": 30}
    assert "secure" not in json.dumps(found) and "secret" not in json.dumps(found)


@pytest.mark.parametrize("user", ["admin", "demo", "orthanc"])
def test_a_default_password_is_named(user: str) -> None:
    text = json.dumps({"RegisteredUsers": {user: user, "other": user}})
    assert look.configuration(text)[1] == [user]


@pytest.mark.parametrize("text", ["", "[]", "{", "not found"])
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(ValueError):
        look.configuration(text)


def test_a_url_in_a_text_is_no_comment() -> None:
    assert json.loads(look.without_comments('{"a": "http://x \\"//y\\""} // z')) == {
        "a": 'http://x "//y"'
    }


def test_whom_ufw_lets_in() -> None:
    rules = """*filter
### tuple ### allow tcp 8042 0.0.0.0/0 any 10.2.0.0/16 in
-A ufw-user-input -p tcp --dport 8042 -s 10.2.0.0/16 -j ACCEPT
### tuple ### allow any 8104 0.0.0.0/0 any 10.3.0.9 in comment=70616373
### tuple ### deny tcp 9090 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in
"""
    assert look.ufw_sources(rules) == {
        "22/tcp": ["0.0.0.0/0"],
        "8042/tcp": ["10.2.0.0/16"],
        "8104/tcp": ["10.3.0.9"],
        "8104/udp": ["10.3.0.9"],
    }


def rule(*expressions: dict[str, Any], chain: str = "DOCKER-USER") -> dict[str, Any]:
    return {"rule": {"table": "filter", "chain": chain, "expr": list(expressions)}}


@pytest.mark.parametrize(
    ("rules", "limits"),
    [
        ([], 0),
        # What Docker itself puts there.
        ([rule({"counter": {}}, {"return": None})], 0),
        ([rule({"match": {}}, {"drop": None}), rule({"counter": {}}, {"return": None})], 1),
        ([rule({"drop": None}, chain="INPUT")], 0),
    ],
)
def test_rules_about_dockers_ports(rules: list[dict[str, Any]], limits: int) -> None:
    tables = [{"metainfo": {}}, {"table": {"family": "ip", "name": "filter"}}]
    assert look.nft_limits({"nftables": tables + rules}) == {"docker_user": limits, "ours": False}
    ours = [{"table": {"family": "inet", "name": "auscat"}}]
    assert look.nft_limits({"nftables": ours + rules})["ours"]
