from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible._internal._datatag._tags import Origin
from ansible_collections.auscat.imaging.plugins.action.preflight import TEXTS, ActionModule
from ansible_collections.auscat.imaging.plugins.module_utils.inventory import checks as check

MISSING = object()
OPTIONS: dict[str, Any] = {
    "ctp_web_port": {"type": "int", "default": 9090, "description": "Port of the web page."},
    "ctp_flavour": {"type": "str", "choices": ["standin"], "default": "standin"},
    "keydb_password": {
        "type": "str",
        "required": True,
        "no_log": True,
        "description": "Password of the superuser.",
    },
    "orthanc_options": {"type": "dict", "default": {}, "description": "Any Orthanc option."},
}
SOUND = {
    "ctp_web_port": 9090,
    "ctp_flavour": "standin",
    "keydb_password": "long enough",
    "orthanc_options": {},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"ctp_web_port": "9090"}, []),
        ({"ctp_web_port": "many"}, ["ctp_web_port is 'many'", "a whole number"]),
        ({"ctp_flavour": "stock"}, ["ctp_flavour is 'stock'", "one of standin"]),
        ({"keydb_password": MISSING}, ["keydb_password is not set", "vault"]),
        ({"keydb_password": ""}, ["keydb_password is empty", "vault"]),
        ({"keydb_password": ["hunter2"]}, ["keydb_password is of the type list"]),
        ({"orthanc_options": "HttpPort"}, ["orthanc_options is 'HttpPort'", "a mapping"]),
        ({"orthanc_options": [1]}, ["orthanc_options is of the type list", "a mapping"]),
    ],
)
def test_specification(changes: dict[str, Any], words: list[str]) -> None:
    values = {**SOUND, **changes}
    problems = check.specification_problems(OPTIONS, lambda name: values[name], MISSING)
    assert bool(problems) == bool(words)
    for word in words:
        assert word in "\n".join(problems)
    assert "hunter2" not in "\n".join(problems)


def test_a_variable_that_cannot_be_evaluated_is_a_problem() -> None:
    def value_of(name: str) -> Any:
        raise ValueError("'pacs_network' is undefined")

    problems = check.specification_problems(OPTIONS, value_of, MISSING)
    assert "ctp_web_port cannot be evaluated: 'pacs_network' is undefined" in problems


@pytest.mark.parametrize(
    ("services", "words"),
    [
        ({"orthanc": "catvm"}, []),
        ({"ortanc": "catvm"}, ["names the service 'ortanc'", "keydb, orthanc"]),
        ({"orthanc": "catwm"}, ["in the group 'catwm'"]),
        (["orthanc"], ["of the type list", "a mapping"]),
    ],
)
def test_services(services: Any, words: list[str]) -> None:
    problems = check.service_problems(services, ["orthanc", "keydb"], {"catvm": [], "all": []})
    assert bool(problems) == bool(words)
    for word in words:
        assert word in "\n".join(problems)


@pytest.mark.parametrize("path", ["srv/auscat", "", "/", "//", "/srv/../etc", None, 7])
def test_paths_that_are_refused(path: Any) -> None:
    (problem,) = check.path_problems({"auscat_data_root": path})
    assert problem.startswith(f"auscat_data_root is {path!r}. Accepted: an absolute path")


def test_paths_that_are_accepted() -> None:
    assert check.path_problems({"auscat_data_root": "/srv/auscat", "b": "/data/"}) == []


def test_encryption_needs_a_device() -> None:
    assert check.volume_problems("/dev/sdb", True) == []
    assert check.volume_problems("", False) == []
    (problem,) = check.volume_problems("", True)
    assert "host_volume_device is empty" in problem


def test_a_secret_that_the_vault_lacks_names_the_way_to_make_it() -> None:
    def value_of(name: str) -> Any:
        raise ValueError("Error while resolving value: 'vault_keydb_password' is undefined")

    options = {"keydb_password": OPTIONS["keydb_password"]}
    (problem,) = check.specification_problems(options, value_of, MISSING)
    assert problem.startswith("keydb_password is to be vault_keydb_password, which is not set")
    assert "playbooks/init_secrets.yml" in problem


@pytest.mark.parametrize(
    ("address", "is_refused"),
    [("192.0.2.1", False), ("kv01.hospital.example", False), ("", True), (" ", True), (None, True)],
)
def test_addresses(address: Any, is_refused: bool) -> None:
    problems = check.address_problems("kv01", address)
    assert bool(problems) == is_refused
    assert all(problem.startswith("ansible_host of kv01 is empty") for problem in problems)


@pytest.mark.parametrize(
    ("packages", "lacking"),
    [
        (["dcmtk", "ocr", "fonts"], ""),
        (["dcmtk=3.6.7-9", "ocr:amd64", "fonts/stable", "more"], ""),
        (["dcmtk"], "ocr, fonts"),
        (["ocr-data", "dcmtk", "fonts"], "ocr"),
        ([], "dcmtk, ocr, fonts"),
        (None, ""),
        ("dcmtk", ""),
    ],
)
def test_packages_of_the_proof_from_an_earlier_inventory(packages: Any, lacking: str) -> None:
    problems = check.proof_problems(packages, ["dcmtk", "ocr", "fonts"])
    assert len(problems) == bool(lacking)
    for problem in problems:
        assert problem.startswith(f"verify_packages is {packages!r}, without {lacking}. Accepted: ")


def test_a_service_is_a_role_that_declares_it(tmp_path: Path) -> None:
    for role, text in {
        "viewer": "---\nviewer_service:\n  name: viewer\n",
        "notes": "notes_service: {name: notes}\n",
        # Platform: it only speaks of services.
        "stack": "__stack_service: x\nother_service: y\n",
    }.items():
        (tmp_path / role / "vars").mkdir(parents=True)
        (tmp_path / role / "vars/main.yml").write_text(text)
    (tmp_path / "report").mkdir()
    (tmp_path / "notes/tasks").mkdir()
    (tmp_path / "notes/tasks/absent.yml").touch()
    assert check.service_roles(tmp_path) == ["notes", "viewer"]
    assert check.service_roles(str(tmp_path), "tasks/absent.yml") == ["notes"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("kN14Z1KjZUACSOYZ", []),
        ("with white space inside", []),
        ("Grüße, 患者", []),
        (None, []),
        # Reported as empty, and as no text.
        ("  ", []),
        (["hunter2\n"], []),
        ("hunter2\nhunter3", ["x_password has a line break.", "one line", "ansible-vault edit"]),
        # What a YAML block ends in.
        ("hunter2\n", ["x_password has a line break.", '"|"']),
        ("hunter2\r", ["carriage return"]),
        ("hunter2\0", ["a NUL"]),
        ("hunter2\x7f", ["a DEL"]),
        ("hunter\t2", ["a tab"]),
        ("hunter2\x1b[2J", ["U+001B"]),
        ("hunter2\x85", ["U+0085"]),
        ("\ufeffhunter2", ["byte order mark"]),
        ("hunter\u200b2", ["U+200B"]),
        ("hunter2\u2028", ["U+2028"]),
        ("hunter2\ud800", ["U+D800"]),
        ("hunter2\uffff", ["U+FFFF"]),
        (" hunter2", ["white space at an end"]),
        ("hunter2\u00a0", ["white space at an end"]),
        ({"admin": "hunter2", "reader": "hunter2\n"}, ["x_password['reader'] has a line break"]),
        ({"admin\n": "hunter2"}, ["x_password, the name 'admin\\n', has a line break"]),
        ([{"name": "rita", "password": "all is seen", "role": "reader"}], []),
        (
            [{"name": "rita", "password": "hunter2\t", "role": "reader"}],
            ["x_password['rita'] has a"],
        ),
        (
            [{"name": "ri\nta", "password": "hunter2"}],
            ["x_password, the name 'ri\\nta', has a line"],
        ),
        ([{"name": "rita"}, "hunter2\n", None], []),
    ],
)
def test_secrets_that_nobody_can_see(value: Any, words: list[str]) -> None:
    problems = check.secret_problems({"x_password": value})
    assert bool(problems) == bool(words)
    for word in words:
        assert word in "\n".join(problems)
    assert "hunter" not in "\n".join(problems)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("-----BEGIN KEY-----\nabc\n-----END KEY-----\n", []),
        ("-----BEGIN KEY-----\r\nabc\r\n", ["x_key has a line break (carriage return)", "lines"]),
        ("-----BEGIN KEY-----\nabc\0\n", ["x_key has a NUL"]),
    ],
)
def test_secrets_of_several_lines(value: str, words: list[str]) -> None:
    problems = check.secret_problems({"x_key": value}, ["x_key"])
    assert bool(problems) == bool(words)
    for word in words:
        assert word in "\n".join(problems)


def test_what_has_lines_by_its_nature_may_have_them() -> None:
    """A key in PEM stands in the vault as it is (docs/certificates.md)."""
    roles = Path(__file__).parents[3] / "roles"
    keys = {
        name
        for specification in roles.glob("*/meta/argument_specs.yml")
        for name, option in yaml.safe_load(specification.read_text())["argument_specs"]["main"][
            "options"
        ].items()
        if option.get("no_log") and name.endswith("_key")
    }
    of_one_line = {"backup_s3_secret_access_key", "host_volume_encryption_key"}
    assert keys - of_one_line == set(TEXTS)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("http://mirror.hospital.example/debian", []),
        ("", []),
        (None, []),
        ("https://me@mirror.hospital.example/debian", []),
        (
            "https://me:hunter2@mirror.hospital.example/debian",
            ["x_mirror holds a password", "why."],
        ),
        ("https://me:hunter/2@mirror.hospital.example/debian", ["x_mirror holds a password"]),
        ({"A": "1", "HTTP_PROXY": "http://me:hunter2@proxy:1"}, ["x_mirror['HTTP_PROXY'] holds"]),
    ],
)
def test_passwords_in_urls(value: Any, words: list[str]) -> None:
    problems = check.url_problems({"x_mirror": value}, {"x_mirror": "why."})
    assert bool(problems) == bool(words)
    for word in words:
        assert word in "\n".join(problems)
    assert "hunter" not in "\n".join(problems)


@pytest.mark.parametrize(
    ("value", "is_refused"),
    [
        ("http://debian.hospital.example/debian", False),
        ("https://debian.hospital.example", False),
        ("", False),
        (None, False),
        ("debian.hospital.example/debian", True),
        ("user:hunter2@debian.hospital.example/debian", True),
        ("ftp://debian.hospital.example", True),
    ],
)
def test_mirrors_without_a_scheme(value: Any, is_refused: bool) -> None:
    problems = check.mirror_problems({"images_debian_mirror": value})
    assert len(problems) == is_refused
    for problem in problems:
        assert problem.startswith("images_debian_mirror has no http:// or https:// in front.")
        assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("error", "is_refused"),
    [
        (
            "Task failed: Premature end of stream waiting for become success.\n>>> Standard Error\n"
            "/bin/sh: 1: sudo: not found",
            True,
        ),
        ("Premature end of stream waiting for become success. sudo: a password is required", True),
        ("Missing sudo password", True),
        ("Failed to connect to the host via ssh: No route to host", False),
    ],
)
def test_who_may_not_become_root_is_told_what_to_do(error: str, is_refused: bool) -> None:
    problems = check.root_problems(error, "kv01")
    assert len(problems) == is_refused
    for problem in problems:
        assert problem.startswith("Ansible logs in to kv01 and cannot become root there (")
        assert "--ask-become-pass" in problem and "usermod -aG sudo" in problem


def test_types_have_the_names_that_people_know() -> None:
    tagged = Origin(path="/hosts.yml").tag(["ctp"])
    assert type(tagged) is not list
    (problem,) = check.service_problems(tagged, ["ctp"], {})
    assert "auscat_services is of the type list." in problem


@pytest.mark.parametrize(
    ("roles", "limited", "refused", "said"),
    [
        (["firewall", "stack"], False, 1, 0),
        (["firewall", "stack"], True, 0, 1),
        # Nothing is limited by it, so nobody loses a connection.
        (["stack"], False, 0, 0),
        (["stack"], True, 0, 1),
        (["firewall"], False, 0, 0),
    ],
)
def test_who_loses_connections_by_a_run_is_asked_before(
    roles: list[str], limited: bool, refused: int, said: int
) -> None:
    action = object.__new__(ActionModule)
    action._variables = {"inventory_hostname": "kv01"}
    action.__dict__["_specifications"] = {role: {} for role in roles}
    facts = {"neighbours": ["shop"], "outgoing_limited": limited}
    found = action._neighbour_findings(facts)
    assert (len(found[0]), len(found[1])) == (refused, said)
    assert all("firewall_outgoing_of" in text for text in (*found[0], *found[1]))
