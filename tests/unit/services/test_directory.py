"""What the web server is told of a directory: rendered, and refused in which words."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.filter.orthanc import FilterModule
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import (
    guardrails,
    vault_values,
)
from ansible_collections.auscat.imaging.plugins.module_utils.services import orthanc
from ansible_collections.auscat.imaging.plugins.module_utils.services.directory import (
    DirectoryError,
    accounts,
    problems,
    render,
    without_tls,
)

REPOSITORY = Path(__file__).resolve().parents[3]
CA = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n"
ACCOUNT, BIND, CLIENT = "account-4be07d93c1", 'bind"7c\\1e', 'client"5b\\90'
LDAP: dict[str, Any] = {
    "servers": ["dc1.hospital.example", "dc2.hospital.example:3269"],
    "base": "ou=Röntgen & Co,dc=hospital,dc=example",
    "groups": {"reader": ["cn=readers,dc=x", "cn=ward,dc=x"], "admin": ["cn=admins,dc=x"]},
}
OIDC: dict[str, Any] = {
    "issuer": "https://login.hospital.example/realms/a",
    "client_id": "node",
    "page_url": "https://images.hospital.example:8042/",
    "groups": {"reader": ["imaging readers", "a.b"], "curator": ["[x]-(y)*"]},
}


def settings(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "orthanc_ldap": LDAP,
        "orthanc_oidc": OIDC,
        "orthanc_directory_password": ACCOUNT,
        "orthanc_oidc_client_secret": CLIENT,
        "orthanc_ldap_bind_password": "",
    }
    return found | {f"orthanc_{name}": value for name, value in changes.items()}


def no_file(path: str) -> str:
    raise OSError(f"no {path}")


def rendered(read: Callable[[str], str] = no_file, **changes: Any) -> dict[str, Any]:
    return render(settings(**changes), "orthanc", ["Admin", "rita"], read)


def test_off_is_nothing() -> None:
    assert rendered(ldap={}, oidc={}) == {}
    assert accounts(settings(ldap={}, oidc={})) == {}


def test_ldap() -> None:
    lines = rendered(oidc={}, ldap={**LDAP, "user_attribute": "sAMAccountName", "nested": 3})[
        "configuration"
    ].splitlines()
    assert (
        'Define ldap_url "ldaps://dc1.hospital.example dc2.hospital.example:3269/'
        "ou=R%C3%B6ntgen%20%26%20Co,dc=hospital,dc=example"
        '?sAMAccountName?sub?(objectClass=*)"' in lines
    )
    assert "Define ldap_security SSL" in lines
    assert "Define ldap_ca /etc/ssl/certs/ca-certificates.crt" in lines
    assert "Define ldap_variable SAMACCOUNTNAME" in lines
    assert "Define ldap_depth 3" in lines
    assert not [
        line for line in lines if "ldap_bind_dn" in line or "oidc" in line.partition("#")[0]
    ]
    # The highest role is asked for first, and the first that holds decides.
    required = [line.strip() for line in lines if line.startswith("    Require")]
    assert required == [
        *("Require ldap-admin-1", "Require ldap-reader-1", "Require ldap-reader-2"),
    ]
    assert 'Use Ldap_group reader 2 "cn=ward,dc=x"' in lines


def test_starttls_and_its_own_authority() -> None:
    ldap = {**LDAP, "tls": "starttls", "ca_file": "/ca.pem"}
    found = rendered(lambda path: CA if path == "/ca.pem" else no_file(path), ldap=ldap, oidc={})
    assert 'Define ldap_url "ldap://' in found["configuration"]
    assert "Define ldap_security STARTTLS" in found["configuration"]
    assert "Define ldap_ca /etc/front/ldap_ca.pem" in found["configuration"]
    assert found["authorities"] == {"ldap_ca.pem": CA}


def test_oidc() -> None:
    lines = rendered(ldap={})["configuration"].splitlines()
    assert 'Define oidc_page "https://images.hospital.example:8042"' in lines
    assert "Define oidc_host images.hospital.example:8042" in lines
    assert "Define oidc_cookie __Host-front_session" in lines
    assert "Define oidc_seconds 28800" in lines
    assert 'Define oidc_reader "imaging[ ]readers|a[.]b"' in lines
    assert 'Define oidc_curator "[[]x[]][-][(]y[)][*]"' in lines
    # Nobody: it holds for no group.
    assert 'Define oidc_admin "(?!)"' in lines
    assert not [line for line in lines if line.startswith("Define ldap")]


def test_users_of_the_service_are_known_in_any_letters() -> None:
    # SHA-1 of admin and rita, as coreutils makes it.
    digests = (
        "d033e22ae348aeb5660fc2140aec35850c4da997",
        "6fe06f8d903ee0d0242c6f31b94578b2957c9752",
    )
    text = rendered()["configuration"]
    for digest in digests:
        assert text.count(digest) == 2


def test_secrets_stand_in_secrets_alone() -> None:
    ldap = {**LDAP, "bind_dn": "cn=node,dc=x"}
    found = rendered(ldap=ldap, ldap_bind_password=BIND)
    by_name = {each["name"]: each for each in found["secrets"]}
    assert by_name["ldap_password"]["content"] == BIND
    assert by_name["oidc_client"]["content"].startswith('OIDCClientSecret "client\\"5b\\\\90"\n')
    given = by_name["directory_accounts"]["content"].splitlines()
    logins = {line.split()[1]: base64.b64decode(line.split()[2]).decode() for line in given}
    assert logins == {
        f"account_{role}": f"directory-{role}:{ACCOUNT}" for role in ("reader", "curator", "admin")
    }
    assert {each["variable"] for each in found["secrets"]} == {
        *("orthanc_directory_password", "orthanc_ldap_bind_password"),
        "orthanc_oidc_client_secret",
    }
    for secret in (ACCOUNT, BIND, CLIENT):
        assert secret not in found["configuration"]
    assert ACCOUNT not in by_name["oidc_client"]["content"]


def test_orthanc_has_an_account_of_each_role() -> None:
    content = json.loads(orthanc.render(_of_orthanc(settings())))
    assert content["NodeGuard"]["Roles"] == {
        "zoe": "admin",
        **{f"directory-{role}": role for role in ("reader", "curator", "admin")},
    }
    assert content["RegisteredUsers"]["directory-reader"] == ACCOUNT
    # Programs of the node log in as a person's user, though the account comes first.
    assert orthanc.first_admin(content) == ("zoe", "a-password-of-zoe")
    off = json.loads(orthanc.render(_of_orthanc({})))
    assert off["NodeGuard"]["Roles"] == {"zoe": "admin"}


def test_a_user_with_the_name_of_an_account_is_refused() -> None:
    user = {"name": "Directory-x", "password": "p", "role": "reader"}
    found = orthanc.problems({**_of_orthanc(settings()), "orthanc_users": [user]})
    assert len(found) == 1 and "'Directory-x'" in found[0] and "Rename" in found[0]
    assert not orthanc.problems({**_of_orthanc({}), "orthanc_users": [user]})


def _of_orthanc(directory: dict[str, Any]) -> dict[str, Any]:
    return {
        "orthanc_name": "Orthanc",
        "orthanc_remote_access_allowed": True,
        "orthanc_authentication_enabled": True,
        "orthanc_registered_users": {"zoe": "a-password-of-zoe"},
        "orthanc_aet": "ORTHANC",
        "orthanc_options": {},
        **directory,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ldap": "x"}, "orthanc_ldap is of the type str"),
        ({"ldap": {"base": "dc=x"}}, "orthanc_ldap lacks servers"),
        ({"ldap": {**LDAP, "server": "x"}}, "orthanc_ldap has 'server'. Accepted: servers, base"),
        ({"ldap": {**LDAP, "servers": "dc1"}}, "orthanc_ldap.servers is 'dc1'"),
        ({"ldap": {**LDAP, "servers": ["ldaps://dc1"]}}, "orthanc_ldap.servers is"),
        ({"ldap": {**LDAP, "tls": "ssl"}}, "Accepted: ldaps, starttls, none"),
        ({"ldap": {**LDAP, "base": " "}}, "orthanc_ldap.base is empty"),
        ({"ldap": {**LDAP, "user_attribute": "uid,cn"}}, "orthanc_ldap.user_attribute is 'uid,cn'"),
        ({"ldap": {**LDAP, "user_filter": "uid=x"}}, "orthanc_ldap.user_filter is 'uid=x'"),
        ({"ldap": {**LDAP, "bind_dn": "cn=a"}}, "orthanc_ldap_bind_password is not"),
        (
            {"ldap": {**LDAP, "bind_dn": "cn=a\\,b"}, "ldap_bind_password": BIND},
            "orthanc_ldap.bind_dn is",
        ),
        ({"ldap": {**LDAP, "nested": 11}}, "orthanc_ldap.nested is 11. Accepted: 0 to 10"),
        ({"ldap": {**LDAP, "wrong_logins": 0}}, "orthanc_ldap.wrong_logins is 0"),
        ({"ldap": {**LDAP, "member_is_dn": "no"}}, "orthanc_ldap.member_is_dn is 'no'"),
        ({"ldap": {**LDAP, "groups": {"user": ["x"]}}}, "orthanc_ldap.groups has ['user']"),
        ({"ldap": {**LDAP, "groups": {"reader": []}}}, "orthanc_ldap.groups names no group"),
        ({"ldap": {**LDAP, "groups": {"reader": "x"}}}, "orthanc_ldap.groups.reader is 'x'"),
        (
            {"ldap": {**LDAP, "groups": {"reader": ["a"], "admin": ["A"]}}},
            "orthanc_ldap.groups has 'A' for reader and for admin",
        ),
        ({"ldap": {**LDAP, "groups": {"reader": ['a"b']}}}, "orthanc_ldap.groups.reader is 'a\"b'"),
        ({"oidc": {**OIDC, "issuer": "login"}}, "orthanc_oidc.issuer is 'login'"),
        ({"oidc": {**OIDC, "page_url": "https://x/y"}}, "orthanc_oidc.page_url is 'https://x/y'"),
        ({"oidc": {**OIDC, "client_id": ""}}, "orthanc_oidc.client_id is ''"),
        ({"oidc": {**OIDC, "scopes": ["profile"]}}, "orthanc_oidc.scopes is ['profile']"),
        ({"oidc": {**OIDC, "groups_claim": "a b"}}, "orthanc_oidc.groups_claim is 'a b'"),
        ({"oidc": {**OIDC, "session_hours": 25}}, "orthanc_oidc.session_hours is 25"),
        ({"oidc": {**OIDC, "groups": {"reader": ["a^b"]}}}, "orthanc_oidc.groups.reader is 'a^b'"),
        ({"oidc_client_secret": ""}, "orthanc_oidc_client_secret is missing"),
        ({"oidc_client_secret": "a${b}"}, "orthanc_oidc_client_secret is missing, or contains ${"),
        ({"directory_password": ""}, "orthanc_directory_password is missing"),
        ({"directory_password": "a$b"}, "orthanc_directory_password is missing, or contains $"),
        ({"guarded": False}, "orthanc_guarded is false"),
    ],
)
def test_problems(changes: dict[str, Any], expected: str) -> None:
    found = problems(settings(**changes))
    assert any(expected in problem for problem in found), found
    for problem in found:
        assert "Accepted" in problem
        assert BIND not in problem and "a${b}" not in problem
    with pytest.raises(DirectoryError):
        rendered(**changes)


@pytest.mark.parametrize("text", ["", "nothing", f"{CA}-----BEGIN PRIVATE KEY-----"])
def test_an_authority_that_is_none(text: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(text)
    orthanc_directory = FilterModule().filters()["orthanc_directory"]
    for path in (file, tmp_path / "away.pem"):
        given = settings(ldap={**LDAP, "ca_file": str(path)})
        with pytest.raises(
            AnsibleFilterError, match=r"orthanc_ldap\.ca_file is .*Accepted: a file"
        ):
            orthanc_directory(given, "orthanc", ["admin"])


def test_production_refuses_what_has_no_tls() -> None:
    assert without_tls(settings()) == []
    assert without_tls({"orthanc_ldap": {}, "orthanc_oidc": None}) == []
    found = without_tls(
        settings(
            ldap={**LDAP, "tls": "none"},
            oidc={**OIDC, "issuer": "http://a", "page_url": "HTTP://b"},
        )
    )
    assert [problem.split(" is ")[0] for problem in found] == [
        *("orthanc_ldap.tls", "orthanc_oidc.issuer", "orthanc_oidc.page_url"),
    ]
    # A simulation takes them, and its cookies have no name that browsers tie to HTTPS.
    text = rendered(oidc={**OIDC, "page_url": "http://b:8042"})["configuration"]
    assert "Define oidc_cookie front_session\n" in text


def test_what_others_give_is_asked_for_and_not_made_up() -> None:
    for name in ("vault_orthanc_ldap_bind_password", "vault_orthanc_oidc_client_secret"):
        assert not vault_values.INVENTED.search(name)
    assert vault_values.INVENTED.search("vault_orthanc_directory_password")
    assert not guardrails.PASSWORD_OPTION.match("orthanc_ldap_bind_password")
    assert guardrails.PASSWORD_OPTION.match("orthanc_directory_password")


PAGES = """\
# Names of users, as SHA-1 of each, so that any may be.
Define users "'d033e22ae348aeb5660fc2140aec35850c4da997'"
Use Page ctp 9090 tls http://ctp:9090 /healthz token
Use Page orthanc 8042 tls http://orthanc:8042 /system token
"""


def probe(directory: Path, extra: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Say of the simulation what the web server is told, with these variables."""
    secrets = "front.secrets | map(attribute='target') | list"
    asked = f"{{{{ {{'configs': front.configs, 'secrets': {secrets}}} }}}}"
    task = {"ansible.builtin.debug": {"msg": asked}, "name": "Say it"}
    task["vars"] = {"front": "{{ orthanc_service.companions[0] }}"}
    play = {
        **{"hosts": "catvm", "gather_facts": False, "tasks": [task]},
        "vars": {"role_path": str(REPOSITORY / "roles/services")},
        "roles": [
            {"role": "auscat.imaging.services"},
            {"role": "auscat.imaging.images", "when": False},
        ],
    }
    playbook = directory / "probe.yml"
    playbook.write_text(yaml.safe_dump([play]))
    command = ["ansible-playbook", "-i", "inventories/simulation", str(playbook)]
    return subprocess.run(
        [*command, "-e", json.dumps(extra)],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("on", [False, True])
def test_the_web_server_is_told_nothing_else_where_it_is_off(tmp_path: Path, on: bool) -> None:
    done = probe(tmp_path, settings() if on else {})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    tasks = json.loads(done.stdout[done.stdout.index("{\n") :])["plays"][0]["tasks"]
    (said,) = (
        each["hosts"]["simulation"]["msg"] for each in tasks if each["task"]["name"] == "Say it"
    )
    pages = {"name": "pages", "target": "/etc/front/pages.conf", "content": PAGES}
    assert said["configs"][0] == pages
    assert [each["name"] for each in said["configs"][1:]] == (["people"] if on else [])
    there = ["directory_accounts", "oidc_client"] if on else []
    assert said["secrets"] == ["tls.crt", "tls.key", *there]


def test_a_directory_that_cannot_be_put_together_is_not_off(tmp_path: Path) -> None:
    done = probe(tmp_path, settings(directory_password=""))
    assert done.returncode != 0
    assert "orthanc_directory_password is missing" in done.stdout
