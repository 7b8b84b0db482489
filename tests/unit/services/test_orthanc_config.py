"""orthanc.json: what is put together, and what is refused in which words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.auscat.imaging.plugins.filter.orthanc import FilterModule
from ansible_collections.auscat.imaging.plugins.module_utils.ctp import script
from ansible_collections.auscat.imaging.plugins.module_utils.services.orthanc import (
    OWN_MARKS,
    OrthancConfigurationError,
    first_admin,
    problems,
    render,
)

REPOSITORY = Path(__file__).resolve().parents[3]
PASSWORD = "a-very-secure-password"
RITA = {"name": "rita", "password": "another-password", "role": "reader"}


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "orthanc_name": "AusCAT ORTHANC server",
        "orthanc_remote_access_allowed": True,
        "orthanc_authentication_enabled": True,
        "orthanc_registered_users": {"admin": PASSWORD},
        "orthanc_aet": "ORTHANC",
        "orthanc_options": {},
        **{f"orthanc_{name}": value for name, value in changes.items()},
    }


def test_configuration() -> None:
    options = {"OverwriteInstances": True, "DicomModalities": {"ctp": ["CTP", "ctp", 104]}}
    assert json.loads(render(settings(options=options))) == {
        "Name": "AusCAT ORTHANC server",
        "RemoteAccessAllowed": True,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"admin": PASSWORD},
        "NodeGuard": {
            "Marks": {
                "IdentityRemoved": True,
                "Methods": ["AusCAT imaging: "],
                "Codes": ["113100"],
                "PseudonymPrefixes": ["ANON-"],
            },
            "Roles": {"admin": "admin"},
        },
        "DicomAet": "ORTHANC",
        "MaximumPduLength": 131072,
        "DicomWeb": {"EnableMetadataCache": False},
        "OverwriteInstances": True,
        "DicomModalities": {"ctp": ["CTP", "ctp", 104]},
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowGet": False,
        "DicomAlwaysAllowMove": False,
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": False,
        "ExecuteLuaEnabled": False,
        "RestApiWriteToFileSystemEnabled": False,
        "DeidentifyLogs": True,
        "LimitFindResults": 10000,
        "LimitFindInstances": 10000,
    }


def test_orthanc_is_locked_to_ctp() -> None:
    content = json.loads(render(settings(ctp_aet="GATE", ctp_addresses=["10.0.0.1", "10.0.1.1"])))
    assert content["DicomCheckModalityHost"] is True
    assert sorted(content["DicomModalities"]) == ["ctp", "ctp2"]
    modality = content["DicomModalities"]["ctp2"]
    assert (modality["AET"], modality["Host"]) == ("GATE", "10.0.1.1")
    allowed = {key for key, value in modality.items() if key.startswith("Allow") and value}
    assert allowed == {"AllowEcho", "AllowStore"}


def test_users_have_roles() -> None:
    eve = {"name": "eve", "password": "one-more-password", "role": "admin"}
    content = json.loads(render(settings(users=[RITA, eve])))
    assert content["RegisteredUsers"] == {
        "admin": PASSWORD,
        "rita": "another-password",
        "eve": "one-more-password",
    }
    assert content["NodeGuard"]["Roles"] == {"admin": "admin", "rita": "reader", "eve": "admin"}


def test_the_image_reads_what_is_rendered() -> None:
    """By the program that reads it in Orthanc."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json, sys\nfrom orthanc_guard.settings import read\n"
            "print(read(json.load(sys.stdin)))",
        ],
        input=render(settings(users=[RITA])),
        env={"PYTHONPATH": str(REPOSITORY / "images/orthanc/src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "prefixes=('ANON-',)" in done.stdout
    assert "{'admin': 'admin', 'rita': 'reader'}" in done.stdout


def test_the_marks_are_those_that_the_rules_write() -> None:
    options = script.ScriptOptions()
    assert OWN_MARKS["codes"] == script.method_codes(options)[:1]
    methods = [
        script.METHOD_NAMES_KEPT,
        *(each for pair in script.METHODS.values() for each in pair),
    ]
    assert all(each.startswith(tuple(OWN_MARKS["methods"])) for each in methods)


def test_an_admin_is_found() -> None:
    abel = {"name": "abel", "password": "a-readers-password", "role": "reader"}
    text = render(settings(users=[abel]))
    assert text.index("abel") < text.index('"admin"')
    assert first_admin(json.loads(text)) == ("admin", PASSWORD)
    # As an earlier version left it.
    assert first_admin({"RegisteredUsers": {"researcher": "x"}}) == ("researcher", "x")
    assert first_admin({}) == ("", "")


def test_an_image_without_the_guard_is_told_nothing_of_it() -> None:
    content = json.loads(render(settings(guarded=False, image="somebody/orthanc@sha256:0")))
    assert "NodeGuard" not in content


def test_options_open_what_was_locked() -> None:
    options = {
        "DicomAlwaysAllowEcho": True,
        "LimitFindInstances": 5,
        "DicomModalities": {"viewer": ["VIEWER", "10.0.0.9", 104]},
    }
    content = json.loads(render(settings(options=options, ctp_addresses=["10.0.0.1"])))
    assert content["DicomAlwaysAllowEcho"] is True
    assert (content["LimitFindInstances"], content["LimitFindResults"]) == (5, 10000)
    assert sorted(content["DicomModalities"]) == ["ctp", "viewer"]


def test_options_win_over_our_defaults() -> None:
    options = {"MaximumPduLength": 16384}
    assert json.loads(render(settings(options=options)))["MaximumPduLength"] == 16384


def test_same_settings_give_the_same_text() -> None:
    """A change of the text is a new secret and restarts the service."""
    users = {"admin": PASSWORD, "bob": "another-password"}
    options = {"StableAge": 30, "Warnings": {"W001": False, "W002": True}}
    backwards = {"Warnings": {"W002": True, "W001": False}, "StableAge": 30}
    text = render(settings(registered_users=users, options=options))
    again = settings(registered_users=dict(reversed(users.items())), options=backwards)
    assert render(dict(reversed(again.items()))) == text
    assert text.endswith("}\n")


def test_booleans_of_the_command_line_are_understood() -> None:
    """--extra-vars name=true hands over a text."""
    content = json.loads(
        render(settings(remote_access_allowed="false", authentication_enabled="True"))
    )
    assert content["RemoteAccessAllowed"] is False
    assert content["AuthenticationEnabled"] is True


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": ""}, r"orthanc_name is ''\. Accepted: a text"),
        ({"name": " "}, "orthanc_name is ' '"),
        ({"name": 7}, "orthanc_name is 7"),
        ({"name": "$HOME"}, r"orthanc_name is '\$HOME'.*without \$"),
        ({"remote_access_allowed": "perhaps"}, "orthanc_remote_access_allowed is 'perhaps'"),
        ({"remote_access_allowed": 1}, r"remote_access_allowed is 1\. Accepted: true or false"),
        ({"authentication_enabled": False}, r"authentication_enabled is False\. Accepted: true"),
        ({"authentication_enabled": None}, "orthanc_authentication_enabled is None"),
        ({"registered_users": None}, "orthanc_registered_users is missing.*vault"),
        ({"registered_users": {}}, "orthanc_registered_users is empty"),
        ({"registered_users": ["admin"]}, "orthanc_registered_users is of the type list"),
        ({"registered_users": "admin"}, "orthanc_registered_users is of the type text"),
        ({"registered_users": {"admin": ""}}, "the password of 'admin' is empty"),
        ({"registered_users": {"admin": "  "}}, "the password of 'admin' is empty"),
        ({"registered_users": {"admin": None}}, "password of 'admin' is of the type null"),
        ({"registered_users": {"admin": 1234}}, "of the type number.*Put it in quotes"),
        ({"registered_users": {"admin": "a$b"}}, r"password of 'admin' contains \$"),
        ({"registered_users": {"": "x"}}, "contains the user ''"),
        ({"registered_users": {"a:b": "x"}}, "contains the user 'a:b'.*without :"),
        ({"registered_users": {7: "x"}}, "contains the user 7.*in quotes"),
        ({"aet": ""}, "orthanc_aet is ''"),
        ({"aet": "A" * 17}, "orthanc_aet is 'A{17}'. Accepted: an AE title, 1 to 16"),
        ({"aet": "A\\B"}, "no backslash"),
        ({"aet": " A"}, "orthanc_aet is ' A'"),
        ({"aet": "ÄET"}, "ASCII"),
        ({"ctp_aet": ""}, "orthanc_ctp_aet is ''. Accepted: an AE title"),
        ({"ctp_addresses": "10.0.0.1"}, "orthanc_ctp_addresses is of the type text"),
        (
            {"ctp_addresses": ["ctp.example"]},
            r"ctp_addresses\[0\] is 'ctp.example'. Accepted: an IPv4",
        ),
        ({"ctp_addresses": [4]}, r"orthanc_ctp_addresses\[0\] is 4"),
        ({"find_limit": -1}, "orthanc_find_limit is -1. Accepted: a whole number"),
        ({"options": None}, "orthanc_options is of the type null"),
        ({"options": []}, "orthanc_options is of the type list. Accepted: a mapping"),
        ({"options": "Name=x"}, "orthanc_options is of the type text"),
        (
            {"options": {"AuthenticationEnabled": False}},
            "orthanc_options.AuthenticationEnabled is False.*cannot be switched off",
        ),
        ({"options": {"AuthenticationEnabled": True}}, "Use orthanc_authentication_enabled"),
        ({"options": {"Name": "x"}}, "contains Name.*Use orthanc_name instead"),
        ({"options": {"RegisteredUsers": {"admin": PASSWORD}}}, "Use orthanc_registered_users"),
        ({"options": {"DicomAet": "X"}}, "Use orthanc_aet"),
        ({"options": {"HttpPort": 80}}, "contains HttpPort, which is fixed.*orthanc_web_port"),
        ({"options": {"DicomPort": 104}}, "orthanc_dicom_port"),
        ({"options": {"StorageDirectory": "/x"}}, "StorageDirectory, which is fixed"),
        ({"options": {"IndexDirectory": "/x"}}, "IndexDirectory, which is fixed"),
        ({"options": {"Plugins": []}}, "Plugins, which is fixed"),
        ({"options": {"DicomServerEnabled": False}}, "DicomServerEnabled, which is fixed"),
        ({"options": {"SslEnabled": True}}, "SslEnabled, which is fixed.*auscat_tls.*Remove it"),
        ({"options": {"PythonScript": "/x"}}, "PythonScript, which is fixed"),
        ({"options": {"NodeGuard": {}}}, "NodeGuard, which is fixed.*orthanc_users"),
        ({"options": {1: 2}}, "contains the setting 1"),
        ({"users": None}, "orthanc_users is of the type null. Accepted: a list"),
        ({"users": {"rita": "x"}}, "orthanc_users is of the type mapping"),
        ({"users": ["rita"]}, r"orthanc_users\[0\] has text. Accepted: name, password and role"),
        ({"users": [{"name": "rita"}]}, r"orthanc_users\[0\] has name. Accepted"),
        ({"users": [{**RITA, "groups": []}]}, "has groups, name, password, role. Accepted"),
        (
            {"users": [{**RITA, "role": "Reader"}]},
            "the role of 'rita' is 'Reader'. Accepted: reader,",
        ),
        ({"users": [{**RITA, "name": "ri:ta"}]}, "orthanc_users contains the user 'ri:ta'"),
        ({"users": [{**RITA, "name": 7}]}, "orthanc_users contains the user 7"),
        ({"users": [{**RITA, "password": ""}]}, "orthanc_users: the password of 'rita' is empty"),
        ({"users": [{**RITA, "password": "a$b"}]}, "the password of 'rita' contains"),
        ({"users": [RITA, RITA]}, "contains the user 'rita' twice"),
        ({"users": [{**RITA, "name": "admin"}]}, "'admin', whom orthanc_registered_users has too"),
        ({"required_marks": []}, "orthanc_required_marks is of the type list"),
        ({"required_marks": {"methods": []}}, "orthanc_required_marks has methods. Accepted"),
        (
            {"required_marks": {**OWN_MARKS, "identity_removed": "maybe"}},
            "identity_removed is 'maybe'",
        ),
        ({"required_marks": {**OWN_MARKS, "codes": [113100]}}, r"codes is \[113100\]"),
        ({"required_marks": {**OWN_MARKS, "pseudonym_prefixes": "A"}}, "prefixes is 'A'"),
        ({"required_marks": {**OWN_MARKS, "methods": [""]}}, r"methods is \[''\]"),
        (
            {
                "required_marks": {
                    "identity_removed": False,
                    "methods": [],
                    "codes": [],
                    "pseudonym_prefixes": [],
                }
            },
            "orthanc_required_marks asks for nothing",
        ),
        ({"guarded": "perhaps"}, "orthanc_guarded is 'perhaps'"),
        ({"plugins": "neuro"}, "orthanc_plugins is of the type text. Accepted: a list of delayed-"),
        ({"plugins": {"neuro": True}}, "orthanc_plugins is of the type mapping"),
        (
            {"plugins": ["neuro", "webviewer"]},
            r"orthanc_plugins\[1\] is 'webviewer', which is no plugin of Debian's for Orthanc. "
            "Accepted: delayed-deletion, housekeeper, neuro, web-viewer, wsi",
        ),
        ({"plugins": [7]}, r"orthanc_plugins\[0\] is 7"),
        ({"plugins": ["serve-folders"]}, "which hands out files of Orthanc's container"),
        ({"plugins": ["python"]}, "which is always loaded"),
        ({"plugins": ["postgresql"]}, "which keeps the index where backups"),
        ({"plugins": ["wsi", "neuro", "wsi"]}, "orthanc_plugins contains 'wsi' twice"),
        (
            {"plugins": ["wsi"], "guarded": False, "image": "somebody/orthanc"},
            "orthanc_plugins is not empty, and orthanc_guarded is false",
        ),
        ({"guarded": False}, "orthanc_guarded is false, and orthanc_image is empty"),
        (
            {"guarded": False, "image": "somebody/orthanc", "users": [RITA]},
            "orthanc_users gives rita less than the role admin",
        ),
        ({"options": {"Dictionary": {1: 2}}}, "orthanc_options.Dictionary contains the key 1"),
        ({"options": {"A": [1, {2, 3}]}}, r"orthanc_options\.A\[1\] is of the type set"),
        ({"options": {"A": float("nan")}}, "orthanc_options.A is no finite number"),
    ],
)
def test_problem(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(OrthancConfigurationError, match=error):
        render(settings(**changes))
    assert len(problems(settings(**changes))) == 1


def test_all_problems_are_told_together_and_no_password() -> None:
    wrong = settings(
        name="",
        registered_users={"admin": "secret$one", "b:ob": "secret-two", "eve": ""},
        options={"HttpPort": 1, "AuthenticationEnabled": False},
    )
    found = problems(wrong)
    assert len(found) == 6
    with pytest.raises(OrthancConfigurationError) as error:
        render(wrong)
    assert str(error.value).splitlines() == found
    assert "secret" not in str(error.value)


def test_missing_settings_are_problems_and_no_failure() -> None:
    assert len(problems({})) == 5


def test_filters() -> None:
    filters = FilterModule().filters()
    assert filters["orthanc_configuration"](settings()) == render(settings())
    with pytest.raises(AnsibleFilterError, match="orthanc_name is ''"):
        filters["orthanc_configuration"](settings(name=""))


def test_dicom_over_tls_cannot_be_weakened() -> None:
    made = json.loads(render(settings(dicom_tls=True)))
    assert made["DicomTlsEnabled"] is True
    assert made["DicomTlsRemoteCertificateRequired"] is True
    assert made["DicomTlsTrustedCertificates"] == "/etc/auscat/tls/ca.pem"
    assert not [name for name in json.loads(render(settings())) if name.startswith("DicomTls")]
    own = {"DicomTlsRemoteCertificateRequired": False}
    (problem,) = problems(settings(dicom_tls=True, options=own))
    assert "follows from orthanc_dicom_tls" in problem
    # A site that has its own way to do it, and not the node's.
    assert json.loads(render(settings(options=own)))["DicomTlsRemoteCertificateRequired"] is False
